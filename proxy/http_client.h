/* HTTP towards authorization servers and devices, on our loop. The only user
 * of libcurl, but for ship_carrier.c, which blocks a thread of its own.
 *
 * The server's certificate and name are always verified; there is no way to
 * turn that off. Redirects are not followed, no proxy or cookie or file of
 * the environment is looked at, and an answer has a bound. Connections are
 * kept and few. Names are resolved by libcurl in a thread of its own. */
#ifndef POSTERN_HTTP_CLIENT_H
#define POSTERN_HTTP_CLIENT_H

#include "loop.h"

struct http_client;

enum http_client_limits {
    HTTP_ANSWER_MAX = 65536,
    HTTP_CONNECTIONS = 16, /* of all servers; the rest waits its turn */
    HTTP_CONNECTIONS_PER_HOST = 4,
    HTTP_CONNECT_MS = 5000,
    HTTP_KEEP_S = 60, /* a connection that nobody used so long is not used again */
    HTTP_FIELDS_MAX = 64,
    HTTP_HEADER_BYTES = 16384, /* bytes of an answer's header, interim ones included */
};

/* Why there is no status. */
enum http_end {
    HTTP_ANSWERED = 0,
    HTTP_UNREACHABLE, /* no such name, nobody there, or the connection broke */
    HTTP_UNTRUSTED,   /* the server's certificate or name is not as it must be */
    HTTP_SILENT,      /* too slow */
    HTTP_TOO_LARGE,
};

struct http_field {
    const char *name, *value;
};

enum http_auth { HTTP_AUTH_NONE = 0, HTTP_AUTH_BASIC, HTTP_AUTH_BEARER };

/* All but `body` is text, borrowed for the question's life; what follows
 * `wait_ms`, `url` and `content_type` only until http_client_ask() returns. */
struct http_question {
    const char *url;
    const char *content_type; /* NULL: GET, unless `method` says otherwise */
    const char *accept;       /* NULL: anything */
    struct bytes body;        /* copied */
    enum http_auth auth;
    const char *user, *secret;     /* basic: both, as they go out; bearer: the token */
    struct bytes ca;               /* PEM; n 0: the system's */
    struct bytes certificate, key; /* PEM, for mutual TLS; n 0: none */
    uint64_t wait_ms;

    const char *method;       /* NULL: GET, or POST with a content type */
    const char *const *lines; /* further "Name: value" lines, free of control characters */
    size_t n_lines;
    const char *connect_to; /* "192.0.2.1:80", "[2001:db8::1]:80": where the URL's host is */
    size_t answer_max;      /* 0: HTTP_ANSWER_MAX */
    bool fields;            /* the answer's header fields are wanted */
    /* Never sent a second time: else it is, where a kept connection turns out
     * to be closed and nothing came (RFC 9110 9.2.2). */
    bool once;
    bool probe; /* opens a connection, with its handshake, and asks nothing */
};

struct http_answer {
    enum http_end end;               /* other than HTTP_ANSWERED: only `sent` is said */
    bool sent;                       /* it may have arrived there */
    unsigned status;                 /* 200, ...; 0 of a probe */
    const struct http_field *fields; /* without those of interim answers and trailers */
    size_t n_fields;
    const char *content_type; /* as it came, parameters included; NULL: none */
    struct bytes body;
    uint32_t retry_s; /* Retry-After; 0: none */
};

/* Each question gets one, never from within http_client_ask(). Borrowed for
 * the call, which may ask and cancel, and must not free the client. */
typedef void http_done_fn(void *user, uint64_t id, const struct http_answer *a, struct instant now);

MUST_USE struct http_client *http_client_new(struct loop *l, http_done_fn *done, void *user);
void http_client_free(struct http_client *h); /* nobody is told */
/* Other bounds than HTTP_CONNECTIONS, _PER_HOST; 0: the questions are bound
 * otherwise. `kept`: connections that may be idle. */
void http_client_allow(struct http_client *h, size_t connections, size_t per_host, size_t kept);

/* False: out of memory, or something of *q is unusable. */
MUST_USE bool http_client_ask(struct http_client *h, uint64_t id, const struct http_question *q,
                              struct instant now);
void http_client_cancel(struct http_client *h, uint64_t id); /* without a word */

/* Of every turn. Returns the next deadline in ms, UINT64_MAX: none. */
uint64_t http_client_turn(struct http_client *h, struct instant now);
uint64_t http_client_deadline_ms(const struct http_client *h); /* as of now */

#endif
