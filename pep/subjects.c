#include "subjects.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto.h"
#include "grants.h"
#include "key_file.h"

struct subjects {
    uint8_t (*out)[2][PEP_KEY_ID]; /* certificates: fingerprint, and as a proof key */
    size_t n_out;
    struct policy_grant **unassociated;
    size_t n_unassociated;
    size_t n;
    struct subject list[];
};

enum { ROLES_MAX = 64 }; /* of one subject */

static const uint8_t zero[PEP_KEY_ID];

static void complain(struct buf *diag, const struct policy *p, const struct policy_subject *s,
                     const char *why)
{
    char line[16];
    (void)p;
    (void)snprintf(line, sizeof line, ":%u", s->line);
    buf_put_str(diag, s->file);
    buf_put_str(diag, line);
    buf_put_str(diag, ": error: subject '");
    buf_put_str(diag, s->name);
    buf_put_str(diag, "': ");
    buf_put_str(diag, why);
    buf_put_u8(diag, '\n');
}

/* A digest of the kind of credential and its parts, lengths before them. */
static bool credential_id(uint8_t kind, struct bytes name, struct bytes key,
                          uint8_t out[PEP_KEY_ID])
{
    uint8_t text[4096];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, kind);
    buf_put_be(&b, name.n, 4);
    buf_put(&b, name);
    buf_put(&b, key);
    bool ok = !b.full && crypto_sha256(buf_bytes(&b), out);
    crypto_wipe(text, sizeof text);
    return ok;
}

/* Roles past ROLES_MAX grant nothing. */
static struct policy_grant *compile_roles(struct policy *p, const char *const *names, size_t n)
{
    struct bytes roles[ROLES_MAX];
    struct policy_claims claims = {.authority = -1, .roles = roles};
    struct policy_grant_report report;
    for (; claims.n_roles < n && claims.n_roles < ROLES_MAX; claims.n_roles++)
        roles[claims.n_roles] = bytes_str(names[claims.n_roles]);
    return policy_grant_new(p, &claims, &report);
}

static bool enroll(struct policy *p, const char *dir, struct subject *s, struct buf *diag)
{
    const struct policy_subject *said = s->said;
    if (said->psk_identity) {
        if (!said->key_file || !key_file_read_psk(dir, said->key_file, s->key, &s->key_n, diag)) {
            complain(diag, p, said, "its key file cannot be used");
            return false;
        }
        struct bytes key = bytes_of(s->key, s->key_n);
        if (!credential_id('p', bytes_str(said->psk_identity), key, s->psk_id) ||
            !grant_key_id_secret(key, s->key_id)) {
            complain(diag, p, said, "the psk-identity is too long");
            return false;
        }
    }
    struct bytes pin = bytes_of(said->fingerprint, said->pinned ? sizeof said->fingerprint : 0);
    if (said->certificate && !credential_id('c', bytes_str(said->certificate), pin, s->cert_id)) {
        complain(diag, p, said, "the name of the certificate is too long");
        return false;
    }
    if (said->n_roles > ROLES_MAX) {
        complain(diag, p, said, "has more than 64 roles");
        return false;
    }
    s->compiled = compile_roles(p, said->roles, said->n_roles);
    if (!s->compiled)
        complain(diag, p, said, "out of memory");
    return s->compiled != NULL;
}

static bool load_unassociated(struct subjects *t, struct policy *p)
{
    const struct policy_unassociated *u;
    size_t n = 0;
    while (policy_unassociated(p, n))
        n++;
    t->unassociated = calloc(n + 1, sizeof(struct policy_grant *));
    for (size_t i = 0; t->unassociated && (u = policy_unassociated(p, i)); i++) {
        struct policy_grant *g = compile_roles(p, u->roles, u->n_roles);
        if (!g)
            return false;
        t->unassociated[t->n_unassociated++] = g;
    }
    return t->unassociated != NULL;
}

static bool list_out(struct subjects *t, const struct policy *p)
{
    const struct policy_ended *e;
    size_t n = 0;
    while (policy_ended(p, n))
        n++;
    t->out = calloc(n + 1, sizeof *t->out);
    for (; t->out && (e = policy_ended(p, t->n_out)); t->n_out++) {
        uint8_t(*o)[PEP_KEY_ID] = t->out[t->n_out];
        memcpy(o[0], e->fingerprint, PEP_KEY_ID);
        if (!grant_key_id_digest(CNF_X5T, e->fingerprint, o[1]))
            return false;
    }
    return t->out != NULL;
}

