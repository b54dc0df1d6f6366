/* CoAP requests as HTTP ones and the answers back: each row that is refused is
 * one change of a row beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/http_map.h"
#include "../proxy/http_media.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define CODE(c)  MSG_CODE((c) / 100, (c) % 100)
#define OPTION(n, s)                                                                               \
    {                                                                                              \
        (n), BYTES_LIT(s)                                                                          \
    }
#define PATH(s)  OPTION(OPT_URI_PATH, s)
#define QUERY(s) OPTION(OPT_URI_QUERY, s)
#define TEN      "aaaaaaaaaa"
#define HUNDRED  TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

enum { OPTIONS = 8, FIELDS = 6 };

static struct http_side side;
static const struct bytes base[] = {BYTES_LIT("api")};

static int setup(void **state)
{
    (void)state;
    side.origin = (struct http_origin){false, "web.test", 8080, base, COUNT(base)};
    side.etags = http_etags_new();
    return side.etags ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    http_etags_free(side.etags);
    return 0;
}

static void fill(struct msg *m, uint8_t code, const struct msg_option *options)
{
    memset(m, 0, sizeof *m);
    m->code = code;
    for (size_t i = 0; i < OPTIONS && options[i].number; i++)
        assert_true(msg_add(m, options[i].number, options[i].value));
}

/* "8b digits" of ETags, and such. */
static void show_options(const struct msg *m, char *to, size_t cap)
{
    struct buf b = buf_on(to, cap - 1);
    for (size_t i = 0; i < m->n_options; i++) {
        const struct msg_option *o = &m->options[i];
        char text[16];
        (void)snprintf(text, sizeof text, "%s%u=", i ? " " : "", o->number);
        buf_put_str(&b, text);
        bool is_text = o->number == OPT_LOCATION_PATH || o->number == OPT_LOCATION_QUERY;
        if (is_text)
            buf_put(&b, o->value);
        else if (o->number == OPT_ETAG)
            buf_put_str(&b, o->value.n == 8 ? "tag" : "short");
        else
            buf_put_decimal(&b, (uint64_t)msg_uint(m, o->number), 1);
    }
    to[b.n] = '\0';
}

/* ---- requests ---- */

