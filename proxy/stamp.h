/* The wall clock as records have it (RFC 3339 5.6, UTC, microseconds): for
 * the audit's threads, which no loop tells the time. */
#ifndef POSTERN_STAMP_H
#define POSTERN_STAMP_H

enum { STAMP = 32 };

void stamp_now(char out[STAMP]);

#endif
