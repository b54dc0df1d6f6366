/* The wire to authorization servers in invented time: each question has one
 * answer, whatever the server does; the circuit, its back-off, reload while
 * questions are under way, full tables. The servers speak plain CoAP on
 * loopback, so that the test reads what was asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/authority.h"
#include "../proxy/limits.h"
#include "../proxy/msg.h"
#include "fake_loop.h"
#include "fake_udp.h"

enum { NEAR_PORT = 5683, FAR_PORT = 5684, TOLD = 2048 };

#define NEAR                                                                                       \
    "  - name: near\n    keys: k\n    may-grant: {}\n"                                             \
    "    introspect: {url: coap://127.0.0.1/introspect}\n"                                         \
    "    revocation-list: {url: coap://127.0.0.1/trl}\n"
#define FAR                                                                                        \
    "  - name: far\n    keys: k\n    may-grant: {}\n"                                              \
    "    introspect: {url: coap://127.0.0.1:5684/introspect}\n"
#define MOVED                                                                                      \
    "  - name: near\n    keys: k\n    may-grant: {}\n"                                             \
    "    introspect: {url: coap://127.0.0.1/elsewhere}\n"

/* Whom oneM2M asks: an authority, and points behind all of them. */
#define DAS                                                                                        \
    "  - name: das\n    keys: k\n    may-grant: {}\n"                                              \
    "    dynamic-authorization: {for: [/x], ask: {url: coap://127.0.0.1:5685/n/in, "               \
    "originator: /gw}}\n"
#define POINT(name, port, more)                                                                    \
    "  - {name: " name ", url: \"coap://127.0.0.1:" #port "/d\", originator: /gw, for: [/x], "     \
    "combine: local-first, timeout: 2s" more "}\n"
#define POINTS                                                                                     \
    "decision-points:\n" POINT("now", 5686, "") POINT("then", 5687, ", onem2m-options: legacy")

static struct {
    struct loop loop;
    struct authorities *as;
    bool inside;
    uint64_t random;
    size_t n, n_got;
    struct {
        uint64_t id;
        bool away;
        uint8_t code;
        int format;
        uint32_t retry_s;
        uint16_t rsc;
        int64_t max_age_s; /* -1: not told */
        char body[16];
    } told[TOLD];
    struct {
        uint64_t handle;
        int authority;
        bool away, observed, last;
        uint8_t code;
        char body[16];
    } got[64];
    uint64_t ask_again; /* from within the callback */
} rig;

static bool ask(uint64_t id, int authority);

static void replied(void *user, uint64_t id, const struct pep_reply *r, struct instant now)
{
    (void)user, (void)now;
    assert_false(rig.inside);
    assert_true(rig.n < TOLD);
    rig.told[rig.n].id = id;
    rig.told[rig.n].away = r->away;
    rig.told[rig.n].code = r->code;
    rig.told[rig.n].format = r->content_format;
    rig.told[rig.n].retry_s = r->retry_s;
    rig.told[rig.n].rsc = r->rsc;
    rig.told[rig.n].max_age_s = r->has_max_age ? (int64_t)r->max_age_s : -1;
    snprintf(rig.told[rig.n++].body, 16, "%.*s", (int)r->body.n, (const char *)r->body.p);
    if (rig.ask_again) {
        uint64_t again = rig.ask_again;
        rig.ask_again = 0;
        assert_true(ask(again, 0));
    }
}

static void got(void *user, uint64_t handle, const struct authority_got *g, struct instant now)
{
    (void)user, (void)now;
    assert_false(rig.inside);
    rig.got[rig.n_got].handle = handle;
    rig.got[rig.n_got].authority = g->authority;
    rig.got[rig.n_got].away = g->reply.away;
    rig.got[rig.n_got].code = g->reply.code;
    rig.got[rig.n_got].observed = g->observed;
    rig.got[rig.n_got].last = g->last;
    snprintf(rig.got[rig.n_got++].body, 16, "%.*s", (int)g->reply.body.n,
             (const char *)g->reply.body.p);
}

