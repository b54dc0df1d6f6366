#include "device_cache.h"

#include <stdlib.h>

#include "limits.h"
#include "tagmap.h"

enum {
    CELL_BYTES = 124,
    /* Number and length before each option, and what frames them. */
    KEY_MAX = MESSAGE_MAX + 4 * MSG_OPTIONS_MAX + 16,
    ETAG_MAX = 8,
    NONE = 0, /* cells and entries are counted from 1 */
};

#define US_PER_S UINT64_C(1000000)

struct cell {
    uint32_t next;
    uint8_t p[CELL_BYTES];
};

/* A request's key, then the answer as a message without token and Max-Age,
 * one after the other in its cells. */
struct entry {
    uint64_t kept_us, asked_us, lead;
    uint32_t max_age_s;
    uint32_t tag, cells; /* the first */
    uint32_t older, newer;
    uint16_t key_n, answer_n;
    int32_t device;
    uint8_t etag_n, etag[ETAG_MAX];
};

/* With its part of the tables: an answer has one cell at least, and the
 * index up to four places for each answer. */
#define CELL_COST (sizeof(struct cell) + sizeof(struct entry) + 4 * sizeof(struct tagmap_entry))

struct device_cache {
    struct siphash_key seed;
    struct cell *cells;
    struct entry *entries;
    uint32_t free_cell, free_entry; /* entries through `older` */
    uint32_t newest, oldest;
    size_t n_cells, n_free;
    struct tagmap index;
    uint64_t *changed_us; /* by device */
    size_t n_devices;
    struct cache_stats stats;
    /* of the call that runs */
    uint8_t key[KEY_MAX];
    uint8_t content[KEY_MAX + MESSAGE_MAX];
};

/* ---- memory ---- */

struct device_cache *device_cache_new(size_t bytes, size_t n_devices,
                                      const struct siphash_key *seed)
{
    struct device_cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->n_cells = bytes / CELL_COST;
    c->n_devices = n_devices;
    c->seed = *seed;
    if (c->n_cells * CELL_BYTES < sizeof c->content || c->n_cells >= UINT32_MAX) {
        free(c);
        return NULL;
    }
    /* Not touched before they are used: pages that never are, are not there. */
    c->cells = calloc(c->n_cells + 1, sizeof *c->cells);
    c->entries = calloc(c->n_cells + 1, sizeof *c->entries);
    c->changed_us = calloc(n_devices ? n_devices : 1, sizeof *c->changed_us);
    bool ok = tagmap_init(&c->index, c->n_cells);
    if (!ok || !c->cells || !c->entries || !c->changed_us) {
        device_cache_free(c);
        return NULL;
    }
    c->n_free = c->n_cells;
    return c;
}

void device_cache_free(struct device_cache *c)
{
    if (!c)
        return;
    tagmap_clear(&c->index);
    free(c->changed_us);
    free(c->entries);
    free(c->cells);
    free(c);
}

/* The free ones are those that were given back, then those never used:
 * `next` 0 stands for the one behind it. */
static uint32_t take_cell(struct device_cache *c)
{
    uint32_t i = c->free_cell ? c->free_cell : 1;
    uint32_t next = c->cells[i].next;
    c->free_cell = next ? next : i + 1;
    c->n_free--;
    return i;
}

static void give_cell(struct device_cache *c, uint32_t i)
{
    c->cells[i].next = c->free_cell ? c->free_cell : 1;
    c->free_cell = i;
    c->n_free++;
}

static uint32_t take_entry(struct device_cache *c)
{
    uint32_t i = c->free_entry ? c->free_entry : 1;
    uint32_t next = c->entries[i].older;
    c->free_entry = next ? next : i + 1;
    return i;
}

static void give_entry(struct device_cache *c, uint32_t i)
{
    c->entries[i].older = c->free_entry ? c->free_entry : 1;
    c->free_entry = i;
}

/* ---- the order of use ---- */

static void leave(struct device_cache *c, uint32_t i)
{
    struct entry *e = &c->entries[i];
    if (e->newer)
        c->entries[e->newer].older = e->older;
    else
        c->newest = e->older;
    if (e->older)
        c->entries[e->older].newer = e->newer;
    else
        c->oldest = e->newer;
}

static void enter(struct device_cache *c, uint32_t i)
{
    struct entry *e = &c->entries[i];
    e->newer = NONE;
    e->older = c->newest;
    if (c->newest)
        c->entries[c->newest].newer = i;
    else
        c->oldest = i;
    c->newest = i;
}

static size_t cells_for(size_t n)
{
    return (n + CELL_BYTES - 1) / CELL_BYTES;
}

