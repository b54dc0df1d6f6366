#include "policy_file.h"

#include "m2m_words.h"

static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"};

enum { N_METHODS = sizeof methods / sizeof *methods };

/* A list of words, or one, as bits from `shift` on. */
static uint16_t read_actions(struct reader *r, const struct yaml_node *n, const char *what,
                             const char *const *words, size_t n_words, unsigned shift)
{
    struct yaml_seq s;
    uint16_t all = 0;
    int i;
    if (!n || !yaml_seq_open_or_one(r->y, n, &s))
        return 0;
    if (s.left == 0)
        yaml_error(r->y, n, "no %s; a rule without any does nothing", what);
    for (const struct yaml_node *e; (e = yaml_seq_next(&s));) {
        if (!yaml_enum(r->y, e, words, n_words, &i))
            continue;
        uint16_t bit = (uint16_t)(1u << ((unsigned)i + shift));
        if (all & bit)
            yaml_error(r->y, e, "%s is named twice", words[i]);
        all |= bit;
    }
    return all;
}

uint16_t read_operations(struct reader *r, const struct yaml_node *n)
{
    return read_actions(r, n, "operations", m2m_operation_words, M2M_OPERATIONS, N_METHODS);
}

static bool read_path(struct reader *r, const struct yaml_node *n, struct pattern *out)
{
    if (!n)
        return false;
    if (!yaml_is_scalar(n)) {
        yaml_error(r->y, n, "expected a path as text");
        return false;
    }
    const char *wrong = pattern_parse(yaml_raw(n), out);
    if (wrong)
        yaml_error(r->y, n, "%s", wrong);
    return !wrong;
}

/* ---- when ---- */

typedef const char *parse_fn(struct bytes text, struct when *out);

static void parse_scalar(struct reader *r, const struct yaml_node *n, parse_fn *parse,
                         struct when *out)
{
    if (!n)
        return;
    const char *wrong = parse(yaml_raw(n), out);
    if (wrong)
        yaml_error(r->y, n, "%s", wrong);
}

static void read_days(struct reader *r, const struct yaml_node *n, struct when *out)
{
    struct yaml_seq s;
    if (!n || !yaml_seq_open_or_one(r->y, n, &s))
        return;
    if (s.left == 0)
        yaml_error(r->y, n, "no days; a rule without any never holds");
    for (const struct yaml_node *e; (e = yaml_seq_next(&s));)
        parse_scalar(r, e, when_parse_days, out);
}

static void read_nets(struct reader *r, const struct yaml_node *n, struct when *out)
{
    struct yaml_seq s;
    if (!n || !yaml_seq_open_or_one(r->y, n, &s))
        return;
    if (s.left == 0)
        yaml_error(r->y, n, "no networks; a rule without any never holds");
    struct when_net *nets = arena_array(&r->p->arena, s.left, sizeof *nets);
    out->nets = nets;
    for (const struct yaml_node *e; nets && (e = yaml_seq_next(&s));) {
        const char *wrong = when_parse_net(yaml_raw(e), &nets[out->n_nets]);
        if (wrong)
            yaml_error(r->y, e, "%s", wrong);
        else
            out->n_nets++;
    }
}

static const struct zone *local_zone(struct reader *r, const struct yaml_node *n)
{
    if (!r->zone && !(r->zone = zone_local(&r->p->arena)))
        yaml_error(r->y, n, "the gateway's own time zone cannot be read; name one with 'zone'");
    return r->zone;
}

const struct zone *read_zone(struct reader *r, const struct yaml_node *n)
{
    const char *name;
    if (!n || !yaml_text(r->y, n, &r->p->arena, &name))
        return NULL;
    if (r->last_zone.name && strcmp(r->last_zone.name, name) == 0)
        return r->last_zone.zone;
    const struct zone *z = zone_find(&r->p->arena, name);
    if (!z) {
        yaml_error(r->y, n,
                   "no time zone '%.64s' on this machine; names are as Europe/Berlin, "
                   "and the package tzdata holds them",
                   name);
        return NULL;
    }
    r->last_zone.name = name;
    r->last_zone.zone = z;
    return z;
}

