/* What a psk_identity may be (RFC 9202 3.3.2): pure reading, no lookup. */
#ifndef POSTERN_IDENTITY_H
#define POSTERN_IDENTITY_H

#include "token.h"

/* True if `identity` is the CBOR map {8: {1: {1: 4, 2: kid}}} and nothing
 * else, in deterministic lengths; *kid is a slice of it, 1 to TOKEN_KID_MAX
 * bytes. */
MUST_USE bool identity_kid(struct bytes identity, struct bytes *kid);

/* Some stacks take the identity for text and write each byte as a code
 * point in UTF-8. True if `identity` is such a text, all of whose code
 * points are below 256 and one of them not ASCII; *bytes is in `storage`. */
MUST_USE bool identity_unwrap(struct bytes identity, struct buf *storage, struct bytes *bytes);

#endif
