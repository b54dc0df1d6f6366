/* oneM2M's CoAP binding as its HTTP binding, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../pep/onem2m.h"
#include "../proxy/m2m_http.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define CODE(c)  MSG_CODE((c) / 100, (c) % 100)
#define OPTION(n, s)                                                                               \
    {                                                                                              \
        (n), BYTES_LIT(s)                                                                          \
    }
#define PATH(s)  OPTION(OPT_URI_PATH, s)
#define QUERY(s) OPTION(OPT_URI_QUERY, s)
#define SAY(p, s)                                                                                  \
    {                                                                                              \
        p, BYTES_LIT(s)                                                                            \
    }
#define TEN     "aaaaaaaaaa"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

enum { MANY = 8 };

static struct m2m_cse cse = {.options = M2M_CURRENT, .id = "/mn-cse", .base = "cb"};
static struct http_side side = {.cse = &cse};

static int setup(void **state)
{
    (void)state;
    side.origin = (struct http_origin){false, "cse.test", 8080, NULL, 0};
    side.etags = http_etags_new();
    return side.etags ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    http_etags_free(side.etags);
    return 0;
}

struct say {
    enum m2m_param param;
    struct bytes value;
};

static void fill(struct msg *m, uint8_t code, const struct msg_option *options,
                 const struct say *say)
{
    memset(m, 0, sizeof *m);
    m->code = code;
    for (size_t i = 0; i < MANY && options[i].number; i++)
        assert_true(msg_add(m, options[i].number, options[i].value));
    for (size_t i = 0; i < MANY && say[i].value.p; i++)
        assert_true(msg_add(m, m2m_number(cse.options, say[i].param), say[i].value));
}

/* ---- requests ---- */

#define IDS SAY(M2M_FR, "Cann"), SAY(M2M_RQI, "r1"), SAY(M2M_RVI, "3")
#define ALL "X-M2M-Origin: Cann|X-M2M-RI: r1|X-M2M-RVI: 3|"

