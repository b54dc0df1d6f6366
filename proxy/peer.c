#include "peer.h"

#include <arpa/inet.h>

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
    /* Family, port and address; what follows in IPv4's is always 0. */
    size_t n = a->sa.sa_family == AF_INET ? offsetof(struct sockaddr_in, sin_zero) : a->len;
    return siphash_13(&key, bytes_of(&a->sa, n));
}

static bool is_mapped(const struct peer *a)
{
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

static void put_ipv4(struct buf *out, const void *address)
{
    const uint8_t *a = address;
    char text[4 * 4], *to = text;
    for (size_t i = 0; i < 4; i++) {
        if (a[i] >= 100)
            *to++ = (char)('0' + a[i] / 100);
        if (a[i] >= 10)
            *to++ = bytes_two_digits[a[i] % 100 * 2];
        *to++ = bytes_two_digits[a[i] % 100 * 2 + 1];
        *to++ = '.';
    }
    buf_put(out, bytes_of(text, (size_t)(to - text) - 1));
}

/* Each request's record has one: hence no printf. */
void peer_text(const struct peer *a, char out[PEER_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "?";
    struct buf b = buf_on(out, PEER_TEXT - 1);
    if (a->sa.sa_family == AF_INET) {
        put_ipv4(&b, &a->in4.sin_addr);
    } else if (is_mapped(a)) {
        /* An IPv4 client of an IPv6 wildcard shows as `networks:` would name it. */
        put_ipv4(&b, a->in6.sin6_addr.s6_addr + 12);
    } else if (a->sa.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host);
        buf_put_u8(&b, '[');
        buf_put_str(&b, host);
        buf_put_u8(&b, ']');
    } else {
        buf_put_str(&b, host);
    }
    if (a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6) {
        /* the port stands in the same place for both */
        buf_put_u8(&b, ':');
        buf_put_decimal(&b, ntohs(a->in4.sin_port), 1);
    }
    out[b.n] = '\0';
}

void peer_put_policy(const struct peer *a, struct policy_peer *out)
{
    memset(out, 0, sizeof *out);
    if (a->sa.sa_family == AF_INET) {
        out->family = 4;
        memcpy(out->addr, &a->in4.sin_addr, 4);
    } else if (is_mapped(a)) {
        out->family = 4;
        memcpy(out->addr, a->in6.sin6_addr.s6_addr + 12, 4);
    } else if (a->sa.sa_family == AF_INET6) {
        out->family = 6;
        memcpy(out->addr, &a->in6.sin6_addr, 16);
    }
}

struct policy_peer peer_policy(const struct peer *a)
{
    struct policy_peer out;
    peer_put_policy(a, &out);
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

bool peer_is_one_host(const struct peer *a)
{
    uint32_t v4;
    if (a->sa.sa_family == AF_INET6) {
        const struct in6_addr *six = &a->in6.sin6_addr;
        if (!IN6_IS_ADDR_V4MAPPED(six))
            return !IN6_IS_ADDR_MULTICAST(six) && !IN6_IS_ADDR_UNSPECIFIED(six);
        memcpy(&v4, six->s6_addr + 12, sizeof v4);
    } else {
        v4 = a->in4.sin_addr.s_addr;
    }
    v4 = ntohl(v4);
    return v4 >> 24 != 0 && v4 >> 28 != 0xe && v4 != INADDR_BROADCAST;
}
