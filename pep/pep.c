/* The daemon's one pep: made, loaded, swept. */
#include "pep.h"

#include <stdlib.h>

#include "crypto.h"
#include "inside.h"
#include "judge.h"
#include "learn.h"
#include "record.h"
#include "stored.h"
#include "take.h"

enum {
    EXPIRE_MAX = STORE_OPS_MAX, /* grants ended in one call; the loop goes on between */
    EXPIRE_EVERY_S = 60,        /* at least so often what is not urgent goes to the store */
    USED_MAX = 8,               /* records rewritten in one change */
    AT_ONCE = 16,               /* tokens that a worker takes before it hears of others */
};

struct pep *pep_new(const struct pep_config *c)
{
    struct siphash_key seed;
    struct pep *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->config = *c;
    p->cover_words = (c->n_devices + 63) / 64;
    p->cover = calloc(p->cover_words + 1, sizeof *p->cover);
    p->device_authority = calloc(c->n_devices + 1, sizeof *p->device_authority);
    if (crypto_random(&seed, sizeof seed)) {
        /* Several workers may each find the last place free at once. */
        p->grants = grants_new(c->max_grants + (c->workers > 1 ? c->workers * AT_ONCE : 0), seed);
        p->cache = cache_new(seed);
        p->checks = c->checks_elsewhere ? checks_new(seed) : NULL;
        p->created = created_new(c->max_grants, seed);
        p->locals = m2m_locals_new(seed);
        p->revocations = revocations_new(seed);
        p->answers = answers_new(seed);
        p->fresh = fresh_new(c->nonce_key);
        p->published = published_new();
        p->registered = registered_new(seed);
    }
    p->next_id = pep_id_after(p, 0);
    if (!p->cover || !p->device_authority || !p->grants || !p->cache ||
        (c->checks_elsewhere && !p->checks) || !p->created || !p->locals || !p->revocations ||
        !p->answers || !p->fresh || !p->published || !p->registered) {
        pep_free(p);
        return NULL;
    }
    return p;
}

void pep_free(struct pep *p)
{
    if (!p)
        return;
    if (p->config.store && p->created)
        (void)created_flush(p->created, p->config.store);
    if (p->revocations)
        (void)revocations_flush(p->revocations, p->config.store);
    cache_free(p->cache);
    checks_free(p->checks);
    answers_free(p->answers);
    policy_grant_free(p->nothing);
    fresh_free(p->fresh);
    published_free(p->published);
    registered_free(p->registered);
    grants_free(p->grants);
    created_free(p->created);
    m2m_locals_free(p->locals);
    revocations_free(p->revocations);
    subjects_free(p->subjects);
    keys_free(p->keys);
    policy_unref(p->policy);
    free(p->device_authority);
    free(p->of);
    free(p->cover);
    slab_clear(&p->small);
    free(p);
}

const struct policy *pep_policy(const struct pep *p)
{
    return p->policy;
}

uint64_t pep_unknown_keys(const struct pep *p)
{
    return p->stats.unknown_keys;
}

void pep_get_stats(const struct pep *p, struct pep_stats *out)
{
    *out = p->stats;
    struct answers_stats a;
    answers_get_stats(p->answers, &a);
    out->grants = grants_count(p->grants);
    out->asked = a.asked;
    out->answer_hits = a.hits;
    out->under_way = a.under_way;
    out->busy = a.busy;
    if (p->checks) {
        struct checks_stats c;
        checks_get_stats(p->checks, &c);
        out->checks = c.asked;
        out->forged = c.forged;
        out->checks_busy = c.busy;
        out->checks_under_way = c.under_way;
    }
}

void pep_get_authority_stats(const struct pep *p, int authority, struct pep_authority_stats *out)
{
    *out = (struct pep_authority_stats){0};
    if (authority < 0 || (size_t)authority >= p->n_of)
        return;
    *out = p->of[authority];
    out->under_way = answers_waiting(p->answers, authority);
}

/* ---- loading ---- */

/* What a load makes before anything is swapped. */
struct staged {
    struct keys *keys;
    struct subjects *subjects;
    int *device_authority;
    struct pep_authority_stats *of;
    size_t n_of;
};

