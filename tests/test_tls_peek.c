/* The psk_identity of a TLS client, read before the engine reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/limits.h"
#include "../proxy/tls_peek.h"
#include "support_hex.h"

#define N(a)     (sizeof(a) / sizeof *(a))
#define RANDOM   "0000000000000000000000000000000000000000000000000000000000000000"
#define VERSIONS "002b 0003 02 0304"

static const struct {
    const char *name, *hex;
    const char *want; /* "": none */
} exchanges[] =
    {
        {"a name", "16 0303 000b 10 000007 0005 70616e656c", "panel"},
        {"  and what ECDHE_PSK has behind it", "16 0303 000e 10 00000a 0005 70616e656c 02 aabb",
         "panel"},
        {"  and another message behind it", "16 0303 000f 10 000007 0005 70616e656c 14 000000",
         "panel"},
        {"  of another message", "16 0303 000b 0b 000007 0005 70616e656c", ""},
        {"  of another record", "17 0303 000b 10 000007 0005 70616e656c", ""},
        {"  longer than its message", "16 0303 000b 10 000007 0006 70616e656c", ""},
        {"  longer than its record", "16 0303 000b 10 000008 0006 70616e656c6c", ""},
        {"  cut", "16 0303 000b 10 000007 0005 70616e65", ""},
        {"an empty one", "16 0303 0006 10 000002 0000", ""},
        {"nothing", "", ""},
},
  hellos[] = {
      {"TLS 1.3 with an identity",
       "16 0301 0047 01 000043 0303" RANDOM "00 0002 1301 01 00 0018" VERSIONS
       "0029 000d 000b 0005 70616e656c 00000000",
       "panel"},
      {"  without saying 1.3",
       "16 0301 0047 01 000043 0303" RANDOM "00 0002 1301 01 00 0018 002b 0003 02 0303"
       "0029 000d 000b 0005 70616e656c 00000000",
       ""},
      {"  an extension that is cut",
       "16 0301 0047 01 000043 0303" RANDOM "00 0002 1301 01 00 0018" VERSIONS
       "0029 000e 000b 0005 70616e656c 00000000",
       ""},
      {"  an identity that is cut",
       "16 0301 0047 01 000043 0303" RANDOM "00 0002 1301 01 00 0018" VERSIONS
       "0029 000d 000b 0008 70616e656c 00000000",
       ""},
      {"  without its age",
       "16 0301 0047 01 000043 0303" RANDOM "00 0002 1301 01 00 0018" VERSIONS
       "0029 000d 000b 0009 70616e656c 00000000",
       ""},
      {"  none offered", "16 0301 0036 01 000032 0303" RANDOM "00 0002 1301 01 00 0007" VERSIONS,
       ""},
      {"nothing", "", ""},
};

static void test_identities(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(exchanges); i++) {
        struct bytes got = tls_peek_key_exchange(unhex(exchanges[i].hex));
        if (!bytes_equal_str(got, exchanges[i].want))
            fail_msg("key exchange, %s: %zu bytes", exchanges[i].name, got.n);
    }
    for (size_t i = 0; i < N(hellos); i++) {
        struct bytes got = tls_peek_hello(unhex(hellos[i].hex), 0);
        if (!bytes_equal_str(got, hellos[i].want))
            fail_msg("hello, %s: %zu bytes", hellos[i].name, got.n);
        assert_int_equal(tls_peek_hello(unhex(hellos[i].hex), 1).n, 0);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    static uint8_t record[4096] = {22, 3, 3, 0, 0, 16};
    for (size_t n = IDENTITY_MAX - 1; n <= IDENTITY_MAX + 1; n++) {
        record[3] = (uint8_t)((n + 6) >> 8), record[4] = (uint8_t)(n + 6);
        record[7] = (uint8_t)((n + 2) >> 8), record[8] = (uint8_t)(n + 2);
        record[9] = (uint8_t)(n >> 8), record[10] = (uint8_t)n;
        struct bytes got = tls_peek_key_exchange(bytes_of(record, 11 + n));
        assert_int_equal(got.n, n <= IDENTITY_MAX ? n : 0);
    }
    static const struct {
        uint8_t header[TLS_RECORD_HEADER];
        size_t want;
    } rows[] = {
        {{22, 3, 1, 0, 1}, 6},      {{22, 3, 1, 0, 0}, 0},
        {{20, 3, 3, 0, 1}, 6},      {{23, 3, 3, 0x41, 0}, TLS_RECORD_HEADER + TLS_RECORD_MAX},
        {{23, 3, 3, 0x41, 1}, 0},   {{19, 3, 3, 0, 1}, 0},
        {{24, 3, 3, 0, 1}, 0},      {{22, 2, 0, 0, 1}, 0},
        {{0x80, 0x2e, 1, 0, 2}, 0},
    };
    for (size_t i = 0; i < N(rows); i++)
        assert_int_equal(tls_record_length(rows[i].header), rows[i].want);
    assert_int_equal(tls_peek_suite(unhex("16 0303 002c 02 000028 0303" RANDOM "00 c0a8 00 0000")),
                     0xc0a8);
    assert_int_equal(tls_peek_suite(unhex("16 0303 002c 01 000028 0303" RANDOM "00 c0a8 00 0000")),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
