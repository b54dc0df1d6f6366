/* The judgement, row by row: each denial is a permit beside it with one
 * thing changed. Lines count from the first of the text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../policy/explain.h"
#include "../policy/policy.h"

/* Rows name what is not as usual. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

static const char text[] =
    /* 1 */
    "version: 1\n"
    /* 2 */ "zone: Europe/Berlin\n"
    /* 3 */ "authorities:\n"
    /* 4 */ "  - {name: home, issuer: coaps://as.home, keys: home.keys, may-grant: {roles: "
    "[resident, night],\n"
    /* 5 */ "     scopes: [lights_r], resources: [{path: /lamp/**, methods: [GET, PUT]}, {path: "
    "/log, methods: POST}]}}\n"
    /* 6 */ "  - {name: poor, keys: poor.keys, bearer: allow, dialect: ace-07, may-grant: {}}\n"
    /* 7 */ "roles:\n"
    /* 8 */ "  guest:\n"
    /* 9 */ "    permit:\n"
    /* 10 */ "      - {path: /lamp/state, methods: [GET, PUT], when: {hours: \"07:00-23:00\", "
    "days: mon-sun}}\n"
    /* 11 */ "      - {path: /lamp/name, methods: GET}\n"
    /* 12 */ "  resident:\n"
    /* 13 */ "    includes: [guest]\n"
    /* 14 */ "    permit:\n"
    /* 15 */ "      - {path: /door/**, methods: [GET, PUT]}\n"
    /* 16 */ "      - {path: /room/*/state, methods: [GET]}\n"
    /* 17 */ "      - {path: /, methods: GET}\n"
    /* 18 */ "      - {path: /dir/, methods: GET}\n"
    /* 19 */ "  maintainer: {permit: [{path: /**, methods: [GET, PUT, POST]}]}\n"
    /* 20 */ "  night: {permit: [{path: /safe, methods: GET, when: {association: certificate}},\n"
    /* 21 */ "                   {path: /local, methods: GET, when: {network: [192.0.2.0/24, "
    "\"2001:db8::/32\"]}}]}\n"
    /* 22 */ "scopes:\n"
    /* 23 */ "  lights_r: {permit: [{path: /lamp/**, methods: [GET]}]}\n"
    /* 24 */ "  lights_w: {permit: [{path: /lamp/**, methods: [PUT, DELETE]}]}\n"
    /* 25 */ "forbid:\n"
    /* 26 */ "  - {path: /*/firmware/**, methods: [PUT, POST], unless-role: maintainer}\n"
    /* 27 */ "  - {path: /door/cellar, methods: [GET], when: {network: 10.0.0.0/8}}\n"
    /* 28 */ "subjects:\n"
    /* 29 */ "  - {name: t7, psk-identity: thermostat-7, key-file: t7.psk, roles: [guest], "
    "originator: Ct7}\n"
    /* 30 */ "  - {name: amy, certificate: amy.home, roles: [resident, maintainer]}\n";

enum { GET = 1, POST, PUT, DELETE };
enum { NOON = 1767265200 }; /* 2026-01-01T11:00:00Z, 12:00 in Berlin */
enum { LATE = 1767308400 }; /* 23:00Z, midnight in Berlin */

struct row {
    const char *name;
    const char *words; /* held by scope words */
    uint8_t method;
    const char *path; /* segments behind slashes; NULL: none */
    enum policy_reason reason;
    unsigned line;
    const char *missing;
    int64_t now_s; /* 0: NOON */
    const char *aif;
    uint64_t mask;
    const char *query;
    bool created, uncovered, enrolled;
    int authority;
    enum policy_strength strength; /* 0: PSK */
    uint8_t peer[5];               /* family, address */
};

