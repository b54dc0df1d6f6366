#include "coap_client.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "coap_ask.h"
#include "limits.h"

enum {
    RECENT = 16,      /* separate answers whose ACK we can repeat */
    RESTARTS_MAX = 3, /* of an answer that changed while it was fetched */
    SUSPECT_TRIES = 2,
    RENEW_AFTER_MS = 5000, /* RFC 7641 3.3.1: after Max-Age, and some more at random */
    RENEW_SPREAD_MS = 10000,
};

struct coap_client {
    struct coap_client_ops ops;
    void *user;
    struct coap_ask *asks;
    size_t max, window, n_sent, n_busy;
    bool held;
    uint16_t next_mid;
    uint64_t next_order, heard_us;
    uint64_t next_ms; /* the first deadline */
    struct {
        uint64_t token, until_ms;
        uint16_t mid;
    } recent[RECENT];
    size_t next_recent;
};

struct coap_client *coap_client_new(const struct coap_client_ops *ops, void *user, size_t max,
                                    size_t window)
{
    struct coap_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->asks = calloc(max, sizeof *c->asks);
    if (!c->asks) {
        free(c);
        return NULL;
    }
    c->ops = *ops;
    c->user = user;
    c->max = max;
    c->window = window;
    c->held = true;
    c->next_ms = UINT64_MAX;
    ops->random(user, &c->next_mid, sizeof c->next_mid); /* RFC 7252 4.4 */
    return c;
}

/* ---- the table ---- */

static void settle(struct coap_client *c)
{
    c->next_ms = UINT64_MAX;
    for (size_t i = 0; c->n_busy && i < c->max; i++)
        if (coap_ask_due(&c->asks[i]) < c->next_ms)
            c->next_ms = coap_ask_due(&c->asks[i]);
}

static void set_state(struct coap_client *c, struct coap_ask *a, enum coap_ask_state state)
{
    c->n_sent -= a->state == ASK_SENT;
    c->n_sent += state == ASK_SENT;
    c->n_busy -= a->state != ASK_FREE;
    c->n_busy += state != ASK_FREE;
    a->state = state;
}

static void release(struct coap_client *c, struct coap_ask *a)
{
    set_state(c, a, ASK_FREE);
    coap_ask_clear(a);
}

void coap_client_free(struct coap_client *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->max; i++)
        if (c->asks[i].state != ASK_FREE)
            release(c, &c->asks[i]);
    free(c->asks);
    free(c);
}

static void tell(struct coap_client *c, struct coap_ask *a, enum coap_end end, bool last,
                 const struct msg *m, struct bytes body, struct instant now)
{
    int64_t format = m ? msg_uint(m, OPT_CONTENT_FORMAT) : -1;
    const struct coap_answer answer = {
        .code = m ? m->code : 0,
        .content_format = format < 0 || format > UINT16_MAX ? CF_NONE : (int)format,
        .body = body,
        .max_age_s = a->max_age_s,
        .last = last,
        .end = end,
        .message = m,
    };
    uint64_t id = a->id;
    if (last)
        release(c, a);
    c->ops.answered(c->user, id, &answer, now);
}

static void fail(struct coap_client *c, struct coap_ask *a, enum coap_end end, struct instant now)
{
    tell(c, a, end, true, NULL, BYTES_NONE, now);
}

/* ---- sending ---- */

static void transmit(struct coap_client *c, const struct coap_ask *a, struct instant now)
{
    uint8_t text[MESSAGE_MAX];
    struct buf b = buf_on(text, sizeof text);
    coap_ask_write(a, &b);
    if (!b.full) /* it cannot be: coap_client_ask() has looked */
        c->ops.send(c->user, buf_bytes(&b), now);
    crypto_wipe(text, sizeof text);
}

static uint16_t take_mid(struct coap_client *c)
{
    for (;;) {
        uint16_t mid = c->next_mid++;
        size_t i = 0;
        while (i < c->max && (c->asks[i].state != ASK_SENT || c->asks[i].mid != mid))
            i++;
        if (i == c->max)
            return mid;
    }
}

