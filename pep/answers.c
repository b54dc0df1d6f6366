#include "answers.h"

#include <stdlib.h>

#include "crypto.h"
#include "net.h"

enum { BUCKETS = 512 };

struct inactive {
    uint8_t hash[TOKEN_HASH];
    int authority;
    int64_t until_s; /* 0: empty */
};

struct answers {
    struct siphash_key seed;
    struct answer *chains[BUCKETS];
    struct inactive inactive[ANSWERS_INACTIVE_MAX];
    size_t next_inactive;
    size_t n_inactive; /* that were ever written: none, nobody looks */
    uint64_t next_id, turn;
    size_t n_new; /* whose question was not taken yet */
    size_t n_unsettled;
    size_t decisions; /* held, about requests */
    struct answers_stats stats;
};

struct answers *answers_new(struct siphash_key seed)
{
    struct answers *t = calloc(1, sizeof *t);
    if (t) {
        t->seed = seed;
        t->next_id = 1;
    }
    return t;
}

static bool under_way(const struct answer *a)
{
    return a->state == ANSWER_NEW || a->state == ANSWER_ASKED;
}

static void drop_text(uint8_t **p, size_t *n)
{
    if (*p)
        crypto_wipe(*p, *n);
    free(*p);
    *p = NULL;
    *n = 0;
}

static void destroy(struct answer *a)
{
    cached_free(a->said);
    dynamic_clear(&a->consulted.dynamic);
    policy_grant_free(a->consulted.bare);
    drop_text(&a->asked, &a->asked_n);
    drop_text(&a->storage, &a->storage_n);
    drop_text(&a->body, &a->body_n);
    crypto_wipe(a, sizeof *a);
    free(a);
}

static void drop(struct answers *t, struct answer *a)
{
    struct answer **at = &t->chains[a->hash % BUCKETS];
    while (*at != a)
        at = &(*at)->chain;
    *at = a->chain;
    if (under_way(a))
        t->stats.under_way--;
    else
        t->stats.held--;
    t->decisions -= !under_way(a) && !a->said;
    t->n_new -= a->state == ANSWER_NEW;
    destroy(a);
}

void answers_free(struct answers *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (t->chains[i])
            drop(t, t->chains[i]);
    free(t);
}

/* Every entry once; the visited one may be dropped. */
#define EACH(t, a, next)                                                                           \
    for (size_t each_i = 0; each_i < BUCKETS; each_i++)                                            \
        for (struct answer *a = (t)->chains[each_i], *next; a && (next = a->chain, true); a = next)

/* A clock that went back has lost count. */
static bool holds(const struct answer *a, int64_t now_s)
{
    return now_s >= a->from_s && now_s < a->until_s;
}

struct answer *answers_find_consult(struct answers *t, enum pep_ask ask, struct bytes about, int of,
                                    int64_t now_s)
{
    uint64_t hash = siphash(&t->seed, about);
    for (struct answer *a = t->chains[hash % BUCKETS]; a; a = a->chain) {
        if (a->hash != hash || a->ask != ask || a->authority != of || !bytes_equal(a->about, about))
            continue;
        /* Until it is settled it holds for those who waited, whatever `cache`
         * says; the time does not pass meanwhile. */
        if (a->state == ANSWER_ACTIVE && !a->unsettled && !holds(a, now_s)) {
            drop(t, a);
            return NULL;
        }
        a->used = ++t->turn;
        return a;
    }
    return NULL;
}

struct answer *answers_find(struct answers *t, struct bytes token, int authority, int64_t now_s)
{
    return answers_find_consult(t, PEP_ASK_INTROSPECT, token, authority, now_s);
}

bool answers_is_inactive(struct answers *t, const uint8_t hash[TOKEN_HASH], int authority,
                         int64_t now_s)
{
    for (size_t i = 0; i < t->n_inactive; i++) {
        const struct inactive *x = &t->inactive[i];
        if (now_s < x->until_s && x->authority == authority &&
            memcmp(x->hash, hash, TOKEN_HASH) == 0)
            return true;
    }
    return false;
}

struct answer *answers_by_id(struct answers *t, uint64_t id)
{
    EACH(t, a, next)
    if (a->id == id)
        return a;
    return NULL;
}

