/* A socket address as value: compared and hashed byte for byte, so it is
 * zeroed before it is filled. IPv4-mapped IPv6 addresses are folded to IPv4
 * for conditions (peer_policy), never for comparing. */
#ifndef POSTERN_PEER_H
#define POSTERN_PEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "../policy/policy.h"

struct peer {
    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    };
    socklen_t len;
    /* The address it was sent to, so that a socket bound to a wildcard
     * answers from it (IP_PKTINFO). No part of equality or hash. */
    struct in6_addr local; /* IPv4 as mapped; all zero: unknown */
    unsigned local_if;
};

enum { PEER_TEXT = 64 };

bool peer_equal(const struct peer *a, const struct peer *b);
/* Seeded: strangers choose addresses. */
uint64_t peer_hash(const struct peer *a, const uint8_t seed[16]);
/* "192.0.2.1:5683" or "[2001:db8::1]:5683"; out has PEER_TEXT bytes. */
void peer_text(const struct peer *a, char out[PEER_TEXT]);
struct policy_peer peer_policy(const struct peer *a);
/* The same, for each request: a value that is put together and at once read
 * back as a whole waits for all that was written before it. */
void peer_put_policy(const struct peer *a, struct policy_peer *out);
/* An address that a request has one answer from: no multicast, no broadcast,
 * none that stands for any (RFC 7252 8.2); IPv4-mapped ones like IPv4. */
bool peer_is_one_host(const struct peer *a);
/* The /24 or /56 that shares a limit. */
uint64_t peer_net(const struct peer *a);

#endif