static const struct {
    const char *name;
    uint8_t method;
    struct msg_option options[MANY];
    struct say say[MANY];
    const char *body;
    int code;
    const char *want; /* "METHOD target [type] [accept] line|line|body" */
} requests[] = {
    {"RETRIEVE", MSG_GET, {PATH("cb"), PATH("x")}, {IDS}, "", 0, "GET /cb/x - - " ALL},
    {"SP-relative",
     MSG_GET,
     {PATH("~"), PATH("mn-cse"), PATH("cb")},
     {IDS},
     "",
     0,
     "GET /~/mn-cse/cb - - " ALL},
    {"absolute",
     MSG_GET,
     {PATH("_"), PATH("sp.example"), PATH("mn-cse"), PATH("-")},
     {IDS},
     "",
     0,
     "GET /_/sp.example/mn-cse/- - - " ALL},
    {"a slash", MSG_GET, {PATH("cb/x")}, {IDS}, "", 400, NULL},
    {"DISCOVERY",
     MSG_GET,
     {PATH("cb"), QUERY("fu=1"), QUERY("ty=2+3"), QUERY("lbl=a b")},
     {IDS},
     "",
     0,
     "GET /cb?fu=1&ty=2+3&lbl=a%20b - - " ALL},
    {"CREATE",
     MSG_POST,
     {PATH("cb"), OPTION(OPT_CONTENT_FORMAT, "\x32")},
     {IDS, SAY(M2M_TY, "\x02")},
     "{}",
     0,
     "POST /cb application/json;ty=2 - " ALL "{}"},
    {"CREATE in its own format",
     MSG_POST,
     {PATH("cb"), OPTION(OPT_CONTENT_FORMAT, "\x27\x11")},
     {IDS, SAY(M2M_TY, "\x03")},
     "{}",
     0,
     "POST /cb application/vnd.onem2m-res+json;ty=3 - " ALL "{}"},
    {"CREATE without a format",
     MSG_POST,
     {PATH("cb")},
     {IDS, SAY(M2M_TY, "\x17")},
     "{}",
     0,
     "POST /cb application/json;ty=23 - " ALL "{}"},
    {"CREATE of nothing",
     MSG_POST,
     {PATH("cb")},
     {IDS, SAY(M2M_TY, "\x03")},
     "",
     0,
     "POST /cb application/json;ty=3 - " ALL},
    {"CREATE of a large type",
     MSG_POST,
     {PATH("cb")},
     {IDS, SAY(M2M_TY, "\x27\x11")},
     "{}",
     0,
     "POST /cb application/json;ty=10001 - " ALL "{}"},
    {"NOTIFY",
     MSG_POST,
     {PATH("cb"), OPTION(OPT_CONTENT_FORMAT, "\x32")},
     {IDS},
     "{}",
     0,
     "POST /cb application/json - " ALL "{}"},
    {"NOTIFY in its own format",
     MSG_POST,
     {PATH("cb"), OPTION(OPT_CONTENT_FORMAT, "\x27\x13")},
     {IDS},
     "{}",
     0,
     "POST /cb application/vnd.onem2m-ntfy+json - " ALL "{}"},
    {"UPDATE",
     MSG_PUT,
     {PATH("cb"), OPTION(OPT_CONTENT_FORMAT, "\x3c")},
     {IDS},
     "\xa0",
     0,
     "PUT /cb application/cbor - " ALL "\xa0"},
    {"UPDATE with a type", MSG_PUT, {PATH("cb")}, {IDS, SAY(M2M_TY, "\x02")}, "{}", 400, NULL},
    {"DELETE", MSG_DELETE, {PATH("cb")}, {IDS}, "", 0, "DELETE /cb - - " ALL},
    {"RETRIEVE by POST",
     MSG_POST,
     {PATH("cb"), QUERY("op=2"), QUERY("rt=1")},
     {IDS},
     "",
     0,
     "GET /cb?rt=1 - - " ALL},
    {"CREATE by POST",
     MSG_POST,
     {PATH("cb"), QUERY("op=1")},
     {IDS, SAY(M2M_TY, "\x02")},
     "{}",
     0,
     "POST /cb application/json;ty=2 - " ALL "{}"},
    {"CREATE by POST without a type",
     MSG_POST,
     {PATH("cb"), QUERY("op=1")},
     {IDS},
     "{}",
     400,
     NULL},
    {"NOTIFY by POST with a type",
     MSG_POST,
     {PATH("cb"), QUERY("op=5")},
     {IDS, SAY(M2M_TY, "\x02")},
     "{}",
     400,
     NULL},
    {"UPDATE by POST",
     MSG_POST,
     {PATH("cb"), QUERY("op=3")},
     {IDS},
     "{}",
     0,
     "PUT /cb application/json - " ALL "{}"},
    {"DELETE by POST", MSG_POST, {PATH("cb"), QUERY("op=4")}, {IDS}, "", 0, "DELETE /cb - - " ALL},
    {"NOTIFY by POST",
     MSG_POST,
     {PATH("cb"), QUERY("op=5")},
     {IDS},
     "{}",
     0,
     "POST /cb application/json - " ALL "{}"},
    {"no such operation", MSG_POST, {PATH("cb"), QUERY("op=6")}, {IDS}, "", 400, NULL},
    {"an operation twice",
     MSG_POST,
     {PATH("cb"), QUERY("op=2"), QUERY("op=2")},
     {IDS},
     "",
     400,
     NULL},
    {"an operation that is another", MSG_GET, {PATH("cb"), QUERY("op=4")}, {IDS}, "", 400, NULL},
    {"another parameter with op in it",
     MSG_GET,
     {PATH("cb"), QUERY("opx=4")},
     {IDS},
     "",
     0,
     "GET /cb?opx=4 - - " ALL},
    {"PATCH", MSG_PATCH, {PATH("cb")}, {IDS}, "{}", 405, NULL},
    {"FETCH", MSG_FETCH, {PATH("cb")}, {IDS}, "{}", 405, NULL},
    {"RETRIEVE with content", MSG_GET, {PATH("cb")}, {IDS}, "{}", 501, NULL},
    {"Accept",
     MSG_GET,
     {PATH("cb"), OPTION(OPT_ACCEPT, "\x32")},
     {IDS},
     "",
     0,
     "GET /cb - application/json " ALL},
    {"an unknown format",
     MSG_POST,
     {PATH("cb"), OPTION(OPT_CONTENT_FORMAT, "\xff\xfe")},
     {IDS},
     "{}",
     415,
     NULL},

    {"nobody's name",
     MSG_POST,
     {PATH("cb")},
     {SAY(M2M_FR, ""), SAY(M2M_RQI, "r1"), SAY(M2M_RVI, "3"), SAY(M2M_TY, "\x02")},
     "{}",
     0,
     "POST /cb application/json;ty=2 - X-M2M-RI: r1|X-M2M-RVI: 3|{}"},
    {"a name with a line's end",
     MSG_GET,
     {PATH("cb")},
     {SAY(M2M_FR, "C\r\nX: y"), SAY(M2M_RQI, "r1"), SAY(M2M_RVI, "3")},
     "",
     400,
     NULL},
    {"a name with space in front",
     MSG_GET,
     {PATH("cb")},
     {SAY(M2M_FR, " Cann"), SAY(M2M_RQI, "r1"), SAY(M2M_RVI, "3")},
     "",
     400,
     NULL},
    {"a name beyond ASCII",
     MSG_GET,
     {PATH("cb")},
     {SAY(M2M_FR, "C\xc3\xa4"), SAY(M2M_RQI, "r1"), SAY(M2M_RVI, "3")},
     "",
     400,
     NULL},
    {"times",
     MSG_GET,
     {PATH("cb")},
     {IDS, SAY(M2M_OT, "20260601T120000"), SAY(M2M_RQET, "20260601T120001"),
      SAY(M2M_RSET, "20260601T120002"), SAY(M2M_OET, "20260601T120003")},
     "",
     0,
     "GET /cb - - " ALL "X-M2M-OT: 20260601T120000|X-M2M-RET: 20260601T120001|"
     "X-M2M-RST: 20260601T120002|X-M2M-OET: 20260601T120003|"},
    {"no time", MSG_GET, {PATH("cb")}, {IDS, SAY(M2M_OT, "20260601 120000")}, "", 400, NULL},
    {"others",
     MSG_GET,
     {PATH("cb")},
     {IDS, SAY(M2M_RTURI, "http://a/b"), SAY(M2M_EC, "\x04"), SAY(M2M_GID, "g"),
      SAY(M2M_VSI, "v w"), SAY(M2M_AUS, "s")},
     "",
     0,
     "GET /cb - - " ALL
     "X-M2M-RTU: http://a/b|X-M2M-EC: 4|X-M2M-GID: g|X-M2M-VSI: v w|X-M2M-AS: s|"},
    {"one that has no field", MSG_GET, {PATH("cb")}, {IDS, SAY(M2M_GTM, "a")}, "", 501, NULL},
    {"a later one", MSG_GET, {PATH("cb")}, {IDS, SAY(M2M_OMR, "a")}, "", 501, NULL},
};

