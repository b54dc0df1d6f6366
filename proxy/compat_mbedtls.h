/* What differs between mbedtls 2.28 (Debian 12) and 3.6 (Debian 13) for DTLS
 * and TLS. */
#ifndef POSTERN_PROXY_COMPAT_MBEDTLS_H
#define POSTERN_PROXY_COMPAT_MBEDTLS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <mbedtls/pk.h>
#include <mbedtls/platform.h>
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

/* Connection IDs (RFC 9146) of `n` bytes from clients that offer theirs. A
 * record that has another than its session's is dropped. */
#if MBEDTLS_VERSION_MAJOR >= 3 && defined(MBEDTLS_SSL_DTLS_CONNECTION_ID) &&                       \
    MBEDTLS_SSL_DTLS_CONNECTION_ID_COMPAT == 0
#define COMPAT_HAS_CID 1
#else
#define COMPAT_HAS_CID 0
#endif

static inline bool compat_conf_cid(mbedtls_ssl_config *conf, size_t n)
{
#if COMPAT_HAS_CID
    return mbedtls_ssl_conf_cid(conf, n, MBEDTLS_SSL_UNEXPECTED_CID_IGNORE) == 0;
#else
    (void)conf, (void)n;
    return true;
#endif
}

static inline bool compat_set_cid(mbedtls_ssl_context *ssl, const uint8_t *cid, size_t n)
{
#if COMPAT_HAS_CID
    return mbedtls_ssl_set_cid(ssl, MBEDTLS_SSL_CID_ENABLED, cid, n) == 0;
#else
    (void)ssl, (void)cid, (void)n;
    return true;
#endif
}

/* Of an established session: whether its records have connection IDs. */
static inline bool compat_uses_cid(mbedtls_ssl_context *ssl)
{
#if COMPAT_HAS_CID
    int in_use = MBEDTLS_SSL_CID_DISABLED;
    return mbedtls_ssl_get_peer_cid(ssl, &in_use, NULL, NULL) == 0 &&
           in_use == MBEDTLS_SSL_CID_ENABLED;
#else
    (void)ssl;
    return false;
#endif
}

/* TLS 1.3 over streams, where the library has it; its suites (RFC 8446 B.4)
 * come before all others. */
#if MBEDTLS_VERSION_MAJOR >= 3 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
#define COMPAT_HAS_TLS13 1
#define COMPAT_TLS13_SUITES                                                                        \
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS1_3_AES_256_GCM_SHA384,                          \
        MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS1_3_AES_128_CCM_SHA256,                \
        MBEDTLS_TLS1_3_AES_128_CCM_8_SHA256,
#else
#define COMPAT_HAS_TLS13 0
#define COMPAT_TLS13_SUITES
#endif

/* TLS 1.2 or 1.3, and nothing older. */
static inline void compat_conf_tls(mbedtls_ssl_config *conf)
{
    compat_conf_dtls12(conf);
#if COMPAT_HAS_TLS13
    mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_3);
    mbedtls_ssl_conf_tls13_key_exchange_modes(conf, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_ALL);
#endif
}

/* mbedtls_ssl_read() has met a session ticket and read on is all there is to
 * do. */
static inline bool compat_is_ticket(int ret)
{
#if COMPAT_HAS_TLS13
    return ret == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET;
#else
    (void)ret;
    return false;
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

/* Of a certificate that is being written: big-endian. */
static inline int compat_set_serial(mbedtls_x509write_cert *crt, const uint8_t *serial, size_t n)
{
#if MBEDTLS_VERSION_MAJOR < 3
    mbedtls_mpi number;
    mbedtls_mpi_init(&number);
    int ret = mbedtls_mpi_read_binary(&number, serial, n);
    if (ret == 0)
        ret = mbedtls_x509write_crt_set_serial(crt, &number);
    mbedtls_mpi_free(&number);
    return ret;
#else
    unsigned char copy[MBEDTLS_X509_RFC5280_MAX_SERIAL_LEN];
    if (n > sizeof copy)
        return MBEDTLS_ERR_X509_BAD_INPUT_DATA;
    memcpy(copy, serial, n);
    return mbedtls_x509write_crt_set_serial_raw(crt, copy, n);
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

/* Of an established session, what only a resumption would want: its id, its
 * age, and the peer's certificate, which was judged when it came. */
static inline void compat_forget_session(mbedtls_ssl_context *ssl)
{
    mbedtls_ssl_session *s = ssl->MBEDTLS_PRIVATE(session);
    if (!s)
        return;
    mbedtls_x509_crt_free(s->MBEDTLS_PRIVATE(peer_cert));
    mbedtls_free(s->MBEDTLS_PRIVATE(peer_cert));
    s->MBEDTLS_PRIVATE(peer_cert) = NULL;
#ifdef MBEDTLS_HAVE_TIME
    s->MBEDTLS_PRIVATE(start) = 0;
#endif
    s->MBEDTLS_PRIVATE(id_len) = 0;
    memset(s->MBEDTLS_PRIVATE(id), 0, sizeof s->MBEDTLS_PRIVATE(id));
}

/* A context cannot be saved while it keeps the last flight of its handshake
 * for a client that did not get it, which it does until the client's first
 * record. There is no other way to tell it that the wait is over than its own
 * function for that, which both versions export without declaring it. */
void mbedtls_ssl_handshake_wrapup_free_hs_transform(mbedtls_ssl_context *ssl);

static inline bool compat_keeps_flight(const mbedtls_ssl_context *ssl)
{
    return ssl->MBEDTLS_PRIVATE(handshake) != NULL;
}

static inline void compat_drop_flight(mbedtls_ssl_context *ssl)
{
    if (compat_keeps_flight(ssl))
        mbedtls_ssl_handshake_wrapup_free_hs_transform(ssl);
}

/* The highest sequence number seen, and of it and the 63 before which were
 * (bit 0 is the highest itself). */
static inline void compat_window(const mbedtls_ssl_context *ssl, uint64_t *top, uint64_t *seen)
{
    *top = ssl->MBEDTLS_PRIVATE(in_window_top);
    *seen = ssl->MBEDTLS_PRIVATE(in_window);
}

/* A client that has sent its Finished and has not got the server's. */
static inline bool compat_awaits_finished(const mbedtls_ssl_context *ssl)
{
    int state = (int)ssl->MBEDTLS_PRIVATE(state);
#if MBEDTLS_VERSION_MAJOR < 3
    bool awaits_ticket = state == MBEDTLS_SSL_SERVER_NEW_SESSION_TICKET;
#else
    bool awaits_ticket = state == MBEDTLS_SSL_NEW_SESSION_TICKET;
#endif
    return awaits_ticket || state == MBEDTLS_SSL_SERVER_CHANGE_CIPHER_SPEC ||
           state == MBEDTLS_SSL_SERVER_FINISHED;
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