/* Whether the grant still rests on a key that its authority has now. */
static bool still_vouched(const struct pep *p, const struct staged *st, const struct grant *g,
                          int authority, struct token *scratch)
{
    /* What only an authority's word makes a token has no key; its issuer and
     * that it can still be asked were looked at. */
    if (g->reference || keys_same(p->keys, g->authority, st->keys, authority))
        return true;
    bool ok = token_verify(st->keys, g->raw, scratch) == PEP_OK && scratch->authority == authority;
    if (ok && scratch->claims.cnf.kind == CNF_DERIVED && !g->by_reference)
        ok = crypto_equal(bytes_of(scratch->claims.cnf.key, scratch->claims.cnf.key_n),
                          bytes_of(g->key.secret, g->key.secret_n));
    token_clear(scratch);
    return ok;
}

/* Compiles what stays against the new policy. What does not stay is left
 * with nothing compiled. */
static bool stage_grants(struct pep *p, struct policy *policy, const struct staged *st)
{
    struct token *scratch = malloc(sizeof *scratch);
    bool ok = scratch != NULL;
    for (size_t i = 0; ok && i < grants_count(p->grants); i++) {
        struct grant *g = grants_at(p->grants, i);
        const struct policy_authority *old = policy_authority(p->policy, (size_t)g->authority);
        int authority = policy_authority_find(policy, bytes_str(old->name));
        const struct policy_authority *now =
            authority < 0 ? NULL : policy_authority(policy, (size_t)authority);
        if (!now || (g->bearer && !now->bearer) || (g->reference && !learn_asks(now, true)))
            continue;
        if (g->iss.n && !(now->issuer && bytes_equal_str(g->iss, now->issuer)))
            continue;
        if (!still_vouched(p, st, g, authority, scratch))
            continue;
        struct policy_grant_report report;
        g->next_compiled = take_compile(policy, authority, g, &report);
        ok = g->next_compiled != NULL;
    }
    for (size_t i = 0; !ok && i < grants_count(p->grants); i++) {
        policy_grant_free(grants_at(p->grants, i)->next_compiled);
        grants_at(p->grants, i)->next_compiled = NULL;
    }
    free(scratch);
    return ok;
}

static bool stage_devices(const struct pep *p, struct policy *policy, struct staged *st,
                          struct buf *diag)
{
    bool ok = true;
    st->device_authority = calloc(p->config.n_devices + 1, sizeof *st->device_authority);
    while (policy_authority(policy, st->n_of))
        st->n_of++;
    st->of = calloc(st->n_of + 1, sizeof *st->of);
    if (!st->device_authority || !st->of)
        return false;
    for (size_t i = 0; i < p->config.n_devices; i++) {
        const struct pep_device *d = &p->config.devices[i];
        int a = d->authority ? policy_authority_find(policy, bytes_str(d->authority))
                : policy_authority(policy, 0) ? 0
                                              : -1;
        if (d->authority && a < 0) {
            buf_put_str(diag, policy_name(policy));
            buf_put_str(diag, ": error: device '");
            buf_put_str(diag, d->name);
            buf_put_str(diag, "' sends clients to authority '");
            buf_put_str(diag, d->authority);
            buf_put_str(diag, "', which the policy does not name\n");
            ok = false;
        }
        st->device_authority[i] = a;
    }
    return ok;
}

static void staged_clear(struct staged *st)
{
    keys_free(st->keys);
    subjects_free(st->subjects);
    free(st->device_authority);
    free(st->of);
}

/* The staged takes its place; a grant that did not stay has nothing then. */
static void commit_grants(struct pep *p, struct policy *policy)
{
    cache_clear(p->cache); /* its authorities and compiled grants are the old policy's */
    for (size_t i = 0; i < grants_count(p->grants); i++) {
        struct grant *g = grants_at(p->grants, i);
        if (g->next_compiled) {
            const char *name = policy_authority(p->policy, (size_t)g->authority)->name;
            g->authority = policy_authority_find(policy, bytes_str(name));
        }
        m2m_permissions_free(g->permissions); /* they are the old policy's */
        g->permissions = NULL;
        policy_grant_free(g->compiled);
        g->compiled = g->next_compiled;
        g->next_compiled = NULL;
    }
}

