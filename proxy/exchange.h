/* RFC 7252 section 4 for the client's side, and the memory of one request
 * from its arrival to the end of its EXCHANGE_LIFETIME. Waiting exists here
 * and nowhere else.
 *
 * A table of fixed size. A slot is OPEN while the request is worked on (it
 * may wait for a token, in a device's queue, or for the device), and ANSWERED
 * while its separate CON awaits its ACK. Then it is free, and what duplicates
 * need is remembered elsewhere (repeats.h), counted as a slot too. When the
 * table is full the oldest that is remembered gives way; OPEN ones never do.
 *
 * A slot whose separate CON awaits its ACK counts as under way for its
 * client (EXCHANGES_PER_ASSOC), and gives way last. All endpoints of plain
 * coap together, which nobody has authenticated, count as one
 * (EXCHANGES_PLAIN), and what is remembered for them gives way first.
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
#include "rate.h"
#include "repeats.h"

struct exchanges;
struct device;

enum exchange_state { EXCHANGE_FREE = 0, EXCHANGE_OPEN = 1, EXCHANGE_ANSWERED = 2 };

enum exchange_arrival {
    EXCHANGE_NEW = 0,
    EXCHANGE_REPEAT, /* `again` (maybe empty) is to be sent; nothing else to do.
                        Borrowed until the next call */
    EXCHANGE_FULL,   /* no slot: 5.03 without state */
    EXCHANGE_MANY,   /* this client has too many under way: 4.29 without state */
};

/* What upstream.c keeps here of the request's other half: in the device's
 * queue; sent and unheard of; acknowledged, its answer to come. */
enum exchange_up { UP_NONE = 0, UP_QUEUED, UP_SENT, UP_ACKED };

/* How the device's half ended, or why it never began. */
enum exchange_up_end {
    UP_SILENT = 0, /* no answer in time */
    UP_ANSWERED,
    UP_RESET,     /* the device rejected the message (RFC 7252 4.2) */
    UP_REFUSED,   /* its host says that nobody listens */
    UP_UNTRUSTED, /* no connection: a wrong key or certificate */
    UP_DRAINED,   /* it waited in the queue of a device that went down */
    UP_FULL,      /* not taken: no room in the queue, or the device is down */
    UP_TOO_LARGE, /* not taken: longer than MESSAGE_MAX as we would send it;
                     or its answer is longer than a datagram that we read */
    UP_CACHED,    /* answered by what the device said before */
    UP_VALIDATED, /* the same, and the device said that it still holds */
    UP_BLOCKED,   /* answered here, for the order of blocks */
};

enum exchange_limits {
    EXCHANGE_RECORD_MAX = 1408,
    EXCHANGE_SMALL = REPEAT_SMALL,
};

/* What the answer to a request of oneM2M needs of it; kept by gate_m2m.c. */
struct exchange_m2m {
    uint8_t rqi_n, rvi_n, ati_n, name_n;
    uint8_t rqi[255], rvi[2];
    uint8_t ati[255];  /* local IDs of its tokens, for the answer */
    uint8_t name[255]; /* the AE-ID that it asks for; or the address that it deletes */
};

/* The large part of a request, lent to it while it is OPEN, and for as long
 * as a longer answer of it is remembered. The last one given back is the next
 * one lent, as are slots: a busy table is larger than the processor's caches,
 * and so the few requests under way stay in them. */
struct exchange_room {
    struct exchange_room *next;       /* when free */
    struct peer peer;                 /* of who is remembered without an association, */
    int listener;                     /* and where it came to */
    struct rate_taken taken;          /* kept by the gate */
    uint8_t stored[MESSAGE_MAX];      /* the request for the device; or a long answer */
    char record[EXCHANGE_RECORD_MAX]; /* of the audit, begun at the decision */
    struct exchange_m2m m2m;          /* where x->m2m */
};

struct exchange {
    /* the client's half */
    _Alignas(64) struct assoc *assoc; /* NULL: plain coap, or the association is gone */
    uint64_t hash;                    /* of the message's bytes */
    /* kept by exchange.c: lists, and the endpoint's part of its keys */
    struct exchange *assoc_prev, *assoc_next, *age_prev, *age_next;
    uint32_t tag, confirm_tag;