/* NULL without a `when`. */
static const struct when *read_when(struct reader *r, const struct yaml_node *n)
{
    static const char *const strengths[] = {"bearer", "psk", "certificate"};
    struct yaml_map m;
    int strength;
    if (!n || !yaml_map_open(r->y, n, &m))
        return NULL;
    struct when *w = arena_alloc(&r->p->arena, sizeof *w);
    if (!w)
        return NULL;
    parse_scalar(r, yaml_map_get(&m, "hours"), when_parse_hours, w);
    read_days(r, yaml_map_get(&m, "days"), w);
    parse_scalar(r, yaml_map_get(&m, "dates"), when_parse_dates, w);
    const struct yaml_node *net = yaml_map_get(&m, "network"), *nets = yaml_map_get(&m, "networks");
    if (net && nets)
        yaml_error(r->y, nets, "'network' and 'networks' are the same; give one of them");
    read_nets(r, net ? net : nets, w);
    const struct yaml_node *association = yaml_map_get(&m, "association");
    if (association && yaml_enum(r->y, association, strengths, 3, &strength))
        w->strength = (uint8_t)(POLICY_STRENGTH_BEARER + strength);
    const struct yaml_node *zone = yaml_map_get(&m, "zone");
    yaml_map_close(&m);

    bool timed = w->has_hours || w->has_days || w->has_dates;
    w->zone = zone ? read_zone(r, zone) : timed ? local_zone(r, n) : NULL;
    if (!yaml_ok(r->y))
        return NULL;
    if (zone && !timed)
        yaml_error(r->y, zone, "a zone without hours, days or dates does nothing");
    else if (!timed && !w->n_nets && !w->strength)
        yaml_error(r->y, n, "no condition; leave 'when' away if there is none");
    return w;
}

/* ---- rules ---- */

struct rule_draft {
    struct pattern path;
    uint16_t actions;
    const struct when *when;
    struct rule_limits *limits;
    unsigned line;
    struct holder_set unless;
};

enum rule_kind { PERMIT, FORBID, RESOURCE };

/* ---- limits ---- */

void read_rate(struct reader *r, const struct yaml_node *n, const char *of, const char *name,
               struct policy_rate *out)
{
    if (!n)
        return;
    const char *wrong = policy_rate_parse(yaml_raw(n), out);
    if (wrong) {
        yaml_error(r->y, n, "%s", wrong);
        return;
    }
    out->name = name;
    out->line = yaml_line(r->y, n);
    policy_rate_name(out, of, bytes_str(name), BYTES_NONE);
}

static void read_formats(struct reader *r, const struct yaml_node *n, struct rule_limits *out)
{
    struct yaml_seq s;
    if (!n || !yaml_seq_open_or_one(r->y, n, &s))
        return;
    if (s.left == 0)
        yaml_error(r->y, n, "no formats; max-payload: 0 permits no payload at all");
    if (s.left > POLICY_FORMATS_MAX) {
        yaml_error(r->y, n, "more than %d formats", POLICY_FORMATS_MAX);
        return;
    }
    uint16_t *formats = arena_array(&r->p->arena, s.left, sizeof *formats);
    out->formats = formats;
    for (const struct yaml_node *e; formats && (e = yaml_seq_next(&s));) {
        const char *wrong = policy_format_parse(yaml_raw(e), &formats[out->n_formats]);
        for (size_t i = 0; !wrong && i < out->n_formats; i++)
            if (formats[i] == formats[out->n_formats])
                wrong = "named twice";
        if (wrong)
            yaml_error(r->y, e, "%s", wrong);
        else
            out->n_formats++;
    }
}

