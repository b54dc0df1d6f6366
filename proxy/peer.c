#include "peer.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "../policy/siphash.h"

bool peer_equal(const struct peer *a, const struct peer *b)
{
    return a->len == b->len && memcmp(&a->sa, &b->sa, a->len) == 0;
}

uint64_t peer_hash(const struct peer *a, const uint8_t seed[16])
{
    struct siphash_key key;
    memcpy(&key.k0, seed, 8);
    memcpy(&key.k1, seed + 8, 8);
    return siphash(&key, bytes_of(&a->sa, a->len));
}

static bool is_mapped(const struct peer *a)
{
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

void peer_text(const struct peer *a, char out[PEER_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "?";
    /* An IPv4 client of an IPv6 wildcard shows as `networks:` would name it. */
    if (is_mapped(a)) {
        inet_ntop(AF_INET, a->in6.sin6_addr.s6_addr + 12, host, sizeof host);
        snprintf(out, PEER_TEXT, "%s:%u", host, (unsigned)ntohs(a->in6.sin6_port));
        return;
    }
    switch (a->sa.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a->in4.sin_addr, host, sizeof host);
        snprintf(out, PEER_TEXT, "%s:%u", host, (unsigned)ntohs(a->in4.sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host);
        snprintf(out, PEER_TEXT, "[%s]:%u", host, (unsigned)ntohs(a->in6.sin6_port));
        break;
    default:
        snprintf(out, PEER_TEXT, "?");
    }
}

struct policy_peer peer_policy(const struct peer *a)
{
    struct policy_peer out = {0};
    if (a->sa.sa_family == AF_INET) {
        out.family = 4;
        memcpy(out.addr, &a->in4.sin_addr, 4);
    } else if (is_mapped(a)) {
        out.family = 4;
        memcpy(out.addr, a->in6.sin6_addr.s6_addr + 12, 4);
    } else if (a->sa.sa_family == AF_INET6) {
        out.family = 6;
        memcpy(out.addr, &a->in6.sin6_addr, 16);
    }
    return out;
}

uint64_t peer_net(const struct peer *a)
{
    struct policy_peer p = peer_policy(a);
    uint64_t net = p.family;
    size_t n = p.family == 4 ? 3 : p.family == 6 ? 7 : 0;
    for (size_t i = 0; i < n; i++)
        net = net << 8 | p.addr[i];
    return net;
}
