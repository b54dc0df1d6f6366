/* pep/base64url: RFC 4648 10, and the one text of each value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "../pep/base64url.h"

static const struct {
    const char *text, *bytes; /* NULL: refused */
} rows[] = {
    {"", ""},           {"Zg", "f"},          {"Zm8", "fo"},          {"Zm9v", "foo"},
    {"Zm9vYg", "foob"}, {"Zm9vYmE", "fooba"}, {"Zm9vYmFy", "foobar"}, {"-_-_", "\xfb\xff\xbf"},
    {"+/+/", NULL},     {"Zg==", NULL},       {"Zh", NULL},           {"Zm9", NULL},
    {"Zm9vY", NULL},    {"Z", NULL},          {"Zm 9", NULL},         {"Zm9v\n", NULL},
    {"Zm9v ", NULL},    {" Zm9v", NULL},      {"Zm.v", NULL},         {"Zm9v\xc3\xa4", NULL},
    {"=", NULL},        {"@[`{", NULL},       {"/:,^", NULL},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t room[16], text[16];
        struct buf b = buf_on(room, sizeof room), t = buf_on(text, sizeof text);
        bool ok = base64url_read(bytes_str(rows[i].text), &b);
        assert_int_equal(ok, base64url_is(bytes_str(rows[i].text)));
        if (ok != (rows[i].bytes != NULL))
            fail_msg("'%s': %s", rows[i].text, ok ? "read" : "refused");
        if (!ok) {
            assert_int_equal(b.n, 0);
            continue;
        }
        assert_true(bytes_equal_str(buf_bytes(&b), rows[i].bytes));
        base64url_put(&t, buf_bytes(&b));
        assert_true(bytes_equal_str(buf_bytes(&t), rows[i].text));
        assert_int_equal(base64url_size(t.n), b.n);
    }
}

/* Every byte as a digit: 64 are, and each comes back as itself. */
static void test_alphabet(void **state)
{
    (void)state;
    size_t digits = 0;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t text[4] = {'A', 'A', 'A', (uint8_t)c}, room[3], again[4];
        struct buf b = buf_on(room, sizeof room), t = buf_on(again, sizeof again);
        bool ok = base64url_read(bytes_of(text, 4), &b);
        assert_int_equal(ok, base64url_is_digit((uint8_t)c));
        if (!ok)
            continue;
        digits++;
        base64url_put(&t, buf_bytes(&b));
        assert_memory_equal(again, text, 4);
    }
    assert_int_equal(digits, 64);
}

static void test_room(void **state)
{
    (void)state;
    uint8_t room[8] = "Zm9vYmFy";
    struct buf small = buf_on(room, 5), same = buf_on(room, 8);
    uint8_t text[9] = "Zm9vYmFy";
    assert_false(base64url_read(bytes_of(text, 8), &small));
    assert_int_equal(small.n, 0);
    assert_true(base64url_read(bytes_of(room, 8), &same)); /* in place */
    assert_true(bytes_equal_str(buf_bytes(&same), "foobar"));
    struct buf full = buf_on(text, 3);
    base64url_put(&full, BYTES_LIT("foo"));
    assert_true(full.full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_alphabet),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
