/* The language of the policy file, from YAML to the compiled form. Inside:
 * policy_file.c reads the parts and ties names together, rule_file.c reads
 * one rule, subject_file.c who is enrolled, originator_file.c as whom they may
 * speak to a CSE, wire_file.c where an authority is asked, protection_file.c
 * and fresh_file.c how its tokens are protected and numbered, consult_file.c
 * who else has a word.
 *
 * policy_load() of policy.h is here. */
#ifndef POSTERN_POLICY_FILE_H
#define POSTERN_POLICY_FILE_H

#include "compiled.h"
#include "yaml.h"

enum policy_file_limits {
    HOLDER_NAME_MAX = 128,
    SUBJECT_NAME_MAX = 63,   /* it is logged and recorded whole */
    IDENTITY_NAME_MAX = 128, /* RFC 4279 5.3; stock clients cut longer ones */
    CLIENT_ID_MAX = 255,
};

/* One load. */
struct reader {
    struct yaml *y;
    struct policy *p;
    struct buf *diag;
    bool more_bad;                   /* the file of enrolments is; that is reported */
    struct holder *holders;          /* p's, while it can be written */
    const struct yaml_node **bodies; /* one a holder */
    uint32_t *own_rules;             /* one a holder */
    uint32_t *marks, mark;           /* one a holder: seen in the list that is being read */
    struct rules_builder *permit, *forbid, *kept;
    struct rules_builder *consult; /* NULL: nobody else is asked */
    uint16_t *dynamic;             /* authorities that are; then p's */
    const struct zone *zone;       /* of the file: named, or local time once that was needed */
    struct {
        const char *name;
        const struct zone *zone;
    } last_zone;
};

enum which { ANY_HOLDER, ROLES_ONLY, SCOPES_ONLY };

/* A list of names, or one name, as a sorted set. False: reported. */
bool read_holders(struct reader *r, const struct yaml_node *n, enum which which,
                  struct holder_set *out);
/* A zone by name; NULL: reported, or n is NULL. */
const struct zone *read_zone(struct reader *r, const struct yaml_node *n);

/* A text, or NULL. */
const char *read_optional(struct reader *r, struct yaml_map *m, const char *key);
/* A name that may stand once in the file. */
void claim_name(struct reader *r, struct names *taken, const struct yaml_node *n, const char *name,
                const char *what, size_t max);

/* `subjects`, in subject_file.c. False: out of memory. */
struct enrolled_file;
MUST_USE bool read_subjects(struct reader *r, const struct yaml_node *n, struct enrolled_file *e);
/* `mca-without-association`, in originator_file.c, after the subjects. */
MUST_USE bool read_unassociated(struct reader *r, const struct yaml_node *n);
/* What a subject speaks for; then all of them, against each other: each by its
 * node, of `more` if it is managed. */
void read_originators(struct reader *r, struct yaml_map *subject, struct policy_subject *s);
MUST_USE bool index_originators(struct reader *r, struct policy_subject *subjects,
                                const struct yaml_node *const *nodes, struct yaml *more);

/* `permit` lists, of one holder. */
void read_permits(struct reader *r, const struct yaml_node *n, uint32_t holder);
/* Whole `forbid` list. */
void read_forbids(struct reader *r, const struct yaml_node *n);
/* An authority's `introspect`, `revocation-list` and `jwks`, in wire_file.c. */
void read_wire(struct reader *r, struct yaml_map *authority, struct policy_wire *out);
/* What it is to ask somebody in oneM2M: url, credentials, originator, timeout. */
void read_consulted(struct reader *r, struct yaml_map *m, const struct yaml_node *n,
                    struct policy_endpoint *e);
void read_duration(struct reader *r, const struct yaml_node *n, uint64_t min_s, uint64_t max_s,
                   uint32_t *out);
/* An authority's `dynamic-authorization`, and `decision-points`, in
 * consult_file.c; then the index of both. */
void read_dynamic(struct reader *r, const struct yaml_node *n, size_t authority,
                  struct policy_dynamic *out);
MUST_USE bool read_points(struct reader *r, const struct yaml_node *n);
MUST_USE bool read_consult_done(struct reader *r);
/* An authority's `cnonce`, `exi`, `sequence` and `default-audience`, in fresh_file.c. */
void read_freshness(struct reader *r, struct yaml_map *authority, struct policy_freshness *out);
/* A list of oneM2M operations, or one, as POLICY_OPERATION_BIT. */
uint16_t read_operations(struct reader *r, const struct yaml_node *n);
/* An authority's `dialect`, `classes` and `algorithms`, in protection_file.c. */
void read_protection(struct reader *r, struct yaml_map *authority, struct policy_authority *out);
/* Complains about what the dialect onem2m has no use for or lacks. `n`: the
 * authority. */
void check_onem2m(struct reader *r, const struct yaml_node *n, struct yaml_map *authority,
                  const struct policy_authority *a);
/* may-grant's `resources`. */
const struct rules *read_resources(struct reader *r, const struct yaml_node *n,
                                   const struct policy_authority *a, bool *limited);
/* A `rate` that is no rule's. */
void read_rate(struct reader *r, const struct yaml_node *n, const char *of, const char *name,
               struct policy_rate *out);

#endif
