#include "identity.h"

#include "../policy/cursor.h"

/* The head of a byte string in shortest form (RFC 8949 4.2.1). */
static struct bytes take_bstr(struct cursor *c)
{
    uint8_t head = cursor_u8(c);
    size_t n = head & 0x1f;
    if (head == 0x58) {
        n = cursor_u8(c);
        if (n < 24)
            c->bad = true;
    } else if (head < 0x40 || head > 0x57) {
        c->bad = true;
    }
    return cursor_take(c, n);
}

/* Written out byte by byte: there is one map to accept, and a general reader
 * would have to be told everything that it is not. The order of the two
 * inner keys is the one freedom that CBOR gives. */
bool identity_kid(struct bytes identity, struct bytes *kid)
{
    static const uint8_t front[] = {0xa1, 0x08, 0xa1, 0x01, 0xa2};
    struct cursor c = cursor_on(identity);
    struct bytes id = BYTES_NONE;
    bool seen_kty = false, seen_kid = false;
    if (!bytes_equal(cursor_take(&c, sizeof front), bytes_of(front, sizeof front)))
        return false;
    for (int i = 0; i < 2; i++) {
        switch (cursor_u8(&c)) {
        case 1:
            if (seen_kty || cursor_u8(&c) != 4)
                return false;
            seen_kty = true;
            break;
        case 2:
            if (seen_kid)
                return false;
            id = take_bstr(&c);
            seen_kid = true;
            break;
        default:
            return false;
        }
    }
    if (!cursor_done(&c) || id.n == 0 || id.n > TOKEN_KID_MAX)
        return false;
    *kid = id;
    return true;
}

bool identity_unwrap(struct bytes identity, struct buf *storage, struct bytes *bytes)
{
    bool any = false;
    for (size_t i = 0; i < identity.n; i++) {
        uint8_t b = identity.p[i];
        if (b >= 0x80) {
            /* C2 and C3 lead all code points from 80 to FF */
            if ((b != 0xc2 && b != 0xc3) || ++i == identity.n || (identity.p[i] & 0xc0) != 0x80)
                return false;
            b = (uint8_t)((b & 3) << 6 | (identity.p[i] & 0x3f));
            any = true;
        }
        buf_put_u8(storage, b);
    }
    if (!any || storage->full)
        return false;
    *bytes = buf_bytes(storage);
    return true;
}
