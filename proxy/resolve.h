/* Names to addresses without making the loop wait: getaddrinfo() in one
 * helper thread, started when the first name is asked for. Names are asked
 * one after the other. */
#ifndef POSTERN_RESOLVE_H
#define POSTERN_RESOLVE_H

#include "loop.h"
#include "peer.h"

struct resolver;

/* `to` NULL: there is no such name, or nobody to ask. Called from the loop,
 * never from within resolver_ask(). */
typedef void resolve_done_fn(void *user, uint64_t id, const struct peer *to, struct instant now);

MUST_USE struct resolver *resolver_new(struct loop *l, resolve_done_fn *done, void *user);
/* Does not wait for the thread: it ends by itself. Nobody is told. */
void resolver_free(struct resolver *r);

/* Without asking anybody: an address literal, or localhost. */
MUST_USE bool resolve_literal(const char *host, int port, struct peer *out);
/* False: too many are asked for. `id` comes back with the answer. */
MUST_USE bool resolver_ask(struct resolver *r, uint64_t id, const char *host, int port);

#endif
