/* The stateless half of a handshake (RFC 6347 4.2.1): a cookie that proves
 * that the client receives at the address it sends from.
 *
 * cookie = HMAC-SHA256(secret, peer || the ClientHello's parameters), cut.
 * A secret lives for COOKIE_LIFE_S and is accepted for as long again, so that
 * a cookie is good for one to two of these. Nothing is kept for a stranger.
 */
#ifndef POSTERN_GREETER_H
#define POSTERN_GREETER_H

#include "hello.h"
#include "instant.h"
#include "limits.h"
#include "peer.h"
#include "secret.h"

enum { COOKIE = 16 };

struct greeter {
    struct secrets secrets; /* by COOKIE_LIFE_S since the clock began */
};

/* Wipes. A zeroed greeter is a fresh one. */
void greeter_clear(struct greeter *g);

/* Whether h carries a cookie that we gave to this peer for this ClientHello. */
MUST_USE bool greeter_knows(struct greeter *g, const struct peer *peer, const struct hello *h,
                            struct instant now);
/* A HelloVerifyRequest for h. False: no room, or no randomness. */
MUST_USE bool greeter_ask(struct greeter *g, const struct peer *peer, const struct hello *h,
                          struct instant now, struct buf *out);

#endif
