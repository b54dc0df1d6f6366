#include "exchange_inside.h"

#include <assert.h>

#include "conn.h"

/* ---- keys ---- */

uint32_t exchange_key_tag(const struct exchanges *t, const struct assoc *a, int listener,
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

/* ---- requests ---- */

static bool is_forgotten(const struct repeat *r, struct instant now)
{
    return instant_ms(now) >= r->born_ms + exchange_lifetime_ms(r->type);
}

static struct bytes empty_ack(struct exchanges *t, uint16_t mid)
{
    struct buf b = buf_on(t->scratch, sizeof t->scratch);
    msg_write_empty(TYPE_ACK, mid, &b);
    return buf_bytes(&b);
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
    return over ? bytes_of(exchange_repeat_answer(t, over), over->n) : BYTES_NONE;
}

enum exchange_arrival exchange_accept(struct exchanges *t, struct assoc *a, int listener,
                                      const struct peer *from, const struct msg *m,
                                      struct bytes datagram, struct instant now,
                                      struct exchange **out, struct bytes *again)
{
    assert(m->type == TYPE_CON || m->type == TYPE_NON);
    /* Over TCP there are no duplicates, and message IDs mean nothing. */
    bool reliable = a && a->conn;
    uint32_t tag = reliable ? 0 : exchange_key_tag(t, a, listener, from, m->mid);
    tagmap_expect(&t->by_mid, tag);
    uint64_t hash = reliable ? 0 : siphash_13(&t->seed, datagram);
    struct repeat *over = NULL;
    struct exchange *old = reliable ? NULL : find_request(t, tag, a, listener, from, m->mid, &over);
    if (over && is_forgotten(over, now)) {
        exchange_forget_repeat(t, over);
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
        exchange_forget_repeat(t, over);
    struct exchange *x = exchange_take_slot(t, now);
    if (!x) {
        t->stats.full++;
        return EXCHANGE_FULL;
    }
    /* The older message of this ID, if its client still waits for it, is
     * answered by its token. (x is old when exchange_take_slot() had to evict it.) */
    if (old && old != x)
        exchange_lose_mid(t, old);
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
        tagmap_put(&t->by_mid, tag, exchange_number(t, x));
    if (x->type == TYPE_CON && !reliable)
        exchange_list_enter(t, x, LIST_UNACKED);
    if (a) {
        exchange_assoc_enter(x, a);
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

struct exchange *exchange_own(struct exchanges *t, struct instant now)
{
    struct exchange *x = exchange_take_slot(t, now);
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
uint16_t exchange_own_mid(struct exchanges *t, struct exchange *x, uint32_t *tag)
{
    uint16_t *next = x->assoc ? &x->assoc->next_mid : &t->next_mid;
    for (;;) {
        uint16_t mid = (*next)++;
        *tag = exchange_key_tag(t, x->assoc, x->listener, &x->peer, mid);
        if (!find_answer(t, *tag, x->assoc, x->listener, &x->peer, mid))
            return mid;
    }
}

static void arm(struct exchanges *t, struct exchange *x, struct instant now)
{
    /* It cannot be full: it has room for every slot. */
    (void)deadline_set(&t->retransmissions, &x->deadline, instant_ms(now) + x->wait_ms);
}

void exchange_await_ack(struct exchanges *t, struct exchange *x, uint32_t tag, struct instant now)
{
    x->confirm = true;
    x->confirm_tag = tag;
    tagmap_put(&t->by_answer, tag, exchange_number(t, x));
    t->n_plain += x->plain;
    if (x->assoc)
        x->assoc->n_exchanges++;
    exchange_list_enter(t, x, LIST_CONFIRM);
    x->tries = 1;
    x->wait_ms =
        ACK_TIMEOUT_MS + t->random(t->user) % (ACK_TIMEOUT_MS * ACK_RANDOM_PERCENT / 100 + 1);
    arm(t, x, now);
}

/* Elsewhere than in the slot: parts of `m` may lie there. */
struct bytes exchange_write_out(struct exchanges *t, const struct assoc *a, struct msg *m)
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
        exchange_release(t, x);
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
        m->mid = x->answer_mid = exchange_own_mid(t, x, &tag);
    }
    m->token_n = x->token_n;
    memcpy(m->token, x->token, sizeof m->token);

    struct bytes b = exchange_write_out(t, x->assoc, m);
    if (x->reliable) {
        t->ops->send(t->user, x, b);
        exchange_release(t, x);
        return;
    }
    if (m->type == TYPE_CON) {
        exchange_keep(t, x, b);
        exchange_await_ack(t, x, tag, now);
    } else {
        exchange_settle(t, x, x->type == TYPE_CON ? b : BYTES_NONE, now);
    }
    /* Last: a send that fails may close the association, and forget x. */
    t->ops->send(t->user, x, b);
}

void exchange_drop(struct exchanges *t, struct exchange *x, struct instant now)
{
    x->stored_n = 0;
    t->stats.unanswered += !x->own && !x->guest;
    if (x->gone || x->own || x->reliable)
        exchange_release(t, x);
    else
        exchange_settle(t, x, BYTES_NONE, now);
}

bool exchange_acknowledged(struct exchanges *t, struct assoc *a, const struct peer *from,
                           int listener, uint16_t mid, bool reset, struct instant now)
{
    if (t->by_answer.n == 0)
        return false;
    uint32_t tag = exchange_key_tag(t, a, listener, from, mid);
    struct exchange *x = find_answer(t, tag, a, listener, from, mid);
    if (!x)
        return false;
    if (x->notice) {
        exchange_end_notice(t, x, reset ? HEARD_RESET : HEARD_ACK, now);
        return true;
    }
    exchange_settle(t, x, BYTES_NONE, now); /* a duplicate gets its empty ACK again */
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
            exchange_release(t, x);
            continue;
        }
        exchange_lose_mid(t, x);
        exchange_list_leave(t, x);
        exchange_assoc_leave(x);
        a->n_exchanges--;
        x->gone = true;
    }
    while (a->repeats)
        exchange_forget_repeat(t, repeat_at(&t->repeats, a->repeats));
    assert(a->n_exchanges == 0);
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
    return r ? r->kept_ms + exchange_lifetime_ms(r->type) : UINT64_MAX;
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
        exchange_end_notice(t, x, HEARD_NOTHING, now);
        return;
    }
    if (x->tries > MAX_RETRANSMIT) {
        exchange_settle(t, x, BYTES_NONE, now);
        t->stats.undelivered++;
        t->ops->undelivered(t->user, x, false);
        return;
    }
    x->tries++;
    x->wait_ms *= 2;
    arm(t, x, now);
    t->ops->send(t->user, x, exchange_kept_answer(x));
}

void exchanges_expire(struct exchanges *t, struct instant now)
{
    uint64_t now_ms = instant_ms(now);
    while (unacked_due_ms(t) <= now_ms) {
        struct exchange *x = t->lists[LIST_UNACKED].head;
        exchange_list_leave(t, x);
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
            exchange_forget_repeat(t, repeats_oldest(&t->repeats, l));
}
