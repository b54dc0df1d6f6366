#include "conn.h"

#include <stdlib.h>

#include "conn_inside.h"
#include "limits.h"
#include "tcp.h"

/* ---- the lists ---- */

static void enter(struct conn_list *l, struct conn *c, enum conn_link k)
{
    c->links[k].prev = l->last;
    c->links[k].next = NULL;
    c->links[k].in = true;
    *(l->last ? &l->last->links[k].next : &l->first) = c;
    l->last = c;
    l->n++;
}

static void leave(struct conn_list *l, struct conn *c, enum conn_link k)
{
    if (!c->links[k].in)
        return;
    struct conn *prev = c->links[k].prev, *next = c->links[k].next;
    *(next ? &next->links[k].prev : &l->last) = prev;
    *(prev ? &prev->links[k].next : &l->first) = next;
    c->links[k].in = false;
    l->n--;
}

void conn_enter(struct conn *c, enum conn_link k)
{
    if (!c->links[k].in)
        enter(&c->table->lists[k], c, k);
}

void conn_leave(struct conn *c, enum conn_link k)
{
    leave(&c->table->lists[k], c, k);
}

/* ---- life and death ---- */

static uint64_t later(uint64_t at_ms, uint64_t by_ms)
{
    return by_ms < UINT64_MAX - at_ms ? at_ms + by_ms : UINT64_MAX;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t idle_ms(const struct conn *c)
{
    return c->plain && c->accepted ? CONN_PLAIN_IDLE_MS : c->table->config.idle_ms;
}

static bool is_kept(const struct conn *c)
{
    return c->table->config.keep_ms > 0 && !c->accepted && c->open && !c->pinged && !c->released;
}

/* When it is to be looked at again. The end of its idleness is not moved with
 * every message: it is looked at when it comes. */
static uint64_t due_ms(const struct conn *c)
{
    uint64_t at = c->open ? later(c->used_ms, idle_ms(c)) : later(c->born_ms, CONN_HALF_MS);
    if (c->in_n > 0)
        at = least(at, later(c->frame_ms, CONN_FRAME_MS));
    if (c->pinged)
        at = least(at, later(c->ping_ms, CONN_PONG_MS));
    if (is_kept(c))
        at = least(at, later(c->used_ms, c->table->config.keep_ms));
    if (c->released)
        at = least(at, later(c->release_ms, CONN_RELEASE_MS));
    return at;
}

static void reschedule(struct conn *c)
{
    uint64_t at = due_ms(c);
    if (!c->dead && at != c->deadline.at_ms)
        (void)deadline_set(&c->table->deadlines, &c->deadline, at); /* it has room for all */
}

void conn_end(struct conn *c, const char *reason)
{
    struct conns *t = c->table;
    if (c->dead)
        return;
    stream_close(c->stream, reason);
    c->dead = true;
    c->reason = stream_reason(c->stream); /* the first one */
    if (!c->open)
        t->stats.failed++;
    if (strcmp(c->reason, "slow-reader") == 0)
        t->stats.slow++;
    deadline_cancel(&t->deadlines, &c->deadline);
    for (enum conn_link k = 0; k < CONN_DEAD; k++)
        conn_leave(c, k);
    conn_enter(c, CONN_DEAD);
}

void conn_close(struct conn *c, const char *reason, struct instant now)
{
    (void)now;
    conn_end(c, reason);
}

static bool put(struct conn *c, const struct buf *frame)
{
    if (c->dead || frame->full)
        return false;
    if (stream_write(c->stream, buf_bytes(frame))) {
        /* Who does not read is not asked for more. */
        if (stream_waiting(c->stream) > CONN_OUT_HIGH)
            stream_pause(c->stream, true);
        return true;
    }
    conn_end(c, stream_reason(c->stream));
    return false;
}

static void abort_with(struct conn *c, uint16_t bad_option, const char *why)
{
    uint8_t storage[SIGNAL_FRAME_MAX];
    struct buf frame = buf_on(storage, sizeof storage);
    signal_write_abort(bad_option, why, &frame);
    c->table->stats.aborted++;
    (void)put(c, &frame);
    conn_end(c, "aborted");
}

void conn_abort(struct conn *c, const char *why, struct instant now)
{
    (void)now;
    if (!c->dead)
        abort_with(c, 0, why);
}

/* ---- what comes ---- */

static bool is_busy(struct conn *c)
{
    struct conns *t = c->table;
    return t->ops.busy && t->ops.busy(t->user, c);
}

static void pong(struct conn *c, struct bytes token, bool custody)
{
    uint8_t storage[SIGNAL_FRAME_MAX];
    struct buf frame = buf_on(storage, sizeof storage);
    signal_write_pong(token, custody, &frame);
    (void)put(c, &frame);
}

/* RFC 8323 5.4.1: the Pong to a Ping with Custody waits for what came before.
 * One waits; another is answered without. */
static void ask_all(struct conn *c, struct bytes token)
{
    if (c->custody) {
        pong(c, token, false);
        return;
    }
    if (!is_busy(c)) {
        pong(c, token, true);
        return;
    }
    c->custody = true;
    c->custody_n = (uint8_t)token.n;
    if (token.n)
        memcpy(c->custody_token, token.p, token.n);
    conn_enter(c, CONN_CHECKED);
}

static void release(struct conn *c, struct instant now)
{
    if (c->released)
        return;
    c->released = true;
    c->release_ms = instant_ms(now);
    c->table->stats.released++;
    conn_enter(c, CONN_CHECKED);
}

static void open(struct conn *c, struct instant now)
{
    struct conns *t = c->table;
    c->open = true;
    c->used_ms = instant_ms(now);
    t->stats.opened++;
    /* Without TLS nobody has shown who it is: it stays among the strangers. */
    if (c->accepted && !c->plain)
        conn_leave(c, CONN_STRANGE);
    if (c->accepted && !c->plain &&
        t->lists[CONN_ALL].n - t->lists[CONN_STRANGE].n > t->config.max) {
        t->stats.refused++;
        conn_end(c, "refused");
    } else if (!t->ops.opened(t->user, c, now)) {
        conn_end(c, "refused");
    }
}

/* A frame that is whole; it is written over. */
static void take(struct conn *c, uint8_t *whole, size_t n, struct instant now)
{
    struct conns *t = c->table;
    struct frame f = frame_open(bytes_of(whole, n));
    uint16_t bad;
    const char *why;
    switch (signals_take(&c->signals, &f, &bad, &why)) {
    case SIGNAL_READY:
        open(c, now);
        return;
    case SIGNAL_NOTHING:
    case SIGNAL_ANSWERED:
        return;
    case SIGNAL_ASKED:
        pong(c, f.token, false);
        return;
    case SIGNAL_ASKED_ALL:
        ask_all(c, f.token);
        return;
    case SIGNAL_RELEASED:
        release(c, now);
        return;
    case SIGNAL_ABORTED:
        conn_end(c, "aborted-by-peer");
        return;
    case SIGNAL_FAULT:
        abort_with(c, bad, why);
        return;
    case SIGNAL_MESSAGE:
        break;
    }
    enum msg_type type = c->accepted && c->plain ? TYPE_NON : TYPE_CON;
    struct bytes datagram = frame_as_datagram(whole, n, (uint8_t)type, c->next_mid++);
    struct msg *m = &t->msg;
    if (msg_parse(datagram, m) != MSG_OK) {
        abort_with(c, 0, "a message that is not well-formed");
        return;
    }
    t->stats.messages++;
    t->ops.message(t->user, c, m, datagram, now);
}

/* The frames that are there, at most *left of them. */
static void take_frames(struct conn *c, struct instant now, unsigned *left)
{
    uint8_t *in = c->in + FRAME_HEADROOM;
    size_t at = 0, n = 0;
    enum frame_state state = FRAME_PART;
    while (!c->dead && *left > 0) {
        state = frame_look(bytes_of(in + at, c->in_n - at), c->table->config.max_message, &n);
        if (state != FRAME_WHOLE)
            break;
        (*left)--;
        take(c, in + at, n, now);
        at += n;
    }
    if (c->dead)
        return;
    if (state == FRAME_TOO_LARGE || state == FRAME_BAD) {
        abort_with(c, 0, state == FRAME_BAD ? "a token that is too long" : "too large a message");
        return;
    }
    c->in_n -= at;
    if (at > 0) {
        memmove(in, in + at, c->in_n);
        c->frame_ms = instant_ms(now);
    }
}

static void greet(struct conn *c)
{
    uint8_t storage[SIGNAL_FRAME_MAX];
    struct buf frame = buf_on(storage, sizeof storage);
    signal_write_csm((uint32_t)c->table->config.max_message, &frame);
    c->greeted = true;
    (void)put(c, &frame);
}

void conn_go_on(struct conn *c, struct instant now)
{
    unsigned left = CONN_MESSAGES;
    uint8_t *in = c->in + FRAME_HEADROOM;
    conn_leave(c, CONN_AGAIN);
    if (stream_is_open(c->stream) && !c->greeted)
        greet(c);
    if (!c->dead && stream_waiting(c->stream) <= CONN_OUT_HIGH)
        stream_pause(c->stream, false);
    while (!c->dead && stream_is_open(c->stream)) {
        /* What is left of the turn before goes first. */
        if (c->in_n > 0)
            take_frames(c, now, &left);
        if (c->dead)
            return;
        if (left == 0) {
            conn_enter(c, CONN_AGAIN);
            break;
        }
        struct bytes got =
            stream_read(c->stream, in + c->in_n, sizeof c->in - FRAME_HEADROOM - c->in_n);
        if (got.n == 0)
            break;
        if (c->in_n == 0)
            c->frame_ms = instant_ms(now);
        c->in_n += got.n;
        c->used_ms = instant_ms(now);
        c->pinged = false;
    }
    if (!c->dead && stream_is_closed(c->stream))
        conn_end(c, stream_reason(c->stream));
    reschedule(c);
}

static void on_event(void *user, struct instant now)
{
    struct conn *c = user;
    if (c->dead)
        return;
    if (stream_is_due(c->stream))
        conn_enter(c, CONN_TURN);
    else
        conn_go_on(c, now);
}

static enum pep_key_state on_find_psk(void *user, struct bytes identity, struct pep_proof *out)
{
    struct conn *c = user;
    return c->table->ops.find_psk(c->table->user, c, identity, out);
}

static bool on_judge(void *user, const struct pep_certificate *cert, struct pep_proof *out)
{
    struct conn *c = user;
    return c->table->ops.judge_certificate(c->table->user, c, cert, out);
}

const struct stream_ops conn_stream_ops = {{on_find_psk, on_judge}, on_event};

/* ---- making ---- */

struct conn *conn_new(struct conns *t, const struct peer *peer, int tag, bool plain,
                      struct instant now)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->table = t;
    c->peer = *peer;
    c->tag = tag;
    c->plain = plain;
    c->born_ms = c->used_ms = instant_ms(now);
    signals_init(&c->signals);
    return c;
}

