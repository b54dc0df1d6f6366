#include "scope.h"

#include <stdlib.h>

uint32_t holder_set_find(const struct holder_set *s, uint32_t id)
{
    uint32_t lo = 0, hi = s->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->ids[mid] == id)
            return mid;
        if (s->ids[mid] < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NAMES_NONE;
}

bool holder_set_has(const struct holder_set *s, uint32_t id)
{
    return holder_set_find(s, id) != NAMES_NONE;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* ---- words ---- */

/* A set while it is being filled: a bit for each holder, and their list. */
struct filling {
    struct holder_set set;
    uint32_t cap;
    uint8_t *seen;
    bool failed;
};

static void fill(struct filling *f, uint32_t id)
{
    if (f->failed || (f->seen[id / 8] >> (id % 8) & 1))
        return;
    if (f->set.n == f->cap) {
        uint32_t cap = f->cap ? f->cap * 2 : 8;
        uint32_t *ids = realloc(f->set.ids, cap * sizeof *ids);
        if (!ids) {
            f->failed = true;
            return;
        }
        f->set.ids = ids;
        f->cap = cap;
    }
    f->seen[id / 8] |= (uint8_t)(1u << (id % 8));
    f->set.ids[f->set.n++] = id;
}

/* Adds what the members include, and sorts. The list is its own queue. */
static void close_over(struct filling *f, const struct policy *p)
{
    for (uint32_t i = 0; i < f->set.n && !f->failed; i++) {
        const struct holder *h = &p->holders[f->set.ids[i]];
        for (uint32_t k = 0; k < h->n_includes; k++)
            fill(f, h->includes[k]);
    }
    if (f->set.n)
        qsort(f->set.ids, f->set.n, sizeof *f->set.ids, by_number);
}

/* ---- rates of roles ---- */

enum { UNBOUND = POLICY_ROLE_RATES_MAX + 1 }; /* no way to it is known yet */

static void bind_by(struct bound *b, const struct bound *way, const struct policy_rate *own)
{
    *b = *way;
    if (own->count > 0)
        b->rates[b->n++] = own;
}

/* A rate of a role is for all that is permitted through it. What is held in
 * several ways is held by the one with the fewest rates. Ways are found in the
 * order of their rates, so that each is final when it is gone on from; how
 * many there may be was checked when the policy was read. */
static bool bind_rates(struct policy_grant *g, const struct policy *p, const uint32_t *granted,
                       uint32_t n_granted)
{
    static const struct bound none;
    g->bounds = calloc(g->held.n + 1, sizeof *g->bounds);
    if (!g->bounds)
        return false;
    for (uint32_t i = 0; i < g->held.n; i++)
        g->bounds[i].n = UNBOUND;
    for (uint32_t i = 0; i < n_granted; i++)
        bind_by(&g->bounds[holder_set_find(&g->held, granted[i])], &none,
                &p->holders[granted[i]].rate);
    for (uint8_t level = 0; level <= POLICY_ROLE_RATES_MAX; level++)
        for (bool again = true; again;) {
            again = false;
            for (uint32_t i = 0; i < g->held.n; i++) {
                const struct holder *h = &p->holders[g->held.ids[i]];
                for (uint32_t k = 0; g->bounds[i].n == level && k < h->n_includes; k++) {
                    const struct policy_rate *own = &p->holders[h->includes[k]].rate;
                    struct bound *b = &g->bounds[holder_set_find(&g->held, h->includes[k])];
                    if (b->n <= level + (own->count > 0))
                        continue;
                    bind_by(b, &g->bounds[i], own);
                    again = again || b->n == level;
                }
            }
        }
    return true;
}

static void count(size_t *n, struct bytes *first, struct bytes word)
{
    if ((*n)++ == 0)
        *first = word;
}

struct compiling {
    const struct policy *p;
    const struct may_grant *may; /* NULL: an enrolment, nothing is clipped */
    struct filling held, beyond;
    struct policy_grant_report report;
    struct bytes *seg; /* where the next entry's segments and text go */
    uint8_t *text;
};

static void take_word(struct compiling *c, struct bytes word, bool only_role)
{
    uint32_t id = holder_find(c->p, word);
    if (id == NAMES_NONE || (only_role && !c->p->holders[id].is_role)) {
        count(&c->report.n_unknown, &c->report.first_unknown, word);
    } else if (c->may && !holder_set_has(&c->may->holders, id)) {
        count(&c->report.n_beyond, &c->report.first_beyond, word);
        fill(&c->beyond, id);
    } else {
        c->report.n_known++;
        fill(&c->held, id);
    }
}

static void take_scope(struct compiling *c, struct bytes scope)
{
    for (size_t from = 0, to; from < scope.n; from = to + 1) {
        for (to = from; to < scope.n && scope.p[to] != ' '; to++)
            ;
        if (to > from)
            take_word(c, bytes_of(scope.p + from, to - from), false);
    }
}

/* ---- AIF ---- */

uint32_t aif_hash(const struct path *path, struct bytes query)
{
    uint32_t h = path_hash(query);
    for (size_t i = 0; i < path->n; i++)
        h = h * 0x01000193u ^ path->hash[i];
    return h;
}

static bool same_target(const struct aif_entry *e, const struct path *path, struct bytes query)
{
    if (e->n != path->n || !bytes_equal(e->query, query))
        return false;
    for (size_t i = 0; i < e->n; i++)
        if (!bytes_equal(e->seg[i], path->seg[i]))
            return false;
    return true;
}

const struct aif_entry *grant_aif(const struct policy_grant *g, const struct path *path,
                                  struct bytes query, uint32_t hash)
{
    for (size_t i = 0; path->sound && i < g->n_aif; i++)
        if (g->aif[i].hash == hash && same_target(&g->aif[i], path, query))
            return &g->aif[i];
    return NULL;
}

/* The methods on this path that the authority may grant; all without limit. */
static uint32_t may_grant_methods(const struct may_grant *may, const struct path *path)
{
    struct rules_walk walk;
    struct rules_place at;
    uint32_t methods = 0;
    if (!may)
        return POLICY_METHODS_ALL;
    if (!may->resources)
        return 0;
    rules_walk_begin(&walk, may->resources, path);
    while (rules_walk_next(&walk, &at))
        methods |= at.actions;
    return methods;
}

/* The entry of this target, made if need be; the grant keeps the segments. */
static struct aif_entry *entry_for(struct compiling *c, struct policy_grant *g,
                                   const struct path *path, struct bytes query)
{
    uint32_t hash = aif_hash(path, query);
    for (size_t i = 0; i < g->n_aif; i++)
        if (g->aif[i].hash == hash && same_target(&g->aif[i], path, query))
            return &g->aif[i];
    struct aif_entry *e = &g->aif[g->n_aif++];
    *e = (struct aif_entry){.hash = hash, .seg = c->seg, .n = path->n, .query = query};
    for (size_t i = 0; i < path->n; i++)
        *c->seg++ = path->seg[i];
    return e;
}

static void take_aif(struct compiling *c, struct policy_grant *g, const struct policy_aif *claim)
{
    struct path path;
    struct bytes seg[POLICY_PATH_SEGMENTS_MAX], query;
    size_t n;
    const uint64_t meaningful = POLICY_METHODS_ALL | (uint64_t)POLICY_METHODS_ALL << 32;
    uint64_t mask = claim->mask & meaningful;
    uint8_t *text = c->text;
    c->text += claim->path.n;
    if (!mask || !path_parse_uri(claim->path, text, seg, &n, &query)) {
        count(&c->report.n_unknown, &c->report.first_unknown, claim->path);
        return;
    }
    path_init(&path, seg, n);
    uint64_t may = may_grant_methods(c->may, &path);
    uint64_t granted = mask & (may | may << 32), beyond = mask & ~granted;
    struct aif_entry *e = entry_for(c, g, &path, query);
    e->mask |= granted; /* the same path twice: union (RFC 9237 2) */
    e->beyond |= beyond;
    if (granted)
        c->report.n_known++;
    if (beyond)
        count(&c->report.n_beyond, &c->report.first_beyond, claim->path);
}

static bool take_entries(struct compiling *c, struct policy_grant *g,
                         const struct policy_claims *cl)
{
    size_t n = cl->n_aif < GRANT_AIF_MAX ? cl->n_aif : GRANT_AIF_MAX, bytes = 0, segments = 0;
    for (size_t i = n; i < cl->n_aif; i++)
        count(&c->report.n_unknown, &c->report.first_unknown, cl->aif[i].path);
    if (n == 0)
        return true;
    for (size_t i = 0; i < n; i++) {
        bytes += cl->aif[i].path.n;
        size_t slashes = 0;
        for (size_t k = 0; k < cl->aif[i].path.n; k++)
            slashes += cl->aif[i].path.p[k] == '/';
        segments += slashes < POLICY_PATH_SEGMENTS_MAX ? slashes : POLICY_PATH_SEGMENTS_MAX;
    }
    g->aif = calloc(n, sizeof *g->aif);
    g->segments = calloc(segments + 1, sizeof *g->segments);
    g->text = malloc(bytes + 1);
    if (!g->aif || !g->segments || !g->text)
        return false;
    c->seg = g->segments;
    c->text = g->text;
    for (size_t i = 0; i < n; i++)
        take_aif(c, g, &cl->aif[i]);
    return true;
}

/* ---- grants ---- */

struct policy_grant *policy_grant_new(struct policy *p, const struct policy_claims *cl,
                                      struct policy_grant_report *report)
{
    /* An authority that is not of this policy may grant nothing. */
    static const struct may_grant nothing;
    struct compiling c = {.p = p};
    bool ok = false;
    if (cl->authority != -1)
        c.may = cl->authority >= 0 && (size_t)cl->authority < p->n_authorities
                    ? &p->may_grant[cl->authority]
                    : &nothing;
    uint32_t *granted = NULL, n_granted;
    struct policy_grant *g = calloc(1, sizeof *g);
    size_t n_seen = p->n_holders / 8 + 1;
    c.held.seen = calloc(2, n_seen);
    if (!g || !c.held.seen)
        goto out;
    c.beyond.seen = c.held.seen + n_seen;
    g->policy = policy_ref(p);
    g->may = c.may;
    take_scope(&c, cl->scope);
    for (size_t i = 0; i < cl->n_roles; i++)
        take_word(&c, cl->roles[i], true);
    n_granted = c.held.set.n;
    if (p->has_rates && n_granted && (granted = malloc(n_granted * sizeof *granted)))
        memcpy(granted, c.held.set.ids, n_granted * sizeof *granted);
    close_over(&c.held, p);
    close_over(&c.beyond, p);
    g->held = c.held.set;
    g->beyond = c.beyond.set;
    ok = take_entries(&c, g, cl) && !c.held.failed && !c.beyond.failed;
    if (ok && p->has_rates && n_granted)
        ok = granted && bind_rates(g, p, granted, n_granted);
out:
    free(granted);
    free(c.held.seen);
    if (!ok) {
        policy_grant_free(g);
        return NULL;
    }
    if (report)
        *report = c.report;
    return g;
}

void policy_grant_free(struct policy_grant *g)
{
    if (!g)
        return;
    policy_unref(g->policy);
    free(g->held.ids);
    free(g->beyond.ids);
    free(g->bounds);
    free(g->aif);
    free(g->segments);
    free(g->text);
    free(g);
}

bool policy_grants_resources(const struct policy *p, int authority)
{
    return authority >= 0 && (size_t)authority < p->n_authorities &&
           p->may_grant[authority].resources;
}

size_t policy_grant_roles(const struct policy_grant *g, struct bytes *out, size_t max)
{
    size_t n = 0;
    for (uint32_t i = 0; i < g->held.n && n < max; i++) {
        const struct holder *h = &g->policy->holders[g->held.ids[i]];
        if (h->is_role)
            out[n++] = bytes_str(h->role_id ? h->role_id : h->name);
    }
    return n;
}

const struct policy *policy_grant_policy(const struct policy_grant *g)
{
    return g->policy;
}
