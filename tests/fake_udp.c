#include "fake_udp.h"

#include <arpa/inet.h>
#include <stdlib.h>

struct item {
    struct item *next;
    uint64_t seq;
    struct fake_datagram d;
};

struct list {
    struct item *first, **last;
    size_t n;
};

struct udp {
    struct udp *next;
    int fd;
    bool connected;
    struct peer local, remote;
    struct list gathered, left, inbox;
    uint8_t slot[DATAGRAM_MAX];
    size_t choke;
    struct udp_stats stats;
};

static struct udp *sockets;
static int next_fd = 1000;
static uint64_t next_seq;
static size_t fail_open;

static void list_put(struct list *l, struct item *i)
{
    if (!l->first)
        l->last = &l->first;
    i->next = NULL;
    *l->last = i;
    l->last = &i->next;
    l->n++;
}

static struct item *list_get(struct list *l)
{
    struct item *i = l->first;
    if (!i)
        return NULL;
    l->first = i->next;
    l->n--;
    return i;
}

static void list_clear(struct list *l)
{
    for (struct item *i; (i = list_get(l));)
        free(i);
}

static struct item *item_new(struct udp *u, const struct peer *with, struct bytes datagram)
{
    struct item *i = calloc(1, sizeof *i);
    if (!i || datagram.n > sizeof i->d.bytes)
        abort();
    i->d.socket = u;
    i->d.to = *with;
    i->d.n = datagram.n;
    if (datagram.n)
        memcpy(i->d.bytes, datagram.p, datagram.n);
    return i;
}

static bool same_address(const struct peer *a, const struct peer *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_INET)
        return a->in4.sin_port == b->in4.sin_port &&
               a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
    return a->in6.sin6_port == b->in6.sin6_port &&
           memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr) == 0;
}

struct peer fake_peer(const char *address, uint16_t port)
{
    struct peer p;
    memset(&p, 0, sizeof p);
    if (inet_pton(AF_INET, address, &p.in4.sin_addr) == 1) {
        p.in4.sin_family = AF_INET;
        p.in4.sin_port = htons(port);
        p.len = sizeof p.in4;
    } else if (inet_pton(AF_INET6, address, &p.in6.sin6_addr) == 1) {
        p.in6.sin6_family = AF_INET6;
        p.in6.sin6_port = htons(port);
        p.len = sizeof p.in6;
    } else {
        abort();
    }
    return p;
}

static struct udp *find(const struct peer *at, bool connected)
{
    for (struct udp *u = sockets; u; u = u->next)
        if (u->connected == connected && same_address(connected ? &u->remote : &u->local, at))
            return u;
    return NULL;
}

struct udp *fake_udp_bound(const struct peer *local)
{
    return find(local, false);
}

struct udp *fake_udp_connected(const struct peer *to)
{
    return find(to, true);
}

bool fake_udp_take(struct udp *u, struct fake_datagram *out)
{
    if (!u)
        for (struct udp *s = sockets; s; s = s->next)
            if (s->left.first && (!u || s->left.first->seq < u->left.first->seq))
                u = s;
    struct item *i = u ? list_get(&u->left) : NULL;
    if (!i)
        return false;
    *out = i->d;
    free(i);
    return true;
}

size_t fake_udp_waiting(const struct udp *u)
{
    if (u)
        return u->left.n;
    size_t n = 0;
    for (const struct udp *s = sockets; s; s = s->next)
        n += s->left.n;
    return n;
}

void fake_udp_inject(struct udp *u, const struct peer *from, struct bytes datagram)
{
    if (u->connected && !same_address(from, &u->remote))
        return;
    list_put(&u->inbox, item_new(u, from, datagram));
}

void fake_udp_inject_icmp(struct udp *u)
{
    list_put(&u->inbox, item_new(u, &u->remote, BYTES_NONE));
}

void fake_udp_choke(struct udp *u, size_t n)
{
    u->choke = n;
}