static const struct row rows[] = {
    {"a role's rule", "resident", GET, "/door/front", POLICY_PERMITTED, 15},
    {"nothing of the kind held", "", GET, "/door/front", POLICY_NOT_RESOURCE, 0},
    {"unknown word", "residents", GET, "/door/front", POLICY_NOT_RESOURCE, 0},
    {"not for this device", "resident", GET, "/door/front", POLICY_NOT_AUDIENCE, 0,
     .uncovered = true},
    {"a method beside", "resident", DELETE, "/door/front", POLICY_NOT_METHOD, 15},
    {"an unknown method", "resident", 8, "/door/front", POLICY_NOT_METHOD, 15},
    {"method zero", "resident", 0, "/door/front", POLICY_NOT_METHOD, 15},
    {"a path beside", "resident", GET, "/doors/front", POLICY_NOT_RESOURCE, 0},
    {"the rest may be nothing", "resident", GET, "/door", POLICY_PERMITTED, 15},
    {"the rest may be much", "resident", GET, "/door/a/b/c/d/e", POLICY_PERMITTED, 15},
    {"the rest may end in a slash", "resident", GET, "/door/", POLICY_PERMITTED, 15},
    {"no path", "resident", GET, NULL, POLICY_PERMITTED, 17},
    {"an empty segment alone", "resident", GET, "/", POLICY_NOT_RESOURCE, 0},
    {"slash at the end", "resident", GET, "/dir/", POLICY_PERMITTED, 18},
    {"no slash at the end", "resident", GET, "/dir", POLICY_NOT_RESOURCE, 0},
    {"two slashes at the end", "resident", GET, "/dir//", POLICY_NOT_RESOURCE, 0},
    {"empty in the middle", "resident", GET, "/door//front", POLICY_NOT_RESOURCE, 0},
    {"a dot", "resident", GET, "/door/.", POLICY_NOT_RESOURCE, 0},
    {"two dots", "resident", GET, "/door/..", POLICY_NOT_RESOURCE, 0},
    {"three dots", "resident", GET, "/door/...", POLICY_PERMITTED, 15},
    {"a slash within", "resident", GET, "/door/a|b", POLICY_NOT_RESOURCE, 0},
    {"a NUL within", "resident", GET, "/door/a~b", POLICY_NOT_RESOURCE, 0},
    {"one segment by a star", "resident", GET, "/room/7/state", POLICY_PERMITTED, 16},
    {"two for a star", "resident", GET, "/room/7/8/state", POLICY_NOT_RESOURCE, 0},
    {"none for a star", "resident", GET, "/room/state", POLICY_NOT_RESOURCE, 0},
    {"a star is itself too", "resident", GET, "/room/*/state", POLICY_PERMITTED, 16},
    {"32 segments", "resident", GET,
     "/door/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1", POLICY_PERMITTED, 15},
    {"33 segments", "resident", GET,
     "/door/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1", POLICY_NOT_RESOURCE,
     0},

    {"an included role", "resident", PUT, "/lamp/state", POLICY_PERMITTED, 10},
    {"after hours", "resident", PUT, "/lamp/state", POLICY_CONDITION, 10, "hours", LATE},
    {"at the first minute", "resident", PUT, "/lamp/state", POLICY_PERMITTED, 10,
     .now_s = NOON - 5 * 3600},
    {"a second before", "resident", PUT, "/lamp/state", POLICY_CONDITION, 10, "hours",
     NOON - 5 * 3600 - 1},
    {"a second before the last", "resident", PUT, "/lamp/state", POLICY_PERMITTED, 10,
     .now_s = LATE - 3601},
    {"at the last minute", "resident", PUT, "/lamp/state", POLICY_CONDITION, 10, "hours",
     LATE - 3600},
    {"no table for that year", "resident", PUT, "/lamp/state", POLICY_CONDITION, 10, "hours",
     INT64_MAX},
    {"no time at all", "resident", PUT, "/lamp/state", POLICY_CONDITION, 10, "hours", INT64_MIN},
    {"what is included may not be granted alone", "guest", PUT, "/lamp/state",
     POLICY_BEYOND_AUTHORITY, 10},
    {"enrolled, it may", "guest", PUT, "/lamp/state", POLICY_PERMITTED, 10, .enrolled = true},

    {"a scope's rule", "lights_r", GET, "/lamp/x", POLICY_PERMITTED, 23},
    {"a scope beyond", "lights_w", PUT, "/lamp/x", POLICY_BEYOND_AUTHORITY, 24},
    {"a scope beyond, and not the method", "lights_w", GET, "/lamp/x", POLICY_NOT_RESOURCE, 0},
    {"one within and one beyond", "lights_r lights_w", PUT, "/lamp/x", POLICY_NOT_METHOD, 23},
    {"an authority that may grant nothing", "lights_r", GET, "/lamp/x", POLICY_BEYOND_AUTHORITY, 23,
     .authority = 1},
    {"an authority that is none", "lights_r", GET, "/lamp/x", POLICY_BEYOND_AUTHORITY, 23,
     .authority = 2},
    {"an authority below all", "lights_r", GET, "/lamp/x", POLICY_BEYOND_AUTHORITY, 23,
     .authority = -2},
    {"words of several spaces", "  lights_r  ", GET, "/lamp/x", POLICY_PERMITTED, 23},
    {"another case", "Lights_r", GET, "/lamp/x", POLICY_NOT_RESOURCE, 0},
    {"a tab is no space", "lights_r\tx", GET, "/lamp/x", POLICY_NOT_RESOURCE, 0},

    {"an entry", "", GET, "/lamp/x", POLICY_PERMITTED, .aif = "/lamp/x", .mask = 1},
    {"an entry, another method", "", PUT, "/lamp/x", POLICY_NOT_METHOD, .aif = "/lamp/x",
     .mask = 1},
    {"an entry is exact", "", GET, "/lamp/x/y", POLICY_NOT_RESOURCE, .aif = "/lamp/x", .mask = 1},
    {"an entry knows no stars", "", GET, "/lamp/x", POLICY_NOT_RESOURCE, .aif = "/lamp/*",
     .mask = 1},
    {"a method beyond", "", DELETE, "/lamp/x", POLICY_BEYOND_AUTHORITY, .aif = "/lamp/x",
     .mask = 8},
    {"a path beyond", "", GET, "/door", POLICY_BEYOND_AUTHORITY, .aif = "/door", .mask = 1},
    {"any path when enrolled", "", GET, "/door", POLICY_PERMITTED, .aif = "/door", .mask = 1,
     .enrolled = true},
    {"of two methods one is beyond", "", GET, "/lamp/x", POLICY_PERMITTED, .aif = "/lamp/x",
     .mask = 9},
    {"an entry with a query", "", GET, "/lamp/x", POLICY_PERMITTED, .aif = "/lamp/x?a=1&b",
     .mask = 1, .query = "a=1&b"},
    {"without the query", "", GET, "/lamp/x", POLICY_NOT_RESOURCE, .aif = "/lamp/x?a=1&b",
     .mask = 1},
    {"with an unwanted query", "", GET, "/lamp/x", POLICY_NOT_RESOURCE, .aif = "/lamp/x", .mask = 1,
     .query = "a=1&b"},
    {"an encoded name", "", GET, "/lamp/\xc3\xa9", POLICY_PERMITTED, .aif = "/lamp/%C3%a9",
     .mask = 1},
    {"an encoded slash", "", GET, "/lamp/a|b", POLICY_NOT_RESOURCE, .aif = "/lamp/a%2Fb",
     .mask = 1},
    {"an encoded ampersand", "", GET, "/lamp/x", POLICY_NOT_RESOURCE, .aif = "/lamp/x?a%26b",
     .mask = 1, .query = "a&b"},
    {"created by the client", "", GET, "/lamp/x", POLICY_PERMITTED, .aif = "/lamp/x",
     .mask = 1ull << 32, .created = true},
    {"created by another", "", GET, "/lamp/x", POLICY_CONDITION, 0, "created", .aif = "/lamp/x",
     .mask = 1ull << 32},
    {"created, but beyond", "", DELETE, "/lamp/x", POLICY_BEYOND_AUTHORITY, .aif = "/lamp/x",
     .mask = 8ull << 32, .created = true},
    {"bits that mean nothing", "", GET, "/lamp/x", POLICY_NOT_RESOURCE, .aif = "/lamp/x",
     .mask = 0xffffff80ffffff80},

    {"by a certificate", "night", GET, "/safe", POLICY_PERMITTED, 20,
     .strength = POLICY_STRENGTH_CERTIFICATE},
    {"by a PSK", "night", GET, "/safe", POLICY_CONDITION, 20, "association"},
    {"by a bearer token", "night", GET, "/safe", POLICY_CONDITION, 20, "association",
     .strength = POLICY_STRENGTH_BEARER},
    {"from the network", "night", GET, "/local", POLICY_PERMITTED, 21, .peer = {4, 192, 0, 2, 9}},
    {"from the network beside", "night", GET, "/local", POLICY_CONDITION, 21, "network",
     .peer = {4, 192, 0, 3, 9}},
    {"from the other network", "night", GET, "/local", POLICY_PERMITTED, 21,
     .peer = {6, 0x20, 0x01, 0x0d, 0xb8}},
    {"from nowhere known", "night", GET, "/local", POLICY_CONDITION, 21, "network"},

    {"all, with an exception", "maintainer", PUT, "/x/firmware/1", POLICY_PERMITTED, 19,
     .enrolled = true},
    {"forbidden without it", "resident", PUT, "/door/firmware/1", POLICY_FORBIDDEN, 26,
     .enrolled = true},
    {"another method", "resident", GET, "/door/firmware/1", POLICY_PERMITTED, 15, .enrolled = true},
    {"what is beyond is no exception", "resident maintainer", PUT, "/door/firmware/1",
     POLICY_FORBIDDEN, 26},
    {"forbidden outranks what is for others", "maintainer", PUT, "/x/firmware/1", POLICY_FORBIDDEN,
     26, .enrolled = true, .uncovered = true},
    {"not forbidden from here", "resident", GET, "/door/cellar", POLICY_PERMITTED, 15,
     .peer = {4, 192, 0, 2, 9}},
    {"forbidden from there", "resident", GET, "/door/cellar", POLICY_FORBIDDEN, 27,
     .peer = {4, 10, 0, 2, 9}},
    {"forbidden there, with a slash at the end", "resident", GET, "/door/cellar/", POLICY_FORBIDDEN,
     27},
    {"forbidden from who knows where", "resident", GET, "/door/cellar", POLICY_FORBIDDEN, 27},
    {"an entry is forbidden too", "", PUT, "/lamp/firmware", POLICY_FORBIDDEN, 26,
     .aif = "/lamp/firmware", .mask = 4},
};