static void random_bytes(void *user, void *to, size_t n)
{
    (void)user;
    for (size_t i = 0; i < n; i++) {
        rig.random = rig.random * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)to)[i] = (uint8_t)(rig.random >> 56);
    }
}

static struct wire *wire_of(const char *authorities)
{
    char text[2048], diag[1024] = "";
    struct buf b = buf_on(diag, sizeof diag - 1);
    snprintf(text, sizeof text, "version: 1\nauthorities:\n%s", authorities);
    struct policy *p = policy_load("p", bytes_str(text), "0123456789abcdef", &b);
    if (!p)
        fail_msg("%s", diag);
    struct wire *w = wire_load(p, "/", &b);
    policy_unref(p);
    if (!w)
        fail_msg("%s", diag);
    return w;
}

static void use(const char *authorities)
{
    rig.inside = true;
    assert_true(authorities_use(rig.as, wire_of(authorities), rig.loop.now));
    rig.inside = false;
}

static int set_up(void **state)
{
    (void)state;
    static const struct authority_ops ops = {replied, got, random_bytes};
    memset(&rig, 0, sizeof rig);
    rig.random = 7;
    rig.loop.now = (struct instant){.mono_us = 1000000000, .wall_s = 1700000000};
    rig.as = authorities_new(&rig.loop, &ops, NULL);
    assert_non_null(rig.as);
    use(NEAR FAR);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    authorities_free(rig.as);
    return fake_udp_reset() ? 0 : -1;
}

/* ---- driving ---- */

static bool ask(uint64_t id, int authority)
{
    const struct pep_question q = {.id = id,
                                   .authority = authority,
                                   .body = BYTES_LIT("token"),
                                   .content_format = PEP_FORMAT_ACE_CBOR};
    rig.inside = true;
    bool ok = authority_ask(rig.as, &q, rig.loop.now);
    rig.inside = false;
    return ok;
}

static uint64_t turn(void)
{
    uint64_t next;
    int turns = 0;
    while ((next = authorities_turn(rig.as, rig.loop.now)) <= instant_ms(rig.loop.now))
        assert_true(++turns < 100);
    return next;
}

static void pass(uint64_t ms)
{
    uint64_t end = instant_ms(rig.loop.now) + ms, next;
    while ((next = turn()) <= end)
        rig.loop.now.mono_us = next * 1000;
    rig.loop.now.mono_us = end * 1000;
    rig.loop.now.wall_s += (int64_t)ms / 1000;
    turn();
}

static struct peer server(uint16_t port)
{
    return fake_peer("127.0.0.1", port);
}

/* The next question that this server gets. False: none. */
static bool asked(uint16_t port, struct msg *out)
{
    static struct fake_datagram d; /* `out` points into it */
    struct peer p = server(port);
    turn();
    struct udp *u = fake_udp_connected(&p);
    if (!u || !fake_udp_take(u, &d))
        return false;
    assert_int_equal(msg_parse(bytes_of(d.bytes, d.n), out), MSG_OK);
    return true;
}

static void send_to_us(uint16_t port, const struct msg *m)
{
    uint8_t text[MESSAGE_MAX];
    struct buf b = buf_on(text, sizeof text);
    struct peer p = server(port);
    struct udp *u = fake_udp_connected(&p);
    assert_true(u && msg_write(m, &b));
    fake_udp_inject(u, &p, buf_bytes(&b));
    fake_loop_readable(&rig.loop, udp_fd(u));
    turn();
}

static void answer(uint16_t port, const struct msg *to, uint8_t code, int observe, const char *body)
{
    uint8_t store[2][4];
    struct msg m = {.type = TYPE_ACK, .code = code, .mid = to->mid, .payload = bytes_str(body)};
    m.token_n = to->token_n;
    memcpy(m.token, to->token, to->token_n);
    assert_true(observe < 0 || msg_add_uint(&m, OPT_OBSERVE, (uint32_t)observe, store[0]));
    assert_true(msg_add_uint(&m, OPT_CONTENT_FORMAT, PEP_FORMAT_ACE_CBOR, store[1]));
    send_to_us(port, &m);
}

