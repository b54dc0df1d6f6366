/* One connection to one address of a device: plain UDP, DTLS, or a stream; or
 * what stands for the several that HTTP has. way.c opens and replaces them;
 * what is above does not know which it is.
 *
 * A message has the form of RFC 7252 3 on every kind. A stream (RFC 8323) has
 * no types and no message IDs, so they mean nothing there: what comes is a
 * NON of ID 0. It repeats and acknowledges by itself (uplink_is_reliable()).
 *
 * Callbacks come from the loop, uplink_start() and uplink_expire(), never from
 * within uplink_send() or uplink_close(). A callback may close any uplink;
 * none is freed before uplinks_turn(). */
#ifndef POSTERN_UPLINK_H
#define POSTERN_UPLINK_H

#include "loop.h"
#include "peer.h"

struct uplink;
struct conns;
struct device_config;
struct device_url;
struct dtls_out;
struct http_uplinks;
struct tls;

/* Why there is none, or none any more. */
enum uplink_end {
    UPLINK_SILENT = 0, /* nobody answered in time */
    UPLINK_REFUSED,    /* the host says that nobody listens */
    UPLINK_UNTRUSTED,  /* a wrong key, a wrong certificate, or ours was refused */
    UPLINK_CLOSED,     /* the device ended what stood */
};

struct uplink_ops {
    void (*opened)(void *user, struct uplink *l, struct instant now);
    void (*message)(void *user, struct uplink *l, struct bytes message, struct instant now);
    /* It is over, and closed already; `reason` is static text for the log. */
    void (*ended)(void *user, struct uplink *l, enum uplink_end how, const char *reason,
                  struct instant now);
    /* An ICMP error, perhaps a forged one, on what stands. */
    void (*unreachable)(void *user, struct uplink *l, struct instant now);
    /* Whether something that was sent by it still waits for its answer: then
     * an end that the other side announced waits, too. */
    bool (*busy)(void *user, const struct uplink *l);
};

/* The uplinks of one thread. */
struct uplinks {
    struct loop *loop;
    struct conns *conns;       /* NULL: there are no streams */
    uint64_t conns_due_ms;     /* when they want their turn */
    struct http_uplinks *http; /* NULL: there are none yet */
    struct uplink *pending;    /* with something to flush or to free */
};

/* All but `to` is borrowed. */
struct uplink_config {
    struct peer to;
    bool stream;
    struct dtls_out *dtls; /* of datagrams; NULL: plain */
    struct tls *tls;       /* of a stream; NULL: plain */
    /* By HTTP: the device, and where it is; NULL: it is one of the others. */
    const struct device_config *device;
    const struct device_url *url;
    const struct uplink_ops *ops;
    void *user;
};

/* `streams`: how many may be open at once. */
MUST_USE bool uplinks_init(struct uplinks *all, struct loop *l, size_t streams);
void uplinks_clear(struct uplinks *all); /* after uplinks_turn(), all being closed */

/* On failure NULL, and `diag` says why. */
MUST_USE struct uplink *uplink_new(struct uplinks *all, const struct uplink_config *c,
                                   struct buf *diag);
/* Begins the handshake; plain UDP is open at once. */
void uplink_start(struct uplink *l, struct instant now);
/* Says goodbye and is dead: no more callbacks. NULL is fine. */
void uplink_close(struct uplink *l, struct instant now);

/* Requests may be sent. False: NULL, too, and what is about to end. */
bool uplink_is_open(const struct uplink *l);
bool uplink_is_reliable(const struct uplink *l);
/* False: there was no way to the address when it was last tried. */
bool uplink_has_way(const struct uplink *l);
/* Whether a message of n bytes is one that the other side takes. */
bool uplink_takes(const struct uplink *l, size_t n);
/* Asks whether the other side is still there, and ends if it is not. False:
 * that cannot be asked, only a new uplink tells. */
bool uplink_check(struct uplink *l, struct instant now);
/* What is not open, or cannot take it now, drops it: as on a wire. */
void uplink_send(struct uplink *l, struct bytes message, struct instant now);
/* Nobody waits for the answer with this token any more, if it is to come. */
void uplink_forget(struct uplink *l, uint64_t token);
/* A reliable one: how long an answer may take from when it is missed. */
uint32_t uplink_answer_ms(const struct uplink *l);

uint64_t uplink_deadline_ms(const struct uplink *l); /* UINT64_MAX: none */
void uplink_expire(struct uplink *l, struct instant now);

/* At the beginning of a turn: answers by HTTP come. */
void uplinks_take(struct uplinks *all, struct instant now);
/* Of every turn: what was sent leaves, what is dead is freed. */
void uplinks_turn(struct uplinks *all, struct instant now);
uint64_t uplinks_deadline_ms(const struct uplinks *all); /* of its turn; UINT64_MAX: none */

#endif
