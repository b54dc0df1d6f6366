/* pep/cbor: what is one strict item, and what is not. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "../pep/cbor.h"
#include "support_hex.h"

struct row {
    const char *name, *hex;
    enum cbor_err want;
};

static const struct row rows[] = {
    {"an integer", "01", CBOR_OK},
    {"an integer with a byte behind it", "0100", CBOR_BAD},
    {"nothing", "", CBOR_BAD},
    {"the largest integer", "1bffffffffffffffff", CBOR_OK},
    {"the smallest integer", "3bffffffffffffffff", CBOR_OK},
    {"an integer cut", "1bffffffffffffff", CBOR_BAD},
    {"reserved additional information", "1c", CBOR_BAD},
    {"a long form", "1801", CBOR_OK},
    {"bytes", "43010203", CBOR_OK},
    {"bytes cut", "430102", CBOR_BAD},
    {"bytes of 2^64-1", "5bffffffffffffffff", CBOR_BAD},
    {"bytes of 2^63-1", "5b7fffffffffffffff00", CBOR_BAD},
    {"bytes of indefinite length", "5f4101ff", CBOR_BAD},
    {"text", "6161", CBOR_OK},
    {"text of indefinite length", "7f6161ff", CBOR_BAD},
    {"text, two bytes", "62c3bc", CBOR_OK},
    {"text, overlong", "62c081", CBOR_BAD},
    {"text, cut character", "61c3", CBOR_BAD},
    {"text, three bytes", "63e6b0b4", CBOR_OK},
    {"text, overlong three", "63e08081", CBOR_BAD},
    {"text, surrogate", "63eda080", CBOR_BAD},
    {"text, before the surrogates", "63ed9fbf", CBOR_OK},
    {"text, four bytes", "64f0908591", CBOR_OK},
    {"text, overlong four", "64f0808591", CBOR_BAD},
    {"text, U+10FFFF", "64f48fbfbf", CBOR_OK},
    {"text, U+110000", "64f4908080", CBOR_BAD},
    {"text, bare continuation", "6180", CBOR_BAD},
    {"text, ff", "61ff", CBOR_BAD},
    {"text with NUL", "6100", CBOR_OK},
    {"an array", "83010203", CBOR_OK},
    {"an array with one missing", "830102", CBOR_BAD},
    {"an array of 2^64-1", "9bffffffffffffffff01", CBOR_BAD},
    {"an array of 2^32-1", "9affffffff", CBOR_BAD},
    {"an array of indefinite length", "9f01ff", CBOR_BAD},
    {"an empty array", "80", CBOR_OK},
    {"a map", "a201020304", CBOR_OK},
    {"a map with a key twice", "a201020104", CBOR_BAD},
    {"a map with a key twice in two forms", "a20102180104", CBOR_BAD},
    {"a map with 1 and -2", "a201022104", CBOR_OK},
    {"a map with a text twice", "a2616101616102", CBOR_BAD},
    {"a map with text and bytes alike", "a2616101416102", CBOR_OK},
    {"a map with the second value missing", "a2010203", CBOR_BAD},
    {"a map with an array as key", "a1800a", CBOR_BAD},
    {"a map with a float as key", "a1f93c0001", CBOR_BAD},
    {"a map with null as key", "a1f601", CBOR_BAD},
    {"a map of 2^64-1", "bbffffffffffffffff0101", CBOR_BAD},
    {"a map of 2^63", "bb80000000000000000101", CBOR_BAD},
    {"a map of indefinite length", "bf0102ff", CBOR_BAD},
    {"a double key deep inside", "8181a1018201a201020103", CBOR_BAD},
    {"a tag", "c100", CBOR_OK},
    {"a tag of nothing", "c1", CBOR_BAD},
    {"a break", "ff", CBOR_BAD},
    {"a break inside", "81ff", CBOR_BAD},
    {"false, true, null, undefined", "84f4f5f6f7", CBOR_OK},
    {"a simple value", "e0", CBOR_BAD},
    {"a simple value in a byte", "f8ff", CBOR_BAD},
    {"false in a byte", "f814", CBOR_BAD},
    {"half, single, double", "83f93c00fa3f800000fb3ff0000000000000", CBOR_OK},
    {"a double cut", "fb3ff00000000000", CBOR_BAD},
    {"as deep as may be", "8181818181818181818181 01", CBOR_OK},
    {"one deeper", "818181818181818181818181 01", CBOR_LIMIT},
    {"tags too deep", "c1c1c1c1c1c1c1c1c1c1c1c101", CBOR_LIMIT},
    {"maps too deep", "a101a101a101a101a101a101a101a101a101a101a101a10101", CBOR_LIMIT},
};

static void test_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum cbor_err got = cbor_check(unhex(rows[i].hex));
        if (got != rows[i].want)
            fail_msg("%s: got %d, wanted %d", rows[i].name, (int)got, (int)rows[i].want);
    }
}

/* Cutting a good item anywhere leaves a bad one; so does adding a byte. */
static void test_cut(void **state)
{
    (void)state;
    struct bytes all =
        unhex("a4 01 6361c3bc 02 83 01 20 fb3ff0000000000000 03 a1 6161 c1 1a00010000 "
              "20 58 18 000102030405060708090a0b0c0d0e0f1011121314151617");
    assert_int_equal(cbor_check(all), CBOR_OK);
    for (size_t n = 0; n < all.n; n++)
        if (cbor_check(bytes_of(all.p, n)) == CBOR_OK)
            fail_msg("cut at %zu was taken", n);
}

