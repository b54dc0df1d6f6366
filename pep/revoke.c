#include "revoke.h"

#include "inside.h"
#include "judge.h"
#include "learn.h"
#include "take.h"

/* A token issued by a clock that runs ahead of ours would count as newer than
 * the revocation; that of a held one is at hand, and believed so far. */
enum { AHEAD_MAX_S = 300 };

static struct bytes authority_name(const struct pep *p, int authority)
{
    const struct policy_authority *a =
        authority < 0 ? NULL : policy_authority(p->policy, (size_t)authority);
    return bytes_str(a ? a->name : NULL);
}

uint64_t revoke_authority_id(const struct pep *p, int authority)
{
    /* Names are the operator's: nothing to seed against. */
    return siphash(&(struct siphash_key){0, 0}, authority_name(p, authority));
}

static bool has_authority(const struct pep *p, uint64_t id)
{
    for (int i = 0; policy_authority(p->policy, (size_t)i); i++)
        if (revoke_authority_id(p, i) == id)
            return true;
    return false;
}

/* False: no memory to hash with. */
static bool need_ids(const struct pep *p, struct bytes raw, struct token_ids *ids)
{
    return ids->n > 0 || !revocations_look_at(p->revocations, REVOKED_HASH) ||
           token_ids_of(raw, ids);
}

/* Whether this authority is one whose revocations come in a list: so the
 * policy says, or one was taken. */
static bool has_list(const struct pep *p, int authority)
{
    const struct policy_authority *a = policy_authority(p->policy, (size_t)authority);
    return a && (a->wire.revocation_list.url ||
                 revocations_has_list(p->revocations, bytes_str(a->name)));
}

/* ---- tokens that come ---- */

static struct bytes cnf_kid(const struct cnf *k)
{
    return k->kind == CNF_NONE ? BYTES_NONE : k->kid;
}

static void ask_of_token(const struct pep *p, const struct cached *c, char shown[PEP_SUBJECT_MAX],
                         struct revocation_ask *out)
{
    const struct claims *t = &c->token.claims;
    *out = (struct revocation_ask){.authority = authority_name(p, c->token.authority),
                                   .ids = &c->ids,
                                   .cti = t->cti,
                                   .kid = cnf_kid(&t->cnf),
                                   .sub = t->sub,
                                   .has_iat = t->has_iat,
                                   .has_exp = t->has_exp,
                                   .iat_s = t->iat_s,
                                   .exp_s = t->exp_s,
                                   .taken_s = INT64_MAX};
    if (!revocations_look_at(p->revocations, REVOKED_SUBJECT))
        return;
    struct grant_key key = {.kind = t->cnf.kind};
    if (c->has_key_id)
        memcpy(key.id, c->key_id, sizeof key.id);
    if (out->kid.n <= sizeof key.kid && out->kid.n > 0) {
        memcpy(key.kid, out->kid.p, out->kid.n);
        key.kid_n = out->kid.n;
    }
    take_name(policy_authority(p->policy, (size_t)c->token.authority), t->sub, &key, shown);
    out->shown = bytes_str(shown);
}

enum pep_err revoke_judge(struct pep *p, struct cached *c)
{
    struct revocation_ask ask;
    char shown[PEP_SUBJECT_MAX];
    struct bytes raw = bytes_of(c->raw, c->raw_n);
    if (!need_ids(p, raw, &c->ids))
        return PEP_FULL;
    ask_of_token(p, c, shown, &ask);
    if (revocations_match(p->revocations, &ask))
        return PEP_REVOKED;
    if (!has_list(p, c->token.authority))
        return PEP_OK;
    if (!token_form_is_strict(raw))
        return PEP_FORM;
    return revocations_list_overflowed(p->revocations, ask.authority) ? PEP_LIST : PEP_OK;
}

/* ---- grants that are held ---- */

static void ask_of_grant(const struct pep *p, const struct grant *g, struct revocation_ask *out)
{
    *out = (struct revocation_ask){.authority = authority_name(p, g->authority),
                                   .ids = &g->ids,
                                   .cti = g->cti,
                                   .kid = bytes_of(g->key.kid, g->key.kid_n),
                                   .sub = g->sub,
                                   .shown = bytes_str(g->subject),
                                   .has_iat = g->has_iat,
                                   .has_exp = true,
                                   .iat_s = g->iat_s,
                                   .exp_s = g->exp_s,
                                   .taken_s = g->taken_s};
}

/* What cannot be asked about is ended: its client may bring it again. */
static bool is_revoked(struct pep *p, struct grant *g, int64_t now_s)
{
    struct revocation_ask ask;
    (void)now_s;
    ask_of_grant(p, g, &ask);
    return !need_ids(p, g->raw, &g->ids) || revocations_match(p->revocations, &ask) != NULL;
}

