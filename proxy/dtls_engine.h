/* What the files of the DTLS engine share: credentials and configuration,
 * the same for all sessions of a worker. Included by dtls*.c only. */
#ifndef POSTERN_DTLS_ENGINE_H
#define POSTERN_DTLS_ENGINE_H

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>

#include "dtls.h"
#include "greeter.h"
#include "hello.h"

struct dtls {
    struct dtls_ops ops;
    void *user;
    mbedtls_ssl_config conf;
    mbedtls_x509_crt chain, client_ca;
    mbedtls_pk_context key;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
    struct greeter greeter;
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
    struct handshake *handshake;
    struct pep_proof proof;
};

/* A session with its buffers and callbacks, in no state yet. NULL: no memory. */
MUST_USE struct dtls_session *dtls_session_make(struct dtls *d, const struct peer *peer,
                                                void *owner);

/* What the library calls back; `user` is the struct dtls. In dtls.c. */
int dtls_on_psk(void *user, mbedtls_ssl_context *ssl, const unsigned char *identity, size_t n);
int dtls_on_cookie_write(void *user, unsigned char **p, unsigned char *end,
                         const unsigned char *client, size_t client_n);
int dtls_on_cookie_check(void *user, const unsigned char *cookie, size_t n,
                         const unsigned char *client, size_t client_n);

/* Whether a suite of ours has a psk_identity in its ClientKeyExchange. */
bool dtls_suite_uses_psk(int suite);

#endif
