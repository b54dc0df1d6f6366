#include "policy_file.h"

#include <stdlib.h>

#include "enrolled_file.h"
#include "m2m_name.h"

/* ---- names of roles and scopes ---- */

/* A scope-token (RFC 6749 3.3), so that a token's word can name it. */
static bool name_is_sound(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if (s[i] < 0x21 || s[i] > 0x7e || s[i] == '"' || s[i] == '\\')
            return false;
    return n <= HOLDER_NAME_MAX;
}

static void add_holder(struct reader *r, const struct yaml_node *key, const struct yaml_node *body,
                       bool is_role)
{
    const char *name;
    if (!yaml_text(r->y, key, &r->p->arena, &name))
        return;
    if (!name_is_sound(name)) {
        yaml_error(r->y, key,
                   "a name of a %s has 1 to %d printable ASCII characters, without spaces, "
                   "quotes and backslashes",
                   is_role ? "role" : "scope", HOLDER_NAME_MAX);
        return;
    }
    uint32_t id = names_add(&r->p->names, name);
    if (id != r->p->n_holders) { /* the same twice in one mapping was reported before */
        if (r->holders[id].is_role != is_role)
            yaml_error(r->y, key,
                       "'%.64s' is a role already, on line %u; a word of a token "
                       "could mean either",
                       name, r->holders[id].line);
        return;
    }
    r->p->n_holders++;
    r->holders[id] =
        (struct holder){.name = name, .is_role = is_role, .line = yaml_line(r->y, key)};
    r->bodies[id] = body;
}

static bool read_names(struct reader *r, const struct yaml_node *roles,
                       const struct yaml_node *scopes)
{
    struct yaml_map m[2] = {0};
    const struct yaml_node *key, *body;
    if (roles)
        yaml_map_open(r->y, roles, &m[0]);
    if (scopes)
        yaml_map_open(r->y, scopes, &m[1]);
    size_t n = m[0].left + m[1].left;
    r->holders = arena_array(&r->p->arena, n, sizeof *r->holders);
    r->p->holders = r->holders;
    r->bodies = calloc(n + 1, sizeof(*r->bodies));
    r->own_rules = calloc(n + 1, sizeof *r->own_rules);
    r->marks = calloc(n + 1, sizeof *r->marks);
    if (!names_init(&r->p->names, &r->p->arena, n) || !r->holders || !r->bodies || !r->own_rules ||
        !r->marks)
        return false;
    for (int i = 0; i < 2; i++)
        while (yaml_map_next(&m[i], &key, &body))
            add_holder(r, key, body, i == 0);
    return true;
}

/* A role of a oneM2M service has a name that others give it, too. Whichever
 * of the two is used means this role and no other. */
static void read_role_id(struct reader *r, uint32_t id, uint32_t *role_of)
{
    struct policy *p = r->p;
    struct holder *h = &r->holders[id];
    struct yaml_map m;
    const struct yaml_node *n = NULL;
    const char *text;
    if (h->is_role && yaml_is_map(r->bodies[id]) && yaml_map_open(r->y, r->bodies[id], &m))
        n = yaml_map_get(&m, "role-id");
    if (!n || !yaml_text(r->y, n, &p->arena, &text))
        return;
    const char *wrong = m2m_role_id_check(bytes_str(text));
    if (wrong) {
        yaml_error(r->y, n, "%s", wrong);
        return;
    }
    if (strchr(h->name, '@'))
        yaml_error(r->y, n, "'%.64s' is a role ID itself; a role has one", h->name);
    uint32_t was = p->role_ids.n, other = names_find(&p->names, bytes_str(text));
    if (other != NAMES_NONE)
        yaml_error(r->y, n, "'%.64s' is the name of a %s already, on line %u", text,
                   r->holders[other].is_role ? "role" : "scope", r->holders[other].line);
    else if (names_add(&p->role_ids, text) != was)
        yaml_error(r->y, n, "role ID '%.64s' is taken already", text);
    else
        role_of[was] = id;
    h->role_id = text;
}

