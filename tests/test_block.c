#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proxy/block.h"
#include "../proxy/limits.h"

#define N(a) (sizeof(a) / sizeof *(a))

enum { NO = -1, MORE = 8, ANN = 1, BOB = 2 };

#define NUM(n) ((n) << 4)
#define BASE   (UINT64_C(3) << 62)

static const struct siphash_key seed = {3, 4};

static struct instant at_ms(uint64_t ms)
{
    return (struct instant){.mono_us = ms * 1000};
}

/* One step: a request, what becomes of it, and what the device says, if it
 * got it. Blocks are values of the option; NO: none. */
struct step {
    uint64_t client;
    uint8_t method;
    int block1, block2;
    enum block_verdict verdict;
    uint8_t code; /* 0: no answer yet */
    int answer2;
    bool over;
    const char *path; /* NULL: "a" */
    uint64_t wait_ms; /* before it */
};

static uint8_t storage[4][4];

static struct msg request_of(const struct step *s)
{
    struct msg m = {.code = s->method};
    assert_true(msg_add(&m, OPT_URI_PATH, bytes_str(s->path ? s->path : "a")));
    if (s->block1 != NO)
        assert_true(msg_add_uint(&m, OPT_BLOCK1, (uint32_t)s->block1, storage[0]));
    if (s->block2 != NO)
        assert_true(msg_add_uint(&m, OPT_BLOCK2, (uint32_t)s->block2, storage[1]));
    return m;
}

#define PUTS(who, block, verdict, code, over)                                                      \
    {                                                                                              \
        who, MSG_PUT, block, NO, verdict, code, NO, over, NULL, 0                                  \
    }

enum { CONTINUE = MSG_CODE(2, 31), CHANGED = MSG_CODE(2, 4), CONTENT = MSG_CODE(2, 5) };

