/* oneM2M's access control rules: each row that permits has beside it the
 * mutations that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../pep/m2m_rules.h"

#define NOW 1795305600 /* Sunday 2026-11-22 00:00:00 UTC */

static const struct bytes roles[] = {BYTES_LIT("cleaner@hotel.example")};

static struct m2m_asked asker(enum m2m_operation operation, int type)
{
    return (struct m2m_asked){.operation = operation,
                              .type = type,
                              .originator = BYTES_LIT("/cse1/Cphone"),
                              .roles = roles,
                              .n_roles = 1,
                              .peer = {.family = 4, .addr = {192, 0, 2, 7}},
                              .now_s = NOW};
}

struct row {
    const char *name, *acr;
    enum m2m_operation operation;
    int type;
    bool permits;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct json_node *doc = json_doc_read(bytes_str(rows[i].acr));
        if (!doc)
            fail_msg("%s: the row is no JSON", rows[i].name);
        struct m2m_asked a = asker(rows[i].operation, rows[i].type);
        if (m2m_rules_permit(doc, &a) != rows[i].permits)
            fail_msg("%s: expected %s", rows[i].name, rows[i].permits ? "permit" : "deny");
        json_doc_free(doc);
    }
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof *(rows))

static void operations(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"retrieve", "[{\"acor\":[\"all\"],\"acop\":2}]", M2M_RETRIEVE, -1, true},
        {"another", "[{\"acor\":[\"all\"],\"acop\":2}]", M2M_CREATE, 3, false},
        {"discovery is not retrieve", "[{\"acor\":[\"all\"],\"acop\":2}]", M2M_DISCOVERY, -1,
         false},
        {"discovery", "[{\"acor\":[\"all\"],\"acop\":32}]", M2M_DISCOVERY, -1, true},
        {"notify", "[{\"acor\":[\"all\"],\"acop\":16}]", M2M_NOTIFY, -1, true},
        {"delete", "[{\"acor\":[\"all\"],\"acop\":8}]", M2M_DELETE, -1, true},
        {"update", "[{\"acor\":[\"all\"],\"acop\":4}]", M2M_UPDATE, -1, true},
        {"create", "[{\"acor\":[\"all\"],\"acop\":1}]", M2M_CREATE, 3, true},
        {"all of them", "[{\"acor\":[\"all\"],\"acop\":63}]", M2M_DELETE, -1, true},
        {"beyond them", "[{\"acor\":[\"all\"],\"acop\":64}]", M2M_DELETE, -1, false},
        {"negative", "[{\"acor\":[\"all\"],\"acop\":-1}]", M2M_DELETE, -1, false},
        {"as text", "[{\"acor\":[\"all\"],\"acop\":\"63\"}]", M2M_DELETE, -1, false},
        {"none", "[{\"acor\":[\"all\"],\"acop\":63}]", M2M_NONE, -1, false},
        {"no acop", "[{\"acor\":[\"all\"]}]", M2M_RETRIEVE, -1, false},
        {"no acor", "[{\"acop\":63}]", M2M_RETRIEVE, -1, false},
        {"no rules", "[]", M2M_RETRIEVE, -1, false},
        {"the second rule", "[{\"acor\":[\"all\"],\"acop\":1},{\"acor\":[\"all\"],\"acop\":2}]",
         M2M_RETRIEVE, -1, true},
        {"a bad one before", "[7,{\"acor\":[\"all\"],\"acop\":2}]", M2M_RETRIEVE, -1, true},
        {"a part nobody knows", "[{\"acor\":[\"all\"],\"acop\":2,\"acxx\":1}]", M2M_RETRIEVE, -1,
         false},
        {"attributes", "[{\"acor\":[\"all\"],\"acop\":2,\"aca\":[\"lbl\"]}]", M2M_RETRIEVE, -1,
         false},
    };
    CHECK(rows);
}

