/* What changes rights for everyone at once: a policy, the operator's word, an
 * authority's list. Each step has its record. */
#include "gate_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- policies ---- */

/* An authority of the policy that goes. Names are copied: they go with it. */
struct before {
    char name[REVOCATION_NAME_MAX + 1];
    size_t grants;
};

static size_t count_authorities(const struct policy *p)
{
    size_t n = 0;
    while (p && policy_authority(p, n))
        n++;
    return n;
}

static struct before *look_before(const struct gate *g, size_t n)
{
    struct before *all = calloc(n + 1, sizeof *all);
    for (size_t i = 0; all && i < n; i++) {
        struct bytes name = bytes_str(policy_authority(pep_policy(g->pep), i)->name);
        memcpy(all[i].name, name.p, name.n < REVOCATION_NAME_MAX ? name.n : REVOCATION_NAME_MAX);
        all[i].grants = pep_grants_of(g->pep, (int)i);
    }
    return all;
}

static void tell(struct gate *g, const char *event, const char *name, size_t ended)
{
    struct audit_event e = {
        .event = event, .by = "reload", .authority = bytes_str(name), .ended = ended};
    gate_record_event(g, &e);
    log_event(LOG_LEVEL_INFO, event, "authority", name, "ended", LOG_U(ended), NULL);
}

/* First what went, then what came: so it is read. */
static void tell_changes(struct gate *g, const struct before *all, size_t n)
{
    const struct policy *now = pep_policy(g->pep);
    for (size_t i = 0; i < n; i++) {
        int k = policy_authority_find(now, bytes_str(all[i].name));
        size_t left = k < 0 ? 0 : pep_grants_of(g->pep, k);
        if (k < 0)
            tell(g, "authority-removed", all[i].name, all[i].grants);
        else if (left < all[i].grants)
            tell(g, "authority-changed", all[i].name, all[i].grants - left);
    }
    for (size_t k = 0; policy_authority(now, k); k++) {
        const char *name = policy_authority(now, k)->name;
        bool known = false;
        for (size_t i = 0; i < n; i++)
            known = known || strcmp(all[i].name, name) == 0;
        if (!known)
            tell(g, "authority-added", name, 0);
    }
}

/* ---- the others ---- */

void gate_shut(struct gate *g, const char *why)
{
    char number[16];
    (void)snprintf(number, sizeof number, "%u", g->worker);
    g->shut = true;
    gate_doubt_all(g);
    log_event(LOG_LEVEL_ERROR, "worker-shut", "worker", number, "reason", why, "until",
              "a reload succeeds", NULL);
}

bool gate_is_shut(const struct gate *g)
{
    return g->shut;
}

static void at_others(struct gate *g, void (*visit)(void *what, struct gate *other), void *what)
{
    if (g->others)
        g->others(g->others_user, visit, what);
}

struct loading {
    struct policy *policy;
    bool changed;
    struct instant now;
    struct buf *diag;
};

/* What waits in a queue was judged by the policy before this one. */
static void put_in_force(struct gate *g)
{
    g->policies++;
    gate_turn_away_waiting(g);
}

/* The same files were just read, and well: what fails now is memory, or a
 * hand that changes them meanwhile. */
static void load_at(void *what, struct gate *g)
{
    struct loading *l = what;
    g->now = l->now;
    g->shut = false;
    if (pep_load(g->pep, l->policy, g->config->policy_dir, l->now.wall_s, l->diag)) {
        if (l->changed)
            put_in_force(g);
        gate_reloaded(g, l->now);
        return;
    }
    g->policies += l->changed;
    gate_shut(g, "the policy could not be loaded there");
}

bool gate_load(struct gate *g, struct policy *policy, struct instant now, struct buf *diag)
{
    size_t n = count_authorities(pep_policy(g->pep));
    struct before *all = look_before(g, n);
    struct gate_known *known = gate_known_subjects(pep_policy(g->pep));
    if (!all || !known) {
        buf_put_str(diag, "out of memory\n");
        free(all);
        free(known);
        return false;
    }
    g->now = now;
    const struct policy *old = pep_policy(g->pep);
    bool changed = old && strcmp(policy_hash(old), policy_hash(policy)) != 0;
    bool ok = pep_load(g->pep, policy, g->config->policy_dir, now.wall_s, diag);
    if (ok) {
        struct loading l = {policy, changed, now, diag};
        if (changed)
            put_in_force(g);
        tell_changes(g, all, n);
        gate_tell_subjects(g, known);
        gate_reloaded(g, now);
        at_others(g, load_at, &l);
    }
    free(all);
    free(known);
    return ok;
}

