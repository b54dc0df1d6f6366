#include "registered.h"

#include <stdlib.h>

#include "../policy/cursor.h"
#include "crypto.h"

enum { VERSION = 1, KEY = CRYPTO_SHA256, BUCKETS = 4096, VALUE_MAX = 1 + 1 + 255 + 2 + 512 + 512 };

struct entry {
    struct registration r; /* into text */
    struct entry *next, *next_at;
    uint8_t key[KEY]; /* its name in the store */
    uint8_t text[];
};

struct registered {
    struct entry *by_id[BUCKETS], *by_at[BUCKETS];
    size_t n;
    struct siphash_key seed;
};

struct registered *registered_new(struct siphash_key seed)
{
    struct registered *t = calloc(1, sizeof *t);
    if (t)
        t->seed = seed;
    return t;
}

void registered_free(struct registered *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct entry *e = t->by_id[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    free(t);
}

/* ---- finding ---- */

static size_t bucket(const struct registered *t, struct bytes device, struct bytes text)
{
    const uint64_t parts[] = {siphash(&t->seed, device), siphash(&t->seed, text)};
    return (size_t)(siphash(&t->seed, bytes_of(parts, sizeof parts)) % BUCKETS);
}

static bool is_of(const struct entry *e, struct bytes device, struct bytes id)
{
    return bytes_equal(e->r.id, id) && bytes_equal(e->r.device, device);
}

static struct entry *find(const struct registered *t, struct bytes device, struct bytes id)
{
    struct entry *e = t->n ? t->by_id[bucket(t, device, id)] : NULL;
    while (e && !is_of(e, device, id))
        e = e->next;
    return e;
}

const struct registration *registered_find(const struct registered *t, struct bytes device,
                                           struct bytes id)
{
    const struct entry *e = find(t, device, id);
    return e ? &e->r : NULL;
}

const struct registration *registered_at(const struct registered *t, struct bytes device,
                                         struct bytes at)
{
    const struct entry *e = t->n && at.n ? t->by_at[bucket(t, device, at)] : NULL;
    while (e && !(bytes_equal(e->r.at, at) && bytes_equal(e->r.device, device)))
        e = e->next_at;
    return e ? &e->r : NULL;
}

size_t registered_count(const struct registered *t, struct bytes owner)
{
    size_t n = 0;
    for (size_t i = 0; t->n && i < BUCKETS; i++)
        for (const struct entry *e = t->by_id[i]; e; e = e->next)
            n += bytes_equal(e->r.owner, owner);
    return n;
}

/* ---- changing ---- */

static void forget(struct registered *t, struct entry *e)
{
    struct entry **at = &t->by_id[bucket(t, e->r.device, e->r.id)];
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    if (e->r.at.n) {
        at = &t->by_at[bucket(t, e->r.device, e->r.at)];
        while (*at != e)
            at = &(*at)->next_at;
        *at = e->next_at;
    }
    t->n--;
    free(e);
}

static bool key_of(const struct registration *r, uint8_t key[KEY])
{
    uint8_t text[2 + 512];
    struct buf b = buf_on(text, sizeof text);
    buf_put_be(&b, r->device.n, 2);
    buf_put(&b, r->device);
    buf_put(&b, r->id);
    return !b.full && crypto_sha256(buf_bytes(&b), key);
}

static struct bytes copy(uint8_t **to, struct bytes s)
{
    struct bytes own = bytes_of(*to, s.n);
    if (s.n)
        memcpy(*to, s.p, s.n);
    *to += s.n;
    return own;
}

static struct entry *remember(struct registered *t, const struct registration *r)
{
    struct entry *was = find(t, r->device, r->id);
    bool known = r->at.n <= REGISTERED_ADDRESS_MAX;
    struct bytes at = known ? r->at : BYTES_NONE;
    if (!was && t->n == REGISTERED_MAX)
        return NULL;
    struct entry *e = calloc(1, sizeof *e + r->device.n + r->id.n + r->owner.n + at.n);
    if (!e)
        return NULL;
    uint8_t *text = e->text;
    e->r.device = copy(&text, r->device);
    e->r.id = copy(&text, r->id);
    e->r.owner = copy(&text, r->owner);
    e->r.at = copy(&text, at);
    if (!key_of(&e->r, e->key)) {
        free(e);
        return NULL;
    }
    if (was)
        forget(t, was);
    struct entry **place = &t->by_id[bucket(t, e->r.device, e->r.id)];
    e->next = *place;
    *place = e;
    if (at.n) {
        place = &t->by_at[bucket(t, e->r.device, e->r.at)];
        e->next_at = *place;
        *place = e;
    }
    t->n++;
    return e;
}

bool registered_put(struct registered *t, const struct registration *r, struct store *s, bool *kept)
{
    uint8_t value[VALUE_MAX];
    struct buf b = buf_on(value, sizeof value);
    *kept = true;
    struct entry *e = remember(t, r);
    if (!e)
        return false;
    buf_put_u8(&b, VERSION);
    buf_put_be(&b, e->r.device.n, 1);
    buf_put(&b, e->r.device);
    buf_put_be(&b, e->r.id.n, 1);
    buf_put(&b, e->r.id);
    buf_put_be(&b, e->r.owner.n, 1);
    buf_put(&b, e->r.owner);
    buf_put_be(&b, e->r.at.n, 2);
    buf_put(&b, e->r.at);
    const struct store_op op = {STORE_REGISTERED, bytes_of(e->key, KEY), buf_bytes(&b)};
    *kept = !b.full && (!s || store_change(s, &op, 1));
    return true;
}

void registered_drop(struct registered *t, const struct registration *r, struct store *s,
                     bool *kept)
{
    struct entry *e = find(t, r->device, r->id);
    *kept = true;
    if (!e)
        return;
    const struct store_op op = {STORE_REGISTERED, bytes_of(e->key, KEY), BYTES_NONE};
    *kept = !s || store_change(s, &op, 1);
    forget(t, e);
}

/* ---- what others wrote ---- */

/* False: not a record of ours. */
static bool read_record(struct bytes key, struct bytes value, struct registration *out)
{
    uint8_t own[KEY];
    struct cursor c = cursor_on(value);
    if (cursor_u8(&c) != VERSION)
        return false;
    out->device = cursor_vector(&c, 1);
    out->id = cursor_vector(&c, 1);
    out->owner = cursor_vector(&c, 1);
    out->at = cursor_vector(&c, 2);
    return cursor_done(&c) && out->id.n > 0 && out->owner.n > 0 &&
           out->at.n <= REGISTERED_ADDRESS_MAX && key_of(out, own) &&
           bytes_equal(key, bytes_of(own, KEY));
}

static struct entry *find_key(struct registered *t, struct bytes key)
{
    for (size_t i = 0; t->n && i < BUCKETS; i++)
        for (struct entry *e = t->by_id[i]; e; e = e->next)
            if (bytes_equal(key, bytes_of(e->key, KEY)))
                return e;
    return NULL;
}

void registered_take_change(struct registered *t, const struct store_op *op)
{
    struct registration r;
    if (op->value.p) {
        if (read_record(op->key, op->value, &r))
            (void)remember(t, &r);
        return;
    }
    struct entry *e = find_key(t, op->key);
    if (e)
        forget(t, e);
}

struct load {
    struct registered *t;
    bool (*is_owner)(void *user, struct bytes owner);
    void *user;
};

static enum store_keep load_one(void *user, struct bytes key, struct bytes value)
{
    struct load *l = user;
    struct registration r;
    bool good = read_record(key, value, &r) && l->is_owner(l->user, r.owner);
    return good && remember(l->t, &r) ? STORE_KEEP : STORE_REMOVE;
}

bool registered_load(struct registered *t, struct store *s,
                     bool (*is_owner)(void *user, struct bytes owner), void *user)
{
    struct load l = {t, is_owner, user};
    return store_each(s, STORE_REGISTERED, load_one, &l);
}
