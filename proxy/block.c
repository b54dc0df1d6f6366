#include "block.h"

#include <stddef.h>
#include <stdlib.h>

#include "deadline.h"
#include "limits.h"
#include "tagmap.h"

enum { SLOT_BITS = 16, MORE = 8 };

struct transfer {
    uint64_t id; /* 0: free */
    uint64_t place, client;
    uint64_t began_ms;
    uint64_t rest_by_ms; /* from when on another may begin in its place */
    uint64_t keep_by_ms; /* when it is forgotten even so */
    uint64_t wait_by_ms; /* when those who wait are refused; 0: nobody waits */
    unsigned flying;     /* requests that the device has not answered */
    bool answering;      /* the body is there; now the answer comes in blocks */
    struct deadline deadline;
};

struct blocks {
    struct transfer slots[BLOCK_TRANSFERS];
    struct tagmap by_place;
    struct deadlines deadlines;
    struct siphash_key seed;
    uint64_t id_base, serial;
    struct blocks_stats stats;
};

struct blocks *blocks_new(uint64_t id_base, const struct siphash_key *seed)
{
    struct blocks *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->id_base = id_base;
    b->seed = *seed;
    bool ok = tagmap_init(&b->by_place, BLOCK_TRANSFERS);
    if (!deadlines_init(&b->deadlines, BLOCK_TRANSFERS) || !ok) {
        blocks_free(b);
        return NULL;
    }
    return b;
}

void blocks_free(struct blocks *b)
{
    if (!b)
        return;
    deadlines_clear(&b->deadlines);
    tagmap_clear(&b->by_place);
    free(b);
}

/* ---- what a message says ---- */

/* -1: there is none. One that is longer than 3 bytes was refused before. */
static int64_t block_of(const struct msg *m, uint16_t number)
{
    return msg_find(m, number) ? msg_uint(m, number) : -1;
}

static bool has_more(int64_t block)
{
    return block >= 0 && (block & MORE);
}

/* Methods whose request is a body, so that their answer is one to it. */
static bool has_body(const struct msg *m)
{
    return m->code != MSG_GET && m->code != MSG_DELETE;
}

/* Device, path and query (RFC 7252 5.4: what names the resource). Only its
 * hash is kept: where two have the same, one waits for the other. */
static uint64_t place_of(const struct blocks *b, int device, const struct msg *m)
{
    uint8_t text[MESSAGE_MAX + 4 * MSG_OPTIONS_MAX];
    struct buf t = buf_on(text, sizeof text);
    buf_put_be(&t, (uint32_t)device, 4);
    for (size_t i = 0; i < m->n_options; i++) {
        const struct msg_option *o = &m->options[i];
        if (o->number != OPT_URI_PATH && o->number != OPT_URI_QUERY)
            continue;
        buf_put_be(&t, o->number, 2);
        buf_put_be(&t, o->value.n, 2);
        buf_put(&t, o->value);
    }
    return siphash(&b->seed, bytes_of(text, t.n));
}

/* ---- transfers ---- */

static struct transfer *find(struct blocks *b, uint64_t place)
{
    size_t step = 0;
    for (uint32_t i; tagmap_find(&b->by_place, (uint32_t)place, &step, &i);)
        if (b->slots[i].place == place)
            return &b->slots[i];
    return NULL;
}

static struct transfer *named(struct blocks *b, uint64_t id)
{
    struct transfer *t = &b->slots[id & (BLOCK_TRANSFERS - 1)];
    return id && t->id == id ? t : NULL;
}

static void arm(struct blocks *b, struct transfer *t)
{
    uint64_t at_ms = t->flying > 0 ? UINT64_MAX : t->wait_by_ms ? t->rest_by_ms : t->keep_by_ms;
    if (t->wait_by_ms && t->wait_by_ms < at_ms)
        at_ms = t->wait_by_ms;
    if (at_ms == UINT64_MAX)
        deadline_cancel(&b->deadlines, &t->deadline);
    else /* it cannot be full: it has room for every slot */
        (void)deadline_set(&b->deadlines, &t->deadline, at_ms);
}

static void rest(struct blocks *b, struct transfer *t, struct instant now)
{
    t->rest_by_ms = instant_ms(now) + BLOCK_REST_MS;
    t->keep_by_ms = instant_ms(now) + EXCHANGE_LIFETIME_MS;
    arm(b, t);
}

static void end(struct blocks *b, struct transfer *t)
{
    tagmap_remove(&b->by_place, (uint32_t)t->place, (uint32_t)(t - b->slots));
    deadline_cancel(&b->deadlines, &t->deadline);
    t->id = 0;
    b->stats.open--;
}

static bool is_rested(const struct transfer *t, struct instant now)
{
    return t->flying == 0 && instant_ms(now) >= t->rest_by_ms;
}

/* A place in the table; one of those that rested, if need be, and of the
 * client's own when it has its share. */
