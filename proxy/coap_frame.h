/* CoAP's framing over reliable transports (RFC 8323 3.2) as a view into the
 * stream, and the way between it and the datagram form (RFC 7252 3), in which
 * all that is behind a connection knows a message. Pure: no state, no socket.
 *
 * A frame and its datagram differ in the header alone. The datagram of a
 * frame has whatever type and message ID the caller likes; of a datagram that
 * becomes a frame, both are dropped.
 *
 * Tokens have at most 8 bytes: longer ones (RFC 8974) are not offered.
 */
#ifndef POSTERN_COAP_FRAME_H
#define POSTERN_COAP_FRAME_H

#include "../policy/bytes.h"

enum frame_limits {
    FRAME_HEADER_MAX = 6, /* length nibble, four bytes of extended length, code */
    FRAME_HEADROOM = 2,   /* what frame_as_datagram() may write before a frame */
};

enum frame_state {
    FRAME_PART = 0,  /* wait for more */
    FRAME_WHOLE,     /* *n bytes are one message */
    FRAME_TOO_LARGE, /* its header says that it is larger than `max` */
    FRAME_BAD,       /* a token length that means nothing */
};

/* Looks at the frame that `in` begins with. `max` counts all of it, from the
 * first byte of its header (RFC 8323 5.3.1). With FRAME_PART *n is how long
 * it will be, or 0 while that cannot be told. What is too large is known by
 * its header alone, before any of the rest has come. */
MUST_USE enum frame_state frame_look(struct bytes in, size_t max, size_t *n);

/* Of a whole frame. */
struct frame {
    uint8_t code;
    struct bytes token;
    struct bytes rest; /* options and payload */
};
struct frame frame_open(struct bytes whole);

/* The same message as a datagram, its header written over the frame's, and
 * so in place: it begins at most FRAME_HEADROOM bytes before the frame, and
 * ends where that does. The frame is below 64 KiB. */
struct bytes frame_as_datagram(uint8_t *whole, size_t n, uint8_t type, uint16_t mid);

/* Writes a datagram as a frame. False: it is none (shorter than its token),
 * or there is no room. */
MUST_USE bool frame_write(struct bytes datagram, struct buf *out);

#endif
