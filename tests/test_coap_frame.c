/* RFC 8323 3.2 and 5: frames that lie about their length, cut everywhere, and
 * what a connection's peer may say about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../proxy/coap_signal.h"
#include "../proxy/limits.h"
#include "support_hex.h"

#define N(a) (sizeof(a) / sizeof *(a))

/* An exact heap copy, so that the sanitizer sees a read past the end. */
static enum frame_state look_exact(struct bytes in, size_t max, size_t *n)
{
    uint8_t *copy = malloc(in.n ? in.n : 1);
    assert_non_null(copy);
    if (in.n)
        memcpy(copy, in.p, in.n);
    enum frame_state got = frame_look(bytes_of(in.n ? copy : NULL, in.n), max, n);
    free(copy);
    return got;
}

static const struct {
    const char *name, *hex;
    size_t pad; /* so many bytes behind it */
    size_t max;
    enum frame_state want;
    size_t n;
} looks[] = {
    {"empty message (figure 5)", "00 00", 0, 64, FRAME_WHOLE, 2},
    {"  its code is missing", "00", 0, 64, FRAME_PART, 0},
    {"nothing", "", 0, 64, FRAME_PART, 0},
    {"token of 1", "01 43 7f", 0, 64, FRAME_WHOLE, 3},
    {"  cut", "01 43", 0, 64, FRAME_PART, 3},
    {"token of 8", "08 01 0102030405060708", 0, 64, FRAME_WHOLE, 10},
    {"  9 is reserved", "09 01 010203040506070809", 0, 64, FRAME_BAD, 0},
    {"  and so by its first byte", "09", 0, 64, FRAME_BAD, 0},
    {"  13 is an extended token", "0d 01 00", 0, 64, FRAME_BAD, 0},
    {"  15", "0f 01", 0, 64, FRAME_BAD, 0},
    {"12 bytes", "c0 01", 12, 64, FRAME_WHOLE, 14},
    {"  one missing", "c0 01", 11, 64, FRAME_PART, 14},
    {"  one of the next", "c0 01", 13, 64, FRAME_WHOLE, 14},
    {"13 bytes", "d0 00 01", 13, 64, FRAME_WHOLE, 16},
    {"  one missing", "d0 00 01", 12, 64, FRAME_PART, 16},
    {"  its length is missing", "d0", 0, 64, FRAME_PART, 0},
    {"268 bytes", "d0 ff 01", 268, 512, FRAME_WHOLE, 271},
    {"269 bytes", "e0 0000 01", 269, 512, FRAME_WHOLE, 273},
    {"  half of its length is missing", "e0 00", 0, 512, FRAME_PART, 0},
    {"as large as may be", "e2 06ed 01 abcd", 2042, 2048, FRAME_WHOLE, 2048},
    {"  one more", "e2 06ee 01 abcd", 2043, 2048, FRAME_TOO_LARGE, 0},
    {"  one more, of which only the header came", "e2 06ee 01", 0, 2048, FRAME_TOO_LARGE, 0},
    {"  by its token", "e3 06ed 01 abcd", 2043, 2048, FRAME_TOO_LARGE, 0},
    {"65805 bytes", "f0 00000000 01", 0, 1 << 20, FRAME_PART, 65811},
    {"  more than we take", "f0 00000000 01", 0, 2048, FRAME_TOO_LARGE, 0},
    {"the largest", "f8 ffffffff 01", 0, 2048, FRAME_TOO_LARGE, 0},
    {"  without its code", "f8 ffffffff", 0, 2048, FRAME_PART, 0},
};

static void test_look(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(looks); i++) {
        struct bytes head = unhex(looks[i].hex);
        uint8_t all[4096] = {0};
        if (head.n)
            memcpy(all, head.p, head.n);
        size_t n;
        enum frame_state got = look_exact(bytes_of(all, head.n + looks[i].pad), looks[i].max, &n);
        if (got != looks[i].want || n != looks[i].n)
            fail_msg("%s: got %d of %zu, wanted %d of %zu", looks[i].name, (int)got, n,
                     (int)looks[i].want, looks[i].n);
    }
}

/* Of every length: cut at every byte it is a part, and whole it comes back as
 * the datagram that it was. */
