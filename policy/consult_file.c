/* Who else has a word: `decision-points`, and an authority's
 * `dynamic-authorization`. */
#include "policy_file.h"

#include "url.h"

enum {
    CACHE_MOST_S = 3600, /* a decision that nobody can take back */
    LIFETIME_MOST_S = 86400,
    LIFETIME_S = 300,
};

/* The paths of `for`, for "holder" `of`. */
static void read_for(struct reader *r, const struct yaml_node *n, uint32_t of)
{
    struct yaml_seq s;
    struct pattern p;
    if (!n || !yaml_seq_open_or_one(r->y, n, &s))
        return;
    if (s.left == 0)
        yaml_error(r->y, n, "without a path nobody would ever be asked");
    if (!r->consult && !(r->consult = rules_builder_new())) {
        yaml_error(r->y, n, "out of memory");
        return;
    }
    for (const struct yaml_node *e; (e = yaml_seq_next(&s));) {
        const char *wrong =
            yaml_is_scalar(e) ? pattern_parse(yaml_raw(e), &p) : "expected a path as text";
        if (wrong)
            yaml_error(r->y, e, "%s", wrong);
        else
            rules_add(r->consult, &p, of, POLICY_METHODS_ALL, NULL, NULL, yaml_line(r->y, e));
    }
}

/* ---- decision points ---- */

static void read_point(struct reader *r, const struct yaml_node *n, uint32_t number,
                       struct policy_point *to)
{
    static const char *const combines[] = {"deny-overrides", "local-first"};
    struct yaml_map m;
    int i;
    if (!yaml_map_open(r->y, n, &m))
        return;
    to->line = yaml_line(r->y, n);
    const struct yaml_node *name = yaml_map_need(&m, "name");
    if (yaml_text(r->y, name, &r->p->arena, &to->name)) {
        struct bytes text = bytes_str(to->name);
        if (text.n > HOLDER_NAME_MAX)
            yaml_error(r->y, name, "the name of a decision point longer than %d bytes",
                       HOLDER_NAME_MAX);
        /* Records and status name both: one name is one server. */
        if (policy_point_find(r->p, text) >= 0 || policy_authority_find(r->p, text) >= 0)
            yaml_error(r->y, name, "the name of a decision point '%.64s' is taken already",
                       to->name);
    }
    read_consulted(r, &m, n, &to->endpoint);
    read_for(r, yaml_map_need(&m, "for"), number);
    const struct yaml_node *combine = yaml_map_need(&m, "combine");
    if (combine && yaml_enum(r->y, combine, combines, 2, &i))
        to->combine = i == 1 ? POLICY_LOCAL_FIRST : POLICY_DENY_OVERRIDES;
    read_duration(r, yaml_map_get(&m, "cache"), 0, CACHE_MOST_S, &to->cache_s);
    yaml_map_close(&m);
}

bool read_points(struct reader *r, const struct yaml_node *n)
{
    struct yaml_seq s;
    if (!n || !yaml_seq_open(r->y, n, &s))
        return true;
    struct policy_point *points = arena_array(&r->p->arena, POLICY_POINTS_MAX, sizeof *points);
    if (!points)
        return false;
    r->p->points = points;
    for (const struct yaml_node *e; (e = yaml_seq_next(&s)); r->p->n_points++) {
        if (r->p->n_points == POLICY_POINTS_MAX) {
            yaml_error(r->y, e, "more than %d decision points", POLICY_POINTS_MAX);
            break;
        }
        read_point(r, e, (uint32_t)r->p->n_points, &points[r->p->n_points]);
    }
    return true;
}

/* ---- dynamic authorization ---- */

static void read_tell(struct reader *r, const struct yaml_node *n, const char **out)
{
    struct url u;
    const char *why;
    if (n && yaml_text(r->y, n, &r->p->arena, out) && !url_parse(bytes_str(*out), &u, &why))
        yaml_error(r->y, n, "%s", why);
}

void read_dynamic(struct reader *r, const struct yaml_node *n, size_t authority,
                  struct policy_dynamic *out)
{
    struct yaml_map m, ask;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    out->lifetime_s = LIFETIME_S;
    if (r->p->n_dynamic == POLICY_DYNAMIC_MAX) {
        yaml_error(r->y, n, "more than %d authorities with dynamic-authorization",
                   POLICY_DYNAMIC_MAX);
        return;
    }
    if (!r->dynamic)
        r->p->dynamic = r->dynamic =
            arena_array(&r->p->arena, POLICY_DYNAMIC_MAX, sizeof *r->dynamic);
    if (!r->dynamic || authority > UINT16_MAX)
        return;
    r->dynamic[r->p->n_dynamic] = (uint16_t)authority;
    read_for(r, yaml_map_need(&m, "for"), (uint32_t)(POLICY_POINTS_MAX + r->p->n_dynamic++));
    read_tell(r, yaml_map_get(&m, "tell"), &out->tell);
    const struct yaml_node *asked = yaml_map_get(&m, "ask");
    const struct yaml_node *lifetime = yaml_map_get(&m, "lifetime");
    if (asked && yaml_map_open(r->y, asked, &ask)) {
        read_consulted(r, &ask, asked, &out->ask);
        yaml_map_close(&ask);
    }
    if (!asked && lifetime)
        yaml_error(r->y, lifetime, "lifetime is for what is asked for: ask");
    read_duration(r, lifetime, 1, LIFETIME_MOST_S, &out->lifetime_s);
    if (!asked && !out->tell)
        yaml_error(r->y, n,
                   "dynamic-authorization needs `tell`, a URI for clients, or `ask`, "
                   "where the gateway asks, or both");
    yaml_map_close(&m);
}

bool read_consult_done(struct reader *r)
{
    if (!r->consult || !yaml_ok(r->y))
        return true;
    r->p->consult = rules_build(r->consult, &r->p->arena, NULL);
    return r->p->consult != NULL;
}
