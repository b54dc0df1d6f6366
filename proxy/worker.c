#include "worker.h"

#include <stdlib.h>
#include <unistd.h>

#include "crew_store.h"
#include "log.h"
#include "mail.h"
#include "verifier.h"
#include "worker_ask.h"

struct worker {
    const struct config *config;
    struct pep *pep;
    struct crew *crew; /* NULL: it is alone */
    unsigned who;
    struct loop *loop;
    struct gate *gate;
    struct servers *servers; /* the first's; NULL */
    struct asker *asker;     /* of a crew's; NULL */
    struct verifier *verifier;
    struct gate *(*gate_of)(void *user, unsigned who);
    void *user;
    struct udp *listeners[CONFIG_LISTENERS_MAX];
    bool stopping;
    uint64_t stop_by_ms;
    /* of the read event that runs */
    int tag;
    bool heard; /* what was told before the datagrams came */
    struct instant now;
};

/* ---- colleagues ---- */

static void take_told(void *user, unsigned from, struct bytes message)
{
    struct worker *w = user;
    struct store_op op;
    (void)from;
    if (crew_store_read(message, &op))
        pep_take_change(w->pep, &op, w->now.wall_s);
    else
        gate_take_told(w->gate, message, w->now);
}

static void take_mail(void *user, unsigned from, struct bytes message)
{
    struct worker *w = user;
    asker_take(w->asker, from, message, w->now);
    gate_take_mail(w->gate, from, message, w->now);
}

void worker_hear(struct worker *w, struct instant now)
{
    w->now = now;
    if (w->crew)
        crew_hear(w->crew, w->who, take_told, w);
}

/* Woken: the turn that follows does the work. */
static void woken(void *user, int fd, unsigned io, struct instant now)
{
    uint64_t times;
    (void)user, (void)io, (void)now;
    (void)!read(fd, &times, sizeof times);
}

/* gate_config.others */
static void at_others(void *user, void (*visit)(void *what, struct gate *other), void *what)
{
    struct worker *w = user;
    crew_pause(w->crew);
    for (unsigned i = 1; i < crew_size(w->crew); i++)
        visit(what, w->gate_of(w->user, i));
    crew_resume(w->crew);
}

/* ---- its loop ---- */

static void take_datagram(void *user, const struct peer *from, struct bytes datagram)
{
    struct worker *w = user;
    /* What a colleague told before it answered a client: now that datagrams
     * were read, it is there before whatever that client sent then. */
    if (!w->heard)
        worker_hear(w, w->now);
    w->heard = true;
    gate_client_datagram(w->gate, w->tag, from, datagram, w->now);
}

static bool readable(void *user, int tag, struct instant now)
{
    struct worker *w = user;
    w->tag = tag;
    w->heard = false;
    w->now = now;
    return udp_receive(w->listeners[tag], take_datagram, w);
}

static bool checks_done(void *user, int tag, struct instant now)
{
    struct worker *w = user;
    (void)tag;
    for (struct pep_check *c; (c = verifier_take(w->verifier));)
        gate_checked(w->gate, c, now);
    return false;
}

static void check(void *user, struct pep_check *c)
{
    struct worker *w = user;
    verifier_put(w->verifier, c);
}

static bool is_drained(struct worker *w, struct instant now)
{
    bool drained = gate_drain(w->gate, now);
    if (!w->crew)
        return drained;
    /* A colleague may still wait for one of our devices. */
    crew_set_drained(w->crew, w->who, drained);
    return crew_is_drained(w->crew);
}

static uint64_t turn(void *user, struct instant now)
{
    struct worker *w = user;
    if (w->crew) {
        crew_turn(w->crew, w->who);
        worker_hear(w, now);
        crew_open(w->crew, w->who, take_mail, w);
        asker_turn(w->asker);
        if (crew_is_stopping(w->crew))
            worker_stop(w);
    }
    if (w->stopping && (is_drained(w, now) || instant_ms(now) >= w->stop_by_ms))
        loop_stop(w->loop);
    /* What the gate asks leaves in the same turn. */
    uint64_t next = gate_turn(w->gate, now);
    uint64_t servers = w->servers ? servers_turn(w->servers, now) : UINT64_MAX;
    if (servers < next)
        next = servers;
    if (w->stopping && w->stop_by_ms < next)
        next = w->stop_by_ms;
    return w->crew && !crew_sleep(w->crew, w->who) ? instant_ms(now) : next;
}

