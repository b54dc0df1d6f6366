/* TCP sockets: listen, accept, connect, read and write without ever waiting.
 * With udp.c the only file that makes network system calls for CoAP. A socket
 * is its descriptor here: what a connection is stands in stream.h. */
#ifndef POSTERN_TCP_H
#define POSTERN_TCP_H

#include "peer.h"

enum tcp_limits {
    TCP_BACKLOG = 128,      /* connections that the kernel completes before we look */
    TCP_KEEP_IDLE_S = 300,  /* a peer that is silent for so long is asked by the kernel, */
    TCP_KEEP_EACH_S = 30,   /* and again */
    TCP_KEEP_TIMES = 4,     /* until it counts as gone: a NAT forgets without a word */
    TCP_UNACKED_MS = 60000, /* bytes that nobody acknowledges end a connection (RFC 5482) */
};

/* -1, and `diag` says why. `v6only` for an IPv6 wildcard that has an IPv4
 * listener beside it. */
MUST_USE int tcp_listen(const struct peer *local, bool v6only, struct buf *diag);
/* One of several for the same address; as udp_bind_shared(). */
MUST_USE int tcp_listen_shared(const struct peer *local, bool v6only, bool first, struct buf *diag);
void tcp_local(int fd, struct peer *out);

enum tcp_accepted {
    TCP_ACCEPT_NONE = 0, /* nobody waits, or who did is gone */
    TCP_ACCEPTED,
    TCP_ACCEPT_FULL, /* no descriptors or memory: try again later, not at once */
};
MUST_USE enum tcp_accepted tcp_accept(int listener, int *fd, struct peer *from);

/* Begins a connection: it is writable when tcp_is_connected() can be asked.
 * -1: no socket, or no way there. */
MUST_USE int tcp_connect(const struct peer *to);
MUST_USE bool tcp_is_connected(int fd);

/* Bytes read; 0: none now. -1: the peer has ended the stream, or it broke. */
MUST_USE int tcp_read(int fd, uint8_t *to, size_t cap);
/* Bytes taken, perhaps 0. -1: it broke. */
MUST_USE int tcp_write(int fd, struct bytes b);
void tcp_close(int fd);

#endif
