#include "worker.h"

#include <stdlib.h>

#include "log.h"

#include "log.h"

/* Tags of the loop: listeners first, then devices. */
enum { TAG_DEVICE = CONFIG_LISTENERS_MAX };

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
    if (w->tag < TAG_DEVICE)
        gate_client_datagram(w->gate, w->tag, from, datagram, w->now);
    else
        gate_device_datagram(w->gate, w->tag - TAG_DEVICE, datagram, w->now);
}

static bool readable(void *user, int tag, struct instant now)
{
    struct worker *w = user;
    w->tag = tag;
    w->now = now;
    struct udp *udp = tag < TAG_DEVICE ? w->listeners[tag]
                                       : upstream_udp(gate_upstreams(w->gate), tag - TAG_DEVICE);
    return udp_receive(udp, take_datagram, w);
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
        w->listeners[i] = udp_bind(&l->local, l->v6only, diag);
        if (!w->listeners[i] || !loop_watch(w->loop, udp_fd(w->listeners[i]), readable, w, (int)i))
            return false;
    }
    return true;
}

static bool watch_devices(struct worker *w)
{
    for (size_t i = 0; i < w->config->n_devices; i++) {
        const struct udp *udp = upstream_udp(gate_upstreams(w->gate), (int)i);
        if (!loop_watch(w->loop, udp_fd(udp), readable, w, TAG_DEVICE + (int)i))
            return false;
        if (!udp_has_way(udp))
            log_event(LOG_LEVEL_WARN, "no-way-to-device", "device",
                      w->config->devices[i].upstream.name, "url", w->config->devices[i].url, NULL);
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
                             .ask = servers_ask};
    gc.ask_user = w->servers = servers_new(w->loop, pep);
    if (!w->servers) {
        buf_put_str(diag, "out of memory\n");
        return false;
    }
    w->gate = gate_new(&gc, diag);
    if (!w->gate || !watch_devices(w))
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
    for (size_t i = 0; w->gate && i < w->config->n_devices; i++)
        loop_unwatch(w->loop, udp_fd(upstream_udp(gate_upstreams(w->gate), (int)i)));
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