static const struct {
    const char *name;
    struct step steps[8];
} stories[] = {
    {"one after the other",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(ANN, NUM(1) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(ANN, NUM(2), BLOCK_GO, CHANGED, true),
      PUTS(BOB, NUM(0) | MORE, BLOCK_GO, CONTINUE, false)}},
    {"the other waits",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(BOB, NUM(0) | MORE, BLOCK_WAIT, 0, false), PUTS(ANN, NUM(1), BLOCK_GO, CHANGED, true),
      PUTS(BOB, NUM(0) | MORE, BLOCK_GO, CONTINUE, false)}},
    {"also with all in one block",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false), PUTS(BOB, NUM(0), BLOCK_WAIT, 0, false),
      PUTS(BOB, NO, BLOCK_GO, CHANGED, false)}},
    {"a later block without the first",
     {PUTS(ANN, NUM(1) | MORE, BLOCK_INCOMPLETE, 0, false),
      PUTS(ANN, NUM(1), BLOCK_INCOMPLETE, 0, false), PUTS(ANN, NUM(0), BLOCK_GO, CHANGED, false)}},
    {"into another's",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(BOB, NUM(1), BLOCK_INCOMPLETE, 0, false), PUTS(ANN, NUM(1), BLOCK_GO, CHANGED, true)}},
    {"a jump, a repetition, a new beginning",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(ANN, NUM(16) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(ANN, NUM(16) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(BOB, NUM(0) | MORE, BLOCK_WAIT, 0, false)}},
    {"a denial ends it",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, MSG_CODE(4, 13), true),
      PUTS(BOB, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(ANN, NUM(0) | MORE, BLOCK_WAIT, 0, false)}},
    {"  4.08 too",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(ANN, NUM(1) | MORE, BLOCK_GO, MSG_CODE(4, 8), true)}},
    {"  not the call for an Echo",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, MSG_CODE(4, 1), false),
      PUTS(BOB, NUM(0) | MORE, BLOCK_WAIT, 0, false)}},
    {"  nor 5.03",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      PUTS(ANN, NUM(1) | MORE, BLOCK_GO, MSG_CODE(5, 3), false),
      PUTS(BOB, NUM(0) | MORE, BLOCK_WAIT, 0, false)}},
    {"blocks that are written each by itself",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CHANGED, false),
      PUTS(BOB, NUM(0) | MORE, BLOCK_WAIT, 0, false)}},
    {"another resource, another query of it",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      {BOB, MSG_PUT, NUM(0) | MORE, NO, BLOCK_GO, CONTINUE, NO, false, "b", 0}}},
    {"another method is the same resource",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      {BOB, MSG_POST, NUM(0) | MORE, NO, BLOCK_WAIT, 0, NO, false, NULL, 0}}},
    {"GET is nobody's",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      {BOB, MSG_GET, NO, NUM(3), BLOCK_GO, CONTENT, NUM(3) | MORE, false, NULL, 0},
      {BOB, MSG_DELETE, NO, NO, BLOCK_GO, MSG_CODE(2, 2), NO, false, NULL, 0}}},
    {"after its rest",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      {BOB, MSG_PUT, NUM(0) | MORE, NO, BLOCK_WAIT, 0, NO, false, NULL, BLOCK_REST_MS - 1},
      {BOB, MSG_PUT, NUM(0) | MORE, NO, BLOCK_GO, CONTINUE, NO, false, NULL, 1},
      PUTS(ANN, NUM(1), BLOCK_INCOMPLETE, 0, false)}},
    {"slowly, when nobody else comes",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      {ANN, MSG_PUT, NUM(1), NO, BLOCK_GO, CHANGED, NO, true, NULL, EXCHANGE_LIFETIME_MS - 1}}},
    {"  but not for ever",
     {PUTS(ANN, NUM(0) | MORE, BLOCK_GO, CONTINUE, false),
      {ANN, MSG_PUT, NUM(1), NO, BLOCK_INCOMPLETE, 0, NO, false, NULL, EXCHANGE_LIFETIME_MS}}},
    {"a body, then its answer in blocks",
     {{ANN, MSG_FETCH, NUM(0) | MORE, NO, BLOCK_GO, CONTINUE, NO, false, NULL, 0},
      {ANN, MSG_FETCH, NUM(1), NO, BLOCK_GO, CONTENT, NUM(0) | MORE, false, NULL, 0},
      {BOB, MSG_FETCH, NO, NO, BLOCK_WAIT, 0, NO, false, NULL, 0},
      {ANN, MSG_FETCH, NO, NUM(1), BLOCK_GO, CONTENT, NUM(1) | MORE, false, NULL, 0},
      {BOB, MSG_POST, NUM(0), NO, BLOCK_WAIT, 0, NO, false, NULL, 0},
      {ANN, MSG_FETCH, NO, NUM(2), BLOCK_GO, CONTENT, NUM(2), true, NULL, 0},
      {BOB, MSG_FETCH, NO, NO, BLOCK_GO, CONTENT, NO, false, NULL, 0}}},
    {"a small body with such an answer",
     {{ANN, MSG_POST, NO, NO, BLOCK_GO, CHANGED, NUM(0) | MORE, false, NULL, 0},
      {BOB, MSG_POST, NO, NO, BLOCK_WAIT, 0, NO, false, NULL, 0},
      {BOB, MSG_GET, NO, NO, BLOCK_GO, CONTENT, NO, false, NULL, 0},
      {ANN, MSG_POST, NO, NUM(1), BLOCK_GO, CHANGED, NUM(1), true, NULL, 0}}},
    {"a GET's answer in blocks binds nobody",
     {{ANN, MSG_GET, NO, NO, BLOCK_GO, CONTENT, NUM(0) | MORE, false, NULL, 0},
      PUTS(BOB, NUM(0) | MORE, BLOCK_GO, CONTINUE, false)}},
};

