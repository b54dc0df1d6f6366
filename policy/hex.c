#include "hex.h"

int hex_digit(uint8_t c)
{
    int v = -1;
    v += (('0' - 1 - c) & (c - ('9' + 1))) >> 8 & (c - '0' + 1);
    v += (('A' - 1 - c) & (c - ('F' + 1))) >> 8 & (c - 'A' + 11);
    v += (('a' - 1 - c) & (c - ('f' + 1))) >> 8 & (c - 'a' + 11);
    return v;
}

void hex_put(struct buf *out, struct bytes b)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < b.n; i++) {
        buf_put_u8(out, (uint8_t)digits[b.p[i] >> 4]);
        buf_put_u8(out, (uint8_t)digits[b.p[i] & 15]);
    }
}

void hex_put_percent(struct buf *out, uint8_t c)
{
    static const char digits[] = "0123456789ABCDEF";
    buf_put_u8(out, '%');
    buf_put_u8(out, (uint8_t)digits[c >> 4]);
    buf_put_u8(out, (uint8_t)digits[c & 15]);
}
