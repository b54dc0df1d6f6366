/* AS Request Creation Hints (RFC 9200 5.3): the payload of a 4.01. */
#ifndef POSTERN_HINTS_H
#define POSTERN_HINTS_H

#include "../policy/bytes.h"

enum { HINTS_FORMAT = 19 }; /* application/ace+cbor */

struct hints {
    struct bytes as;       /* absolute URI of the authorization server */
    struct bytes audience; /* what to ask for */
    struct bytes scope;    /* words that would do */
    struct bytes cnonce;   /* to be asked for in the token (5.3.1) */
};

/* Writes the map of those that are not empty. What does not fit is left out,
 * the least useful first (scope, audience): a hint is only a hint, but without
 * the cnonce no token is of use. Nothing is written when nothing is left. */
void hints_write(const struct hints *h, struct buf *out);

#endif
