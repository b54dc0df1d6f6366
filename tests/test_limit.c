/* Rates and formats as the policy file writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../policy/limit.h"

static const struct {
    const char *name, *text;
    uint32_t count, per_s; /* count 0: refused */
} rates[] = {
    {"a minute", "10/min", 10, 60},
    {"a second", "1/s", 1, 1},
    {"an hour", "5/h", 5, 3600},
    {"a day", "100/day", 100, 86400},
    {"the most", "1000000/s", 1000000, 1},
    {"more than the most", "1000001/s", 0, 0},
    {"far more", "99999999999999999999/s", 0, 0},
    {"nothing", "0/min", 0, 0},
    {"a leading zero", "010/min", 0, 0},
    {"a sign", "+10/min", 0, 0},
    {"less than nothing", "-10/min", 0, 0},
    {"no count", "/min", 0, 0},
    {"no unit", "10/", 0, 0},
    {"no slash", "10", 0, 0},
    {"a unit beside", "10/m", 0, 0},
    {"a capital", "10/Min", 0, 0},
    {"two slashes", "10//min", 0, 0},
    {"a space", "10 /min", 0, 0},
    {"a space behind", "10/min ", 0, 0},
    {"a fraction", "1.5/s", 0, 0},
    {"empty", "", 0, 0},
};

static void rates_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct policy_rate r = {0};
        const char *wrong = policy_rate_parse(bytes_str(rates[i].text), &r);
        if (!wrong != (rates[i].count > 0) || r.count != rates[i].count ||
            r.per_s != rates[i].per_s)
            fail_msg("%s: got %u in %u s, %s", rates[i].name, r.count, r.per_s,
                     wrong ? wrong : "read");
        char storage[32] = {0};
        struct buf b = buf_on(storage, sizeof storage - 1);
        if (!wrong) {
            policy_rate_put(&r, &b);
            assert_string_equal(storage, rates[i].text);
        }
    }
}

/* The same limit has the same name, and no other has. */
static void names_tell_limits_apart(void **state)
{
    (void)state;
    static const struct {
        const char *rate, *of, *name, *content;
    } each[] = {
        {"10/min", "rule", "guest", "/a"}, {"11/min", "rule", "guest", "/a"},
        {"10/h", "rule", "guest", "/a"},   {"10/min", "role", "guest", "/a"},
        {"10/min", "rule", "gues", "t/a"}, {"10/min", "rule", "guest", "/b"},
        {"10/min", "rule", "", "/a"},
    };
    enum { N = sizeof each / sizeof *each };
    uint64_t ids[2][N];
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < N; i++) {
            struct policy_rate r;
            assert_null(policy_rate_parse(bytes_str(each[i].rate), &r));
            policy_rate_name(&r, each[i].of, bytes_str(each[i].name), bytes_str(each[i].content));
            ids[turn][i] = r.id;
        }
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(ids[0][i], ids[1][i]);
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(ids[0][i], ids[0][k]);
    }
}

static const struct {
    const char *name, *text;
    int format; /* -1: refused */
} formats[] = {
    {"a number", "60", 60},
    {"the least", "0", 0},
    {"the largest", "65535", 65535},
    {"one more", "65536", -1},
    {"a leading zero", "060", -1},
    {"a number and more", "60x", -1},
    {"a name", "application/json", 50},
    {"a name in capitals", "Application/JSON", 50},
    {"less than a name", "application/jso", -1},
    {"more than a name", "application/jsonx", -1},
    {"a parameter", "text/plain;charset=utf-8", 0},
    {"a space before it", "text/plain; charset=utf-8", 0},
    {"two spaces", "text/plain;  charset=utf-8", -1},
    {"a space elsewhere", "text/ plain", -1},
    {"without its parameter", "text/plain", 0},
    {"another's parameter", "text/plain;charset=latin1", -1},
    {"a quoted one", "application/cose; cose-type=\"cose-sign1\"", 18},
    {"one of several, not said which", "application/cose", -1},
    {"empty", "", -1},
};

static void formats_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        uint16_t got = 0;
        const char *wrong = policy_format_parse(bytes_str(formats[i].text), &got);
        if (!wrong != (formats[i].format >= 0) || (!wrong && got != formats[i].format))
            fail_msg("%s: got %u, %s", formats[i].name, got, wrong ? wrong : "read");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rates_are_read),
                                       cmocka_unit_test(names_tell_limits_apart),
                                       cmocka_unit_test(formats_are_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
