#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/conn.h"
#include "../proxy/exchange.h"
#include "fake_udp.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

enum { ASSOCS_MAX_HERE = 4, SENT_MAX = 256 };

static struct world {
    struct exchanges *t;
    struct assoc assocs[ASSOCS_MAX_HERE];
    struct peer peer, peer2;
    uint64_t now_us;
    uint32_t random;
    struct sent {
        struct exchange *x;
        struct msg m;
        size_t n;
        uint8_t bytes[MESSAGE_MAX];
    } sent[SENT_MAX];
    size_t n_sent, n_undelivered, n_reset, n_heard;
    uint64_t heard_of, rtt_us;
    int heard;
} w;

static struct instant now(void)
{
    return (struct instant){.mono_us = w.now_us};
}

static void at(uint64_t ms)
{
    w.now_us = 1000000 + ms * 1000;
}

static uint64_t due_ms(void) /* since the start */
{
    uint64_t d = exchanges_deadline_ms(w.t);
    return d == UINT64_MAX ? d : d - 1000;
}

static uint32_t random_word(void *user)
{
    (void)user;
    return w.random;
}

static void on_send(void *user, struct exchange *x, struct bytes message)
{
    (void)user;
    assert_true(w.n_sent < SENT_MAX && message.n <= MESSAGE_MAX);
    struct sent *s = &w.sent[w.n_sent++];
    s->x = x;
    s->n = message.n;
    memcpy(s->bytes, message.p, message.n);
    assert_int_equal(msg_parse(bytes_of(s->bytes, s->n), &s->m), MSG_OK);
}

static void on_undelivered(void *user, struct exchange *x, bool reset)
{
    (void)user;
    (void)x;
    w.n_undelivered++;
    w.n_reset += reset;
}

static void on_notified(void *user, uint64_t watch, enum exchange_heard heard, uint64_t rtt_us)
{
    (void)user;
    w.heard_of = watch;
    w.heard = (int)heard;
    w.rtt_us = rtt_us;
    w.n_heard++;
}

static const struct exchange_ops ops = {on_send, on_undelivered, on_notified};

static void begin(size_t slots)
{
    memset(&w, 0, sizeof w);
    at(0);
    w.peer = fake_peer("192.0.2.7", 40000);
    w.peer2 = fake_peer("2001:db8::7", 40000);
    for (size_t i = 0; i < ASSOCS_MAX_HERE; i++) {
        w.assocs[i].id = i + 1;
        w.assocs[i].peer = w.peer;
        w.assocs[i].next_mid = 0xfffe;
    }
    w.random = 500; /* waits of 2500, 5000, ... */
    w.t = exchanges_new(slots, &ops, NULL, random_word);
    assert_non_null(w.t);
}

static void end(void)
{
    exchanges_free(w.t);
    assert_true(fake_udp_reset());
}

static struct bytes request(uint8_t type, uint16_t mid, uint8_t variant, struct msg *m)
{
    static uint8_t storage[64];
    struct buf b = buf_on(storage, sizeof storage);
    *m = (struct msg){.type = type, .code = MSG_GET, .mid = mid, .token_n = 2};
    m->token[0] = (uint8_t)mid;
    m->token[1] = variant;
    assert_true(msg_add(m, OPT_URI_PATH, BYTES_LIT("lamp")));
    assert_true(msg_write(m, &b));
    return buf_bytes(&b);
}

static enum exchange_arrival arrive(struct assoc *a, const struct peer *from, uint8_t type,
                                    uint16_t mid, uint8_t variant, struct exchange **x,
                                    struct bytes *again)
{
    struct msg m;
    struct bytes datagram = request(type, mid, variant, &m);
    *again = BYTES_NONE;
    return exchange_accept(w.t, a, 0, from, &m, datagram, now(), x, again);
}

static struct exchange *arrive_new(struct assoc *a, uint8_t type, uint16_t mid)
{
    struct exchange *x = NULL;
    struct bytes again;
    assert_int_equal(arrive(a, &w.peer, type, mid, 0, &x, &again), EXCHANGE_NEW);
    assert_non_null(x);
    return x;
}

static void answer(struct exchange *x, const char *payload)
{
    struct msg m = {.code = MSG_CODE(2, 5), .payload = bytes_str(payload)};
    exchange_answer(w.t, x, &m, now());
}

/* In conn.c's place: a connection is what its association points to. */
static size_t conn_takes = MESSAGE_MAX;

size_t conn_message_max(const struct conn *c)
{
    (void)c;
    return conn_takes;
}

/* ---- stories: RFC 7252 figures 2 to 5 and what goes wrong in them ---- */

enum verb {
    END = 0,
    TIME,    /* it is ms; whatever is due happens */
    ARRIVES, /* a new request: type, mid, variant */
    AGAIN,   /* the same message again: what is sent is `code`: see SENDS */
    ANSWERS, /* the gate answers mid, variant */
    DROPS,   /* the gate drops it */
    ACKS,    /* the client acknowledges what was sent last */
    RESETS,  /* or rejects it */
    SENDS,   /* the next message to the client: type, code, mid (0: its own), token's variant */
    QUIET,   /* nothing more was sent */
    DUE,     /* the next deadline is ms */
    NEVER,   /* there is none */
    UNDELIVERED,
};

struct step {
    enum verb verb;
    uint32_t ms;
    uint8_t type;
    uint16_t mid;
    uint8_t variant;
    uint8_t code;
};

/* clang-format off */
#define T(t) {TIME, (t), 0, 0, 0, 0}
#define NEW(ty, m) {ARRIVES, 0, TYPE_##ty, m, 0, 0}
#define NEW_(ty, m, v) {ARRIVES, 0, TYPE_##ty, m, v, 0}
#define DUP(ty, m) {AGAIN, 0, TYPE_##ty, m, 0, 0}
#define ANS(m) {ANSWERS, 0, 0, m, 0, 0}
#define ANS_(m, v) {ANSWERS, 0, 0, m, v, 0}
#define DROP(m) {DROPS, 0, 0, m, 0, 0}
#define SENT(ty, c, m) {SENDS, 0, TYPE_##ty, m, 0, c}
#define SENT_(ty, c, m, v) {SENDS, 0, TYPE_##ty, m, v, c}
#define ACK {ACKS, 0, 0, 0, 0, 0}
#define RST {RESETS, 0, 0, 0, 0, 0}
#define NONE {QUIET, 0, 0, 0, 0, 0}
#define DUE_AT(t) {DUE, (t), 0, 0, 0, 0}
#define NO_DEADLINE {NEVER, 0, 0, 0, 0, 0}
#define LOST(n) {UNDELIVERED, (n), 0, 0, 0, 0}
#define OK MSG_CODE(2, 5)

