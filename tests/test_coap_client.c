/* The client that asks authorization servers, in invented time: what it
 * sends, what it makes of what comes, and that each question ends once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/coap_client.h"
#include "../proxy/limits.h"

/* Rows and answers name what is not as usual. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Woverride-init"

enum { OUT_MAX = 256, TOLD_MAX = 32, WAIT_MS = 60000, WINDOW = 2, PLACES = 4 };

struct told {
    uint64_t id;
    uint8_t code;
    int format;
    bool last;
    enum coap_end end;
    size_t n;
    uint8_t body[COAP_ANSWER_MAX];
};

static struct rig {
    struct coap_client *c;
    struct instant now;
    size_t n_out, n_taken, n_told, suspected;
    struct {
        size_t n;
        uint8_t bytes[MESSAGE_MAX];
    } out[OUT_MAX];
    struct told told[TOLD_MAX];
    uint64_t random;
} rig;

static void on_send(void *user, struct bytes datagram, struct instant now)
{
    (void)user, (void)now;
    assert_true(rig.n_out < OUT_MAX && datagram.n <= MESSAGE_MAX);
    rig.out[rig.n_out].n = datagram.n;
    memcpy(rig.out[rig.n_out++].bytes, datagram.p, datagram.n);
}

static void on_answered(void *user, uint64_t id, const struct coap_answer *a, struct instant now)
{
    (void)user, (void)now;
    assert_true(rig.n_told < TOLD_MAX);
    struct told *t = &rig.told[rig.n_told++];
    *t = (struct told){id, a->code, a->content_format, a->last, a->end, a->body.n, {0}};
    if (a->body.n)
        memcpy(t->body, a->body.p, a->body.n);
}

static void on_suspect(void *user, struct instant now)
{
    (void)user, (void)now;
    rig.suspected++;
}

static void on_random(void *user, void *to, size_t n)
{
    (void)user;
    for (size_t i = 0; i < n; i++) {
        rig.random = rig.random * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)to)[i] = (uint8_t)(rig.random >> 56);
    }
}

static int set_up(void **state)
{
    (void)state;
    static const struct coap_client_ops ops = {on_send, on_answered, on_suspect, on_random};
    memset(&rig, 0, sizeof rig);
    rig.now.mono_us = 1000000000;
    rig.random = 42;
    rig.c = coap_client_new(&ops, NULL, PLACES, WINDOW);
    assert_non_null(rig.c);
    coap_client_restart(rig.c, rig.now);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    coap_client_free(rig.c);
    return 0;
}

/* ---- driving ---- */

static const struct bytes path[] = {BYTES_LIT("introspect")};

static bool ask_body(uint64_t id, struct bytes body)
{
    const struct coap_question q = {.code = MSG_POST,
                                    .host = BYTES_LIT("as.home"),
                                    .path = path,
                                    .n_path = 1,
                                    .content_format = CF_ACE_CBOR,
                                    .accept = CF_NONE,
                                    .body = body,
                                    .wait_ms = WAIT_MS};
    return coap_client_ask(rig.c, id, &q, rig.now);
}

static bool ask(uint64_t id)
{
    return ask_body(id, BYTES_LIT("question"));
}

static bool observe(uint64_t id)
{
    static const struct bytes query[] = {BYTES_LIT("diff=3")};
    const struct coap_question q = {.code = MSG_GET,
                                    .path = path,
                                    .n_path = 1,
                                    .query = query,
                                    .n_query = 1,
                                    .content_format = CF_NONE,
                                    .accept = CF_NONE,
                                    .observe = true,
                                    .wait_ms = WAIT_MS};
    return coap_client_ask(rig.c, id, &q, rig.now);
}

static void pass(uint64_t ms)
{
    uint64_t end = instant_ms(rig.now) + ms;
    for (;;) {
        uint64_t next = coap_client_deadline_ms(rig.c);
        if (next > end)
            break;
        if (next * 1000 > rig.now.mono_us)
            rig.now.mono_us = next * 1000;
        coap_client_expire(rig.c, rig.now);
    }
    rig.now.mono_us = end * 1000;
}

/* The next message that left; aborts when there is none. */
static void taken(struct msg *out)
{
    assert_true(rig.n_taken < rig.n_out);
    size_t i = rig.n_taken++;
    assert_int_equal(msg_parse(bytes_of(rig.out[i].bytes, rig.out[i].n), out), MSG_OK);
}

