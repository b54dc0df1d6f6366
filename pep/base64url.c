#include "base64url.h"

/* Secrets pass here: no table that a cache would tell of. -1: no digit. */
static int value(uint8_t c)
{
    int v = -1;
    v += (('A' - 1 - c) & (c - ('Z' + 1))) >> 8 & (c - 'A' + 1);
    v += (('a' - 1 - c) & (c - ('z' + 1))) >> 8 & (c - 'a' + 27);
    v += (('0' - 1 - c) & (c - ('9' + 1))) >> 8 & (c - '0' + 53);
    v += (('-' - 1 - c) & (c - ('-' + 1))) >> 8 & 63;
    v += (('_' - 1 - c) & (c - ('_' + 1))) >> 8 & 64;
    return v;
}

bool base64url_is_digit(uint8_t c)
{
    return value(c) >= 0;
}

bool base64url_is(struct bytes text)
{
    int bad = 0, last = 0;
    for (size_t i = 0; i < text.n; i++)
        bad |= last = value(text.p[i]);
    unsigned spare = text.n % 4 == 2 ? 15 : text.n % 4 == 3 ? 3 : 0;
    return text.n % 4 != 1 && bad >= 0 && ((unsigned)last & spare) == 0;
}

bool base64url_read(struct bytes text, struct buf *out)
{
    size_t at = out->n;
    uint32_t bits = 0;
    unsigned held = 0;
    int bad = 0;
    if (text.n % 4 == 1 || base64url_size(text.n) > out->cap - out->n || out->full)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int v = value(text.p[i]);
        bad |= v;
        bits = bits << 6 | ((uint32_t)v & 63);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out->p[at++] = (uint8_t)(bits >> held);
        }
    }
    if (bad < 0 || (bits & ((1u << held) - 1)) != 0)
        return false;
    out->n = at;
    return true;
}

static uint8_t digit(uint32_t v)
{
    /* 0..25 A-Z, 26..51 a-z, 52..61 0-9, 62 -, 63 _, each step by arithmetic */
    int d = (int)v, c = 'A' + d;
    c += (25 - d) >> 8 & ('a' - 'Z' - 1);
    c += (51 - d) >> 8 & ('0' - 'z' - 1);
    c += (61 - d) >> 8 & ('-' - '9' - 1);
    c += (62 - d) >> 8 & ('_' - '-' - 1);
    return (uint8_t)c;
}

void base64url_put(struct buf *out, struct bytes b)
{
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < b.n; i++) {
        bits = bits << 8 | b.p[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            buf_put_u8(out, digit(bits >> held & 63));
        }
    }
    if (held)
        buf_put_u8(out, digit(bits << (6 - held) & 63));
}
