#include "m2m_hold.h"

#include "bind.h"
#include "consult.h"
#include "jose.h"
#include "judge.h"
#include "m2m_names.h"

/* One request, and where what is held for it goes. */
struct holding {
    struct pep *p;
    struct pep_session *s;
    const struct request *r;
    int64_t now_s;
    bool speaks;
    struct m2m_names who, to;
    struct m2m_wanted wanted;
    struct asked *a;
};

static const struct pep_device *device_of(const struct pep *p, const struct request *r)
{
    bool known = r->device >= 0 && (size_t)r->device < p->config.n_devices;
    return known ? &p->config.devices[r->device] : NULL;
}

static bool begin(struct holding *h)
{
    const struct pep_device *d = device_of(h->p, h->r);
    const struct m2m_request *m = h->r->m2m;
    if (!d)
        return false;
    m2m_names_of_entity(d, m->originator, &h->who);
    m2m_names_of_target(d, m, &h->to);
    h->wanted = (struct m2m_wanted){.to = h->to.of,
                                    .n_to = h->to.n,
                                    .who = h->who.of,
                                    .n_who = h->who.n,
                                    .below = m->below,
                                    .asked = {.operation = m->operation,
                                              .type = m->type,
                                              .roles = m->rids,
                                              .n_roles = m->n_rids,
                                              .peer = h->r->peer,
                                              .now_s = h->now_s}};
    return true;
}

/* Made once a token and policy; NULL: no memory. */
static const struct m2m_permissions *ready(struct pep *p, int authority, struct bytes text,
                                           struct m2m_permissions **at)
{
    struct policy_grant_report report;
    if (!*at)
        *at = m2m_permissions_new(p->policy, authority, text, &report);
    return *at;
}

/* What gives nothing is held as nothing where else nothing is: that there is a
 * token, but not for this, is nearer than that there is none. One that came with
 * the request speaks for its originator besides. */
static void hold(struct holding *h, const struct m2m_permissions *perms, bool covers,
                 enum policy_strength strength, struct asked_source from)
{
    struct policy_holding what = {
        .grant = m2m_permissions_bare(perms), .covers = covers, .strength = strength};
    struct m2m_given given;
    from.permission = -1;
    for (size_t i = 0; covers && m2m_permissions_next(perms, &h->wanted, &i, &given);) {
        struct asked_source of = from;
        of.permission = (int)given.number;
        if (given.roles)
            asked_hold(h->a,
                       &(struct policy_holding){
                           .grant = given.roles, .covers = true, .strength = strength},
                       of);
        /* permit-overrides: the first of its own rules that does is enough */
        if (given.direct && !what.direct) {
            what.direct = true;
            from.permission = (int)given.number;
        }
    }
    if (what.direct || from.token || h->a->q.n_held == 0)
        asked_hold(h->a, &what, from);
}

static void hold_grant(struct holding *h, struct grant *g)
{
    const struct m2m_permissions *perms =
        ready(h->p, g->authority, g->permissions_text, &g->permissions);
    if (!perms)
        return;
    g->used = true;
    hold(h, perms, grant_covers(g, h->r->device),
         g->bearer ? POLICY_STRENGTH_BEARER : (enum policy_strength)h->s->strength,
         (struct asked_source){.grant = g});
}

static bool is_live(const struct holding *h, const struct grant *g)
{
    return g->permissions_text.n > 0 && grant_is_live(g, h->now_s, h->p->config.build_s);
}

/* Grants of the originator's: those that the association proves by a key or
 * brought, then those of the holder's names, if it speaks for them. */
struct each {
    size_t i, name;
    struct grant *next;
};

static struct grant *next_grant(const struct holding *h, struct each *e)
{
    uint8_t id[PEP_KEY_ID];
    while (h->s->held && e->i < h->s->held->n) {
        struct grant *g = h->s->held->of[e->i++];
        if (is_live(h, g) && m2m_names_have(&h->who, g->sub))
            return g;
    }
    if (!h->speaks || grants_of_holders(h->p->grants) == 0)
        return NULL;
    for (;;) {
        while (!e->next && e->name < h->who.n)
            if (grant_key_id_holder(h->who.of[e->name++], id))
                e->next = grants_of_key(h->p->grants, id);
        struct grant *g = e->next;
        if (!g)
            return NULL;
        e->next = grants_next_of_key(g);
        if (is_live(h, g))
            return g;
    }
}

static void hold_grants(struct holding *h)
{
    struct grant *g;
    for (struct each e = {.i = 0}; (g = next_grant(h, &e));)
        hold_grant(h, g);
}

/* ---- tokens of the request's own ---- */

