#include "stored.h"

#include <stdlib.h>

#include "bind.h"
#include "crypto.h"
#include "judge.h"
#include "learn.h"
#include "record.h"
#include "take.h"

struct stored {
    struct pep *p;
    int64_t now_s;
};

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
    struct victims v;
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
        over = bind_make_way(p, g, l->now_s, &v) != PEP_OK || v.n > 0;
        if (!over && grants_count(p->grants) < grants_max(p->grants))
            g->compiled = take_compile(p->policy, authority, g, &report);
    }
    crypto_wipe(r, sizeof *r);
    if (g && g->compiled) {
        grants_take(p->grants, g);
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
    struct victims v;
    struct judged j = {0};
    bool hit;
    if (!record_read(key, value, &r)) {
        p->stats.corrupt++;
        return STORE_REMOVE;
    }
    if (r.id >= p->next_id)
        p->next_id = r.id + 1;
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
    } else if (r.by_reference || k->kind == CNF_NONE || k->kind == CNF_KID) {
        err = PEP_CONFIRMATION;
    } else {
        err = bind_key(p, NULL, c, l->now_s, g);
    }
    crypto_wipe(&r, sizeof r);
    if (err == PEP_OK)
        err = bind_make_way(p, g, l->now_s, &v);
    if (err == PEP_OK && v.n > 0) /* two of one key: never written so */
        err = PEP_KID_TAKEN;
    struct policy_grant_report report;
    if (err == PEP_OK && grants_count(p->grants) < grants_max(p->grants))
        g->compiled = take_compile(p->policy, g->authority, g, &report);
    if (!g->compiled) {
        grant_free(g);
        return err == PEP_OK ? STORE_KEEP : STORE_REMOVE;
    }
    take_name(policy_authority(p->policy, (size_t)g->authority), g->sub, &g->key, g->subject);
    grants_take(p->grants, g);
    return STORE_KEEP;
}

static bool is_owner(void *user, const uint8_t owner[PEP_KEY_ID])
{
    struct pep *p = user;
    return grants_of_key(p->grants, owner) || subjects_by_id(p->subjects, owner) >= 0;
}

void stored_load(struct pep *p, int64_t now_s)
{
    struct stored l = {p, now_s};
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
}
