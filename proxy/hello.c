#include "hello.h"

#include "../policy/cursor.h"

enum { VERSION_MAJOR = 0xfe };

bool dtls_next_record(struct bytes *datagram, struct bytes *record)
{
    return dtls_take_record(datagram, false, record);
}

bool dtls_take_record(struct bytes *datagram, bool cid, struct bytes *record)
{
    struct cursor c = cursor_on(*datagram);
    uint8_t type = cursor_u8(&c);
    uint8_t major = cursor_u8(&c);
    cursor_take(&c, 1 + 8); /* minor version; epoch and sequence */
    bool has_cid = cid && type == DTLS_WITH_CID;
    if (has_cid)
        cursor_take(&c, DTLS_CID);
    size_t n = cursor_vector(&c, 2).n;
    bool known = has_cid || (type >= DTLS_CHANGE_CIPHER_SPEC && type <= DTLS_APPLICATION_DATA);
    if (!cursor_ok(&c) || major != VERSION_MAJOR || !known || n == 0) {
        *datagram = BYTES_NONE;
        return false;
    }
    *record = bytes_of(datagram->p, datagram->n - c.n);
    *datagram = bytes_of(c.p, c.n);
    return true;
}

static bool handshake_is_sound(struct cursor c)
{
    while (cursor_ok(&c) && c.n) {
        cursor_take(&c, 1);
        uint64_t length = cursor_be(&c, 3);
        cursor_take(&c, 2);
        uint64_t offset = cursor_be(&c, 3);
        uint64_t n = cursor_vector(&c, 3).n;
        if (length > HANDSHAKE_MAX || offset + n > length)
            return false;
    }
    return cursor_ok(&c);
}

bool dtls_record_is_sound(struct bytes record)
{
    struct cursor c = cursor_on(record);
    cursor_take(&c, DTLS_RECORD_HEADER);
    if (!cursor_ok(&c))
        return false;
    if (dtls_record_epoch(record) != 0)
        return true;
    switch (dtls_record_type(record)) {
    case DTLS_HANDSHAKE:
        return handshake_is_sound(c);
    case DTLS_ALERT:
        return c.n == 2;
    case DTLS_CHANGE_CIPHER_SPEC:
        return c.n == 1 && c.p[0] == 1;
    default: /* application data in clear */
        return false;
    }
}

bool hello_looks_like(struct bytes datagram)
{
    return datagram.n > DTLS_RECORD_HEADER && dtls_record_type(datagram) == DTLS_HANDSHAKE &&
           dtls_record_epoch(datagram) == 0 &&
           datagram.p[DTLS_RECORD_HEADER] == HANDSHAKE_CLIENT_HELLO;
}

bool hello_parse(struct bytes datagram, struct hello *out)
{
    struct hello h = {0};
    struct cursor record = cursor_on(datagram);
    bool ok = cursor_u8(&record) == DTLS_HANDSHAKE;
    ok &= cursor_u8(&record) == VERSION_MAJOR;
    cursor_take(&record, 1);
    ok &= cursor_u16(&record) == 0; /* epoch */
    h.sequence = cursor_be(&record, 6);
    struct cursor message = cursor_on(cursor_vector(&record, 2));
    ok &= cursor_done(&record);

    ok &= cursor_u8(&message) == HANDSHAKE_CLIENT_HELLO;
    size_t length = (size_t)cursor_be(&message, 3);
    h.message_seq = cursor_u16(&message);
    ok &= cursor_be(&message, 3) == 0; /* fragment_offset */
    ok &= cursor_be(&message, 3) == length;
    ok &= message.n == length;

    h.version = cursor_u16(&message);
    ok &= h.version >> 8 == VERSION_MAJOR;
    h.random = cursor_take(&message, HELLO_RANDOM);
    h.session_id = cursor_vector(&message, 1);
    ok &= h.session_id.n <= 32;
    h.cookie = cursor_vector(&message, 1);
    h.suites = cursor_vector(&message, 2);
    ok &= h.suites.n >= 2 && h.suites.n % 2 == 0;
    h.compression = cursor_vector(&message, 1);
    ok &= h.compression.n >= 1;
    if (message.n) /* extensions may be absent altogether */
        cursor_vector(&message, 2);
    ok &= cursor_done(&message);
    if (ok)
        *out = h;
    return ok;
}