static void send_first(struct coap_client *c, struct coap_ask *a, struct instant now)
{
    uint16_t jitter;
    c->ops.random(c->user, &jitter, sizeof jitter);
    /* A new token for each message: an answer tells which it is to. Asked
     * again, an observation keeps its own (RFC 7641 3.3.1). */
    if (a->registered && !a->fetching)
        a->token = a->observe_token;
    else
        c->ops.random(c->user, &a->token, sizeof a->token);
    if (a->observe && !a->fetching)
        a->observe_token = a->token;
    a->mid = take_mid(c);
    a->tries = 1;
    a->sent_us = now.mono_us;
    a->retry_ms = ACK_TIMEOUT_MS + jitter % (ACK_TIMEOUT_MS * ACK_RANDOM_PERCENT / 100 + 1);
    a->due_ms = instant_ms(now) + a->retry_ms;
    set_state(c, a, ASK_SENT);
    transmit(c, a, now);
}

/* What waits leaves in its order, as far as the window goes. */
static void pump(struct coap_client *c, struct instant now)
{
    while (!c->held && c->n_sent < c->window) {
        struct coap_ask *first = NULL;
        for (size_t i = 0; i < c->max; i++) {
            struct coap_ask *a = &c->asks[i];
            if (a->state == ASK_WAITING && (!first || a->order < first->order))
                first = a;
        }
        if (!first)
            break;
        send_first(c, first, now);
    }
    settle(c);
}

/* Begins the question, or what is left of it, anew. */
static void again(struct coap_client *c, struct coap_ask *a)
{
    coap_ask_drop_answer(a);
    a->sent = 0;
    set_state(c, a, ASK_WAITING);
}

/* ---- asking ---- */

bool coap_client_ask(struct coap_client *c, uint64_t id, const struct coap_question *q,
                     struct instant now)
{
    struct coap_ask *a = NULL;
    for (size_t i = 0; i < c->max && !a; i++)
        if (c->asks[i].state == ASK_FREE)
            a = &c->asks[i];
    if (!a || !coap_ask_init(a, q))
        return false;
    a->id = id;
    a->order = c->next_order++;
    a->until_ms = instant_ms(now) + q->wait_ms;
    set_state(c, a, ASK_WAITING);
    pump(c, now);
    return true;
}

void coap_client_cancel(struct coap_client *c, uint64_t id, struct instant now)
{
    for (size_t i = 0; i < c->max; i++)
        if (c->asks[i].state != ASK_FREE && c->asks[i].id == id)
            release(c, &c->asks[i]);
    pump(c, now);
}

/* ---- the connection ---- */

void coap_client_hold(struct coap_client *c)
{
    c->held = true;
    for (size_t i = 0; i < c->max; i++) {
        struct coap_ask *a = &c->asks[i];
        if (a->state == ASK_FREE || a->state == ASK_WAITING)
            continue;
        if (a->state == ASK_OBSERVING) /* until there is a connection, or coap_client_end() */
            a->until_ms = UINT64_MAX;
        again(c, a);
    }
    settle(c);
}

void coap_client_restart(struct coap_client *c, struct instant now)
{
    coap_client_hold(c);
    c->held = false;
    c->heard_us = now.mono_us;
    for (size_t i = 0; i < c->max; i++) {
        struct coap_ask *a = &c->asks[i];
        a->registered = false;
        if (a->state != ASK_FREE && a->until_ms == UINT64_MAX)
            a->until_ms = instant_ms(now) + a->wait_ms;
    }
    pump(c, now);
}

void coap_client_end(struct coap_client *c, enum coap_end why, struct instant now)
{
    uint64_t order = c->next_order; /* what is asked meanwhile stays */
    for (size_t i = 0; i < c->max; i++)
        if (c->asks[i].state != ASK_FREE && c->asks[i].order < order)
            fail(c, &c->asks[i], why, now);
    settle(c);
}

/* ---- time ---- */

