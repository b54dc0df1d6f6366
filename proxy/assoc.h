/* The table of security associations, keyed by listener and peer.
 *
 * An association is an established session, or a handshake under way, or
 * both: a client that comes back from the same address and port gets its new
 * handshake at once, and the old session lives until the new one is complete
 * (RFC 6347 4.2.8). Bounded: half-open handshakes give way first, an
 * established association never does for a stranger.
 *
 * An established session is awake or asleep. One that was not used for some
 * seconds is put to sleep (dtls.h), and its next record, from either side,
 * wakes it. A stranger's record does not: it is tried on a copy (and cheaply
 * before that), and displaces nobody. No more than `max_awake` are awake
 * from one turn of the loop to the next; beyond, whoever was used least
 * lately sleeps early.
 *
 * With a connection ID (RFC 9146) an association is found by that, and its
 * address becomes that of its newest record once this is known to be
 * authentic (6); not before, and not by an older one.
 *
 * Datagrams of handshakes may wait until what came from established clients is
 * served, and for their part of the time (lobby.h).
 *
 * Nothing is freed inside a call that was given it: assoc_close() marks it
 * dead, assocs_reap() frees at the end of the turn.
 */
#ifndef POSTERN_ASSOC_H
#define POSTERN_ASSOC_H

#include <stdatomic.h>

#include "deadline.h"
#include "dtls.h"
#include "limits.h"

struct assoc_cid;
struct budget;
struct conn;
struct exchange;
struct watch;
struct assocs;

/* A session that is awake, or a handshake, and its place in an order. */
struct assoc_seat {
    struct dtls_session *dtls;
    struct assoc *assoc;
    struct assoc_seat *prev, *next; /* kept by assoc.c */
    uint64_t since_ms;              /* a handshake: its birth; else the last use, either way */
    uint64_t wait;                  /* the question it waits for; kept by the gate */
    struct deadline deadline;       /* of a handshake */
    unsigned order;
};

/* There may be a hundred thousand of them, nearly all asleep: what only an
 * awake one needs is in its seat. */
struct assoc {
    uint64_t id; /* for logs and records; never reused */
    struct peer peer;
    int listener;                /* index of the listening socket it came by */
    struct assoc_seat *live;     /* established and awake, or NULL */
    struct dtls_asleep *asleep;  /* established and asleep, or NULL */
    struct assoc_seat *pending;  /* its handshake, or NULL */
    struct conn *conn;           /* over TCP (conn.h), and so without any of the three */
    struct pep_session *session; /* opened by the gate when established; or NULL */
    struct exchange *exchanges;  /* head of its list, kept by exchange.c */
    struct watch *watches;       /* likewise, by watch.c */
    uint32_t repeats;            /* likewise: what is remembered of those that are over */
    uint8_t n_exchanges;         /* under way */
    uint16_t next_mid;           /* for our own messages to this client */
    bool dead;
    uint8_t m2m; /* enum m2m_numbering that it was heard to use, plus one; kept by the gate */
    struct deadline ends; /* kept by the gate: when the last grant ends */
    /* kept by assoc.c */
    struct assoc_cid *cid; /* its connection ID, or NULL */
    struct assoc *hash_next, *id_next, *idle_prev;
    union {
        struct assoc *idle_next;
        struct assoc *dead_next; /* once it is dead */
    };
    union {
        uint64_t used_ms;   /* last authentic record */
        const char *reason; /* why dead */
    };
};

/* What the table asks of its owner. */
struct assoc_ops {
    enum pep_key_state (*find_psk)(void *user, struct assoc *a, struct bytes identity,
                                   struct pep_proof *out);
    bool (*judge_certificate)(void *user, struct assoc *a, const struct pep_certificate *c,
                              struct pep_proof *out);
    void (*send)(void *user, int listener, const struct peer *to, struct bytes datagram);
    /* `live` or `conn` is new: the old pep session (if any) must be closed,
     * exchanges of the old session forgotten, and a new pep session opened
     * from what was proved. False: the association is closed. */
    bool (*established)(void *user, struct assoc *a, struct instant now);
    /* The association is dead and about to be freed: let go of what refers
     * to it. Called by assocs_reap(), never earlier. `reason` is static text. */
    void (*closed)(void *user, struct assoc *a, const char *reason);
    /* It fell asleep: what its owner can find again may go. NULL: nothing. */
    void (*slept)(void *user, struct assoc *a);
};