static void drop(struct device_cache *c, uint32_t i)
{
    struct entry *e = &c->entries[i];
    size_t n = cells_for((size_t)e->key_n + e->answer_n);
    leave(c, i);
    tagmap_remove(&c->index, e->tag, i);
    for (uint32_t at = e->cells; n > 0; n--) {
        uint32_t next = c->cells[at].next;
        give_cell(c, at);
        at = next;
    }
    give_entry(c, i);
    c->stats.answers--;
}

/* Into c->content. */
static void gather(struct device_cache *c, const struct entry *e)
{
    size_t n = (size_t)e->key_n + e->answer_n;
    uint8_t *to = c->content;
    for (uint32_t at = e->cells; n > 0; at = c->cells[at].next) {
        size_t part = n < CELL_BYTES ? n : CELL_BYTES;
        memcpy(to, c->cells[at].p, part);
        to += part;
        n -= part;
    }
}

/* ---- keys ---- */

/* RFC 7252 5.4.6 */
static bool is_no_cache_key(uint16_t number)
{
    return (number & 0x1e) == 0x1c;
}

/* Method, options and, for FETCH, the payload (RFC 8132 2.1). Without those
 * that are understood here (RFC 7252 5.6): ETag, and Request-Tag, which tells
 * the blocks of one request from those of another (RFC 9175 3.2); these here
 * come in one piece, and some clients put a new one into every request. */
static struct bytes write_key(struct device_cache *c, int device, const struct msg *request)
{
    struct buf b = buf_on(c->key, sizeof c->key);
    buf_put_be(&b, (uint32_t)device, 4);
    buf_put_u8(&b, request->code);
    for (size_t i = 0; i < request->n_options; i++) {
        const struct msg_option *o = &request->options[i];
        if (is_no_cache_key(o->number) || o->number == OPT_ETAG || o->number == OPT_REQUEST_TAG)
            continue;
        buf_put_be(&b, o->number, 2);
        buf_put_be(&b, o->value.n, 2);
        buf_put(&b, o->value);
    }
    if (request->code == MSG_FETCH) {
        buf_put_be(&b, 0, 2); /* no option's number */
        buf_put(&b, request->payload);
    }
    return buf_bytes(&b);
}

static uint32_t tag_of(const struct device_cache *c, struct bytes key)
{
    return (uint32_t)siphash(&c->seed, key);
}

/* With its content gathered; NONE: not here. */
static uint32_t find(struct device_cache *c, struct bytes key, uint32_t tag)
{
    size_t step = 0;
    for (uint32_t i; tagmap_find(&c->index, tag, &step, &i);) {
        const struct entry *e = &c->entries[i];
        if (e->key_n != key.n)
            continue;
        gather(c, e);
        if (memcmp(c->content, key.p, key.n) == 0)
            return i;
    }
    return NONE;
}

bool device_cache_takes(const struct msg *request)
{
    if (request->code != MSG_GET && request->code != MSG_FETCH)
        return false;
    for (size_t i = 0; i < request->n_options; i++)
        switch (request->options[i].number) {
        case OPT_OBSERVE:
        case OPT_IF_MATCH: /* conditions are the device's to check, now */
        case OPT_IF_NONE_MATCH:
        case OPT_BLOCK1: /* the body is more than this message */
        case OPT_ECHO:   /* the device wants to see this very request */
            return false;
        case OPT_BLOCK2:
            if (msg_uint(request, OPT_BLOCK2) >> 4 != 0) /* its number; -1 too */
                return false;
            break;
        default:
            break;
        }
    return true;
}

/* ---- freshness ---- */

/* 0: not fresh; else microseconds. */
static uint64_t fresh_us(const struct device_cache *c, const struct entry *e, struct instant now)
{
    uint64_t life = e->max_age_s * US_PER_S, age = now.mono_us - e->kept_us;
    /* What was asked for at the moment of the change may be from before it. */
    if (now.mono_us < e->kept_us || age >= life || e->asked_us <= c->changed_us[e->device])
        return 0;
    return life - age;
}

/* How long the device says that the answer holds; -1: not at all, nor is it
 * worth keeping for its ETag. */
static int64_t lifetime_s(enum cache_mode mode, const struct msg *answer)
{
    const struct msg_option *o = msg_find(answer, OPT_MAX_AGE);
    int64_t s = msg_uint(answer, OPT_MAX_AGE);
    bool error = MSG_CLASS(answer->code) != 2;
    if (o && s < 0)
        return -1;
    if (!o) {
        if (mode != CACHE_YES || error)
            return -1;
        s = CACHE_AGE_S;
    }
    return s > CACHE_AGE_MAX_S ? CACHE_AGE_MAX_S : s;
}

