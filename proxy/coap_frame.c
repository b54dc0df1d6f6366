#include "coap_frame.h"

#include "../policy/cursor.h"
#include "msg.h"

/* RFC 8323 3.2: the nibbles that announce 1, 2 and 4 more bytes, and what
 * these begin to count from. */
enum { EXTENDED_1 = 13, EXTENDED_2 = 14, EXTENDED_4 = 15 };
enum { FROM_1 = 13, FROM_2 = 269, FROM_4 = 65805 };

enum { DATAGRAM_HEADER = 4 };

struct header {
    uint64_t length; /* of options and payload */
    uint8_t code, token_n;
};

/* False: not all of it is there, or its token length is bad. */
static bool take_header(struct cursor *c, struct header *h)
{
    uint8_t first = cursor_u8(c);
    h->token_n = first & 0x0f;
    switch (first >> 4) {
    case EXTENDED_1:
        h->length = FROM_1 + cursor_be(c, 1);
        break;
    case EXTENDED_2:
        h->length = FROM_2 + cursor_be(c, 2);
        break;
    case EXTENDED_4:
        h->length = FROM_4 + cursor_be(c, 4);
        break;
    default:
        h->length = first >> 4;
        break;
    }
    h->code = cursor_u8(c);
    return cursor_ok(c) && h->token_n <= MSG_TOKEN_MAX;
}

enum frame_state frame_look(struct bytes in, size_t max, size_t *n)
{
    struct cursor c = cursor_on(in);
    struct header h;
    *n = 0;
    /* Known by the first byte already. */
    if (in.n > 0 && (in.p[0] & 0x0f) > MSG_TOKEN_MAX)
        return FRAME_BAD;
    if (!take_header(&c, &h))
        return FRAME_PART;
    uint64_t whole = (in.n - c.n) + h.token_n + h.length;
    if (whole > max)
        return FRAME_TOO_LARGE;
    *n = (size_t)whole;
    return in.n >= whole ? FRAME_WHOLE : FRAME_PART;
}

struct frame frame_open(struct bytes whole)
{
    struct cursor c = cursor_on(whole);
    struct header h;
    (void)take_header(&c, &h);
    struct frame f = {.code = h.code, .token = cursor_take(&c, h.token_n)};
    f.rest = bytes_of(c.p, c.n);
    return f;
}

struct bytes frame_as_datagram(uint8_t *whole, size_t n, uint8_t type, uint16_t mid)
{
    struct cursor c = cursor_on(bytes_of(whole, n));
    struct header h;
    (void)take_header(&c, &h);
    size_t behind = n - c.n; /* the header's length: 2 to 4 */
    uint8_t *to = whole + behind - DATAGRAM_HEADER;
    to[0] = (uint8_t)(0x40 | (type & 3) << 4 | h.token_n);
    to[1] = h.code;
    to[2] = (uint8_t)(mid >> 8);
    to[3] = (uint8_t)mid;
    return bytes_of(to, DATAGRAM_HEADER + c.n);
}

bool frame_write(struct bytes datagram, struct buf *out)
{
    struct cursor c = cursor_on(datagram);
    uint8_t token_n = cursor_u8(&c) & 0x0f;
    uint8_t code = cursor_u8(&c);
    (void)cursor_u16(&c);
    struct bytes token = cursor_take(&c, token_n);
    if (!cursor_ok(&c) || token_n > MSG_TOKEN_MAX)
        return false;
    if (c.n < FROM_1) {
        buf_put_u8(out, (uint8_t)(c.n << 4 | token_n));
    } else if (c.n < FROM_2) {
        buf_put_u8(out, (uint8_t)(EXTENDED_1 << 4 | token_n));
        buf_put_be(out, c.n - FROM_1, 1);
    } else if (c.n < FROM_4) {
        buf_put_u8(out, (uint8_t)(EXTENDED_2 << 4 | token_n));
        buf_put_be(out, c.n - FROM_2, 2);
    } else {
        buf_put_u8(out, (uint8_t)(EXTENDED_4 << 4 | token_n));
        buf_put_be(out, c.n - FROM_4, 4);
    }
    buf_put_u8(out, code);
    buf_put(out, token);
    buf_put(out, bytes_of(c.p, c.n));
    return !out->full;
}
