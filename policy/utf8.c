#include "utf8.h"

size_t utf8_size(struct bytes s)
{
    if (s.n == 0)
        return 0;
    uint8_t c = s.p[0];
    if (c < 0x80)
        return 1;
    /* The second byte's range keeps out what has another form, or none. */
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (c < 0xc2 || c > 0xf4 || s.n < n || s.p[1] < low || s.p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s.p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool utf8_is(struct bytes s)
{
    while (s.n > 0) {
        size_t n = utf8_size(s);
        if (n == 0)
            return false;
        s = bytes_of(s.p + n, s.n - n);
    }
    return true;
}
