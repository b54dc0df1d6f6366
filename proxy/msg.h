/* A CoAP message (RFC 7252 3) as a view into its datagram, and back. The
 * only user of libcoap, for its option codec and its numbers. */
#ifndef POSTERN_MSG_H
#define POSTERN_MSG_H

#include "../policy/bytes.h"

enum msg_type { TYPE_CON = 0, TYPE_NON = 1, TYPE_ACK = 2, TYPE_RST = 3 };

#define MSG_CODE(class, detail) ((uint8_t)((class) << 5 | (detail)))
#define MSG_CLASS(code)         ((code) >> 5)

enum msg_limits { MSG_OPTIONS_MAX = 64, MSG_TOKEN_MAX = 8 };

/* RFC 7252 12.2 and its followers. */
enum msg_option_number {
    OPT_IF_MATCH = 1,
    OPT_URI_HOST = 3,
    OPT_ETAG = 4,
    OPT_IF_NONE_MATCH = 5,
    OPT_OBSERVE = 6,
    OPT_URI_PORT = 7,
    OPT_LOCATION_PATH = 8,
    OPT_OSCORE = 9,
    OPT_URI_PATH = 11,
    OPT_CONTENT_FORMAT = 12,
    OPT_MAX_AGE = 14,
    OPT_URI_QUERY = 15,
    OPT_HOP_LIMIT = 16,
    OPT_ACCEPT = 17,
    OPT_LOCATION_QUERY = 20,
    OPT_BLOCK2 = 23,
    OPT_BLOCK1 = 27,
    OPT_SIZE2 = 28,
    OPT_PROXY_URI = 35,
    OPT_PROXY_SCHEME = 39,
    OPT_SIZE1 = 60,
    OPT_ECHO = 252,
    OPT_NO_RESPONSE = 258,
    OPT_REQUEST_TAG = 292,
};

enum msg_code {
    MSG_EMPTY = 0,
    MSG_GET = 1,
    MSG_POST = 2,
    MSG_PUT = 3,
    MSG_DELETE = 4,
    MSG_FETCH = 5,
    MSG_PATCH = 6,
    MSG_IPATCH = 7,
};

enum msg_content_format {
    CF_NONE = -1,
    CF_TEXT = 0,
    CF_COSE_ENCRYPT0 = 16,
    CF_COSE_MAC0 = 17,
    CF_COSE_SIGN1 = 18,
    CF_ACE_CBOR = 19,
    CF_LINK = 40,
    CF_OCTETS = 42,
    CF_CBOR = 60,
    CF_CWT = 61,
};

struct msg_option {
    uint16_t number;
    struct bytes value;
};

struct msg {
    uint8_t type;
    uint8_t code;
    uint16_t mid;
    uint8_t token_n;
    uint8_t token[MSG_TOKEN_MAX];
    size_t n_options;
    struct msg_option options[MSG_OPTIONS_MAX]; /* in order of number */
    struct bytes payload;
};

/* What a datagram is. All but MSG_OK leave only type, mid and code of the
 * view filled, as far as they could be read. */
enum msg_parse {
    MSG_OK = 0,
    MSG_IGNORE, /* not CoAP version 1, or too short: silence (RFC 7252 3) */
    MSG_BAD,    /* a message format error: RST if CON, else silence (4.2, 4.3) */
};

MUST_USE enum msg_parse msg_parse(struct bytes datagram, struct msg *out);

/* What stands behind a token, on any transport: options and payload, of a
 * message of any class; signals too (RFC 8323 5.1). False: not well-formed. */
MUST_USE bool msg_parse_rest(uint8_t code, struct bytes token, struct bytes rest, struct msg *out);

/* Writes into `out`; options are written in the order of the array, which
 * must be sorted (msg_add keeps it so). False: does not fit. */
MUST_USE bool msg_write(const struct msg *m, struct buf *out);
/* Empty ACK or RST. */
void msg_write_empty(enum msg_type type, uint16_t mid, struct buf *out);

/* Adds behind those of the same number. False: too many. */
MUST_USE bool msg_add(struct msg *m, uint16_t number, struct bytes value);
/* An unsigned integer option in shortest form; `storage` (4 bytes) must live
 * as long as the message. */
MUST_USE bool msg_add_uint(struct msg *m, uint16_t number, uint32_t v, uint8_t storage[4]);
const struct msg_option *msg_find(const struct msg *m, uint16_t number); /* the first, or NULL */
/* The value of an unsigned integer option; -1: absent or longer than 4 bytes. */
int64_t msg_uint(const struct msg *m, uint16_t number);

static inline bool msg_is_request(const struct msg *m)
{
    return MSG_CLASS(m->code) == 0 && m->code != MSG_EMPTY;
}

static inline bool msg_is_response(const struct msg *m)
{
    return MSG_CLASS(m->code) >= 2 && MSG_CLASS(m->code) <= 5;
}

#endif