static void originators(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"exactly", "[{\"acor\":[\"/cse1/Cphone\"],\"acop\":2}]", M2M_RETRIEVE, -1, true},
        {"case", "[{\"acor\":[\"/cse1/cphone\"],\"acop\":2}]", M2M_RETRIEVE, -1, false},
        {"longer", "[{\"acor\":[\"/cse1/Cphone2\"],\"acop\":2}]", M2M_RETRIEVE, -1, false},
        {"shorter", "[{\"acor\":[\"/cse1/Cphon\"],\"acop\":2}]", M2M_RETRIEVE, -1, false},
        {"star", "[{\"acor\":[\"/cse1/*\"],\"acop\":2}]", M2M_RETRIEVE, -1, true},
        {"star within", "[{\"acor\":[\"/cse1/C*e\"],\"acop\":2}]", M2M_RETRIEVE, -1, true},
        {"star is not across", "[{\"acor\":[\"*\"],\"acop\":2}]", M2M_RETRIEVE, -1, false},
        {"star for the CSE", "[{\"acor\":[\"/*/Cphone\"],\"acop\":2}]", M2M_RETRIEVE, -1, true},
        {"role", "[{\"acor\":[\"cleaner@hotel.example\"],\"acop\":2}]", M2M_RETRIEVE, -1, true},
        {"role with a star", "[{\"acor\":[\"*@hotel.example\"],\"acop\":2}]", M2M_RETRIEVE, -1,
         false},
        {"second of two", "[{\"acor\":[\"x\",\"all\"],\"acop\":2}]", M2M_RETRIEVE, -1, true},
        {"empty", "[{\"acor\":[\"\"],\"acop\":2}]", M2M_RETRIEVE, -1, false},
        {"no list", "[{\"acor\":\"all\",\"acop\":2}]", M2M_RETRIEVE, -1, false},
        {"acaf", "[{\"acor\":[\"all\"],\"acop\":2,\"acaf\":true}]", M2M_RETRIEVE, -1, true},
        {"acaf false", "[{\"acor\":[\"all\"],\"acop\":2,\"acaf\":false}]", M2M_RETRIEVE, -1, true},
        {"acaf a number", "[{\"acor\":[\"all\"],\"acop\":2,\"acaf\":0}]", M2M_RETRIEVE, -1, false},
    };
    CHECK(rows);

    struct json_node *any = json_doc_read(BYTES_LIT("[{\"acor\":[\"all\",\"*\"],\"acop\":2}]"));
    struct json_node *known =
        json_doc_read(BYTES_LIT("[{\"acor\":[\"all\",\"*\"],\"acop\":2,\"acaf\":true}]"));
    struct m2m_asked nobody = asker(M2M_RETRIEVE, -1);
    nobody.originator = BYTES_NONE;
    assert_true(m2m_rules_permit(any, &nobody));
    assert_false(m2m_rules_permit(known, &nobody));
    json_doc_free(any);
    json_doc_free(known);
}

