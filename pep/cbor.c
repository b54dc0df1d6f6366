#include "cbor.h"

#include "../policy/utf8.h"
#include "compat_cbor.h"

/* ---- libcbor's callbacks: each fills the item ---- */

static void on_uint(void *ctx, uint64_t v)
{
    struct cbor_item *i = ctx;
    i->kind = CBOR_UINT;
    i->n = v;
}

static void on_uint8(void *ctx, uint8_t v)
{
    on_uint(ctx, v);
}

static void on_uint16(void *ctx, uint16_t v)
{
    on_uint(ctx, v);
}

static void on_uint32(void *ctx, uint32_t v)
{
    on_uint(ctx, v);
}

static void on_nint(void *ctx, uint64_t v)
{
    struct cbor_item *i = ctx;
    i->kind = CBOR_NINT;
    i->n = v;
}

static void on_nint8(void *ctx, uint8_t v)
{
    on_nint(ctx, v);
}

static void on_nint16(void *ctx, uint16_t v)
{
    on_nint(ctx, v);
}

static void on_nint32(void *ctx, uint32_t v)
{
    on_nint(ctx, v);
}

static void on_bytes(void *ctx, cbor_data p, compat_cbor_len n)
{
    struct cbor_item *i = ctx;
    i->kind = CBOR_BYTES;
    i->n = n;
    i->b = bytes_of(p, (size_t)n);
}

static void on_text(void *ctx, cbor_data p, compat_cbor_len n)
{
    on_bytes(ctx, p, n);
    ((struct cbor_item *)ctx)->kind = CBOR_TEXT;
}

static void on_array(void *ctx, compat_cbor_len n)
{
    struct cbor_item *i = ctx;
    i->kind = CBOR_ARRAY;
    i->n = n;
}

static void on_map(void *ctx, compat_cbor_len n)
{
    struct cbor_item *i = ctx;
    i->kind = CBOR_MAP;
    i->n = n;
}

static void on_tag(void *ctx, uint64_t n)
{
    struct cbor_item *i = ctx;
    i->kind = CBOR_TAG;
    i->n = n;
}

static void on_double(void *ctx, double f)
{
    struct cbor_item *i = ctx;
    i->kind = CBOR_FLOAT;
    i->f = f;
}

static void on_float(void *ctx, float f)
{
    on_double(ctx, (double)f);
}

static void on_bool(void *ctx, bool v)
{
    struct cbor_item *i = ctx;
    i->kind = CBOR_BOOL;
    i->n = v;
}

static void on_null(void *ctx)
{
    ((struct cbor_item *)ctx)->kind = CBOR_NULL;
}

static void on_undefined(void *ctx)
{
    ((struct cbor_item *)ctx)->kind = CBOR_UNDEFINED;
}

/* Indefinite lengths and their break: the item stays CBOR_NONE. */
static void on_refused(void *ctx)
{
    (void)ctx;
}

static const struct cbor_callbacks callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint,
    .negint8 = on_nint8,
    .negint16 = on_nint16,
    .negint32 = on_nint32,
    .negint64 = on_nint,
    .byte_string_start = on_refused,
    .byte_string = on_bytes,
    .string = on_text,
    .string_start = on_refused,
    .indef_array_start = on_refused,
    .array_start = on_array,
    .indef_map_start = on_refused,
    .map_start = on_map,
    .tag = on_tag,
    .float2 = on_float,
    .float4 = on_float,
    .float8 = on_double,
    .undefined = on_undefined,
    .null = on_null,
    .boolean = on_bool,
    .indef_break = on_refused,
};

/* The additional information 24 to 27 announces an argument of 1, 2, 4, 8
 * bytes; each must be too large for the form below it. Floats have a choice
 * of width of their own and count as shortest. */
static bool is_shortest(uint8_t head, const struct cbor_item *i)
{
    if (i->kind == CBOR_FLOAT || i->kind >= CBOR_BOOL)
        return true;
    switch (head & 0x1f) {
    case 24:
        return i->n > 23;
    case 25:
        return i->n > 0xff;
    case 26:
        return i->n > 0xffff;
    case 27:
        return i->n > 0xffffffff;
    default:
        return true;
    }
}

