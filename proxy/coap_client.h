/* A CoAP client towards one server, over anything that carries datagrams
 * (RFC 7252 4, as the side that asks): message IDs and tokens, CON with
 * back-off, separate answers, Block1 for large questions and Block2 for large
 * answers (RFC 7959), observations (RFC 7641). It owns no socket and calls no
 * clock.
 *
 * Every question gets exactly one call of `answered` with `last` set, never
 * from within coap_client_ask(). An observation gets one more before that for
 * each state it learns of. What a call brings is borrowed for the call; it may
 * ask and cancel, and must not free the client. */
#ifndef POSTERN_COAP_CLIENT_H
#define POSTERN_COAP_CLIENT_H

#include "instant.h"
#include "msg.h"

struct coap_client;

enum coap_client_limits {
    COAP_ANSWER_MAX = 65536,     /* of all blocks together */
    COAP_QUESTION_MAX = 16384,   /* likewise */
    COAP_BLOCK = 1024,           /* of a question; larger ones leave in blocks */
    COAP_CLIENT_PATH_MAX = 1024, /* the options of a question, encoded */
};

/* Why a question is over. */
enum coap_end {
    COAP_ANSWERED = 0,
    COAP_SILENT,    /* no ACK, or no answer in time */
    COAP_RESET,     /* RST */
    COAP_BAD,       /* an answer that makes no sense, or too large a one */
    COAP_LOST,      /* the connection under it is gone */
    COAP_UNOBSERVED /* an answer that ended the observation, or never began one */
};

struct coap_question {
    uint8_t code;      /* MSG_GET, MSG_POST, MSG_PUT */
    struct bytes host; /* Uri-Host; n 0: the server has no name (RFC 7252 6.4) */
    const struct bytes *path;
    size_t n_path;
    const struct bytes *query;
    size_t n_query;
    int content_format, accept;       /* CF_NONE: no such option */
    const struct msg_option *options; /* others, none of the above */
    size_t n_options;
    struct bytes body;
    bool observe;
    uint64_t wait_ms; /* for the answer, all in all; of an observation: the first */
};

struct coap_answer {
    uint8_t code;
    int content_format; /* CF_NONE: not told */
    struct bytes body;
    uint32_t max_age_s;        /* 60 unless told (RFC 7252 5.10.5) */
    bool last;                 /* nothing follows */
    enum coap_end end;         /* other than ANSWERED and UNOBSERVED: code 0, no body */
    const struct msg *message; /* that it came with, or the last part of it did; NULL: none */
};

struct coap_client_ops {
    void (*send)(void *user, struct bytes datagram, struct instant now);
    void (*answered)(void *user, uint64_t id, const struct coap_answer *a, struct instant now);
    /* Nothing was heard since this was sent, for long enough to wonder
     * whether the other side still knows the connection. */
    void (*suspect)(void *user, struct instant now);
    void (*random)(void *user, void *to, size_t n);
};

/* `max` questions at once, `window` of them not yet acknowledged (NSTART). */
MUST_USE struct coap_client *coap_client_new(const struct coap_client_ops *ops, void *user,
                                             size_t max, size_t window);
void coap_client_free(struct coap_client *c); /* nobody is told */

/* `id` is the caller's, and not that of another question. False: full, too
 * large, or out of memory. Nothing of *q is needed afterwards. */
MUST_USE bool coap_client_ask(struct coap_client *c, uint64_t id, const struct coap_question *q,
                              struct instant now);
/* Forgotten without a word; what still comes for it is rejected by RST,
 * which also ends an observation (RFC 7641 3.6). */
void coap_client_cancel(struct coap_client *c, uint64_t id, struct instant now);

void coap_client_receive(struct coap_client *c, struct bytes datagram, struct instant now);
/* There is a new connection: all begins again on it, observations too. */
void coap_client_restart(struct coap_client *c, struct instant now);
/* There will be none: all is over, with `why`. */
void coap_client_end(struct coap_client *c, enum coap_end why, struct instant now);

/* Nothing leaves while held, for there is no connection; time-outs run. */
void coap_client_hold(struct coap_client *c);

uint64_t coap_client_deadline_ms(const struct coap_client *c);
void coap_client_expire(struct coap_client *c, struct instant now);
size_t coap_client_busy(const struct coap_client *c); /* questions and observations */

#endif
