/* A notification that a CSE sends by HTTP (TS-0009) as the CoAP request that it
 * would be (TS-0008), and the answer to that as one of HTTP. The other direction
 * of m2m_http.h; pure. */
#ifndef POSTERN_M2M_HTTP_IN_H
#define POSTERN_M2M_HTTP_IN_H

#include "http_read.h"
#include "m2m_http.h"

/* The request, in the CSE's numbering; type, message ID and token are not set.
 * Returns 0, or the HTTP status that refuses it. */
MUST_USE unsigned m2m_http_in_request(const struct m2m_cse *cse, const struct http_incoming *q,
                                      struct http_reply *out);

/* Status and header lines of the answer; *body is a view. */
unsigned m2m_http_in_answer(const struct m2m_cse *cse, const struct msg *m, struct buf *lines,
                            struct bytes *body);

#endif
