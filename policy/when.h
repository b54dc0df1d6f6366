/* Conditions of a rule: hours, days, dates, source networks, and how strongly
 * the association is known. All that are given must hold; each is judged by
 * itself at the moment of the request. So with hours over midnight, the day
 * is that of the request, not that on which the hours began.
 *
 * Hours, days and dates are local time of the condition's zone. A condition
 * that cannot be judged (unknown peer, no zone table for that year) is
 * WHEN_UNKNOWN: it does not permit, and it does forbid.
 */
#ifndef POSTERN_WHEN_H
#define POSTERN_WHEN_H

#include "policy.h"
#include "zone.h"

struct when_net {
    uint8_t family; /* 4 or 6 */
    uint8_t bits;
    uint8_t addr[16];
};

struct when {
    bool has_hours, has_days, has_dates;
    uint16_t hours_from,
        hours_to;               /* minutes of the day; to is not in it; over midnight: to < from */
    uint8_t days;               /* bit 0 Monday */
    int32_t date_from, date_to; /* days since 1970, both in it */
    uint8_t strength;           /* at least this; 0: any */
    uint32_t n_nets;            /* any of them; 0: any at all */
    const struct when_net *nets;
    const struct zone *zone; /* when one of the first three is given */
};

enum when_result { WHEN_NO = 0, WHEN_UNKNOWN = 1, WHEN_YES = 2 };

/* What conditions are judged against. `local_of` remembers one conversion;
 * begin with NULL, and change `now_s` no more. */
struct when_moment {
    int64_t now_s;
    const struct policy_peer *peer;
    enum policy_strength strength;
    const struct zone *local_of;
    bool local_known;
    int64_t local_day;
    unsigned local_minute;
};

/* `missing` is set, unless WHEN_YES, to what first did not hold. */
MUST_USE enum when_result when_judge(const struct when *w, struct when_moment *m,
                                     const char **missing);

/* Texts of the policy file. NULL, or what is wrong with it. */
MUST_USE const char *when_parse_hours(struct bytes text, struct when *out);
/* One of a list: "mon" or "fri-mon". Adds to out->days. */
MUST_USE const char *when_parse_days(struct bytes text, struct when *out);
/* "2026-06-01..2026-08-31", one end may be left away; or one date. */
MUST_USE const char *when_parse_dates(struct bytes text, struct when *out);
/* "192.0.2.0/24", "2001:db8::/32", or one address. */
MUST_USE const char *when_parse_net(struct bytes text, struct when_net *out);

#endif
