/* Which proof key stands behind a new grant, and which grants it displaces.
 * Nothing is changed but the new grant, which is not in the table yet. */
#ifndef POSTERN_BIND_H
#define POSTERN_BIND_H

#include "inside.h"

/* More grants than one token can replace (one of its key, and those of a
 * kid that changed hands, one an authority). */
enum { VICTIMS_MAX = 2 * GRANTS_PER_KEY_MAX };

/* The grants that the new one replaces; borrowed from the table. */
struct victims {
    struct grant *g[VICTIMS_MAX];
    size_t n;
};

/* Sets g->key, or g->bearer to `s`. PEP_CONFIRMATION: there is no such key. */
MUST_USE enum pep_err bind_key(struct pep *p, struct pep_session *s, const struct cached *c,
                               int64_t now_s, struct grant *g);
/* PEP_FULL, or PEP_KID_TAKEN: it cannot be held beside those that stay. */
MUST_USE enum pep_err bind_make_way(struct pep *p, const struct grant *g, int64_t now_s,
                                    struct victims *v);
/* The grant of which `kid` is a live key, and this authority's; or NULL. */
struct grant *bind_find_kid(struct pep *p, struct bytes kid, int authority, int64_t now_s);

/* Of oneM2M's tokens, which add up, the one that ends first, if that is before
 * g does: who comes for a new token time and again is not kept out by the old
 * ones. Of `a` (or NULL) and o. */
struct grant *bind_sooner(struct grant *a, struct grant *o, const struct grant *g);

#endif