struct subjects *subjects_load(struct policy *p, const char *dir, struct buf *diag)
{
    size_t n = 0;
    while (policy_subject(p, n))
        n++;
    struct subjects *t = calloc(1, sizeof *t + n * sizeof *t->list);
    if (!t)
        return NULL;
    if (!list_out(t, p) || !load_unassociated(t, p)) {
        subjects_free(t);
        return NULL;
    }
    for (; t->n < n; t->n++) {
        struct subject *s = &t->list[t->n];
        s->said = policy_subject(p, t->n);
        if (!enroll(p, dir, s, diag)) {
            t->n++; /* it may hold a key */
            subjects_free(t);
            return NULL;
        }
    }
    return t;
}

void subjects_free(struct subjects *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++)
        policy_grant_free(t->list[i].compiled);
    for (size_t i = 0; i < t->n_unassociated; i++)
        policy_grant_free(t->unassociated[i]);
    free(t->unassociated);
    free(t->out);
    crypto_wipe(t, sizeof *t + t->n * sizeof *t->list);
    free(t);
}

const struct policy_grant *subjects_unassociated(const struct subjects *t, int i)
{
    return t && i >= 0 && (size_t)i < t->n_unassociated ? t->unassociated[i] : NULL;
}

const struct subject *subjects_at(const struct subjects *t, int i)
{
    return t && i >= 0 && (size_t)i < t->n ? &t->list[i] : NULL;
}

/* The whole list is walked whoever it was, so that the time of a refusal
 * does not tell which names are enrolled or where they stand. */
int subjects_by_identity(const struct subjects *t, struct bytes identity)
{
    int found = -1;
    for (size_t i = t->n; i-- > 0;) {
        const char *name = t->list[i].said->psk_identity;
        if (name && crypto_equal(bytes_str(name), identity))
            found = (int)i;
    }
    return found;
}

int subjects_by_certificate(const struct subjects *t, struct bytes name)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->list[i].said->certificate && bytes_equal_str(name, t->list[i].said->certificate))
            return (int)i;
    return -1;
}

int subjects_by_id(const struct subjects *t, const uint8_t id[PEP_KEY_ID])
{
    if (memcmp(id, zero, PEP_KEY_ID) == 0)
        return -1;
    for (size_t i = 0; i < t->n; i++)
        if (memcmp(t->list[i].psk_id, id, PEP_KEY_ID) == 0 ||
            memcmp(t->list[i].cert_id, id, PEP_KEY_ID) == 0)
            return (int)i;
    return -1;
}

int subjects_by_fingerprint(const struct subjects *t, const uint8_t fingerprint[PEP_KEY_ID])
{
    for (size_t i = 0; i < t->n; i++)
        if (t->list[i].said->pinned &&
            memcmp(t->list[i].said->fingerprint, fingerprint, PEP_KEY_ID) == 0)
            return (int)i;
    return -1;
}

static bool is_out(const struct subjects *t, int as, const uint8_t id[PEP_KEY_ID])
{
    for (size_t i = 0; i < t->n_out; i++)
        if (memcmp(t->out[i][as], id, PEP_KEY_ID) == 0)
            return true;
    return false;
}

bool subjects_unenrolled(const struct subjects *t, const uint8_t fingerprint[PEP_KEY_ID])
{
    return is_out(t, 0, fingerprint);
}

bool subjects_unenrolled_key(const struct subjects *t, const uint8_t key_id[PEP_KEY_ID])
{
    return is_out(t, 1, key_id);
}

bool subjects_look(struct subjects *t, int64_t now_s, int64_t build_s, int64_t *next_s)
{
    bool changed = false, set = now_s >= build_s;
    *next_s = INT64_MAX;
    for (size_t i = 0; i < t->n; i++) {
        struct subject *s = &t->list[i];
        int64_t end_s = s->said->expires_s;
        bool over = end_s != INT64_MAX && (!set || end_s <= now_s);
        changed = changed || over != s->over;
        s->over = over;
        if (end_s != INT64_MAX && !set)
            *next_s = build_s;
        else if (end_s > now_s && end_s < *next_s)
            *next_s = end_s;
    }
    return changed;
}
