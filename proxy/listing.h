/* The gateway's /.well-known/core (RFC 6690): to a stranger its own
 * authz-info and nothing else; to an authenticated client also those links
 * of the devices that it may touch, under the names that they have here. A
 * device of which nothing is known is listed by its root.
 *
 * Who may touch what is the caller's to judge; nothing is allocated.
 */
#ifndef POSTERN_LISTING_H
#define POSTERN_LISTING_H

#include "discovery.h"

enum listing_limits {
    LISTING_TEXT_MAX = 16384,  /* what the caller's buffer should hold */
    LISTING_JUDGED_MAX = 2048, /* judgements for one listing; the rest is left out */
};

/* Whether the client may use any method there. `r` has device, path (in the
 * gateway's name space, as in request.h) and query; peer and originator are
 * the callee's to fill. Its slices live for the call. */
typedef bool listing_may_fn(void *user, struct request *r);

struct listing_ask {
    listing_may_fn *may; /* NULL: a stranger */
    void *user;
    uint16_t port;             /* of the coaps listener, for devices found by host; 0: 5684 */
    const struct bytes *query; /* filters (RFC 6690 4.1), of which a link passes all */
    size_t n_query;
};

/* Writes whole links into an empty `out`, while they fit. */
void listing_write(struct discovery *d, const struct listing_ask *ask, struct buf *out);

/* The answer to a GET, of which `text` is the whole content: a block of it
 * (RFC 7959 2), 2.03 when the client's ETag is that of the content, or a
 * refusal: 4.05, 4.06, 4.00 for a block that is not there. `out` points into
 * text and scratch; type, message ID and token are the caller's to set. */
struct listing_scratch {
    uint8_t etag[8], format[4], block[4], size[4];
};
void listing_answer(struct bytes text, const struct msg *request, struct msg *out,
                    struct listing_scratch *scratch);

#endif
