#include "udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SOCKET_BUFFER = 4 << 20, /* a burst of some thousand datagrams; best effort */
    CONTROL = CMSG_SPACE(sizeof(struct in6_pktinfo)),
    /* One that may go out as part of a run: shorter than IPv6's 1280, less
     * headers, since what is too long for the way is refused as a whole. */
    SEGMENT_MAX = 1232,
    RUN_MAX = 65000, /* bytes of a run: it is one datagram of IP for a while */
    /* Where so many reads in a row brought one datagram each, one is asked for,
     * but for each LOOK_EVERY-th time: to find that there is no second costs a
     * fifth of a read. */
    ONES = 4,
    LOOK_EVERY = 8,
};

struct slot {
    struct peer peer;
    _Alignas(struct cmsghdr) uint8_t control[CONTROL];
    uint8_t data[DATAGRAM_MAX];
};

/* Pages of slots that were never used cost nothing: a large table of quiet
 * devices stays small. */
struct udp {
    int fd;
    bool connected, wildcard;
    bool away;      /* connected, but with no way to `to` */
    bool segments;  /* the kernel takes runs of datagrams (gather()), */
    bool in_runs;   /* and has refused none */
    struct peer to; /* of a connected socket */
    size_t n_out;
    struct udp_stats stats;
    /* Apart from the slots, which are far from each other: a call names all
     * 32 and mostly brings a few. `n_stale` headers the last one wrote to. */
    size_t n_stale;
    unsigned ones; /* reads in a row that brought one */
    struct mmsghdr in_headers[DATAGRAM_BATCH], out_headers[DATAGRAM_BATCH];
    struct iovec in_iov[DATAGRAM_BATCH], out_iov[DATAGRAM_BATCH]; /* one a header */
    struct slot in[DATAGRAM_BATCH];
    /* What is to leave: n_out datagrams, one right behind the other, so that a
     * batch is in few lines of the cache and a run is one piece. */
    size_t out_sizes[DATAGRAM_BATCH], out_used;
    uint8_t runs[DATAGRAM_BATCH]; /* how many a header has */
    struct peer out_peers[DATAGRAM_BATCH];
    _Alignas(struct cmsghdr) uint8_t out_control[DATAGRAM_BATCH][CONTROL];
    uint8_t out[DATAGRAM_BATCH * DATAGRAM_MAX];
};

/* ---- opening ---- */

static const char *advice(int error)
{
    switch (error) {
    case EADDRINUSE:
        return " (is another server running?)";
    case EACCES:
        return " (a port below 1024 needs CAP_NET_BIND_SERVICE)";
    case EADDRNOTAVAIL:
        return " (no interface has this address)";
    case EAFNOSUPPORT:
        return " (is IPv6 switched off?)";
    default:
        return "";
    }
}

static struct udp *refuse(struct udp *u, struct buf *diag, const char *what,
                          const struct peer *where)
{
    int error = errno;
    char text[PEER_TEXT], why[64];
    peer_text(where, text);
    buf_put_str(diag, "cannot ");
    buf_put_str(diag, what);
    buf_put_str(diag, " ");
    buf_put_str(diag, text);
    buf_put_str(diag, ": ");
    buf_put_str(diag, strerror_r(error, why, sizeof why));
    buf_put_str(diag, advice(error));
    udp_free(u);
    return NULL;
}

static bool set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

static struct udp *udp_open(int family)
{
    struct udp *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->n_stale = DATAGRAM_BATCH;
    u->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (u->fd < 0)
        return u;
    (void)(set(u->fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER) ||
           set(u->fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER));
    (void)(set(u->fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER) ||
           set(u->fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER));
    return u;
}

static bool is_wildcard(const struct peer *p)
{
    return p->sa.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&p->in6.sin6_addr)
                                       : p->in4.sin_addr.s_addr == htonl(INADDR_ANY);
}

