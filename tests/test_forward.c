#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "../proxy/forward.h"

#define N(a) (sizeof(a) / sizeof *(a))

enum { TOKEN = 65000 };

static const struct forward_config config = {.access_token = TOKEN};
static const uint8_t zeros[2048];

static const struct bytes lamp[] = {{(const uint8_t *)"lamp", 4}};
static const struct bytes base[] = {{(const uint8_t *)"v1", 2}, {(const uint8_t *)"x", 1}};
static const struct forward_map by_path = {lamp, 1, NULL, 0};
static const struct forward_map by_host = {NULL, 0, NULL, 0};
static const struct forward_map with_base = {lamp, 1, base, 2};

/* What becomes of one option. In a request a number other than these is the
 * code that refuses it. */
enum { PASSES = 1, STRIPPED = 2 };
#define BAD_REQUEST MSG_CODE(4, 0)
#define BAD_OPTION  MSG_CODE(4, 2)
#define BAD_GATEWAY MSG_CODE(5, 2)
#define PROXYING    MSG_CODE(5, 5)
#define HOP_LIMIT   MSG_CODE(5, 8)

static const struct {
    const char *name;
    uint16_t number;
    size_t len; /* of zero bytes */
    uint8_t request, response;
    unsigned times; /* 0: once */
} rows[] = {
    {"If-Match", 1, 8, PASSES, BAD_GATEWAY, 0},
    {"  empty", 1, 0, PASSES, BAD_GATEWAY, 0},
    {"  too long", 1, 9, BAD_OPTION, BAD_GATEWAY, 0},
    {"  twice", 1, 8, PASSES, BAD_GATEWAY, 2},
    {"Uri-Host", 3, 1, STRIPPED, BAD_GATEWAY, 0},
    {"  255", 3, 255, STRIPPED, BAD_GATEWAY, 0},
    {"  empty", 3, 0, BAD_OPTION, BAD_GATEWAY, 0},
    {"  too long", 3, 256, BAD_OPTION, BAD_GATEWAY, 0},
    {"  twice", 3, 1, BAD_OPTION, BAD_GATEWAY, 2},
    {"ETag", 4, 8, PASSES, PASSES, 0},
    {"  empty: unknown, elective, safe", 4, 0, PASSES, PASSES, 0},
    {"  too long: the same", 4, 9, PASSES, PASSES, 0},
    {"  twice", 4, 8, PASSES, PASSES, 2},
    {"If-None-Match", 5, 0, PASSES, BAD_GATEWAY, 0},
    {"  with a value", 5, 1, BAD_OPTION, BAD_GATEWAY, 0},
    {"  twice", 5, 0, BAD_OPTION, BAD_GATEWAY, 2},
    {"Observe", 6, 3, STRIPPED, STRIPPED, 0},
    {"  empty", 6, 0, STRIPPED, STRIPPED, 0},
    {"  too long", 6, 4, BAD_OPTION, BAD_GATEWAY, 0},
    {"  twice", 6, 0, BAD_OPTION, BAD_GATEWAY, 2},
    {"Uri-Port", 7, 2, STRIPPED, BAD_GATEWAY, 0},
    {"  too long", 7, 3, BAD_OPTION, BAD_GATEWAY, 0},
    {"  twice", 7, 2, BAD_OPTION, BAD_GATEWAY, 2},
    {"Location-Path", 8, 255, PASSES, PASSES, 0},
    {"  too long", 8, 256, PASSES, STRIPPED, 0},
    {"OSCORE", 9, 8, BAD_OPTION, BAD_GATEWAY, 0},
    {"  empty", 9, 0, BAD_OPTION, BAD_GATEWAY, 0},
    {"Uri-Path", 11, 255, PASSES, BAD_GATEWAY, 0},
    {"  empty", 11, 0, PASSES, BAD_GATEWAY, 0},
    {"  too long", 11, 256, BAD_OPTION, BAD_GATEWAY, 0},
    {"Content-Format", 12, 2, PASSES, PASSES, 0},
    {"  too long", 12, 3, PASSES, PASSES, 0},
    {"  twice", 12, 2, PASSES, PASSES, 2},
    {"Max-Age", 14, 4, BAD_OPTION, PASSES, 0},
    {"  too long", 14, 5, BAD_OPTION, BAD_GATEWAY, 0},
    {"  twice", 14, 4, BAD_OPTION, BAD_GATEWAY, 2},
    {"Uri-Query", 15, 255, PASSES, BAD_GATEWAY, 0},
    {"  too long", 15, 256, BAD_OPTION, BAD_GATEWAY, 0},
    {"  16", 15, 1, PASSES, BAD_GATEWAY, 16},
    {"  17", 15, 1, BAD_OPTION, BAD_GATEWAY, 17},
    {"Hop-Limit 0", 16, 1, BAD_REQUEST, PASSES, 0},
    {"  as empty", 16, 0, BAD_REQUEST, PASSES, 0},
    {"  in five bytes", 16, 5, BAD_REQUEST, PASSES, 0},
    {"Accept", 17, 2, PASSES, BAD_GATEWAY, 0},
    {"  too long", 17, 3, BAD_OPTION, BAD_GATEWAY, 0},
    {"  twice", 17, 2, BAD_OPTION, BAD_GATEWAY, 2},
    {"Location-Query", 20, 255, PASSES, PASSES, 0},
    {"  too long", 20, 256, PASSES, STRIPPED, 0},
    {"Block2", 23, 3, PASSES, PASSES, 0},
    {"  too long", 23, 4, BAD_OPTION, BAD_GATEWAY, 0},
    {"  twice", 23, 3, BAD_OPTION, BAD_GATEWAY, 2},
    {"Block1", 27, 3, PASSES, PASSES, 0},
    {"  too long", 27, 4, BAD_OPTION, BAD_GATEWAY, 0},
    {"  twice", 27, 3, BAD_OPTION, BAD_GATEWAY, 2},
    {"Size2", 28, 4, PASSES, PASSES, 0},
    {"  too long", 28, 5, PASSES, PASSES, 0},
    {"Proxy-Uri", 35, 1034, PROXYING, BAD_GATEWAY, 0},
    {"  empty", 35, 0, BAD_OPTION, BAD_GATEWAY, 0},
    {"  too long", 35, 1035, BAD_OPTION, BAD_GATEWAY, 0},
    {"Proxy-Scheme", 39, 4, PROXYING, BAD_GATEWAY, 0},
    {"  empty", 39, 0, BAD_OPTION, BAD_GATEWAY, 0},
    {"  too long", 39, 256, BAD_OPTION, BAD_GATEWAY, 0},
    {"Size1", 60, 4, PASSES, PASSES, 0},
    {"Echo", 252, 40, PASSES, PASSES, 0},
    {"  too long", 252, 41, PASSES, PASSES, 0},
    {"No-Response", 258, 1, STRIPPED, BAD_GATEWAY, 0},
    {"  too long", 258, 2, BAD_OPTION, BAD_GATEWAY, 0},
    {"  twice", 258, 1, BAD_OPTION, BAD_GATEWAY, 2},
    {"Request-Tag", 292, 8, PASSES, PASSES, 0},
    {"  twice", 292, 8, PASSES, PASSES, 2},
    {"Access-Token", TOKEN, 254, STRIPPED, STRIPPED, 0},
    {"  of one byte", TOKEN, 1, STRIPPED, STRIPPED, 0},
    {"  empty", TOKEN, 0, BAD_OPTION, STRIPPED, 0},
    {"  too long", TOKEN, 255, BAD_OPTION, STRIPPED, 0},
    {"  twice", TOKEN, 254, BAD_OPTION, STRIPPED, 2},
    /* by their bits: unsafe, critical */
    {"unknown 00", 65004, 3, PASSES, PASSES, 0},
    {"  again and again", 65004, 3, PASSES, PASSES, 40},
    {"unknown 01", 65005, 3, BAD_OPTION, BAD_GATEWAY, 0},
    {"unknown 10", 65006, 3, BAD_OPTION, BAD_GATEWAY, 0},
    {"unknown 11", 65007, 3, BAD_OPTION, BAD_GATEWAY, 0},
    {"unknown 11, largest", 65535, 3, BAD_OPTION, BAD_GATEWAY, 0},
    {"number 0", 0, 0, PASSES, PASSES, 0},
    {"Q-Block1 (RFC 9177)", 19, 1, BAD_OPTION, BAD_GATEWAY, 0},
    {"Q-Block2", 31, 1, BAD_OPTION, BAD_GATEWAY, 0},
    {"hole in the table, 13", 13, 1, BAD_OPTION, BAD_GATEWAY, 0},
    {"hole in the table, 24", 24, 1, PASSES, PASSES, 0},
    {"oneM2M originator", 279, 8, BAD_OPTION, BAD_GATEWAY, 0},
    {"oneM2M request identifier", 283, 8, BAD_OPTION, BAD_GATEWAY, 0},
    {"oneM2M response status code", 307, 2, BAD_OPTION, BAD_GATEWAY, 0},
    {"oneM2M legacy originator, elective and safe", 256, 8, PASSES, PASSES, 0},
    {"oneM2M legacy operation, unsafe", 259, 1, BAD_OPTION, BAD_GATEWAY, 0},
};