/* clang-format on */

static const struct story {
    const char *name;
    struct step steps[40];
} stories[] = {
    {"piggybacked",
     {NEW(CON, 1), DUE_AT(1000), T(10), ANS(1), SENT(ACK, OK, 1), NONE, DUE_AT(247010), T(247009),
      DUE_AT(247010), T(247010), NO_DEADLINE}},
    {"piggybacked, answered at the last moment",
     {NEW(CON, 1), T(999), ANS(1), SENT(ACK, OK, 1), NONE}},
    {"piggybacked, the ACK was lost",
     {NEW(CON, 1), T(10), ANS(1), SENT(ACK, OK, 1), T(2000), DUP(CON, 1), SENT(ACK, OK, 1), T(6000),
      DUP(CON, 1), SENT(ACK, OK, 1), NONE}},
    {"duplicate before the answer and its ACK",
     {NEW(CON, 1), T(5), DUP(CON, 1), NONE, T(10), ANS(1), SENT(ACK, OK, 1), NONE}},
    {"separate",
     {NEW(CON, 1), T(1000), SENT(ACK, 0, 1), NONE, NO_DEADLINE, T(3000), ANS(1), SENT(CON, OK, 0),
      DUE_AT(5500), ACK, T(100000), NONE, LOST(0)}},
    {"separate, the empty ACK was lost",
     {NEW(CON, 1), T(1000), SENT(ACK, 0, 1), T(2500), DUP(CON, 1), SENT(ACK, 0, 1), T(3000), ANS(1),
      SENT(CON, OK, 0), DUP(CON, 1), SENT(ACK, 0, 1), ACK, NONE, DUP(CON, 1), SENT(ACK, 0, 1)}},
    {"separate, the answer was lost twice",
     {NEW(CON, 1), T(1000), SENT(ACK, 0, 1), T(2000), ANS(1), SENT(CON, OK, 0), T(4499), NONE,
      T(4500), SENT(CON, OK, 0xfffe), DUE_AT(9500), T(9500), SENT(CON, OK, 0xfffe), ACK, T(50000),
      NONE, LOST(0)}},
    {"separate, nobody there",
     {NEW(CON, 1),
      T(1000),
      SENT(ACK, 0, 1),
      ANS(1),
      SENT(CON, OK, 0xfffe),
      T(3500),
      SENT(CON, OK, 0xfffe),
      T(8500),
      SENT(CON, OK, 0xfffe),
      T(18500),
      SENT(CON, OK, 0xfffe),
      T(38500),
      SENT(CON, OK, 0xfffe),
      T(78499),
      NONE,
      LOST(0),
      T(78500),
      NONE,
      LOST(1),
      DUE_AT(78500 + 247000)}},
    {"separate, rejected",
     {NEW(CON, 1), T(1000), SENT(ACK, 0, 1), ANS(1), SENT(CON, OK, 0), RST, LOST(1), T(50000), NONE,
      LOST(1)}},
    {"separate, acknowledged twice",
     {NEW(CON, 1), T(1000), SENT(ACK, 0, 1), ANS(1), SENT(CON, OK, 0), ACK, ACK, RST, LOST(0),
      NONE}},
    {"NON",
     {NEW(NON, 1), NO_DEADLINE, T(5000), ANS(1), SENT(NON, OK, 0), DUE_AT(150000), T(150000),
      NO_DEADLINE}},
    {"NON, duplicate before and after the answer",
     {NEW(NON, 1), DUP(NON, 1), NONE, T(5), ANS(1), SENT(NON, OK, 0), DUP(NON, 1), NONE}},
    {"NON, answer rejected", {NEW(NON, 1), ANS(1), SENT(NON, OK, 0), RST, LOST(0), NONE}},
    {"two NON get two message IDs",
     {NEW(NON, 1), NEW(NON, 2), ANS(2), SENT(NON, OK, 0xfffe), ANS(1), SENT(NON, OK, 0xffff),
      NEW(NON, 3), ANS(3), SENT(NON, OK, 0)}},
    {"answers in another order",
     {NEW(CON, 1), NEW(CON, 2), T(1), ANS(2), SENT(ACK, OK, 2), ANS(1), SENT(ACK, OK, 1),
      DUP(CON, 1), SENT(ACK, OK, 1), DUP(CON, 2), SENT(ACK, OK, 2)}},
    {"forgotten after EXCHANGE_LIFETIME",
     {NEW(CON, 1), ANS(1), SENT(ACK, OK, 1), T(246999), DUP(CON, 1), SENT(ACK, OK, 1), T(247000),
      NEW(CON, 1)}},
    {"its lifetime begins with its arrival",
     {NEW(CON, 1), T(1000), SENT(ACK, 0, 1), T(50000), ANS(1), SENT(CON, OK, 0), ACK, T(246999),
      DUP(CON, 1), SENT(ACK, 0, 1), T(247000), NEW(CON, 1)}},
    {"NON forgotten after NON_LIFETIME",
     {NEW(NON, 1), ANS(1), SENT(NON, OK, 0), T(144999), DUP(NON, 1), NONE, T(145000), NEW(NON, 1)}},
    {"an ID again for another message",
     {NEW(CON, 1), T(5), ANS(1), SENT(ACK, OK, 1), NEW_(CON, 1, 7), T(6), ANS_(1, 7),
      SENT_(ACK, OK, 1, 7), NONE}},
    {"and while the first is open",
     {NEW(CON, 1), T(5), NEW_(CON, 1, 7), T(6), ANS_(1, 7), SENT_(ACK, OK, 1, 7), ANS(1),
      SENT(ACK, OK, 1), NEW(CON, 1)}},
    {"CON, then NON with its ID",
     {NEW(CON, 1), ANS(1), SENT(ACK, OK, 1), NEW(NON, 1), ANS(1), SENT(NON, OK, 0), NONE}},
    {"dropped NON", {NEW(NON, 1), DROP(1), NONE, DUP(NON, 1), NONE, DUE_AT(145000)}},
    {"dropped CON", {NEW(CON, 1), DROP(1), NONE, DUP(CON, 1), NONE, T(2000), NONE}},
    {"dropped CON that had its ACK",
     {NEW(CON, 1), T(1000), SENT(ACK, 0, 1), DROP(1), NONE, DUP(CON, 1), SENT(ACK, 0, 1), NONE}},
};

struct telling {
    struct assoc *a;
    struct exchange *open[8];
    size_t n_open, seen; /* of w.sent */
};