static struct udp *bind_to(const struct peer *local, bool v6only, bool shared, struct buf *diag)
{
    bool six = local->sa.sa_family == AF_INET6;
    struct udp *u = udp_open(local->sa.sa_family);
    if (!u || u->fd < 0)
        return refuse(u, diag, "open a socket for", local);
    u->wildcard = is_wildcard(local);
    /* Always set: what the system's default is must not matter. */
    if (six && !set(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only))
        return refuse(u, diag, "configure", local);
    if (u->wildcard && !(six ? set(u->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                             : set(u->fd, IPPROTO_IP, IP_PKTINFO, 1)))
        return refuse(u, diag, "configure", local);
    if (shared && !set(u->fd, SOL_SOCKET, SO_REUSEPORT, 1))
        return refuse(u, diag, "share", local);
    if (bind(u->fd, &local->sa, local->len) != 0)
        return refuse(u, diag, "bind", local);
    return u;
}

struct udp *udp_bind(const struct peer *local, bool v6only, struct buf *diag)
{
    return bind_to(local, v6only, false, diag);
}

struct udp *udp_bind_shared(const struct peer *local, bool v6only, bool first, struct buf *diag)
{
    /* Sockets that share let any other join that belongs to the same user: a
     * second daemon would take clients from the first. One that does not
     * share is refused then. */
    struct udp *alone = first ? bind_to(local, v6only, false, diag) : NULL;
    if (first && !alone)
        return NULL;
    udp_free(alone);
    return bind_to(local, v6only, true, diag);
}

/* What may be otherwise in a minute: the network, not the configuration. */
static bool may_pass(int error)
{
    return error == ENETUNREACH || error == EHOSTUNREACH || error == ENETDOWN ||
           error == EADDRNOTAVAIL;
}

/* Again from the beginning, so that the kernel chooses our address anew: the
 * old one may be gone. What others sent to the port while it was open to all
 * is thrown away. */
static bool reconnect(struct udp *u)
{
    static const struct sockaddr none = {.sa_family = AF_UNSPEC};
    char byte;
    (void)connect(u->fd, &none, sizeof none);
    u->away = connect(u->fd, &u->to.sa, u->to.len) != 0;
    while (!u->away && recv(u->fd, &byte, sizeof byte, 0) >= 0)
        continue;
    u->in_runs = u->segments; /* another way may take them */
    return !u->away;
}

struct udp *udp_connect(const struct peer *to, struct buf *diag)
{
    struct udp *u = udp_open(to->sa.sa_family);
    if (!u || u->fd < 0)
        return refuse(u, diag, "open a socket for", to);
    u->connected = true;
    u->to = *to;
    /* Where it is not known, what asks for it would be ignored. */
    u->segments = u->in_runs = set(u->fd, IPPROTO_UDP, UDP_SEGMENT, 0);
    u->away = connect(u->fd, &to->sa, to->len) != 0;
    if (u->away && !may_pass(errno))
        return refuse(u, diag, "reach", to);
    return u;
}

bool udp_has_way(const struct udp *u)
{
    return !u->away;
}

void udp_free(struct udp *u)
{
    if (!u)
        return;
    if (u->fd >= 0)
        close(u->fd);
    free(u);
}

int udp_fd(const struct udp *u)
{
    return u->fd;
}

void udp_local(const struct udp *u, struct peer *out)
{
    memset(out, 0, sizeof *out);
    out->len = sizeof out->in6;
    if (getsockname(u->fd, &out->sa, &out->len) != 0)
        out->len = 0;
}

/* ---- receiving ---- */

/* Where it was sent to. For IPv4 the kernel names an address of ours even
 * when the datagram went to a group (ipi_spec_dst). */
static void note_local(struct msghdr *m, struct peer *from)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            from->local.s6_addr[10] = from->local.s6_addr[11] = 0xff;
            memcpy(from->local.s6_addr + 12, &info.ipi_spec_dst, 4);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
                continue; /* no source address */
            from->local = info.ipi6_addr;
            from->local_if = info.ipi6_ifindex;
        }
    }
}

/* What the kernel writes into a header is set again: the lengths. */
static void ready_headers(struct udp *u)
{
    for (size_t i = 0; i < u->n_stale; i++) {
        struct slot *s = &u->in[i];
        struct msghdr *m = &u->in_headers[i].msg_hdr;
        u->in_iov[i] = (struct iovec){s->data, DATAGRAM_MAX};
        *m = (struct msghdr){.msg_iov = &u->in_iov[i], .msg_iovlen = 1};
        if (!u->connected) {
            m->msg_name = &s->peer.in6;
            m->msg_namelen = sizeof s->peer.in6;
        }
        if (u->wildcard) {
            m->msg_control = s->control;
            m->msg_controllen = CONTROL;
        }
    }
}

