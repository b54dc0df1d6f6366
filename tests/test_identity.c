#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "../pep/identity.h"

#define B(...) bytes_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* RFC 9202 3.3.2, and each reject row one mutation of it. */
#define FRONT 0xa1, 0x08, 0xa1, 0x01, 0xa2
#define KID8  0x3d, 0x02, 0x78, 0x33, 0xfc, 0x62, 0x67, 0xce

static void kid_form(void **state)
{
    (void)state;
    struct {
        const char *name;
        struct bytes in;
        bool ok;
        struct bytes kid;
    } rows[] = {
        {"RFC 9202 example", B(FRONT, 1, 4, 2, 0x48, KID8), true, B(KID8)},
        {"inner keys the other way", B(FRONT, 2, 0x48, KID8, 1, 4), true, B(KID8)},
        {"one byte of kid", B(FRONT, 1, 4, 2, 0x41, 0), true, B(0)},
        {"empty", BYTES_NONE, false, BYTES_NONE},
        {"cut in the kid", B(FRONT, 1, 4, 2, 0x48, 0x3d, 2), false, BYTES_NONE},
        {"cut before the kid", B(FRONT, 1, 4), false, BYTES_NONE},
        {"trailing byte", B(FRONT, 1, 4, 2, 0x48, KID8, 0), false, BYTES_NONE},
        {"not cnf", B(0xa1, 0x09, 0xa1, 1, 0xa2, 1, 4, 2, 0x48, KID8), false, BYTES_NONE},
        {"two claims", B(0xa2, 0x08, 0xa1, 1, 0xa2, 1, 4, 2, 0x48, KID8), false, BYTES_NONE},
        {"not COSE_Key", B(0xa1, 0x08, 0xa1, 3, 0xa2, 1, 4, 2, 0x48, KID8), false, BYTES_NONE},
        {"not symmetric", B(FRONT, 1, 2, 2, 0x48, KID8), false, BYTES_NONE},
        {"kty twice", B(FRONT, 1, 4, 1, 4), false, BYTES_NONE},
        {"kid twice", B(FRONT, 2, 0x41, 1, 2, 0x41, 1), false, BYTES_NONE},
        {"no kty", B(0xa1, 8, 0xa1, 1, 0xa1, 2, 0x48, KID8), false, BYTES_NONE},
        {"a third parameter", B(0xa1, 8, 0xa1, 1, 0xa3, 1, 4, 2, 0x41, 7, 3, 1), false, BYTES_NONE},
        {"kid is text", B(FRONT, 1, 4, 2, 0x68, KID8), false, BYTES_NONE},
        {"kid of no bytes", B(FRONT, 1, 4, 2, 0x40), false, BYTES_NONE},
        {"length not shortest", B(FRONT, 1, 4, 2, 0x58, 8, KID8), false, BYTES_NONE},
        {"kid of indefinite length", B(FRONT, 1, 4, 2, 0x5f, 0x48, KID8, 0xff), false, BYTES_NONE},
        {"map of indefinite length", B(0xbf, 8, 0xa1, 1, 0xa2, 1, 4, 2, 0x48, KID8, 0xff), false,
         BYTES_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes kid = BYTES_NONE;
        bool ok = identity_kid(rows[i].in, &kid);
        if (ok != rows[i].ok || (ok && !bytes_equal(kid, rows[i].kid)))
            fail_msg("%s: got %d", rows[i].name, ok);
    }
}

static void kid_lengths(void **state)
{
    (void)state;
    for (size_t n = 24; n <= 70; n++) {
        uint8_t in[128] = {FRONT, 1, 4, 2, 0x58, (uint8_t)n};
        struct bytes kid;
        assert_int_equal(identity_kid(bytes_of(in, 10 + n), &kid), n <= TOKEN_KID_MAX);
    }
}

static void unwrapping(void **state)
{
    (void)state;
    struct {
        const char *name;
        struct bytes in;
        bool ok;
        struct bytes out;
    } rows[] = {
        {"high bytes", B(0xc2, 0xa1, 0x08, 0xc3, 0xbf), true, B(0xa1, 0x08, 0xff)},
        {"lowest and highest", B(0xc2, 0x80, 0xc3, 0xbf, 0xc3, 0x80), true, B(0x80, 0xff, 0xc0)},
        {"a NUL stays", B(0xc2, 0xa1, 0), true, B(0xa1, 0)},
        {"ASCII only: nothing to unwrap", B('a', 'b'), false, BYTES_NONE},
        {"empty", BYTES_NONE, false, BYTES_NONE},
        {"bare high byte", B(0xa1, 0x08), false, BYTES_NONE},
        {"cut", B('a', 0xc2), false, BYTES_NONE},
        {"lead without tail", B(0xc2, 'a'), false, BYTES_NONE},
        {"overlong", B(0xc1, 0xa1), false, BYTES_NONE},
        {"code point above 255", B(0xc4, 0x80), false, BYTES_NONE},
        {"three bytes", B(0xe2, 0x82, 0xac), false, BYTES_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t storage[16];
        struct buf b = buf_on(storage, sizeof storage);
        struct bytes out = BYTES_NONE;
        bool ok = identity_unwrap(rows[i].in, &b, &out);
        if (ok != rows[i].ok || (ok && !bytes_equal(out, rows[i].out)))
            fail_msg("%s: got %d", rows[i].name, ok);
    }
    uint8_t small[1];
    struct buf b = buf_on(small, sizeof small);
    struct bytes out;
    assert_false(identity_unwrap(B(0xc2, 0xa1, 8), &b, &out)); /* does not fit */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kid_form),
        cmocka_unit_test(kid_lengths),
        cmocka_unit_test(unwrapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
