#include "worker.h"

#include <stdlib.h>

#include "log.h"

struct worker {
    const struct config *config;
    struct loop *loop;
    struct gate *gate;
    struct servers *servers;
    struct udp *listeners[CONFIG_LISTENERS_MAX];
    bool stopping;
    uint64_t stop_by_ms;
    /* of the read event that runs */
    int tag;
    struct instant now;
};

static void take_datagram(void *user, const struct peer *from, struct bytes datagram)
{
    struct worker *w = user;
    gate_client_datagram(w->gate, w->tag, from, datagram, w->now);
}

static bool readable(void *user, int tag, struct instant now)
{
    struct worker *w = user;
    w->tag = tag;
    w->now = now;
    return udp_receive(w->listeners[tag], take_datagram, w);
}

static uint64_t turn(void *user, struct instant now)
{
    struct worker *w = user;
    if (w->stopping && (gate_drain(w->gate, now) || instant_ms(now) >= w->stop_by_ms)) {
        gate_close_all(w->gate, now);
        loop_stop(w->loop);
    }
    /* What the gate asks leaves in the same turn. */
    uint64_t next = gate_turn(w->gate, now);
    uint64_t servers = servers_turn(w->servers, now);
    if (servers < next)
        next = servers;
    return w->stopping && w->stop_by_ms < next ? w->stop_by_ms : next;
}

static bool open_sockets(struct worker *w, struct buf *diag)
{
    for (size_t i = 0; i < w->config->n_listeners; i++) {
        const struct config_listener *l = &w->config->listeners[i];
        if (l->tcp) /* the gate's own */
            continue;
        w->listeners[i] = udp_bind(&l->local, l->v6only, diag);
        if (!w->listeners[i] || !loop_watch(w->loop, udp_fd(w->listeners[i]), readable, w, (int)i))
            return false;
    }
    return true;
}

static bool open_gate(struct worker *w, struct pep *pep, struct audit_sink *audit,
                      struct wire **wire, struct buf *diag)
{
    struct gate_config gc = {.config = w->config,
                             .pep = pep,
                             .audit = audit,
                             .listeners = w->listeners,
                             .loop = w->loop,
                             .ask = servers_ask};
    gc.ask_user = w->servers = servers_new(w->loop, pep);
    if (!w->servers) {
        buf_put_str(diag, "out of memory\n");
        return false;
    }
    w->gate = gate_new(&gc, diag);
    if (!w->gate)
        return false;
    servers_attach(w->servers, w->gate);
    if (!servers_use(w->servers, *wire, loop_now(w->loop))) {
        buf_put_str(diag, "out of memory\n");
        return false;
    }
    *wire = NULL;
    return true;
}

struct worker *worker_new(const struct config *c, struct pep *pep, struct audit_sink *audit,
                          struct wire **wire, struct buf *diag)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w) {
        buf_put_str(diag, "out of memory\n");
        return NULL;
    }
    w->config = c;
    w->loop = loop_new(turn, w);
    if (!w->loop) {
        buf_put_str(diag, "the event loop could not be made\n");
        worker_free(w);
        return NULL;
    }
    if (open_sockets(w, diag) && open_gate(w, pep, audit, wire, diag))
        return w;
    worker_free(w);
    return NULL;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    servers_free(w->servers);
    gate_free(w->gate);
    for (size_t i = 0; i < CONFIG_LISTENERS_MAX; i++) {
        if (!w->listeners[i])
            continue;
        loop_unwatch(w->loop, udp_fd(w->listeners[i]));
        udp_free(w->listeners[i]);
    }
    if (w->loop)
        loop_free(w->loop);
    free(w);
}

struct loop *worker_loop(struct worker *w)
{
    return w->loop;
}

struct gate *worker_gate(struct worker *w)
{
    return w->gate;
}

void worker_reloaded(struct worker *w, struct wire *wire, struct instant now)
{
    if (!servers_use(w->servers, wire, now)) {
        log_event(LOG_LEVEL_ERROR, "out-of-memory", "servers", "none is asked until a reload",
                  NULL);
        wire_free(wire);
    }
    gate_reloaded(w->gate, now);
}

struct servers *worker_servers(struct worker *w)
{
    return w->servers;
}

bool worker_run(struct worker *w)
{
    return loop_run(w->loop);
}

void worker_stop(struct worker *w)
{
    if (w->stopping)
        return;
    w->stopping = true;
    w->stop_by_ms = instant_ms(loop_now(w->loop)) + DRAIN_MS;
}
