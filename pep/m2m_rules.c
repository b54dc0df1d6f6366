#include "m2m_rules.h"

#include "../policy/when.h"
#include "../policy/window.h"

/* ---- originators ---- */

bool m2m_id_matches(struct bytes pattern, struct bytes id)
{
    size_t p = 0, i = 0, star = SIZE_MAX, from = 0;
    while (i < id.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            from = i;
        } else if (p < pattern.n && pattern.p[p] == id.p[i]) {
            p++;
            i++;
        } else if (star != SIZE_MAX && id.p[from] != '/') {
            p = star + 1;
            i = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

/* An empty identifier has proved nothing: only `all` is for it. */
static bool names_asker(struct bytes text, const struct m2m_asked *a)
{
    if (bytes_equal(text, BYTES_LIT("all")))
        return true;
    if (a->originator.n > 0 && m2m_id_matches(text, a->originator))
        return true;
    for (size_t i = 0; i < a->n_roles; i++)
        if (bytes_equal(text, a->roles[i]))
            return true;
    return false;
}

static bool originators_have(const struct json_node *acor, const struct m2m_asked *a)
{
    struct bytes text;
    for (size_t i = 0; i < json_node_count(acor); i++)
        if (json_node_text(json_node_at(acor, i), &text) && text.n > 0 && names_asker(text, a))
            return true;
    return false;
}

/* ---- contexts ---- */

static bool list_or_one(const struct json_node *n, size_t i, struct bytes *out)
{
    if (json_node_kind(n) == JSON_NODE_ARRAY)
        return json_node_text(json_node_at(n, i), out);
    return i == 0 && json_node_text(n, out);
}

static bool in_window(const struct json_node *actw, int64_t now_s)
{
    struct bytes text;
    struct window w;
    for (size_t i = 0; list_or_one(actw, i, &text); i++)
        if (window_parse(text, &w) && window_holds(&w, now_s))
            return true;
    return false;
}

static bool net_has(const struct json_node *list, uint8_t family, const struct m2m_asked *a)
{
    struct bytes text;
    struct when_net net;
    const char *missing;
    for (size_t i = 0; list_or_one(list, i, &text); i++) {
        if (when_parse_net(text, &net) || net.family != family)
            continue;
        struct when only = {.n_nets = 1, .nets = &net};
        struct when_moment now = {.now_s = a->now_s, .peer = &a->peer};
        if (when_judge(&only, &now, &missing) == WHEN_YES)
            return true;
    }
    return false;
}

/* Of one context every part must hold (TS-0001 9.6.2.2); a part that we do
 * not know, or a region, for no location is known here, does not. */
static bool context_holds(const struct json_node *acco, const struct m2m_asked *a)
{
    const struct json_node *actw = json_node_get(acco, "actw"), *acip = json_node_get(acco, "acip");
    size_t known = (actw ? 1U : 0U) + (acip ? 1U : 0U);
    if (json_node_kind(acco) != JSON_NODE_OBJECT || json_node_count(acco) != known || known == 0)
        return false;
    if (actw && !in_window(actw, a->now_s))
        return false;
    return !acip || net_has(json_node_get(acip, "ipv4"), 4, a) ||
           net_has(json_node_get(acip, "ipv6"), 6, a);
}

static bool contexts_hold(const struct json_node *acco, const struct m2m_asked *a)
{
    if (json_node_kind(acco) == JSON_NODE_OBJECT)
        return context_holds(acco, a);
    for (size_t i = 0; i < json_node_count(acco); i++)
        if (context_holds(json_node_at(acco, i), a))
            return true;
    return false;
}

/* ---- objects ---- */

/* chty narrows CREATE alone (TS-0001 9.6.2.4). The type of the target itself
 * (ty, spty) is not known here. */
static bool detail_holds(const struct json_node *acod, const struct m2m_asked *a)
{
    const struct json_node *chty = json_node_get(acod, "chty");
    if (json_node_kind(chty) != JSON_NODE_ARRAY || json_node_count(acod) != 1)
        return false;
    if (a->operation != M2M_CREATE)
        return true;
    int64_t type;
    for (size_t i = 0; i < json_node_count(chty); i++)
        if (json_node_int(json_node_at(chty, i), &type) && type == a->type)
            return true;
    return false;
}

static bool details_hold(const struct json_node *acod, const struct m2m_asked *a)
{
    if (json_node_kind(acod) == JSON_NODE_OBJECT)
        return detail_holds(acod, a);
    for (size_t i = 0; i < json_node_count(acod); i++)
        if (detail_holds(json_node_at(acod, i), a))
            return true;
    return false;
}

/* ---- rules ---- */

/* acaf asks for an originator that has authenticated itself. */
static bool is_known(const struct json_node *acaf, const struct m2m_asked *a)
{
    bool asked;
    return json_node_bool(acaf, &asked) && (!asked || a->originator.n > 0);
}

static bool rule_permits(const struct json_node *rule, const struct m2m_asked *a)
{
    const struct json_node *acor = json_node_get(rule, "acor"), *acco = json_node_get(rule, "acco"),
                           *acaf = json_node_get(rule, "acaf"), *acod = json_node_get(rule, "acod");
    size_t known = 2U + (acco ? 1U : 0U) + (acaf ? 1U : 0U) + (acod ? 1U : 0U);
    int64_t acop;
    /* A part that we do not know may be one that narrows. */
    if (json_node_kind(rule) != JSON_NODE_OBJECT || json_node_count(rule) != known ||
        !json_node_int(json_node_get(rule, "acop"), &acop) || acop < 0 || acop > 63)
        return false;
    return (acop & M2M_ACOP(a->operation)) && originators_have(acor, a) &&
           (!acaf || is_known(acaf, a)) && (!acco || contexts_hold(acco, a)) &&
           (!acod || details_hold(acod, a));
}

bool m2m_rules_permit(const struct json_node *acr, const struct m2m_asked *asked)
{
    if (asked->operation < M2M_CREATE || asked->operation > M2M_DISCOVERY)
        return false;
    for (size_t i = 0; i < json_node_count(acr); i++)
        if (rule_permits(json_node_at(acr, i), asked))
            return true;
    return false;
}
