/* TLS 1.2, and 1.3 where mbedtls has it, as an engine over a stream of bytes:
 * it owns no socket and calls no clock; bytes are asked for and handed over
 * through callbacks that never block. Nothing above this header names
 * mbedtls.
 *
 * Proof is as with DTLS (dtls.h): the psk_identity is read in clear before
 * the engine needs the key, so that `find_psk` may answer PEP_KEY_WAIT; the
 * handshake then stands still until tls_wake(). ALPN is "coap" (RFC 8323 8.2);
 * no tickets, no renegotiation, no early data.
 */
#ifndef POSTERN_TLS_H
#define POSTERN_TLS_H

#include "dtls.h"
#include "dtls_out.h"

struct tls;         /* credentials of one side; shared by its sessions */
struct tls_session; /* one connection */

enum tls_event {
    TLS_NOTHING = 0,
    TLS_ESTABLISHED,
    TLS_CLOSED, /* over; see tls_reason() */
};

/* What the engine asks of its owner, of servers only. */
struct tls_ops {
    enum pep_key_state (*find_psk)(void *user, struct bytes identity, struct pep_proof *out);
    bool (*judge_certificate)(void *user, const struct pep_certificate *c, struct pep_proof *out);
};

/* Where its bytes come from and go to. */
struct tls_wire {
    /* Up to cap bytes; 0: none now. -1: the peer has ended the stream. */
    int (*recv)(void *user, uint8_t *to, size_t cap);
    /* All of it is taken, or the stream is over: false. */
    bool (*send)(void *user, struct bytes b);
};

/* On failure NULL; `diag` or *why say why. */
MUST_USE struct tls *tls_server_new(const struct dtls_config *c, struct buf *diag);
MUST_USE struct tls *tls_client_new(const struct dtls_out_config *c, const char **why);
void tls_free(struct tls *t); /* after all of its sessions */

/* `ops` NULL for a client; both are borrowed for the session's life. */
MUST_USE struct tls_session *tls_session_new(struct tls *t, const struct tls_wire *wire,
                                             const struct tls_ops *ops, void *user);
void tls_session_free(struct tls_session *s); /* NULL is fine */

/* Goes on with the handshake as far as there are bytes; a client's first call
 * sends its ClientHello. */
MUST_USE enum tls_event tls_handshake(struct tls_session *s);
bool tls_is_parked(const struct tls_session *s);
/* find_psk is asked again, and the handshake goes on. */
MUST_USE enum tls_event tls_wake(struct tls_session *s);

/* The next plaintext; n 0: none now. */
struct bytes tls_read(struct tls_session *s, uint8_t *to, size_t cap, enum tls_event *event);
MUST_USE bool tls_write(struct tls_session *s, struct bytes plain);
/* close_notify, or a fatal alert during the handshake. */
void tls_close(struct tls_session *s, const char *reason);
const char *tls_reason(const struct tls_session *s);

const struct pep_proof *tls_proof(const struct tls_session *s); /* once established */
void tls_forget_key(struct tls_session *s);
const char *tls_suite(const struct tls_session *s);

#endif
