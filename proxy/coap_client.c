#include "coap_client.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "limits.h"

enum {
    TOKEN_BYTES = 8,
    RECENT = 16,           /* separate answers whose ACK we can repeat */
    CODE_CONTINUE = 0x5f,  /* 2.31 (RFC 7959 2.9.1) */
    CODE_TOO_LARGE = 0x8d, /* 4.13 */
    SZX_MAX = 6,           /* 1024 bytes; 7 is reserved for UDP (RFC 7959 2.2) */
    BLOCK_NUMBER_MAX = (1 << 20) - 1,
    RESTARTS_MAX = 3, /* of an answer that changed while it was fetched */
    SUSPECT_TRIES = 2,
    MAX_AGE_DEFAULT_S = 60, /* RFC 7252 5.10.5 */
    MAX_AGE_MOST_S = 86400,
    RENEW_AFTER_MS = 5000, /* RFC 7641 3.3.1: after Max-Age, and some more at random */
    RENEW_SPREAD_MS = 10000,
    ORDER_SPAN_US = 128000000, /* RFC 7641 3.4 */
};

enum ask_state {
    ASK_FREE = 0,
    ASK_WAITING,   /* for the window, or for a connection */
    ASK_SENT,      /* not acknowledged */
    ASK_ACKED,     /* the answer comes separately */
    ASK_OBSERVING, /* registered; nothing is under way */
};