void conn_start(struct conn *c)
{
    conn_enter(c, CONN_ALL);
    if (c->accepted)
        conn_enter(c, CONN_STRANGE);
    reschedule(c);
}

struct conn *conn_connect(struct conns *t, const struct peer *to, struct tls *tls, int tag,
                          struct instant now)
{
    if (t->lists[CONN_ALL].n - t->lists[CONN_STRANGE].n >= t->config.max)
        return NULL;
    struct conn *c = conn_new(t, to, tag, !tls, now);
    if (!c)
        return NULL;
    c->stream = stream_connect(t->loop, to, tls, &conn_stream_ops, c);
    if (!c->stream) {
        free(c);
        return NULL;
    }
    t->stats.connected++;
    conn_start(c);
    return c;
}

void conn_free(struct conn *c)
{
    stream_free(c->stream);
    free(c);
}

/* ---- what the owner says ---- */

bool conn_send(struct conn *c, struct bytes datagram, struct instant now)
{
    (void)now;
    struct buf frame = buf_on(c->table->scratch, sizeof c->table->scratch);
    if (c->dead || !c->open || datagram.n < 4)
        return false;
    if (datagram.p[1] == MSG_EMPTY) /* an ACK or a RST: nothing that TCP would not do */
        return true;
    if (!frame_write(datagram, &frame) || frame.n > c->signals.peer_max)
        return false;
    return put(c, &frame);
}

