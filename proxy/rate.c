#include "rate.h"

#include <pthread.h>
#include <stdlib.h>

enum { WAYS = 16 }; /* places that a key may have: four cache lines */

struct bucket {
    uint64_t key;     /* 0: never used */
    uint64_t full_us; /* when it will be full */
};

struct rates {
    pthread_mutex_t lock; /* of all below */
    struct bucket *buckets;
    size_t mask;     /* sets of WAYS, a power of two, less one */
    uint64_t now_us; /* the latest that was seen: another worker's batch may be older */
    struct siphash_key seed;
    struct rates_stats stats;
};

struct rates *rates_new(size_t buckets, struct siphash_key seed)
{
    size_t sets = 1;
    struct rates *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    while (sets * WAYS < buckets && sets < SIZE_MAX / WAYS / sizeof *t->buckets / 2)
        sets *= 2;
    t->buckets = calloc(sets * WAYS, sizeof *t->buckets);
    if (!t->buckets || pthread_mutex_init(&t->lock, NULL) != 0) {
        free(t->buckets);
        free(t);
        return NULL;
    }
    t->mask = sets - 1;
    t->seed = seed;
    return t;
}

void rates_free(struct rates *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t->buckets);
    free(t);
}

static uint64_t key_of(const struct rates *t, const struct policy_rate *r,
                       const struct bytes who[2])
{
    uint64_t parts[3] = {r->id};
    if (!r->whole) {
        parts[1] = siphash(&t->seed, who[0]);
        parts[2] = siphash(&t->seed, who[1]);
    }
    uint64_t key = siphash(&t->seed, bytes_of(parts, sizeof parts));
    return key ? key : 1;
}

/* Rounded up: never more than `count` in per_s. */
static uint64_t step_of(const struct policy_rate *r)
{
    return ((uint64_t)r->per_s * 1000000 + r->count - 1) / r->count;
}

/* Its bucket, or the one that it may have; NULL: none, until *wait_us. */
static struct bucket *place_of(struct rates *t, uint64_t key, uint64_t now_us, uint64_t *wait_us)
{
    struct bucket *set = &t->buckets[(key & t->mask) * WAYS], *room = NULL;
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (!room && (set[i].key == 0 || set[i].full_us <= now_us))
            room = &set[i];
        if (set[i].full_us < first)
            first = set[i].full_us;
    }
    *wait_us = room ? 0 : first - now_us;
    return room;
}

/* What one rate has to say. */
struct ask {
    const struct policy_rate *rate;
    uint64_t key, step_us;
};

/* 0: there is room; else until when there is none. */
static uint64_t wait_for(struct rates *t, const struct ask *a, uint64_t now_us, const char **of)
{
    uint64_t wait_us = 0;
    const struct bucket *b = place_of(t, a->key, now_us, &wait_us);
    *of = b ? a->rate->of : "table";
    if (!b)
        return wait_us ? wait_us : 1;
    uint64_t full_us = b->key == a->key && b->full_us > now_us ? b->full_us : now_us;
    uint64_t burst_us = a->step_us * (a->rate->count - 1);
    return full_us - now_us > burst_us ? full_us - now_us - burst_us : 0;
}

/* False: another of the same request has taken the last place. */
static bool take(struct rates *t, const struct ask *a, uint64_t now_us)
{
    uint64_t wait_us;
    struct bucket *b = place_of(t, a->key, now_us, &wait_us);
    if (!b)
        return false;
    if (b->key != a->key || b->full_us < now_us)
        b->full_us = now_us;
    b->key = a->key;
    b->full_us += a->step_us;
    return true;
}

static void give_back(struct rates *t, uint64_t key, uint64_t step_us)
{
    struct bucket *set = &t->buckets[(key & t->mask) * WAYS];
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].key == key)
            set[i].full_us -= set[i].full_us < step_us ? set[i].full_us : step_us;
}

static bool take_all(struct rates *t, const struct ask *asks, size_t n, uint64_t now_us,
                     struct rate_taken *taken)
{
    taken->n = 0;
    for (size_t i = 0; i < n; i++) {
        if (!take(t, &asks[i], now_us)) {
            while (taken->n > 0) {
                taken->n--;
                give_back(t, taken->of[taken->n].key, taken->of[taken->n].step_us);
            }
            return false;
        }
        taken->of[taken->n].key = asks[i].key;
        taken->of[taken->n++].step_us = asks[i].step_us;
    }
    return true;
}

static size_t list(const struct rates *t, const struct pep_offer *o,
                   const struct policy_rate *device, struct ask asks[POLICY_RATES_MAX + 1])
{
    static const struct bytes nobody[2];
    size_t n = 0;
    for (uint8_t i = 0; o && i < o->n_rates; i++)
        asks[n++] = (struct ask){o->rates[i], key_of(t, o->rates[i], o->who), step_of(o->rates[i])};
    if (device && device->count > 0)
        asks[n++] = (struct ask){device, key_of(t, device, nobody), step_of(device)};
    return n;
}

void rates_take(struct rates *t, const struct pep_offer *offers, size_t n_offers,
                const struct policy_rate *device, uint64_t now_us, struct rate_answer *answer,
                struct rate_taken *taken)
{
    struct {
        size_t n;
        struct ask asks[POLICY_RATES_MAX + 1];
    } ways[POLICY_OFFERS_MAX];
    size_t n_ways = n_offers ? n_offers : 1;
    uint64_t best = UINT64_MAX;
    *answer = (struct rate_answer){.verdict = RATE_REFUSED, .of = "table"};
    taken->n = 0;
    for (size_t k = 0; k < n_ways; k++) /* hashed before the lock */
        ways[k].n = list(t, n_offers ? &offers[k] : NULL, device, ways[k].asks);
    pthread_mutex_lock(&t->lock);
    t->now_us = now_us = now_us > t->now_us ? now_us : t->now_us;
    for (size_t k = 0; k < n_ways; k++) {
        uint64_t longest_us = 0;
        const char *of, *in_the_way = "table";
        for (size_t i = 0; i < ways[k].n; i++) {
            uint64_t wait_us = wait_for(t, &ways[k].asks[i], now_us, &of);
            if (wait_us <= longest_us)
                continue;
            longest_us = wait_us;
            in_the_way = of;
        }
        if (longest_us == 0 && take_all(t, ways[k].asks, ways[k].n, now_us, taken)) {
            answer->verdict = RATE_TAKEN;
            answer->offer = k;
            t->stats.taken++;
            break;
        }
        if (longest_us < best) {
            best = longest_us;
            answer->of = in_the_way;
        }
    }
    if (answer->verdict == RATE_REFUSED) {
        uint64_t s = best / 1000000 + (best % 1000000 > 0 || best == 0);
        answer->retry_s = s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
        t->stats.refused++;
        t->stats.full += strcmp(answer->of, "table") == 0;
    }
    pthread_mutex_unlock(&t->lock);
}

void rates_give_back(struct rates *t, const struct rate_taken *taken)
{
    if (taken->n == 0)
        return;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < taken->n; i++)
        give_back(t, taken->of[i].key, taken->of[i].step_us);
    t->stats.given_back++;
    pthread_mutex_unlock(&t->lock);
}

void rates_get_stats(struct rates *t, struct rates_stats *out)
{
    pthread_mutex_lock(&t->lock);
    *out = t->stats;
    pthread_mutex_unlock(&t->lock);
}