struct answer *answers_by_hash(struct answers *t, const uint8_t hash[TOKEN_HASH], int64_t now_s)
{
    EACH(t, a, next)
    if (a->said && a->state == ANSWER_ACTIVE && holds(a, now_s) &&
        memcmp(a->said->token.hash, hash, TOKEN_HASH) == 0)
        return a;
    return NULL;
}

/* Its question is yet to be sent. */
static void insert(struct answers *t, struct answer *a)
{
    a->hash = siphash(&t->seed, a->about);
    a->chain = t->chains[a->hash % BUCKETS];
    t->chains[a->hash % BUCKETS] = a;
    a->used = ++t->turn;
    a->id = t->next_id++;
    t->stats.under_way++;
    t->n_new++;
}

static bool has_room(const struct answers *t, const uint8_t net[NET_BYTES], bool known)
{
    size_t strangers = 0, near = 0;
    if (t->stats.under_way >= ANSWERS_ASKED_MAX)
        return false;
    if (known)
        return true;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct answer *a = t->chains[i]; a; a = a->chain)
            if (under_way(a) && a->stranger) {
                strangers++;
                near += memcmp(a->net, net, sizeof a->net) == 0;
            }
    return strangers < ANSWERS_STRANGERS_MAX && near < ANSWERS_PER_NET_MAX;
}

enum pep_err answers_ask(struct answers *t, struct bytes token, int authority, bool reference,
                         bool known, const struct policy_peer *from, struct answer **out)
{
    uint8_t net[NET_BYTES];
    net_of(from, net);
    if (token.n == 0 || token.n > TOKEN_MAX)
        return PEP_TOO_LARGE;
    if (!has_room(t, net, known)) {
        t->stats.busy++;
        return PEP_BUSY;
    }
    struct answer *a = calloc(1, sizeof *a);
    struct cached *said = a ? cached_new(token) : NULL;
    if (!said) {
        free(a);
        return PEP_FULL;
    }
    a->ask = PEP_ASK_INTROSPECT;
    a->authority = authority;
    a->reference = reference;
    a->stranger = !known;
    memcpy(a->net, net, sizeof net);
    a->said = said;
    a->said->token.authority = -1;
    a->about = bytes_of(said->raw, said->raw_n);
    insert(t, a);
    *out = a;
    return PEP_OK;
}

/* Of one subject, and of all, about requests. */
static bool has_room_for(const struct answers *t, struct bytes about)
{
    size_t all = 0, own = 0;
    if (t->stats.under_way >= ANSWERS_ASKED_MAX)
        return false;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct answer *a = t->chains[i]; a; a = a->chain)
            if (under_way(a) && !a->said) {
                all++;
                own += memcmp(a->about.p, about.p, PEP_KEY_ID) == 0;
            }
    return all < ANSWERS_CONSULTS_MAX && own < ANSWERS_PER_OWNER_MAX;
}

enum pep_err answers_consult(struct answers *t, enum pep_ask ask, struct bytes about, int of,
                             struct answer **out)
{
    if (about.n < PEP_KEY_ID || about.n > ANSWERS_ABOUT_MAX)
        return PEP_TOO_LARGE;
    if (!has_room_for(t, about)) {
        t->stats.busy++;
        return PEP_BUSY;
    }
    struct answer *a = calloc(1, sizeof *a);
    if (a)
        a->asked = malloc(about.n);
    if (!a || !a->asked) {
        free(a);
        return PEP_FULL;
    }
    memcpy(a->asked, about.p, about.n);
    a->asked_n = about.n;
    a->about = bytes_of(a->asked, a->asked_n);
    a->ask = ask;
    a->authority = of;
    insert(t, a);
    *out = a;
    return PEP_OK;
}

void answers_hold(struct answer *a, uint64_t question)
{
    a->held_for = question;
}

void answers_ask_again(struct answers *t, struct answer *a)
{
    drop_text(&a->body, &a->body_n);
    drop_text(&a->storage, &a->storage_n);
    a->id = t->next_id++;
    a->state = ANSWER_NEW;
    t->n_new++;
}

struct answer *answers_take(struct answers *t)
{
    struct answer *first = NULL;
    if (t->n_new == 0)
        return NULL;
    EACH(t, a, next)
    if (a->state == ANSWER_NEW && (!first || a->id < first->id))
        first = a;
    first->state = ANSWER_ASKED;
    t->n_new--;
    t->stats.asked++;
    return first;
}

void answers_take_told(struct answers *t, struct answer *a)
{
    t->n_new -= a->state == ANSWER_NEW;
    a->state = ANSWER_ASKED;
}

