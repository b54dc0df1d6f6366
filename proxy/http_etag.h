/* Entity-tags of HTTP (RFC 9110 8.8.3) and the ETags that stand for them with
 * clients: eight bytes at most (RFC 7252 5.10.6), so a hash. To ask a server by
 * one its text is needed again: the last ones are kept. A client that comes
 * with one that was forgotten gets the whole resource, or 4.12. */
#ifndef POSTERN_HTTP_ETAG_H
#define POSTERN_HTTP_ETAG_H

#include "../policy/bytes.h"

struct http_etags;

enum http_etag_limits {
    HTTP_ETAG_ID = 8,
    HTTP_ETAG_MAX = 127, /* a longer one of a server's is not told */
    HTTP_ETAGS = 512,
};

MUST_USE struct http_etags *http_etags_new(void);
void http_etags_free(struct http_etags *t); /* NULL is fine */

/* The field's value. False: it is no entity-tag, or too long. */
MUST_USE bool http_etags_put(struct http_etags *t, struct bytes text, uint8_t id[HTTP_ETAG_ID]);
/* NULL: not known. */
const char *http_etags_find(const struct http_etags *t, struct bytes id);

#endif
