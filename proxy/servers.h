/* The authorization servers of the policy in force, as one worker uses them:
 * carries pep's questions to the wire and the answers back to the gate, and
 * keeps the key sets fresh that authorities publish (JWKS), and their
 * revocation lists (trl_watch.h).
 *
 * An authority's set is fetched at the start, every `refresh`, and, at most
 * every SERVERS_JWKS_AGAIN_S, when a token came whose key nobody knows. The
 * last good set stays while the server is away or publishes nonsense. */
#ifndef POSTERN_SERVERS_H
#define POSTERN_SERVERS_H

#include "authority.h"
#include "gate.h"
#include "trl_watch.h"

struct servers;

enum servers_limits {
    SERVERS_JWKS_AGAIN_S = 30, /* a stranger's token makes us fetch no more often */
    SERVERS_JWKS_RETRY_S = 15, /* after a failure */
};

MUST_USE struct servers *servers_new(struct loop *l, struct pep *pep);
void servers_free(struct servers *s); /* NULL is fine */

/* Answers go to this gate. Before anything else. */
void servers_attach(struct servers *s, struct gate *g);
/* Answers go here instead (worker_ask.h). */
void servers_relay(struct servers *s,
                   void (*replied)(void *user, uint64_t id, const struct pep_reply *r,
                                   struct instant now),
                   void *user);
/* A token came elsewhere whose key nobody knows. */
void servers_note_unknown_key(struct servers *s);

/* Takes `w` over: the servers of the policy that pep has now. False: out of
 * memory; nobody is asked until the next time, and `w` is still the caller's. */
MUST_USE bool servers_use(struct servers *s, struct wire *w, struct instant now);

/* gate_config.ask; `user` is a struct servers. */
MUST_USE bool servers_ask(void *user, const struct pep_question *q, struct instant now);

/* Of every turn of the loop. The next deadline in ms of the monotonic clock;
 * UINT64_MAX: none. */
uint64_t servers_turn(struct servers *s, struct instant now);

/* What `postern status` tells of one authority. */
struct servers_stats {
    struct authority_stats purpose[AUTHORITY_PURPOSES];
    int64_t keys_s; /* when its published keys were taken; 0: never */
    struct trl_watch_stats list;
};
void servers_get_stats(const struct servers *s, int authority, struct instant now,
                       struct servers_stats *out);

#endif
