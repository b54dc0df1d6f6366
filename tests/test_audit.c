#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "../pep/audit.h"

enum { RECORD = 1408 }; /* EXCHANGE_RECORD_MAX of the proxy */

static char text[RECORD + 1];

static const char *ended(struct buf *b)
{
    assert_false(b->full);
    text[b->n] = 0;
    return text;
}

static struct request request_of(const struct bytes *path, size_t n)
{
    struct request r = {.method = 1, .n_path = n, .device = -1};
    for (size_t i = 0; i < n; i++)
        r.path[i] = path[i];
    return r;
}

static const struct audit_start start = {.wall_s = 1795312800,
                                         .wall_us = 42,
                                         .association = 7,
                                         .peer = "192.0.2.1:5000",
                                         .subject = "thermostat-7",
                                         .device = "lamp"};

static void whole_records(void **state)
{
    (void)state;
    struct bytes path[] = {BYTES_LIT("lamp"), BYTES_LIT("state")};
    struct request r = request_of(path, 2);
    struct pep_decision d = {.outcome = PEP_FORWARD,
                             .verdict = POLICY_PERMIT,
                             .reason = "permitted",
                             .rule = {"policy.yaml", 12},
                             .authority = "home-as",
                             .grant = 99,
                             .policy_hash = "0123456789abcdef"};
    struct buf b = buf_on(text, RECORD);
    assert_true(audit_begin(&start, &r, &d, &b) && audit_end(0x45, 731, &b));
    assert_string_equal(
        ended(&b), "{\"time\":\"2026-11-22T02:00:00.000042Z\",\"association\":7,"
                   "\"peer\":\"192.0.2.1:5000\",\"subject\":\"thermostat-7\",\"method\":\"GET\","
                   "\"path\":\"/lamp/state\",\"verdict\":\"permit\",\"reason\":\"permitted\","
                   "\"rule\":\"policy.yaml:12\",\"grant\":99,\"authority\":\"home-as\","
                   "\"policy\":\"0123456789abcdef\",\"device\":\"lamp\",\"code\":\"2.05\","
                   "\"us\":731}\n");

    /* by a token of oneM2M */
    d.token_id = BYTES_LIT("t1@house.example");
    d.holder = BYTES_LIT("//house.example/mn-cse/Cx");
    d.permission = 2;
    d.role = "guest";
    b = buf_on(text, RECORD);
    assert_true(audit_begin(&start, &r, &d, &b) && audit_end(0x45, 731, &b));
    assert_non_null(strstr(ended(&b), "\"grant\":99,\"token\":\"t1@house.example\","
                                      "\"holder\":\"//house.example/mn-cse/Cx\","
                                      "\"permission\":2,\"role\":\"guest\","
                                      "\"authority\":\"home-as\""));
    d.token_id = d.holder = BYTES_NONE;
    d.role = NULL;

    /* a stranger: what is not known is left out */
    struct audit_start stranger = {.wall_s = 0, .peer = "[::1]:1"};
    struct pep_decision no = {.reason = "no-grant", .missing = "hours"};
    r.query[0] = BYTES_LIT("password=1");
    r.n_query = 1;
    r.originator = BYTES_LIT("Cae");
    b = buf_on(text, RECORD);
    assert_true(audit_begin(&stranger, &r, &no, &b) && audit_end(0x81, 0, &b));
    assert_string_equal(ended(&b),
                        "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"peer\":\"[::1]:1\","
                        "\"originator\":\"Cae\",\"method\":\"GET\",\"path\":\"/lamp/state\","
                        "\"verdict\":\"deny\",\"reason\":\"no-grant\",\"missing\":\"hours\","
                        "\"code\":\"4.01\",\"us\":0}\n");

    /* times: before the epoch, a leap day, the last that has a name and the next */
    static const struct {
        int64_t wall_s;
        const char *want;
    } times[] = {
        {-1, "{\"time\":\"1969-12-31T23:59:59.000042Z\""},
        {951868799, "{\"time\":\"2000-02-29T23:59:59.000042Z\""},
        {INT64_C(253402300799), "{\"time\":\"9999-12-31T23:59:59.000042Z\""},
        {INT64_C(253402300800), "{\"time\":\"1970-01-01T00:00:00.000042Z\""},
        {INT64_MIN, "{\"time\":\"1970-01-01T00:00:00.000042Z\""},
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct audit_start at = {.wall_s = times[i].wall_s, .wall_us = 42};
        b = buf_on(text, RECORD);
        assert_true(audit_begin(&at, &r, &no, &b) && audit_end(0x81, 0, &b));
        assert_memory_equal(ended(&b), times[i].want, strlen(times[i].want));
    }

    /* of a CSE: what is asked for, and what the denial says */
    static const struct {
        int type;
        const char *want;
    } types[] = {
        {3, "\"originator\":\"Cae\",\"operation\":\"CREATE\",\"type\":\"container\",\"method\""},
        {60, "\"operation\":\"CREATE\",\"type\":60,\"method\""},
        {-1, "\"operation\":\"CREATE\",\"method\""},
    };
    no.rsc = 4106;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct m2m_request m = {.operation = M2M_CREATE, .type = types[i].type};
        r.m2m = &m;
        b = buf_on(text, RECORD);
        assert_true(audit_begin(&stranger, &r, &no, &b) && audit_end(0x83, 0, &b));
        assert_non_null(strstr(ended(&b), types[i].want));
        assert_non_null(strstr(text, "\"reason\":\"no-grant\",\"rsc\":4106,\"missing\""));
    }
    no.rsc = 0;
    r.m2m = NULL;

    /* from memory */
    b = buf_on(text, RECORD);
    assert_true(audit_begin(&stranger, &r, &no, &b));
    audit_put_source("cache", &b);
    assert_true(audit_end(0x45, 5, &b));
    assert_non_null(strstr(ended(&b), ",\"source\":\"cache\",\"code\":\"2.05\",\"us\":5}\n"));

    /* nobody was answered */
    b = buf_on(text, RECORD);
    assert_true(audit_begin(&stranger, &r, &no, &b) && audit_end(0, 5, &b));
    assert_non_null(strstr(ended(&b), ",\"code\":null,\"us\":5}\n"));

    /* mode: report lets a denial pass, and says so */
    no.outcome = PEP_FORWARD;
    b = buf_on(text, RECORD);
    assert_true(audit_begin(&stranger, &r, &no, &b));
    assert_non_null(strstr(ended(&b), "\"verdict\":\"deny\",\"reported\":true"));
}

