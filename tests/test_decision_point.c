/* A remote decision point: how its word goes together with the policy's, what it
 * is asked, and which answers say something. Each that says nothing is one
 * mutation of one that does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../pep/decision_point.h"

#define N(a) (sizeof(a) / sizeof *(a))

/* ---- the truth table of decision_point.h ---- */

static const struct {
    const char *name;
    enum policy_combine combine;
    enum local_says local;
    bool asked;
    enum point_says says;
    enum local_says want;
} truth[] = {
    {"deny-overrides, denies", POLICY_DENY_OVERRIDES, LOCAL_DENIES, false, POINT_PERMITS,
     LOCAL_DENIES},
    {"deny-overrides, silent", POLICY_DENY_OVERRIDES, LOCAL_SILENT, false, POINT_PERMITS,
     LOCAL_DENIES},
    {"deny-overrides, PERMIT", POLICY_DENY_OVERRIDES, LOCAL_PERMITS, true, POINT_PERMITS,
     LOCAL_PERMITS},
    {"deny-overrides, DENY", POLICY_DENY_OVERRIDES, LOCAL_PERMITS, true, POINT_DENIES,
     LOCAL_DENIES},
    {"deny-overrides, NOT_APPLICABLE", POLICY_DENY_OVERRIDES, LOCAL_PERMITS, true,
     POINT_NOT_APPLICABLE, LOCAL_PERMITS},
    {"deny-overrides, away", POLICY_DENY_OVERRIDES, LOCAL_PERMITS, true, POINT_UNHEARD,
     LOCAL_DENIES},
    {"local-first, denies", POLICY_LOCAL_FIRST, LOCAL_DENIES, false, POINT_PERMITS, LOCAL_DENIES},
    {"local-first, permits", POLICY_LOCAL_FIRST, LOCAL_PERMITS, false, POINT_DENIES, LOCAL_DENIES},
    {"local-first, PERMIT", POLICY_LOCAL_FIRST, LOCAL_SILENT, true, POINT_PERMITS, LOCAL_PERMITS},
    {"local-first, DENY", POLICY_LOCAL_FIRST, LOCAL_SILENT, true, POINT_DENIES, LOCAL_DENIES},
    {"local-first, NOT_APPLICABLE", POLICY_LOCAL_FIRST, LOCAL_SILENT, true, POINT_NOT_APPLICABLE,
     LOCAL_SILENT},
    {"local-first, away", POLICY_LOCAL_FIRST, LOCAL_SILENT, true, POINT_UNHEARD, LOCAL_DENIES},
};

static void combined(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(truth); i++) {
        if (point_is_asked(truth[i].combine, truth[i].local) != truth[i].asked)
            fail_msg("%s: %sasked", truth[i].name, truth[i].asked ? "not " : "");
        enum local_says got = point_combine(truth[i].combine, truth[i].local, truth[i].says);
        if (got != truth[i].want)
            fail_msg("%s: %d, wanted %d", truth[i].name, got, truth[i].want);
    }
    /* Nothing that a point says, and nothing at all, makes more than PERMIT of
     * what was not to be asked. */
    for (int local = LOCAL_DENIES; local <= LOCAL_PERMITS; local++)
        for (int says = POINT_UNHEARD; says <= POINT_PERMITS; says++)
            for (int c = POLICY_DENY_OVERRIDES; c <= POLICY_LOCAL_FIRST; c++)
                if (point_combine((enum policy_combine)c, (enum local_says)local,
                                  (enum point_says)says) == LOCAL_PERMITS)
                    assert_true(local == LOCAL_PERMITS ||
                                (local == LOCAL_SILENT && says == POINT_PERMITS));
}

/* ---- questions ---- */

static struct bytes attributes(const struct m2m_ask *a, uint8_t *room, size_t n)
{
    struct buf b = buf_on(room, n);
    point_write(a, &b);
    return buf_bytes(&b);
}