static struct msg message(uint8_t code, uint16_t number, struct bytes value, unsigned times)
{
    struct msg m = {.type = TYPE_NON, .code = code, .mid = 7, .token_n = 1, .token = "t"};
    m.payload = BYTES_LIT("hello");
    for (unsigned i = 0; i < times; i++)
        assert_true(msg_add(&m, number, value));
    return m;
}

static unsigned count(const struct msg *m, uint16_t number)
{
    unsigned n = 0;
    for (size_t i = 0; i < m->n_options; i++)
        n += m->options[i].number == number;
    return n;
}

static uint8_t read_only(const struct msg *m)
{
    struct request r;
    struct bytes host;
    const char *why = NULL;
    uint8_t code = forward_read(&config, m, &r, &host, &why);
    assert_non_null(why);
    assert_true((code != 0) == (*why != '\0'));
    return code;
}

static void check(const char *name, const char *direction, unsigned got, unsigned want)
{
    if (got != want)
        fail_msg("%s, %s: got %u.%02u, wanted %u.%02u", name, direction, got >> 5, got & 31,
                 want >> 5, want & 31);
}

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(rows); i++) {
        unsigned times = rows[i].times ? rows[i].times : 1;
        struct msg out;
        struct forward_scratch scratch;
        struct msg m = message(MSG_POST, rows[i].number, bytes_of(zeros, rows[i].len), times);
        uint8_t code = read_only(&m);
        bool done = forward_request(&config, &m, &by_host, &out, &scratch);
        if (code == 0) {
            assert_true(done);
            assert_int_equal(out.code, MSG_POST);
            assert_true(bytes_equal_str(out.payload, "hello"));
            unsigned n = count(&out, rows[i].number);
            assert_true(n == 0 || n == times);
            code = n ? PASSES : STRIPPED;
        } else if (done && rows[i].times < REQUEST_QUERIES_MAX) { /* it counts no queries */
            fail_msg("%s: refused, but forwarded", rows[i].name);
        }
        check(rows[i].name, "request", code, rows[i].request);
    }
}

