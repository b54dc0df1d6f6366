#include "cache.h"

#include <stdlib.h>

#include "crypto.h"
#include "grants.h"

enum { BUCKETS = 256 };

struct cache {
    struct siphash_key seed;
    struct cached *chains[BUCKETS];
    struct cached *newest, *oldest;
    struct cached *spare; /* verified into; its bytes mean nothing */
    size_t n;
};

struct cache *cache_new(struct siphash_key seed)
{
    struct cache *c = calloc(1, sizeof *c);
    if (c)
        c->seed = seed;
    return c;
}

static void entry_wipe(struct cached *e)
{
    policy_grant_free(e->compiled);
    m2m_permissions_free(e->permissions);
    token_clear(&e->token);
    crypto_wipe(e, sizeof *e);
}

static void unlink_age(struct cache *c, struct cached *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_newest(struct cache *c, struct cached *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void remove_entry(struct cache *c, struct cached *e)
{
    struct cached **at = &c->chains[e->hash % BUCKETS];
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    unlink_age(c, e);
    c->n--;
    entry_wipe(e);
}

void cache_clear(struct cache *c)
{
    while (c->oldest) {
        struct cached *e = c->oldest;
        remove_entry(c, e);
        free(e);
    }
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    cache_clear(c);
    free(c->spare);
    free(c);
}

bool cached_name_key(struct cached *e)
{
    const struct cnf *k = &e->token.claims.cnf;
    switch (k->kind) {
    case CNF_SYMMETRIC:
    case CNF_DERIVED:
        e->has_key_id = true;
        return grant_key_id_secret(bytes_of(k->key, k->key_n), e->key_id);
    case CNF_EC:
        e->has_key_id = true;
        return grant_key_id_ec(k->crv, k->x, k->y, e->key_id);
    case CNF_X5T:
    case CNF_JKT:
        e->has_key_id = true;
        return grant_key_id_digest(k->kind, k->key, e->key_id);
    case CNF_KID:
    case CNF_HOLDER: /* no token says so */
    case CNF_NONE:
        break;
    }
    return true;
}

const struct cached *cache_find(const struct cache *c, const uint8_t hash[TOKEN_HASH])
{
    const struct cached *e = c->newest;
    while (e && memcmp(e->token.hash, hash, TOKEN_HASH) != 0)
        e = e->older;
    return e;
}

struct cached *cache_get(struct cache *c, struct bytes raw)
{
    uint64_t hash = siphash(&c->seed, raw);
    for (struct cached *e = c->chains[hash % BUCKETS]; e; e = e->chain) {
        if (e->hash == hash && bytes_equal(bytes_of(e->raw, e->raw_n), raw)) {
            unlink_age(c, e);
            link_newest(c, e);
            return e;
        }
    }
    return NULL;
}

/* Cleared field by field where it counts: the storage is large. */
static void entry_begin(struct cached *e, struct bytes raw)
{
    e->has_key_id = false;
    e->compiled = NULL;
    e->permissions = NULL;
    e->ids.n = 0;
    e->raw_n = raw.n;
    memcpy(e->raw, raw.p, raw.n);
}

static void insert(struct cache *c, struct cached *e)
{
    if (c->n == CACHE_ENTRIES) {
        struct cached *victim = c->oldest;
        remove_entry(c, victim);
        free(c->spare);
        c->spare = victim;
    }
    e->hash = siphash(&c->seed, bytes_of(e->raw, e->raw_n));
    e->chain = c->chains[e->hash % BUCKETS];
    c->chains[e->hash % BUCKETS] = e;
    link_newest(c, e);
    c->n++;
}

struct cached *cached_new(struct bytes raw)
{
    struct cached *e = raw.n <= TOKEN_MAX ? calloc(1, sizeof *e) : NULL;
    if (e)
        entry_begin(e, raw);
    return e;
}

void cached_free(struct cached *e)
{
    if (!e)
        return;
    entry_wipe(e);
    free(e);
}

enum pep_err cached_verify(struct cached *e, const struct keys *keys)
{
    enum pep_err err = token_verify(keys, bytes_of(e->raw, e->raw_n), &e->token);
    return err == PEP_OK && !cached_name_key(e) ? PEP_CONFIRMATION : err;
}

void cache_adopt(struct cache *c, struct cached *e)
{
    if (cache_get(c, bytes_of(e->raw, e->raw_n)))
        cached_free(e);
    else
        insert(c, e);
}

enum pep_err cache_verify(struct cache *c, const struct keys *keys, struct bytes raw,
                          struct cached **out, bool *hit)
{
    *hit = false;
    if (raw.n == 0)
        return PEP_MALFORMED;
    if (raw.n > TOKEN_MAX)
        return PEP_TOO_LARGE;
    struct cached *e = cache_get(c, raw);
    *hit = e != NULL;
    if (e) {
        *out = e;
        return PEP_OK;
    }
    e = c->spare ? c->spare : malloc(sizeof *e);
    c->spare = NULL;
    if (!e)
        return PEP_FULL;
    entry_begin(e, raw);
    enum pep_err err = cached_verify(e, keys);
    if (err != PEP_OK) {
        crypto_wipe(e, sizeof *e);
        c->spare = e;
        return err;
    }
    insert(c, e);
    *out = e;
    return PEP_OK;
}
