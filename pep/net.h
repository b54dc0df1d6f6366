/* The network that a source is counted as where sources share a limit: its
 * /24 or /56; one for all that are unknown. */
#ifndef POSTERN_NET_H
#define POSTERN_NET_H

#include "../policy/policy.h"

enum { NET_BYTES = 9 };

static inline void net_of(const struct policy_peer *from, uint8_t net[NET_BYTES])
{
    memset(net, 0, NET_BYTES);
    if (!from)
        return;
    net[0] = from->family;
    memcpy(net + 1, from->addr, from->family == 4 ? 3 : from->family == 6 ? 7 : 0);
}

#endif
