#include "revocation.h"

#include <stdlib.h>

enum { BUCKETS = 4096 };

struct entry {
    struct revocation r;
    struct entry *chain, *older, *newer;
    bool dirty, put; /* to be written; named by the set that is being taken */
    size_t n_authority, n_value;
    uint8_t text[]; /* authority, then value */
};

/* Of an authority whose list was taken since the start. */
struct list {
    struct list *next;
    bool overflowed; /* it named more than fits */
    size_t n;
    uint8_t name[];
};

/* A removed record, until the store knows. */
struct gone {
    struct gone *next;
    uint8_t key[REVOCATION_KEY];
};

struct revocations {
    struct siphash_key seed;
    struct entry *chains[BUCKETS];
    struct entry *oldest, *newest;
    struct gone *gone;
    struct list *lists;
    bool overflowed;
    size_t n, n_local, n_listed, n_gone, n_dirty;
    size_t of_kind[REVOKED_KINDS];
    uint64_t corrupt;
};

struct revocations *revocations_new(struct siphash_key seed)
{
    struct revocations *t = calloc(1, sizeof *t);
    if (t)
        t->seed = seed;
    return t;
}

void revocations_free(struct revocations *t)
{
    if (!t)
        return;
    for (struct entry *e = t->oldest, *next; e; e = next) {
        next = e->newer;
        free(e);
    }
    for (struct gone *g = t->gone, *next; g; g = next) {
        next = g->next;
        free(g);
    }
    for (struct list *l = t->lists, *next; l; l = next) {
        next = l->next;
        free(l);
    }
    free(t);
}

/* Neither made here nor listed: held because its token may still come. */
static bool is_kept(const struct entry *e)
{
    return !e->r.local && !e->r.listed;
}

/* ---- finding ---- */

static struct entry **chain_of(const struct revocations *t, enum revocation_kind kind,
                               struct bytes value)
{
    uint8_t text[1 + REVOCATION_VALUE_MAX];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, (uint8_t)kind);
    buf_put(&b, value);
    /* The table is only read through a const pointer, never its chains. */
    return (struct entry **)(uintptr_t)&t->chains[siphash(&t->seed, buf_bytes(&b)) % BUCKETS];
}

static struct entry *find(const struct revocations *t, enum revocation_kind kind,
                          struct bytes value, struct bytes authority)
{
    if (value.n > REVOCATION_VALUE_MAX)
        return NULL;
    struct entry *e = *chain_of(t, kind, value);
    while (e && !(e->r.kind == kind && bytes_equal(e->r.value, value) &&
                  bytes_equal(e->r.authority, authority)))
        e = e->chain;
    return e;
}

/* ---- holding ---- */

static void count(struct revocations *t, const struct entry *e, bool up)
{
    size_t one = up ? 1 : (size_t)-1;
    t->n += one;
    t->of_kind[e->r.kind] += one;
    t->n_local += e->r.local ? one : 0;
    t->n_listed += e->r.listed ? one : 0;
    t->n_dirty += e->dirty ? one : 0;
}

static void set(struct revocations *t, struct entry *e, bool local, bool listed)
{
    count(t, e, false);
    e->dirty = e->dirty || e->r.local != local || e->r.listed != listed;
    e->r.local = local;
    e->r.listed = listed;
    count(t, e, true);
}

static void mark_dirty(struct revocations *t, struct entry *e)
{
    t->n_dirty += !e->dirty;
    e->dirty = true;
}

static struct entry *make(struct revocations *t, const struct revocation *r)
{
    struct entry *e = calloc(1, sizeof *e + r->authority.n + r->value.n);
    if (!e)
        return NULL;
    struct buf b = buf_on(e->text, r->authority.n + r->value.n);
    buf_put(&b, r->authority);
    buf_put(&b, r->value);
    e->r = *r;
    e->r.authority = bytes_of(e->text, r->authority.n);
    e->r.value = bytes_of(e->text + r->authority.n, r->value.n);
    e->dirty = true;
    struct entry **chain = chain_of(t, r->kind, r->value);
    e->chain = *chain;
    *chain = e;
    e->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = e;
    t->newest = e;
    count(t, e, true);
    return e;
}

