#include "zone.h"

#include "cursor.h"

#include <stdio.h>
#include <stdlib.h>

#define ZONEINFO  "/usr/share/zoneinfo/"
#define LOCALTIME "/etc/localtime"

/* 1901-01-01: nothing is known before it. Tables begin where they like. */
#define BEGIN_S INT64_C(-2177452800)

enum { OFFSET_MAX_S = 26 * 3600 }; /* RFC 9636 3.2: -25:59:59 to +25:59:59 */

struct turn {
    int64_t from_s; /* UTC */
    int32_t offset_s;
};

struct zone {
    struct turn *turns; /* sorted; the first is from the beginning */
    size_t n;
    int64_t end_s; /* nothing is known from here on; BEGIN_S for before */
};

/* ---- calendar ---- */

int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
    /* Years begin in March, so that the leap day is their last. */
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * ((int64_t)m + (m > 2 ? -3 : 9)) + 2) / 5 + (int64_t)d - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    *month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    *year = yoe + era * 400 + (*month <= 2);
}

static bool is_leap(int64_t y)
{
    return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}

bool civil_is_valid(int64_t y, unsigned m, unsigned d)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] + (unsigned)(m == 2 && is_leap(y));
}

/* ---- POSIX TZ strings ---- */

static uint8_t peek(const struct cursor *c)
{
    return c->bad || c->n == 0 ? 0 : c->p[0];
}

static bool skip_if(struct cursor *c, uint8_t want)
{
    if (peek(c) != want)
        return false;
    cursor_take(c, 1);
    return true;
}

static int64_t number(struct cursor *c, int64_t max)
{
    int64_t v = 0;
    size_t digits = 0;
    for (; peek(c) >= '0' && peek(c) <= '9' && digits < 4; digits++)
        v = v * 10 + cursor_u8(c) - '0';
    if (digits == 0 || v > max)
        c->bad = true;
    return v;
}

