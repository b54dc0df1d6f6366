/* What a policy says as it is written: its parts, and who a name is. */
#include <stdlib.h>

#include "compiled.h"

struct policy *policy_ref(struct policy *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void policy_unref(struct policy *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct arena a = p->arena;
    arena_clear(&a);
    free(p);
}

const char *policy_hash(const struct policy *p)
{
    return p->hash;
}

const char *policy_name(const struct policy *p)
{
    return p->name;
}

enum policy_mode policy_mode(const struct policy *p)
{
    return p->mode;
}

const struct policy_authority *policy_authority(const struct policy *p, size_t i)
{
    return i < p->n_authorities ? &p->authorities[i] : NULL;
}

const struct policy_subject *policy_subject(const struct policy *p, size_t i)
{
    return i < p->n_subjects ? &p->subjects[i] : NULL;
}

const char *policy_enrolments(const struct policy *p)
{
    return p->enrolled_file;
}

const struct policy_ended *policy_ended(const struct policy *p, size_t i)
{
    return i < p->n_ended ? &p->ended[i] : NULL;
}

const struct policy_unassociated *policy_unassociated(const struct policy *p, size_t i)
{
    return i < p->n_unassociated ? &p->unassociated[i] : NULL;
}

static int owner_of(const struct names *names, const uint32_t *owners, struct bytes id)
{
    uint32_t i = names->n > 0 ? names_find(names, id) : NAMES_NONE;
    return i == NAMES_NONE ? -1 : (int)owners[i];
}

int policy_subject_find(const struct policy *p, struct bytes name)
{
    uint32_t i = p->subject_names.n > 0 ? names_find(&p->subject_names, name) : NAMES_NONE;
    return i == NAMES_NONE ? -1 : (int)i;
}

int policy_subject_of_originator(const struct policy *p, struct bytes id)
{
    return owner_of(&p->originators, p->originator_of, id);
}

int policy_subject_of_cse(const struct policy *p, struct bytes id)
{
    return owner_of(&p->cses, p->cse_of, id);
}

uint32_t holder_find(const struct policy *p, struct bytes name)
{
    uint32_t id = names_find(&p->names, name), i;
    if (id != NAMES_NONE || p->role_ids.n == 0)
        return id;
    i = names_find(&p->role_ids, name);
    return i == NAMES_NONE ? NAMES_NONE : p->role_of[i];
}

const char *policy_role_id(const struct policy *p, struct bytes role)
{
    uint32_t id = holder_find(p, role);
    if (id == NAMES_NONE || !p->holders[id].is_role)
        return NULL;
    const struct holder *h = &p->holders[id];
    return h->role_id ? h->role_id : strchr(h->name, '@') ? h->name : NULL;
}

int policy_authority_find(const struct policy *p, struct bytes name)
{
    for (size_t i = 0; i < p->n_authorities; i++)
        if (bytes_equal_str(name, p->authorities[i].name))
            return (int)i;
    return -1;
}

const struct policy_point *policy_point(const struct policy *p, size_t i)
{
    return i < p->n_points ? &p->points[i] : NULL;
}

int policy_point_find(const struct policy *p, struct bytes name)
{
    for (size_t i = 0; i < p->n_points; i++)
        if (bytes_equal_str(name, p->points[i].name))
            return (int)i;
    return -1;
}

void policy_consult(const struct policy *p, const struct bytes *seg, size_t n,
                    struct policy_consult *out)
{
    struct rules_walk walk;
    struct rules_place at;
    struct path path;
    *out = (struct policy_consult){.authority = p->dynamic};
    if (!p->consult)
        return;
    path_init(&path, seg, n);
    rules_walk_begin(&walk, p->consult, &path);
    while (rules_walk_next(&walk, &at))
        for (uint32_t i = 0; i < at.n; i++) {
            uint32_t of = rules_group(p->consult, &at, i)->holder;
            if (of < POLICY_POINTS_MAX)
                out->points |= UINT32_C(1) << of;
            else
                out->dynamic |= UINT32_C(1) << (of - POLICY_POINTS_MAX);
        }
    bool below = rules_any_below(p->consult, &path);
    for (size_t i = 0; i < p->n_points; i++) {
        bool denies = p->points[i].combine == POLICY_DENY_OVERRIDES;
        out->denies_below = out->denies_below || (denies && below);
        out->denies_here = out->denies_here || (denies && out->points >> i & 1);
    }
}

/* ---- all permits ---- */

struct each {
    const struct policy *p;
    void (*visit)(void *user, const struct policy_permit *permit);
    void *user;
};

static void visit_rule(void *user, const struct pattern *p, uint32_t holder, const struct rule *r)
{
    const struct each *e = user;
    const struct policy_permit permit = {.path = p->seg,
                                         .n_path = p->n,
                                         .rest = p->rest,
                                         .holder = e->p ? e->p->holders[holder].name : NULL,
                                         .actions = r->actions,
                                         .line = r->line};
    e->visit(e->user, &permit);
}

bool policy_each_permit(const struct policy *p,
                        void (*visit)(void *user, const struct policy_permit *permit), void *user)
{
    struct each e = {p, visit, user};
    return rules_each(p->permit, visit_rule, &e);
}

bool policy_each_forbid(const struct policy *p,
                        void (*visit)(void *user, const struct policy_permit *forbid), void *user)
{
    struct each e = {NULL, visit, user}; /* its holders are exceptions */
    return rules_each(p->forbid, visit_rule, &e);
}
