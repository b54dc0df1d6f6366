#include "checks.h"

#include <stdlib.h>

#include "crypto.h"
#include "net.h"

/* Ids of checks and of questions (answers.h) are waited for alike; those with
 * the highest bit are others' (gate_is_order). */
#define CHECK_ID (UINT64_C(1) << 62)

enum state { FREE = 0, NEW, TAKEN, DONE };

struct check {
    enum state state;
    enum pep_err err; /* DONE */
    uint64_t id, hash;
    bool stranger;
    uint8_t net[NET_BYTES];
    size_t raw_n;
    uint8_t raw[TOKEN_MAX];
};

struct checks {
    struct siphash_key seed;
    uint64_t next_id;
    struct check of[CHECKS_MAX];
    size_t n_strangers; /* NEW or TAKEN */
    size_t n_out;       /* TAKEN */
    unsigned in_row;    /* clients' in a row, while strangers waited */
    struct checks_stats stats;
};

struct checks *checks_new(struct siphash_key seed)
{
    struct checks *t = calloc(1, sizeof *t);
    if (t)
        t->seed = seed;
    return t;
}

void checks_free(struct checks *t)
{
    if (!t)
        return;
    crypto_wipe(t->of, sizeof t->of);
    free(t);
}

static struct check *find(struct checks *t, uint64_t hash, struct bytes raw)
{
    for (size_t i = 0; i < CHECKS_MAX; i++) {
        struct check *c = &t->of[i];
        if (c->state != FREE && c->hash == hash && bytes_equal(bytes_of(c->raw, c->raw_n), raw))
            return c;
    }
    return NULL;
}

static bool is_under_way(const struct check *c)
{
    return c->state == NEW || c->state == TAKEN;
}

/* A network's own share, and all strangers' share. */
static bool has_share(const struct checks *t, const uint8_t net[NET_BYTES])
{
    size_t n = 0;
    for (size_t i = 0; i < CHECKS_MAX; i++)
        n += is_under_way(&t->of[i]) && t->of[i].stranger &&
             memcmp(t->of[i].net, net, NET_BYTES) == 0;
    return n < CHECKS_PER_NET_MAX && t->n_strangers < CHECKS_STRANGERS_MAX;
}

static struct check *find_free(struct checks *t)
{
    for (size_t i = 0; i < CHECKS_MAX; i++)
        if (t->of[i].state == FREE)
            return &t->of[i];
    return NULL;
}

static void release(struct checks *t, struct check *c)
{
    if (is_under_way(c)) {
        t->stats.under_way--;
        t->n_strangers -= c->stranger;
        t->n_out -= c->state == TAKEN;
    }
    c->state = FREE;
    crypto_wipe(c->raw, c->raw_n);
}

enum pep_err checks_ask(struct checks *t, struct bytes raw, bool associated,
                        const struct policy_peer *from, uint64_t *id)
{
    uint64_t hash = siphash(&t->seed, raw);
    struct check *c = find(t, hash, raw);
    if (!c) {
        uint8_t net[NET_BYTES];
        net_of(from, net);
        c = find_free(t);
        if (!c || (!associated && !has_share(t, net))) {
            t->stats.busy++;
            return PEP_BUSY;
        }
        *c = (struct check){.state = NEW,
                            .id = CHECK_ID | ++t->next_id,
                            .hash = hash,
                            .stranger = !associated,
                            .raw_n = raw.n};
        memcpy(c->net, net, sizeof net);
        memcpy(c->raw, raw.p, raw.n);
        t->n_strangers += c->stranger;
        t->stats.under_way++;
        t->stats.asked++;
    }
    if (c->state == DONE)
        return c->err;
    if (associated && c->stranger) { /* for this one, too */
        c->stranger = false;
        t->n_strangers--;
    }
    *id = c->id;
    return PEP_PENDING;
}

static struct check *oldest(struct checks *t, bool stranger)
{
    struct check *first = NULL;
    for (size_t i = 0; i < CHECKS_MAX; i++) {
        struct check *c = &t->of[i];
        if (c->state == NEW && c->stranger == stranger && (!first || c->id < first->id))
            first = c;
    }
    return first;
}

static struct check *find_next(struct checks *t)
{
    struct check *client = oldest(t, false), *stranger = oldest(t, true);
    if (!client || !stranger || t->in_row + 1 == CHECKS_STRANGER_EACH) {
        t->in_row = 0;
        return stranger ? stranger : client;
    }
    t->in_row++;
    return client;
}

struct pep_check *checks_take(struct checks *t, struct keys *keys)
{
    /* Asked every turn, and mostly for nothing: no place is looked at then. */
    bool any = t->stats.under_way > t->n_out;
    struct check *next = any && t->n_out < CHECKS_OUT_MAX ? find_next(t) : NULL;
    if (!next)
        return NULL;
    struct pep_check *c = calloc(1, sizeof *c);
    if (c)
        c->entry = cached_new(bytes_of(next->raw, next->raw_n));
    if (!c || !c->entry) { /* it stays, for a better moment */
        free(c);
        return NULL;
    }
    c->id = next->id;
    c->keys = keys_ref(keys);
    next->state = TAKEN;
    t->n_out++;
    return c;
}

void checks_done(struct checks *t, const struct pep_check *c, const struct keys *keys)
{
    for (size_t i = 0; i < CHECKS_MAX; i++) {
        struct check *of = &t->of[i];
        if (of->state != TAKEN || of->id != c->id)
            continue;
        release(t, of);
        if (c->keys != keys || c->err == PEP_OK) /* the cache has it, or it is asked anew */
            return;
        t->stats.forged += c->err == PEP_PROTECTION;
        memcpy(of->raw, c->entry->raw, c->entry->raw_n);
        of->state = DONE;
        of->err = c->err;
        return;
    }
}

void checks_settle(struct checks *t)
{
    for (size_t i = 0; i < CHECKS_MAX; i++)
        if (t->of[i].state == DONE)
            release(t, &t->of[i]);
}

void checks_get_stats(const struct checks *t, struct checks_stats *out)
{
    *out = t->stats;
}