/* Nothing here can fail. */
static void commit(struct pep *p, struct policy *policy, struct staged *st, int64_t now_s)
{
    struct policy *old = p->policy;
    struct staged was = {p->keys, p->subjects, p->device_authority, p->of, p->n_of};
    commit_grants(p, policy);
    p->policy = policy_ref(policy);
    p->keys = st->keys;
    p->subjects = st->subjects;
    p->device_authority = st->device_authority;
    p->of = st->of;
    p->n_of = st->n_of;
    p->loads++;
    p->changes++;
    learn_reload(p, old, now_s);
    staged_clear(&was);
    policy_unref(old);
}

size_t pep_end_some(struct pep *p, bool (*over)(struct pep *p, struct grant *g, int64_t now_s),
                    int64_t now_s, size_t max)
{
    struct store_op ops[STORE_OPS_MAX];
    uint8_t keys[STORE_OPS_MAX][RECORD_KEY];
    size_t n = 0, ended = 0;
    for (size_t i = grants_count(p->grants); i-- > 0 && ended < max;) {
        struct grant *g = grants_at(p->grants, i);
        if (!over(p, g, now_s))
            continue;
        if (!g->bearer && p->config.store) {
            record_key(g->id, keys[n]);
            ops[n] = (struct store_op){STORE_GRANT, bytes_of(keys[n], RECORD_KEY), BYTES_NONE};
            n++;
        }
        take_end(p, g); /* the last one takes its slot, and was looked at */
        ended++;
    }
    if (n && !store_change(p->config.store, ops, n))
        p->stats.store_errors++;
    return ended;
}

static bool lost_authority(struct pep *p, struct grant *g, int64_t now_s)
{
    (void)now_s;
    p->stats.ended += !g->compiled;
    return !g->compiled;
}

/* The sets that authorities published belong to the new snapshot too, where
 * they still have a JWKS URL. One that no longer fits beside the keys of the
 * file is left out until it is fetched again. */
static struct keys *load_keys(const struct pep *p, const struct policy *policy, const char *dir,
                              struct buf *diag)
{
    char ignored[256];
    struct keys *k = keys_load(policy, dir, diag);
    const struct policy_authority *a;
    for (size_t i = 0; k && (a = policy_authority(policy, i)); i++) {
        struct bytes set = published_of(p->published, a->name);
        struct buf lost = buf_on(ignored, sizeof ignored);
        if (!a->wire.jwks.url || set.n == 0)
            continue;
        struct keys *with = keys_with_set(k, (int)i, set, a->name, &lost);
        if (with) {
            keys_free(k);
            k = with;
        }
    }
    return k;
}

bool pep_take_keys(struct pep *p, int authority, struct bytes set, int64_t now_s, struct buf *diag)
{
    const struct policy_authority *a =
        p->policy && authority >= 0 ? policy_authority(p->policy, (size_t)authority) : NULL;
    if (!a)
        return false;
    struct staged st = {.keys = keys_with_set(p->keys, authority, set, a->wire.jwks.url, diag)};
    if (!st.keys || !stage_grants(p, p->policy, &st)) {
        staged_clear(&st);
        return false;
    }
    /* What is in force is what is kept: the next start must not end grants
     * that rest on it before the server is reached. */
    if (!published_put(p->published, a->name, set, p->config.store))
        p->stats.store_errors++;
    struct keys *was = p->keys;
    commit_grants(p, p->policy);
    p->keys = st.keys;
    p->changes++;
    keys_free(was);
    while (pep_end_some(p, lost_authority, now_s, EXPIRE_MAX) == EXPIRE_MAX)
        ;
    return true;
}

bool pep_load(struct pep *p, struct policy *policy, const char *dir, int64_t now_s,
              struct buf *diag)
{
    /* Before anything is judged: a gateway that cannot know what was revoked
     * does not start. */
    if (p->loads == 0 && p->config.store && !revocations_load(p->revocations, p->config.store)) {
        buf_put_str(diag, "the revocations in the state directory cannot be read\n");
        return false;
    }
    if (p->loads == 0 && p->config.store && !published_load(p->published, p->config.store))
        p->stats.store_errors++;
    struct staged st = {.keys = load_keys(p, policy, dir, diag)};
    if (st.keys)
        st.subjects = subjects_load(policy, dir, diag);
    if (!st.keys || !st.subjects || !stage_devices(p, policy, &st, diag) ||
        !stage_grants(p, policy, &st)) {
        if (diag->n == 0 && !diag->full)
            buf_put_str(diag, "out of memory\n");
        staged_clear(&st);
        return false;
    }
    bool first = p->loads == 0;
    commit(p, policy, &st, now_s);
    pep_look_at_enrolments(p, now_s);
    while (pep_end_some(p, lost_authority, now_s, EXPIRE_MAX) == EXPIRE_MAX)
        ;
    if (first) {
        /* Ids grow across restarts, so that a record names one grant: a
         * million a second, and below 2^53 for readers of JSON. */
        if (now_s > 0 && now_s < INT64_C(1) << 32)
            p->next_id = pep_id_after(p, ((uint64_t)now_s << 20) - 1);
        stored_load(p, now_s);
    } else {
        judge_end_numbered(p, now_s); /* the range may be another */
    }
    return true;
}

