#include "tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { DRAIN_READS = 16 };

static bool set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

static int refuse(int fd, struct buf *diag, const char *what, const struct peer *at)
{
    int error = errno;
    char text[PEER_TEXT];
    peer_text(at, text);
    buf_put_str(diag, "cannot ");
    buf_put_str(diag, what);
    buf_put_str(diag, " ");
    buf_put_str(diag, text);
    buf_put_str(diag, " (TCP): ");
    buf_put_str(diag, strerror(error));
    buf_put_u8(diag, '\n');
    tcp_close(fd);
    return -1;
}

static int open_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* CoAP's messages are small and wait for nobody. What fails here costs
 * latency, or the time until a dead peer is noticed, and nothing else. */
static void tune(int fd)
{
    (void)(set(fd, IPPROTO_TCP, TCP_NODELAY, 1) && set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) &&
           set(fd, IPPROTO_TCP, TCP_KEEPIDLE, TCP_KEEP_IDLE_S) &&
           set(fd, IPPROTO_TCP, TCP_KEEPINTVL, TCP_KEEP_EACH_S) &&
           set(fd, IPPROTO_TCP, TCP_KEEPCNT, TCP_KEEP_TIMES) &&
           set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_UNACKED_MS));
}

static int listen_at(const struct peer *local, bool v6only, bool shared, struct buf *diag)
{
    int fd = open_socket(local->sa.sa_family);
    if (fd < 0)
        return refuse(fd, diag, "open a socket for", local);
    /* A restart does not wait for the connections of the life before. */
    if (!set(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
        (local->sa.sa_family == AF_INET6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only)))
        return refuse(fd, diag, "configure", local);
    if (shared && !set(fd, SOL_SOCKET, SO_REUSEPORT, 1))
        return refuse(fd, diag, "share", local);
    if (bind(fd, &local->sa, local->len) != 0)
        return refuse(fd, diag, "bind", local);
    if (listen(fd, TCP_BACKLOG) != 0)
        return refuse(fd, diag, "listen on", local);
    return fd;
}

int tcp_listen(const struct peer *local, bool v6only, struct buf *diag)
{
    return listen_at(local, v6only, false, diag);
}

int tcp_listen_shared(const struct peer *local, bool v6only, bool first, struct buf *diag)
{
    int alone = first ? listen_at(local, v6only, false, diag) : -1;
    if (first && alone < 0)
        return -1;
    if (alone >= 0)
        close(alone);
    return listen_at(local, v6only, true, diag);
}

void tcp_local(int fd, struct peer *out)
{
    memset(out, 0, sizeof *out);
    out->len = sizeof out->in6;
    if (getsockname(fd, &out->sa, &out->len) != 0)
        memset(out, 0, sizeof *out);
}

enum tcp_accepted tcp_accept(int listener, int *fd, struct peer *from)
{
    memset(from, 0, sizeof *from); /* it is compared byte for byte */
    from->len = sizeof from->in6;
    *fd = accept4(listener, &from->sa, &from->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (*fd >= 0) {
        tune(*fd);
        return TCP_ACCEPTED;
    }
    return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM
               ? TCP_ACCEPT_FULL
               : TCP_ACCEPT_NONE;
}

int tcp_connect(const struct peer *to)
{
    int fd = open_socket(to->sa.sa_family);
    if (fd < 0)
        return -1;
    tune(fd);
    if (connect(fd, &to->sa, to->len) == 0 || errno == EINPROGRESS)
        return fd;
    tcp_close(fd);
    return -1;
}

bool tcp_is_connected(int fd)
{
    int error = 0;
    socklen_t n = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0;
}

static bool is_now(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

int tcp_read(int fd, uint8_t *to, size_t cap)
{
    ssize_t n = cap ? recv(fd, to, cap, 0) : 0;
    if (n > 0)
        return (int)n;
    return cap == 0 || (n < 0 && is_now(errno)) ? 0 : -1;
}

int tcp_write(int fd, struct bytes b)
{
    ssize_t n = b.n ? send(fd, b.p, b.n, MSG_NOSIGNAL) : 0;
    if (n >= 0)
        return (int)n;
    return is_now(errno) ? 0 : -1;
}

/* What has come and was not read would make the kernel break the stream
 * instead of ending it, and what we said last could be lost with it. */
void tcp_close(int fd)
{
    uint8_t rest[4096];
    if (fd < 0)
        return;
    (void)shutdown(fd, SHUT_WR);
    for (int i = 0; i < DRAIN_READS && tcp_read(fd, rest, sizeof rest) > 0;)
        i++;
    (void)close(fd);
}
