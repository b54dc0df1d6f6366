#include "key_exchange.h"

#include "../policy/cursor.h"

void key_exchange_init(struct key_exchange *k, uint16_t message_seq)
{
    memset(k, 0, sizeof *k);
    k->message_seq = message_seq;
}

static void keep(struct key_exchange *k, size_t offset, struct bytes part)
{
    for (size_t i = 0; i < part.n && offset + i < KEY_EXCHANGE_HEAD; i++) {
        k->head[offset + i] = part.p[i];
        k->have[(offset + i) / 8] |= (uint8_t)(1u << (offset + i) % 8);
    }
}

static bool has(const struct key_exchange *k, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(k->have[i / 8] >> i % 8 & 1))
            return false;
    return true;
}

static size_t identity_n(const struct key_exchange *k)
{
    return (size_t)(k->head[0] << 8 | k->head[1]);
}

static enum key_exchange_state state_of(const struct key_exchange *k)
{
    if (k->length == 0)
        return KEY_EXCHANGE_PART;
    if (k->length < 2)
        return KEY_EXCHANGE_BAD;
    if (!has(k, 2))
        return KEY_EXCHANGE_PART;
    if (identity_n(k) > IDENTITY_MAX || 2 + identity_n(k) > k->length)
        return KEY_EXCHANGE_BAD;
    return has(k, 2 + identity_n(k)) ? KEY_EXCHANGE_WHOLE : KEY_EXCHANGE_PART;
}

enum key_exchange_state key_exchange_take(struct key_exchange *k, struct bytes record)
{
    struct cursor c = cursor_on(record);
    bool ours = cursor_u8(&c) == DTLS_HANDSHAKE;
    cursor_take(&c, 2);
    ours &= cursor_u16(&c) == 0;
    cursor_take(&c, 6 + 2);
    /* One record may hold several messages. */
    while (ours && cursor_ok(&c) && c.n) {
        uint8_t type = cursor_u8(&c);
        uint32_t length = (uint32_t)cursor_be(&c, 3);
        uint16_t seq = cursor_u16(&c);
        uint32_t offset = (uint32_t)cursor_be(&c, 3);
        struct bytes part = cursor_vector(&c, 3);
        if (!cursor_ok(&c) || part.n > length || offset > length - part.n)
            break;
        if (type != HANDSHAKE_CLIENT_KEY_EXCHANGE || seq != k->message_seq)
            continue;
        if (k->length && length != k->length) /* the engine ignores such a one too */
            continue;
        if (length == 0)
            return KEY_EXCHANGE_BAD;
        k->length = length;
        keep(k, offset, part);
    }
    return state_of(k);
}

struct bytes key_exchange_identity(const struct key_exchange *k)
{
    return bytes_of(k->head + 2, identity_n(k));
}
