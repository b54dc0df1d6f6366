#include "bind.h"

struct grant *bind_find_kid(struct pep *p, struct bytes kid, int authority, int64_t now_s)
{
    struct grant *g = grants_of_kid(p->grants, kid);
    while (g && (g->authority != authority || !grant_is_live(g, now_s, p->config.build_s)))
        g = grants_next_of_kid(g);
    return g;
}

enum pep_err bind_key(struct pep *p, struct pep_session *s, const struct cached *c, int64_t now_s,
                      struct grant *g)
{
    const struct cnf *k = &c->token.claims.cnf;
    const struct policy_authority *a = policy_authority(p->policy, (size_t)c->token.authority);
    struct grant *known = NULL;
    /* What we asked for ourselves nobody has shown (TS-0003 7.3.2.2). */
    bool borne = a->bearer && s && g->via != PEP_VIA_ASKED;
    if (k->kind == CNF_NONE && c->token.claims.permissions.n > 0 && !borne) {
        /* oneM2M: his association proves who the holder is. */
        g->key.kind = CNF_HOLDER;
        return grant_key_id_holder(c->token.claims.sub, g->key.id) ? PEP_OK : PEP_FULL;
    }
    if (k->kind == CNF_NONE) {
        /* With no key it counts for the association it came over, no other. */
        if (!a->bearer || !s)
            return PEP_CONFIRMATION;
        if (!session_may_bear(s))
            return PEP_STORE;
        g->bearer = s;
        return PEP_OK;
    }
    if (k->kid.n > sizeof g->key.kid)
        return PEP_CONFIRMATION;
    /* By kid alone the key is one that this authority gave before (RFC 9202
     * 4). A COSE_Key with a kid and no k is that too when the kid is known:
     * 3.3.1 wants a fresh kid for each derived key. */
    if (k->kind == CNF_KID || k->kind == CNF_DERIVED)
        known = bind_find_kid(p, k->kid, c->token.authority, now_s);
    if (known) {
        g->key = known->key;
        g->by_reference = true;
        return PEP_OK;
    }
    if (!c->has_key_id)
        return PEP_CONFIRMATION;
    g->key.kind = k->kind == CNF_DERIVED ? CNF_SYMMETRIC : k->kind;
    memcpy(g->key.id, c->key_id, PEP_KEY_ID);
    if (g->key.kind == CNF_SYMMETRIC) {
        memcpy(g->key.secret, k->key, k->key_n);
        g->key.secret_n = k->key_n;
    }
    g->key.kid_n = k->kid.n;
    if (k->kid.n)
        memcpy(g->key.kid, k->kid.p, k->kid.n);
    return PEP_OK;
}

static bool add_victim(struct victims *v, struct grant *g)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->g[i] == g)
            return true;
    if (v->n == sizeof v->g / sizeof *v->g)
        return false;
    v->g[v->n++] = g;
    return true;
}

struct grant *bind_sooner(struct grant *a, struct grant *o, const struct grant *g)
{
    bool may = o->authority == g->authority && o->permissions_text.n > 0 &&
               g->permissions_text.n > 0 && o->exp_s < g->exp_s;
    return may && (!a || o->exp_s < a->exp_s) ? o : a;
}

enum pep_err bind_make_way(struct pep *p, const struct grant *g, int64_t now_s, struct victims *v)
{
    size_t left = 0;
    struct grant *first = NULL;
    v->n = 0;
    if (g->bearer) {
        for (size_t i = 0; i < g->bearer->n_bearer; i++) {
            struct grant *o = g->bearer->bearer[i];
            first = bind_sooner(first, o, g);
            if (!grant_replaces(o, g))
                left++;
            else if (!add_victim(v, o))
                return PEP_FULL;
        }
        return left < GRANTS_PER_SESSION_MAX || (first && add_victim(v, first)) ? PEP_OK : PEP_FULL;
    }
    for (struct grant *o = grants_of_key(p->grants, g->key.id); o; o = grants_next_of_key(o)) {
        first = bind_sooner(first, o, g);
        if (!grant_replaces(o, g))
            left++;
        else if (!add_victim(v, o))
            return PEP_FULL;
    }
    if (left >= GRANTS_PER_KEY_MAX && !(first && add_victim(v, first)))
        return PEP_FULL;
    /* A psk_identity in the kid form names one key, so a kid has one owner
     * here. The same authority may give its kid to a new key: the old key's
     * grant ends, and with its last grant its association (RFC 9202 5). But
     * not by a token issued before the one we hold: whoever saw an older
     * token pass could throw a client out by posting it again. */
    for (struct grant *o = grants_of_kid(p->grants, bytes_of(g->key.kid, g->key.kid_n)); o;
         o = grants_next_of_kid(o)) {
        if (memcmp(o->key.id, g->key.id, PEP_KEY_ID) == 0)
            continue;
        bool live = grant_is_live(o, now_s, p->config.build_s);
        if (live &&
            (o->authority != g->authority || (o->has_iat && g->has_iat && g->iat_s < o->iat_s)))
            return PEP_KID_TAKEN;
        if (!add_victim(v, o))
            return PEP_FULL;
    }
    return PEP_OK;
}
