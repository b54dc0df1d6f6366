#include "published.h"

#include <stdlib.h>

#include "../policy/cursor.h"
#include "crypto.h"

enum { VERSION = 1, NAME_MAX_N = 255, HEAD = 2 };

/* As it lies in the store: version, length of the name, name, set. */
struct set {
    uint8_t *record;
    size_t n;
};

struct published {
    struct set set[PUBLISHED_MAX];
    size_t n;
};

struct published *published_new(void)
{
    return calloc(1, sizeof(struct published));
}

void published_free(struct published *t)
{
    for (size_t i = 0; t && i < t->n; i++)
        free(t->set[i].record);
    free(t);
}

static bool parts(const struct set *s, struct bytes *name, struct bytes *set)
{
    struct cursor c = cursor_on(bytes_of(s->record, s->n));
    bool known = cursor_u8(&c) == VERSION;
    *name = cursor_vector(&c, 1);
    *set = cursor_take(&c, c.n);
    return known && cursor_done(&c) && name->n > 0 && set->n > 0;
}

/* t->n: none. */
static size_t find(const struct published *t, struct bytes name)
{
    struct bytes n, set;
    size_t i = 0;
    while (i < t->n && !(parts(&t->set[i], &n, &set) && bytes_equal(n, name)))
        i++;
    return i;
}

/* Takes ownership of the record. */
static bool keep(struct published *t, struct bytes name, struct set record)
{
    size_t i = find(t, name);
    if (i == PUBLISHED_MAX) {
        free(record.record);
        return false;
    }
    if (i == t->n)
        t->n++;
    free(t->set[i].record);
    t->set[i] = record;
    return true;
}

bool published_put(struct published *t, const char *name, struct bytes set, struct store *s)
{
    struct bytes n = bytes_str(name);
    uint8_t key[CRYPTO_SHA256];
    if (n.n > NAME_MAX_N || set.n > PUBLISHED_SET_MAX || !crypto_sha256(n, key))
        return false;
    struct set record = {malloc(HEAD + n.n + set.n), HEAD + n.n + set.n};
    if (!record.record)
        return false;
    struct buf b = buf_on(record.record, record.n);
    buf_put_u8(&b, VERSION);
    buf_put_u8(&b, (uint8_t)n.n);
    buf_put(&b, n);
    buf_put(&b, set);
    struct store_op op = {STORE_KEYS, bytes_of(key, sizeof key), bytes_of(record.record, record.n)};
    bool stored = !s || store_change(s, &op, 1);
    return keep(t, n, record) && stored;
}

struct bytes published_of(const struct published *t, const char *name)
{
    struct bytes n, set;
    size_t i = find(t, bytes_str(name));
    return i < t->n && parts(&t->set[i], &n, &set) ? set : BYTES_NONE;
}

static enum store_keep take(void *user, struct bytes key, struct bytes value)
{
    struct published *t = user;
    (void)key;
    struct set record = {malloc(value.n ? value.n : 1), value.n};
    struct bytes name, set;
    if (!record.record)
        return STORE_KEEP;
    if (value.n)
        memcpy(record.record, value.p, value.n);
    if (!parts(&record, &name, &set)) {
        free(record.record);
        return STORE_REMOVE;
    }
    /* `name` lies in the record, which keep() owns from here on. */
    uint8_t copy[NAME_MAX_N];
    memcpy(copy, name.p, name.n);
    return keep(t, bytes_of(copy, name.n), record) ? STORE_KEEP : STORE_REMOVE;
}

bool published_load(struct published *t, struct store *s)
{
    return store_each(s, STORE_KEYS, take, t);
}
