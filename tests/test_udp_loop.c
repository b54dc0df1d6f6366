/* Real sockets on loopback, and the loop over them. Every wait is for an
 * event and has an end. */
#include <errno.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "../proxy/loop.h"
#include "../proxy/udp.h"
#include "support_dtls.h"

enum { TAG_SERVER = 1, TAG_CLIENT = 2, PATIENCE_MS = 5000 };

struct stage {
    struct loop *loop;
    struct udp *server, *client;
    uint64_t deadline_ms, give_up_ms;
    bool gave_up;
    size_t server_got, client_got, empty_got, turns, server_calls;
    size_t bytes_got;
    struct peer from; /* the last, at the server */
    bool echo;
    size_t want; /* datagrams at the client (or server without echo); then it stops */
    bool want_empty;
    int signals;
    size_t calls_between; /* of the busy socket, before the other was served */
    bool other_served;
    uint64_t timer_ms, timer_at_ms;
};

static uint64_t turn(void *user, struct instant now)
{
    struct stage *s = user;
    uint64_t ms = instant_ms(now);
    s->turns++;
    if (!s->give_up_ms)
        s->give_up_ms = ms + PATIENCE_MS;
    if (ms >= s->give_up_ms) {
        s->gave_up = true;
        loop_stop(s->loop);
    }
    if (s->timer_ms && ms >= s->timer_ms) {
        s->timer_at_ms = ms;
        s->timer_ms = 0;
        loop_stop(s->loop);
    }
    if (s->server)
        udp_flush(s->server);
    if (s->client)
        udp_flush(s->client);
    if (s->want && (s->echo ? s->client_got : s->server_got) >= s->want)
        loop_stop(s->loop);
    if (s->want_empty && s->empty_got)
        loop_stop(s->loop);
    return s->timer_ms && s->timer_ms < s->give_up_ms ? s->timer_ms : s->give_up_ms;
}

static void at_server(void *user, const struct peer *from, struct bytes d)
{
    struct stage *s = user;
    s->server_got++;
    s->bytes_got += d.n;
    s->from = *from;
    if (s->echo)
        udp_send(s->server, from, d);
}

static void at_client(void *user, const struct peer *from, struct bytes d)
{
    struct stage *s = user;
    (void)from;
    if (d.n == 0)
        s->empty_got++;
    else
        s->client_got++;
    s->bytes_got += d.n;
}

static bool readable(void *user, int tag, struct instant now)
{
    struct stage *s = user;
    (void)now;
    if (tag == TAG_SERVER) {
        s->server_calls++;
        if (!s->other_served)
            s->calls_between++;
        return udp_receive(s->server, at_server, s);
    }
    s->other_served = true;
    return udp_receive(s->client, at_client, s);
}

static void begin(struct stage *s)
{
    s->loop = loop_new(turn, s);
    assert_non_null(s->loop);
    if (s->server)
        assert_true(loop_watch(s->loop, udp_fd(s->server), readable, s, TAG_SERVER));
    if (s->client)
        assert_true(loop_watch(s->loop, udp_fd(s->client), readable, s, TAG_CLIENT));
}

static void finish(struct stage *s)
{
    loop_free(s->loop);
    udp_free(s->server);
    udp_free(s->client);
}

/* A server bound to `listen`, and a client connected to it by `dial`. */
static void open_pair(struct stage *s, const char *listen, const char *dial, bool v6only)
{
    char text[256] = {0};
    struct buf diag = buf_on(text, sizeof text - 1);
    struct peer local = rig_peer(listen, 0), at;
    s->server = udp_bind(&local, v6only, &diag);
    if (!s->server)
        fail_msg("%s", text);
    udp_local(s->server, &at);
    uint16_t port = ntohs(at.sa.sa_family == AF_INET ? at.in4.sin_port : at.in6.sin6_port);
    assert_int_not_equal(port, 0);
    struct peer to = rig_peer(dial, port);
    s->client = udp_connect(&to, &diag);
    if (!s->client)
        fail_msg("%s", text);
}

struct way {
    const char *name, *listen, *dial, *local;
};

/* A client that is connected hears nothing from any other address: an echo
 * proves that the answer left from the address that was asked. */
