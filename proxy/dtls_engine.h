/* What the files of the DTLS engine, and that of TLS beside it, share:
 * credentials and configuration, the same for all sessions of a worker.
 * Included by dtls*.c and tls*.c only. */
#ifndef POSTERN_DTLS_ENGINE_H
#define POSTERN_DTLS_ENGINE_H

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>

#include "../policy/slab.h"
#include "dtls.h"
#include "greeter.h"
#include "hello.h"

enum {
    DTLS_SAVED_HEADER = 8, /* the library's version, and how it was built */
    DTLS_SPARE = 16,
};

/* A server's own credentials, and its randomness. */
struct dtls_own {
    mbedtls_x509_crt chain, client_ca;
    mbedtls_pk_context key;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
};
void dtls_own_init(struct dtls_own *o);
void dtls_own_clear(struct dtls_own *o);
/* The library is started, and its randomness; before anything is loaded. */
MUST_USE bool dtls_own_start(struct dtls_own *o, struct buf *diag);
MUST_USE bool dtls_own_load(struct dtls_own *o, mbedtls_ssl_config *conf,
                            const struct dtls_config *c, struct buf *diag);

struct dtls {
    struct dtls_ops ops;
    void *user;
    mbedtls_ssl_config conf;
    struct dtls_own own;
    uint8_t worker; /* the first byte of the connection IDs that it hands out */
    struct greeter greeter;
    /* The ClientHello whose cookie was found good last: a session that begins
     * with it, now, need not look at the cookie again. */
    struct {
        struct peer peer;
        uint64_t at_us;
        size_t n;
        uint8_t hello[512];
    } welcome;
    /* What every saved session begins with: learned from the first. */
    bool has_saved_header;
    uint8_t saved_header[DTLS_SAVED_HEADER];
    struct dtls_session *spare[DTLS_SPARE]; /* fresh, with buffers */
    size_t n_spare;
    struct slab small; /* sleepers */
};

enum session_state {
    SESSION_FRESH = 0, /* nothing was received */
    SESSION_HANDSHAKE,
    SESSION_PARKED, /* waits for find_psk */
    SESSION_ESTABLISHED,
    SESSION_CLOSED,
};

struct handshake; /* dtls.c */

struct dtls_session {
    mbedtls_ssl_context ssl;
    struct dtls *dtls;
    void *owner;
    struct peer peer;
    enum session_state state;
    bool alerted; /* a fatal alert has left */
    const char *reason;
    struct instant now;
    uint64_t int_ms, fin_ms; /* the engine's timer; fin_ms 0: cancelled */
    struct bytes in;         /* what is left of the datagram */
    struct bytes record;     /* what the engine reads next */
    struct buf *out;         /* where a record is to go instead of the wire */
    uint8_t random[HELLO_RANDOM];
    uint8_t cid[DTLS_CID]; /* ours, from the handshake to its end */
    struct handshake *handshake;
    struct pep_proof proof;
};

/* A session with its buffers and callbacks, in no state yet. NULL: no memory. */
MUST_USE struct dtls_session *dtls_session_make(struct dtls *d, const struct peer *peer,
                                                void *owner);
/* The same with what another has left. NULL: nobody has. */
MUST_USE struct dtls_session *dtls_session_spare(struct dtls *d, const struct peer *peer,
                                                 void *owner);

/* AEAD only, in our order of preference. PSK comes before certificates: who
 * offers PSK has one, while some stacks offer every suite they know. With
 * ECDHE_PSK mbedtls has no AES-CCM or AES-GCM, only ChaCha20-Poly1305.
 * RFC 9202 3.3.2 makes PSK_WITH_AES_128_CCM_8 mandatory, 3.2.2
 * ECDHE_ECDSA_WITH_AES_128_CCM_8. */
#define DTLS_PSK_SUITES                                                                            \
    MBEDTLS_TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256,  \
        MBEDTLS_TLS_PSK_WITH_AES_256_GCM_SHA384, MBEDTLS_TLS_PSK_WITH_CHACHA20_POLY1305_SHA256,    \
        MBEDTLS_TLS_PSK_WITH_AES_128_CCM, MBEDTLS_TLS_PSK_WITH_AES_256_CCM,                        \
        MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8, MBEDTLS_TLS_PSK_WITH_AES_256_CCM_8

#define DTLS_CERTIFICATE_SUITES                                                                    \
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,                                               \
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,                                           \
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,                                     \
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_CCM,        \
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8

/* What the library calls back; `user` is the struct dtls. In dtls.c. */
int dtls_on_psk(void *user, mbedtls_ssl_context *ssl, const unsigned char *identity, size_t n);
int dtls_on_cookie_write(void *user, unsigned char **p, unsigned char *end,
                         const unsigned char *client, size_t client_n);
int dtls_on_cookie_check(void *user, const unsigned char *cookie, size_t n,
                         const unsigned char *client, size_t client_n);

/* Whether a suite of ours has a psk_identity in its ClientKeyExchange. */
bool dtls_suite_uses_psk(int suite);

#endif
