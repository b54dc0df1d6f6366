/* DTLS 1.2 as an engine: datagrams in, plaintext and datagrams out. It owns
 * no socket and calls no clock. Nothing above this header names mbedtls.
 *
 * A stranger costs no state: dtls_greet() answers a ClientHello without a
 * good cookie by a HelloVerifyRequest computed on the stack (RFC 6347
 * 4.2.1). Only a returned cookie earns a session.
 *
 * The psk_identity is read from the ClientKeyExchange before the engine
 * needs the key: `find_psk` may answer DTLS_KEY_WAIT; the datagram is then
 * kept and the handshake goes on at dtls_wake().
 */
#ifndef POSTERN_DTLS_H
#define POSTERN_DTLS_H

#include "../pep/pep.h"
#include "instant.h"
#include "peer.h"

struct dtls;         /* one a worker: credentials, suites, randomness, cookie secret */
struct dtls_session; /* one handshake, and the association it becomes */

enum dtls_event {
    DTLS_NOTHING = 0, /* nothing for the caller */
    DTLS_ESTABLISHED, /* the handshake is complete */
    DTLS_CLOSED,      /* over; see dtls_close_reason() */
};

enum dtls_greeting {
    DTLS_GREET_DROP = 0, /* not a ClientHello we can answer */
    DTLS_GREET_ANSWER,   /* send `out` back; forget the rest */
    DTLS_GREET_WELCOME,  /* the cookie is good: make a session, feed it this datagram */
};

struct dtls_config {
    const char *certificate, *key, *client_ca; /* PEM files, absolute; NULL: PSK only */
    const char *psk_hint;                      /* NULL: none is sent */
};

/* What the engine asks of its owner. `user` is dtls_new()'s. */
struct dtls_ops {
    /* The proof for an identity; its key is used for the handshake. */
    enum pep_key_state (*find_psk)(void *user, struct dtls_session *s, struct bytes identity,
                                   struct pep_proof *out);
    bool (*judge_certificate)(void *user, struct dtls_session *s, const struct pep_certificate *c,
                              struct pep_proof *out);
    /* A datagram of the handshake, an alert. Borrowed for the call. */
    void (*send)(void *user, struct dtls_session *s, struct bytes datagram);
};

/* On failure NULL and `diag` says which file and why. */
MUST_USE struct dtls *dtls_new(const struct dtls_config *c, const struct dtls_ops *ops, void *user,
                               struct buf *diag);
void dtls_free(struct dtls *d); /* after all of its sessions */
/* When the first of the gateway's own chain ends, and of the client CAs, in UTC
 * seconds; INT64_MAX: there are none. */
int64_t dtls_own_ends(const struct dtls *d);
int64_t dtls_ca_ends(const struct dtls *d);

/* ---- connection IDs (RFC 9146), where the library has them ---- */

/* Those that are handed out begin with this number; the rest is random. */
void dtls_set_worker(struct dtls *d, uint8_t worker);
/* dtls_next_record() as sessions read: records with a connection ID too. */
MUST_USE bool dtls_next_of(struct bytes *datagram, struct bytes *record);
/* The one that a datagram begins with; n 0: none, or there are none. */
struct bytes dtls_cid_of(struct bytes datagram);
/* The one of a session that was just established; n 0: its client wants none. */
struct bytes dtls_cid(struct dtls_session *s);
/* Whether the datagram's first record is newer than all that came (6). To be
 * asked only of one that dtls_owns() knows. */
bool dtls_is_newest(const struct dtls_session *s, struct bytes datagram);

/* Fills with cryptographic randomness. */
void dtls_random(struct dtls *d, void *to, size_t n);

bool dtls_is_client_hello(struct bytes datagram);
MUST_USE enum dtls_greeting dtls_greet(struct dtls *d, const struct peer *peer,
                                       struct bytes datagram, struct instant now, struct buf *out);

/* `owner` is the caller's own, found again by dtls_session_owner(). */
MUST_USE struct dtls_session *dtls_session_new(struct dtls *d, const struct peer *peer,
                                               void *owner);
void dtls_session_free(struct dtls_session *s);
void *dtls_session_owner(const struct dtls_session *s);
/* Whether the session's handshake began with this same ClientHello: it is a
 * retransmission or a duplicate, not a client that comes back. */