static void show_request(const struct http_request *r, char *to, size_t cap)
{
    struct buf b = buf_on(to, cap - 1);
    const char *words[] = {r->method,
                           " ",
                           r->target,
                           " ",
                           r->content_type ? r->content_type : "-",
                           " ",
                           r->accept ? r->accept : "-",
                           " "};
    for (size_t i = 0; i < COUNT(words); i++)
        buf_put_str(&b, words[i]);
    for (size_t i = 0; i < r->n_lines; i++) {
        buf_put_str(&b, r->lines[i]);
        buf_put_str(&b, "|");
    }
    buf_put(&b, r->body);
    to[b.n] = '\0';
}

static void run_requests(void)
{
    static struct http_request r;
    int failed = 0;
    for (size_t i = 0; i < COUNT(requests); i++) {
        struct msg m;
        char got[1024] = "refused";
        const char *why = NULL;
        bool later = false; /* legacy has no number for it */
        for (size_t k = 0; k < MANY && requests[i].say[k].value.p; k++)
            later = later || !m2m_number(cse.options, requests[i].say[k].param);
        if (later)
            continue;
        fill(&m, requests[i].method, requests[i].options, requests[i].say);
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

static void test_requests(void **state)
{
    (void)state;
    for (int n = M2M_CURRENT; n <= M2M_LEGACY; n++) {
        cse.options = (enum m2m_numbering)n;
        run_requests();
    }
    cse.options = M2M_CURRENT;
}

/* ---- answers ---- */

#define RSC(s)                                                                                     \
    {                                                                                              \
        "X-M2M-RSC", s                                                                             \
    }

static const struct answer_row {
    const char *name;
    uint8_t method;
    struct msg_option options[3];
    int type; /* TY of the request, or 0 */
    unsigned status;
    struct http_field fields[6];
    const char *body;
    int code;
    const char *said; /* "NAME=value ..." of the binding, RQI and RVI left out when they are ours */
    const char *rest; /* "number=value ..." */
} answers[] = {
    {"RETRIEVE",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"Content-Type", "application/json"}},
     "{}",
     205,
     "RSC=2000",
     "12=50 14=0"},
    {"CREATE", MSG_POST, {{0}}, 2, 201, {RSC("2001")}, "", 201, "RSC=2001", ""},
    {"UPDATE", MSG_PUT, {{0}}, 0, 200, {RSC("2004")}, "", 204, "RSC=2004", ""},
    {"DELETE", MSG_DELETE, {{0}}, 0, 200, {RSC("2002")}, "", 202, "RSC=2002", ""},
    {"NOTIFY", MSG_POST, {{0}}, 0, 200, {RSC("2000")}, "", 204, "RSC=2000", ""},
    {"NOTIFY with content",
     MSG_POST,
     {{0}},
     0,
     200,
     {RSC("2000"), {"Content-Type", "application/json"}},
     "{}",
     204,
     "RSC=2000",
     ""},
    {"RETRIEVE by POST",
     MSG_POST,
     {QUERY("op=2")},
     0,
     200,
     {RSC("2000"), {"Content-Type", "application/json"}},
     "{}",
     205,
     "RSC=2000",
     "12=50 14=0"},
    {"DELETE by POST", MSG_POST, {QUERY("op=4")}, 0, 200, {RSC("2002")}, "", 202, "RSC=2002", ""},
    {"accepted, with a place",
     MSG_GET,
     {{0}},
     0,
     202,
     {RSC("1002"), {"Content-Location", "/cb/req1"}},
     "",
     201,
     "RSC=1002",
     "8=cb 8=req1 14=0"},
    {"accepted, without", MSG_POST, {{0}}, 3, 202, {RSC("1002")}, "", 204, "RSC=1002", ""},
    {"accepted, synchronously", MSG_POST, {{0}}, 3, 202, {RSC("1001")}, "", 201, "RSC=1001", ""},

    {"denied", MSG_GET, {{0}}, 0, 403, {RSC("4103")}, "", 403, "RSC=4103", "14=0"},
    {"not found", MSG_GET, {{0}}, 0, 404, {RSC("4004")}, "", 404, "RSC=4004", "14=0"},
    {"a conflict", MSG_POST, {{0}}, 2, 409, {RSC("4105")}, "", 403, "RSC=4105", ""},
    {"timeout", MSG_GET, {{0}}, 0, 504, {RSC("4008")}, "", 504, "RSC=4008", "14=0"},
    {"not reachable", MSG_GET, {{0}}, 0, 404, {RSC("5103")}, "", 404, "RSC=5103", "14=0"},
    {"of its own, 4xxx", MSG_GET, {{0}}, 0, 400, {RSC("4999")}, "", 400, "RSC=4999", "14=0"},
    {"of its own, 6xxx", MSG_GET, {{0}}, 0, 500, {RSC("6999")}, "", 500, "RSC=6999", "14=0"},
    {"an error that says why",
     MSG_PUT,
     {{0}},
     0,
     400,
     {RSC("4102"), {"Content-Type", "application/json"}},
     "{}",
     400,
     "RSC=4102",
     "12=50"},

    {"no status", MSG_GET, {{0}}, 0, 200, {{0}}, "", 205, "RSC=2000", "14=0"},
    {"no status, created", MSG_POST, {{0}}, 2, 201, {{0}}, "", 201, "RSC=2001", ""},
    {"no status, created by no CREATE", MSG_PUT, {{0}}, 0, 201, {{0}}, "", 500, "RSC=5000", ""},
    {"no status, gone", MSG_DELETE, {{0}}, 0, 204, {{0}}, "", 202, "RSC=2002", ""},
    {"no status, denied", MSG_GET, {{0}}, 0, 403, {{0}}, "", 403, "RSC=4103", "14=0"},
    {"no status, unauthorized", MSG_GET, {{0}}, 0, 401, {{0}}, "", 400, "RSC=4000", "14=0"},
    {"no status, away", MSG_GET, {{0}}, 0, 503, {{0}}, "", 500, "RSC=5000", "14=0"},
    {"two statuses", MSG_GET, {{0}}, 0, 200, {RSC("2000"), RSC("2000")}, "", 500, "RSC=5000", ""},
    {"a status that is none", MSG_GET, {{0}}, 0, 200, {RSC("2O00")}, "", 500, "RSC=5000", ""},
    {"an empty status", MSG_GET, {{0}}, 0, 200, {RSC("")}, "", 500, "RSC=5000", ""},
    {"a short status", MSG_GET, {{0}}, 0, 200, {RSC("200")}, "", 500, "RSC=5000", ""},
    {"a status with a sign", MSG_GET, {{0}}, 0, 200, {RSC("+200")}, "", 500, "RSC=5000", ""},
    {"a status with spaces around",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC(" 2000 ")},
     "",
     205,
     "RSC=2000",
     "14=0"},
    {"3000", MSG_GET, {{0}}, 0, 302, {RSC("3000")}, "", 500, "RSC=5000", ""},
    {"7000", MSG_GET, {{0}}, 0, 500, {RSC("7000")}, "", 500, "RSC=5000", ""},
    {"well, and not", MSG_GET, {{0}}, 0, 404, {RSC("2000")}, "", 500, "RSC=5000", ""},
    {"not, and well", MSG_GET, {{0}}, 0, 200, {RSC("4004")}, "", 500, "RSC=5000", ""},
    {"a redirect", MSG_GET, {{0}}, 0, 307, {RSC("2000")}, "", 500, "RSC=5000", ""},

    {"our identifier",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-RI", "r1"}},
     "",
     205,
     "RSC=2000",
     "14=0"},
    {"another's",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-RI", "r2"}},
     "",
     500,
     "RSC=5000",
     ""},
    {"two of ours",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-RI", "r1"}, {"x-m2m-ri", "r1"}},
     "",
     500,
     "RSC=5000",
     ""},
    {"another release",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-RVI", "2a"}},
     "",
     205,
     "RSC=2000 RVI=2a",
     "14=0"},
    {"no release",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-RVI", "two"}},
     "",
     205,
     "RSC=2000",
     "14=0"},

    {"numbers",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-EC", "255"}, {"X-M2M-CTS", "1"}, {"X-M2M-CTO", "65535"}},
     "",
     205,
     "EC=255 RSC=2000 CTO=65535 CTS=1",
     "14=0"},
    {"numbers that are too large",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-EC", "256"}, {"X-M2M-CTO", "65536"}, {"X-M2M-CTS", "99999999999999"}},
     "",
     205,
     "RSC=2000",
     "14=0"},
    {"numbers that are none",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-EC", ""}, {"X-M2M-CTO", "-1"}, {"X-M2M-CTS", "0x1"}},
     "",
     205,
     "RSC=2000",
     "14=0"},
    {"times",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-OT", "20260601T120000,123"}, {"X-M2M-RST", "20260601T120000"}},
     "",
     205,
     "OT=20260601T120000 RSET=20260601T120000 RSC=2000",
     "14=0"},
    {"times that are none",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-OT", "20260601T1200001"}, {"X-M2M-RST", "2026-06-01T12"}},
     "",
     205,
     "RSC=2000",
     "14=0"},
    {"texts",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-Origin", "/mn-cse"}, {"X-M2M-VSI", "\xc3\xa4"}, {"X-M2M-ATI", "a:b"}},
     "",
     205,
     "FR=/mn-cse RSC=2000 ATI=a:b VSI=\xc3\xa4",
     "14=0"},
    {"texts that are none",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"),
      {"X-M2M-VSI", "\xff"},
      {"X-M2M-ATI", HUNDRED HUNDRED HUNDRED},
      {"X-M2M-Origin", "a\tb"}},
     "",
     205,
     "RSC=2000",
     "14=0"},
    {"what only requests say",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"X-M2M-GID", "g"}, {"X-M2M-RTU", "u"}},
     "",
     205,
     "RSC=2000",
     "14=0"},

    {"a place",
     MSG_POST,
     {{0}},
     2,
     201,
     {RSC("2001"), {"Content-Location", "/cb/ae1"}},
     "",
     201,
     "RSC=2001",
     "8=cb 8=ae1"},
    {"a place by its other name",
     MSG_POST,
     {{0}},
     2,
     201,
     {RSC("2001"), {"Location", "/cb/ae1"}},
     "",
     201,
     "RSC=2001",
     "8=cb 8=ae1"},
    {"a place as a CSE says it",
     MSG_POST,
     {PATH("cb"), PATH("x")},
     2,
     201,
     {RSC("2001"), {"Content-Location", "cb/ae1"}},
     "",
     201,
     "RSC=2001",
     "8=cb 8=ae1"},
    {"a place in the SP",
     MSG_POST,
     {{0}},
     2,
     201,
     {RSC("2001"), {"Content-Location", "/mn-cse/ae1"}},
     "",
     201,
     "RSC=2001",
     "8=~ 8=mn-cse 8=ae1"},
    {"a place in the SP, as HTTP says it",
     MSG_POST,
     {{0}},
     2,
     201,
     {RSC("2001"), {"Content-Location", "/~/mn-cse/ae1"}},
     "",
     201,
     "RSC=2001",
     "8=~ 8=mn-cse 8=ae1"},
    {"a place in all the world",
     MSG_POST,
     {{0}},
     2,
     201,
     {RSC("2001"), {"Content-Location", "//sp.example/mn-cse/ae1"}},
     "",
     201,
     "RSC=2001",
     "8=_ 8=sp.example 8=mn-cse 8=ae1"},
    {"a place by URL",
     MSG_POST,
     {{0}},
     2,
     201,
     {RSC("2001"), {"Content-Location", "http://cse.test:8080/cb/ae1"}},
     "",
     201,
     "RSC=2001",
     "8=cb 8=ae1"},
    {"a place elsewhere",
     MSG_POST,
     {{0}},
     2,
     201,
     {RSC("2001"), {"Content-Location", "http://other.test:8080/cb/ae1"}},
     "",
     201,
     "RSC=2001",
     ""},
    {"a place of an UPDATE",
     MSG_PUT,
     {{0}},
     0,
     200,
     {RSC("2004"), {"Content-Location", "/cb/ae1"}},
     "",
     204,
     "RSC=2004",
     ""},

    {"JSON by its other name",
     MSG_GET,
     {OPTION(OPT_ACCEPT, "\x32")},
     0,
     200,
     {RSC("2000"), {"Content-Type", "application/vnd.onem2m-res+json"}},
     "{}",
     205,
     "RSC=2000",
     "12=50 14=0"},
    {"not JSON",
     MSG_GET,
     {OPTION(OPT_ACCEPT, "\x32")},
     0,
     200,
     {RSC("2000"), {"Content-Type", "application/xml"}},
     "<a/>",
     406,
     "RSC=5207",
     ""},
    {"two types",
     MSG_GET,
     {{0}},
     0,
     200,
     {RSC("2000"), {"Content-Type", "application/json"}, {"Content-Type", "application/xml"}},
     "{}",
     500,
     "RSC=5000",
     ""},
    {"not modified",
     MSG_GET,
     {OPTION(OPT_ETAG, "12345678")},
     0,
     304,
     {RSC("2000")},
     "",
     203,
     "RSC=2000",
     "4=12345678 14=0"},
    {"not modified, and not asked",
     MSG_GET,
     {{0}},
     0,
     304,
     {RSC("2000"), {"ETag", "\"a\""}},
     "",
     500,
     "RSC=5000",
     ""},
};

