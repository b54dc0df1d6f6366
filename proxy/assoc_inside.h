/* What the table of associations, its handshakes and its sleep share. Included by assoc*.c
 * only. */
#ifndef POSTERN_ASSOC_INSIDE_H
#define POSTERN_ASSOC_INSIDE_H

#include "../policy/slab.h"
#include "assoc.h"
#include "lobby.h"

/* Where a seat stands. Within each, by `since_ms`, oldest first. */
enum assoc_order {
    ORDER_NONE = 0,
    ORDER_HALF,  /* handshakes, by birth */
    ORDER_FRESH, /* established, its client not heard of since: it keeps its last flight */
    ORDER_AWAKE,
    ORDERS,
};

struct assocs {
    struct assocs_config config;
    struct assoc_ops ops;
    void *user;
    struct dtls *dtls;
    uint8_t seed[16];
    uint64_t last_id;
    struct instant now; /* of the entry point that ran last */
    size_t mask;        /* buckets, a power of two, less one */
    struct assoc **by_peer, **by_id;
    struct assoc_cid **by_cid; /* NULL until there is one */
    /* Established ones by their last authentic record, oldest first. */
    struct assoc *idle_first, *idle_last, *dead;
    struct {
        struct assoc_seat *first, *last;
        size_t n;
    } orders[ORDERS];
    struct deadlines deadlines; /* of handshakes */
    struct slab small;          /* associations */
    struct lobby *lobby;        /* NULL: they are taken when they come */
    bool serving;               /* one that waited there */
    /* A sleeper's copy, on which a record was tried that was not its own:
     * kept for the next of its kind. It never writes. */
    struct dtls_session *trial;
    const struct assoc *trial_of;
    uint64_t given_back_ms, given_back_at; /* when last, and what stats.slept was then */
    struct assocs_stats stats;
};

static inline bool assoc_is_established(const struct assoc *a)
{
    return a->live || a->asleep || a->conn;
}

/* assoc.c */
void assoc_seat_enter(struct assocs *t, struct assoc_seat *s, enum assoc_order order,
                      uint64_t since_ms);
void assoc_seat_leave(struct assocs *t, struct assoc_seat *s);
MUST_USE struct assoc_seat *assoc_seat_new(struct assoc *a, struct dtls_session *dtls);
void assoc_seat_free(struct assocs *t, struct assoc_seat *s); /* NULL is fine */

struct assoc **assoc_bucket(struct assocs *t, int listener, const struct peer *peer);

/* assoc_cid.c */
void assoc_learn_cid(struct assocs *t, struct assoc *a, struct bytes cid);
void assoc_forget_cid(struct assocs *t, struct assoc *a);
struct bytes assoc_cid(const struct assoc *a);
struct assoc *assocs_find_cid(const struct assocs *t, struct bytes cid);
/* The datagram has the connection ID of `a` and came from elsewhere: the
 * session that reads it, or NULL. */
struct dtls_session *assoc_from_elsewhere(struct assocs *t, struct assoc *a, int listener,
                                          const struct peer *from, struct bytes datagram);

/* A new one in the tables; `id` as it is to be. NULL: no memory. */
MUST_USE struct assoc *assoc_make(struct assocs *t, uint64_t id, int listener,
                                  const struct peer *peer);
struct assoc *assoc_lookup(struct assocs *t, int listener, const struct peer *peer);
/* Of all workers, where they count together. */
size_t assocs_established(const struct assocs *t);
void assoc_count(struct assocs *t, size_t more);
void assoc_idle_add(struct assocs *t, struct assoc *a);
void assoc_used(struct assocs *t, struct assoc *a,
                struct instant now);            /* an authentic record came */
uint64_t assoc_next_id(const struct assocs *t); /* no two workers have the same */

/* assoc_handshake.c */
static inline size_t assocs_half_open(const struct assocs *t)
{
    return t->orders[ORDER_HALF].n;
}
/* A ClientHello. NULL: nothing is to be read. */
struct assoc *assoc_hello(struct assocs *t, int listener, const struct peer *from,
                          struct bytes datagram, struct instant now);
/* A datagram of a handshake. True: it waits, or is dropped and its client
 * sends it again. */
bool assoc_wait_for_turn(struct assocs *t, int listener, const struct peer *from,
                         struct bytes datagram, struct instant now);
/* What became of a's handshake. True: it is established. */
bool assoc_follow(struct assocs *t, struct assoc *a, enum dtls_event e, struct instant now);
/* The handshake is over without an association; a live one goes on. */
void assoc_drop_pending(struct assocs *t, struct assoc *a, const char *reason);
/* Its time has come: for a retransmission, or its end. */
void assoc_expire_pending(struct assocs *t, struct assoc *a, struct instant now);

/* assoc_sleep.c */

/* The engine of an established session, woken if need be. NULL: it cannot
 * be (no memory). */
MUST_USE struct dtls_session *assoc_awake(struct assocs *t, struct assoc *a);
/* Whether a record of the datagram is the established session's; then it is
 * awake. */
bool assoc_owns(struct assocs *t, struct assoc *a, struct bytes datagram);
void assoc_forget_asleep(struct assocs *t, struct assoc *a);
void assocs_forget_trial(struct assocs *t);
uint64_t assocs_sleep_deadline_ms(const struct assocs *t);
void assocs_sleep_due(struct assocs *t, uint64_t now_ms);
void assocs_sleep_beyond(struct assocs *t);

#endif
