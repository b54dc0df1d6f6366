/* RSA for JOSE (RFC 7518 3.3, 3.5, 4.3): signatures are checked and content
 * keys opened; the other direction is for minting. As crypto.h: stateless,
 * any thread, and whatever goes wrong reads as "no".
 */
#ifndef POSTERN_CRYPTO_RSA_H
#define POSTERN_CRYPTO_RSA_H

#include "crypto.h"

enum crypto_rsa_limits {
    CRYPTO_RSA_MIN = 256, /* bytes: 2048 bits (RFC 7518 3.3, 4.3) */
    CRYPTO_RSA_MAX = 512, /* 4096 bits; longer ones cost a stranger's token more than they give */
    CRYPTO_PRIME_MAX = CRYPTO_RSA_MAX / 2,
};

struct crypto_rsa {
    size_t size; /* bytes of the modulus */
    uint32_t e;
    uint8_t n[CRYPTO_RSA_MAX];
    size_t prime_n; /* 0: public half only */
    uint8_t p[CRYPTO_PRIME_MAX], q[CRYPTO_PRIME_MAX];
};

static inline struct bytes crypto_rsa_n(const struct crypto_rsa *k)
{
    return bytes_of(k->n, k->size);
}

/* Big-endian, no leading zeros. False unless CRYPTO_RSA_MIN to _MAX long, a
 * multiple of 8 bits, odd, and e an odd number of 3 to 2^32. */
MUST_USE bool crypto_rsa_from_parts(struct bytes n, struct bytes e, struct crypto_rsa *out);
/* Adds the private half: d, with or without the primes. False unless it
 * belongs to the public one. */
MUST_USE bool crypto_rsa_set_private(struct crypto_rsa *k, struct bytes d, struct bytes p,
                                     struct bytes q);
/* Appends d. */
MUST_USE bool crypto_rsa_put_private(const struct crypto_rsa *k, struct buf *d);
/* One PEM block "PUBLIC KEY"; "PRIVATE KEY" or "RSA PRIVATE KEY". */
MUST_USE bool crypto_rsa_from_pem(struct bytes pem, struct crypto_rsa *out);
MUST_USE bool crypto_rsa_from_private(struct bytes pem, struct crypto_rsa *out);
MUST_USE bool crypto_rsa_generate(size_t size, struct crypto_rsa *out);

/* RS* and PS* (with a salt as long as the hash, RFC 7518 3.5). */
MUST_USE bool crypto_rsa_verify(const struct crypto_alg *a, const struct crypto_rsa *k,
                                const struct bytes *parts, size_t n, struct bytes sig);
MUST_USE bool crypto_rsa_sign(const struct crypto_alg *a, const struct crypto_rsa *k,
                              const struct bytes *parts, size_t n, struct buf *sig);

/* RSA-OAEP with SHA-256 for hash and MGF1, no label. Why opening fails shows
 * neither in the answer nor, as far as mbedtls keeps it, in the time. */
MUST_USE bool crypto_rsa_open(const struct crypto_rsa *k, struct bytes sealed, struct buf *out);
MUST_USE bool crypto_rsa_seal(const struct crypto_rsa *k, struct bytes plain, struct buf *out);

#endif
