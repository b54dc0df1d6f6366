/* The audit sink without a file or a thread: linked in audit_sink.c's place. */
#ifndef POSTERN_AUDIT_FAKE_H
#define POSTERN_AUDIT_FAKE_H

#include "../proxy/audit_sink.h"

struct audit_sink *audit_fake(void); /* fresh and empty */
/* The n-th line from the end, 0 the last; "" when there is none. */
const char *audit_fake_line(size_t from_end);
size_t audit_fake_count(void);
void audit_fake_fill(bool full); /* what is written now is lost */

#endif
