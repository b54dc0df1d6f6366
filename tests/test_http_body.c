/* Bodies in blocks: put together, kept, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/http_body.h"
#include "../proxy/limits.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { SIZE = 16 };

static struct http_bodies *bodies;
static struct instant now;
static const char device_a, device_b; /* owners */

static int setup(void **state)
{
    (void)state;
    now = (struct instant){.mono_us = 1000000};
    bodies = http_bodies_new(HTTP_BODY_MAX);
    return bodies ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    http_bodies_free(bodies);
    return 0;
}

/* A PUT of a block: number, whether more follows, szx, and its payload. */
static enum http_body_verdict put_to(const void *owner, const char *path, int number, bool more,
                                     int szx, const void *payload, size_t n, struct bytes *body)
{
    static uint8_t value[4];
    struct msg m = {.code = MSG_PUT, .payload = bytes_of(payload, n)};
    assert_true(msg_add(&m, OPT_URI_PATH, bytes_str(path)));
    assert_true(msg_add_uint(&m, OPT_BLOCK1,
                             (uint32_t)number << 4 | (more ? 8u : 0u) | (uint32_t)szx, value));
    return http_bodies_take(bodies, owner, &m, now, body);
}

static enum http_body_verdict put(int number, bool more, char letter, size_t n)
{
    uint8_t text[2 * SIZE];
    struct bytes body;
    memset(text, letter, sizeof text);
    return put_to(&device_a, "x", number, more, 0, text, n, &body);
}

static void test_order(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct {
            int number;
            bool more;
            char letter;
            size_t n;
            enum http_body_verdict want;
        } step[5];
    } rows[] = {
        {"three",
         {{0, true, 'a', 16, BODY_CONTINUE},
          {1, true, 'b', 16, BODY_CONTINUE},
          {2, false, 'c', 1, BODY_WHOLE}}},
        {"one alone", {{0, false, 'a', 1, BODY_WHOLE}}},
        {"no beginning", {{1, true, 'b', 16, BODY_INCOMPLETE}}},
        {"a gap", {{0, true, 'a', 16, BODY_CONTINUE}, {2, false, 'c', 1, BODY_INCOMPLETE}}},
        {"again",
         {{0, true, 'a', 16, BODY_CONTINUE},
          {1, true, 'b', 16, BODY_CONTINUE},
          {1, true, 'b', 16, BODY_CONTINUE},
          {2, false, 'c', 1, BODY_WHOLE}}},
        {"another again",
         {{0, true, 'a', 16, BODY_CONTINUE},
          {1, true, 'b', 16, BODY_CONTINUE},
          {1, true, 'x', 16, BODY_INCOMPLETE}}},
        {"older than the last",
         {{0, true, 'a', 16, BODY_CONTINUE},
          {1, true, 'b', 16, BODY_CONTINUE},
          {2, true, 'c', 16, BODY_CONTINUE},
          {1, true, 'b', 16, BODY_INCOMPLETE}}},
        {"from the beginning",
         {{0, true, 'a', 16, BODY_CONTINUE},
          {1, true, 'b', 16, BODY_CONTINUE},
          {0, true, 'z', 16, BODY_CONTINUE},
          {2, false, 'c', 1, BODY_INCOMPLETE}}},
        {"twice",
         {{0, true, 'a', 16, BODY_CONTINUE},
          {1, false, 'b', 1, BODY_WHOLE},
          {1, false, 'b', 1, BODY_INCOMPLETE}}},
        {"short", {{0, true, 'a', 15, BODY_BAD}}},
        {"long", {{0, true, 'a', 17, BODY_BAD}}},
        {"a long last one", {{0, true, 'a', 16, BODY_CONTINUE}, {1, false, 'b', 17, BODY_BAD}}},
        {"an empty last one", {{0, true, 'a', 16, BODY_CONTINUE}, {1, false, 'b', 0, BODY_WHOLE}}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t k = 0; k < 5 && (rows[i].step[k].letter != 0); k++) {
            enum http_body_verdict got = put(rows[i].step[k].number, rows[i].step[k].more,
                                             rows[i].step[k].letter, rows[i].step[k].n);
            if (got != rows[i].step[k].want)
                fail_msg("%s, %zu: %d", rows[i].name, k, got);
        }
        http_bodies_done(bodies);
        http_bodies_forget(bodies, &device_a);
    }
}

