#include "gate_notify_http.h"

#include <stdlib.h>

#include "http_server.h"
#include "m2m_http_in.h"

enum { ID_BYTES = 8, LINES = 1024 };

struct gate_http {
    struct line {
        struct gate *gate;
        int listener;
        struct http_server *server; /* NULL: none here */
    } lines[CONFIG_LISTENERS_MAX];
    uint16_t mid;
    struct http_reply request; /* that is being read */
    struct msg told;
};

static const struct device_config *device_of(const struct gate *g, int listener)
{
    return upstream_config(g->upstreams, g->config->listeners[listener].notifies - 1);
}

static bool admits(void *user, const struct peer *from)
{
    const struct line *l = user;
    return gate_is_cse(device_of(l->gate, l->listener), from);
}

/* Its token is the connection's request; what is answered, and said again, is
 * HTTP's to see to. */
static void asked(void *user, uint64_t id, const struct peer *from, const struct http_incoming *q,
                  struct instant now)
{
    struct line *l = user;
    struct gate *g = l->gate;
    struct gate_http *h = g->http;
    struct msg *m = &h->request.m;
    if (g->hear)
        g->hear(g->hear_user, now);
    g->now = now;
    unsigned status = m2m_http_in_request(device_of(g, l->listener)->cse, q, &h->request);
    uint8_t text[MESSAGE_MAX];
    struct buf b = buf_on(text, sizeof text);
    m->type = TYPE_NON;
    m->mid = h->mid++;
    m->token_n = ID_BYTES;
    for (size_t i = 0; i < ID_BYTES; i++)
        m->token[i] = (uint8_t)(id >> (8 * (ID_BYTES - 1 - i)));
    if (status == 0 && !msg_write(m, &b))
        status = 413;
    if (status) {
        g->stats.malformed++;
        http_server_answer(l->server, id, status, BYTES_NONE, BYTES_NONE, now);
        return;
    }
    struct arrival in = {.listener = l->listener, .from = from, .m = m, .datagram = buf_bytes(&b)};
    gate_take(g, &in);
}

void gate_http_send(struct gate *g, int listener, struct bytes message)
{
    struct gate_http *h = g->http;
    struct http_server *s = h ? h->lines[listener].server : NULL;
    char text[LINES];
    struct buf lines = buf_on(text, sizeof text);
    struct bytes body;
    uint64_t id = 0;
    if (!s || msg_parse(message, &h->told) != MSG_OK || !msg_is_response(&h->told))
        return;
    for (size_t i = 0; i < h->told.token_n; i++)
        id = id << 8 | h->told.token[i];
    unsigned status = m2m_http_in_answer(device_of(g, listener)->cse, &h->told, &lines, &body);
    http_server_answer(s, id, lines.full ? 500 : status, buf_bytes(&lines),
                       lines.full ? BYTES_NONE : body, g->now);
}

bool gate_open_http(struct gate *g, struct buf *diag)
{
    static const struct http_server_ops ops = {admits, asked};
    for (size_t i = 0; i < g->config->n_listeners; i++) {
        const struct config_listener *l = &g->config->listeners[i];
        if (!l->http || gate_is_elsewhere(g, l->notifies - 1))
            continue;
        if (!g->http && !(g->http = calloc(1, sizeof *g->http))) {
            buf_put_str(diag, "out of memory\n");
            return false;
        }
        struct line *line = &g->http->lines[i];
        *line = (struct line){.gate = g, .listener = (int)i};
        line->server =
            http_server_new(g->loop, &l->local, l->v6only, MESSAGE_MAX, &ops, line, diag);
        if (!line->server)
            return false;
    }
    if (g->http)
        gate_random(g, &g->http->mid, sizeof g->http->mid);
    return true;
}

void gate_close_http(struct gate *g)
{
    for (size_t i = 0; g->http && i < g->config->n_listeners; i++)
        http_server_free(g->http->lines[i].server);
    free(g->http);
    g->http = NULL;
}

void gate_http_turn(struct gate *g)
{
    for (size_t i = 0; g->http && i < g->config->n_listeners; i++)
        if (g->http->lines[i].server)
            http_server_turn(g->http->lines[i].server, g->now);
}

uint64_t gate_http_deadline_ms(const struct gate *g)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; g->http && i < g->config->n_listeners; i++) {
        const struct http_server *s = g->http->lines[i].server;
        uint64_t due = s ? http_server_deadline_ms(s) : UINT64_MAX;
        next = due < next ? due : next;
    }
    return next;
}
