/* The Echo option of plain coap (RFC 9175 2.2): whoever brings it back gets
 * what is sent to its address. The value is a MAC over address and port with a
 * secret of the time, so nothing is kept for a stranger (2.3, A.2), and it is
 * good for one to two ECHO_LIFE_S. It proves a way back, and nothing more.
 *
 * It is only for the gate that made it: a client's datagrams from one address
 * and port come to the same one. */
#ifndef POSTERN_ECHO_H
#define POSTERN_ECHO_H

#include "instant.h"
#include "peer.h"
#include "secret.h"

/* 64 bits: a guess costs a datagram (RFC 9175 5). */
enum { ECHO_VALUE = 8 };

struct echo {
    struct secrets secrets;
};

MUST_USE bool echo_make(struct echo *e, const struct peer *to, struct instant now,
                        uint8_t out[ECHO_VALUE]);
/* Was it made for this peer, lately? */
MUST_USE bool echo_is(struct echo *e, const struct peer *from, struct bytes value,
                      struct instant now);

#endif