struct answer {
    uint8_t type, code;
    uint16_t mid;
    int64_t observe, block1, block2, max_age; /* -1: none */
    const char *etag;
    struct bytes payload;
};

#define ANSWER(...)                                                                                \
    (&(struct answer){.observe = -1, .block1 = -1, .block2 = -1, .max_age = -1, __VA_ARGS__})

static void answer(const struct msg *to, const struct answer *a)
{
    uint8_t text[MESSAGE_MAX], store[4][4];
    struct buf b = buf_on(text, sizeof text);
    struct msg m = {.type = a->type, .code = a->code, .payload = a->payload};
    m.mid = a->type == TYPE_ACK ? to->mid : a->mid;
    m.token_n = to->token_n;
    memcpy(m.token, to->token, to->token_n);
    bool ok = true;
    if (a->observe >= 0)
        ok &= msg_add_uint(&m, OPT_OBSERVE, (uint32_t)a->observe, store[0]);
    if (a->block1 >= 0)
        ok &= msg_add_uint(&m, OPT_BLOCK1, (uint32_t)a->block1, store[1]);
    if (a->block2 >= 0)
        ok &= msg_add_uint(&m, OPT_BLOCK2, (uint32_t)a->block2, store[2]);
    if (a->max_age >= 0)
        ok &= msg_add_uint(&m, OPT_MAX_AGE, (uint32_t)a->max_age, store[3]);
    if (a->etag)
        ok &= msg_add(&m, OPT_ETAG, bytes_str(a->etag));
    assert_true(ok && msg_write(&m, &b));
    coap_client_receive(rig.c, buf_bytes(&b), rig.now);
}

static void empty(uint8_t type, uint16_t mid)
{
    uint8_t text[4];
    struct buf b = buf_on(text, sizeof text);
    msg_write_empty(type, mid, &b);
    coap_client_receive(rig.c, buf_bytes(&b), rig.now);
}

static const struct told *told(size_t i)
{
    assert_true(i < rig.n_told);
    return &rig.told[i];
}

enum { CONTENT = MSG_CODE(2, 5), CREATED = MSG_CODE(2, 1), CONTINUE = MSG_CODE(2, 31) };

static uint8_t big[COAP_ANSWER_MAX + 2048];

static struct bytes slice(size_t at, size_t n)
{
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i / 7 + i);
    return bytes_of(big + at, n);
}

#define BLOCK(num, more, szx) ((int64_t)(num) << 4 | ((more) ? 8 : 0) | (szx))

/* ---- one message ---- */

static void piggybacked(void **state)
{
    (void)state;
    struct msg m;
    assert_true(ask(7));
    assert_int_equal(rig.n_told, 0);
    taken(&m);
    assert_int_equal(m.type, TYPE_CON);
    assert_int_equal(m.code, MSG_POST);
    assert_int_equal(m.token_n, 8);
    assert_true(bytes_equal_str(msg_find(&m, OPT_URI_HOST)->value, "as.home"));
    assert_true(bytes_equal_str(msg_find(&m, OPT_URI_PATH)->value, "introspect"));
    assert_int_equal(msg_uint(&m, OPT_CONTENT_FORMAT), CF_ACE_CBOR);
    assert_null(msg_find(&m, OPT_BLOCK1));
    assert_true(bytes_equal_str(m.payload, "question"));
    struct msg other = m; /* another's token, another's ID: strays */
    other.token[3] ^= 1;
    answer(&other, ANSWER(.type = TYPE_ACK, .code = CREATED));
    other = m;
    other.mid ^= 1;
    answer(&other, ANSWER(.type = TYPE_ACK, .code = CREATED));
    assert_int_equal(rig.n_told, 0);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CREATED, .payload = BYTES_LIT("yes")));
    assert_int_equal(rig.n_told, 1);
    assert_int_equal(told(0)->id, 7);
    assert_int_equal(told(0)->code, CREATED);
    assert_true(told(0)->last && told(0)->end == COAP_ANSWERED && told(0)->n == 3);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CREATED, .payload = BYTES_LIT("yes")));
    assert_int_equal(rig.n_told, 1);
    assert_int_equal(coap_client_busy(rig.c), 0);
    assert_true(coap_client_deadline_ms(rig.c) == UINT64_MAX);
}

