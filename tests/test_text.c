/* hex and utf8 against the obvious: tables of the C library, and code points
 * written out by the rule of RFC 3629 3. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../policy/hex.h"
#include "../policy/utf8.h"

static void digits_have_values(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        const char text[2] = {(char)c, 0};
        int wanted = c < 0x80 && isxdigit(c) ? (int)strtol(text, NULL, 16) : -1;
        if (hex_digit((uint8_t)c) != wanted)
            fail_msg("0x%02x: got %d, wanted %d", (unsigned)c, hex_digit((uint8_t)c), wanted);
    }
}

static void bytes_have_digits(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t b = (uint8_t)c, room[6];
        char wanted[8];
        struct buf out = buf_on(room, sizeof room);
        hex_put(&out, bytes_of(&b, 1));
        hex_put_percent(&out, b);
        int n = snprintf(wanted, sizeof wanted, "%02x%%%02X", c, c);
        assert_int_equal(out.n, 5);
        assert_memory_equal(room, wanted, (size_t)n);
    }
    uint8_t room[3];
    struct buf out = buf_on(room, sizeof room);
    hex_put(&out, BYTES_LIT("ab"));
    assert_true(out.full);
}

/* The text of a code point in n bytes, whether it should have so many. */
static void write_point(uint32_t point, size_t n, uint8_t out[4])
{
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; point >>= 6)
        out[i] = (uint8_t)(0x80 | (point & 0x3f));
    out[0] = (uint8_t)(lead[n] | point);
}

static size_t size_of(uint32_t point)
{
    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

static void points_have_one_text(void **state)
{
    static const uint32_t most[] = {0, 0x7f, 0x7ff, 0xffff, 0x1fffff};
    (void)state;
    for (size_t n = 1; n <= 4; n++)
        for (uint32_t point = 0; point <= most[n]; point += point < 0x11000 ? 1 : 0x3f) {
            uint8_t text[5] = {0};
            write_point(point, n, text);
            size_t wanted = size_of(point) == n ? n : 0;
            size_t got = utf8_size(bytes_of(text, sizeof text)); /* more may follow */
            if (got != wanted)
                fail_msg("U+%04X in %zu bytes: got %zu, wanted %zu", point, n, got, wanted);
            assert_int_equal(utf8_is(bytes_of(text, n)), wanted != 0);
            for (size_t cut = 1; wanted && cut < n; cut++)
                assert_int_equal(utf8_size(bytes_of(text, cut)), 0);
        }
}

static void other_bytes_have_none(void **state)
{
    (void)state;
    assert_int_equal(utf8_size(BYTES_NONE), 0);
    assert_true(utf8_is(BYTES_NONE));
    for (unsigned first = 0x80; first < 0x100; first++)
        for (unsigned second = 0; second < 0x100; second++) {
            uint8_t text[] = {(uint8_t)first, (uint8_t)second, 0x80, 0x80};
            bool leads = first >= 0xc2 && first <= 0xf4 && (second & 0xc0) == 0x80;
            if (!leads)
                assert_int_equal(utf8_size(bytes_of(text, sizeof text)), 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_have_values),
        cmocka_unit_test(bytes_have_digits),
        cmocka_unit_test(points_have_one_text),
        cmocka_unit_test(other_bytes_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
