#include "created.h"

#include <stdlib.h>

#include "../policy/cursor.h"
#include "crypto.h"

enum { DIGEST = 16, VERSION = 1 };

struct owner {
    uint8_t id[PEP_KEY_ID];
    uint8_t paths[CREATED_PATHS_MAX][DIGEST];
    size_t n, next; /* `next` is overwritten next */
    bool dirty;
    struct owner *chain, *newer, *older;
};

struct created {
    struct owner **chains;
    size_t mask, n, max;
    struct siphash_key seed;
    struct owner *newest, *oldest;
    struct owner *gone; /* to be deleted from the store, by `older` */
};

struct created *created_new(size_t max_owners, struct siphash_key seed)
{
    struct created *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    size_t buckets = 16;
    while (buckets < max_owners && buckets <= SIZE_MAX / 4 / sizeof(void *))
        buckets *= 2;
    t->chains = calloc(buckets, sizeof *t->chains);
    if (!t->chains) {
        free(t);
        return NULL;
    }
    t->mask = buckets - 1;
    t->max = max_owners;
    t->seed = seed;
    return t;
}

void created_free(struct created *t)
{
    if (!t)
        return;
    for (struct owner *lists[] = {t->newest, t->gone}, **l = lists; l < lists + 2; l++) {
        while (*l) {
            struct owner *o = *l;
            *l = o->older;
            free(o);
        }
    }
    free(t->chains);
    free(t);
}

/* Lengths stand before segments, so no two paths look alike. */
static bool digest(const struct bytes *path, size_t n_path, uint8_t out[DIGEST])
{
    uint8_t text[POLICY_PATH_SEGMENTS_MAX * (2 + 255)], full[CRYPTO_SHA256];
    struct buf b = buf_on(text, sizeof text);
    for (size_t i = 0; i < n_path; i++) {
        buf_put_be(&b, path[i].n, 2);
        buf_put(&b, path[i]);
    }
    if (b.full || !crypto_sha256(buf_bytes(&b), full))
        return false;
    memcpy(out, full, DIGEST);
    return true;
}

static struct owner **chain_of(const struct created *t, const uint8_t id[PEP_KEY_ID])
{
    return &t->chains[siphash(&t->seed, bytes_of(id, PEP_KEY_ID)) & t->mask];
}

static struct owner *find(const struct created *t, const uint8_t id[PEP_KEY_ID])
{
    struct owner *o = *chain_of(t, id);
    while (o && memcmp(o->id, id, PEP_KEY_ID) != 0)
        o = o->chain;
    return o;
}

static void unlink_age(struct created *t, struct owner *o)
{
    *(o->newer ? &o->newer->older : &t->newest) = o->older;
    *(o->older ? &o->older->newer : &t->oldest) = o->newer;
}

static void link_newest(struct created *t, struct owner *o)
{
    o->newer = NULL;
    o->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = o;
    t->newest = o;
}

/* From the tables to the list of those that the store must forget. */
static void let_go(struct created *t, struct owner *o)
{
    struct owner **at = chain_of(t, o->id);
    while (*at != o)
        at = &(*at)->chain;
    *at = o->chain;
    unlink_age(t, o);
    t->n--;
    o->older = t->gone;
    t->gone = o;
}

static struct owner *owner_add(struct created *t, const uint8_t id[PEP_KEY_ID])
{
    if (t->max == 0)
        return NULL;
    if (t->n == t->max)
        let_go(t, t->oldest);
    struct owner *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    memcpy(o->id, id, PEP_KEY_ID);
    struct owner **bucket = chain_of(t, id);
    o->chain = *bucket;
    *bucket = o;
    link_newest(t, o);
    t->n++;
    return o;
}

static bool holds(const struct owner *o, const uint8_t d[DIGEST])
{
    for (size_t i = 0; i < o->n; i++)
        if (memcmp(o->paths[i], d, DIGEST) == 0)
            return true;
    return false;
}

static void hold(struct owner *o, const uint8_t d[DIGEST])
{
    memcpy(o->paths[o->next], d, DIGEST);
    o->next = (o->next + 1) % CREATED_PATHS_MAX;
    if (o->n < CREATED_PATHS_MAX)
        o->n++;
    o->dirty = true;
}

void created_add(struct created *t, const uint8_t owner[PEP_KEY_ID], const struct bytes *path,
                 size_t n_path)
{
    uint8_t d[DIGEST];
    if (!digest(path, n_path, d))
        return;
    struct owner *o = find(t, owner);
    if (!o)
        o = owner_add(t, owner);
    if (!o)
        return;
    unlink_age(t, o);
    link_newest(t, o);
    if (!holds(o, d))
        hold(o, d);
}

