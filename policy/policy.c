#include "policy.h"

#include "compiled.h"
#include "m2m_words.h"
#include "scope.h"

enum {
    /* Candidates that policy_scope_for() looks at in one place and above one
     * holder: strangers ask for hints, so their cost is bounded. */
    HINT_GROUPS_MAX = 32,
    HINT_INCLUDERS_MAX = 32,
    HINT_NEEDS_MAX = 4,
    /* Roles that one includes, looked at to find another: beyond, it is taken
     * for not included. */
    INCLUDES_MAX = 64,
};

/* ---- the judgement ---- */

struct judge {
    const struct policy *p;
    const struct policy_question *q;
    struct policy_decision *out;
    /* What a rule must name to permit: the operation, or else the method; 0:
     * a method that no rule can name. A `forbid` may name either. */
    uint16_t bit, forbid_bits;
    const struct only *only; /* NULL: all that is held counts */
    struct path path;
    struct when_moment moment;
};

/* The roles that the asker wants to be judged by. */
struct only {
    uint32_t ids[POLICY_ROLE_IDS_MAX], n;
};

/* By a method a CSE's operation cannot be told (a POST creates or notifies, or
 * is whatever `op` says), so a rule with methods says nothing about it. */
static void take_action(struct judge *j, const struct policy_question *q)
{
    /* Of operations, by number: POST, GET, PUT, DELETE, POST, GET. */
    static const uint8_t own[1 + M2M_OPERATIONS] = {0, 2, 1, 3, 4, 2, 1};
    uint16_t method = 0, operation = 0;
    if (q->method >= 1 && q->method <= 7)
        method = (uint16_t)POLICY_METHOD_BIT(q->method);
    if (q->operation >= 1 && q->operation <= M2M_OPERATIONS)
        operation = (uint16_t)POLICY_OPERATION_BIT(q->operation);
    j->bit = q->operation ? operation : method;
    j->forbid_bits = method | operation;
    /* One that comes by POST all the same (op) is not less forbidden for it. */
    if (operation)
        j->forbid_bits |= (uint16_t)POLICY_METHOD_BIT(own[q->operation]);
}

/* Can this grant be asked about at all? */
static bool is_ours(const struct judge *j, const struct policy_holding *h)
{
    return h->grant && h->grant->policy == j->p;
}

/* Does the holder hold one of these roles, or include one? */
static bool reaches(const struct policy *p, uint32_t holder, const struct holder_set *roles)
{
    uint32_t queue[INCLUDES_MAX] = {holder}, n = 1;
    for (uint32_t i = 0; i < n; i++) {
        const struct holder *h = &p->holders[queue[i]];
        if (holder_set_has(roles, queue[i]))
            return true;
        for (uint32_t k = 0; k < h->n_includes && n < INCLUDES_MAX; k++)
            queue[n++] = h->includes[k];
    }
    return false;
}

/* Whether what the grant holds of this holder counts for an asker who named
 * roles: by one of those, if that is held. Scopes are no roles. */
static bool counts(const struct judge *j, const struct policy_grant *g, uint32_t holder)
{
    if (!j->only)
        return true;
    const struct holder_set this = {&holder, 1};
    for (uint32_t i = 0; i < j->only->n; i++)
        if (holder_set_has(&g->held, j->only->ids[i]) && reaches(j->p, j->only->ids[i], &this))
            return true;
    return false;
}

static void read_only(struct judge *j, struct only *only)
{
    only->n = 0;
    for (size_t i = 0; i < j->q->n_only; i++) {
        uint32_t id = holder_find(j->p, j->q->only[i]);
        if (id != NAMES_NONE && j->p->holders[id].is_role)
            only->ids[only->n++] = id;
    }
    j->only = only;
}

/* Notes what came nearest so far. */
static void note(struct judge *j, enum policy_reason reason, size_t held, const struct rule *rule,
                 const char *holder, const char *missing)
{
    if (reason <= j->out->reason)
        return;
    j->out->reason = reason;
    j->out->held = (int)held;
    j->out->rule =
        rule ? (struct policy_rule_ref){j->p->name, rule->line} : (struct policy_rule_ref){NULL, 0};
    j->out->holder = holder;
    j->out->missing = missing;
}

/* A CREATE of this type? What is not told is of none that a list names. Other
 * operations make nothing. */
static bool is_of_type(const struct judge *j, const struct rule_limits *l)
{
    if (!l || l->n_types == 0 || !(j->bit & POLICY_OPERATION_BIT(1)))
        return true;
    for (size_t i = 0; i < l->n_types; i++)
        if (l->types[i] == j->q->type)
            return true;
    return false;
}

