#include "asked.h"

#include "bind.h"
#include "judge.h"
#include "m2m_hold.h"

/* Options joined by '&'. An option that holds one itself could be read as
 * two, and a single empty one as none, so such a query matches no AIF entry:
 * those have no '%'. */
static struct bytes join_query(const struct request *r, uint8_t *storage)
{
    struct buf b = buf_on(storage, ASKED_QUERY_MAX);
    if (r->n_query == 1 && r->query[0].n == 0)
        return BYTES_LIT("%");
    for (size_t i = 0; i < r->n_query; i++) {
        if (r->query[i].n && memchr(r->query[i].p, '&', r->query[i].n))
            return BYTES_LIT("%");
        if (i)
            buf_put_u8(&b, '&');
        buf_put(&b, r->query[i]);
    }
    return b.full ? BYTES_LIT("%") : buf_bytes(&b);
}

/* The Access-Token option: it counts if this association proves its key. It
 * is kept nowhere. */
static enum pep_err add_token(struct pep *p, struct pep_session *s, const struct request *r,
                              int64_t now_s, struct asked *a, bool *dynamic)
{
    struct judged j;
    enum pep_err err = learn_token(p, r->token, r->device, s != NULL, &r->peer, now_s, &a->learned);
    if (err != PEP_OK)
        return err;
    struct cached *c = a->learned.said;
    if (c->token.claims.permissions.n > 0)
        return m2m_hold_one(p, s, r, r->token, a->speaks, now_s, a);
    err = judge_token(p, c, a->learned.answer && a->learned.answer->reference, now_s, &j);
    if (err == PEP_OK && !r->continued)
        err = judge_cnonce(p, &c->token, now_s);
    if (err != PEP_OK)
        return err;
    const struct claims *t = &c->token.claims;
    enum policy_strength strength = (enum policy_strength)s->strength;
    const uint8_t *key_id = c->has_key_id ? c->key_id : NULL;
    if (t->cnf.kind == CNF_KID || t->cnf.kind == CNF_DERIVED) {
        struct grant *g = bind_find_kid(p, t->cnf.kid, c->token.authority, now_s);
        if (g)
            key_id = g->key.id;
    }
    if (t->cnf.kind == CNF_NONE) {
        if (!policy_authority(p->policy, (size_t)c->token.authority)->bearer)
            return PEP_CONFIRMATION;
        strength = POLICY_STRENGTH_BEARER;
    } else if (!key_id || !session_proves(s, key_id)) {
        return PEP_CONFIRMATION;
    }
    if (!c->compiled) {
        struct policy_claims claims = {.authority = c->token.authority,
                                       .scope = t->scope_words,
                                       .aif = t->aif,
                                       .n_aif = t->n_aif};
        c->compiled = policy_grant_new(p->policy, &claims, &c->report);
        if (!c->compiled)
            return PEP_FULL;
    }
    if (c->report.n_known == 0)
        return PEP_SCOPE;
    err = judge_note(p, &c->token, &j, now_s);
    if (err != PEP_OK)
        return err;
    for (size_t i = 0; i < t->n_aif; i++)
        *dynamic |= t->aif[i].mask >> 32 != 0;
    bool covers =
        j.whole || (r->device >= 0 && (p->cover[r->device / 64] >> (r->device % 64) & 1) != 0);
    a->own_token = true;
    asked_hold(
        a, &(struct policy_holding){.grant = c->compiled, .covers = covers, .strength = strength},
        (struct asked_source){.token = &c->token,
                              .key = t->cnf.kind == CNF_NONE ? NULL : key_id,
                              .ends_s = j.ends_s});
    return PEP_OK;
}

void asked_hold_grant(struct asked *a, const struct pep_session *s, const struct request *r,
                      struct grant *g)
{
    const struct policy_holding h = {.grant = g->compiled,
                                     .covers = grant_covers(g, r->device),
                                     .strength = g->bearer ? POLICY_STRENGTH_BEARER
                                                           : (enum policy_strength)s->strength};
    asked_hold(a, &h, (struct asked_source){.grant = g});
}

void asked_hold_unassociated(const struct pep *p, int entry, struct asked *a)
{
    const struct policy_unassociated *u = policy_unassociated(p->policy, (size_t)entry);
    asked_hold(a,
               &(struct policy_holding){.grant = subjects_unassociated(p->subjects, entry),
                                        .covers = true,
                                        .strength = POLICY_STRENGTH_NONE},
               (struct asked_source){.unassociated = u->originators[0]});
}

enum pep_err asked_gather(struct pep *p, struct pep_session *s, const struct request *r,
                          int64_t now_s, bool speaks, struct asked *a)
{
    enum pep_err err = PEP_OK;
    bool dynamic = false;
    a->own_token = false;
    a->speaks = speaks;
    a->n_stale = 0;
    a->learned = (struct learned){0};
    a->q = (struct policy_question){
        .method = r->method,
        .path = r->path,
        .n_path = r->n_path,
        .held = a->held,
        .now_s = now_s,
        .peer = r->peer,
        .payload_n = r->payload_n,
        .content_format = r->content_format,
        .named = r->m2m ? r->m2m->named : 0,
        .below = r->m2m && r->m2m->below,
    };
    if (r->m2m) {
        a->q.operation = (uint8_t)r->m2m->operation;
        a->q.type = r->m2m->type;
        a->q.only = r->m2m->rids;
        a->q.n_only = r->m2m->n_rids;
    }
    if (s) {
        pep_look(p, now_s);
        session_refresh(s);
        if (session_subject(s))
            asked_hold(a,
                       &(struct policy_holding){.grant = session_subject(s)->compiled,
                                                .covers = true,
                                                .strength = (enum policy_strength)s->strength},
                       (struct asked_source){.ends_s = session_subject(s)->said->expires_s});
        for (size_t i = 0; s->held && i < s->held->n; i++) {
            struct grant *g = s->held->of[i];
            if (!grant_is_live(g, now_s, p->config.build_s) || g->permissions_text.n > 0)
                continue;
            if (learn_is_fresh(p, g, now_s))
                asked_hold_grant(a, s, r, g);
            else if (a->n_stale < POLICY_GRANTS_MAX)
                a->stale[a->n_stale++] = g;
        }
        dynamic = s->wants_created;
    }
    a->ati = BYTES_NONE;
    if (r->m2m)
        err = m2m_hold(p, s, r, a->speaks, now_s, a);
    if (r->has_token && err == PEP_OK)
        err = s ? add_token(p, s, r, now_s, a, &dynamic) : PEP_CONFIRMATION;
    if (r->n_query && (a->own_token || (s && s->wants_query)))
        a->q.query = join_query(r, a->query);
    else if (r->n_query)
        a->q.query = BYTES_LIT("%"); /* nothing held looks at it */
    if (s && dynamic)
        a->q.created = created_has(p->created, session_owner(s), r->path, r->n_path);
    return err;
}