static void paths(void **state)
{
    (void)state;
    static uint8_t big[300];
    memset(big, 'a', sizeof big);
    struct {
        const char *name;
        struct bytes seg[3];
        size_t n;
        const char *want;
    } rows[] = {
        {"root", {BYTES_NONE}, 0, "/"},
        {"plain", {BYTES_LIT("a"), BYTES_LIT("b")}, 2, "/a/b"},
        {"empty in the middle", {BYTES_LIT("a"), BYTES_NONE, BYTES_LIT("b")}, 3, "/a/%/b"},
        {"one empty", {BYTES_NONE}, 1, "/%"},
        {"a slash inside", {BYTES_LIT("a/b")}, 1, "/a%2Fb"},
        {"a percent inside", {BYTES_LIT("a%2Fb")}, 1, "/a%252Fb"},
        {"quote and backslash", {BYTES_LIT("\"\\")}, 1, "/%22%5C"},
        {"control, space, DEL", {BYTES_LIT("\n \x7f")}, 1, "/%0A%20%7F"},
        {"a NUL", {BYTES_LIT("\0")}, 1, "/%00"},
        {"dots", {BYTES_LIT(".."), BYTES_LIT(".")}, 2, "/../."},
        {"UTF-8",
         {BYTES_LIT("t\xc3\xbcr\xe2\x82\xac\xf0\x9f\x9a\xaa")},
         1,
         "/t\xc3\xbcr\xe2\x82\xac\xf0\x9f\x9a\xaa"},
        {"not UTF-8", {BYTES_LIT("\xc3(\xff")}, 1, "/%C3(%FF"},
        {"overlong, surrogate, beyond",
         {BYTES_LIT("\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80")},
         1,
         "/%C0%AF%ED%A0%80%F4%90%80%80"},
        {"cut character", {BYTES_LIT("a\xe2\x82")}, 1, "/a%E2%82"},
    };
    struct pep_decision d = {.reason = "x"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct request r = request_of(rows[i].seg, rows[i].n);
        struct buf b = buf_on(text, RECORD);
        char want[400];
        assert_true(audit_begin(&start, &r, &d, &b));
        (void)snprintf(want, sizeof want, ",\"path\":\"%s\",", rows[i].want);
        if (!strstr(ended(&b), want))
            fail_msg("%s: got %s, wanted %s", rows[i].name, text, want);
    }
    /* cut, with a mark, within AUDIT_PATH_MAX */
    struct bytes longs[32];
    for (size_t len = 0; len <= 300; len += 7) {
        for (size_t i = 0; i < 32; i++)
            longs[i] = bytes_of(big, len);
        struct request r = request_of(longs, 32);
        struct buf b = buf_on(text, RECORD);
        assert_true(audit_begin(&start, &r, &d, &b));
        char *from = strstr(ended(&b), "\"path\":\"") + 8, *to = strchr(from, '"');
        assert_true((size_t)(to - from) <= AUDIT_PATH_MAX);
        if (32 * (len + 1) > AUDIT_PATH_MAX)
            assert_memory_equal(to - 3, "\xe2\x80\xa6", 3);
    }
}