static bool is_letter(uint8_t b)
{
    return (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z');
}

/* At least three letters, or anything of letters, digits and signs in <>. */
static void abbreviation(struct cursor *c)
{
    size_t n = 0;
    if (skip_if(c, '<')) {
        for (; is_letter(peek(c)) || (peek(c) >= '0' && peek(c) <= '9') || peek(c) == '+' ||
               peek(c) == '-';
             n++)
            cursor_take(c, 1);
        if (!skip_if(c, '>'))
            c->bad = true;
    } else {
        for (; is_letter(peek(c)); n++)
            cursor_take(c, 1);
    }
    if (n < 3)
        c->bad = true;
}

/* [+-]hh[:mm[:ss]] in seconds. */
static int64_t clock_time(struct cursor *c, int64_t max_hours)
{
    int64_t sign = 1;
    if (skip_if(c, '-'))
        sign = -1;
    else
        skip_if(c, '+');
    int64_t s = number(c, max_hours) * 3600;
    if (skip_if(c, ':')) {
        s += number(c, 59) * 60;
        if (skip_if(c, ':'))
            s += number(c, 59);
    }
    return sign * s;
}

struct rule {
    enum { JULIAN, ZERO_BASED, MONTH_WEEK_DAY } kind;
    int64_t a, b, d; /* day; or month, week, weekday */
    int64_t at_s;    /* local time of the day */
};

static void day_rule(struct cursor *c, struct rule *r)
{
    *r = (struct rule){.kind = ZERO_BASED, .at_s = 7200};
    if (skip_if(c, 'J')) {
        r->kind = JULIAN;
        r->a = number(c, 365);
        c->bad = c->bad || r->a < 1;
    } else if (skip_if(c, 'M')) {
        r->kind = MONTH_WEEK_DAY;
        r->a = number(c, 12);
        c->bad = c->bad || !skip_if(c, '.');
        r->b = number(c, 5);
        c->bad = c->bad || !skip_if(c, '.');
        r->d = number(c, 6);
        c->bad = c->bad || r->a < 1 || r->b < 1;
    } else {
        r->a = number(c, 365);
    }
    if (skip_if(c, '/'))
        r->at_s = clock_time(c, 167); /* RFC 9636 3.3.2 */
}

/* The day of the rule in this year, in days since 1970. */
static int64_t rule_day(const struct rule *r, int64_t year)
{
    int64_t first = days_from_civil(year, 1, 1);
    if (r->kind == JULIAN) /* 29 February is never counted */
        return first + r->a - 1 + (is_leap(year) && r->a >= 60);
    if (r->kind == ZERO_BASED)
        return first + r->a;
    int64_t month = days_from_civil(year, (unsigned)r->a, 1);
    int64_t weekday = ((month + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
    int64_t day = month + (r->d - weekday + 7) % 7 + (r->b - 1) * 7;
    while (!civil_is_valid(year, (unsigned)r->a, (unsigned)(day - month + 1)))
        day -= 7; /* week 5 is the last */
    return day;
}

struct posix {
    int32_t std_s, dst_s;
    bool has_dst;
    struct rule start, end;
};

static bool parse_posix(struct bytes text, struct posix *out)
{
    struct cursor c = cursor_on(text);
    *out = (struct posix){0};
    abbreviation(&c);
    out->std_s = (int32_t)-clock_time(&c, 24);
    if (!c.bad && c.n) {
        out->has_dst = true;
        abbreviation(&c);
        out->dst_s = peek(&c) == ',' ? out->std_s + 3600 : (int32_t)-clock_time(&c, 24);
        c.bad = c.bad || !skip_if(&c, ',');
        day_rule(&c, &out->start);
        c.bad = c.bad || !skip_if(&c, ',');
        day_rule(&c, &out->end);
    }
    return cursor_done(&c);
}

static int by_time(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    return x->from_s < y->from_s ? -1 : x->from_s > y->from_s;
}

/* ---- tables ---- */

static int64_t end_of_table(void)
{
    return days_from_civil(ZONE_YEAR_MAX + 1, 1, 1) * 86400;
}

/* Appends the turns of a POSIX rule that come after `since_s`. */
static void write_out(struct zone *z, const struct posix *p, int64_t since_s)
{
    size_t first = z->n;
    if (!p->has_dst)
        return;
    int64_t year;
    unsigned month, day;
    civil_from_days(since_s / 86400, &year, &month, &day);
    for (int64_t y = year - 1; y <= ZONE_YEAR_MAX; y++) {
        struct turn on = {rule_day(&p->start, y) * 86400 + p->start.at_s - p->std_s, p->dst_s};
        struct turn off = {rule_day(&p->end, y) * 86400 + p->end.at_s - p->dst_s, p->std_s};
        if (on.from_s > since_s)
            z->turns[z->n++] = on;
        if (off.from_s > since_s)
            z->turns[z->n++] = off;
    }
    qsort(z->turns + first, z->n - first, sizeof *z->turns, by_time);
}

enum {
    YEARS_MAX = ZONE_YEAR_MAX - 1900 + 2,
    TURNS_MAX = 8192, /* the busiest zone has a few hundred */
};

const struct zone *zone_from_posix(struct arena *a, struct bytes text)
{
    struct posix p;
    if (!parse_posix(text, &p))
        return NULL;
    struct zone *z = arena_alloc(a, sizeof *z);
    if (!z || !(z->turns = arena_array(a, 1 + 2 * YEARS_MAX, sizeof *z->turns)))
        return NULL;
    z->turns[z->n++] = (struct turn){INT64_MIN, p.std_s};
    write_out(z, &p, BEGIN_S);
    z->end_s = end_of_table();
    return z;
}

struct tzif {
    uint8_t version;
    size_t isut, isstd, leaps, times, types, chars;
};

static bool tzif_header(struct cursor *c, struct tzif *h)
{
    bool magic = bytes_equal_str(cursor_take(c, 4), "TZif");
    h->version = cursor_u8(c);
    cursor_take(c, 15);
    size_t *const counts[] = {&h->isut, &h->isstd, &h->leaps, &h->times, &h->types, &h->chars};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        *counts[i] = (size_t)cursor_be(c, 4);
        if (*counts[i] > TURNS_MAX)
            c->bad = true;
    }
    return magic && cursor_ok(c);
}

static void tzif_skip(struct cursor *c, const struct tzif *h, size_t width)
{
    cursor_take(c, h->times * (width + 1) + h->types * 6 + h->chars + h->leaps * (width + 4) +
                       h->isstd + h->isut);
}

/* One data block (RFC 9636 3.2) into z->turns. */
static bool tzif_block(struct cursor *c, const struct tzif *h, size_t width, struct zone *z)
{
    struct cursor times = cursor_on(cursor_take(c, h->times * width));
    struct bytes kinds = cursor_take(c, h->times);
    struct bytes types = cursor_take(c, h->types * 6);
    cursor_take(c, h->chars + h->leaps * (width + 4) + h->isstd + h->isut);
    /* With leap seconds ("right/" zones) the file's clock is not UTC. */
    if (!cursor_ok(c) || h->types == 0 || h->leaps)
        return false;
    for (size_t i = 0; i <= h->times; i++) {
        struct turn t = {INT64_MIN, 0};
        size_t kind = 0; /* type 0 is for times before the first turn */
        if (i > 0) {
            uint64_t raw = cursor_be(&times, width);
            t.from_s = width == 8 ? (int64_t)raw : (int32_t)(uint32_t)raw;
            kind = kinds.p[i - 1];
        }
        if (kind >= h->types || (i > 1 && t.from_s <= z->turns[z->n - 1].from_s))
            return false;
        struct cursor type = cursor_on(bytes_of(types.p + kind * 6, 4));
        t.offset_s = (int32_t)(uint32_t)cursor_be(&type, 4);
        if (t.offset_s <= -OFFSET_MAX_S || t.offset_s >= OFFSET_MAX_S)
            return false;
        z->turns[z->n++] = t;
    }
    return true;
}

const struct zone *zone_from_tzif(struct arena *a, struct bytes file)
{
    struct cursor c = cursor_on(file);
    struct tzif h;
    struct posix p = {0};
    bool has_footer = false;
    size_t width = 4;
    if (!tzif_header(&c, &h))
        return NULL;
    if (h.version >= '2') { /* the first block is for readers of 32 bits */
        tzif_skip(&c, &h, 4);
        width = 8;
        if (!tzif_header(&c, &h))
            return NULL;
    }
    struct zone *z = arena_alloc(a, sizeof *z);
    if (!z || !(z->turns = arena_array(a, 1 + h.times + 2 * YEARS_MAX, sizeof *z->turns)))
        return NULL;
    if (!tzif_block(&c, &h, width, z))
        return NULL;
    if (width == 8) {
        const uint8_t *end = c.n > 1 ? memchr(c.p + 1, '\n', c.n - 1) : NULL;
        if (!end || c.p[0] != '\n')
            return NULL;
        struct bytes footer = bytes_of(c.p + 1, (size_t)(end - c.p) - 1);
        has_footer = footer.n > 0;
        if (has_footer && !parse_posix(footer, &p))
            return NULL;
    }
    z->end_s = end_of_table();
    int64_t since = z->turns[z->n - 1].from_s;
    if (since >= z->end_s)
        return NULL;
    if (has_footer)
        write_out(z, &p, since > BEGIN_S ? since : BEGIN_S);
    return z;
}

static const struct zone *from_file(struct arena *a, const char *path)
{
    uint8_t *content = malloc(ZONE_FILE_MAX);
    FILE *f = fopen(path, "rbe");
    const struct zone *z = NULL;
    if (f && content) {
        size_t n = fread(content, 1, ZONE_FILE_MAX, f);
        if (n < ZONE_FILE_MAX && !ferror(f))
            z = zone_from_tzif(a, bytes_of(content, n));
    }
    if (f)
        fclose(f);
    free(content);
    return z;
}

static bool name_is_sound(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > ZONE_NAME_MAX || name[0] == '/' || strstr(name, ".."))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!is_letter((uint8_t)name[i]) && !(name[i] >= '0' && name[i] <= '9') &&
            !strchr("/_+-", name[i]))
            return false;
    return true;
}

