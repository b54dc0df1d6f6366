/* All workers of the daemon: made, run, stopped, and spoken for by the first,
 * whose thread is the caller's. Everything here is called from that thread. */
#ifndef POSTERN_WORKERS_H
#define POSTERN_WORKERS_H

#include "setup.h"
#include "worker.h"

struct workers;

/* Takes the wire of the set-up. */
MUST_USE struct workers *workers_new(struct setup *s, struct audit_sink *audit, struct buf *diag);
void workers_free(struct workers *ws); /* NULL is fine */
/* Until workers_stop(). False: one of them failed. */
MUST_USE bool workers_run(struct workers *ws);
void workers_stop(struct workers *ws);

unsigned workers_size(const struct workers *ws);
/* Of the first: its loop has the signals and the control socket. */
struct worker *workers_first(struct workers *ws);

/* Between the two, all workers' gates and peps are the caller's to use. */
void workers_pause(struct workers *ws);
void workers_resume(struct workers *ws);
struct worker *workers_at(struct workers *ws, unsigned who);
/* In a pause: the sums of all. What all hold alike, grants, is counted once. */
void workers_get_stats(struct workers *ws, struct gate_stats *gate, struct pep_stats *pep);
unsigned workers_shut(struct workers *ws); /* that serve nobody (gate_rights.c) */
/* Messages between workers that had no room. */
uint64_t workers_refused(const struct workers *ws);

#endif