static void test_counts(void **state)
{
    (void)state;
    uint8_t room[8192];
    struct buf b = buf_on(room, sizeof room);
    cbor_put_map(&b, CBOR_KEYS_MAX);
    for (int i = 0; i < CBOR_KEYS_MAX; i++) {
        cbor_put_int(&b, i);
        cbor_put_int(&b, i);
    }
    assert_int_equal(cbor_check(buf_bytes(&b)), CBOR_OK);
    b.n = 0;
    cbor_put_map(&b, CBOR_KEYS_MAX + 1);
    for (int i = 0; i <= CBOR_KEYS_MAX; i++) {
        cbor_put_int(&b, i);
        cbor_put_int(&b, i);
    }
    assert_int_equal(cbor_check(buf_bytes(&b)), CBOR_LIMIT);
    b.n = 0;
    cbor_put_array(&b, CBOR_ITEMS_MAX - 1);
    for (int i = 0; i < CBOR_ITEMS_MAX - 1; i++)
        cbor_put_uint(&b, 0);
    assert_int_equal(cbor_check(buf_bytes(&b)), CBOR_OK);
    b.n = 0;
    cbor_put_array(&b, CBOR_ITEMS_MAX);
    for (int i = 0; i < CBOR_ITEMS_MAX; i++)
        cbor_put_uint(&b, 0);
    assert_int_equal(cbor_check(buf_bytes(&b)), CBOR_LIMIT);
}

/* What the writer writes, the reader reads, in shortest form. */
static void test_round(void **state)
{
    (void)state;
    static const int64_t edges[] = {
        0,          1,   23,   24,   255,        256,        65535,     65536,         -1,
        -24,        -25, -256, -257, 4294967295, 4294967296, INT64_MAX, INT64_MIN + 1, INT64_MIN,
        -4294967297};
    uint8_t room[512];
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        struct buf b = buf_on(room, sizeof room);
        cbor_put_int(&b, edges[i]);
        struct cbor c = cbor_on(buf_bytes(&b));
        struct cbor_item item;
        assert_true(cbor_next(&c, &item));
        assert_true(item.shortest);
        c = cbor_on(buf_bytes(&b));
        if (cbor_take_int(&c) != edges[i] || !cbor_done(&c))
            fail_msg("%lld did not come back", (long long)edges[i]);
    }
    struct buf b = buf_on(room, sizeof room);
    cbor_put_array(&b, 6);
    cbor_put_text(&b, BYTES_LIT("text"));
    cbor_put_bytes(&b, BYTES_LIT("\x00\xff"));
    cbor_put_tag(&b, 61);
    cbor_put_map(&b, 1);
    cbor_put_int(&b, -3);
    cbor_put_bool(&b, true);
    cbor_put_null(&b);
    cbor_put_double(&b, 1.5);
    cbor_put_uint(&b, UINT64_MAX);
    assert_int_equal(cbor_check(buf_bytes(&b)), CBOR_OK);
    struct cbor c = cbor_on(buf_bytes(&b));
    struct cbor_item item;
    assert_int_equal(cbor_take_array(&c), 6);
    assert_true(bytes_equal_str(cbor_take_text(&c), "text"));
    assert_int_equal(cbor_take_bytes(&c).n, 2);
    assert_true(cbor_next(&c, &item) && item.kind == CBOR_TAG && item.n == 61);
    assert_int_equal(cbor_skip(&c).n, 3);
    assert_int_equal(cbor_peek(&c), CBOR_NULL);
    assert_int_equal(cbor_skip(&c).n, 1);
    assert_true(cbor_next(&c, &item) && item.kind == CBOR_FLOAT && item.f > 1.4 && item.f < 1.6);
    assert_true(cbor_take_uint(&c) == UINT64_MAX);
    assert_true(cbor_done(&c));
}

static void test_shortest(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool want;
    } heads[] = {{"17", true},         {"1817", false},
                 {"1818", true},       {"1900ff", false},
                 {"190100", true},     {"1a0000ffff", false},
                 {"1a00010000", true}, {"1b00000000ffffffff", false},
                 {"d83d00", true},     {"d9003d00", false},
                 {"d2", true},         {"580100", false},
                 {"9800", false},      {"b800", false},
                 {"f90000", true}};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct cbor_item item;
        struct bytes in = unhex(heads[i].hex);
        struct cbor c = cbor_on(in);
        if (!cbor_next(&c, &item) || item.shortest != heads[i].want)
            fail_msg("%s: shortest is not %d", heads[i].hex, heads[i].want);
    }
}

static void test_sticky(void **state)
{
    (void)state;
    struct cbor c = cbor_on(unhex("6161 01"));
    assert_int_equal(cbor_take_uint(&c), 0);
    assert_true(c.bad);
    assert_int_equal(cbor_take_text(&c).n, 0);
    assert_int_equal(cbor_skip(&c).n, 0);
    assert_false(cbor_done(&c));
    c = cbor_on(unhex("1bffffffffffffffff"));
    assert_int_equal(cbor_take_int(&c), 0);
    assert_true(c.bad);
    c = cbor_on(unhex("9bffffffffffffffff"));
    assert_int_equal(cbor_take_array(&c), 0);
    assert_true(c.bad);
    c = cbor_on(unhex("bb800000000000000001"));
    assert_int_equal(cbor_skip(&c).n, 0);
    assert_true(c.bad);
    c = cbor_on(unhex("9b7fffffffffffffff01"));
    assert_int_equal(cbor_skip(&c).n, 0);
    assert_true(c.bad);
    uint8_t room[4];
    struct buf b = buf_on(room, sizeof room);
    cbor_put_text(&b, BYTES_LIT("text"));
    assert_true(b.full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),    cmocka_unit_test(test_cut),
        cmocka_unit_test(test_counts),   cmocka_unit_test(test_round),
        cmocka_unit_test(test_shortest), cmocka_unit_test(test_sticky),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
