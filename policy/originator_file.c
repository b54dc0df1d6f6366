/* As whom a subject may speak to a CSE (TS-0003 8.2, TS-0004 7.3.2.1), and
 * who may speak to one without an association. */
#include "m2m_name.h"
#include "policy_file.h"

typedef const char *check_fn(struct bytes text);

/* A domain of a service provider in lower case: how it is looked for. */
static void lower_domain(char *text)
{
    if (text[0] != '/' || text[1] != '/')
        return;
    for (char *c = text + 2; *c && *c != '/'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
}

static const char *read_name(struct reader *r, const struct yaml_node *n, check_fn *check)
{
    const char *text;
    if (!yaml_text(r->y, n, &r->p->arena, &text))
        return NULL;
    const char *wrong = check(bytes_str(text));
    if (wrong) {
        yaml_error(r->y, n, "%s", wrong);
        return NULL;
    }
    char *own = arena_text(&r->p->arena, bytes_str(text));
    if (own)
        lower_domain(own);
    return own;
}

/* A list of names, or one. */
static const char *const *read_list(struct reader *r, const struct yaml_node *n, check_fn *check,
                                    const char *what, size_t *n_out)
{
    struct yaml_seq s;
    if (!n || !yaml_seq_open_or_one(r->y, n, &s))
        return NULL;
    if (s.left == 0)
        yaml_error(r->y, n, "no %s; leave the key away if there are none", what);
    if (s.left > POLICY_ORIGINATORS_MAX) {
        yaml_error(r->y, n, "more than %d %s", POLICY_ORIGINATORS_MAX, what);
        return NULL;
    }
    const char **out = arena_array(&r->p->arena, s.left, sizeof(*out));
    for (const struct yaml_node *e; out && (e = yaml_seq_next(&s));) {
        const char *text = read_name(r, e, check);
        for (size_t i = 0; text && i < *n_out; i++)
            if (strcmp(out[i], text) == 0)
                yaml_error(r->y, e, "'%.64s' is named twice", text);
        if (text)
            out[(*n_out)++] = text;
    }
    return out;
}

/* What a credential says by itself: an AE-ID before the '@' of a psk-identity
 * (TS-0003 10.5), or as the URI in a certificate (10.1.1.7). It names nobody
 * whom it does not name in full: other identities are names of any kind. */
static const char *named_by_credential(struct reader *r, const struct policy_subject *s)
{
    struct bytes name, domain;
    if (s->psk_identity && m2m_at_domain(bytes_str(s->psk_identity), &name, &domain) &&
        m2m_is_stem(name))
        return arena_text(&r->p->arena, name);
    if (!s->certificate || strncmp(s->certificate, "//", 2) != 0 ||
        m2m_originator_check(bytes_str(s->certificate)))
        return NULL;
    char *own = arena_text(&r->p->arena, bytes_str(s->certificate));
    if (own)
        lower_domain(own);
    return own;
}

void read_originators(struct reader *r, struct yaml_map *m, struct policy_subject *s)
{
    const struct yaml_node *one = yaml_map_get(m, "originator");
    const struct yaml_node *many = yaml_map_get(m, "originators");
    const struct yaml_node *cse = yaml_map_get(m, "cse");
    const struct yaml_node *may = yaml_map_get(m, "may-register");
    if (one && many)
        yaml_error(r->y, many, "'originator' and 'originators' are the same; give one of them");
    if (one && !yaml_is_scalar(one))
        yaml_error(r->y, one, "'originator' is one; several are 'originators'");
    s->originators =
        read_list(r, one ? one : many, m2m_originator_check, "originators", &s->n_originators);
    s->may_register =
        read_list(r, may, m2m_may_register_check, "names in 'may-register'", &s->n_may_register);
    if (cse)
        s->cse = read_name(r, cse, m2m_cse_id_check);
    if (cse && (one || many))
        yaml_error(r->y, cse, "a subject is a CSE, or speaks for AEs: 'cse' excludes 'originator'");
    if (cse && may)
        yaml_error(r->y, may, "a CSE registers no AEs at another CSE: 'cse' excludes this");
    if (!one && !many && !cse) {
        const char *named = named_by_credential(r, s);
        const char **list = named ? arena_array(&r->p->arena, 1, sizeof(*list)) : NULL;
        if (list) {
            list[0] = named;
            s->originators = list;
            s->n_originators = 1;
            s->named = true;
        }
    }
    if (s->n_originators > 0)
        s->originator = s->originators[0];
}

/* ---- whose a name is ---- */

static uint32_t *index_names(struct reader *r, struct names *names, size_t n)
{
    uint32_t *owners = arena_array(&r->p->arena, n, sizeof *owners);
    return owners && names_init(names, &r->p->arena, n) ? owners : NULL;
}

/* By one name only one subject may speak. */
static void own(struct reader *r, const struct yaml_node *e, struct names *names, uint32_t *owners,
                uint32_t subject, const char *what, const char *id)
{
    uint32_t was = names->n, at = names_add(names, id);
    if (at == was)
        owners[at] = subject;
    else if (owners[at] != subject)
        yaml_error(r->y, e, "%s '%.64s' is that of subject '%.64s' on line %u already", what, id,
                   r->p->subjects[owners[at]].name ? r->p->subjects[owners[at]].name : "?",
                   r->p->subjects[owners[at]].line);
}

/* Nobody wrote it: what is written for another goes before it, and of two
 * credentials that say the same neither is believed. */
static void own_by_credential(struct policy *p, struct policy_subject *subjects, uint32_t *owners,
                              uint32_t i)
{
    uint32_t was = p->originators.n, at = names_add(&p->originators, subjects[i].originators[0]);
    if (at == was) {
        owners[at] = i;
        return;
    }
    struct policy_subject *both[] = {&subjects[i], &subjects[owners[at]]};
    for (int k = 0; k < 2; k++)
        if (both[k]->named) {
            both[k]->n_originators = 0;
            both[k]->originator = NULL;
        }
}

bool index_originators(struct reader *r, struct policy_subject *subjects,
                       const struct yaml_node *const *nodes, struct yaml *more)
{
    struct policy *p = r->p;
    struct yaml *first = r->y;
    uint32_t *of, *cse_of;
    size_t n = 0;
    for (size_t i = 0; i < p->n_subjects; i++)
        n += subjects[i].n_originators;
    if (!(of = index_names(r, &p->originators, n)) ||
        !(cse_of = index_names(r, &p->cses, p->n_subjects)))
        return false;
    p->originator_of = of;
    p->cse_of = cse_of;
    for (uint32_t i = 0; i < p->n_subjects; i++) {
        const struct policy_subject *s = &subjects[i];
        r->y = s->managed ? more : first;
        for (size_t k = 0; k < s->n_originators && !s->named; k++)
            own(r, nodes[i], &p->originators, of, i, "originator", s->originators[k]);
        if (s->cse)
            own(r, nodes[i], &p->cses, cse_of, i, "CSE-ID", s->cse);
    }
    for (uint32_t i = 0; i < p->n_subjects; i++)
        if (subjects[i].named && subjects[i].n_originators > 0)
            own_by_credential(p, subjects, of, i);
    r->y = first;
    return true;
}

/* ---- without an association ---- */

static const char *check_unassociated(struct bytes text)
{
    const char *wrong = m2m_originator_check(text);
    if (wrong && text.n && text.p[0] == '/')
        return "only AEs may come without an association, never a CSE (TS-0003 6.1.2.2.1)";
    return wrong;
}

static void read_entry(struct reader *r, const struct yaml_node *n, struct policy_unassociated *u)
{
    struct yaml_map m;
    struct holder_set roles;
    if (!yaml_map_open(r->y, n, &m))
        return;
    u->line = yaml_line(r->y, n);
    const struct yaml_node *names = yaml_map_need(&m, "originators");
    u->originators = read_list(r, names, check_unassociated, "originators", &u->n_originators);
    u->operations = read_operations(r, yaml_map_need(&m, "operations"));
    if (read_holders(r, yaml_map_need(&m, "roles"), ROLES_ONLY, &roles)) {
        const char **list = arena_array(&r->p->arena, roles.n, sizeof(*list));
        for (uint32_t i = 0; list && i < roles.n; i++)
            list[i] = r->holders[roles.ids[i]].name;
        u->roles = list;
        u->n_roles = list ? roles.n : 0;
    }
    yaml_map_close(&m);
    /* Anybody could say so: the subject's own name must stay worth something. */
    for (size_t i = 0; i < u->n_originators; i++) {
        int owner = policy_subject_of_originator(r->p, bytes_str(u->originators[i]));
        if (owner >= 0)
            yaml_error(r->y, names, "'%.64s' is subject '%.64s', which has a credential to show",
                       u->originators[i], r->p->subjects[owner].name);
    }
}

bool read_unassociated(struct reader *r, const struct yaml_node *n)
{
    struct yaml_seq s;
    if (!n || !yaml_seq_open(r->y, n, &s))
        return true;
    struct policy_unassociated *list = arena_array(&r->p->arena, s.left, sizeof *list);
    if (!list)
        return false;
    r->p->unassociated = list;
    for (const struct yaml_node *e; (e = yaml_seq_next(&s)); r->p->n_unassociated++)
        read_entry(r, e, list++);
    return true;
}