static void separate(void **state)
{
    (void)state;
    struct msg m, ack;
    assert_true(ask(1));
    taken(&m);
    empty(TYPE_ACK, m.mid);
    pass(20000); /* no retransmission any more */
    assert_int_equal(rig.n_out, 1);
    for (int i = 0; i < 2; i++) { /* the second: our ACK was lost */
        answer(&m, ANSWER(.type = TYPE_CON, .code = CONTENT, .mid = 99));
        taken(&ack);
        assert_int_equal(ack.type, TYPE_ACK);
        assert_int_equal(ack.mid, 99);
    }
    assert_int_equal(rig.n_told, 1);
    /* The same token with another ID is nobody's. */
    answer(&m, ANSWER(.type = TYPE_CON, .code = CONTENT, .mid = 100));
    taken(&ack);
    assert_int_equal(ack.type, TYPE_RST);
}

static void silence(void **state)
{
    (void)state;
    struct msg m, again;
    assert_true(ask(1));
    taken(&m);
    uint64_t began = instant_ms(rig.now);
    pass(3500);
    taken(&again);
    assert_int_equal(again.mid, m.mid);
    assert_memory_equal(again.token, m.token, 8);
    assert_int_equal(rig.suspected, 0);
    pass(6500);
    assert_int_equal(rig.suspected, 1);
    pass(WAIT_MS);
    assert_int_equal(rig.n_out, 1 + MAX_RETRANSMIT);
    assert_int_equal(rig.n_told, 1);
    assert_int_equal(told(0)->end, COAP_SILENT);
    assert_true(told(0)->last);
    assert_true(instant_ms(rig.now) > began);
}

static void an_ack_and_no_answer(void **state)
{
    (void)state;
    struct msg m;
    assert_true(ask(1));
    taken(&m);
    empty(TYPE_ACK, m.mid);
    pass(WAIT_MS - 1);
    assert_int_equal(rig.n_told, 0);
    pass(1);
    assert_int_equal(told(0)->end, COAP_SILENT);
    assert_int_equal(rig.suspected, 0);
}

static void reset(void **state)
{
    (void)state;
    struct msg m;
    assert_true(ask(1));
    taken(&m);
    empty(TYPE_RST, (uint16_t)(m.mid + 1));
    assert_int_equal(rig.n_told, 0);
    empty(TYPE_RST, m.mid);
    assert_int_equal(told(0)->end, COAP_RESET);
}

static void window_and_places(void **state)
{
    (void)state;
    struct msg m;
    for (uint64_t i = 0; i < PLACES; i++)
        assert_true(ask(i));
    assert_false(ask(PLACES));
    assert_int_equal(rig.n_out, WINDOW);
    taken(&m);
    empty(TYPE_ACK, m.mid); /* acknowledged: no longer outstanding */
    assert_int_equal(rig.n_out, WINDOW + 1);
    coap_client_cancel(rig.c, 1, rig.now);
    assert_int_equal(rig.n_out, WINDOW + 2);
    assert_int_equal(rig.n_told, 0);
    coap_client_end(rig.c, COAP_LOST, rig.now);
    assert_int_equal(rig.n_told, PLACES - 1);
    assert_int_equal(coap_client_busy(rig.c), 0);
}

static void held(void **state)
{
    (void)state;
    struct msg first, m;
    assert_true(ask(1));
    taken(&first);
    coap_client_hold(rig.c);
    pass(5000);
    assert_int_equal(rig.n_out, 1);
    coap_client_restart(rig.c, rig.now);
    taken(&m); /* asked anew, under another token */
    assert_memory_not_equal(m.token, first.token, 8);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CREATED));
    assert_int_equal(told(0)->end, COAP_ANSWERED);
    assert_true(ask(2));
    coap_client_hold(rig.c);
    pass(WAIT_MS);
    assert_int_equal(told(1)->end, COAP_SILENT);
}

/* ---- blocks ---- */

struct block_row {
    const char *name;
    struct {
        int64_t block2;
        size_t at, n;
        const char *etag;
        uint8_t code; /* 0: 2.05 */
    } parts[6];
    enum coap_end end;
    size_t n;   /* of the answer */
    int resent; /* blocks asked for, after the question */
};

