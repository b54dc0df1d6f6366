/* CoAP over TCP and TLS, both sides ours and both real, on loopback; and a
 * raw peer that does as it likes. Time is invented. */
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "../pep/crypto.h"
#include "../proxy/budget.h"
#include "../proxy/conn.h"
#include "../proxy/limits.h"
#include "poll_loop.h"
#include "support_dtls.h"
#include "support_hex.h"

#define N(a) (sizeof(a) / sizeof *(a))

enum { TAG_SERVER = 7, TAG_CLIENT = 8 };

static const uint8_t KEY[16] = "postern test key";
static const uint8_t WRONG[16] = "another test key";

static struct stage {
    struct loop loop;
    struct conns *server, *client;
    struct tls *server_tls, *client_tls;
    struct peer at;
    /* the server's judge */
    bool wait, refuse, busy, mute;
    bool bytes_known; /* certificates are judged by `spki`, else by their chain */
    struct bytes spki;
    size_t asked, judged;
    uint8_t seen[IDENTITY_MAX];
    size_t seen_n;
    /* what happened at the server */
    struct conn *accepted;
    size_t n_opened, n_closed, n_messages;
    const char *reason;
    struct msg last;
    uint8_t datagram[MESSAGE_MAX + 8];
    size_t datagram_n;
    /* and at the client */
    struct conn *made;
    size_t c_opened, c_closed, c_messages;
    const char *c_reason;
    uint8_t c_datagram[MESSAGE_MAX + 8];
    size_t c_datagram_n;
} st;

/* ---- the server ---- */

static enum pep_key_state find_psk(void *user, struct conn *c, struct bytes identity,
                                   struct pep_proof *out)
{
    (void)user, (void)c;
    st.asked++;
    st.seen_n = identity.n;
    memcpy(st.seen, identity.p, identity.n);
    if (st.wait)
        return PEP_KEY_WAIT;
    if (!bytes_equal_str(identity, "panel") && !(identity.n > 5 && !memcmp(identity.p, "panel", 5)))
        return PEP_KEY_NONE;
    memcpy(out->key, KEY, sizeof KEY);
    out->key_n = sizeof KEY;
    out->kind = PEP_IDENTITY_SUBJECT;
    return PEP_KEY_FOUND;
}

static bool judge(void *user, struct conn *c, const struct pep_certificate *cert,
                  struct pep_proof *out)
{
    (void)user, (void)c;
    st.judged++;
    out->trusted = cert->trusted;
    return st.bytes_known ? bytes_equal(cert->spki, st.spki) : cert->trusted;
}

static bool on_opened(void *user, struct conn *c, struct instant now)
{
    (void)user, (void)now;
    st.accepted = c;
    st.n_opened++;
    assert_int_equal(conn_tag(c), TAG_SERVER);
    return !st.refuse;
}

static void on_message(void *user, struct conn *c, const struct msg *m, struct bytes datagram,
                       struct instant now)
{
    (void)user;
    st.n_messages++;
    st.last = *m;
    st.datagram_n = datagram.n;
    memcpy(st.datagram, datagram.p, datagram.n);
    if (st.mute)
        return;
    uint8_t answer[MESSAGE_MAX];
    memcpy(answer, datagram.p, datagram.n);
    answer[1] = MSG_CODE(2, 5);
    (void)conn_send(c, bytes_of(answer, datagram.n), now);
}

static bool on_busy(void *user, struct conn *c)
{
    (void)user, (void)c;
    return st.busy;
}

static void on_closed(void *user, struct conn *c, const char *reason, struct instant now)
{
    (void)user, (void)now;
    st.n_closed++;
    st.reason = reason;
    if (st.accepted == c)
        st.accepted = NULL;
}

/* ---- the client ---- */

static bool c_opened(void *user, struct conn *c, struct instant now)
{
    (void)user, (void)c, (void)now;
    st.c_opened++;
    return true;
}

static void c_message(void *user, struct conn *c, const struct msg *m, struct bytes datagram,
                      struct instant now)
{
    (void)user, (void)c, (void)m, (void)now;
    st.c_messages++;
    st.c_datagram_n = datagram.n;
    memcpy(st.c_datagram, datagram.p, datagram.n);
}

static void c_closed(void *user, struct conn *c, const char *reason, struct instant now)
{
    (void)user, (void)c, (void)now;
    st.c_closed++;
    st.c_reason = reason;
    st.made = NULL;
}

/* ---- the stage ---- */

static uint64_t turn(void)
{
    uint64_t a = conns_turn(st.server, st.loop.now), b = conns_turn(st.client, st.loop.now);
    while (conns_serve(st.server, st.loop.now))
        a = conns_turn(st.server, st.loop.now);
    return a < b ? a : b;
}

