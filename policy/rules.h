/* The compiled form of rules: a tree over path segments. Immutable once
 * built; finding allocates nothing.
 *
 * A rule belongs to a holder (a role or scope by number; what the number
 * means is the caller's), and is about a set of actions: methods of CoAP and
 * operations of oneM2M, a bit each (POLICY_METHOD_BIT, POLICY_OPERATION_BIT).
 * Where a pattern ends, the rules of one holder are
 * one group: the actions that are permitted whatever the moment are folded
 * together, and only rules with conditions or limits stay apart. So a question costs a
 * few look-ups for each segment of its path, and for each place where a
 * pattern of the tree matches the smaller of: groups there, holders held.
 * How many rules there are beside does not matter; patterns that mix `*` and
 * names in the same place are followed both ways.
 */
#ifndef POSTERN_RULES_H
#define POSTERN_RULES_H

#include "arena.h"
#include "limit.h"
#include "path.h"
#include "when.h"

struct rules;
struct rules_builder;

struct rule {
    uint32_t line;
    uint16_t actions;
    const struct when *when;          /* NULL: always */
    const struct rule_limits *limits; /* NULL: any number, size and format */
};

/* The rules of one holder where one pattern ends. */
struct rule_group {
    uint32_t holder;
    uint16_t plain;   /* actions of rules without conditions and limits */
    uint16_t actions; /* of all */
    uint32_t n;
    const struct rule *rules; /* those of `plain` first, disjoint */
};

/* ---- building; everything is reported once, by rules_build ---- */

MUST_USE struct rules_builder *rules_builder_new(void);
void rules_builder_free(struct rules_builder *b); /* NULL is fine */
/* Copies the pattern. `when` and `limits` must outlive the tree. Rules are
 * kept in the order of `line` within a group. */
void rules_add(struct rules_builder *b, const struct pattern *p, uint32_t holder, uint16_t actions,
               const struct when *when, const struct rule_limits *limits, uint32_t line);
/* `weight[holder]` orders the groups of a place, least first; NULL: by
 * holder. NULL on allocation failure, then or earlier. */
MUST_USE const struct rules *rules_build(struct rules_builder *b, struct arena *a,
                                         const uint32_t *weight);

/* ---- finding ---- */

/* The groups where one pattern that matches the path ends. */
struct rules_place {
    uint32_t first, n;
    uint16_t actions; /* of all rules there */
};

struct rules_walk {
    const struct rules *rules;
    const struct path *path;
    uint32_t n_open;
    struct {
        uint32_t node, depth;
    } open[POLICY_PATH_SEGMENTS_MAX + 2];
    struct rules_place kept; /* second find of one step */
};

/* Every place that matches, one after another; none if the path is not sound. */
void rules_walk_begin(struct rules_walk *w, const struct rules *r, const struct path *p);
bool rules_walk_next(struct rules_walk *w, struct rules_place *out);
/* Whether a pattern names something below the path. */
bool rules_any_below(const struct rules *r, const struct path *p);

const struct rule_group *rules_group(const struct rules *r, const struct rules_place *at,
                                     size_t i); /* i < at->n */
/* The group of one holder there, or NULL. */
const struct rule_group *rules_group_of(const struct rules *r, const struct rules_place *at,
                                        uint32_t holder);

/* ---- all of them, for who checks a file ---- */

typedef void rules_visit_fn(void *user, const struct pattern *p, uint32_t holder,
                            const struct rule *r);
/* In no order. A pattern lives for the visit. False: no memory. */
MUST_USE bool rules_each(const struct rules *r, rules_visit_fn *visit, void *user);

#endif