static const struct block_row block_rows[] = {
    {"no block", {{-1, 0, 100}}, COAP_ANSWERED, 100, 0},
    {"one block", {{BLOCK(0, 0, 6), 0, 100}}, COAP_ANSWERED, 100, 0},
    {"two blocks", {{BLOCK(0, 1, 6), 0, 1024}, {BLOCK(1, 0, 6), 1024, 5}}, COAP_ANSWERED, 1029, 1},
    {"the last one empty",
     {{BLOCK(0, 1, 6), 0, 1024}, {BLOCK(1, 0, 6), 1024, 0}},
     COAP_ANSWERED,
     1024,
     1},
    {"a block too short", {{BLOCK(0, 1, 6), 0, 1023}}, COAP_BAD, 0, 0},
    {"a last block too long", {{BLOCK(0, 0, 5), 0, 513}}, COAP_BAD, 0, 0},
    {"size 7", {{BLOCK(0, 0, 7), 0, 5}}, COAP_BAD, 0, 0},
    {"begins in the middle", {{BLOCK(1, 1, 6), 0, 1024}}, COAP_BAD, 0, 0},
    {"the same again", {{BLOCK(0, 1, 6), 0, 1024}, {BLOCK(0, 1, 6), 0, 1024}}, COAP_BAD, 0, 1},
    {"one left out", {{BLOCK(0, 1, 6), 0, 1024}, {BLOCK(2, 0, 6), 0, 5}}, COAP_BAD, 0, 1},
    {"smaller from the second on",
     {{BLOCK(0, 1, 6), 0, 1024}, {BLOCK(4, 1, 4), 1024, 256}, {BLOCK(5, 0, 4), 1280, 1}},
     COAP_ANSWERED,
     1281,
     2},
    {"the same etag",
     {{BLOCK(0, 1, 6), 0, 1024, "a"}, {BLOCK(1, 0, 6), 1024, 5, "a"}},
     COAP_ANSWERED,
     1029,
     1},
    {"changed meanwhile: all over again",
     {{BLOCK(0, 1, 6), 0, 1024, "a"},
      {BLOCK(1, 0, 6), 1024, 5, "b"},
      {BLOCK(0, 1, 6), 0, 1024, "b"},
      {BLOCK(1, 0, 6), 1024, 5, "b"}},
     COAP_ANSWERED,
     1029,
     3},
    {"an error in the middle",
     {{BLOCK(0, 1, 6), 0, 1024}, {-1, 0, 3, NULL, MSG_CODE(4, 8)}},
     COAP_ANSWERED,
     3,
     1},
};

static void block2(void **state)
{
    for (size_t i = 0; i < sizeof block_rows / sizeof *block_rows; i++) {
        const struct block_row *r = &block_rows[i];
        struct msg m;
        set_up(state);
        assert_true(ask(1));
        size_t sent = 0;
        for (size_t k = 0; rig.n_told == 0; k++) {
            taken(&m);
            int64_t block = msg_uint(&m, OPT_BLOCK2);
            if (block >= 0 && (m.payload.n || msg_find(&m, OPT_CONTENT_FORMAT)))
                fail_msg("%s: a block was asked for with a payload", r->name);
            if (k >= 6 || (r->parts[k].n == 0 && r->parts[k].block2 == 0))
                fail_msg("%s: asked for more than there is", r->name);
            sent = k;
            answer(&m,
                   ANSWER(.type = TYPE_ACK, .code = r->parts[k].code ? r->parts[k].code : CONTENT,
                          .block2 = r->parts[k].block2, .etag = r->parts[k].etag,
                          .payload = slice(r->parts[k].at, r->parts[k].n)));
        }
        if (told(0)->end != r->end || told(0)->n != r->n || (int)sent != r->resent)
            fail_msg("%s: got end %d, %zu bytes, %zu resent; wanted %d, %zu, %d", r->name,
                     told(0)->end, told(0)->n, sent, r->end, r->n, r->resent);
        if (r->end == COAP_ANSWERED && memcmp(told(0)->body, big, r->n) != 0)
            fail_msg("%s: put together wrongly", r->name);
        tear_down(state);
    }
    set_up(state); /* the group's tear-down frees one more */
}

static void changes_for_ever(void **state)
{
    (void)state;
    struct msg m;
    assert_true(ask(1));
    for (int i = 0; rig.n_told == 0; i++) {
        assert_true(i < 20);
        taken(&m);
        answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTENT, .etag = i % 2 ? "b" : "a",
                          .block2 = BLOCK(i % 2, 1, 6), .payload = slice(0, 1024)));
    }
    assert_int_equal(told(0)->end, COAP_BAD);
}