/* Until it is so; fails when nothing more happens before. */
#define UNTIL(what)                                                                                \
    do {                                                                                           \
        int tries_ = 0;                                                                            \
        (void)turn();                                                                              \
        while (!(what)) {                                                                          \
            bool moved_ = poll_loop_once(&st.loop, 100);                                           \
            uint64_t due_ = turn();                                                                \
            if (!moved_ && due_ > instant_ms(st.loop.now) && ++tries_ > 30)                        \
                fail_msg("never: %s (server: %s, client: %s)", #what, st.reason ? st.reason : "-", \
                         st.c_reason ? st.c_reason : "-");                                         \
        }                                                                                          \
    } while (0)

static void pass(uint64_t ms)
{
    st.loop.now.mono_us += ms * 1000;
    (void)turn();
}

static const struct conns_config usual = {
    .max = 8, .max_half = 6, .max_half_per_net = 4, .max_message = 2048, .idle_ms = 600000};

static void begin(const struct conns_config *config, struct tls *server_tls, struct tls *client_tls)
{
    static const struct conn_ops server = {find_psk,   judge,   on_opened,
                                           on_message, on_busy, on_closed};
    static const struct conn_ops client = {
        .opened = c_opened, .message = c_message, .closed = c_closed};
    memset(&st, 0, sizeof st);
    st.loop.now.mono_us = 1000000000;
    st.server_tls = server_tls;
    st.client_tls = client_tls;
    st.server = conns_new(&st.loop, config, &server, &st);
    st.client = conns_new(&st.loop, &usual, &client, &st);
    assert_non_null(st.server);
    assert_non_null(st.client);
    struct peer any = rig_peer("127.0.0.1", 0);
    char why[256];
    struct buf diag = buf_on(why, sizeof why);
    assert_true(conns_listen(st.server, &any, false, server_tls, TAG_SERVER, &diag));
    conns_local(st.server, 0, &st.at);
}

static void end(void)
{
    conns_free(st.client);
    conns_free(st.server);
    assert_int_equal(st.loop.n, 0);
    tls_free(st.client_tls);
    tls_free(st.server_tls);
}

static void connect_client(void)
{
    st.made = conn_connect(st.client, &st.at, st.client_tls, TAG_CLIENT, st.loop.now);
    assert_non_null(st.made);
}

static struct conns_stats stats(void)
{
    struct conns_stats s;
    conns_get_stats(st.server, &s);
    return s;
}

/* ---- a raw peer ---- */

static int raw(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    assert_int_equal(connect(fd, &st.at.sa, st.at.len), 0);
    return fd;
}

static void say(int fd, const char *hex)
{
    struct bytes b = unhex(hex);
    assert_int_equal(send(fd, b.p, b.n, MSG_NOSIGNAL), b.n);
}

/* All that the gateway has said to it so far. */
static struct bytes hear(int fd)
{
    static uint8_t all[1 << 16];
    size_t n = 0;
    for (ssize_t got; (got = recv(fd, all + n, sizeof all - n, MSG_DONTWAIT)) > 0;)
        n += (size_t)got;
    return bytes_of(all, n);
}

static bool contains(struct bytes all, const char *hex)
{
    struct bytes part = unhex(hex);
    return all.n >= part.n && memmem(all.p, all.n, part.p, part.n) != NULL;
}

#define CSM     "30 e1 22 0800"
#define OUR_CSM "40 e1 22 0800 20"
#define GET     "31 01 aa b2 6869"
#define ANSWER  "31 45 aa b2 6869"

/* ---- plain ---- */

static void test_both_ways(void **state)
{
    (void)state;
    begin(&usual, NULL, NULL);
    connect_client();
    UNTIL(st.n_opened == 1 && st.c_opened == 1);
    assert_true(conn_is_open(st.made) && conn_is_open(st.accepted));
    assert_null(conn_proof(st.accepted));
    assert_string_equal(conn_suite(st.accepted), "-");

    struct bytes get = unhex("41 01 1234 aa b2 6869");
    assert_true(conn_send(st.made, get, st.loop.now));
    UNTIL(st.c_messages == 1);
    assert_int_equal(st.last.type, TYPE_NON); /* a stranger's */
    assert_int_equal(st.last.code, MSG_GET);
    assert_int_equal(st.last.token_n, 1);
    assert_true(bytes_equal_str(msg_find(&st.last, 11)->value, "hi"));
    /* The same datagram but for its message ID. */
    assert_int_equal(st.datagram_n, get.n);
    assert_memory_equal(st.datagram + 4, get.p + 4, get.n - 4);

    /* What means nothing here is dropped; what is no message is refused. */
    assert_true(conn_send(st.made, unhex("60 00 1234"), st.loop.now));
    assert_true(conn_send(st.made, unhex("70 00 1234"), st.loop.now));
    assert_false(conn_send(st.made, unhex("60 00"), st.loop.now));
    assert_false(conn_send(st.made, unhex("49 01 0000 010203040506070809"), st.loop.now));

    /* As large as may be, and one byte more. */
    uint8_t large[MESSAGE_MAX + 1] = {0x40, 0x02, 0, 0, 0xff};
    assert_true(conn_send(st.made, bytes_of(large, MESSAGE_MAX), st.loop.now));
    UNTIL(st.c_messages == 2);
    assert_int_equal(st.datagram_n, MESSAGE_MAX);
    assert_int_equal(st.c_datagram_n, MESSAGE_MAX);
    assert_false(conn_send(st.made, bytes_of(large, MESSAGE_MAX + 1), st.loop.now));
    assert_true(conn_is_open(st.made));
    assert_int_equal(conn_message_max(st.made), MESSAGE_MAX);

    conn_close(st.made, "enough", st.loop.now);
    assert_false(conn_send(st.made, get, st.loop.now));
    UNTIL(st.n_closed == 1 && st.c_closed == 1);
    assert_string_equal(st.reason, "closed-by-peer");
    assert_string_equal(st.c_reason, "enough");
    struct conns_stats s = stats();
    assert_int_equal(s.messages, 2);
    assert_int_equal(s.open + s.half_open, 0);
    end();
}