static void asked(void **state)
{
    const struct bytes roles[] = {BYTES_LIT("a@x"), BYTES_LIT("b\"@x")}, tids[] = {BYTES_LIT("t1")};
    struct m2m_ask a = {.from = BYTES_LIT("Cann"),
                        .to = BYTES_LIT("cb/room\n"),
                        .operation = M2M_CREATE,
                        .type = 3,
                        .roles = roles,
                        .n_roles = 2,
                        .tids = tids,
                        .n_tids = 1,
                        .peer = {.family = 6, .addr = {0x20, 1, 0xd, 0xb8, [15] = 1}}};
    uint8_t room[1024], text[1024];
    struct buf b = buf_on(text, sizeof text);
    (void)state;
    point_question(attributes(&a, room, sizeof room), 1795312800, &b);
    assert_true(bytes_equal(
        buf_bytes(&b),
        BYTES_LIT("{\"m2m:auds\":{\"to\":\"cb/room\\u000a\",\"fr\":\"Cann\",\"op\":1,\"rrt\":3,"
                  "\"rids\":[\"a@x\",\"b\\\"@x\"],\"tids\":[\"t1\"],\"oip\":{\"ip6\":"
                  "\"2001:db8::1\"},\"rtm\":\"20261122T020000\"}}")));
    /* A discovery is a RETRIEVE that says so; without more, no more is said. */
    a = (struct m2m_ask){.to = BYTES_LIT("cb"), .operation = M2M_DISCOVERY, .type = -1};
    assert_true(bytes_equal(attributes(&a, room, sizeof room),
                            BYTES_LIT("\"to\":\"cb\",\"fr\":\"\",\"op\":2,\"fu\":{\"fu\":1}")));
    /* What is not text cannot be asked, nor what has no room. */
    a.to = BYTES_LIT("c\xff");
    assert_int_equal(attributes(&a, room, sizeof room).n, 0);
    a.to = BYTES_LIT("cb");
    assert_int_equal(attributes(&a, room, 20).n, 0);
}

/* ---- answers ---- */

#define AUDS(x) "{\"m2m:auds\":{" x "}}"