static void test_there_and_back(void **state)
{
    (void)state;
    for (size_t token_n = 0; token_n <= MSG_TOKEN_MAX; token_n += 4)
        for (size_t rest_n = 0; rest_n < 1200; rest_n += rest_n < 300 ? 1 : 37) {
            uint8_t datagram[4 + 8 + 1200], room[FRAME_HEADROOM + 1300];
            datagram[0] = (uint8_t)(0x40 | token_n);
            datagram[1] = 0x45;
            datagram[2] = datagram[3] = 0;
            for (size_t i = 0; i < token_n + rest_n; i++)
                datagram[4 + i] = (uint8_t)(i * 7 + 1);
            struct bytes before = bytes_of(datagram, 4 + token_n + rest_n);
            struct buf out = buf_on(room + FRAME_HEADROOM, sizeof room - FRAME_HEADROOM);
            assert_true(frame_write(before, &out));
            size_t n;
            for (size_t cut = 0; cut < out.n; cut += cut < 16 ? 1 : 31) {
                assert_int_equal(look_exact(bytes_of(out.p, cut), 2048, &n), FRAME_PART);
                assert_true(n == 0 || n == out.n);
            }
            assert_int_equal(look_exact(buf_bytes(&out), 2048, &n), FRAME_WHOLE);
            assert_int_equal(n, out.n);
            struct frame f = frame_open(buf_bytes(&out));
            assert_int_equal(f.code, 0x45);
            assert_int_equal(f.token.n, token_n);
            assert_int_equal(f.rest.n, rest_n);
            struct bytes back = frame_as_datagram(out.p, out.n, TYPE_CON, 0);
            assert_true(back.p >= room && back.p + back.n == out.p + out.n);
            if (!bytes_equal(back, before))
                fail_msg("token %zu, rest %zu: not the same again", token_n, rest_n);
        }
}

static void test_no_room(void **state)
{
    (void)state;
    uint8_t storage[16];
    struct bytes datagram = unhex("42 01 0000 abcd b2 6869");
    for (size_t cap = 0; cap < 7; cap++) {
        struct buf out = buf_on(storage, cap);
        assert_false(frame_write(datagram, &out));
    }
    struct buf out = buf_on(storage, 7);
    assert_true(frame_write(datagram, &out));
    static const char *const none[] = {"", "40", "40 01 00", "44 01 0000 abcdef",
                                       "49 01 0000 010203040506070809"};
    for (size_t i = 0; i < N(none); i++) {
        out = buf_on(storage, sizeof storage);
        if (frame_write(unhex(none[i]), &out))
            fail_msg("'%s' was written", none[i]);
    }
}

/* ---- signals ---- */

static const struct {
    const char *name, *hex; /* frames, taken one after the other: the last one counts */
    enum signal_verdict want;
    uint32_t peer_max;
    uint16_t bad;
} signals[] = {
    {"CSM", "00 e1", SIGNAL_READY, 1152, 0},
    {"a request before it", "00 01", SIGNAL_FAULT, 1152, 0},
    {"a response before it", "00 45", SIGNAL_FAULT, 1152, 0},
    {"a Ping before it", "00 e2", SIGNAL_FAULT, 1152, 0},
    {"a Release before it", "00 e4", SIGNAL_FAULT, 1152, 0},
    {"an Abort before it", "00 e5", SIGNAL_ABORTED, 1152, 0},
    {"nothing before it", "00 00", SIGNAL_NOTHING, 1152, 0},
    {"CSM with a size", "30 e1 22 0800", SIGNAL_READY, 2048, 0},
    {"  of one byte", "20 e1 21 80", SIGNAL_READY, 128, 0},
    {"  of five, which is as if it were not there", "60 e1 25 0000000800", SIGNAL_READY, 1152, 0},
    {"  of none, which is 0", "10 e1 20", SIGNAL_FAULT, 1152, 2},
    {"  too small for anything", "20 e1 21 1f", SIGNAL_FAULT, 1152, 2},
    {"  just large enough", "20 e1 21 20", SIGNAL_READY, 32, 0},
    {"  the largest", "50 e1 24 ffffffff", SIGNAL_READY, 0xffffffff, 0},
    {"  cut", "20 e1 22 08", SIGNAL_FAULT, 1152, 0},
    {"  and blocks", "40 e1 22 0800 20", SIGNAL_READY, 2048, 0},
    {"  and what nobody knows, elective", "40 e1 22 0800 60", SIGNAL_READY, 2048, 0},
    {"  and what nobody knows, critical", "40 e1 22 0800 70", SIGNAL_FAULT, 1152, 9},
    {"  and words for people", "50 e1 22 0800 ff 41", SIGNAL_READY, 2048, 0},
    {"  and a marker only", "40 e1 22 0800 ff", SIGNAL_FAULT, 1152, 0},
    {"a second CSM", "30 e1 22 0800 / 00 e1", SIGNAL_NOTHING, 2048, 0},
    {"  with another size", "30 e1 22 0800 / 30 e1 22 0400", SIGNAL_NOTHING, 1024, 0},
    {"  with a critical option", "30 e1 22 0800 / 10 e1 10", SIGNAL_FAULT, 2048, 1},
    {"a request", "00 e1 / 00 01", SIGNAL_MESSAGE, 1152, 0},
    {"a response", "00 e1 / 00 45", SIGNAL_MESSAGE, 1152, 0},
    {"what has no class", "00 e1 / 00 20", SIGNAL_MESSAGE, 1152, 0},
    {"nothing", "00 e1 / 00 00", SIGNAL_NOTHING, 1152, 0},
    {"Ping", "00 e1 / 02 e2 abcd", SIGNAL_ASKED, 1152, 0},
    {"  with Custody", "00 e1 / 12 e2 abcd 20", SIGNAL_ASKED_ALL, 1152, 0},
    {"  with Custody that holds something", "00 e1 / 22 e2 abcd 21 00", SIGNAL_ASKED, 1152, 0},
    {"  with what is critical", "00 e1 / 12 e2 abcd 10", SIGNAL_FAULT, 1152, 0},
    {"Pong", "00 e1 / 02 e3 abcd", SIGNAL_ANSWERED, 1152, 0},
    {"Release", "00 e1 / 00 e4", SIGNAL_RELEASED, 1152, 0},
    {"  with an address and a while", "00 e1 / 50 e4 22 6869 21 0a", SIGNAL_RELEASED, 1152, 0},
    {"  with what is critical", "00 e1 / 10 e4 30", SIGNAL_FAULT, 1152, 0},
    {"Abort", "00 e1 / 00 e5", SIGNAL_ABORTED, 1152, 0},
    {"  whatever stands in it", "00 e1 / 10 e5 f0", SIGNAL_ABORTED, 1152, 0},
    {"7.00", "00 e1 / 00 e0", SIGNAL_FAULT, 1152, 0},
    {"7.06", "00 e1 / 00 e6", SIGNAL_FAULT, 1152, 0},
};

