/* The inside of a policy and of a grant; for policy/ alone. policy_file.c
 * fills it, scope.c compiles claims against it, policy.c judges by it. */
#ifndef POSTERN_COMPILED_H
#define POSTERN_COMPILED_H

#include <stdatomic.h>

#include "names.h"
#include "rules.h"

enum compiled_limits {
    GRANT_AIF_MAX = 64, /* entries of one grant; those past it grant nothing */
};

/* A role or a scope: one space of names, so that a word means one thing. */
struct holder {
    const char *name;
    const char *role_id; /* or NULL: it has none besides a name that is one */
    bool is_role;
    unsigned line;
    const uint32_t *includes; /* roles */
    uint32_t n_includes;
    const uint32_t *included_by;
    uint32_t n_included_by;
    uint32_t weight; /* rules, with those of included roles */
    struct policy_rate rate;
    uint8_t rated; /* roles with a rate on the longest way of includes from here */
};

/* Sorted numbers of holders. */
struct holder_set {
    uint32_t *ids;
    uint32_t n;
};

struct may_grant {
    struct holder_set holders;
    const struct rules *resources; /* all of holder 0 */
    bool limited;                  /* one of them has limits */
};

struct policy {
    atomic_size_t refs;
    struct arena arena; /* of all below */
    const char *name;
    char hash[POLICY_HASH_HEX + 1];
    enum policy_mode mode;
    const struct holder *holders;
    uint32_t n_holders;
    bool has_rates;     /* a holder has one */
    struct names names; /* of holders */
    struct names role_ids;
    const uint32_t *role_of; /* by number in role_ids */
    const struct rules *permit;
    const struct rules *forbid;          /* of "holders" that are `exceptions` */
    const struct rules *kept;            /* those that forbid a DELETE */
    const struct holder_set *exceptions; /* roles that escape a `forbid`; 0: none do */
    const struct policy_authority *authorities;
    const struct may_grant *may_grant; /* one an authority */
    size_t n_authorities;
    const struct policy_subject *subjects;
    size_t n_subjects;
    const char *enrolled_file, *enrolled_name; /* as written, as shown; NULL: none */
    struct policy_ended *ended;
    size_t n_ended;
    const struct policy_point *points;
    size_t n_points;
    /* Of "holders" that are points, and from POLICY_POINTS_MAX on those of
     * `dynamic`; NULL: there are none. */
    const struct rules *consult;
    const uint16_t *dynamic; /* authorities that are asked for permission */
    size_t n_dynamic;
    const struct policy_unassociated *unassociated;
    size_t n_unassociated;
    struct names subject_names;     /* by their place in `subjects` */
    struct names originators, cses; /* of subjects */
    const uint32_t *originator_of, *cse_of;
};

/* A holder by its name, a role also by its role ID; NAMES_NONE: there is none. */
uint32_t holder_find(const struct policy *p, struct bytes name);

/* Which rates bind what is held through one holder: its own, and those of the
 * roles through which it was granted. */
struct bound {
    uint8_t n;
    const struct policy_rate *rates[POLICY_ROLE_RATES_MAX];
};

bool holder_set_has(const struct holder_set *s, uint32_t id);
/* Its place in the set, NAMES_NONE: not in it. */
uint32_t holder_set_find(const struct holder_set *s, uint32_t id);

struct aif_entry {
    uint32_t hash;
    const struct bytes *seg;
    size_t n;
    struct bytes query;
    uint64_t mask, beyond; /* granted; said, but more than the authority may */
};

struct policy_grant {
    struct policy *policy;
    struct holder_set held, beyond; /* with all that they include */
    struct bound *bounds;           /* by place in `held`; NULL: the policy has none */
    const struct may_grant *may;    /* NULL: an enrolment */
    struct aif_entry *aif;
    size_t n_aif;
    struct bytes *segments; /* storage of the entries */
    uint8_t *text;
};

uint32_t aif_hash(const struct path *path, struct bytes query);

#endif
