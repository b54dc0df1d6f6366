/* The key sets that authorities publish, as they were last taken: kept by
 * the authority's name across reloads and, through the store, across
 * restarts, so that the last good set holds while its server is away. They
 * hold public keys only; who takes a set has read it first (keys_with_set). */
#ifndef POSTERN_PUBLISHED_H
#define POSTERN_PUBLISHED_H

#include "store.h"

struct published;

enum published_limits {
    PUBLISHED_SET_MAX = 65536, /* bytes of one set */
    PUBLISHED_MAX = 256,       /* authorities */
};

MUST_USE struct published *published_new(void);
void published_free(struct published *t); /* NULL is fine */

/* Takes a copy in place of the one before, here and in the store (NULL: here
 * only). False: no room, or the store did not take it; here it is kept all
 * the same when there was memory. */
MUST_USE bool published_put(struct published *t, const char *name, struct bytes set,
                            struct store *s);
/* n 0: none. Borrowed until the next put. */
struct bytes published_of(const struct published *t, const char *name);
/* Takes in what the store kept. */
MUST_USE bool published_load(struct published *t, struct store *s);

#endif
