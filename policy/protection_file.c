/* An authority's `dialect`, and how its tokens may be protected: `algorithms`,
 * and of oneM2M `classes`. Which names of algorithms there are is known where
 * tokens are verified (pep/keys.h). */
#include "policy_file.h"

static const char *const classes[POLICY_CLASSES] = {
    [POLICY_JWS] = "jws", [POLICY_JWE] = "jwe", [POLICY_NESTED] = "nested"};

static void read_dialect(struct reader *r, const struct yaml_node *n, struct policy_authority *a)
{
    static const char *const dialects[] = {"rfc9200", "ace-07", "oauth", "onem2m"};
    int i;
    if (n && yaml_enum(r->y, n, dialects, 4, &i))
        a->dialect = (enum policy_dialect)i;
}

static void read_list(struct reader *r, const struct yaml_node *n, struct policy_algorithms *out)
{
    struct yaml_seq s;
    if (!yaml_seq_open_or_one(r->y, n, &s))
        return;
    struct policy_file *names = arena_array(&r->p->arena, s.left, sizeof *names);
    if (s.left == 0)
        yaml_error(r->y, n, "without an algorithm no token of this authority could count");
    for (const struct yaml_node *e; names && (e = yaml_seq_next(&s));) {
        struct policy_file *f = &names[out->n];
        if (!yaml_text(r->y, e, &r->p->arena, &f->name))
            continue;
        for (size_t i = 0; i < out->n; i++)
            if (strcmp(names[i].name, f->name) == 0)
                yaml_error(r->y, e, "'%.64s' is named twice", f->name);
        yaml_place(r->y, e, &r->p->arena, &f->where, &f->excerpt);
        out->n++;
    }
    out->of = names;
}

/* TS-0003 7.3.2.6.3: which classes with which algorithms. */
static void read_by_class(struct reader *r, const struct yaml_node *n, struct policy_authority *a)
{
    struct yaml_map m;
    uint8_t named = 0;
    if (!yaml_map_open(r->y, n, &m))
        return;
    for (unsigned i = 0; i < POLICY_CLASSES; i++) {
        const struct yaml_node *list = yaml_map_get(&m, classes[i]);
        if (!list)
            continue;
        named = (uint8_t)(named | 1U << i);
        read_list(r, list, &a->algorithms[i]);
        if (!(a->classes >> i & 1))
            yaml_error(r->y, list, "'%s' is not among this authority's classes", classes[i]);
    }
    yaml_map_close(&m);
    for (unsigned i = 0; i < POLICY_CLASSES; i++)
        if ((a->classes & ~named) >> i & 1)
            yaml_error(r->y, n,
                       "which algorithms are for class '%s'? leave it out of 'classes' "
                       "if none is",
                       classes[i]);
}

static void read_algorithms(struct reader *r, const struct yaml_node *n, struct policy_authority *a)
{
    if (!n)
        return;
    if (yaml_is_map(n) && a->dialect == POLICY_ONEM2M) {
        read_by_class(r, n, a);
        return;
    }
    read_list(r, n, &a->algorithms[0]);
    for (unsigned i = 1; i < POLICY_CLASSES; i++)
        a->algorithms[i] = a->algorithms[0];
}

static void read_classes(struct reader *r, const struct yaml_node *n, struct policy_authority *a)
{
    struct yaml_seq s;
    int i;
    if (a->dialect == POLICY_ONEM2M)
        a->classes = POLICY_CLASSES_ALL;
    if (!n)
        return;
    if (a->dialect != POLICY_ONEM2M) {
        yaml_error(r->y, n, "'classes' are for the dialect onem2m");
        return;
    }
    if (!yaml_seq_open_or_one(r->y, n, &s))
        return;
    a->classes = 0;
    if (s.left == 0)
        yaml_error(r->y, n, "without a class no token of this authority could count");
    for (const struct yaml_node *e; (e = yaml_seq_next(&s));) {
        if (!yaml_enum(r->y, e, classes, POLICY_CLASSES, &i))
            continue;
        if (a->classes >> i & 1)
            yaml_error(r->y, e, "'%s' is named twice", classes[i]);
        a->classes = (uint8_t)(a->classes | 1U << i);
    }
}

void read_protection(struct reader *r, struct yaml_map *m, struct policy_authority *a)
{
    read_dialect(r, yaml_map_get(m, "dialect"), a);
    read_classes(r, yaml_map_get(m, "classes"), a);
    read_algorithms(r, yaml_map_get(m, "algorithms"), a);
}

/* What a oneM2M token has no use for, or cannot do without. */
void check_onem2m(struct reader *r, const struct yaml_node *n, struct yaml_map *m,
                  const struct policy_authority *a)
{
    static const char *const foreign[] = {"introspect", "cnonce", "exi", "sequence",
                                          "default-audience"};
    if (a->dialect != POLICY_ONEM2M)
        return;
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        const struct yaml_node *at = yaml_map_get(m, foreign[i]);
        if (at)
            yaml_error(r->y, at, "'%s' is not for the dialect onem2m", foreign[i]);
    }
    /* A claim that no token lacks, and that must be somebody's. */
    if (!a->issuer)
        yaml_error(r->y, n, "an authority of the dialect onem2m needs its 'issuer'");
}