static void icmp(uint16_t port)
{
    struct peer p = server(port);
    struct udp *u = fake_udp_connected(&p);
    turn();
    fake_udp_inject_icmp(u);
    fake_loop_readable(&rig.loop, udp_fd(u));
    turn();
}

static struct authority_stats stats(int authority)
{
    struct authority_stats s;
    authority_get_stats(rig.as, authority, AUTHORITY_INTROSPECT, rig.loop.now, &s);
    return s;
}

enum { CREATED = MSG_CODE(2, 1), CONTENT = MSG_CODE(2, 5) };

/* ---- the tests ---- */

static void answered(void **state)
{
    (void)state;
    struct msg m;
    assert_true(ask(11, 0));
    assert_true(asked(NEAR_PORT, &m));
    assert_int_equal(m.code, MSG_POST);
    assert_true(bytes_equal_str(m.payload, "token"));
    assert_true(bytes_equal_str(msg_find(&m, OPT_URI_PATH)->value, "introspect"));
    assert_int_equal(msg_uint(&m, OPT_CONTENT_FORMAT), PEP_FORMAT_ACE_CBOR);
    rig.loop.now.mono_us += 40000;
    rig.ask_again = 12;
    answer(NEAR_PORT, &m, CREATED, -1, "yes");
    assert_int_equal(rig.n, 1);
    assert_int_equal(rig.told[0].id, 11);
    assert_false(rig.told[0].away);
    assert_int_equal(rig.told[0].code, CREATED);
    assert_int_equal(rig.told[0].format, PEP_FORMAT_ACE_CBOR);
    assert_string_equal(rig.told[0].body, "yes");
    assert_true(asked(NEAR_PORT, &m)); /* asked from within the callback */
    answer(NEAR_PORT, &m, MSG_CODE(4, 3), -1, "");
    assert_int_equal(rig.told[1].code, MSG_CODE(4, 3)); /* an answer is an answer */
    struct authority_stats s = stats(0);
    assert_true(s.configured && s.circuit == CIRCUIT_CLOSED && s.asked == 2 && s.answered == 2);
    assert_true(s.latency_us > 30000 && s.latency_us <= 40000);
    assert_int_equal(s.under_way, 0);
}

