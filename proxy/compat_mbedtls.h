/* What differs between mbedtls 2.28 (Debian 12) and 3.6 (Debian 13) for DTLS. */
#ifndef POSTERN_PROXY_COMPAT_MBEDTLS_H
#define POSTERN_PROXY_COMPAT_MBEDTLS_H

#include <stdbool.h>

#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>

#if MBEDTLS_VERSION_MAJOR < 3
#ifndef MBEDTLS_PRIVATE
#define MBEDTLS_PRIVATE(member) member
#endif
#else
#include <psa/crypto.h>
#endif

/* DTLS 1.2 and nothing else. */
static inline void compat_conf_dtls12(mbedtls_ssl_config *conf)
{
#if MBEDTLS_VERSION_MAJOR < 3
    mbedtls_ssl_conf_min_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#else
    mbedtls_ssl_conf_min_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
}

static inline int compat_parse_keyfile(mbedtls_pk_context *pk, const char *path,
                                       int (*rng)(void *, unsigned char *, size_t), void *p_rng)
{
#if MBEDTLS_VERSION_MAJOR < 3
    (void)rng, (void)p_rng;
    return mbedtls_pk_parse_keyfile(pk, path, NULL);
#else
    return mbedtls_pk_parse_keyfile(pk, path, NULL, rng, p_rng);
#endif
}

/* `n` counts the NUL of PEM text. */
static inline int compat_parse_key(mbedtls_pk_context *pk, const unsigned char *pem, size_t n,
                                   int (*rng)(void *, unsigned char *, size_t), void *p_rng)
{
#if MBEDTLS_VERSION_MAJOR < 3
    (void)rng, (void)p_rng;
    return mbedtls_pk_parse_key(pk, pem, n, NULL, 0);
#else
    return mbedtls_pk_parse_key(pk, pem, n, NULL, 0, rng, p_rng);
#endif
}

static inline int compat_check_pair(const mbedtls_pk_context *pub, const mbedtls_pk_context *prv,
                                    int (*rng)(void *, unsigned char *, size_t), void *p_rng)
{
#if MBEDTLS_VERSION_MAJOR < 3
    (void)rng, (void)p_rng;
    return mbedtls_pk_check_pair(pub, prv);
#else
    return mbedtls_pk_check_pair(pub, prv, rng, p_rng);
#endif
}

/* The client offers no suite that we have, or none that our key serves. */
static inline bool compat_is_no_suite(int ret)
{
#if MBEDTLS_VERSION_MAJOR < 3
    return ret == MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN || ret == MBEDTLS_ERR_SSL_NO_USABLE_CIPHERSUITE;
#else
    return ret == MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE;
#endif
}

/* 3.x may route cryptography through PSA, which wants to be started. */
static inline bool compat_crypto_init(void)
{
#if MBEDTLS_VERSION_MAJOR < 3
    return true;
#else
    return psa_crypto_init() == PSA_SUCCESS;
#endif
}

#endif
