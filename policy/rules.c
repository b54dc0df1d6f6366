#include "rules.h"

#include <stdlib.h>

enum {
    HEAD = 12, /* bytes of a segment that stand in the edge itself */
    FEW = 4,   /* groups of a place that are searched one by one */
    ROOT = 0,  /* the node of the empty path; no edge leads to it */
    ROOMY = 2, /* slots of a hash table for each entry, at least */
    SMALLEST = 16
};

/* From a node by a name to its child: one cache line holds two. */
struct edge {
    uint32_t hash; /* of the segment */
    uint32_t from, to;
    uint32_t text; /* offset of the segment's bytes, when longer than HEAD */
    uint32_t len;
    uint8_t head[HEAD];
};

struct node {
    struct rules_place here, rest; /* patterns that end here; that end here in `**` */
    uint32_t star;                 /* child by `*`, 0: none */
    uint32_t n_edges;
};

/* Keyed by place and holder; only of places with more than FEW groups. */
struct slot {
    uint32_t place, group; /* group + 1, 0: empty */
};

struct rules {
    struct node *nodes;
    size_t n_nodes;
    struct edge *edges;
    uint32_t edge_mask;
    uint8_t *text;
    struct rule_group *groups;
    struct slot *slots;
    uint32_t slot_mask;
    bool empty;
};

/* A rule on its way into its group. */
struct draft {
    uint32_t place; /* node * 2, + 1 for `**` */
    uint32_t holder, weight, line;
    uint16_t actions;
    const struct when *when;
    const struct rule_limits *limits;
};

struct rules_builder {
    bool failed;
    struct node *nodes;
    size_t n_nodes, cap_nodes;
    struct edge *edges; /* hash table, `to` 0: empty */
    size_t n_edges, n_slots;
    uint8_t *text;
    size_t n_text, cap_text;
    struct draft *drafts;
    size_t n_drafts, cap_drafts;
};

