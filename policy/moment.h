/* A moment in UTC as files have it (RFC 3339 5.6): "2027-02-20T08:00:00Z", or
 * "2027-02-20" for the beginning of that day. Nothing else: no other offset,
 * no fraction, no leap second. */
#ifndef POSTERN_MOMENT_H
#define POSTERN_MOMENT_H

#include "bytes.h"

enum { MOMENT_TEXT = 21 }; /* with NUL */

/* Seconds since 1970; years 1970 to 9999. */
MUST_USE bool moment_read(struct bytes text, int64_t *out_s);
/* The long form. False: a year that it cannot show. */
MUST_USE bool moment_text(int64_t s, char out[MOMENT_TEXT]);

#endif
