/* Sockets: receive a batch, gather a batch, send it or drop and count.
 * The only file that makes network system calls for CoAP. */
#ifndef POSTERN_UDP_H
#define POSTERN_UDP_H

#include "instant.h"
#include "limits.h"
#include "peer.h"

struct udp;

struct udp_stats {
    uint64_t in, out, dropped_out, truncated_in;
};

/* Binds; port 0 lets the system choose (udp_local tells). `v6only` for an
 * IPv6 wildcard that has an IPv4 listener beside it. On failure NULL, and
 * `diag` says why and what to do. */
MUST_USE struct udp *udp_bind(const struct peer *local, bool v6only, struct buf *diag);
/* One of several for the same address, each with a thread of its own: the
 * kernel sends what comes from one address and port always to the same one.
 * `first`: none may be there yet, nor anybody else's. */
MUST_USE struct udp *udp_bind_shared(const struct peer *local, bool v6only, bool first,
                                     struct buf *diag);
/* A socket connected to one device: the kernel filters by source address.
 * When there is no way to the device (a link that is down, an address not
 * yet given), that is no failure: udp_flush() tries again. */
MUST_USE struct udp *udp_connect(const struct peer *to, struct buf *diag);
/* False: there was no way to the device when it was last tried. */
bool udp_has_way(const struct udp *u);
void udp_free(struct udp *u);
int udp_fd(const struct udp *u);
void udp_local(const struct udp *u, struct peer *out);

/* Reads at most DATAGRAM_BATCH datagrams and hands each to `take`. One that
 * is larger than DATAGRAM_MAX is counted and dropped; on a connected socket
 * it is handed on, cut to DATAGRAM_MAX, for its header says which request it
 * ends. True if there may be more (the socket yields and is called again).
 * An ICMP error that the kernel reports on a connected socket is told as an
 * empty datagram. */
bool udp_receive(struct udp *u,
                 void (*take)(void *user, const struct peer *from, struct bytes datagram),
                 void *user);

/* Gathers. The slot is DATAGRAM_MAX bytes in the batch: fill it, then
 * udp_commit(). A full batch is flushed first. `to` is ignored by a
 * connected socket. */
struct buf udp_slot(struct udp *u);
void udp_commit(struct udp *u, const struct peer *to, const struct buf *slot);
/* Copies into a slot and commits. */
void udp_send(struct udp *u, const struct peer *to, struct bytes datagram);
/* What does not leave now is dropped and counted: CoAP retransmits. */
void udp_flush(struct udp *u);
bool udp_pending(const struct udp *u);
void udp_get_stats(const struct udp *u, struct udp_stats *out);

#endif