/* Of this size and format? (RFC 7252 5.9.2.9, 5.9.2.11) A payload whose format
 * is not told is of none that a list names, and what is told counts without a
 * payload, too. */
static bool fits(struct judge *j, const struct rule *r, size_t held, const char *holder)
{
    const struct rule_limits *l = r->limits;
    const struct policy_question *q = j->q;
    bool listed = l->n_formats == 0 || (q->payload_n == 0 && q->content_format < 0);
    for (size_t i = 0; !listed && i < l->n_formats; i++)
        listed = l->formats[i] == q->content_format;
    if (!listed) {
        note(j, POLICY_FORMAT, held, r, holder, NULL);
        return false;
    }
    if (!l->sized || q->payload_n <= l->max_payload)
        return true;
    note(j, POLICY_PAYLOAD, held, r, holder, NULL);
    if (l->max_payload > j->out->max_payload)
        j->out->max_payload = l->max_payload;
    return false;
}

/* A rule that permits, but perhaps only so often. True: at any rate. */
static bool offer(struct judge *j, const struct rule *r, size_t held, const char *holder,
                  const struct bound *bound)
{
    bool rated = r->limits && r->limits->rate.count > 0;
    if (!rated && (!bound || bound->n == 0)) {
        j->out->n_offers = 0;
        note(j, POLICY_PERMITTED, held, r, holder, NULL);
        return true;
    }
    if (j->out->n_offers == POLICY_OFFERS_MAX)
        return false;
    struct policy_offer *o = &j->out->offers[j->out->n_offers++];
    o->held = (int)held;
    o->rule = (struct policy_rule_ref){j->p->name, r->line};
    o->holder = holder;
    o->n_rates = 0;
    if (rated)
        o->rates[o->n_rates++] = &r->limits->rate;
    for (uint8_t i = 0; bound && i < bound->n; i++)
        o->rates[o->n_rates++] = bound->rates[i];
    return false;
}

static const struct bound *bound_of(const struct policy_grant *g, uint32_t holder)
{
    return g->bounds ? &g->bounds[holder_set_find(&g->held, holder)] : NULL;
}

static bool permits(struct judge *j, const struct rule_group *g, size_t held)
{
    const char *name = j->p->holders[g->holder].name, *missing;
    if (!(g->actions & j->bit)) {
        note(j, POLICY_NOT_METHOD, held, g->rules, name, NULL);
        return false;
    }
    /* What is permitted whatever the moment stands first. */
    for (uint32_t i = 0; i < g->n; i++) {
        const struct rule *r = &g->rules[i];
        if (!(r->actions & j->bit))
            continue;
        if (!is_of_type(j, r->limits))
            note(j, POLICY_NOT_TYPE, held, r, name, NULL);
        else if (r->when && when_judge(r->when, &j->moment, &missing) != WHEN_YES)
            note(j, POLICY_CONDITION, held, r, name, missing);
        else if ((!r->limits || fits(j, r, held, name)) &&
                 offer(j, r, held, name, bound_of(j->q->held[held].grant, g->holder)))
            return true;
    }
    return false;
}

/* Every group of the place that the set holds, by the shorter way. */
static const struct rule_group *next_held(const struct rules *r, const struct rules_place *at,
                                          const struct holder_set *set, uint32_t *i)
{
    if (at->n <= set->n) {
        while (*i < at->n) {
            const struct rule_group *g = rules_group(r, at, (*i)++);
            if (holder_set_has(set, g->holder))
                return g;
        }
    } else {
        while (*i < set->n) {
            const struct rule_group *g = rules_group_of(r, at, set->ids[(*i)++]);
            if (g)
                return g;
        }
    }
    return NULL;
}

static bool judge_place(struct judge *j, const struct rules_place *at)
{
    const struct rules *r = j->p->permit;
    if (!(at->actions & j->bit) && j->out->reason >= POLICY_NOT_METHOD)
        return false;
    for (size_t i = 0; i < j->q->n_held; i++) {
        const struct policy_holding *h = &j->q->held[i];
        const struct rule_group *g;
        if (!h->covers || !is_ours(j, h))
            continue;
        j->moment.strength = h->strength;
        for (uint32_t k = 0; (g = next_held(r, at, &h->grant->held, &k));)
            if (counts(j, h->grant, g->holder) && permits(j, g, i))
                return true;
        if (j->out->reason >= POLICY_BEYOND_AUTHORITY)
            continue;
        for (uint32_t k = 0; (g = next_held(r, at, &h->grant->beyond, &k));)
            for (uint32_t n = 0; n < g->n; n++)
                if (g->rules[n].actions & j->bit)
                    note(j, POLICY_BEYOND_AUTHORITY, i, &g->rules[n], j->p->holders[g->holder].name,
                         NULL);
    }
    return false;
}

