#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../proxy/log.h"

struct row {
    const char *name, *value, *want;
};

/* Each row is one value under the key `k`. */
static const struct row rows[] = {
    {"plain", "abc/1.2:3", "event=e k=abc/1.2:3\n"},
    {"space forges no key", "a b=c", "event=e k=\"a b=c\"\n"},
    {"equals sign", "a=b", "event=e k=\"a=b\"\n"},
    {"newline forges no line", "a\nevent=x", "event=e k=\"a\\nevent=x\"\n"},
    {"quote", "a\"b", "event=e k=\"a\\\"b\"\n"},
    {"backslash", "a\\b", "event=e k=\"a\\\\b\"\n"},
    {"escape sequence", "\x1b[2J", "event=e k=\"\\x1b[2J\"\n"},
    {"not ASCII", "\xc3\xa9", "event=e k=\"\\xc3\\xa9\"\n"},
    {"empty", "", "event=e k=\"\"\n"},
};

static void formats(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[LOG_LINE_MAX];
        const char *pairs[] = {"k", rows[i].value};
        size_t n = log_format(out, "e", pairs, 1);
        if (n != strlen(rows[i].want) || memcmp(out, rows[i].want, n) != 0)
            fail_msg("%s: got \"%.*s\", wanted \"%s\"", rows[i].name, (int)n, out, rows[i].want);
    }
}

static void long_lines_are_cut_between_pairs(void **state)
{
    (void)state;
    char value[LOG_VALUE_MAX * 2], out[LOG_LINE_MAX];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    const char *pairs[] = {"a", value, "b", value, "c", value, "d", value, "e", value};
    size_t n = log_format(out, "e", pairs, 5);
    assert_true(n <= LOG_LINE_MAX);
    assert_int_equal(out[n - 1], '\n');
    /* three whole values, each cut to LOG_VALUE_MAX */
    assert_int_equal(n, strlen("event=e") + 3 * (3 + LOG_VALUE_MAX) + 1);
}

static void slices(void **state)
{
    (void)state;
    assert_string_equal(LOG_B(BYTES_LIT("a\0b")), "a?b");
    assert_string_equal(LOG_B(BYTES_NONE), "");
    assert_string_equal(LOG_U(UINT64_MAX), "18446744073709551615");
}

static void limits(void **state)
{
    (void)state;
    struct log_limit l = {0};
    uint64_t held = 99;
    for (unsigned i = 0; i < LOG_BURST; i++) {
        assert_true(log_may(&l, 1000 + i, &held));
        assert_int_equal(held, 0);
    }
    assert_false(log_may(&l, 1100, &held));
    assert_false(log_may(&l, 1000 + LOG_INTERVAL_MS - 1, &held));
    assert_true(log_may(&l, 1000 + LOG_INTERVAL_MS, &held));
    assert_int_equal(held, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),
        cmocka_unit_test(long_lines_are_cut_between_pairs),
        cmocka_unit_test(slices),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