static const struct {
    const char *name;
    struct pep_reply r;
    const char *body;
    enum point_says want;
} answers[] = {
    {"permit", {0}, AUDS("\"dec\":1,\"sus\":1"), POINT_PERMITS},
    {"deny", {0}, AUDS("\"dec\":2,\"sus\":1"), POINT_DENIES},
    {"not applicable", {0}, AUDS("\"sus\":2"), POINT_NOT_APPLICABLE},
    {"a decision alone", {0}, AUDS("\"dec\":1"), POINT_PERMITS},
    {"what else a resource has",
     {0},
     AUDS("\"ri\":\"x\",\"ty\":35,\"et\":\"20991231T000000\",\"dec\":1,\"sus\":1"),
     POINT_PERMITS},
    {"with RSC", {.rsc = 2004}, AUDS("\"dec\":1,\"sus\":1"), POINT_PERMITS},
    {"by 2.05", {.code = 0x45}, AUDS("\"dec\":1,\"sus\":1"), POINT_PERMITS},
    {"as a resource", {.content_format = 10001}, AUDS("\"dec\":1,\"sus\":1"), POINT_PERMITS},
    {"about what was asked",
     {0},
     AUDS("\"dec\":1,\"sus\":1,\"to\":\"cb/room\",\"fr\":\"Cann\",\"op\":2"),
     POINT_PERMITS},
    {"deny, and nothing applies", {0}, AUDS("\"dec\":2,\"sus\":2"), POINT_DENIES},
    /* none */
    {"away", {.away = true}, AUDS("\"dec\":1,\"sus\":1"), POINT_UNHEARD},
    {"4.03", {.code = 0x83}, AUDS("\"dec\":1,\"sus\":1"), POINT_UNHEARD},
    {"5.00", {.code = 0xa0}, AUDS("\"dec\":1,\"sus\":1"), POINT_UNHEARD},
    {"another RSC", {.rsc = 4103}, AUDS("\"dec\":1,\"sus\":1"), POINT_UNHEARD},
    {"no sound RSC", {.rsc = UINT16_MAX}, AUDS("\"dec\":1,\"sus\":1"), POINT_UNHEARD},
    {"as CBOR", {.content_format = 60}, AUDS("\"dec\":1,\"sus\":1"), POINT_UNHEARD},
    {"permit, and nothing applies", {0}, AUDS("\"dec\":1,\"sus\":2"), POINT_UNHEARD},
    {"permit, and an attribute is missing", {0}, AUDS("\"dec\":1,\"sus\":3"), POINT_UNHEARD},
    {"permit, and a syntax error", {0}, AUDS("\"dec\":1,\"sus\":4"), POINT_UNHEARD},
    {"permit, and an error", {0}, AUDS("\"dec\":1,\"sus\":5"), POINT_UNHEARD},
    {"a status that is none", {0}, AUDS("\"dec\":1,\"sus\":6"), POINT_UNHEARD},
    {"a status below", {0}, AUDS("\"dec\":1,\"sus\":0"), POINT_UNHEARD},
    {"an error alone", {0}, AUDS("\"sus\":5"), POINT_UNHEARD},
    {"OK, of what", {0}, AUDS("\"sus\":1"), POINT_UNHEARD},
    {"a decision that is none", {0}, AUDS("\"dec\":3,\"sus\":1"), POINT_UNHEARD},
    {"a decision as text", {0}, AUDS("\"dec\":\"1\",\"sus\":1"), POINT_UNHEARD},
    {"a decision as a fraction", {0}, AUDS("\"dec\":1.0,\"sus\":1"), POINT_UNHEARD},
    {"a decision as yes", {0}, AUDS("\"dec\":true,\"sus\":1"), POINT_UNHEARD},
    {"a status as text", {0}, AUDS("\"dec\":1,\"sus\":\"1\""), POINT_UNHEARD},
    {"no decision and NULL", {0}, AUDS("\"dec\":null,\"sus\":2"), POINT_UNHEARD},
    {"both decisions", {0}, AUDS("\"dec\":2,\"dec\":1,\"sus\":1"), POINT_UNHEARD},
    {"about another resource", {0}, AUDS("\"dec\":1,\"sus\":1,\"to\":\"cb\""), POINT_UNHEARD},
    {"about another originator", {0}, AUDS("\"dec\":1,\"sus\":1,\"fr\":\"Cbob\""), POINT_UNHEARD},
    {"about another operation", {0}, AUDS("\"dec\":1,\"sus\":1,\"op\":3"), POINT_UNHEARD},
    {"about another type", {0}, AUDS("\"dec\":1,\"sus\":1,\"rrt\":3"), POINT_UNHEARD},
    {"beside something", {0}, "{\"m2m:auds\":{\"dec\":1,\"sus\":1},\"m2m:cin\":{}}", POINT_UNHEARD},
    {"another resource", {0}, "{\"m2m:cin\":{\"dec\":1,\"sus\":1}}", POINT_UNHEARD},
    {"no resource", {0}, "{\"dec\":1,\"sus\":1}", POINT_UNHEARD},
    {"a list", {0}, "[{\"m2m:auds\":{\"dec\":1,\"sus\":1}}]", POINT_UNHEARD},
    {"a list inside", {0}, "{\"m2m:auds\":[{\"dec\":1,\"sus\":1}]}", POINT_UNHEARD},
    {"more behind it", {0}, AUDS("\"dec\":1,\"sus\":1") "x", POINT_UNHEARD},
    {"nothing", {0}, "", POINT_UNHEARD},
};

static void told(void **state)
{
    const struct m2m_ask a = {.from = BYTES_LIT("Cann"),
                              .to = BYTES_LIT("cb/room"),
                              .operation = M2M_RETRIEVE,
                              .type = -1};
    uint8_t room[256];
    struct bytes of = attributes(&a, room, sizeof room);
    (void)state;
    for (size_t i = 0; i < N(answers); i++) {
        struct pep_reply r = answers[i].r;
        const char *why = NULL;
        r.body = bytes_str(answers[i].body);
        r.code = r.code ? r.code : 0x44;
        r.content_format = r.content_format ? r.content_format : PEP_FORMAT_JSON;
        enum point_says got = point_read(&r, of, &why);
        if (got != answers[i].want)
            fail_msg("%s: %d, wanted %d", answers[i].name, got, answers[i].want);
        if (got == POINT_UNHEARD && !why)
            fail_msg("%s: no reason", answers[i].name);
        /* No answer that is cut short is one. */
        for (size_t n = 0; got != POINT_UNHEARD && n < r.body.n; n++) {
            struct pep_reply cut = r;
            cut.body.n = n;
            if (point_read(&cut, of, &why) != POINT_UNHEARD)
                fail_msg("%s: cut to %zu", answers[i].name, n);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(combined),
        cmocka_unit_test(asked),
        cmocka_unit_test(told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
