/* RFC 7252 section 4 for the client's side, and the memory of one request
 * from its arrival to the end of its EXCHANGE_LIFETIME. Waiting exists here
 * and nowhere else.
 *
 * A table of fixed size. A slot is OPEN while the request is worked on (it
 * may wait for a token, in a device's queue, or for the device) and ANSWERED
 * afterwards, when it only remembers its answer for duplicates. When the
 * table is full the oldest ANSWERED slot gives way; OPEN ones never do.
 *
 * A duplicate is a message with the same message ID from the same endpoint
 * and the same bytes: a retransmission is identical (4.2). The same ID with
 * other bytes is a client that has run through its IDs, and a new exchange.
 */
#ifndef POSTERN_EXCHANGE_H
#define POSTERN_EXCHANGE_H

#include "assoc.h"
#include "deadline.h"
#include "msg.h"

struct exchanges;
struct device;

enum exchange_state { EXCHANGE_FREE = 0, EXCHANGE_OPEN = 1, EXCHANGE_ANSWERED = 2 };

enum exchange_arrival {
    EXCHANGE_NEW = 0,
    EXCHANGE_REPEAT, /* `again` (maybe empty) is to be sent; nothing else to do */
    EXCHANGE_FULL,   /* no slot: 5.03 without state */
};

/* What upstream.c keeps here of the request's other half. */
enum exchange_up { UP_NONE = 0, UP_QUEUED, UP_SENT, UP_ACKED };

enum { EXCHANGE_RECORD_MAX = 1024 };

struct exchange {
    enum exchange_state state;
    /* the client's half */
    struct assoc *assoc; /* NULL: plain coap, or the association is gone */
    struct peer peer;
    int listener;
    bool gone;        /* the client is gone: the answer is for the record only */
    bool own;         /* a request of the gate's own to a device: no client at all */
    int64_t ends_s;   /* when the grant it rests on ends; kept by the gate */
    int device_index; /* whom it went to; kept by the gate */
    uint8_t type, method;
    uint16_t mid;
    uint8_t token_n, token[MSG_TOKEN_MAX];
    uint64_t hash; /* of the message's bytes */
    bool acked;    /* its CON was acknowledged by an empty ACK */
    bool confirm;  /* our separate CON answer awaits its ACK */
    uint16_t answer_mid;
    uint8_t tries; /* transmissions of the separate answer */
    struct instant born;
    /* the device's half */
    enum exchange_up up;
    struct device *device;
    uint16_t up_mid;
    uint64_t up_token;
    uint8_t up_tries;
    uint32_t up_wait_ms;
    struct exchange *up_prev, *up_next; /* the device's queue or flight */
    uint64_t sent_us;
    /* the request for the device while OPEN; then the answer's bytes */
    size_t stored_n;
    uint8_t stored[MESSAGE_MAX];
    /* the audit record, begun at the decision and ended with the answer */
    size_t record_n;
    char record[EXCHANGE_RECORD_MAX];
    /* kept by exchange.c */
    struct deadline deadline;    /* client's half */
    struct deadline up_deadline; /* device's half, set by upstream.c */
    struct exchange *hash_next, *assoc_prev, *assoc_next, *age_prev, *age_next;
};

/* What the table asks of its owner. */
struct exchange_ops {
    /* Plain bytes to the client of x (DTLS when it has an association). */
    void (*send)(void *user, struct exchange *x, struct bytes message);
    /* Our separate CON was not acknowledged, or answered by RST. */
    void (*undelivered)(void *user, struct exchange *x, bool reset);
};

struct exchanges_stats {
    uint64_t open, kept, accepted, repeated, evicted, full, separate, undelivered;
};

MUST_USE struct exchanges *exchanges_new(size_t slots, const struct exchange_ops *ops, void *user,
                                         uint32_t (*random)(void *user));
void exchanges_free(struct exchanges *t);

/* A request (CON or NON) has come. `a` NULL: plain coap from `from`. */
MUST_USE enum exchange_arrival exchange_accept(struct exchanges *t, struct assoc *a, int listener,
                                               const struct peer *from, const struct msg *m,
                                               struct bytes datagram, struct instant now,
                                               struct exchange **out, struct bytes *again);

/* A slot for a request of the gate's own to a device (discovery): it has no
 * client, and upstream answers it as any other. NULL: the table is full. */
struct exchange *exchange_own(struct exchanges *t, struct instant now);

/* Answers: sets type, message ID and token of `m` (piggybacked on the ACK,
 * separate CON with retransmission, or NON), sends it and keeps it. */
void exchange_answer(struct exchanges *t, struct exchange *x, struct msg *m, struct instant now);

/* The request is dropped without an answer (for example a NON that needs
 * none): duplicates stay quiet. */
void exchange_drop(struct exchanges *t, struct exchange *x, struct instant now);

/* ACK or RST from a client: ends the retransmission that it names. */
void exchange_acknowledged(struct exchanges *t, struct assoc *a, const struct peer *from,
                           int listener, uint16_t mid, bool reset, struct instant now);

/* The association is gone or has new keys: its answered slots are freed,
 * its open ones lose their client (`gone`). */
void exchange_forget(struct exchanges *t, struct assoc *a);

/* Open slots, each once; for reload and drain. */
void exchanges_each_open(struct exchanges *t, void (*visit)(void *user, struct exchange *x),
                         void *user);

uint64_t exchanges_deadline_ms(const struct exchanges *t);
void exchanges_expire(struct exchanges *t, struct instant now);
void exchanges_get_stats(const struct exchanges *t, struct exchanges_stats *out);

#endif
