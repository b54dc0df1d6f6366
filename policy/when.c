#include "when.h"

#include <arpa/inet.h>

enum { DAY_S = 86400, DAY_MIN = 1440 };

/* ---- judging ---- */

static void localize(const struct zone *z, struct when_moment *m)
{
    if (m->local_of == z)
        return;
    m->local_of = z;
    int32_t offset;
    m->local_known = zone_offset(z, m->now_s, &offset);
    if (!m->local_known)
        return;
    int64_t local = m->now_s + offset, day = local / DAY_S, second = local % DAY_S;
    if (second < 0) {
        second += DAY_S;
        day--;
    }
    m->local_day = day;
    m->local_minute = (unsigned)(second / 60);
}

static bool in_hours(const struct when *w, unsigned minute)
{
    if (w->hours_from < w->hours_to)
        return minute >= w->hours_from && minute < w->hours_to;
    return minute >= w->hours_from || minute < w->hours_to;
}

static bool in_days(const struct when *w, int64_t day)
{
    int64_t weekday = ((day + 3) % 7 + 7) % 7; /* 1970-01-01 was a Thursday; Monday is 0 */
    return w->days >> weekday & 1;
}

static bool in_net(const struct when_net *net, uint8_t family, const uint8_t *addr)
{
    if (net->family != family)
        return false;
    size_t whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(net->addr, addr, whole) != 0)
        return false;
    return rest == 0 || (net->addr[whole] ^ addr[whole]) >> (8 - rest) == 0;
}

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:0:0/96 */

static enum when_result judge_nets(const struct when *w, const struct policy_peer *peer)
{
    uint8_t family = peer ? peer->family : 0;
    const uint8_t *addr = peer ? peer->addr : NULL;
    if (family == 6 && memcmp(addr, mapped, sizeof mapped) == 0) {
        family = 4;
        addr += sizeof mapped;
    }
    if (family != 4 && family != 6)
        return WHEN_UNKNOWN;
    for (size_t i = 0; i < w->n_nets; i++)
        if (in_net(&w->nets[i], family, addr))
            return WHEN_YES;
    return WHEN_NO;
}

enum when_result when_judge(const struct when *w, struct when_moment *m, const char **missing)
{
    enum when_result all = WHEN_YES;
    *missing = NULL;
    bool timed = w->has_hours || w->has_days || w->has_dates;
    if (timed)
        localize(w->zone, m);
    enum when_result unless = !timed || m->local_known ? WHEN_NO : WHEN_UNKNOWN;
    bool known = unless == WHEN_NO;
    const struct {
        bool asked;
        enum when_result result;
        const char *name;
    } each[] = {
        {w->has_hours, known && in_hours(w, m->local_minute) ? WHEN_YES : unless, "hours"},
        {w->has_days, known && in_days(w, m->local_day) ? WHEN_YES : unless, "days"},
        {w->has_dates,
         known && m->local_day >= w->date_from && m->local_day <= w->date_to ? WHEN_YES : unless,
         "dates"},
        {w->n_nets > 0, w->n_nets ? judge_nets(w, m->peer) : WHEN_YES, "network"},
        {w->strength > 0, m->strength >= w->strength ? WHEN_YES : WHEN_NO, "association"},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        if (!each[i].asked || each[i].result == WHEN_YES)
            continue;
        if (!*missing)
            *missing = each[i].name;
        if (each[i].result < all)
            all = each[i].result;
    }
    return all;
}

/* ---- reading ---- */

static bool digits(struct bytes s, size_t from, size_t n, unsigned *out)
{
    *out = 0;
    for (size_t i = from; i < from + n; i++) {
        if (i >= s.n || s.p[i] < '0' || s.p[i] > '9')
            return false;
        *out = *out * 10 + s.p[i] - '0';
    }
    return true;
}

const char *when_parse_hours(struct bytes s, struct when *out)
{
    static const char wrong[] = "expected hours as \"07:00-23:00\"";
    unsigned h[2], m[2];
    if (s.n != 11 || s.p[5] != '-')
        return wrong;
    for (size_t i = 0; i < 2; i++) {
        if (!digits(s, i * 6, 2, &h[i]) || s.p[i * 6 + 2] != ':' || !digits(s, i * 6 + 3, 2, &m[i]))
            return wrong;
        if (m[i] > 59 || h[i] * 60 + m[i] > DAY_MIN)
            return "hours go from 00:00 to 24:00";
    }
    unsigned from = h[0] * 60 + m[0], to = h[1] * 60 + m[1];
    if (from == DAY_MIN)
        return "hours begin at 23:59 at the latest";
    if (from == to)
        return "these hours are empty; for the whole day leave them away";
    out->has_hours = true;
    out->hours_from = (uint16_t)from;
    out->hours_to = (uint16_t)to;
    return NULL;
}

