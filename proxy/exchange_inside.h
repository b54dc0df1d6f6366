/* What exchange.c and its files share: the table itself. The client's requests
 * and their answers are exchange.c's, notifications exchange_notice.c's, what
 * waits for an answer to a question exchange_wait.c's, and what a planned
 * restart keeps exchange_kept.c's. Not for others. */
#ifndef POSTERN_EXCHANGE_INSIDE_H
#define POSTERN_EXCHANGE_INSIDE_H

#include "exchange.h"
#include "../policy/siphash.h"
#include "limits.h"
#include "tagmap.h"

/* Times that are the same for all need no heap: each list is in the order of
 * its members' deadlines. Only separate answers back off, each by itself. */
enum list {
    LIST_NONE = 0,
    LIST_UNACKED, /* OPEN and CON: the empty ACK is due at born + SEPARATE_AFTER */
    LIST_CONFIRM, /* ANSWERED, its separate CON awaits the ACK */
    LISTS,
};

enum { WAIT_BUCKETS = 64 }; /* by question; their ids are counted up */

struct exchanges {
    struct exchange *slots;
    size_t n_slots, n_used, n_taken;         /* slots from n_used on were never touched */
    struct exchange *free_top;               /* last freed, first taken: it is still in the cache */
    struct exchange_room *rooms, *free_room; /* as many, likewise */
    size_t n_rooms_used;
    struct exchange *leaving; /* has its room back to give, when another needs one */
    struct repeats repeats;   /* with the slots that are taken, n_slots at the most */
    struct {
        struct exchange *head, *tail;
    } lists[LISTS];
    struct exchange *waiting[WAIT_BUCKETS];
    struct tagmap by_mid, by_answer;
    struct deadlines retransmissions;
    const struct exchange_ops *ops;
    void *user;
    uint32_t (*random)(void *user);
    struct siphash_key seed;
    uint16_t next_mid; /* for endpoints of plain coap */
    size_t n_plain;    /* under way for those */
    struct exchanges_stats stats;
    uint8_t scratch[MESSAGE_MAX];
};

static inline uint32_t exchange_number(const struct exchanges *t, const struct exchange *x)
{
    return (uint32_t)(x - t->slots);
}

/* ---- lists ---- */

static inline void exchange_list_leave(struct exchanges *t, struct exchange *x)
{
    if (x->list == LIST_NONE)
        return;
    if (x->age_prev)
        x->age_prev->age_next = x->age_next;
    else
        t->lists[x->list].head = x->age_next;
    if (x->age_next)
        x->age_next->age_prev = x->age_prev;
    else
        t->lists[x->list].tail = x->age_prev;
    x->list = LIST_NONE;
}

static inline void exchange_list_enter(struct exchanges *t, struct exchange *x, enum list l)
{
    exchange_list_leave(t, x);
    x->list = (uint8_t)l;
    x->age_next = NULL;
    x->age_prev = t->lists[l].tail;
    if (x->age_prev)
        x->age_prev->age_next = x;
    else
        t->lists[l].head = x;
    t->lists[l].tail = x;
}

static inline void exchange_assoc_enter(struct exchange *x, struct assoc *a)
{
    x->assoc = a;
    x->assoc_prev = NULL;
    x->assoc_next = a->exchanges;
    if (x->assoc_next)
        x->assoc_next->assoc_prev = x;
    a->exchanges = x;
}

static inline void exchange_assoc_leave(struct exchange *x)
{
    if (!x->assoc)
        return;
    if (x->assoc_prev)
        x->assoc_prev->assoc_next = x->assoc_next;
    else
        x->assoc->exchanges = x->assoc_next;
    if (x->assoc_next)
        x->assoc_next->assoc_prev = x->assoc_prev;
    x->assoc = NULL;
}

/* ---- exchange_table.c: the life of a slot, and what is remembered of it ---- */

/* NULL: all there is is under way. */
struct exchange *exchange_take_slot(struct exchanges *t, struct instant now);
/* Content stays as it is: the gate may still look at it. */
void exchange_release(struct exchanges *t, struct exchange *x);
/* It is not found by its message ID any more. */
void exchange_lose_mid(struct exchanges *t, struct exchange *x);
/* The request is over but for its duplicates: of them only this is known
 * from now on, and what they get. */
void exchange_settle(struct exchanges *t, struct exchange *x, struct bytes answer,
                     struct instant now);
/* The same, but it still waits for an ACK. */
void exchange_keep(struct exchanges *t, struct exchange *x, struct bytes answer);

/* Room for one more slot. False: all there is is under way. */
bool exchange_make_room(struct exchanges *t);
/* There is one for each slot, so one is free for a slot that has none. */
struct exchange_room *exchange_take_room(struct exchanges *t);
/* What is still looked at of the last one that ended is free, too. */
void exchange_give_room(struct exchanges *t);
struct repeat *exchange_add_repeat(struct exchanges *t, struct assoc *a, uint8_t type, uint32_t tag,
                                   struct instant now);
void exchange_forget_repeat(struct exchanges *t, struct repeat *r);

static inline uint32_t exchange_repeat_in_map(const struct exchanges *t, const struct repeat *r)
{
    return (uint32_t)t->n_slots + repeat_number(&t->repeats, r);
}

static inline uint8_t *exchange_repeat_answer(const struct exchanges *t, struct repeat *r)
{
    return r->n <= EXCHANGE_SMALL ? r->small : t->rooms[r->room - 1].stored;
}

static inline struct bytes exchange_kept_answer(const struct exchange *x)
{
    return bytes_of(x->room->stored, x->stored_n);
}

static inline uint32_t exchange_lifetime_ms(uint8_t type)
{
    return type == TYPE_CON ? EXCHANGE_LIFETIME_MS : NON_LIFETIME_MS;
}

/* ---- exchange.c ---- */

/* An endpoint is an association, or an address and the socket it came to. */
uint32_t exchange_key_tag(const struct exchanges *t, const struct assoc *a, int listener,
                          const struct peer *from, uint16_t mid);
/* A message ID for what x says to its client, and the tag of that. */
uint16_t exchange_own_mid(struct exchanges *t, struct exchange *x, uint32_t *tag);
/* The CON of that ID was sent, and is sent again. */
void exchange_await_ack(struct exchanges *t, struct exchange *x, uint32_t tag, struct instant now);
/* Too long for a message, it becomes an empty 5.02, and `m` says so. Borrowed
 * until the next call. */
struct bytes exchange_write_out(struct exchanges *t, const struct assoc *a, struct msg *m);

/* ---- exchange_notice.c, exchange_wait.c ---- */

/* The slot is free before its owner hears of it. */
void exchange_end_notice(struct exchanges *t, struct exchange *x, enum exchange_heard heard,
                         struct instant now);
/* x waits for no question any more, if it did. */
void exchange_wait_leave(struct exchange *x);

#endif
