#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../proxy/discovery.h"

#define N(a) (sizeof(a) / sizeof *(a))

enum { S = 1000 };

static const struct bytes lamp[] = {{(const uint8_t *)"lamp", 4}};
static const struct discovery_device devices[] = {
    {"lamp", NULL, {lamp, 1, NULL, 0}, false, false},
    {"a", "a.home", {0}, false, false},
    {"b", "b.home", {0}, false, false},
    {"c", "c.home", {0}, false, false},
    {"d", "d.home", {0}, false, false},
};

/* An answer with its Block2 (-1: none) and ETag. */
static struct msg answer(struct bytes payload, int64_t block, const char *etag, uint8_t storage[4])
{
    struct msg m = {.type = TYPE_ACK, .code = MSG_CODE(2, 5), .payload = payload};
    if (block >= 0)
        assert_true(msg_add_uint(&m, OPT_BLOCK2, (uint32_t)block, storage));
    if (etag)
        assert_true(msg_add(&m, OPT_ETAG, bytes_str(etag)));
    assert_true(msg_add(&m, OPT_CONTENT_FORMAT, BYTES_LIT("\x28")));
    return m;
}

static int64_t asked_block(const struct discovery *d)
{
    struct msg m;
    struct discovery_scratch scratch;
    assert_true(discovery_request(d, 0, &m, &scratch));
    assert_int_equal(m.type, TYPE_NON);
    assert_int_equal(m.code, MSG_GET);
    assert_true(m.n_options >= 2);
    assert_true(bytes_equal_str(m.options[0].value, ".well-known"));
    assert_true(bytes_equal_str(m.options[1].value, "core"));
    return msg_uint(&m, OPT_BLOCK2);
}

static void expect_known(struct discovery *d, const char *want)
{
    struct bytes text;
    bool known = discovery_known(d, 0, &text);
    assert_int_equal(known, want != NULL);
    if (want && !bytes_equal_str(text, want))
        fail_msg("known: %.*s, wanted %s", (int)text.n, (const char *)text.p, want);
}

/* A document of two blocks of 16 and a rest. */
static const char doc[] = "</a>;rt=\"1234\",</b>;rt=\"1234\",</cc>";

struct step {
    size_t from, n; /* payload, of doc */
    int64_t block;  /* -1: none */
    const char *etag;
    int64_t ask;  /* the block asked for next; -1: from the start; -2: done */
    uint8_t code; /* 0: 2.05 */
};
#define BLOCK(num, more, szx) ((num) << 4 | (more) << 3 | (szx))
#define FINISHED              (-2)

static const struct {
    const char *name;
    struct step steps[8];
    bool learned;
} stories[] = {
    {"at once", {{0, 35, -1, NULL, FINISHED, 0}}, true},
    {"at once, as one block", {{0, 35, BLOCK(0, 0, 2), NULL, FINISHED, 0}}, true},
    {"three blocks",
     {{0, 16, BLOCK(0, 1, 0), "e", BLOCK(1, 0, 0), 0},
      {16, 16, BLOCK(1, 1, 0), "e", BLOCK(2, 0, 0), 0},
      {32, 3, BLOCK(2, 0, 0), "e", FINISHED, 0}},
     true},
    {"  without ETag",
     {{0, 16, BLOCK(0, 1, 0), NULL, BLOCK(1, 0, 0), 0},
      {16, 16, BLOCK(1, 1, 0), NULL, BLOCK(2, 0, 0), 0},
      {32, 3, BLOCK(2, 0, 0), NULL, FINISHED, 0}},
     true},
    {"  the second twice: from the start",
     {{0, 16, BLOCK(0, 1, 0), "e", BLOCK(1, 0, 0), 0},
      {16, 16, BLOCK(1, 1, 0), "e", BLOCK(2, 0, 0), 0},
      {16, 16, BLOCK(1, 1, 0), "e", -1, 0},
      {0, 35, -1, "e", FINISHED, 0}},
     true},
    {"  the second left out",
     {{0, 16, BLOCK(0, 1, 0), "e", BLOCK(1, 0, 0), 0}, {32, 3, BLOCK(2, 0, 0), "e", -1, 0}},
     false},
    {"  ETag changes, then holds",
     {{0, 16, BLOCK(0, 1, 0), "e", BLOCK(1, 0, 0), 0},
      {16, 16, BLOCK(1, 1, 0), "f", -1, 0},
      {0, 32, BLOCK(0, 1, 1), "f", BLOCK(1, 0, 1), 0},
      {32, 3, BLOCK(1, 0, 1), "f", FINISHED, 0}},
     true},
    {"  ETag goes away",
     {{0, 16, BLOCK(0, 1, 0), "e", BLOCK(1, 0, 0), 0}, {16, 16, BLOCK(1, 1, 0), NULL, -1, 0}},
     false},
    {"  error in the middle",
     {{0, 16, BLOCK(0, 1, 0), "e", BLOCK(1, 0, 0), 0},
      {0, 0, -1, NULL, -1, MSG_CODE(4, 0)},
      {0, 35, -1, NULL, FINISHED, 0}},
     true},
    {"  the second is the whole",
     {{0, 16, BLOCK(0, 1, 0), "e", BLOCK(1, 0, 0), 0}, {0, 35, -1, "e", FINISHED, 0}},
     true},
    {"blocks become smaller",
     {{0, 32, BLOCK(0, 1, 1), "e", BLOCK(1, 0, 1), 0}, {32, 3, BLOCK(2, 0, 0), "e", FINISHED, 0}},
     true},
    {"first answer is the second block", {{16, 16, BLOCK(1, 1, 0), "e", -1, 0}}, false},
    {"short block with more to come", {{0, 15, BLOCK(0, 1, 0), "e", FINISHED, 0}}, false},
    {"long block with more to come", {{0, 17, BLOCK(0, 1, 0), "e", FINISHED, 0}}, false},
    {"long last block", {{0, 17, BLOCK(0, 0, 0), "e", FINISHED, 0}}, false},
    {"reserved size", {{0, 35, BLOCK(0, 0, 7), "e", FINISHED, 0}}, false},
    {"malformed", {{0, 16, -1, NULL, FINISHED, 0}}, false},
    {"not found", {{0, 0, -1, NULL, FINISHED, MSG_CODE(4, 4)}}, false},
    {"changes for ever",
     {{0, 16, BLOCK(1, 1, 0), "e", -1, 0},
      {0, 16, BLOCK(1, 1, 0), "e", -1, 0},
      {0, 16, BLOCK(1, 1, 0), "e", -1, 0},
      {0, 16, BLOCK(1, 1, 0), "e", FINISHED, 0}},
     false},
};