static struct exchange *tell_open(struct telling *s, const struct step *p)
{
    for (size_t i = 0; i < s->n_open; i++)
        if (s->open[i]->state == EXCHANGE_OPEN && s->open[i]->mid == p->mid &&
            s->open[i]->token[1] == p->variant)
            return s->open[i];
    return NULL;
}

static bool tell_step(struct telling *s, const struct step *p)
{
    struct exchange *x = NULL;
    struct bytes again;
    struct msg m = {.code = OK, .payload = BYTES_LIT("on")};
    struct exchanges_stats stats;
    switch (p->verb) {
    case TIME:
        at(p->ms);
        exchanges_expire(w.t, now());
        return true;
    case ARRIVES:
        if (arrive(s->a, &w.peer, p->type, p->mid, p->variant, &x, &again) != EXCHANGE_NEW)
            return false;
        s->open[s->n_open++] = x;
        return x->method == MSG_GET && x->state == EXCHANGE_OPEN;
    case AGAIN:
        if (arrive(s->a, &w.peer, p->type, p->mid, p->variant, &x, &again) != EXCHANGE_REPEAT)
            return false;
        if (again.n)
            on_send(NULL, NULL, again);
        return true;
    case ANSWERS:
        x = tell_open(s, p);
        if (x)
            exchange_answer(w.t, x, &m, now());
        return x != NULL;
    case DROPS:
        x = tell_open(s, p);
        if (x)
            x->stored_n = 10; /* a request for the device is no answer to repeat */
        if (x)
            exchange_drop(w.t, x, now());
        return x != NULL;
    case ACKS:
    case RESETS:
        for (size_t i = w.n_sent; i-- > 0;)
            if (w.sent[i].m.type == TYPE_CON || w.sent[i].m.type == TYPE_NON) {
                exchange_acknowledged(w.t, s->a, &w.peer, 0, w.sent[i].m.mid, p->verb == RESETS,
                                      now());
                return true;
            }
        return false;
    case SENDS: {
        if (s->seen >= w.n_sent)
            return false;
        const struct msg *g = &w.sent[s->seen++].m;
        if (g->type != p->type || g->code != p->code || (p->mid && g->mid != p->mid))
            return false;
        return g->code == 0 ? g->token_n == 0 : g->token_n == 2 && g->token[1] == p->variant;
    }
    case QUIET:
        return s->seen == w.n_sent;
    case DUE:
        return due_ms() == p->ms;
    case NEVER:
        return due_ms() == UINT64_MAX;
    case UNDELIVERED:
        exchanges_get_stats(w.t, &stats);
        return w.n_undelivered == p->ms && stats.undelivered == p->ms;
    case END:
        break;
    }
    return true;
}

static void test_stories(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(stories); i++)
        for (int secure = 0; secure < 2; secure++) {
            begin(16);
            struct telling s = {.a = secure ? &w.assocs[0] : NULL};
            if (!secure) {
                /* Plain endpoints share one counter: let it be as theirs is. */
                exchanges_free(w.t);
                w.random = 0xfffe;
                w.t = exchanges_new(16, &ops, NULL, random_word);
                w.random = 500;
            }
            for (size_t k = 0; stories[i].steps[k].verb != END; k++)
                if (!tell_step(&s, &stories[i].steps[k])) {
                    fprintf(stderr, "sent %zu, last type %d code %02x mid %04x, due %llu\n",
                            w.n_sent, w.n_sent ? w.sent[w.n_sent - 1].m.type : -1,
                            w.n_sent ? w.sent[w.n_sent - 1].m.code : 0,
                            w.n_sent ? w.sent[w.n_sent - 1].m.mid : 0,
                            (unsigned long long)due_ms());
                    fail_msg("%s (%s): step %zu", stories[i].name, secure ? "dtls" : "plain", k);
                }
            end();
        }
}

/* ---- single traits ---- */

static void test_retransmission_is_identical(void **state)
{
    (void)state;
    begin(4);
    struct exchange *x = arrive_new(&w.assocs[0], TYPE_CON, 9);
    at(1000);
    exchanges_expire(w.t, now());
    answer(x, "separate");
    at(3500);
    exchanges_expire(w.t, now());
    assert_int_equal(w.n_sent, 3);
    assert_int_equal(w.sent[1].n, w.sent[2].n);
    assert_memory_equal(w.sent[1].bytes, w.sent[2].bytes, w.sent[1].n);
    assert_int_not_equal(w.sent[1].m.mid, 9);
    end();
}

static void test_jitter_bounds(void **state)
{
    (void)state;
    static const struct {
        uint32_t random, want_ms;
    } rows[] = {{0, 2000}, {1000, 3000}, {1001, 2000}, {UINT32_MAX, 2000 + UINT32_MAX % 1001}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        begin(4);
        w.random = rows[i].random;
        struct exchange *x = arrive_new(&w.assocs[0], TYPE_CON, 9);
        at(1000);
        exchanges_expire(w.t, now());
        answer(x, "x");
        assert_int_equal(due_ms(), 1000 + rows[i].want_ms);
        end();
    }
}

static void test_endpoints_are_apart(void **state)
{
    (void)state;
    begin(16);
    struct exchange *x[6];
    struct bytes again;
    struct msg m;
    assert_int_equal(arrive(&w.assocs[0], &w.peer, TYPE_CON, 5, 0, &x[0], &again), EXCHANGE_NEW);
    assert_int_equal(arrive(&w.assocs[1], &w.peer, TYPE_CON, 5, 0, &x[1], &again), EXCHANGE_NEW);
    assert_int_equal(arrive(NULL, &w.peer, TYPE_CON, 5, 0, &x[2], &again), EXCHANGE_NEW);
    assert_int_equal(arrive(NULL, &w.peer2, TYPE_CON, 5, 0, &x[3], &again), EXCHANGE_NEW);
    struct bytes d = request(TYPE_CON, 5, 0, &m);
    assert_int_equal(exchange_accept(w.t, NULL, 1, &w.peer, &m, d, now(), &x[4], &again),
                     EXCHANGE_NEW);
    assert_int_equal(arrive(NULL, &w.peer, TYPE_CON, 5, 0, &x[5], &again), EXCHANGE_REPEAT);
    struct exchanges_stats s;
    exchanges_get_stats(w.t, &s);
    assert_int_equal(s.open, 5);
    assert_int_equal(s.repeated, 1);
    /* An ACK of one endpoint is not another's. */
    at(1000);
    exchanges_expire(w.t, now());
    answer(x[0], "x");
    uint16_t mid = w.sent[w.n_sent - 1].m.mid;
    exchange_acknowledged(w.t, &w.assocs[1], &w.peer, 0, mid, false, now());
    exchange_acknowledged(w.t, NULL, &w.peer, 0, mid, false, now());
    assert_true(x[0]->confirm);
    exchange_acknowledged(w.t, &w.assocs[0], &w.peer, 0, mid, false, now());
    assert_false(x[0]->confirm);
    end();
}