static struct policy *load(const char *s)
{
    static char diag[8192];
    struct buf b = buf_on(diag, sizeof diag);
    struct policy *p = policy_load("p.yaml", bytes_str(s), "0123456789abcdef", &b);
    if (!p)
        print_error("%.*s", (int)b.n, diag);
    assert_non_null(p);
    return p;
}

/* Behind each slash a segment; | and ~ stand for a slash and a NUL in it. */
static size_t split(const char *path, struct bytes *seg, char *storage)
{
    size_t n = 0;
    if (!path)
        return 0;
    strcpy(storage, path);
    for (char *at = storage; *at; n++) {
        char *end = ++at;
        while (*end && *end != '/')
            end++;
        seg[n] = bytes_of(at, (size_t)(end - at));
        for (char *c = at; c < end; c++)
            *c = (char)(*c == '|' ? '/' : *c == '~' ? 0 : *c);
        at = end;
    }
    return n;
}

static void decisions(void **state)
{
    (void)state;
    struct policy *p = load(text);
    size_t failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct policy_aif aif = {bytes_str(r->aif), r->mask};
        struct policy_claims c = {.authority = r->enrolled ? -1 : r->authority,
                                  .scope = bytes_str(r->words),
                                  .aif = &aif,
                                  .n_aif = r->aif != NULL};
        struct policy_grant *g = policy_grant_new(p, &c, NULL);
        assert_non_null(g);
        struct bytes seg[64];
        char storage[256];
        struct policy_holding held = {g, !r->uncovered,
                                      r->strength ? r->strength : POLICY_STRENGTH_PSK};
        struct policy_question q = {.method = r->method,
                                    .path = seg,
                                    .n_path = split(r->path, seg, storage),
                                    .query = bytes_str(r->query),
                                    .held = &held,
                                    .n_held = 1,
                                    .now_s = r->now_s ? r->now_s : NOON,
                                    .created = r->created,
                                    .peer = {.family = r->peer[0]}};
        memcpy(q.peer.addr, r->peer + 1, 4);
        struct policy_decision d;
        policy_decide(p, &q, &d);
        bool permit = r->reason == POLICY_PERMITTED;
        bool same_missing =
            r->missing ? d.missing && strcmp(d.missing, r->missing) == 0 : !d.missing;
        if (d.reason != r->reason || d.rule.line != r->line || !same_missing ||
            (d.verdict == POLICY_PERMIT) != permit || !d.rule.file != !r->line) {
            print_error("%s: got %s line %u missing %s, wanted %s line %u missing %s\n", r->name,
                        policy_reason_str(d.reason), d.rule.line, d.missing ? d.missing : "-",
                        policy_reason_str(r->reason), r->line, r->missing ? r->missing : "-");
            failed++;
        }
        policy_grant_free(g);
    }
    policy_unref(p);
    assert_int_equal(failed, 0);
}