static const struct way ways[] = {
    {"IPv4", "127.0.0.1", "127.0.0.1", "::"},
    {"IPv4 wildcard", "0.0.0.0", "127.0.0.1", "::ffff:127.0.0.1"},
    {"IPv4 wildcard, second address", "0.0.0.0", "127.0.0.77", "::ffff:127.0.0.77"},
    {"IPv6", "::1", "::1", "::"},
    {"IPv6 wildcard", "::", "::1", "::1"},
    {"IPv6 wildcard, IPv4 client", "::", "127.0.0.1", "::ffff:127.0.0.1"},
    {"IPv6 wildcard, second IPv4 address", "::", "127.0.0.77", "::ffff:127.0.0.77"},
};

static void test_echo(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct stage s = {.echo = true, .want = 100};
        open_pair(&s, ways[i].listen, ways[i].dial, false);
        begin(&s);
        for (size_t n = 0; n < s.want; n++) /* more than three batches */
            udp_send(s.client, NULL, BYTES_LIT("ping"));
        assert_true(udp_pending(s.client));
        assert_true(loop_run(s.loop));
        if (s.gave_up || s.client_got != 100 || s.server_got != 100)
            fail_msg("%s: client %zu, server %zu", ways[i].name, s.client_got, s.server_got);
        struct in6_addr local = rig_peer(ways[i].local, 0).in6.sin6_addr;
        assert_memory_equal(&s.from.local, &local, sizeof local);
        struct peer at;
        udp_local(s.client, &at);
        if (at.sa.sa_family == s.from.sa.sa_family)
            assert_true(peer_equal(&at, &s.from));
        struct udp_stats st;
        udp_get_stats(s.server, &st);
        assert_int_equal(st.in, 100);
        assert_int_equal(st.out, 100);
        assert_int_equal(st.dropped_out, 0);
        assert_false(udp_pending(s.server));
        finish(&s);
    }
}

static void test_v6only(void **state)
{
    (void)state;
    char text[256] = {0};
    struct buf diag = buf_on(text, sizeof text - 1);
    struct peer six = rig_peer("::", 0), at;
    struct udp *a = udp_bind(&six, true, &diag);
    assert_non_null(a);
    udp_local(a, &at);
    struct peer four = rig_peer("0.0.0.0", ntohs(at.in6.sin6_port));
    struct udp *b = udp_bind(&four, false, &diag); /* beside it */
    assert_non_null(b);
    assert_null(udp_bind(&four, false, &diag)); /* but not twice */
    assert_non_null(strstr(text, "in use"));
    assert_non_null(strstr(text, "0.0.0.0:"));
    udp_free(a);
    udp_free(b);
    struct peer nowhere = rig_peer("192.0.2.1", 0);
    diag = buf_on(text, sizeof text - 1);
    memset(text, 0, sizeof text);
    assert_null(udp_bind(&nowhere, false, &diag));
    assert_non_null(strstr(text, "no interface"));
}

static void test_sizes(void **state)
{
    (void)state;
    struct stage s = {.want = 2};
    open_pair(&s, "127.0.0.1", "127.0.0.1", false);
    begin(&s);
    static uint8_t large[DATAGRAM_MAX + 1];
    struct peer at;
    udp_local(s.server, &at);
    /* One that we would never send, between two that fit. */
    udp_send(s.client, NULL, bytes_of(large, DATAGRAM_MAX));
    udp_flush(s.client);
    assert_int_equal(send(udp_fd(s.client), large, sizeof large, 0), sizeof large);
    udp_send(s.client, NULL, bytes_of(large, 1));
    udp_send(s.client, NULL, bytes_of(large, sizeof large)); /* does not fit a slot */
    struct buf nothing = udp_slot(s.client);
    udp_commit(s.client, NULL, &nothing);
    assert_true(loop_run(s.loop));
    assert_false(s.gave_up);
    struct udp_stats st;
    udp_get_stats(s.server, &st);
    assert_int_equal(st.in, 3);
    assert_int_equal(st.truncated_in, 1);
    assert_int_equal(s.bytes_got, DATAGRAM_MAX + 1);
    udp_get_stats(s.client, &st);
    assert_int_equal(st.out, 2);
    assert_int_equal(st.dropped_out, 2);

    /* A connected socket hands on what it could read. */
    udp_local(s.client, &at);
    assert_int_equal(sendto(udp_fd(s.server), large, sizeof large, 0, &at.sa, at.len),
                     sizeof large);
    s.echo = true;
    s.want = 1;
    s.bytes_got = 0;
    assert_true(loop_run(s.loop));
    assert_false(s.gave_up);
    assert_int_equal(s.bytes_got, DATAGRAM_MAX);
    udp_get_stats(s.client, &st);
    assert_int_equal(st.truncated_in, 1);
    finish(&s);
}