/* As far as the authority may grant it by may-grant's resources, and within
 * their limits. */
static bool within_resources(struct judge *j, const struct may_grant *may, size_t held,
                             const char *holder)
{
    struct rules_walk walk;
    struct rules_place at;
    if (!may || !may->resources)
        return false;
    rules_walk_begin(&walk, may->resources, &j->path);
    while (rules_walk_next(&walk, &at))
        for (uint32_t i = 0; at.actions & j->bit && i < at.n; i++) {
            const struct rule_group *group = rules_group(may->resources, &at, i);
            for (uint32_t k = 0; k < group->n; k++) {
                const struct rule *r = &group->rules[k];
                if (r->actions & j->bit && is_of_type(j, r->limits) &&
                    (!r->limits || fits(j, r, held, holder)) && offer(j, r, held, holder, NULL))
                    return true;
            }
        }
    return false;
}

/* An entry of the token's own list, which was clipped to them when it was
 * read: what is left are their limits. */
static bool aif_permits(struct judge *j, const struct policy_grant *g, size_t held)
{
    if (g->may && g->may->limited)
        return within_resources(j, g->may, held, "aif");
    j->out->n_offers = 0;
    note(j, POLICY_PERMITTED, held, NULL, "aif", NULL);
    return true;
}

/* What a token says by itself of this request. An enrolment says nothing. */
static bool judge_own(struct judge *j)
{
    for (size_t i = 0; j->path.sound && i < j->q->n_held; i++) {
        const struct policy_holding *h = &j->q->held[i];
        if (!h->direct || !h->covers || !is_ours(j, h))
            continue;
        uint8_t offers = j->out->n_offers;
        if (within_resources(j, h->grant->may, i, "permission"))
            return true;
        if (j->out->n_offers == offers)
            note(j, POLICY_BEYOND_AUTHORITY, i, NULL, "permission", NULL);
    }
    return false;
}

static bool judge_aif(struct judge *j)
{
    uint32_t hash = 0;
    bool hashed = false;
    for (size_t i = 0; j->path.sound && i < j->q->n_held; i++) {
        const struct policy_holding *h = &j->q->held[i];
        if (!h->covers || !is_ours(j, h) || h->grant->n_aif == 0)
            continue;
        if (!hashed)
            hash = aif_hash(&j->path, j->q->query);
        hashed = true;
        const struct aif_entry *e = grant_aif(h->grant, &j->path, j->q->query, hash);
        if (!e)
            continue;
        if (AIF_STATIC(e->mask) & j->bit || (j->q->created && AIF_DYNAMIC(e->mask) & j->bit)) {
            if (aif_permits(j, h->grant, i))
                return true;
            continue;
        }
        if (AIF_DYNAMIC(e->mask) & j->bit)
            note(j, POLICY_CONDITION, i, NULL, "aif", "created");
        else if (e->mask)
            note(j, POLICY_NOT_METHOD, i, NULL, "aif", NULL);
        if (AIF_STATIC(e->beyond) & j->bit || (j->q->created && AIF_DYNAMIC(e->beyond) & j->bit))
            note(j, POLICY_BEYOND_AUTHORITY, i, NULL, "aif", NULL);
    }
    return false;
}

/* Does any grant that counts here hold one of these roles? */
static bool excepted(const struct judge *j, const struct holder_set *roles)
{
    for (size_t i = 0; i < j->q->n_held; i++) {
        const struct policy_holding *h = &j->q->held[i];
        if (!h->covers || !is_ours(j, h))
            continue;
        for (uint32_t k = 0; k < roles->n; k++)
            if (holder_set_has(&h->grant->held, roles->ids[k]) &&
                counts(j, h->grant, roles->ids[k]))
                return true;
    }
    return false;
}

/* Whether a `forbid` is about what is asked; types narrow a CREATE alone, and
 * one whose type is not told may be of any. */
static bool is_about(const struct judge *j, const struct rule *r)
{
    const uint16_t hit = r->actions & j->forbid_bits;
    return hit & (uint16_t)~POLICY_OPERATION_BIT(1) ||
           (hit && (j->q->type < 0 || is_of_type(j, r->limits)));
}

/* A `forbid` whose conditions cannot be told is one. It holds for all that is
 * held at once, so its association is the strongest there is. */