static const struct {
    const char *name, *hex;
    const char *reason; /* NULL: it stays */
    size_t messages;
    const char *heard; /* at its end */
} peers[] = {
    {"a request", CSM GET, NULL, 1, ANSWER},
    {"  before the CSM", GET, "aborted", 0, "e5"},
    {"  before the CSM, by an empty message", "0000" GET, "aborted", 0, "e5"},
    {"  behind an empty message", "0000" CSM "0000" GET "0000", NULL, 1, ANSWER},
    {"  that is cut", CSM "31 01 aa b2 68", NULL, 0, OUR_CSM},
    {"  and half of another", CSM GET "31 01 aa b2 68", NULL, 1, ANSWER},
    {"  twice the same: there are no duplicates", CSM GET GET, NULL, 2, ANSWER},
    {"  with an option that is cut", CSM "31 01 aa b9 6869", "aborted", 0, "e5"},
    {"  of a class that is reserved", CSM "31 21 aa b2 6869", "aborted", 0, "e5"},
    {"  and one with nothing but a marker behind it", CSM GET "10 01 ff", "aborted", 1, "e5"},
    {"a critical option in the CSM", "10 e1 10", "aborted", 0, "e5 21 01 ff"},
    {"a token of 9", CSM "09 01 010203040506070809", "aborted", 0, "e5"},
    {"a length of 4 GiB", CSM "f0 ffffffff 01", "aborted", 0, "e5"},
    {"a length that is one too many", CSM "e1 06f0 01 aa", "aborted", 0, "e5"},
    {"Ping", CSM "02 e2 abcd", NULL, 0, "02 e3 abcd"},
    {"  with Custody", CSM "12 e2 abcd 20", NULL, 0, "12 e3 abcd 20"},
    {"Release", CSM "00 e4", "released", 0, OUR_CSM},
    {"Abort", CSM "00 e5", "aborted-by-peer", 0, OUR_CSM},
    {"an answer that it takes",
     "20 e1 21 20 d0 0e 02 ff 00000000 00000000 00000000 00000000 00000000 00000000 0000", NULL, 1,
     "d0 0e 45 ff"},
    {"  one byte larger",
     "20 e1 21 20 d0 11 02 ff 00000000 00000000 00000000 00000000 00000000 00000000 0000000000",
     NULL, 1, OUR_CSM},
};

static void test_peers(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(peers); i++)
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            begin(&usual, NULL, NULL);
            int fd = raw();
            UNTIL(stats().accepted == 1);
            struct bytes all = unhex(peers[i].hex);
            for (size_t k = 0; k < all.n; k += bytewise ? 1 : all.n) {
                /* Who was aborted may be gone before the last byte. */
                (void)!send(fd, all.p + k, bytewise ? 1 : all.n, MSG_NOSIGNAL);
                while (poll_loop_once(&st.loop, bytewise ? 1 : 20))
                    (void)turn();
            }
            while (poll_loop_once(&st.loop, 20))
                (void)turn();
            (void)turn();
            bool closed = st.n_closed > 0;
            struct bytes heard = hear(fd);
            if (closed != (peers[i].reason != NULL) ||
                (closed && strcmp(st.reason, peers[i].reason) != 0) ||
                st.n_messages != peers[i].messages || !contains(heard, OUR_CSM) ||
                !contains(heard, peers[i].heard))
                fail_msg("%s%s: %s after %zu messages, heard %zu bytes", peers[i].name,
                         bytewise ? " (byte by byte)" : "", closed ? st.reason : "open",
                         st.n_messages, heard.n);
            close(fd);
            end();
        }
}

