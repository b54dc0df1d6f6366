#include "workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../pep/crypto.h"
#include "log.h"
#include "rate.h"

struct hand {
    struct workers *of;
    struct worker *worker;
    pthread_t thread;
    bool running;
    unsigned who;
};

struct workers {
    struct crew *crew; /* NULL: one worker */
    struct rates *rates;
    atomic_size_t associations; /* of all */
    unsigned n;
    atomic_bool failed;
    struct hand hands[CREW_MAX];
};

static struct gate *gate_of(void *user, unsigned who)
{
    struct workers *ws = user;
    return worker_gate(ws->hands[who].worker);
}

static bool open_shared(struct workers *ws, const struct config *c)
{
    struct siphash_key seed;
    if (!crypto_random(&seed, sizeof seed))
        return false;
    ws->rates = rates_new(c->max_rates, seed);
    return ws->rates != NULL;
}

struct workers *workers_new(struct setup *s, struct audit_sink *audit, struct buf *diag)
{
    struct workers *ws = calloc(1, sizeof *ws);
    if (!ws) {
        buf_put_str(diag, "out of memory\n");
        return NULL;
    }
    ws->crew = s->crew;
    ws->n = crew_size(s->crew);
    if (ws->crew && !open_shared(ws, s->config)) {
        buf_put_str(diag, "out of memory\n");
        workers_free(ws);
        return NULL;
    }
    for (unsigned i = 0; i < ws->n; i++) {
        const struct worker_config c = {.config = s->config,
                                        .pep = s->peps[i],
                                        .audit = audit,
                                        .crew = s->crew,
                                        .who = i,
                                        .rates = ws->rates,
                                        .associations = &ws->associations,
                                        .gate_of = gate_of,
                                        .user = ws};
        ws->hands[i] = (struct hand){.of = ws, .who = i};
        ws->hands[i].worker = worker_new(&c, &s->wire, diag);
        if (!ws->hands[i].worker) {
            workers_free(ws);
            return NULL;
        }
    }
    return ws;
}

void workers_free(struct workers *ws)
{
    if (!ws)
        return;
    for (unsigned i = ws->n; i-- > 0;)
        worker_free(ws->hands[i].worker);
    rates_free(ws->rates);
    free(ws);
}

static void *run(void *user)
{
    struct hand *h = user;
    char name[16] = "postern-";
    struct buf b = {(uint8_t *)name, 8, sizeof name - 1, false};
    buf_put_decimal(&b, h->who, 1);
    (void)pthread_setname_np(pthread_self(), name);
    if (!worker_run(h->worker)) {
        atomic_store(&h->of->failed, true);
        crew_stop(h->of->crew); /* one of them is none of them */
    }
    crew_leave(h->of->crew, h->who);
    return NULL;
}

/* Signals are the first's. */
static bool start(struct hand *h)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    crew_enter(h->of->crew, h->who);
    int err = pthread_create(&h->thread, NULL, run, h);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    h->running = err == 0;
    if (h->running)
        return true;
    crew_leave(h->of->crew, h->who);
    log_event(LOG_LEVEL_ERROR, "worker-not-started", "error", strerror(err), NULL);
    return false;
}

bool workers_run(struct workers *ws)
{
    bool ok = true;
    for (unsigned i = 1; ok && i < ws->n; i++)
        ok = start(&ws->hands[i]);
    ok = ok && worker_run(ws->hands[0].worker);
    if (ws->crew)
        crew_stop(ws->crew);
    if (ws->crew)
        crew_leave(ws->crew, 0);
    for (unsigned i = 1; i < ws->n; i++)
        if (ws->hands[i].running)
            (void)pthread_join(ws->hands[i].thread, NULL);
    return ok && !atomic_load(&ws->failed);
}

void workers_stop(struct workers *ws)
{
    if (ws->crew)
        crew_stop(ws->crew);
    worker_stop(ws->hands[0].worker);
}

unsigned workers_size(const struct workers *ws)
{
    return ws->n;
}

struct worker *workers_first(struct workers *ws)
{
    return ws->hands[0].worker;
}

struct worker *workers_at(struct workers *ws, unsigned who)
{
    return ws->hands[who].worker;
}

void workers_pause(struct workers *ws)
{
    if (ws->crew)
        crew_pause(ws->crew);
}

void workers_resume(struct workers *ws)
{
    if (ws->crew)
        crew_resume(ws->crew);
}

uint64_t workers_refused(const struct workers *ws)
{
    return ws->crew ? crew_refused(ws->crew) : 0;
}

unsigned workers_shut(struct workers *ws)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ws->n; i++)
        n += gate_is_shut(worker_gate(ws->hands[i].worker));
    return n;
}

/* All members of these are counters. */
static void add(void *sum, const void *more, size_t size)
{
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t a, b;
        memcpy(&a, (uint8_t *)sum + at, sizeof a);
        memcpy(&b, (const uint8_t *)more + at, sizeof b);
        a += b;
        memcpy((uint8_t *)sum + at, &a, sizeof a);
    }
}

void workers_get_stats(struct workers *ws, struct gate_stats *gate, struct pep_stats *pep)
{
    gate_get_stats(worker_gate(ws->hands[0].worker), gate);
    pep_get_stats(worker_pep(ws->hands[0].worker), pep);
    uint64_t grants = pep->grants, expired = pep->expired, ended = pep->ended,
             revoked = pep->revoked;
    for (unsigned i = 1; i < ws->n; i++) {
        struct gate_stats g;
        struct pep_stats p;
        gate_get_stats(worker_gate(ws->hands[i].worker), &g);
        pep_get_stats(worker_pep(ws->hands[i].worker), &p);
        add(gate, &g, sizeof g);
        add(pep, &p, sizeof p);
    }
    pep->grants = grants;
    pep->expired = expired;
    pep->ended = ended;
    pep->revoked = revoked;
}