static void test_responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(rows); i++) {
        unsigned times = rows[i].times ? rows[i].times : 1;
        struct msg out;
        struct msg m = message(MSG_CODE(2, 5), rows[i].number, bytes_of(zeros, rows[i].len), times);
        uint8_t code = forward_response(&config, &m, &by_host, &out);
        if (code == 0) {
            assert_int_equal(out.code, MSG_CODE(2, 5));
            assert_true(bytes_equal_str(out.payload, "hello"));
            unsigned n = count(&out, rows[i].number);
            assert_true(n == 0 || n == times);
            code = n ? PASSES : STRIPPED;
        }
        check(rows[i].name, "response", code, rows[i].response);
    }
}

static void test_read(void **state)
{
    (void)state;
    struct msg m = {.code = MSG_FETCH};
    struct request r;
    struct bytes host;
    const char *why;
    memset(&r, 0xff, sizeof r);
    assert_true(msg_add(&m, OPT_URI_HOST, BYTES_LIT("Meter.Home")));
    assert_true(msg_add(&m, OPT_URI_PORT, BYTES_LIT("\x16\x34")));
    assert_true(msg_add(&m, OPT_URI_PATH, BYTES_LIT("lamp")));
    assert_true(msg_add(&m, OPT_URI_PATH, BYTES_LIT("a/b"))); /* no separator */
    assert_true(msg_add(&m, OPT_URI_QUERY, BYTES_LIT("q=1")));
    assert_true(msg_add(&m, TOKEN, BYTES_LIT("secret")));
    assert_int_equal(forward_read(&config, &m, &r, &host, &why), 0);
    assert_int_equal(r.method, MSG_FETCH);
    assert_true(bytes_equal_str(host, "Meter.Home"));
    assert_int_equal(r.n_path, 2);
    assert_true(bytes_equal_str(r.path[1], "a/b"));
    assert_int_equal(r.n_query, 1);
    assert_true(bytes_equal_str(r.query[0], "q=1"));
    assert_true(r.has_token);
    assert_true(bytes_equal_str(r.token, "secret"));
    assert_int_equal(r.device, -1);
    assert_int_equal(r.originator.n, 0);
    assert_int_equal(r.peer.family, 0);

    m = (struct msg){.code = MSG_GET};
    assert_int_equal(forward_read(&config, &m, &r, &host, &why), 0);
    assert_int_equal(r.n_path, 0);
    assert_int_equal(r.n_query, 0);
    assert_false(r.has_token);
    assert_int_equal(host.n, 0);
    m.code = 8;
    assert_int_equal(forward_read(&config, &m, &r, &host, &why), MSG_CODE(4, 5));
    m.code = MSG_CODE(2, 5);
    assert_int_equal(forward_read(&config, &m, &r, &host, &why), MSG_CODE(4, 5));
}

