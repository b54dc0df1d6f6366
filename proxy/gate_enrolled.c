/* Who may come without a token: told when a policy lets somebody in or out,
 * and before an enrolment ends. */
#include "gate_internal.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "enrolled.h"

/* A subject of the policy that goes: copied, since its names go with it. */
struct known {
    char name[PEP_SUBJECT_MAX];
    uint8_t credential[CRYPTO_SHA256]; /* with its end */
};

struct gate_known {
    size_t n;
    struct known of[]; /* by name */
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct known *)a)->name, ((const struct known *)b)->name);
}

static void put_text(struct buf *b, const char *text)
{
    buf_put_be(b, text ? strlen(text) + 1 : 0, 4);
    buf_put_str(b, text ? text : "");
}

static bool note(const struct policy_subject *s, struct known *out)
{
    uint8_t text[12288]; /* three names and paths of the file */
    struct buf b = buf_on(text, sizeof text);
    strncpy(out->name, s->name, sizeof out->name - 1);
    put_text(&b, s->psk_identity);
    put_text(&b, s->key_file);
    put_text(&b, s->certificate);
    buf_put(&b, bytes_of(s->fingerprint, s->pinned ? sizeof s->fingerprint : 0));
    buf_put_be(&b, (uint64_t)s->expires_s, 8);
    return !b.full && crypto_sha256(buf_bytes(&b), out->credential);
}

struct gate_known *gate_known_subjects(const struct policy *p)
{
    const struct policy_subject *s;
    size_t n = 0;
    while (p && policy_subject(p, n))
        n++;
    struct gate_known *all = calloc(1, sizeof *all + n * sizeof *all->of);
    for (bool ok = true; ok && all && p && (s = policy_subject(p, all->n)); all->n += ok)
        ok = note(s, &all->of[all->n]);
    if (all && all->n > 1)
        qsort(all->of, all->n, sizeof *all->of, by_name);
    return all;
}

static void tell(struct gate *g, const char *event, const char *name)
{
    struct audit_event e = {.event = event,
                            .by = "reload",
                            .kind = "subject",
                            .value = bytes_str(name),
                            .is_text = true};
    gate_record_event(g, &e);
    log_event(LOG_LEVEL_INFO, event, "subject", name, NULL);
}

void gate_tell_subjects(struct gate *g, const struct gate_known *before)
{
    struct gate_known *now = gate_known_subjects(pep_policy(g->pep));
    size_t i = 0, k = 0;
    while (now && (i < before->n || k < now->n)) {
        const struct known *a = &before->of[i], *b = &now->of[k];
        int order = i == before->n ? 1 : k == now->n ? -1 : strcmp(a->name, b->name);
        if (order < 0)
            tell(g, "subject-removed", a->name);
        else if (order > 0)
            tell(g, "subject-added", b->name);
        else if (memcmp(a->credential, b->credential, sizeof a->credential) != 0)
            tell(g, "subject-changed", b->name);
        i += order <= 0;
        k += order >= 0;
    }
    free(now);
    g->enrolled_ms = 0;
}

/* At the start, after each reload, once a day; by the first worker. */
void gate_tell_enrolments(struct gate *g)
{
    if (instant_ms(g->now) < g->enrolled_ms)
        return;
    g->enrolled_ms = instant_ms(g->now) + ENROLMENT_TELL_MS;
    if (g->worker == 0 && pep_policy(g->pep))
        enrolled_log(pep_policy(g->pep), g->now.wall_s);
}