static bool open_sockets(struct worker *w, struct buf *diag)
{
    for (size_t i = 0; i < w->config->n_listeners; i++) {
        const struct config_listener *l = &w->config->listeners[i];
        if (l->tcp) /* the gate's own */
            continue;
        w->listeners[i] = w->crew ? udp_bind_shared(&l->local, l->v6only, w->who == 0, diag)
                                  : udp_bind(&l->local, l->v6only, diag);
        if (!w->listeners[i] || !loop_watch(w->loop, udp_fd(w->listeners[i]), readable, w, (int)i))
            return false;
    }
    return true;
}

static void on_hear(void *user, struct instant now)
{
    worker_hear(user, now);
}

static bool open_gate(struct worker *w, const struct worker_config *c, struct buf *diag)
{
    struct gate_config gc = {.config = w->config,
                             .pep = w->pep,
                             .audit = c->audit,
                             .worker = w->who,
                             .crew = w->crew,
                             .listeners = w->listeners,
                             .loop = w->loop,
                             .ask = servers_ask,
                             .ask_user = w->servers,
                             .check = check,
                             .check_user = w,
                             .cpu_us = loop_cpu_us};
    if (w->crew) {
        gc.ask = asker_ask;
        gc.ask_user = w->asker;
        gc.hear = on_hear;
        gc.hear_user = w;
        gc.others = w->who == 0 ? at_others : NULL;
        gc.others_user = w;
        gc.rates = c->rates;
        gc.associations = c->associations;
    }
    w->gate = gate_new(&gc, diag);
    return w->gate != NULL;
}

static struct gate *gate_of(void *user, unsigned who)
{
    struct worker *w = user;
    return who == w->who ? w->gate : w->gate_of(w->user, who);
}

static bool open_all(struct worker *w, const struct worker_config *c, struct wire **wire,
                     struct buf *diag)
{
    if (!open_sockets(w, diag))
        return false;
    w->verifier = verifier_new();
    if (!w->verifier || !loop_watch(w->loop, verifier_fd(w->verifier), checks_done, w, 0)) {
        buf_put_str(diag, "the thread that checks signatures could not be started\n");
        return false;
    }
    bool first = w->who == 0, ok = true;
    if (first)
        ok = (w->servers = servers_new(w->loop, w->pep)) != NULL;
    if (ok && w->crew)
        ok = (w->asker = asker_new(w->crew, w->who, w->servers, gate_of, w)) != NULL &&
             loop_watch_io(w->loop, crew_fd(w->crew, w->who), LOOP_READ, woken, w);
    if (!ok) {
        buf_put_str(diag, "out of memory\n");
        return false;
    }
    if (w->asker)
        asker_attach(w->asker, w->pep);
    if (!open_gate(w, c, diag))
        return false;
    if (!first)
        return true;
    servers_attach(w->servers, w->gate);
    if (!servers_use(w->servers, *wire, loop_now(w->loop))) {
        buf_put_str(diag, "out of memory\n");
        return false;
    }
    *wire = NULL;
    return true;
}

struct worker *worker_new(const struct worker_config *c, struct wire **wire, struct buf *diag)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w) {
        buf_put_str(diag, "out of memory\n");
        return NULL;
    }
    w->config = c->config;
    w->pep = c->pep;
    w->crew = c->crew;
    w->who = c->who;
    w->gate_of = c->gate_of;
    w->user = c->user;
    w->loop = loop_new(turn, w);
    if (!w->loop) {
        buf_put_str(diag, "the event loop could not be made\n");
        worker_free(w);
        return NULL;
    }
    if (open_all(w, c, wire, diag))
        return w;
    worker_free(w);
    return NULL;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    if (w->verifier)
        loop_unwatch(w->loop, verifier_fd(w->verifier));
    verifier_free(w->verifier);
    servers_free(w->servers);
    gate_free(w->gate);
    asker_free(w->asker);
    if (w->loop && w->crew)
        loop_unwatch(w->loop, crew_fd(w->crew, w->who));
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

struct pep *worker_pep(struct worker *w)
{
    return w->pep;
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