static void nobody_to_ask(void **state)
{
    (void)state;
    const struct pep_question over_http = {.id = 3, .http = true};
    assert_true(ask(1, 2)); /* no such authority */
    assert_true(ask(2, -1));
    assert_true(authority_ask(rig.as, &over_http, rig.loop.now)); /* not asked so */
    assert_int_equal(rig.n, 0);
    turn();
    assert_int_equal(rig.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(rig.told[i].away && rig.told[i].retry_s > 0);
    assert_int_equal(authority_get(rig.as, 0, AUTHORITY_JWKS, NULL, 0, false, rig.loop.now), 0);
}

static void silent(void **state)
{
    (void)state;
    struct msg m;
    assert_true(ask(1, 0) && ask(2, 0));
    assert_true(asked(NEAR_PORT, &m));
    pass(AUTHORITY_WAIT_MS - 1);
    assert_int_equal(rig.n, 0);
    pass(1);
    assert_int_equal(rig.n, 2);
    assert_true(rig.told[0].away && rig.told[1].away);
    assert_int_equal(stats(0).circuit, CIRCUIT_OPEN);
    assert_string_equal(stats(0).reason, "silent");
    assert_int_equal(stats(1).circuit, CIRCUIT_CLOSED); /* the other's is its own */
}

/* One question gets no answer while others do: the server is there. */
static void silent_to_one(void **state)
{
    (void)state;
    struct msg first, m;
    assert_true(ask(1, 0));
    assert_true(asked(NEAR_PORT, &first));
    pass(1000);
    assert_true(ask(2, 0));
    while (asked(NEAR_PORT, &m) && memcmp(m.token, first.token, 8) == 0)
        ;
    answer(NEAR_PORT, &m, CREATED, -1, "");
    pass(AUTHORITY_WAIT_MS);
    assert_int_equal(rig.n, 2);
    assert_true(rig.told[1].away);
    assert_int_equal(stats(0).circuit, CIRCUIT_CLOSED);
}

static void drain(uint16_t port)
{
    struct msg m;
    while (asked(port, &m))
        ;
}

static void circuit(void **state)
{
    (void)state;
    struct msg m;
    uint64_t id = 1, least = 750, most = 1000;
    assert_true(ask(id++, 0));
    for (int i = 0; i < 9; i++) {
        assert_true(asked(NEAR_PORT, &m));
        icmp(NEAR_PORT);
        drain(NEAR_PORT);
        assert_int_equal(rig.n, id - 1);
        assert_true(rig.told[rig.n - 1].away);
        assert_int_equal(stats(0).circuit, CIRCUIT_OPEN);
        /* Away at once until the back-off is over, and nothing leaves. */
        pass(least - 1);
        assert_true(ask(id++, 0));
        assert_false(asked(NEAR_PORT, &m));
        assert_int_equal(rig.n, id - 1);
        assert_true(rig.told[rig.n - 1].retry_s >= 1 && rig.told[rig.n - 1].retry_s <= 60);
        pass(most - least + 1);
        assert_true(ask(id++, 0)); /* the probe; and one that does not go */
        assert_int_equal(stats(0).circuit, CIRCUIT_HALF_OPEN);
        assert_true(ask(id++, 0));
        turn();
        assert_int_equal(rig.n, id - 2);
        most = most * 2 > 60000 ? 60000 : most * 2;
        least = most / 4 * 3;
    }
    assert_true(asked(NEAR_PORT, &m));
    int64_t since = stats(0).since_s;
    assert_int_equal(since, 1700000000);
    answer(NEAR_PORT, &m, CREATED, -1, "");
    assert_int_equal(stats(0).circuit, CIRCUIT_CLOSED);
    assert_true(stats(0).since_s > since);
    assert_true(ask(id, 0));
    assert_true(asked(NEAR_PORT, &m));
    icmp(NEAR_PORT); /* and the back-off begins at its least again */
    assert_true(stats(0).retry_s == 1);
}

static void nonsense(void **state)
{
    (void)state;
    struct msg m;
    assert_true(ask(1, 0));
    assert_true(asked(NEAR_PORT, &m));
    struct msg rst = {.type = TYPE_RST, .mid = m.mid};
    send_to_us(NEAR_PORT, &rst);
    assert_int_equal(rig.n, 1);
    assert_false(rig.told[0].away);
    assert_int_equal(rig.told[0].code, MSG_CODE(5, 2));
    assert_int_equal(stats(0).circuit, CIRCUIT_CLOSED);
}

static void full(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < AUTHORITY_EACH; i++)
        assert_true(ask(i, 0));
    turn();
    assert_int_equal(rig.n, 0);
    for (uint64_t i = AUTHORITY_EACH; i < AUTHORITY_QUESTIONS; i++)
        assert_true(ask(i, 0));
    assert_false(ask(9999, 0)); /* nothing will be told of this one */
    turn();
    assert_int_equal(rig.n, AUTHORITY_QUESTIONS - AUTHORITY_EACH);
    assert_int_equal(stats(0).refused, AUTHORITY_QUESTIONS - AUTHORITY_EACH);
    assert_true(ask(5000, 1)); /* another server has places */
    pass(AUTHORITY_WAIT_MS);
    assert_int_equal(rig.n, AUTHORITY_QUESTIONS + 1);
    bool seen[AUTHORITY_QUESTIONS] = {false};
    for (size_t i = 0; i < rig.n; i++) {
        if (rig.told[i].id == 5000)
            continue;
        assert_true(rig.told[i].away && !seen[rig.told[i].id]);
        seen[rig.told[i].id] = true;
    }
    assert_int_equal(stats(0).under_way, 0);
}

