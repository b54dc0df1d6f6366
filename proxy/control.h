/* The control socket: one JSON object a line in, one out. It owns the socket
 * and its few connections, reads requests without blocking on the worker's
 * loop, and knows no command: `answer` does (admin.h). The socket's mode,
 * 0660, says who may ask. */
#ifndef POSTERN_CONTROL_H
#define POSTERN_CONTROL_H

#include "loop.h"

struct control;

enum control_limits {
    CONTROL_PEERS_MAX = 8,          /* connections; the one longest idle gives way */
    CONTROL_REQUEST_MAX = 4096,     /* bytes of a line: a token fits */
    CONTROL_ANSWER_MAX = 64 * 1024, /* fits the send buffer of an idle socket */
};

struct control_request {
    struct bytes command;
    uint64_t from; /* of a list: the first item wanted */
    /* of a revocation */
    struct bytes by, value, authority; /* value: base64url */
    uint64_t until;                    /* UTC seconds; 0: for good */
};

/* Writes the members of the answer's object, without braces. */
typedef void control_answer_fn(void *user, const struct control_request *r, struct instant now,
                               struct buf *out);

/* A socket that nobody listens on any more is replaced; one that answers
 * means that a daemon runs: NULL, and `diag` says so. */
MUST_USE struct control *control_new(const char *path, struct loop *loop, control_answer_fn *answer,
                                     void *user, struct buf *diag);
void control_free(struct control *c); /* removes the socket; NULL is fine */

/* The other end: asks the daemon at `path`, waiting at most CONTROL_WAIT_S.
 * `request` is a JSON object; *answer gets the line without its end. False:
 * `diag` says why, in a sentence for the operator. */
enum { CONTROL_WAIT_S = 30 };
MUST_USE bool control_ask(const char *path, const char *request, struct buf *answer,
                          struct buf *diag);

#endif