void fake_udp_fail_open(size_t n)
{
    fail_open = n;
}

bool fake_udp_reset(void)
{
    for (struct udp *u = sockets; u; u = u->next) {
        list_clear(&u->gathered);
        list_clear(&u->left);
        list_clear(&u->inbox);
        u->choke = 0;
    }
    fail_open = 0;
    return !sockets;
}

/* ---- proxy/udp.h ---- */

static struct udp *open_socket(const struct peer *local, const struct peer *remote,
                               struct buf *diag)
{
    if (fail_open) {
        fail_open--;
        buf_put_str(diag, "fake: cannot open");
        return NULL;
    }
    struct udp *u = calloc(1, sizeof *u);
    if (!u)
        abort();
    u->fd = next_fd++;
    u->connected = remote != NULL;
    u->local = *local;
    if (remote)
        u->remote = *remote;
    struct udp **last = &sockets;
    while (*last)
        last = &(*last)->next;
    *last = u;
    return u;
}

struct udp *udp_bind(const struct peer *local, bool v6only, struct buf *diag)
{
    (void)v6only;
    struct udp *u = open_socket(local, NULL, diag);
    if (u && u->local.sa.sa_family == AF_INET && u->local.in4.sin_port == 0)
        u->local.in4.sin_port = htons((uint16_t)(40000 + u->fd % 10000));
    else if (u && u->local.sa.sa_family == AF_INET6 && u->local.in6.sin6_port == 0)
        u->local.in6.sin6_port = htons((uint16_t)(40000 + u->fd % 10000));
    return u;
}

struct udp *udp_connect(const struct peer *to, struct buf *diag)
{
    struct peer local = fake_peer(to->sa.sa_family == AF_INET6 ? "::1" : "127.0.0.1", 0);
    return open_socket(&local, to, diag);
}

bool udp_has_way(const struct udp *u)
{
    (void)u;
    return true;
}

void udp_free(struct udp *u)
{
    if (!u)
        return;
    struct udp **at = &sockets;
    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    list_clear(&u->gathered);
    list_clear(&u->left);
    list_clear(&u->inbox);
    free(u);
}

int udp_fd(const struct udp *u)
{
    return u->fd;
}

void udp_local(const struct udp *u, struct peer *out)
{
    *out = u->local;
}

bool udp_receive(struct udp *u,
                 void (*take)(void *user, const struct peer *from, struct bytes datagram),
                 void *user)
{
    for (size_t n = 0; n < DATAGRAM_BATCH; n++) {
        struct item *i = list_get(&u->inbox);
        if (!i)
            return false;
        u->stats.in++;
        take(user, &i->d.to, bytes_of(i->d.bytes, i->d.n));
        free(i);
    }
    return u->inbox.n > 0;
}

struct buf udp_slot(struct udp *u)
{
    if (u->gathered.n == DATAGRAM_BATCH)
        udp_flush(u);
    return buf_on(u->slot, sizeof u->slot);
}

void udp_commit(struct udp *u, const struct peer *to, const struct buf *slot)
{
    if (slot->full || (!to && !u->connected))
        abort();
    list_put(&u->gathered, item_new(u, u->connected ? &u->remote : to, buf_bytes(slot)));
}

void udp_send(struct udp *u, const struct peer *to, struct bytes datagram)
{
    struct buf slot = udp_slot(u);
    buf_put(&slot, datagram);
    udp_commit(u, to, &slot);
}

void udp_flush(struct udp *u)
{
    for (struct item *i; (i = list_get(&u->gathered));) {
        if (u->choke) {
            u->choke--;
            u->stats.dropped_out++;
            free(i);
            continue;
        }
        u->stats.out++;
        i->seq = next_seq++;
        list_put(&u->left, i);
    }
}

bool udp_pending(const struct udp *u)
{
    return u->gathered.n > 0;
}

void udp_get_stats(const struct udp *u, struct udp_stats *out)
{
    *out = u->stats;
}
