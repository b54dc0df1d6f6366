#include "m2m_time.h"

#include "../policy/cursor.h"
#include "../policy/zone.h"

enum { FRACTION_MAX = 6, RELATIVE_DIGITS = 12, DAY_S = 86400, MS = 1000 };

static bool is_digits(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

static int64_t value(struct bytes digits)
{
    int64_t v = 0;
    for (size_t i = 0; i < digits.n; i++)
        v = v * 10 + (digits.p[i] - '0');
    return v;
}

static unsigned take_two(struct cursor *c)
{
    struct bytes d = cursor_take(c, 2);
    if (!is_digits(d))
        c->bad = true;
    return c->bad ? 0 : (unsigned)value(d);
}

bool m2m_timestamp(struct bytes text, bool up, int64_t *out_s)
{
    struct cursor c = cursor_on(text);
    unsigned century = take_two(&c), of_century = take_two(&c);
    unsigned month = take_two(&c), day = take_two(&c);
    if (cursor_u8(&c) != 'T')
        return false;
    unsigned hour = take_two(&c), minute = take_two(&c), second = take_two(&c);
    int64_t year = century * 100 + of_century, more = 0;
    if (c.bad || year < 1970 || !civil_is_valid(year, month, day) || hour > 23 || minute > 59 ||
        second > 59)
        return false;
    if (c.n > 0) {
        if (cursor_u8(&c) != ',' || c.n > FRACTION_MAX)
            return false;
        struct bytes fraction = cursor_take(&c, c.n);
        if (!is_digits(fraction))
            return false;
        more = up && value(fraction) > 0;
    }
    *out_s = days_from_civil(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second + more;
    return true;
}

bool m2m_abs_or_rel(struct bytes text, int64_t now_s, int64_t *out_s)
{
    if (!is_digits(text) || text.n > RELATIVE_DIGITS)
        return m2m_timestamp(text, false, out_s);
    *out_s = now_s + value(text) / MS;
    return true;
}

void m2m_timestamp_write(int64_t s, struct buf *out)
{
    int64_t year, days = s / DAY_S - (s % DAY_S < 0), of_day = s - days * DAY_S;
    unsigned month, day;
    civil_from_days(days, &year, &month, &day);
    buf_put_decimal(out, (uint64_t)year, 4);
    buf_put_decimal(out, month, 2);
    buf_put_decimal(out, day, 2);
    buf_put_u8(out, 'T');
    buf_put_decimal(out, (uint64_t)of_day / 3600, 2);
    buf_put_decimal(out, (uint64_t)of_day / 60 % 60, 2);
    buf_put_decimal(out, (uint64_t)of_day % 60, 2);
}
