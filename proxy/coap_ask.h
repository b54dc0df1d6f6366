/* One question of a CoAP client: its text, what is under way of it, and what
 * has come of its answer. It writes its messages and puts blocks together (RFC
 * 7959); it sends nothing and tells nobody. coap_client.c alone knows it, and
 * changes `state`, which its counts follow.
 *
 * Both texts may hold secrets: a question is a token as a rule, and an answer
 * may hold keys (cnf). They are wiped when they go. */
#ifndef POSTERN_COAP_ASK_H
#define POSTERN_COAP_ASK_H

#include "coap_client.h"

enum {
    COAP_ASK_TOKEN = 8,       /* bytes */
    COAP_ASK_CONTINUE = 0x5f, /* 2.31 (RFC 7959 2.9.1) */
};

enum coap_ask_state {
    ASK_FREE = 0,
    ASK_WAITING,   /* for the window, or for a connection */
    ASK_SENT,      /* not acknowledged */
    ASK_ACKED,     /* the answer comes separately */
    ASK_OBSERVING, /* registered; nothing is under way */
};

struct coap_ask {
    enum coap_ask_state state;
    uint64_t id, order;
    uint8_t code;
    bool observe;
    int content_format, accept;
    uint64_t wait_ms;
    uint8_t *text; /* options as (number, length, value), and the body behind them */
    size_t options_n, body_n;

    /* what is under way */
    uint64_t token;
    uint16_t mid;
    unsigned tries;
    uint64_t sent_us, due_ms, until_ms;
    uint32_t retry_ms;
    size_t sent; /* of the body, with the blocks before */
    uint8_t szx;

    /* what has come of the answer */
    uint8_t *answer;
    size_t answer_n, answer_cap;
    uint8_t answer_code, answer_szx, etag_n;
    uint8_t etag[8];
    bool fetching; /* block by block */
    unsigned restarts;

    bool registered;
    uint64_t observe_token, observed_us;
    uint32_t observed_seq;
    uint32_t max_age_s;
};

/* Copies the question; `state`, `id`, `order` and `until_ms` are the caller's
 * to set. False: too large, or out of memory; *a is as it was. */
MUST_USE bool coap_ask_init(struct coap_ask *a, const struct coap_question *q);
void coap_ask_clear(struct coap_ask *a); /* wiped, and ASK_FREE */
/* When it wants to be looked at; UINT64_MAX: never. */
uint64_t coap_ask_due(const struct coap_ask *a);
/* The message of now: the question, a block of it, or the request for the
 * next block of the answer. */
void coap_ask_write(const struct coap_ask *a, struct buf *out);

enum coap_taken { TAKEN_BAD = 0, TAKEN_PART, TAKEN_WHOLE, TAKEN_CHANGED };

/* One block of the answer, or all of it (RFC 7959 2.4). */
MUST_USE enum coap_taken coap_ask_take_block(struct coap_ask *a, const struct msg *m);
/* 2.31, or 4.13 with a size that would do (RFC 7959 2.5, 2.9.3). True: the
 * question goes on, with its next block or from its start. */
MUST_USE bool coap_ask_goes_on(struct coap_ask *a, const struct msg *m);
void coap_ask_drop_answer(struct coap_ask *a);

/* RFC 7641 3.4: whether this state is newer than the one we have. */
bool coap_ask_is_newer(const struct coap_ask *a, uint32_t seq, struct instant now);
void coap_ask_note_observed(struct coap_ask *a, const struct msg *m, struct instant now);
void coap_ask_note_max_age(struct coap_ask *a, const struct msg *m);

#endif
