#include "lobby.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "limits.h"

struct place {
    bool taken;
    int listener;
    uint64_t since_ms, number, net, host;
    struct peer peer;
    size_t n;
    uint8_t data[DATAGRAM_MAX];
};

struct lobby {
    size_t max, per_net, per_host, n;
    uint64_t last;         /* number of the newest */
    struct place *serving; /* lent by lobby_next() */
    struct budget *budget;
    struct place places[];
};

struct lobby *lobby_new(size_t max, size_t per_net, size_t per_host, struct budget *b)
{
    struct lobby *l = calloc(1, sizeof *l + max * sizeof *l->places);
    if (!l)
        return NULL;
    l->max = max;
    l->per_net = per_net;
    l->per_host = per_host;
    l->budget = b;
    return l;
}

static void release(struct lobby *l, struct place *p)
{
    p->taken = false;
    l->n--;
    crypto_wipe(p->data, p->n); /* an identity may be a token */
}

void lobby_free(struct lobby *l)
{
    for (size_t i = 0; l && i < l->max; i++)
        if (l->places[i].taken)
            release(l, &l->places[i]);
    free(l);
}

/* One address of IPv4, and as many of IPv6 as one host can have (RFC 4291
 * 2.5.4). */
static uint64_t host_of(const struct peer *from)
{
    struct policy_peer p = peer_policy(from);
    uint64_t host = p.family;
    for (size_t i = 0; i < (p.family == 4 ? 4u : 8u); i++)
        host = host * 257 + p.addr[i];
    return host;
}

enum lobby_put lobby_put(struct lobby *l, int listener, const struct peer *from,
                         struct bytes datagram, struct instant now)
{
    uint64_t net = peer_net(from), host = host_of(from);
    size_t of_net = 0, of_host = 0;
    struct place *place = NULL;
    for (size_t i = 0; i < l->max; i++) {
        struct place *p = &l->places[i];
        if (!p->taken) {
            place = place ? place : p;
            continue;
        }
        of_net += p->net == net;
        of_host += p->host == host;
        if (p->host == host && p != l->serving && p->listener == listener &&
            peer_equal(&p->peer, from) && bytes_equal(bytes_of(p->data, p->n), datagram))
            return LOBBY_THERE_ALREADY;
    }
    if (!place || of_net >= l->per_net || of_host >= l->per_host || datagram.n > sizeof place->data)
        return LOBBY_FULL;
    place->taken = true;
    place->listener = listener;
    place->since_ms = instant_ms(now);
    place->number = ++l->last;
    place->net = net;
    place->host = host;
    place->peer = *from;
    place->n = datagram.n;
    memcpy(place->data, datagram.p, datagram.n);
    l->n++;
    return LOBBY_TAKEN;
}

static struct place *oldest(struct lobby *l)
{
    struct place *first = NULL;
    for (size_t i = 0; i < l->max; i++) {
        struct place *p = &l->places[i];
        if (p->taken && (!first || p->number < first->number))
            first = p;
    }
    return first;
}

bool lobby_next(struct lobby *l, struct instant now, struct lobby_guest *out, uint64_t *late)
{
    if (l->serving)
        release(l, l->serving);
    l->serving = NULL;
    while (budget_has(l->budget, BUDGET_DATAGRAMS, l->n, now) && l->n > 0) {
        struct place *p = oldest(l);
        if (instant_ms(now) >= p->since_ms + HANDSHAKE_WAIT_MS) {
            release(l, p);
            ++*late;
            continue;
        }
        l->serving = p;
        *out = (struct lobby_guest){p->listener, p->peer, bytes_of(p->data, p->n)};
        return true;
    }
    return false;
}

uint64_t lobby_deadline_ms(const struct lobby *l)
{
    return l->n > 0 ? budget_deadline_ms(l->budget) : UINT64_MAX;
}