/* 2.05, and errors about what is not there: they end by their Max-Age alone
 * (RFC 7252 5.9). Those about a request's form, rights or blocks are for who
 * sent it. */
static bool is_kept_code(uint8_t code)
{
    return code == MSG_CODE(2, 5) || code == MSG_CODE(4, 4) || code == MSG_CODE(5, 3);
}

/* No option that a proxy may not pass on without understanding it, none
 * twice that stands once, and no part of a body. */
static bool is_kept_form(const struct msg *answer)
{
    for (size_t i = 0; i < answer->n_options; i++) {
        const struct msg_option *o = &answer->options[i];
        bool again = i > 0 && answer->options[i - 1].number == o->number;
        switch (o->number) {
        case OPT_ETAG:
            if (again || o->value.n == 0 || o->value.n > ETAG_MAX)
                return false;
            break;
        case OPT_MAX_AGE:
            if (again)
                return false;
            break;
        case OPT_BLOCK2: { /* number 0, and no more to come */
            int64_t v = again ? -1 : msg_uint(answer, OPT_BLOCK2);
            if (v < 0 || v >> 4 != 0 || (v & 8))
                return false;
            break;
        }
        case OPT_ECHO:
            return false;
        default:
            if (o->number & 3) /* critical or unsafe (RFC 7252 5.4.6) */
                return false;
        }
    }
    return true;
}

static struct bytes etag_of(const struct msg *m)
{
    const struct msg_option *o = msg_find(m, OPT_ETAG);
    return o ? o->value : BYTES_NONE;
}

/* ---- answers ---- */

static bool asks_by(const struct msg *request, struct bytes etag)
{
    for (size_t i = 0; etag.n > 0 && i < request->n_options; i++)
        if (request->options[i].number == OPT_ETAG && bytes_equal(request->options[i].value, etag))
            return true;
    return false;
}

static void copy_head(const struct msg *from, struct msg *to)
{
    to->type = to->token_n = 0;
    to->mid = 0;
    to->code = from->code;
    to->payload = from->payload;
    to->n_options = 0;
}

enum cache_state device_cache_find(struct device_cache *c, int device, const struct msg *request,
                                   struct instant now, struct cache_answer *out)
{
    struct bytes key = c->stats.answers > 0 ? write_key(c, device, request) : BYTES_NONE;
    uint32_t i = key.n ? find(c, key, tag_of(c, key)) : NONE;
    if (i == NONE) {
        c->stats.misses++;
        return CACHE_ABSENT;
    }
    struct entry *e = &c->entries[i];
    uint64_t left_us = fresh_us(c, e, now);
    leave(c, i);
    enter(c, i);
    if (left_us == 0) {
        c->stats.misses++;
        out->etag = bytes_of(e->etag, e->etag_n);
        out->lead = e->lead;
        out->lasts = e->max_age_s > 0;
        out->entry = i;
        return CACHE_STALE;
    }
    if (msg_parse(bytes_of(c->content + e->key_n, e->answer_n), &out->m) != MSG_OK)
        return CACHE_ABSENT;
    struct bytes etag = etag_of(&out->m);
    if (asks_by(request, etag)) {
        out->m.code = MSG_CODE(2, 3);
        out->m.payload = BYTES_NONE;
        out->m.n_options = 0;
        out->m.options[out->m.n_options++] = (struct msg_option){OPT_ETAG, etag};
    }
    /* There is room for one more: put(). */
    if (!msg_add_uint(&out->m, OPT_MAX_AGE, (uint32_t)(left_us / US_PER_S), out->age))
        return CACHE_ABSENT;
    c->stats.hits++;
    return CACHE_FRESH;
}

/* `answer` may be a view into c->content: it is written elsewhere first, and
 * then there, behind the key. */
