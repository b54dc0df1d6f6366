/* Places and shares in the lobby, and the time for it: whose datagram waits, and until when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "../proxy/limits.h"
#include "../proxy/lobby.h"

enum { MAX = 8, PER_NET = 4, PER_HOST = 2 };

static struct instant at(uint64_t us)
{
    return (struct instant){.mono_us = 1000000 + us};
}

static struct peer peer_at(const char *address, uint16_t port)
{
    struct peer p;
    memset(&p, 0, sizeof p);
    if (strchr(address, ':')) {
        p.len = sizeof p.in6;
        p.in6.sin6_family = AF_INET6;
        p.in6.sin6_port = htons(port);
        assert_int_equal(inet_pton(AF_INET6, address, &p.in6.sin6_addr), 1);
    } else {
        p.len = sizeof p.in4;
        p.in4.sin_family = AF_INET;
        p.in4.sin_port = htons(port);
        assert_int_equal(inet_pton(AF_INET, address, &p.in4.sin_addr), 1);
    }
    return p;
}

static struct budget budget;

static struct lobby *new_lobby(void)
{
    budget_init(&budget, NULL);
    struct lobby *l = lobby_new(MAX, PER_NET, PER_HOST, &budget);
    assert_non_null(l);
    return l;
}

static enum lobby_put put(struct lobby *l, const char *address, uint16_t port, const char *text,
                          uint64_t us)
{
    struct peer p = peer_at(address, port);
    return lobby_put(l, 0, &p, bytes_str(text), at(us));
}

static const char *next(struct lobby *l, bool busy, uint64_t us)
{
    static char text[32];
    struct lobby_guest g;
    uint64_t late = 0;
    budget.served_ms = busy ? instant_ms(at(us)) : 0;
    if (!lobby_next(l, at(us), &g, &late))
        return late ? "late" : "";
    memcpy(text, g.datagram.p, g.datagram.n);
    text[g.datagram.n] = 0;
    return text;
}

static void test_places(void **state)
{
    static const struct {
        const char *name;
        struct {
            const char *address;
            uint16_t port;
            const char *text;
        } first[MAX], last;
        enum lobby_put wanted;
    } rows[] = {
        {"a second of one host", {{"192.0.2.1", 1, "a"}}, {"192.0.2.1", 2, "b"}, LOBBY_TAKEN},
        {"the same again", {{"192.0.2.1", 1, "a"}}, {"192.0.2.1", 1, "a"}, LOBBY_THERE_ALREADY},
        {"the same of another port", {{"192.0.2.1", 1, "a"}}, {"192.0.2.1", 2, "a"}, LOBBY_TAKEN},
        {"a third of one host",
         {{"192.0.2.1", 1, "a"}, {"192.0.2.1", 2, "b"}},
         {"192.0.2.1", 3, "c"},
         LOBBY_FULL},
        {"a third, of its neighbour",
         {{"192.0.2.1", 1, "a"}, {"192.0.2.1", 2, "b"}},
         {"192.0.2.2", 3, "c"},
         LOBBY_TAKEN},
        {"a third of one /64, by three addresses",
         {{"2001:db8::1", 1, "a"}, {"2001:db8::2", 1, "b"}},
         {"2001:db8::3", 1, "c"},
         LOBBY_FULL},
        {"a third, of another /64",
         {{"2001:db8::1", 1, "a"}, {"2001:db8::2", 1, "b"}},
         {"2001:db8:0:1::3", 1, "c"},
         LOBBY_TAKEN},
        {"a fifth of one /24",
         {{"192.0.2.1", 1, "a"},
          {"192.0.2.2", 1, "a"},
          {"192.0.2.3", 1, "a"},
          {"192.0.2.4", 1, "a"}},
         {"192.0.2.5", 1, "a"},
         LOBBY_FULL},
        {"a fifth, of another /24",
         {{"192.0.2.1", 1, "a"},
          {"192.0.2.2", 1, "a"},
          {"192.0.2.3", 1, "a"},
          {"192.0.2.4", 1, "a"}},
         {"192.0.3.5", 1, "a"},
         LOBBY_TAKEN},
        {"no place at all",
         {{"10.0.1.1", 1, "a"},
          {"10.0.2.1", 1, "a"},
          {"10.0.3.1", 1, "a"},
          {"10.0.4.1", 1, "a"},
          {"10.0.5.1", 1, "a"},
          {"10.0.6.1", 1, "a"},
          {"10.0.7.1", 1, "a"},
          {"10.0.8.1", 1, "a"}},
         {"10.0.9.1", 1, "a"},
         LOBBY_FULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lobby *l = new_lobby();
        for (size_t k = 0; k < MAX && rows[i].first[k].address; k++)
            if (put(l, rows[i].first[k].address, rows[i].first[k].port, rows[i].first[k].text, 0) !=
                LOBBY_TAKEN)
                fail_msg("%s: datagram %zu is not taken", rows[i].name, k);
        enum lobby_put got = put(l, rows[i].last.address, rows[i].last.port, rows[i].last.text, 0);
        if (got != rows[i].wanted)
            fail_msg("%s: got %d, wanted %d", rows[i].name, got, rows[i].wanted);
        lobby_free(l);
    }
}

static void test_in_order(void **state)
{
    (void)state;
    struct lobby *l = new_lobby();
    assert_true(lobby_deadline_ms(l) == UINT64_MAX);
    assert_string_equal(next(l, true, 0), "");
    assert_int_equal(put(l, "192.0.2.1", 1, "a", 1), LOBBY_TAKEN);
    assert_int_equal(put(l, "192.0.2.1", 1, "b", 2), LOBBY_TAKEN);
    assert_string_equal(next(l, true, 3), "a");
    /* What is being served keeps its place, and may come again meanwhile. */
    assert_int_equal(put(l, "192.0.2.1", 1, "c", 3), LOBBY_FULL);
    assert_string_equal(next(l, true, 3), "b");
    assert_int_equal(put(l, "192.0.2.1", 1, "b", 3), LOBBY_TAKEN);
    assert_string_equal(next(l, true, 4), "b");
    assert_string_equal(next(l, true, 4), "");
    assert_true(lobby_deadline_ms(l) == UINT64_MAX);
    lobby_free(l);
}