/* ---- what does not fit a row ---- */

static struct policy_grant *grant(struct policy *p, int authority, const char *words)
{
    struct policy_claims c = {.authority = authority, .scope = bytes_str(words)};
    struct policy_grant *g = policy_grant_new(p, &c, NULL);
    assert_non_null(g);
    return g;
}

static struct policy_question ask(const struct bytes *seg, size_t n, uint8_t method,
                                  const struct policy_holding *held, size_t n_held)
{
    return (struct policy_question){.method = method,
                                    .path = seg,
                                    .n_path = n,
                                    .held = held,
                                    .n_held = n_held,
                                    .now_s = NOON,
                                    .peer = {4, {192, 0, 2, 1}}};
}

static void holdings(void **state)
{
    (void)state;
    struct policy *p = load(text), *other = load(text);
    struct policy_grant *r = grant(p, 0, "resident"), *l = grant(p, 0, "lights_r");
    struct policy_grant *stranger = grant(other, 0, "resident");
    struct bytes door[] = {BYTES_LIT("door")}, lamp[] = {BYTES_LIT("lamp"), BYTES_LIT("x")};
    struct policy_decision d;

    struct policy_question q = ask(door, 1, GET, NULL, 0);
    policy_decide(p, &q, &d);
    assert_int_equal(d.reason, POLICY_NO_GRANT);
    assert_int_equal(d.held, -1);

    struct policy_holding two[] = {{l, true, POLICY_STRENGTH_PSK}, {r, true, POLICY_STRENGTH_PSK}};
    q = ask(door, 1, GET, two, 2);
    policy_decide(p, &q, &d);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    assert_int_equal(d.held, 1);
    assert_string_equal(d.holder, "resident");
    assert_string_equal(d.rule.file, "p.yaml");
    two[1].covers = false;
    policy_decide(p, &q, &d);
    assert_int_equal(d.verdict, POLICY_DENY);
    assert_int_equal(d.reason, POLICY_NOT_RESOURCE);
    q = ask(lamp, 2, GET, two, 2);
    policy_decide(p, &q, &d);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    assert_int_equal(d.held, 0);

    /* A grant of another policy is none, though its text is the same. */
    struct policy_holding foreign = {stranger, true, POLICY_STRENGTH_PSK};
    q = ask(door, 1, GET, &foreign, 1);
    policy_decide(p, &q, &d);
    assert_int_equal(d.reason, POLICY_NO_GRANT);
    policy_decide(other, &q, &d);
    assert_int_equal(d.verdict, POLICY_PERMIT);

    struct policy_holding many[POLICY_GRANTS_MAX + 1];
    for (size_t i = 0; i <= POLICY_GRANTS_MAX; i++)
        many[i] = (struct policy_holding){r, true, POLICY_STRENGTH_PSK};
    q = ask(door, 1, GET, many, POLICY_GRANTS_MAX);
    policy_decide(p, &q, &d);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    q.n_held++;
    policy_decide(p, &q, &d);
    assert_int_equal(d.verdict, POLICY_DENY);

    q = ask(door, 1, 0, many, 1);
    assert_int_equal(policy_methods(p, &q), POLICY_METHOD_BIT(GET) | POLICY_METHOD_BIT(PUT));
    assert_ptr_equal(policy_grant_policy(stranger), other);
    policy_grant_free(r);
    policy_grant_free(l);
    policy_unref(other); /* the grant still holds it */
    assert_string_equal(policy_hash(policy_grant_policy(stranger)), "0123456789abcdef");
    policy_grant_free(stranger);
    policy_unref(p);
}

