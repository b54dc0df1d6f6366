/* The story of one request, from a client's datagram to the record of its
 * end. A few entry points, each a straight list of steps that stops at the
 * first failure. The gate owns no socket: the worker lends it the batches. */
#ifndef POSTERN_GATE_H
#define POSTERN_GATE_H

#include <stdatomic.h>

#include "../pep/revoke.h"
#include "block.h"
#include "config.h"
#include "conn.h"
#include "exchange.h"
#include "observe.h"
#include "udp.h"
#include "upstream.h"
#include "watch.h"

struct gate;
struct audit_sink;
struct crew;
struct rates;

/* Of several workers each has its share of what is limited, rounded up. */
static inline size_t gate_share(size_t limit, unsigned n)
{
    return (limit + n - 1) / n;
}

struct gate_config {
    const struct config *config;
    struct pep *pep;
    struct audit_sink *audit;     /* NULL: no record */
    unsigned worker;              /* whose gate it is, from 0 */
    struct crew *crew;            /* of several workers; NULL: it is the only one */
    struct udp *const *listeners; /* by index of config->listeners; NULL: one for TCP, which
                                     the gate opens itself */
    struct loop *loop;            /* the devices' sockets are watched there */
    /* Sends a question on its way; the reply comes by gate_reply_came(),
     * never from within. False, or NULL: there is nobody to ask. */
    bool (*ask)(void *user, const struct pep_question *q, struct instant now);
    void *ask_user;
    /* What colleagues told, before what a client sent afterwards is looked at;
     * of datagrams the worker sees to it. NULL: there are none. */
    void (*hear)(void *user, struct instant now);
    void *hear_user;
    atomic_size_t *associations; /* established at all gates; NULL: at this one */
    struct rates *rates;         /* shared by all gates; NULL: one of its own */
    uint64_t (*cpu_us)(void);    /* loop_cpu_us(); NULL: handshakes cost nothing */
    /* Does this with the gate of every other worker, while they stand still.
     * NULL: there are no others, or they are not this gate's to speak for. */
    void (*others)(void *user, void (*visit)(void *what, struct gate *other), void *what);
    void *others_user;
    /* Takes a check of a signature over; it comes back by gate_checked(),
     * never from within. NULL: pep checks in place. */
    void (*check)(void *user, struct pep_check *c);
    void *check_user;
};

struct gate_stats {
    uint64_t requests, permitted, denied, reported, answered_here, tokens_taken, tokens_refused;
    uint64_t answered; /* without an exchange */
    uint64_t parked;   /* requests that waited for an authorization server */
    uint64_t malformed, plain_refused;
    uint64_t unread; /* records at an association's address: forged, or replayed */
    uint64_t echoed; /* answers with an Echo: too long for an address that has not shown itself */
    uint64_t held_back;               /* and retransmissions to it that were not sent */
    uint64_t handshake_us;            /* processor time of handshakes that waited for their turn */
    uint64_t rate_refused;            /* 4.29 by a rate; among those denied */
    uint64_t called, called_answered; /* requests of CSEs to clients */
    struct assocs_stats assocs;
    struct conns_stats conns;
    struct exchanges_stats exchanges;
    struct cache_stats cache;
    struct blocks_stats blocks;
    uint64_t shared; /* requests that another's question to the device served */
    struct observes_stats observes;
    struct watches_stats watches;
    struct udp_stats udp; /* of its listeners */
};

MUST_USE struct gate *gate_new(const struct gate_config *c, struct buf *diag);
void gate_free(struct gate *g);

void gate_client_datagram(struct gate *g, int listener, const struct peer *from,
                          struct bytes datagram, struct instant now);
/* What colleagues mailed, and told all (gate_mail.c). */
void gate_take_mail(struct gate *g, unsigned from, struct bytes message, struct instant now);
void gate_take_told(struct gate *g, struct bytes message, struct instant now);
/* The worker that has the device, of n. */
static inline unsigned gate_owner(size_t device, unsigned n)
{
    return (unsigned)(device % n);
}
/* An authorization server answered, or will not. */
void gate_reply_came(struct gate *g, uint64_t question, const struct pep_reply *r,
                     struct instant now);
/* A check is done; takes it over. */
void gate_checked(struct gate *g, struct pep_check *c, struct instant now);
/* Timers; then flushes all batches and reaps. Returns the next deadline. */
uint64_t gate_turn(struct gate *g, struct instant now);
/* Grants ended otherwise than by time: requests under way that rest on one of
 * them get 4.01 when their answer comes, and associations that hold nothing
 * any more get it now and end. */
void gate_reloaded(struct gate *g, struct instant now);

/* gate_rights.c: what changes rights for everyone, with its records, here and
 * at the others. One of them that cannot follow serves nobody from then on,
 * until a reload succeeds. */

/* pep_load(), and all that follows from it. Authorities that went, came or
 * lost grants have a record each (draft-maler-ace-oauth-uma 5.1). */
MUST_USE bool gate_load(struct gate *g, struct policy *policy, struct instant now,
                        struct buf *diag);
MUST_USE enum revocation_err gate_revoke(struct gate *g, const struct pep_revoking *r, bool undo,
                                         struct instant now, struct pep_revoked *out);
/* An authority's list. False: not all of it could be held. */
bool gate_take_list(struct gate *g, const char *authority, const struct trl_answer *a,
                    struct instant now);
/* The set that an authority publishes: pep_take_keys(). */
MUST_USE bool gate_take_keys(struct gate *g, int authority, struct bytes set, struct instant now,
                             struct buf *diag);
/* Planned stop: refuse what is new; true when nothing is under way. */
MUST_USE bool gate_drain(struct gate *g, struct instant now);
void gate_close_all(struct gate *g, struct instant now);

bool gate_is_shut(const struct gate *g);

struct upstreams *gate_upstreams(struct gate *g);
void gate_get_stats(const struct gate *g, struct gate_stats *out);

#endif
