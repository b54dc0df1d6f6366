/* A CoAP request on its way to become one of HTTP, and the answer on its way
 * back: what http_map.c and m2m_http.c write into. Pure.
 *
 * What a client sends goes into lines of text here. It is encoded or refused,
 * so that no value can end its line, its path segment or its query parameter
 * (RFC 9110 5.5, RFC 3986 3): what the server reads is what was judged. */
#ifndef POSTERN_HTTP_MESSAGE_H
#define POSTERN_HTTP_MESSAGE_H

#include "http_client.h"
#include "msg.h"

enum http_message_limits {
    HTTP_TARGET_MAX = 8192, /* each byte of a message may become three */
    HTTP_LINES_MAX = 32,
    HTTP_TEXT_MAX = 8192,   /* of all header lines */
    HTTP_OPTION_TEXT = 4096 /* of all option values of an answer */
};

/* Where the server is, for its Location. Borrowed. */
struct http_origin {
    bool tls;
    const char *host; /* without brackets */
    int port;
    const struct bytes *base;
    size_t n_base;
};

struct http_request {
    const char *method;
    char target[HTTP_TARGET_MAX]; /* path and query */
    const char *content_type, *accept;
    const char *lines[HTTP_LINES_MAX];
    size_t n_lines;
    struct bytes body;
    struct buf text; /* on `storage` */
    uint8_t storage[HTTP_TEXT_MAX];
};

void http_request_init(struct http_request *r);
/* Path and query from the message's options. `keep`: characters of a query
 * that stand as they are, beside letters, digits and "-._~". Options that
 * are `skip`, or begin with it and '=', are left out; NULL: none. Returns 0 or
 * the response code: 4.00 for a path that a server could read as another. */
MUST_USE uint8_t http_request_target(struct http_request *r, const struct msg *m, const char *keep,
                                     const char *skip);
/* Visible ASCII, with single spaces inside: what a header field can hold so that
 * all read it alike. */
bool http_is_value(struct bytes v);
/* False: the value is none of those, or there is no room. */
MUST_USE bool http_request_line(struct http_request *r, const char *name, struct bytes value);
/* Text that lives as long as the request; NULL: no room. */
const char *http_request_text(struct http_request *r, struct bytes a, struct bytes b);

/* A field that may come once (RFC 9110 5.3). */
enum http_found { HTTP_FOUND_NONE = 0, HTTP_FOUND_ONE, HTTP_FOUND_MANY };
enum http_found http_answer_find(const struct http_answer *a, const char *name,
                                 struct bytes *value);

/* The answer for the client: type, message ID and token are not set, and the
 * payload is the whole body. */
struct http_reply {
    struct msg m;
    struct buf text; /* on `storage` */
    uint8_t storage[HTTP_OPTION_TEXT];
};

void http_reply_init(struct http_reply *r, uint8_t code);
/* Copies the value. False: no room. */
MUST_USE bool http_reply_option(struct http_reply *r, uint16_t number, struct bytes value);
MUST_USE bool http_reply_uint(struct http_reply *r, uint16_t number, uint32_t v);

/* A Location, or Content-Location, as options. One that is not the origin's,
 * is malformed or does not fit is left out: they are elective. A relative one
 * begins beside the request's path; with `ids` it is an identifier of a CSE:
 * it begins at the base, and one with "//" is absolute (TS-0001 7.2). */
void http_reply_location(struct http_reply *r, const struct http_origin *o, const struct msg *asked,
                         struct bytes value, bool ids);

#endif