/* False: the record would come back at the next start. */
static bool drop(struct revocations *t, struct entry *e)
{
    struct gone *g = malloc(sizeof *g);
    if (!g || !revocation_record_key(&e->r, g->key)) {
        free(g);
        return false;
    }
    g->next = t->gone;
    t->gone = g;
    t->n_gone++;
    struct entry **at = chain_of(t, e->r.kind, e->r.value);
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    *(e->older ? &e->older->newer : &t->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &t->newest) = e->older;
    count(t, e, false);
    free(e);
    return true;
}

static bool make_room(struct revocations *t)
{
    if (t->n < REVOCATIONS_MAX)
        return true;
    for (struct entry *e = t->oldest; e; e = e->newer)
        if (is_kept(e) && !e->r.seen)
            return drop(t, e);
    return false;
}

enum revocation_err revocations_add(struct revocations *t, const struct revocation *r)
{
    struct revocation mine = *r;
    mine.local = true;
    mine.listed = false;
    if (!revocation_is_well_formed(&mine))
        return REVOCATION_BAD;
    struct entry *e = find(t, mine.kind, mine.value, mine.authority);
    if (!e) {
        bool room = t->n_local < REVOCATIONS_LOCAL_MAX && make_room(t);
        return room && make(t, &mine) ? REVOCATION_OK : REVOCATION_FULL;
    }
    if (!e->r.local && t->n_local >= REVOCATIONS_LOCAL_MAX)
        return REVOCATION_FULL;
    set(t, e, true, e->r.listed);
    if (mine.since_s > e->r.since_s)
        e->r.since_s = mine.since_s;
    if (mine.made_s > e->r.made_s)
        e->r.made_s = mine.made_s;
    if (mine.until_s > e->r.until_s && !(revocation_is_of_token(mine.kind) && e->r.seen))
        e->r.until_s = mine.until_s;
    e->r.seen = e->r.seen || mine.seen;
    mark_dirty(t, e);
    return REVOCATION_OK;
}

enum revocation_err revocations_remove(struct revocations *t, enum revocation_kind kind,
                                       struct bytes value, struct bytes authority)
{
    struct entry *e = find(t, kind, value, authority);
    if (!e || !e->r.local)
        return REVOCATION_NONE;
    if (e->r.listed) {
        set(t, e, false, true);
        return REVOCATION_OK;
    }
    return drop(t, e) ? REVOCATION_OK : REVOCATION_FULL;
}

/* ---- judging ---- */

/* Issued until the revocation was made, or held when it was. */
static bool counts(const struct revocation *r, const struct revocation_ask *a)
{
    if (revocation_is_of_token(r->kind) || !a->has_iat)
        return true;
    return a->iat_s <= r->since_s || a->taken_s <= r->made_s;
}

static const struct revocation *match_one(struct revocations *t, enum revocation_kind kind,
                                          struct bytes value, const struct revocation_ask *a)
{
    const struct bytes of[] = {a->authority, BYTES_NONE};
    if (t->of_kind[kind] == 0 || (value.n == 0 && kind != REVOKED_AUTHORITY))
        return NULL;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        struct entry *e = find(t, kind, value, of[i]);
        if (!e || !counts(&e->r, a))
            continue;
        /* A token that says no end has none to wait for. */
        int64_t exp_s = a->has_exp ? a->exp_s : REVOKED_FOR_GOOD;
        if (revocation_is_of_token(kind) && (!e->r.seen || exp_s > e->r.until_s)) {
            e->r.seen = true;
            e->r.until_s = exp_s;
            mark_dirty(t, e);
        }
        return &e->r;
    }
    return NULL;
}

const struct revocation *revocations_match(struct revocations *t, const struct revocation_ask *a)
{
    const struct revocation *r = NULL;
    for (size_t i = 0; !r && a->ids && i < a->ids->n; i++)
        r = match_one(t, REVOKED_HASH, token_id(a->ids, i), a);
    if (!r)
        r = match_one(t, REVOKED_ID, a->cti, a);
    if (!r)
        r = match_one(t, REVOKED_KID, a->kid, a);
    if (!r)
        r = match_one(t, REVOKED_SUBJECT, a->sub, a);
    if (!r)
        r = match_one(t, REVOKED_SUBJECT, a->shown, a);
    if (!r)
        r = match_one(t, REVOKED_AUTHORITY, BYTES_NONE, a);
    return r;
}

bool revocations_match_enrolled(const struct revocations *t, struct bytes name)
{
    return t->of_kind[REVOKED_SUBJECT] > 0 && find(t, REVOKED_SUBJECT, name, BYTES_NONE) != NULL;
}

