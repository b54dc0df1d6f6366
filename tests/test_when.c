/* Conditions and time zones: what is read, what is refused, when it holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "../policy/when.h"

struct parse_row {
    const char *text;
    bool good;
};

static void check_rows(const struct parse_row *rows, size_t n,
                       const char *(*parse)(struct bytes, struct when *))
{
    for (size_t i = 0; i < n; i++) {
        struct when w = {0};
        const char *wrong = parse(bytes_str(rows[i].text), &w);
        if (!wrong != rows[i].good)
            fail_msg("'%s': got %s", rows[i].text, wrong ? wrong : "no complaint");
    }
}

#define CHECK_ROWS(rows, parse) check_rows(rows, sizeof(rows) / sizeof *(rows), parse)

static void hours(void **state)
{
    (void)state;
    static const struct parse_row rows[] = {
        {"07:00-23:00", true},
        {"7:00-23:00", false},
        {"07:00-23:0", false},
        {"07:00-23:000", false},
        {"07.00-23:00", false},
        {"07:00_23:00", false},
        {"07:00 23:00", false},
        {"07:60-23:00", false},
        {"07:59-23:00", true},
        {"23:00-07:00", true},
        {"00:00-24:00", true},
        {"00:00-24:01", false},
        {"00:00-25:00", false},
        {"24:00-07:00", false},
        {"07:00-07:00", false},
        {"07:00-07:01", true},
        {"-7:00-23:00", false},
        {"07:0x-23:00", false},
        {"", false},
        {"07:00", false},
    };
    CHECK_ROWS(rows, when_parse_hours);
    struct when w = {0};
    assert_null(when_parse_hours(BYTES_LIT("23:15-06:45"), &w));
    assert_int_equal(w.hours_from, 23 * 60 + 15);
    assert_int_equal(w.hours_to, 6 * 60 + 45);
}

static void days(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint8_t want; /* 0: refused */
    } rows[] = {
        {"mon", 0x01},     {"sun", 0x40},  {"mon-sun", 0x7f}, {"mon-fri", 0x1f},  {"fri-mon", 0x71},
        {"sat-sun", 0x60}, {"Mon", 0},     {"monday", 0},     {"mon-", 0},        {"mon-mon", 0},
        {"mon,tue", 0},    {"mon-fry", 0}, {"", 0},           {"mon-fri-sat", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct when w = {0};
        const char *wrong = when_parse_days(bytes_str(rows[i].text), &w);
        if (!wrong != !!rows[i].want || (!wrong && w.days != rows[i].want))
            fail_msg("'%s': got %02x %s", rows[i].text, w.days, wrong ? wrong : "");
    }
    struct when w = {0};
    assert_null(when_parse_days(BYTES_LIT("mon-wed"), &w));
    assert_null(when_parse_days(BYTES_LIT("sat"), &w));
    assert_non_null(when_parse_days(BYTES_LIT("tue"), &w));
    assert_int_equal(w.days, 0x27);
}

static void dates(void **state)
{
    (void)state;
    static const struct parse_row rows[] = {
        {"2026-06-01..2026-08-31", true},
        {"2026-06-01..2026-06-01", true},
        {"2026-06-01", true},
        {"2026-06-01..", true},
        {"..2026-08-31", true},
        {"..", false},
        {"", false},
        {"2026-06-01.2026-08-31", false},
        {"2026-06-01-2026-08-31", false},
        {"2026-06-01...2026-08-31", false},
        {"2026-06-02..2026-06-01", false},
        {"2026-06-31..2026-08-31", false},
        {"2026-13-01..2026-08-31", false},
        {"2026-00-01", false},
        {"2026-01-00", false},
        {"2028-02-29", true},
        {"2026-02-29", false},
        {"2100-02-29", false},
        {"2000-02-29", true},
        {"26-06-01", false},
        {"2026/06/01", false},
    };
    CHECK_ROWS(rows, when_parse_dates);
}

