/* Time zones: from UTC to the offset of local time, by the tables of the tz
 * database (RFC 9636, TZif) or a POSIX TZ string.
 *
 * libc knows one zone a process, in a global that threads share; a policy may
 * name several. So the tables are read here, once, when the policy loads; a
 * lookup is a search in an array and may come from any thread. Rules for the
 * years to come are written out up to ZONE_YEAR_MAX; past that a time is
 * unknown rather than guessed.
 */
#ifndef POSTERN_ZONE_H
#define POSTERN_ZONE_H

#include "arena.h"

enum zone_limits {
    ZONE_NAME_MAX = 64,
    ZONE_FILE_MAX = 1 << 18, /* the largest in tzdata is under 4 KiB */
    ZONE_YEAR_MAX = 2199,
};

struct zone;

/* All live in the arena. NULL: not found, not sound, or no memory. */

/* By name in the system's tz database, e.g. "Europe/Berlin". A name cannot
 * leave the database's directory. "UTC" needs no database. */
MUST_USE const struct zone *zone_find(struct arena *a, const char *name);
/* What libc would take for local time: TZ, else /etc/localtime, else UTC. */
MUST_USE const struct zone *zone_local(struct arena *a);
MUST_USE const struct zone *zone_from_tzif(struct arena *a, struct bytes file);
/* "CET-1CEST,M3.5.0,M10.5.0/3" (POSIX.1 8.3, with RFC 9636's wider hours). */
MUST_USE const struct zone *zone_from_posix(struct arena *a, struct bytes text);

/* Seconds east of UTC. False: the table does not say. */
MUST_USE bool zone_offset(const struct zone *z, int64_t utc_s, int32_t *offset_s);

/* The proleptic Gregorian calendar: days since 1970-01-01. */
int64_t days_from_civil(int64_t year, unsigned month, unsigned day);
void civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day);
bool civil_is_valid(int64_t year, unsigned month, unsigned day);

#endif