static void too_large(void **state)
{
    (void)state;
    struct msg m;
    int64_t i = 0;
    assert_true(ask(1));
    for (; rig.n_told == 0 && i < 100; i++) {
        taken(&m);
        answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTENT, .block2 = BLOCK(i, 1, 6),
                          .payload = slice(0, 1024)));
    }
    assert_int_equal(i, COAP_ANSWER_MAX / 1024 + 1);
    assert_int_equal(told(0)->end, COAP_BAD);
}

static void block1(void **state)
{
    (void)state;
    struct msg m;
    uint8_t whole[3000];
    size_t n = 0;
    assert_true(ask_body(1, slice(0, sizeof whole)));
    taken(&m); /* 0 to 1023; the server wants 512 */
    assert_int_equal(msg_uint(&m, OPT_BLOCK1), BLOCK(0, 1, 6));
    memcpy(whole, m.payload.p, m.payload.n);
    n = m.payload.n;
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTINUE, .block1 = BLOCK(0, 1, 5)));
    for (int64_t num = 2; n < sizeof whole; num++) {
        taken(&m);
        bool more = sizeof whole - n > 512;
        assert_int_equal(msg_uint(&m, OPT_BLOCK1), BLOCK(num, more, 5));
        assert_true(m.payload.n <= sizeof whole - n);
        memcpy(whole + n, m.payload.p, m.payload.n);
        n += m.payload.n;
        if (more)
            answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTINUE, .block1 = BLOCK(num, 1, 5)));
    }
    assert_memory_equal(whole, big, sizeof whole);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CREATED, .payload = BYTES_LIT("ok")));
    assert_int_equal(told(0)->code, CREATED);
    assert_int_equal(told(0)->n, 2);
}

static void block1_refused(void **state)
{
    (void)state;
    struct msg m;
    assert_true(ask_body(1, slice(0, 2000)));
    taken(&m);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = MSG_CODE(4, 13), .block1 = BLOCK(0, 1, 2)));
    taken(&m); /* then in 64s */
    assert_int_equal(msg_uint(&m, OPT_BLOCK1), BLOCK(0, 1, 2));
    assert_int_equal(m.payload.n, 64);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = MSG_CODE(4, 13)));
    assert_int_equal(told(0)->code, MSG_CODE(4, 13));
    assert_true(ask_body(2, slice(0, 2000)));
    taken(&m);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTINUE, .block1 = BLOCK(1, 1, 6)));
    assert_int_equal(told(1)->end, COAP_BAD); /* it goes on with another block */
    assert_false(ask_body(3, bytes_of(big, COAP_QUESTION_MAX + 1)));
}

/* ---- observing ---- */

struct order_row {
    const char *name;
    uint32_t first, second;
    uint64_t apart_ms;
    bool newer;
};

static const struct order_row order_rows[] = {
    {"the next", 5, 6, 0, true},
    {"the same", 5, 5, 0, false},
    {"the one before", 6, 5, 0, false},
    {"just within half of the space", 0, (1 << 23) - 1, 0, true},
    {"half of the space", 0, 1 << 23, 0, false},
    {"around the end", 0xffffff, 0, 0, true},
    {"the one before, after long", 6, 5, 128001, true},
    {"the one before, not quite so long", 6, 5, 127999, false},
};

static void order(void **state)
{
    for (size_t i = 0; i < sizeof order_rows / sizeof *order_rows; i++) {
        const struct order_row *r = &order_rows[i];
        struct msg m, ack;
        set_up(state);
        assert_true(observe(3));
        taken(&m);
        assert_int_equal(msg_uint(&m, OPT_OBSERVE), 0);
        assert_true(bytes_equal_str(msg_find(&m, OPT_URI_QUERY)->value, "diff=3"));
        answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTENT, .observe = r->first, .max_age = 1000));
        assert_false(told(0)->last);
        pass(r->apart_ms);
        answer(&m, ANSWER(.type = TYPE_CON, .mid = 1, .code = CONTENT, .observe = r->second,
                          .max_age = 1000));
        taken(&ack); /* in either case */
        assert_int_equal(ack.type, TYPE_ACK);
        if (rig.n_told != (r->newer ? 2 : 1))
            fail_msg("%s: told %zu times", r->name, rig.n_told);
        tear_down(state);
    }
    set_up(state);
}

