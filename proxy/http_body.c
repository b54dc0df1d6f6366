#include "http_body.h"

#include <stdlib.h>

#include "../policy/siphash.h"
#include "limits.h"

enum { SZX_SURE = 6 /* blocks of BODY_SURE bytes */, SZX_BERT = 7 };

struct body {
    struct body *older, *newer;
    const void *owner;
    uint64_t hash, until_ms;
    bool kept;          /* an answer; else a request that is being put together */
    size_t cost;        /* of what is counted */
    size_t key_n, n;    /* bytes of `data`: the key, then head and body */
    size_t head_n, cap; /* of what follows the key: code and options of an answer */
    uint8_t *key, *data;
};

struct http_bodies {
    struct body *oldest, *newest;
    size_t used, max, n;
    struct body *whole; /* handed out by http_bodies_take() */
    uint8_t key[MESSAGE_MAX];
};

struct http_bodies *http_bodies_new(size_t bytes)
{
    struct http_bodies *b = calloc(1, sizeof *b);
    if (b)
        b->max = bytes;
    return b;
}

static void drop(struct http_bodies *b, struct body *e)
{
    if (e->older)
        e->older->newer = e->newer;
    else
        b->oldest = e->newer;
    if (e->newer)
        e->newer->older = e->older;
    else
        b->newest = e->older;
    b->used -= e->cost;
    b->n--;
    if (b->whole == e)
        b->whole = NULL;
    free(e->key);
    free(e->data);
    free(e);
}

void http_bodies_free(struct http_bodies *b)
{
    while (b && b->oldest)
        drop(b, b->oldest);
    free(b);
}

void http_bodies_forget(struct http_bodies *b, const void *owner)
{
    for (struct body *e = b->oldest, *next; e; e = next) {
        next = e->newer;
        if (e->owner == owner)
            drop(b, e);
    }
}

/* Room for n more bytes, of what is not `but`. */
static bool make_room(struct http_bodies *b, size_t n, const struct body *but)
{
    while (b->used + n > b->max) {
        struct body *e = b->oldest == but && but ? b->oldest->newer : b->oldest;
        if (!e)
            return false;
        drop(b, e);
    }
    return true;
}

static void append(struct http_bodies *b, struct body *e)
{
    e->older = b->newest;
    if (b->newest)
        b->newest->newer = e;
    else
        b->oldest = e;
    b->newest = e;
}

/* ---- keys ---- */

/* What further blocks of one body need not have in common (RFC 7959 2.7: they
 * come without the payload, and so without its format). */
static bool is_of_block(uint16_t number)
{
    return number == OPT_BLOCK1 || number == OPT_BLOCK2 || number == OPT_SIZE1 ||
           number == OPT_SIZE2 || number == OPT_OBSERVE || number == OPT_ETAG;
}

static struct bytes make_key(struct http_bodies *b, const struct msg *m, bool kept)
{
    struct msg bare = {.type = TYPE_NON, .code = m->code};
    for (size_t i = 0; i < m->n_options; i++)
        if (!is_of_block(m->options[i].number) &&
            !(kept && m->options[i].number == OPT_CONTENT_FORMAT))
            bare.options[bare.n_options++] = m->options[i];
    struct buf out = buf_on(b->key, sizeof b->key);
    return msg_write(&bare, &out) ? buf_bytes(&out) : BYTES_NONE;
}

static uint64_t hash_of(struct bytes key)
{
    static const struct siphash_key none = {0, 0}; /* only saves comparing */
    return siphash(&none, key);
}

static struct body *find(struct http_bodies *b, const void *owner, bool kept, struct bytes key,
                         struct instant now)
{
    uint64_t hash = hash_of(key);
    while (b->oldest && b->oldest->until_ms <= instant_ms(now))
        drop(b, b->oldest);
    for (struct body *e = b->newest; e; e = e->older)
        if (e->owner == owner && e->kept == kept && e->hash == hash &&
            bytes_equal(bytes_of(e->key, e->key_n), key))
            return e;
    return NULL;
}

static struct body *add(struct http_bodies *b, const void *owner, bool kept, struct bytes key,
                        struct instant now)
{
    size_t cost = sizeof(struct body) + key.n;
    if (b->n == HTTP_BODIES)
        drop(b, b->oldest);
    struct body *e = key.n > 0 && make_room(b, cost, NULL) ? calloc(1, sizeof *e) : NULL;
    if (!e)
        return NULL;
    e->key = malloc(key.n);
    if (!e->key) {
        free(e);
        return NULL;
    }
    memcpy(e->key, key.p, key.n);
    e->key_n = key.n;
    e->owner = owner;
    e->kept = kept;
    e->hash = hash_of(key);
    e->until_ms = instant_ms(now) + EXCHANGE_LIFETIME_MS;
    e->cost = cost;
    b->used += cost;
    b->n++;
    append(b, e);
    return e;
}

