/* Permissions that an authority gives for one request, and where clients may
 * ask by themselves. What is given counts as far as may-grant does. */
#include "consult_inside.h"
#include "jose.h"
#include "m2m_names.h"
#include "m2m_rules.h"
#include "take.h"

enum { TELL_END = 2 }; /* bytes, as dynamic_tell_end() puts them */

/* What a token or a permission could change: not what is forbidden to
 * everybody, nor a payload that no permission makes fit. Who holds nothing and
 * is known to nobody has to get a token first. */
static bool may_help(const struct pep_session *s, const struct policy_decision *d)
{
    switch (d->reason) {
    case POLICY_NO_GRANT:
        return consult_is_known_alone(s);
    case POLICY_NOT_AUDIENCE:
    case POLICY_NOT_RESOURCE:
    case POLICY_BEYOND_AUTHORITY:
    case POLICY_NOT_METHOD:
    case POLICY_NOT_TYPE:
    case POLICY_CONDITION:
        return true;
    case POLICY_FORMAT:
    case POLICY_PAYLOAD:
    case POLICY_FORBIDDEN:
    case POLICY_PERMITTED:
        break;
    }
    return false;
}

/* The role that would do, and that the authority may grant (rfa); or nothing. */
static struct bytes useful_role(const struct pep *p, int authority, const struct asked *a)
{
    struct bytes word = policy_scope_for(p->policy, authority, &a->q);
    return word.n > 0 ? bytes_str(policy_role_id(p->policy, word)) : BYTES_NONE;
}

/* ---- tokens ---- */

/* TS-0003 7.3.2.2, 4.1.1.2: of this authority, and for the originator of the
 * request; another's says nothing here. */
static bool is_fitting(const struct round *r, const struct answer *a, const struct cached *said)
{
    struct m2m_names who;
    const struct token *t = &said->token;
    if (t->authority != a->authority)
        return false;
    if (t->claims.permissions.n == 0)
        return true;
    if (!r->r->m2m || r->r->device < 0)
        return false;
    m2m_names_of_entity(&r->p->config.devices[r->r->device], r->r->m2m->originator, &who);
    return m2m_names_have(&who, t->claims.sub);
}

/* True: it gave something. */
static bool take_one(struct round *r, const struct answer *a, struct bytes raw, enum pep_err *err)
{
    struct learned l;
    struct pep_taken taken;
    struct grant *g;
    *err = PEP_CLAIMS;
    if (!jose_is_compact(raw))
        return false;
    *err = learn_token(r->p, raw, LEARN_NO_DEVICE, true, &r->r->peer, r->now_s, &l);
    r->out->wait = l.wait;
    if (*err != PEP_OK || !is_fitting(r, a, l.said))
        return false;
    take_token(r->p, r->s, &r->r->peer, raw, PEP_VIA_ASKED, r->now_s, &taken, &g);
    *err = taken.err;
    r->out->wait = taken.wait;
    return g != NULL;
}

/* Once an answer; one that waits for a check of its signature comes again. */
static enum pep_err take_tokens(struct round *r, struct answer *a)
{
    struct dynamic_answer *d = &a->consulted.dynamic;
    enum pep_err err;
    bool any = false;
    if (a->consulted.taken)
        return PEP_OK;
    for (size_t i = 0; i < d->n_tokens; i++) {
        any |= take_one(r, a, d->tokens[i], &err);
        if (err == PEP_PENDING)
            return err;
    }
    a->consulted.taken = true;
    if (!d->acr) /* there is nothing else in it */
        dynamic_clear(d);
    r->out->again = any;
    return PEP_OK;
}

/* ---- a permission ---- */

static bool acr_permits(const struct round *r, const struct json_node *acr)
{
    const struct m2m_ask *told = &r->told.ask;
    struct m2m_names who = {.of = {told->from}, .n = 1};
    struct m2m_asked asked = {.operation = told->operation,
                              .type = told->type,
                              .roles = told->roles,
                              .n_roles = told->n_roles,
                              .peer = told->peer,
                              .now_s = r->now_s};
    if (r->r->m2m && r->r->device >= 0)
        m2m_names_of_entity(&r->p->config.devices[r->r->device], told->from, &who);
    for (size_t i = 0; i < who.n; i++) {
        asked.originator = who.of[i];
        if (m2m_rules_permit(acr, &asked))
            return true;
    }
    return false;
}

