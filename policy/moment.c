#include "moment.h"

#include "cursor.h"
#include "zone.h"

enum { DAY_S = 86400, YEAR_MIN = 1970, YEAR_MAX = 9999 };

static unsigned take_number(struct cursor *c, size_t digits)
{
    struct bytes d = cursor_take(c, digits);
    unsigned v = 0;
    for (size_t i = 0; i < d.n; i++) {
        if (d.p[i] < '0' || d.p[i] > '9')
            c->bad = true;
        v = v * 10 + (unsigned)(d.p[i] - '0');
    }
    return c->bad ? 0 : v;
}

static void take_char(struct cursor *c, char wanted)
{
    if (cursor_u8(c) != (uint8_t)wanted)
        c->bad = true;
}

bool moment_read(struct bytes text, int64_t *out_s)
{
    struct cursor c = cursor_on(text);
    unsigned of_day = 0, year = take_number(&c, 4);
    take_char(&c, '-');
    unsigned month = take_number(&c, 2);
    take_char(&c, '-');
    unsigned day = take_number(&c, 2);
    if (c.bad || year < YEAR_MIN || !civil_is_valid(year, month, day))
        return false;
    if (c.n > 0) {
        take_char(&c, 'T');
        unsigned hour = take_number(&c, 2);
        take_char(&c, ':');
        unsigned minute = take_number(&c, 2);
        take_char(&c, ':');
        unsigned second = take_number(&c, 2);
        take_char(&c, 'Z');
        if (!cursor_done(&c) || hour > 23 || minute > 59 || second > 59)
            return false;
        of_day = hour * 3600 + minute * 60 + second;
    }
    *out_s = days_from_civil(year, month, day) * DAY_S + of_day;
    return true;
}

static void put_number(struct buf *b, unsigned v, unsigned scale)
{
    for (; scale > 0; scale /= 10)
        buf_put_u8(b, (uint8_t)('0' + v / scale % 10));
}

bool moment_text(int64_t s, char out[MOMENT_TEXT])
{
    int64_t year;
    unsigned month, day;
    if (s < 0 || s >= days_from_civil(YEAR_MAX + 1, 1, 1) * DAY_S)
        return false;
    civil_from_days(s / DAY_S, &year, &month, &day);
    unsigned of_day = (unsigned)(s % DAY_S);
    struct buf b = buf_on(out, MOMENT_TEXT);
    put_number(&b, (unsigned)year, 1000);
    buf_put_u8(&b, '-');
    put_number(&b, month, 10);
    buf_put_u8(&b, '-');
    put_number(&b, day, 10);
    buf_put_u8(&b, 'T');
    put_number(&b, of_day / 3600, 10);
    buf_put_u8(&b, ':');
    put_number(&b, of_day / 60 % 60, 10);
    buf_put_u8(&b, ':');
    put_number(&b, of_day % 60, 10);
    buf_put_u8(&b, 'Z');
    buf_put_u8(&b, 0);
    return true;
}
