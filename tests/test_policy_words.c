/* Questions about which a star says nothing: segments that a rule must name,
 * and a target with all that is below it. Each denial has a permit beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../policy/policy.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

static const char text[] = "version: 1\n"
                           "roles:\n"
                           "  r:\n"
                           "    permit:\n"
                           "      - {path: /cse/**, operations: [RETRIEVE, DELETE]}\n"
                           "      - {path: /cse/cin1, operations: [RETRIEVE]}\n"
                           "      - {path: /cse/cnt7/**, operations: [RETRIEVE]}\n"
                           "      - {path: /star/*, operations: [RETRIEVE]}\n"
                           "      - {path: /star/a, operations: [RETRIEVE]}\n"
                           "      - {path: /one/x, operations: [RETRIEVE]}\n"
                           "      - {path: /two/**, operations: [RETRIEVE, DELETE]}\n"
                           "      - {path: /cse/*/grp/fopt/**, operations: [RETRIEVE]}\n"
                           "forbid:\n"
                           "  - {path: /cse/cb/secret/x, operations: [DELETE]}\n"
                           "  - {path: /two/*/key, operations: [RETRIEVE]}\n"
                           "  - {path: /cse/cin9, operations: [RETRIEVE]}\n"
                           "  - {path: /cse/cin8, methods: [GET]}\n"
                           "  - {path: /cse/cin7, methods: [POST]}\n"
                           "subjects:\n"
                           "  - {name: s, certificate: s.home, roles: [r]}\n";

static const struct {
    const char *name;
    const char *path[6];
    uint32_t named;
    bool below, permitted;
    uint8_t method, operation; /* 0: GET, RETRIEVE */
} rows[] = {
    {"any below", {"cse", "cin1"}, 0, false, true},
    {"named by its rule", {"cse", "cin1"}, 2, false, true},
    {"named by nobody", {"cse", "cin2"}, 2, false, false},
    {"not to be named", {"cse", "cin2"}, 0, false, true},
    {"named, and below it", {"cse", "cnt7", "la"}, 2, false, true},
    {"named, and what is below, too", {"cse", "cnt7", "la"}, 6, false, false},
    {"a star", {"star", "b"}, 0, false, true},
    {"a star for a name", {"star", "b"}, 2, false, false},
    {"a name beside a star", {"star", "a"}, 2, false, true},
    {"one further on", {"cse", "cb", "grp", "fopt", "y"}, 8, false, true},
    {"one further on, of nobody", {"cse", "cb", "gap", "fopt", "y"}, 8, false, false},
    {"forbidden, although it is not named", {"cse", "cin9"}, 0, false, false},
    {"forbidden by its method, and comes by another", {"cse", "cin8"}, 0, false, false, 2},
    {"by that", {"cse", "cin8"}, 0, false, false},
    {"forbidden by another method", {"cse", "cin7"}, 0, false, true},
    {"by that method", {"cse", "cin7"}, 0, false, false, 2},
    {"with what is below", {"cse", "cb", "ae"}, 0, true, true},
    {"with what is below, some of which is forbidden", {"cse", "cb"}, 0, true, false},
    {"that itself", {"cse", "cb"}, 0, false, true},
    {"just above the forbidden", {"cse", "cb", "secret"}, 0, true, false},
    {"beside the forbidden", {"cse", "cb", "secrets"}, 0, true, true},
    {"forbidden below a star", {"two", "a"}, 0, true, false},
    {"further below", {"two", "a", "b"}, 0, true, true},
    {"one resource alone", {"one", "x"}, 0, false, true},
    {"one resource, and below", {"one", "x"}, 0, true, false},
    {"deleted", {"cse", "cb", "secrets"}, 0, false, true, 4, 4},
    {"deleted, with what is not to be", {"cse", "cb", "secret"}, 0, false, false, 4, 4},
    {"deleted from further above", {"cse", "cb"}, 0, false, false, 4, 4},
    {"deleted, with what is not to be read", {"two", "a"}, 0, false, true, 4, 4},
    {"all of a device", {"cse"}, 0, true, false},
};

static void each(void **state)
{
    (void)state;
    char diag_text[1024];
    struct buf diag = buf_on(diag_text, sizeof diag_text);
    struct policy *p =
        policy_load("policy.yaml", bytes_of(text, sizeof text - 1), "0123456789abcdef", &diag);
    if (!p)
        fail_msg("%.*s", (int)diag.n, diag_text);
    const struct bytes role[] = {BYTES_LIT("r")};
    struct policy_claims c = {.authority = -1, .roles = role, .n_roles = 1};
    struct policy_grant_report report;
    struct policy_grant *g = policy_grant_new(p, &c, &report);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes path[6];
        size_t n = 0;
        for (; n < 6 && rows[i].path[n]; n++)
            path[n] = bytes_str(rows[i].path[n]);
        const struct policy_holding held = {
            .grant = g, .covers = true, .strength = POLICY_STRENGTH_CERTIFICATE};
        const struct policy_question q = {.method = rows[i].method ? rows[i].method : 1,
                                          .path = path,
                                          .n_path = n,
                                          .held = &held,
                                          .n_held = 1,
                                          .now_s = 1780315200,
                                          .content_format = -1,
                                          .operation = rows[i].operation ? rows[i].operation : 2,
                                          .type = -1,
                                          .named = rows[i].named,
                                          .below = rows[i].below};
        struct policy_decision d;
        policy_decide(p, &q, &d);
        if ((d.verdict == POLICY_PERMIT) != rows[i].permitted)
            fail_msg("%s: %s", rows[i].name, policy_reason_str(d.reason));
    }
    policy_grant_free(g);
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