/* Bytes at the end. False: no memory, and nothing changed. */
static bool grow(struct http_bodies *b, struct body *e, struct bytes part)
{
    size_t cap = e->cap ? e->cap : BODY_SURE;
    while (cap < e->n + part.n)
        cap *= 2;
    if (cap > e->cap) {
        if (!make_room(b, cap - e->cap, e))
            return false;
        uint8_t *data = realloc(e->data, cap);
        if (!data)
            return false;
        b->used += cap - e->cap;
        e->cost += cap - e->cap;
        e->data = data;
        e->cap = cap;
    }
    if (part.n > 0)
        memcpy(e->data + e->n, part.p, part.n);
    e->n += part.n;
    return true;
}

/* ---- blocks ---- */

bool http_block_read(const struct msg *m, uint16_t option, struct http_block *out)
{
    int64_t v = msg_uint(m, option);
    *out = (struct http_block){.there = v >= 0, .szx = SZX_SURE};
    if (v < 0)
        return true;
    out->number = (uint32_t)v >> 4;
    out->more = v >> 3 & 1;
    out->szx = (uint8_t)(v & 7);
    return out->szx != SZX_BERT && v < INT64_C(1) << 24;
}

uint32_t http_block_value(const struct http_block *block)
{
    return block->number << 4 | (block->more ? 8u : 0u) | block->szx;
}

static size_t size_of(const struct http_block *block)
{
    return (size_t)16 << block->szx;
}

enum http_body_verdict http_bodies_take(struct http_bodies *b, const void *owner,
                                        const struct msg *m, struct instant now, struct bytes *body)
{
    struct http_block block;
    http_bodies_done(b);
    if (!http_block_read(m, OPT_BLOCK1, &block))
        return BODY_BAD;
    *body = m->payload;
    if (!block.there || (block.number == 0 && !block.more))
        return BODY_WHOLE;
    size_t at = (size_t)block.number * size_of(&block);
    if (m->payload.n > size_of(&block) || (block.more && m->payload.n != size_of(&block)))
        return BODY_BAD;
    if (at + m->payload.n > HTTP_BODY_MAX || msg_uint(m, OPT_SIZE1) > HTTP_BODY_MAX)
        return BODY_TOO_LARGE;
    struct bytes key = make_key(b, m, false);
    struct body *e = find(b, owner, false, key, now);
    if (block.number == 0) { /* a new beginning */
        if (e)
            drop(b, e);
        e = add(b, owner, false, key, now);
        if (!e)
            return BODY_FULL;
    }
    if (!e || at > e->n)
        return BODY_INCOMPLETE;
    /* One that was there already is fine if it is the same. */
    size_t again = e->n - at;
    if (again > m->payload.n ||
        !bytes_equal(bytes_of(e->data + at, again), bytes_of(m->payload.p, again)))
        return BODY_INCOMPLETE;
    if (!grow(b, e, bytes_of(m->payload.p + again, m->payload.n - again)))
        return BODY_FULL;
    if (block.more)
        return BODY_CONTINUE;
    b->whole = e;
    *body = bytes_of(e->data, e->n);
    return BODY_WHOLE;
}

void http_bodies_done(struct http_bodies *b)
{
    if (b->whole)
        drop(b, b->whole);
}

/* ---- answers ---- */

bool http_bodies_keep(struct http_bodies *b, const void *owner, const struct msg *asked,
                      const struct msg *answer, struct instant now)
{
    uint8_t text[MESSAGE_MAX];
    struct buf head = buf_on(text, sizeof text);
    struct msg bare = *answer;
    bare.payload = BYTES_NONE;
    struct bytes key = make_key(b, asked, true);
    struct body *e = find(b, owner, true, key, now);
    if (e)
        drop(b, e);
    if (!msg_write(&bare, &head) || !(e = add(b, owner, true, key, now)))
        return false;
    e->head_n = head.n;
    if (grow(b, e, buf_bytes(&head)) && grow(b, e, answer->payload))
        return true;
    drop(b, e);
    return false;
}

bool http_bodies_find(struct http_bodies *b, const void *owner, const struct msg *asked,
                      struct instant now, struct msg *answer)
{
    const struct body *e = find(b, owner, true, make_key(b, asked, true), now);
    if (!e || msg_parse(bytes_of(e->data, e->head_n), answer) != MSG_OK)
        return false;
    answer->payload = bytes_of(e->data + e->head_n, e->n - e->head_n);
    return true;
}

bool http_block_cut(struct msg *answer, const struct http_block *asked,
                    struct http_block_scratch *scratch)
{
    struct bytes whole = answer->payload;
    size_t size = size_of(asked), at = (size_t)asked->number * size;
    if (!asked->there && whole.n <= size)
        return true;
    if (at >= whole.n && at > 0)
        return false;
    struct http_block block = {
        .number = asked->number, .szx = asked->szx, .more = whole.n - at > size};
    answer->payload = bytes_of(whole.p + at, block.more ? size : whole.n - at);
    return msg_add_uint(answer, OPT_BLOCK2, http_block_value(&block), scratch->block) &&
           (at > 0 || !block.more ||
            msg_add_uint(answer, OPT_SIZE2, (uint32_t)whole.n, scratch->size));
}
