/* Where datagrams of handshakes wait for their turn, which is when there is
 * time for them (budget.h).
 *
 * Places are few, with a share for each host and each network; who finds none
 * sends again by its own timer (RFC 6347 4.2.4). First come, first served:
 * within the shares nobody waits for more than there are places.
 *
 * It holds copies of datagrams, which only that who returned a cookie, or has
 * a handshake under way, may bring here. It calls no clock. */
#ifndef POSTERN_LOBBY_H
#define POSTERN_LOBBY_H

#include "budget.h"
#include "peer.h"

struct lobby;

enum lobby_put { LOBBY_FULL = 0, LOBBY_TAKEN = 1, LOBBY_THERE_ALREADY = 2 };

struct lobby_guest {
    int listener;
    struct peer peer;
    struct bytes datagram;
};

/* The budget is borrowed. */
MUST_USE struct lobby *lobby_new(size_t max, size_t per_net, size_t per_host, struct budget *b);
void lobby_free(struct lobby *l); /* NULL is fine */

/* Copies it. LOBBY_FULL: no place, or none of its network's or host's. */
MUST_USE enum lobby_put lobby_put(struct lobby *l, int listener, const struct peer *from,
                                  struct bytes datagram, struct instant now);
/* The next, if there is time for one now; borrowed until the next call of
 * this. What waited for too long, its client having sent again, is left out
 * and added to *late. */
MUST_USE bool lobby_next(struct lobby *l, struct instant now, struct lobby_guest *out,
                         uint64_t *late);
/* When there is time for the next; UINT64_MAX: nobody waits. */
uint64_t lobby_deadline_ms(const struct lobby *l);

#endif