/* A hundred in one segment: taken in turns, none lost, in order. */
static void test_many_at_once(void **state)
{
    (void)state;
    begin(&usual, NULL, NULL);
    int fd = raw();
    uint8_t all[100 * 4 + 8];
    struct buf b = buf_on(all, sizeof all);
    buf_put(&b, unhex(CSM));
    for (uint8_t i = 0; i < 100; i++) {
        buf_put(&b, unhex("01 01"));
        buf_put_u8(&b, i);
    }
    assert_false(b.full);
    assert_int_equal(send(fd, b.p, b.n, 0), b.n);
    UNTIL(st.n_opened == 1);
    assert_true(st.n_messages <= 2 * CONN_MESSAGES);
    UNTIL(st.n_messages == 100);
    struct bytes heard = hear(fd);
    assert_int_equal(heard.n, unhex(OUR_CSM).n + 300);
    for (uint8_t i = 0; i < 100; i++)
        assert_int_equal(heard.p[unhex(OUR_CSM).n + 3u * i + 2], i);
    close(fd);
    UNTIL(st.n_closed == 1);
    end();
}

/* ---- time ---- */

/* One that we began and that is silent is asked whether it is there. */
static void test_kept(void **state)
{
    (void)state;
    struct conns_config keeps = usual;
    keeps.keep_ms = 30000; /* below CONN_PLAIN_IDLE_MS, of the other side */
    begin(&usual, NULL, NULL);
    conns_free(st.client);
    static const struct conn_ops client = {
        .opened = c_opened, .message = c_message, .closed = c_closed};
    st.client = conns_new(&st.loop, &keeps, &client, &st);
    connect_client();
    UNTIL(st.n_opened == 1 && st.c_opened == 1);
    uint64_t due_ms = turn();
    assert_true(due_ms <= instant_ms(st.loop.now) + keeps.keep_ms);
    for (int i = 0; i < 5; i++) { /* its Pong counts as a word */
        pass(keeps.keep_ms);
        while (poll_loop_once(&st.loop, 20))
            (void)turn();
        pass(CONN_PONG_MS);
        assert_int_equal(st.c_closed, 0);
    }
    /* A NAT has forgotten it: what it says is never heard. */
    pass(keeps.keep_ms);
    pass(CONN_PONG_MS - 1);
    assert_int_equal(st.c_closed, 0);
    pass(1);
    assert_int_equal(st.c_closed, 1);
    assert_string_equal(st.c_reason, "silent");
    end();
}

static const struct {
    const char *name, *hex;
    uint64_t ms;
    const char *reason;
} patience[] = {
    {"nothing at all", "", CONN_HALF_MS, "no-csm"},
    {"half a CSM", "30 e1", CONN_HALF_MS, "no-csm"},
    {"empty messages and no CSM", "0000 0000", CONN_HALF_MS, "no-csm"},
    {"nothing behind the CSM", CSM, CONN_PLAIN_IDLE_MS, "idle"},
    {"half a message", CSM "31 01 aa", CONN_FRAME_MS, "aborted"},
    {"a message and half of one", CSM GET "31 01 aa", CONN_FRAME_MS, "aborted"},
};

static void test_patience(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(patience); i++) {
        begin(&usual, NULL, NULL);
        int fd = raw();
        UNTIL(stats().accepted == 1);
        say(fd, patience[i].hex);
        while (poll_loop_once(&st.loop, 20))
            (void)turn();
        pass(patience[i].ms - 1);
        if (st.n_closed != 0)
            fail_msg("%s: %s too early", patience[i].name, st.reason);
        pass(1);
        if (st.n_closed != 1 || strcmp(st.reason, patience[i].reason) != 0)
            fail_msg("%s: %s", patience[i].name, st.n_closed ? st.reason : "stayed");
        close(fd);
        end();
    }
}

/* A byte now and then does not move the end of a message. */
static void test_drip(void **state)
{
    (void)state;
    begin(&usual, NULL, NULL);
    int fd = raw();
    say(fd, CSM "d0 ff 02");
    UNTIL(st.n_opened == 1);
    for (int i = 0; i < 9; i++) {
        pass(CONN_FRAME_MS / 10);
        say(fd, "ff");
        UNTIL(!poll_loop_once(&st.loop, 0));
        assert_int_equal(st.n_closed, 0);
    }
    pass(CONN_FRAME_MS / 10);
    assert_int_equal(st.n_closed, 1);
    assert_string_equal(st.reason, "aborted");
    close(fd);
    end();
}

static void test_ping(void **state)
{
    (void)state;
    begin(&usual, NULL, NULL);
    connect_client();
    UNTIL(st.n_opened == 1 && st.c_opened == 1);
    conn_ping(st.made, st.loop.now);
    while (poll_loop_once(&st.loop, 20))
        (void)turn();
    pass(CONN_PONG_MS + 1); /* it was answered */
    assert_int_equal(st.c_closed, 0);
    end();

    begin(&usual, NULL, NULL); /* a peer that does not */
    int fd = raw();
    say(fd, CSM);
    UNTIL(st.n_opened == 1);
    conn_ping(st.accepted, st.loop.now);
    pass(CONN_PONG_MS - 1);
    assert_int_equal(st.n_closed, 0);
    pass(1);
    assert_string_equal(st.reason, "silent");
    close(fd);
    end();

    begin(&usual, NULL, NULL); /* any word will do */
    fd = raw();
    say(fd, CSM);
    UNTIL(st.n_opened == 1);
    conn_ping(st.accepted, st.loop.now);
    say(fd, "0000");
    while (poll_loop_once(&st.loop, 20))
        (void)turn();
    pass(CONN_PONG_MS + 1);
    assert_int_equal(st.n_closed, 0);
    close(fd);
    end();
}

