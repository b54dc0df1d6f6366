#include "stored.h"

#include <stdlib.h>

#include "bind.h"
#include "crypto.h"
#include "judge.h"
#include "learn.h"
#include "../policy/cursor.h"
#include "record.h"
#include "take.h"

struct stored {
    struct pep *p;
    int64_t now_s;
    bool told; /* by a colleague, just now; else it is of before the start */
};

/* Which of two grants holds that cannot both. Whoever hears of them in
 * whatever order comes to the same, and to what one worker alone would have
 * said if it had seen one after the other (bind_make_way). */
static bool gives_way(const struct stored *l, const struct grant *held, const struct grant *g)
{
    bool same_key = memcmp(held->key.id, g->key.id, PEP_KEY_ID) == 0;
    if (!same_key) {
        if (!grant_is_live(held, l->now_s, l->p->config.build_s))
            return true;
        /* The kid has an owner: the first. */
        if (held->authority != g->authority)
            return held->id > g->id;
        /* Not by a token issued before. */
        if (held->has_iat && g->has_iat && held->iat_s != g->iat_s)
            return held->iat_s < g->iat_s;
    }
    return held->id < g->id;
}

static bool excludes(const struct grant *held, const struct grant *g)
{
    bool same_key = memcmp(held->key.id, g->key.id, PEP_KEY_ID) == 0;
    return same_key ? grant_replaces(held, g)
                    : g->key.kid_n > 0 && bytes_equal(bytes_of(held->key.kid, held->key.kid_n),
                                                      bytes_of(g->key.kid, g->key.kid_n));
}

/* The next that excludes g, by its key or its kid; NULL: none. */
static struct grant *rival(const struct pep *p, const struct grant *g)
{
    struct grant *o = grants_of_key(p->grants, g->key.id);
    while (o && !excludes(o, g))
        o = grants_next_of_key(o);
    if (o)
        return o;
    o = grants_of_kid(p->grants, bytes_of(g->key.kid, g->key.kid_n));
    while (o && !excludes(o, g))
        o = grants_next_of_kid(o);
    return o;
}

/* Who forgot it did not write, or wrote what cannot hold. */
static void delete_record(struct pep *p, struct bytes key)
{
    const struct store_op op = {STORE_GRANT, key, BYTES_NONE};
    if (p->config.worker == 0 && p->config.store && !store_change(p->config.store, &op, 1))
        p->stats.store_errors++;
}

/* Makes room for g among those of its key. False: it cannot hold. */
static bool make_way(struct stored *l, const struct grant *g)
{
    struct pep *p = l->p;
    size_t others = 0;
    for (struct grant *o = rival(p, g), *next; o; o = next) {
        if (!gives_way(l, o, g))
            return false;
        uint8_t key[RECORD_KEY];
        record_key(o->id, key);
        if (l->told) /* at a start it is only passed over */
            delete_record(p, bytes_of(key, RECORD_KEY));
        if (memcmp(o->key.id, g->key.id, PEP_KEY_ID) == 0)
            grants_drop(p->grants, o);
        else
            take_end(p, o);
        next = rival(p, g);
    }
    struct grant *first = NULL;
    for (struct grant *o = grants_of_key(p->grants, g->key.id); o; o = grants_next_of_key(o)) {
        first = bind_sooner(first, o, g);
        others++;
    }
    if (others < GRANTS_PER_KEY_MAX)
        return true;
    if (first) /* as there, where its deletion is told behind this */
        grants_drop(p->grants, first);
    return first != NULL;
}

static bool has_place(const struct stored *l)
{
    const struct pep *p = l->p;
    return grants_count(p->grants) < (l->told ? grants_max(p->grants) : p->config.max_grants);
}

/* A reference says nothing by itself: its grant sleeps, known by its key,
 * until its authority is asked. */
static enum store_keep take_opaque(struct stored *l, struct record *r)
{
    struct pep *p = l->p;
    int authority = policy_authority_find(p->policy, r->authority);
    const struct policy_authority *a =
        authority < 0 ? NULL : policy_authority(p->policy, (size_t)authority);
    struct token *t = calloc(1, sizeof *t);
    struct policy_grant_report report;
    struct grant *g = NULL;
    bool over =
        !a || !learn_asks(a, true) || (l->now_s >= p->config.build_s && l->now_s >= r->exp_s);
    if (t && !over) {
        t->authority = authority;
        t->claims.has_exp = true;
        t->claims.exp_s = r->exp_s;
        if (crypto_sha256(r->raw, t->hash))
            g = grant_new(t, r->raw, p->config.n_devices);
    }
    free(t);
    if (g) {
        g->id = r->id;
        g->via = r->via;
        g->taken_s = r->taken_s;
        g->used = g->used_kept = r->used;
        g->key = r->key;
        g->by_reference = r->by_reference;
        g->asked = g->reference = g->dormant = true;
        if (r->subject.n < sizeof g->subject)
            memcpy(g->subject, r->subject.p, r->subject.n);
        over = !make_way(l, g);
        if (!over && has_place(l))
            g->compiled = take_compile(p->policy, authority, g, &report);
    }
    crypto_wipe(r, sizeof *r);
    if (g && g->compiled) {
        grants_take(p->grants, g);
        learn_freshen(p, g, l->now_s);
        return STORE_KEEP;
    }
    grant_free(g);
    p->stats.expired += over;
    return over ? STORE_REMOVE : STORE_KEEP;
}

/* Whatever is wrong with a record now would be wrong at each later start:
 * it goes. Only what another day may heal stays: a clock that is not set, a
 * table that is full, memory. */
