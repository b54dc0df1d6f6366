/* Times as oneM2M writes them (TS-0004 table 6.3.2-1): ISO 8601's basic
 * format in UTC, "20261122T093000", with an optional fraction behind a comma;
 * or, where it is allowed, milliseconds from now. */
#ifndef POSTERN_M2M_TIME_H
#define POSTERN_M2M_TIME_H

#include "../policy/bytes.h"

/* Seconds since 1970; a fraction is cut off, or with `up` rounded up. False:
 * no such time. */
MUST_USE bool m2m_timestamp(struct bytes text, bool up, int64_t *out_s);
/* The same, or a number of milliseconds from `now_s`. */
MUST_USE bool m2m_abs_or_rel(struct bytes text, int64_t now_s, int64_t *out_s);

/* "20261122T093000". */
void m2m_timestamp_write(int64_t s, struct buf *out);

#endif