static void expire_one(struct coap_client *c, struct coap_ask *a, struct instant now)
{
    uint64_t ms = instant_ms(now);
    if (a->state == ASK_OBSERVING) { /* not fresh any more: ask for it again */
        a->until_ms = ms + a->wait_ms;
        again(c, a);
    } else if (ms >= a->until_ms || a->tries > MAX_RETRANSMIT) {
        fail(c, a, COAP_SILENT, now);
    } else {
        bool silence = c->heard_us <= a->sent_us;
        bool suspect = silence && a->tries == SUSPECT_TRIES;
        a->tries++; /* RFC 7252 4.2: the same message, after twice the time */
        a->retry_ms *= 2;
        a->due_ms = ms + a->retry_ms;
        transmit(c, a, now);
        if (suspect)
            c->ops.suspect(c->user, now);
    }
}

void coap_client_expire(struct coap_client *c, struct instant now)
{
    if (instant_ms(now) < c->next_ms)
        return;
    for (size_t i = 0; i < c->max; i++)
        if (coap_ask_due(&c->asks[i]) <= instant_ms(now))
            expire_one(c, &c->asks[i], now);
    pump(c, now);
}

uint64_t coap_client_deadline_ms(const struct coap_client *c)
{
    return c->next_ms;
}

/* ---- answers ---- */

static void send_empty(struct coap_client *c, enum msg_type type, uint16_t mid, struct instant now)
{
    uint8_t text[4];
    struct buf b = buf_on(text, sizeof text);
    msg_write_empty(type, mid, &b);
    c->ops.send(c->user, buf_bytes(&b), now);
}

static void reject(struct coap_client *c, const struct msg *m, struct instant now)
{
    if (m->type == TYPE_CON)
        send_empty(c, TYPE_RST, m->mid, now);
}

/* Whether this separate answer was here before. */
static bool is_recent(const struct coap_client *c, uint16_t mid, uint64_t token, struct instant now)
{
    for (size_t i = 0; i < RECENT; i++)
        if (c->recent[i].mid == mid && c->recent[i].token == token &&
            instant_ms(now) < c->recent[i].until_ms)
            return true;
    return false;
}

static void note_recent(struct coap_client *c, uint16_t mid, uint64_t token, struct instant now)
{
    c->recent[c->next_recent].mid = mid;
    c->recent[c->next_recent].token = token;
    c->recent[c->next_recent].until_ms = instant_ms(now) + EXCHANGE_LIFETIME_MS;
    c->next_recent = (c->next_recent + 1) % RECENT;
}

static void deliver(struct coap_client *c, struct coap_ask *a, const struct msg *m,
                    struct instant now)
{
    uint8_t *body = a->answer; /* the ask may be gone after the call */
    size_t n = a->answer_n;
    a->answer = NULL;
    a->answer_n = 0;
    coap_ask_drop_answer(a);
    if (a->registered) {
        uint16_t spread;
        c->ops.random(c->user, &spread, sizeof spread);
        a->restarts = 0;
        a->due_ms = instant_ms(now) + (uint64_t)a->max_age_s * 1000 + RENEW_AFTER_MS +
                    spread % RENEW_SPREAD_MS;
        set_state(c, a, ASK_OBSERVING);
        tell(c, a, COAP_ANSWERED, false, m, bytes_of(body, n), now);
    } else {
        tell(c, a, a->observe ? COAP_UNOBSERVED : COAP_ANSWERED, true, m, bytes_of(body, n), now);
    }
    if (body)
        crypto_wipe(body, n);
    free(body);
}

static void take_part(struct coap_client *c, struct coap_ask *a, const struct msg *m,
                      struct instant now)
{
    switch (coap_ask_take_block(a, m)) {
    case TAKEN_BAD:
        fail(c, a, COAP_BAD, now);
        return;
    case TAKEN_CHANGED:
        if (++a->restarts > RESTARTS_MAX) {
            fail(c, a, COAP_BAD, now);
            return;
        }
        again(c, a);
        return;
    case TAKEN_PART:
        a->fetching = true;
        set_state(c, a, ASK_WAITING);
        return;
    case TAKEN_WHOLE:
        deliver(c, a, m, now);
        return;
    }
}

