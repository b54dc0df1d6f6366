/* Dynamic authorization: what an authority is asked and a client is told, and
 * which answers give something. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../pep/dynamic.h"

#define N(a)    (sizeof(a) / sizeof *(a))
#define NOW     1795312800 /* 2026-11-22T02:00:00Z */
#define SECI(x) "{\"m2m:seci\":{" x "}}"
#define DRES(x) SECI("\"sit\":2,\"dres\":{" x "}")
#define RULE    "{\"acor\":[\"Cann\"],\"acop\":2}"
#define GP      "\"gp\":{\"acr\":[" RULE "]}"

static const struct {
    const char *name;
    struct pep_reply r;
    const char *body;
    bool said, rules;
    int64_t until_s;
    size_t tokens;
} rows[] = {
    {"rules, to a time",
     {0},
     DRES("\"dai\":{" GP ",\"pl\":\"20261122T030000\"}"),
     true,
     true,
     NOW + 3600,
     0},
    {"rules, for so long", {0}, DRES("\"dai\":{" GP ",\"pl\":\"60000\"}"), true, true, NOW + 60, 0},
    {"rules, for so long, as a number",
     {0},
     DRES("\"dai\":{" GP ",\"pl\":60999}"),
     true,
     true,
     NOW + 60,
     0},
    {"rules without an end", {0}, DRES("\"dai\":{" GP "}"), true, true, 0, 0},
    {"no rule", {0}, DRES("\"dai\":{\"gp\":{\"acr\":[]}}"), true, true, 0, 0},
    {"an end of nothing", {0}, DRES("\"dai\":{\"pl\":\"60000\"}"), true, false, NOW + 60, 0},
    {"tokens", {0}, DRES("\"tkns\":[\"a.b.c\",\"d.e.f\"]"), true, false, 0, 2},
    {"both", {.rsc = 2000}, DRES("\"tkns\":[\"a.b.c\"],\"dai\":{" GP "}"), true, true, 0, 1},
    {"as a notification",
     {.content_format = 10003},
     DRES("\"tkns\":[\"a.b.c\"]"),
     true,
     false,
     0,
     1},
    {"what it wants signed", {0}, DRES("\"asri\":true,\"tkns\":[\"a.b.c\"]"), true, false, 0, 1},
    {"nothing", {0}, SECI("\"sit\":2"), true, false, 0, 0},
    {"no content", {0}, "", true, false, 0, 0},
    /* none */
    {"away", {.away = true}, DRES("\"tkns\":[\"a.b.c\"]"), false, false, 0, 0},
    {"4.03", {.code = 0x83}, DRES("\"tkns\":[\"a.b.c\"]"), false, false, 0, 0},
    {"another RSC", {.rsc = 5000}, DRES("\"tkns\":[\"a.b.c\"]"), false, false, 0, 0},
    {"as CBOR", {.content_format = 60}, DRES("\"tkns\":[\"a.b.c\"]"), false, false, 0, 0},
    {"a request", {0}, SECI("\"sit\":1,\"dres\":{\"tkns\":[\"a.b.c\"]}"), false, false, 0, 0},
    {"no type", {0}, SECI("\"dres\":{\"tkns\":[\"a.b.c\"]}"), false, false, 0, 0},
    {"a type as text", {0}, SECI("\"sit\":\"2\",\"dres\":{}"), false, false, 0, 0},
    {"beside something", {0}, "{\"m2m:seci\":{\"sit\":2},\"m2m:sgn\":{}}", false, false, 0, 0},
    {"another content", {0}, "{\"m2m:sgn\":{\"sit\":2}}", false, false, 0, 0},
    {"an answer that is none", {0}, SECI("\"sit\":2,\"dres\":[]"), false, false, 0, 0},
    {"one token as text", {0}, DRES("\"tkns\":\"a.b.c\""), false, false, 0, 0},
    {"a token that is none", {0}, DRES("\"tkns\":[1]"), false, false, 0, 0},
    {"an empty token", {0}, DRES("\"tkns\":[\"\"]"), false, false, 0, 0},
    {"too many tokens", {0}, DRES("\"tkns\":[\"a\",\"b\",\"c\",\"d\",\"e\"]"), false, false, 0, 0},
    {"rules as a list", {0}, DRES("\"dai\":{\"gp\":[" RULE "]}"), false, false, 0, 0},
    {"rules beside something",
     {0},
     DRES("\"dai\":{\"gp\":{\"acr\":[],\"x\":1}}"),
     false,
     false,
     0,
     0},
    {"rules that are none", {0}, DRES("\"dai\":{\"gp\":{\"acr\":{}}}"), false, false, 0, 0},
    {"an end before it began", {0}, DRES("\"dai\":{" GP ",\"pl\":-1}"), false, false, 0, 0},
    {"an end that is none", {0}, DRES("\"dai\":{" GP ",\"pl\":\"soon\"}"), false, false, 0, 0},
    {"an end as yes", {0}, DRES("\"dai\":{" GP ",\"pl\":true}"), false, false, 0, 0},
    {"an end in a list", {0}, DRES("\"dai\":{" GP ",\"pl\":[\"60000\"]}"), false, false, 0, 0},
    {"a grant as text", {0}, DRES("\"dai\":\"all\""), false, false, 0, 0},
    {"the same twice", {0}, DRES("\"tkns\":[\"a\"],\"tkns\":[\"b\"]"), false, false, 0, 0},
};

