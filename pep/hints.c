#include "hints.h"

/* Keys of RFC 9200 table 1. */
enum { HINT_AS = 1, HINT_AUDIENCE = 5, HINT_SCOPE = 9, HINT_CNONCE = 39, CNONCE_MAX = 23 };

static size_t text_size(struct bytes s)
{
    return s.n == 0 ? 0 : 1 + (s.n < 24 ? 1u : s.n < 256 ? 2u : 3u) + s.n;
}

static void put_text(struct buf *out, uint8_t key, struct bytes s)
{
    if (s.n == 0)
        return;
    buf_put_u8(out, key);
    if (s.n < 24) {
        buf_put_u8(out, (uint8_t)(0x60 | s.n));
    } else if (s.n < 256) {
        buf_put_u8(out, 0x78);
        buf_put_u8(out, (uint8_t)s.n);
    } else {
        buf_put_u8(out, 0x79);
        buf_put_be(out, s.n, 2);
    }
    buf_put(out, s);
}

void hints_write(const struct hints *h, struct buf *out)
{
    struct hints w = *h;
    size_t room = out->cap - out->n;
    size_t nonce = w.cnonce.n && w.cnonce.n <= CNONCE_MAX ? 3 + w.cnonce.n : 0;
    if (nonce + 1 > room)
        nonce = 0;
    room -= nonce;
    if (text_size(w.as) + 1 > room)
        w.as = BYTES_NONE;
    if (text_size(w.as) + text_size(w.audience) + 1 > room)
        w.audience = BYTES_NONE;
    if (text_size(w.as) + text_size(w.audience) + text_size(w.scope) + 1 > room)
        w.scope = BYTES_NONE;
    unsigned n =
        (w.as.n ? 1u : 0) + (w.audience.n ? 1u : 0) + (w.scope.n ? 1u : 0) + (nonce ? 1u : 0);
    if (n == 0)
        return;
    buf_put_u8(out, (uint8_t)(0xa0 | n));
    put_text(out, HINT_AS, w.as);
    put_text(out, HINT_AUDIENCE, w.audience);
    put_text(out, HINT_SCOPE, w.scope);
    if (nonce) {
        buf_put_u8(out, 0x18);
        buf_put_u8(out, HINT_CNONCE);
        buf_put_u8(out, (uint8_t)(0x40 | w.cnonce.n));
        buf_put(out, w.cnonce);
    }
}