/* Nobody listens: the kernel's error is told, and does not stop the next. */
static void test_refused(void **state)
{
    (void)state;
    struct stage s = {0};
    open_pair(&s, "127.0.0.1", "127.0.0.1", false);
    udp_free(s.server);
    s.server = NULL;
    begin(&s);
    udp_send(s.client, NULL, BYTES_LIT("anybody?"));
    s.want_empty = true;
    assert_true(loop_run(s.loop));
    assert_false(s.gave_up);
    assert_int_equal(s.empty_got, 1);
    assert_int_equal(s.client_got, 0);
    finish(&s);
}

/* Two datagrams to nobody and one to the world: what cannot leave is dropped
 * by itself. */
static void test_unsendable(void **state)
{
    (void)state;
    struct stage s = {.want = 1};
    open_pair(&s, "127.0.0.1", "127.0.0.1", false);
    begin(&s);
    char text[64];
    struct buf diag = buf_on(text, sizeof text);
    struct peer any = rig_peer("127.0.0.1", 0), at;
    udp_local(s.server, &at);
    struct udp *third = udp_bind(&any, false, &diag);
    assert_non_null(third);
    struct peer bad = rig_peer("127.0.0.1", 0); /* port 0: EINVAL */
    udp_send(third, &bad, BYTES_LIT("lost"));
    udp_send(third, &at, BYTES_LIT("found"));
    udp_flush(third);
    assert_true(loop_run(s.loop));
    assert_int_equal(s.server_got, 1);
    struct udp_stats st;
    udp_get_stats(third, &st);
    assert_int_equal(st.dropped_out, 1);
    assert_int_equal(st.out, 1);
    udp_free(third);
    finish(&s);
}

/* A socket with much to read yields after a batch: the other is served, and
 * turns are taken, before it is empty. */
static void test_fair(void **state)
{
    (void)state;
    struct stage s = {.want = 6 * DATAGRAM_BATCH};
    open_pair(&s, "127.0.0.1", "127.0.0.1", false);
    begin(&s);
    struct peer back;
    udp_local(s.client, &back);
    for (size_t n = 0; n < s.want; n++)
        udp_send(s.client, NULL, BYTES_LIT("flood"));
    udp_flush(s.client);
    udp_send(s.server, &back, BYTES_LIT("one"));
    udp_flush(s.server);
    assert_true(loop_run(s.loop));
    assert_false(s.gave_up);
    assert_int_equal(s.client_got, 1);
    assert_true(s.server_calls >= 6);
    assert_true(s.calls_between <= 1);
    assert_true(s.turns >= 6);
    finish(&s);
}

static void test_timer(void **state)
{
    (void)state;
    struct stage s = {0};
    begin(&s);
    uint64_t begun = instant_ms(loop_now(s.loop));
    s.timer_ms = begun + 50;
    assert_true(loop_run(s.loop));
    assert_false(s.gave_up);
    assert_true(s.timer_at_ms >= begun + 50);
    assert_true(s.timer_at_ms < begun + PATIENCE_MS);
    assert_true(s.turns < 20); /* it slept between */
    finish(&s);
}

/* What leaves in one turn for one device may leave in runs of equal sizes. It
 * arrives as what it was, and in its order, also where runs are refused. */
#define EIGHT(n) n, n, n, n, n, n, n, n
static const struct burst {
    const char *name;
    const char *at;
    bool refused;                   /* a socket without checksums takes no runs */
    uint16_t sizes[DATAGRAM_BATCH]; /* 0: the end */
} bursts[] = {
    {"one", "127.0.0.1", false, {40}},
    {"two of a size", "127.0.0.1", false, {40, 40}},
    {"one shorter at the end", "127.0.0.1", false, {40, 40, 39}},
    {"one longer at the end", "127.0.0.1", false, {40, 40, 41}},
    {"each longer", "127.0.0.1", false, {1, 2, 3, 4, 5, 6, 7, 8}},
    {"each shorter", "127.0.0.1", false, {8, 7, 6, 5, 4, 3, 2, 1}},
    {"a byte each", "127.0.0.1", false, {1, 1, 1, 1, 1, 1, 1, 1, 1}},
    {"short between", "127.0.0.1", false, {40, 1, 40, 40, 1, 40, 1, 1, 40, 40}},
    {"longest of runs", "127.0.0.1", false, {1232, 1232, 1232, 5}},
    {"too long for a run", "127.0.0.1", false, {1233, 1233, 1233, 5, 5}},
    {"longest", "127.0.0.1", false, {DATAGRAM_MAX, DATAGRAM_MAX, 40, 40}},
    {"more than one run holds",
     "127.0.0.1",
     false,
     {EIGHT(1232), EIGHT(1232), EIGHT(1232), EIGHT(1232), EIGHT(1232), EIGHT(1232), EIGHT(1232),
      EIGHT(1232)}},
    {"IPv6", "::1", false, {40, 40, 41, 41, 7, 7, 1232, 1232}},
    {"refused: one", "127.0.0.1", true, {40}},
    {"refused: two of a size", "127.0.0.1", true, {40, 40}},
    {"refused: behind others", "127.0.0.1", true, {1300, 3, 40, 40, 40, 1, 1, 41, 41, 40}},
    {"refused: IPv6", "::1", true, {40, 40, 41, 41, 7, 7}},
};