static void reports(void **state)
{
    (void)state;
    struct policy *p = load(text);
    struct policy_aif aif[] = {{BYTES_LIT("/lamp/a"), 1},    {BYTES_LIT("/lamp/a"), 4},
                               {BYTES_LIT("/lamp/b"), 9},    {BYTES_LIT("/door"), 1},
                               {BYTES_LIT("lamp/a"), 1},     {BYTES_LIT("/lamp/a%2"), 1},
                               {BYTES_LIT("/lamp/c"), 0},    {BYTES_LIT("/lamp//c"), 1},
                               {BYTES_LIT("/lamp/../c"), 1}, {BYTES_LIT("/lamp/c#f"), 1}};
    struct bytes roles[] = {BYTES_LIT("lights_r"), BYTES_LIT("night")};
    struct policy_claims c = {.authority = 0,
                              .scope = BYTES_LIT("resident nobody guest lights_r"),
                              .aif = aif,
                              .n_aif = sizeof aif / sizeof *aif,
                              .roles = roles,
                              .n_roles = 2};
    struct policy_grant_report report;
    struct policy_grant *g = policy_grant_new(p, &c, &report);
    assert_non_null(g);
    assert_int_equal(report.n_known, 3 + 3);   /* resident lights_r night; a, a, b */
    assert_int_equal(report.n_unknown, 2 + 6); /* nobody; lights_r is no role */
    assert_int_equal(report.n_beyond, 1 + 2);  /* guest; b's DELETE, /door */
    assert_true(bytes_equal_str(report.first_unknown, "nobody"));
    assert_true(bytes_equal_str(report.first_beyond, "guest"));

    struct bytes seg[] = {BYTES_LIT("lamp"), BYTES_LIT("a")};
    struct policy_holding held = {g, true, POLICY_STRENGTH_PSK};
    struct policy_question q = ask(seg, 2, 0, &held, 1);
    assert_int_equal(policy_methods(p, &q), 1 | 4); /* the same path twice: union */
    policy_grant_free(g);
    policy_unref(p);
}