/* How many datagrams, or -1. */
static int read_some(struct udp *u)
{
    int n;
    ready_headers(u);
    if (u->ones < ONES || u->ones % LOOK_EVERY == 0) {
        n = recvmmsg(u->fd, u->in_headers, DATAGRAM_BATCH, 0, NULL);
    } else {
        ssize_t size = recvmsg(u->fd, &u->in_headers[0].msg_hdr, 0);
        n = size < 0 ? -1 : 1;
        u->in_headers[0].msg_len = (unsigned)size;
    }
    u->n_stale = n > 0 ? (size_t)n : 0;
    u->ones = n == 1 ? u->ones + 1 : 0;
    return n;
}

bool udp_receive(struct udp *u,
                 void (*take)(void *user, const struct peer *from, struct bytes datagram),
                 void *user)
{
    int n = read_some(u);
    if (u->away)
        return n == DATAGRAM_BATCH; /* not connected: anybody's */
    if (n < 0) {
        bool again = errno == EINTR;
        if (u->connected && !again && errno != EAGAIN && errno != EWOULDBLOCK) {
            take(user, &u->to, BYTES_NONE); /* ICMP; the error is taken off by this */
            return true;
        }
        return again;
    }
    for (int i = 0; i < n; i++) {
        struct msghdr *m = &u->in_headers[i].msg_hdr;
        struct bytes datagram = bytes_of(u->in[i].data, u->in_headers[i].msg_len);
        u->stats.in++;
        if (m->msg_flags & MSG_TRUNC) {
            u->stats.truncated_in++;
            if (!u->connected)
                continue;
        }
        /* An empty datagram says nothing in CoAP or DTLS, and means ICMP here. */
        if (datagram.n == 0)
            continue;
        if (u->connected) {
            take(user, &u->to, datagram);
            continue;
        }
        struct peer from = {0};
        from.len = m->msg_namelen;
        memcpy(&from.in6, &u->in[i].peer.in6, m->msg_namelen);
        if (u->wildcard)
            note_local(m, &from);
        take(user, &from, datagram);
    }
    return n == DATAGRAM_BATCH;
}

/* ---- sending ---- */

/* Answers leave from the address that was asked: a client takes no others. */
static void set_local(const struct peer *to, uint8_t control[CONTROL], struct msghdr *m)
{
    const struct in6_addr *local = &to->local;
    if (IN6_IS_ADDR_UNSPECIFIED(local))
        return;
    m->msg_control = control;
    m->msg_controllen = CONTROL;
    memset(control, 0, CONTROL);
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (to->sa.sa_family == AF_INET) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, local->s6_addr + 12, 4);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
        m->msg_controllen = CMSG_SPACE(sizeof info);
    } else {
        struct in6_pktinfo info = {.ipi6_addr = *local};
        if (IN6_IS_ADDR_LINKLOCAL(local))
            info.ipi6_ifindex = to->local_if;
        c->cmsg_level = IPPROTO_IPV6;
        c->cmsg_type = IPV6_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
        m->msg_controllen = CMSG_SPACE(sizeof info);
    }
}

struct buf udp_slot(struct udp *u)
{
    if (u->n_out == DATAGRAM_BATCH)
        udp_flush(u);
    return buf_on(u->out + u->out_used, DATAGRAM_MAX);
}

void udp_commit(struct udp *u, const struct peer *to, const struct buf *slot)
{
    if (slot->full || slot->n == 0) {
        u->stats.dropped_out++;
        return;
    }
    size_t i = u->n_out++;
    u->out_sizes[i] = slot->n;
    u->out_used += slot->n;
    if (u->connected) /* gather() */
        return;
    struct msghdr *m = &u->out_headers[i].msg_hdr;
    u->out_peers[i] = *to;
    u->out_iov[i] = (struct iovec){slot->p, slot->n};
    u->runs[i] = 1;
    *m = (struct msghdr){.msg_name = &u->out_peers[i].in6,
                         .msg_namelen = u->out_peers[i].len,
                         .msg_iov = &u->out_iov[i],
                         .msg_iovlen = 1};
    if (u->wildcard)
        set_local(&u->out_peers[i], u->out_control[i], m);
}

