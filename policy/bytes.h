/* The borrowed slice and its writing twin.
 *
 * Untrusted bytes are `struct bytes`: a view that owns nothing and lives as
 * long as what it points into, usually to the end of the event. `struct buf`
 * is the caller's storage being filled: it never grows, and its first
 * overflow sticks (`full`), so that a writer is checked once, at its end.
 */
#ifndef POSTERN_BYTES_H
#define POSTERN_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_USE __attribute__((warn_unused_result))

struct bytes {
    const uint8_t *p;
    size_t n;
};

struct buf {
    uint8_t *p;
    size_t n;
    size_t cap;
    bool full; /* something did not fit: the content must not be used */
};

#define BYTES_NONE   ((struct bytes){NULL, 0})
#define BYTES_LIT(s) ((struct bytes){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct bytes bytes_of(const void *p, size_t n)
{
    return (struct bytes){p, n};
}

static inline struct bytes bytes_str(const char *s)
{
    return (struct bytes){(const uint8_t *)s, s ? strlen(s) : 0};
}

/* Not constant time: secrets are compared with crypto_equal(). */
static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool bytes_equal_str(struct bytes a, const char *s)
{
    return bytes_equal(a, bytes_str(s));
}

static inline struct buf buf_on(void *storage, size_t cap)
{
    return (struct buf){storage, 0, cap, false};
}

static inline struct bytes buf_bytes(const struct buf *b)
{
    return (struct bytes){b->p, b->full ? 0 : b->n};
}

/* Room for n bytes to be written in place, or NULL with the error stuck. */
static inline uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->full || n > b->cap - b->n) {
        b->full = true;
        return NULL;
    }
    b->n += n;
    return b->p + b->n - n;
}

/* memcpy() of what the compiler may know the bound of, but not the length:
 * there gcc writes a `rep movs` in place, which for a few bytes takes many
 * times what the library takes. */
__attribute__((noinline)) void bytes_copy(void *to, const void *from, size_t n);

static inline void buf_put(struct buf *b, struct bytes s)
{
    uint8_t *to = buf_reserve(b, s.n);
    if (!to || s.n == 0)
        return;
    if (__builtin_constant_p(s.n))
        memcpy(to, s.p, s.n);
    else
        bytes_copy(to, s.p, s.n);
}

static inline void buf_put_u8(struct buf *b, uint8_t v)
{
    uint8_t *to = buf_reserve(b, 1);
    if (to)
        *to = v;
}

/* The n low bytes of v in network order, n at most 8. */
static inline void buf_put_be(struct buf *b, uint64_t v, size_t n)
{
    uint8_t *to = buf_reserve(b, n);
    if (!to)
        return;
    if (__builtin_constant_p(n) && n == sizeof v) {
        v = htobe64(v);
        memcpy(to, &v, sizeof v);
        return;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

static inline void buf_put_str(struct buf *b, const char *s)
{
    buf_put(b, bytes_str(s));
}

/* "00" to "99", one behind the other. */
static const char bytes_two_digits[] = "00010203040506070809101112131415161718192021222324"
                                       "25262728293031323334353637383940414243444546474849"
                                       "50515253545556575859606162636465666768697071727374"
                                       "75767778798081828384858687888990919293949596979899";

/* v in decimal digits, `width` of them at least (20 at most). */
static inline void buf_put_decimal(struct buf *b, uint64_t v, size_t width)
{
    size_t n = 1;
    uint64_t left = v;
    for (; left >= 100; left /= 100)
        n += 2;
    n += left >= 10;
    n = n < width ? width : n;
    uint8_t *to = buf_reserve(b, n);
    if (!to)
        return;
    for (; v >= 10; v /= 100)
        memcpy(to + (n -= 2), bytes_two_digits + v % 100 * 2, 2);
    if (v > 0 || n > 0)
        to[--n] = (uint8_t)('0' + v);
    while (n > 0)
        to[--n] = '0';
}

#endif
