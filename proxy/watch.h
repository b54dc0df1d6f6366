/* The clients' side of observations (RFC 7641): a small record for each,
 * found by its number, or by its association and token. Only the table: what
 * is done with them is told in gate_watch.c.
 *
 * The request is kept as the client sent it, for each notification is judged
 * like the request itself; it may hold a token, and is wiped. Bounded for
 * each association and in all. Memory is taken when a client registers and
 * when a notification must be kept aside, never for one that just passes. */
#ifndef POSTERN_WATCH_H
#define POSTERN_WATCH_H

#include "assoc.h"
#include "deadline.h"
#include "msg.h"

struct exchange;
struct watches;

struct watch {
    uint64_t id;               /* never reused; 0: free */
    struct assoc *assoc;       /* NULL: it is over, but the device's side has not heard that */
    struct watch *prev, *next; /* of the same association */
    uint8_t token_n, token[MSG_TOKEN_MAX];
    uint8_t *request; /* as a message */
    size_t request_n;
    int device;
    bool subscribed; /* the device's side knows it */
    /* What that side is to hear, when there is room on the way: that this one
     * is ready (and has seen the last notice, or not). */
    enum { SAID = 0, SAY_SEEN, SAY_UNSEEN } say;
    bool open; /* the client has had its first answer, with Observe */

    struct exchange *x;    /* its request, until that is answered */
    struct exchange *sent; /* its notification that awaits the ACK; see exchange_is_unheard() */
    struct observe_notice *held; /* one that waits, with its bytes behind it; or NULL */
    bool postponed;              /* one waits until another of its client is acknowledged */
    bool retry;                  /* one waits for room */
    uint64_t wait;               /* the question that its judgement waits for; or 0 */
    struct watch **wait_at, *wait_next;

    int64_t ends_s;           /* when the grant it rests on ends */
    uint32_t number;          /* Observe, of the last one */
    uint64_t sent_ms, con_ms; /* when one was sent last; when one was acknowledged */
    uint64_t rtt_us;          /* of that; 0: not known */
    unsigned n_non;           /* sent as NON since */
    uint16_t mids[2];         /* of the last two of these, for their RST */
    uint64_t notified, unrecorded, recorded_ms; /* for the audit */
    struct deadline deadline;
};

struct watches_stats {
    uint64_t now, opened, notified, confirmed;
    uint64_t refused;        /* not observed, for want of room */
    uint64_t denied;         /* ended because no longer permitted */
    uint64_t reset;          /* ended by the client's RST */
    uint64_t unacknowledged; /* ended because the client did not acknowledge */
};

MUST_USE struct watches *watches_new(size_t max);
void watches_free(struct watches *t); /* NULL is fine */

/* NULL: no room. */
MUST_USE struct watch *watch_add(struct watches *t, struct assoc *a, const struct msg *request);
/* It is over: it leaves every list, and is not found. Its exchanges are the
 * caller's to end. Its number is free with watch_remove(). */
void watch_leave(struct watches *t, struct watch *w);
void watch_remove(struct watches *t, struct watch *w);
struct watch *watch_find(struct watches *t, uint64_t id);
struct watch *watch_of(const struct assoc *a, const uint8_t *token, size_t token_n);
void watches_each(struct watches *t, void (*visit)(void *user, struct watch *w), void *user);

/* As in exchange.h. */
void watch_wait(struct watches *t, struct watch *w, uint64_t question);
void watches_each_waiting(struct watches *t, uint64_t question,
                          void (*visit)(void *user, struct watch *w), void *user);

struct observe_notice;
/* A copy is kept aside with w; false: no memory. */
MUST_USE bool watch_hold(struct watch *w, const struct observe_notice *n);
/* The one kept aside, the caller's to free(); NULL: none. */
struct observe_notice *watch_unhold(struct watch *w);

void watch_at(struct watches *t, struct watch *w, uint64_t at_ms); /* its deadline */
uint64_t watches_deadline_ms(const struct watches *t);
struct watch *watches_due(struct watches *t, uint64_t now_ms); /* taken out; NULL: none */
struct watches_stats *watches_stats(struct watches *t);

#endif
