/* Decision points and dynamic authorization in the policy file, how each
 * mistake is told, and which paths they are for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../policy/policy.h"

static struct policy *load(const char *authority, const char *points, char *diag, size_t cap)
{
    char text[4096];
    snprintf(text, sizeof text,
             "version: 1\nauthorities:\n  - name: home\n    keys: home.keys\n    may-grant: {}\n"
             "%s\n%s\n",
             authority, points);
    struct buf b = buf_on(diag, cap - 1);
    struct policy *p = policy_load("p.yaml", bytes_str(text), "0123456789abcdef", &b);
    diag[b.n] = '\0';
    return p;
}

struct row {
    const char *name, *authority, *points, *error; /* NULL: taken */
};

#define PSK      "psk: {identity: gw, key-file: gw.psk}"
#define POINT(x) "decision-points:\n  - {name: pdp, " x "}"
#define LINE     "url: coaps://pdp.home/cse/d, originator: /gw, " PSK
#define FOR      "for: [/cse/**]"
#define REST     FOR ", combine: deny-overrides"
#define DYN(x)   "    dynamic-authorization: {" x "}"
#define ASK      "ask: {url: coaps://das.home/n, originator: /gw, " PSK "}"

static const struct row rows[] = {
    {"a point", "", POINT(LINE ", " REST), NULL},
    {"a point without url", "", POINT("originator: /gw, " PSK ", " REST), "url"},
    {"a point without originator", "", POINT("url: coaps://pdp.home/d, " PSK ", " REST),
     "originator"},
    {"a point without credentials", "", POINT("url: coaps://pdp.home/d, originator: /gw, " REST),
     "coaps needs psk, or ca"},
    {"a point without for", "", POINT(LINE ", combine: deny-overrides"), "for"},
    {"a point for nothing", "", POINT(LINE ", for: [], combine: deny-overrides"), "nobody"},
    {"a point for no path", "", POINT(LINE ", for: [cse], combine: deny-overrides"), "p.yaml:"},
    {"a point for a mapping", "", POINT(LINE ", for: [{path: /cse}], combine: deny-overrides"),
     "path as text"},
    {"a point for one path", "", POINT(LINE ", for: /cse/**, combine: local-first"), NULL},
    {"a point without combine", "", POINT(LINE ", " FOR), "combine"},
    {"a point combined else", "", POINT(LINE ", " FOR ", combine: permit-overrides"),
     "permit-overrides"},
    {"a point with a timeout", "", POINT(LINE ", timeout: 2s, " REST), NULL},
    {"a point too slow", "", POINT(LINE ", timeout: 16s, " REST), "out of range"},
    {"a point with no time", "", POINT(LINE ", timeout: 0s, " REST), "out of range"},
    {"a point that is kept", "", POINT(LINE ", cache: 1h, " REST), NULL},
    {"a point that is kept too long", "", POINT(LINE ", cache: 2h, " REST), "out of range"},
    {"a point of old numbers", "", POINT(LINE ", onem2m-options: legacy, " REST), NULL},
    {"a point of other numbers", "", POINT(LINE ", onem2m-options: new, " REST), "new"},
    {"a point over https", "",
     POINT("url: https://pdp.home/d, originator: /gw, auth: bearer, secret-file: s, " REST), NULL},
    {"numbers over https", "",
     POINT("url: https://pdp.home/d, originator: /gw, onem2m-options: legacy, " REST),
     "names over"},
    {"a point over https by form", "",
     POINT("url: https://pdp.home/d, originator: /gw, auth: post, client-id: g, secret-file: "
           "s, " REST),
     "goes in a form"},
    {"a point in clear", "", POINT("url: coap://pdp.home/d, originator: /gw, " REST), "in clear"},
    {"a point in clear on this machine", "",
     POINT("url: coap://127.0.0.1/d, originator: /gw, " REST), NULL},
    {"a key that is none", "", POINT(LINE ", fallback: permit, " REST), "unknown key"},
    {"a point named as an authority", "", "decision-points:\n  - {name: home, " LINE ", " REST "}",
     "taken already"},
    {"two points of one name", "",
     "decision-points:\n  - {name: a, " LINE ", " REST "}\n  - {name: a, " LINE ", " REST "}",
     "taken already"},
    {"both", DYN(FOR ", tell: coaps://das.home/t, " ASK), "", NULL},
    {"told alone", DYN(FOR ", tell: coaps://das.home/t"), "", NULL},
    {"told no URI", DYN(FOR ", tell: das"), "", "p.yaml:"},
    {"asked alone", DYN(FOR ", " ASK ", lifetime: 1h"), "", NULL},
    {"neither", DYN(FOR), "", "needs `tell`"},
    {"a lifetime of nothing", DYN(FOR ", tell: coaps://das.home/t, lifetime: 1h"), "",
     "what is asked"},
    {"a lifetime too long", DYN(FOR ", " ASK ", lifetime: 2d"), "", "out of range"},
    {"no paths", DYN(ASK), "", "for"},
    {"asked without originator", DYN(FOR ", ask: {url: coaps://das.home/n, " PSK "}"), "",
     "originator"},
    {"a cache", DYN(FOR ", " ASK ", cache: 1s"), "", "unknown key"},
};

