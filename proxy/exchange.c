#include "exchange.h"

#include <assert.h>
#include <stdlib.h>

#include "conn.h"
#include "limits.h"
#include "../policy/siphash.h"
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

/* ---- lists ---- */

static void list_leave(struct exchanges *t, struct exchange *x)
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

static void list_enter(struct exchanges *t, struct exchange *x, enum list l)
{
    list_leave(t, x);
    x->list = (uint8_t)l;
    x->age_next = NULL;
    x->age_prev = t->lists[l].tail;
    if (x->age_prev)
        x->age_prev->age_next = x;
    else
        t->lists[l].head = x;
    t->lists[l].tail = x;
}

static void assoc_enter(struct exchange *x, struct assoc *a)
{
    x->assoc = a;
    x->assoc_prev = NULL;
    x->assoc_next = a->exchanges;
    if (x->assoc_next)
        x->assoc_next->assoc_prev = x;
    a->exchanges = x;
}

static void assoc_leave(struct exchange *x)
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

/* ---- keys ---- */

static uint32_t number(const struct exchanges *t, const struct exchange *x)
{
    return (uint32_t)(x - t->slots);
}

/* An endpoint is an association, or an address and the socket it came to. */
static uint32_t key_tag(const struct exchanges *t, const struct assoc *a, int listener,
                        const struct peer *from, uint16_t mid)
{
    if (a) {
        /* The number of an association is ours, and a client has but 65536
         * IDs to choose from: a secret product is enough. */
        uint64_t h = (t->seed.k0 ^ a->id) * (t->seed.k1 | 1);
        return (uint32_t)((h ^ h >> 32 ^ mid) * (t->seed.k0 | 1) >> 32);
    }
    uint8_t seed[16];
    memcpy(seed, &t->seed, sizeof seed);
    uint64_t key[2] = {peer_hash(from, seed),
                       (uint64_t)1 << 63 | (uint64_t)(unsigned)listener << 16 | mid};
    return (uint32_t)siphash(&t->seed, bytes_of(key, sizeof key));
}

static bool is_endpoint(const struct exchange *x, const struct assoc *a, int listener,
                        const struct peer *from)
{
    if (a)
        return x->assoc == a;
    return !x->assoc && x->listener == listener && peer_equal(&x->peer, from);
}

static bool is_repeat_of(const struct exchanges *t, const struct repeat *r, const struct assoc *a,
                         int listener, const struct peer *from)
{
    if (a || r->assoc)
        return r->assoc == a;
    const struct exchange_room *room = &t->rooms[r->room - 1];
    return room->listener == listener && peer_equal(&room->peer, from);
}

/* One that is under way, or else what is remembered of one: *over. In the map
 * the latter's numbers are behind the former's. */
static struct exchange *find_request(const struct exchanges *t, uint32_t tag, const struct assoc *a,
                                     int listener, const struct peer *from, uint16_t mid,
                                     struct repeat **over)
{
    size_t step = 0;
    *over = NULL;
    for (uint32_t i; tagmap_find(&t->by_mid, tag, &step, &i);) {
        if (i < t->n_slots) {
            if (t->slots[i].mid == mid && is_endpoint(&t->slots[i], a, listener, from))
                return &t->slots[i];
            continue;
        }
        struct repeat *r = &t->repeats.all[i - t->n_slots];
        if (r->mid == mid && is_repeat_of(t, r, a, listener, from)) {
            *over = r;
            return NULL;
        }
    }
    return NULL;
}

static struct exchange *find_answer(const struct exchanges *t, uint32_t tag, const struct assoc *a,
                                    int listener, const struct peer *from, uint16_t mid)
{
    size_t step = 0;
    for (uint32_t i; tagmap_find(&t->by_answer, tag, &step, &i);)
        if (t->slots[i].answer_mid == mid && is_endpoint(&t->slots[i], a, listener, from))
            return &t->slots[i];
    return NULL;
}