static void test_late(void **state)
{
    (void)state;
    struct lobby *l = new_lobby();
    assert_int_equal(put(l, "192.0.2.1", 1, "a", 0), LOBBY_TAKEN);
    assert_string_equal(next(l, true, HANDSHAKE_WAIT_MS * 1000 - 1000), "a");
    assert_int_equal(put(l, "192.0.2.1", 1, "a", 0), LOBBY_TAKEN);
    assert_string_equal(next(l, true, HANDSHAKE_WAIT_MS * 1000 + 1000), "late");
    lobby_free(l);
}

/* How much of a second goes to flights that take so long, when always one waits
 * here, and by TCP nobody or a crowd. */
static uint64_t spent_in_a_second(bool busy, bool crowd, uint64_t flight_us)
{
    struct lobby *l = new_lobby();
    uint64_t spent = 0, us = 0, from = 10000000;
    budget.waiting[BUDGET_CONNECTIONS] = crowd ? HANDSHAKE_CROWD : 0;
    while (us < from + 1000000) {
        char text[24];
        uint64_t turn = 0;
        for (int i = 0; i < 2; i++) {
            (void)snprintf(text, sizeof text, "%llu.%d", (unsigned long long)us, i);
            (void)put(l, "192.0.2.1", 1, text, us);
        }
        for (const char *got; *(got = next(l, busy, us)) && strcmp(got, "late") != 0;) {
            budget_spend(&budget, flight_us);
            turn += flight_us;
        }
        /* Of a turn no more than its part, and the end of what began in it. */
        assert_true(turn < HANDSHAKE_TURN_US + flight_us);
        spent += us >= from ? turn : 0;
        us += turn + 100;
        if (lobby_deadline_ms(l) != UINT64_MAX && lobby_deadline_ms(l) * 1000 > 1000000 + us)
            us = lobby_deadline_ms(l) * 1000 - 1000000;
    }
    lobby_free(l);
    return spent;
}

static void test_part_of_the_time(void **state)
{
    static const struct {
        const char *name;
        bool busy, crowd;
        uint64_t flight_us, least_ms, most_ms;
    } rows[] = {
        {"ECDHE while clients are served", true, false, 1000, 44, 52},
        {"ECDHE on a slow processor", true, false, 12000, 36, 64},
        {"pre-shared keys while clients are served", true, false, 50, 44, 52},
        {"a crowd with ECDHE while clients are served", true, true, 1000, 8, 12},
        {"a crowd with pre-shared keys", true, true, 50, 8, 12},
        {"ECDHE with nobody to serve", false, true, 1000, 800, 910},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t ms = spent_in_a_second(rows[i].busy, rows[i].crowd, rows[i].flight_us) / 1000;
        if (ms < rows[i].least_ms || ms > rows[i].most_ms)
            fail_msg("%s: got %llu ms of a second, wanted %llu to %llu", rows[i].name,
                     (unsigned long long)ms, (unsigned long long)rows[i].least_ms,
                     (unsigned long long)rows[i].most_ms);
    }
}

/* After a rest, what was saved up goes at once, turn by turn. */
static void test_burst(void **state)
{
    (void)state;
    struct lobby *l = new_lobby();
    uint64_t us = 5000000, n = 0;
    for (; n < 1000; n++, us += 1100) {
        assert_int_equal(put(l, "192.0.2.1", 1, "a", us), LOBBY_TAKEN);
        if (!*next(l, true, us))
            break;
        budget_spend(&budget, 1000);
    }
    assert_in_range(n, HANDSHAKE_BURST_MS, HANDSHAKE_BURST_MS * 11 / 10 + 2);
    lobby_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places), cmocka_unit_test(test_in_order), cmocka_unit_test(test_late),
        cmocka_unit_test(test_part_of_the_time), cmocka_unit_test(test_burst)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
