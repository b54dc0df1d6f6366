/* CoAP for clients, HTTP for the device: requests and answers, with what of
 * them has a meaning on either side (RFC 7252 10.1, and the tables of RFC 8075
 * read the other way round). m2m_http.c has what oneM2M puts on top. Pure.
 *
 * The other side of it is a server that may say anything. What it says that
 * CoAP cannot tell is 5.02, or left out where nothing depends on it; what a
 * client asks that HTTP cannot tell is refused, and never asked in part. */
#ifndef POSTERN_HTTP_MAP_H
#define POSTERN_HTTP_MAP_H

#include "http_etag.h"
#include "http_message.h"
#include "m2m_cse.h"

/* The device that is asked. */
struct http_side {
    struct http_origin origin;
    struct http_etags *etags;
    const struct m2m_cse *cse; /* NULL: it speaks no oneM2M */
};

/* `body`: the payload, put together from its blocks. Returns 0, or the response
 * code that refuses it; *why is static text for people. */
MUST_USE uint8_t http_map_request(const struct http_side *s, const struct msg *m, struct bytes body,
                                  struct http_request *out, const char **why);
/* What the client gets; `a` was HTTP_ANSWERED. */
void http_map_answer(const struct http_side *s, const struct msg *asked,
                     const struct http_answer *a, struct http_reply *out);

/* ---- for m2m_http.c ---- */

/* Content-Format, Accept and what makes it conditional. As http_map_request(). */
MUST_USE uint8_t http_map_options(const struct http_side *s, const struct msg *m,
                                  struct http_request *out, const char **why);
/* Payload and its format, ETag, Max-Age, for an answer whose code is set. NULL:
 * done; else 5.02, and this is why. */
MUST_USE const char *http_map_content(const struct http_side *s, const struct msg *asked,
                                      const struct http_answer *a, struct http_reply *out);

#endif
