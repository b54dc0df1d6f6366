/* The keys of all authorities: an immutable snapshot, made with a policy and
 * swapped with it. It knows whose key is whose and which dialect they speak,
 * not what they may grant.
 *
 * An authority's file (key_file.h) may hold, besides the keys that protect
 * tokens, one key-derivation key for tokens that name a proof key only by its
 * kid (RFC 9202 3.3.1): a symmetric COSE_Key whose alg is -10
 * (direct+HKDF-SHA-256).
 *
 * Private halves are dropped at loading: nothing here can sign. What stays is
 * the private half of a key that is for opening what was sealed for us, and
 * for nothing else (`use` enc, or key_ops or alg to that effect).
 *
 * Keys of an authority of the dialects oauth and onem2m serve JWTs only, those
 * of others CWTs only.
 */
#ifndef POSTERN_KEYS_H
#define POSTERN_KEYS_H

#include "key_file.h"

enum keys_limits {
    /* Keys of one kid, or without any, that fit one algorithm. Together
     * they bound what a stranger's token costs; more are refused at load. */
    KEYS_SAME_MAX = 4,
    KEYS_TRIES_MAX = 2 * KEYS_SAME_MAX,
    /* Length of a derived proof key. Nothing in a token tells it (L of RFC
     * 9202 3.3.1 is the two parties' to know); 16 is what the profile's
     * mandatory suite uses its strength of, AES-128. */
    KEYS_DERIVED_LEN = 16,
};

struct keys;

/* NULL on failure, and `diag` names the file and what to do. `dir` is where
 * relative names start (the policy file's directory). */
MUST_USE struct keys *keys_load(const struct policy *p, const char *dir, struct buf *diag);
/* The same with an authority's JWK Set from its JWKS URL, in place of the one
 * fetched before; keys from its file stay. Keys in it that are not for us, and
 * secrets, are passed over. NULL: none is usable, or too many fit one token;
 * then what is in force had better stay. `name` is how `diag` calls it. */
MUST_USE struct keys *keys_with_set(const struct keys *old, int authority, struct bytes jwks,
                                    const char *name, struct buf *diag);
/* Another thread may hold a reference beyond the next load. */
MUST_USE struct keys *keys_ref(struct keys *k);
void keys_free(struct keys *k); /* one reference; NULL is fine */

enum policy_dialect keys_dialect(const struct keys *k, int authority);
size_t keys_count(const struct keys *k);

/* The keys to try, in order: those of this kid, then those without one. For
 * a token without kid: those without one, then the others. */
struct keys_found {
    const struct key *key[KEYS_TRIES_MAX];
    size_t n;
    /* Some key has this kid, whether it fits or not; or fits, but its
     * authority does not protect tokens so. */
    bool kid_known;
};
/* authority -1: of all. Cost: one pass over the keys, no secret is compared. */
void keys_find(const struct keys *k, int authority, const struct crypto_alg *alg, struct bytes kid,
               struct keys_found *out);

/* Whether the authority may protect tokens of this class by this algorithm of
 * its family (`classes` and `algorithms` of the policy; classes are oneM2M's,
 * of others all are the same). keys_find() has looked at the one it was given,
 * for any class; a JWE names two, a nested token three. */
bool keys_allow(const struct keys *k, int authority, enum policy_class class,
                const struct crypto_alg *alg);

/* Whether two snapshots have the same keys, dialect and algorithms for an authority: then
 * what one verified, the other would. The order of the keys counts. */
bool keys_same(const struct keys *a, int authority_a, const struct keys *b, int authority_b);

/* NULL: the authority has none. */
const struct key *keys_derivation(const struct keys *k, int authority);

#endif