static void answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(rows); i++) {
        struct pep_reply r = rows[i].r;
        struct dynamic_answer a;
        const char *why = NULL;
        r.body = bytes_str(rows[i].body);
        r.code = r.code ? r.code : 0x44;
        r.content_format = r.content_format ? r.content_format : PEP_FORMAT_JSON;
        bool said = dynamic_read(&r, NOW, &a, &why);
        if (said != rows[i].said || (a.acr != NULL) != rows[i].rules ||
            a.until_s != rows[i].until_s || a.n_tokens != rows[i].tokens)
            fail_msg("%s: said %d, rules %d, until %lld, %zu tokens (%s)", rows[i].name, said,
                     a.acr != NULL, (long long)a.until_s, a.n_tokens, why ? why : "");
        dynamic_clear(&a);
        for (size_t n = 1; n < r.body.n; n++) {
            struct pep_reply cut = r;
            cut.body.n = n;
            if (dynamic_read(&cut, NOW, &a, &why))
                fail_msg("%s: cut to %zu", rows[i].name, n);
        }
    }
}

static void written(void **state)
{
    const struct bytes roles[] = {BYTES_LIT("r@x")}, tids[] = {BYTES_LIT("t1"), BYTES_LIT("t2")};
    const struct m2m_ask a = {.from = BYTES_LIT("Cann"),
                              .to = BYTES_LIT("cb/x"),
                              .operation = M2M_UPDATE,
                              .type = -1,
                              .roles = roles,
                              .n_roles = 1,
                              .tids = tids,
                              .n_tids = 2,
                              .peer = {.family = 4, .addr = {192, 0, 2, 1}}};
    uint8_t elements[512], text[1024];
    struct buf e = buf_on(elements, sizeof elements), b = buf_on(text, sizeof text);
    (void)state;
    dynamic_write(&a, BYTES_LIT("w@x"), &e);
#define ELEMENTS                                                                                   \
    "\"or\":\"Cann\",\"op\":3,\"oip\":{\"ip4\":\"192.0.2.1\"},\"orid\":[\"r@x\"],\"trid\":"        \
    "\"cb/x\",\"rfa\":[\"w@x\"],\"tids\":[\"t1\",\"t2\"]"
    assert_true(bytes_equal(buf_bytes(&e), BYTES_LIT(ELEMENTS)));
    dynamic_question(buf_bytes(&e), NOW, 60, &b);
    assert_true(bytes_equal(
        buf_bytes(&b), BYTES_LIT("{\"m2m:seci\":{\"sit\":1,\"dreq\":{" ELEMENTS
                                 ",\"rts\":\"20261122T020000\",\"ppl\":\"20261122T020100\"}}}")));
    b.n = 0;
    dynamic_tell_begin(&b);
    dynamic_tell(&b, "coaps://a", BYTES_LIT("\"op\":3"));
    dynamic_tell(&b, "coaps://b", BYTES_LIT("\"op\":4"));
    dynamic_tell_end(&b);
    assert_true(bytes_equal(buf_bytes(&b),
                            BYTES_LIT("{\"dasi\":[{\"uri\":\"coaps://a\",\"dreq\":{\"op\":3}},"
                                      "{\"uri\":\"coaps://b\",\"dreq\":{\"op\":4}}]}")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
