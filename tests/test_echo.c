/* The Echo value, row by row: each that is not ours is one that is, with one
 * thing changed. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../proxy/echo.h"
#include "../proxy/limits.h"

enum { START_S = 100000 };

static struct peer peer_at(const char *address, uint16_t port)
{
    struct peer p;
    memset(&p, 0, sizeof p);
    if (inet_pton(AF_INET, address, &p.in4.sin_addr) == 1) {
        p.in4.sin_family = AF_INET;
        p.in4.sin_port = htons(port);
        p.len = sizeof p.in4;
    } else {
        assert_int_equal(inet_pton(AF_INET6, address, &p.in6.sin6_addr), 1);
        p.in6.sin6_family = AF_INET6;
        p.in6.sin6_port = htons(port);
        p.len = sizeof p.in6;
    }
    return p;
}

static struct instant at(uint64_t s)
{
    return (struct instant){.mono_us = s * 1000000};
}

static const struct {
    const char *name;
    const char *address; /* NULL: the same */
    uint16_t port;       /* 0: the same */
    unsigned after_s;
    int flip;     /* bit of the value, + 1 */
    size_t cut;   /* bytes of it that are left, 0: all */
    bool another; /* gate */
    bool good;
} rows[] = {
    {"brought back", .good = true},
    {"brought back after a while", .after_s = ECHO_LIFE_S - 1, .good = true},
    {"too late", .after_s = 2 * ECHO_LIFE_S},
    {"far too late", .after_s = 1000 * ECHO_LIFE_S},
    {"from another address", .address = "192.0.2.8"},
    {"from another family", .address = "::ffff:192.0.2.7"},
    {"from another port", .port = 5684},
    {"the first bit", .flip = 1},
    {"the last bit", .flip = 64},
    {"shorter", .cut = ECHO_VALUE - 1},
    {"shorter by half", .cut = ECHO_VALUE / 2},
    {"another gate's", .another = true},
};

static void only_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct echo e = {0}, other = {0};
        struct peer from = peer_at("192.0.2.7", 5683);
        struct peer to = peer_at(rows[i].address ? rows[i].address : "192.0.2.7",
                                 rows[i].port ? rows[i].port : 5683);
        uint8_t value[ECHO_VALUE], unused[ECHO_VALUE];
        assert_true(echo_make(&e, &from, at(START_S), value));
        assert_true(echo_make(&other, &from, at(START_S), unused));
        if (rows[i].flip)
            value[(rows[i].flip - 1) / 8] ^= (uint8_t)(1u << ((rows[i].flip - 1) % 8));
        struct bytes brought = bytes_of(value, rows[i].cut ? rows[i].cut : sizeof value);
        if (echo_is(rows[i].another ? &other : &e, &to, brought, at(START_S + rows[i].after_s)) !=
            rows[i].good)
            fail_msg("%s", rows[i].name);
    }
}

/* Nothing, and what is longer, is none; and none is known before one is made. */
static void not_a_value(void **state)
{
    (void)state;
    struct echo e = {0};
    struct peer from = peer_at("2001:db8::1", 5683);
    uint8_t value[ECHO_VALUE + 1] = {0};
    assert_false(echo_is(&e, &from, bytes_of(value, ECHO_VALUE), at(START_S)));
    assert_false(echo_is(&e, &from, bytes_of(value, ECHO_VALUE), at(0)));
    assert_true(echo_make(&e, &from, at(START_S), value));
    assert_true(echo_is(&e, &from, bytes_of(value, ECHO_VALUE), at(START_S)));
    assert_false(echo_is(&e, &from, bytes_of(value, ECHO_VALUE + 1), at(START_S)));
    assert_false(echo_is(&e, &from, BYTES_NONE, at(START_S)));
}

/* Over any stretch: good for at least one life, and for two at most. */
static void keys_turn_over(void **state)
{
    (void)state;
    struct echo e = {0};
    struct peer from = peer_at("2001:db8::1", 5683);
    for (uint64_t made = START_S; made < START_S + 5 * ECHO_LIFE_S; made += 7) {
        uint8_t value[ECHO_VALUE], later[ECHO_VALUE];
        assert_true(echo_make(&e, &from, at(made), value));
        struct bytes v = bytes_of(value, sizeof value);
        for (uint64_t s = made; s <= made + ECHO_LIFE_S; s += 5) {
            assert_true(echo_make(&e, &from, at(s), later)); /* others ask meanwhile */
            assert_true(echo_is(&e, &from, v, at(s)));
        }
        assert_false(echo_is(&e, &from, v, at(made + 2 * ECHO_LIFE_S)));
        e = (struct echo){0};
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_its_own),
                                       cmocka_unit_test(not_a_value),
                                       cmocka_unit_test(keys_turn_over)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