static size_t end_revoked(struct pep *p, int64_t now_s)
{
    size_t ended = 0, n;
    do {
        n = pep_end_some(p, is_revoked, now_s, STORE_OPS_MAX);
        ended += n;
    } while (n == STORE_OPS_MAX);
    p->stats.revoked += ended;
    p->revokes++;
    p->changes++; /* enrolled subjects are looked at again */
    return ended;
}

bool pep_basis_holds(struct pep *p, struct pep_session *s, const struct pep_basis *b, int64_t now_s)
{
    struct learned l;
    struct judged j;
    if (b->kind == PEP_ON_NOTHING)
        return true;
    if (!s)
        return false;
    pep_look(p, now_s);
    session_refresh(s);
    switch (b->kind) {
    case PEP_ON_ENROLMENT:
        return session_subject(s) != NULL;
    case PEP_ON_GRANT:
        for (size_t i = 0; s->held && i < s->held->n; i++)
            if (s->held->of[i]->id == b->grant)
                return true;
        /* oneM2M: not its key's, but its originator's; which that is, each
         * request and notification is asked anew. */
        const struct grant *g = grants_by_id(p->grants, b->grant);
        return g && g->key.kind == CNF_HOLDER;
    case PEP_ON_TOKEN:
        if (b->revoked == p->revokes)
            return has_authority(p, b->authority);
        return learn_find(p, b->token, now_s, &l) &&
               judge_token(p, l.said, l.answer && l.answer->reference, now_s, &j) == PEP_OK;
    case PEP_ON_DECISION:
        return b->grant == p->loads && b->revoked == p->revokes;
    case PEP_ON_NOTHING:
    default:
        return true;
    }
}

/* ---- revoking ---- */

/* The name under which a token is revoked here: what is protected of it,
 * which nobody can change. A token of which that is not known has its hash. */
static bool name_of_token(struct bytes raw, uint8_t out[TOKEN_ID])
{
    struct token_ids ids;
    if (!token_ids_of(raw, &ids))
        return false;
    size_t best = ids.id[ids.n - 1][0] == TOKEN_ID_CORE ? ids.n - 1 : 0;
    memcpy(out, ids.id[best], TOKEN_ID);
    return true;
}

/* A hash of a token that is held: its better name is known. */
static bool name_of_held(struct pep *p, struct bytes hash, uint8_t out[TOKEN_ID])
{
    for (size_t i = 0; i < grants_count(p->grants); i++) {
        struct grant *g = grants_at(p->grants, i);
        if (g->ids.n == 0 && !token_ids_of(g->raw, &g->ids))
            continue;
        for (size_t k = 0; k < g->ids.n; k++)
            if (bytes_equal(token_id(&g->ids, k), hash))
                return name_of_token(g->raw, out);
    }
    return false;
}

/* The latest iat among what it ends. */
static int64_t latest_iat(struct pep *p, const struct revocation *r)
{
    int64_t latest = r->since_s;
    for (size_t i = 0; i < grants_count(p->grants); i++) {
        const struct grant *g = grants_at(p->grants, i);
        struct bytes name = authority_name(p, g->authority);
        bool of = r->authority.n == 0 || bytes_equal(r->authority, name);
        bool same =
            r->kind == REVOKED_AUTHORITY ||
            (r->kind == REVOKED_KID && bytes_equal(r->value, bytes_of(g->key.kid, g->key.kid_n))) ||
            (r->kind == REVOKED_SUBJECT &&
             (bytes_equal(r->value, g->sub) || bytes_equal_str(r->value, g->subject)));
        if (of && same && g->has_iat && g->iat_s > latest && g->iat_s - r->since_s <= AHEAD_MAX_S)
            latest = g->iat_s;
    }
    return latest;
}

static enum revocation_err name_it(struct pep *p, const struct pep_revoking *r,
                                   struct pep_revoked *out)
{
    if (r->token.n > 0) {
        out->value_n = TOKEN_ID;
        return name_of_token(r->token, out->value) ? REVOCATION_OK : REVOCATION_BAD;
    }
    if (r->value.n > sizeof out->value)
        return REVOCATION_BAD;
    out->value_n = r->value.n;
    if (r->value.n > 0)
        memcpy(out->value, r->value.p, r->value.n);
    if (r->kind == REVOKED_HASH && !r->named)
        (void)name_of_held(p, r->value, out->value);
    return REVOCATION_OK;
}