    enum exchange_state state;
    uint16_t mid;
    uint8_t type, method;
    uint8_t token_n, token[MSG_TOKEN_MAX];
    bool gone;         /* the client is gone: the answer is for the record only */
    bool own;          /* a request of the gate's own to a device: no client at all */
    bool plain;        /* its client came without an association */
    uint32_t may_send; /* bytes to such a client, kept by the gate; UINT32_MAX: any */
    bool acked;        /* its CON was acknowledged by an empty ACK */
    bool confirm;      /* our separate CON answer awaits its ACK */
    bool findable;     /* by its message ID */
    bool reliable;     /* its client came by TCP: nothing is repeated, nothing kept (RFC 8323 3) */
    uint8_t list;      /* which of the table's lists it is in */
    bool notice;       /* a notification that awaits its ACK: no request of a client */
    uint8_t tries;     /* transmissions of the separate answer */
    uint16_t answer_mid;
    uint32_t wait_ms; /* until its next transmission */
    struct instant born;
    uint64_t wait; /* the question it waits for, its datagram in `stored`; 0: none */
    struct exchange **wait_at, *wait_next; /* its list */
    int64_t ends_s;                        /* when the grant it rests on ends; kept by the gate */
    struct pep_basis basis;                /* likewise */
    int device_index;                      /* whom it went to; kept by the gate */
    uint64_t watch;        /* the observation that it opens, or whose notification it is; or 0 */
    uint32_t observed;     /* the last Observe number of its token before; kept by the gate */
    uint8_t m2m;           /* enum m2m_numbering of its client, plus one; 0: it is for no CSE */
    uint8_t m2m_operation; /* enum m2m_operation */
    bool m2m_registers;    /* it creates an AE */
    uint64_t called;       /* a CSE's request that waits for a client (gate_call.c); or 0 */
    uint64_t client;       /* its association's number; 0: none */
    /* kept by gate_mail.c: as what it is known to the worker that has the
     * device (0: it is not there); and of another worker's request, a guest,
     * what it is known as there. */
    uint64_t mailed, mailed_as;
    uint32_t guest_slot;
    uint8_t guest_of;
    bool guest;
    int listener;
    struct peer peer;
    struct deadline deadline; /* of the separate answer */

    /* the device's half, kept by upstream.c */
    enum exchange_up up;
    enum exchange_up_end up_end; /* once it is over */
    struct device *device;
    uint64_t up_token, sent_us;
    bool up_kept;         /* up_token was given by upstream_listen() */
    uint32_t observation; /* whose request to the device this is, + 1; 0: none */
    uint64_t up_first_us; /* sent_us of its first connection */
    uint32_t up_wait_ms;
    uint32_t up_epoch; /* of its way (way.h) */
    uint16_t up_mid;
    uint8_t up_tries;
    uint8_t up_way, up_moves;           /* index of the URL; how often it began anew */
    struct exchange *up_prev, *up_next; /* the device's queue or flight */
    struct deadline up_deadline;
    /* and by gate_device.c */
    uint64_t up_transfer; /* the body in blocks that it is part of (block.h) */
    uint64_t up_lead;     /* others wait for its answer under this number */
    bool up_stale;        /* an older answer to it is kept */
    bool up_tagged;       /* its last ETag is the cache's */

    /* what is in the room; of the answer's bytes when ANSWERED */
    size_t stored_n, record_n;
    struct exchange_room *room; /* never NULL while OPEN or ANSWERED */
};

/* How the client took a notification of type CON. */
enum exchange_heard {
    HEARD_NOTHING = 0, /* no answer to any of its transmissions */
    HEARD_RESET,
    HEARD_ACK,
};

/* What the table asks of its owner. */
struct exchange_ops {
    /* Plain bytes to the client of x (DTLS when it has an association). */
    void (*send)(void *user, struct exchange *x, struct bytes message);
    /* Our separate CON was not acknowledged, or answered by RST. */
    void (*undelivered)(void *user, struct exchange *x, bool reset);
    /* What became of exchange_notify() as CON. rtt_us 0: not known, for it was
     * sent more than once. May be NULL. */
    void (*notified)(void *user, uint64_t watch, enum exchange_heard heard, uint64_t rtt_us);
};

