/* An invented wire: the whole of proxy/udp.h, with nothing under it. Linked
 * in udp.c's place by every test that includes this header. What a module
 * sends stays on its socket until the test takes it; what the test injects is
 * read by udp_receive(), or handed to the module by the test itself.
 *
 * As on the real wire, a committed datagram leaves at udp_flush() (or when
 * the batch is full): a test that takes nothing has found a missing flush. */
#ifndef POSTERN_FAKE_UDP_H
#define POSTERN_FAKE_UDP_H

#include "../proxy/udp.h"

struct fake_datagram {
    struct udp *socket;
    struct peer to; /* of a connected socket: whom it is connected to */
    size_t n;
    uint8_t bytes[DATAGRAM_MAX];
};

/* A numeric address, or the test aborts. */
struct peer fake_peer(const char *address, uint16_t port);

/* Sockets in the order of their making, of either kind; NULL: none such. */
struct udp *fake_udp_bound(const struct peer *local);
struct udp *fake_udp_connected(const struct peer *to);

/* The oldest datagram that left this socket (NULL: any socket, in the order
 * in which they left), taken off the wire. False: none. */
bool fake_udp_take(struct udp *u, struct fake_datagram *out);
size_t fake_udp_waiting(const struct udp *u); /* how many there are to take; NULL: of all */

/* For udp_receive(). A connected socket drops what is not from its peer. */
void fake_udp_inject(struct udp *u, const struct peer *from, struct bytes datagram);
/* The kernel reports an ICMP error on a connected socket. */
void fake_udp_inject_icmp(struct udp *u);

/* The next n datagrams are dropped at the flush, as when the kernel's buffer
 * is full. */
void fake_udp_choke(struct udp *u, size_t n);
/* The next n calls of udp_bind() or udp_connect() fail. */
void fake_udp_fail_open(size_t n);

/* Frees what is on the wire; sockets belong to who opened them. True when
 * none is open any more. */
bool fake_udp_reset(void);

#endif
