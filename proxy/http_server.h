/* HTTP/1.1 for the few who come to us by it: CSEs that notify. Plain, on one
 * address, for those whose address the owner admits; all others are hung up on
 * before a byte of theirs is read. One request of a connection at a time; what
 * is behind it waits. Bounded: connections, their bytes, and their time. */
#ifndef POSTERN_HTTP_SERVER_H
#define POSTERN_HTTP_SERVER_H

#include "http_read.h"
#include "loop.h"
#include "peer.h"

struct http_server;

struct http_server_ops {
    bool (*admits)(void *user, const struct peer *from);
    /* A whole request; views are good for the call. Each is answered once, by
     * its id, then or later. */
    void (*asked)(void *user, uint64_t id, const struct peer *from, const struct http_incoming *q,
                  struct instant now);
};

/* NULL, and `diag` says why. */
MUST_USE struct http_server *http_server_new(struct loop *l, const struct peer *local, bool v6only,
                                             size_t body_max, const struct http_server_ops *ops,
                                             void *user, struct buf *diag);
void http_server_free(struct http_server *s); /* nobody is told; NULL is fine */

/* `lines`: header fields, each with its CR LF; with a body Content-Type among
 * them. Of a connection that is gone nothing happens. */
void http_server_answer(struct http_server *s, uint64_t id, unsigned status, struct bytes lines,
                        struct bytes body, struct instant now);

/* Of every turn. */
void http_server_turn(struct http_server *s, struct instant now);
uint64_t http_server_deadline_ms(const struct http_server *s); /* UINT64_MAX: none */

#endif