struct exchanges_stats {
    uint64_t open, kept, accepted, repeated, evicted, full, separate, undelivered;
    /* Of those accepted, each is one of these once it is not open any more. */
    uint64_t answered, unanswered; /* the latter: its client went first */
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
MUST_USE struct exchange *exchange_own(struct exchanges *t, struct instant now);

/* By the number of its slot: two threads can speak of it. NULL: no such. */
uint32_t exchange_slot(const struct exchanges *t, const struct exchange *x);
struct exchange *exchange_at_slot(struct exchanges *t, uint32_t slot);

/* Answers: sets type, message ID and token of `m` (piggybacked on the ACK,
 * separate CON with retransmission, or NON), sends it and keeps it. An answer
 * that would be longer than MESSAGE_MAX becomes an empty 5.02, and `m` says
 * so. The device's half must be over (else cancel it first). The slot is free
 * then, unless an ACK is to come; what it holds stays readable, and its record
 * writable, until the next accept. When the client is gone, or never was,
 * nothing is sent. */
void exchange_answer(struct exchanges *t, struct exchange *x, struct msg *m, struct instant now);

/* The request is dropped without an answer (for example a NON that needs
 * none): duplicates stay quiet, but for a CON that we had acknowledged. */
void exchange_drop(struct exchanges *t, struct exchange *x, struct instant now);

/* Sends a notification (RFC 7641 4.2), of which type and token are set: NON
 * once, CON until it is acknowledged. m->mid tells its message ID; too long
 * for a message, it becomes an empty 5.02 and `m` says so. False: no slot.
 * *kept is the CON under way, for exchange_unsay(); NULL for a NON. */
MUST_USE bool exchange_notify(struct exchanges *t, struct assoc *a, uint64_t watch, struct msg *m,
                              struct instant now, struct exchange **kept);
/* The CON is not sent again, if `x` is still this observation's. */
void exchange_unsay(struct exchanges *t, struct exchange *x, uint64_t watch);
bool exchange_is_unheard(const struct exchange *x, uint64_t watch);

/* ACK or RST from a client: ends the retransmission that it names; what
 * names none is ignored: false. */
bool exchange_acknowledged(struct exchanges *t, struct assoc *a, const struct peer *from,
                           int listener, uint16_t mid, bool reset, struct instant now);

/* The association is gone or has new keys: its answered slots are freed,
 * its open ones lose their client (`gone`). */
void exchange_forget(struct exchanges *t, struct assoc *a);

/* The open exchange waits for the answer to a question; as long as it is
 * open, or until it is called. */
void exchange_wait(struct exchanges *t, struct exchange *x, uint64_t question);
/* Those that wait for it, each once, and not waiting any more: no others are
 * looked at. `visit` may end any, and may make any wait anew. */
void exchanges_each_waiting(struct exchanges *t, uint64_t question,
                            void (*visit)(void *user, struct exchange *x), void *user);

/* Open slots, each once; for reload and drain. `visit` may end any. */
void exchanges_each_open(struct exchanges *t, void (*visit)(void *user, struct exchange *x),
                         void *user);

/* ---- over a restart ---- */

/* A message of a client that was answered, or dropped. */
struct exchange_seen {
    uint64_t client; /* its association's number */
    uint64_t hash;   /* of the message, under the table's seed */
    uint16_t mid;
    uint8_t type;
    bool acked;      /* by an empty ACK */
    uint64_t age_ms; /* since it came */
    struct bytes answer;
};
enum { EXCHANGE_SEED = 16 };
void exchanges_get_seed(const struct exchanges *t, uint8_t seed[EXCHANGE_SEED]);
/* Into a table that has seen nothing; false: it has. */
MUST_USE bool exchanges_use_seed(struct exchanges *t, const uint8_t seed[EXCHANGE_SEED]);
/* Those of associations, the oldest first. An answer that awaits its ACK is
 * not sent again after the restart. */
void exchanges_each_seen(const struct exchanges *t, struct instant now,
                         void (*visit)(void *user, const struct exchange_seen *x), void *user);
/* Its duplicates are known again. False: no slot, or it is too old. */
MUST_USE bool exchange_remember(struct exchanges *t, struct assoc *a, const struct exchange_seen *x,
                                struct instant now);

uint64_t exchanges_deadline_ms(const struct exchanges *t);
void exchanges_expire(struct exchanges *t, struct instant now);
void exchanges_get_stats(const struct exchanges *t, struct exchanges_stats *out);

#endif