static uint32_t spread(uint32_t hash, uint32_t with)
{
    uint64_t h = ((uint64_t)with << 32 | hash) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

static bool edge_is(const struct edge *e, uint32_t from, uint32_t hash, struct bytes s,
                    const uint8_t *text)
{
    if (e->hash != hash || e->from != from || e->len != s.n)
        return false;
    return s.n == 0 || memcmp(s.n <= HEAD ? e->head : text + e->text, s.p, s.n) == 0;
}

/* The child, 0: none. */
static uint32_t find_edge(const struct edge *edges, uint32_t mask, const uint8_t *text,
                          uint32_t from, uint32_t hash, struct bytes s)
{
    for (uint32_t i = spread(hash, from) & mask; edges[i].to; i = (i + 1) & mask)
        if (edge_is(&edges[i], from, hash, s, text))
            return edges[i].to;
    return 0;
}

/* ---- building ---- */

/* Room for one more in an array that grows by doubling. */
static bool grow(struct rules_builder *b, void *array, size_t n, size_t *cap, size_t size,
                 size_t more)
{
    void **p = array;
    if (n + more <= *cap)
        return true;
    size_t to = *cap ? *cap : SMALLEST;
    while (to < n + more)
        to *= 2;
    void *fresh = to > UINT32_MAX / 4 ? NULL : realloc(*p, to * size);
    if (!fresh) {
        b->failed = true;
        return false;
    }
    *p = fresh;
    *cap = to;
    return true;
}

static uint32_t new_node(struct rules_builder *b)
{
    if (!grow(b, &b->nodes, b->n_nodes, &b->cap_nodes, sizeof *b->nodes, 1))
        return 0;
    b->nodes[b->n_nodes] = (struct node){0};
    return (uint32_t)b->n_nodes++;
}

struct rules_builder *rules_builder_new(void)
{
    struct rules_builder *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->n_slots = SMALLEST;
    b->edges = calloc(b->n_slots, sizeof *b->edges);
    new_node(b);
    if (!b->edges || b->failed) {
        rules_builder_free(b);
        return NULL;
    }
    return b;
}

void rules_builder_free(struct rules_builder *b)
{
    if (!b)
        return;
    free(b->nodes);
    free(b->edges);
    free(b->text);
    free(b->drafts);
    free(b);
}

static void put_edge(struct edge *edges, size_t n_slots, const struct edge *e)
{
    uint32_t mask = (uint32_t)(n_slots - 1), i = spread(e->hash, e->from) & mask;
    while (edges[i].to)
        i = (i + 1) & mask;
    edges[i] = *e;
}

static bool more_edges(struct rules_builder *b)
{
    if ((b->n_edges + 1) * ROOMY <= b->n_slots)
        return true;
    size_t n = b->n_slots * 2;
    struct edge *fresh = n > UINT32_MAX / 4 ? NULL : calloc(n, sizeof *fresh);
    if (!fresh) {
        b->failed = true;
        return false;
    }
    for (size_t i = 0; i < b->n_slots; i++)
        if (b->edges[i].to)
            put_edge(fresh, n, &b->edges[i]);
    free(b->edges);
    b->edges = fresh;
    b->n_slots = n;
    return true;
}

/* The child of `from` by this name, made if need be; 0: failed. */
static uint32_t child(struct rules_builder *b, uint32_t from, struct bytes s)
{
    uint32_t hash = path_hash(s);
    uint32_t to = find_edge(b->edges, (uint32_t)(b->n_slots - 1), b->text, from, hash, s);
    if (to)
        return to;
    if (!more_edges(b) || !grow(b, &b->text, b->n_text, &b->cap_text, 1, s.n))
        return 0;
    struct edge e = {.hash = hash, .from = from, .len = (uint32_t)s.n};
    e.to = to = new_node(b);
    if (!to)
        return 0;
    if (s.n && s.n <= HEAD) {
        memcpy(e.head, s.p, s.n);
    } else if (s.n) {
        e.text = (uint32_t)b->n_text;
        memcpy(b->text + b->n_text, s.p, s.n);
        b->n_text += s.n;
    }
    put_edge(b->edges, b->n_slots, &e);
    b->n_edges++;
    b->nodes[from].n_edges++;
    return to;
}

void rules_add(struct rules_builder *b, const struct pattern *p, uint32_t holder, uint16_t actions,
               const struct when *when, const struct rule_limits *limits, uint32_t line)
{
    uint32_t at = ROOT;
    for (size_t i = 0; i < p->n && !b->failed; i++) {
        if (p->seg[i].p) {
            at = child(b, at, p->seg[i]);
            continue;
        }
        uint32_t star = b->nodes[at].star;
        if (!star) {
            star = new_node(b);
            b->nodes[at].star = star;
        }
        at = star;
    }
    if (b->failed || !grow(b, &b->drafts, b->n_drafts, &b->cap_drafts, sizeof *b->drafts, 1))
        return;
    b->drafts[b->n_drafts++] = (struct draft){.place = at * 2 + p->rest,
                                              .holder = holder,
                                              .line = line,
                                              .actions = actions,
                                              .when = when,
                                              .limits = limits};
}

static bool is_plain(const struct draft *d)
{
    return !d->when && !d->limits;
}

static int by_group(const void *a, const void *b)
{
    const struct draft *x = a, *y = b;
    if (x->place != y->place)
        return x->place < y->place ? -1 : 1;
    if (x->weight != y->weight)
        return x->weight < y->weight ? -1 : 1;
    if (x->holder != y->holder)
        return x->holder < y->holder ? -1 : 1;
    if (is_plain(x) != is_plain(y))
        return is_plain(x) ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static struct rules_place *place_of(struct rules *r, uint32_t place)
{
    struct node *n = &r->nodes[place / 2];
    return place & 1 ? &n->rest : &n->here;
}

static bool same_group(const struct draft *a, const struct draft *b)
{
    return a->place == b->place && a->holder == b->holder;
}

/* Drafts d to end into one group. What an earlier rule without conditions and
 * limits permits need not be asked of a later one. */
static void fold(struct rule_group *g, struct rule *rules, const struct draft *d,
                 const struct draft *end)
{
    *g = (struct rule_group){.holder = d->holder, .rules = rules};
    for (; d < end; d++) {
        uint16_t actions = d->actions & (uint16_t)~g->plain;
        if (!actions)
            continue;
        rules[g->n++] = (struct rule){d->line, actions, d->when, d->limits};
        g->actions |= actions;
        if (is_plain(d))
            g->plain |= actions;
    }
}

static void index_groups(struct rules *r, uint32_t place)
{
    const struct rules_place *at = place_of(r, place);
    for (uint32_t i = 0; at->n > FEW && i < at->n; i++) {
        uint32_t s = spread(r->groups[at->first + i].holder, at->first) & r->slot_mask;
        while (r->slots[s].group)
            s = (s + 1) & r->slot_mask;
        r->slots[s] = (struct slot){at->first, at->first + i + 1};
    }
}

const struct rules *rules_build(struct rules_builder *b, struct arena *a, const uint32_t *weight)
{
    struct rules *r = arena_alloc(a, sizeof *r);
    if (!r || b->failed)
        return NULL;
    for (size_t i = 0; weight && i < b->n_drafts; i++)
        b->drafts[i].weight = weight[b->drafts[i].holder];
    if (b->n_drafts)
        qsort(b->drafts, b->n_drafts, sizeof *b->drafts, by_group);
    size_t n_groups = 0, n_slots = SMALLEST;
    for (size_t i = 0; i < b->n_drafts; i++)
        n_groups += i == 0 || !same_group(&b->drafts[i], &b->drafts[i - 1]);
    while (n_slots < n_groups * ROOMY)
        n_slots *= 2;
    r->nodes = arena_array(a, b->n_nodes, sizeof *r->nodes);
    r->edges = arena_array(a, b->n_slots, sizeof *r->edges);
    r->text = arena_array(a, b->n_text, 1);
    r->groups = arena_array(a, n_groups, sizeof *r->groups);
    r->slots = arena_array(a, n_slots, sizeof *r->slots);
    struct rule *rules = arena_array(a, b->n_drafts, sizeof *rules);
    if (!r->nodes || !r->edges || !r->text || !r->groups || !r->slots || !rules)
        return NULL;
    memcpy(r->nodes, b->nodes, b->n_nodes * sizeof *r->nodes);
    memcpy(r->edges, b->edges, b->n_slots * sizeof *r->edges);
    if (b->n_text)
        memcpy(r->text, b->text, b->n_text);
    r->n_nodes = b->n_nodes;
    r->edge_mask = (uint32_t)(b->n_slots - 1);
    r->slot_mask = (uint32_t)(n_slots - 1);
    r->empty = b->n_drafts == 0;

    uint32_t group = 0;
    for (size_t i = 0, end; i < b->n_drafts; i = end, group++) {
        const struct draft *d = &b->drafts[i];
        for (end = i + 1; end < b->n_drafts && same_group(d, &b->drafts[end]); end++)
            ;
        fold(&r->groups[group], rules + i, d, b->drafts + end);
        struct rules_place *at = place_of(r, d->place);
        if (at->n++ == 0)
            at->first = group;
        at->actions |= r->groups[group].actions;
        if (end == b->n_drafts || b->drafts[end].place != d->place)
            index_groups(r, d->place);
    }
    return r;
}

/* ---- finding ---- */

void rules_walk_begin(struct rules_walk *w, const struct rules *r, const struct path *p)
{
    w->rules = r;
    w->path = p;
    w->n_open = 0;
    w->kept.n = 0;
    if (p->sound && !r->empty) {
        w->open[0].node = ROOT;
        w->open[0].depth = 0;
        w->n_open = 1;
    }
}

static void open_children(struct rules_walk *w, const struct node *n, uint32_t at, uint32_t depth)
{
    const struct rules *r = w->rules;
    const struct path *p = w->path;
    struct bytes s = p->seg[depth];
    if (n->star && s.n && !(p->named >> depth & 1)) {
        w->open[w->n_open].node = n->star;
        w->open[w->n_open++].depth = depth + 1;
    }
    uint32_t to =
        n->n_edges ? find_edge(r->edges, r->edge_mask, r->text, at, p->hash[depth], s) : 0;
    if (to) {
        w->open[w->n_open].node = to;
        w->open[w->n_open++].depth = depth + 1;
    }
}

/* A node is there for the rules that are below it. */
bool rules_any_below(const struct rules *r, const struct path *p)
{
    struct rules_walk w;
    rules_walk_begin(&w, r, p);
    while (w.n_open) {
        w.n_open--;
        uint32_t at = w.open[w.n_open].node, depth = w.open[w.n_open].depth;
        const struct node *n = &r->nodes[at];
        if (depth < p->n)
            open_children(&w, n, at, depth);
        else if (n->star || n->n_edges)
            return true;
    }
    return false;
}

/* Depth first. Each step takes one node and leaves at most two, of the next
 * depth, so the open ones are at most one a depth and one more. */
bool rules_walk_next(struct rules_walk *w, struct rules_place *out)
{
    if (w->kept.n) {
        *out = w->kept;
        w->kept.n = 0;
        return true;
    }
    const struct rules *r = w->rules;
    const struct path *p = w->path;
    while (w->n_open) {
        w->n_open--;
        uint32_t at = w->open[w->n_open].node, depth = w->open[w->n_open].depth;
        const struct node *n = &r->nodes[at];
        if (depth == p->n) {
            bool here = n->here.n && !p->below;
            if (here && n->rest.n)
                w->kept = n->rest;
            if (here || n->rest.n) {
                *out = here ? n->here : n->rest;
                return true;
            }
            continue;
        }
        open_children(w, n, at, depth);
        if (n->rest.n && p->named >> depth == 0) {
            *out = n->rest;
            return true;
        }
    }
    return false;
}

const struct rule_group *rules_group(const struct rules *r, const struct rules_place *at, size_t i)
{
    return &r->groups[at->first + i];
}

const struct rule_group *rules_group_of(const struct rules *r, const struct rules_place *at,
                                        uint32_t holder)
{
    if (at->n <= FEW) {
        for (uint32_t i = 0; i < at->n; i++)
            if (r->groups[at->first + i].holder == holder)
                return &r->groups[at->first + i];
        return NULL;
    }
    for (uint32_t s = spread(holder, at->first) & r->slot_mask; r->slots[s].group;
         s = (s + 1) & r->slot_mask)
        if (r->slots[s].place == at->first && r->groups[r->slots[s].group - 1].holder == holder)
            return &r->groups[r->slots[s].group - 1];
    return NULL;
}

/* ---- all of them ---- */

/* The way to a node: from which, by which edge; none: by `*`. */
struct way {
    uint32_t from;
    const struct edge *by;
};

static void pattern_of(const struct rules *r, const struct way *ways, uint32_t node,
                       struct pattern *out)
{
    struct bytes back[POLICY_PATH_SEGMENTS_MAX];
    out->n = 0;
    for (; node != ROOT && out->n < POLICY_PATH_SEGMENTS_MAX; node = ways[node].from) {
        const struct edge *e = ways[node].by;
        back[out->n++] =
            e ? bytes_of(e->len <= HEAD ? e->head : r->text + e->text, e->len) : BYTES_NONE;
    }
    for (size_t i = 0; i < out->n; i++)
        out->seg[i] = back[out->n - 1 - i];
}

static void visit_place(const struct rules *r, const struct rules_place *at,
                        const struct pattern *p, rules_visit_fn *visit, void *user)
{
    for (uint32_t i = 0; i < at->n; i++) {
        const struct rule_group *g = rules_group(r, at, i);
        for (uint32_t k = 0; k < g->n; k++)
            visit(user, p, g->holder, &g->rules[k]);
    }
}

bool rules_each(const struct rules *r, rules_visit_fn *visit, void *user)
{
    struct way *ways = calloc(r->n_nodes + 1, sizeof *ways);
    struct pattern p;
    if (!ways)
        return false;
    for (uint32_t i = 0; i <= r->edge_mask; i++)
        if (r->edges[i].to)
            ways[r->edges[i].to] = (struct way){r->edges[i].from, &r->edges[i]};
    for (uint32_t i = 0; i < r->n_nodes; i++)
        if (r->nodes[i].star)
            ways[r->nodes[i].star] = (struct way){i, NULL};
    for (uint32_t i = 0; i < r->n_nodes; i++) {
        const struct node *n = &r->nodes[i];
        if (n->here.n + n->rest.n == 0)
            continue;
        pattern_of(r, ways, i, &p);
        p.rest = false;
        visit_place(r, &n->here, &p, visit, user);
        p.rest = true;
        visit_place(r, &n->rest, &p, visit, user);
    }
    free(ways);
    return true;
}
