/* The `subjects` of a policy file. */
#include "enrolled_file.h"

struct taken {
    struct names identity, certificate, fingerprint;
};

static void read_credential(struct reader *r, const struct yaml_node *n, struct yaml_map *m,
                            struct taken *taken, struct policy_subject *s)
{
    const struct yaml_node *identity = yaml_map_get(m, "psk-identity");
    const struct yaml_node *key_file = yaml_map_get(m, "key-file");
    const struct yaml_node *certificate = yaml_map_get(m, "certificate");
    s->psk_identity = read_optional(r, m, "psk-identity");
    claim_name(r, &taken->identity, identity, s->psk_identity, "psk-identity", IDENTITY_NAME_MAX);
    s->key_file = read_optional(r, m, "key-file");
    s->certificate = read_optional(r, m, "certificate");
    claim_name(r, &taken->certificate, certificate, s->certificate, "certificate", 255);
    if (!identity && !certificate)
        yaml_error(r->y, n, "a subject needs psk-identity and key-file, or certificate");
    else if (identity && certificate)
        yaml_error(r->y, certificate, "a subject has psk-identity or certificate, not both");
    else if (identity && !key_file)
        yaml_error(r->y, identity, "psk-identity needs a key-file");
    if (key_file && !identity)
        yaml_error(r->y, key_file, "key-file needs a psk-identity");
}

static void read_subject(struct reader *r, const struct yaml_node *n, struct taken *taken,
                         struct policy_subject *s)
{
    struct yaml_map m;
    struct holder_set roles;
    if (!yaml_map_open(r->y, n, &m))
        return;
    s->line = yaml_line(r->y, n);
    s->file = r->p->name;
    claim_name(r, &taken->fingerprint, yaml_map_get(&m, "fingerprint"), read_enrolment(r, &m, s),
               "this certificate", 2 * POLICY_FINGERPRINT);
    const struct yaml_node *name = yaml_map_need(&m, "name");
    if (yaml_text(r->y, name, &r->p->arena, &s->name))
        claim_name(r, &r->p->subject_names, name, s->name, "the name of a subject",
                   SUBJECT_NAME_MAX);
    read_credential(r, n, &m, taken, s);
    read_originators(r, &m, s);
    read_rate(r, yaml_map_get(&m, "rate"), "subject", s->name, &s->rate);
    s->rate.whole = true; /* its name is in the limit's */
    if (read_holders(r, yaml_map_need(&m, "roles"), ROLES_ONLY, &roles)) {
        const char **names = arena_array(&r->p->arena, roles.n, sizeof(*names));
        for (uint32_t i = 0; names && i < roles.n; i++)
            names[i] = r->holders[roles.ids[i]].name;
        s->roles = names;
        s->n_roles = names ? roles.n : 0;
    }
    yaml_map_close(&m);
}

/* Of the file that `postern enrol` writes; after those of the policy. */
static void read_enrolled(struct reader *r, struct enrolled_file *e, struct taken *taken,
                          struct policy_subject *subjects, const struct yaml_node **nodes)
{
    struct yaml *own = r->y;
    r->y = e->y;
    for (const struct yaml_node *n; (n = yaml_seq_next(&e->entries));) {
        if (enrolled_read_out(r, n))
            continue;
        struct policy_subject *s = &subjects[r->p->n_subjects];
        read_subject(r, n, taken, s);
        s->file = r->p->enrolled_name;
        s->managed = true;
        nodes[r->p->n_subjects++] = n;
    }
    r->y = own;
}

bool read_subjects(struct reader *r, const struct yaml_node *n, struct enrolled_file *e)
{
    struct yaml_seq s = {0};
    struct taken taken;
    if (n && !yaml_seq_open(r->y, n, &s))
        return true;
    struct arena *a = &r->p->arena;
    size_t all = s.left + e->entries.left;
    struct policy_subject *subjects = arena_array(a, all, sizeof *subjects);
    const struct yaml_node **nodes = arena_array(a, all, sizeof(*nodes));
    if (!subjects || !nodes || !names_init(&r->p->subject_names, a, all) ||
        !names_init(&taken.identity, a, all) || !names_init(&taken.certificate, a, all) ||
        !names_init(&taken.fingerprint, a, all))
        return false;
    r->p->subjects = subjects;
    for (const struct yaml_node *m; (m = yaml_seq_next(&s)); nodes[r->p->n_subjects++] = m)
        read_subject(r, m, &taken, &subjects[r->p->n_subjects]);
    if (e->y)
        read_enrolled(r, e, &taken, subjects, nodes);
    return index_originators(r, subjects, nodes, e->y);
}
