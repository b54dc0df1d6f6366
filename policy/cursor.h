/* The sticky-error reader for all our own binary parsing.
 *
 * Reads past the end return zeros and set `bad`; the caller checks once, at
 * the end, with cursor_done() (everything consumed) or cursor_ok().
 */
#ifndef POSTERN_CURSOR_H
#define POSTERN_CURSOR_H

#include "bytes.h"

struct cursor {
    const uint8_t *p;
    size_t n;
    bool bad;
};

static inline struct cursor cursor_on(struct bytes b)
{
    return (struct cursor){b.p, b.n, false};
}

static inline bool cursor_ok(const struct cursor *c)
{
    return !c->bad;
}

static inline bool cursor_done(const struct cursor *c)
{
    return !c->bad && c->n == 0;
}

static inline struct bytes cursor_take(struct cursor *c, size_t n)
{
    if (c->bad || n > c->n) {
        c->bad = true;
        return BYTES_NONE;
    }
    struct bytes out = {c->p, n};
    c->p += n;
    c->n -= n;
    return out;
}

/* n bytes in network order, n at most 8. */
static inline uint64_t cursor_be(struct cursor *c, size_t n)
{
    struct bytes b = cursor_take(c, n);
    uint64_t v = 0;
    for (size_t i = 0; i < b.n; i++)
        v = v << 8 | b.p[i];
    return v;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)cursor_be(c, 1);
}

static inline uint16_t cursor_u16(struct cursor *c)
{
    return (uint16_t)cursor_be(c, 2);
}

/* A slice behind a length of `width` bytes, as TLS vectors are. */
static inline struct bytes cursor_vector(struct cursor *c, size_t width)
{
    return cursor_take(c, (size_t)cursor_be(c, width));
}

#endif
