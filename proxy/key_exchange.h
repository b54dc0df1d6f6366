/* The psk_identity of a ClientKeyExchange (RFC 4279 2, RFC 5489 2), read in
 * clear before the engine needs its key. Fragments may come in any order,
 * twice, or overlapping (RFC 6347 4.2.3); only what the identity can fill is
 * kept. */
#ifndef POSTERN_KEY_EXCHANGE_H
#define POSTERN_KEY_EXCHANGE_H

#include "hello.h"
#include "limits.h"

enum key_exchange_state {
    KEY_EXCHANGE_PART = 0,
    KEY_EXCHANGE_WHOLE,
    KEY_EXCHANGE_BAD, /* no identity that we take can be in it */
};

enum { KEY_EXCHANGE_HEAD = 2 + IDENTITY_MAX };

struct key_exchange {
    uint16_t message_seq; /* the one that it must have */
    uint32_t length;      /* of the message, by its first fragment; 0: none came */
    uint8_t have[KEY_EXCHANGE_HEAD / 8 + 1];
    uint8_t head[KEY_EXCHANGE_HEAD];
};

void key_exchange_init(struct key_exchange *k, uint16_t message_seq);
/* Takes one record of epoch 0 with its header; others than handshake records
 * and other messages change nothing. */
MUST_USE enum key_exchange_state key_exchange_take(struct key_exchange *k, struct bytes record);
/* Once whole. */
struct bytes key_exchange_identity(const struct key_exchange *k);

#endif