/* Its rules permit this request: that is held, and judged again by the policy,
 * with its authority's may-grant and whatever is forbidden. */
static void hold_permission(struct round *r, struct answer *a, struct policy_decision *d)
{
    struct consulted *c = &a->consulted;
    const struct policy_claims none = {.authority = a->authority};
    struct policy_grant_report report;
    /* What is below was not told (TS-0003 table 7.3.2.2-1), and so is not meant. */
    if (!c->dynamic.acr || (r->r->m2m && r->r->m2m->below))
        return;
    if (!acr_permits(r, c->dynamic.acr)) {
        /* As one that gives nothing: asked again soon. */
        if (a->until_s > a->from_s + ANSWERS_INACTIVE_S)
            a->until_s = a->from_s + ANSWERS_INACTIVE_S;
        return;
    }
    if (!c->bare)
        c->bare = policy_grant_new(r->p->policy, &none, &report);
    if (!c->bare)
        return;
    asked_hold(r->a,
               &(struct policy_holding){.grant = c->bare,
                                        .covers = true,
                                        .strength = (enum policy_strength)r->s->strength,
                                        .direct = true},
               (struct asked_source){
                   .answer = a, .permission = -1, .ends_s = a->kept ? a->until_s : INT64_MAX});
    policy_decide(r->p->policy, &r->a->q, d);
    r->out->verdict = d->verdict;
}

static enum pep_err ask_one(struct round *r, int authority, struct policy_decision *d)
{
    uint8_t text[M2M_ASK_MAX];
    struct buf b = buf_on(text, sizeof text);
    struct answer *said;
    dynamic_write(&r->told.ask, useful_role(r->p, authority, r->a), &b);
    struct bytes about = consult_key(r, buf_bytes(&b));
    if (about.n == 0)
        return PEP_OK;
    enum pep_err err = consult_ask(r, PEP_ASK_DYNAMIC, authority, about, &said);
    if (err == PEP_OK)
        err = take_tokens(r, said);
    if (err == PEP_OK && !r->out->again)
        hold_permission(r, said, d);
    if (r->out->again || d->verdict == POLICY_PERMIT || err != PEP_OK)
        r->out->by = policy_authority(r->p->policy, (size_t)authority)->name;
    return err;
}

enum pep_err consult_dynamic(struct round *r, const struct policy_consult *whom,
                             struct policy_decision *d)
{
    enum pep_err away = PEP_OK;
    for (int i = 0; i < POLICY_DYNAMIC_MAX && may_help(r->s, d); i++) {
        int authority = whom->dynamic >> i & 1 ? whom->authority[i] : -1;
        if (authority < 0 || !policy_authority(r->p->policy, (size_t)authority)->dynamic.ask.url)
            continue;
        enum pep_err err = ask_one(r, authority, d);
        if (err == PEP_PENDING || r->out->again)
            return err;
        if (err != PEP_OK)
            away = err;
    }
    return d->verdict == POLICY_PERMIT ? PEP_OK : away;
}

/* ---- what a client is told ---- */

struct bytes consult_tell(struct pep *p, struct pep_session *s, const struct request *r,
                          const struct asked *a, const struct policy_decision *d)
{
    struct policy_consult whom;
    struct telling told;
    struct buf all = buf_on(p->tqf, sizeof p->tqf - TELL_END);
    size_t begin;
    policy_consult(p->policy, r->path, r->n_path, &whom);
    if (!s || !whom.dynamic || !may_help(s, d) || !consult_describe(s, r, a, &told))
        return BYTES_NONE;
    dynamic_tell_begin(&all);
    begin = all.n;
    for (int i = 0; i < POLICY_DYNAMIC_MAX; i++) {
        int authority = whom.dynamic >> i & 1 ? whom.authority[i] : -1;
        const struct policy_authority *is =
            authority < 0 ? NULL : policy_authority(p->policy, (size_t)authority);
        uint8_t text[PEP_TQF_MAX];
        struct buf b = buf_on(text, sizeof text), before = all;
        if (!is || !is->dynamic.tell)
            continue;
        dynamic_write(&told.ask, useful_role(p, authority, a), &b);
        dynamic_tell(&all, is->dynamic.tell, buf_bytes(&b));
        if (b.full || all.full) /* what has no room is left out, and its end has some */
            all = before;
    }
    if (all.n == begin)
        return BYTES_NONE;
    all.cap += TELL_END;
    dynamic_tell_end(&all);
    return buf_bytes(&all);
}