bool cbor_next(struct cbor *c, struct cbor_item *out)
{
    struct cbor_item i = {0};
    *out = i;
    if (c->bad || c->rest.n == 0)
        return false;
    uint8_t head = c->rest.p[0];
    struct cbor_decoder_result r = {.read = 1, .status = CBOR_DECODER_FINISHED};
    /* libcbor refuses the tags 6 to 20 in one byte as unassigned; COSE has
     * 16, 17 and 18. */
    if (head >= 0xc0 && head < 0xd8)
        on_tag(&i, head & 0x1f);
    else
        r = cbor_stream_decode(c->rest.p, c->rest.n, &callbacks, &i);
    if (r.status != CBOR_DECODER_FINISHED || r.read == 0 || r.read > c->rest.n ||
        i.kind == CBOR_NONE) {
        c->bad = true;
        return false;
    }
    i.shortest = is_shortest(head, &i);
    c->rest.p += r.read;
    c->rest.n -= r.read;
    *out = i;
    return true;
}

enum cbor_kind cbor_peek(const struct cbor *c)
{
    struct cbor copy = *c;
    struct cbor_item i;
    return cbor_next(&copy, &i) ? i.kind : CBOR_NONE;
}

/* ---- the checker ---- */

struct walk {
    struct cbor c;
    size_t items;
    enum cbor_err err;
};

static bool fail(struct walk *w, enum cbor_err e)
{
    w->err = e;
    return false;
}

static bool same_key(const struct cbor_item *a, const struct cbor_item *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == CBOR_UINT || a->kind == CBOR_NINT)
        return a->n == b->n;
    return bytes_equal(a->b, b->b);
}

static bool walk_item(struct walk *w, unsigned depth, struct cbor_item *out);

static bool walk_map(struct walk *w, unsigned depth, uint64_t n)
{
    struct cbor_item keys[CBOR_KEYS_MAX];
    if (n > CBOR_KEYS_MAX)
        return fail(w, CBOR_LIMIT);
    for (size_t i = 0; i < n; i++) {
        struct cbor_item value;
        if (!walk_item(w, depth, &keys[i]))
            return false;
        /* Labels are integers or text (RFC 9052 1.4); byte strings do no
         * harm; nothing else can be compared by value at sight. */
        enum cbor_kind k = keys[i].kind;
        if (k != CBOR_UINT && k != CBOR_NINT && k != CBOR_TEXT && k != CBOR_BYTES)
            return fail(w, CBOR_BAD);
        /* By value: 01 and 1801 are the same key. */
        for (size_t j = 0; j < i; j++)
            if (same_key(&keys[i], &keys[j]))
                return fail(w, CBOR_BAD);
        if (!walk_item(w, depth, &value))
            return false;
    }
    return true;
}

static bool walk_item(struct walk *w, unsigned depth, struct cbor_item *out)
{
    if (depth >= CBOR_DEPTH_MAX || w->items++ >= CBOR_ITEMS_MAX)
        return fail(w, CBOR_LIMIT);
    if (!cbor_next(&w->c, out))
        return fail(w, CBOR_BAD);
    struct cbor_item inner;
    switch (out->kind) {
    case CBOR_TEXT:
        return utf8_is(out->b) || fail(w, CBOR_BAD);
    case CBOR_TAG:
        return walk_item(w, depth + 1, &inner);
    case CBOR_ARRAY:
        /* Every item takes a byte: a huge count fails here, not after a walk. */
        if (out->n > w->c.rest.n)
            return fail(w, CBOR_BAD);
        for (uint64_t i = 0; i < out->n; i++)
            if (!walk_item(w, depth + 1, &inner))
                return false;
        return true;
    case CBOR_MAP:
        if (out->n > w->c.rest.n / 2)
            return fail(w, CBOR_BAD);
        return walk_map(w, depth + 1, out->n);
    default:
        return true;
    }
}

enum cbor_err cbor_check(struct bytes item)
{
    struct walk w = {.c = cbor_on(item)};
    struct cbor_item top;
    if (!walk_item(&w, 0, &top))
        return w.err;
    return cbor_done(&w.c) ? CBOR_OK : CBOR_BAD;
}

/* ---- the reader ---- */