static void arrives(struct stage *s, const struct burst *b, size_t i, size_t n)
{
    static uint8_t got[DATAGRAM_MAX + 1];
    struct pollfd p = {udp_fd(s->server), POLLIN, 0};
    ssize_t len = poll(&p, 1, PATIENCE_MS) == 1 ? recv(p.fd, got, sizeof got, 0) : -1;
    if (len != (ssize_t)n)
        fail_msg("%s: datagram %zu: got %zd, wanted %zu", b->name, i, len, n);
    for (size_t k = 0; k < n; k++)
        if (got[k] != (uint8_t)(i + k))
            fail_msg("%s: datagram %zu, byte %zu: got %u", b->name, i, k, got[k]);
}

static void test_bursts(void **state)
{
    (void)state;
    uint8_t text[DATAGRAM_MAX];
    for (const struct burst *b = bursts; b < bursts + sizeof bursts / sizeof *bursts; b++) {
        struct stage s = {0};
        int yes = 1;
        size_t n = 0;
        open_pair(&s, b->at, b->at, false);
        bool six = strchr(b->at, ':') != NULL;
        int level = six ? IPPROTO_UDP : SOL_SOCKET, option = six ? UDP_NO_CHECK6_TX : SO_NO_CHECK;
        if (b->refused) {
            assert_int_equal(setsockopt(udp_fd(s.client), level, option, &yes, sizeof yes), 0);
            if (six)
                assert_int_equal(
                    setsockopt(udp_fd(s.server), level, UDP_NO_CHECK6_RX, &yes, sizeof yes), 0);
        }
        for (int again = 0; again < 2; again++) { /* the second: what was learned */
            for (n = 0; n < DATAGRAM_BATCH && b->sizes[n]; n++) {
                for (size_t k = 0; k < b->sizes[n]; k++)
                    text[k] = (uint8_t)(n + k);
                udp_send(s.client, NULL, bytes_of(text, b->sizes[n]));
            }
            udp_flush(s.client);
            for (size_t i = 0; i < n; i++)
                arrives(&s, b, i, b->sizes[i]);
        }
        struct udp_stats st;
        udp_get_stats(s.client, &st);
        if (st.out != 2 * n || st.dropped_out != 0)
            fail_msg("%s: %zu out, %zu dropped", b->name, (size_t)st.out, (size_t)st.dropped_out);
        udp_free(s.server);
        udp_free(s.client);
    }
}

/* After many that came alone one is read at a time, until more come. None is
 * lost, cut or told twice on the way there and back. */
static void test_one_by_one(void **state)
{
    (void)state;
    static uint8_t large[DATAGRAM_MAX + 1];
    struct stage s = {0};
    open_pair(&s, "127.0.0.1", "127.0.0.1", false);
    size_t sent = 0, calls = 0;
    for (size_t burst = 1; burst <= 40; burst += 13)
        for (size_t i = 0; i < 20; i++) {
            size_t n = i == 19 ? burst : 1;
            for (size_t k = 0; k < n; k++, sent++)
                udp_send(s.client, NULL, BYTES_LIT("word"));
            udp_flush(s.client);
            struct pollfd p = {udp_fd(s.server), POLLIN, 0};
            while (s.server_got < sent && poll(&p, 1, PATIENCE_MS) == 1) {
                (void)udp_receive(s.server, at_server, &s);
                calls++;
            }
            assert_int_equal(s.server_got, sent);
        }
    assert_true(calls < 4 * 20 + 4 * 8); /* a burst takes a few more than one */
    assert_int_equal(s.bytes_got, 4 * sent);
    for (size_t i = 0; i < 6; i++) { /* one that is too long, alone */
        assert_int_equal(send(udp_fd(s.client), large, sizeof large, 0), sizeof large);
        (void)udp_receive(s.server, at_server, &s);
    }
    assert_int_equal(s.server_got, sent);
    struct udp_stats st;
    udp_get_stats(s.server, &st);
    assert_int_equal(st.truncated_in, 6);
    assert_false(udp_receive(s.server, at_server, &s)); /* nothing */
    assert_int_equal(s.server_got, sent);
    udp_free(s.server);
    udp_free(s.client);
}