static void test_blocks(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(stories); i++) {
        struct discovery *d = discovery_new(devices, 1);
        assert_non_null(d);
        assert_int_equal(discovery_next(d, 0), 0);
        assert_int_equal(asked_block(d), -1);
        for (const struct step *s = stories[i].steps; s->n || s->code; s++) {
            uint8_t storage[4];
            struct msg m = answer(bytes_of(doc + s->from, s->n), s->block, s->etag, storage);
            if (s->code)
                m.code = s->code;
            int64_t got = discovery_take_answer(d, 0, &m, 0) ? asked_block(d) : FINISHED;
            if (got != s->ask)
                fail_msg("%s: step %d: asks %d, wanted %d", stories[i].name,
                         (int)(s - stories[i].steps), (int)got, (int)s->ask);
        }
        struct bytes text;
        bool known = discovery_known(d, 0, &text);
        if (known != stories[i].learned)
            fail_msg("%s: known %d", stories[i].name, known);
        if (known)
            assert_true(bytes_equal_str(text, doc));
        discovery_free(d);
    }
}

static void learn(struct discovery *d, uint64_t now_ms, const char *text)
{
    uint8_t storage[4];
    struct msg m = answer(bytes_str(text), -1, NULL, storage);
    assert_int_equal(discovery_next(d, now_ms), 0);
    assert_false(discovery_take_answer(d, 0, &m, now_ms));
}

/* Options that make an answer one that we do not understand. */
static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint16_t number;
        struct bytes value;
        bool learned;
    } rows[] = {
        {"elective", 65004, {(const uint8_t *)"x", 1}, true},
        {"  critical", 65005, {(const uint8_t *)"x", 1}, false},
        {"  OSCORE", OPT_OSCORE, {NULL, 0}, false},
        {"  Block2 of four bytes", OPT_BLOCK2, {(const uint8_t *)"\0\0\0\2", 4}, false},
        {"format 40 in two bytes", OPT_CONTENT_FORMAT, {(const uint8_t *)"\0\x28", 2}, true},
        {"  50", OPT_CONTENT_FORMAT, {(const uint8_t *)"\x32", 1}, false},
        {"  0", OPT_CONTENT_FORMAT, {NULL, 0}, false},
        {"ETag too long", OPT_ETAG, {(const uint8_t *)"123456789", 9}, true},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct discovery *d = discovery_new(devices, 1);
        struct msg m = {.code = MSG_CODE(2, 5), .payload = bytes_str(doc)};
        struct bytes text;
        assert_non_null(d);
        assert_true(msg_add(&m, rows[i].number, rows[i].value));
        assert_int_equal(discovery_next(d, 0), 0);
        assert_false(discovery_take_answer(d, 0, &m, 0));
        if (discovery_known(d, 0, &text) != rows[i].learned)
            fail_msg("%s: known %d", rows[i].name, !rows[i].learned);
        discovery_free(d);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    static char text[DISCOVERY_TEXT_MAX + 2048];
    static const struct {
        const char *name;
        size_t links;
        bool learned;
    } rows[] = {
        {"all", DISCOVERY_LINKS_MAX, true},
        {"one too many", DISCOVERY_LINKS_MAX + 1, false},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct discovery *d = discovery_new(devices, 1);
        struct bytes known;
        text[0] = 0;
        for (size_t k = 0; k < rows[i].links; k++)
            strcat(text, k ? ",</a>" : "</a>");
        learn(d, 0, text);
        if (discovery_known(d, 0, &known) != rows[i].learned)
            fail_msg("%s links", rows[i].name);
        discovery_free(d);
    }
    /* A document that never ends is left at the bound. */
    struct discovery *d = discovery_new(devices, 1);
    struct bytes known;
    uint8_t storage[4];
    memset(text, ' ', sizeof text);
    assert_int_equal(discovery_next(d, 0), 0);
    for (uint32_t num = 0;; num++) {
        struct msg m = answer(bytes_of(text, 1024), BLOCK(num, 1, 6), NULL, storage);
        bool more = discovery_take_answer(d, 0, &m, 0);
        assert_int_equal(more, num < DISCOVERY_TEXT_MAX / 1024);
        if (!more)
            break;
    }
    assert_false(discovery_known(d, 0, &known));
    discovery_free(d);
}