struct bytes cbor_skip(struct cbor *c)
{
    const uint8_t *from = c->rest.p;
    uint64_t left = 1;
    while (left) {
        struct cbor_item i;
        if (!cbor_next(c, &i)) {
            c->bad = true;
            return BYTES_NONE;
        }
        left--;
        uint64_t more = i.kind == CBOR_ARRAY ? i.n : i.kind == CBOR_TAG ? 1 : 0;
        if (i.kind == CBOR_MAP)
            more = i.n > c->rest.n ? UINT64_MAX : 2 * i.n;
        if (more > c->rest.n || left > c->rest.n - more) {
            c->bad = true;
            return BYTES_NONE;
        }
        left += more;
    }
    return bytes_of(from, (size_t)(c->rest.p - from));
}

static struct cbor_item take(struct cbor *c, enum cbor_kind kind)
{
    struct cbor_item i;
    if (!cbor_next(c, &i) || i.kind != kind) {
        c->bad = true;
        i = (struct cbor_item){0};
    }
    return i;
}

uint64_t cbor_take_uint(struct cbor *c)
{
    return take(c, CBOR_UINT).n;
}

int64_t cbor_take_int(struct cbor *c)
{
    struct cbor_item i;
    if (!cbor_next(c, &i) || (i.kind != CBOR_UINT && i.kind != CBOR_NINT) || i.n > INT64_MAX) {
        c->bad = true;
        return 0;
    }
    return i.kind == CBOR_UINT ? (int64_t)i.n : -1 - (int64_t)i.n;
}

struct bytes cbor_take_bytes(struct cbor *c)
{
    return take(c, CBOR_BYTES).b;
}

struct bytes cbor_take_text(struct cbor *c)
{
    return take(c, CBOR_TEXT).b;
}

/* A count is at most what is left: it is safe to loop over. */
static size_t take_count(struct cbor *c, enum cbor_kind kind)
{
    uint64_t n = take(c, kind).n;
    if (n > c->rest.n) {
        c->bad = true;
        return 0;
    }
    return (size_t)n;
}

size_t cbor_take_array(struct cbor *c)
{
    return take_count(c, CBOR_ARRAY);
}

size_t cbor_take_map(struct cbor *c)
{
    return take_count(c, CBOR_MAP);
}

int64_t cbor_take_key(struct cbor *c)
{
    struct cbor_item i;
    if (!cbor_next(c, &i))
        c->bad = true;
    /* INT64_MIN itself is nobody's label. */
    if ((i.kind != CBOR_UINT && i.kind != CBOR_NINT) || i.n >= INT64_MAX)
        return CBOR_KEY_OTHER;
    return i.kind == CBOR_UINT ? (int64_t)i.n : -1 - (int64_t)i.n;
}

/* ---- the writer ---- */

enum { HEAD_MAX = 9 };

static void put(struct buf *out, const unsigned char *head, size_t n)
{
    buf_put(out, bytes_of(head, n));
}

#define PUT(out, encode, value)                                                                    \
    do {                                                                                           \
        unsigned char head[HEAD_MAX];                                                              \
        put(out, head, encode(value, head, sizeof head));                                          \
    } while (0)

void cbor_put_uint(struct buf *out, uint64_t v)
{
    PUT(out, cbor_encode_uint, v);
}

void cbor_put_int(struct buf *out, int64_t v)
{
    if (v >= 0)
        PUT(out, cbor_encode_uint, (uint64_t)v);
    else
        PUT(out, cbor_encode_negint, (uint64_t)(-1 - v));
}

void cbor_put_bytes_head(struct buf *out, size_t n)
{
    PUT(out, cbor_encode_bytestring_start, n);
}

void cbor_put_bytes(struct buf *out, struct bytes b)
{
    cbor_put_bytes_head(out, b.n);
    buf_put(out, b);
}

void cbor_put_text(struct buf *out, struct bytes s)
{
    PUT(out, cbor_encode_string_start, s.n);
    buf_put(out, s);
}

void cbor_put_array(struct buf *out, size_t n)
{
    PUT(out, cbor_encode_array_start, n);
}

void cbor_put_map(struct buf *out, size_t n)
{
    PUT(out, cbor_encode_map_start, n);
}

void cbor_put_tag(struct buf *out, uint64_t tag)
{
    PUT(out, cbor_encode_tag, tag);
}

void cbor_put_bool(struct buf *out, bool v)
{
    PUT(out, cbor_encode_bool, v);
}

void cbor_put_null(struct buf *out)
{
    unsigned char head[HEAD_MAX];
    put(out, head, cbor_encode_null(head, sizeof head));
}

void cbor_put_double(struct buf *out, double v)
{
    PUT(out, cbor_encode_double, v);
}
