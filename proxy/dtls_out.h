/* DTLS 1.2 towards a server, as an engine: datagrams in, plaintext and
 * datagrams out. It owns no socket and calls no clock. Nothing above this
 * header names mbedtls.
 *
 * The server is always verified: by the shared key, or by its certificate
 * against the given CA and by its name. There is no way to turn that off.
 */
#ifndef POSTERN_DTLS_OUT_H
#define POSTERN_DTLS_OUT_H

#include "../policy/bytes.h"
#include "instant.h"

/* Credentials towards one server, loaded once; and its last session, which
 * the next handshake offers to resume (RFC 5246 7.3, RFC 5077). */
struct dtls_out;
struct dtls_out_session; /* one handshake, and what it becomes */

enum dtls_out_event {
    DTLS_OUT_NOTHING = 0,
    DTLS_OUT_ESTABLISHED,
    DTLS_OUT_CLOSED, /* over; dtls_out_reason() says why */
};

enum { DTLS_OUT_OVERHEAD = 64 }; /* of a record */

/* PEM texts, and bytes: copied. Either identity and key, or ca. */
struct dtls_out_config {
    struct bytes identity, psk;
    struct bytes certificate, key; /* ours, for a server that asks; n 0: none */
    struct bytes ca;
    const char *host; /* the name or address literal that its certificate must have */
    bool stream;      /* for TLS over TCP (tls.h) instead of DTLS */
};

/* On failure NULL and *why is static text; it does not name the file. */
MUST_USE struct dtls_out *dtls_out_new(const struct dtls_out_config *c, const char **why);
void dtls_out_free(struct dtls_out *d); /* after all of its sessions */
/* What is wrong with these PEM texts, each may have n 0; NULL: nothing. */
MUST_USE const char *dtls_out_check(struct bytes ca, struct bytes certificate, struct bytes key);

typedef void dtls_out_send_fn(void *user, struct bytes datagram);

MUST_USE struct dtls_out_session *dtls_out_session_new(struct dtls_out *d, dtls_out_send_fn *send,
                                                       void *user);
void dtls_out_session_free(struct dtls_out_session *s); /* NULL is fine */

/* Sends the ClientHello. */
MUST_USE enum dtls_out_event dtls_out_start(struct dtls_out_session *s, struct instant now);
/* Takes one datagram; then call dtls_out_read() until it returns nothing. */
MUST_USE enum dtls_out_event dtls_out_receive(struct dtls_out_session *s, struct bytes datagram,
                                              struct instant now);
/* The next plaintext record into `storage`; n 0: none. *event: whether the
 * server closed meanwhile. */
struct bytes dtls_out_read(struct dtls_out_session *s, struct instant now, uint8_t *storage,
                           size_t cap, enum dtls_out_event *event);
/* One record. False: not established, or too large. */
MUST_USE bool dtls_out_write(struct dtls_out_session *s, struct bytes plain, struct instant now);

bool dtls_out_is_established(const struct dtls_out_session *s);
uint64_t dtls_out_deadline_ms(const struct dtls_out_session *s); /* UINT64_MAX: none */
MUST_USE enum dtls_out_event dtls_out_expire(struct dtls_out_session *s, struct instant now);
/* The handshake took too long: DTLS_OUT_CLOSED, without a word. */
MUST_USE enum dtls_out_event dtls_out_give_up(struct dtls_out_session *s);
/* Sends close_notify. */
void dtls_out_close(struct dtls_out_session *s, struct instant now);
const char *dtls_out_reason(const struct dtls_out_session *s);

enum dtls_out_end {
    DTLS_OUT_SILENT = 0, /* no answer to the handshake */
    DTLS_OUT_REFUSED,    /* a handshake that one side would not finish */
    DTLS_OUT_ENDED,      /* after it was established */
};
enum dtls_out_end dtls_out_end(const struct dtls_out_session *s);

#endif
