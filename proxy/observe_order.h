/* What of observations is pure: whether a notification is newer, and which
 * request it is that many clients share. */
#ifndef POSTERN_OBSERVE_ORDER_H
#define POSTERN_OBSERVE_ORDER_H

#include "msg.h"

enum observe_numbers {
    OBSERVE_REGISTER = 0, /* the option in a request (RFC 7641 2) */
    OBSERVE_DEREGISTER = 1,
    OBSERVE_NUMBER_MASK = 0xffffff, /* 24 bits in an answer */
};

/* Whether a notification numbered v2 that came at t2_us is newer than v1 of
 * t1_us (RFC 7641 3.4). Equal is not newer: it is the same one again. */
bool observe_is_newer(uint32_t v1, uint64_t t1_us, uint32_t v2, uint64_t t2_us);

/* The number of a message: its Observe option when that is one of 3 bytes at
 * the most; -1: it is no notification (2), or an error, which ends the
 * observation whatever it says (4.2). */
int64_t observe_number(const struct msg *m);

/* What the request `m` (as it would go to the device) asks for, as a request
 * of our own that registers for it: two that ask for the same are the same
 * bytes. Left out is what makes no difference to the cache key (RFC 7252
 * 5.4.2, 5.6), and ETag, by which a client says what it has: the answer to
 * all is whole. False: it cannot be shared: not GET or FETCH; about a block
 * behind the first (RFC 7959 3.4), or with a body in blocks; with Echo, that
 * proves one client's freshness; or longer than `out`. */
MUST_USE bool observe_request(const struct msg *m, struct buf *out);

#endif