static void hints(void **state)
{
    (void)state;
    struct policy *p = load(text);
    static const struct {
        int authority;
        uint8_t method;
        const char *path, *want;
    } rows_[] = {
        {0, GET, "/lamp/x", "lights_r"},
        {0, PUT, "/lamp/x", ""},
        {0, PUT, "/lamp/state", "resident"}, /* guest would do, but home may not grant it */
        {0, GET, "/lamp/name", "lights_r"},  /* the narrower of two */
        {0, GET, "/safe", "night"},
        {1, GET, "/lamp/x", ""},
        {2, GET, "/lamp/x", ""},
        {-1, GET, "/lamp/x", ""},
        {0, 0, "/lamp/x", ""},
        {0, GET, "/nothing", ""},
    };
    for (size_t i = 0; i < sizeof rows_ / sizeof *rows_; i++) {
        struct bytes seg[8];
        char storage[64];
        struct policy_question q =
            ask(seg, split(rows_[i].path, seg, storage), rows_[i].method, NULL, 0);
        struct bytes got = policy_scope_for(p, rows_[i].authority, &q);
        if (!bytes_equal_str(got, rows_[i].want))
            fail_msg("%d %s: got '%.*s', wanted '%s'", rows_[i].authority, rows_[i].path,
                     (int)got.n, (const char *)got.p, rows_[i].want);
    }
    policy_unref(p);
}