static void test_oldest_gives_way(void **state)
{
    (void)state;
    begin(3);
    struct exchange *x[3], *y;
    struct bytes again;
    for (uint16_t i = 0; i < 3; i++) {
        at(i);
        x[i] = arrive_new(&w.assocs[0], TYPE_CON, i);
    }
    /* All open: none gives way. */
    assert_int_equal(arrive(&w.assocs[1], &w.peer, TYPE_CON, 50, 0, &y, &again), EXCHANGE_FULL);
    assert_null(exchange_own(w.t, now()));
    at(10);
    answer(x[1], "1");
    at(11);
    answer(x[0], "0");
    at(12);
    assert_int_equal(arrive(&w.assocs[1], &w.peer, TYPE_CON, 50, 0, &y, &again), EXCHANGE_NEW);
    /* x[1] was answered first: it is new again, and x[0] gave way for it. */
    assert_int_equal(arrive(&w.assocs[0], &w.peer, TYPE_CON, 1, 0, &y, &again), EXCHANGE_NEW);
    assert_int_equal(arrive(&w.assocs[0], &w.peer, TYPE_CON, 0, 0, &y, &again), EXCHANGE_FULL);
    struct exchanges_stats s;
    exchanges_get_stats(w.t, &s);
    assert_int_equal(s.evicted, 2);
    assert_int_equal(s.full, 2);
    assert_int_equal(s.open, 3);
    assert_int_equal(s.kept, 0);
    assert_int_equal(w.assocs[0].n_exchanges, 2);
    end();
}

static void test_unconfirmed_gives_way_last(void **state)
{
    (void)state;
    begin(3);
    struct exchange *a = arrive_new(&w.assocs[0], TYPE_CON, 1);
    struct exchange *b = arrive_new(&w.assocs[0], TYPE_CON, 2);
    at(1000);
    exchanges_expire(w.t, now());
    answer(a, "a"); /* the oldest answer, but it awaits its ACK */
    at(1001);
    answer(b, "b");
    struct exchange *c = arrive_new(&w.assocs[0], TYPE_NON, 3);
    at(1002);
    answer(c, "c");
    at(1003);
    struct exchange *y;
    struct bytes again;
    assert_int_equal(arrive(&w.assocs[1], &w.peer, TYPE_CON, 9, 0, &y, &again), EXCHANGE_NEW);
    assert_ptr_equal(y, c);
    assert_int_equal(arrive(&w.assocs[1], &w.peer, TYPE_CON, 10, 0, &y, &again), EXCHANGE_NEW);
    assert_ptr_equal(y, a);
    assert_int_equal(w.assocs[0].n_exchanges, 1);
    /* What gave way is not retransmitted. */
    w.n_sent = 0;
    at(3500);
    exchanges_expire(w.t, now());
    assert_int_equal(w.n_sent, 2); /* empty ACKs of 9 and 10 */
    at(3501);
    exchanges_expire(w.t, now());
    assert_int_equal(w.n_sent, 3);
    assert_ptr_equal(w.sent[2].x, b);
    end();
}

static void test_cap_of_one_client(void **state)
{
    (void)state;
    begin(EXCHANGES_PER_ASSOC + 8);
    struct exchange *x = NULL, *first = NULL;
    struct bytes again;
    for (uint16_t i = 0; i < EXCHANGES_PER_ASSOC; i++) {
        x = arrive_new(&w.assocs[0], TYPE_CON, i);
        first = first ? first : x;
    }
    assert_int_equal(arrive(&w.assocs[0], &w.peer, TYPE_CON, 999, 0, &x, &again), EXCHANGE_MANY);
    /* Its duplicates are duplicates still; others are not concerned. */
    assert_int_equal(arrive(&w.assocs[0], &w.peer, TYPE_CON, 3, 0, &x, &again), EXCHANGE_REPEAT);
    assert_int_equal(arrive(&w.assocs[1], &w.peer, TYPE_CON, 999, 0, &x, &again), EXCHANGE_NEW);
    /* A separate answer that is not acknowledged is under way as well. */
    at(1000);
    exchanges_expire(w.t, now());
    answer(first, "x");
    assert_int_equal(arrive(&w.assocs[0], &w.peer, TYPE_CON, 999, 0, &x, &again), EXCHANGE_MANY);
    exchange_acknowledged(w.t, &w.assocs[0], &w.peer, 0, w.sent[w.n_sent - 1].m.mid, false, now());
    assert_int_equal(arrive(&w.assocs[0], &w.peer, TYPE_CON, 999, 0, &x, &again), EXCHANGE_NEW);
    end();
}

/* Strangers over plain coap, from as many addresses as they like. */
static void test_cap_of_plain_coap(void **state)
{
    (void)state;
    begin(EXCHANGES_PLAIN + 2);
    struct exchange *x = NULL, *first = NULL, *kept = arrive_new(&w.assocs[0], TYPE_CON, 1);
    struct bytes again;
    at(1);
    answer(kept, "kept");
    for (uint16_t i = 0; i < EXCHANGES_PLAIN; i++) {
        struct peer from = fake_peer("198.51.100.1", (uint16_t)(1024 + i));
        uint8_t type = i ? TYPE_NON : TYPE_CON;
        assert_int_equal(arrive(NULL, &from, type, 7, 0, &x, &again), EXCHANGE_NEW);
        first = first ? first : x;
    }
    struct peer more = fake_peer("203.0.113.1", 1024);
    assert_int_equal(arrive(NULL, &more, TYPE_CON, 7, 0, &x, &again), EXCHANGE_MANY);
    assert_int_equal(arrive(&w.assocs[0], &w.peer, TYPE_CON, 2, 0, &x, &again), EXCHANGE_NEW);
    /* A separate answer that is not acknowledged is under way as well. */
    at(1001);
    exchanges_expire(w.t, now());
    answer(first, "x");
    assert_int_equal(arrive(NULL, &more, TYPE_CON, 7, 0, &x, &again), EXCHANGE_MANY);
    struct peer its = first->peer;
    exchange_acknowledged(w.t, NULL, &its, 0, first->answer_mid, false, now());
    assert_false(first->confirm);
    /* Of what is remembered theirs gives way, though it is younger. */
    assert_int_equal(arrive(NULL, &more, TYPE_CON, 7, 0, &x, &again), EXCHANGE_NEW);
    assert_ptr_equal(x, first);
    assert_int_equal(arrive(&w.assocs[0], &w.peer, TYPE_CON, 1, 0, &x, &again), EXCHANGE_REPEAT);
    end();
}