static void networks(void **state)
{
    (void)state;
    static const struct parse_row rows[] = {
        {"192.0.2.0/24", true},
        {"192.0.2.1/24", false},
        {"192.0.2.1", true},
        {"192.0.2.1/32", true},
        {"192.0.2.1/33", false},
        {"0.0.0.0/0", true},
        {"192.0.2.0/", false},
        {"192.0.2.0/024", false},
        {"192.0.2.0/2x", false},
        {"192.0.2/24", false},
        {"2001:db8::/32", true},
        {"2001:db8::1/32", false},
        {"2001:db8::1/128", true},
        {"2001:db8::1/129", false},
        {"::/0", true},
        {"::ffff:192.0.2.0/120", false},
        {"fe80::1%eth0", false},
        {"lan", false},
        {"", false},
        {"/24", false},
        {"192.0.2.0/24/1", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct when_net net;
        const char *wrong = when_parse_net(bytes_str(rows[i].text), &net);
        if (!wrong != rows[i].good)
            fail_msg("'%s': got %s", rows[i].text, wrong ? wrong : "no complaint");
    }
}

static void in_networks(void **state)
{
    (void)state;
    static const struct {
        const char *net;
        struct policy_peer peer;
        enum when_result want;
    } rows[] = {
        {"192.0.2.0/24", {4, {192, 0, 2, 255}}, WHEN_YES},
        {"192.0.2.0/24", {4, {192, 0, 3, 0}}, WHEN_NO},
        {"192.0.2.0/24", {0, {192, 0, 2, 255}}, WHEN_UNKNOWN},
        {"192.0.2.0/24", {5, {192, 0, 2, 255}}, WHEN_UNKNOWN},
        {"192.0.2.0/24", {6, {192, 0, 2, 255}}, WHEN_NO},
        {"192.0.2.0/24", {6, {[10] = 0xff, 0xff, 192, 0, 2, 1}}, WHEN_YES},
        {"192.0.2.128/25", {4, {192, 0, 2, 127}}, WHEN_NO},
        {"192.0.2.128/25", {4, {192, 0, 2, 128}}, WHEN_YES},
        {"0.0.0.0/0", {4, {1, 2, 3, 4}}, WHEN_YES},
        {"0.0.0.0/0", {6, {1, 2, 3, 4}}, WHEN_NO},
        {"::/0", {6, {1, 2, 3, 4}}, WHEN_YES},
        {"::/0", {6, {[10] = 0xff, 0xff, 192, 0, 2, 1}}, WHEN_NO}, /* it is IPv4 */
        {"2001:db8::1", {6, {0x20, 1, 0xd, 0xb8, [15] = 1}}, WHEN_YES},
        {"2001:db8::1", {6, {0x20, 1, 0xd, 0xb8, [15] = 2}}, WHEN_NO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct when_net net;
        const char *missing;
        assert_null(when_parse_net(bytes_str(rows[i].net), &net));
        struct when w = {.n_nets = 1, .nets = &net};
        struct when_moment m = {.peer = &rows[i].peer};
        enum when_result got = when_judge(&w, &m, &missing);
        if (got != rows[i].want || (got != WHEN_YES && strcmp(missing, "network") != 0))
            fail_msg("row %zu, %s: got %d", i, rows[i].net, got);
    }
}

/* ---- zones ---- */

static void posix_zones(void **state)
{
    (void)state;
    static const struct parse_row rows[] = {
        {"UTC0", true},
        {"UTC", false},
        {"UT0", false},
        {"<+0330>-3:30", true},
        {"<+0330-3:30", false},
        {"CET-1CEST,M3.5.0,M10.5.0/3", true},
        {"CET-1CEST", false}, /* libc's default rule is anyone's guess */
        {"CET-1CEST,M3.5.0", false},
        {"CET-1CEST,M13.5.0,M10.5.0/3", false},
        {"CET-1CEST,M0.5.0,M10.5.0/3", false},
        {"CET-1CEST,M3.6.0,M10.5.0/3", false},
        {"CET-1CEST,M3.5.7,M10.5.0/3", false},
        {"CET-1CEST,M3.5.0,M10.5.0/168", false},
        {"CET-1CEST,M3.5.0,M10.5.0/167", true},
        {"CET-1CEST,M3.5.0/-2,M10.5.0/-1", true},
        {"CET-1CEST,J1,J365", true},
        {"CET-1CEST,J0,J365", false},
        {"CET-1CEST,J1,J366", false},
        {"CET-1CEST,0,365", true},
        {"CET-1CEST,M3.5.0,M10.5.0/3 ", false},
        {"CET-25", false},
        {"CET-24:59:59", true},
        {"CET-1:60", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a = {0};
        if (!zone_from_posix(&a, bytes_str(rows[i].text)) == rows[i].good)
            fail_msg("'%s': %s", rows[i].text, rows[i].good ? "refused" : "taken");
        arena_clear(&a);
    }
}

static void names(void **state)
{
    (void)state;
    static const struct parse_row rows[] = {
        {"UTC", true},
        {"Europe/Berlin", true},
        {"Etc/GMT+5", true},
        {"Europe/Berlim", false},
        {"Europe", false}, /* a directory */
        {"Europe/../Europe/Berlin", false},
        {"/usr/share/zoneinfo/UTC", false},
        {"zone.tab", false},
        {"", false},
        {"Europe/Berlin\n", false},
        {"a-name-that-is-longer-than-the-limit-of-sixty-four-bytes-aaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a = {0};
        if (!zone_find(&a, rows[i].text) == rows[i].good)
            fail_msg("'%s': %s", rows[i].text, rows[i].good ? "not found" : "found");
        arena_clear(&a);
    }
}

static void offsets(void **state)
{
    (void)state;
    static const struct {
        const char *zone;
        int64_t utc_s;
        int32_t want;
    } rows[] = {
        /* 2026-03-29T01:00Z and 2026-10-25T01:00Z, EU rules */
        {"Europe/Berlin", 1774746000 - 1, 3600},
        {"Europe/Berlin", 1774746000, 7200},
        {"Europe/Berlin", 1792890000 - 1, 7200},
        {"Europe/Berlin", 1792890000, 3600},
        /* far past the file's own table: 2150-03-29T01:00Z */
        {"Europe/Berlin", 5687802000 - 1, 3600},
        {"Europe/Berlin", 5687802000, 7200},
        /* the southern summer is over New Year */
        {"Australia/Sydney", 1767225600, 39600},
        {"Australia/Sydney", 1783000000, 36000},
        /* half an hour; and a zone whose summer time is negative */
        {"Australia/Lord_Howe", 1767225600, 39600},
        {"Australia/Lord_Howe", 1783000000, 37800},
        {"Europe/Dublin", 1767225600, 0},
        {"Europe/Dublin", 1783000000, 3600},
        {"Asia/Kathmandu", 1767225600, 20700},
        {"America/St_Johns", 1767225600, -12600},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a = {0};
        const struct zone *z = zone_find(&a, rows[i].zone);
        int32_t got = -1;
        assert_non_null(z);
        if (!zone_offset(z, rows[i].utc_s, &got) || got != rows[i].want)
            fail_msg("%s at %lld: got %d", rows[i].zone, (long long)rows[i].utc_s, got);
        arena_clear(&a);
    }
    struct arena a = {0};
    const struct zone *z = zone_find(&a, "Europe/Berlin");
    int32_t offset;
    int64_t end = days_from_civil(ZONE_YEAR_MAX + 1, 1, 1) * 86400;
    assert_true(zone_offset(z, end - 1, &offset));
    assert_false(zone_offset(z, end, &offset));
    assert_false(zone_offset(z, INT64_MAX, &offset));
    assert_false(zone_offset(z, INT64_MIN, &offset));
    assert_false(zone_offset(z, -2177452801, &offset));
    assert_true(zone_offset(z, -2177452800, &offset));
    arena_clear(&a);
}

/* Every turn of many zones, and an hour about it, as libc tells it. */
static void as_libc(void **state)
{
    (void)state;
    static const char *const zones[] = {
        "Europe/Berlin",     "Europe/Dublin",     "America/New_York", "America/St_Johns",
        "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tehran",      "Asia/Kolkata",
        "Asia/Gaza",         "Australia/Sydney",  "Pacific/Apia",     "Pacific/Chatham",
        "Antarctica/Troll",  "America/Nuuk",      "Etc/GMT-14",       "Etc/GMT+5",
    };
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        struct arena a = {0};
        const struct zone *z = zone_find(&a, zones[i]);
        assert_non_null(z);
        setenv("TZ", zones[i], 1);
        tzset();
        for (int64_t t = -1000000000; t < 7200000000; t += 21600 * 7 + 900) {
            int32_t got;
            struct tm tm;
            time_t at = t;
            localtime_r(&at, &tm);
            if (!zone_offset(z, t, &got) || got != tm.tm_gmtoff)
                fail_msg("%s at %lld: got %d, libc has %ld", zones[i], (long long)t, got,
                         tm.tm_gmtoff);
        }
        arena_clear(&a);
    }
    unsetenv("TZ");
    tzset();
}

static void tz_of_the_process(void **state)
{
    (void)state;
    static const struct {
        const char *tz;
        bool good;
        int32_t want; /* on 1 January 2026 */
    } rows[] = {
        {"", true, 0},
        {":Europe/Berlin", true, 3600},
        {"Europe/Berlin", true, 3600},
        {"/usr/share/zoneinfo/Europe/Berlin", true, 3600},
        {"EST5", true, -18000},
        {"EST5EDT,M3.2.0,M11.1.0", true, -18000},
        {"Nowhere/At_All", false, 0},
        {"/nowhere", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a = {0};
        int32_t got = 0;
        setenv("TZ", rows[i].tz, 1);
        const struct zone *z = zone_local(&a);
        if (!z == rows[i].good || (z && (!zone_offset(z, 1767225600, &got) || got != rows[i].want)))
            fail_msg("TZ='%s': got %s %d", rows[i].tz, z ? "a zone" : "none", got);
        arena_clear(&a);
    }
    unsetenv("TZ");
}

/* A small sound TZif file, and what one change makes of it. */
static const uint8_t tzif[] = {
    'T', 'Z', 'i',  'f',  '2', 0,    0,   0,   0,    0,    0,   0,   0,   0,    0,
    0,   0,   0,    0,    0,   0,    0,   0,   0,    0,    0,   0,   0,   0,    0,
    0,   0,   0,    0,    0,   0,    0,   0,   0,    1,    0,   0,   0,   4, /* counts */
    0,   0,   0,    0,    0,   0,    'U', 'T', 'C',  0,                      /* first block */
    'T', 'Z', 'i',  'f',  '2', 0,    0,   0,   0,    0,    0,   0,   0,   0,    0,
    0,   0,   0,    0,    0,   0,    0,   0,   0,    0,    0,   0,   0,   0,    0,
    0,   0,   0,    0,    0,   2,    0,   0,   0,    2,    0,   0,   0,   8,    0,
    0,   0,   0,    0,    0,   0x10, 0,   0,   0,    0,    0,   0,   0,   0x20, 0, /* times */
    1,   0,                                                                        /* their types */
    0,   0,   0x0e, 0x10, 0,   0,    0,   0,   0x1c, 0x20, 1,   4,                 /* 3600; 7200 */
    'C', 'E', 'T',  0,    'C', 'S',  'T', 0,   '\n', 'C',  'E', 'T', '-', '1',  '\n'};

static void tzif_files(void **state)
{
    (void)state;
    enum { SECOND = 54, TIMES = SECOND + 44, TYPES = TIMES + 16, INFO = TYPES + 2 };
    static const struct {
        const char *name;
        size_t at;
        uint8_t to;
        bool good;
    } rows[] = {
        {"as it is", 0, 'T', true},
        {"no magic", 0, 'X', false},
        {"no second magic", SECOND, 'X', false},
        {"leap seconds", SECOND + 31, 1, false},
        {"more times than there are", SECOND + 35, 3, false},
        {"a count beyond all", SECOND + 32, 0xff, false},
        {"no types", SECOND + 39, 0, false},
        {"times that fall", TIMES + 6, 0x30, false},
        {"a type that is none", TYPES, 2, false},
        {"an offset beyond the day", INFO + 1, 0x7f, false},
        {"a footer that is none", sizeof tzif - 6, '\t', false},
        {"a footer of no sense", sizeof tzif - 2, 'x', false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a = {0};
        uint8_t file[sizeof tzif];
        memcpy(file, tzif, sizeof tzif);
        file[rows[i].at] = rows[i].to;
        const struct zone *z = zone_from_tzif(&a, bytes_of(file, sizeof file));
        if (!z == rows[i].good)
            fail_msg("%s: %s", rows[i].name, z ? "taken" : "refused");
        arena_clear(&a);
    }
    for (size_t n = 0; n < sizeof tzif; n++) { /* cut short anywhere */
        struct arena a = {0};
        uint8_t *file = malloc(n ? n : 1);
        assert_non_null(file);
        memcpy(file, tzif, n);
        assert_null(zone_from_tzif(&a, bytes_of(file, n)));
        free(file);
        arena_clear(&a);
    }
    struct arena a = {0};
    const struct zone *z = zone_from_tzif(&a, bytes_of(tzif, sizeof tzif));
    int32_t offset;
    assert_true(zone_offset(z, 0xfff, &offset) && offset == 3600);
    assert_true(zone_offset(z, 0x1000, &offset) && offset == 7200);
    assert_true(zone_offset(z, 0x2000, &offset) && offset == 3600);
    arena_clear(&a);
}

static void calendar(void **state)
{
    (void)state;
    for (int64_t day = -800000; day < 800000; day += 13) {
        int64_t y;
        unsigned m, d;
        civil_from_days(day, &y, &m, &d);
        assert_true(civil_is_valid(y, m, d));
        assert_int_equal(days_from_civil(y, m, d), day);
    }
    assert_int_equal(days_from_civil(1970, 1, 1), 0);
    assert_int_equal(days_from_civil(2000, 3, 1), 11017);
}

/* Hours on the nights when the clock is changed. */
static void hours_at_the_turn(void **state)
{
    (void)state;
    struct arena a = {0};
    struct when w = {.zone = zone_find(&a, "Europe/Berlin")};
    assert_non_null(w.zone);
    assert_null(when_parse_hours(BYTES_LIT("02:00-03:00"), &w));
    static const struct {
        const char *name;
        int64_t utc_s;
        bool want;
    } rows[] = {
        {"01:59 in March", 1774746000 - 60, false},
        {"03:00 follows, 02:xx is left out", 1774746000, false},
        {"01:59 in October", 1792890000 - 3660, false},
        {"02:00 the first time", 1792890000 - 3600, true},
        {"02:59 the first time", 1792890000 - 1, true},
        {"02:00 once more", 1792890000, true},
        {"03:00", 1792890000 + 3600, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct when_moment m = {.now_s = rows[i].utc_s};
        const char *missing;
        if ((when_judge(&w, &m, &missing) == WHEN_YES) != rows[i].want)
            fail_msg("%s: got %s", rows[i].name, rows[i].want ? "no" : "yes");
    }
    arena_clear(&a);
}

/* All must hold, the first that does not is named, and what cannot be told
 * is neither yes nor no. */
static void together(void **state)
{
    (void)state;
    struct arena a = {0};
    struct when_net net;
    assert_null(when_parse_net(BYTES_LIT("192.0.2.0/24"), &net));
    struct when w = {
        .zone = zone_find(&a, "UTC"), .n_nets = 1, .nets = &net, .strength = POLICY_STRENGTH_PSK};
    assert_null(when_parse_hours(BYTES_LIT("22:00-06:00"), &w));
    assert_null(when_parse_days(BYTES_LIT("fri"), &w));
    assert_null(when_parse_dates(BYTES_LIT("2026-01-01..2026-01-31"), &w));
    enum { FRIDAY = 1767312000 }; /* 2 January 2026, 00:00 */
    static const struct {
        const char *name;
        int64_t now_s;
        uint8_t net3, family;
        enum policy_strength strength;
        enum when_result want;
        const char *missing;
    } rows[] = {
        {"all", FRIDAY, 2, 4, POLICY_STRENGTH_PSK, WHEN_YES, NULL},
        {"stronger", FRIDAY, 2, 4, POLICY_STRENGTH_CERTIFICATE, WHEN_YES, NULL},
        {"weaker", FRIDAY, 2, 4, POLICY_STRENGTH_BEARER, WHEN_NO, "association"},
        {"elsewhere", FRIDAY, 3, 4, POLICY_STRENGTH_PSK, WHEN_NO, "network"},
        {"who knows where", FRIDAY, 2, 0, POLICY_STRENGTH_PSK, WHEN_UNKNOWN, "network"},
        {"who knows where, and weaker", FRIDAY, 2, 0, POLICY_STRENGTH_BEARER, WHEN_NO, "network"},
        {"in the day", FRIDAY + 21600, 2, 4, POLICY_STRENGTH_PSK, WHEN_NO, "hours"},
        {"late in the evening", FRIDAY + 79200, 2, 4, POLICY_STRENGTH_PSK, WHEN_YES, NULL},
        {"the day is that of the request", FRIDAY + 86400, 2, 4, POLICY_STRENGTH_PSK, WHEN_NO,
         "days"},
        {"a second before it", FRIDAY - 1, 2, 4, POLICY_STRENGTH_PSK, WHEN_NO, "days"},
        {"another month", FRIDAY + 35 * 86400, 2, 4, POLICY_STRENGTH_PSK, WHEN_NO, "dates"},
        {"the last Friday", FRIDAY + 28 * 86400, 2, 4, POLICY_STRENGTH_PSK, WHEN_YES, NULL},
        {"no table", INT64_MAX, 2, 4, POLICY_STRENGTH_PSK, WHEN_UNKNOWN, "hours"},
        {"no table, elsewhere", INT64_MAX, 3, 4, POLICY_STRENGTH_PSK, WHEN_NO, "hours"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct policy_peer peer = {rows[i].family, {192, 0, rows[i].net3, 1}};
        struct when_moment m = {
            .now_s = rows[i].now_s, .peer = &peer, .strength = rows[i].strength};
        const char *missing;
        enum when_result got = when_judge(&w, &m, &missing);
        if (got != rows[i].want || !missing != !rows[i].missing ||
            (missing && strcmp(missing, rows[i].missing) != 0))
            fail_msg("%s: got %d %s", rows[i].name, got, missing ? missing : "-");
    }
    arena_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hours),
        cmocka_unit_test(days),
        cmocka_unit_test(dates),
        cmocka_unit_test(networks),
        cmocka_unit_test(in_networks),
        cmocka_unit_test(posix_zones),
        cmocka_unit_test(names),
        cmocka_unit_test(offsets),
        cmocka_unit_test(as_libc),
        cmocka_unit_test(tz_of_the_process),
        cmocka_unit_test(tzif_files),
        cmocka_unit_test(calendar),
        cmocka_unit_test(hours_at_the_turn),
        cmocka_unit_test(together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