static void test_segments_max(void **state)
{
    (void)state;
    struct msg m =
        message(MSG_GET, OPT_URI_PATH, BYTES_LIT("a"), (unsigned)POLICY_PATH_SEGMENTS_MAX);
    assert_int_equal(read_only(&m), 0);
    assert_true(msg_add(&m, OPT_URI_PATH, BYTES_LIT("a")));
    assert_int_equal(read_only(&m), BAD_OPTION);
}

static void test_block_sizes(void **state)
{
    (void)state;
    static const uint16_t numbers[] = {OPT_BLOCK1, OPT_BLOCK2};
    static const struct {
        const char *name;
        struct bytes value;
        bool bad;
    } sizes[] = {
        {"16 bytes", BYTES_LIT("\x00"), false},
        {"  as empty", BYTES_LIT(""), false},
        {"1024 bytes, more", BYTES_LIT("\x0e"), false},
        {"1024 bytes, the last number", BYTES_LIT("\xff\xff\xf6"), false},
        {"reserved", BYTES_LIT("\x07"), true},
        {"reserved, more", BYTES_LIT("\x0f"), true},
        {"reserved, of a high number", BYTES_LIT("\xff\xff\xf7"), true},
    };
    for (size_t k = 0; k < N(numbers); k++)
        for (size_t i = 0; i < N(sizes); i++) {
            struct msg in = {.code = MSG_PUT}, out;
            struct request r;
            struct bytes host;
            const char *why;
            assert_true(msg_add(&in, numbers[k], sizes[i].value));
            check(sizes[i].name, "request", forward_read(&config, &in, &r, &host, &why),
                  sizes[i].bad ? BAD_REQUEST : 0);
            in.code = MSG_CODE(2, 4);
            check(sizes[i].name, "response", forward_response(&config, &in, &by_host, &out),
                  sizes[i].bad ? BAD_GATEWAY : 0);
        }
}

static void test_request_tag(void **state)
{
    (void)state;
    static const struct {
        uint8_t code;
        unsigned left;
    } rows_[] = {{MSG_GET, 0}, {MSG_POST, 2}, {MSG_PUT, 2}, {MSG_FETCH, 2}, {MSG_IPATCH, 2}};
    for (size_t i = 0; i < N(rows_); i++) {
        struct msg out, m = message(rows_[i].code, OPT_REQUEST_TAG, BYTES_LIT("r"), 2);
        struct forward_scratch scratch;
        assert_true(forward_request(&config, &m, &by_host, &out, &scratch));
        check("Request-Tag", "request", count(&out, OPT_REQUEST_TAG), rows_[i].left);
    }
}

