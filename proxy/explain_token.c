#include "explain_token.h"

static bool is_for(const struct claims *k, const struct pep_device *d)
{
    struct m2m_names cse;
    m2m_names_of_cse(d, &cse);
    for (size_t i = 0; i < k->n_aud; i++)
        for (size_t n = 0; n < cse.n; n++)
            if (m2m_id_matches(k->aud[i], cse.of[n]))
                return true;
    return k->n_aud == 0;
}

static void add(struct explain_token *e, const struct policy_grant *g,
                enum policy_strength strength, bool direct)
{
    if (e->n_held < POLICY_GRANTS_MAX)
        e->held[e->n_held++] = (struct policy_holding){
            .grant = g, .covers = true, .strength = strength, .direct = direct};
}

enum pep_err explain_token_hold(struct policy *policy, const struct token *t,
                                const struct pep_device *d, const struct m2m_request *m,
                                const struct policy_question *q, enum policy_strength strength,
                                struct explain_token *out)
{
    const struct claims *k = &t->claims;
    struct policy_grant_report report;
    struct m2m_given given;
    bool direct = false;
    *out = (struct explain_token){.permissions = NULL};
    if (!d || !d->onem2m || !is_for(k, d))
        return PEP_AUDIENCE;
    m2m_names_of_entity(d, m->has_originator ? m->originator : k->sub, &out->who);
    if (!m2m_names_have(&out->who, k->sub))
        return PEP_HOLDER;
    m2m_names_of_target(d, m, &out->to);
    out->permissions = m2m_permissions_new(policy, t->authority, k->permissions, &report);
    if (!out->permissions)
        return PEP_FULL;
    if (report.n_known == 0)
        return PEP_SCOPE;
    const struct m2m_wanted w = {.to = out->to.of,
                                 .n_to = out->to.n,
                                 .who = out->who.of,
                                 .n_who = out->who.n,
                                 .asked = {.operation = m->operation,
                                           .type = m->type,
                                           .roles = q->only,
                                           .n_roles = q->n_only,
                                           .peer = q->peer,
                                           .now_s = q->now_s}};
    for (size_t i = 0; m2m_permissions_next(out->permissions, &w, &i, &given);) {
        if (given.roles)
            add(out, given.roles, strength, false);
        direct = direct || given.direct;
    }
    add(out, m2m_permissions_bare(out->permissions), strength, direct);
    return PEP_OK;
}

void explain_token_clear(struct explain_token *e)
{
    m2m_permissions_free(e->permissions);
    e->permissions = NULL;
}