static enum store_keep take_record(void *user, struct bytes key, struct bytes value)
{
    struct stored *l = user;
    struct pep *p = l->p;
    struct record r;
    struct cached *c;
    struct judged j = {0};
    bool hit;
    if (!record_read(key, value, &r)) {
        p->stats.corrupt++;
        return STORE_REMOVE;
    }
    if (r.id >= p->next_id)
        p->next_id = pep_id_after(p, r.id);
    struct grant *held = l->told ? grants_by_id(p->grants, r.id) : NULL;
    if (held) { /* a colleague wrote that it was used */
        held->used = held->used || r.used;
        held->used_kept = held->used_kept || r.used;
        crypto_wipe(&r, sizeof r);
        return STORE_KEEP;
    }
    if (r.opaque)
        return take_opaque(l, &r);
    enum pep_err err = cache_verify(p->cache, p->keys, r.raw, &c, &hit);
    if (err == PEP_OK)
        err = judge_token(p, c, false, l->now_s, &j);
    /* The token counts again once the clock is set. */
    if (err == PEP_CLOCK && c->token.claims.has_exp && judge_covers(p, &c->token.claims, &j.whole))
        err = PEP_OK;
    struct grant *g = NULL;
    if (err == PEP_OK)
        g = grant_new(&c->token, r.raw, p->config.n_devices);
    if (!g) {
        crypto_wipe(&r, sizeof r);
        if (err == PEP_OK)
            return STORE_KEEP;
        p->stats.expired++;
        return STORE_REMOVE;
    }
    g->id = r.id;
    g->via = r.via;
    g->taken_s = r.taken_s;
    g->used = g->used_kept = r.used;
    judge_apply(p, &j, g);
    g->asked = learn_asks(policy_authority(p->policy, (size_t)g->authority), false);
    /* The key by reference is the record's; the token must still name it. */
    const struct cnf *k = &c->token.claims.cnf;
    if (r.by_reference && (k->kind == CNF_KID || k->kind == CNF_DERIVED) &&
        bytes_equal(k->kid, bytes_of(r.key.kid, r.key.kid_n))) {
        g->key = r.key;
        g->by_reference = true;
    } else if (r.by_reference || k->kind == CNF_KID ||
               (k->kind == CNF_NONE && g->permissions_text.n == 0)) {
        err = PEP_CONFIRMATION;
    } else {
        err = bind_key(p, NULL, c, l->now_s, g);
    }
    crypto_wipe(&r, sizeof r);
    if (err == PEP_OK && !make_way(l, g))
        err = PEP_KID_TAKEN;
    struct policy_grant_report report;
    if (err == PEP_OK && has_place(l))
        g->compiled = take_compile(p->policy, g->authority, g, &report);
    if (!g->compiled) {
        grant_free(g);
        return err == PEP_OK ? STORE_KEEP : STORE_REMOVE;
    }
    take_name(policy_authority(p->policy, (size_t)g->authority), g->sub, &g->key, g->subject);
    grants_take(p->grants, g);
    learn_freshen(p, g, l->now_s);
    return STORE_KEEP;
}

static bool is_owner(void *user, const uint8_t owner[PEP_KEY_ID])
{
    struct pep *p = user;
    return grants_of_key(p->grants, owner) || subjects_by_id(p->subjects, owner) >= 0;
}

static bool is_enrolled(void *user, struct bytes owner)
{
    const struct pep *p = user;
    return policy_subject_find(p->policy, owner) >= 0;
}

void stored_load(struct pep *p, int64_t now_s)
{
    struct stored l = {p, now_s, false};
    if (!p->config.store)
        return;
    /* Numbers first: grants are judged by them. */
    if (!fresh_load(p->fresh, p->config.store, p->config.build_s))
        p->stats.store_errors++;
    (void)fresh_expire(p->fresh, p->config.store, l.now_s);
    if (!store_each(p->config.store, STORE_GRANT, take_record, &l))
        p->stats.store_errors++;
    if (!created_load(p->created, p->config.store, is_owner, p))
        p->stats.store_errors++;
    if (!registered_load(p->registered, p->config.store, is_enrolled, p))
        p->stats.store_errors++;
}

/* ---- told by a colleague ---- */

static void forget_record(struct pep *p, struct bytes key)
{
    struct cursor c = cursor_on(key);
    uint64_t id = cursor_be(&c, RECORD_KEY);
    struct grant *g = cursor_done(&c) ? grants_by_id(p->grants, id) : NULL;
    if (!g)
        return;
    delete_record(p, key);
    take_end(p, g);
}

void pep_take_change(struct pep *p, const struct store_op *op, int64_t now_s)
{
    struct stored l = {p, now_s, true};
    bool first = p->config.worker == 0;
    switch (op->kind) {
    case STORE_GRANT:
        if (!op->value.p)
            forget_record(p, op->key);
        else if (take_record(&l, op->key, op->value) == STORE_REMOVE)
            delete_record(p, op->key);
        p->changes++;
        break;
    case STORE_FRESH:
        fresh_take_change(p->fresh, op);
        judge_end_numbered(p, now_s);
        break;
    case STORE_REGISTERED:
        registered_take_change(p->registered, op);
        break;
    case STORE_CREATED:
        created_take_change(p->created, op, first);
        break;
    case STORE_REVOCATION:
        revocations_take_change(p->revocations, op, first);
        break;
    case STORE_ANSWER:
        learn_take_told(p, op->value, now_s);
        break;
    case STORE_LOCAL:
        m2m_locals_take_change(p->locals, op);
        break;
    case STORE_KEYS: /* each takes a published set itself */
    default:
        break;
    }
}