void conn_ping(struct conn *c, struct instant now)
{
    uint8_t storage[SIGNAL_FRAME_MAX];
    struct buf frame = buf_on(storage, sizeof storage);
    if (c->dead || !c->open || c->pinged)
        return;
    signal_write_ping(BYTES_NONE, &frame);
    c->pinged = true;
    c->ping_ms = instant_ms(now);
    (void)put(c, &frame);
    reschedule(c);
}

void conn_release(struct conn *c, struct instant now)
{
    uint8_t storage[SIGNAL_FRAME_MAX];
    struct buf frame = buf_on(storage, sizeof storage);
    if (c->dead || c->released)
        return;
    if (!c->open) {
        conn_end(c, "released");
        return;
    }
    signal_write_release(&frame);
    if (!put(c, &frame))
        return;
    release(c, now);
    reschedule(c);
}

/* What waited for the work to be done (CONN_CHECKED). */
void conn_check(struct conn *c)
{
    if (is_busy(c))
        return;
    if (c->custody) {
        c->custody = false;
        pong(c, bytes_of(c->custody_token, c->custody_n), true);
    }
    if (c->dead)
        return;
    if (c->released)
        conn_end(c, "released");
    else
        conn_leave(c, CONN_CHECKED);
}

void conn_expire(struct conn *c, struct instant now)
{
    uint64_t ms = instant_ms(now);
    if (ms < due_ms(c)) {
        reschedule(c);
    } else if (!c->open) {
        conn_end(c, stream_is_open(c->stream) ? "no-csm" : "handshake-timeout");
    } else if (c->released && ms >= later(c->release_ms, CONN_RELEASE_MS)) {
        conn_end(c, "released");
    } else if (c->in_n > 0 && ms >= later(c->frame_ms, CONN_FRAME_MS)) {
        abort_with(c, 0, "half a message");
    } else if (is_kept(c) && ms < later(c->used_ms, idle_ms(c))) {
        conn_ping(c, now);
    } else {
        conn_end(c, c->pinged ? "silent" : "idle");
    }
}

void conn_set_owner(struct conn *c, void *owner)
{
    c->owner = owner;
}

void *conn_owner(const struct conn *c)
{
    return c->owner;
}

void conn_set_wait(struct conn *c, uint64_t question)
{
    c->wait = question;
}

uint64_t conn_wait(const struct conn *c)
{
    return c->wait;
}

int conn_tag(const struct conn *c)
{
    return c->tag;
}

const struct peer *conn_peer(const struct conn *c)
{
    return &c->peer;
}

bool conn_was_open(const struct conn *c)
{
    return c->open;
}

bool conn_is_open(const struct conn *c)
{
    return c->open && !c->dead;
}

bool conn_is_released(const struct conn *c)
{
    return c->released;
}

const struct pep_proof *conn_proof(const struct conn *c)
{
    return stream_proof(c->stream);
}

void conn_forget_key(struct conn *c)
{
    stream_forget_key(c->stream);
}

const char *conn_suite(const struct conn *c)
{
    const char *suite = stream_suite(c->stream);
    return suite ? suite : "-";
}

/* A frame is never longer than its datagram. */
size_t conn_message_max(const struct conn *c)
{
    return c->signals.peer_max < MESSAGE_MAX ? c->signals.peer_max : MESSAGE_MAX;
}