static void show(const struct msg *m, char *said, char *rest, size_t cap)
{
    struct m2m_values v;
    struct msg plain;
    struct buf a = buf_on(said, cap - 1), b = buf_on(rest, cap - 1);
    char text[16];
    assert_true(m2m_split(m, cse.options, &v, &plain)); /* else the gate would refuse it */
    for (enum m2m_param p = 0; p < M2M_PARAMS; p++) {
        if (!m2m_has(&v, p) || (p == M2M_RQI && bytes_equal_str(v.of[p], "r1")) ||
            (p == M2M_RVI && bytes_equal_str(v.of[p], "3")))
            continue;
        buf_put_str(&a, a.n ? " " : "");
        buf_put_str(&a, m2m_param_name(p));
        buf_put_str(&a, "=");
        if (p == M2M_RSC || p == M2M_EC || p == M2M_CTO || p == M2M_CTS)
            buf_put_decimal(&a, (uint64_t)m2m_uint(&v, p), 1);
        else
            buf_put(&a, v.of[p]);
    }
    for (size_t i = 0; i < plain.n_options; i++) {
        const struct msg_option *o = &plain.options[i];
        (void)snprintf(text, sizeof text, "%s%u=", i ? " " : "", o->number);
        buf_put_str(&b, text);
        if (o->number == OPT_LOCATION_PATH || o->number == OPT_ETAG)
            buf_put(&b, o->value);
        else
            buf_put_decimal(&b, (uint64_t)msg_uint(&plain, o->number), 1);
    }
    said[a.n] = rest[b.n] = '\0';
    assert_true(m2m_has(&v, M2M_RQI) && bytes_equal_str(v.of[M2M_RQI], "r1"));
    assert_true(m2m_has(&v, M2M_RVI));
}

