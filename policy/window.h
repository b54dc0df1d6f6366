/* Time windows of oneM2M access control (`actw`; the scheduleEntry of
 * TS-0004 7.4.9.1): seven fields in UTC for second, minute, hour, day of the
 * month, month, day of the week (0 is Sunday) and year (2000 to 9999). A
 * field is `*`, or a list of numbers and ranges; `*` and a range may have a
 * step. A moment is in the window when every field has it: cron's reading,
 * by which one of two days is enough, would grant more. */
#ifndef POSTERN_WINDOW_H
#define POSTERN_WINDOW_H

#include "bytes.h"

enum window_limits {
    WINDOW_TEXT_MAX = 256,
    WINDOW_YEARS_MAX = 8, /* elements of the year's list */
};

struct window_years {
    uint16_t from, to, step;
};

struct window {
    uint64_t seconds, minutes; /* bit n: n is in it */
    uint32_t hours, days, months, weekdays;
    struct window_years years[WINDOW_YEARS_MAX];
    size_t n_years;
};

/* False: it is no such text, or longer than the limits; *out is not to be used. */
MUST_USE bool window_parse(struct bytes text, struct window *out);
bool window_holds(const struct window *w, int64_t now_s);

#endif
