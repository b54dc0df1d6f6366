/* The psk_identity of a TLS client, read in clear from its record before the
 * engine needs its key: of a ClientKeyExchange (TLS 1.2; RFC 4279 2, RFC 5489
 * 2) or of a ClientHello (TLS 1.3; RFC 8446 4.2.11). Pure views into the
 * record. A message that does not lie in one record whole has none: the
 * engine then finds no key for it. */
#ifndef POSTERN_TLS_PEEK_H
#define POSTERN_TLS_PEEK_H

#include "../policy/bytes.h"

enum tls_numbers {
    TLS_RECORD_HEADER = 5,
    TLS_RECORD_MAX = 16384 + 256, /* RFC 8446 5.2; RFC 5246 6.2.3 allows more than any AEAD adds */
    TLS_IDENTITIES_MAX = 4,       /* of a ClientHello that we look at; each may cost a look-up */
};

/* What a record's header says of its length, header included; 0: it is no
 * record of TLS, or longer than TLS_RECORD_MAX. */
size_t tls_record_length(const uint8_t header[TLS_RECORD_HEADER]);

/* Of a whole record with its header; n 0: there is none. */
struct bytes tls_peek_key_exchange(struct bytes record);
/* The i-th that a ClientHello offers which also offers TLS 1.3. */
struct bytes tls_peek_hello(struct bytes record, size_t i);
/* The suite of our own ServerHello, 0: it is none. */
uint16_t tls_peek_suite(struct bytes record);

#endif