bool revocations_look_at(const struct revocations *t, enum revocation_kind kind)
{
    return t->of_kind[kind] > 0;
}

/* ---- lists ---- */

size_t revocations_listed(const struct revocations *t, struct bytes authority)
{
    size_t n = 0;
    for (const struct entry *e = t->oldest; e; e = e->newer)
        n += e->r.listed && bytes_equal(e->r.authority, authority);
    return n;
}

/* The sum of all lists is at hand; one list is counted when that is large. */
static bool has_too_many(const struct revocations *t, struct bytes authority)
{
    return t->n_listed >= REVOCATIONS_LISTED_MAX &&
           revocations_listed(t, authority) >= REVOCATIONS_LISTED_MAX;
}

static struct list *list_of(const struct revocations *t, struct bytes authority)
{
    struct list *l = t->lists;
    while (l && !bytes_equal(bytes_of(l->name, l->n), authority))
        l = l->next;
    return l;
}

bool revocations_has_list(const struct revocations *t, struct bytes authority)
{
    return list_of(t, authority) != NULL;
}

static struct list *need_list(struct revocations *t, struct bytes authority)
{
    struct list *l = list_of(t, authority);
    if (!l && (l = calloc(1, sizeof *l + authority.n)) != NULL) {
        l->n = authority.n;
        memcpy(l->name, authority.p, authority.n);
        l->next = t->lists;
        t->lists = l;
    }
    return l;
}

static void overflow(struct revocations *t, struct bytes authority)
{
    struct list *l = list_of(t, authority);
    if (l)
        l->overflowed = true;
    else
        t->overflowed = true; /* whose it is could not be kept: everyone's */
}

bool revocations_list_overflowed(const struct revocations *t, struct bytes authority)
{
    const struct list *l = list_of(t, authority);
    return t->overflowed || (l && l->overflowed);
}

void revocations_list_begin(struct revocations *t, struct bytes authority)
{
    for (struct entry *e = t->oldest; e; e = e->newer)
        e->put = false;
    struct list *l = need_list(t, authority);
    if (l)
        l->overflowed = false; /* until a hash does not fit */
    t->overflowed = t->overflowed && !l;
}

enum revocation_err revocations_list_put(struct revocations *t, struct bytes authority,
                                         struct bytes hash, int64_t now_s, bool *is_new)
{
    struct revocation r = {.kind = REVOKED_HASH,
                           .value = hash,
                           .authority = authority,
                           .listed = true,
                           .made_s = now_s,
                           .since_s = REVOKED_FOR_GOOD,
                           .until_s = REVOKED_FOR_GOOD};
    if (!revocation_is_well_formed(&r) || authority.n == 0 || hash.p[0] != TOKEN_ID_SHA256)
        return REVOCATION_BAD;
    struct entry *e = find(t, REVOKED_HASH, hash, authority);
    *is_new = !e;
    if (e) {
        set(t, e, e->r.local, true);
    } else if (has_too_many(t, authority) || !make_room(t) || !(e = make(t, &r))) {
        overflow(t, authority);
        return REVOCATION_FULL;
    }
    e->put = true;
    return REVOCATION_OK;
}

void revocations_list_end(struct revocations *t, struct bytes authority)
{
    for (struct entry *e = t->oldest; e; e = e->newer)
        if (e->r.listed && !e->put && bytes_equal(e->r.authority, authority))
            set(t, e, e->r.local, false);
}

void revocations_list_drop(struct revocations *t, struct bytes authority, struct bytes hash)
{
    struct entry *e = find(t, REVOKED_HASH, hash, authority);
    if (e && e->r.listed)
        set(t, e, e->r.local, false);
}

/* ---- keeping ---- */

/* A list's word ends with the list: what is listed stays whatever its exp. */
static bool is_over(const struct entry *e, int64_t now_s)
{
    return !e->r.listed && now_s >= e->r.until_s &&
           (!revocation_is_of_token(e->r.kind) || e->r.seen);
}

int64_t revocations_expire(struct revocations *t, int64_t now_s)
{
    int64_t first_s = INT64_MAX;
    for (struct entry *e = t->oldest, *next; e; e = next) {
        next = e->newer;
        if (is_over(e, now_s))
            (void)!drop(t, e);
        else if (!revocation_is_of_token(e->r.kind) && e->r.until_s > now_s &&
                 e->r.until_s < first_s)
            first_s = e->r.until_s;
    }
    return first_s;
}