static int weekday(struct bytes s)
{
    static const char names[7][4] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    for (int i = 0; i < 7; i++)
        if (bytes_equal_str(s, names[i]))
            return i;
    return -1;
}

const char *when_parse_days(struct bytes s, struct when *out)
{
    static const char wrong[] = "expected days as mon, tue, wed, thu, fri, sat, sun, or mon-fri";
    if (s.n != 3 && !(s.n == 7 && s.p[3] == '-'))
        return wrong;
    int from = weekday(bytes_of(s.p, 3)), to = s.n == 3 ? from : weekday(bytes_of(s.p + 4, 3));
    if (from < 0 || to < 0)
        return wrong;
    uint8_t days = 0;
    for (int d = from;; d = (d + 1) % 7) {
        days |= (uint8_t)(1u << d);
        if (d == to)
            break;
    }
    if (s.n == 7 && from == to)
        return "a range of one day; name the day alone";
    if (out->days & days)
        return "a day is named twice";
    out->has_days = true;
    out->days |= days;
    return NULL;
}

static bool parse_date(struct bytes s, int32_t *out)
{
    unsigned y, m, d;
    if (s.n != 10 || !digits(s, 0, 4, &y) || s.p[4] != '-' || !digits(s, 5, 2, &m) ||
        s.p[7] != '-' || !digits(s, 8, 2, &d) || !civil_is_valid(y, m, d))
        return false;
    *out = (int32_t)days_from_civil(y, m, d);
    return true;
}

const char *when_parse_dates(struct bytes s, struct when *out)
{
    static const char wrong[] = "expected dates as 2026-06-01..2026-08-31";
    size_t dots = 0;
    while (dots + 1 < s.n && (s.p[dots] != '.' || s.p[dots + 1] != '.'))
        dots++;
    bool range = dots + 1 < s.n;
    struct bytes a = bytes_of(s.p, range ? dots : s.n);
    struct bytes b = range ? bytes_of(s.p + dots + 2, s.n - dots - 2) : a;
    int32_t from = INT32_MIN, to = INT32_MAX;
    if ((a.n == 0 && b.n == 0) || (a.n && !parse_date(a, &from)) || (b.n && !parse_date(b, &to)))
        return wrong;
    if (from > to)
        return "these dates end before they begin";
    out->has_dates = true;
    out->date_from = from;
    out->date_to = to;
    return NULL;
}

const char *when_parse_net(struct bytes s, struct when_net *out)
{
    static const char wrong[] = "expected a network as 192.0.2.0/24 or 2001:db8::/32";
    char text[INET6_ADDRSTRLEN];
    size_t slash = 0;
    while (slash < s.n && s.p[slash] != '/')
        slash++;
    if (slash == 0 || slash >= sizeof text || memchr(s.p, 0, s.n))
        return wrong;
    memcpy(text, s.p, slash);
    text[slash] = 0;
    *out = (struct when_net){0};
    if (inet_pton(AF_INET, text, out->addr) == 1)
        out->family = 4;
    else if (inet_pton(AF_INET6, text, out->addr) == 1)
        out->family = 6;
    else
        return wrong;
    unsigned max = out->family == 4 ? 32 : 128, bits = max;
    if (slash < s.n) {
        size_t n = s.n - slash - 1;
        if (n < 1 || n > 3 || !digits(s, slash + 1, n, &bits) || (n > 1 && s.p[slash + 1] == '0'))
            return wrong;
        if (bits > max)
            return "the prefix is longer than the address";
    }
    if (out->family == 6 && bits >= 96 && memcmp(out->addr, mapped, sizeof mapped) == 0)
        return "a mapped address matches no peer; write it as IPv4";
    for (unsigned i = bits; i < max; i++)
        if (out->addr[i / 8] >> (7 - i % 8) & 1)
            return "bits are set behind the prefix";
    out->bits = (uint8_t)bits;
    return NULL;
}