static const struct {
    const char *name;
    uint8_t method;
    struct msg_option options[OPTIONS];
    const char *body;
    int code;         /* 0: asked */
    const char *want; /* "METHOD target [type] [accept] line|line body" */
} requests[] = {
    {"GET", MSG_GET, {PATH("api"), PATH("state")}, "", 0, "GET /api/state - - "},
    {"no path", MSG_GET, {{0}}, "", 0, "GET / - - "},
    {"an empty path", MSG_GET, {PATH("")}, "", 0, "GET / - - "},
    {"a directory", MSG_GET, {PATH("api"), PATH("")}, "", 0, "GET /api/ - - "},
    {"an empty segment inside", MSG_GET, {PATH(""), PATH("api")}, "", 400, NULL},
    {"unreserved", MSG_GET, {PATH("aZ09-._~")}, "", 0, "GET /aZ09-._~ - - "},
    {"encoded",
     MSG_GET,
     {PATH("a b:@!$&'()*+,;=%?#[]")},
     "",
     0,
     "GET /a%20b%3A%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%25%3F%23%5B%5D - - "},
    {"UTF-8", MSG_GET, {PATH("\xc3\xa4")}, "", 0, "GET /%C3%A4 - - "},
    {"a dot", MSG_GET, {PATH(".a")}, "", 0, "GET /.a - - "},
    {"this", MSG_GET, {PATH(".")}, "", 400, NULL},
    {"above", MSG_GET, {PATH("..")}, "", 400, NULL},
    {"above, inside", MSG_GET, {PATH("a"), PATH(".."), PATH("b")}, "", 400, NULL},
    {"three dots", MSG_GET, {PATH("...")}, "", 0, "GET /... - - "},
    {"a slash", MSG_GET, {PATH("a/b")}, "", 400, NULL},
    {"a backslash", MSG_GET, {PATH("a\\b")}, "", 400, NULL},
    {"NUL", MSG_GET, {PATH("a\0b")}, "", 400, NULL},
    {"a line's end", MSG_GET, {PATH("a\nb")}, "", 400, NULL},
    {"DEL", MSG_GET, {PATH("a\x7f")}, "", 400, NULL},
    {"a query", MSG_GET, {QUERY("a=b"), QUERY("c")}, "", 0, "GET /?a=b&c - - "},
    {"a query with what could end it",
     MSG_GET,
     {QUERY("a=b&c=d;e=f#g\r\n")},
     "",
     0,
     "GET /?a=b%26c=d%3Be=f%23g%0D%0A - - "},
    {"a plus", MSG_GET, {QUERY("a=b+c d")}, "", 0, "GET /?a=b%2Bc%20d - - "},

    {"PUT",
     MSG_PUT,
     {PATH("x"), OPTION(OPT_CONTENT_FORMAT, "\x32")},
     "{}",
     0,
     "PUT /x application/json - {}"},
    {"PUT of a text",
     MSG_PUT,
     {OPTION(OPT_CONTENT_FORMAT, "")},
     "a",
     0,
     "PUT / text/plain;charset=utf-8 - a"},
    {"PUT without a format", MSG_PUT, {{0}}, "a", 0, "PUT / - - a"},
    {"PUT of nothing", MSG_PUT, {{0}}, "", 0, "PUT / - - "},
    {"PUT of an unknown format", MSG_PUT, {OPTION(OPT_CONTENT_FORMAT, "\xff\xfe")}, "a", 415, NULL},
    {"POST", MSG_POST, {{0}}, "a", 0, "POST / - - a"},
    {"PATCH",
     MSG_PATCH,
     {OPTION(OPT_CONTENT_FORMAT, "\x34")},
     "{}",
     0,
     "PATCH / application/merge-patch+json - {}"},
    {"iPATCH", MSG_IPATCH, {{0}}, "a", 0, "PATCH / - - a"},
    {"DELETE", MSG_DELETE, {{0}}, "", 0, "DELETE / - - "},
    {"DELETE with a payload", MSG_DELETE, {{0}}, "a", 0, "DELETE / - - "},
    {"GET with a payload", MSG_GET, {{0}}, "a", 0, "GET / - - "},
    {"FETCH", MSG_FETCH, {{0}}, "a", 405, NULL},

    {"Accept", MSG_GET, {OPTION(OPT_ACCEPT, "\x3c")}, "", 0, "GET / - application/cbor "},
    {"Accept of an unknown format", MSG_GET, {OPTION(OPT_ACCEPT, "\xff\xfe")}, "", 406, NULL},
    {"If-Match that there is one",
     MSG_PUT,
     {OPTION(OPT_IF_MATCH, "")},
     "a",
     0,
     "PUT / - - If-Match: *|a"},
    {"If-Match of none that we know", MSG_PUT, {OPTION(OPT_IF_MATCH, "12345678")}, "a", 412, NULL},
    {"If-Match of a short one", MSG_PUT, {OPTION(OPT_IF_MATCH, "1")}, "a", 412, NULL},
    {"If-None-Match",
     MSG_PUT,
     {OPTION(OPT_IF_NONE_MATCH, "")},
     "a",
     0,
     "PUT / - - If-None-Match: *|a"},
    {"ETag that we do not know", MSG_GET, {OPTION(OPT_ETAG, "12345678")}, "", 0, "GET / - - "},
    {"what ends here",
     MSG_GET,
     {OPTION(OPT_URI_HOST, "h"), OPTION(OPT_OBSERVE, ""), OPTION(OPT_HOP_LIMIT, "\x05"),
      OPTION(OPT_BLOCK2, "\x06"), OPTION(OPT_SIZE2, ""), OPTION(OPT_ECHO, "e"),
      OPTION(OPT_REQUEST_TAG, "t")},
     "",
     0,
     "GET / - - "},
    {"elective and unknown", MSG_GET, {OPTION(2000, "x")}, "", 0, "GET / - - "},
    {"critical and unknown", MSG_GET, {OPTION(2001, "x")}, "", 402, NULL},
    {"of oneM2M", MSG_GET, {OPTION(279, "Cann")}, "", 402, NULL},
};