const struct zone *zone_find(struct arena *a, const char *name)
{
    char path[sizeof ZONEINFO + ZONE_NAME_MAX];
    if (strcmp(name, "UTC") == 0)
        return zone_from_posix(a, BYTES_LIT("UTC0"));
    if (!name_is_sound(name))
        return NULL;
    snprintf(path, sizeof path, ZONEINFO "%s", name);
    return from_file(a, path);
}

const struct zone *zone_local(struct arena *a)
{
    const char *tz = getenv("TZ");
    if (tz) {
        tz += tz[0] == ':';
        if (tz[0] == 0)
            return zone_find(a, "UTC");
        if (tz[0] == '/')
            return from_file(a, tz);
        const struct zone *z = zone_find(a, tz);
        return z ? z : zone_from_posix(a, bytes_str(tz));
    }
    FILE *f = fopen(LOCALTIME, "rbe");
    if (!f)
        return zone_find(a, "UTC");
    fclose(f);
    return from_file(a, LOCALTIME);
}

bool zone_offset(const struct zone *z, int64_t utc_s, int32_t *offset_s)
{
    if (utc_s < BEGIN_S || utc_s >= z->end_s)
        return false;
    size_t lo = 0, hi = z->n;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (z->turns[mid].from_s <= utc_s)
            lo = mid;
        else
            hi = mid;
    }
    *offset_s = z->turns[lo].offset_s;
    return true;
}
