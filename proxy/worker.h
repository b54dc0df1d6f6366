/* One thread: its loop, sockets, and gate. Workers share nothing that is
 * written per request; today one runs. No mutable globals anywhere. */
#ifndef POSTERN_WORKER_H
#define POSTERN_WORKER_H

#include "gate.h"
#include "loop.h"
#include "servers.h"

struct worker;

/* *wire is taken over, and NULL then. */
MUST_USE struct worker *worker_new(const struct config *c, struct pep *pep,
                                   struct audit_sink *audit, struct wire **wire, struct buf *diag);
void worker_free(struct worker *w);
struct loop *worker_loop(struct worker *w);
struct gate *worker_gate(struct worker *w);
/* Until worker_stop(), which drains for DRAIN_MS at most. False: failed. */
MUST_USE bool worker_run(struct worker *w);
/* The policy was swapped: its servers are asked from now on (`wire` is taken
 * over), and sessions whose grants ended are closed. */
void worker_reloaded(struct worker *w, struct wire *wire, struct instant now);
struct servers *worker_servers(struct worker *w);
void worker_stop(struct worker *w);

#endif