struct keys_taking {
    int authority;
    struct bytes set;
    struct instant now;
};

static void take_keys_at(void *what, struct gate *g)
{
    const struct keys_taking *k = what;
    char text[512];
    struct buf diag = buf_on(text, sizeof text);
    g->now = k->now;
    if (pep_take_keys(g->pep, k->authority, k->set, k->now.wall_s, &diag))
        gate_reloaded(g, k->now);
    else
        gate_shut(g, "published keys could not be taken there");
}

bool gate_take_keys(struct gate *g, int authority, struct bytes set, struct instant now,
                    struct buf *diag)
{
    struct keys_taking k = {authority, set, now};
    g->now = now;
    if (!pep_take_keys(g->pep, authority, set, now.wall_s, diag))
        return false;
    gate_reloaded(g, now); /* what rested on a key that is gone has ended */
    at_others(g, take_keys_at, &k);
    return true;
}

/* ---- revocations ---- */

struct revoking {
    struct pep_revoking what;
    bool undo;
    struct instant now;
};

static void revoke_at(void *what, struct gate *g)
{
    const struct revoking *r = what;
    struct pep_revoked done;
    g->now = r->now;
    /* Undone here and never made there is no failure. */
    if (r->undo)
        (void)!pep_unrevoke(g->pep, &r->what, &done);
    else if (pep_revoke(g->pep, &r->what, r->now.wall_s, &done) != REVOCATION_OK)
        gate_shut(g, "a revocation could not be held there");
    gate_reloaded(g, r->now);
}

enum revocation_err gate_revoke(struct gate *g, const struct pep_revoking *r, bool undo,
                                struct instant now, struct pep_revoked *out)
{
    g->now = now;
    enum revocation_err err =
        undo ? pep_unrevoke(g->pep, r, out) : pep_revoke(g->pep, r, now.wall_s, out);
    if (err != REVOCATION_OK)
        return err;
    enum revocation_kind kind = r->token.n > 0 ? REVOKED_HASH : r->kind;
    struct audit_event e = {.event = undo ? "revocation-undone" : "revoked",
                            .by = "operator",
                            .kind = revocation_kind_str(kind),
                            .value = bytes_of(out->value, out->value_n),
                            .is_text = kind == REVOKED_SUBJECT,
                            .authority = r->authority,
                            .ended = out->ended,
                            .not_kept = !out->kept};
    gate_record_event(g, &e);
    log_event(LOG_LEVEL_INFO, e.event, "kind", e.kind, "ended", LOG_U(out->ended), "kept",
              out->kept ? "yes" : "no", NULL);
    gate_reloaded(g, now);
    /* By the name that it has here, so that it can be undone by that. */
    struct revoking same = {*r, undo, now};
    same.what.kind = kind;
    same.what.token = BYTES_NONE;
    same.what.value = bytes_of(out->value, out->value_n);
    same.what.named = true;
    at_others(g, revoke_at, &same);
    return REVOCATION_OK;
}

struct list_taking {
    const char *authority;
    const struct trl_answer *answer;
    struct instant now;
};

/* What does not fit is refused there as here (pep_take_list). */
static void take_list_at(void *what, struct gate *g)
{
    const struct list_taking *t = what;
    struct pep_listed listed;
    g->now = t->now;
    (void)!pep_take_list(g->pep, t->authority, t->answer, t->now.wall_s, &listed);
    if (listed.added > 0 || listed.ended > 0)
        gate_reloaded(g, t->now);
}

bool gate_take_list(struct gate *g, const char *authority, const struct trl_answer *a,
                    struct instant now)
{
    struct pep_listed listed;
    g->now = now;
    bool fits = pep_take_list(g->pep, authority, a, now.wall_s, &listed);
    struct list_taking same = {authority, a, now};
    at_others(g, take_list_at, &same);
    if (listed.added > 0 || listed.ended > 0) {
        struct audit_event e = {.event = "revoked",
                                .by = "list",
                                .authority = bytes_str(authority),
                                .ended = listed.ended,
                                .not_kept = !listed.kept};
        gate_record_event(g, &e);
        log_event(LOG_LEVEL_INFO, "list-revoked", "authority", authority, "hashes",
                  LOG_U(listed.added), "ended", LOG_U(listed.ended), NULL);
        gate_reloaded(g, now);
    }
    if (!fits)
        log_event(LOG_LEVEL_ERROR, "list-too-long", "authority", authority, "tokens",
                  "are refused until it fits", NULL);
    if (!listed.kept && g->config->state)
        log_event(LOG_LEVEL_ERROR, "revocations-not-kept", "authority", authority, NULL);
    return fits;
}