static void show_request(const struct http_request *r, char *to, size_t cap)
{
    struct buf b = buf_on(to, cap - 1);
    buf_put_str(&b, r->method);
    buf_put_str(&b, " ");
    buf_put_str(&b, r->target);
    buf_put_str(&b, " ");
    buf_put_str(&b, r->content_type ? r->content_type : "-");
    buf_put_str(&b, " ");
    buf_put_str(&b, r->accept ? r->accept : "-");
    buf_put_str(&b, " ");
    for (size_t i = 0; i < r->n_lines; i++) {
        buf_put_str(&b, r->lines[i]);
        buf_put_str(&b, "|");
    }
    buf_put(&b, r->body);
    to[b.n] = '\0';
}

static void test_requests(void **state)
{
    (void)state;
    static struct http_request r;
    int failed = 0;
    for (size_t i = 0; i < COUNT(requests); i++) {
        struct msg m;
        char got[1024] = "refused";
        const char *why = NULL;
        fill(&m, requests[i].method, requests[i].options);
        uint8_t code = http_map_request(&side, &m, bytes_str(requests[i].body), &r, &why);
        if (code == 0)
            show_request(&r, got, sizeof got);
        if (code != CODE(requests[i].code) || (code == 0 && strcmp(got, requests[i].want) != 0)) {
            print_error("%s:\n  got    %u.%02u %s (%s)\n  wanted %s\n", requests[i].name, code >> 5,
                        code & 31, got, why, requests[i].want ? requests[i].want : "refused");
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static void test_no_room(void **state)
{
    (void)state;
    static struct http_request r;
    static uint8_t long_one[HTTP_TARGET_MAX];
    struct msg m = {.code = MSG_GET};
    const char *why;
    memset(long_one, '%', sizeof long_one);
    assert_true(msg_add(&m, OPT_URI_PATH, bytes_of(long_one, 2700)));
    assert_int_equal(http_map_request(&side, &m, BYTES_NONE, &r, &why), 0);
    assert_true(msg_add(&m, OPT_URI_PATH, bytes_of(long_one, 100)));
    assert_int_equal(http_map_request(&side, &m, BYTES_NONE, &r, &why), MSG_CODE(4, 0));
    http_request_init(&r);
    for (size_t i = 0; i < HTTP_LINES_MAX; i++)
        assert_true(http_request_line(&r, "X", BYTES_LIT("y")));
    assert_false(http_request_line(&r, "X", BYTES_LIT("y")));
    http_request_init(&r);
    assert_false(http_request_line(&r, "X", bytes_of(long_one, HTTP_TEXT_MAX - 2)));
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct bytes value;
        bool ok;
    } rows[] = {
        {"a word", BYTES_LIT("Cann"), true},
        {"nothing", BYTES_LIT(""), true},
        {"words", BYTES_LIT("a b"), true},
        {"two spaces", BYTES_LIT("a  b"), false},
        {"space in front", BYTES_LIT(" a"), false},
        {"space behind", BYTES_LIT("a "), false},
        {"a tab", BYTES_LIT("a\tb"), false},
        {"CR", BYTES_LIT("a\rb"), false},
        {"LF", BYTES_LIT("a\nb"), false},
        {"NUL", BYTES_LIT("a\0b"), false},
        {"beyond ASCII", BYTES_LIT("\xc3\xa4"), false},
    };
    static struct http_request r;
    for (size_t i = 0; i < COUNT(rows); i++) {
        http_request_init(&r);
        if (http_request_line(&r, "X-M2M-Origin", rows[i].value) != rows[i].ok)
            fail_msg("%s", rows[i].name);
    }
    http_request_init(&r);
    assert_true(http_request_line(&r, "X-A", BYTES_LIT("")));
    assert_string_equal(r.lines[0], "X-A;"); /* the library's way to say it */
}

/* ---- answers ---- */

static const struct answer_row {
    const char *name;
    uint8_t method;
    struct msg_option options[OPTIONS];
    unsigned status;
    struct http_field fields[FIELDS];
    const char *body;
    int code;
    const char *options_want, *payload;
} answers[] = {
    {"GET",
     MSG_GET,
     {{0}},
     200,
     {{"Content-Type", "application/json"}},
     "{}",
     205,
     "12=50 14=0",
     "{}"},
    {"no content", MSG_GET, {{0}}, 204, {{0}}, "", 205, "14=0", ""},
    {"GET that creates", MSG_GET, {{0}}, 201, {{0}}, "", 502, "", NULL},
    {"a part", MSG_GET, {{0}}, 206, {{0}}, "a", 502, "", NULL},
    {"PUT", MSG_PUT, {{0}}, 200, {{0}}, "", 204, "", ""},
    {"PUT that creates", MSG_PUT, {{0}}, 201, {{0}}, "", 201, "", ""},
    {"POST with an answer",
     MSG_POST,
     {{0}},
     200,
     {{"Content-Type", "text/plain"}},
     "a",
     204,
     "12=0",
     "a"},
    {"DELETE", MSG_DELETE, {{0}}, 204, {{0}}, "", 202, "", ""},
    {"DELETE that creates", MSG_DELETE, {{0}}, 201, {{0}}, "", 502, "", NULL},
    {"accepted", MSG_POST, {{0}}, 202, {{0}}, "", 204, "", ""},

    {"no type", MSG_GET, {{0}}, 200, {{0}}, "a", 205, "12=42 14=0", "a"},
    {"an unknown type",
     MSG_GET,
     {{0}},
     200,
     {{"Content-Type", "text/html"}},
     "a",
     205,
     "12=42 14=0",
     "a"},
    {"no type at all", MSG_GET, {{0}}, 200, {{"Content-Type", "html"}}, "a", 502, "", NULL},
    {"two types",
     MSG_GET,
     {{0}},
     200,
     {{"Content-Type", "text/plain"}, {"content-type", "text/plain"}},
     "a",
     502,
     "",
     NULL},
    {"a type in capitals",
     MSG_GET,
     {{0}},
     200,
     {{"CONTENT-TYPE", "Application/JSON"}},
     "a",
     205,
     "12=50 14=0",
     "a"},
    {"identity",
     MSG_GET,
     {{0}},
     200,
     {{"Content-Type", "text/plain"}, {"Content-Encoding", "identity"}},
     "a",
     205,
     "12=0 14=0",
     "a"},
    {"gzip",
     MSG_GET,
     {{0}},
     200,
     {{"Content-Type", "text/plain"}, {"Content-Encoding", "gzip"}},
     "a",
     502,
     "",
     NULL},
    {"what was asked for",
     MSG_GET,
     {OPTION(OPT_ACCEPT, "\x32")},
     200,
     {{"Content-Type", "application/json"}},
     "{}",
     205,
     "12=50 14=0",
     "{}"},
    {"what was not asked for",
     MSG_GET,
     {OPTION(OPT_ACCEPT, "\x32")},
     200,
     {{"Content-Type", "application/xml"}},
     "<a/>",
     406,
     "14=0",
     ""},
    {"what was not asked for, of a POST",
     MSG_POST,
     {OPTION(OPT_ACCEPT, "\x32")},
     200,
     {{"Content-Type", "application/xml"}},
     "<a/>",
     204,
     "12=41",
     "<a/>"},
    {"oneM2M's JSON is another",
     MSG_GET,
     {OPTION(OPT_ACCEPT, "\x32")},
     200,
     {{"Content-Type", "application/vnd.onem2m-res+json"}},
     "{}",
     406,
     "14=0",
     ""},

    {"max-age", MSG_GET, {{0}}, 200, {{"Cache-Control", "max-age=60"}}, "", 205, "14=60", ""},
    {"max-age, quoted",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "public, Max-Age = \"60\""}},
     "",
     205,
     "14=0",
     ""},
    {"max-age, quoted well",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "public,max-age=\"60\""}},
     "",
     205,
     "14=60",
     ""},
    {"max-age twice",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age=60, max-age=70"}},
     "",
     205,
     "14=0",
     ""},
    {"max-age in two fields",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "public"}, {"Cache-Control", "max-age=60"}},
     "",
     205,
     "14=60",
     ""},
    {"max-age of nothing",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age="}},
     "",
     205,
     "14=0",
     ""},
    {"max-age below zero",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age=-1"}},
     "",
     205,
     "14=0",
     ""},
    {"max-age beyond all",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age=99999999999999999999"}},
     "",
     205,
     "14=4294967295",
     ""},
    {"s-maxage",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age=60, s-maxage=5"}},
     "",
     205,
     "14=5",
     ""},
    {"no-store",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age=60, no-store"}},
     "",
     205,
     "14=0",
     ""},
    {"no-cache",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "no-cache=\"a,b\", max-age=60"}},
     "",
     205,
     "14=0",
     ""},
    {"private",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "private, max-age=60"}},
     "",
     205,
     "14=0",
     ""},
    {"not private",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "x=\"private\", max-age=60"}},
     "",
     205,
     "14=60",
     ""},
    {"Age",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age=60"}, {"Age", "20"}},
     "",
     205,
     "14=40",
     ""},
    {"Age that is none",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age=60"}, {"Age", "x"}},
     "",
     205,
     "14=0",
     ""},
    {"older than that",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age=60"}, {"Age", "61"}},
     "",
     205,
     "14=0",
     ""},
    {"it varies with all",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age=60"}, {"Vary", "*"}},
     "",
     205,
     "14=0",
     ""},
    {"it varies with what is asked",
     MSG_GET,
     {{0}},
     200,
     {{"Cache-Control", "max-age=60"}, {"Vary", "Accept"}},
     "",
     205,
     "14=60",
     ""},
    {"max-age of a PUT", MSG_PUT, {{0}}, 200, {{"Cache-Control", "max-age=60"}}, "", 204, "", ""},
    {"an error that holds",
     MSG_GET,
     {{0}},
     404,
     {{"Cache-Control", "max-age=60"}},
     "",
     404,
     "14=60",
     ""},

    {"ETag", MSG_GET, {{0}}, 200, {{"ETag", "\"a\""}}, "", 205, "4=tag 14=0", ""},
    {"a weak ETag", MSG_GET, {{0}}, 200, {{"ETag", "W/\"a\""}}, "", 205, "4=tag 14=0", ""},
    {"an ETag without quotes", MSG_GET, {{0}}, 200, {{"ETag", "a"}}, "", 205, "14=0", ""},
    {"an ETag with a quote inside",
     MSG_GET,
     {{0}},
     200,
     {{"ETag", "\"a\"b\""}},
     "",
     205,
     "14=0",
     ""},
    {"an ETag with a space", MSG_GET, {{0}}, 200, {{"ETag", "\"a b\""}}, "", 205, "14=0", ""},
    {"an ETag too long",
     MSG_GET,
     {{0}},
     200,
     {{"ETag", "\"" HUNDRED HUNDRED "\""}},
     "",
     205,
     "14=0",
     ""},
    {"two ETags", MSG_GET, {{0}}, 200, {{"ETag", "\"a\""}, {"ETag", "\"a\""}}, "", 502, "", NULL},
    {"ETag of a PUT", MSG_PUT, {{0}}, 204, {{"ETag", "\"a\""}}, "", 204, "4=tag", ""},
    {"ETag of a DELETE", MSG_DELETE, {{0}}, 204, {{"ETag", "\"a\""}}, "", 202, "", ""},
    {"not modified",
     MSG_GET,
     {OPTION(OPT_ETAG, "12345678")},
     304,
     {{"ETag", "\"a\""}},
     "",
     203,
     "4=tag 14=0",
     ""},
    {"not modified, and not asked", MSG_GET, {{0}}, 304, {{"ETag", "\"a\""}}, "", 502, "", NULL},
    {"not modified, of a PUT",
     MSG_PUT,
     {OPTION(OPT_ETAG, "12345678")},
     304,
     {{"ETag", "\"a\""}},
     "",
     502,
     "",
     NULL},
    {"not modified, which one",
     MSG_GET,
     {OPTION(OPT_ETAG, "12345678")},
     304,
     {{0}},
     "",
     203,
     "4=tag 14=0",
     ""},
    {"not modified, which of two",
     MSG_GET,
     {OPTION(OPT_ETAG, "12345678"), OPTION(OPT_ETAG, "2")},
     304,
     {{0}},
     "",
     502,
     "",
     NULL},
    {"not modified, with a body",
     MSG_GET,
     {OPTION(OPT_ETAG, "12345678")},
     304,
     {{"ETag", "\"a\""}},
     "a",
     203,
     "4=tag 14=0",
     ""},

    {"busy", MSG_GET, {{0}}, 503, {{0}}, "", 503, "", ""},
    {"a redirect", MSG_GET, {{0}}, 301, {{"Location", "/x"}}, "", 502, "", NULL},
    {"a teapot", MSG_GET, {{0}}, 418, {{0}}, "", 400, "14=0", ""},
    {"an interim one", MSG_GET, {{0}}, 101, {{0}}, "", 502, "", NULL},
    {"no status", MSG_GET, {{0}}, 0, {{0}}, "", 502, "", NULL},
    {"words", MSG_PUT, {{0}}, 400, {{"Content-Type", "text/plain"}}, "no", 400, "", "no"},
    {"words that are no UTF-8",
     MSG_PUT,
     {{0}},
     400,
     {{"Content-Type", "text/plain"}},
     "\xff",
     400,
     "",
     ""},
    {"a page", MSG_PUT, {{0}}, 400, {{"Content-Type", "text/html"}}, "no", 400, "", ""},
    {"an error of a format",
     MSG_PUT,
     {{0}},
     400,
     {{"Content-Type", "application/json"}},
     "{}",
     400,
     "12=50",
     "{}"},

    {"Location",
     MSG_POST,
     {PATH("api"), PATH("jobs")},
     201,
     {{"Location", "/api/jobs/7?a=b&c"}},
     "",
     201,
     "8=api 8=jobs 8=7 20=a=b 20=c",
     ""},
    {"Location of a 200", MSG_POST, {{0}}, 200, {{"Location", "/api/jobs/7"}}, "", 204, "", ""},
    {"Location, whole",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "http://web.test:8080/api/7"}},
     "",
     201,
     "8=api 8=7",
     ""},
    {"Location, in capitals",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "HTTP://WEB.TEST:8080/api/7#x"}},
     "",
     201,
     "8=api 8=7",
     ""},
    {"Location of another host",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "http://web.tes:8080/api/7"}},
     "",
     201,
     "",
     ""},
    {"Location of a longer host",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "http://web.test.x:8080/a"}},
     "",
     201,
     "",
     ""},
    {"Location of another port",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "http://web.test/api/7"}},
     "",
     201,
     "",
     ""},
    {"Location of another user",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "http://a@web.test:8080/7"}},
     "",
     201,
     "",
     ""},
    {"Location over TLS",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "https://web.test:8080/api/7"}},
     "",
     201,
     "",
     ""},
    {"Location of the host",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "//web.test:8080/api/7"}},
     "",
     201,
     "8=api 8=7",
     ""},
    {"Location beside it",
     MSG_POST,
     {PATH("api"), PATH("jobs"), PATH("")},
     201,
     {{"Location", "7"}},
     "",
     201,
     "8=api 8=jobs 8=7",
     ""},
    {"Location beside it, above",
     MSG_POST,
     {PATH("api"), PATH("jobs")},
     201,
     {{"Location", "7"}},
     "",
     201,
     "8=api 8=7",
     ""},
    {"Location, encoded",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "/a%20b/%C3%A4"}},
     "",
     201,
     "8=a b 8=\xc3\xa4",
     ""},
    {"Location with a slash inside",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "/a%2Fb"}},
     "",
     201,
     "",
     ""},
    {"Location with half a byte", MSG_POST, {{0}}, 201, {{"Location", "/a%2"}}, "", 201, "", ""},
    {"Location with no byte", MSG_POST, {{0}}, 201, {{"Location", "/a%zz"}}, "", 201, "", ""},
    {"Location with NUL", MSG_POST, {{0}}, 201, {{"Location", "/a%00"}}, "", 201, "", ""},
    {"Location that is no UTF-8", MSG_POST, {{0}}, 201, {{"Location", "/%ff"}}, "", 201, "", ""},
    {"Location with a space", MSG_POST, {{0}}, 201, {{"Location", "/a b"}}, "", 201, "", ""},
    {"two Locations",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "/a"}, {"Location", "/a"}},
     "",
     201,
     "",
     ""},
    {"Location too long",
     MSG_POST,
     {{0}},
     201,
     {{"Location", "/" HUNDRED HUNDRED HUNDRED}},
     "",
     201,
     "",
     ""},
    {"Location of a script",
     MSG_POST,
     {PATH("api")},
     201,
     {{"Location", "javascript:x"}},
     "",
     201,
     "",
     ""},
};

