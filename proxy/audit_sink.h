/* Where audit records go: a bounded ring that one worker writes and one
 * thread empties to the file, so that a slow disk never stops the loop. What
 * does not fit is counted, and the count itself is recorded. */
#ifndef POSTERN_AUDIT_SINK_H
#define POSTERN_AUDIT_SINK_H

#include "../policy/bytes.h"

struct audit_sink;

MUST_USE struct audit_sink *audit_sink_open(const char *file, struct buf *diag);
void audit_sink_close(struct audit_sink *s); /* writes what is queued; NULL is fine */
/* One whole line. False: lost (counted). Never blocks. */
bool audit_sink_write(struct audit_sink *s, struct bytes line);
bool audit_sink_has_room(const struct audit_sink *s); /* for `required: yes` */
void audit_sink_reopen(struct audit_sink *s);         /* after SIGHUP */
uint64_t audit_sink_lost(const struct audit_sink *s);

#endif