static void test_content(void **state)
{
    (void)state;
    struct bytes body;
    uint8_t text[64];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)i;
    /* larger blocks first, then smaller ones */
    assert_int_equal(put_to(&device_a, "x", 0, true, 1, text, 32, &body), BODY_CONTINUE);
    assert_int_equal(put_to(&device_a, "x", 2, true, 0, text + 32, 16, &body), BODY_CONTINUE);
    assert_int_equal(put_to(&device_a, "x", 3, false, 0, text + 48, 7, &body), BODY_WHOLE);
    assert_int_equal(body.n, 55);
    assert_memory_equal(body.p, text, 55);
    http_bodies_done(bodies);
}

/* Others' blocks, of another path or of another device, are of other bodies. */
static void test_apart(void **state)
{
    (void)state;
    struct bytes body;
    assert_int_equal(put_to(&device_a, "x", 0, true, 0, "aaaaaaaaaaaaaaaa", 16, &body),
                     BODY_CONTINUE);
    assert_int_equal(put_to(&device_a, "y", 1, false, 0, "b", 1, &body), BODY_INCOMPLETE);
    assert_int_equal(put_to(&device_b, "x", 1, false, 0, "b", 1, &body), BODY_INCOMPLETE);
    assert_int_equal(put_to(&device_b, "x", 0, true, 0, "bbbbbbbbbbbbbbbb", 16, &body),
                     BODY_CONTINUE);
    http_bodies_forget(bodies, &device_b);
    assert_int_equal(put_to(&device_b, "x", 1, false, 0, "b", 1, &body), BODY_INCOMPLETE);
    assert_int_equal(put_to(&device_a, "x", 1, false, 0, "b", 1, &body), BODY_WHOLE);
    assert_memory_equal(body.p, "aaaaaaaaaaaaaaaab", 17);
}

static void test_time(void **state)
{
    (void)state;
    assert_int_equal(put(0, true, 'a', 16), BODY_CONTINUE);
    now.mono_us += EXCHANGE_LIFETIME_MS * UINT64_C(1000) - 1000;
    assert_int_equal(put(1, true, 'b', 16), BODY_CONTINUE);
    now.mono_us += 1000;
    assert_int_equal(put(2, false, 'c', 1), BODY_INCOMPLETE);
}

static void test_bounds(void **state)
{
    (void)state;
    static uint8_t block[1024];
    struct bytes body;
    int n = HTTP_BODY_MAX / 1024;
    uint8_t size[4];
    struct msg m = {.code = MSG_PUT, .payload = bytes_of(block, 1024)};
    assert_true(msg_add_uint(&m, OPT_SIZE1, HTTP_BODY_MAX + 1, size));
    uint8_t first[4];
    assert_true(msg_add_uint(&m, OPT_BLOCK1, 8 | 6, first));
    assert_int_equal(http_bodies_take(bodies, &device_a, &m, now, &body), BODY_TOO_LARGE);
    /* SZX 7 */
    m.n_options = 0;
    assert_true(msg_add_uint(&m, OPT_BLOCK1, 8 | 7, first));
    assert_int_equal(http_bodies_take(bodies, &device_a, &m, now, &body), BODY_BAD);
    assert_int_equal(put_to(&device_a, "x", n - 1, false, 6, block, 1024, &body), BODY_INCOMPLETE);
    assert_int_equal(put_to(&device_a, "x", n, false, 6, block, 1, &body), BODY_TOO_LARGE);
}

/* The oldest gives way, and no more than there may be is held. */
static void test_all_of_them(void **state)
{
    (void)state;
    static uint8_t block[1024];
    struct bytes body;
    char path[8];
    int lost = 0;
    for (int i = 0; i < 400; i++) {
        (void)snprintf(path, sizeof path, "%d", i);
        assert_int_equal(put_to(&device_a, path, 0, true, 6, block, 1024, &body), BODY_CONTINUE);
    }
    for (int i = 0; i < 400; i++) {
        (void)snprintf(path, sizeof path, "%d", i);
        bool there = put_to(&device_a, path, 1, false, 6, block, 1, &body) == BODY_WHOLE;
        lost += !there;
        assert_true(there || i < 399);
        http_bodies_done(bodies);
    }
    assert_in_range(lost, 400 - HTTP_BODY_MAX / 1024, 399);
}

