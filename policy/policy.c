#include "policy.h"

#include <stdlib.h>

#include "compiled.h"
#include "scope.h"

enum {
    /* Candidates that policy_scope_for() looks at in one place and above one
     * holder: strangers ask for hints, so their cost is bounded. */
    HINT_GROUPS_MAX = 32,
    HINT_INCLUDERS_MAX = 32,
    HINT_NEEDS_MAX = 4,
};

/* ---- the snapshot ---- */

struct policy *policy_ref(struct policy *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void policy_unref(struct policy *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct arena a = p->arena;
    arena_clear(&a);
    free(p);
}

const char *policy_hash(const struct policy *p)
{
    return p->hash;
}

const char *policy_name(const struct policy *p)
{
    return p->name;
}

enum policy_mode policy_mode(const struct policy *p)
{
    return p->mode;
}

const struct policy_authority *policy_authority(const struct policy *p, size_t i)
{
    return i < p->n_authorities ? &p->authorities[i] : NULL;
}

const struct policy_subject *policy_subject(const struct policy *p, size_t i)
{
    return i < p->n_subjects ? &p->subjects[i] : NULL;
}

const char *policy_enrolments(const struct policy *p)
{
    return p->enrolled_file;
}

const struct policy_ended *policy_ended(const struct policy *p, size_t i)
{
    return i < p->n_ended ? &p->ended[i] : NULL;
}

int policy_authority_find(const struct policy *p, struct bytes name)
{
    for (size_t i = 0; i < p->n_authorities; i++)
        if (bytes_equal_str(name, p->authorities[i].name))
            return (int)i;
    return -1;
}

const struct policy_point *policy_point(const struct policy *p, size_t i)
{
    return i < p->n_points ? &p->points[i] : NULL;
}

int policy_point_find(const struct policy *p, struct bytes name)
{
    for (size_t i = 0; i < p->n_points; i++)
        if (bytes_equal_str(name, p->points[i].name))
            return (int)i;
    return -1;
}

void policy_consult(const struct policy *p, const struct bytes *seg, size_t n,
                    struct policy_consult *out)
{
    struct rules_walk walk;
    struct rules_place at;
    struct path path;
    *out = (struct policy_consult){.authority = p->dynamic};
    if (!p->consult)
        return;
    path_init(&path, seg, n);
    rules_walk_begin(&walk, p->consult, &path);
    while (rules_walk_next(&walk, &at))
        for (uint32_t i = 0; i < at.n; i++) {
            uint32_t of = rules_group(p->consult, &at, i)->holder;
            if (of < POLICY_POINTS_MAX)
                out->points |= UINT32_C(1) << of;
            else
                out->dynamic |= UINT32_C(1) << (of - POLICY_POINTS_MAX);
        }
}

/* ---- the judgement ---- */

struct judge {
    const struct policy *p;
    const struct policy_question *q;
    struct policy_decision *out;
    uint8_t bit; /* of the method; 0: a method that no rule can name */
    struct path path;
    struct when_moment moment;
};

/* Can this grant be asked about at all? */
static bool is_ours(const struct judge *j, const struct policy_holding *h)
{
    return h->grant && h->grant->policy == j->p;
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
    if (!(g->methods & j->bit)) {
        note(j, POLICY_NOT_METHOD, held, g->rules, name, NULL);
        return false;
    }
    /* What is permitted whatever the moment stands first. */
    for (uint32_t i = 0; i < g->n; i++) {
        const struct rule *r = &g->rules[i];
        if (!(r->methods & j->bit))
            continue;
        if (r->when && when_judge(r->when, &j->moment, &missing) != WHEN_YES)
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
    if (!(at->methods & j->bit) && j->out->reason >= POLICY_NOT_METHOD)
        return false;
    for (size_t i = 0; i < j->q->n_held; i++) {
        const struct policy_holding *h = &j->q->held[i];
        const struct rule_group *g;
        if (!h->covers || !is_ours(j, h))
            continue;
        j->moment.strength = h->strength;
        for (uint32_t k = 0; (g = next_held(r, at, &h->grant->held, &k));)
            if (permits(j, g, i))
                return true;
        if (j->out->reason >= POLICY_BEYOND_AUTHORITY)
            continue;
        for (uint32_t k = 0; (g = next_held(r, at, &h->grant->beyond, &k));)
            for (uint32_t n = 0; n < g->n; n++)
                if (g->rules[n].methods & j->bit)
                    note(j, POLICY_BEYOND_AUTHORITY, i, &g->rules[n], j->p->holders[g->holder].name,
                         NULL);
    }
    return false;
}

/* An entry of the token's own list permits as far as its authority may: where
 * may-grant's resources have limits, they are the entry's. */
static bool aif_permits(struct judge *j, const struct policy_grant *g, size_t held)
{
    struct rules_walk walk;
    struct rules_place at;
    if (!g->may || !g->may->limited) {
        j->out->n_offers = 0;
        note(j, POLICY_PERMITTED, held, NULL, "aif", NULL);
        return true;
    }
    rules_walk_begin(&walk, g->may->resources, &j->path);
    while (rules_walk_next(&walk, &at))
        for (uint32_t i = 0; at.methods & j->bit && i < at.n; i++) {
            const struct rule_group *group = rules_group(g->may->resources, &at, i);
            for (uint32_t k = 0; k < group->n; k++) {
                const struct rule *r = &group->rules[k];
                if (r->methods & j->bit && (!r->limits || fits(j, r, held, "aif")) &&
                    offer(j, r, held, "aif", NULL))
                    return true;
            }
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
            if (holder_set_has(&h->grant->held, roles->ids[k]))
                return true;
    }
    return false;
}

/* A `forbid` whose conditions cannot be told is one. It holds for all that is
 * held at once, so its association is the strongest there is. */
static bool is_forbidden(struct judge *j)
{
    struct rules_walk walk;
    struct rules_place at;
    const char *missing;
    j->moment.strength = POLICY_STRENGTH_NONE;
    for (size_t i = 0; i < j->q->n_held; i++)
        if (j->q->held[i].strength > j->moment.strength)
            j->moment.strength = j->q->held[i].strength;
    rules_walk_begin(&walk, j->p->forbid, &j->path);
    while (rules_walk_next(&walk, &at)) {
        for (uint32_t i = 0; at.methods & j->bit && i < at.n; i++) {
            const struct rule_group *g = rules_group(j->p->forbid, &at, i);
            if (!(g->methods & j->bit) || excepted(j, &j->p->exceptions[g->holder]))
                continue;
            for (uint32_t k = 0; k < g->n; k++) {
                const struct rule *r = &g->rules[k];
                if (!(r->methods & j->bit) ||
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

void policy_decide(const struct policy *p, const struct policy_question *q,
                   struct policy_decision *out)
{
    struct judge j = {.p = p, .q = q, .out = out};
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
    if (q->method >= 1 && q->method <= 7)
        j.bit = (uint8_t)POLICY_METHOD_BIT(q->method);
    j.moment = (struct when_moment){.now_s = q->now_s, .peer = &q->peer};
    if (q->n_held > POLICY_GRANTS_MAX) { /* more than can be judged at a bounded cost */
        out->reason = POLICY_NOT_RESOURCE;
        return;
    }
    for (size_t i = 0; i < q->n_held; i++)
        if (is_ours(&j, &q->held[i]))
            note(&j, q->held[i].covers ? POLICY_NOT_RESOURCE : POLICY_NOT_AUDIENCE, i, NULL, NULL,
                 NULL);
    if (out->reason == POLICY_NO_GRANT)
        return;
    path_init(&j.path, q->path, q->n_path);
    if (is_forbidden(&j) || out->reason < POLICY_NOT_RESOURCE)
        return;
    bool permitted = judge_aif(&j);
    j.path.named = q->named;
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

uint32_t policy_methods(const struct policy *p, const struct policy_question *q)
{
    struct policy_question each = *q;
    uint32_t methods = 0;
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
        if (g->rules[i].methods & j->bit &&
            (!g->rules[i].when || when_judge(g->rules[i].when, &j->moment, &missing) == WHEN_YES))
            return true;
    return false;
}

/* Does the holder hold one of these roles, or include one? */
static bool reaches(const struct policy *p, uint32_t holder, const struct holder_set *roles)
{
    uint32_t queue[HINT_INCLUDERS_MAX] = {holder}, n = 1;
    for (uint32_t i = 0; i < n; i++) {
        const struct holder *h = &p->holders[queue[i]];
        if (holder_set_has(roles, queue[i]))
            return true;
        for (uint32_t k = 0; k < h->n_includes && n < HINT_INCLUDERS_MAX; k++)
            queue[n++] = h->includes[k];
    }
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
        for (uint32_t i = 0; at.methods & j->bit && i < at.n; i++) {
            const struct rule_group *g = rules_group(j->p->forbid, &at, i);
            bool applies = false;
            for (uint32_t k = 0; k < g->n && !applies; k++)
                applies = g->rules[k].methods & j->bit &&
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
    if (authority < 0 || (size_t)authority >= p->n_authorities || q->method < 1 || q->method > 7)
        return BYTES_NONE;
    j.bit = (uint8_t)POLICY_METHOD_BIT(q->method);
    j.moment = (struct when_moment){
        .now_s = q->now_s, .peer = &q->peer, .strength = POLICY_STRENGTH_CERTIFICATE};
    path_init(&j.path, q->path, q->n_path);
    if (!find_needs(&j, &needs))
        return BYTES_NONE;
    rules_walk_begin(&walk, p->permit, &j.path);
    while (rules_walk_next(&walk, &at))
        for (uint32_t i = 0; at.methods & j.bit && i < at.n && i < HINT_GROUPS_MAX; i++) {
            const struct rule_group *g = rules_group(p->permit, &at, i); /* lightest first */
            if (would_permit(&j, g))
                best = lightest(p, &p->may_grant[authority], &needs, g->holder, best);
        }
    return best == NAMES_NONE ? BYTES_NONE : bytes_str(p->holders[best].name);
}
