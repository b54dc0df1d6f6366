/* A URI of ours taken apart (RFC 3986; coap: RFC 7252 6.1): scheme, host, port,
 * path. User information, queries and fragments are refused: no URI of ours has
 * any. Pure; resolving a name is another matter. */
#ifndef POSTERN_URL_H
#define POSTERN_URL_H

#include "bytes.h"

enum url_limits { URL_HOST_MAX = 255, URL_SEGMENT_MAX = 255 };

struct url {
    struct bytes scheme;
    char host[URL_HOST_MAX + 1]; /* lower case; an IPv6 literal without brackets */
    bool is_v6_literal;
    int port;          /* -1: none given */
    struct bytes path; /* raw, empty or beginning with '/' */
};

/* False: *why is static text. */
MUST_USE bool url_parse(struct bytes text, struct url *out, const char **why);

/* Takes the next segment off *path (raw, "/a/b") into `to` (URL_SEGMENT_MAX
 * bytes), percent-decoded; *n its length. False at the end, or with *why set
 * when the segment is not one: empty, "." or "..", holding '/' or NUL. */
MUST_USE bool url_next_segment(struct bytes *path, uint8_t *to, size_t *n, const char **why);

#endif
