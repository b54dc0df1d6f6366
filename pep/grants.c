#include "grants.h"

#include <stdlib.h>

#include "crypto.h"

struct grants {
    struct grant **slots; /* the first `n` are taken */
    size_t n, max, n_holders;
    struct grant **by_key, **by_kid, **by_id; /* chains */
    size_t mask;
    struct siphash_key seed;
};

struct grants *grants_new(size_t max, struct siphash_key seed)
{
    struct grants *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    size_t buckets = 16;
    while (buckets < max && buckets <= SIZE_MAX / 4 / sizeof(void *))
        buckets *= 2;
    t->max = max;
    t->mask = buckets - 1;
    t->seed = seed;
    t->slots = calloc(max ? max : 1, sizeof *t->slots);
    t->by_key = calloc(buckets, sizeof *t->by_key);
    t->by_kid = calloc(buckets, sizeof *t->by_kid);
    t->by_id = calloc(buckets, sizeof *t->by_id);
    if (!t->slots || !t->by_key || !t->by_kid || !t->by_id) {
        grants_free(t);
        return NULL;
    }
    return t;
}

void grants_free(struct grants *t)
{
    if (!t)
        return;
    for (size_t i = 0; t->slots && i < t->n; i++)
        grant_free(t->slots[i]);
    free(t->slots);
    free(t->by_key);
    free(t->by_kid);
    free(t->by_id);
    free(t);
}

size_t grants_count(const struct grants *t)
{
    return t->n;
}

size_t grants_max(const struct grants *t)
{
    return t->max;
}

size_t grants_of_holders(const struct grants *t)
{
    return t->n_holders;
}

struct grant *grants_at(const struct grants *t, size_t i)
{
    return t->slots[i];
}

static struct bytes kid_of(const struct grant *g)
{
    return bytes_of(g->key.kid, g->key.kid_n);
}

static struct grant **key_bucket(const struct grants *t, const uint8_t id[PEP_KEY_ID])
{
    return &t->by_key[siphash(&t->seed, bytes_of(id, PEP_KEY_ID)) & t->mask];
}

static struct grant **kid_bucket(const struct grants *t, struct bytes kid)
{
    return &t->by_kid[siphash(&t->seed, kid) & t->mask];
}

static struct grant *scan_key(struct grant *g, const uint8_t id[PEP_KEY_ID])
{
    while (g && memcmp(g->key.id, id, PEP_KEY_ID) != 0)
        g = g->key_next;
    return g;
}

static struct grant *scan_kid(struct grant *g, struct bytes kid)
{
    while (g && !bytes_equal(kid_of(g), kid))
        g = g->kid_next;
    return g;
}

struct grant *grants_by_id(const struct grants *t, uint64_t id)
{
    struct grant *g = t->by_id[id & t->mask];
    while (g && g->id != id)
        g = g->id_next;
    return g;
}

struct grant *grants_of_key(const struct grants *t, const uint8_t key_id[PEP_KEY_ID])
{
    return scan_key(*key_bucket(t, key_id), key_id);
}

struct grant *grants_next_of_key(const struct grant *g)
{
    return scan_key(g->key_next, g->key.id);
}

struct grant *grants_of_kid(const struct grants *t, struct bytes kid)
{
    return kid.n ? scan_kid(*kid_bucket(t, kid), kid) : NULL;
}

struct grant *grants_next_of_kid(const struct grant *g)
{
    return scan_kid(g->kid_next, kid_of(g));
}

static struct bytes copy_to(uint8_t **at, struct bytes s)
{
    struct bytes out = {*at, s.n};
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return out;
}

struct grant *grant_new(const struct token *t, struct bytes raw, size_t n_devices)
{
    const struct claims *c = &t->claims;
    size_t words = (n_devices + 63) / 64;
    size_t size = sizeof(struct grant) + c->n_aif * sizeof *c->aif + words * sizeof(uint64_t) +
                  raw.n + c->iss.n + c->scope_words.n + c->sub.n + c->cti.n + c->permissions.n;
    for (size_t i = 0; i < c->n_aif; i++)
        size += c->aif[i].path.n;
    struct grant *g = calloc(1, size);
    if (!g)
        return NULL;
    g->size = size;
    g->authority = t->authority;
    memcpy(g->hash, t->hash, sizeof g->hash);
    g->has_nbf = c->has_nbf;
    g->has_iat = c->has_iat;
    g->nbf_s = c->nbf_s;
    g->exp_s = c->exp_s;
    g->iat_s = c->iat_s;
    /* widest alignment first */
    g->aif = (struct policy_aif *)(g + 1);
    g->n_aif = c->n_aif;
    g->devices = (uint64_t *)(g->aif + c->n_aif);
    uint8_t *at = (uint8_t *)(g->devices + words);
    g->raw = copy_to(&at, raw);
    g->iss = copy_to(&at, c->iss);
    g->scope = copy_to(&at, c->scope_words);
    g->sub = copy_to(&at, c->sub);
    g->cti = copy_to(&at, c->cti);
    g->permissions_text = copy_to(&at, c->permissions);
    for (size_t i = 0; i < c->n_aif; i++) {
        g->aif[i].path = copy_to(&at, c->aif[i].path);
        g->aif[i].mask = c->aif[i].mask;
        if (c->aif[i].mask >> 32)
            g->dynamic = true;
    }
    return g;
}

