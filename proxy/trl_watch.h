/* Watches the revocation lists of authorities (RFC 9770): carries the
 * questions of pep/trl.h to the wire, and what the answers say to the gate.
 *
 * One observation stands for each list; the wire asks for it again whenever
 * the line was lost, and by it first whether a server is back, so that
 * revocations are known before anything else is asked. */
#ifndef POSTERN_TRL_WATCH_H
#define POSTERN_TRL_WATCH_H

#include "../pep/trl.h"
#include "authority.h"
#include "gate.h"

struct trl_watch;

MUST_USE struct trl_watch *trl_watch_new(struct authorities *wire);
void trl_watch_free(struct trl_watch *t); /* NULL is fine */
/* Lists go to this gate. Before anything else. */
void trl_watch_attach(struct trl_watch *t, struct gate *g);

/* The authorities of this policy, which the wire uses from now on. What is
 * known of a list stays with its authority's name. False: out of memory. */
MUST_USE bool trl_watch_use(struct trl_watch *t, const struct policy *p, struct instant now);

/* authority_ops.got; false: the handle is not ours. */
bool trl_watch_got(struct trl_watch *t, uint64_t handle, const struct authority_got *g,
                   struct instant now);

/* Asks what is due. The next deadline in ms of the monotonic clock. */
uint64_t trl_watch_turn(struct trl_watch *t, struct instant now);

struct trl_watch_stats {
    bool configured, observing, known; /* known: a full set was taken */
    enum trl_health health;
    uint8_t code;    /* of the last refusal */
    int64_t fresh_s; /* wall time when it was last known to be current */
    int64_t age_s;   /* since then */
    enum trl_cursor cursor;
    uint64_t at;
    uint64_t answers, failures, notifications;
};
void trl_watch_get_stats(const struct trl_watch *t, const char *authority, struct instant now,
                         struct trl_watch_stats *out);

#endif
