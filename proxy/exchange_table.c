#include "exchange_inside.h"

#include <assert.h>
#include <stdlib.h>

struct exchanges *exchanges_new(size_t slots, const struct exchange_ops *ops, void *user,
                                uint32_t (*random)(void *user))
{
    if (slots == 0 || slots >= UINT32_MAX)
        return NULL;
    struct exchanges *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    /* Not cleared: a slot is, when it is taken. The pages of slots that are
     * never used are never there. */
    t->slots = aligned_alloc(_Alignof(struct exchange), slots * sizeof *t->slots);
    t->rooms = aligned_alloc(_Alignof(struct exchange_room), slots * sizeof *t->rooms);
    bool ok = tagmap_init(&t->by_mid, slots) && repeats_init(&t->repeats, slots);
    ok = tagmap_init(&t->by_answer, slots) && ok;
    ok = deadlines_init(&t->retransmissions, slots) && ok;
    if (!ok || !t->slots || !t->rooms) {
        exchanges_free(t);
        return NULL;
    }
    t->n_slots = slots;
    t->ops = ops;
    t->user = user;
    t->random = random;
    t->seed.k0 = (uint64_t)random(user) << 32 | random(user);
    t->seed.k1 = (uint64_t)random(user) << 32 | random(user);
    t->next_mid = (uint16_t)random(user);
    return t;
}

void exchanges_free(struct exchanges *t)
{
    if (!t)
        return;
    deadlines_clear(&t->retransmissions);
    tagmap_clear(&t->by_answer);
    tagmap_clear(&t->by_mid);
    repeats_clear(&t->repeats);
    free(t->slots);
    free(t->rooms);
    free(t);
}

/* ---- the life of a slot ---- */

void exchange_lose_mid(struct exchanges *t, struct exchange *x)
{
    if (x->findable)
        tagmap_remove(&t->by_mid, x->tag, exchange_number(t, x));
    x->findable = false;
}

static void lose_confirm(struct exchanges *t, struct exchange *x)
{
    if (!x->confirm)
        return;
    deadline_cancel(&t->retransmissions, &x->deadline);
    tagmap_remove(&t->by_answer, x->confirm_tag, exchange_number(t, x));
    x->confirm = false;
    t->n_plain -= x->plain;
    if (x->assoc)
        x->assoc->n_exchanges--;
}

static void close_open(struct exchanges *t, struct exchange *x)
{
    assert(x->state == EXCHANGE_OPEN && x->up == UP_NONE);
    t->stats.open--;
    exchange_wait_leave(x);
    t->n_plain -= x->plain;
    if (x->assoc)
        x->assoc->n_exchanges--;
}

struct exchange_room *exchange_take_room(struct exchanges *t)
{
    struct exchange_room *r = t->free_room;
    if (r)
        t->free_room = r->next;
    else
        r = &t->rooms[t->n_rooms_used++];
    return r;
}

static void free_room(struct exchanges *t, struct exchange_room *r)
{
    r->next = t->free_room;
    t->free_room = r;
}

void exchange_give_room(struct exchanges *t)
{
    struct exchange *x = t->leaving;
    if (!x)
        return;
    free_room(t, x->room);
    x->room = NULL;
    t->leaving = NULL;
}

/* Not yet: the gate may still look at what is in it, and ends its record. */
static void leave_room(struct exchanges *t, struct exchange *x)
{
    if (!x->room || t->leaving == x)
        return;
    exchange_give_room(t);
    t->leaving = x;
}

void exchange_release(struct exchanges *t, struct exchange *x)
{
    if (x->state == EXCHANGE_OPEN)
        close_open(t, x);
    else
        t->stats.kept--;
    lose_confirm(t, x);
    exchange_lose_mid(t, x);
    exchange_list_leave(t, x);
    exchange_assoc_leave(x);
    if (x->room)
        leave_room(t, x);
    x->state = EXCHANGE_FREE;
    x->age_next = t->free_top;
    t->free_top = x;
    t->n_taken--;
}

/* ---- what is remembered ---- */

void exchange_forget_repeat(struct exchanges *t, struct repeat *r)
{
    tagmap_remove(&t->by_mid, r->tag, exchange_repeat_in_map(t, r));
    if (r->room)
        free_room(t, &t->rooms[r->room - 1]);
    repeats_remove(&t->repeats, r, r->assoc ? &r->assoc->repeats : NULL);
    t->stats.kept--;
}