/* How a token of the request is the association's, or PEP_CONFIRMATION. `shown`:
 * it came itself, which is what proves a bearer; an ID is no secret. */
static enum pep_err prove(const struct holding *h, const struct cached *c, bool shown,
                          const uint8_t **key, enum policy_strength *strength)
{
    const struct cnf *k = &c->token.claims.cnf;
    *strength = (enum policy_strength)h->s->strength;
    *key = c->has_key_id ? c->key_id : NULL;
    if (k->kind == CNF_KID) {
        const struct grant *g = bind_find_kid(h->p, k->kid, c->token.authority, h->now_s);
        *key = g ? g->key.id : NULL;
    }
    if (k->kind != CNF_NONE)
        return *key && session_proves(h->s, *key) ? PEP_OK : PEP_CONFIRMATION;
    if (h->speaks)
        return PEP_OK;
    *strength = POLICY_STRENGTH_BEARER;
    bool bearer = shown && policy_authority(h->p->policy, (size_t)c->token.authority)->bearer;
    return bearer ? PEP_OK : PEP_CONFIRMATION;
}

static enum pep_err hold_token(struct holding *h, struct bytes raw, bool shown, struct cached **out)
{
    struct pep *p = h->p;
    const struct request *r = h->r;
    struct judged j;
    enum policy_strength strength;
    const uint8_t *key;
    if (!jose_is_compact(raw)) /* nor a reference: for those there are token IDs */
        return PEP_MALFORMED;
    enum pep_err err = learn_token(p, raw, r->device, true, &r->peer, h->now_s, &h->a->learned);
    if (err != PEP_OK)
        return err;
    struct cached *c = h->a->learned.said;
    if (c->token.claims.permissions.n == 0)
        return PEP_CLAIMS;
    err = judge_token(p, c, false, h->now_s, &j);
    if (err != PEP_OK)
        return err;
    bool covers = (p->cover[r->device / 64] >> (r->device % 64) & 1) != 0;
    if (!covers)
        return PEP_AUDIENCE;
    if (!m2m_names_have(&h->who, c->token.claims.sub))
        return PEP_HOLDER;
    err = prove(h, c, shown, &key, &strength);
    if (err != PEP_OK)
        return err;
    const struct m2m_permissions *perms =
        ready(p, c->token.authority, c->token.claims.permissions, &c->permissions);
    if (!perms)
        return PEP_FULL;
    hold(h, perms, true, strength,
         (struct asked_source){.token = &c->token, .key = key, .ends_s = j.ends_s});
    *out = c;
    return PEP_OK;
}

/* ---- tokens by their IDs ---- */

/* Whether ATI can tell it: "lti:tkid+lti:tkid" (TS-0008 6.2.2.4). */
static bool is_tellable(struct bytes id)
{
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= ' ' || id.p[i] >= 0x7f || id.p[i] == ':' || id.p[i] == '+')
            return false;
    return id.n > 0;
}

/* The local ID that its holder has for the token, or a new one: of all that
 * were ever given, as grants have them, so that none comes to mean another. */
static const struct m2m_local *name_locally(struct holding *h, const struct cached *c)
{
    struct pep *p = h->p;
    const struct claims *t = &c->token.claims;
    struct bytes raw = bytes_of(c->raw, c->raw_n);
    const struct m2m_local *e = m2m_locals_find_id(p->locals, t->sub, t->cti);
    if (e && bytes_equal(e->raw, raw))
        return e;
    uint8_t text[M2M_LOCAL_ID];
    struct buf lti = buf_on(text, sizeof text);
    buf_put_u8(&lti, 't'); /* xs:NCName (TS-0004 6.3.5.43) begins with a letter */
    buf_put_decimal(&lti, p->next_id, 1);
    const struct m2m_local what = {
        .lti = buf_bytes(&lti), .holder = t->sub, .id = t->cti, .raw = raw, .exp_s = t->exp_s};
    e = m2m_locals_add(p->locals, &what);
    if (!e)
        return NULL;
    p->next_id = pep_id_after(p, p->next_id);
    if (p->config.colleagues)
        m2m_locals_tell(e, p->config.colleagues);
    return e;
}

/* Tells the client by which ID it may refer to the token from now on. */
static void assign(struct holding *h, const struct cached *c)
{
    struct buf ati = {h->p->ati, h->a->ati.n, sizeof h->p->ati, false}; /* behind the last */
    if (h->r->continued || !is_tellable(c->token.claims.cti))
        return;
    const struct m2m_local *e = name_locally(h, c);
    if (!e)
        return;
    if (ati.n > 0)
        buf_put_u8(&ati, '+');
    buf_put(&ati, e->lti);
    buf_put_u8(&ati, ':');
    buf_put(&ati, e->id);
    if (!ati.full)
        h->a->ati = buf_bytes(&ati);
}