static void run_answers(void)
{
    static struct http_reply r;
    int failed = 0;
    for (size_t i = 0; i < COUNT(answers); i++) {
        const struct answer_row *row = &answers[i];
        uint8_t type = (uint8_t)row->type;
        struct say say[MANY] = {IDS, {M2M_TY, {type ? &type : NULL, 1}}};
        struct msg_option options[MANY] = {row->options[0], row->options[1], row->options[2]};
        struct msg m;
        char said[512], rest[512];
        size_t n = 0;
        while (n < 6 && row->fields[n].name)
            n++;
        struct http_answer a = {.status = row->status,
                                .fields = row->fields,
                                .n_fields = n,
                                .body = bytes_str(row->body)};
        fill(&m, row->method, options, say);
        http_map_answer(&side, &m, &a, &r);
        show(&r.m, said, rest, sizeof said);
        if (r.m.code != CODE(row->code) || strcmp(said, row->said) != 0 ||
            strcmp(rest, row->rest) != 0) {
            print_error("%s:\n  got    %u.%02u [%s] [%s]\n  wanted %d [%s] [%s]\n", row->name,
                        r.m.code >> 5, r.m.code & 31, said, rest, row->code, row->said, row->rest);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static void test_answers(void **state)
{
    (void)state;
    for (int n = M2M_CURRENT; n <= M2M_LEGACY; n++) {
        cse.options = (enum m2m_numbering)n;
        run_answers();
    }
    cse.options = M2M_CURRENT;
}

/* TS-0008 table 6.2.4-1 against TS-0009 table 6.3.2-1: what is a success in one
 * is one in the other. */
static void test_codes(void **state)
{
    (void)state;
    for (uint32_t rsc = 1000; rsc < 7000; rsc++) {
        uint8_t code = m2m_http_code(rsc, M2M_RETRIEVE, false);
        bool good = rsc < 3000;
        if (rsc / 1000 != 3 && (MSG_CLASS(code) == 2) != good)
            fail_msg("%u: %u.%02u", rsc, code >> 5, code & 31);
    }
    assert_int_equal(m2m_http_code(2000, M2M_NOTIFY, false), MSG_CODE(2, 4));
    assert_int_equal(m2m_http_code(4126, M2M_CREATE, false), MSG_CODE(4, 3));
}

/* Where the CSEBase is called as the CSE-ID, a path is a path; with a base in
 * the URL, an identifier is below it. */
static void test_places(void **state)
{
    (void)state;
    static struct http_reply r;
    static const struct bytes base[] = {BYTES_LIT("onem2m")};
    struct http_field fields[] = {RSC("2001"), {"Content-Location", "/mn-cse/ae1"}};
    struct http_answer a = {.status = 201, .fields = fields, .n_fields = 2};
    const struct say say[MANY] = {IDS, SAY(M2M_TY, "\x02")};
    const struct msg_option none[MANY] = {{0}};
    struct msg m;
    char said[256], rest[256];
    fill(&m, MSG_POST, none, say);
    cse.base = "mn-cse";
    http_map_answer(&side, &m, &a, &r);
    show(&r.m, said, rest, sizeof said);
    assert_string_equal(rest, "8=mn-cse 8=ae1");
    cse.base = "cb";
    side.origin.base = base;
    side.origin.n_base = 1;
    fields[1].value = "cb/ae1";
    http_map_answer(&side, &m, &a, &r);
    show(&r.m, said, rest, sizeof said);
    assert_string_equal(rest, "8=onem2m 8=cb 8=ae1");
    side.origin.n_base = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
