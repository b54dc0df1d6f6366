#include "tls_peek.h"

#include "../policy/cursor.h"
#include "hello.h"
#include "limits.h"

enum {
    CHANGE_CIPHER_SPEC = 20, /* the first of the content types; the last is application data */
    EXTENSION_VERSIONS = 43,
    EXTENSION_PSK = 41,
    VERSION_13 = 0x0304,
};

size_t tls_record_length(const uint8_t header[TLS_RECORD_HEADER])
{
    size_t n = (size_t)header[3] << 8 | header[4];
    if (header[0] < CHANGE_CIPHER_SPEC || header[0] > DTLS_APPLICATION_DATA || header[1] != 3 ||
        n == 0 || n > TLS_RECORD_MAX)
        return 0;
    return TLS_RECORD_HEADER + n;
}

/* The body of the record's first handshake message, if it is of that type. */
static struct cursor message(struct bytes record, uint8_t type)
{
    struct cursor c = cursor_on(record);
    if (cursor_u8(&c) != DTLS_HANDSHAKE)
        return cursor_on(BYTES_NONE);
    cursor_take(&c, 2);
    struct cursor m = cursor_on(cursor_vector(&c, 2));
    if (cursor_u8(&m) != type)
        return cursor_on(BYTES_NONE);
    return cursor_on(cursor_vector(&m, 3));
}

static struct bytes within_limit(struct bytes identity)
{
    return identity.n <= IDENTITY_MAX ? identity : BYTES_NONE;
}

struct bytes tls_peek_key_exchange(struct bytes record)
{
    struct cursor c = message(record, HANDSHAKE_CLIENT_KEY_EXCHANGE);
    return within_limit(cursor_vector(&c, 2));
}

static bool offers_13(struct bytes body)
{
    struct cursor c = cursor_on(body);
    struct cursor versions = cursor_on(cursor_vector(&c, 1));
    while (versions.n && cursor_ok(&versions))
        if (cursor_u16(&versions) == VERSION_13)
            return true;
    return false;
}

struct bytes tls_peek_hello(struct bytes record, size_t i)
{
    struct cursor c = message(record, HANDSHAKE_CLIENT_HELLO);
    cursor_take(&c, 2 + HELLO_RANDOM);
    cursor_vector(&c, 1);
    cursor_vector(&c, 2);
    cursor_vector(&c, 1);
    struct cursor extensions = cursor_on(cursor_vector(&c, 2));
    struct bytes psk = BYTES_NONE;
    bool is_13 = false;
    while (extensions.n && cursor_ok(&extensions)) {
        uint16_t type = cursor_u16(&extensions);
        struct bytes body = cursor_vector(&extensions, 2);
        if (type == EXTENSION_PSK)
            psk = body;
        else if (type == EXTENSION_VERSIONS)
            is_13 = offers_13(body);
    }
    if (!cursor_done(&extensions) || !cursor_done(&c) || !is_13)
        return BYTES_NONE;
    c = cursor_on(psk);
    struct cursor identities = cursor_on(cursor_vector(&c, 2));
    struct bytes identity = BYTES_NONE;
    for (size_t k = 0; k <= i; k++) {
        identity = cursor_vector(&identities, 2);
        cursor_take(&identities, 4); /* its age: of tickets only */
    }
    return cursor_ok(&identities) ? within_limit(identity) : BYTES_NONE;
}

uint16_t tls_peek_suite(struct bytes record)
{
    struct cursor c = message(record, HANDSHAKE_SERVER_HELLO);
    cursor_take(&c, 2 + HELLO_RANDOM);
    cursor_vector(&c, 1);
    return cursor_u16(&c);
}
