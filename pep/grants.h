/* The table of live grants: what a verified token gave, to whom, how long.
 *
 * A grant is keyed by the proof key that must stand behind it and by the
 * authority that vouches, so that one authority's newer token replaces its
 * older one and tokens of several authorities combine (RFC 9200 5.10.1,
 * ace-07 5.7.1). It is one block of memory; all its slices point into it.
 *
 * The table only holds and finds. It judges nothing, and the store is its
 * caller's. Bounded; nothing here is evicted for a stranger.
 */
#ifndef POSTERN_GRANTS_H
#define POSTERN_GRANTS_H

#include "crypto.h"
#include "../policy/siphash.h"
#include "m2m_permissions.h"
#include "pep.h"
#include "token_ids.h"

struct grants;

enum grants_limits {
    /* With one enrolment and one Access-Token option they fit one question
     * (POLICY_GRANTS_MAX). */
    GRANTS_PER_KEY_MAX = 8,     /* authorities that vouch for one proof key */
    GRANTS_PER_SESSION_MAX = 6, /* bearer tokens of one association */
    GRANTS_UNUSED_S = 86400,    /* never used so long: dropped (RFC 9202 7) */
};

/* A proof key: how a client shows that a grant is its own. */
struct grant_key {
    enum cnf_kind kind; /* CNF_SYMMETRIC, _EC, _X5T, _JKT, _HOLDER; CNF_NONE: bearer */
    uint8_t id[PEP_KEY_ID];
    uint8_t secret[TOKEN_KEY_MAX]; /* CNF_SYMMETRIC */
    size_t secret_n;
    uint8_t kid[TOKEN_KID_MAX];
    size_t kid_n; /* 0: it has no name */
};

/* Which numbers bear on it (fresh.h). */
enum grant_number { GRANT_UNNUMBERED = 0, GRANT_EXI = 1, GRANT_SEQUENCE = 2 };

struct grant {
    uint64_t id;
    int authority; /* index in the policy in force */
    struct grant_key key;
    bool by_reference; /* the token named its key by kid only */
    enum pep_via via;
    struct pep_session *bearer; /* counts on this association only, or NULL */
    uint8_t hash[TOKEN_HASH];
    bool has_nbf, has_iat;
    int64_t nbf_s, exp_s, iat_s; /* exp_s: by exp and exi, the earlier */
    bool clockless;              /* it ends by exi or a sequence number alone */
    enum grant_number numbered;
    uint64_t number; /* of its cti */
    int64_t taken_s;
    /* Introspection. A grant that is `asked` counts while the answer holds. */
    bool asked, reference; /* reference: all that it says is from the answer */
    bool dormant;          /* not asked yet since the start: it says nothing */
    int64_t fresh_from_s, fresh_until_s;
    bool used, used_kept;                          /* an association has held it; the store knows */
    bool dynamic;                                  /* an AIF entry speaks of created resources */
    bool whole;                                    /* audience: the gateway as a whole */
    uint64_t *devices;                             /* audience: bits by device index */
    struct policy_grant *compiled, *next_compiled; /* the latter during a reload */
    char subject[PEP_SUBJECT_MAX];
    struct bytes raw, iss, scope, sub, cti;
    struct token_ids ids; /* made when first needed */
    struct policy_aif *aif;
    size_t n_aif;
    /* Of a oneM2M token, whose holder is `sub`: it counts for his requests to
     * CSEs alone, by its permissions; `compiled` gives nothing. n 0: another. */
    struct bytes permissions_text;
    struct m2m_permissions *permissions; /* made when first needed */
    /* kept by grants.c */
    size_t size, slot;
    struct grant *key_next, *kid_next, *id_next;
};

MUST_USE struct grants *grants_new(size_t max, struct siphash_key seed);
void grants_free(struct grants *t);

size_t grants_count(const struct grants *t);
size_t grants_max(const struct grants *t);
struct grant *grants_at(const struct grants *t, size_t i); /* in no order */

/* How many are of CNF_HOLDER. */
size_t grants_of_holders(const struct grants *t);

/* Those of one proof key; bearer grants have none. */
struct grant *grants_of_key(const struct grants *t, const uint8_t key_id[PEP_KEY_ID]);
struct grant *grants_next_of_key(const struct grant *g);
struct grant *grants_of_kid(const struct grants *t, struct bytes kid);
struct grant *grants_next_of_kid(const struct grant *g);

/* Whether, of one proof key, either takes the other's place: an authority's
 * newer token does (RFC 9200 5.10.1). Its oneM2M tokens add up (TS-0003
 * 7.3.2.5), but for those of one ID. */
bool grant_replaces(const struct grant *a, const struct grant *b);

/* Not a bearer grant; NULL: none. */
struct grant *grants_by_id(const struct grants *t, uint64_t id);

/* A grant of these claims, not yet in the table; NULL: no memory. The caller
 * fills what is not a claim. */
MUST_USE struct grant *grant_new(const struct token *t, struct bytes raw, size_t n_devices);
void grant_free(struct grant *g); /* wipes; NULL is fine */

/* Owns g from now on. The caller has seen that there is room. */
void grants_take(struct grants *t, struct grant *g);
/* Takes it out and frees it. */
void grants_drop(struct grants *t, struct grant *g);

static inline bool grant_covers(const struct grant *g, int device)
{
    return g->whole ||
           (device >= 0 && g->devices && (g->devices[device / 64] >> (device % 64) & 1) != 0);
}

/* Times only; not whether its authority must be asked again. A clock that is
 * not set shows nothing, but how long ago something was; and not
 * even that when it stands behind that moment. */
static inline bool grant_is_live(const struct grant *g, int64_t now_s, int64_t build_s)
{
    return now_s >= (g->clockless ? g->taken_s : build_s) && now_s < g->exp_s &&
           (!g->has_nbf || now_s >= g->nbf_s);
}

/* By its own memory of the last answer. */
static inline bool grant_is_fresh(const struct grant *g, int64_t now_s)
{
    return !g->asked || (now_s >= g->fresh_from_s && now_s < g->fresh_until_s);
}

/* Names a proof key: SHA-256 over its kind and itself. */
MUST_USE bool grant_key_id_secret(struct bytes secret, uint8_t out[PEP_KEY_ID]);
MUST_USE bool grant_key_id_ec(int crv, struct bytes x, struct bytes y, uint8_t out[PEP_KEY_ID]);
/* Of a digest that stands for the key: CNF_X5T, CNF_JKT. The kind keeps what
 * one method names from being proved by another. */
MUST_USE bool grant_key_id_digest(enum cnf_kind kind, const uint8_t digest[CRYPTO_SHA256],
                                  uint8_t out[PEP_KEY_ID]);
/* Of a oneM2M holder, by the name that his token has for him. */
MUST_USE bool grant_key_id_holder(struct bytes holder, uint8_t out[PEP_KEY_ID]);

#endif
