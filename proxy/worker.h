/* One thread: its loop, its sockets, its gate and its pep. Workers share
 * nothing that is written per request; what they have to tell each other goes
 * by the crew. The first has the authorization servers too. No mutable
 * globals anywhere. */
#ifndef POSTERN_WORKER_H
#define POSTERN_WORKER_H

#include <stdatomic.h>

#include "crew.h"
#include "gate.h"
#include "loop.h"
#include "servers.h"

struct worker;

struct worker_config {
    const struct config *config;
    struct pep *pep;
    struct audit_sink *audit; /* or NULL */
    struct crew *crew;        /* NULL: it is alone */
    unsigned who;             /* from 0 */
    struct rates *rates;      /* shared by all; NULL when alone */
    atomic_size_t *associations;
    /* The first's: the gate of any worker, to be used in a pause. */
    struct gate *(*gate_of)(void *user, unsigned who);
    void *user;
};

/* The first takes *wire over, and it is NULL then; to others it is nothing. */
MUST_USE struct worker *worker_new(const struct worker_config *c, struct wire **wire,
                                   struct buf *diag);
void worker_free(struct worker *w);
struct loop *worker_loop(struct worker *w);
struct gate *worker_gate(struct worker *w);
struct pep *worker_pep(struct worker *w);
/* Until worker_stop(), which drains for DRAIN_MS at most. False: failed. */
MUST_USE bool worker_run(struct worker *w);
/* The policy was swapped: its servers are asked from now on (`wire` is taken
 * over), and sessions whose grants ended are closed. */
void worker_reloaded(struct worker *w, struct wire *wire, struct instant now);
struct servers *worker_servers(struct worker *w);
void worker_stop(struct worker *w);
/* Takes in what its colleagues told: in its own thread, or by the first in a
 * pause. */
void worker_hear(struct worker *w, struct instant now);

#endif
