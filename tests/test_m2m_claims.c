/* oneM2M's times and claims: rows that are read, and their mutations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../pep/m2m_claims.h"
#include "../pep/m2m_time.h"

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool up, good;
        int64_t at;
    } rows[] = {
        {"20261122T093000", false, true, 1795339800},
        {"20261122T093000", true, true, 1795339800},
        {"20261122T093000,5", false, true, 1795339800},
        {"20261122T093000,5", true, true, 1795339801},
        {"20261122T093000,000000", true, true, 1795339800},
        {"20261122T093000,0000001", true, false, 0},
        {"20261122T093000,", true, false, 0},
        {"20261122T093000.5", true, false, 0},
        {"20261122T093000Z", true, false, 0},
        {"20261122 093000", true, false, 0},
        {"20261122t093000", true, false, 0},
        {"20261122T09300", true, false, 0},
        {"2026-11-22T09:30:00", true, false, 0},
        {"20261131T093000", true, false, 0},
        {"20260229T093000", true, false, 0},
        {"20240229T000000", false, true, 1709164800},
        {"20261122T240000", true, false, 0},
        {"20261122T236000", true, false, 0},
        {"20261122T235960", true, false, 0},
        {"19691231T235959", false, false, 0},
        {"19700101T000000", false, true, 0},
        {"99991231T235959", false, true, INT64_C(253402300799)},
        {"", false, false, 0},
        {"2026112XT093000", false, false, 0},
        {"+0261122T093000", false, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t at = 0;
        bool good = m2m_timestamp(bytes_str(rows[i].text), rows[i].up, &at);
        if (good != rows[i].good || (good && at != rows[i].at))
            fail_msg("'%s': %d %lld", rows[i].text, good, (long long)at);
    }
    int64_t at;
    assert_true(m2m_abs_or_rel(BYTES_LIT("1500"), 100, &at));
    assert_int_equal(at, 101);
    assert_true(m2m_abs_or_rel(BYTES_LIT("20261122T093000"), 100, &at));
    assert_int_equal(at, 1795339800);
    assert_false(m2m_abs_or_rel(BYTES_LIT("1234567890123"), 100, &at));
    assert_false(m2m_abs_or_rel(BYTES_LIT("-1"), 100, &at));
    assert_false(m2m_abs_or_rel(BYTES_LIT(""), 100, &at));
}

#define HEAD                                                                                       \
    "\"jti\":\"t1@as.example\",\"iss\":\"//as.example/as\",\"azp\":\"//sp.example/cse1/Cphone\","
#define PERMIT                                                                                     \
    "\"tkps\":{\"pm\":[{\"ris\":[\"cb/"                                                            \
    "door\"],\"pv\":{\"acr\":[{\"acor\":[\"all\"],\"acop\":2}]}}]}"

static enum pep_err read_one(const char *text, struct claims *c, struct m2m_claims *m)
{
    static uint8_t room[2048];
    struct buf plain = buf_on(room, sizeof room);
    struct jwt_source from = {.plain = &plain};
    struct json_node *doc = json_doc_read(bytes_str(text));
    if (!doc)
        fail_msg("no JSON: %s", text);
    enum pep_err e = m2m_claims_read(doc, &from, c, m);
    m->permissions = NULL;
    json_doc_free(doc);
    return e;
}

static void claims(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        enum pep_err err;
    } rows[] = {
        {"as a JWT", "{" HEAD "\"exp\":1795339800," PERMIT "}", PEP_OK},
        {"raw names",
         "{\"tkid\":\"t1\",\"tkis\":\"as\",\"tkhd\":\"Cphone\",\"tknb\":\"20261122T000000\","
         "\"tkna\":\"20261123T000000\",\"tkau\":\"/cse1\",\"vr\":\"1\"," PERMIT "}",
         PEP_OK},
        {"a name twice", "{" HEAD "\"tkid\":\"t1@as.example\",\"exp\":1," PERMIT "}", PEP_CLAIMS},
        {"a time twice", "{" HEAD "\"exp\":1,\"tkna\":\"20261123T000000\"," PERMIT "}", PEP_CLAIMS},
        {"no end", "{" HEAD PERMIT "}", PEP_CLAIMS},
        {"no issuer", "{\"jti\":\"t\",\"azp\":\"C\",\"exp\":1," PERMIT "}", PEP_CLAIMS},
        {"no holder", "{\"jti\":\"t\",\"iss\":\"i\",\"exp\":1," PERMIT "}", PEP_CLAIMS},
        {"no ID", "{\"iss\":\"i\",\"azp\":\"C\",\"exp\":1," PERMIT "}", PEP_CLAIMS},
        {"empty holder", "{\"jti\":\"t\",\"iss\":\"i\",\"azp\":\"\",\"exp\":1," PERMIT "}",
         PEP_CLAIMS},
        {"end as another text", "{" HEAD "\"exp\":\"tomorrow\"," PERMIT "}", PEP_CLAIMS},
        {"end before time", "{" HEAD "\"exp\":-1," PERMIT "}", PEP_CLAIMS},
        {"end past time", "{" HEAD "\"exp\":1795339800000," PERMIT "}", PEP_CLAIMS},
        {"end as a fraction", "{" HEAD "\"exp\":1795339800.5," PERMIT "}", PEP_OK},
        {"audiences", "{" HEAD "\"exp\":1,\"aud\":[\"/cse1\",\"//sp.example/*\"]," PERMIT "}",
         PEP_OK},
        {"no audiences", "{" HEAD "\"exp\":1,\"aud\":[]," PERMIT "}", PEP_OK},
        {"an empty one", "{" HEAD "\"exp\":1,\"aud\":[\"\"]," PERMIT "}", PEP_CLAIMS},
        {"two in one text", "{" HEAD "\"exp\":1,\"aud\":\"/a /b\"," PERMIT "}", PEP_CLAIMS},
        {"a number", "{" HEAD "\"exp\":1,\"aud\":7," PERMIT "}", PEP_CLAIMS},
        {"nine audiences",
         "{" HEAD
         "\"exp\":1,\"aud\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]," PERMIT "}",
         PEP_CLAIMS},
        {"no permissions", "{" HEAD "\"exp\":1}", PEP_SCOPE},
        {"an empty list", "{" HEAD "\"exp\":1,\"tkps\":{\"pm\":[]}}", PEP_SCOPE},
        {"no list", "{" HEAD "\"exp\":1,\"tkps\":[]}", PEP_SCOPE},
        {"beside the list", "{" HEAD "\"exp\":1,\"tkps\":{\"pm\":[{\"rids\":[\"r\"]}],\"x\":1}}",
         PEP_SCOPE},
        {"roles", "{" HEAD "\"exp\":1,\"tkps\":{\"pm\":[{\"rids\":[\"r@as\"]}]}}", PEP_OK},
        {"an empty role", "{" HEAD "\"exp\":1,\"tkps\":{\"pm\":[{\"rids\":[\"\"]}]}}", PEP_SCOPE},
        {"roles as text", "{" HEAD "\"exp\":1,\"tkps\":{\"pm\":[{\"rids\":\"r@as\"}]}}", PEP_SCOPE},
        {"resources alone", "{" HEAD "\"exp\":1,\"tkps\":{\"pm\":[{\"ris\":[\"cb\"]}]}}",
         PEP_SCOPE},
        {"an empty one", "{" HEAD "\"exp\":1,\"tkps\":{\"pm\":[{}]}}", PEP_SCOPE},
        {"what narrows unknown",
         "{" HEAD "\"exp\":1,\"tkps\":{\"pm\":[{\"rids\":[\"r\"],\"until\":7}]}}", PEP_SCOPE},
        {"privileges without rules", "{" HEAD "\"exp\":1,\"tkps\":{\"pm\":[{\"pv\":{}}]}}",
         PEP_SCOPE},
        {"a list", "[]", PEP_CLAIMS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct claims c;
        struct m2m_claims m;
        enum pep_err e = read_one(rows[i].text, &c, &m);
        if (e != rows[i].err)
            fail_msg("%s: %s", rows[i].name, pep_err_str(e));
    }
}

static void values(void **state)
{
    (void)state;
    struct claims c;
    struct m2m_claims m;
    assert_int_equal(read_one("{\"tkid\":\"t1\",\"tkis\":\"as\",\"tkhd\":\"Cphone\","
                              "\"tknb\":\"20261122T093000,5\",\"tkna\":\"20261122T093000,5\","
                              "\"tkau\":\"/cse1\"," PERMIT "}",
                              &c, &m),
                     PEP_OK);
    assert_true(bytes_equal(c.cti, BYTES_LIT("t1")));
    assert_true(bytes_equal(c.iss, BYTES_LIT("as")));
    assert_true(bytes_equal(m.holder, BYTES_LIT("Cphone")));
    assert_int_equal(c.n_aud, 1);
    assert_true(bytes_equal(c.aud[0], BYTES_LIT("/cse1")));
    assert_true(c.has_nbf && c.has_exp && c.has_iss);
    assert_int_equal(c.nbf_s, 1795339801);
    assert_int_equal(c.exp_s, 1795339800);
}

static void permissions(void **state)
{
    (void)state;
    struct json_node *doc = json_doc_read(
        BYTES_LIT("[{\"ris\":[\"cb/door\",\"cb/gym/*\"],\"rids\":[\"a\",\"b\"]},{\"pv\":{\"acr\":"
                  "[{\"acor\":[\"all\"],\"acop\":2}]}}]"));
    const struct json_node *p = json_node_at(doc, 0), *any = json_node_at(doc, 1);
    struct bytes role;
    assert_true(m2m_permission_covers(p, BYTES_LIT("cb/door")));
    assert_false(m2m_permission_covers(p, BYTES_LIT("cb/door/la")));
    assert_false(m2m_permission_covers(p, BYTES_LIT("cb/doo")));
    assert_true(m2m_permission_covers(p, BYTES_LIT("cb/gym/bike")));
    assert_false(m2m_permission_covers(p, BYTES_LIT("cb/gym/bike/1")));
    assert_true(m2m_permission_covers(any, BYTES_LIT("cb/door")));
    assert_true(m2m_permission_role(p, 1, &role));
    assert_true(bytes_equal(role, BYTES_LIT("b")));
    assert_false(m2m_permission_role(p, 2, &role));
    assert_false(m2m_permission_role(any, 0, &role));
    assert_null(m2m_permission_rules(p));
    assert_int_equal(json_node_count(m2m_permission_rules(any)), 1);
    json_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),
        cmocka_unit_test(claims),
        cmocka_unit_test(values),
        cmocka_unit_test(permissions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