static bool put(struct device_cache *c, struct bytes key, uint32_t tag, int device,
                const struct msg *answer, uint32_t max_age_s, uint64_t asked_us, struct instant now)
{
    uint8_t text[MESSAGE_MAX];
    struct msg bare;
    struct buf b = buf_on(text, sizeof text);
    copy_head(answer, &bare);
    for (size_t i = 0; i < answer->n_options; i++)
        if (answer->options[i].number != OPT_MAX_AGE)
            bare.options[bare.n_options++] = answer->options[i];
    /* One option less than fit, so that Max-Age can be added. */
    if (bare.n_options == MSG_OPTIONS_MAX || !msg_write(&bare, &b))
        return false;
    struct bytes etag = etag_of(answer);
    size_t n = key.n + b.n, need = cells_for(n);
    while (c->n_free < need) {
        drop(c, c->oldest);
        c->stats.evicted++;
    }
    uint32_t i = take_entry(c);
    struct entry *e = &c->entries[i];
    *e = (struct entry){.kept_us = now.mono_us,
                        .asked_us = asked_us,
                        .max_age_s = max_age_s,
                        .tag = tag,
                        .key_n = (uint16_t)key.n,
                        .answer_n = (uint16_t)b.n,
                        .device = device,
                        .etag_n = (uint8_t)etag.n};
    if (etag.n)
        memcpy(e->etag, etag.p, etag.n);
    memcpy(c->content, key.p, key.n);
    memcpy(c->content + key.n, text, b.n);
    uint32_t *link = &e->cells;
    for (size_t at = 0; at < n; at += CELL_BYTES) {
        uint32_t cell = take_cell(c);
        memcpy(c->cells[cell].p, c->content + at, n - at < CELL_BYTES ? n - at : CELL_BYTES);
        *link = cell;
        link = &c->cells[cell].next;
    }
    tagmap_put(&c->index, tag, i);
    enter(c, i);
    c->stats.answers++;
    c->stats.kept++;
    return true;
}

void device_cache_keep(struct device_cache *c, enum cache_mode mode, int device,
                       const struct msg *request, const struct msg *answer, uint64_t asked_us,
                       struct instant now)
{
    struct bytes key = write_key(c, device, request);
    if (key.n == 0)
        return;
    uint32_t tag = tag_of(c, key), old = find(c, key, tag);
    if (old != NONE)
        drop(c, old);
    if (!is_kept_code(answer->code) || !is_kept_form(answer))
        return;
    int64_t life_s = lifetime_s(mode, answer);
    bool error = MSG_CLASS(answer->code) != 2; /* cannot be validated (RFC 7252 5.9.2) */
    if (life_s < 0 || (life_s == 0 && (error || etag_of(answer).n == 0)))
        return;
    (void)put(c, key, tag, device, answer, (uint32_t)life_s, asked_us, now);
}

bool device_cache_validate(struct device_cache *c, enum cache_mode mode, int device,
                           const struct msg *request, const struct msg *valid, uint64_t asked_us,
                           struct instant now, struct cache_answer *out)
{
    struct bytes key = write_key(c, device, request), etag = etag_of(valid);
    uint32_t tag = tag_of(c, key), i = key.n ? find(c, key, tag) : NONE;
    if (i == NONE || !is_kept_form(valid))
        return false;
    struct entry *e = &c->entries[i];
    struct msg kept;
    if (etag.n == 0 || !bytes_equal(etag, bytes_of(e->etag, e->etag_n)) ||
        msg_parse(bytes_of(c->content + e->key_n, e->answer_n), &kept) != MSG_OK)
        return false;
    /* Of each kind that is safe to forward and in the 2.03, those of the 2.03. */
    copy_head(&kept, &out->m);
    for (size_t k = 0; k < kept.n_options; k++) {
        uint16_t number = kept.options[k].number;
        bool replaced = !(number & 2) && msg_find(valid, number);
        if (!replaced && !msg_add(&out->m, number, kept.options[k].value))
            return false;
    }
    for (size_t k = 0; k < valid->n_options; k++) {
        uint16_t number = valid->options[k].number;
        if (!(number & 2) && !msg_add(&out->m, number, valid->options[k].value))
            return false;
    }
    int64_t life_s = lifetime_s(mode, valid);
    uint32_t max_age_s = life_s < 0 ? 0 : (uint32_t)life_s;
    drop(c, i);
    if (!put(c, key, tag, device, &out->m, max_age_s, asked_us, now))
        return false;
    c->stats.validated++;
    /* Views into the content are not what they were; it is there anew. */
    struct bytes text = bytes_of(c->content + key.n, c->entries[c->newest].answer_n);
    return msg_parse(text, &out->m) == MSG_OK &&
           msg_add_uint(&out->m, OPT_MAX_AGE, max_age_s, out->age);
}

void device_cache_changed(struct device_cache *c, int device, struct instant now)
{
    c->changed_us[device] = now.mono_us;
}

void device_cache_lead(struct device_cache *c, const struct cache_answer *found, uint64_t id)
{
    c->entries[found->entry].lead = id;
}

void device_cache_unlead(struct device_cache *c, int device, const struct msg *request, uint64_t id)
{
    struct bytes key = write_key(c, device, request);
    uint32_t i = key.n ? find(c, key, tag_of(c, key)) : NONE;
    if (i != NONE && c->entries[i].lead == id)
        c->entries[i].lead = 0;
}

void device_cache_get_stats(const struct device_cache *c, struct cache_stats *out)
{
    *out = c->stats;
    out->bytes = (c->n_cells - c->n_free) * CELL_COST;
}