/* ---- answers ---- */

static void answer_of(struct msg *m, const uint8_t *body, size_t n)
{
    static uint8_t format[4];
    *m = (struct msg){.type = TYPE_NON, .code = MSG_CODE(2, 5), .payload = bytes_of(body, n)};
    assert_true(msg_add_uint(m, OPT_CONTENT_FORMAT, 42, format));
}

static void test_kept(void **state)
{
    (void)state;
    static uint8_t body[5000];
    struct msg asked = {.code = MSG_GET}, more = {.code = MSG_GET}, other = {.code = MSG_GET};
    struct msg answer, found;
    uint8_t block[4];
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 7);
    assert_true(msg_add(&asked, OPT_URI_PATH, BYTES_LIT("x")));
    assert_true(msg_add(&more, OPT_URI_PATH, BYTES_LIT("x")));
    assert_true(msg_add(&other, OPT_URI_PATH, BYTES_LIT("y")));
    assert_true(msg_add_uint(&more, OPT_BLOCK2, 3 << 4 | 6, block));
    answer_of(&answer, body, sizeof body);
    assert_false(http_bodies_find(bodies, &device_a, &more, now, &found));
    assert_true(http_bodies_keep(bodies, &device_a, &asked, &answer, now));
    assert_false(http_bodies_find(bodies, &device_b, &more, now, &found));
    assert_false(http_bodies_find(bodies, &device_a, &other, now, &found));
    assert_true(http_bodies_find(bodies, &device_a, &more, now, &found));
    assert_int_equal(found.payload.n, sizeof body);
    assert_memory_equal(found.payload.p, body, sizeof body);
    assert_int_equal(msg_uint(&found, OPT_CONTENT_FORMAT), 42);
    /* a newer one takes its place */
    answer_of(&answer, body, 3000);
    assert_true(http_bodies_keep(bodies, &device_a, &asked, &answer, now));
    assert_true(http_bodies_find(bodies, &device_a, &more, now, &found));
    assert_int_equal(found.payload.n, 3000);
}

static void test_cut(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t n;
        struct http_block asked;
        bool there;
        int64_t block; /* -1: no option */
        size_t got;
        int64_t size2;
    } rows[] = {
        {"small, not asked", 1024, {false, false, 0, 6}, true, -1, 1024, -1},
        {"large, not asked", 1025, {false, false, 0, 6}, true, 0 << 4 | 8 | 6, 1024, 1025},
        {"small, asked", 10, {true, false, 0, 6}, true, 6, 10, -1},
        {"nothing, asked", 0, {true, false, 0, 6}, true, 6, 0, -1},
        {"the first", 100, {true, false, 0, 2}, true, 8 | 2, 64, 100},
        {"the last", 100, {true, false, 1, 2}, true, 1 << 4 | 2, 36, -1},
        {"the last, full", 128, {true, false, 1, 2}, true, 1 << 4 | 2, 64, -1},
        {"beyond the last, full", 128, {true, false, 2, 2}, false, -1, 0, -1},
        {"beyond", 100, {true, false, 2, 2}, false, -1, 0, -1},
        {"far beyond", 100, {true, false, 0xfffff, 6}, false, -1, 0, -1},
    };
    static uint8_t body[2000];
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct msg m;
        struct http_block_scratch scratch;
        answer_of(&m, body, rows[i].n);
        bool there = http_block_cut(&m, &rows[i].asked, &scratch);
        if (there != rows[i].there ||
            (there && (msg_uint(&m, OPT_BLOCK2) != rows[i].block || m.payload.n != rows[i].got ||
                       msg_uint(&m, OPT_SIZE2) != rows[i].size2)))
            fail_msg("%s: %d, %d, %zu", rows[i].name, there, (int)msg_uint(&m, OPT_BLOCK2),
                     m.payload.n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_content, setup, teardown),
        cmocka_unit_test_setup_teardown(test_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_of_them, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