struct repeat *exchange_add_repeat(struct exchanges *t, struct assoc *a, uint8_t type, uint32_t tag,
                                   struct instant now)
{
    bool con = type == TYPE_CON;
    enum repeat_list list =
        a ? (con ? REPEATS_CON : REPEATS_NON) : (con ? REPEATS_PLAIN_CON : REPEATS_PLAIN_NON);
    struct repeat *r = repeats_add(&t->repeats, list, a ? &a->repeats : NULL);
    r->assoc = a;
    r->type = type;
    r->tag = tag;
    r->room = 0;
    r->n = 0;
    r->kept_ms = instant_ms(now);
    t->stats.kept++;
    return r;
}

void exchange_settle(struct exchanges *t, struct exchange *x, struct bytes answer,
                     struct instant now)
{
    bool findable = x->findable, plain = x->plain;
    struct assoc *a = x->assoc;
    struct exchange_room *room = x->room;
    if (findable && (plain || answer.n > EXCHANGE_SMALL))
        x->room = NULL;  /* it stays with what is remembered */
    x->findable = false; /* so does its place in the map */
    exchange_release(t, x);
    x->room = room; /* to be looked at still, as all of it */
    x->assoc = a;
    if (!findable) /* its ID is another message's now */
        return;
    struct repeat *r = exchange_add_repeat(t, a, x->type, x->tag, now);
    tagmap_renumber(&t->by_mid, x->tag, exchange_number(t, x), exchange_repeat_in_map(t, r));
    r->hash = x->hash;
    r->mid = x->mid;
    r->acked = x->acked;
    r->born_ms = instant_ms(x->born);
    r->n = (uint16_t)answer.n;
    if (plain || answer.n > EXCHANGE_SMALL)
        r->room = (uint32_t)(room - t->rooms) + 1;
    if (plain) {
        room->peer = x->peer;
        room->listener = x->listener;
    }
    if (answer.n)
        memcpy(exchange_repeat_answer(t, r), answer.p, answer.n);
}

void exchange_keep(struct exchanges *t, struct exchange *x, struct bytes answer)
{
    close_open(t, x);
    t->stats.kept++;
    x->state = EXCHANGE_ANSWERED;
    x->stored_n = answer.n;
    memcpy(x->room->stored, answer.p, answer.n);
}

static struct repeat *older(struct repeat *a, struct repeat *b)
{
    if (a && b)
        return a->kept_ms < b->kept_ms ? a : b;
    return a ? a : b;
}

/* NULL: nothing is remembered. */
static struct repeat *victim(const struct exchanges *t)
{
    const struct repeats *r = &t->repeats;
    struct repeat *plain =
        older(repeats_oldest(r, REPEATS_PLAIN_CON), repeats_oldest(r, REPEATS_PLAIN_NON));
    return plain ? plain : older(repeats_oldest(r, REPEATS_CON), repeats_oldest(r, REPEATS_NON));
}

bool exchange_make_room(struct exchanges *t)
{
    if (t->n_taken + t->repeats.n < t->n_slots)
        return true;
    struct repeat *r = victim(t);
    if (!r && !t->lists[LIST_CONFIRM].head)
        return false;
    t->stats.evicted++;
    if (!r) {
        exchange_release(t, t->lists[LIST_CONFIRM].head);
        return true;
    }
    exchange_forget_repeat(t, r);
    r = victim(t);
    if (r) {
        tagmap_expect(&t->by_mid, r->tag);
        repeats_expect(&t->repeats, r);
    }
    return true;
}

struct exchange *exchange_take_slot(struct exchanges *t, struct instant now)
{
    if (!exchange_make_room(t))
        return NULL;
    struct exchange *x = t->free_top;
    if (x)
        t->free_top = x->age_next;
    else
        x = &t->slots[t->n_used++];
    t->n_taken++;
    exchange_give_room(t);
    memset(x, 0, sizeof *x);
    x->room = exchange_take_room(t);
    x->state = EXCHANGE_OPEN;
    x->born = now;
    t->stats.open++;
    return x;
}

/* ---- all of them ---- */

uint32_t exchange_slot(const struct exchanges *t, const struct exchange *x)
{
    return exchange_number(t, x);
}

struct exchange *exchange_at_slot(struct exchanges *t, uint32_t slot)
{
    return slot < t->n_used ? &t->slots[slot] : NULL;
}

void exchanges_each_open(struct exchanges *t, void (*visit)(void *user, struct exchange *x),
                         void *user)
{
    /* By slot, so that it does not matter what `visit` ends. */
    for (size_t i = 0; i < t->n_used; i++)
        if (t->slots[i].state == EXCHANGE_OPEN)
            visit(user, &t->slots[i]);
}

void exchanges_get_stats(const struct exchanges *t, struct exchanges_stats *out)
{
    *out = t->stats;
}
