/* One request, judged: who asks, what they hold now, what the policy says,
 * and what that becomes on the wire. Allocates nothing (asked.h). */
#include "code.h"
#include "consult.h"
#include "credit.h"
#include "denial.h"
#include "m2m_hold.h"
#include "originator.h"

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
        asked_hold_grant(a, s, r, a->stale[i]);
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
                      ? denial_of_nothing(p, s, now_s)
                      : policy_reason_str(d->reason);
    out->rule = d->rule;
    out->missing = d->missing;
    credit_decision(p, a, d->held, d->holder, out);
    out->code = denial_code(d->reason, s != NULL);
    out->size1 = d->max_payload;
    if (d->verdict == POLICY_PERMIT)
        credit_offers(p, s, a, d, out);
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
    enum pep_err err = asked_gather(p, s, r, now_s, by.speaks, &a);
    if (by.unassociated >= 0)
        asked_hold_unassociated(p, by.unassociated, &a);
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
        out->code = denial_code(POLICY_NOT_METHOD, s && a.q.n_held);
    } else {
        c.by = c.reason = NULL;
        c.again = false;
        err = judge(p, s, r, now_s, &a, &d, &c);
        /* Each authority's answer is taken in once. */
        for (int i = 0; err == PEP_OK && c.again && i < POLICY_DYNAMIC_MAX; i++) {
            err = asked_gather(p, s, r, now_s, by.speaks, &a);
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
        denial_in_binding(out);
    else if (out->code == CODE(4, 1))
        denial_hint(p, r, &a.q, now_s, out);
}

uint32_t pep_methods(struct pep *p, struct pep_session *s, const struct request *r, int64_t now_s)
{
    struct asked a;
    if (!p->policy || asked_gather(p, s, r, now_s, false, &a) != PEP_OK)
        return 0;
    return policy_methods(p->policy, &a.q);
}