/* ---- the life of a slot ---- */

static void lose_mid(struct exchanges *t, struct exchange *x)
{
    if (x->findable)
        tagmap_remove(&t->by_mid, x->tag, number(t, x));
    x->findable = false;
}

static void lose_confirm(struct exchanges *t, struct exchange *x)
{
    if (!x->confirm)
        return;
    deadline_cancel(&t->retransmissions, &x->deadline);
    tagmap_remove(&t->by_answer, x->confirm_tag, number(t, x));
    x->confirm = false;
    t->n_plain -= x->plain;
    if (x->assoc)
        x->assoc->n_exchanges--;
}

static void wait_leave(struct exchange *x)
{
    if (!x->wait_at)
        return;
    *x->wait_at = x->wait_next;
    if (x->wait_next)
        x->wait_next->wait_at = x->wait_at;
    x->wait_at = NULL;
    x->wait = 0;
}

static void wait_enter(struct exchange **list, struct exchange *x, uint64_t question)
{
    wait_leave(x);
    x->wait = question;
    x->wait_at = list;
    x->wait_next = *list;
    if (x->wait_next)
        x->wait_next->wait_at = &x->wait_next;
    *list = x;
}

static void close_open(struct exchanges *t, struct exchange *x)
{
    assert(x->state == EXCHANGE_OPEN && x->up == UP_NONE);
    t->stats.open--;
    wait_leave(x);
    t->n_plain -= x->plain;
    if (x->assoc)
        x->assoc->n_exchanges--;
}

/* There is one for each slot, so one is free for a slot that has none. */
static struct exchange_room *take_room(struct exchanges *t)
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

static void give_room(struct exchanges *t)
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
    give_room(t);
    t->leaving = x;
}

/* Content stays as it is: the gate may still look at it. */
static void release(struct exchanges *t, struct exchange *x)
{
    if (x->state == EXCHANGE_OPEN)
        close_open(t, x);
    else
        t->stats.kept--;
    lose_confirm(t, x);
    lose_mid(t, x);
    list_leave(t, x);
    assoc_leave(x);
    if (x->room)
        leave_room(t, x);
    x->state = EXCHANGE_FREE;
    x->age_next = t->free_top;
    t->free_top = x;
    t->n_taken--;
}

/* ---- what is remembered ---- */

static uint32_t repeat_in_map(const struct exchanges *t, const struct repeat *r)
{
    return (uint32_t)t->n_slots + repeat_number(&t->repeats, r);
}

static void forget(struct exchanges *t, struct repeat *r)
{
    tagmap_remove(&t->by_mid, r->tag, repeat_in_map(t, r));
    if (r->room)
        free_room(t, &t->rooms[r->room - 1]);
    repeats_remove(&t->repeats, r, r->assoc ? &r->assoc->repeats : NULL);
    t->stats.kept--;
}