static bool forbids(struct judge *j, const struct path *path)
{
    struct rules_walk walk;
    struct rules_place at;
    const char *missing;
    rules_walk_begin(&walk, j->p->forbid, path);
    while (rules_walk_next(&walk, &at)) {
        for (uint32_t i = 0; at.actions & j->forbid_bits && i < at.n; i++) {
            const struct rule_group *g = rules_group(j->p->forbid, &at, i);
            if (!(g->actions & j->forbid_bits) || excepted(j, &j->p->exceptions[g->holder]))
                continue;
            for (uint32_t k = 0; k < g->n; k++) {
                const struct rule *r = &g->rules[k];
                if (!is_about(j, r) ||
                    (r->when && when_judge(r->when, &j->moment, &missing) == WHEN_NO))
                    continue;
                note(j, POLICY_FORBIDDEN, 0, r, NULL, NULL);
                j->out->held = -1;
                return true;
            }
        }
    }
    return false;
}

/* A path that ends in a slash is another's to us, and to many servers the same as
 * without: what is forbidden there is not got at by one. */
static bool is_forbidden(struct judge *j)
{
    j->moment.strength = POLICY_STRENGTH_NONE;
    for (size_t i = 0; i < j->q->n_held; i++)
        if (j->q->held[i].strength > j->moment.strength)
            j->moment.strength = j->q->held[i].strength;
    if (forbids(j, &j->path))
        return true;
    size_t n = j->path.n;
    if (!j->path.sound || n < 2 || j->path.seg[n - 1].n > 0)
        return false;
    j->path.n = n - 1;
    bool forbidden = forbids(j, &j->path);
    j->path.n = n;
    return forbidden;
}

void policy_decide(const struct policy *p, const struct policy_question *q,
                   struct policy_decision *out)
{
    struct judge j = {.p = p, .q = q, .out = out};
    struct only only;
    struct rules_walk walk;
    struct rules_place at;
    /* Not all of it: offers are many and mostly unused. */
    out->verdict = POLICY_DENY;
    out->reason = POLICY_NO_GRANT;
    out->rule = (struct policy_rule_ref){NULL, 0};
    out->held = -1;
    out->holder = out->missing = NULL;
    out->max_payload = 0;
    out->n_offers = 0;
    take_action(&j, q);
    j.moment = (struct when_moment){.now_s = q->now_s, .peer = &q->peer};
    if (q->n_held > POLICY_GRANTS_MAX ||
        q->n_only > POLICY_ROLE_IDS_MAX) { /* more than can be judged at a bounded cost */
        out->reason = POLICY_NOT_RESOURCE;
        return;
    }
    for (size_t i = 0; i < q->n_held; i++)
        if (is_ours(&j, &q->held[i]))
            note(&j, q->held[i].covers ? POLICY_NOT_RESOURCE : POLICY_NOT_AUDIENCE, i, NULL, NULL,
                 NULL);
    if (out->reason == POLICY_NO_GRANT)
        return;
    if (q->n_only > 0)
        read_only(&j, &only);
    path_init(&j.path, q->path, q->n_path);
    if (is_forbidden(&j) || out->reason < POLICY_NOT_RESOURCE)
        return;
    /* Of what is below, whatever it is about there. A CSE that deletes a resource
     * deletes all of it (TS-0001 10.1.5). */
    if ((q->below && rules_any_below(p->forbid, &j.path)) ||
        (j.bit == POLICY_OPERATION_BIT(4) && rules_any_below(p->kept, &j.path))) {
        note(&j, POLICY_FORBIDDEN, 0, NULL, NULL, NULL);
        out->held = -1;
        return;
    }
    bool permitted = !q->below && judge_aif(&j);
    j.path.named = q->named;
    j.path.below = q->below;
    permitted = permitted || judge_own(&j);
    rules_walk_begin(&walk, p->permit, &j.path);
    while (!permitted && rules_walk_next(&walk, &at))
        permitted = judge_place(&j, &at);
    if (!permitted && out->n_offers > 0) {
        const struct policy_offer *first = &out->offers[0];
        out->reason = POLICY_PERMITTED;
        out->rule = first->rule;
        out->held = first->held;
        out->holder = first->holder;
        out->missing = NULL;
        permitted = true;
    }
    if (permitted)
        out->verdict = POLICY_PERMIT;
}

uint32_t policy_operations(const struct policy *p, const struct policy_question *q)
{
    struct policy_question each = *q;
    uint32_t operations = 0;
    each.payload_n = 0;
    each.content_format = -1;
    for (uint8_t op = 1; op <= M2M_OPERATIONS; op++) {
        struct policy_decision d;
        each.operation = op;
        policy_decide(p, &each, &d);
        if (d.verdict == POLICY_PERMIT)
            operations |= POLICY_OPERATION_BIT(op);
    }
    return operations;
}

