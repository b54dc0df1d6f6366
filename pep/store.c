#include "store.h"

#include <stdlib.h>

/* ---- the door: shapes are checked once, here ---- */

bool store_change(struct store *s, const struct store_op *ops, size_t n)
{
    if (n > STORE_OPS_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if (ops[i].key.n == 0 || ops[i].key.n > STORE_KEY_MAX || ops[i].value.n > STORE_VALUE_MAX)
            return false;
    return n == 0 || s->backend->change(s->self, ops, n);
}

/* Removal waits until the walk is over: backends need not bear a change
 * under their cursor. */
struct walk {
    store_visit_fn *visit;
    void *user;
    struct dead {
        struct dead *next;
        size_t n;
        uint8_t key[STORE_KEY_MAX];
    } * dead;
};

static enum store_keep walk_visit(void *user, struct bytes key, struct bytes value)
{
    struct walk *w = user;
    if (w->visit(w->user, key, value) == STORE_KEEP)
        return STORE_KEEP;
    struct dead *d = key.n <= STORE_KEY_MAX ? malloc(sizeof *d) : NULL;
    if (!d) /* it stays, and is judged again at the next start */
        return STORE_KEEP;
    d->n = key.n;
    if (key.n)
        memcpy(d->key, key.p, key.n);
    d->next = w->dead;
    w->dead = d;
    return STORE_REMOVE;
}

bool store_each(struct store *s, enum store_kind kind, store_visit_fn *visit, void *user)
{
    struct walk w = {visit, user, NULL};
    bool ok = s->backend->each(s->self, kind, walk_visit, &w);
    while (w.dead) {
        struct store_op ops[STORE_OPS_MAX];
        struct dead *of[STORE_OPS_MAX];
        size_t n = 0;
        for (; w.dead && n < STORE_OPS_MAX; w.dead = w.dead->next, n++) {
            of[n] = w.dead;
            ops[n] = (struct store_op){kind, bytes_of(w.dead->key, w.dead->n), BYTES_NONE};
        }
        /* A record that cannot be removed now was judged bad and will be
         * again: nothing is lost but its place. */
        (void)!s->backend->change(s->self, ops, n);
        for (size_t i = 0; i < n; i++)
            free(of[i]);
    }
    return ok;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    s->backend->close(s->self);
    free(s);
}

/* ---- in memory ---- */

struct item {
    struct item *next;
    enum store_kind kind;
    size_t key_n, value_n;
    uint8_t key[STORE_KEY_MAX];
    uint8_t value[];
};

struct memory {
    struct item *items;
};

static void item_free(struct item *i)
{
    explicit_bzero(i, sizeof *i + i->value_n);
    free(i);
}

static void memory_remove(struct memory *m, const struct store_op *op)
{
    for (struct item **at = &m->items; *at; at = &(*at)->next) {
        struct item *i = *at;
        if (i->kind == op->kind && bytes_equal(bytes_of(i->key, i->key_n), op->key)) {
            *at = i->next;
            item_free(i);
            return;
        }
    }
}

static bool memory_change(void *self, const struct store_op *ops, size_t n)
{
    struct memory *m = self;
    struct item *made[STORE_OPS_MAX] = {0};
    for (size_t k = 0; k < n; k++) {
        if (!ops[k].value.p)
            continue;
        made[k] = malloc(sizeof *made[k] + ops[k].value.n);
        if (!made[k]) {
            while (k-- > 0)
                if (made[k])
                    item_free(made[k]);
            return false;
        }
        made[k]->kind = ops[k].kind;
        made[k]->key_n = ops[k].key.n;
        made[k]->value_n = ops[k].value.n;
        memcpy(made[k]->key, ops[k].key.p, ops[k].key.n);
        memcpy(made[k]->value, ops[k].value.p, ops[k].value.n);
    }
    for (size_t k = 0; k < n; k++) {
        memory_remove(m, &ops[k]);
        if (made[k]) {
            made[k]->next = m->items;
            m->items = made[k];
        }
    }
    return true;
}

static bool memory_each(void *self, enum store_kind kind, store_visit_fn *visit, void *user)
{
    struct memory *m = self;
    for (struct item *i = m->items; i; i = i->next)
        if (i->kind == kind)
            (void)visit(user, bytes_of(i->key, i->key_n), bytes_of(i->value, i->value_n));
    return true;
}

static void memory_close(void *self)
{
    struct memory *m = self;
    while (m->items) {
        struct item *i = m->items;
        m->items = i->next;
        item_free(i);
    }
    free(m);
}

static const struct store_backend memory_backend = {memory_change, memory_each, memory_close};

struct store *store_open_memory(void)
{
    struct store *s = malloc(sizeof *s);
    struct memory *m = calloc(1, sizeof *m);
    if (!s || !m) {
        free(s);
        free(m);
        return NULL;
    }
    *s = (struct store){&memory_backend, m};
    return s;
}