static void reload(void **state)
{
    (void)state;
    struct msg near, far;
    struct peer p = server(NEAR_PORT);
    assert_true(ask(1, 0) && ask(2, 1));
    assert_true(asked(NEAR_PORT, &near) && asked(FAR_PORT, &far));
    struct udp *socket = fake_udp_connected(&p);
    use(FAR NEAR); /* in another order: all goes on */
    assert_ptr_equal(fake_udp_connected(&p), socket);
    turn();
    assert_int_equal(rig.n, 0);
    use(NEAR); /* far is gone */
    assert_int_equal(rig.n, 0);
    turn();
    assert_int_equal(rig.n, 1);
    assert_true(rig.told[0].id == 2 && rig.told[0].away);
    p = server(FAR_PORT);
    assert_null(fake_udp_connected(&p));
    answer(NEAR_PORT, &near, CREATED, -1, "yes");
    assert_true(rig.n == 2 && rig.told[1].id == 1 && !rig.told[1].away);
    assert_true(ask(3, 0));
    assert_true(asked(NEAR_PORT, &near));
    use(MOVED); /* the same server, another path */
    turn();
    assert_true(rig.n == 3 && rig.told[2].id == 3 && rig.told[2].away);
    assert_true(ask(4, 0));
    assert_true(asked(NEAR_PORT, &near));
    assert_true(bytes_equal_str(msg_find(&near, OPT_URI_PATH)->value, "elsewhere"));
    use(FAR);
    turn();
    assert_true(rig.n == 4 && rig.told[3].away);
    assert_true(ask(5, 0));
    assert_true(asked(FAR_PORT, &far));
}

static void list(void **state)
{
    (void)state;
    static const struct bytes query[] = {BYTES_LIT("diff=3"), BYTES_LIT("cursor=1")};
    struct msg reg, m, again;
    uint64_t h = authority_get(rig.as, 0, AUTHORITY_REVOCATIONS, query, 2, true, rig.loop.now);
    assert_true(h != 0);
    assert_true(asked(NEAR_PORT, &reg));
    assert_true(reg.code == MSG_GET && msg_uint(&reg, OPT_OBSERVE) == 0);
    assert_true(bytes_equal_str(msg_find(&reg, OPT_URI_QUERY)->value, "diff=3"));
    answer(NEAR_PORT, &reg, CONTENT, 1, "one");
    assert_int_equal(rig.n_got, 1);
    assert_true(rig.got[0].handle == h && rig.got[0].observed && !rig.got[0].last);
    m = reg;
    m.mid = 4711; /* a notification is a message of its own */
    uint8_t store[4];
    struct msg note = {.type = TYPE_NON, .code = CONTENT, .mid = 9, .payload = BYTES_LIT("two")};
    note.token_n = reg.token_n;
    memcpy(note.token, reg.token, reg.token_n);
    assert_true(msg_add_uint(&note, OPT_OBSERVE, 2, store));
    send_to_us(NEAR_PORT, &note);
    assert_string_equal(rig.got[1].body, "two");

    icmp(NEAR_PORT); /* the server is gone: said once */
    assert_int_equal(rig.n_got, 3);
    assert_true(rig.got[2].away && !rig.got[2].last);
    /* The back-off is over, and somebody asks before the list could. */
    rig.loop.now.mono_us += 1100000;
    assert_true(ask(99, 0));
    turn();
    assert_true(rig.n == 1 && rig.told[0].away);
    pass(5000);
    for (int i = 0; i < 3; i++) {
        if (stats(0).circuit == CIRCUIT_HALF_OPEN)
            icmp(NEAR_PORT);
        drain(NEAR_PORT);
        assert_true(ask((uint64_t)i, 0)); /* refused: what was revoked comes first */
        turn();
        assert_true(rig.told[rig.n - 1].away);
        pass(20000);
    }
    assert_int_equal(rig.n_got, 3);
    if (stats(0).circuit != CIRCUIT_HALF_OPEN)
        pass(60000);
    bool found = false;
    while (asked(NEAR_PORT, &again)) { /* retransmissions too; the last counts */
        assert_int_equal(again.code, MSG_GET);
        m = again;
        found = true;
    }
    assert_true(found);
    answer(NEAR_PORT, &m, CONTENT, 1, "new");
    assert_int_equal(rig.n_got, 4);
    assert_string_equal(rig.got[3].body, "new");
    assert_int_equal(stats(0).circuit, CIRCUIT_CLOSED);
    assert_true(ask(77, 0));
    assert_true(asked(NEAR_PORT, &m));
    assert_int_equal(m.code, MSG_POST);
    use(FAR);
    turn();
    assert_int_equal(rig.n_got, 5);
    assert_true(rig.got[4].away && rig.got[4].last);
}

