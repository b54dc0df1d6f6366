/* One security association: what its handshake proved, and what it holds. */
#include <stdlib.h>

#include "crypto.h"
#include "inside.h"
#include "take.h"

static bool is_zero(const uint8_t id[PEP_KEY_ID])
{
    static const uint8_t none[PEP_KEY_ID];
    return memcmp(id, none, PEP_KEY_ID) == 0;
}

/* ---- the tail ---- */

static const uint8_t *key_at(const struct pep_session *s, size_t i)
{
    return s->tail + PEP_KEY_ID * (i + s->has_subject_id);
}

/* Room for the text, and for a pointer at the least. */
static const uint8_t *tail_name(const struct pep_session *s)
{
    return s->tail + PEP_KEY_ID * (size_t)(s->n_keys + s->has_subject_id);
}

bool session_proves(const struct pep_session *s, const uint8_t key_id[PEP_KEY_ID])
{
    bool any = false;
    for (size_t i = 0; i < s->n_keys; i++)
        any = any || memcmp(key_at(s, i), key_id, PEP_KEY_ID) == 0;
    return any && !is_zero(key_id);
}

const char *session_name(const struct pep_session *s)
{
    const char *own;
    if (!s->own_name)
        return (const char *)tail_name(s);
    memcpy(&own, tail_name(s), sizeof own);
    return own;
}

struct bytes session_named(const struct pep_session *s)
{
    return bytes_of(tail_name(s) + s->name_room, s->named_n);
}

const uint8_t *session_owner(const struct pep_session *s)
{
    static const uint8_t nobody[PEP_KEY_ID];
    if (session_subject(s))
        return s->tail;
    return s->n_keys > 0 ? key_at(s, s->owner) : nobody;
}

/* ---- life ---- */

/* Of `ids` the first is the subject's credential; zero ones are left out. */
struct pep_session *session_new(struct pep *p, const uint8_t ids[1 + SESSION_IDS][PEP_KEY_ID],
                                const char *name, struct bytes named)
{
    size_t name_n = strnlen(name, PEP_SUBJECT_MAX - 1), n = 0;
    size_t room = name_n < sizeof(char *) ? sizeof(char *) : name_n + 1; /* tail_name() */
    for (size_t i = 0; i <= SESSION_IDS; i++)
        n += !is_zero(ids[i]);
    struct pep_session *s = named.n >= PEP_NAMED_MAX
                                ? NULL
                                : slab_take(&p->small, offsetof(struct pep_session, tail) +
                                                           n * PEP_KEY_ID + room + named.n);
    if (!s)
        return NULL;
    s->pep = p;
    s->name_room = (uint8_t)room;
    s->named_n = (uint8_t)named.n;
    s->has_subject_id = !is_zero(ids[0]);
    uint8_t *at = s->tail;
    for (size_t i = 0; i <= SESSION_IDS; i++) {
        if (is_zero(ids[i]))
            continue;
        memcpy(at, ids[i], PEP_KEY_ID);
        at += PEP_KEY_ID;
        s->n_keys = (uint8_t)(s->n_keys + (i > 0));
    }
    memcpy(at, name, name_n);
    if (named.n)
        memcpy(at + room, named.p, named.n);
    s->changes = p->changes - 1;
    s->loads = (uint32_t)p->loads - 1;
    p->stats.sessions++;
    return s;
}

struct pep_session *pep_session_open(struct pep *p, const struct pep_proof *proof)
{
    uint8_t ids[1 + SESSION_IDS][PEP_KEY_ID] = {{0}};
    memcpy(ids[0], proof->subject_id, PEP_KEY_ID);
    memcpy(ids[1], proof->key_id, PEP_KEY_ID);
    if ((!is_zero(proof->cert_id) && !grant_key_id_digest(CNF_X5T, proof->cert_id, ids[2])) ||
        (!is_zero(proof->jkt) && !grant_key_id_digest(CNF_JKT, proof->jkt, ids[3])))
        return NULL;
    struct pep_session *s = session_new(p, ids, proof->name, bytes_str(proof->named));
    if (!s)
        return NULL;
    s->strength = (uint8_t)proof->strength;
    s->trusted = proof->trusted;
    session_refresh(s); /* what it holds counts as used from now on */
    return s;
}

static void forget_name(struct pep_session *s)
{
    if (s->own_name)
        free((char *)(uintptr_t)session_name(s));
}

void pep_session_rest(struct pep_session *s)
{
    if (!s)
        return;
    free(s->held);
    s->held = NULL;
    s->changes = s->pep->changes - 1;
}

void pep_session_close(struct pep_session *s)
{
    if (!s)
        return;
    while (s->n_bearer)
        take_end(s->pep, s->bearer[0]);
    s->pep->stats.sessions--;
    pep_session_rest(s);
    forget_name(s);
    free(s->bearer);
    size_t n = offsetof(struct pep_session, tail) + s->name_room + s->named_n +
               PEP_KEY_ID * (size_t)(s->n_keys + s->has_subject_id);
    struct slab *small = &s->pep->small;
    crypto_wipe(s, n);
    slab_give(small, s, n);
}

