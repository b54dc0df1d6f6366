/* CoAP connections over TCP or TLS (RFC 8323), of either direction: framing,
 * signalling, deadlines and caps. A table of them on one loop.
 *
 * What is behind it sees messages as datagrams (RFC 7252 3), with a message ID
 * that means nothing: CON, or NON those of strangers without TLS, for whom
 * nothing is to be repeated. What it sends in that form leaves as a
 * frame, and what has no meaning here (an empty message) is dropped. There
 * are no duplicates and no losses but that of the whole connection.
 *
 * Nothing is freed inside a call that was given it: conn_close() ends a
 * connection, conns_turn() tells `closed` and frees it.
 *
 * Strangers are those that were accepted and have not shown a CSM yet, or
 * have no TLS. They are few, in all and of one network, have little time, and
 * give way to newer ones unless it is we who let them wait; others never do. A
 * frame that was begun must come
 * whole in time.
 */
#ifndef POSTERN_CONN_H
#define POSTERN_CONN_H

#include "coap_signal.h"
#include "stream.h"

struct budget;
struct conns;
struct conn;

struct conn_ops {
    /* Of connections that were accepted with TLS; as dtls_ops. */
    enum pep_key_state (*find_psk)(void *user, struct conn *c, struct bytes identity,
                                   struct pep_proof *out);
    bool (*judge_certificate)(void *user, struct conn *c, const struct pep_certificate *cert,
                              struct pep_proof *out);
    /* The peer's first CSM is here. False: it is closed ("refused"). */
    bool (*opened)(void *user, struct conn *c, struct instant now);
    /* One message, `m` a view into `datagram`: borrowed for the call. */
    void (*message)(void *user, struct conn *c, const struct msg *m, struct bytes datagram,
                    struct instant now);
    /* Whether something that came is still being worked on (Custody, Release).
     * NULL: never. */
    bool (*busy)(void *user, struct conn *c);
    /* It is over, also when it was never opened, and about to be freed. */
    void (*closed)(void *user, struct conn *c, const char *reason, struct instant now);
};

struct conns_config {
    size_t max;                        /* open, and those that we began */
    size_t max_half, max_half_per_net; /* of strangers beside them */
    size_t max_message;                /* that we take; at most MESSAGE_MAX */
    unsigned worker, workers;          /* of several tables that listen together, from 0 */
    uint64_t idle_ms;                  /* an open one without a word is closed; UINT64_MAX: never */
    uint64_t keep_ms;                  /* one that we began: silent for so long, a Ping; 0: none */
    struct budget *budget; /* of TLS handshakes of those who connect to us, which go on in
                              conns_serve(); borrowed. NULL: when they come */
};

struct conns_stats {
    uint64_t open, half_open; /* now; half_open: strangers */
    uint64_t accepted, connected, opened, failed, evicted, refused, aborted, released, slow;
    uint64_t messages;
};

MUST_USE struct conns *conns_new(struct loop *l, const struct conns_config *c,
                                 const struct conn_ops *ops, void *user);
void conns_free(struct conns *t); /* nobody is told */

/* Listens; `tls` NULL: plain. `tag` is told by conn_tag(). Both are borrowed
 * until conns_free(). On failure false and `diag`. */
MUST_USE bool conns_listen(struct conns *t, const struct peer *local, bool v6only, struct tls *tls,
                           int tag, struct buf *diag);
/* The address that listener number `i` (in the order of conns_listen()) has. */
void conns_local(const struct conns *t, size_t i, struct peer *out);

/* Begins a connection; `opened` or `closed` follow from the loop, never from
 * within. NULL: no socket, no way there, or out of memory. */
MUST_USE struct conn *conn_connect(struct conns *t, const struct peer *to, struct tls *tls, int tag,
                                   struct instant now);

/* The owner's own. */
void conn_set_owner(struct conn *c, void *owner);
void *conn_owner(const struct conn *c);
/* What its handshake waits for (find_psk said PEP_KEY_WAIT); 0: nothing. */
void conn_set_wait(struct conn *c, uint64_t question);
uint64_t conn_wait(const struct conn *c);
int conn_tag(const struct conn *c);
const struct peer *conn_peer(const struct conn *c);
bool conn_is_open(const struct conn *c);  /* messages may go out */
bool conn_was_open(const struct conn *c); /* it is, or it came so far */
/* The peer has sent a Release, or we have: no new requests (RFC 8323 5.5). */
bool conn_is_released(const struct conn *c);
/* NULL: plain. What its handshake proved, once it is done. */
const struct pep_proof *conn_proof(const struct conn *c);
void conn_forget_key(struct conn *c);
const char *conn_suite(const struct conn *c); /* "-": plain */

/* The longest message that the peer takes, in the form of a datagram. */
size_t conn_message_max(const struct conn *c);

/* A message as a datagram. False: it is not open, the message is larger than
 * the peer takes, or the peer does not read (then it is closed). */
bool conn_send(struct conn *c, struct bytes datagram, struct instant now);
/* A Ping (5.4). A peer that sends nothing at all for CONN_PONG_MS after it is
 * gone: the connection is closed ("silent"). */
void conn_ping(struct conn *c, struct instant now);
/* Release (5.5): it is closed when it is not busy any more, or after a while. */
void conn_release(struct conn *c, struct instant now);
void conn_abort(struct conn *c, const char *why, struct instant now);
void conn_close(struct conn *c, const char *reason, struct instant now);

/* Handshakes whose find_psk said PEP_KEY_WAIT: `visit` says which go on. */
void conns_wake(struct conns *t, bool (*visit)(void *user, struct conn *c), void *user,
                struct instant now);
/* The stranger at this address; NULL: gone. */
struct conn *conns_find_stranger(struct conns *t, int tag, const struct peer *peer);
void conns_each(struct conns *t, void (*visit)(void *user, struct conn *c), void *user);

/* The next step of a handshake that waited, after all else of a turn. False:
 * none does, or there is no time for it. */
MUST_USE bool conns_serve(struct conns *t, struct instant now);
/* Of every turn of the loop. The next deadline in ms; UINT64_MAX: none. */
uint64_t conns_turn(struct conns *t, struct instant now);
void conns_get_stats(const struct conns *t, struct conns_stats *out);

#endif