static void test_custody_and_release(void **state)
{
    (void)state;
    begin(&usual, NULL, NULL);
    int fd = raw();
    st.busy = st.mute = true;
    say(fd, CSM GET "11 e2 aa 20"
                    "11 e2 bb 20");
    UNTIL(st.n_messages == 1);
    (void)turn();
    struct bytes heard = hear(fd);
    assert_false(contains(heard, "e3 aa"));
    assert_true(contains(heard, "01 e3 bb")); /* a second is answered, without */
    st.busy = false;
    (void)turn();
    assert_true(contains(hear(fd), "11 e3 aa 20"));

    st.busy = true; /* what is under way may finish, for a while */
    say(fd, "00 e4");
    while (poll_loop_once(&st.loop, 20))
        (void)turn();
    assert_int_equal(st.n_closed, 0);
    assert_true(conn_is_released(st.accepted));
    assert_true(conn_send(st.accepted, unhex("61 45 0000 aa"), st.loop.now));
    assert_true(contains(hear(fd), "01 45 aa"));
    pass(CONN_RELEASE_MS);
    assert_string_equal(st.reason, "released");
    close(fd);
    end();

    begin(&usual, NULL, NULL); /* ours */
    connect_client();
    UNTIL(st.n_opened == 1 && st.c_opened == 1);
    st.busy = true;
    conn_release(st.accepted, st.loop.now);
    UNTIL(st.c_closed == 1);
    assert_string_equal(st.c_reason, "released");
    UNTIL(st.n_closed == 1);
    end();
}

/* ---- room ---- */

static void test_room(void **state)
{
    (void)state;
    begin(&usual, NULL, NULL);
    connect_client(); /* ours, to somebody else: not among the strangers there */
    UNTIL(st.c_opened == 1 && st.n_opened == 1);
    int fds[20];
    for (size_t i = 0; i < N(fds); i++) {
        fds[i] = raw();
        UNTIL(stats().accepted == i + 2);
        assert_true(stats().half_open <= usual.max_half_per_net);
    }
    /* Plain connections are strangers' all: even the first had to go. */
    assert_int_equal(stats().evicted, N(fds) + 1 - usual.max_half_per_net);
    say(fds[N(fds) - 1], CSM GET);
    UNTIL(st.n_messages == 1);
    for (size_t i = 0; i < N(fds); i++)
        close(fds[i]);
    UNTIL(stats().half_open == 0);
    end();
}

/* The loop is not kept busy by connections beyond the rate. */
static void test_accept_rate(void **state)
{
    (void)state;
    struct conns_config large = usual;
    large.max_half = large.max_half_per_net = 1000;
    begin(&large, NULL, NULL);
    enum { MANY = CONN_ACCEPTS_S + 40 };
    static int fds[MANY];
    for (size_t i = 0; i < MANY; i++) {
        fds[i] = raw();
        while (poll_loop_once(&st.loop, 0))
            (void)turn();
    }
    while (poll_loop_once(&st.loop, 10))
        (void)turn();
    size_t at_once = stats().accepted;
    assert_in_range(at_once, CONN_ACCEPTS_S, CONN_ACCEPTS_S + 1);
    for (int i = 0; i < 100 && stats().accepted < MANY; i++) {
        pass(10);
        while (poll_loop_once(&st.loop, 10))
            (void)turn();
    }
    assert_int_equal(stats().accepted, MANY);
    for (size_t i = 0; i < MANY; i++)
        close(fds[i]);
    UNTIL(stats().half_open == 0);
    end();
}

/* Who asks and does not read: is not read from any more, and never fills
 * more than the bound. */
