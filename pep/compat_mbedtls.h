/* What differs between mbedtls 2.28 and 3.6, as far as token cryptography
 * meets it. Included by .c files that use mbedtls, and by nothing else. */
#ifndef POSTERN_COMPAT_MBEDTLS_H
#define POSTERN_COMPAT_MBEDTLS_H

#include <mbedtls/ecp.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>

typedef int compat_rng_fn(void *ctx, unsigned char *to, size_t n);

/* 3.x blinds while it checks a private key, and asks for randomness. */
static inline int compat_pk_parse_key(mbedtls_pk_context *pk, const uint8_t *der, size_t n,
                                      compat_rng_fn *rng)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_pk_parse_key(pk, der, n, NULL, 0, rng, NULL);
#else
    (void)rng;
    return mbedtls_pk_parse_key(pk, der, n, NULL, 0);
#endif
}

/* 3.x hides the fields of a key pair; its exporter wants a private half as
 * well, so for a public key they are reached by name. */
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#define COMPAT_EC_FIELD(pk, field) (mbedtls_pk_ec(*(pk))->MBEDTLS_PRIVATE(field))
#else
#define COMPAT_EC_FIELD(pk, field) (mbedtls_pk_ec(*(pk))->field)
#endif

#endif
