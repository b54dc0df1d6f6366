/* What the files that use mbedtls for tokens share. Not for others. */
#ifndef POSTERN_CRYPTO_INSIDE_H
#define POSTERN_CRYPTO_INSIDE_H

#include <mbedtls/md.h>

#include "compat_mbedtls.h"
#include "crypto.h"

/* crypto_random() as mbedtls wants it. */
int crypto_inside_rng(void *ctx, unsigned char *to, size_t n);

/* An empty key hashes; any other authenticates. */
MUST_USE bool crypto_inside_digest(const mbedtls_md_info_t *md, struct bytes key,
                                   const struct bytes *parts, size_t n,
                                   uint8_t out[MBEDTLS_MD_MAX_SIZE]);

#endif
