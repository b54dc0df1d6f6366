/* The stores of a crew's peps: one on disk, one for each worker. What one of
 * them changes is written, and then told to the colleagues by the ledger, so
 * that it is known to all before its client is answered.
 *
 * What each pep does by itself from the same cause (a reload, a revocation, an
 * expiry) number 0 writes for all, and the others need not tell it. */
#ifndef POSTERN_CREW_STORE_H
#define POSTERN_CREW_STORE_H

#include "../pep/store.h"
#include "crew.h"

struct crew_stores;

/* `disk` is borrowed; NULL: nothing outlives the daemon, but is told. */
MUST_USE struct crew_stores *crew_stores_new(struct crew *c, struct store *disk);
void crew_stores_free(struct crew_stores *s); /* NULL is fine */

/* The worker's pep_config.store, and its .colleagues, which only tells.
 * Borrowed. */
struct store *crew_store(struct crew_stores *s, unsigned who);
struct store *crew_store_telling(struct crew_stores *s, unsigned who);

/* From now on the others listen. What was changed before, at the start, each
 * has read itself. */
void crew_stores_open(struct crew_stores *s);

/* What was told, for pep_take_change(). False: it is not of a store. */
MUST_USE bool crew_store_read(struct bytes message, struct store_op *out);

#endif