struct ask {
    enum ask_state state;
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

struct coap_client {
    struct coap_client_ops ops;
    void *user;
    struct ask *asks;
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
    struct coap_client_stats stats;
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

static uint64_t due(const struct ask *a)
{
    switch (a->state) {
    case ASK_FREE:
        return UINT64_MAX;
    case ASK_SENT:
        return a->due_ms < a->until_ms ? a->due_ms : a->until_ms;
    case ASK_OBSERVING:
        return a->due_ms;
    case ASK_WAITING:
    case ASK_ACKED:
        break;
    }
    return a->until_ms;
}

static void settle(struct coap_client *c)
{
    c->next_ms = UINT64_MAX;
    for (size_t i = 0; c->n_busy && i < c->max; i++)
        if (due(&c->asks[i]) < c->next_ms)
            c->next_ms = due(&c->asks[i]);
}

static void set_state(struct coap_client *c, struct ask *a, enum ask_state state)
{
    c->n_sent -= a->state == ASK_SENT;
    c->n_sent += state == ASK_SENT;
    c->n_busy -= a->state != ASK_FREE;
    c->n_busy += state != ASK_FREE;
    a->state = state;
}

/* It may hold keys (cnf). */
static void drop_answer(struct ask *a)
{
    crypto_wipe(a->answer, a->answer_n);
    free(a->answer);
    a->answer = NULL;
    a->answer_n = a->answer_cap = 0;
    a->fetching = false;
}

/* A question is a token as a rule. */
static void release(struct coap_client *c, struct ask *a)
{
    set_state(c, a, ASK_FREE);
    drop_answer(a);
    crypto_wipe(a->text, a->options_n + a->body_n);
    free(a->text);
    *a = (struct ask){0};
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

static void tell(struct coap_client *c, struct ask *a, enum coap_end end, bool last,
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
    };
    uint64_t id = a->id;
    if (last)
        release(c, a);
    c->ops.answered(c->user, id, &answer, now);
}

static void fail(struct coap_client *c, struct ask *a, enum coap_end end, struct instant now)
{
    tell(c, a, end, true, NULL, BYTES_NONE, now);
}

/* ---- sending ---- */

static size_t block_size(uint8_t szx)
{
    return (size_t)1 << (szx + 4);
}

/* The part of the body that this message carries; *more: others follow. */
static struct bytes part_of(const struct ask *a, bool *more)
{
    const uint8_t *body = a->text + a->options_n;
    size_t left = a->body_n - a->sent, size = block_size(a->szx);
    *more = a->body_n > COAP_BLOCK && left > size;
    return bytes_of(body + a->sent, *more ? size : left);
}

static void write_message(const struct ask *a, struct buf *out)
{
    uint8_t store[5][4];
    struct msg m;
    m.type = TYPE_CON;
    m.code = a->code;
    m.mid = a->mid;
    m.token_n = TOKEN_BYTES;
    memcpy(m.token, &a->token, TOKEN_BYTES);
    m.n_options = 0;
    m.payload = BYTES_NONE;
    bool ok = true, first = !a->fetching, more;
    for (size_t i = 0; i < a->options_n; i += 2u + a->text[i + 1])
        ok = ok && msg_add(&m, a->text[i], bytes_of(a->text + i + 2, a->text[i + 1]));
    if (a->accept >= 0)
        ok = ok && msg_add_uint(&m, OPT_ACCEPT, (uint32_t)a->accept, store[0]);
    if (a->observe && first)
        ok = ok && msg_add_uint(&m, OPT_OBSERVE, 0, store[1]);
    if (first && a->body_n) {
        m.payload = part_of(a, &more);
        if (a->content_format >= 0)
            ok = ok && msg_add_uint(&m, OPT_CONTENT_FORMAT, (uint32_t)a->content_format, store[2]);
        if (a->body_n > COAP_BLOCK)
            ok = ok &&
                 msg_add_uint(&m, OPT_BLOCK1,
                              (uint32_t)(a->sent >> (a->szx + 4)) << 4 | (more ? 8u : 0) | a->szx,
                              store[3]);
    }
    if (a->fetching) /* what follows the first block is asked for with nothing else (2.7) */
        ok = ok && msg_add_uint(&m, OPT_BLOCK2,
                                (uint32_t)(a->answer_n >> (a->answer_szx + 4)) << 4 | a->answer_szx,
                                store[4]);
    if (!ok || !msg_write(&m, out))
        out->full = true;
}

static void transmit(struct coap_client *c, const struct ask *a, struct instant now)
{
    uint8_t text[MESSAGE_MAX];
    struct buf b = buf_on(text, sizeof text);
    write_message(a, &b);
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

static void send_first(struct coap_client *c, struct ask *a, struct instant now)
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
    c->stats.sent++;
    transmit(c, a, now);
}

/* What waits leaves in its order, as far as the window goes. */
static void pump(struct coap_client *c, struct instant now)
{
    while (!c->held && c->n_sent < c->window) {
        struct ask *first = NULL;
        for (size_t i = 0; i < c->max; i++) {
            struct ask *a = &c->asks[i];
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
static void again(struct coap_client *c, struct ask *a)
{
    drop_answer(a);
    a->sent = 0;
    set_state(c, a, ASK_WAITING);
}

/* ---- asking ---- */

static bool put_option(struct buf *b, uint16_t number, struct bytes value)
{
    if (value.n > UINT8_MAX)
        return false;
    buf_put_u8(b, (uint8_t)number);
    buf_put_u8(b, (uint8_t)value.n);
    buf_put(b, value);
    return !b->full;
}

static bool put_options(struct buf *b, const struct coap_question *q)
{
    bool ok = q->n_path + q->n_query <= MSG_OPTIONS_MAX - 8;
    if (q->host.n)
        ok = ok && put_option(b, OPT_URI_HOST, q->host);
    for (size_t i = 0; ok && i < q->n_path; i++)
        ok = put_option(b, OPT_URI_PATH, q->path[i]);
    for (size_t i = 0; ok && i < q->n_query; i++)
        ok = put_option(b, OPT_URI_QUERY, q->query[i]);
    return ok;
}

bool coap_client_ask(struct coap_client *c, uint64_t id, const struct coap_question *q,
                     struct instant now)
{
    uint8_t options[COAP_CLIENT_PATH_MAX];
    struct buf b = buf_on(options, sizeof options);
    struct ask *a = NULL;
    for (size_t i = 0; i < c->max && !a; i++)
        if (c->asks[i].state == ASK_FREE)
            a = &c->asks[i];
    if (!a || q->body.n > COAP_QUESTION_MAX || !put_options(&b, q))
        return false;
    uint8_t *text = malloc(b.n + q->body.n + 1);
    if (!text)
        return false;
    memcpy(text, options, b.n);
    if (q->body.n)
        memcpy(text + b.n, q->body.p, q->body.n);
    *a = (struct ask){
        .id = id,
        .order = c->next_order++,
        .code = q->code,
        .observe = q->observe,
        .content_format = q->content_format,
        .accept = q->accept,
        .wait_ms = q->wait_ms,
        .text = text,
        .options_n = b.n,
        .body_n = q->body.n,
        .szx = SZX_MAX,
        .until_ms = instant_ms(now) + q->wait_ms,
        .max_age_s = MAX_AGE_DEFAULT_S,
    };
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
        struct ask *a = &c->asks[i];
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
        struct ask *a = &c->asks[i];
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

static void expire_one(struct coap_client *c, struct ask *a, struct instant now)
{
    uint64_t ms = instant_ms(now);
    if (a->state == ASK_OBSERVING) { /* not fresh any more: ask for it again */
        a->until_ms = ms + a->wait_ms;
        again(c, a);
    } else if (ms >= a->until_ms || a->tries > MAX_RETRANSMIT) {
        c->stats.silent++;
        fail(c, a, COAP_SILENT, now);
    } else {
        bool silence = c->heard_us <= a->sent_us;
        bool suspect = silence && a->tries == SUSPECT_TRIES;
        a->tries++; /* RFC 7252 4.2: the same message, after twice the time */
        a->retry_ms *= 2;
        a->due_ms = ms + a->retry_ms;
        c->stats.retransmitted++;
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
        if (due(&c->asks[i]) <= instant_ms(now))
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
    c->stats.stray++;
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

static bool append(struct ask *a, struct bytes part)
{
    if (part.n > COAP_ANSWER_MAX - a->answer_n)
        return false;
    if (part.n > a->answer_cap - a->answer_n) {
        size_t cap = a->answer_cap ? a->answer_cap * 2 : 4096;
        while (cap < a->answer_n + part.n)
            cap *= 2;
        uint8_t *grown = malloc(cap); /* not realloc(): the old place is wiped */
        if (!grown)
            return false;
        if (a->answer_n)
            memcpy(grown, a->answer, a->answer_n);
        crypto_wipe(a->answer, a->answer_n);
        free(a->answer);
        a->answer = grown;
        a->answer_cap = cap;
    }
    if (part.n)
        memcpy(a->answer + a->answer_n, part.p, part.n);
    a->answer_n += part.n;
    return true;
}

enum taken { TAKEN_BAD = 0, TAKEN_PART, TAKEN_WHOLE, TAKEN_CHANGED };

static bool same_etag(const struct ask *a, const struct msg *m)
{
    const struct msg_option *o = msg_find(m, OPT_ETAG);
    return bytes_equal(o ? o->value : BYTES_NONE, bytes_of(a->etag, a->etag_n));
}

/* One block of the answer, or all of it (RFC 7959 2.4). */
static enum taken take_block(struct ask *a, const struct msg *m)
{
    if (!msg_find(m, OPT_BLOCK2)) {
        a->answer_n = 0; /* an error in the middle, or a server that thought better */
        return append(a, m->payload) ? TAKEN_WHOLE : TAKEN_BAD;
    }
    int64_t v = msg_uint(m, OPT_BLOCK2);
    if (v < 0 || v >> 4 > BLOCK_NUMBER_MAX || (v & 7) > SZX_MAX)
        return TAKEN_BAD;
    uint8_t szx = (uint8_t)(v & 7);
    bool more = v & 8;
    size_t at = (size_t)(v >> 4) << (szx + 4);
    if (more ? m->payload.n != block_size(szx) : m->payload.n > block_size(szx))
        return TAKEN_BAD;
    if (!a->fetching) {
        const struct msg_option *etag = msg_find(m, OPT_ETAG);
        if (at != 0 || (etag && etag->value.n > sizeof a->etag))
            return TAKEN_BAD;
        a->answer_n = 0;
        a->answer_code = m->code;
        a->etag_n = etag ? (uint8_t)etag->value.n : 0;
        if (etag)
            memcpy(a->etag, etag->value.p, etag->value.n);
    } else if (m->code != a->answer_code || !same_etag(a, m)) {
        return TAKEN_CHANGED;
    }
    if (at != a->answer_n || !append(a, m->payload))
        return TAKEN_BAD;
    /* The next one's number must be whole in this size. */
    if (more && a->answer_n % block_size(szx) != 0)
        return TAKEN_BAD;
    a->answer_szx = szx;
    return more ? TAKEN_PART : TAKEN_WHOLE;
}

/* 2.31, or 4.13 with a size that would do (RFC 7959 2.5, 2.9.3). True: the
 * question goes on. */
static bool goes_on(struct ask *a, const struct msg *m)
{
    int64_t v = msg_uint(m, OPT_BLOCK1);
    bool more;
    struct bytes part = part_of(a, &more);
    if (a->body_n <= COAP_BLOCK || v < 0 || (v & 7) > SZX_MAX)
        return false;
    uint8_t szx = (uint8_t)(v & 7);
    if (m->code == CODE_TOO_LARGE && szx < a->szx && a->sent == 0) {
        a->szx = szx;
        return true;
    }
    if (m->code != CODE_CONTINUE || !more || (size_t)(v >> 4) != a->sent >> (a->szx + 4))
        return false;
    a->sent += part.n;
    if (szx < a->szx)
        a->szx = szx;
    return true;
}

static void deliver(struct coap_client *c, struct ask *a, const struct msg *m, struct instant now)
{
    uint8_t *body = a->answer; /* the ask may be gone after the call */
    size_t n = a->answer_n;
    a->answer = NULL;
    a->answer_n = 0;
    drop_answer(a);
    if (a->registered) {
        uint16_t spread;
        c->ops.random(c->user, &spread, sizeof spread);
        a->restarts = 0;
        a->due_ms = instant_ms(now) + (uint64_t)a->max_age_s * 1000 + RENEW_AFTER_MS +
                    spread % RENEW_SPREAD_MS;
        set_state(c, a, ASK_OBSERVING);
        c->stats.notified++;
        tell(c, a, COAP_ANSWERED, false, m, bytes_of(body, n), now);
    } else {
        c->stats.answered++;
        tell(c, a, a->observe ? COAP_UNOBSERVED : COAP_ANSWERED, true, m, bytes_of(body, n), now);
    }
    if (body)
        crypto_wipe(body, n);
    free(body);
}

static void take_part(struct coap_client *c, struct ask *a, const struct msg *m, struct instant now)
{
    switch (take_block(a, m)) {
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

/* RFC 7641 3.4: whether this state is newer than the one we have. */
static bool is_newer(const struct ask *a, uint32_t seq, struct instant now)
{
    uint32_t v1 = a->observed_seq, v2 = seq;
    return !a->registered || (v1 < v2 && v2 - v1 < UINT32_C(1) << 23) ||
           (v1 > v2 && v1 - v2 > UINT32_C(1) << 23) || now.mono_us > a->observed_us + ORDER_SPAN_US;
}

static void note_observed(struct ask *a, const struct msg *m, struct instant now)
{
    int64_t seq = msg_uint(m, OPT_OBSERVE);
    bool on = a->observe && MSG_CLASS(m->code) == 2 && seq >= 0;
    if (on) {
        a->observed_seq = (uint32_t)seq & 0xffffff;
        a->observed_us = now.mono_us;
    }
    a->registered = on;
}

static void note_max_age(struct ask *a, const struct msg *m)
{
    int64_t v = msg_uint(m, OPT_MAX_AGE);
    a->max_age_s = v < 0 ? MAX_AGE_DEFAULT_S : v > MAX_AGE_MOST_S ? MAX_AGE_MOST_S : (uint32_t)v;
}

/* The answer to what is under way. */
static void take_answer(struct coap_client *c, struct ask *a, const struct msg *m,
                        struct instant now)
{
    if (a->tries == 1) {
        uint64_t rtt = now.mono_us - a->sent_us;
        c->stats.rtt_us = c->stats.rtt_us ? (7 * c->stats.rtt_us + rtt) / 8 : rtt;
    }
    if (!a->fetching && goes_on(a, m)) {
        set_state(c, a, ASK_WAITING);
        return;
    }
    if (m->code == CODE_CONTINUE) {
        fail(c, a, COAP_BAD, now);
        return;
    }
    if (!a->fetching) {
        note_observed(a, m, now);
        note_max_age(a, m);
    }
    take_part(c, a, m, now);
}

/* A state that the server told of itself. It ends the fetching of an older. */
static void take_notification(struct coap_client *c, struct ask *a, const struct msg *m,
                              struct instant now)
{
    int64_t seq = msg_uint(m, OPT_OBSERVE);
    if (MSG_CLASS(m->code) == 2 && seq >= 0 && !is_newer(a, (uint32_t)seq & 0xffffff, now))
        return;
    drop_answer(a);
    set_state(c, a, ASK_WAITING);
    a->until_ms = instant_ms(now) + a->wait_ms; /* for what is left of it */
    note_observed(a, m, now);
    note_max_age(a, m);
    take_part(c, a, m, now);
}

static void take_empty(struct coap_client *c, const struct msg *m, struct instant now)
{
    struct ask *a = NULL;
    for (size_t i = 0; i < c->max && !a; i++)
        if (c->asks[i].state == ASK_SENT && c->asks[i].mid == m->mid)
            a = &c->asks[i];
    if (m->type == TYPE_CON || m->type == TYPE_NON || !a) {
        reject(c, m, now); /* a ping (RFC 7252 4.3), or the ACK of a retransmission */
        return;
    }
    c->heard_us = now.mono_us;
    if (m->type == TYPE_RST) {
        c->stats.reset++;
        fail(c, a, COAP_RESET, now);
        return;
    }
    set_state(c, a, ASK_ACKED);
}

static void take_response(struct coap_client *c, const struct msg *m, struct instant now)
{
    uint64_t token = 0;
    struct ask *a = NULL;
    if (m->token_n == TOKEN_BYTES && m->type != TYPE_RST) {
        memcpy(&token, m->token, TOKEN_BYTES);
        for (size_t i = 0; i < c->max && !a; i++) {
            struct ask *one = &c->asks[i];
            bool under_way = one->state == ASK_SENT || one->state == ASK_ACKED;
            if ((under_way && one->token == token) ||
                (one->state != ASK_FREE && one->registered && one->observe_token == token))
                a = one;
        }
    }
    /* An answer again whose ACK was lost is no stray (RFC 7252 4.2). */
    if (m->type == TYPE_CON && m->token_n == TOKEN_BYTES && is_recent(c, m->mid, token, now)) {
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
    if (m->type == TYPE_ACK && !(under_way && a->state == ASK_SENT && a->mid == m->mid)) {
        c->stats.stray++;
        return;
    }
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
        c->stats.stray++;
    else if (parse == MSG_BAD)
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

void coap_client_get_stats(const struct coap_client *c, struct coap_client_stats *out)
{
    *out = c->stats;
}