static void renewed(void **state)
{
    (void)state;
    struct msg m, again;
    assert_true(observe(3));
    taken(&m);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTENT, .observe = 1, .max_age = 30));
    pass(34000);
    assert_int_equal(rig.n_out, 1);
    pass(12000);
    taken(&again); /* not fresh any more: asked again, under the same token */
    assert_memory_equal(again.token, m.token, 8);
    assert_int_equal(msg_uint(&again, OPT_OBSERVE), 0);
    answer(&again, ANSWER(.type = TYPE_ACK, .code = CONTENT, .observe = 2, .max_age = 30));
    assert_int_equal(rig.n_told, 2);
    pass(46000);
    pass(WAIT_MS + 40000);
    assert_true(told(2)->last && told(2)->end == COAP_SILENT);
}

static void ended(void **state)
{
    (void)state;
    struct msg m;
    assert_true(observe(1)); /* the server does not observe */
    taken(&m);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTENT, .payload = BYTES_LIT("list")));
    assert_true(told(0)->last && told(0)->end == COAP_UNOBSERVED && told(0)->n == 4);
    assert_true(observe(2)); /* or ends it with an error */
    taken(&m);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTENT, .observe = 1));
    answer(&m, ANSWER(.type = TYPE_NON, .mid = 5, .code = MSG_CODE(4, 4)));
    assert_true(told(2)->last && told(2)->end == COAP_UNOBSERVED);
    assert_int_equal(told(2)->code, MSG_CODE(4, 4));
    assert_true(observe(4)); /* or we do: what comes then is rejected */
    taken(&m);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTENT, .observe = 1));
    coap_client_cancel(rig.c, 4, rig.now);
    answer(&m, ANSWER(.type = TYPE_CON, .mid = 6, .code = CONTENT, .observe = 2));
    taken(&m);
    assert_int_equal(m.type, TYPE_RST);
    assert_int_equal(rig.n_told, 4);
}

static void notified_in_blocks(void **state)
{
    (void)state;
    struct msg reg, m;
    assert_true(observe(1));
    taken(&reg);
    answer(&reg, ANSWER(.type = TYPE_ACK, .code = CONTENT, .observe = 1, .max_age = 1000));
    answer(&reg, ANSWER(.type = TYPE_NON, .mid = 9, .code = CONTENT, .observe = 2, .max_age = 1000,
                        .block2 = BLOCK(0, 1, 6), .payload = slice(0, 1024)));
    taken(&m); /* the rest under another token, and not observed */
    assert_memory_not_equal(m.token, reg.token, 8);
    assert_null(msg_find(&m, OPT_OBSERVE));
    assert_int_equal(msg_uint(&m, OPT_BLOCK2), BLOCK(1, 0, 6));
    /* A newer state comes while the older is fetched: the older is dropped. */
    answer(&reg, ANSWER(.type = TYPE_NON, .mid = 10, .code = CONTENT, .observe = 3, .max_age = 1000,
                        .block2 = BLOCK(0, 1, 6), .payload = slice(0, 1024)));
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTENT, .block2 = BLOCK(1, 0, 6),
                      .payload = BYTES_LIT("old")));
    assert_int_equal(rig.n_told, 1);
    taken(&m);
    answer(&m, ANSWER(.type = TYPE_ACK, .code = CONTENT, .block2 = BLOCK(1, 0, 6),
                      .payload = BYTES_LIT("new")));
    assert_int_equal(rig.n_told, 2);
    assert_int_equal(told(1)->n, 1027);
    assert_memory_equal(told(1)->body + 1024, "new", 3);
    assert_false(told(1)->last);
    coap_client_hold(rig.c);
    pass(100000);
    coap_client_restart(rig.c, rig.now); /* the observation comes along */
    taken(&m);
    assert_int_equal(msg_uint(&m, OPT_OBSERVE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(piggybacked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(separate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(silence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_ack_and_no_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(window_and_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(held, set_up, tear_down),
        cmocka_unit_test_teardown(block2, tear_down),
        cmocka_unit_test_setup_teardown(changes_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(block1, set_up, tear_down),
        cmocka_unit_test_setup_teardown(block1_refused, set_up, tear_down),
        cmocka_unit_test_teardown(order, tear_down),
        cmocka_unit_test_setup_teardown(renewed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(notified_in_blocks, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
