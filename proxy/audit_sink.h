/* Where audit records go: bounded rings, one for each worker, that one thread
 * empties to the file, so that a slow disk never stops a loop. What does not
 * fit is counted, and the count itself is recorded.
 *
 * The thread numbers the records: each begins with a member "seq" that goes
 * on where the file, or the spool, ended. With `ship` they are kept in the
 * spool as well, before they are in the file, until they are delivered. */
#ifndef POSTERN_AUDIT_SINK_H
#define POSTERN_AUDIT_SINK_H

#include "ship.h"

struct audit_sink;

/* `ship` is borrowed; its kind SHIP_NONE: the file is all. */
MUST_USE struct audit_sink *audit_sink_open(const char *file, const struct ship_config *ship,
                                            unsigned workers, struct buf *diag);
void audit_sink_close(struct audit_sink *s); /* writes what is queued; NULL is fine */
/* One whole line, a JSON object, into the ring of the worker that calls.
 * False: lost (counted). Never blocks. */
bool audit_sink_write(struct audit_sink *s, unsigned worker, struct bytes line);
/* After some of them, at the end of the worker's turn: the thread may sleep. */
void audit_sink_tell(struct audit_sink *s, unsigned worker);
bool audit_sink_has_room(const struct audit_sink *s, unsigned worker); /* for `required: yes` */
void audit_sink_reopen(struct audit_sink *s);                          /* after SIGHUP */
uint64_t audit_sink_lost(const struct audit_sink *s);
/* False: nothing is shipped. */
bool audit_sink_ship_status(const struct audit_sink *s, struct ship_status *out);

#endif