void answers_end(struct answers *t, struct answer *a)
{
    drop(t, a);
}

uint8_t *answers_storage(struct answer *a, size_t n)
{
    a->storage = calloc(1, n);
    a->storage_n = a->storage ? n : 0;
    return a->storage;
}

uint8_t *answers_body(struct answer *a, size_t n)
{
    a->body = calloc(1, n);
    a->body_n = a->body ? n : 0;
    return a->body;
}

static void evict_one(struct answers *t, const struct answer *but)
{
    struct answer *oldest = NULL;
    EACH(t, a, next)
    if (a != but && !a->said == !but->said && a->state == ANSWER_ACTIVE && !a->unsettled &&
        (!oldest || a->used < oldest->used))
        oldest = a;
    if (oldest) {
        drop(t, oldest);
        t->stats.evicted++;
    }
}

void answers_replied(struct answers *t, struct answer *a)
{
    drop_text(&a->body, &a->body_n);
    t->stats.under_way--;
    t->stats.held++;
    t->n_unsettled++;
    a->unsettled = true;
    t->decisions += !a->said;
    if (a->said ? t->stats.held - t->decisions > ANSWERS_KEPT_MAX
                : t->decisions > ANSWERS_DECISIONS_MAX)
        evict_one(t, a);
}

static void remember_inactive(struct answers *t, const struct answer *a, int64_t now_s)
{
    struct inactive *x = &t->inactive[t->next_inactive];
    if (!crypto_sha256(a->about, x->hash))
        return;
    x->authority = a->authority;
    x->until_s = now_s + ANSWERS_INACTIVE_S;
    t->next_inactive = (t->next_inactive + 1) % ANSWERS_INACTIVE_MAX;
    if (t->n_inactive < ANSWERS_INACTIVE_MAX)
        t->n_inactive++;
}

/* One who used it waits for another question. */
static bool is_held(struct answers *t, const struct answer *a, int64_t now_s)
{
    const struct answer *next = a->held_for ? answers_by_id(t, a->held_for) : NULL;
    return next && under_way(next) && now_s - a->from_s < ANSWERS_HELD_S;
}

void answers_settle(struct answers *t, int64_t now_s)
{
    if (t->n_unsettled == 0)
        return;
    t->n_unsettled = 0;
    EACH(t, a, next)
    {
        if (a->unsettled && a->state == ANSWER_ACTIVE && !a->kept && is_held(t, a, now_s)) {
            t->n_unsettled++;
            continue;
        }
        a->unsettled = false;
        if (under_way(a) || (a->state == ANSWER_ACTIVE && a->kept))
            continue;
        if (a->state == ANSWER_INACTIVE && a->kept)
            remember_inactive(t, a, now_s);
        drop(t, a);
    }
}

int64_t answers_expire(struct answers *t, int64_t now_s)
{
    int64_t next_s = INT64_MAX;
    EACH(t, a, next)
    {
        if (a->state != ANSWER_ACTIVE || a->unsettled) /* somebody reads it */
            continue;
        if (now_s >= a->until_s)
            drop(t, a);
        else if (a->until_s < next_s)
            next_s = a->until_s;
    }
    return next_s;
}

void answers_renumber(struct answers *t,
                      int (*authority)(void *user, int authority, int64_t *until_s), void *user)
{
    EACH(t, a, next)
    {
        int64_t until_s = INT64_MAX;
        /* A request is judged by the new policy, and asked about anew. */
        int now = a->said ? authority(user, a->authority, &until_s) : -1;
        if (now < 0) {
            drop(t, a);
            continue;
        }
        a->authority = now;
        if (a->state == ANSWER_ACTIVE)
            a->said->token.authority = now;
        if (a->until_s > until_s)
            a->until_s = until_s;
        /* compiled against the old policy */
        policy_grant_free(a->said->compiled);
        a->said->compiled = NULL;
    }
    /* Five seconds are not worth more. */
    t->n_inactive = t->next_inactive = 0;
}

void answers_count_hit(struct answers *t)
{
    t->stats.hits++;
}

size_t answers_waiting(const struct answers *t, int authority)
{
    size_t n = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct answer *a = t->chains[i]; a; a = a->chain)
            n += a->said && a->authority == authority && under_way(a);
    return n;
}

void answers_get_stats(const struct answers *t, struct answers_stats *out)
{
    *out = t->stats;
}