static void test_slow_reader(void **state)
{
    (void)state;
    begin(&usual, NULL, NULL);
    int fd = raw();
    say(fd, CSM);
    UNTIL(st.n_opened == 1);
    uint8_t ask[MESSAGE_MAX] = {0xe0, 0x06, 0xef, 0x02, 0xff};
    size_t whole;
    assert_int_equal(frame_look(bytes_of(ask, sizeof ask), MESSAGE_MAX, &whole), FRAME_WHOLE);
    size_t sent = 0;
    for (int quiet = 0; quiet < 3;) {
        ssize_t n = send(fd, ask + sent % whole, whole - sent % whole, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        quiet = n > 0 ? 0 : quiet + 1;
        while (poll_loop_once(&st.loop, n > 0 ? 0 : 20))
            (void)turn();
        assert_int_equal(st.n_closed, 0);
    }
    size_t before = st.n_messages;
    assert_true(before < sent / whole); /* what it sent is not read */
    /* Once it reads, all comes, and in one piece. */
    size_t heard = 0;
    for (int quiet = 0; quiet < 3;) {
        struct bytes got = hear(fd);
        heard += got.n;
        bool moved = false;
        while (poll_loop_once(&st.loop, 5)) {
            (void)turn();
            moved = true;
        }
        (void)turn();
        quiet = got.n || moved ? 0 : quiet + 1;
    }
    assert_int_equal(st.n_messages, sent / whole);
    assert_int_equal(heard, unhex(OUR_CSM).n + st.n_messages * whole);

    /* What is not asked for is bounded too. */
    bool ok = true;
    for (size_t i = 0; ok && i < 100000; i++)
        ok = conn_send(st.accepted, bytes_of(st.datagram, st.datagram_n), st.loop.now);
    assert_false(ok);
    (void)turn();
    assert_string_equal(st.reason, "slow-reader");
    assert_int_equal(stats().slow, 1);
    close(fd);
    end();
}

/* ---- TLS ---- */

static struct tls *server_tls(bool certificate)
{
    struct dtls_config c = {0};
    if (certificate) {
        c.certificate = TESTS_DIR "/keys/gateway.crt";
        c.key = TESTS_DIR "/keys/gateway.key";
        c.client_ca = TESTS_DIR "/keys/ca.crt";
    }
    char why[256];
    struct buf diag = buf_on(why, sizeof why);
    struct tls *t = tls_server_new(&c, &diag);
    assert_non_null(t);
    return t;
}

static struct tls *psk_tls(struct bytes identity, struct bytes key)
{
    struct dtls_out_config c = {.identity = identity, .psk = key, .host = "127.0.0.1"};
    const char *why;
    struct tls *t = tls_client_new(&c, &why);
    if (!t)
        fail_msg("%s", why);
    return t;
}

static struct tls *certificate_tls(const char *name)
{
    char path[64];
    char *ca = rig_file("keys/ca.crt"), *crt = NULL, *key = NULL;
    struct dtls_out_config c = {.ca = bytes_str(ca), .host = "gateway.home"};
    if (name) {
        (void)snprintf(path, sizeof path, "keys/%s.crt", name);
        crt = rig_file(path);
        (void)snprintf(path, sizeof path, "keys/%s.key", name);
        key = rig_file(path);
        c.certificate = bytes_str(crt);
        c.key = bytes_str(key);
    }
    const char *why;
    struct tls *t = tls_client_new(&c, &why);
    if (!t)
        fail_msg("%s", why);
    free(ca);
    free(crt);
    free(key);
    return t;
}

static void echo(void)
{
    uint8_t large[MESSAGE_MAX] = {0x40, 0x02, 0, 0, 0xff};
    size_t before = st.c_messages;
    for (size_t i = 1; i <= 40; i++) {
        assert_true(conn_send(st.made, bytes_of(large, i % 2 ? sizeof large : 4), st.loop.now));
        (void)turn();
    }
    UNTIL(st.c_messages == before + 40);
}

static void test_psk(void **state)
{
    (void)state;
    uint8_t longest[IDENTITY_MAX];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "panel", 5);
    const struct {
        const char *name;
        struct bytes identity, key;
        bool gateway_has_certificate, ok;
    } rows[] = {
        {"a name", bytes_str("panel"), {KEY, 16}, false, true},
        {"  beside a certificate", bytes_str("panel"), {KEY, 16}, true, true},
        {"  as long as a token", {longest, sizeof longest}, {KEY, 16}, false, true},
        {"  that nobody knows", bytes_str("stranger"), {KEY, 16}, false, false},
        {"  with another's key", bytes_str("panel"), {WRONG, 16}, false, false},
    };
    for (size_t i = 0; i < N(rows); i++) {
        begin(&usual, server_tls(rows[i].gateway_has_certificate),
              psk_tls(rows[i].identity, rows[i].key));
        connect_client();
        UNTIL(rows[i].ok ? st.n_opened == 1 && st.c_opened == 1
                         : st.n_closed == 1 && st.c_closed == 1);
        if (st.asked != 1 || st.n_opened != rows[i].ok ||
            !bytes_equal(bytes_of(st.seen, st.seen_n), rows[i].identity))
            fail_msg("%s: asked %zu, opened %zu", rows[i].name, st.asked, st.n_opened);
        if (rows[i].ok) {
            assert_int_equal(conn_proof(st.accepted)->kind, PEP_IDENTITY_SUBJECT);
            assert_true(conn_proof(st.accepted)->key_n > 0);
            conn_forget_key(st.accepted);
            assert_int_equal(conn_proof(st.accepted)->key_n, 0);
            echo();
            assert_int_equal(stats().half_open, 0);
            conn_close(st.made, "enough", st.loop.now);
            UNTIL(st.n_closed == 1);
            assert_string_equal(st.reason, "closed-by-peer");
        }
        end();
    }
}