static bool read_role_ids(struct reader *r)
{
    uint32_t n = r->p->n_holders;
    uint32_t *role_of = arena_array(&r->p->arena, n, sizeof *role_of);
    if (!role_of || !names_init(&r->p->role_ids, &r->p->arena, n))
        return false;
    r->p->role_of = role_of;
    for (uint32_t i = 0; i < n; i++)
        read_role_id(r, i, role_of);
    return true;
}

static const char *kind_of(enum which which)
{
    return which == ROLES_ONLY ? "role" : which == SCOPES_ONLY ? "scope" : "role or scope";
}

static bool is_of(const struct holder *h, enum which which)
{
    return which == ANY_HOLDER || h->is_role == (which == ROLES_ONLY);
}

static void unknown_name(struct reader *r, const struct yaml_node *n, enum which which,
                         const char *name)
{
    enum { LOOKED_AT = 4096 };
    const char *near = NULL;
    unsigned least = UINT32_MAX;
    if (!yaml_is_full(r->y))
        for (uint32_t i = 0; i < r->p->n_holders && i < LOOKED_AT; i++) {
            const char *other = r->holders[i].name;
            unsigned d = yaml_distance(bytes_str(name), bytes_str(other));
            if (d < least && is_of(&r->holders[i], which)) {
                least = d;
                near = other;
            }
        }
    if (near)
        yaml_error(r->y, n, "there is no %s '%.64s'; did you mean '%.64s'?", kind_of(which), name,
                   near);
    else
        yaml_error(r->y, n, "there is no %s '%.64s'", kind_of(which), name);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

bool read_holders(struct reader *r, const struct yaml_node *n, enum which which,
                  struct holder_set *out)
{
    struct yaml_seq s;
    const char *name;
    bool ok = true;
    *out = (struct holder_set){0};
    if (!n || !yaml_seq_open_or_one(r->y, n, &s))
        return false;
    out->ids = arena_array(&r->p->arena, s.left, sizeof *out->ids);
    if (!out->ids)
        return false;
    r->mark++;
    for (const struct yaml_node *e; (e = yaml_seq_next(&s));) {
        bool good = yaml_text(r->y, e, &r->p->arena, &name);
        uint32_t id = good ? holder_find(r->p, bytes_str(name)) : NAMES_NONE;
        if (!good) {
            ok = false;
        } else if (id == NAMES_NONE || !is_of(&r->holders[id], which)) {
            unknown_name(r, e, which, name);
            ok = false;
        } else if (r->marks[id] == r->mark) {
            yaml_error(r->y, e, "'%.64s' is named twice", name);
            ok = false;
        } else {
            r->marks[id] = r->mark;
            out->ids[out->n++] = id;
        }
    }
    if (out->n)
        qsort(out->ids, out->n, sizeof *out->ids, by_number);
    return ok;
}

/* ---- roles and scopes ---- */

static void read_holder(struct reader *r, uint32_t id)
{
    struct holder *h = &r->holders[id];
    struct yaml_map m;
    struct holder_set includes;
    if (!yaml_map_open(r->y, r->bodies[id], &m))
        return;
    if (h->is_role)
        (void)yaml_map_get(&m, "role-id"); /* read before */
    const struct yaml_node *list = h->is_role ? yaml_map_get(&m, "includes") : NULL;
    if (list && read_holders(r, list, ROLES_ONLY, &includes)) {
        h->includes = includes.ids;
        h->n_includes = includes.n;
    }
    read_rate(r, yaml_map_get(&m, "rate"), h->is_role ? "role" : "scope", h->name, &h->rate);
    r->p->has_rates = r->p->has_rates || h->rate.count > 0;
    read_permits(r, h->is_role ? yaml_map_get(&m, "permit") : yaml_map_need(&m, "permit"), id);
    yaml_map_close(&m);
}

static uint8_t own_rate(const struct holder *h)
{
    return h->rate.count > 0;
}

/* What a role takes over from one that it includes, once that is known. */
static void take_over(struct holder *h, const struct holder *child)
{
    if (__builtin_add_overflow(h->weight, child->weight, &h->weight))
        h->weight = UINT32_MAX;
    if (h->rated < own_rate(h) + child->rated && child->rated < UINT8_MAX)
        h->rated = (uint8_t)(own_rate(h) + child->rated);
}

/* Walks the includes of every role, deepest first, without recursion: adds up
 * the weights, counts the rates, and finds circles. */
static bool weigh(struct reader *r)
{
    enum { FRESH, OPEN, DONE };
    uint32_t n = r->p->n_holders;
    uint8_t *state = calloc(n + 1, 1);
    struct {
        uint32_t id, next;
    } *stack = calloc(n + 1, sizeof *stack);
    if (!state || !stack) {
        free(state);
        free(stack);
        return false;
    }
    for (uint32_t root = 0; root < n; root++) {
        uint32_t depth = 0;
        if (state[root] != FRESH)
            continue;
        stack[depth].id = root;
        stack[depth++].next = 0;
        state[root] = OPEN;
        r->holders[root].weight = r->own_rules[root];
        r->holders[root].rated = own_rate(&r->holders[root]);
        while (depth) {
            struct holder *h = &r->holders[stack[depth - 1].id];
            if (stack[depth - 1].next == h->n_includes) {
                state[stack[--depth].id] = DONE;
                if (depth)
                    take_over(&r->holders[stack[depth - 1].id], h);
                continue;
            }
            uint32_t to = h->includes[stack[depth - 1].next++];
            struct holder *child = &r->holders[to];
            if (state[to] == OPEN) {
                yaml_error(r->y, r->bodies[stack[depth - 1].id],
                           "role '%.64s' includes '%.64s', which includes it in turn", h->name,
                           child->name);
            } else if (state[to] == DONE) {
                take_over(h, child);
            } else {
                state[to] = OPEN;
                child->weight = r->own_rules[to];
                child->rated = own_rate(child);
                stack[depth].id = to;
                stack[depth++].next = 0;
            }
        }
        if (r->holders[root].rated > POLICY_ROLE_RATES_MAX)
            yaml_error(r->y, r->bodies[root],
                       "role '%.64s' includes roles with a rate more than %d deep",
                       r->holders[root].name, POLICY_ROLE_RATES_MAX);
    }
    free(state);
    free(stack);
    return true;
}

/* Who includes whom, the other way round. */
static bool turn_includes(struct reader *r)
{
    uint32_t n = r->p->n_holders;
    size_t total = 0;
    for (uint32_t i = 0; i < n; i++) {
        total += r->holders[i].n_includes;
        for (uint32_t k = 0; k < r->holders[i].n_includes; k++)
            r->holders[r->holders[i].includes[k]].n_included_by++;
    }
    uint32_t *all = arena_array(&r->p->arena, total, sizeof *all);
    uint32_t **fill = calloc(n + 1, sizeof(*fill));
    if (!all || !fill) {
        free(fill);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        r->holders[i].included_by = fill[i] = all;
        all += r->holders[i].n_included_by;
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < r->holders[i].n_includes; k++)
            *fill[r->holders[i].includes[k]]++ = i;
    free(fill);
    return true;
}

static bool compile(struct reader *r)
{
    uint32_t n = r->p->n_holders;
    uint32_t *weight = calloc(n + 1, sizeof *weight);
    if (!weight)
        return false;
    for (uint32_t i = 0; i < n; i++)
        weight[i] = r->holders[i].weight;
    r->p->permit = rules_build(r->permit, &r->p->arena, weight);
    r->p->forbid = rules_build(r->forbid, &r->p->arena, NULL);
    r->p->kept = rules_build(r->kept, &r->p->arena, NULL);
    free(weight);
    return r->p->permit && r->p->forbid && r->p->kept;
}

/* ---- authorities ---- */

const char *read_optional(struct reader *r, struct yaml_map *m, const char *key)
{
    const struct yaml_node *n = yaml_map_get(m, key);
    const char *out = NULL;
    if (n && !yaml_text(r->y, n, &r->p->arena, &out))
        return NULL;
    return out;
}

void claim_name(struct reader *r, struct names *taken, const struct yaml_node *n, const char *name,
                const char *what, size_t max)
{
    if (!name)
        return;
    if (strlen(name) > max)
        yaml_error(r->y, n, "%s longer than %zu bytes", what, max);
    uint32_t was = taken->n;
    if (names_add(taken, name) != was)
        yaml_error(r->y, n, "%s '%.64s' is taken already", what, name);
}

static void read_may_grant(struct reader *r, const struct yaml_node *n,
                           const struct policy_authority *a, struct may_grant *out)
{
    struct yaml_map m;
    struct holder_set roles = {0}, scopes = {0};
    if (!yaml_map_open(r->y, n, &m))
        return;
    const struct yaml_node *list = yaml_map_get(&m, "roles");
    if (list)
        read_holders(r, list, ROLES_ONLY, &roles);
    if ((list = yaml_map_get(&m, "scopes")))
        read_holders(r, list, SCOPES_ONLY, &scopes);
    if (list && a->dialect == POLICY_ONEM2M)
        yaml_error(r->y, list, "oneM2M tokens name roles and resources, no scopes");
    out->resources = read_resources(r, yaml_map_get(&m, "resources"), a, &out->limited);
    yaml_map_close(&m);
    uint32_t *ids = arena_array(&r->p->arena, (size_t)roles.n + scopes.n, sizeof *ids);
    if (!ids)
        return;
    for (uint32_t i = 0; i < roles.n; i++) /* roles have the lower numbers: sorted as it is */
        ids[i] = roles.ids[i];
    for (uint32_t i = 0; i < scopes.n; i++)
        ids[roles.n + i] = scopes.ids[i];
    out->holders = (struct holder_set){ids, roles.n + scopes.n};
}

/* Whose a token is must not hang on the order of two entries. One issuer may
 * speak two dialects. */
static void claim_issuer(struct reader *r, const struct yaml_node *n,
                         const struct policy_authority *a)
{
    for (size_t i = 0; a->issuer && i < r->p->n_authorities; i++) {
        const struct policy_authority *other = &r->p->authorities[i];
        if (other->issuer && strcmp(other->issuer, a->issuer) == 0 && other->dialect == a->dialect)
            yaml_error(r->y, n, "issuer '%.64s' is authority '%.64s' already, in this dialect",
                       a->issuer, other->name ? other->name : "?");
    }
}

static void read_authority(struct reader *r, const struct yaml_node *n, struct names *taken,
                           struct policy_authority *a, struct may_grant *may)
{
    static const char *const bearer[] = {"deny", "allow"};
    struct yaml_map m;
    int i;
    if (!yaml_map_open(r->y, n, &m))
        return;
    a->line = yaml_line(r->y, n);
    const struct yaml_node *name = yaml_map_need(&m, "name");
    if (yaml_text(r->y, name, &r->p->arena, &a->name))
        claim_name(r, taken, name, a->name, "the name of an authority", HOLDER_NAME_MAX);
    a->issuer = read_optional(r, &m, "issuer");
    read_protection(r, &m, a);
    claim_issuer(r, yaml_map_get(&m, "issuer"), a);
    read_wire(r, &m, &a->wire);
    read_freshness(r, &m, &a->fresh);
    /* Its word may also come by introspection, and its keys from its JWK set. */
    bool asked = a->wire.introspect.url || a->wire.jwks.url;
    const struct yaml_node *keys = asked ? yaml_map_get(&m, "keys") : yaml_map_need(&m, "keys");
    if (keys)
        yaml_text(r->y, keys, &r->p->arena, &a->keys);
    const struct yaml_node *allowed = yaml_map_get(&m, "bearer");
    if (allowed && yaml_enum(r->y, allowed, bearer, 2, &i))
        a->bearer = i == 1;
    read_may_grant(r, yaml_map_need(&m, "may-grant"), a, may);
    read_dynamic(r, yaml_map_get(&m, "dynamic-authorization"), r->p->n_authorities, &a->dynamic);
    check_onem2m(r, n, &m, a);
    yaml_map_close(&m);
}

static bool read_authorities(struct reader *r, const struct yaml_node *n)
{
    struct yaml_seq s;
    struct names taken;
    if (!n || !yaml_seq_open(r->y, n, &s))
        return true;
    struct policy_authority *a = arena_array(&r->p->arena, s.left, sizeof *a);
    struct may_grant *may = arena_array(&r->p->arena, s.left, sizeof *may);
    if (!a || !may || !names_init(&taken, &r->p->arena, s.left))
        return false;
    r->p->authorities = a;
    r->p->may_grant = may;
    for (const struct yaml_node *e; (e = yaml_seq_next(&s)); r->p->n_authorities++)
        read_authority(r, e, &taken, a++, may++);
    return true;
}

/* ---- the file ---- */

static void read_head(struct reader *r, struct yaml_map *m)
{
    static const char *const modes[] = {"enforce", "report"};
    const struct yaml_node *n = yaml_map_need(m, "version");
    int64_t version;
    int i;
    if (yaml_int(r->y, n, INT64_MIN, INT64_MAX, &version) && version != 1)
        yaml_error(r->y, n, "version %lld is not supported by this version, which reads 1",
                   (long long)version);
    n = yaml_map_get(m, "mode");
    if (n && yaml_enum(r->y, n, modes, 2, &i))
        r->p->mode = i == 1 ? POLICY_REPORT : POLICY_ENFORCE;
    r->zone = read_zone(r, yaml_map_get(m, "zone"));
}

/* False: out of memory. */
static bool read_all(struct reader *r, const struct policy_files *files)
{
    struct yaml_map m;
    struct enrolled_file e;
    if (!yaml_map_open(r->y, yaml_root(r->y), &m))
        return true;
    read_head(r, &m);
    if (!read_names(r, yaml_map_get(&m, "roles"), yaml_map_get(&m, "scopes")) ||
        !read_role_ids(r) || !read_authorities(r, yaml_map_get(&m, "authorities")))
        return false;
    for (uint32_t i = 0; i < r->p->n_holders; i++)
        read_holder(r, i);
    enrolled_open(r, yaml_map_get(&m, "enrolments"), files, &e);
    bool ok = weigh(r) && read_subjects(r, yaml_map_get(&m, "subjects"), &e);
    enrolled_close(r, &e);
    if (!ok || !read_points(r, yaml_map_get(&m, "decision-points")) || !read_consult_done(r) ||
        !read_unassociated(r, yaml_map_get(&m, "mca-without-association")))
        return false;
    read_forbids(r, yaml_map_get(&m, "forbid"));
    yaml_map_close(&m);
    return !yaml_ok(r->y) || r->more_bad || (turn_includes(r) && compile(r));
}

struct policy *policy_load(const char *name, struct bytes text, const char *hash, struct buf *diag)
{
    return policy_load_with(name, text, hash, NULL, diag);
}

struct policy *policy_load_with(const char *name, struct bytes text, const char *hash,
                                const struct policy_files *files, struct buf *diag)
{
    struct reader r = {.diag = diag};
    bool ok = false;
    r.p = calloc(1, sizeof *r.p);
    if (r.p)
        atomic_init(&r.p->refs, 1);
    r.permit = rules_builder_new();
    r.forbid = rules_builder_new();
    r.kept = rules_builder_new();
    if (!r.p || !r.permit || !r.forbid || !r.kept) {
        if (diag)
            buf_put_str(diag, "out of memory\n");
        goto out;
    }
    strncpy(r.p->hash, hash, POLICY_HASH_HEX);
    r.p->name = arena_text(&r.p->arena, bytes_str(name));
    r.y = yaml_load(name, text, diag);
    if (!r.y)
        goto out;
    if ((!read_all(&r, files) || r.p->arena.failed || !r.p->name) && yaml_ok(r.y) && !r.more_bad)
        yaml_error(r.y, yaml_root(r.y), "out of memory");
    ok = yaml_ok(r.y) && !r.more_bad;
out:
    yaml_free(r.y);
    rules_builder_free(r.permit);
    rules_builder_free(r.forbid);
    rules_builder_free(r.kept);
    rules_builder_free(r.consult);
    free(r.bodies);
    free(r.own_rules);
    free(r.marks);
    if (!ok) {
        policy_unref(r.p);
        return NULL;
    }
    return r.p;
}
