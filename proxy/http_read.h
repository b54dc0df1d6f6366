/* One HTTP request out of the bytes of a connection (RFC 9112), and no server
 * yet. Strict: a form that two readers could take differently (a bare line
 * feed, folded lines, two lengths, a length beside chunks) is refused, and with
 * it the connection. Pure; nothing is kept between calls. */
#ifndef POSTERN_HTTP_READ_H
#define POSTERN_HTTP_READ_H

#include "../policy/bytes.h"

enum http_read {
    HTTP_READ_MORE = 0, /* not all of it is here */
    HTTP_READ_WHOLE,
    HTTP_READ_BAD, /* `status` says why */
};

enum http_read_limits { HTTP_READ_FIELDS = 48, HTTP_READ_HEADER = 8192 };

/* Views into the bytes. */
struct http_incoming {
    struct bytes method, path, query; /* as they came; the path begins with '/' */
    struct {
        struct bytes name, value;
    } fields[HTTP_READ_FIELDS];
    size_t n_fields;
    struct bytes body;
    bool closes;  /* the connection, after the answer */
    bool expects; /* its body waits for a 100 (RFC 9110 10.1.1); also with HTTP_READ_MORE */
    unsigned status;
};

/* *used: bytes of a whole one. A body of chunks is moved together in place. */
MUST_USE enum http_read http_read(uint8_t *p, size_t n, size_t body_max, struct http_incoming *out,
                                  size_t *used);

/* A field that may come once: how often it is there. Names without case. */
size_t http_incoming_find(const struct http_incoming *q, const char *name, struct bytes *value);

#endif