struct assocs_config {
    size_t max, max_half, max_half_per_net; /* limits.h */
    /* Of several tables: `max` is of all, and this is how many there are;
     * numbers are first_id + a multiple of `workers`. NULL, 0, 0: the only one. */
    atomic_size_t *total;
    unsigned first_id, workers;
    uint64_t idle_ms;
    size_t max_awake;  /* 0: as many as there are */
    uint64_t sleep_ms; /* unused for so long: asleep; 0: never */
    /* Places for datagrams of handshakes that wait for assocs_serve(), of
     * them from one network and one host; 0: they are taken when they come. */
    size_t max_waiting, max_waiting_per_net, max_waiting_per_host;
    struct budget *budget; /* their time; borrowed. NULL without such places */
};

struct assocs_stats {
    uint64_t established, half_open, asleep; /* now */
    uint64_t hellos, cookies, handshakes, completed, failed, evicted, refused, stray;
    uint64_t waited, dropped; /* datagrams of handshakes: queued; no place, or too late */
    uint64_t slept, woken, restored;
    uint64_t moved; /* associations whose client came from another address, by connection ID */
    uint64_t tried; /* records that were not a sleeper's, as was found out on a copy */
};

MUST_USE struct assocs *assocs_new(const struct assocs_config *c, const struct dtls_config *dc,
                                   const struct assoc_ops *ops, void *user, struct buf *diag);
void assocs_free(struct assocs *t);
struct dtls *assocs_dtls(struct assocs *t);

/* An open connection becomes an association, unless there is no room or its
 * owner does not want it: NULL. Closing either closes the other. */
struct assoc *assocs_adopt(struct assocs *t, int listener, struct conn *c, struct instant now);
/* A message has come by its connection. */
void assoc_touch(struct assocs *t, struct assoc *a, struct instant now);

/* Takes a datagram from the wire. Returns the association whose plaintext is
 * now to be read with assoc_read(), or NULL. */
struct assoc *assocs_receive(struct assocs *t, int listener, const struct peer *from,
                             struct bytes datagram, struct instant now);
/* The next datagram of a handshake that waited, after all else of a turn:
 * false, there is none or no time for it. *out as assocs_receive() returns. */
MUST_USE bool assocs_serve(struct assocs *t, struct instant now, struct assoc **out);
/* Whether the datagram is for an association of this table, as far as its
 * connection ID or its sender's address tell. */
bool assocs_expect(struct assocs *t, int listener, const struct peer *from, struct bytes datagram);
/* The next plaintext into storage, n 0: none left. */
struct bytes assoc_read(struct assocs *t, struct assoc *a, struct instant now, uint8_t *storage,
                        size_t cap);
/* Encrypts into `out`; wakes it. False: not established, dead, or over TCP. */
MUST_USE bool assoc_write(struct assocs *t, struct assoc *a, struct bytes plain, struct buf *out);

/* What a handshake waited for is there. */
void assoc_wake(struct assocs *t, struct assoc *a, struct instant now);
void assoc_close(struct assocs *t, struct assoc *a, const char *reason);
struct assoc *assocs_find(struct assocs *t, uint64_t id);
/* Those with a handshake under way: few, whatever the table holds. `visit`
 * may close the one it is given. */
void assocs_each_pending(struct assocs *t, void (*visit)(void *user, struct assoc *a), void *user);
/* All that are not dead, in no order. */
void assocs_each(struct assocs *t, void (*visit)(void *user, struct assoc *a), void *user);

/* ---- over a restart ---- */

/* An established association as plain values. */
struct assoc_kept {
    uint64_t id;
    struct peer peer;
    int listener;
    uint16_t next_mid;
    uint64_t unused_ms;  /* since its last authentic record */
    struct bytes cid;    /* its connection ID; n 0: none */
    struct bytes asleep; /* dtls_asleep_bytes(), borrowed */
};

/* Handshakes end, and all others sleep; those that cannot are closed. */
void assocs_sleep_all(struct assocs *t);
/* For one that sleeps. */
void assoc_describe(const struct assocs *t, const struct assoc *a, struct assoc_kept *out);
/* Established again, asleep, without `session`; who is at its address already
 * goes. NULL: no room, or not readable. In the order of assocs_each(). */
struct assoc *assoc_restore(struct assocs *t, const struct assoc_kept *k, struct instant now);
/* Whether the engine can wake it. */
MUST_USE bool assoc_is_sound(struct assocs *t, struct assoc *a);

uint64_t assocs_deadline_ms(const struct assocs *t);
void assocs_expire(struct assocs *t, struct instant now);
/* At the end of a turn: the dead are freed, those beyond `max_awake` sleep. */
void assocs_reap(struct assocs *t);
void assocs_get_stats(const struct assocs *t, struct assocs_stats *out);

#endif