static bool flush_gone(struct revocations *t, struct store *s)
{
    while (t->gone) {
        struct store_op ops[STORE_OPS_MAX];
        size_t n = 0;
        for (struct gone *g = t->gone; g && n < STORE_OPS_MAX; g = g->next)
            ops[n++] =
                (struct store_op){STORE_REVOCATION, bytes_of(g->key, REVOCATION_KEY), BYTES_NONE};
        if (s && !store_change(s, ops, n))
            return false;
        while (n-- > 0) {
            struct gone *g = t->gone;
            t->gone = g->next;
            t->n_gone--;
            free(g);
        }
    }
    return true;
}

enum { FLUSH_MAX = 64 }; /* records of one change */

struct flushing {
    struct store_op ops[FLUSH_MAX];
    struct entry *of[FLUSH_MAX];
    uint8_t keys[FLUSH_MAX][REVOCATION_KEY], values[FLUSH_MAX][REVOCATION_RECORD_MAX];
    size_t n;
};

static bool flush_some(struct revocations *t, struct store *s, struct flushing *f)
{
    if (f->n > 0 && !store_change(s, f->ops, f->n))
        return false;
    for (size_t i = 0; i < f->n; i++)
        f->of[i]->dirty = false;
    t->n_dirty -= f->n;
    f->n = 0;
    return true;
}

bool revocations_flush(struct revocations *t, struct store *s)
{
    struct flushing f;
    /* What was removed and may have been made anew is removed first, and
     * written below. */
    if (!flush_gone(t, s))
        return false;
    f.n = 0;
    if (!s)
        return false;
    for (struct entry *e = t->oldest; e && t->n_dirty > 0; e = e->newer) {
        if (!e->dirty)
            continue;
        struct buf b = buf_on(f.values[f.n], REVOCATION_RECORD_MAX);
        if (!revocation_record_write(&e->r, f.keys[f.n], &b))
            return false;
        f.ops[f.n] = (struct store_op){STORE_REVOCATION, bytes_of(f.keys[f.n], REVOCATION_KEY),
                                       buf_bytes(&b)};
        f.of[f.n++] = e;
        if (f.n == FLUSH_MAX && !flush_some(t, s, &f))
            return false;
    }
    return flush_some(t, s, &f);
}

struct loading {
    struct revocations *t;
    bool failed;
};

static enum store_keep load_one(void *user, struct bytes key, struct bytes value)
{
    struct loading *l = user;
    struct revocation r;
    if (!revocation_record_read(key, value, &r)) {
        l->t->corrupt++;
        return STORE_KEEP; /* it revoked something: for people to look at */
    }
    if (find(l->t, r.kind, r.value, r.authority))
        return STORE_KEEP; /* a load before this one failed later on */
    struct entry *e = make(l->t, &r);
    l->failed = l->failed || !e || (r.listed && !need_list(l->t, r.authority));
    if (e) {
        e->dirty = false;
        l->t->n_dirty--;
    }
    return STORE_KEEP;
}

bool revocations_load(struct revocations *t, struct store *s)
{
    struct loading l = {t, false};
    t->corrupt = 0;
    return store_each(s, STORE_REVOCATION, load_one, &l) && !l.failed;
}

void revocations_take_change(struct revocations *t, const struct store_op *op, bool keep)
{
    struct revocation r;
    if (!op->value.p || !revocation_record_read(op->key, op->value, &r) || !r.seen)
        return;
    struct entry *e = find(t, r.kind, r.value, r.authority);
    if (!e || !revocation_is_of_token(r.kind) || (e->r.seen && e->r.until_s >= r.until_s))
        return;
    e->r.seen = true;
    e->r.until_s = r.until_s;
    if (keep)
        mark_dirty(t, e);
}

void revocations_get_stats(const struct revocations *t, struct revocations_stats *out)
{
    size_t both = 0;
    for (const struct entry *e = t->oldest; e; e = e->newer)
        both += e->r.local && e->r.listed;
    *out = (struct revocations_stats){.local = t->n_local,
                                      .listed = t->n_listed,
                                      .kept = t->n - (t->n_local + t->n_listed - both),
                                      .corrupt = t->corrupt,
                                      .unwritten = t->n_dirty + t->n_gone};
}

const struct revocation *revocations_at(const struct revocations *t, size_t n)
{
    const struct entry *e = t->oldest;
    while (e && n-- > 0)
        e = e->newer;
    return e ? &e->r : NULL;
}
