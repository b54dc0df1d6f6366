/* A stream of bytes over TCP, with TLS or without, either side of it:
 * non-blocking, on the loop, with a bounded output. It knows nothing of CoAP.
 *
 * The owner is told by one callback that something has happened, and then
 * looks: is it open, is it closed, is there something to read. Nothing is
 * freed from within the callback: stream_close() ends the stream, and
 * stream_free() belongs to a time when none of its calls is on the stack.
 *
 * What cannot leave at once waits in the stream, at most STREAM_OUT_MAX
 * bytes. A peer that does not read is the owner's to hold back: while
 * stream_waiting() is more than it likes, it reads no more from it
 * (stream_pause()); what then still does not fit closes the stream.
 *
 * A server's handshake waits where pep does (PEP_KEY_WAIT): nothing more is
 * read until stream_wake().
 */
#ifndef POSTERN_STREAM_H
#define POSTERN_STREAM_H

#include "loop.h"
#include "peer.h"
#include "tls.h"

struct stream;

enum stream_limits {
    STREAM_OUT_MAX = 128 << 10, /* EXCHANGES_PER_ASSOC answers of MESSAGE_MAX each, and the rest
                                   of a flight: nobody who reads has so much waiting */
};

struct stream_ops {
    struct tls_ops tls; /* servers only */
    /* It opened, closed, can be read, or has room again. */
    void (*event)(void *user, struct instant now);
};

/* A connection that was accepted; `fd` is taken over. `tls` NULL: none.
 * `in_steps`: its handshake goes on in stream_step() only. NULL: out of
 * memory, and the socket is closed. */
MUST_USE struct stream *stream_accept(struct loop *l, int fd, struct tls *tls, bool in_steps,
                                      const struct stream_ops *ops, void *user);
/* NULL: no socket, or there is no way to `to`. */
MUST_USE struct stream *stream_connect(struct loop *l, const struct peer *to, struct tls *tls,
                                       const struct stream_ops *ops, void *user);
void stream_free(struct stream *s); /* NULL is fine */

bool stream_is_open(const struct stream *s); /* connected, and its handshake is done */
bool stream_is_closed(const struct stream *s);
bool stream_is_parked(const struct stream *s); /* its handshake waits for a key */
/* Something has come for its handshake, which waits for stream_step(). */
bool stream_is_due(const struct stream *s);
void stream_step(struct stream *s, struct instant now);
void stream_wake(struct stream *s, struct instant now);

/* The next bytes into `to`; n 0: none now. Call until it returns none: the
 * socket is readable again only when all of it was taken. */
MUST_USE struct bytes stream_read(struct stream *s, uint8_t *to, size_t cap);
/* All of it or nothing. False: it is not open, or closed for it now. */
bool stream_write(struct stream *s, struct bytes plain);
size_t stream_waiting(const struct stream *s); /* bytes that could not leave yet */
/* Reads no more from the socket, or goes on. */
void stream_pause(struct stream *s, bool pause);

/* Says goodbye as far as that is possible at once. `reason` is static text;
 * of a stream that is closed already the first one stays. */
void stream_close(struct stream *s, const char *reason);
const char *stream_reason(const struct stream *s);

/* Of an open stream with TLS; NULL without. */
const struct pep_proof *stream_proof(const struct stream *s);
void stream_forget_key(struct stream *s);
const char *stream_suite(const struct stream *s);

#endif