static void test_hop_limit(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct bytes value;
        uint8_t code, left;
    } hops[] = {
        {"16", {(const uint8_t *)"\x10", 1}, 0, 15},
        {"255", {(const uint8_t *)"\xff", 1}, 0, 254},
        {"2", {(const uint8_t *)"\x02", 1}, 0, 1},
        {"1", {(const uint8_t *)"\x01", 1}, HOP_LIMIT, 0},
        {"0", {(const uint8_t *)"\x00", 1}, BAD_REQUEST, 0},
        {"256", {(const uint8_t *)"\x01\x00", 2}, BAD_REQUEST, 0},
        {"2 with a leading zero", {(const uint8_t *)"\x00\x02", 2}, 0, 1},
    };
    for (size_t i = 0; i < N(hops); i++) {
        struct msg out, m = message(MSG_GET, OPT_HOP_LIMIT, hops[i].value, 1);
        struct forward_scratch scratch;
        check(hops[i].name, "request", read_only(&m), hops[i].code);
        bool done = forward_request(&config, &m, &by_host, &out, &scratch);
        assert_int_equal(done, hops[i].code == 0);
        if (done)
            assert_int_equal(msg_uint(&out, OPT_HOP_LIMIT), hops[i].left);
    }
    /* A second one neither saves the request nor passes undiminished. */
    struct msg out, m = message(MSG_GET, OPT_HOP_LIMIT, BYTES_LIT("\x10"), 1);
    struct forward_scratch scratch;
    assert_true(msg_add(&m, OPT_HOP_LIMIT, BYTES_LIT("\x20")));
    assert_int_equal(read_only(&m), 0);
    assert_true(forward_request(&config, &m, &by_host, &out, &scratch));
    assert_int_equal(count(&out, OPT_HOP_LIMIT), 1);
    assert_int_equal(msg_uint(&out, OPT_HOP_LIMIT), 15);
    m.options[1].value = BYTES_LIT("\x01");
    assert_int_equal(read_only(&m), HOP_LIMIT);
    assert_false(forward_request(&config, &m, &by_host, &out, &scratch));
    /* 5.08 comes last. */
    m = message(MSG_GET, OPT_HOP_LIMIT, BYTES_LIT("\x01"), 1);
    assert_true(msg_add(&m, 65005, BYTES_NONE));
    assert_int_equal(read_only(&m), BAD_OPTION);
}

/* The table and forward_request() agree on whatever forward_read() let by. */
static void test_refused_is_not_forwarded(void **state)
{
    (void)state;
    for (uint32_t number = 0; number <= UINT16_MAX; number++) {
        struct forward_scratch scratch;
        struct msg out, m = message(MSG_GET, (uint16_t)number, BYTES_LIT("\x05"), 1);
        bool done = forward_request(&config, &m, &by_host, &out, &scratch);
        assert_int_equal(read_only(&m) == 0, done);
        /* Whatever is not in the table is safe and elective if it passes. */
        if (done && number > 60 && count(&out, (uint16_t)number))
            assert_int_equal(number & 3, 0);
    }
}

static void expect_path(const struct msg *m, uint16_t number, const char *want)
{
    char got[256] = "";
    size_t at = 0;
    for (size_t i = 0; i < m->n_options; i++)
        if (m->options[i].number == number)
            at += (size_t)snprintf(got + at, sizeof got - at, "/%.*s", (int)m->options[i].value.n,
                                   (const char *)m->options[i].value.p);
    assert_string_equal(got, want);
    for (size_t i = 1; i < m->n_options; i++)
        assert_true(m->options[i - 1].number <= m->options[i].number);
}

static struct msg with_path(uint8_t code, uint16_t number, const char *path)
{
    struct msg m = {.code = code};
    for (const char *p = path; *p;) {
        size_t n = strcspn(++p, "/");
        assert_true(msg_add(&m, number, bytes_of(p, n)));
        p += n;
    }
    return m;
}