static void test_signals(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(signals); i++) {
        struct signals s;
        signals_init(&s);
        char text[256];
        (void)snprintf(text, sizeof text, "%s", signals[i].hex);
        enum signal_verdict got = SIGNAL_FAULT;
        uint16_t bad = 0;
        const char *why = NULL;
        char *save = NULL;
        for (char *one = strtok_r(text, "/", &save); one; one = strtok_r(NULL, "/", &save)) {
            struct bytes whole = unhex(one);
            size_t n;
            assert_int_equal(look_exact(whole, 2048, &n), FRAME_WHOLE);
            assert_int_equal(n, whole.n);
            struct frame f = frame_open(whole);
            got = signals_take(&s, &f, &bad, &why);
        }
        if (got != signals[i].want || s.peer_max != signals[i].peer_max || bad != signals[i].bad ||
            (got == SIGNAL_FAULT && !why))
            fail_msg("%s: got %d, size %u, option %u; wanted %d, %u, %u", signals[i].name, (int)got,
                     s.peer_max, bad, (int)signals[i].want, signals[i].peer_max, signals[i].bad);
    }
}

/* What we write is what we would take. */
static void test_written(void **state)
{
    (void)state;
    uint8_t storage[SIGNAL_FRAME_MAX];
    struct bytes token = unhex("0102030405060708");
    static const struct {
        const char *name, *hex;
    } rows[] = {
        {"CSM", "40 e1 22 0800 20"},
        {"Ping", "08 e2 0102030405060708"},
        {"Pong", "08 e3 0102030405060708"},
        {"Pong with Custody", "18 e3 0102030405060708 20"},
        {"Release", "00 e4"},
        {"Abort", "30 e5 ff 6e6f"},
        {"Abort for an option", "50 e5 21 09 ff 6e6f"},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct buf out = buf_on(storage, sizeof storage);
        switch (i) {
        case 0:
            signal_write_csm(2048, &out);
            break;
        case 1:
            signal_write_ping(token, &out);
            break;
        case 2:
            signal_write_pong(token, false, &out);
            break;
        case 3:
            signal_write_pong(token, true, &out);
            break;
        case 4:
            signal_write_release(&out);
            break;
        default:
            signal_write_abort(i == 6 ? 9 : 0, "no", &out);
            break;
        }
        if (!bytes_equal(buf_bytes(&out), unhex(rows[i].hex)))
            fail_msg("%s: not as it should be", rows[i].name);
    }
    char longer[400];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    struct buf out = buf_on(storage, sizeof storage);
    signal_write_abort(65535, longer, &out);
    assert_false(out.full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look),    cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_no_room), cmocka_unit_test(test_signals),
        cmocka_unit_test(test_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