void grant_free(struct grant *g)
{
    if (!g)
        return;
    policy_grant_free(g->compiled);
    policy_grant_free(g->next_compiled);
    m2m_permissions_free(g->permissions);
    crypto_wipe(g, g->size);
    free(g);
}

bool grant_replaces(const struct grant *a, const struct grant *b)
{
    bool add_up = a->permissions_text.n > 0 && b->permissions_text.n > 0;
    return a->authority == b->authority && (!add_up || bytes_equal(a->cti, b->cti));
}

void grants_take(struct grants *t, struct grant *g)
{
    g->slot = t->n;
    t->slots[t->n++] = g;
    if (g->key.kind == CNF_NONE)
        return;
    t->n_holders += g->key.kind == CNF_HOLDER;
    struct grant **bucket = key_bucket(t, g->key.id);
    g->key_next = *bucket;
    *bucket = g;
    bucket = &t->by_id[g->id & t->mask];
    g->id_next = *bucket;
    *bucket = g;
    if (g->key.kid_n) {
        bucket = kid_bucket(t, kid_of(g));
        g->kid_next = *bucket;
        *bucket = g;
    }
}

void grants_drop(struct grants *t, struct grant *g)
{
    if (g->key.kind != CNF_NONE) {
        struct grant **at = key_bucket(t, g->key.id);
        while (*at != g)
            at = &(*at)->key_next;
        *at = g->key_next;
        at = &t->by_id[g->id & t->mask];
        while (*at != g)
            at = &(*at)->id_next;
        *at = g->id_next;
        if (g->key.kid_n) {
            at = kid_bucket(t, kid_of(g));
            while (*at != g)
                at = &(*at)->kid_next;
            *at = g->kid_next;
        }
    }
    t->n_holders -= g->key.kind == CNF_HOLDER;
    struct grant *last = t->slots[--t->n];
    t->slots[g->slot] = last;
    last->slot = g->slot;
    grant_free(g);
}

bool grant_key_id_secret(struct bytes secret, uint8_t out[PEP_KEY_ID])
{
    uint8_t text[1 + TOKEN_KEY_MAX];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, CNF_SYMMETRIC);
    buf_put(&b, secret);
    bool ok = secret.n > 0 && !b.full && crypto_sha256(buf_bytes(&b), out);
    crypto_wipe(text, sizeof text);
    return ok;
}

bool grant_key_id_ec(int crv, struct bytes x, struct bytes y, uint8_t out[PEP_KEY_ID])
{
    uint8_t text[2 + 2 * CRYPTO_COORD_MAX];
    struct buf b = buf_on(text, sizeof text);
    size_t n = crypto_curve_n(crv);
    buf_put_u8(&b, CNF_EC);
    buf_put_u8(&b, (uint8_t)crv);
    buf_put(&b, x);
    buf_put(&b, y);
    return n > 0 && x.n == n && y.n == n && !b.full && crypto_sha256(buf_bytes(&b), out);
}

bool grant_key_id_digest(enum cnf_kind kind, const uint8_t digest[CRYPTO_SHA256],
                         uint8_t out[PEP_KEY_ID])
{
    uint8_t text[1 + CRYPTO_SHA256];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, (uint8_t)kind);
    buf_put(&b, bytes_of(digest, CRYPTO_SHA256));
    return crypto_sha256(buf_bytes(&b), out);
}

bool grant_key_id_holder(struct bytes holder, uint8_t out[PEP_KEY_ID])
{
    uint8_t text[1 + M2M_ID_MAX];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, CNF_HOLDER);
    buf_put(&b, holder);
    return holder.n > 0 && !b.full && crypto_sha256(buf_bytes(&b), out);
}