static struct transfer *begin(struct blocks *b, uint64_t place, uint64_t client, struct instant now)
{
    struct transfer *free_one = NULL, *rested = NULL, *own_rested = NULL;
    size_t own = 0;
    for (size_t i = 0; i < BLOCK_TRANSFERS; i++) {
        struct transfer *t = &b->slots[i];
        if (t->id == 0) {
            free_one = free_one ? free_one : t;
            continue;
        }
        own += t->client == client;
        if (!is_rested(t, now))
            continue;
        if (!rested || t->rest_by_ms < rested->rest_by_ms)
            rested = t;
        if (t->client == client)
            own_rested = t;
    }
    struct transfer *victim = own >= BLOCK_TRANSFERS_PER_CLIENT ? own_rested : rested;
    if (own >= BLOCK_TRANSFERS_PER_CLIENT || !free_one) {
        if (!victim)
            return NULL;
        end(b, victim); /* nobody waits for it: they would have its place */
        free_one = victim;
    }
    *free_one = (struct transfer){.place = place, .client = client, .began_ms = instant_ms(now)};
    free_one->id = b->id_base | ++b->serial << SLOT_BITS | (uint64_t)(free_one - b->slots);
    tagmap_put(&b->by_place, (uint32_t)place, (uint32_t)(free_one - b->slots));
    b->stats.transfers++;
    b->stats.open++;
    rest(b, free_one, now);
    return free_one;
}

static enum block_verdict go(struct blocks *b, struct transfer *t, uint64_t *id)
{
    t->flying++;
    arm(b, t);
    *id = t->id;
    return BLOCK_GO;
}

static enum block_verdict wait_for(struct blocks *b, struct transfer *t, struct instant now,
                                   uint64_t *id)
{
    if (t->wait_by_ms == 0)
        t->wait_by_ms = instant_ms(now) + BLOCK_WAIT_MS;
    arm(b, t);
    b->stats.waited++;
    *id = t->id;
    return BLOCK_WAIT;
}

enum block_verdict block_ask(struct blocks *b, int device, uint64_t client,
                             const struct msg *request, struct instant now, uint64_t *id)
{
    int64_t block1 = block_of(request, OPT_BLOCK1);
    *id = 0;
    if (block1 < 0 && (b->stats.open == 0 || !has_body(request)))
        return BLOCK_GO;
    uint64_t place = place_of(b, device, request);
    struct transfer *t = find(b, place);
    bool first = block1 >> 4 == 0; /* also the only one */

    if (t && t->client == client)
        /* Its next block, the same again, or a new beginning. */
        return go(b, t, id);
    if (block1 >= 0 && !first) {
        b->stats.incomplete++;
        return BLOCK_INCOMPLETE;
    }
    if (t && is_rested(t, now)) {
        end(b, t);
        t = NULL;
    }
    if (t) {
        bool crosses = block1 >= 0 || t->answering;
        return crosses ? wait_for(b, t, now, id) : BLOCK_GO;
    }
    if (!has_more(block1))
        return BLOCK_GO;
    t = begin(b, place, client, now);
    if (!t) {
        b->stats.refused++;
        return BLOCK_FULL;
    }
    return go(b, t, id);
}

/* Whether more is to come, of the body or of its answer. A denial ends it,
 * but for those that ask for the same block again: 4.01 with Echo (RFC 9175
 * 2.3), 5.03; and 2.31 is a success. */
static bool goes_on(struct transfer *t, const struct msg *request, const struct msg *answer)
{
    if (!answer)
        return true; /* its client may try again */
    if (MSG_CLASS(answer->code) != 2)
        return answer->code == MSG_CODE(4, 1) || answer->code == MSG_CODE(5, 3);
    if (has_body(request) && has_more(block_of(answer, OPT_BLOCK2))) {
        t->answering = true;
        return true;
    }
    int64_t block1 = block_of(request, OPT_BLOCK1);
    if (block1 >= 0 && !t->answering)
        return has_more(block1);
    /* Something else of the same client, beside its transfer. */
    return !t->answering && block_of(answer, OPT_BLOCK2) < 0;
}

bool block_answered(struct blocks *b, uint64_t id, int device, uint64_t client,
                    const struct msg *request, const struct msg *answer, struct instant now)
{
    struct transfer *t = named(b, id);
    if (!id && answer && MSG_CLASS(answer->code) == 2 && has_body(request) &&
        has_more(block_of(answer, OPT_BLOCK2))) {
        /* A small body with a large answer begins here. No room: as if there
         * was no order, for it has begun already. */
        uint64_t place = place_of(b, device, request);
        t = find(b, place) ? NULL : begin(b, place, client, now);
        if (t)
            t->answering = true;
        return false;
    }
    if (!t)
        return false;
    t->flying--;
    if (goes_on(t, request, answer)) {
        rest(b, t, now);
        return false;
    }
    end(b, t);
    return true;
}

void block_left(struct blocks *b, uint64_t id, struct instant now)
{
    struct transfer *t = named(b, id);
    if (!t)
        return;
    t->flying--;
    rest(b, t, now);
}

/* ---- time ---- */

uint64_t blocks_deadline_ms(const struct blocks *b)
{
    return deadlines_next(&b->deadlines);
}

uint64_t blocks_expire(struct blocks *b, struct instant now, bool *refuse)
{
    uint64_t now_ms = instant_ms(now);
    struct deadline *d = deadlines_pop(&b->deadlines, now_ms);
    if (!d)
        return 0;
    struct transfer *t =
        (struct transfer *)(void *)((uint8_t *)d - offsetof(struct transfer, deadline));
    uint64_t id = t->id;
    bool held = now_ms >= t->began_ms + BLOCK_HOLD_MS;
    *refuse = (t->flying > 0 || now_ms < t->rest_by_ms) && !held;
    if (!*refuse) {
        end(b, t);
        return id;
    }
    t->wait_by_ms = 0;
    b->stats.refused++;
    arm(b, t);
    return id;
}

void blocks_get_stats(const struct blocks *b, struct blocks_stats *out)
{
    *out = b->stats;
}