static struct exchange *notify(uint8_t type, uint64_t watch)
{
    struct exchange *kept = NULL;
    struct msg m = {.type = type, .code = MSG_CODE(2, 5), .token_n = 1, .token = {0xab}};
    m.payload = BYTES_LIT("on");
    assert_true(exchange_notify(w.t, &w.assocs[0], watch, &m, now(), &kept));
    assert_int_equal(m.mid, w.sent[w.n_sent - 1].m.mid);
    return kept;
}

/* How a notification ends: what its client says, or nothing. */
static void test_notifications(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t type;
        int client; /* 0: silence */
        bool unsaid;
        size_t sent, heard;
        enum exchange_heard how;
    } rows[] = {
        {"CON, acknowledged", TYPE_CON, ACKS, false, 1, 1, HEARD_ACK},
        {"CON, answered by RST", TYPE_CON, RESETS, false, 1, 1, HEARD_RESET},
        {"CON, silence", TYPE_CON, 0, false, 1 + MAX_RETRANSMIT, 1, HEARD_NOTHING},
        {"CON, taken back", TYPE_CON, 0, true, 1, 0, HEARD_NOTHING},
        {"CON, taken back, then acknowledged", TYPE_CON, ACKS, true, 1, 0, HEARD_NOTHING},
        {"NON, acknowledged", TYPE_NON, ACKS, false, 1, 0, HEARD_NOTHING},
        {"NON, silence", TYPE_NON, 0, false, 1, 0, HEARD_NOTHING},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        begin(2);
        at(0);
        struct exchange *x = notify(rows[i].type, 77);
        bool kept = x != NULL;
        assert_int_equal(kept, rows[i].type == TYPE_CON);
        if (kept)
            assert_true(exchange_is_unheard(x, 77) && !exchange_is_unheard(x, 78));
        if (rows[i].unsaid) {
            exchange_unsay(w.t, x, 78); /* another's */
            assert_true(exchange_is_unheard(x, 77));
            exchange_unsay(w.t, x, 77);
            assert_false(exchange_is_unheard(x, 77));
        }
        at(500);
        if (rows[i].client) {
            uint16_t mid = w.sent[0].m.mid;
            bool reset = rows[i].client == RESETS;
            assert_false(exchange_acknowledged(w.t, &w.assocs[1], &w.peer, 0, mid, reset, now()));
            assert_int_equal(
                exchange_acknowledged(w.t, &w.assocs[0], &w.peer, 0, mid, reset, now()),
                kept && !rows[i].unsaid);
        }
        for (uint64_t due; (due = due_ms()) != UINT64_MAX;) {
            at(due);
            exchanges_expire(w.t, now());
        }
        bool ok = w.n_sent == rows[i].sent && w.n_heard == rows[i].heard && w.n_undelivered == 0;
        ok = ok && (w.n_heard == 0 || (w.heard_of == 77 && w.heard == (int)rows[i].how));
        ok = ok && (w.heard != HEARD_ACK || w.rtt_us == 500000);
        struct exchanges_stats s;
        exchanges_get_stats(w.t, &s);
        if (!ok || s.open || s.kept || w.assocs[0].n_exchanges || w.assocs[0].exchanges)
            fail_msg("%s: sent %zu, heard %zu (%d)", rows[i].name, w.n_sent, w.n_heard, w.heard);
        end();
    }
}

/* Over TCP (RFC 8323): the same message twice is two messages, nothing is
 * acknowledged, repeated or remembered. */
static void test_reliable(void **state)
{
    (void)state;
    begin(4);
    static int connection;
    w.assocs[0].conn = (struct conn *)(void *)&connection;
    struct exchange *first = arrive_new(&w.assocs[0], TYPE_CON, 7);
    struct exchange *second = arrive_new(&w.assocs[0], TYPE_CON, 7);
    assert_ptr_not_equal(first, second);
    assert_true(first->reliable && first->type == TYPE_CON); /* CON for the device */
    assert_int_equal(w.assocs[0].n_exchanges, 2);
    assert_int_equal(due_ms(), UINT64_MAX); /* no empty ACK is due */
    answer(second, "on");
    assert_int_equal(w.n_sent, 1);
    assert_int_equal(w.sent[0].m.type, TYPE_NON);
    assert_int_equal(w.sent[0].m.code, MSG_CODE(2, 5));
    assert_ptr_equal(w.sent[0].x, second);
    exchange_drop(w.t, first, now());
    struct exchanges_stats stats;
    exchanges_get_stats(w.t, &stats);
    assert_int_equal(stats.open + stats.kept, 0);
    assert_int_equal(w.assocs[0].n_exchanges, 0);
    assert_null(w.assocs[0].exchanges);
    assert_null(notify(TYPE_CON, 5)); /* nothing is kept of it */
    assert_int_equal(w.sent[1].m.type, TYPE_NON);
    assert_int_equal(due_ms(), UINT64_MAX);

    /* What is larger than its client takes is told so. */
    conn_takes = 32;
    char large[64];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    answer(arrive_new(&w.assocs[0], TYPE_CON, 8), large);
    assert_int_equal(w.sent[2].m.code, MSG_CODE(5, 2));
    conn_takes = MESSAGE_MAX;

    first = arrive_new(&w.assocs[0], TYPE_CON, 9); /* its client leaves */
    exchange_forget(w.t, &w.assocs[0]);
    assert_true(first->gone);
    answer(first, "on");
    assert_int_equal(w.n_sent, 3);
    end();
}

/* A full table has no room for one, and says so; a client that goes takes
 * its own along. */
static void test_notifications_and_the_table(void **state)
{
    (void)state;
    begin(2);
    struct exchange *x, *kept;
    struct bytes again;
    struct msg m = {.type = TYPE_CON, .code = MSG_CODE(2, 5)};
    notify(TYPE_CON, 1);
    assert_int_equal(arrive(&w.assocs[1], &w.peer, TYPE_CON, 1, 0, &x, &again), EXCHANGE_NEW);
    notify(TYPE_CON, 2); /* what only waits for its ACK gives way at last */
    assert_int_equal(arrive(&w.assocs[1], &w.peer, TYPE_CON, 2, 0, &x, &again), EXCHANGE_NEW);
    assert_false(exchange_notify(w.t, &w.assocs[0], 3, &m, now(), &kept));
    assert_int_equal(w.assocs[0].n_exchanges, 0);
    end();
    begin(2);
    x = notify(TYPE_CON, 1);
    exchange_forget(w.t, &w.assocs[0]);
    assert_false(exchange_is_unheard(x, 1));
    assert_int_equal(w.n_heard, 0);
    end();
}