static void list_unobserved(void **state)
{
    (void)state;
    struct msg m;
    uint64_t h = authority_get(rig.as, 0, AUTHORITY_REVOCATIONS, NULL, 0, true, rig.loop.now);
    assert_true(asked(NEAR_PORT, &m));
    answer(NEAR_PORT, &m, CONTENT, -1, "all");
    assert_int_equal(rig.n_got, 1);
    assert_true(rig.got[0].last && !rig.got[0].observed && rig.got[0].handle == h);
    h = authority_get(rig.as, 0, AUTHORITY_REVOCATIONS, NULL, 0, false, rig.loop.now);
    assert_true(asked(NEAR_PORT, &m));
    assert_null(msg_find(&m, OPT_OBSERVE));
    authority_unget(rig.as, h, rig.loop.now);
    answer(NEAR_PORT, &m, CONTENT, -1, "late");
    assert_int_equal(rig.n_got, 1);
    assert_int_equal(stats(0).under_way, 0);
}

/* ---- oneM2M ---- */

enum { DAS_PORT = 5685, NOW_PORT = 5686, THEN_PORT = 5687, CHANGED = MSG_CODE(2, 4) };

static void ask_of(uint64_t id, enum pep_ask kind, int of)
{
    const struct pep_question q = {.id = id,
                                   .ask = kind,
                                   .authority = of,
                                   .body = BYTES_LIT("{}"),
                                   .content_format = PEP_FORMAT_JSON};
    assert_true(authority_ask(rig.as, &q, rig.loop.now));
}

static void reply(uint16_t port, const struct msg *to, const uint16_t *rsc_options, size_t n,
                  int64_t max_age_s)
{
    uint8_t store[4][4];
    struct msg m = {.type = TYPE_ACK, .code = CHANGED, .mid = to->mid, .payload = BYTES_LIT("{}")};
    m.token_n = to->token_n;
    memcpy(m.token, to->token, to->token_n);
    for (size_t i = 0; i < n; i++)
        assert_true(msg_add_uint(&m, rsc_options[i], 2004, store[i]));
    assert_true(max_age_s < 0 || msg_add_uint(&m, OPT_MAX_AGE, (uint32_t)max_age_s, store[3]));
    send_to_us(port, &m);
}

static bool says(const struct msg *m, uint16_t number, const char *text)
{
    const struct msg_option *o = msg_find(m, number);
    return o && (text ? bytes_equal_str(o->value, text) : o->value.n > 0);
}

