/* The policy's own word, and those of decision points beside it. */
#include "consult_inside.h"

/* Something that grants nothing, so that the policy looks at the path. */
static bool hold_nothing(struct round *r)
{
    const struct policy_claims none = {.authority = -1};
    struct policy_grant_report report;
    struct pep *p = r->p;
    if (p->nothing && policy_grant_policy(p->nothing) != p->policy) {
        policy_grant_free(p->nothing);
        p->nothing = NULL;
    }
    if (!p->nothing)
        p->nothing = policy_grant_new(p->policy, &none, &report);
    if (!p->nothing || r->a->q.n_held == POLICY_GRANTS_MAX)
        return false;
    asked_hold(r->a,
               &(struct policy_holding){.grant = p->nothing,
                                        .covers = true,
                                        .strength = (enum policy_strength)r->s->strength},
               (struct asked_source){.grant = NULL});
    return true;
}

enum local_says consult_own_word(struct round *r, const struct policy_decision *d)
{
    struct policy_decision anew;
    enum local_says word = point_own_word(d);
    if (word == LOCAL_PERMITS)
        return word;
    /* What only a rule's own words may name is not asked about (m2m_cse.h), nor
     * what is below: the attributes have no word for it (TS-0004 table
     * 7.4.43.1-3). */
    if (!r->s || (r->r->m2m && (r->r->m2m->named || r->r->m2m->below)))
        return LOCAL_DENIES;
    if (word == LOCAL_SILENT)
        return word;
    /* RFC 9200 5.10.2 asks who holds nothing for a token; TS-0003 7.5 knows
     * none. The CA's word counts as holding something; nobody else's does. */
    if (d->reason != POLICY_NO_GRANT || !consult_is_known_alone(r->s) || !hold_nothing(r))
        return LOCAL_DENIES;
    policy_decide(r->p->policy, &r->a->q, &anew);
    r->a->q.n_held--;
    return point_own_word(&anew) == LOCAL_SILENT ? LOCAL_SILENT : LOCAL_DENIES;
}

static void note(const struct round *r, const struct policy_point *point, const char *reason)
{
    r->out->by = point->name;
    r->out->reason = reason;
    r->out->rule = (struct policy_rule_ref){policy_name(r->p->policy), point->line};
}

void consult_refuse_below(struct round *r)
{
    const struct policy_point *point = NULL;
    for (size_t i = 0; (point = policy_point(r->p->policy, i)); i++)
        if (point->combine == POLICY_DENY_OVERRIDES)
            break;
    if (point)
        note(r, point, "decision-point-not-asked");
}

static enum local_says ask_point(struct round *r, int number, const struct policy_point *point,
                                 struct bytes about, enum local_says word)
{
    struct answer *said;
    if (about.n == 0) {
        note(r, point, "decision-point-not-asked");
        return LOCAL_DENIES;
    }
    enum pep_err err = consult_ask(r, PEP_ASK_DECISION, number, about, &said);
    if (err != PEP_OK) {
        note(r, point, err == PEP_BUSY ? "decision-point-busy" : "decision-point-away");
        r->out->err = err;
        return LOCAL_DENIES;
    }
    enum point_says says = said->consulted.says;
    word = point_combine(point->combine, word, says);
    if (word == LOCAL_DENIES)
        note(r, point, "decision-point-denied");
    else if (says == POINT_PERMITS && point->combine == POLICY_LOCAL_FIRST)
        note(r, point, policy_reason_str(POLICY_PERMITTED));
    else if (says == POINT_PERMITS && !r->out->reason)
        r->out->by = point->name; /* the policy's own rule permits, and it agrees */
    return word;
}

enum local_says consult_points(struct round *r, uint32_t points, enum policy_combine combine,
                               enum local_says word)
{
    const struct policy_point *point;
    if (!points || !point_is_asked(combine, word))
        return word;
    uint8_t text[M2M_ASK_MAX];
    struct buf attributes = buf_on(text, sizeof text);
    if (r->s)
        point_write(&r->told.ask, &attributes);
    struct bytes about = consult_key(r, buf_bytes(&attributes));
    for (int i = 0; (point = policy_point(r->p->policy, (size_t)i)); i++)
        if (points >> i & 1 && point->combine == combine && point_is_asked(combine, word))
            word = ask_point(r, i, point, about, word);
    return word;
}
