/* A device whose URL leads back here: what it is asked would come to one of
 * our own listeners, for another judgement of the same request. A name is not
 * asked for: what it stands for is known while the daemon runs. */
#include "config_read.h"

#include <ifaddrs.h>

/* Either family, as it is compared here. */
struct host {
    struct in6_addr at; /* IPv4 as mapped */
    bool any, loopback;
};

static struct host host_of(const struct peer *p)
{
    struct host h = {.any = false};
    struct in_addr four;
    if (p->sa.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&p->in6.sin6_addr)) {
        h.at = p->in6.sin6_addr;
        h.any = IN6_IS_ADDR_UNSPECIFIED(&h.at);
        h.loopback = IN6_IS_ADDR_LOOPBACK(&h.at);
        return h;
    }
    if (p->sa.sa_family == AF_INET)
        four = p->in4.sin_addr;
    else
        memcpy(&four, p->in6.sin6_addr.s6_addr + 12, sizeof four);
    h.at.s6_addr[10] = h.at.s6_addr[11] = 0xff;
    memcpy(h.at.s6_addr + 12, &four, sizeof four);
    h.any = four.s_addr == INADDR_ANY;
    h.loopback = ntohl(four.s_addr) >> 24 == IN_LOOPBACKNET;
    return h;
}

static bool is_four(const struct host *h)
{
    return IN6_IS_ADDR_V4MAPPED(&h->at);
}

static bool is_same(const struct host *a, const struct host *b)
{
    return memcmp(&a->at, &b->at, sizeof a->at) == 0;
}

/* An address that this machine has now. */
static bool is_of_this_machine(const struct host *h)
{
    struct ifaddrs *all = NULL;
    bool found = h->loopback;
    if (found || getifaddrs(&all) != 0)
        return found;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        struct peer p = {.len = 0};
        if (!i->ifa_addr)
            continue;
        if (i->ifa_addr->sa_family == AF_INET)
            memcpy(&p.in4, i->ifa_addr, sizeof p.in4);
        else if (i->ifa_addr->sa_family == AF_INET6)
            memcpy(&p.in6, i->ifa_addr, sizeof p.in6);
        else
            continue;
        struct host mine = host_of(&p);
        found = is_same(&mine, h);
    }
    freeifaddrs(all);
    return found;
}

static int port_of(const struct peer *p)
{
    return ntohs(p->sa.sa_family == AF_INET6 ? p->in6.sin6_port : p->in4.sin_port);
}

static bool reaches(const struct config_listener *l, const struct host *device)
{
    struct host at = host_of(&l->local);
    if (!at.any)
        return is_same(&at, device);
    return (is_four(&at) == is_four(device) || (!is_four(&at) && !l->v6only)) &&
           is_of_this_machine(device);
}

/* RFC 6761 6.3: this one name needs no asking. */
static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t n = strlen(host), suffix = sizeof name - 1;
    return n >= suffix && strcmp(host + n - suffix, name) == 0 &&
           (n == suffix || host[n - suffix - 1] == '.');
}

const struct config_listener *config_find_loop(const struct config *c, const struct device_url *u)
{
    static const char *const loopback[] = {"127.0.0.1", "::1"};
    struct peer at[2] = {u->to};
    size_t n = u->to.len ? 1 : 0;
    bool tcp =
        u->scheme == DEVICE_COAP_TCP || u->scheme == DEVICE_COAPS_TCP || device_url_is_http(u);
    for (size_t i = 0; u->host && !u->to.len && is_localhost(u->host) && i < 2; i++)
        n += config_resolve(loopback[i], u->port, true, &at[n]) == NULL;
    for (size_t i = 0; i < c->n_listeners; i++)
        for (size_t k = 0; k < n; k++) {
            const struct config_listener *l = &c->listeners[i];
            struct host device = host_of(&at[k]);
            if (l->tcp == tcp && port_of(&l->local) == u->port && reaches(l, &device))
                return l;
        }
    return NULL;
}