const char *pep_session_subject(const struct pep_session *s)
{
    const char *name = s ? session_name(s) : "";
    return name[0] ? name : "unknown";
}

const char *pep_session_originator(struct pep_session *s)
{
    if (!s)
        return NULL;
    session_refresh(s);
    return session_subject(s) ? session_subject(s)->said->originator : NULL;
}

bool session_may_bear(struct pep_session *s)
{
    if (!s->bearer)
        s->bearer = calloc(GRANTS_PER_SESSION_MAX, sizeof(struct grant *));
    return s->bearer != NULL;
}

void session_forget_bearer(struct pep_session *s, const struct grant *g)
{
    for (uint8_t i = 0; i < s->n_bearer; i++) {
        if (s->bearer[i] == g) {
            s->bearer[i] = s->bearer[--s->n_bearer];
            return;
        }
    }
}

static void hold(struct pep_session *s, struct grant *g)
{
    struct session_held *h = s->held;
    if (h->n == sizeof h->of / sizeof *h->of)
        return;
    h->of[h->n++] = g;
    g->used = true;
    s->wants_created |= g->dynamic;
    s->wants_query |= g->n_aif > 0;
    int64_t exp_s = g->exp_s < 1 ? 1 : g->exp_s > UINT32_MAX ? UINT32_MAX : g->exp_s;
    if (exp_s > s->last_exp_s)
        s->last_exp_s = (uint32_t)exp_s;
}

/* False: no memory. It holds nothing then, until it is asked again. */
static bool find_held(struct pep_session *s)
{
    struct pep *p = s->pep;
    bool any = s->n_bearer > 0;
    for (size_t i = 0; i < s->n_keys; i++)
        any = any || grants_of_key(p->grants, key_at(s, i));
    if (!any) {
        free(s->held);
        s->held = NULL;
        return true;
    }
    if (!s->held && !(s->held = malloc(sizeof *s->held)))
        return false;
    s->held->n = 0;
    for (uint8_t i = 0; i < s->n_keys; i++) {
        struct grant *g = grants_of_key(p->grants, key_at(s, i));
        if (g && s->held->n == 0)
            s->owner = i;
        for (; g; g = grants_next_of_key(g))
            hold(s, g);
    }
    for (uint8_t i = 0; i < s->n_bearer; i++)
        hold(s, s->bearer[i]);
    return true;
}

static void rename_as(struct pep_session *s, const char *name)
{
    if (strcmp(session_name(s), name) == 0)
        return;
    char *own = strdup(name);
    if (!own)
        return; /* for the record only: the older name will do */
    forget_name(s);
    memcpy(s->tail + (tail_name(s) - s->tail), (void *)&own, sizeof own);
    s->own_name = true;
}

void session_refresh(struct pep_session *s)
{
    struct pep *p = s->pep;
    if (s->changes == p->changes)
        return;
    if (s->loads != (uint32_t)p->loads) {
        s->enrolled = s->has_subject_id
                          ? subjects_at(p->subjects, subjects_by_id(p->subjects, s->tail))
                          : NULL;
        if (s->enrolled)
            rename_as(s, s->enrolled->said->name);
        s->unenrolled = false;
        size_t looked_at = s->strength == POLICY_STRENGTH_CERTIFICATE ? s->n_keys : 0;
        for (size_t i = 0; i < looked_at; i++)
            s->unenrolled = s->unenrolled || subjects_unenrolled_key(p->subjects, key_at(s, i));
        s->loads = (uint32_t)p->loads;
    }
    s->revoked = s->enrolled &&
                 (s->enrolled->over || s->unenrolled ||
                  revocations_match_enrolled(p->revocations, bytes_str(s->enrolled->said->name)));
    s->wants_created = s->wants_query = false;
    s->owner = 0;
    s->changes = find_held(s) ? p->changes : p->changes - 1;
}

int64_t pep_session_ends(struct pep_session *s, int64_t now_s)
{
    pep_look(s->pep, now_s);
    session_refresh(s);
    if (s->unenrolled)
        return now_s;
    if (session_subject(s))
        return session_subject(s)->said->expires_s; /* then it is asked again */
    /* Who came as a subject that is no more must come again as nobody. */
    if (s->trusted && !s->has_subject_id)
        return INT64_MAX;
    /* RFC 9202 5: the association ends after its last token. */
    int64_t ends = now_s;
    for (size_t i = 0; s->held && i < s->held->n; i++) {
        const struct grant *g = s->held->of[i];
        if (grant_is_live(g, now_s, s->pep->config.build_s) && g->exp_s > ends)
            ends = g->exp_s;
    }
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