static void identifiers(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *id;
        bool matches;
    } rows[] = {
        {"", "", true},
        {"*", "", true},
        {"", "a", false},
        {"a*", "a", true},
        {"a*b*c", "axxbyyc", true},
        {"a*b*c", "axxbyy", false},
        {"a*b*c", "abc", true},
        {"**", "abc", true},
        {"*/*", "ab/c", true},
        {"*", "ab/c", false},
        {"a*/c", "ab/c", true},
        {"a*c", "ab/c", false},
        {"*c", "ab/c", false},
        {"a/*c", "a/bcbc", true},
        {"*a*", "bbabb/", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (m2m_id_matches(bytes_str(rows[i].pattern), bytes_str(rows[i].id)) != rows[i].matches)
            fail_msg("'%s' and '%s'", rows[i].pattern, rows[i].id);
}

#define RULE(acco) "[{\"acor\":[\"all\"],\"acop\":2,\"acco\":" acco "}]"

static void contexts(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"window", RULE("[{\"actw\":[\"* * 0-5 * * * *\"]}]"), M2M_RETRIEVE, -1, true},
        {"window shut", RULE("[{\"actw\":[\"* * 1-5 * * * *\"]}]"), M2M_RETRIEVE, -1, false},
        {"second window", RULE("[{\"actw\":[\"* * 1-5 * * * *\",\"* * 0 * * * *\"]}]"),
         M2M_RETRIEVE, -1, true},
        {"one as text", RULE("[{\"actw\":\"* * 0-5 * * * *\"}]"), M2M_RETRIEVE, -1, true},
        {"bad window", RULE("[{\"actw\":[\"* * 0-5 * * *\"]}]"), M2M_RETRIEVE, -1, false},
        {"no windows", RULE("[{\"actw\":[]}]"), M2M_RETRIEVE, -1, false},
        {"network", RULE("[{\"acip\":{\"ipv4\":[\"192.0.2.0/24\"]}}]"), M2M_RETRIEVE, -1, true},
        {"address", RULE("[{\"acip\":{\"ipv4\":[\"192.0.2.7\"]}}]"), M2M_RETRIEVE, -1, true},
        {"another address", RULE("[{\"acip\":{\"ipv4\":[\"192.0.2.8\"]}}]"), M2M_RETRIEVE, -1,
         false},
        {"family", RULE("[{\"acip\":{\"ipv6\":[\"192.0.2.7\"]}}]"), M2M_RETRIEVE, -1, false},
        {"v6", RULE("[{\"acip\":{\"ipv6\":[\"::/0\"]}}]"), M2M_RETRIEVE, -1, false},
        {"no addresses", RULE("[{\"acip\":{}}]"), M2M_RETRIEVE, -1, false},
        {"both parts", RULE("[{\"actw\":[\"* * 0 * * * *\"],\"acip\":{\"ipv4\":[\"192.0.2.7\"]}}]"),
         M2M_RETRIEVE, -1, true},
        {"one part of two",
         RULE("[{\"actw\":[\"* * 1 * * * *\"],\"acip\":{\"ipv4\":[\"192.0.2.7\"]}}]"), M2M_RETRIEVE,
         -1, false},
        {"the second context",
         RULE("[{\"actw\":[\"* * 1 * * * *\"]},{\"acip\":{\"ipv4\":[\"192.0.2.7\"]}}]"),
         M2M_RETRIEVE, -1, true},
        {"a region", RULE("[{\"aclr\":{\"accc\":[\"FR\"]}}]"), M2M_RETRIEVE, -1, false},
        {"a region beside", RULE("[{\"actw\":[\"* * 0 * * * *\"],\"aclr\":{\"accc\":[\"FR\"]}}]"),
         M2M_RETRIEVE, -1, false},
        {"an empty context", RULE("[{}]"), M2M_RETRIEVE, -1, false},
        {"no contexts", RULE("[]"), M2M_RETRIEVE, -1, false},
        {"one without a list", RULE("{\"actw\":[\"* * 0 * * * *\"]}"), M2M_RETRIEVE, -1, true},
    };
    CHECK(rows);
}

#define OBJECT(acod) "[{\"acor\":[\"all\"],\"acop\":3,\"acod\":" acod "}]"

static void objects(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"child", OBJECT("[{\"chty\":[3,4]}]"), M2M_CREATE, 4, true},
        {"another child", OBJECT("[{\"chty\":[3,4]}]"), M2M_CREATE, 23, false},
        {"no type", OBJECT("[{\"chty\":[3,4]}]"), M2M_CREATE, -1, false},
        {"not a CREATE", OBJECT("[{\"chty\":[3,4]}]"), M2M_RETRIEVE, -1, true},
        {"parent's type", OBJECT("[{\"ty\":3,\"chty\":[3,4]}]"), M2M_CREATE, 4, false},
        {"no chty", OBJECT("[{}]"), M2M_CREATE, 4, false},
        {"second", OBJECT("[{\"chty\":[3]},{\"chty\":[4]}]"), M2M_CREATE, 4, true},
        {"none", OBJECT("[]"), M2M_CREATE, 4, false},
    };
    CHECK(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations), cmocka_unit_test(originators), cmocka_unit_test(identifiers),
        cmocka_unit_test(contexts),   cmocka_unit_test(objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