void udp_send(struct udp *u, const struct peer *to, struct bytes datagram)
{
    struct buf slot = udp_slot(u);
    buf_put(&slot, datagram);
    udp_commit(u, to, &slot);
}

/* How many from `from` on go as one: of the same size, but that the last may
 * be shorter. */
static size_t run_of(const struct udp *u, size_t from)
{
    size_t size = u->out_sizes[from], end = from + 1, most = from + RUN_MAX / size;
    if (!u->in_runs || size > SEGMENT_MAX)
        return 1;
    most = most < u->n_out ? most : u->n_out;
    while (end < most && u->out_sizes[end] == size)
        end++;
    if (end < most && u->out_sizes[end] < size)
        end++;
    return end - from;
}

static void set_segment(uint16_t size, uint8_t control[CONTROL], struct msghdr *m)
{
    m->msg_control = control;
    m->msg_controllen = CMSG_SPACE(sizeof size);
    memset(control, 0, CMSG_SPACE(sizeof size));
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(c), &size, sizeof size);
}

/* The headers of what is left from `done` on, which begins at `at`; returns how
 * many. To a device a run of datagrams is one to the kernel until its last step
 * (UDP_SEGMENT), for a third of the time of its way through it. */
static size_t gather(struct udp *u, size_t done, uint8_t *at)
{
    _Static_assert(DATAGRAM_BATCH <= 64, "segments that every kernel takes");
    size_t n = 0;
    if (!u->connected)
        return u->n_out;
    for (size_t run; done < u->n_out; done += run, n++) {
        struct msghdr *m = &u->out_headers[n].msg_hdr;
        size_t size = 0;
        run = run_of(u, done);
        for (size_t i = 0; i < run; i++)
            size += u->out_sizes[done + i];
        u->runs[n] = (uint8_t)run;
        u->out_iov[n] = (struct iovec){at, size};
        at += size;
        *m = (struct msghdr){.msg_iov = &u->out_iov[n], .msg_iovlen = 1};
        if (run > 1)
            set_segment((uint16_t)u->out_sizes[done], u->out_control[n], m);
    }
    return n;
}

/* How many headers left, or -1. */
static int send_some(struct udp *u, size_t from, size_t n)
{
    const struct msghdr *m = &u->out_headers[from].msg_hdr;
    if (n > 1 || m->msg_controllen > 0)
        return sendmmsg(u->fd, u->out_headers + from, (unsigned)n, 0);
    const struct iovec *iov = m->msg_iov;
    return sendto(u->fd, iov->iov_base, iov->iov_len, 0, m->msg_name, m->msg_namelen) < 0 ? -1 : 1;
}

void udp_flush(struct udp *u)
{
    size_t done = 0, lost = 0, next = 0, n_headers; /* datagrams, of them; headers */
    bool told = false;  /* an ICMP error of an earlier datagram, told here first */
    bool tried = false; /* to find a new way */
    if (u->n_out == 0)
        return;
    if (u->away) {
        tried = true;
        (void)reconnect(u);
    }
    n_headers = gather(u, 0, u->out);
    while (next < n_headers && !u->away) {
        int n = send_some(u, next, n_headers - next);
        size_t run = u->runs[next];
        if (n > 0) {
            for (; n > 0; n--)
                done += u->runs[next++];
        } else if (errno == EINTR) {
            continue;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } else if (u->connected && !told) {
            told = true;
        } else if (run > 1 && !may_pass(errno)) {
            u->in_runs = false; /* then each by itself, which IP may cut in pieces */
            n_headers = gather(u, done, u->out_iov[next].iov_base);
            next = 0;
        } else if (u->connected && !tried && (may_pass(errno) || errno == EINVAL)) {
            tried = true; /* EINVAL: the address that we send from is gone */
            (void)reconnect(u);
        } else {
            done += run; /* this one cannot leave; the next may */
            lost += run;
            next++;
        }
    }
    lost += u->n_out - done;
    u->stats.out += u->n_out - lost;
    u->stats.dropped_out += lost;
    u->n_out = u->out_used = 0;
}

bool udp_pending(const struct udp *u)
{
    return u->n_out > 0;
}

void udp_get_stats(const struct udp *u, struct udp_stats *out)
{
    *out = u->stats;
}