static void on_signal(void *user, int signo)
{
    struct stage *s = user;
    s->signals += signo;
    loop_stop(s->loop);
}

static void test_signal(void **state)
{
    (void)state;
    struct stage s = {0};
    begin(&s);
    assert_true(loop_signal(s.loop, SIGUSR1, on_signal, &s));
    assert_int_equal(raise(SIGUSR1), 0);
    assert_true(loop_run(s.loop));
    assert_int_equal(s.signals, SIGUSR1);
    assert_false(s.gave_up);
    finish(&s);
}

static bool leaves(void *user, int tag, struct instant now)
{
    struct stage *s = user;
    (void)tag, (void)now;
    s->server_calls++;
    loop_unwatch(s->loop, udp_fd(s->server)); /* from within its own call */
    s->timer_ms = instant_ms(now) + 20;
    return true;
}

static void test_unwatch(void **state)
{
    (void)state;
    struct stage s = {0};
    open_pair(&s, "127.0.0.1", "127.0.0.1", false);
    s.loop = loop_new(turn, &s);
    assert_non_null(s.loop);
    assert_true(loop_watch(s.loop, udp_fd(s.server), leaves, &s, TAG_SERVER));
    udp_send(s.client, NULL, BYTES_LIT("a"));
    udp_send(s.client, NULL, BYTES_LIT("b"));
    assert_true(loop_run(s.loop));
    assert_false(s.gave_up);
    assert_int_equal(s.server_calls, 1);
    finish(&s);
}

static void set_network(bool there)
{
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
    struct peer p = rig_peer(there ? "127.0.0.1" : "0.0.0.0", 0);
    memcpy(&r.ifr_addr, &p.sa, sizeof r.ifr_addr);
    assert_int_equal(ioctl(fd, SIOCSIFADDR, &r), 0);
    close(fd);
}

static void says(struct stage *s, size_t arrives)
{
    s->server_got = 0;
    udp_send(s->client, NULL, BYTES_LIT("lamp?"));
    udp_flush(s->client);
    (void)udp_receive(s->server, at_server, s);
    assert_int_equal(s->server_got, arrives);
    assert_int_equal(udp_has_way(s->client), arrives == 1);
}

/* A device whose network is not there, at the start or for a while. In a
 * network of its own, which it keeps: the last test. */
static void test_no_way_yet(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        skip();
    char text[256];
    struct buf diag = buf_on(text, sizeof text);
    struct peer at = rig_peer("127.0.0.1", 5683), any = rig_peer("0.0.0.0", 5683);
    struct stage s = {0};
    s.client = udp_connect(&at, &diag);
    assert_non_null(s.client);
    assert_false(udp_has_way(s.client));
    s.server = udp_bind(&any, false, &diag);
    assert_non_null(s.server);
    says(&s, 0);
    set_network(true);
    says(&s, 1);
    set_network(false);
    says(&s, 0);
    says(&s, 0);
    set_network(true);
    says(&s, 1);
    struct udp_stats st;
    udp_get_stats(s.client, &st);
    assert_int_equal(st.out, 2);
    assert_int_equal(st.dropped_out, 3);
    udp_free(s.client);
    udp_free(s.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),       cmocka_unit_test(test_v6only),
        cmocka_unit_test(test_sizes),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unsendable), cmocka_unit_test(test_fair),
        cmocka_unit_test(test_timer),      cmocka_unit_test(test_signal),
        cmocka_unit_test(test_unwatch),    cmocka_unit_test(test_bursts),
        cmocka_unit_test(test_one_by_one), cmocka_unit_test(test_no_way_yet),
    };
    return cmocka_run_group_tests_name("udp_loop", tests, NULL, NULL);
}