/* Everything at its longest and ugliest still fits a record. */
static void worst_case(void **state)
{
    (void)state;
    static char ugly[400], wide[400];
    static const uint8_t fills[] = {1, 0xff, '"', 'x', '%'};
    for (size_t f = 0; f < sizeof fills; f++) {
        memset(ugly, fills[f], sizeof ugly - 1);
        memset(wide, fills[f], sizeof wide - 1);
        struct audit_start s = {.wall_s = INT64_MAX,
                                .wall_us = UINT32_MAX,
                                .association = UINT64_MAX,
                                .peer = ugly,
                                .subject = ugly,
                                .device = ugly};
        struct m2m_request m = {.operation = M2M_DISCOVERY, .type = 34}; /* the longest words */
        struct request r = {.method = 7, .n_path = 32, .originator = bytes_str(ugly), .m2m = &m};
        for (size_t i = 0; i < 32; i++)
            r.path[i] = bytes_str(wide);
        struct pep_decision d = {.outcome = PEP_FORWARD,
                                 .reason = ugly,
                                 .rsc = UINT16_MAX,
                                 .missing = ugly,
                                 .rule = {ugly, UINT32_MAX},
                                 .authority = ugly,
                                 .grant = UINT64_MAX,
                                 .decided_by = ugly,
                                 .token_id = bytes_str(ugly),
                                 .holder = bytes_str(ugly),
                                 .permission = INT32_MAX,
                                 .role = ugly,
                                 .policy_hash = "0123456789abcdef"};
        struct buf b = buf_on(text, RECORD);
        assert_true(audit_begin(&s, &r, &d, &b));
        audit_put_source("validated", &b);
        assert_true(audit_end(0xff, UINT64_MAX, &b));
        struct pep_taken t = {.err = PEP_NO_EXPIRY,
                              .grant = UINT64_MAX,
                              .authority = ugly,
                              .token_id = bytes_str(ugly),
                              .n_unknown = SIZE_MAX,
                              .n_beyond = SIZE_MAX,
                              .replaced = true};
        memset(t.subject, fills[f], sizeof t.subject - 1);
        b = buf_on(text, RECORD);
        assert_true(audit_begin_token(&s, PEP_VIA_IDENTITY, &t, ugly, &b));
        assert_true(audit_end(0xff, UINT64_MAX, &b));
    }
    /* and what does not fit is not used */
    struct buf small = buf_on(text, 20);
    struct request r = {.method = 1};
    struct pep_decision d = {.reason = "x"};
    assert_false(audit_begin(&start, &r, &d, &small));
}

static void texts(void **state)
{
    (void)state;
    struct {
        const char *name, *in, *want;
    } rows[] = {
        {"plain", "alice@home-as", "alice@home-as"},
        {"quotes", "a\"b\\c", "a\\\"b\\\\c"},
        {"control", "a\n\x7f", "a\\u000a\\u007f"},
        {"not UTF-8",
         "a\xff"
         "b",
         "a\\ufffdb"},
        {"longer than its cut",
         "0123456789012345678901234567890123456789012345678901234567890123456789",
         "0123456789012345678901234567890123456789012345678901234567890\xe2\x80\xa6"},
        {"an escape over the cut",
         "012345678901234567890123456789012345678901234567890123456789a\n",
         "012345678901234567890123456789012345678901234567890123456789a\xe2\x80\xa6"},
    };
    struct pep_decision d = {.reason = "x"};
    struct request r = {.method = 9};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct audit_start s = {.subject = rows[i].in};
        struct buf b = buf_on(text, RECORD);
        char want[300];
        assert_true(audit_begin(&s, &r, &d, &b));
        (void)snprintf(want, sizeof want, "\"subject\":\"%s\",\"method\":\"?\"", rows[i].want);
        if (!strstr(ended(&b), want))
            fail_msg("%s: got %s, wanted %s", rows[i].name, text, want);
    }
}