static void test_request_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const struct forward_map *map;
        const char *want; /* NULL: not forwarded */
    } paths[] = {
        {"/lamp/state", &by_path, "/state"},
        {"/lamp", &by_path, ""},
        {"/lamp/", &by_path, "/"},
        {"", &by_path, NULL},
        {"/lamp/state", &with_base, "/v1/x/state"},
        {"/lamp", &with_base, "/v1/x"},
        {"", &with_base, NULL},
        {"/lamp/state", &by_host, "/lamp/state"},
        {"", &by_host, ""},
    };
    for (size_t i = 0; i < N(paths); i++) {
        struct forward_scratch scratch;
        struct msg out, m = with_path(MSG_GET, OPT_URI_PATH, paths[i].path);
        assert_true(msg_add(&m, OPT_IF_MATCH, BYTES_LIT("e")));
        assert_true(msg_add(&m, OPT_ACCEPT, BYTES_LIT("<")));
        bool done = forward_request(&config, &m, paths[i].map, &out, &scratch);
        assert_int_equal(done, paths[i].want != NULL);
        if (done)
            expect_path(&out, OPT_URI_PATH, paths[i].want);
    }
}

static void test_locations(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const struct forward_map *map;
        const char *want;
    } paths[] = {
        {"/new/1", &by_path, "/lamp/new/1"},
        {"/new/1", &by_host, "/new/1"},
        {"/.", &by_path, ""},
        {"/new/../1", &by_path, ""},
        {"/new/...", &by_path, "/lamp/new/..."},
        {"/v1/x/1", &with_base, "/lamp/1"},
        {"/v1/x", &with_base, "/lamp"},
        {"/v1/y/1", &with_base, ""},
        {"/v1", &with_base, ""},
        {"/new/1", &with_base, ""},
        {"", &by_path, ""},
    };
    for (size_t i = 0; i < N(paths); i++) {
        struct msg out, m = with_path(MSG_CODE(2, 1), OPT_LOCATION_PATH, paths[i].path);
        bool kept = !*paths[i].path || *paths[i].want;
        assert_true(msg_add(&m, OPT_ETAG, BYTES_LIT("e")));
        assert_true(msg_add(&m, OPT_LOCATION_QUERY, BYTES_LIT("q")));
        assert_int_equal(forward_response(&config, &m, paths[i].map, &out), 0);
        expect_path(&out, OPT_LOCATION_PATH, paths[i].want);
        /* a query without its path would name something else */
        expect_path(&out, OPT_LOCATION_QUERY, kept ? "/q" : "");
    }
    struct msg out, m = message(MSG_CODE(2, 1), OPT_LOCATION_PATH, BYTES_LIT("a"), 64);
    assert_int_equal(forward_response(&config, &m, &by_host, &out), 0);
    assert_int_equal(forward_response(&config, &m, &by_path, &out), BAD_GATEWAY);
    m = message(MSG_GET, OPT_ETAG, BYTES_LIT("a"), 1); /* no answer */
    assert_int_equal(forward_response(&config, &m, &by_path, &out), BAD_GATEWAY);
}

/* The number of the Access-Token option is the operator's choice. */
static void test_token_number(void **state)
{
    (void)state;
    struct forward_config other = {.access_token = 65005}; /* would be critical */
    struct msg out, m = message(MSG_GET, 65005, BYTES_LIT("secret"), 1);
    struct forward_scratch scratch;
    struct request r;
    struct bytes host;
    const char *why;
    assert_int_equal(forward_read(&other, &m, &r, &host, &why), 0);
    assert_true(r.has_token);
    assert_true(forward_request(&other, &m, &by_host, &out, &scratch));
    assert_int_equal(out.n_options, 0);
    m.options[0].number = TOKEN; /* now an unknown one, elective and safe */
    assert_int_equal(forward_read(&other, &m, &r, &host, &why), 0);
    assert_false(r.has_token);
    assert_true(forward_request(&other, &m, &by_host, &out, &scratch));
    assert_int_equal(out.n_options, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),      cmocka_unit_test(test_responses),
        cmocka_unit_test(test_read),          cmocka_unit_test(test_segments_max),
        cmocka_unit_test(test_block_sizes),   cmocka_unit_test(test_request_tag),
        cmocka_unit_test(test_hop_limit),     cmocka_unit_test(test_refused_is_not_forwarded),
        cmocka_unit_test(test_request_paths), cmocka_unit_test(test_locations),
        cmocka_unit_test(test_token_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