static void test_answers(void **state)
{
    (void)state;
    static struct http_reply r;
    int failed = 0;
    for (size_t i = 0; i < COUNT(answers); i++) {
        const struct answer_row *row = &answers[i];
        struct msg m;
        char got[512];
        size_t n = 0;
        while (n < FIELDS && row->fields[n].name)
            n++;
        struct http_answer a = {.status = row->status,
                                .fields = row->fields,
                                .n_fields = n,
                                .body = bytes_str(row->body)};
        fill(&m, row->method, row->options);
        http_map_answer(&side, &m, &a, &r);
        show_options(&r.m, got, sizeof got);
        if (r.m.code != CODE(row->code) || strcmp(got, row->options_want) != 0 ||
            (row->payload && !bytes_equal_str(r.m.payload, row->payload))) {
            print_error("%s:\n  got    %u.%02u [%s] %.*s\n  wanted %d [%s] %s\n", row->name,
                        r.m.code >> 5, r.m.code & 31, got, (int)r.m.payload.n,
                        (const char *)r.m.payload.p, row->code, row->options_want,
                        row->payload ? row->payload : "");
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static void test_retry(void **state)
{
    (void)state;
    static struct http_reply r;
    struct msg m = {.code = MSG_POST};
    struct http_answer a = {.status = 429, .retry_s = 17};
    http_map_answer(&side, &m, &a, &r);
    assert_int_equal(r.m.code, MSG_CODE(4, 29));
    assert_int_equal(msg_uint(&r.m, OPT_MAX_AGE), 17);
}

/* A server's tag comes back to it. */
static void test_etags_come_back(void **state)
{
    (void)state;
    static struct http_request q;
    static struct http_reply r;
    struct msg get = {.code = MSG_GET}, again = {.code = MSG_GET}, put = {.code = MSG_PUT};
    const struct http_field fields[] = {{"ETag", "W/\"x-1\""}};
    struct http_answer a = {.status = 200, .fields = fields, .n_fields = 1};
    const char *why;
    http_map_answer(&side, &get, &a, &r);
    const struct msg_option *tag = msg_find(&r.m, OPT_ETAG);
    assert_non_null(tag);
    assert_true(msg_add(&again, OPT_ETAG, tag->value));
    assert_true(msg_add(&again, OPT_ETAG, BYTES_LIT("12345678")));
    assert_int_equal(http_map_request(&side, &again, BYTES_NONE, &q, &why), 0);
    assert_string_equal(q.lines[0], "If-None-Match: W/\"x-1\"");
    /* one that is known of two is enough, and the other is not asked by */
    assert_true(msg_add(&put, OPT_IF_MATCH, BYTES_LIT("12345678")));
    assert_true(msg_add(&put, OPT_IF_MATCH, tag->value));
    assert_int_equal(http_map_request(&side, &put, BYTES_NONE, &q, &why), 0);
    assert_string_equal(q.lines[0], "If-Match: W/\"x-1\"");
    assert_int_equal(q.n_lines, 1);
}

/* ---- media types ---- */

static void test_media(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http_media_kind kind;
        uint16_t format;
    } rows[] = {
        {"text/plain", HTTP_MEDIA_KNOWN, 0},
        {"text/plain; charset=utf-8", HTTP_MEDIA_KNOWN, 0},
        {"text/plain;charset=\"UTF-8\"", HTTP_MEDIA_KNOWN, 0},
        {"text/plain; charset=us-ascii", HTTP_MEDIA_KNOWN, 0},
        {"text/plain; format=flowed", HTTP_MEDIA_KNOWN, 0},
        {"text/plain;", HTTP_MEDIA_KNOWN, 0},
        {"text/plain ; ; charset=utf-8 ", HTTP_MEDIA_KNOWN, 0},
        {"text/plain; charset=latin1", HTTP_MEDIA_UNKNOWN, 0},
        {"text/plain; charset=utf-8; charset=latin1", HTTP_MEDIA_UNKNOWN, 0},
        {"text/plain; charset=\"utf\\-8\"", HTTP_MEDIA_UNKNOWN, 0},
        {"text/plain; charset", HTTP_MEDIA_BAD, 0},
        {"text/plain; charset=\"utf-8", HTTP_MEDIA_BAD, 0},
        {"text/plain, text/plain", HTTP_MEDIA_BAD, 0},
        {"text", HTTP_MEDIA_BAD, 0},
        {"text/", HTTP_MEDIA_BAD, 0},
        {"/plain", HTTP_MEDIA_BAD, 0},
        {"", HTTP_MEDIA_BAD, 0},
        {"text /plain", HTTP_MEDIA_BAD, 0},
        {"application/json;ty=2", HTTP_MEDIA_KNOWN, 50},
        {"application/JSON", HTTP_MEDIA_KNOWN, 50},
        {"application/jsonx", HTTP_MEDIA_UNKNOWN, 0},
        {"application/vnd.onem2m-res+json", HTTP_MEDIA_KNOWN, 10001},
        {"application/cose; cose-type=\"cose-sign1\"", HTTP_MEDIA_KNOWN, 18},
        {"application/cose", HTTP_MEDIA_UNKNOWN, 0},
        {"application/octet-stream", HTTP_MEDIA_KNOWN, 42},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint16_t format = 0;
        enum http_media_kind kind = http_media_format(bytes_str(rows[i].text), &format);
        if (kind != rows[i].kind || (kind == HTTP_MEDIA_KNOWN && format != rows[i].format))
            fail_msg("%s: %d, %u", rows[i].text, kind, format);
    }
    /* each that has a name is known by it */
    for (uint32_t f = 0; f <= UINT16_MAX; f++) {
        uint16_t back = 0;
        const char *name = http_media_of(f);
        if (name && (http_media_format(bytes_str(name), &back) != HTTP_MEDIA_KNOWN || back != f))
            fail_msg("%u is %s, which is %u", f, name, back);
    }
    assert_null(http_media_of(UINT32_C(65536)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests), cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_values),   cmocka_unit_test(test_answers),
        cmocka_unit_test(test_retry),    cmocka_unit_test(test_etags_come_back),
        cmocka_unit_test(test_media),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
