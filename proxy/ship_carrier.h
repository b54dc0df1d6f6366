/* How the shipping thread reaches its collector: libcurl for HTTP and for
 * streams with or without TLS, a datagram socket for the local syslog. Every
 * call blocks its thread only, for a bounded time, and ends early once
 * carrier_stop() was called. Of one thread; but for carrier_wake and carrier_stop. */
#ifndef POSTERN_SHIP_CARRIER_H
#define POSTERN_SHIP_CARRIER_H

#include "ship.h"

struct carrier;

MUST_USE struct carrier *carrier_new(const struct ship_config *config, const char *stream,
                                     struct buf *diag);
void carrier_free(struct carrier *c);
void carrier_wake(struct carrier *c);                 /* ends a wait; any thread */
void carrier_stop(struct carrier *c, uint64_t by_ms); /* nothing goes on beyond; any thread */
bool carrier_is_stopped(const struct carrier *c);
uint64_t carrier_now_ms(void); /* monotonic */

/* Until woken or the time is over. False: the connection, which was open,
 * has ended. */
MUST_USE bool carrier_wait(struct carrier *c, uint64_t ms);

/* False: carrier_error() tells why. */
MUST_USE bool carrier_connect(struct carrier *c); /* HTTP needs none */
MUST_USE bool carrier_send(struct carrier *c, struct bytes b);
MUST_USE bool carrier_post(struct carrier *c, struct bytes body, int *status, uint64_t *retry_s);
bool carrier_is_open(const struct carrier *c);
/* Octets handed to the peer since the connection began, and how many of them
 * its TCP has acknowledged. */
uint64_t carrier_handed(const struct carrier *c);
uint64_t carrier_acked(const struct carrier *c);
void carrier_close(struct carrier *c);
const char *carrier_error(const struct carrier *c);

#endif
