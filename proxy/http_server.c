#include "http_server.h"

#include <stdlib.h>

#include "limits.h"
#include "stream.h"
#include "tcp.h"

enum {
    BUFFER = HTTP_READ_HEADER + 2 * MESSAGE_MAX, /* with a body in small chunks */
    ANSWER = 1024 + MESSAGE_MAX,
};

struct client {
    struct client *next;
    struct http_server *server;
    struct stream *stream;
    struct peer peer;
    uint64_t id;       /* of the request that is under way; 0: none */
    bool closes;       /* after its answer */
    bool told;         /* to go on (100) */
    bool waits;        /* something of its next request came before its answer */
    bool over;         /* to be freed by the turn */
    uint64_t since_ms; /* it was accepted, or its last request was answered or asked */
    size_t n;
    uint8_t bytes[BUFFER];
};

struct http_server {
    struct loop *loop;
    const struct http_server_ops *ops;
    void *user;
    int fd;
    size_t body_max, n_clients;
    struct client *clients;
    uint64_t last_id;
};

static void end(struct client *c, const char *reason)
{
    if (!c->over)
        stream_close(c->stream, reason);
    c->over = true;
    c->id = 0;
}

static void say(struct client *c, unsigned status, struct bytes lines, struct bytes body)
{
    uint8_t text[ANSWER];
    struct buf b = buf_on(text, sizeof text);
    buf_put_str(&b, "HTTP/1.1 ");
    buf_put_decimal(&b, status, 3);
    buf_put_str(&b, " \r\n"); /* no reason: TS-0009 6.3.3 */
    if (status >= 200) {
        /* There are CSEs that miss it, and take the next line for one: that is
         * a field which says what they do without it. */
        buf_put_str(&b, c->closes ? "Connection: close\r\n" : "Connection: keep-alive\r\n");
        buf_put(&b, lines);
        buf_put_str(&b, "Content-Length: ");
        buf_put_decimal(&b, body.n, 1);
        buf_put_str(&b, "\r\n");
    }
    buf_put_str(&b, "\r\n");
    buf_put(&b, body);
    if (b.full || !stream_write(c->stream, buf_bytes(&b)))
        end(c, "an answer too large");
}

/* ---- requests ---- */

static void refuse(struct client *c, unsigned status)
{
    c->closes = true; /* where the next one begins is not known */
    say(c, status, BYTES_NONE, BYTES_NONE);
    end(c, "malformed");
}

/* The next whole request, if none is under way. */
static void serve(struct client *c, struct instant now)
{
    struct http_server *s = c->server;
    c->waits = false;
    while (!c->over && c->id == 0 && c->n > 0) {
        struct http_incoming q;
        size_t used = 0;
        enum http_read r = http_read(c->bytes, c->n, s->body_max, &q, &used);
        if (r == HTTP_READ_BAD || (r == HTTP_READ_MORE && c->n == sizeof c->bytes)) {
            refuse(c, r == HTTP_READ_BAD ? q.status : 413);
            return;
        }
        if (r == HTTP_READ_MORE) {
            if (q.expects && !c->told)
                say(c, 100, BYTES_NONE, BYTES_NONE);
            c->told = c->told || q.expects;
            return;
        }
        c->id = ++s->last_id;
        c->closes = q.closes;
        c->told = false;
        c->since_ms = instant_ms(now);
        s->ops->asked(s->user, c->id, &c->peer, &q, now);
        memmove(c->bytes, c->bytes + used, c->n - used);
        c->n -= used;
        c->waits = false; /* answered at once, it goes on here */
    }
}

static void on_event(void *user, struct instant now)
{
    struct client *c = user;
    if (c->over)
        return;
    while (c->n < sizeof c->bytes) {
        struct bytes part = stream_read(c->stream, c->bytes + c->n, sizeof c->bytes - c->n);
        if (part.n == 0)
            break;
        c->n += part.n;
    }
    stream_pause(c->stream, c->n == sizeof c->bytes);
    serve(c, now);
    if (stream_is_closed(c->stream))
        end(c, "closed-by-peer");
}

void http_server_answer(struct http_server *s, uint64_t id, unsigned status, struct bytes lines,
                        struct bytes body, struct instant now)
{
    struct client *c = s->clients;
    while (c && (c->id != id || c->over))
        c = c->next;
    if (!c)
        return;
    c->since_ms = instant_ms(now);
    say(c, status, lines, body);
    c->id = 0;
    c->waits = c->n > 0;
    if (c->closes)
        end(c, "answered");
}

/* ---- connections ---- */

static bool on_acceptable(void *user, int tag, struct instant now)
{
    static const struct stream_ops ops = {.event = on_event};
    struct http_server *s = user;
    struct peer from;
    int fd;
    (void)tag;
    for (int i = 0; i < CONN_ACCEPTS; i++) {
        if (tcp_accept(s->fd, &fd, &from) != TCP_ACCEPTED)
            return false;
        struct client *c = s->n_clients < HTTP_CLIENTS && s->ops->admits(s->user, &from)
                               ? calloc(1, sizeof *c)
                               : NULL;
        if (!c) {
            tcp_close(fd);
            continue;
        }
        c->server = s;
        c->peer = from;
        c->since_ms = instant_ms(now);
        c->stream = stream_accept(s->loop, fd, NULL, false, &ops, c);
        if (!c->stream) {
            free(c);
            continue;
        }
        c->next = s->clients;
        s->clients = c;
        s->n_clients++;
    }
    return true;
}

struct http_server *http_server_new(struct loop *l, const struct peer *local, bool v6only,
                                    size_t body_max, const struct http_server_ops *ops, void *user,
                                    struct buf *diag)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (!s) {
        buf_put_str(diag, "out of memory\n");
        return NULL;
    }
    s->loop = l;
    s->ops = ops;
    s->user = user;
    s->body_max = body_max;
    s->fd = tcp_listen(local, v6only, diag);
    if (s->fd >= 0 && loop_watch(l, s->fd, on_acceptable, s, 0))
        return s;
    if (s->fd >= 0)
        tcp_close(s->fd);
    free(s);
    return NULL;
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    loop_unwatch(s->loop, s->fd);
    tcp_close(s->fd);
    for (struct client *c; (c = s->clients);) {
        s->clients = c->next;
        stream_close(c->stream, "stopped");
        stream_free(c->stream);
        free(c);
    }
    free(s);
}

/* Whoever begins a request ends it in this time; whoever has none, too. */
static uint64_t due_ms(const struct client *c)
{
    return c->since_ms + (c->id ? HTTP_CLIENT_WAIT_MS : HTTP_CLIENT_IDLE_MS);
}

void http_server_turn(struct http_server *s, struct instant now)
{
    for (struct client **p = &s->clients, *c; (c = *p);) {
        if (!c->over && due_ms(c) <= instant_ms(now))
            end(c, c->id ? "unanswered" : "idle");
        if (!c->over && c->waits)
            serve(c, now);
        if (!c->over) {
            stream_pause(c->stream, c->n == sizeof c->bytes);
            p = &c->next;
            continue;
        }
        *p = c->next;
        s->n_clients--;
        stream_free(c->stream);
        free(c);
    }
}

uint64_t http_server_deadline_ms(const struct http_server *s)
{
    uint64_t next = UINT64_MAX;
    for (const struct client *c = s->clients; c; c = c->next) {
        uint64_t due = c->over || c->waits ? 0 : due_ms(c);
        next = due < next ? due : next;
    }
    return next;
}
