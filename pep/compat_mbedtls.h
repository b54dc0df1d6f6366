/* What differs between mbedtls 2.28 and 3.6, as far as token cryptography
 * meets it. Included by .c files that use mbedtls, and by nothing else. */
#ifndef POSTERN_COMPAT_MBEDTLS_H
#define POSTERN_COMPAT_MBEDTLS_H

#include <stdbool.h>

#include <mbedtls/ecp.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
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

/* ---- RSA: 2.28 says with each call which half is meant and brings its
 * randomness also where none is needed ---- */

/* PKCS1 v1.5, or v2.1 with hash and MGF1 of this kind. */
static inline void compat_rsa_init(mbedtls_rsa_context *rsa, bool v21, mbedtls_md_type_t md)
{
    int padding = v21 ? MBEDTLS_RSA_PKCS_V21 : MBEDTLS_RSA_PKCS_V15;
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    mbedtls_rsa_init(rsa);
    (void)mbedtls_rsa_set_padding(rsa, padding, md); /* fails later if it fails */
#else
    mbedtls_rsa_init(rsa, padding, (int)md);
#endif
}

static inline int compat_rsa_verify(mbedtls_rsa_context *rsa, bool pss, mbedtls_md_type_t md,
                                    unsigned hash_n, const uint8_t *hash, const uint8_t *sig)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return pss ? mbedtls_rsa_rsassa_pss_verify_ext(rsa, md, hash_n, hash, md, (int)hash_n, sig)
               : mbedtls_rsa_rsassa_pkcs1_v15_verify(rsa, md, hash_n, hash, sig);
#else
    return pss ? mbedtls_rsa_rsassa_pss_verify_ext(rsa, NULL, NULL, MBEDTLS_RSA_PUBLIC, md, hash_n,
                                                   hash, md, (int)hash_n, sig)
               : mbedtls_rsa_rsassa_pkcs1_v15_verify(rsa, NULL, NULL, MBEDTLS_RSA_PUBLIC, md,
                                                     hash_n, hash, sig);
#endif
}

static inline int compat_rsa_sign(mbedtls_rsa_context *rsa, bool pss, mbedtls_md_type_t md,
                                  unsigned hash_n, const uint8_t *hash, compat_rng_fn *rng,
                                  uint8_t *sig)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return pss ? mbedtls_rsa_rsassa_pss_sign_ext(rsa, rng, NULL, md, hash_n, hash, (int)hash_n, sig)
               : mbedtls_rsa_rsassa_pkcs1_v15_sign(rsa, rng, NULL, md, hash_n, hash, sig);
#else
    return pss ? mbedtls_rsa_rsassa_pss_sign_ext(rsa, rng, NULL, md, hash_n, hash, (int)hash_n, sig)
               : mbedtls_rsa_rsassa_pkcs1_v15_sign(rsa, rng, NULL, MBEDTLS_RSA_PRIVATE, md, hash_n,
                                                   hash, sig);
#endif
}

static inline int compat_rsa_oaep_open(mbedtls_rsa_context *rsa, compat_rng_fn *rng, size_t *n,
                                       const uint8_t *in, uint8_t *out, size_t cap)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_rsa_rsaes_oaep_decrypt(rsa, rng, NULL, NULL, 0, n, in, out, cap);
#else
    return mbedtls_rsa_rsaes_oaep_decrypt(rsa, rng, NULL, MBEDTLS_RSA_PRIVATE, NULL, 0, n, in, out,
                                          cap);
#endif
}

static inline int compat_rsa_oaep_seal(mbedtls_rsa_context *rsa, compat_rng_fn *rng, size_t n,
                                       const uint8_t *in, uint8_t *out)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_rsa_rsaes_oaep_encrypt(rsa, rng, NULL, NULL, 0, n, in, out);
#else
    return mbedtls_rsa_rsaes_oaep_encrypt(rsa, rng, NULL, MBEDTLS_RSA_PUBLIC, NULL, 0, n, in, out);
#endif
}

#endif
