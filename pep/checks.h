/* Checks of signatures that are done on another thread: which are under way,
 * and for whom. A check is found by the bytes of its token, so there is one a
 * token, however many wait for it.
 *
 * A public-key operation is what a stranger can make us do at no cost of its
 * own. So checks are bounded in total, for those who have no association, and
 * for each network; what is beyond is refused as busy. A token whose
 * signature is good is in the cache when its check is over, a forgery nowhere:
 * it costs another check each time, out of its own network's share.
 *
 * Few are handed out at a time, so that a client with an association comes
 * before the strangers that wait; but every fourth is a stranger's, whatever
 * one client does. */
#ifndef POSTERN_CHECKS_H
#define POSTERN_CHECKS_H

#include "cache.h"
#include "keys.h"

struct checks;

enum checks_limits {
    CHECKS_MAX = 64,           /* about 60 ms of one thread */
    CHECKS_STRANGERS_MAX = 48, /* of those; the rest is for clients with an association */
    CHECKS_PER_NET_MAX = 16,   /* of strangers' checks, from one /24 or /56 */
    CHECKS_OUT_MAX = 3,        /* handed out: one runs, and its thread finds the next at once */
    CHECKS_STRANGER_EACH = 4,
    CHECKS_BUSY_S = 1, /* Max-Age of the refusal */
};

/* One check on its way; a thread of its own may have it. */
struct pep_check {
    uint64_t id;
    struct keys *keys;    /* a reference: pep may have others by the end */
    struct cached *entry; /* the token's bytes, and what they turn out to say */
    enum pep_err err;
};

MUST_USE struct checks *checks_new(struct siphash_key seed);
void checks_free(struct checks *t); /* NULL is fine */

/* Of the token of these bytes. PEP_PENDING: *id is its check, under way; or
 * how it ended, until it is settled; or PEP_BUSY, PEP_FULL. PEP_OK: it was
 * good, and is to be looked for in the cache. */
MUST_USE enum pep_err checks_ask(struct checks *t, struct bytes raw, bool associated,
                                 const struct policy_peer *from, uint64_t *id);
/* The next that was not taken yet, with a reference on `keys`. NULL: none,
 * enough are out, or there is no memory for it now. */
MUST_USE struct pep_check *checks_take(struct checks *t, struct keys *keys);
/* It came back; `keys`: those in force. A check by others is forgotten, and
 * who waited asks anew. */
void checks_done(struct checks *t, const struct pep_check *c, const struct keys *keys);
/* All who waited were called again. */
void checks_settle(struct checks *t);

struct checks_stats {
    uint64_t asked, forged, busy;
    size_t under_way;
};
void checks_get_stats(const struct checks *t, struct checks_stats *out);

#endif
