/* oneM2M's time windows: what is read, what is refused, when one holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../policy/window.h"

static void texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"* 0-5 2,6,10 * * * *", true},
        {"* 0-5 2,6,10 * * *", false}, /* six fields */
        {"* 0-5 2,6,10 * * * * *", false},
        {"* 0-5 2,6,10 * * * * ", false},
        {" * 0-5 2,6,10 * * * *", false},
        {"*  0-5 2,6,10 * * * *", true},
        {"*\t0-5 2,6,10 * * * *", false},
        {"* 5-0 2,6,10 * * * *", false},
        {"* 0-5 2,,10 * * * *", false},
        {"* 0-5 2,6, * * * *", false},
        {"* 0-60 2,6,10 * * * *", false},
        {"* 0-59 2,6,10 * * * *", true},
        {"* -5 2,6,10 * * * *", false},
        {"* 0- 2,6,10 * * * *", false},
        {"60 * * * * * *", false},
        {"59 * * * * * *", true},
        {"* * 23 * * * *", true},
        {"* * 24 * * * *", false},
        {"* * * 1 * * *", true},
        {"* * * 0 * * *", false},
        {"* * * 31 * * *", true},
        {"* * * 32 * * *", false},
        {"* * * * 12 * *", true},
        {"* * * * 13 * *", false},
        {"* * * * 0 * *", false},
        {"* * * * * 0 *", true},
        {"* * * * * 6 *", true},
        {"* * * * * 7 *", false},
        {"* * * * * * 2000", true},
        {"* * * * * * 1999", false},
        {"* * * * * * 9999", true},
        {"* * * * * * 10000", false},
        {"* * * * * */2 *", true},
        {"* * * * * */0 *", false},
        {"* * * * * */ *", false},
        {"* * * * * 1/2 *", false}, /* a step wants a range */
        {"* * * * * 1-5/2 *", true},
        {"* * * * * 1-5/2/2 *", false},
        {"* * * * * mon *", false},
        {"* * * * * * 2001,2002,2003,2004,2005,2006,2007,2008", true},
        {"* * * * * * 2001,2002,2003,2004,2005,2006,2007,2008,2009", false},
        {"* * 00000000000000000000000000000000000000000001 * * * *", false},
        {"**", false},
        {"* * * * ** * *", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct window w;
        if (window_parse(bytes_str(rows[i].text), &w) != rows[i].good)
            fail_msg("'%s': expected %s", rows[i].text, rows[i].good ? "good" : "refused");
    }
}

static void a_long_text(void **state)
{
    (void)state;
    char text[WINDOW_TEXT_MAX + 2];
    struct buf b = buf_on(text, sizeof text);
    buf_put_str(&b, "*");
    while (b.n < WINDOW_TEXT_MAX - 12)
        buf_put_u8(&b, ' ');
    buf_put_str(&b, "* * * * * * ");
    text[b.n - 1] = ' ';
    struct window w;
    struct bytes whole = bytes_of(text, b.n);
    whole.n--; /* without the blank at its end */
    assert_int_equal(whole.n, WINDOW_TEXT_MAX - 1);
    assert_true(window_parse(whole, &w));
    memmove(text + 3, text + 1, whole.n - 1);
    text[1] = text[2] = ' ';
    whole.n += 2;
    assert_false(window_parse(whole, &w));
}

static void moments(void **state)
{
    (void)state;
    enum {
        SUNDAY = 1795305600, /* 2026-11-22 00:00:00 UTC */
        HOUR = 3600,
        DAY = 86400,
    };
    static const struct {
        const char *text;
        int64_t at;
        bool holds;
    } rows[] = {
        {"* * * * * * *", SUNDAY, true},
        {"* 0-5 2,6,10 * * * *", SUNDAY + 2 * HOUR, true},
        {"* 0-5 2,6,10 * * * *", SUNDAY + 2 * HOUR - 1, false},
        {"* 0-5 2,6,10 * * * *", SUNDAY + 2 * HOUR + 359, true},
        {"* 0-5 2,6,10 * * * *", SUNDAY + 2 * HOUR + 360, false},
        {"* 0-5 2,6,10 * * * *", SUNDAY + 3 * HOUR, false},
        {"* * 8-20 * * * *", SUNDAY + 21 * HOUR - 1, true},
        {"* * 8-20 * * * *", SUNDAY + 21 * HOUR, false},
        {"* * 0-23/2 * * * *", SUNDAY + 4 * HOUR, true},
        {"* * 0-23/2 * * * *", SUNDAY + 5 * HOUR, false},
        {"* * 1-23/2 * * * *", SUNDAY + 5 * HOUR, true},
        {"* * * * * */2 *", SUNDAY, true},
        {"* * * * * */2 *", SUNDAY + DAY, false},
        {"* * * * * */2 *", SUNDAY + 6 * DAY, true},
        {"* * * * * 0 *", SUNDAY + DAY - 1, true},
        {"* * * * * 0 *", SUNDAY + DAY, false},
        {"* * * * * 0 *", SUNDAY - 1, false},
        {"30 * * * * * *", SUNDAY + 30, true},
        {"30 * * * * * *", SUNDAY + 31, false},
        {"* * * 22 * * *", SUNDAY, true},
        {"* * * 23 * * *", SUNDAY, false},
        /* both days are asked for, not one of them */
        {"* * * 22 * 1 *", SUNDAY, false},
        {"* * * 23 * 0 *", SUNDAY, false},
        {"* * * 22 * 0 *", SUNDAY, true},
        {"* * * * 11 * *", SUNDAY, true},
        {"* * * * 1-10,12 * *", SUNDAY, false},
        {"* * * * * * 2026", SUNDAY, true},
        {"* * * * * * 2025,2027", SUNDAY, false},
        {"* * * * * * 2020-2030/3", SUNDAY, true},
        {"* * * * * * 2020-2030/4", SUNDAY, false},
        {"* * * * * * */2", SUNDAY, true},
        {"* * * 29 2 * *", 1709164800, true}, /* 2024-02-29 */
        {"* * * * * * *", 946684800, true},
        {"* * * * * * *", 946684799, false}, /* 1999 */
        {"* * * * * * *", -1, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct window w;
        assert_true(window_parse(bytes_str(rows[i].text), &w));
        if (window_holds(&w, rows[i].at) != rows[i].holds)
            fail_msg("'%s' at %lld", rows[i].text, (long long)rows[i].at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(a_long_text),
        cmocka_unit_test(moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