static const struct m2m_local *find_local(struct holding *h, struct bytes lti, struct bytes id)
{
    const struct m2m_local *e = NULL;
    for (size_t i = 0; i < h->who.n && !e; i++)
        e = lti.n > 0 ? m2m_locals_find(h->p->locals, h->who.of[i], lti)
                      : m2m_locals_find_id(h->p->locals, h->who.of[i], id);
    return e;
}

static enum pep_err hold_local(struct holding *h, const struct m2m_local *e, struct cached **c)
{
    enum pep_err err = hold_token(h, e->raw, false, c);
    /* What is over will not come again; what waits or is proved by another
     * association may. */
    if (err == PEP_EXPIRED || err == PEP_REVOKED || err == PEP_UNKNOWN_KEY || err == PEP_PROTECTION)
        m2m_locals_drop(h->p->locals, e);
    return err;
}

/* One that was posted, and that counts here already. */
static bool is_held(const struct holding *h, struct bytes id)
{
    struct grant *g;
    for (struct each e = {.i = 0}; (g = next_grant(h, &e));)
        if (bytes_equal(g->cti, id) && grant_covers(g, h->r->device))
            return true;
    return false;
}

static enum pep_err hold_by_id(struct holding *h, struct bytes id)
{
    struct cached *c;
    if (id.n == 0)
        return PEP_TOKEN_ID;
    if (is_held(h, id))
        return PEP_OK;
    const struct m2m_local *e = find_local(h, BYTES_NONE, id);
    struct bytes raw;
    enum pep_err err;
    if (e) {
        err = hold_local(h, e, &c);
    } else if (!h->speaks && !m2m_hold_vouches(h->p, h->s, h->r, h->now_s)) {
        return PEP_TOKEN_ID; /* nobody is asked in the name of one that is not proved */
    } else {
        err = consult_token(h->p, h->s, h->r, h->a, id, h->now_s, &raw);
        if (err == PEP_OK)
            err = hold_token(h, raw, false, &c);
    }
    if (err == PEP_OK)
        assign(h, c);
    return err;
}

/* TS-0003 7.3.2.3, 7.1.4: one that fails, fails the request. */
static enum pep_err hold_tokens(struct holding *h)
{
    const struct m2m_request *m = h->r->m2m;
    struct cached *c;
    enum pep_err err = PEP_OK;
    for (size_t i = 0; err == PEP_OK && i < m->n_tkns; i++) {
        err = hold_token(h, m->tkns[i], true, &c);
        if (err == PEP_OK)
            assign(h, c);
    }
    for (size_t i = 0; err == PEP_OK && i < m->n_ltids; i++) {
        const struct m2m_local *e = find_local(h, m->ltids[i], BYTES_NONE);
        err = e ? hold_local(h, e, &c) : PEP_TOKEN_ID;
    }
    for (size_t i = 0; err == PEP_OK && i < m->n_tids; i++)
        err = hold_by_id(h, m->tids[i]);
    return err;
}

enum pep_err m2m_hold(struct pep *p, struct pep_session *s, const struct request *r, bool speaks,
                      int64_t now_s, struct asked *a)
{
    struct holding h = {.p = p, .s = s, .r = r, .now_s = now_s, .speaks = speaks, .a = a};
    const struct m2m_request *m = r->m2m;
    if (!s || !begin(&h))
        return m->n_tkns + m->n_tids + m->n_ltids > 0 ? PEP_CONFIRMATION : PEP_OK;
    hold_grants(&h);
    return hold_tokens(&h);
}

enum pep_err m2m_hold_one(struct pep *p, struct pep_session *s, const struct request *r,
                          struct bytes raw, bool speaks, int64_t now_s, struct asked *a)
{
    struct holding h = {.p = p, .s = s, .r = r, .now_s = now_s, .speaks = speaks, .a = a};
    struct cached *c;
    /* It is for its holder's requests, and another dialect tells of nobody. */
    return s && r->m2m && begin(&h) ? hold_token(&h, raw, true, &c) : PEP_HOLDER;
}

bool m2m_hold_vouches(struct pep *p, struct pep_session *s, const struct request *r, int64_t now_s)
{
    struct holding h = {.p = p, .s = s, .r = r, .now_s = now_s};
    if (!s || !begin(&h))
        return false;
    session_refresh(s);
    for (size_t i = 0; s->held && i < s->held->n; i++) {
        const struct grant *g = s->held->of[i];
        if (is_live(&h, g) && grant_covers(g, r->device) && m2m_names_have(&h.who, g->sub))
            return true;
    }
    return false;
}