static bool everyone(void *user, struct conn *c)
{
    (void)user, (void)c;
    return true;
}

static bool nobody(void *user, struct conn *c)
{
    (void)user, (void)c;
    return false;
}

/* The handshake stands still while pep asks elsewhere. */
static void test_parked(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        begin(&usual, server_tls(false),
              psk_tls(known ? bytes_str("panel") : bytes_str("stranger"), bytes_of(KEY, 16)));
        st.wait = true;
        connect_client();
        UNTIL(st.asked == 1);
        while (poll_loop_once(&st.loop, 20))
            (void)turn();
        conns_wake(st.server, nobody, NULL, st.loop.now);
        assert_int_equal(st.asked, 1);
        conns_wake(st.server, everyone, NULL, st.loop.now); /* still not */
        assert_int_equal(st.asked, 2);
        st.wait = false;
        conns_wake(st.server, everyone, NULL, st.loop.now);
        assert_int_equal(st.asked, 3);
        if (known) {
            UNTIL(st.n_opened == 1 && st.c_opened == 1);
            echo();
        } else {
            UNTIL(st.n_closed == 1 && st.c_closed == 1);
        }
        end();
    }
    /* One that waits for ever does not. */
    begin(&usual, server_tls(false), psk_tls(bytes_str("panel"), bytes_of(KEY, 16)));
    st.wait = true;
    connect_client();
    UNTIL(st.asked == 1);
    pass(CONN_HALF_MS);
    assert_string_equal(st.reason, "handshake-timeout");
    end();
}

static void test_certificates(void **state)
{
    (void)state;
    char *pem = rig_file("keys/selfsigned.spki");
    const struct {
        const char *name, *certificate;
        bool known_by_key, ok, trusted;
    } rows[] = {
        {"of the client CA", "client", false, true, true},
        {"below one that is no CA", "under", false, false, false},
        {"self-signed", "selfsigned", false, false, false},
        {"  known by its key", "selfsigned", true, true, false},
        {"a stranger's", "stranger", false, false, false},
        {"expired", "expired", false, false, false},
        {"none", NULL, false, false, false},
    };
    for (size_t i = 0; i < N(rows); i++) {
        begin(&usual, server_tls(true), certificate_tls(rows[i].certificate));
        st.bytes_known = rows[i].known_by_key;
        st.spki = unhex(pem);
        connect_client();
        UNTIL(rows[i].ok ? st.n_opened == 1 && st.c_opened == 1
                         : st.n_closed == 1 && st.c_closed == 1);
        if (st.n_opened != rows[i].ok || (rows[i].ok && st.judged != 1))
            fail_msg("%s: opened %zu, judged %zu: %s", rows[i].name, st.n_opened, st.judged,
                     st.reason ? st.reason : "-");
        if (rows[i].ok) {
            assert_int_equal(conn_proof(st.accepted)->trusted, rows[i].trusted);
            echo();
        }
        end();
    }
    free(pem);
}

/* What is no TLS, or half of it. */
static void test_not_tls(void **state)
{
    (void)state;
    static const struct {
        const char *name, *hex;
        const char *reason; /* NULL: it may go on, for its time */
    } rows[] = {
        {"CoAP in clear", CSM GET, "not-tls"},
        {"HTTP", "474554202f20485454502f312e310d0a0d0a", "not-tls"},
        {"an empty record", "16 03 01 0000", "not-tls"},
        {"a record beyond the largest", "16 03 01 4101", "not-tls"},
        {"SSL 2", "80 2e 01 0002 0015", "not-tls"},
        {"half a record", "16 03 01 0100 01 0000fc", NULL},
        {"a hello that is cut inside", "16 03 01 0004 01 0000fc", NULL},
        {"an alert", "15 03 01 0002 02 28", NULL /* as the library reads it */},
        {"random bytes in a record", "16 03 01 0004 ffffffff", NULL /* as the library reads it */},
    };
    for (size_t i = 0; i < N(rows); i++) {
        begin(&usual, server_tls(true), NULL);
        int fd = raw();
        say(fd, rows[i].hex);
        UNTIL(stats().accepted == 1);
        while (poll_loop_once(&st.loop, 20))
            (void)turn();
        pass(CONN_HALF_MS);
        if (st.n_opened || st.n_closed != 1 ||
            (rows[i].reason && strcmp(rows[i].reason, st.reason) != 0))
            fail_msg("%s: %s", rows[i].name, st.reason ? st.reason : "open");
        close(fd);
        end();
    }
}

