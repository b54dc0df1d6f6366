/* The signalling of CoAP over reliable transports (RFC 8323 5): what a
 * connection's peer says about the connection itself, and what is said back.
 * Pure: bytes in, a verdict out, and frames written into the caller's buffer.
 *
 * Both sides begin with their CSM; a first message that is none ends the
 * connection (3.4). An option that is critical and unknown ends it too (5.2).
 */
#ifndef POSTERN_COAP_SIGNAL_H
#define POSTERN_COAP_SIGNAL_H

#include "coap_frame.h"
#include "msg.h"

enum signal_code {
    SIGNAL_CSM = MSG_CODE(7, 1),
    SIGNAL_PING = MSG_CODE(7, 2),
    SIGNAL_PONG = MSG_CODE(7, 3),
    SIGNAL_RELEASE = MSG_CODE(7, 4),
    SIGNAL_ABORT = MSG_CODE(7, 5),
};

enum signal_limits {
    SIGNAL_SIZE_BASE = 1152, /* what a peer takes until its CSM says otherwise (5.3.1) */
    SIGNAL_SIZE_LEAST = 32,  /* a peer that takes less could not even be told no */
    SIGNAL_FRAME_MAX = 128,  /* of one that we write */
};

/* What the peer's CSMs have said so far. */
struct signals {
    bool csm;          /* the first has come */
    uint32_t peer_max; /* Max-Message-Size */
    bool peer_blocks;  /* Block-Wise-Transfer: also the license for BERT, which we do not use */
};
void signals_init(struct signals *s);

enum signal_verdict {
    SIGNAL_FAULT = 0, /* end it with an Abort: *why, and *bad_option of a CSM or 0 */
    SIGNAL_MESSAGE,   /* none: a request or a response */
    SIGNAL_NOTHING,   /* taken; nothing to be done */
    SIGNAL_READY,     /* the peer's first CSM: messages may go both ways */
    SIGNAL_ASKED,     /* a Ping: to be answered by a Pong with its token */
    SIGNAL_ASKED_ALL, /* likewise, once what came before is done (Custody, 5.4.1) */
    SIGNAL_ANSWERED,  /* a Pong */
    SIGNAL_RELEASED,  /* the peer is done: what is under way may finish (5.5) */
    SIGNAL_ABORTED,   /* the peer has given up (5.6) */
};

/* Of every frame that comes, in order. Empty messages mean nothing (3.4). */
MUST_USE enum signal_verdict signals_take(struct signals *s, const struct frame *f,
                                          uint16_t *bad_option, const char **why);

void signal_write_csm(uint32_t max_message, struct buf *out);
void signal_write_ping(struct bytes token, struct buf *out);
void signal_write_pong(struct bytes token, bool custody, struct buf *out);
void signal_write_release(struct buf *out);
/* `why` is for people; it is cut when it is long. */
void signal_write_abort(uint16_t bad_option, const char *why, struct buf *out);

#endif