static void wrong_type(struct reader *r, const struct yaml_node *n, const char *why)
{
    const char *near = NULL, *name;
    unsigned least = UINT32_MAX;
    for (size_t i = 0; (name = m2m_type_name(i)); i++) {
        unsigned d = yaml_distance(yaml_raw(n), bytes_str(name));
        if (d < least) {
            least = d;
            near = name;
        }
    }
    if (near)
        yaml_error(r->y, n, "%s; did you mean '%s'?", why, near);
    else
        yaml_error(r->y, n, "%s", why);
}

/* NULL without any, and of what is no CREATE. */
static struct rule_limits *read_types(struct reader *r, const struct yaml_node *n, uint16_t actions,
                                      struct rule_limits *out)
{
    struct yaml_seq s;
    if (!n || !yaml_seq_open_or_one(r->y, n, &s))
        return out;
    if (!(actions & POLICY_OPERATION_BIT(1)))
        yaml_error(r->y, n,
                   "types are of what is created; the rule has no CREATE among its "
                   "operations");
    if (s.left == 0)
        yaml_error(r->y, n, "no types; a rule without any creates nothing");
    if (s.left > POLICY_TYPES_MAX) {
        yaml_error(r->y, n, "more than %d types", POLICY_TYPES_MAX);
        return out;
    }
    if (!out)
        out = arena_alloc(&r->p->arena, sizeof *out);
    uint16_t *types = arena_array(&r->p->arena, s.left, sizeof *types);
    if (!out || !types)
        return out; /* the arena says so */
    out->types = types;
    for (const struct yaml_node *e; (e = yaml_seq_next(&s));) {
        const char *wrong = yaml_is_scalar(e) ? m2m_type_parse(yaml_raw(e), &types[out->n_types])
                                              : "expected a "
                                                "type";
        if (wrong) {
            wrong_type(r, e, wrong);
            continue;
        }
        for (size_t i = 0; i < out->n_types; i++)
            if (types[i] == types[out->n_types])
                yaml_error(r->y, e, "named twice");
        out->n_types++;
    }
    return out;
}

/* NULL without any. */
static struct rule_limits *read_limits(struct reader *r, struct yaml_map *m)
{
    const struct yaml_node *rate = yaml_map_get(m, "rate");
    const struct yaml_node *size = yaml_map_get(m, "max-payload");
    const struct yaml_node *formats = yaml_map_get(m, "formats");
    int64_t v;
    if (!rate && !size && !formats)
        return NULL;
    struct rule_limits *out = arena_alloc(&r->p->arena, sizeof *out);
    if (!out)
        return NULL; /* the arena says so */
    read_rate(r, rate, "rule", NULL, &out->rate);
    if (size && yaml_int(r->y, size, 0, UINT32_MAX, &v)) {
        out->sized = true;
        out->max_payload = (uint32_t)v;
    }
    read_formats(r, formats, out);
    return out;
}

/* What tells this rule from others wherever it stands, so that its count goes
 * on when other lines change: whose it is, its path and its actions. Rules
 * that differ in their conditions and types alone share a count, which permits
 * less. */
static void name_rate(struct policy_rate *rate, const char *owner, struct bytes path, uint16_t set)
{
    uint8_t content[YAML_SCALAR_MAX + 2];
    struct buf b = buf_on(content, sizeof content);
    buf_put_be(&b, set, 2);
    buf_put(&b, path);
    policy_rate_name(rate, "rule", bytes_str(owner), buf_bytes(&b));
}

