#include "window.h"

#include "cursor.h"
#include "zone.h"

enum { FIELDS = 7, YEAR_FIRST = 2000, YEAR_LAST = 9999, DAY_S = 86400 };

static const struct {
    uint16_t first, last;
} fields[FIELDS] = {
    {0, 59}, {0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}, {YEAR_FIRST, YEAR_LAST},
};

static uint8_t peek(const struct cursor *c)
{
    return c->n ? c->p[0] : 0;
}

static bool take_if(struct cursor *c, char which)
{
    if (c->bad || peek(c) != (uint8_t)which)
        return false;
    (void)cursor_u8(c);
    return true;
}

/* At most four digits. */
static unsigned take_number(struct cursor *c)
{
    unsigned v = 0, digits = 0;
    while (peek(c) >= '0' && peek(c) <= '9' && digits < 4) {
        v = v * 10 + (unsigned)(cursor_u8(c) - '0');
        digits++;
    }
    if (digits == 0)
        c->bad = true;
    return v;
}

/* "*", "5", "1-5", and the first and last with "/2". */
static struct window_years take_element(struct cursor *c, int field)
{
    unsigned from = fields[field].first, to = fields[field].last, step = 1;
    bool many = take_if(c, '*');
    if (!many) {
        from = to = take_number(c);
        many = take_if(c, '-');
        if (many)
            to = take_number(c);
    }
    if (many && take_if(c, '/'))
        step = take_number(c);
    if (from < fields[field].first || to > fields[field].last || from > to || step == 0)
        c->bad = true;
    return (struct window_years){(uint16_t)from, (uint16_t)to, (uint16_t)step};
}

static uint64_t take_bits(struct cursor *c, int field)
{
    uint64_t bits = 0;
    do {
        struct window_years e = take_element(c, field);
        for (unsigned v = e.from; !c->bad && v <= e.to; v += e.step)
            bits |= UINT64_C(1) << v;
    } while (!c->bad && take_if(c, ','));
    return bits;
}

static void take_years(struct cursor *c, struct window *w)
{
    do {
        if (w->n_years == WINDOW_YEARS_MAX) {
            c->bad = true;
            return;
        }
        w->years[w->n_years++] = take_element(c, FIELDS - 1);
    } while (!c->bad && take_if(c, ','));
}

static void take_gap(struct cursor *c)
{
    if (!take_if(c, ' '))
        c->bad = true;
    while (take_if(c, ' '))
        ;
}

bool window_parse(struct bytes text, struct window *out)
{
    struct cursor c = cursor_on(text);
    *out = (struct window){0};
    if (text.n > WINDOW_TEXT_MAX)
        return false;
    out->seconds = take_bits(&c, 0);
    take_gap(&c);
    out->minutes = take_bits(&c, 1);
    take_gap(&c);
    out->hours = (uint32_t)take_bits(&c, 2);
    take_gap(&c);
    out->days = (uint32_t)take_bits(&c, 3);
    take_gap(&c);
    out->months = (uint32_t)take_bits(&c, 4);
    take_gap(&c);
    out->weekdays = (uint32_t)take_bits(&c, 5);
    take_gap(&c);
    take_years(&c, out);
    return cursor_done(&c);
}

static bool in_years(const struct window *w, int64_t year)
{
    for (size_t i = 0; i < w->n_years; i++)
        if (year >= w->years[i].from && year <= w->years[i].to &&
            (year - w->years[i].from) % w->years[i].step == 0)
            return true;
    return false;
}

bool window_holds(const struct window *w, int64_t now_s)
{
    if (now_s < 0) /* before the first year that a window can name */
        return false;
    int64_t day = now_s / DAY_S, year;
    unsigned second = (unsigned)(now_s % DAY_S), month, of_month;
    civil_from_days(day, &year, &month, &of_month);
    unsigned weekday = (unsigned)((day + 4) % 7); /* 1970-01-01 was a Thursday */
    return (w->seconds >> second % 60 & 1) && (w->minutes >> second / 60 % 60 & 1) &&
           (w->hours >> second / 3600 & 1) && (w->days >> of_month & 1) &&
           (w->months >> month & 1) && (w->weekdays >> weekday & 1) && in_years(w, year);
}
