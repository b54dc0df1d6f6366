/* One security association: what its handshake proved, and what it holds. */
#include <stdio.h>
#include <stdlib.h>

#include "crypto.h"
#include "inside.h"
#include "take.h"

static bool is_zero(const uint8_t id[PEP_KEY_ID])
{
    static const uint8_t none[PEP_KEY_ID];
    return memcmp(id, none, PEP_KEY_ID) == 0;
}

bool session_proves(const struct pep_session *s, const uint8_t key_id[PEP_KEY_ID])
{
    bool any = false;
    for (size_t i = 0; i < SESSION_IDS; i++)
        any = any || memcmp(s->key_id[i], key_id, PEP_KEY_ID) == 0;
    return any && !is_zero(key_id);
}

const uint8_t *session_owner(const struct pep_session *s)
{
    return s->subject ? s->subject_id : s->key_id[s->owner];
}

struct pep_session *pep_session_open(struct pep *p, const struct pep_proof *proof)
{
    struct pep_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->pep = p;
    s->strength = proof->strength;
    s->trusted = proof->trusted;
    memcpy(s->subject_id, proof->subject_id, sizeof s->subject_id);
    memcpy(s->key_id[0], proof->key_id, PEP_KEY_ID);
    if ((!is_zero(proof->cert_id) && !grant_key_id_digest(CNF_X5T, proof->cert_id, s->key_id[1])) ||
        (!is_zero(proof->jkt) && !grant_key_id_digest(CNF_JKT, proof->jkt, s->key_id[2]))) {
        free(s);
        return NULL;
    }
    memcpy(s->name, proof->name, sizeof s->name);
    s->name[sizeof s->name - 1] = 0;
    s->last_exp_s = INT64_MIN;
    s->changes = p->changes - 1;
    s->loads = p->loads - 1;
    p->stats.sessions++;
    session_refresh(s); /* what it holds counts as used from now on */
    return s;
}

void pep_session_close(struct pep_session *s)
{
    if (!s)
        return;
    while (s->n_bearer)
        take_end(s->pep, s->bearer[0]);
    s->pep->stats.sessions--;
    crypto_wipe(s, sizeof *s);
    free(s);
}

const char *pep_session_subject(const struct pep_session *s)
{
    return s && s->name[0] ? s->name : "unknown";
}

const char *pep_session_originator(struct pep_session *s)
{
    if (!s)
        return NULL;
    session_refresh(s);
    return s->subject ? s->subject->said->originator : NULL;
}

void session_forget_bearer(struct pep_session *s, const struct grant *g)
{
    for (size_t i = 0; i < s->n_bearer; i++) {
        if (s->bearer[i] == g) {
            s->bearer[i] = s->bearer[--s->n_bearer];
            return;
        }
    }
}

static void hold(struct pep_session *s, struct grant *g)
{
    if (s->n_held == sizeof s->held / sizeof *s->held)
        return;
    s->held[s->n_held++] = g;
    g->used = true;
    s->wants_created |= g->dynamic;
    s->wants_query |= g->n_aif > 0;
    if (g->exp_s > s->last_exp_s)
        s->last_exp_s = g->exp_s;
}

void session_refresh(struct pep_session *s)
{
    struct pep *p = s->pep;
    if (s->changes == p->changes)
        return;
    if (s->loads != p->loads) {
        s->enrolled = subjects_at(p->subjects, subjects_by_id(p->subjects, s->subject_id));
        if (s->enrolled)
            (void)snprintf(s->name, sizeof s->name, "%s", s->enrolled->said->name);
        s->loads = p->loads;
    }
    bool revoked = s->enrolled &&
                   revocations_match_enrolled(p->revocations, bytes_str(s->enrolled->said->name));
    s->subject = revoked ? NULL : s->enrolled;
    s->n_held = 0;
    s->wants_created = s->wants_query = false;
    s->owner = 0;
    for (size_t i = 0; i < SESSION_IDS; i++) {
        struct grant *g = is_zero(s->key_id[i]) ? NULL : grants_of_key(p->grants, s->key_id[i]);
        if (g && s->n_held == 0)
            s->owner = i;
        for (; g; g = grants_next_of_key(g))
            hold(s, g);
    }
    for (size_t i = 0; i < s->n_bearer; i++)
        hold(s, s->bearer[i]);
    s->changes = p->changes;
}

int64_t pep_session_ends(struct pep_session *s, int64_t now_s)
{
    session_refresh(s);
    if (s->subject || (s->trusted && !s->enrolled))
        return INT64_MAX;
    /* RFC 9202 5: the association ends after its last token. */
    int64_t ends = now_s;
    for (size_t i = 0; i < s->n_held; i++)
        if (grant_is_live(s->held[i], now_s, s->pep->config.build_s) && s->held[i]->exp_s > ends)
            ends = s->held[i]->exp_s;
    return ends;
}

void pep_note_created(struct pep *p, struct pep_session *s, const struct bytes *path, size_t n_path)
{
    if (!s)
        return;
    session_refresh(s);
    created_add(p->created, session_owner(s), path, n_path);
    if (p->config.colleagues)
        created_tell(p->created, session_owner(s), p->config.colleagues);
}