/* Each byte at each place of texts of many lengths, as it would be alone. */
static void every_byte(void **state)
{
    (void)state;
    struct pep_decision d = {.reason = "x"};
    for (unsigned c = 1; c < 256; c++)
        for (size_t n = 1; n <= 19; n++)
            for (size_t at = 0; at < n; at++) {
                char in[20] = {0}, subject[64], path[64], want[200];
                memset(in, 'x', n);
                in[at] = (char)c;
                bool control = c < 0x20 || c == 0x7f;
                (void)snprintf(subject, sizeof subject,
                               c >= 0x80               ? "\\ufffd"
                               : control               ? "\\u%04x"
                               : c == '"' || c == '\\' ? "\\%c"
                                                       : "%c",
                               c);
                (void)snprintf(path, sizeof path,
                               control || c >= 0x80 || strchr(" \"%/\\", (int)c) ? "%%%02X" : "%c",
                               c);
                (void)snprintf(want, sizeof want,
                               "\"subject\":\"%.*s%s%.*s\",\"method\":\"?\","
                               "\"path\":\"/%.*s%s%.*s\"",
                               (int)at, "xxxxxxxxxxxxxxxxxxx", subject, (int)(n - at - 1),
                               "xxxxxxxxxxxxxxxxxxx", (int)at, "xxxxxxxxxxxxxxxxxxx", path,
                               (int)(n - at - 1), "xxxxxxxxxxxxxxxxxxx");
                struct audit_start s = {.subject = in};
                struct request r = {.method = 9, .path = {bytes_of(in, n)}, .n_path = 1};
                struct buf b = buf_on(text, RECORD);
                assert_true(audit_begin(&s, &r, &d, &b));
                if (!strstr(ended(&b), want))
                    fail_msg("%02x at %zu of %zu: got %s, wanted %s", c, at, n, text, want);
            }
}

/* With a memo a record is what it is without. */
static void memo(void **state)
{
    (void)state;
    static struct audit_memo kept;
    static char authority[2][16] = {"home-as", "town-as"}, file[2][16] = {"policy.yaml", "b.yaml"};
    const char *reasons[] = {"permitted", "no-grant"};
    struct bytes path[] = {BYTES_LIT("lamp"), BYTES_LIT(""),
                           BYTES_LIT("a%b"),  BYTES_LIT("ca"),
                           BYTES_LIT("bca"),  BYTES_LIT("0123456789012345678901234567890123456789"),
                           BYTES_LIT("x"),    BYTES_LIT("y")};
    uint64_t load = 1;
    unsigned n = 1;
    for (unsigned i = 0; i < 3000; i++) {
        char plain[RECORD + 1];
        n = n * 1103515245 + 12345;
        unsigned v = n >> 8;
        if (v % 50 == 0) { /* another policy, its texts at the same places */
            load++;
            authority[v / 50 % 2][0] = (char)('a' + v % 26);
            file[v / 50 % 2][0] = (char)('a' + v % 26);
        }
        struct audit_start s = start;
        s.wall_s += i / 10 % 3 - i % 2;
        s.wall_us = n % 1000000;
        struct request r = request_of(path + v / 5 % 3, v / 23 % 4 ? v / 29 % 2 : v / 31 % 6);
        r.method = (uint8_t)(1 + v / 37 % 2);
        r.originator = v % 13 ? BYTES_NONE : BYTES_LIT("Cae");
        s.observation = v % 17 ? NULL : "notified";
        struct pep_decision d = {.outcome = PEP_FORWARD,
                                 .verdict = v % 7 ? POLICY_PERMIT : POLICY_DENY,
                                 .reason = reasons[v / 7 % 2],
                                 .missing = v % 11 == 0 ? "hours" : NULL,
                                 .rule = {v % 5 ? file[v / 3 % 2] : NULL, v / 13 % 20},
                                 .authority = v % 3 ? authority[v / 17 % 2] : NULL,
                                 .grant = v / 19 % 4,
                                 .policy_hash = "0123456789abcdef",
                                 .load = load};
        struct buf b = buf_on(plain, RECORD);
        assert_true(audit_begin(&s, &r, &d, &b));
        plain[b.n] = 0;
        s.memo = &kept;
        b = buf_on(text, RECORD);
        assert_true(audit_begin(&s, &r, &d, &b));
        assert_string_equal(ended(&b), plain);
    }
}

