#include "m2m_claims.h"

#include "cwt.h"
#include "m2m_time.h"

/* ---- claims by either name ---- */

/* The claim by its name in JWTs or by its own; false: by both. */
static bool find(const struct json_node *o, const char *name, const char *own,
                 const struct json_node **out)
{
    const struct json_node *a = json_node_get(o, name), *b = json_node_get(o, own);
    *out = a ? a : b;
    return !a || !b;
}

static bool keep(const struct jwt_source *from, const struct json_node *n, struct bytes *out)
{
    struct bytes text;
    if (!json_node_text(n, &text) || text.n == 0)
        return false;
    size_t at = from->plain->n;
    buf_put(from->plain, text);
    *out = bytes_of(from->plain->p + at, text.n);
    return !from->plain->full;
}

/* NumericDate, or a time of oneM2M's. */
static bool read_time(const struct json_node *n, bool up, int64_t *out)
{
    struct bytes text;
    double f;
    if (json_node_text(n, &text))
        return m2m_timestamp(text, up, out);
    if (json_node_int(n, out))
        return *out >= 0 && *out <= CWT_TIME_MAX;
    if (!json_node_number(n, &f) || !(f >= 0 && f <= (double)CWT_TIME_MAX))
        return false;
    *out = (int64_t)f;
    if (up && (double)*out < f)
        ++*out;
    return true;
}

/* A list, or texts between blanks as TS-0004 writes its lists; an empty one
 * and none at all are for any CSE. */
static bool read_audience(const struct jwt_source *from, const struct json_node *n,
                          struct claims *out)
{
    struct bytes text;
    if (!n)
        return true;
    if (json_node_kind(n) == JSON_NODE_ARRAY) {
        if (json_node_count(n) > TOKEN_AUD_MAX)
            return false;
        for (; out->n_aud < json_node_count(n); out->n_aud++)
            if (!keep(from, json_node_at(n, out->n_aud), &out->aud[out->n_aud]))
                return false;
        return true;
    }
    if (!json_node_text(n, &text))
        return false;
    if (text.n == 0)
        return true;
    if (memchr(text.p, ' ', text.n)) /* which words are meant is not worth a guess */
        return false;
    out->n_aud = 1;
    return keep(from, n, &out->aud[0]);
}

static bool read_claims(const struct json_node *o, const struct jwt_source *from,
                        struct claims *out, struct m2m_claims *m2m)
{
    const struct json_node *id, *iss, *holder, *nbf, *exp, *aud;
    if (!find(o, "jti", "tkid", &id) || !find(o, "iss", "tkis", &iss) ||
        !find(o, "azp", "tkhd", &holder) || !find(o, "nbf", "tknb", &nbf) ||
        !find(o, "exp", "tkna", &exp) || !find(o, "aud", "tkau", &aud))
        return false;
    out->has_iss = out->has_exp = true;
    out->has_nbf = nbf != NULL;
    return keep(from, id, &out->cti) && keep(from, iss, &out->iss) &&
           keep(from, holder, &m2m->holder) && read_time(exp, false, &out->exp_s) &&
           (!nbf || read_time(nbf, true, &out->nbf_s)) && read_audience(from, aud, out);
}

/* ---- permissions ---- */

static bool is_texts(const struct json_node *n)
{
    struct bytes text;
    if (json_node_kind(n) != JSON_NODE_ARRAY || json_node_count(n) > M2M_LIST_MAX)
        return false;
    for (size_t i = 0; i < json_node_count(n); i++)
        if (!json_node_text(json_node_at(n, i), &text) || text.n == 0)
            return false;
    return true;
}

/* TS-0004 6.3.4.2 has {"acr": [...]}; an authorization server was seen to leave
 * out what stands around the list, which says the same. */
static const struct json_node *rules_of(const struct json_node *pv)
{
    return json_node_kind(pv) == JSON_NODE_ARRAY ? pv : json_node_get(pv, "acr");
}

/* What stands beside the three may be one that narrows: refused. */
static bool is_permission(const struct json_node *p)
{
    const struct json_node *ris = json_node_get(p, "ris"), *pv = json_node_get(p, "pv"),
                           *rids = json_node_get(p, "rids");
    size_t known = (ris ? 1U : 0U) + (pv ? 1U : 0U) + (rids ? 1U : 0U);
    if (json_node_kind(p) != JSON_NODE_OBJECT || json_node_count(p) != known || (!pv && !rids))
        return false;
    if ((ris && !is_texts(ris)) || (rids && !is_texts(rids)))
        return false;
    const struct json_node *acr = rules_of(pv);
    return !pv || (json_node_kind(acr) == JSON_NODE_ARRAY &&
                   (acr == pv || json_node_count(pv) == 1) && json_node_count(acr) <= M2M_LIST_MAX);
}

static enum pep_err read_permissions(const struct json_node *o, struct m2m_claims *m2m)
{
    const struct json_node *tkps = json_node_get(o, "tkps"), *pm = json_node_get(tkps, "pm");
    m2m->permissions = pm;
    if (json_node_kind(pm) != JSON_NODE_ARRAY || json_node_count(tkps) != 1 ||
        json_node_count(pm) == 0 || json_node_count(pm) > M2M_PERMISSIONS_MAX)
        return PEP_SCOPE;
    for (size_t i = 0; i < json_node_count(pm); i++)
        if (!is_permission(json_node_at(pm, i)))
            return PEP_SCOPE;
    return PEP_OK;
}

enum pep_err m2m_claims_read(const struct json_node *object, const struct jwt_source *from,
                             struct claims *out, struct m2m_claims *m2m)
{
    memset(out, 0, sizeof *out);
    memset(m2m, 0, sizeof *m2m);
    if (json_node_kind(object) != JSON_NODE_OBJECT || !read_claims(object, from, out, m2m))
        return PEP_CLAIMS;
    return read_permissions(object, m2m);
}

bool m2m_permission_covers(const struct json_node *p, struct bytes to)
{
    const struct json_node *ris = json_node_get(p, "ris");
    struct bytes text;
    for (size_t i = 0; i < json_node_count(ris); i++)
        if (json_node_text(json_node_at(ris, i), &text) && m2m_id_matches(text, to))
            return true;
    return !ris;
}

const struct json_node *m2m_permission_rules(const struct json_node *p)
{
    return rules_of(json_node_get(p, "pv"));
}

size_t m2m_permission_roles(const struct json_node *p)
{
    return json_node_count(json_node_get(p, "rids"));
}

bool m2m_permission_role(const struct json_node *p, size_t i, struct bytes *out)
{
    const struct json_node *rids = json_node_get(p, "rids");
    return i < json_node_count(rids) && json_node_text(json_node_at(rids, i), out);
}
