/* Tokens that were verified, so that presenting one again costs no
 * cryptography. An entry holds what the token says, never a verdict: times,
 * audience and policy are judged each time. What is compiled of it belongs
 * to one policy, and the cache is emptied when that one goes.
 *
 * Entries are found by a seeded hash and then by all of the token's bytes.
 * Bounded; the one that was not asked for longest gives way. Only verified
 * tokens enter, so a stranger's garbage evicts nobody.
 */
#ifndef POSTERN_CACHE_H
#define POSTERN_CACHE_H

#include "../policy/siphash.h"
#include "m2m_permissions.h"
#include "pep.h"
#include "token_ids.h"

struct cache;

enum { CACHE_ENTRIES = 128 }; /* about 6 KB each, made as needed */

struct cached {
    struct token token; /* its slices point into this entry */
    bool has_key_id;    /* the token shows its proof key */
    uint8_t key_id[PEP_KEY_ID];
    struct token_ids ids; /* made when first needed */
    /* For the Access-Token option; made when first needed. */
    struct policy_grant *compiled;
    struct policy_grant_report report;
    struct m2m_permissions *permissions; /* of a oneM2M token; likewise */
    /* kept by cache.c */
    uint64_t hash;
    size_t raw_n;
    struct cached *chain, *newer, *older;
    uint8_t raw[TOKEN_MAX];
};

MUST_USE struct cache *cache_new(struct siphash_key seed);
void cache_free(struct cache *c);
void cache_clear(struct cache *c);

/* The verified token of these bytes, by memory or by keys. Borrowed until
 * the next call. *hit tells which it was. On an error *out is unchanged. */
MUST_USE enum pep_err cache_verify(struct cache *c, const struct keys *keys, struct bytes raw,
                                   struct cached **out, bool *hit);

/* By memory alone, or NULL. */
struct cached *cache_get(struct cache *c, struct bytes raw);

/* ---- in parts, when another thread verifies ---- */

/* An entry of its own, of at most TOKEN_MAX bytes. NULL: no memory. */
MUST_USE struct cached *cached_new(struct bytes raw);
void cached_free(struct cached *e); /* wipes; NULL is fine */
/* May run in any thread. */
MUST_USE enum pep_err cached_verify(struct cached *e, const struct keys *keys);
/* A verified entry is the cache's from now on. */
void cache_adopt(struct cache *c, struct cached *e);

/* By the hash of its bytes; NULL when it is not, or no more, remembered. */
const struct cached *cache_find(const struct cache *c, const uint8_t hash[TOKEN_HASH]);

/* Fills key_id from the claims. False: no memory. */
MUST_USE bool cached_name_key(struct cached *c);

#endif