static const struct {
    const char *name;
    enum pep_ask ask;
    int of;
    uint16_t port;
    uint8_t code;
    uint16_t fr, rqi;
    uint16_t rsc[2]; /* options that the answer has it by; 0: none */
    int64_t max_age_s;
    uint16_t want;
} asked_so[] = {
    {"a point", PEP_ASK_DECISION, 0, NOW_PORT, MSG_PUT, 279, 283, {307}, 7, 2004},
    {"the old numbers", PEP_ASK_DECISION, 1, THEN_PORT, MSG_PUT, 256, 257, {265}, -1, 2004},
    {"an authority", PEP_ASK_DYNAMIC, 2, DAS_PORT, MSG_POST, 279, 283, {307}, 0, 2004},
    {"without RSC", PEP_ASK_DECISION, 0, NOW_PORT, MSG_PUT, 279, 283, {0}, -1, 0},
    {"RSC of the others", PEP_ASK_DECISION, 0, NOW_PORT, MSG_PUT, 279, 283, {265}, -1, 0},
    {"RSC twice", PEP_ASK_DECISION, 0, NOW_PORT, MSG_PUT, 279, 283, {307, 307}, -1, UINT16_MAX},
};

static void onem2m(void **state)
{
    (void)state;
    use(NEAR FAR DAS POINTS);
    for (size_t i = 0; i < sizeof asked_so / sizeof *asked_so; i++) {
        struct msg m;
        size_t n = asked_so[i].rsc[1] ? 2 : asked_so[i].rsc[0] ? 1 : 0;
        ask_of(i + 1, asked_so[i].ask, asked_so[i].of);
        if (!asked(asked_so[i].port, &m) || m.code != asked_so[i].code ||
            !says(&m, asked_so[i].fr, "/gw") || !says(&m, asked_so[i].rqi, NULL) ||
            !says(&m, 271, "3") || msg_uint(&m, OPT_CONTENT_FORMAT) != PEP_FORMAT_JSON)
            fail_msg("%s: not asked so", asked_so[i].name);
        reply(asked_so[i].port, &m, asked_so[i].rsc, n, asked_so[i].max_age_s);
        assert_int_equal(rig.n, i + 1);
        assert_int_equal(rig.told[i].id, i + 1);
        if (rig.told[i].rsc != asked_so[i].want || rig.told[i].max_age_s != asked_so[i].max_age_s)
            fail_msg("%s: RSC %u, Max-Age %lld", asked_so[i].name, rig.told[i].rsc,
                     (long long)rig.told[i].max_age_s);
    }
    /* Who is no point, and an authority that is not asked for this. */
    ask_of(20, PEP_ASK_DECISION, 2);
    ask_of(21, PEP_ASK_DYNAMIC, 0);
    ask_of(22, PEP_ASK_INTROSPECT, 2);
    turn();
    for (size_t i = rig.n - 3; i < rig.n; i++)
        assert_true(rig.told[i].away);
}

static void onem2m_timeout(void **state)
{
    (void)state;
    struct msg m;
    use(NEAR POINTS);
    ask_of(1, PEP_ASK_DECISION, 0);
    assert_true(asked(NOW_PORT, &m));
    pass(1999);
    assert_int_equal(rig.n, 0);
    pass(1);
    assert_int_equal(rig.n, 1);
    assert_true(rig.told[0].away);
}

/* Other authorities stand before it now; then it is gone. */
static void onem2m_reloaded(void **state)
{
    (void)state;
    struct msg m;
    use(NEAR POINTS);
    ask_of(1, PEP_ASK_DECISION, 0);
    ask_of(2, PEP_ASK_DECISION, 1);
    assert_true(asked(NOW_PORT, &m));
    use(DAS FAR NEAR "decision-points:\n" POINT("new", 5690, "") POINT("now", 5686, ""));
    reply(NOW_PORT, &m, NULL, 0, -1);
    assert_int_equal(rig.n, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(rig.told[i].away, rig.told[i].id == 2);
    ask_of(3, PEP_ASK_DECISION, 1);
    assert_true(asked(NOW_PORT, &m));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(answered),
        TEST(nobody_to_ask),
        TEST(silent),
        TEST(silent_to_one),
        TEST(circuit),
        TEST(nonsense),
        TEST(full),
        TEST(reload),
        TEST(list),
        TEST(list_unobserved),
        cmocka_unit_test_setup_teardown(onem2m, set_up, tear_down),
        cmocka_unit_test_setup_teardown(onem2m_timeout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(onem2m_reloaded, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