bool dtls_began_with(const struct dtls_session *s, struct bytes client_hello);

/* Takes one datagram. Then call dtls_read() until it returns nothing. */
MUST_USE enum dtls_event dtls_receive(struct dtls_session *s, struct bytes datagram,
                                      struct instant now);
/* The next plaintext record into `storage`; n 0: none. *event tells whether
 * the peer closed meanwhile. */
struct bytes dtls_read(struct dtls_session *s, struct instant now, uint8_t *storage, size_t cap,
                       enum dtls_event *event);
/* Encrypts one record into `out` (room for plaintext + DTLS_OVERHEAD). */
MUST_USE bool dtls_write(struct dtls_session *s, struct bytes plain, struct buf *out);

/* Whether a record after a handshake is this session's: authentic, not a
 * replay. Changes nothing. */
bool dtls_owns(struct dtls_session *s, struct bytes datagram);

bool dtls_is_parked(const struct dtls_session *s);
/* A parked handshake goes on: find_psk is asked again. */
MUST_USE enum dtls_event dtls_wake(struct dtls_session *s, struct instant now);

/* ---- sleep (dtls_sleep.c) ----
 *
 * An established session at rest: a block of some 200 bytes in place of the
 * engine's 40 KiB. It holds keys; sequence numbers and the replay window are
 * in it as they were. The engine saves no session whose handshake is not
 * over; all our suites are AEAD, as it wants them. */
struct dtls_asleep;

/* Turns s into bytes, and frees it. NULL: it cannot be now (a record is being
 * read, the handshake is not over, no memory); s is as it was. The last flight
 * that it keeps for a client that may not have got it (RFC 6347 4.2.4) is
 * dropped. */
MUST_USE struct dtls_asleep *dtls_sleep(struct dtls_session *s);
/* The session that `a` was. `a` stays, and must be freed before the session
 * writes or reads anything: two of one would use a nonce twice. */
MUST_USE struct dtls_session *dtls_rouse(struct dtls *d, const struct dtls_asleep *a,
                                         const struct peer *peer, void *owner, struct instant now);
void dtls_asleep_free(struct dtls *d, struct dtls_asleep *a); /* wipes; NULL is fine */
/* Whether a record could be the session's, by its epoch, its length and the
 * replay window: what costs nothing to know. */
bool dtls_asleep_expects(const struct dtls_asleep *a, struct bytes record);
/* As dtls_began_with(). */
bool dtls_asleep_began_with(const struct dtls *d, const struct dtls_asleep *a,
                            struct bytes client_hello);
/* For keeping it elsewhere: the block, borrowed; and a copy of one. Only
 * bytes that are known to be ours may come back. */
struct bytes dtls_asleep_bytes(const struct dtls_asleep *a);
MUST_USE struct dtls_asleep *dtls_asleep_of(struct dtls *d, struct bytes block);
/* A session that is not wanted any more, in silence: its buffers, wiped, are
 * kept for the next that begins or wakes: to map and unmap them would take as
 * long as a quarter of a handshake. NULL is fine. */
void dtls_session_leave(struct dtls_session *s);

/* What the handshake proved; valid once established. */
const struct pep_proof *dtls_proof(const struct dtls_session *s);
/* The owner has taken the proof: its key is wiped. */
void dtls_forget_key(struct dtls_session *s);
const char *dtls_suite(const struct dtls_session *s);

uint64_t dtls_deadline_ms(const struct dtls_session *s); /* UINT64_MAX: none */
MUST_USE enum dtls_event dtls_expire(struct dtls_session *s, struct instant now);

/* Sends close_notify (established) or a fatal alert; the session stays until
 * freed. */
void dtls_close(struct dtls_session *s, const char *reason);
const char *dtls_close_reason(const struct dtls_session *s);

/* The version of the library: what another saved it cannot read. */
uint32_t dtls_library(void);
/* What every saved session begins with and dtls_asleep_bytes() leaves out;
 * n 0: none has slept yet. */
struct bytes dtls_saved_header(const struct dtls *d);
/* False: it cannot be one, or another is known already. */
MUST_USE bool dtls_use_header(struct dtls *d, struct bytes header);

enum { DTLS_OVERHEAD = 96 }; /* record header, a connection ID, nonce, tag, padding; with room */

#endif