static struct exchange *victim;

/* Every third waits anew; one ends another that waits too. */
static void visit_waiting(void *user, struct exchange *x)
{
    size_t *n = user;
    assert_int_equal(x->state, EXCHANGE_OPEN);
    assert_int_equal(x->wait, 0);
    ++*n;
    if (x->mid % 3 == 0)
        exchange_wait(w.t, x, 7);
    else
        answer(x, "now");
    if (x->mid == 1 && victim) {
        exchange_drop(w.t, victim, now());
        victim = NULL;
    }
}

static void test_waiting(void **state)
{
    (void)state;
    begin(32);
    size_t seen = 0;
    struct exchange *x[12];
    for (uint16_t i = 0; i < 12; i++) {
        x[i] = arrive_new(&w.assocs[i % 2], TYPE_CON, i);
        /* 7 and 71 share a bucket */
        exchange_wait(w.t, x[i], i < 8 ? 7 : 71);
    }
    exchange_wait(w.t, x[4], 71); /* thinks better of it */
    victim = x[5];
    exchanges_each_waiting(w.t, 8, visit_waiting, &seen);
    exchanges_each_waiting(w.t, 71 + 64, visit_waiting, &seen);
    assert_int_equal(seen, 0);
    exchange_drop(w.t, x[2], now());
    exchanges_each_waiting(w.t, 7, visit_waiting, &seen);
    assert_int_equal(seen, victim ? 6 : 5);
    assert_int_equal(x[3]->wait, 7);
    assert_int_equal(x[4]->wait, 71);
    assert_int_equal(x[8]->wait, 71);
    exchange_forget(w.t, &w.assocs[0]); /* 8 and 10: open still, and gone */
    seen = 0;
    exchanges_each_waiting(w.t, 71, visit_waiting, &seen);
    assert_int_equal(seen, 5);
    end();
}

static void test_forgotten_association(void **state)
{
    (void)state;
    begin(8);
    struct exchange *open = arrive_new(&w.assocs[0], TYPE_CON, 1);
    struct exchange *kept = arrive_new(&w.assocs[0], TYPE_CON, 2);
    struct exchange *other = arrive_new(&w.assocs[1], TYPE_CON, 1);
    answer(kept, "x");
    struct exchange *unacked = arrive_new(&w.assocs[0], TYPE_CON, 3);
    at(1000);
    exchanges_expire(w.t, now());
    answer(unacked, "y");
    w.n_sent = 0;
    exchange_forget(w.t, &w.assocs[0]);
    assert_null(w.assocs[0].exchanges);
    assert_int_equal(w.assocs[0].n_exchanges, 0);
    assert_int_equal(kept->state, EXCHANGE_FREE);
    assert_int_equal(unacked->state, EXCHANGE_FREE);
    assert_true(open->gone);
    assert_null(open->assoc);
    assert_ptr_equal(other->assoc, &w.assocs[1]);
    at(40000);
    exchanges_expire(w.t, now());
    assert_int_equal(w.n_sent, 0);
    /* The same ID in the new association is a new request. */
    struct exchange *fresh = arrive_new(&w.assocs[0], TYPE_CON, 1);
    assert_ptr_not_equal(fresh, open);
    /* Its answer goes nowhere, and is not kept; the record still can be read. */
    open->record_n = 3;
    answer(open, "late");
    assert_int_equal(w.n_sent, 0);
    assert_int_equal(open->state, EXCHANGE_FREE);
    assert_int_equal(open->record_n, 3);
    assert_int_equal(w.assocs[0].n_exchanges, 1);
    end();
}

static void test_own(void **state)
{
    (void)state;
    begin(2);
    struct exchange *x = exchange_own(w.t, now());
    assert_non_null(x);
    assert_true(x->own);
    assert_int_equal(due_ms(), UINT64_MAX); /* nobody to acknowledge */
    struct msg m = {.code = OK};
    exchange_answer(w.t, x, &m, now());
    assert_int_equal(w.n_sent, 0);
    assert_int_equal(x->state, EXCHANGE_FREE);
    x = exchange_own(w.t, now());
    exchange_drop(w.t, x, now());
    assert_int_equal(x->state, EXCHANGE_FREE);
    struct exchanges_stats s;
    exchanges_get_stats(w.t, &s);
    assert_int_equal(s.open + s.kept, 0);
    end();
}

static void test_too_large_an_answer(void **state)
{
    (void)state;
    begin(2);
    static const uint8_t large[MESSAGE_MAX];
    /* header 4, token 2, marker 1 */
    static const struct {
        const char *name;
        size_t n;
        uint8_t want;
    } rows[] = {{"just fits", MESSAGE_MAX - 7, OK}, {"one more", MESSAGE_MAX - 6, MSG_CODE(5, 2)}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct exchange *x = arrive_new(&w.assocs[0], TYPE_CON, (uint16_t)i);
        struct msg m = {.code = OK, .payload = bytes_of(large, rows[i].n)};
        exchange_answer(w.t, x, &m, now());
        if (w.sent[i].m.code != rows[i].want || m.code != rows[i].want)
            fail_msg("%s: got %02x", rows[i].name, w.sent[i].m.code);
    }
    end();
}

/* An answer may be made of what lies in the slot. */
static void test_answer_from_the_slot(void **state)
{
    (void)state;
    begin(2);
    struct exchange *x = arrive_new(&w.assocs[0], TYPE_CON, 1);
    memcpy(x->room->stored, "0123456789", 10);
    struct msg m = {.code = OK, .payload = bytes_of(x->room->stored, 10)};
    exchange_answer(w.t, x, &m, now());
    assert_true(bytes_equal(w.sent[0].m.payload, BYTES_LIT("0123456789")));
    end();
}

/* A long answer keeps its room, a short one gives it back: either is there
 * for a duplicate after the room went to others. */
