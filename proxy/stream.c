#include "stream.h"

#include <stdlib.h>

#include "tcp.h"

enum stream_state {
    STREAM_CONNECTING = 0,
    STREAM_HANDSHAKE,
    STREAM_OPEN,
    STREAM_CLOSED, /* the socket is there until stream_free(): its number is not used again */
};

enum { OUT_FIRST = 4096 };

struct stream {
    struct loop *loop;
    int fd;
    enum stream_state state;
    struct tls_session *tls; /* NULL: plain */
    struct stream_ops ops;
    void *user;
    const char *reason;
    bool paused, parked, in_steps, due;
    unsigned watched; /* what for; 0: not at all */
    /* what could not leave yet, from out_at on: there only while there is any */
    uint8_t *out;
    size_t out_at, out_n, out_cap;
};

static void on_io(void *user, int fd, unsigned io, struct instant now);

/* The loop is asked for what can be used, and for no more. */
static void watch(struct stream *s)
{
    unsigned io = 0;
    if (s->state == STREAM_CONNECTING)
        io = LOOP_WRITE;
    else if (s->state != STREAM_CLOSED)
        io = (s->paused || s->parked || s->due ? 0u : LOOP_READ) |
             (s->out_n > s->out_at ? LOOP_WRITE : 0u);
    if (io == s->watched)
        return;
    if (s->watched)
        loop_unwatch(s->loop, s->fd);
    s->watched = 0;
    if (io && loop_watch_io(s->loop, s->fd, io, on_io, s))
        s->watched = io;
    else if (io) {
        s->state = STREAM_CLOSED;
        s->reason = "out-of-memory";
    }
}

static void end(struct stream *s, const char *reason)
{
    if (s->state == STREAM_CLOSED)
        return;
    s->state = STREAM_CLOSED;
    s->reason = reason;
    watch(s);
}

/* ---- output ---- */

static void out_clear(struct stream *s)
{
    free(s->out);
    s->out = NULL;
    s->out_at = s->out_n = s->out_cap = 0;
}

static bool out_keep(struct stream *s, struct bytes b)
{
    size_t waiting = s->out_n - s->out_at;
    if (b.n > STREAM_OUT_MAX - waiting)
        return false;
    if (s->out_at > 0 && b.n > s->out_cap - s->out_n) {
        memmove(s->out, s->out + s->out_at, waiting);
        s->out_n = waiting;
        s->out_at = 0;
    }
    if (b.n > s->out_cap - s->out_n) {
        size_t cap = s->out_cap ? s->out_cap : OUT_FIRST;
        while (cap < s->out_n + b.n)
            cap *= 2;
        uint8_t *grown = realloc(s->out, cap);
        if (!grown)
            return false;
        s->out = grown;
        s->out_cap = cap;
    }
    memcpy(s->out + s->out_n, b.p, b.n);
    s->out_n += b.n;
    return true;
}

/* Everything leaves in order: past what waits already, nothing. */
static bool put(struct stream *s, struct bytes b)
{
    if (s->out_n == s->out_at) {
        int n = tcp_write(s->fd, b);
        if (n < 0) {
            end(s, "lost");
            return false;
        }
        b.p += n;
        b.n -= (size_t)n;
    }
    if (b.n > 0 && !out_keep(s, b)) {
        end(s, "slow-reader");
        return false;
    }
    return true;
}

static void flush(struct stream *s)
{
    while (s->out_n > s->out_at) {
        int n = tcp_write(s->fd, bytes_of(s->out + s->out_at, s->out_n - s->out_at));
        if (n < 0) {
            end(s, "lost");
            return;
        }
        if (n == 0)
            return;
        s->out_at += (size_t)n;
    }
    out_clear(s);
}

/* ---- what the engine asks ---- */

static int wire_recv(void *user, uint8_t *to, size_t cap)
{
    struct stream *s = user;
    return tcp_read(s->fd, to, cap);
}

static bool wire_send(void *user, struct bytes b)
{
    return put(user, b);
}

static enum pep_key_state wire_find_psk(void *user, struct bytes identity, struct pep_proof *out)
{
    struct stream *s = user;
    return s->ops.tls.find_psk(s->user, identity, out);
}

static bool wire_judge(void *user, const struct pep_certificate *c, struct pep_proof *out)
{
    struct stream *s = user;
    return s->ops.tls.judge_certificate(s->user, c, out);
}

/* ---- life ---- */

static struct stream *stream_new(struct loop *l, int fd, struct tls *tls,
                                 const struct stream_ops *ops, void *user)
{
    static const struct tls_wire wire = {wire_recv, wire_send};
    static const struct tls_ops asks = {wire_find_psk, wire_judge};
    struct stream *s = calloc(1, sizeof *s);
    if (s) {
        s->loop = l;
        s->fd = fd;
        s->ops = *ops;
        s->user = user;
        if (!tls || (s->tls = tls_session_new(tls, &wire, &asks, s)))
            return s;
    }
    free(s);
    tcp_close(fd);
    return NULL;
}