uint32_t policy_methods(const struct policy *p, const struct policy_question *q)
{
    struct policy_question each = *q;
    uint32_t methods = 0;
    each.operation = 0;
    each.payload_n = 0; /* there is some payload that would do */
    each.content_format = -1;
    for (uint8_t code = 1; code <= 7; code++) {
        struct policy_decision d;
        each.method = code;
        policy_decide(p, &each, &d);
        if (d.verdict == POLICY_PERMIT)
            methods |= POLICY_METHOD_BIT(code);
    }
    return methods;
}

/* ---- hints ---- */

/* Would the group permit the method to whoever held it by a certificate? */
static bool would_permit(struct judge *j, const struct rule_group *g)
{
    const char *missing;
    for (uint32_t i = 0; i < g->n; i++)
        if (g->rules[i].actions & j->bit && is_of_type(j, g->rules[i].limits) &&
            (!g->rules[i].when || when_judge(g->rules[i].when, &j->moment, &missing) == WHEN_YES))
            return true;
    return false;
}

/* What a `forbid` on the path asks for, too. */
struct needs {
    const struct holder_set *any_of[HINT_NEEDS_MAX];
    uint32_t n;
};

/* False: forbidden to everyone. */
static bool find_needs(struct judge *j, struct needs *out)
{
    struct rules_walk walk;
    struct rules_place at;
    const char *missing;
    rules_walk_begin(&walk, j->p->forbid, &j->path);
    while (rules_walk_next(&walk, &at))
        for (uint32_t i = 0; at.actions & j->forbid_bits && i < at.n; i++) {
            const struct rule_group *g = rules_group(j->p->forbid, &at, i);
            bool applies = false;
            for (uint32_t k = 0; k < g->n && !applies; k++)
                applies = is_about(j, &g->rules[k]) &&
                          (!g->rules[k].when ||
                           when_judge(g->rules[k].when, &j->moment, &missing) != WHEN_NO);
            if (!applies)
                continue;
            const struct holder_set *roles = &j->p->exceptions[g->holder];
            if (roles->n == 0 || out->n == HINT_NEEDS_MAX)
                return false;
            out->any_of[out->n++] = roles;
        }
    return true;
}

static bool meets(const struct policy *p, uint32_t holder, const struct needs *needs)
{
    for (uint32_t i = 0; i < needs->n; i++)
        if (!reaches(p, holder, needs->any_of[i]))
            return false;
    return true;
}

/* The lightest that the authority may grant: the holder, or who includes it. */
static uint32_t lightest(const struct policy *p, const struct may_grant *may,
                         const struct needs *needs, uint32_t holder, uint32_t best)
{
    uint32_t queue[HINT_INCLUDERS_MAX] = {holder}, n = 1;
    for (uint32_t i = 0; i < n; i++) {
        const struct holder *h = &p->holders[queue[i]];
        bool lighter = best == NAMES_NONE || h->weight < p->holders[best].weight ||
                       (h->weight == p->holders[best].weight && queue[i] < best);
        if (lighter && holder_set_has(&may->holders, queue[i]) && meets(p, queue[i], needs))
            best = queue[i];
        for (uint32_t k = 0; k < h->n_included_by && n < HINT_INCLUDERS_MAX; k++)
            queue[n++] = h->included_by[k];
    }
    return best;
}

struct bytes policy_scope_for(const struct policy *p, int authority,
                              const struct policy_question *q)
{
    struct judge j = {.p = p, .q = q};
    struct needs needs = {.n = 0};
    struct rules_walk walk;
    struct rules_place at;
    uint32_t best = NAMES_NONE;
    take_action(&j, q);
    if (authority < 0 || (size_t)authority >= p->n_authorities || !j.bit)
        return BYTES_NONE;
    j.moment = (struct when_moment){
        .now_s = q->now_s, .peer = &q->peer, .strength = POLICY_STRENGTH_CERTIFICATE};
    path_init(&j.path, q->path, q->n_path);
    if (!find_needs(&j, &needs))
        return BYTES_NONE;
    rules_walk_begin(&walk, p->permit, &j.path);
    while (rules_walk_next(&walk, &at))
        for (uint32_t i = 0; at.actions & j.bit && i < at.n && i < HINT_GROUPS_MAX; i++) {
            const struct rule_group *g = rules_group(p->permit, &at, i); /* lightest first */
            if (would_permit(&j, g))
                best = lightest(p, &p->may_grant[authority], &needs, g->holder, best);
        }
    return best == NAMES_NONE ? BYTES_NONE : bytes_str(p->holders[best].name);
}