static void test_answers_of_all_lengths(void **state)
{
    (void)state;
    begin(8);
    static const size_t lengths[] = {0, 1, EXCHANGE_SMALL - 7, EXCHANGE_SMALL - 6, 1000};
    static uint8_t content[1000];
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct exchange *x = arrive_new(&w.assocs[0], TYPE_CON, (uint16_t)i);
        memset(content, (int)('a' + i), sizeof content);
        struct msg m = {.code = OK, .payload = bytes_of(content, lengths[i])};
        exchange_answer(w.t, x, &m, now());
    }
    for (size_t i = 0; i < 3; i++) { /* those under way write into theirs */
        struct exchange *x = arrive_new(&w.assocs[1], TYPE_CON, (uint16_t)(100 + i));
        memset(x->room->stored, 'z', sizeof x->room->stored);
        memset(x->room->record, 'z', sizeof x->room->record);
    }
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct exchange *x;
        struct bytes again = BYTES_NONE;
        assert_int_equal(arrive(&w.assocs[0], &w.peer, TYPE_CON, (uint16_t)i, 0, &x, &again),
                         EXCHANGE_REPEAT);
        struct msg m;
        assert_int_equal(msg_parse(again, &m), MSG_OK);
        memset(content, (int)('a' + i), sizeof content);
        if (!bytes_equal(m.payload, bytes_of(content, lengths[i])))
            fail_msg("length %zu: got %zu", lengths[i], m.payload.n);
    }
    end();
}

struct visits {
    struct exchange *other; /* ended along with the first */
    size_t n;
};

static void end_visited(void *user, struct exchange *x)
{
    struct visits *v = user;
    struct msg m = {.code = MSG_CODE(5, 3)};
    v->n++;
    exchange_answer(w.t, x, &m, now());
    if (v->other->state == EXCHANGE_OPEN)
        exchange_drop(w.t, v->other, now());
}

static void test_each_open(void **state)
{
    (void)state;
    begin(8);
    arrive_new(&w.assocs[0], TYPE_CON, 1);
    answer(arrive_new(&w.assocs[0], TYPE_CON, 2), "x");
    struct visits v = {.other = arrive_new(&w.assocs[0], TYPE_NON, 3)};
    arrive_new(&w.assocs[1], TYPE_CON, 4);
    exchanges_each_open(w.t, end_visited, &v);
    assert_int_equal(v.n, 2);
    struct exchanges_stats s;
    exchanges_get_stats(w.t, &s);
    assert_int_equal(s.open, 0);
    assert_int_equal(s.kept, 4);
    end();
}

/* A message ID of ours that still awaits its ACK is passed over. */
static void test_own_ids_wrap(void **state)
{
    (void)state;
    begin(8);
    struct exchange *x = arrive_new(&w.assocs[0], TYPE_CON, 1);
    struct exchange *y = arrive_new(&w.assocs[0], TYPE_CON, 2);
    at(1000);
    exchanges_expire(w.t, now());
    answer(x, "x");
    assert_int_equal(x->answer_mid, 0xfffe);
    w.assocs[0].next_mid = 0xfffe; /* 65536 messages later */
    answer(y, "y");
    assert_int_equal(y->answer_mid, 0xffff);
    struct exchange *z = arrive_new(&w.assocs[0], TYPE_NON, 3);
    answer(z, "z");
    assert_int_equal(w.sent[w.n_sent - 1].m.mid, 0);
    end();
}

/* ---- against a slow obvious model ---- */

enum { MODEL_SLOTS = 24, MODEL_MIDS = 6, ENDPOINTS = 5 };

static struct model {
    bool used, open, acked, confirm, gone, findable;
    struct exchange *x;
    int endpoint;
    uint8_t type, variant;
    uint16_t mid, answer_mid;
    uint64_t born_ms, kept_ms, order, next_ms, wait_ms;
    unsigned tries;
} model[MODEL_SLOTS];

static struct assoc *endpoint_assoc(int e)
{
    return e < 3 ? &w.assocs[e] : NULL;
}

static const struct peer *endpoint_peer(int e)
{
    return e == 4 ? &w.peer2 : &w.peer;
}

static uint64_t model_life(const struct model *m)
{
    return m->type == TYPE_CON ? 247000 : 145000;
}

static size_t model_under_way(int e)
{
    size_t n = 0;
    for (size_t i = 0; i < MODEL_SLOTS; i++)
        n += model[i].used && !model[i].gone && model[i].endpoint == e &&
             (model[i].open || model[i].confirm);
    return n;
}

static struct model *model_place(void)
{
    struct model *oldest = NULL;
    for (size_t i = 0; i < MODEL_SLOTS; i++)
        if (!model[i].used)
            return &model[i];
    /* What plain coap left first; what awaits its ACK last. */
    for (int pass = 0; pass < 3 && !oldest; pass++)
        for (size_t i = 0; i < MODEL_SLOTS; i++)
            if (!model[i].open && model[i].confirm == (pass == 2) &&
                (pass != 0 || model[i].endpoint >= 3) &&
                (!oldest || model[i].order < oldest->order))
                oldest = &model[i];
    return oldest;
}

static void model_arrive(uint64_t ms, uint64_t order)
{
    int e = rand() % ENDPOINTS;
    uint8_t type = rand() % 3 ? TYPE_CON : TYPE_NON, variant = rand() % 4 == 0;
    uint16_t mid = (uint16_t)(rand() % MODEL_MIDS);
    struct model *old = NULL;
    for (size_t i = 0; i < MODEL_SLOTS; i++)
        if (model[i].used && model[i].findable && model[i].endpoint == e && model[i].mid == mid)
            old = &model[i];
    if (old && !old->open && !old->confirm && ms >= old->born_ms + model_life(old)) {
        old->used = false;
        old = NULL;
    }
    struct exchange *x = NULL;
    struct bytes again;
    enum exchange_arrival got =
        arrive(endpoint_assoc(e), endpoint_peer(e), type, mid, variant, &x, &again);
    if (old && old->variant == variant && old->type == type) {
        assert_int_equal(got, EXCHANGE_REPEAT);
        struct msg m;
        if (type == TYPE_NON || (old->open && !old->acked)) {
            assert_int_equal(again.n, 0);
        } else if (old->acked) {
            assert_int_equal(msg_parse(again, &m), MSG_OK);
            assert_true(m.type == TYPE_ACK && m.code == 0 && m.mid == mid);
        } else if (again.n) { /* none when it was dropped */
            assert_int_equal(msg_parse(again, &m), MSG_OK);
            assert_true(m.type == TYPE_ACK && m.code == OK && m.mid == mid &&
                        m.token[1] == variant);
        }
        return;
    }
    struct model *to = old && !old->open && !old->confirm ? old : model_place();
    if ((e < 3 && model_under_way(e) >= EXCHANGES_PER_ASSOC) || !to) {
        assert_int_equal(got, e < 3 && model_under_way(e) >= EXCHANGES_PER_ASSOC ? EXCHANGE_MANY
                                                                                 : EXCHANGE_FULL);
        return;
    }
    assert_int_equal(got, EXCHANGE_NEW);
    if (old)
        old->findable = false;
    *to = (struct model){.used = true,
                         .open = true,
                         .findable = true,
                         .x = x,
                         .endpoint = e,
                         .type = type,
                         .variant = variant,
                         .mid = mid,
                         .born_ms = ms,
                         .order = order};
}