static struct repeat *remember(struct exchanges *t, struct assoc *a, uint8_t type, uint32_t tag,
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

static uint8_t *repeat_answer(const struct exchanges *t, struct repeat *r)
{
    return r->n <= EXCHANGE_SMALL ? r->small : t->rooms[r->room - 1].stored;
}

/* The request is over but for its duplicates: of them only this is known
 * from now on, and what they get. */
static void settle(struct exchanges *t, struct exchange *x, struct bytes answer, struct instant now)
{
    bool findable = x->findable, plain = x->plain;
    struct assoc *a = x->assoc;
    struct exchange_room *room = x->room;
    if (findable && (plain || answer.n > EXCHANGE_SMALL))
        x->room = NULL;  /* it stays with what is remembered */
    x->findable = false; /* so does its place in the map */
    release(t, x);
    x->room = room; /* to be looked at still, as all of it */
    x->assoc = a;
    if (!findable) /* its ID is another message's now */
        return;
    struct repeat *r = remember(t, a, x->type, x->tag, now);
    tagmap_renumber(&t->by_mid, x->tag, number(t, x), repeat_in_map(t, r));
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
        memcpy(repeat_answer(t, r), answer.p, answer.n);
}

/* It still waits for an ACK. */
static void keep(struct exchanges *t, struct exchange *x, struct bytes answer)
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

/* Room for one more slot. False: all there is is under way. */
static bool make_room(struct exchanges *t)
{
    if (t->n_taken + t->repeats.n < t->n_slots)
        return true;
    struct repeat *r = victim(t);
    if (!r && !t->lists[LIST_CONFIRM].head)
        return false;
    t->stats.evicted++;
    if (!r) {
        release(t, t->lists[LIST_CONFIRM].head);
        return true;
    }
    forget(t, r);
    r = victim(t);
    if (r) {
        tagmap_expect(&t->by_mid, r->tag);
        repeats_expect(&t->repeats, r);
    }
    return true;
}

static struct exchange *take_slot(struct exchanges *t, struct instant now)
{
    if (!make_room(t))
        return NULL;
    struct exchange *x = t->free_top;
    if (x)
        t->free_top = x->age_next;
    else
        x = &t->slots[t->n_used++];
    t->n_taken++;
    give_room(t);
    memset(x, 0, sizeof *x);
    x->room = take_room(t);
    x->state = EXCHANGE_OPEN;
    x->born = now;
    t->stats.open++;
    return x;
}

/* ---- requests ---- */

static uint32_t lifetime_ms(uint8_t type)
{
    return type == TYPE_CON ? EXCHANGE_LIFETIME_MS : NON_LIFETIME_MS;
}

static bool is_forgotten(const struct repeat *r, struct instant now)
{
    return instant_ms(now) >= r->born_ms + lifetime_ms(r->type);
}

static struct bytes empty_ack(struct exchanges *t, uint16_t mid)
{
    struct buf b = buf_on(t->scratch, sizeof t->scratch);
    msg_write_empty(TYPE_ACK, mid, &b);
    return buf_bytes(&b);
}

static struct bytes kept_answer(const struct exchange *x)
{
    return bytes_of(x->room->stored, x->stored_n);
}

/* RFC 7252 4.2: a duplicate CON gets the same ACK again. 4.5: a duplicate
 * NON is ignored; its client makes a new message to ask again. */
static struct bytes answer_again(struct exchanges *t, uint8_t type, uint16_t mid, bool acked,
                                 struct repeat *over)
{
    if (type != TYPE_CON)
        return BYTES_NONE;
    if (acked)
        return empty_ack(t, mid);
    return over ? bytes_of(repeat_answer(t, over), over->n) : BYTES_NONE;
}

enum exchange_arrival exchange_accept(struct exchanges *t, struct assoc *a, int listener,
                                      const struct peer *from, const struct msg *m,
                                      struct bytes datagram, struct instant now,
                                      struct exchange **out, struct bytes *again)
{
    assert(m->type == TYPE_CON || m->type == TYPE_NON);
    /* Over TCP there are no duplicates, and message IDs mean nothing. */
    bool reliable = a && a->conn;
    uint32_t tag = reliable ? 0 : key_tag(t, a, listener, from, m->mid);
    tagmap_expect(&t->by_mid, tag);
    uint64_t hash = reliable ? 0 : siphash_13(&t->seed, datagram);
    struct repeat *over = NULL;
    struct exchange *old = reliable ? NULL : find_request(t, tag, a, listener, from, m->mid, &over);
    if (over && is_forgotten(over, now)) {
        forget(t, over);
        over = NULL;
    }
    if ((old && old->hash == hash) || (over && over->hash == hash)) {
        t->stats.repeated++;
        *again = old ? answer_again(t, old->type, old->mid, old->acked, NULL)
                     : answer_again(t, over->type, over->mid, over->acked, over);
        return EXCHANGE_REPEAT;
    }
    if (a ? a->n_exchanges >= EXCHANGES_PER_ASSOC : t->n_plain >= EXCHANGES_PLAIN) {
        t->stats.full++;
        return EXCHANGE_MANY;
    }
    if (over)
        forget(t, over);
    struct exchange *x = take_slot(t, now);
    if (!x) {
        t->stats.full++;
        return EXCHANGE_FULL;
    }
    /* The older message of this ID, if its client still waits for it, is
     * answered by its token. (x is old when take_slot() had to evict it.) */
    if (old && old != x)
        lose_mid(t, old);
    x->peer = *from;
    x->listener = listener;
    x->type = m->type;
    x->method = m->code;
    x->mid = m->mid;
    x->token_n = m->token_n;
    memcpy(x->token, m->token, sizeof x->token);
    x->hash = hash;
    x->tag = tag;
    x->reliable = reliable;
    x->findable = !reliable;
    if (x->findable)
        tagmap_put(&t->by_mid, tag, number(t, x));
    if (x->type == TYPE_CON && !reliable)
        list_enter(t, x, LIST_UNACKED);
    if (a) {
        assoc_enter(x, a);
        x->client = a->id;
        a->n_exchanges++;
    } else {
        x->plain = true;
        t->n_plain++;
    }
    t->stats.accepted++;
    *out = x;
    return EXCHANGE_NEW;
}

uint32_t exchange_slot(const struct exchanges *t, const struct exchange *x)
{
    return number(t, x);
}

struct exchange *exchange_at_slot(struct exchanges *t, uint32_t slot)
{
    return slot < t->n_used ? &t->slots[slot] : NULL;
}

struct exchange *exchange_own(struct exchanges *t, struct instant now)
{
    struct exchange *x = take_slot(t, now);
    if (!x)
        return NULL;
    x->own = true;
    x->type = TYPE_NON; /* the frail are asked once, and nobody waits for it */
    x->method = MSG_GET;
    return x;
}

/* ---- answers ---- */

/* RFC 7252 4.4: not one that we still use with this endpoint. Others may
 * come again within EXCHANGE_LIFETIME of a client that makes us send more
 * than 65536 messages in it, which by then reuses its own. */
static uint16_t own_mid(struct exchanges *t, struct exchange *x, uint32_t *tag)
{
    uint16_t *next = x->assoc ? &x->assoc->next_mid : &t->next_mid;
    for (;;) {
        uint16_t mid = (*next)++;
        *tag = key_tag(t, x->assoc, x->listener, &x->peer, mid);
        if (!find_answer(t, *tag, x->assoc, x->listener, &x->peer, mid))
            return mid;
    }
}

static void arm(struct exchanges *t, struct exchange *x, struct instant now)
{
    /* It cannot be full: it has room for every slot. */
    (void)deadline_set(&t->retransmissions, &x->deadline, instant_ms(now) + x->wait_ms);
}

static void await_ack(struct exchanges *t, struct exchange *x, uint32_t tag, struct instant now)
{
    x->confirm = true;
    x->confirm_tag = tag;
    tagmap_put(&t->by_answer, tag, number(t, x));
    t->n_plain += x->plain;
    if (x->assoc)
        x->assoc->n_exchanges++;
    list_enter(t, x, LIST_CONFIRM);
    x->tries = 1;
    x->wait_ms =
        ACK_TIMEOUT_MS + t->random(t->user) % (ACK_TIMEOUT_MS * ACK_RANDOM_PERCENT / 100 + 1);
    arm(t, x, now);
}

/* Elsewhere than in the slot: parts of `m` may lie there. */
static struct bytes write_out(struct exchanges *t, const struct assoc *a, struct msg *m)
{
    size_t max = a && a->conn ? conn_message_max(a->conn) : sizeof t->scratch;
    struct buf b = buf_on(t->scratch, sizeof t->scratch);
    if (msg_write(m, &b) && b.n <= max)
        return buf_bytes(&b);
    m->code = MSG_CODE(5, 2);
    m->n_options = 0;
    m->payload = BYTES_NONE;
    b = buf_on(t->scratch, sizeof t->scratch);
    bool fits = msg_write(m, &b); /* a header and a token */
    assert(fits);
    (void)fits;
    return buf_bytes(&b);
}

void exchange_answer(struct exchanges *t, struct exchange *x, struct msg *m, struct instant now)
{
    if (x->gone || x->own) {
        t->stats.unanswered += !x->own && !x->guest;
        release(t, x);
        return;
    }
    t->stats.answered++;
    uint32_t tag = 0;
    if (x->reliable) {
        m->type = TYPE_NON;
        m->mid = 0;
    } else if (x->type == TYPE_CON && !x->acked) {
        m->type = TYPE_ACK;
        m->mid = x->mid;
    } else {
        m->type = x->type;
        m->mid = x->answer_mid = own_mid(t, x, &tag);
    }
    m->token_n = x->token_n;
    memcpy(m->token, x->token, sizeof m->token);

    struct bytes b = write_out(t, x->assoc, m);
    if (x->reliable) {
        t->ops->send(t->user, x, b);
        release(t, x);
        return;
    }
    if (m->type == TYPE_CON) {
        keep(t, x, b);
        await_ack(t, x, tag, now);
    } else {
        settle(t, x, x->type == TYPE_CON ? b : BYTES_NONE, now);
    }
    /* Last: a send that fails may close the association, and forget x. */
    t->ops->send(t->user, x, b);
}

/* ---- notifications ---- */

bool exchange_notify(struct exchanges *t, struct assoc *a, uint64_t watch, struct msg *m,
                     struct instant now, struct exchange **kept)
{
    struct exchange *x = take_slot(t, now);
    if (!x) {
        t->stats.full++;
        return false;
    }
    x->notice = true;
    x->watch = watch;
    x->type = m->type;
    x->peer = a->peer;
    x->listener = a->listener;
    assoc_enter(x, a);
    a->n_exchanges++;
    uint32_t tag;
    x->reliable = a->conn != NULL;
    if (x->reliable) /* whether it is heard is TCP's to see to (RFC 8323 7.1) */
        m->type = x->type = TYPE_NON;
    m->mid = x->answer_mid = own_mid(t, x, &tag);
    struct bytes b = write_out(t, a, m);
    *kept = m->type == TYPE_CON ? x : NULL;
    if (*kept) {
        keep(t, x, b);
        await_ack(t, x, tag, now);
    }
    t->ops->send(t->user, x, b);
    if (!*kept)
        release(t, x);
    return true;
}

/* The slot is free before its owner hears of it. */
static void end_notice(struct exchanges *t, struct exchange *x, enum exchange_heard heard,
                       struct instant now)
{
    uint64_t watch = x->watch, rtt_us = now.mono_us - x->born.mono_us;
    rtt_us = x->tries > 1 ? 0 : rtt_us ? rtt_us : 1;
    release(t, x);
    t->stats.undelivered += heard != HEARD_ACK;
    t->ops->notified(t->user, watch, heard, rtt_us);
}

bool exchange_is_unheard(const struct exchange *x, uint64_t watch)
{
    return x->notice && x->confirm && x->watch == watch;
}

void exchange_unsay(struct exchanges *t, struct exchange *x, uint64_t watch)
{
    if (exchange_is_unheard(x, watch))
        release(t, x);
}

void exchange_drop(struct exchanges *t, struct exchange *x, struct instant now)
{
    x->stored_n = 0;
    t->stats.unanswered += !x->own && !x->guest;
    if (x->gone || x->own || x->reliable)
        release(t, x);
    else
        settle(t, x, BYTES_NONE, now);
}

bool exchange_acknowledged(struct exchanges *t, struct assoc *a, const struct peer *from,
                           int listener, uint16_t mid, bool reset, struct instant now)
{
    if (t->by_answer.n == 0)
        return false;
    uint32_t tag = key_tag(t, a, listener, from, mid);
    struct exchange *x = find_answer(t, tag, a, listener, from, mid);
    if (!x)
        return false;
    if (x->notice) {
        end_notice(t, x, reset ? HEARD_RESET : HEARD_ACK, now);
        return true;
    }
    settle(t, x, BYTES_NONE, now); /* a duplicate gets its empty ACK again */
    if (reset) {
        t->stats.undelivered++;
        t->ops->undelivered(t->user, x, true);
    }
    return true;
}

void exchange_forget(struct exchanges *t, struct assoc *a)
{
    for (struct exchange *x = a->exchanges, *next; x; x = next) {
        next = x->assoc_next;
        if (x->state != EXCHANGE_OPEN) {
            release(t, x);
            continue;
        }
        lose_mid(t, x);
        list_leave(t, x);
        assoc_leave(x);
        a->n_exchanges--;
        x->gone = true;
    }
    while (a->repeats)
        forget(t, repeat_at(&t->repeats, a->repeats));
    assert(a->n_exchanges == 0);
}

void exchange_wait(struct exchanges *t, struct exchange *x, uint64_t question)
{
    assert(x->state == EXCHANGE_OPEN && question != 0);
    wait_enter(&t->waiting[question % WAIT_BUCKETS], x, question);
}

void exchanges_each_waiting(struct exchanges *t, uint64_t question,
                            void (*visit)(void *user, struct exchange *x), void *user)
{
    /* First onto a list of their own: who waits anew, for the same even, is
     * for the next time. What `visit` ends leaves it. */
    struct exchange *due = NULL;
    for (struct exchange *x = t->waiting[question % WAIT_BUCKETS], *next; x; x = next) {
        next = x->wait_next;
        if (x->wait == question)
            wait_enter(&due, x, question);
    }
    while (due) {
        struct exchange *x = due;
        wait_leave(x);
        visit(user, x);
    }
}

void exchanges_each_open(struct exchanges *t, void (*visit)(void *user, struct exchange *x),
                         void *user)
{
    /* By slot, so that it does not matter what `visit` ends. */
    for (size_t i = 0; i < t->n_used; i++)
        if (t->slots[i].state == EXCHANGE_OPEN)
            visit(user, &t->slots[i]);
}

/* ---- time ---- */

static uint64_t unacked_due_ms(const struct exchanges *t)
{
    const struct exchange *x = t->lists[LIST_UNACKED].head;
    return x ? instant_ms(x->born) + SEPARATE_AFTER_MS : UINT64_MAX;
}

static uint64_t repeats_due_ms(const struct exchanges *t, enum repeat_list l)
{
    const struct repeat *r = repeats_oldest(&t->repeats, l);
    return r ? r->kept_ms + lifetime_ms(r->type) : UINT64_MAX;
}

uint64_t exchanges_deadline_ms(const struct exchanges *t)
{
    uint64_t first = deadlines_next(&t->retransmissions), due = unacked_due_ms(t);
    first = due < first ? due : first;
    for (enum repeat_list l = 0; l < REPEAT_LISTS; l++) {
        due = repeats_due_ms(t, l);
        first = due < first ? due : first;
    }
    return first;
}

static void retransmit(struct exchanges *t, struct exchange *x, struct instant now)
{
    if (x->tries > MAX_RETRANSMIT && x->notice) {
        end_notice(t, x, HEARD_NOTHING, now);
        return;
    }
    if (x->tries > MAX_RETRANSMIT) {
        settle(t, x, BYTES_NONE, now);
        t->stats.undelivered++;
        t->ops->undelivered(t->user, x, false);
        return;
    }
    x->tries++;
    x->wait_ms *= 2;
    arm(t, x, now);
    t->ops->send(t->user, x, kept_answer(x));
}

void exchanges_expire(struct exchanges *t, struct instant now)
{
    uint64_t now_ms = instant_ms(now);
    while (unacked_due_ms(t) <= now_ms) {
        struct exchange *x = t->lists[LIST_UNACKED].head;
        list_leave(t, x);
        x->acked = true;
        t->stats.separate++;
        t->ops->send(t->user, x, empty_ack(t, x->mid));
    }
    for (struct deadline *d; (d = deadlines_pop(&t->retransmissions, now_ms));)
        retransmit(t,
                   (struct exchange *)(void *)((uint8_t *)d - offsetof(struct exchange, deadline)),
                   now);
    for (enum repeat_list l = 0; l < REPEAT_LISTS; l++)
        while (repeats_due_ms(t, l) <= now_ms)
            forget(t, repeats_oldest(&t->repeats, l));
}

void exchanges_get_stats(const struct exchanges *t, struct exchanges_stats *out)
{
    *out = t->stats;
}

/* ---- over a restart ---- */

void exchanges_get_seed(const struct exchanges *t, uint8_t seed[EXCHANGE_SEED])
{
    memcpy(seed, &t->seed, EXCHANGE_SEED);
}

bool exchanges_use_seed(struct exchanges *t, const uint8_t seed[EXCHANGE_SEED])
{
    if (t->n_used > 0)
        return false;
    memcpy(&t->seed, seed, EXCHANGE_SEED);
    return true;
}

void exchanges_each_seen(const struct exchanges *t, struct instant now,
                         void (*visit)(void *user, const struct exchange_seen *x), void *user)
{
    static const enum repeat_list lists[] = {REPEATS_NON, REPEATS_CON};
    struct exchange_seen seen;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (struct repeat *r = repeats_oldest(&t->repeats, lists[i]); r;
             r = repeat_at(&t->repeats, r->age_next)) {
            seen = (struct exchange_seen){.client = r->assoc->id,
                                          .hash = r->hash,
                                          .mid = r->mid,
                                          .type = r->type,
                                          .acked = r->acked,
                                          .age_ms = instant_ms(now) - r->born_ms,
                                          .answer = bytes_of(repeat_answer(t, r), r->n)};
            visit(user, &seen);
        }
    for (const struct exchange *x = t->lists[LIST_CONFIRM].head; x; x = x->age_next) {
        if (!x->assoc || !x->findable)
            continue;
        seen = (struct exchange_seen){.client = x->assoc->id,
                                      .hash = x->hash,
                                      .mid = x->mid,
                                      .type = x->type,
                                      .acked = x->acked,
                                      .age_ms = instant_ms(now) - instant_ms(x->born),
                                      .answer = kept_answer(x)};
        visit(user, &seen);
    }
}

bool exchange_remember(struct exchanges *t, struct assoc *a, const struct exchange_seen *s,
                       struct instant now)
{
    if (s->answer.n > MESSAGE_MAX || (s->type != TYPE_CON && s->type != TYPE_NON) ||
        s->age_ms >= instant_ms(now) || !make_room(t))
        return false;
    uint32_t tag = key_tag(t, a, a->listener, &a->peer, s->mid);
    struct repeat *r = remember(t, a, s->type, tag, now);
    tagmap_put(&t->by_mid, tag, repeat_in_map(t, r));
    r->hash = s->hash;
    r->mid = s->mid;
    r->acked = s->acked;
    r->born_ms = instant_ms(now) - s->age_ms;
    r->n = (uint16_t)s->answer.n;
    give_room(t);
    if (s->answer.n > EXCHANGE_SMALL)
        r->room = (uint32_t)(take_room(t) - t->rooms) + 1;
    if (s->answer.n)
        memcpy(repeat_answer(t, r), s->answer.p, s->answer.n);
    return true;
}
