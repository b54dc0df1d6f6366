#include "m2m_permissions.h"

#include <stdlib.h>

struct permission {
    const struct json_node *json;
    struct policy_grant *roles;
    struct bytes *ids; /* of the roles */
    size_t n_ids;
};

struct m2m_permissions {
    struct json_node *doc;
    struct policy_grant *bare;
    struct bytes *ids; /* of all */
    size_t n;
    struct permission of[];
};

static void add_report(struct policy_grant_report *sum, const struct policy_grant_report *r)
{
    if (sum->n_unknown == 0)
        sum->first_unknown = r->first_unknown;
    if (sum->n_beyond == 0)
        sum->first_beyond = r->first_beyond;
    sum->n_known += r->n_known;
    sum->n_unknown += r->n_unknown;
    sum->n_beyond += r->n_beyond;
}

static bool compile(struct permission *p, struct policy *policy, int authority,
                    const struct json_node *json, struct policy_grant_report *sum)
{
    struct policy_grant_report report = {0};
    p->json = json;
    while (m2m_permission_role(json, p->n_ids, &p->ids[p->n_ids]))
        p->n_ids++;
    if (m2m_permission_rules(json)) {
        if (policy_grants_resources(policy, authority))
            report.n_known = 1;
        else
            report.n_beyond = 1;
        add_report(sum, &report);
    }
    if (p->n_ids == 0)
        return true;
    struct policy_claims c = {.authority = authority, .roles = p->ids, .n_roles = p->n_ids};
    p->roles = policy_grant_new(policy, &c, &report);
    add_report(sum, &report);
    return p->roles != NULL;
}

struct m2m_permissions *m2m_permissions_new(struct policy *policy, int authority, struct bytes text,
                                            struct policy_grant_report *report)
{
    struct policy_claims nothing = {.authority = authority};
    struct policy_grant_report sum = {0}, none;
    struct json_node *doc = json_doc_read(text);
    size_t n = json_node_count(doc), n_ids = 0;
    struct m2m_permissions *p = doc ? calloc(1, sizeof *p + n * sizeof *p->of) : NULL;
    if (!p) {
        json_doc_free(doc);
        return NULL;
    }
    p->doc = doc;
    p->bare = policy_grant_new(policy, &nothing, &none);
    for (size_t i = 0; i < n; i++)
        n_ids += m2m_permission_roles(json_node_at(doc, i));
    p->ids = calloc(n_ids + 1, sizeof *p->ids);
    bool ok = p->bare && p->ids;
    struct bytes *ids = p->ids;
    for (; ok && p->n < n; p->n++) {
        p->of[p->n].ids = ids;
        ok = compile(&p->of[p->n], policy, authority, json_node_at(doc, p->n), &sum);
        ids += p->of[p->n].n_ids;
    }
    if (!ok) {
        m2m_permissions_free(p);
        return NULL;
    }
    *report = sum;
    return p;
}

void m2m_permissions_free(struct m2m_permissions *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        policy_grant_free(p->of[i].roles);
    policy_grant_free(p->bare);
    free(p->ids);
    json_doc_free(p->doc);
    free(p);
}

const struct policy_grant *m2m_permissions_bare(const struct m2m_permissions *p)
{
    return p->bare;
}

static bool covers(const struct permission *p, const struct m2m_wanted *w)
{
    if (w->below)
        return !json_node_get(p->json, "ris");
    for (size_t i = 0; i < w->n_to; i++)
        if (m2m_permission_covers(p->json, w->to[i]))
            return true;
    return false;
}

/* By any of the originator's names. */
static bool permit_any(const struct json_node *acr, struct m2m_asked *asked,
                       const struct m2m_wanted *w)
{
    bool any = false;
    for (size_t i = 0; i < w->n_who && !any; i++) {
        asked->originator = w->who[i];
        any = m2m_rules_permit(acr, asked);
    }
    return any;
}

/* Roles that the request names narrow those of the token: what is not named
 * is no role of this request, in an acor either. */
static bool rules_permit(const struct permission *p, const struct m2m_wanted *w)
{
    struct bytes used[M2M_LIST_MAX];
    const struct json_node *acr = m2m_permission_rules(p->json);
    struct m2m_asked asked = w->asked;
    /* "If the privileges element is present, then this element shall be
     * present" (TS-0003 7.3.2.5 step 1, TS-0001 table 9.6.39-3): privileges
     * that name no resource are for none. */
    if (!acr || !json_node_get(p->json, "ris"))
        return false;
    if (asked.n_roles == 0) {
        asked.roles = p->ids;
        asked.n_roles = p->n_ids;
        return permit_any(acr, &asked, w);
    }
    size_t n = 0;
    for (size_t i = 0; i < p->n_ids; i++)
        for (size_t k = 0; k < w->asked.n_roles; k++)
            if (bytes_equal(p->ids[i], w->asked.roles[k])) {
                used[n++] = p->ids[i];
                break;
            }
    asked.roles = used;
    asked.n_roles = n;
    return permit_any(acr, &asked, w);
}

bool m2m_permissions_next(const struct m2m_permissions *p, const struct m2m_wanted *w, size_t *i,
                          struct m2m_given *out)
{
    for (; *i < p->n; ++*i) {
        const struct permission *one = &p->of[*i];
        if (!covers(one, w))
            continue;
        *out = (struct m2m_given){*i, one->roles, rules_permit(one, w)};
        if (!out->roles && !out->direct)
            continue;
        ++*i;
        return true;
    }
    return false;
}