bool created_has(const struct created *t, const uint8_t owner[PEP_KEY_ID], const struct bytes *path,
                 size_t n_path)
{
    uint8_t d[DIGEST];
    const struct owner *o = t->n ? find(t, owner) : NULL;
    return o && digest(path, n_path, d) && holds(o, d);
}

void created_drop(struct created *t, const uint8_t owner[PEP_KEY_ID])
{
    struct owner *o = t->n ? find(t, owner) : NULL;
    if (o)
        let_go(t, o);
}

/* Owners go to the store in batches: each change waits for the disk once. */
enum { BATCH = 16, VALUE_MAX = 1 + CREATED_PATHS_MAX * DIGEST };

static bool forget_gone(struct created *t, struct store *s)
{
    while (t->gone) {
        struct store_op ops[BATCH];
        size_t n = 0;
        for (struct owner *o = t->gone; o && n < BATCH; o = o->older)
            ops[n++] = (struct store_op){STORE_CREATED, bytes_of(o->id, PEP_KEY_ID), BYTES_NONE};
        if (!store_change(s, ops, n))
            return false;
        while (n-- > 0) {
            struct owner *o = t->gone, *again = find(t, o->id);
            if (again) /* it came back meanwhile, and was deleted with its name */
                again->dirty = true;
            t->gone = o->older;
            free(o);
        }
    }
    return true;
}

static struct store_op record_of(const struct owner *o, uint8_t value[VALUE_MAX])
{
    struct buf b = buf_on(value, VALUE_MAX);
    buf_put_u8(&b, VERSION);
    for (size_t i = 0; i < o->n; i++) /* oldest first */
        buf_put(&b, bytes_of(o->paths[(o->next + CREATED_PATHS_MAX - o->n + i) % CREATED_PATHS_MAX],
                             DIGEST));
    return (struct store_op){STORE_CREATED, bytes_of(o->id, PEP_KEY_ID), buf_bytes(&b)};
}

void created_tell(const struct created *t, const uint8_t owner[PEP_KEY_ID], struct store *s)
{
    uint8_t value[VALUE_MAX];
    const struct owner *o = find(t, owner);
    if (!o)
        return;
    const struct store_op op = record_of(o, value);
    (void)!store_change(s, &op, 1); /* else they hear it when it is flushed */
}

bool created_flush(struct created *t, struct store *s)
{
    bool ok = forget_gone(t, s);
    struct owner *o = t->newest;
    while (ok && o) {
        struct store_op ops[BATCH];
        struct owner *of[BATCH];
        uint8_t values[BATCH][VALUE_MAX];
        size_t n = 0;
        for (; o && n < BATCH; o = o->older) {
            if (!o->dirty)
                continue;
            ops[n] = record_of(o, values[n]);
            of[n++] = o;
        }
        ok = store_change(s, ops, n);
        for (size_t i = 0; ok && i < n; i++)
            of[i]->dirty = false;
    }
    return ok;
}

struct load {
    struct created *t;
    bool (*is_owner)(void *user, const uint8_t owner[PEP_KEY_ID]);
    void *user;
};

static bool is_record(struct bytes key, struct bytes value)
{
    struct cursor c = cursor_on(value);
    return key.n == PEP_KEY_ID && cursor_u8(&c) == VERSION && c.n % DIGEST == 0 &&
           c.n / DIGEST <= CREATED_PATHS_MAX;
}

void created_take_change(struct created *t, const struct store_op *op, bool keep)
{
    if (op->key.n != PEP_KEY_ID)
        return;
    struct owner *o = find(t, op->key.p);
    if (!op->value.p) {
        created_drop(t, op->key.p);
        return;
    }
    if (!is_record(op->key, op->value) || (!o && !(o = owner_add(t, op->key.p))))
        return;
    bool was = o->dirty;
    struct cursor c = cursor_on(op->value);
    (void)cursor_u8(&c);
    while (c.n) {
        struct bytes d = cursor_take(&c, DIGEST);
        if (!holds(o, d.p))
            hold(o, d.p);
    }
    o->dirty = was || (keep && o->dirty);
}

static enum store_keep load_one(void *user, struct bytes key, struct bytes value)
{
    struct load *l = user;
    if (!is_record(key, value) || !l->is_owner(l->user, key.p) || find(l->t, key.p))
        return STORE_REMOVE;
    struct cursor c = cursor_on(value);
    (void)cursor_u8(&c);
    struct owner *o = l->t->n < l->t->max ? owner_add(l->t, key.p) : NULL;
    if (!o)
        return STORE_REMOVE;
    while (c.n)
        hold(o, cursor_take(&c, DIGEST).p);
    o->dirty = false;
    return STORE_KEEP;
}

bool created_load(struct created *t, struct store *s,
                  bool (*is_owner)(void *user, const uint8_t owner[PEP_KEY_ID]), void *user)
{
    struct load l = {t, is_owner, user};
    return store_each(s, STORE_CREATED, load_one, &l);
}