static void play(struct blocks *b, const char *name, const struct step *steps, size_t n)
{
    uint64_t now_ms = 1000;
    for (size_t i = 0; i < n && steps[i].method; i++) {
        const struct step *s = &steps[i];
        struct msg m = request_of(s);
        uint64_t id;
        bool refuse;
        now_ms += s->wait_ms;
        while (blocks_expire(b, at_ms(now_ms), &refuse))
            continue;
        enum block_verdict v = block_ask(b, 0, s->client, &m, at_ms(now_ms), &id);
        if (v != s->verdict)
            fail_msg("%s, step %zu: verdict %d", name, i + 1, v);
        if (v == BLOCK_WAIT)
            assert_int_equal(id & BASE, BASE);
        if (v != BLOCK_GO || s->code == 0)
            continue;
        struct msg answer = {.code = s->code};
        if (s->answer2 != NO)
            assert_true(msg_add_uint(&answer, OPT_BLOCK2, (uint32_t)s->answer2, storage[2]));
        bool over = block_answered(b, id, 0, s->client, &m, &answer, at_ms(now_ms));
        if (over != s->over)
            fail_msg("%s, step %zu: over %d", name, i + 1, over);
    }
}

static void test_stories(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(stories); i++) {
        struct blocks *b = blocks_new(BASE, &seed);
        assert_non_null(b);
        play(b, stories[i].name, stories[i].steps, N(stories[i].steps));
        blocks_free(b);
    }
}

/* No rest while the device works, however long; its silence is no end. */
static void test_flying(void **state)
{
    (void)state;
    struct blocks *b = blocks_new(BASE, &seed);
    struct step s = PUTS(ANN, NUM(0) | MORE, BLOCK_GO, 0, false);
    struct msg m = request_of(&s);
    uint64_t id, other;
    bool refuse;
    assert_int_equal(block_ask(b, 0, ANN, &m, at_ms(0), &id), BLOCK_GO);
    assert_int_equal(blocks_deadline_ms(b), UINT64_MAX);
    assert_int_equal(blocks_expire(b, at_ms(90000), &refuse), 0);
    assert_false(block_answered(b, id, 0, ANN, &m, NULL, at_ms(93000)));
    assert_int_equal(blocks_deadline_ms(b), 93000 + EXCHANGE_LIFETIME_MS);
    /* again, and its client leaves */
    assert_int_equal(block_ask(b, 0, ANN, &m, at_ms(94000), &other), BLOCK_GO);
    assert_int_equal(other, id);
    assert_int_equal(blocks_deadline_ms(b), UINT64_MAX);
    block_left(b, id, at_ms(95000));
    uint64_t end = 95000 + EXCHANGE_LIFETIME_MS;
    assert_int_equal(blocks_expire(b, at_ms(end - 1), &refuse), 0);
    assert_int_equal(blocks_expire(b, at_ms(end), &refuse), id);
    assert_false(refuse);
    assert_int_equal(blocks_expire(b, at_ms(end), &refuse), 0);
    /* what comes late is of none */
    block_left(b, id, at_ms(end));
    assert_false(block_answered(b, id, 0, ANN, &m, NULL, at_ms(end)));
    /* another waits: its rest is what counts */
    assert_int_equal(block_ask(b, 0, ANN, &m, at_ms(0), &id), BLOCK_GO);
    block_left(b, id, at_ms(1000));
    assert_int_equal(block_ask(b, 0, BOB, &m, at_ms(2000), &other), BLOCK_WAIT);
    assert_int_equal(blocks_deadline_ms(b), 1000 + BLOCK_REST_MS);
    assert_int_equal(blocks_expire(b, at_ms(1000 + BLOCK_REST_MS), &refuse), id);
    assert_false(refuse);
    blocks_free(b);
}

