/* One request, judged: who asks, what they hold now, what the policy says,
 * and what that becomes on the wire. Allocates nothing and hashes nothing
 * but a token that comes with the request, and a path for AIF's Dynamic. */
#include "asked.h"
#include "bind.h"
#include "code.h"
#include "consult.h"
#include "hints.h"
#include "judge.h"
#include "originator.h"
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

static void add_grant(struct asked *a, const struct pep_session *s, const struct request *r,
                      struct grant *g)
{
    const struct policy_holding h = {.grant = g->compiled,
                                     .covers = grant_covers(g, r->device),
                                     .strength = g->bearer ? POLICY_STRENGTH_BEARER
                                                           : (enum policy_strength)s->strength};
    asked_hold(a, &h, (struct asked_source){.grant = g});
}

/* The roles that the policy gives to who comes without an association. */
static void hold_unassociated(const struct pep *p, int entry, struct asked *a)
{
    const struct policy_unassociated *u = policy_unassociated(p->policy, (size_t)entry);
    asked_hold(a,
               &(struct policy_holding){.grant = subjects_unassociated(p->subjects, entry),
                                        .covers = true,
                                        .strength = POLICY_STRENGTH_NONE},
               (struct asked_source){.unassociated = u->originators[0]});
}

static enum pep_err ask(struct pep *p, struct pep_session *s, const struct request *r,
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
                add_grant(a, s, r, g);
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

/* The authority that a client should turn to, and what to ask it for. */
static void hint(struct pep *p, const struct request *r, const struct policy_question *q,
                 int64_t now_s, struct pep_decision *out)
{
    const struct pep_config *c = &p->config;
    bool known = r->device >= 0 && (size_t)r->device < c->n_devices;
    const char *audience = known ? c->devices[r->device].audience : NULL;
    int authority = known                            ? p->device_authority[r->device]
                    : policy_authority(p->policy, 0) ? 0
                                                     : -1;
    struct hints h = {0};
    uint8_t cnonce[FRESH_CNONCE];
    if (authority >= 0) {
        const struct policy_authority *a = policy_authority(p->policy, (size_t)authority);
        /* RFC 9200 5.3: an absolute URI; an issuer need not be one. */
        if (a->issuer && strstr(a->issuer, "://"))
            h.as = bytes_str(a->issuer);
        if (a->fresh.cnonce && fresh_cnonce(p->fresh, now_s, cnonce))
            h.cnonce = bytes_of(cnonce, sizeof cnonce);
        /* Strangers see it too: it is for those who hold nothing yet. */
        h.scope = policy_scope_for(p->policy, authority, q);
    }
    h.audience = bytes_str(audience ? audience : c->n_audience ? c->audience[0] : NULL);
    struct buf b = buf_on(out->payload, sizeof out->payload);
    hints_write(&h, &b);
    out->content_format = HINTS_FORMAT;
    out->payload_n = b.n;
}

/* RFC 9200 5.10.2. Who is not authenticated learns no more than that. */
static uint8_t code_of(enum policy_reason reason, bool authenticated)
{
    if (!authenticated || reason == POLICY_NO_GRANT)
        return CODE(4, 1);
    return reason == POLICY_NOT_METHOD ? CODE(4, 5)
           : reason == POLICY_PAYLOAD  ? CODE(4, 13)
           : reason == POLICY_FORMAT   ? CODE(4, 15)
                                       : CODE(4, 3);
}

/* Why nothing was held, as far as it can be told. */
static const char *reason_of_nothing(const struct pep *p, const struct pep_session *s,
                                     int64_t now_s)
{
    if (s && (s->unenrolled || (s->enrolled && s->enrolled->over)))
        return pep_err_str(PEP_ENROLMENT);
    if (!s || s->last_exp_s == 0)
        return policy_reason_str(POLICY_NO_GRANT);
    if (now_s < p->config.build_s)
        return pep_err_str(PEP_CLOCK);
    return s->last_exp_s <= now_s ? pep_err_str(PEP_EXPIRED) : "grant-ended";
}

static void credit(const struct pep *p, const struct asked *a, int held, const char *role,
                   struct pep_credit *out)
{
    *out = (struct pep_credit){.ends_s = INT64_MAX, .basis.kind = PEP_ON_NOTHING, .permission = -1};
    if (held < 0 || (size_t)held >= a->q.n_held || a->of[held].unassociated)
        return;
    const struct grant *g = a->of[held].grant;
    const struct token *t = a->of[held].token;
    int authority = -1;
    if (g) {
        authority = g->authority;
        out->grant = g->id;
        out->ends_s = g->exp_s;
        out->basis.kind = PEP_ON_GRANT;
        out->basis.grant = g->id;
    } else if (t) {
        authority = t->authority;
        out->ends_s = a->of[held].ends_s;
        out->basis.kind = PEP_ON_TOKEN;
        out->basis.authority = revoke_authority_id(p, authority);
        out->basis.revoked = p->revokes;
        memcpy(out->basis.token, t->hash, sizeof out->basis.token);
    } else if (a->of[held].answer) {
        authority = a->of[held].answer->authority;
        out->ends_s = a->of[held].ends_s;
        out->basis = consult_basis(p);
    } else {
        out->basis.kind = PEP_ON_ENROLMENT;
        out->ends_s = a->of[held].ends_s;
    }
    if ((g ? g->permissions_text.n : t ? t->claims.permissions.n : 0) > 0) {
        out->token_id = g ? g->cti : t->claims.cti;
        out->holder = g ? g->sub : t->claims.sub;
        out->permission = a->of[held].permission;
    }
    out->role = a->q.operation ? role : NULL;
    if (authority >= 0)
        out->authority = policy_authority(p->policy, (size_t)authority)->name;
}

static void take_credit(struct pep_decision *d, const struct pep_credit *c)
{
    d->authority = c->authority;
    d->grant = c->grant;
    d->token_id = c->token_id;
    d->holder = c->holder;
    d->role = c->role;
    d->permission = c->permission;
    d->basis = c->basis;
    d->ends_s = c->ends_s;
}

/* Whose requests are counted. Where a token names its subject, its authority's
 * word for it: a client does not start anew with a token of another key. Else
 * the key that is proved; of a bearer token, the token. */
static void count_for(const struct pep *p, const struct pep_session *s, const struct asked *a,
                      int held, struct bytes who[2])
{
    const struct grant *g = a->of[held].grant;
    const struct token *t = a->of[held].token;
    struct bytes sub = g ? g->sub : t ? t->claims.sub : BYTES_NONE;
    int authority = g ? g->authority : t ? t->authority : -1;
    const uint8_t *key = g ? (g->key.kind == CNF_NONE ? NULL : g->key.id) : a->of[held].key;
    if (a->of[held].unassociated) {
        who[0] = BYTES_LIT("\0unassociated");
        who[1] = bytes_str(a->of[held].unassociated);
    } else if (a->of[held].answer) {
        who[0] = BYTES_LIT("\0key");
        who[1] = bytes_of(session_owner(s), PEP_KEY_ID);
    } else if (authority < 0) {
        who[0] = BYTES_LIT("\0subject");
        who[1] = bytes_str(session_subject(s)->said->name);
    } else if (sub.n > 0) {
        who[0] = bytes_str(policy_authority(p->policy, (size_t)authority)->name);
        who[1] = sub;
    } else {
        who[0] = key ? BYTES_LIT("\0key") : BYTES_LIT("\0token");
        who[1] = key ? bytes_of(key, PEP_KEY_ID) : bytes_of(g ? g->hash : t->hash, TOKEN_HASH);
    }
}

/* The ways that the policy left, each with the rate of the enrolled subject
 * itself, whatever grant it uses. */
static void make_offers(const struct pep *p, const struct pep_session *s, const struct asked *a,
                        const struct policy_decision *d, struct pep_decision *out)
{
    const struct policy_rate *own =
        s && session_subject(s) && session_subject(s)->said->rate.count > 0
            ? &session_subject(s)->said->rate
            : NULL;
    for (uint8_t i = 0; i < d->n_offers; i++) {
        const struct policy_offer *from = &d->offers[i];
        struct pep_offer *to = &out->offers[out->n_offers++];
        to->rule = from->rule;
        credit(p, a, from->held, from->holder, &to->credit);
        to->n_rates = from->n_rates;
        memcpy(to->rates, from->rates, from->n_rates * sizeof *to->rates);
        if (own)
            to->rates[to->n_rates++] = own;
        count_for(p, s, a, from->held, to->who);
    }
    if (d->n_offers > 0 || !own)
        return;
    struct pep_offer *only = &out->offers[out->n_offers++];
    *only = (struct pep_offer){.rule = d->rule, .n_rates = 1, .rates = {own}};
    credit(p, a, d->held, d->holder, &only->credit);
}

void pep_accept(struct pep_decision *d, size_t offer)
{
    d->rule = d->offers[offer].rule;
    take_credit(d, &d->offers[offer].credit);
}

void pep_refuse_rate(const struct pep *p, struct pep_decision *d, const char *of, uint32_t retry_s)
{
    d->verdict = POLICY_DENY;
    d->reason = "rate";
    d->missing = of;
    d->code = CODE(4, 29);
    d->retry_s = retry_s;
    d->outcome = policy_mode(p->policy) == POLICY_REPORT ? PEP_FORWARD : PEP_DENY;
}

/* Nothing that counts permits it. Would a grant whose authority must be asked
 * first? Then that one is asked, and no other: each question costs a client
 * its time. What sleeps since the start says nothing, so it is asked. */
static enum pep_err ask_stale(struct pep *p, const struct pep_session *s, const struct request *r,
                              int64_t now_s, struct asked *a, struct policy_decision *d)
{
    struct grant *whom = NULL;
    size_t counted = a->q.n_held;
    for (size_t i = 0; i < a->n_stale; i++) {
        if (a->stale[i]->dormant && !whom)
            whom = a->stale[i];
        add_grant(a, s, r, a->stale[i]);
    }
    if (!whom) {
        struct policy_decision with;
        policy_decide(p->policy, &a->q, &with);
        if (with.verdict == POLICY_PERMIT && with.held >= 0 && (size_t)with.held >= counted)
            whom = a->of[with.held].grant;
        else
            *d = with; /* the nearest miss of all */
    }
    return whom ? learn_again(p, whom, &r->peer, now_s, &a->learned) : PEP_OK;
}

static void deny_err(struct pep *p, enum pep_err err, const struct asked *a,
                     struct pep_decision *out)
{
    out->reason = pep_err_str(err);
    out->wait = a->learned.wait;
    if (err == PEP_PENDING) {
        out->outcome = PEP_WAIT;
        out->code = pep_err_code(err);
        return;
    }
    /* One bad token fails its request, whatever else is held. */
    p->stats.refused++;
    if (err == PEP_AWAY || err == PEP_BUSY) {
        out->code = pep_err_code(err);
        out->retry_s = a->learned.retry_s;
    }
}

static void take_verdict(const struct pep *p, const struct pep_session *s, int64_t now_s,
                         const struct asked *a, const struct policy_decision *d,
                         struct pep_decision *out)
{
    out->verdict = d->verdict;
    out->reason = d->verdict == POLICY_DENY && d->reason == POLICY_NO_GRANT
                      ? reason_of_nothing(p, s, now_s)
                      : policy_reason_str(d->reason);
    out->rule = d->rule;
    out->missing = d->missing;
    struct pep_credit by;
    credit(p, a, d->held, d->holder, &by);
    take_credit(out, &by);
    out->code = code_of(d->reason, s != NULL);
    out->size1 = d->max_payload;
    if (d->verdict == POLICY_PERMIT)
        make_offers(p, s, a, d, out);
}

/* What others said goes before the policy's own word (consult.h). */
static void take_consulted(const struct pep *p, const struct consulting *c,
                           struct pep_decision *out)
{
    const struct pep_basis basis = consult_basis(p);
    out->decided_by = c->by;
    if (!c->reason)
        return;
    out->verdict = c->verdict;
    out->reason = c->reason;
    out->rule = c->rule;
    out->missing = NULL;
    if (c->verdict == POLICY_DENY) {
        out->code = CODE(4, 3); /* it is known, and no other token helps */
        out->n_offers = 0;
        return;
    }
    out->basis = basis;
    out->ends_s = c->ends_s;
    out->authority = NULL;
    out->grant = 0;
    for (uint8_t i = 0; i < out->n_offers; i++) {
        out->offers[i].rule = c->rule;
        out->offers[i].credit.basis = basis;
        out->offers[i].credit.ends_s = c->ends_s;
    }
}

/* By what is held, and by others' word. */
static enum pep_err judge(struct pep *p, struct pep_session *s, const struct request *r,
                          int64_t now_s, struct asked *a, struct policy_decision *d,
                          struct consulting *c)
{
    enum pep_err err = PEP_OK;
    policy_decide(p->policy, &a->q, d);
    if (d->verdict == POLICY_DENY && a->n_stale > 0)
        err = ask_stale(p, s, r, now_s, a, d);
    if (err != PEP_OK)
        return err;
    const char *gave = c->by;
    consult(p, s, r, a, d, now_s, c);
    if (!c->by)
        c->by = gave;
    a->learned.wait = c->wait;
    a->learned.retry_s = c->retry_s;
    d->verdict = c->verdict;
    return c->err;
}

/* Denials in the words of the binding (TS-0008 table 6.2.4-1), which has no
 * 4.01 and tells nobody what would have been possible instead. What is for
 * CoAP to say of size, format and rate keeps its code. */
static void take_rsc(struct pep_decision *out)
{
    if (out->outcome != PEP_DENY || out->rsc > 0)
        return;
    if (out->code != CODE(4, 1) && out->code != CODE(4, 3) && out->code != CODE(4, 5) &&
        out->code != CODE(4, 0))
        return;
    out->code = CODE(4, 3);
    out->rsc = M2M_NO_PRIVILEGE;
}

static void refuse_originator(const struct originator_ruling *by, struct pep_decision *out)
{
    out->rsc = by->rsc;
    out->code = by->code;
    out->reason = by->reason;
}

/* A token that came with the request names its originator as its holder, and
 * proves the association by its key (m2m_hold.h). */
static bool is_vouched(const struct asked *a)
{
    for (size_t i = 0; i < a->q.n_held; i++)
        if (a->of[i].token && a->of[i].token->claims.permissions.n > 0)
            return true;
    return false;
}

/* False: it may not be from whom it says. True with by->rsc: unless a token
 * that it brings says so, too. */
static bool may_be_from(struct pep *p, struct pep_session *s, const struct request *r,
                        int64_t now_s, struct originator_ruling *by, struct pep_decision *out)
{
    if (s) {
        pep_look(p, now_s);
        session_refresh(s);
    }
    originator_judge(p, s, r, by);
    if (by->vouchable && m2m_hold_vouches(p, s, r, now_s))
        by->rsc = 0;
    if (by->rsc == 0 ||
        (by->vouchable && (r->has_token || r->m2m->n_tkns + r->m2m->n_tids + r->m2m->n_ltids > 0)))
        return true;
    refuse_originator(by, out);
    return false;
}

void pep_authorize(struct pep *p, struct pep_session *s, const struct request *r, int64_t now_s,
                   struct pep_decision *out)
{
    struct asked a;
    struct policy_decision d;
    struct originator_ruling by = {.unassociated = -1};
    struct consulting c;
    p->n_used = 0;
    d.reason = POLICY_FORBIDDEN; /* until it is judged, nobody is told how it could be else */
    out->outcome = PEP_DENY;
    out->code = CODE(4, 1);
    out->retry_s = 0;
    out->wait = 0;
    out->content_format = 0;
    out->payload_n = 0;
    out->size1 = 0;
    out->n_offers = 0;
    out->rsc = 0;
    out->ati = out->tqf = out->token_id = out->holder = BYTES_NONE;
    out->role = NULL;
    out->permission = -1;
    out->verdict = POLICY_DENY;
    out->rule = (struct policy_rule_ref){NULL, 0};
    out->missing = out->authority = out->decided_by = out->policy_hash = NULL;
    out->load = p->loads;
    out->grant = 0;
    out->basis.kind = PEP_ON_NOTHING;
    out->ends_s = INT64_MAX;
    out->reason = policy_reason_str(POLICY_NO_GRANT);
    if (!p->policy)
        return;
    out->policy_hash = policy_hash(p->policy);

    /* Not the policy's to try out: in report mode too. */
    if (r->m2m && !may_be_from(p, s, r, now_s, &by, out))
        return;
    enum pep_err err = ask(p, s, r, now_s, by.speaks, &a);
    if (by.unassociated >= 0)
        hold_unassociated(p, by.unassociated, &a);
    bool vouched = by.rsc == 0 || (err == PEP_OK && is_vouched(&a));
    if (err == PEP_OK && !vouched) {
        refuse_originator(&by, out);
        return;
    }
    out->ati = a.ati;
    if (err != PEP_OK) {
        deny_err(p, err, &a, out);
    } else if (r->method < 1 || r->method > 7) {
        out->reason = policy_reason_str(POLICY_NOT_METHOD);
        out->code = code_of(POLICY_NOT_METHOD, s && a.q.n_held);
    } else {
        c.by = c.reason = NULL;
        c.again = false;
        err = judge(p, s, r, now_s, &a, &d, &c);
        /* Each authority's answer is taken in once. */
        for (int i = 0; err == PEP_OK && c.again && i < POLICY_DYNAMIC_MAX; i++) {
            err = ask(p, s, r, now_s, by.speaks, &a);
            if (err == PEP_OK)
                err = judge(p, s, r, now_s, &a, &d, &c);
        }
        if (err == PEP_OK) {
            take_verdict(p, s, now_s, &a, &d, out);
            take_consulted(p, &c, out);
        } else {
            deny_err(p, err, &a, out);
            out->decided_by = c.by;
            if (c.reason && err != PEP_PENDING)
                out->reason = c.reason;
        }
    }
    if (out->outcome == PEP_WAIT) {
        learn_hold_used(p, out->wait);
        return;
    }
    if (out->verdict == POLICY_PERMIT) {
        out->outcome = PEP_FORWARD;
        out->code = 0;
        return;
    }
    /* Without an association nothing is ever forwarded, report or not; nor from
     * somebody whom a token was to prove, and failed. */
    if (s && vouched && policy_mode(p->policy) == POLICY_REPORT)
        out->outcome = PEP_FORWARD;
    if (err == PEP_OK && r->m2m && r->m2m->wants_dynamic)
        out->tqf = consult_tell(p, s, r, &a, &d);
    if (r->m2m)
        take_rsc(out);
    else if (out->code == CODE(4, 1))
        hint(p, r, &a.q, now_s, out);
}

uint32_t pep_methods(struct pep *p, struct pep_session *s, const struct request *r, int64_t now_s)
{
    struct asked a;
    if (!p->policy || ask(p, s, r, now_s, false, &a) != PEP_OK)
        return 0;
    return policy_methods(p->policy, &a.q);
}