static bool read_rule(struct reader *r, const struct yaml_node *n, enum rule_kind kind,
                      const char *owner, struct rule_draft *out)
{
    struct yaml_map m;
    *out = (struct rule_draft){.line = yaml_line(r->y, n)};
    if (!yaml_map_open(r->y, n, &m))
        return false;
    const struct yaml_node *path = yaml_map_need(&m, "path");
    bool ok = read_path(r, path, &out->path);
    const struct yaml_node *operations = yaml_map_get(&m, "operations");
    const struct yaml_node *named = yaml_map_get(&m, "methods");
    if (!operations && !named)
        yaml_error(r->y, n, "missing key 'methods', or 'operations' for a CSE");
    out->actions = read_actions(r, named, "methods", methods, N_METHODS, 0);
    out->actions |= read_operations(r, operations);
    if (kind != RESOURCE)
        out->when = read_when(r, yaml_map_get(&m, "when"));
    if (kind != FORBID)
        out->limits = read_limits(r, &m);
    out->limits = read_types(r, yaml_map_get(&m, "types"), out->actions, out->limits);
    if (kind == FORBID) {
        const struct yaml_node *unless = yaml_map_get(&m, "unless-role");
        if (unless)
            ok = read_holders(r, unless, ROLES_ONLY, &out->unless) && ok;
    }
    yaml_map_close(&m);
    if (ok && out->limits && out->limits->rate.count > 0)
        name_rate(&out->limits->rate, owner, yaml_raw(path), out->actions);
    return ok && out->actions;
}

void read_permits(struct reader *r, const struct yaml_node *n, uint32_t holder)
{
    struct yaml_seq s;
    struct rule_draft d;
    if (!n || !yaml_seq_open(r->y, n, &s))
        return;
    for (const struct yaml_node *e; (e = yaml_seq_next(&s));) {
        if (!read_rule(r, e, PERMIT, r->holders[holder].name, &d))
            continue;
        rules_add(r->permit, &d.path, holder, d.actions, d.when, d.limits, d.line);
        r->own_rules[holder]++;
    }
}

static bool same_set(const struct holder_set *a, const struct holder_set *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0);
}

void read_forbids(struct reader *r, const struct yaml_node *n)
{
    struct yaml_seq s = {0};
    struct rule_draft d;
    if (n && !yaml_seq_open(r->y, n, &s))
        return;
    /* Rules of the same exceptions, one after another, share a set, so that
     * a place has few groups; the first set is "nobody". */
    struct holder_set *sets = arena_array(&r->p->arena, s.left + 1, sizeof *sets);
    uint32_t last = 0;
    r->p->exceptions = sets;
    for (const struct yaml_node *e; sets && (e = yaml_seq_next(&s));) {
        if (!read_rule(r, e, FORBID, NULL, &d))
            continue;
        uint32_t set = 0;
        if (d.unless.n) {
            if (last == 0 || !same_set(&sets[last], &d.unless))
                sets[++last] = d.unless;
            set = last;
        }
        rules_add(r->forbid, &d.path, set, d.actions, d.when, d.limits, d.line);
        if (d.actions & POLICY_DELETES)
            rules_add(r->kept, &d.path, set, d.actions, d.when, d.limits, d.line);
    }
}

const struct rules *read_resources(struct reader *r, const struct yaml_node *n,
                                   const struct policy_authority *a, bool *limited)
{
    struct yaml_seq s;
    struct rule_draft d;
    if (!n || !yaml_seq_open(r->y, n, &s))
        return NULL;
    struct rules_builder *b = rules_builder_new();
    for (const struct yaml_node *e; (e = yaml_seq_next(&s));) {
        if (!read_rule(r, e, RESOURCE, a->name, &d) || !b)
            continue;
        if (a->dialect == POLICY_ONEM2M && (d.actions & ~POLICY_METHODS_ALL) == 0)
            yaml_error(
                r->y, e,
                "tokens of the dialect onem2m permit operations, so this needs 'operations'");
        rules_add(b, &d.path, 0, d.actions, NULL, d.limits, d.line);
        *limited = *limited || d.limits;
    }
    const struct rules *out = b ? rules_build(b, &r->p->arena, NULL) : NULL;
    rules_builder_free(b);
    if (!out)
        yaml_error(r->y, n, "out of memory");
    return out;
}