/* Who waits is refused in time; after long enough, who holds it is. */
static void test_patience(void **state)
{
    (void)state;
    struct blocks *b = blocks_new(BASE, &seed);
    struct step s = PUTS(ANN, NUM(0) | MORE, BLOCK_GO, 0, false);
    struct msg m = request_of(&s), go = {.code = CONTINUE};
    uint64_t id, wait, last = 0;
    bool refuse;
    for (uint64_t now = 0; now < BLOCK_HOLD_MS; now += 1000) {
        assert_int_equal(block_ask(b, 0, ANN, &m, at_ms(now), &id), BLOCK_GO);
        assert_false(block_answered(b, id, 0, ANN, &m, &go, at_ms(now)));
        assert_int_equal(block_ask(b, 0, BOB, &m, at_ms(now), &wait), BLOCK_WAIT);
        assert_int_equal(wait, id);
        uint64_t due = blocks_expire(b, at_ms(now), &refuse);
        if (!due)
            continue;
        assert_int_equal(due, id);
        assert_true(refuse);
        assert_int_equal(now - last, BLOCK_WAIT_MS);
        last = now + 1000; /* the next who waits */
    }
    assert_true(last > 0);
    for (uint64_t now = BLOCK_HOLD_MS;; now += 1000) {
        assert_true(now <= BLOCK_HOLD_MS + BLOCK_WAIT_MS);
        assert_int_equal(block_ask(b, 0, ANN, &m, at_ms(now), &id), BLOCK_GO);
        assert_int_equal(block_ask(b, 0, BOB, &m, at_ms(now), &wait), BLOCK_WAIT);
        if (blocks_expire(b, at_ms(now), &refuse) == 0)
            continue;
        assert_false(refuse);
        assert_int_equal(block_ask(b, 0, BOB, &m, at_ms(now), &wait), BLOCK_GO);
        assert_int_equal(block_ask(b, 0, ANN, &m, at_ms(now), &id), BLOCK_WAIT);
        break;
    }
    blocks_free(b);
}

static void test_full(void **state)
{
    (void)state;
    struct blocks *b = blocks_new(BASE, &seed);
    char path[16];
    struct blocks_stats st;
    uint64_t id, first = 0;
    for (uint64_t i = 0; i < BLOCK_TRANSFERS + 10; i++) {
        (void)snprintf(path, sizeof path, "%u", (unsigned)i);
        struct step s = {
            100 + i, MSG_PUT, NUM(0) | MORE, NO, BLOCK_GO, 0, NO, false, path, 0,
        };
        struct msg m = request_of(&s);
        assert_int_equal(block_ask(b, 0, s.client, &m, at_ms(0), &id),
                         i < BLOCK_TRANSFERS ? BLOCK_GO : BLOCK_FULL);
        first = first ? first : id;
    }
    blocks_get_stats(b, &st);
    assert_int_equal(st.open, BLOCK_TRANSFERS);
    assert_int_equal(st.refused, 10);
    /* those that rest make room */
    struct step late = PUTS(9, NUM(0) | MORE, BLOCK_GO, 0, false);
    struct msg l = request_of(&late);
    assert_int_equal(block_ask(b, 0, 9, &l, at_ms(BLOCK_REST_MS + 1), &id), BLOCK_FULL);
    block_left(b, first, at_ms(0));
    assert_int_equal(block_ask(b, 0, 9, &l, at_ms(BLOCK_REST_MS - 1), &id), BLOCK_FULL);
    assert_int_equal(block_ask(b, 0, 9, &l, at_ms(BLOCK_REST_MS), &id), BLOCK_GO);
    blocks_free(b);

    /* one client has a share, whatever it writes to */
    b = blocks_new(BASE, &seed);
    for (unsigned i = 0; i < BLOCK_TRANSFERS_PER_CLIENT + 1; i++) {
        (void)snprintf(path, sizeof path, "%u", i);
        struct step s = {
            ANN, MSG_PUT, NUM(0) | MORE, NO, BLOCK_GO, 0, NO, false, path, 0,
        };
        struct msg m = request_of(&s);
        assert_int_equal(block_ask(b, 0, ANN, &m, at_ms(0), &id),
                         i < BLOCK_TRANSFERS_PER_CLIENT ? BLOCK_GO : BLOCK_FULL);
        if (i == BLOCK_TRANSFERS_PER_CLIENT)
            assert_int_equal(block_ask(b, 0, BOB, &m, at_ms(0), &id), BLOCK_GO);
    }
    blocks_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_flying),
        cmocka_unit_test(test_patience),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