enum revocation_err pep_revoke(struct pep *p, const struct pep_revoking *r, int64_t now_s,
                               struct pep_revoked *out)
{
    *out = (struct pep_revoked){0};
    enum revocation_err err = name_it(p, r, out);
    if (err != REVOCATION_OK)
        return err;
    bool clock = now_s >= p->config.build_s;
    struct revocation mine = {.kind = r->token.n > 0 ? REVOKED_HASH : r->kind,
                              .value = bytes_of(out->value, out->value_n),
                              .authority = r->authority,
                              .made_s = now_s,
                              /* No clock shows what was issued later. */
                              .since_s = clock ? now_s : REVOKED_FOR_GOOD,
                              .until_s = r->until_s};
    if (mine.kind == REVOKED_HASH || mine.kind == REVOKED_ID)
        mine.until_s = REVOKED_FOR_GOOD;
    else if (clock)
        mine.since_s = latest_iat(p, &mine);
    struct cached *c;
    bool hit;
    /* Its end is known when it can be read here. */
    if (r->token.n > 0 && p->policy &&
        cache_verify(p->cache, p->keys, r->token, &c, &hit) == PEP_OK && c->token.claims.has_exp) {
        mine.seen = true;
        mine.until_s = c->token.claims.exp_s;
    }
    err = revocations_add(p->revocations, &mine);
    if (err != REVOCATION_OK)
        return err;
    /* On disk before the grants go from there: whatever happens between,
     * the next start judges them by it. */
    out->kept = revocations_flush(p->revocations, p->config.store);
    if (!out->kept && p->config.store)
        p->stats.store_errors++;
    out->until_s = mine.until_s;
    out->ended = end_revoked(p, now_s);
    return REVOCATION_OK;
}

enum revocation_err pep_unrevoke(struct pep *p, const struct pep_revoking *r,
                                 struct pep_revoked *out)
{
    *out = (struct pep_revoked){0};
    enum revocation_err err = name_it(p, r, out);
    enum revocation_kind kind = r->token.n > 0 ? REVOKED_HASH : r->kind;
    if (err == REVOCATION_OK)
        err = revocations_remove(p->revocations, kind, bytes_of(out->value, out->value_n),
                                 r->authority);
    if (err != REVOCATION_OK)
        return err;
    out->kept = revocations_flush(p->revocations, p->config.store);
    if (!out->kept && p->config.store)
        p->stats.store_errors++;
    p->changes++;
    return REVOCATION_OK;
}

/* ---- lists ---- */

/* What did not fit in the table still ends what is held. */
static size_t end_by_hash(struct pep *p, struct bytes authority, struct bytes hash)
{
    for (size_t i = 0; i < grants_count(p->grants); i++) {
        struct grant *g = grants_at(p->grants, i);
        if (!bytes_equal(authority_name(p, g->authority), authority) ||
            (g->ids.n == 0 && !token_ids_of(g->raw, &g->ids)))
            continue;
        for (size_t k = 0; k < g->ids.n; k++) {
            if (bytes_equal(token_id(&g->ids, k), hash)) {
                take_end(p, g); /* its record is judged at the next start */
                return 1;
            }
        }
    }
    return 0;
}

static bool put(struct pep *p, struct bytes authority, struct bytes hash, int64_t now_s,
                struct pep_listed *out)
{
    if (hash.p[0] != TOKEN_ID_SHA256)
        return true; /* another algorithm's: told by trl.h, and no token of ours has it */
    bool is_new;
    if (revocations_list_put(p->revocations, authority, hash, now_s, &is_new) == REVOCATION_OK) {
        out->added += is_new;
        return true;
    }
    out->added++;
    out->ended += end_by_hash(p, authority, hash);
    return false;
}

bool pep_take_list(struct pep *p, const char *authority, const struct trl_answer *a, int64_t now_s,
                   struct pep_listed *out)
{
    struct bytes name = bytes_str(authority), hash;
    bool fits = true;
    *out = (struct pep_listed){0};
    if (a->full) {
        revocations_list_begin(p->revocations, name);
        for (struct trl_hashes h = trl_full_set(a); trl_next_hash(&h, &hash);)
            fits = put(p, name, hash, now_s, out) && fits;
        /* What could not be put must not let go of what is there. */
        if (fits)
            revocations_list_end(p->revocations, name);
    } else {
        /* Newest first in the answer: the last word on a hash is the first
         * that stands there, so they are taken from the end (7). */
        for (size_t i = a->n_diff; i-- > 0;) {
            struct trl_hashes removed, added;
            trl_diff(a, i, &removed, &added);
            for (; trl_next_hash(&removed, &hash); out->removed++)
                revocations_list_drop(p->revocations, name, hash);
            while (trl_next_hash(&added, &hash))
                fits = put(p, name, hash, now_s, out) && fits;
        }
    }
    out->kept = revocations_flush(p->revocations, p->config.store);
    if (!out->kept && p->config.store)
        p->stats.store_errors++;
    if (out->added > 0)
        out->ended += end_revoked(p, now_s);
    return fits;
}

const struct revocations *pep_revocations(const struct pep *p)
{
    return p->revocations;
}

size_t pep_grants_of(const struct pep *p, int authority)
{
    size_t n = 0;
    for (size_t i = 0; i < grants_count(p->grants); i++)
        n += grants_at(p->grants, i)->authority == authority;
    return n;
}