static void as_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        char diag[4096];
        struct policy *p = load(r->authority, r->points, diag, sizeof diag);
        bool ok = r->error ? !p && strstr(diag, r->error) && strstr(diag, "p.yaml:") &&
                                 strstr(diag, "^\n")
                           : p != NULL;
        if (!ok)
            fail_msg("%s: got %s, wanted %s", r->name, p ? "a policy" : diag,
                     r->error ? r->error : "a policy");
        policy_unref(p);
    }
}

static void too_many(void **state)
{
    char points[4096] = "decision-points:\n", diag[4096];
    (void)state;
    for (int i = 0; i <= POLICY_POINTS_MAX; i++) {
        size_t n = strlen(points);
        snprintf(points + n, sizeof points - n, "  - {name: p%d, %s}\n", i, LINE ", " REST);
        struct policy *p = load("", points, diag, sizeof diag);
        assert_int_equal(p != NULL, i < POLICY_POINTS_MAX);
        policy_unref(p);
    }
    assert_non_null(strstr(diag, "more than 8"));
}

static void defaults(void **state)
{
    char diag[4096];
    (void)state;
    struct policy *p = load(DYN(FOR ", " ASK), POINT(LINE ", " REST), diag, sizeof diag);
    assert_non_null(p);
    const struct policy_point *point = policy_point(p, 0);
    assert_string_equal(point->name, "pdp");
    assert_int_equal(point->combine, POLICY_DENY_OVERRIDES);
    assert_int_equal(point->cache_s, 0);
    assert_int_equal(point->endpoint.timeout_s, POLICY_ASK_TIMEOUT_S);
    assert_string_equal(point->endpoint.m2m_from, "/gw");
    assert_false(point->endpoint.m2m_legacy);
    assert_null(policy_point(p, 1));
    assert_int_equal(policy_point_find(p, BYTES_LIT("pdp")), 0);
    assert_int_equal(policy_point_find(p, BYTES_LIT("home")), -1);
    const struct policy_dynamic *d = &policy_authority(p, 0)->dynamic;
    assert_null(d->tell);
    assert_int_equal(d->lifetime_s, 300);
    assert_string_equal(d->ask.url, "coaps://das.home/n");
    policy_unref(p);
}

/* Whom a path is for. */
static const struct {
    const char *path[4];
    uint32_t points, dynamic;
} paths[] = {
    {{"cse"}, 1, 1},
    {{"cse", "room"}, 3, 1},
    {{"cse", "room", "door"}, 3, 1},
    {{"cse", "hall"}, 1, 1},
    {{"lamp"}, 0, 0},
    {{"cse", "..", "room"}, 0, 0}, /* no rule matches it either */
};

static void for_paths(void **state)
{
    char diag[4096];
    (void)state;
    struct policy *p =
        load(DYN(FOR ", " ASK),
             POINT(LINE ", " REST) "\n  - {name: room, " LINE ", for: [/cse/room/**, /*/room], "
                                   "combine: local-first}",
             diag, sizeof diag);
    if (!p)
        fail_msg("%s", diag);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct bytes seg[4];
        struct policy_consult c;
        size_t n = 0;
        for (; n < 4 && paths[i].path[n]; n++)
            seg[n] = bytes_str(paths[i].path[n]);
        policy_consult(p, seg, n, &c);
        if (c.points != paths[i].points || c.dynamic != paths[i].dynamic)
            fail_msg("path %zu: points %x, dynamic %x", i, c.points, c.dynamic);
        assert_int_equal(c.authority[0], 0);
    }
    policy_unref(p);
    p = load("", "", diag, sizeof diag);
    struct policy_consult none;
    policy_consult(p, NULL, 0, &none);
    assert_int_equal(none.points | none.dynamic, 0);
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_written),
        cmocka_unit_test(too_many),
        cmocka_unit_test(defaults),
        cmocka_unit_test(for_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
