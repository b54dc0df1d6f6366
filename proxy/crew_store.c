#include "crew_store.h"

#include <pthread.h>
#include <stdlib.h>

#include "mail.h"

struct member {
    struct crew_stores *of;
    unsigned who;
    struct store writing, telling;
};

struct crew_stores {
    struct crew *crew;
    struct store *disk;
    pthread_mutex_t lock; /* of the disk: held for its time, and never on a request's way */
    bool open;            /* set before the threads begin */
    struct member members[CREW_MAX];
};

/* On the wire between workers: header, key, value. */
struct told {
    struct mail_head head;
    uint8_t kind;
    bool deleted;
    uint32_t key_n;
};

static bool tell_one(struct member *m, const struct store_op *op)
{
    struct told t = {.head = {MAIL_RECORD},
                     .kind = (uint8_t)op->kind,
                     .deleted = !op->value.p,
                     .key_n = (uint32_t)op->key.n};
    const struct bytes parts[] = {bytes_of(&t, sizeof t), op->key, op->value};
    return crew_tell(m->of->crew, m->who, parts, 3);
}

bool crew_store_read(struct bytes message, struct store_op *out)
{
    struct told t;
    if (message.n < sizeof t)
        return false;
    memcpy(&t, message.p, sizeof t);
    if (t.head.kind != MAIL_RECORD || t.key_n > message.n - sizeof t)
        return false;
    const uint8_t *key = message.p + sizeof t;
    *out = (struct store_op){(enum store_kind)t.kind, bytes_of(key, t.key_n), BYTES_NONE};
    if (!t.deleted)
        out->value = bytes_of(key + t.key_n, message.n - sizeof t - t.key_n);
    return true;
}

/* What replaces first: so that nobody finds neither. */
static bool tell(struct member *m, const struct store_op *ops, size_t n)
{
    bool all = true;
    for (size_t i = 0; i < n; i++)
        all = (!ops[i].value.p || tell_one(m, &ops[i])) && all;
    for (size_t i = 0; i < n; i++)
        all = (ops[i].value.p || tell_one(m, &ops[i])) && all;
    return all;
}

static bool may_tell(struct member *m, const struct store_op *ops, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += 128 + ops[i].key.n + ops[i].value.n;
    return crew_may_tell(m->of->crew, size);
}

static bool write_disk(struct member *m, const struct store_op *ops, size_t n)
{
    if (!m->of->disk)
        return true;
    (void)pthread_mutex_lock(&m->of->lock);
    bool ok = store_change(m->of->disk, ops, n);
    (void)pthread_mutex_unlock(&m->of->lock);
    return ok;
}

static bool has_puts(const struct store_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ops[i].value.p)
            return true;
    return false;
}

static bool has_deletes(const struct store_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!ops[i].value.p)
            return true;
    return false;
}

/* What was written and could not be told must not come back at the next
 * start as if it had been. */
static void take_back(struct member *m, const struct store_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct store_op op = {ops[i].kind, ops[i].key, BYTES_NONE};
        if (ops[i].value.p)
            (void)write_disk(m, &op, 1);
    }
}

static bool write_and_tell(struct member *m, const struct store_op *ops, size_t n)
{
    /* Colleagues that are behind: to take a token that they may never hear of
     * would be a promise that they do not keep. */
    if (has_puts(ops, n) && !may_tell(m, ops, n))
        return false;
    if (!write_disk(m, ops, n))
        return false;
    if (tell(m, ops, n) || !has_puts(ops, n))
        return true;
    take_back(m, ops, n);
    return false;
}

/* Of one kind, as pep's changes are. */
static bool change(void *self, const struct store_op *ops, size_t n)
{
    struct member *m = self;
    bool first = m->who == 0, stand_still = crew_is_paused(m->of->crew);
    if (!m->of->open)
        return first ? write_disk(m, ops, n) : true;
    switch (ops[0].kind) {
    case STORE_GRANT:
        if (first || has_puts(ops, n))
            return write_and_tell(m, ops, n);
        /* In a pause all end the same. What else a colleague ends, by an
         * authority's word, number 0 deletes when it hears of it. */
        return stand_still || tell(m, ops, n);
    case STORE_REGISTERED: /* who saw the answer writes it, whoever that is */
        return write_and_tell(m, ops, n);
    case STORE_FRESH:
        /* What is over is so by everyone's clock. */
        return !first && has_deletes(ops, n) ? true : write_and_tell(m, ops, n);
    case STORE_CREATED:
        return first ? write_and_tell(m, ops, n) : has_deletes(ops, n) || tell(m, ops, n);
    case STORE_REVOCATION:
        /* False without a disk: it is told as not kept. */
        if (first)
            return m->of->disk && write_disk(m, ops, n);
        /* That its token was seen; the rest is everyone's own. */
        return stand_still || has_deletes(ops, n) || tell(m, ops, n);
    case STORE_KEYS:
    default:
        return first ? write_disk(m, ops, n) : true;
    }
}

static bool each(void *self, enum store_kind kind, store_visit_fn *visit, void *user)
{
    struct member *m = self;
    if (!m->of->disk)
        return true;
    (void)pthread_mutex_lock(&m->of->lock);
    bool ok = store_each(m->of->disk, kind, visit, user);
    (void)pthread_mutex_unlock(&m->of->lock);
    return ok;
}

static bool only_tell(void *self, const struct store_op *ops, size_t n)
{
    struct member *m = self;
    return !m->of->open || tell(m, ops, n);
}

static bool nothing(void *self, enum store_kind kind, store_visit_fn *visit, void *user)
{
    (void)self, (void)kind, (void)visit, (void)user;
    return true;
}

static void keep_open(void *self)
{
    (void)self; /* all of them go at once */
}

struct crew_stores *crew_stores_new(struct crew *c, struct store *disk)
{
    static const struct store_backend writing = {change, each, keep_open};
    static const struct store_backend telling = {only_tell, nothing, keep_open};
    struct crew_stores *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->crew = c;
    s->disk = disk;
    (void)pthread_mutex_init(&s->lock, NULL);
    for (unsigned i = 0; i < crew_size(c); i++) {
        struct member *m = &s->members[i];
        *m = (struct member){s, i, {&writing, m}, {&telling, m}};
    }
    return s;
}

void crew_stores_free(struct crew_stores *s)
{
    if (!s)
        return;
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

struct store *crew_store(struct crew_stores *s, unsigned who)
{
    return &s->members[who].writing;
}

struct store *crew_store_telling(struct crew_stores *s, unsigned who)
{
    return &s->members[who].telling;
}

void crew_stores_open(struct crew_stores *s)
{
    s->open = true;
}