/* The answer to what is under way. */
static void take_answer(struct coap_client *c, struct coap_ask *a, const struct msg *m,
                        struct instant now)
{
    if (!a->fetching && coap_ask_goes_on(a, m)) {
        set_state(c, a, ASK_WAITING);
        return;
    }
    if (m->code == COAP_ASK_CONTINUE) {
        fail(c, a, COAP_BAD, now);
        return;
    }
    if (!a->fetching) {
        coap_ask_note_observed(a, m, now);
        coap_ask_note_max_age(a, m);
    }
    take_part(c, a, m, now);
}

/* A state that the server told of itself. It ends the fetching of an older. */
static void take_notification(struct coap_client *c, struct coap_ask *a, const struct msg *m,
                              struct instant now)
{
    int64_t seq = msg_uint(m, OPT_OBSERVE);
    if (MSG_CLASS(m->code) == 2 && seq >= 0 && !coap_ask_is_newer(a, (uint32_t)seq & 0xffffff, now))
        return;
    coap_ask_drop_answer(a);
    set_state(c, a, ASK_WAITING);
    a->until_ms = instant_ms(now) + a->wait_ms; /* for what is left of it */
    coap_ask_note_observed(a, m, now);
    coap_ask_note_max_age(a, m);
    take_part(c, a, m, now);
}

static void take_empty(struct coap_client *c, const struct msg *m, struct instant now)
{
    struct coap_ask *a = NULL;
    for (size_t i = 0; i < c->max && !a; i++)
        if (c->asks[i].state == ASK_SENT && c->asks[i].mid == m->mid)
            a = &c->asks[i];
    if (m->type == TYPE_CON || m->type == TYPE_NON || !a) {
        reject(c, m, now); /* a ping (RFC 7252 4.3), or the ACK of a retransmission */
        return;
    }
    c->heard_us = now.mono_us;
    if (m->type == TYPE_RST) {
        fail(c, a, COAP_RESET, now);
        return;
    }
    set_state(c, a, ASK_ACKED);
}

static void take_response(struct coap_client *c, const struct msg *m, struct instant now)
{
    uint64_t token = 0;
    struct coap_ask *a = NULL;
    if (m->token_n == COAP_ASK_TOKEN && m->type != TYPE_RST) {
        memcpy(&token, m->token, COAP_ASK_TOKEN);
        for (size_t i = 0; i < c->max && !a; i++) {
            struct coap_ask *one = &c->asks[i];
            bool under_way = one->state == ASK_SENT || one->state == ASK_ACKED;
            if ((under_way && one->token == token) ||
                (one->state != ASK_FREE && one->registered && one->observe_token == token))
                a = one;
        }
    }
    /* An answer again whose ACK was lost is no stray (RFC 7252 4.2). */
    if (m->type == TYPE_CON && m->token_n == COAP_ASK_TOKEN && is_recent(c, m->mid, token, now)) {
        send_empty(c, TYPE_ACK, m->mid, now);
        return;
    }
    if (!a) {
        reject(c, m, now);
        return;
    }
    bool under_way = (a->state == ASK_SENT || a->state == ASK_ACKED) && a->token == token;
    /* Piggybacked, it must acknowledge the message that carried the token
     * (RFC 7252 5.3.2). */
    if (m->type == TYPE_ACK && !(under_way && a->state == ASK_SENT && a->mid == m->mid))
        return;
    c->heard_us = now.mono_us;
    if (m->type == TYPE_CON) {
        note_recent(c, m->mid, token, now);
        send_empty(c, TYPE_ACK, m->mid, now);
    }
    if (under_way)
        take_answer(c, a, m, now);
    else
        take_notification(c, a, m, now);
}

void coap_client_receive(struct coap_client *c, struct bytes datagram, struct instant now)
{
    struct msg m;
    enum msg_parse parse = msg_parse(datagram, &m);
    if (parse == MSG_IGNORE)
        return;
    if (parse == MSG_BAD)
        reject(c, &m, now);
    else if (m.code == MSG_EMPTY)
        take_empty(c, &m, now);
    else if (msg_is_response(&m))
        take_response(c, &m, now);
    else
        reject(c, &m, now); /* a request: we serve nothing here */
    pump(c, now);
}

size_t coap_client_busy(const struct coap_client *c)
{
    return c->n_busy;
}
