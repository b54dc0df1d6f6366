/* A ClientHello (RFC 6347 4.2.2, RFC 5246 7.4.1.2) as a view into its
 * datagram. Strict: one record, one whole handshake message, everything
 * consumed. A fragmented ClientHello is none: the engine cannot reassemble
 * one without state, and a stranger has none. */
#ifndef POSTERN_HELLO_H
#define POSTERN_HELLO_H

#include "../policy/bytes.h"

enum dtls_numbers {
    DTLS_RECORD_HEADER = 13, /* RFC 6347 4.1 */
    DTLS_CHANGE_CIPHER_SPEC = 20,
    DTLS_ALERT = 21,
    DTLS_HANDSHAKE = 22,
    DTLS_APPLICATION_DATA = 23,
    DTLS_WITH_CID = 25,    /* RFC 9146 4: whatever it is, encrypted, behind our connection ID */
    DTLS_CID = 8,          /* bytes of each that we hand out */
    HANDSHAKE_HEADER = 12, /* RFC 6347 4.2.2 */
    HANDSHAKE_MAX = 16384 - HANDSHAKE_HEADER, /* what the engine can put together */
    HANDSHAKE_CLIENT_HELLO = 1,
    HANDSHAKE_SERVER_HELLO = 2,
    HANDSHAKE_HELLO_VERIFY = 3,
    HANDSHAKE_CLIENT_KEY_EXCHANGE = 16,
    HELLO_RANDOM = 32,
};

struct hello {
    uint64_t sequence; /* of the record; the epoch is 0 */
    uint16_t message_seq;
    uint16_t version; /* the highest that the client speaks */
    struct bytes random, session_id, cookie, suites, compression;
};

/* Whether it is meant as one: type and epoch. Nothing more is checked. */
bool hello_looks_like(struct bytes datagram);
MUST_USE bool hello_parse(struct bytes datagram, struct hello *out);

/* The first record of a datagram with its header, taken off it. False, with
 * the rest dropped: what is left is not a DTLS record. */
MUST_USE bool dtls_next_record(struct bytes *datagram, struct bytes *record);
/* Likewise; with `cid` also a record that has a connection ID of ours behind
 * its sequence number, so that its header is DTLS_CID longer. */
MUST_USE bool dtls_take_record(struct bytes *datagram, bool cid, struct bytes *record);
/* Whether a record of a handshake is what its type says: whole messages or
 * fragments within their message, an alert of two bytes. One that is
 * protected cannot be told. */
MUST_USE bool dtls_record_is_sound(struct bytes record);
static inline uint8_t dtls_record_type(struct bytes record)
{
    return record.p[0];
}
/* Of a record with one. */
static inline struct bytes dtls_record_cid(struct bytes record)
{
    return bytes_of(record.p + DTLS_RECORD_HEADER - 2, DTLS_CID);
}
static inline uint64_t dtls_record_number(struct bytes record)
{
    uint64_t n = 0;
    for (size_t i = 5; i < 11; i++)
        n = n << 8 | record.p[i];
    return n;
}
static inline uint16_t dtls_record_epoch(struct bytes record)
{
    return (uint16_t)(record.p[3] << 8 | record.p[4]);
}

#endif