/* Those with TLS and a CSM never give way, however many strangers come. */
static void test_established_stay(void **state)
{
    (void)state;
    begin(&usual, server_tls(false), psk_tls(bytes_str("panel"), bytes_of(KEY, 16)));
    connect_client();
    UNTIL(st.n_opened == 1 && st.c_opened == 1);
    int fds[30];
    for (size_t i = 0; i < N(fds); i++) {
        fds[i] = raw();
        UNTIL(stats().accepted == i + 2);
    }
    assert_int_equal(stats().open, 1);
    assert_int_equal(stats().half_open, usual.max_half_per_net);
    echo();
    pass(CONN_HALF_MS);
    assert_int_equal(stats().half_open, 0);
    echo();
    for (size_t i = 0; i < N(fds); i++)
        close(fds[i]);
    end();
}

/* Handshakes wait until there is time for them, and nobody turns with the
 * loop meanwhile. */
static void test_no_time(void **state)
{
    (void)state;
    struct budget budget;
    struct conns_config late = usual;
    late.budget = &budget;
    begin(&late, server_tls(false), psk_tls(bytes_str("panel"), bytes_of(KEY, 16)));
    budget_init(&budget, NULL);
    assert_true(budget_has(&budget, BUDGET_CONNECTIONS, 0, st.loop.now));
    budget_spend(&budget, 1000000);
    connect_client();
    UNTIL(stats().accepted == 1);
    while (poll_loop_once(&st.loop, 20))
        (void)turn();
    assert_int_equal(st.c_opened, 0);
    uint64_t due_ms = turn();
    assert_true(due_ms > instant_ms(st.loop.now) + 500 && due_ms < instant_ms(st.loop.now) + 5000);
    pass(due_ms - instant_ms(st.loop.now));
    UNTIL(st.n_opened == 1 && st.c_opened == 1);
    echo();
    end();
}

/* Who waits for us does not give way; who lets us wait does. */
static void test_no_time_and_no_room(void **state)
{
    (void)state;
    static const char hello[] = "16 03 01 0004 01 0000fc";
    struct budget budget;
    struct conns_config late = usual;
    late.budget = &budget;
    begin(&late, server_tls(false), NULL);
    budget_init(&budget, NULL);
    assert_true(budget_has(&budget, BUDGET_CONNECTIONS, 0, st.loop.now));
    budget_spend(&budget, 100000000);
    int fds[6];
    for (size_t i = 0; i < N(fds); i++) {
        fds[i] = raw();
        UNTIL(stats().accepted == i + 1);
        if (i != 1)
            say(fds[i], hello);
        while (poll_loop_once(&st.loop, 20))
            (void)turn();
    }
    /* The fifth took the place of the one that said nothing; the sixth had none. */
    assert_int_equal(stats().evicted, 1);
    assert_int_equal(stats().refused, 1);
    assert_int_equal(stats().half_open, usual.max_half_per_net);
    for (size_t i = 0; i < N(fds); i++)
        close(fds[i]);
    pass(CONN_HALF_MS);
    assert_int_equal(stats().half_open, 0);
    end();
}

static void test_full(void **state)
{
    (void)state;
    struct conns_config small = usual;
    small.max = 1;
    begin(&small, server_tls(false), psk_tls(bytes_str("panel"), bytes_of(KEY, 16)));
    connect_client();
    UNTIL(st.n_opened == 1 && st.c_opened == 1);
    struct conn *first = st.made;
    connect_client();
    UNTIL(st.c_closed == 1);
    assert_int_equal(stats().refused, 1);
    st.made = first;
    echo();
    end();
}

static void test_refused_and_unreachable(void **state)
{
    (void)state;
    begin(&usual, NULL, NULL);
    st.refuse = true;
    connect_client();
    UNTIL(st.n_closed == 1);
    assert_string_equal(st.reason, "refused");
    end();

    begin(&usual, NULL, NULL);
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound, and nobody listens */
    struct peer dead = rig_peer("127.0.0.1", 0);
    assert_int_equal(bind(fd, &dead.sa, dead.len), 0);
    assert_int_equal(getsockname(fd, &dead.sa, &dead.len), 0);
    st.at = dead;
    connect_client();
    UNTIL(st.c_closed == 1);
    assert_string_equal(st.c_reason, "unreachable");
    close(fd);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),    cmocka_unit_test(test_peers),
        cmocka_unit_test(test_many_at_once), cmocka_unit_test(test_kept),
        cmocka_unit_test(test_patience),     cmocka_unit_test(test_drip),
        cmocka_unit_test(test_ping),         cmocka_unit_test(test_custody_and_release),
        cmocka_unit_test(test_room),         cmocka_unit_test(test_accept_rate),
        cmocka_unit_test(test_slow_reader),  cmocka_unit_test(test_psk),
        cmocka_unit_test(test_parked),       cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_not_tls),      cmocka_unit_test(test_established_stay),
        cmocka_unit_test(test_no_time),      cmocka_unit_test(test_no_time_and_no_room),
        cmocka_unit_test(test_full),         cmocka_unit_test(test_refused_and_unreachable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