static void as_written(void **state)
{
    (void)state;
    struct policy *p = load(text);
    assert_int_equal(policy_mode(p), POLICY_ENFORCE);
    assert_string_equal(policy_name(p), "p.yaml");
    const struct policy_authority *a = policy_authority(p, 0), *b = policy_authority(p, 1);
    assert_string_equal(a->name, "home");
    assert_string_equal(a->issuer, "coaps://as.home");
    assert_string_equal(a->keys, "home.keys");
    assert_int_equal(a->line, 4);
    assert_false(a->bearer);
    assert_int_equal(a->dialect, POLICY_RFC9200);
    assert_null(b->issuer);
    assert_true(b->bearer);
    assert_int_equal(b->dialect, POLICY_ACE07);
    assert_null(policy_authority(p, 2));
    assert_int_equal(policy_authority_find(p, BYTES_LIT("poor")), 1);
    assert_int_equal(policy_authority_find(p, BYTES_LIT("poo")), -1);
    const struct policy_subject *s = policy_subject(p, 0), *t = policy_subject(p, 1);
    assert_string_equal(s->psk_identity, "thermostat-7");
    assert_string_equal(s->key_file, "t7.psk");
    assert_string_equal(s->originator, "Ct7");
    assert_null(s->certificate);
    assert_int_equal(s->n_roles, 1);
    assert_string_equal(t->certificate, "amy.home");
    assert_int_equal(t->n_roles, 2);
    assert_string_equal(t->roles[1], "maintainer");
    assert_null(t->psk_identity);
    assert_null(policy_subject(p, 2));
    policy_unref(p);
}

static void explanations(void **state)
{
    (void)state;
    struct policy *p = load(text);
    struct policy_grant *g = grant(p, 0, "resident lights_w");
    static const struct {
        uint8_t method;
        const char *path;
        int64_t now_s;
        const char *want;
    } rows_[] = {
        {GET, "/door/a b", NOON, "permitted: GET /door/a%20b\nby: role resident, p.yaml:15"},
        {DELETE, "/door", NOON,
         "denied (not-method): DELETE /door\nnearest: role resident, p.yaml:15\n"
         "permitted on this path: GET, PUT\n"
         "missing: a rule; no authority may grant anything that permits this"},
        {PUT, "/lamp/state", LATE,
         "denied (condition): PUT /lamp/state\nnearest: role guest, p.yaml:10\n"
         "missing: hours (it is 2026-01-01 23:00 UTC)"},
        {PUT, "/lamp/x", NOON,
         "denied (beyond-authority): PUT /lamp/x\nnearest: scope lights_w, p.yaml:24\n"
         "missing: the token says so, but its authority may not grant it"},
        {GET, "/lamp/x", NOON,
         "denied (not-resource): GET /lamp/x\nheld here: guest, resident\n"
         "missing: 'lights_r', which home may grant"},
        {PUT, "/door/firmware", NOON,
         "denied (forbidden): PUT /door/firmware\nforbidden by: p.yaml:26"},
    };
    for (size_t i = 0; i < sizeof rows_ / sizeof *rows_; i++) {
        struct bytes seg[8];
        char storage[64], out[1024] = {0};
        struct policy_holding held = {g, true, POLICY_STRENGTH_PSK};
        struct policy_question q =
            ask(seg, split(rows_[i].path, seg, storage), rows_[i].method, &held, 1);
        q.now_s = rows_[i].now_s;
        struct policy_decision d;
        policy_decide(p, &q, &d);
        struct buf b = buf_on(out, sizeof out - 1);
        policy_explain(p, &q, &d, &b);
        assert_string_equal(out, rows_[i].want);
    }
    policy_grant_free(g);
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions), cmocka_unit_test(holdings),   cmocka_unit_test(reports),
        cmocka_unit_test(hints),     cmocka_unit_test(as_written), cmocka_unit_test(explanations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