static void test_refresh(void **state)
{
    (void)state;
    struct discovery *d = discovery_new(devices, 1);
    uint64_t t = 7 * S;
    assert_non_null(d);
    assert_int_equal(discovery_deadline_ms(d), 0);
    learn(d, t, "</a>");
    assert_true(discovery_deadline_ms(d) == UINT64_MAX); /* until somebody asks */
    assert_int_equal(discovery_next(d, t + 1000000 * S), -1);
    expect_known(d, "</a>");
    assert_int_equal(discovery_deadline_ms(d), t + DISCOVERY_FRESH_MIN_S * S);
    assert_int_equal(discovery_next(d, t + DISCOVERY_FRESH_MIN_S * S - 1), -1);
    t += DISCOVERY_FRESH_MIN_S * S;

    /* silence: what is known stays, and it is asked ever more rarely */
    uint64_t wait = DISCOVERY_RETRY_MIN_S * S;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(discovery_next(d, t), 0);
        assert_int_equal(discovery_next(d, t), -1); /* under way */
        assert_true(discovery_deadline_ms(d) == UINT64_MAX);
        assert_false(discovery_take_answer(d, 0, NULL, t));
        expect_known(d, "</a>");
        assert_int_equal(discovery_deadline_ms(d), t + wait);
        t += wait;
        wait = wait * 2 > DISCOVERY_RETRY_MAX_S * S ? DISCOVERY_RETRY_MAX_S * S : wait * 2;
    }
    /* an answer is the newer truth, and the waits begin anew */
    learn(d, t, "</b>,</c>");
    expect_known(d, "</b>,</c>");
    t += DISCOVERY_FRESH_MIN_S * S;
    assert_int_equal(discovery_next(d, t), 0);
    struct msg error = {.code = MSG_CODE(5, 3)};
    assert_false(discovery_take_answer(d, 0, &error, t));
    expect_known(d, "</b>,</c>");
    t += DISCOVERY_RETRY_MIN_S * S;
    assert_int_equal(discovery_deadline_ms(d), t);
    /* it has no links any more */
    assert_int_equal(discovery_next(d, t), 0);
    error.code = MSG_CODE(4, 4);
    assert_false(discovery_take_answer(d, 0, &error, t));
    expect_known(d, NULL);
    assert_int_equal(discovery_deadline_ms(d), t + DISCOVERY_RETRY_MAX_S * S);
    t += DISCOVERY_RETRY_MAX_S * S;
    /* a longer Max-Age counts, up to a day */
    struct msg m = {.code = MSG_CODE(2, 5), .payload = BYTES_LIT("</d>")};
    uint8_t storage[4];
    assert_true(msg_add_uint(&m, OPT_MAX_AGE, UINT32_MAX, storage));
    assert_int_equal(discovery_next(d, t), 0);
    assert_false(discovery_take_answer(d, 0, &m, t));
    expect_known(d, "</d>");
    assert_int_equal(discovery_deadline_ms(d), t + DISCOVERY_FRESH_MAX_S * UINT64_C(1000));
    discovery_free(d);
}

static void test_few_at_a_time(void **state)
{
    (void)state;
    struct discovery *d = discovery_new(devices, N(devices));
    struct msg m;
    struct discovery_scratch scratch;
    assert_non_null(d);
    for (int i = 0; i < DISCOVERY_LEARNERS; i++)
        assert_int_equal(discovery_next(d, 0), i);
    assert_int_equal(discovery_next(d, 0), -1);
    assert_true(discovery_deadline_ms(d) == UINT64_MAX);
    assert_false(discovery_request(d, 4, &m, &scratch));
    assert_false(discovery_take_answer(d, 4, NULL, 0)); /* not under way: nothing */
    assert_false(discovery_take_answer(d, -1, NULL, 0));
    assert_false(discovery_take_answer(d, 5, NULL, 0));
    assert_int_equal(discovery_next(d, 0), -1);
    assert_false(discovery_take_answer(d, 2, NULL, 0));
    assert_int_equal(discovery_deadline_ms(d), 0);
    assert_int_equal(discovery_next(d, 0), 4);
    discovery_free(d);
    discovery_free(NULL);
    d = discovery_new(NULL, 0);
    assert_int_equal(discovery_next(d, 0), -1);
    discovery_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_bounds),        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_few_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
