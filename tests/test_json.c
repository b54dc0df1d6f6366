#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../proxy/json.h"

static const struct {
    const char *name, *text, *want;
} strings[] = {
    {"plain", "abc", "\"abc\""},
    {"quote and backslash", "a\"b\\c", "\"a\\\"b\\\\c\""},
    {"control", "a\x01\n\x7f", "\"a\\u0001\\n\\u007f\""},
    {"two, three, four bytes", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
     "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
    {"overlong", "\xc0\xafx", "\"\xef\xbf\xbd\xef\xbf\xbdx\""},
    {"surrogate", "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"cut", "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
};

static void puts_strings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        char got[64] = "";
        struct buf b = buf_on(got, sizeof got - 1);
        json_put_string(&b, bytes_str(strings[i].text));
        if (strcmp(got, strings[i].want) != 0)
            fail_msg("%s: got %s, wanted %s", strings[i].name, got, strings[i].want);
    }
}

static void puts_members(void **state)
{
    (void)state;
    char got[128] = "";
    struct buf b = buf_on(got, sizeof got - 1);
    buf_put_str(&b, "{");
    json_member(&b, "a", "x");
    json_member(&b, "b", NULL);
    json_member_u64(&b, "c", UINT64_MAX);
    json_member_bool(&b, "d", false);
    json_member_u64(&b, "e", 0);
    buf_put_str(&b, "}");
    assert_string_equal(got,
                        "{\"a\":\"x\",\"b\":null,\"c\":18446744073709551615,\"d\":false,\"e\":0}");
}

static const struct {
    const char *name, *text;
    bool ok;
} objects[] = {
    {"accept", "{\"a\":\"x\",\"b\":7}", true},
    {"accept with space", " { \"a\" : \"x\" , \"b\" : 7 } ", true},
    {"accept none", "{}", true},
    {"not an object", "[\"a\",\"x\"]", false},
    {"nothing", "", false},
    {"not closed", "{\"a\":\"x\",\"b\":7", false},
    {"string not closed", "{\"a\":\"x,\"b\":7}", false},
    {"duplicate", "{\"a\":\"x\",\"a\":7}", false},
    {"too many", "{\"a\":\"x\",\"b\":7,\"c\":8}", false},
    {"trailing comma", "{\"a\":\"x\",}", false},
    {"trailing bytes", "{\"a\":\"x\",\"b\":7}}", false},
    {"escape", "{\"a\":\"\\u0078\",\"b\":7}", false},
    {"nested", "{\"a\":{\"x\":1},\"b\":7}", false},
    {"negative", "{\"a\":\"x\",\"b\":-7}", false},
    {"fraction", "{\"a\":\"x\",\"b\":7.5}", false},
    {"leading zero", "{\"a\":\"x\",\"b\":07}", false},
    {"too large", "{\"a\":\"x\",\"b\":1234567890123456789}", false},
    {"no colon", "{\"a\" \"x\"}", false},
    {"literal", "{\"a\":true}", false},
};

static void reads_flat_objects(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        struct json_field f[2];
        size_t n = 9;
        bool ok = json_read_flat(bytes_str(objects[i].text), f, 2, &n);
        if (ok != objects[i].ok || (!ok && n != 9))
            fail_msg("%s: got %d", objects[i].name, ok);
        if (ok && n == 2) {
            assert_true(bytes_equal_str(f[0].key, "a") && bytes_equal_str(f[0].text, "x"));
            assert_true(bytes_equal_str(f[1].key, "b") && f[1].is_number && f[1].number == 7);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_strings),
        cmocka_unit_test(puts_members),
        cmocka_unit_test(reads_flat_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
