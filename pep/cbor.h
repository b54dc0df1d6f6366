/* Strict CBOR (RFC 8949): a checker, a pull reader, a writer. The one user
 * of libcbor, by its streaming decoder only.
 *
 * Untrusted bytes go through cbor_check() first: it walks one whole item and
 * refuses what no token needs and what makes two parsers disagree: indefinite
 * lengths, duplicate or odd map keys, text that is not UTF-8, simple values,
 * trailing bytes, depth and counts beyond the caps. After it a reader may
 * look up a map's keys in any order and knows that each stands there once.
 *
 * The reader has the house's sticky error: a take of the wrong kind yields
 * zero and sets `bad`, checked once at the end. Slices are borrowed from the
 * input. Nothing is allocated.
 */
#ifndef POSTERN_CBOR_H
#define POSTERN_CBOR_H

#include "../policy/bytes.h"

enum cbor_limits {
    CBOR_DEPTH_MAX = 12,   /* a nested COSE_Key in a cnf in claims needs 4 */
    CBOR_ITEMS_MAX = 4096, /* a key set of some hundred keys */
    CBOR_KEYS_MAX = 48,    /* keys of one map; they are compared with each other */
};

enum cbor_err {
    CBOR_OK = 0,
    CBOR_BAD,   /* not one strict item and nothing else */
    CBOR_LIMIT, /* deeper or larger than the caps */
};

/* One whole item, to the last byte. */
MUST_USE enum cbor_err cbor_check(struct bytes item);

enum cbor_kind {
    CBOR_NONE = 0, /* end, or an error */
    CBOR_UINT,     /* n */
    CBOR_NINT,     /* -1 - n */
    CBOR_BYTES,    /* b */
    CBOR_TEXT,     /* b */
    CBOR_ARRAY,    /* n items follow */
    CBOR_MAP,      /* n pairs follow */
    CBOR_TAG,      /* number n; its item follows */
    CBOR_BOOL,     /* n 0 or 1 */
    CBOR_NULL,
    CBOR_UNDEFINED,
    CBOR_FLOAT, /* f */
};

struct cbor_item {
    enum cbor_kind kind;
    uint64_t n;
    struct bytes b;
    double f;
    bool shortest; /* the head has its shortest form (RFC 8949 4.2.1) */
};

struct cbor {
    struct bytes rest;
    bool bad;
};

static inline struct cbor cbor_on(struct bytes b)
{
    return (struct cbor){b, false};
}

/* Everything was read, and nothing was wrong. */
static inline bool cbor_done(const struct cbor *c)
{
    return !c->bad && c->rest.n == 0;
}

/* The next head, with the content of a string; false at the end or on error. */
bool cbor_next(struct cbor *c, struct cbor_item *out);
enum cbor_kind cbor_peek(const struct cbor *c);
/* The next item whole, with all that is in it; empty on error. */
struct bytes cbor_skip(struct cbor *c);

uint64_t cbor_take_uint(struct cbor *c);
int64_t cbor_take_int(struct cbor *c); /* either sign; beyond int64 is an error */
struct bytes cbor_take_bytes(struct cbor *c);
struct bytes cbor_take_text(struct cbor *c);
size_t cbor_take_array(struct cbor *c);
size_t cbor_take_map(struct cbor *c);

/* A map's key: a small integer, or CBOR_KEY_OTHER for text and whatever else
 * has no number of ours. */
#define CBOR_KEY_OTHER INT64_MIN
int64_t cbor_take_key(struct cbor *c);

/* The writer: shortest forms always; overflow sticks in the buf. */
void cbor_put_uint(struct buf *out, uint64_t v);
void cbor_put_int(struct buf *out, int64_t v);
void cbor_put_bytes(struct buf *out, struct bytes b);
void cbor_put_text(struct buf *out, struct bytes s);
void cbor_put_bytes_head(struct buf *out, size_t n); /* the n bytes follow */
void cbor_put_array(struct buf *out, size_t n);
void cbor_put_map(struct buf *out, size_t n);
void cbor_put_tag(struct buf *out, uint64_t tag);
void cbor_put_bool(struct buf *out, bool v);
void cbor_put_null(struct buf *out);
void cbor_put_double(struct buf *out, double v);

#endif