static void model_answer(struct model *m, uint64_t ms, uint64_t order)
{
    size_t before = w.n_sent;
    bool drop = rand() % 8 == 0;
    if (drop)
        exchange_drop(w.t, m->x, now());
    else
        answer(m->x, "model");
    m->open = false;
    m->kept_ms = ms;
    m->order = order;
    if (m->gone) {
        assert_int_equal(w.n_sent, before);
        m->used = false;
    } else if (!drop) {
        assert_int_equal(w.n_sent, before + 1);
        const struct msg *s = &w.sent[before].m;
        bool separate = m->type == TYPE_NON || m->acked;
        assert_int_equal(s->type, separate ? m->type : TYPE_ACK);
        if (!separate)
            assert_int_equal(s->mid, m->mid);
        if (m->type == TYPE_CON && m->acked) {
            m->confirm = true;
            m->answer_mid = s->mid;
            m->tries = 1;
            m->wait_ms = 2000 + w.random % 1001;
            m->next_ms = ms + m->wait_ms;
        }
    }
    if (!m->confirm && !m->findable)
        m->used = false;
}

static void model_settle(struct model *m, uint64_t ms, uint64_t order)
{
    m->confirm = false;
    m->kept_ms = ms;
    m->order = order;
    m->used = m->findable; /* there are no duplicates of it any more */
}

static void model_time(uint64_t ms, uint64_t *order)
{
    size_t acks = 0, again = 0, undelivered = 0;
    /* In the order of their deadlines, as the heap has them. */
    for (size_t i = 0; i < MODEL_SLOTS; i++) {
        struct model *m = &model[i];
        if (m->used && m->open && !m->gone && m->type == TYPE_CON && !m->acked &&
            m->born_ms + 1000 <= ms) {
            m->acked = true;
            acks++;
        }
    }
    for (;;) {
        struct model *first = NULL;
        for (size_t i = 0; i < MODEL_SLOTS; i++)
            if (model[i].used && model[i].confirm && model[i].next_ms <= ms &&
                (!first || model[i].next_ms < first->next_ms))
                first = &model[i];
        if (!first)
            break;
        if (first->tries > MAX_RETRANSMIT) {
            model_settle(first, ms, (*order)++);
            undelivered++;
        } else {
            first->tries++;
            first->wait_ms *= 2;
            first->next_ms = ms + first->wait_ms;
            again++;
        }
    }
    for (size_t i = 0; i < MODEL_SLOTS; i++)
        if (model[i].used && !model[i].open && !model[i].confirm &&
            model[i].kept_ms + model_life(&model[i]) <= ms)
            model[i].used = false;
    size_t sent = w.n_sent, lost = w.n_undelivered;
    exchanges_expire(w.t, now());
    assert_int_equal(w.n_sent - sent, acks + again);
    assert_int_equal(w.n_undelivered - lost, undelivered);
}

static void model_check(void)
{
    size_t open = 0, kept = 0;
    for (size_t i = 0; i < MODEL_SLOTS; i++) {
        open += model[i].used && model[i].open;
        kept += model[i].used && !model[i].open;
        if (model[i].used && (model[i].open || model[i].confirm)) {
            assert_int_equal(model[i].x->state, model[i].open ? EXCHANGE_OPEN : EXCHANGE_ANSWERED);
            assert_int_equal(model[i].x->confirm, model[i].confirm);
            assert_int_equal(model[i].x->gone, model[i].gone);
        }
    }
    struct exchanges_stats s;
    exchanges_get_stats(w.t, &s);
    assert_int_equal(s.open, open);
    assert_int_equal(s.kept, kept);
    for (int e = 0; e < 3; e++)
        assert_int_equal(w.assocs[e].n_exchanges, model_under_way(e));
}

static void test_model(void **state)
{
    (void)state;
    begin(MODEL_SLOTS);
    memset(model, 0, sizeof model);
    srand(1);
    uint64_t ms = 0, order = 0;
    for (int round = 0; round < 20000; round++) {
        /* Times are apart, so that there is one order of age. */
        ms += 1 + (uint64_t)(rand() % 3    ? rand() % 100
                             : rand() % 20 ? rand() % 3000
                                           : rand() % 90000);
        at(ms);
        w.random = (uint32_t)rand();
        w.n_sent = 0;
        struct model *m = &model[rand() % MODEL_SLOTS];
        int what = rand() % 16;
        if (what < 7) {
            model_arrive(ms, order++);
        } else if (what < 12) {
            if (m->used && m->open)
                model_answer(m, ms, order++);
        } else if (what < 14) {
            bool reset = rand() % 2;
            if (m->used && m->confirm) {
                size_t lost = w.n_undelivered;
                exchange_acknowledged(w.t, endpoint_assoc(m->endpoint), endpoint_peer(m->endpoint),
                                      0, m->answer_mid, reset, now());
                model_settle(m, ms, order++);
                assert_int_equal(w.n_undelivered - lost, reset);
            }
        } else if (what == 14 && rand() % 8 == 0) {
            int e = rand() % 3;
            exchange_forget(w.t, &w.assocs[e]);
            for (size_t i = 0; i < MODEL_SLOTS; i++)
                if (model[i].used && model[i].endpoint == e && !model[i].gone) {
                    model[i].used = model[i].gone = model[i].open;
                    model[i].findable = false;
                }
        } else {
            model_time(ms, &order);
        }
        model_check();
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_retransmission_is_identical),
        cmocka_unit_test(test_jitter_bounds),
        cmocka_unit_test(test_endpoints_are_apart),
        cmocka_unit_test(test_oldest_gives_way),
        cmocka_unit_test(test_unconfirmed_gives_way_last),
        cmocka_unit_test(test_cap_of_one_client),
        cmocka_unit_test(test_notifications),
        cmocka_unit_test(test_notifications_and_the_table),
        cmocka_unit_test(test_cap_of_plain_coap),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_forgotten_association),
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_too_large_an_answer),
        cmocka_unit_test(test_reliable),
        cmocka_unit_test(test_answer_from_the_slot),
        cmocka_unit_test(test_answers_of_all_lengths),
        cmocka_unit_test(test_each_open),
        cmocka_unit_test(test_own_ids_wrap),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