static struct stream *started(struct stream *s, enum stream_state state)
{
    if (!s)
        return NULL;
    s->state = state;
    watch(s);
    if (s->state != STREAM_CLOSED)
        return s;
    stream_free(s);
    return NULL;
}

struct stream *stream_accept(struct loop *l, int fd, struct tls *tls, bool in_steps,
                             const struct stream_ops *ops, void *user)
{
    struct stream *s = stream_new(l, fd, tls, ops, user);
    if (s)
        s->in_steps = in_steps;
    return started(s, tls ? STREAM_HANDSHAKE : STREAM_OPEN);
}

struct stream *stream_connect(struct loop *l, const struct peer *to, struct tls *tls,
                              const struct stream_ops *ops, void *user)
{
    int fd = tcp_connect(to);
    return fd < 0 ? NULL : started(stream_new(l, fd, tls, ops, user), STREAM_CONNECTING);
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    if (s->watched)
        loop_unwatch(s->loop, s->fd);
    tls_session_free(s->tls);
    tcp_close(s->fd);
    out_clear(s);
    free(s);
}

void stream_close(struct stream *s, const char *reason)
{
    if (s->state == STREAM_CLOSED)
        return;
    if (s->tls && s->state != STREAM_CONNECTING)
        tls_close(s->tls, reason);
    end(s, reason);
}

/* ---- the handshake ---- */

static void follow(struct stream *s, enum tls_event e)
{
    s->parked = tls_is_parked(s->tls);
    if (e == TLS_ESTABLISHED)
        s->state = STREAM_OPEN;
    else if (e == TLS_CLOSED)
        end(s, tls_reason(s->tls));
    watch(s);
}

static void begin(struct stream *s)
{
    if (!tcp_is_connected(s->fd)) {
        end(s, "unreachable");
        return;
    }
    s->state = s->tls ? STREAM_HANDSHAKE : STREAM_OPEN;
    if (s->tls)
        follow(s, tls_handshake(s->tls));
    watch(s);
}

static void on_io(void *user, int fd, unsigned io, struct instant now)
{
    struct stream *s = user;
    (void)fd;
    if (s->state == STREAM_CONNECTING)
        begin(s);
    else if (io & LOOP_WRITE)
        flush(s);
    bool more = s->state == STREAM_HANDSHAKE && !s->parked && (io & LOOP_READ);
    if (more && s->in_steps)
        s->due = true;
    else if (more)
        follow(s, tls_handshake(s->tls));
    watch(s);
    s->ops.event(s->user, now);
}

bool stream_is_due(const struct stream *s)
{
    return s->state == STREAM_HANDSHAKE && s->due;
}

void stream_step(struct stream *s, struct instant now)
{
    if (!stream_is_due(s))
        return;
    s->due = false;
    follow(s, tls_handshake(s->tls));
    s->ops.event(s->user, now);
}

void stream_wake(struct stream *s, struct instant now)
{
    if (s->state != STREAM_HANDSHAKE || !s->parked)
        return;
    follow(s, tls_wake(s->tls));
    s->ops.event(s->user, now);
}

/* ---- bytes ---- */

struct bytes stream_read(struct stream *s, uint8_t *to, size_t cap)
{
    if (s->state != STREAM_OPEN || s->paused || cap == 0)
        return BYTES_NONE;
    if (s->tls) {
        enum tls_event e;
        struct bytes got = tls_read(s->tls, to, cap, &e);
        if (e == TLS_CLOSED)
            end(s, tls_reason(s->tls));
        return got;
    }
    int n = tcp_read(s->fd, to, cap);
    if (n < 0)
        end(s, "closed-by-peer");
    return n > 0 ? bytes_of(to, (size_t)n) : BYTES_NONE;
}

bool stream_write(struct stream *s, struct bytes plain)
{
    if (s->state != STREAM_OPEN)
        return false;
    bool ok = s->tls ? tls_write(s->tls, plain) : put(s, plain);
    if (!ok && s->state == STREAM_OPEN)
        end(s, "lost");
    watch(s);
    return ok;
}

size_t stream_waiting(const struct stream *s)
{
    return s->out_n - s->out_at;
}

void stream_pause(struct stream *s, bool pause)
{
    if (s->paused == pause)
        return;
    s->paused = pause;
    watch(s);
}

bool stream_is_open(const struct stream *s)
{
    return s->state == STREAM_OPEN;
}

bool stream_is_closed(const struct stream *s)
{
    return s->state == STREAM_CLOSED;
}

bool stream_is_parked(const struct stream *s)
{
    return s->state == STREAM_HANDSHAKE && s->parked;
}

const char *stream_reason(const struct stream *s)
{
    return s->reason ? s->reason : "open";
}

const struct pep_proof *stream_proof(const struct stream *s)
{
    return s->tls && s->state == STREAM_OPEN ? tls_proof(s->tls) : NULL;
}

void stream_forget_key(struct stream *s)
{
    if (s->tls)
        tls_forget_key(s->tls);
}

const char *stream_suite(const struct stream *s)
{
    return s->tls ? tls_suite(s->tls) : NULL;
}