static void numbers(void **state)
{
    (void)state;
    for (size_t width = 1; width <= 20; width++)
        for (uint64_t n = 0, power = 1; n < 60; n++, power = n % 3 ? power : power * 10) {
            char want[32], got[32] = "";
            struct buf b = buf_on(got, sizeof got - 1);
            uint64_t near = power - 1 + n % 3;
            buf_put_decimal(&b, near, width);
            (void)snprintf(want, sizeof want, "%0*llu", (int)width, (unsigned long long)near);
            assert_string_equal(got, want);
            b = buf_on(got, strlen(want) - 1);
            buf_put_decimal(&b, near, width);
            assert_true(b.full);
        }
    uint64_t v = 0;
    for (unsigned i = 0; i < 4000; i++) {
        char want[64];
        struct buf b = buf_on(text, RECORD);
        assert_true(audit_end(0x45, v, &b));
        (void)snprintf(want, sizeof want, ",\"code\":\"2.05\",\"us\":%llu}\n",
                       (unsigned long long)v);
        assert_string_equal(ended(&b), want);
        v = i < 2000 ? v + 1 : i == 2000 ? UINT64_MAX : v / 2 + i % 7;
    }
}

static void tokens(void **state)
{
    (void)state;
    struct pep_taken t = {.err = PEP_OK, .grant = 5, .authority = "home-as", .replaced = true};
    strcpy(t.subject, "alice@home-as");
    struct buf b = buf_on(text, RECORD);
    assert_true(audit_begin_token(&start, PEP_VIA_AUTHZ_INFO, &t, "ab", &b));
    assert_true(audit_end(0x41, 9, &b));
    assert_string_equal(
        ended(&b),
        "{\"time\":\"2026-11-22T02:00:00.000042Z\",\"association\":7,\"peer\":\"192.0.2.1:5000\","
        "\"subject\":\"alice@home-as\",\"token\":\"authz-info\",\"verdict\":\"taken\","
        "\"reason\":\"ok\",\"grant\":5,\"authority\":\"home-as\",\"replaced\":true,"
        "\"policy\":\"ab\",\"code\":\"2.01\",\"us\":9}\n");
    struct pep_taken no = {.err = PEP_SCOPE, .n_unknown = 2, .n_beyond = 1};
    b = buf_on(text, RECORD);
    assert_true(audit_begin_token(&start, PEP_VIA_IDENTITY, &no, NULL, &b));
    assert_non_null(strstr(ended(&b), "\"subject\":\"thermostat-7\",\"token\":\"identity\","
                                      "\"verdict\":\"refused\",\"reason\":\"unknown-scope\","
                                      "\"unknown\":2,\"beyond\":1"));
}

static void events(void **state)
{
    (void)state;
    static const uint8_t hash[33] = {1, 0xab};
    struct audit_event e = {.wall_s = start.wall_s,
                            .wall_us = start.wall_us,
                            .event = "revoked",
                            .by = "operator",
                            .kind = "subject",
                            .value = BYTES_LIT("te\"d"),
                            .is_text = true,
                            .authority = BYTES_LIT("home-as"),
                            .ended = 2,
                            .not_kept = true};
    struct buf b = buf_on(text, RECORD);
    assert_true(audit_event(&e, "ab", &b));
    assert_string_equal(ended(&b),
                        "{\"time\":\"2026-11-22T02:00:00.000042Z\",\"event\":\"revoked\","
                        "\"by\":\"operator\",\"kind\":\"subject\",\"value\":\"te\\\"d\","
                        "\"authority\":\"home-as\",\"ended\":2,\"kept\":false,"
                        "\"policy\":\"ab\"}\n");
    e = (struct audit_event){
        .event = "revoked", .by = "operator", .kind = "token-hash", .value = {hash, sizeof hash}};
    b = buf_on(text, RECORD);
    assert_true(audit_event(&e, NULL, &b));
    assert_non_null(strstr(ended(&b), "\"value\":\"01ab0000"));
    /* the longest still fits a record */
    static uint8_t large[255];
    e.value = bytes_of(large, sizeof large);
    e.is_text = true;
    e.authority = e.value;
    b = buf_on(text, RECORD);
    assert_true(audit_event(&e, "0123456789abcdef", &b));
    assert_true(b.n < 512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_records), cmocka_unit_test(paths),      cmocka_unit_test(worst_case),
        cmocka_unit_test(texts),         cmocka_unit_test(every_byte), cmocka_unit_test(numbers),
        cmocka_unit_test(memo),          cmocka_unit_test(tokens),     cmocka_unit_test(events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
