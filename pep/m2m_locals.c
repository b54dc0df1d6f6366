#include "m2m_locals.h"

#include <stdlib.h>

#include "../policy/cursor.h"
#include "crypto.h"
#include "token.h"

enum { BUCKETS = 256 };

struct m2m_locals {
    struct siphash_key seed;
    struct m2m_local *chains[BUCKETS]; /* by holder */
    struct m2m_local *newest, *oldest;
    size_t n;
};

struct m2m_locals *m2m_locals_new(struct siphash_key seed)
{
    struct m2m_locals *t = calloc(1, sizeof *t);
    if (t)
        t->seed = seed;
    return t;
}

static size_t size_of(const struct m2m_local *e)
{
    return sizeof *e + e->lti.n + e->holder.n + e->id.n + e->raw.n;
}

static void unlink_age(struct m2m_locals *t, struct m2m_local *e)
{
    *(e->newer ? &e->newer->older : &t->newest) = e->older;
    *(e->older ? &e->older->newer : &t->oldest) = e->newer;
}

static void link_newest(struct m2m_locals *t, struct m2m_local *e)
{
    e->newer = NULL;
    e->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = e;
    t->newest = e;
}

static void drop(struct m2m_locals *t, struct m2m_local *e)
{
    struct m2m_local **at = &t->chains[e->hash % BUCKETS];
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    unlink_age(t, e);
    t->n--;
    crypto_wipe(e, size_of(e));
    free(e);
}

void m2m_locals_free(struct m2m_locals *t)
{
    while (t && t->oldest)
        drop(t, t->oldest);
    free(t);
}

static struct m2m_local *first_of(struct m2m_locals *t, struct bytes holder, uint64_t *hash)
{
    *hash = siphash(&t->seed, holder);
    return t->chains[*hash % BUCKETS];
}

static const struct m2m_local *find(struct m2m_locals *t, struct bytes holder, struct bytes lti,
                                    struct bytes id)
{
    uint64_t hash;
    for (struct m2m_local *e = first_of(t, holder, &hash); e; e = e->chain) {
        if (e->hash != hash || !bytes_equal(e->holder, holder) ||
            !(lti.n > 0 ? bytes_equal(e->lti, lti) : bytes_equal(e->id, id)))
            continue;
        unlink_age(t, e);
        link_newest(t, e);
        return e;
    }
    return NULL;
}

const struct m2m_local *m2m_locals_find(struct m2m_locals *t, struct bytes holder, struct bytes lti)
{
    return lti.n > 0 ? find(t, holder, lti, BYTES_NONE) : NULL;
}

const struct m2m_local *m2m_locals_find_id(struct m2m_locals *t, struct bytes holder,
                                           struct bytes id)
{
    return find(t, holder, BYTES_NONE, id);
}

/* The one of the same ID; then as many as there are too many, those that were
 * not asked for longest. */
static void make_room(struct m2m_locals *t, const struct m2m_local *what)
{
    uint64_t hash = siphash(&t->seed, what->holder);
    size_t others = 0;
    for (struct m2m_local *e = t->newest, *next; e; e = next) {
        next = e->older;
        if (e->hash != hash || !bytes_equal(e->holder, what->holder))
            continue;
        if (bytes_equal(e->id, what->id) || ++others >= M2M_LOCALS_PER_HOLDER)
            drop(t, e);
    }
    while (t->n >= M2M_LOCALS_MAX)
        drop(t, t->oldest);
}

static struct bytes copy_to(uint8_t **at, struct bytes s)
{
    struct bytes out = {*at, s.n};
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return out;
}

const struct m2m_local *m2m_locals_add(struct m2m_locals *t, const struct m2m_local *what)
{
    if (what->lti.n == 0 || what->lti.n > M2M_LOCAL_ID || what->holder.n > M2M_ID_MAX ||
        what->id.n > M2M_ID_MAX || what->raw.n > TOKEN_MAX)
        return NULL;
    struct m2m_local *e = malloc(size_of(what));
    if (!e)
        return NULL;
    make_room(t, what);
    uint8_t *at = (uint8_t *)(e + 1);
    *e = (struct m2m_local){.exp_s = what->exp_s, .hash = siphash(&t->seed, what->holder)};
    e->lti = copy_to(&at, what->lti);
    e->holder = copy_to(&at, what->holder);
    e->id = copy_to(&at, what->id);
    e->raw = copy_to(&at, what->raw);
    e->chain = t->chains[e->hash % BUCKETS];
    t->chains[e->hash % BUCKETS] = e;
    link_newest(t, e);
    t->n++;
    return e;
}

void m2m_locals_drop(struct m2m_locals *t, const struct m2m_local *e)
{
    struct m2m_local *own = t->newest;
    while (own && own != e)
        own = own->older;
    if (own)
        drop(t, own);
}

void m2m_locals_expire(struct m2m_locals *t, int64_t now_s)
{
    for (struct m2m_local *e = t->newest, *next; e; e = next) {
        next = e->older;
        if (now_s >= e->exp_s)
            drop(t, e);
    }
}

/* ---- among workers ---- */

static void put_vector(struct buf *out, struct bytes s)
{
    buf_put_be(out, s.n, 2);
    buf_put(out, s);
}

void m2m_locals_tell(const struct m2m_local *e, struct store *colleagues)
{
    uint8_t text[TOKEN_MAX + 2 * M2M_ID_MAX + M2M_LOCAL_ID + 32];
    struct buf b = buf_on(text, sizeof text);
    put_vector(&b, e->holder);
    put_vector(&b, e->id);
    put_vector(&b, e->raw);
    buf_put_be(&b, (uint64_t)e->exp_s, 8);
    const struct store_op op = {STORE_LOCAL, e->lti, buf_bytes(&b)};
    if (!b.full)
        (void)!store_change(colleagues, &op, 1);
    crypto_wipe(text, sizeof text);
}

void m2m_locals_take_change(struct m2m_locals *t, const struct store_op *op)
{
    struct cursor c = cursor_on(op->value);
    struct m2m_local what = {.lti = op->key};
    what.holder = cursor_vector(&c, 2);
    what.id = cursor_vector(&c, 2);
    what.raw = cursor_vector(&c, 2);
    what.exp_s = (int64_t)cursor_be(&c, 8);
    if (cursor_done(&c) && what.holder.n > 0 && what.raw.n > 0)
        (void)m2m_locals_add(t, &what); /* else its holder shows the token again */
}
