/* What of observations is pure: order (RFC 7641 3.4), and what is shared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../proxy/observe_order.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static void test_newer(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t v1, v2;
        uint64_t after_ms;
        bool newer;
    } rows[] = {
        {"next", 1, 2, 0, true},
        {"the same", 2, 2, 0, false},
        {"the one before", 2, 1, 0, false},
        {"far ahead", 0, (1 << 23) - 1, 0, true},
        {"half of the circle ahead", 0, 1 << 23, 0, false},
        {"half of the circle behind", 1 << 23, 0, 0, false},
        {"more than half of it behind is ahead", (1 << 23) + 1, 0, 0, true},
        {"over the end", 0xffffff, 0, 0, true},
        {"over the end, and back", 0, 0xffffff, 0, false},
        {"over the end by more", 0xfffffe, 5, 0, true},
        {"the one before, 128 s later", 2, 1, 128000, false},
        {"the one before, after more than 128 s", 2, 1, 128001, true},
        {"the same, after more than 128 s", 2, 2, 128001, true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t t1_us = 5000000;
        bool got = observe_is_newer(rows[i].v1, t1_us, rows[i].v2, t1_us + rows[i].after_ms * 1000);
        if (got != rows[i].newer)
            fail_msg("%s: %d", rows[i].name, got);
    }
}

struct option {
    uint16_t number;
    const char *value;
    size_t n;
};
#define OPTION(number, s)                                                                          \
    {                                                                                              \
        number, s, sizeof(s) - 1                                                                   \
    }

static struct msg message(uint8_t code, const struct option *o, size_t n, const char *payload)
{
    struct msg m = {.type = TYPE_CON, .code = code, .mid = 7, .token_n = 1, .token = {9}};
    for (size_t i = 0; i < n && o[i].value; i++)
        assert_true(msg_add(&m, o[i].number, bytes_of(o[i].value, o[i].n)));
    m.payload = bytes_str(payload);
    return m;
}

static void test_number(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t code;
        struct option options[2];
        int64_t number;
    } rows[] = {
        {"2.05 with the option", MSG_CODE(2, 5), {OPTION(OPT_OBSERVE, "\x01\x02\x03")}, 0x010203},
        {"2.03", MSG_CODE(2, 3), {OPTION(OPT_OBSERVE, "\x05")}, 5},
        {"an empty one is 0", MSG_CODE(2, 5), {OPTION(OPT_OBSERVE, "")}, 0},
        {"leading zeros", MSG_CODE(2, 5), {OPTION(OPT_OBSERVE, "\0\0\x05")}, 5},
        {"of four bytes", MSG_CODE(2, 5), {OPTION(OPT_OBSERVE, "\0\0\0\x05")}, -1},
        {"none", MSG_CODE(2, 5), {OPTION(OPT_ETAG, "\x01")}, -1},
        {"4.04 with the option", MSG_CODE(4, 4), {OPTION(OPT_OBSERVE, "\x05")}, -1},
        {"5.03 with the option", MSG_CODE(5, 3), {OPTION(OPT_OBSERVE, "\x05")}, -1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct msg m = message(rows[i].code, rows[i].options, 2, NULL);
        if (observe_number(&m) != rows[i].number)
            fail_msg("%s: %d", rows[i].name, (int)observe_number(&m));
    }
}

static size_t written(const struct msg *m, uint8_t *storage, size_t cap)
{
    struct buf b = buf_on(storage, cap);
    return observe_request(m, &b) ? b.n : 0;
}

/* Each row is a request beside GET /a?b with Accept 50, and whether the two
 * are one observation. */
static void test_shared(void **state)
{
    (void)state;
    enum { SHARED, OWN, NOT };
#define BASE OPTION(OPT_URI_PATH, "a"), OPTION(OPT_URI_QUERY, "b"), OPTION(OPT_ACCEPT, "\x32")
    static const struct option base[] = {OPTION(OPT_OBSERVE, ""), BASE};
    static const struct {
        const char *name;
        uint8_t method;
        struct option options[6];
        const char *payload;
        int is;
    } rows[] = {
        {"the same", MSG_GET, {BASE}, NULL, SHARED},
        {"with an ETag", MSG_GET, {BASE, OPTION(OPT_ETAG, "\x01")}, NULL, SHARED},
        {"with two", MSG_GET, {BASE, OPTION(OPT_ETAG, "1"), OPTION(OPT_ETAG, "2")}, NULL, SHARED},
        {"Size2 is no part of the key", MSG_GET, {BASE, OPTION(OPT_SIZE2, "")}, NULL, SHARED},
        {"nor is any such", MSG_GET, {BASE, OPTION(0x1c + 0x80, "x")}, NULL, SHARED},
        {"another that is", MSG_GET, {BASE, OPTION(0x1c + 0x84, "x")}, NULL, OWN},
        {"another query",
         MSG_GET,
         {OPTION(OPT_URI_PATH, "a"), OPTION(OPT_URI_QUERY, "c"), OPTION(OPT_ACCEPT, "\x32")},
         NULL,
         OWN},
        {"no query", MSG_GET, {OPTION(OPT_URI_PATH, "a"), OPTION(OPT_ACCEPT, "\x32")}, NULL, OWN},
        {"another Accept",
         MSG_GET,
         {OPTION(OPT_URI_PATH, "a"), OPTION(OPT_URI_QUERY, "b"), OPTION(OPT_ACCEPT, "\x28")},
         NULL,
         OWN},
        {"a first block of a size", MSG_GET, {BASE, OPTION(OPT_BLOCK2, "\x02")}, NULL, OWN},
        {"a later block", MSG_GET, {BASE, OPTION(OPT_BLOCK2, "\x12")}, NULL, NOT},
        {"FETCH", MSG_FETCH, {BASE}, "q", OWN},
        {"FETCH in blocks", MSG_FETCH, {BASE, OPTION(OPT_BLOCK1, "\x0a")}, "q", NOT},
        {"PUT", MSG_PUT, {BASE}, "q", NOT},
        {"POST", MSG_POST, {BASE}, "q", NOT},
        {"DELETE", MSG_DELETE, {BASE}, NULL, NOT},
        {"with Echo", MSG_GET, {BASE, OPTION(OPT_ECHO, "e")}, NULL, NOT},
        {"a payload", MSG_GET, {BASE}, "q", OWN},
    };
    uint8_t a[256], b[256];
    struct msg first = message(MSG_GET, base, COUNT(base), NULL);
    size_t a_n = written(&first, a, sizeof a);
    assert_true(a_n > 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct msg m = message(rows[i].method, rows[i].options, 6, rows[i].payload);
        m.mid = 99; /* nor do these matter */
        m.token[0] = 1;
        m.type = TYPE_NON;
        size_t b_n = written(&m, b, sizeof b);
        int is = b_n == 0 ? NOT : bytes_equal(bytes_of(a, a_n), bytes_of(b, b_n)) ? SHARED : OWN;
        if (is != rows[i].is)
            fail_msg("%s: %d", rows[i].name, is);
        if (b_n > 0) {
            struct msg again;
            assert_int_equal(msg_parse(bytes_of(b, b_n), &again), MSG_OK);
            assert_int_equal(msg_uint(&again, OPT_OBSERVE), OBSERVE_REGISTER);
        }
    }
    assert_int_equal(written(&first, a, a_n), a_n);
    assert_int_equal(written(&first, a, a_n - 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newer),
        cmocka_unit_test(test_number),
        cmocka_unit_test(test_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