void pep_look_at_enrolments(struct pep *p, int64_t now_s)
{
    if (p->subjects && subjects_look(p->subjects, now_s, p->config.build_s, &p->look_s))
        p->changes++;
}

/* ---- sweeping ---- */

static bool is_over(struct pep *p, struct grant *g, int64_t now_s)
{
    if (now_s < p->config.build_s && !g->clockless) /* cannot tell; it does not count either */
        return false;
    if (now_s >= g->exp_s) {
        p->stats.expired++;
        return true;
    }
    /* That a colleague used it is heard with delay: one decides for all. */
    if (now_s >= p->config.build_s && !g->used && now_s - g->taken_s >= GRANTS_UNUSED_S &&
        p->config.worker == 0) {
        p->stats.unused++;
        return true;
    }
    return false;
}

/* That a grant was used is no promise to anyone: it is written in passing,
 * so that neither a restart nor a colleague takes a client's grant for a
 * forgotten one. True: there may be more. */
static bool keep_used(struct pep *p)
{
    struct store_op ops[USED_MAX];
    struct grant *of[USED_MAX];
    uint8_t keys[USED_MAX][RECORD_KEY], values[USED_MAX][RECORD_MAX];
    size_t n = 0;
    for (size_t i = 0; i < grants_count(p->grants) && n < USED_MAX; i++) {
        struct grant *g = grants_at(p->grants, i);
        struct buf b = buf_on(values[n], RECORD_MAX);
        if (!g->used || g->used_kept || g->bearer ||
            !record_write(g, policy_authority(p->policy, (size_t)g->authority)->name, keys[n], &b))
            continue;
        ops[n] = (struct store_op){STORE_GRANT, bytes_of(keys[n], RECORD_KEY), buf_bytes(&b)};
        of[n++] = g;
    }
    if (n && !store_change(p->config.store, ops, n))
        p->stats.store_errors++;
    else
        for (size_t i = 0; i < n; i++)
            of[i]->used_kept = true;
    crypto_wipe(values, sizeof values);
    return n == USED_MAX;
}

int64_t pep_expire(struct pep *p, int64_t now_s)
{
    if (fresh_expire(p->fresh, p->config.store, now_s))
        judge_end_numbered(p, now_s);
    pep_look(p, now_s);
    int64_t answers_next = answers_expire(p->answers, now_s);
    m2m_locals_expire(p->locals, now_s);
    if (pep_end_some(p, is_over, now_s, EXPIRE_MAX) == EXPIRE_MAX)
        return now_s + 1;
    int64_t next = now_s + EXPIRE_EVERY_S;
    if (answers_next < next)
        next = answers_next;
    if (fresh_next(p->fresh) > now_s && fresh_next(p->fresh) < next)
        next = fresh_next(p->fresh);
    if (p->config.store) {
        if (keep_used(p))
            next = now_s + 1;
        if (!created_flush(p->created, p->config.store))
            p->stats.store_errors++;
    }
    int64_t revoked_until_s = revocations_expire(p->revocations, now_s);
    if (revoked_until_s < next)
        next = revoked_until_s;
    if (!revocations_flush(p->revocations, p->config.store) && p->config.store)
        p->stats.store_errors++;
    for (size_t i = 0; i < grants_count(p->grants); i++) {
        const struct grant *g = grants_at(p->grants, i);
        int64_t at = g->exp_s;
        if (!g->used && g->taken_s + GRANTS_UNUSED_S < at)
            at = g->taken_s + GRANTS_UNUSED_S;
        if (at > now_s && at < next)
            next = at;
    }
    return next;
}
