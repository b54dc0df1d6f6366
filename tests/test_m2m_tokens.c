/* Tokens of oneM2M at pep: each refused one is one mutation of a good one, each
 * denied request one of a permitted one; what is held survives what it should,
 * and ends with what it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../pep/revoke.h"
#include "../pep/store.h"
#include "support_m2m.h"

#define N(a) (sizeof(a) / sizeof *(a))

static struct m2m_house house;

static int make(void **state)
{
    (void)state;
    m2m_house_make(&house, NULL, NULL, NULL);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    m2m_house_clear(&house);
    return 0;
}

static struct pep_taken take(struct pep_session *s, struct bytes token, int format)
{
    struct pep_taken t;
    pep_take_token(house.pep, s, NULL, token, format, M2M_NOW, &t);
    return t;
}

static struct pep_decision ask_with(struct pep_session *s, enum m2m_operation op, const char *path,
                                    const char *originator, const struct bytes *tkns, size_t n)
{
    struct m2m_asking a;
    struct pep_decision d;
    m2m_ask_for(&a, op, path, originator);
    for (size_t i = 0; i < n; i++)
        a.m.tkns[a.m.n_tkns++] = tkns[i];
    memset(&d, 0xee, sizeof d);
    pep_authorize(house.pep, s, &a.r, M2M_NOW, &d);
    return d;
}

static struct pep_decision ask(struct pep_session *s, enum m2m_operation op, const char *path,
                               const char *originator)
{
    return ask_with(s, op, path, originator, NULL, 0);
}

static bool may(struct pep_session *s, enum m2m_operation op, const char *path)
{
    return ask(s, op, path, "Cphone").verdict == POLICY_PERMIT;
}

#define ANYWHERE        "\"ris\":[\"*\",\"*/*\",\"*/*/*\",\"*/*/*/*\"],"
#define PV(acr)         "{\"pm\":[{" ANYWHERE "\"pv\":{\"acr\":[" acr "]}}]}"
#define RIS(ris, rest)  "{\"pm\":[{\"ris\":[" ris "]," rest "}]}"
#define ACR(acor, acop) "{\"acor\":[" acor "],\"acop\":" #acop "}"
#define GUEST           "\"rids\":[\"guest@house.example\"]"

/* ---- tokens ---- */

static const struct token_row {
    const char *name;
    struct m2m_minting m;
    enum pep_err want;
} tokens[] = {
    {"good", {0}, PEP_OK},
    {"own names", {.own_names = true}, PEP_OK},
    {"PS256", {.key = "ps", .alg = "PS256"}, PEP_OK},
    {"RS256", {.key = "rs", .alg = "RS256"}, PEP_OK},
    {"EdDSA", {.key = "ed", .alg = "EdDSA"}, PEP_OK},
    {"HS256", {.key = "hs", .alg = "HS256"}, PEP_OK},
    {"nested, ECDH-ES", {.sealed = "ec-enc"}, PEP_OK},
    {"nested, dir", {.sealed = "dir"}, PEP_OK},
    {"nested, A128KW, own names", {.sealed = "kw", .own_names = true}, PEP_OK},
    {"encrypted alone, dir", {.sealed = "dir", .unsigned_inside = true}, PEP_OK},
    {"encrypted alone, A128KW", {.sealed = "kw", .unsigned_inside = true}, PEP_OK},
    {"encrypted alone, to a public key",
     {.sealed = "ec-enc", .unsigned_inside = true},
     PEP_PROTECTION},
    {"none", {.header = "{\"alg\":\"none\"}"}, PEP_PROTECTION},
    {"signed by another key of its kind",
     {.key = "rs", .alg = "RS256", .header = "{\"alg\":\"RS256\",\"kid\":\"es\"}"},
     PEP_PROTECTION},
    {"another type",
     {.header = "{\"alg\":\"ES256\",\"kid\":\"es\",\"typ\":\"logout+jwt\"}"},
     PEP_UNSUPPORTED},
    {"no type", {.header = "{\"alg\":\"ES256\",\"kid\":\"es\"}"}, PEP_OK},

    {"another issuer", {.iss = "\"//house.example/in-cse/da\""}, PEP_ISSUER},
    {"no issuer", {.iss = ""}, PEP_CLAIMS},
    {"no ID", {.jti = ""}, PEP_CLAIMS},
    {"no holder", {.azp = ""}, PEP_CLAIMS},
    {"holder, empty", {.azp = "\"\""}, PEP_CLAIMS},
    {"both names of the holder", {.more = ",\"tkhd\":\"" M2M_HOLDER "\""}, PEP_CLAIMS},
    {"names mixed", {.azp = "", .more = ",\"tkhd\":\"" M2M_HOLDER "\""}, PEP_OK},
    {"no end", {.exp = ""}, PEP_CLAIMS},
    {"ended", {.exp = "1795312800"}, PEP_EXPIRED},
    {"ends in a second", {.exp = "1795312801"}, PEP_OK},
    {"ended, own names", {.own_names = true, .exp = "\"20261122T020000\""}, PEP_EXPIRED},
    {"begins now", {.nbf = "1795312800"}, PEP_OK},
    {"begins in a second", {.nbf = "1795312801"}, PEP_NOT_YET},
    {"begins in a fraction", {.nbf = "1795312800.5"}, PEP_NOT_YET},
    {"no begin", {.nbf = ""}, PEP_OK},

    {"audience, none", {.aud = ""}, PEP_OK},
    {"audience, an empty list", {.aud = "[]"}, PEP_OK},
    {"audience, a text", {.aud = "\"//house.example/mn-cse\""}, PEP_OK},
    {"audience, within the provider", {.aud = "[\"/mn-cse\"]"}, PEP_OK},
    {"audience, wildcard", {.aud = "[\"//house.example/*\"]"}, PEP_OK},
    {"audience, wildcard of part", {.aud = "[\"//house.example/m*-cse\"]"}, PEP_OK},
    {"audience, any provider's", {.aud = "[\"//*/mn-cse\"]"}, PEP_OK},
    {"audience, wildcard across", {.aud = "[\"//*\"]"}, PEP_AUDIENCE},
    {"audience, a wildcard alone", {.aud = "[\"*\"]"}, PEP_AUDIENCE},
    {"audience, another CSE", {.aud = "[\"//house.example/mn-cse2\"]"}, PEP_AUDIENCE},
    {"audience, another provider", {.aud = "[\"//hotel.example/mn-cse\"]"}, PEP_AUDIENCE},
    {"audience, one of two", {.aud = "[\"//x/y\",\"//house.example/mn-cse\"]"}, PEP_OK},
    {"audience, no list", {.aud = "7"}, PEP_CLAIMS},
    {"audience, a device that is no CSE", {.aud = "[\"lamp\"]"}, PEP_AUDIENCE},

    {"no permissions", {.tkps = ""}, PEP_SCOPE},
    {"permissions, none in it", {.tkps = "{\"pm\":[]}"}, PEP_SCOPE},
    {"permissions, a role that is not here",
     {.tkps = "{\"pm\":[{\"rids\":[\"gast@house.example\"]}]}"},
     PEP_SCOPE},
    {"permissions, a role beyond the authority",
     {.tkps = "{\"pm\":[{\"rids\":[\"owner@house.example\"]}]}"},
     PEP_SCOPE},
    {"permissions, that and one within",
     {.tkps = "{\"pm\":[{\"rids\":[\"owner@house.example\",\"guest@house.example\"]}]}"},
     PEP_OK},
    {"permissions, rules", {.tkps = PV(ACR("\"all\"", 2))}, PEP_OK},
    {"permissions, a part that nobody knows",
     {.tkps = "{\"pm\":[{" GUEST ",\"when\":1}]}"},
     PEP_SCOPE},
    {"duplicate name", {.more = ",\"azp\":\"x\""}, PEP_CLAIMS},
    {"unknown claim", {.more = ",\"tkex\":\"x\",\"tkvr\":\"1\",\"tknm\":\"n\""}, PEP_OK},
    {"cnf of nothing", {.more = ",\"cnf\":{}"}, PEP_CONFIRMATION},
    {"a secret in the open",
     {.more = ",\"cnf\":{\"jwk\":{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODw\"}}"},
     PEP_CONFIRMATION},
    {"a secret, encrypted",
     {.more = ",\"cnf\":{\"jwk\":{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODw\"}}",
      .sealed = "ec-enc"},
     PEP_OK},
};

static void test_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(tokens); i++) {
        m2m_house_make(&house, NULL, NULL, NULL);
        struct pep_taken t = take(NULL, m2m_mint(&tokens[i].m), 42);
        if (t.err != tokens[i].want)
            fail_msg("%s: %s, wanted %s", tokens[i].name, pep_err_str(t.err),
                     pep_err_str(tokens[i].want));
        if (t.err == PEP_OK && t.code != 0x41)
            fail_msg("%s: code %x", tokens[i].name, t.code);
        m2m_house_clear(&house);
    }
}

/* Made by another implementation (vectors/make_m2m.py). */
static void test_vectors(void **state)
{
    (void)state;
    char name[32];
    m2m_house_put_keys(&house, jose_vector("m2m_tokens", "keys"));
    struct bytes count = jose_vector("m2m_tokens", "count");
    size_t n = 0;
    for (size_t i = 0; i < count.n; i++)
        n = n * 10 + (size_t)(count.p[i] - '0');
    assert_true(n >= 20);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "token%zu", i);
        struct bytes token = jose_vector("m2m_tokens", name);
        (void)snprintf(name, sizeof name, "name%zu", i);
        struct bytes told = jose_vector("m2m_tokens", name);
        struct pep_session *s = m2m_house_open(&house, "phone");
        struct pep_decision role = ask_with(s, M2M_UPDATE, "/cse/lamp/state", "Cphone", &token, 1),
                            rule = ask_with(s, M2M_RETRIEVE, "/cse/room/door", "Cphone", &token, 1),
                            none = ask_with(s, M2M_NOTIFY, "/cse/room/door", "Cphone", &token, 1);
        if (role.verdict != POLICY_PERMIT || rule.verdict != POLICY_PERMIT ||
            none.verdict == POLICY_PERMIT)
            fail_msg("%.*s: %s, %s, %s", (int)told.n, (const char *)told.p, role.reason,
                     rule.reason, none.reason);
        assert_int_equal(role.permission, 0);
        assert_int_equal(rule.permission, 1);
        /* each byte counts */
        uint8_t changed[TOKEN_MAX];
        memcpy(changed, token.p, token.n);
        for (size_t at = token.n - 1; at > 60; at -= 61) {
            uint8_t was = changed[at];
            struct pep_taken t;
            if (was == '.')
                continue;
            changed[at] = was == 'A' ? 'B' : 'A';
            pep_take_token(house.pep, NULL, NULL, bytes_of(changed, token.n), 42, M2M_NOW, &t);
            if (t.err == PEP_OK)
                fail_msg("%.*s: taken with another byte %zu", (int)told.n, (const char *)told.p,
                         at);
            changed[at] = was;
        }
        pep_session_close(s);
    }
}

/* ---- classes and algorithms ---- */

static const struct class_row {
    const char *name, *more; /* in the policy, of the authority */
    struct m2m_minting m;
    enum pep_err want;
} classes[] = {
    {"jws, asked for", "classes: [jws]", {0}, PEP_OK},
    {"jws, not", "classes: [jwe, nested]", {0}, PEP_PROTECTION},
    {"nested, asked for", "classes: nested", {.sealed = "ec-enc"}, PEP_OK},
    {"nested, not", "classes: [jws, jwe]", {.sealed = "ec-enc"}, PEP_PROTECTION},
    {"jwe, asked for", "classes: jwe", {.sealed = "dir", .unsigned_inside = true}, PEP_OK},
    {"jwe, not",
     "classes: [jws, nested]",
     {.sealed = "dir", .unsigned_inside = true},
     PEP_PROTECTION},
    {"an algorithm, named", "algorithms: [ES256]", {0}, PEP_OK},
    {"another", "algorithms: [PS256]", {0}, PEP_PROTECTION},
    {"by class, named", "algorithms: {jws: ES256, jwe: A256GCM, nested: PS256}", {0}, PEP_OK},
    {"by class, named for another",
     "algorithms: {jws: PS256, jwe: A256GCM, nested: ES256}",
     {0},
     PEP_PROTECTION},
    {"nested, all named",
     "algorithms: {jws: PS256, jwe: A256GCM, nested: [ES256, ECDH-ES+A128KW, A256GCM]}",
     {.sealed = "ec-enc"},
     PEP_OK},
    {"nested, not the inner",
     "algorithms: {jws: ES256, jwe: A256GCM, nested: [PS256, ECDH-ES+A128KW, A256GCM]}",
     {.sealed = "ec-enc"},
     PEP_PROTECTION},
    {"nested, not the wrap",
     "algorithms: {jws: ES256, jwe: ECDH-ES+A128KW, nested: [ES256, A128KW, A256GCM]}",
     {.sealed = "ec-enc"},
     PEP_PROTECTION},
    {"nested, not the encryption",
     "algorithms: {jws: ES256, jwe: A256GCM, nested: [ES256, ECDH-ES+A128KW, A128GCM]}",
     {.sealed = "ec-enc"},
     PEP_PROTECTION},
};

static void test_classes(void **state)
{
    (void)state;
    char to[256];
    for (size_t i = 0; i < N(classes); i++) {
        (void)snprintf(to, sizeof to, "    %s\n    bearer: deny\n", classes[i].more);
        m2m_house_make(&house, NULL, "    bearer: deny\n", to);
        struct pep_taken t = take(NULL, m2m_mint(&classes[i].m), 42);
        if (t.err != classes[i].want)
            fail_msg("%s: %s", classes[i].name, pep_err_str(t.err));
        m2m_house_clear(&house);
    }
}

static void test_formats(void **state)
{
    (void)state;
    static const int formats[] = {-1, 42, 16, 50, 60, 61, 0};
    for (size_t i = 0; i < N(formats); i++) {
        struct pep_taken t = take(NULL, m2m_mint(&(struct m2m_minting){0}), formats[i]);
        assert_int_equal(t.err, formats[i] == -1 || formats[i] == 42 ? PEP_OK : PEP_UNSUPPORTED);
    }
}

/* ---- requests ---- */

static const struct request_row {
    const char *name;
    const char *tkps;
    enum m2m_operation op;
    const char *path, *originator;
    const char *reason;
} requests[] = {
    {"a role", "{\"pm\":[{" GUEST "}]}", M2M_RETRIEVE, "/cse/lamp/state", "Cphone", "permitted"},
    {"a role, not that operation", "{\"pm\":[{" GUEST "}]}", M2M_DELETE, "/cse/lamp/state",
     "Cphone", "not-method"},
    {"a role, not that path", "{\"pm\":[{" GUEST "}]}", M2M_RETRIEVE, "/cse/meter", "Cphone",
     "not-resource"},
    {"a role, forbidden", "{\"pm\":[{" GUEST "}]}", M2M_RETRIEVE, "/cse/lamp/safe", "Cphone",
     "forbidden"},
    {"a role, originator within the provider", "{\"pm\":[{" GUEST "}]}", M2M_RETRIEVE,
     "/cse/lamp/state", "/mn-cse/Cphone", "permitted"},
    {"a role, originator in full", "{\"pm\":[{" GUEST "}]}", M2M_RETRIEVE, "/cse/lamp/state",
     M2M_HOLDER, "permitted"},
    {"a role whose rule does not hold now", "{\"pm\":[{\"rids\":[\"night@house.example\"]}]}",
     M2M_DELETE, "/cse/lamp/state", "Cphone", "condition"},
    {"another role beyond", "{\"pm\":[{\"rids\":[\"owner@house.example\"]},{" GUEST "}]}",
     M2M_DELETE, "/cse/meter", "Cphone", "beyond-authority"},

    {"ris, CSE-relative", RIS("\"lamp/state\"", GUEST), M2M_RETRIEVE, "/cse/lamp/state", "Cphone",
     "permitted"},
    {"ris, within the provider", RIS("\"/mn-cse/lamp/state\"", GUEST), M2M_RETRIEVE,
     "/cse/lamp/state", "Cphone", "permitted"},
    {"ris, absolute", RIS("\"//house.example/mn-cse/lamp/state\"", GUEST), M2M_RETRIEVE,
     "/cse/lamp/state", "Cphone", "permitted"},
    {"ris, another provider's", RIS("\"//hotel.example/mn-cse/lamp/state\"", GUEST), M2M_RETRIEVE,
     "/cse/lamp/state", "Cphone", "not-resource"},
    {"ris, another CSE's", RIS("\"/gym-cse/lamp/state\"", GUEST), M2M_RETRIEVE, "/cse/lamp/state",
     "Cphone", "not-resource"},
    {"ris, its parent", RIS("\"lamp\"", GUEST), M2M_RETRIEVE, "/cse/lamp/state", "Cphone",
     "not-resource"},
    {"ris, a pattern", RIS("\"lamp/*\"", GUEST), M2M_RETRIEVE, "/cse/lamp/state", "Cphone",
     "permitted"},
    {"ris, a pattern across", RIS("\"lamp/*\"", GUEST), M2M_RETRIEVE, "/cse/lamp/state/on",
     "Cphone", "not-resource"},
    {"ris, empty", RIS("", GUEST), M2M_RETRIEVE, "/cse/lamp/state", "Cphone", "not-resource"},
    {"ris of one permission, role of another",
     "{\"pm\":[{\"ris\":[\"lamp/state\"],\"pv\":{\"acr\":[]}},{\"ris\":[\"x\"]," GUEST "}]}",
     M2M_RETRIEVE, "/cse/lamp/state", "Cphone", "not-resource"},

    {"rules", PV(ACR("\"Cphone\"", 2)), M2M_RETRIEVE, "/cse/room/door", "Cphone", "permitted"},
    {"rules, as a bare list", "{\"pm\":[{" ANYWHERE "\"pv\":[" ACR("\"Cphone\"", 2) "]}]}",
     M2M_RETRIEVE, "/cse/room/door", "Cphone", "permitted"},
    {"rules, as a bare list, for another",
     "{\"pm\":[{" ANYWHERE "\"pv\":[" ACR("\"Cpanel\"", 2) "]}]}", M2M_RETRIEVE, "/cse/room/door",
     "Cphone", "not-resource"},
    {"rules that name no resource", "{\"pm\":[{\"pv\":{\"acr\":[" ACR("\"all\"", 63) "]}}]}",
     M2M_RETRIEVE, "/cse/room/door", "Cphone", "not-resource"},
    {"rules, absolute", PV(ACR("\"" M2M_HOLDER "\"", 2)), M2M_RETRIEVE, "/cse/room/door", "Cphone",
     "permitted"},
    {"rules, for another", PV(ACR("\"Cpanel\"", 2)), M2M_RETRIEVE, "/cse/room/door", "Cphone",
     "not-resource"},
    {"rules, all", PV(ACR("\"all\"", 2)), M2M_RETRIEVE, "/cse/room/door", "Cphone", "permitted"},
    {"rules, not that operation", PV(ACR("\"all\"", 16)), M2M_RETRIEVE, "/cse/room/door", "Cphone",
     "not-resource"},
    {"rules, beyond the authority's operations", PV(ACR("\"all\"", 63)), M2M_DELETE,
     "/cse/room/door", "Cphone", "beyond-authority"},
    {"rules, beyond its resources", PV(ACR("\"all\"", 63)), M2M_RETRIEVE, "/cse/lamp/state",
     "Cphone", "beyond-authority"},
    {"rules, forbidden", PV(ACR("\"all\"", 63)), M2M_RETRIEVE, "/cse/room/safe", "Cphone",
     "forbidden"},
    {"rules and ris", RIS("\"room/door\"", "\"pv\":{\"acr\":[" ACR("\"all\"", 2) "]}"),
     M2M_RETRIEVE, "/cse/room/door", "Cphone", "permitted"},
    {"rules and another ris", RIS("\"room/bath\"", "\"pv\":{\"acr\":[" ACR("\"all\"", 2) "]}"),
     M2M_RETRIEVE, "/cse/room/door", "Cphone", "not-resource"},
    {"rules by a role of the same permission",
     "{\"pm\":[{" ANYWHERE "\"rids\":[\"x@y\"],\"pv\":{\"acr\":[" ACR("\"x@y\"", 2) "]}}]}",
     M2M_RETRIEVE, "/cse/room/door", "Cphone", "permitted"},
    {"rules by a role that is not its own", PV(ACR("\"guest@house.example\"", 2)), M2M_RETRIEVE,
     "/cse/room/door", "Cphone", "not-resource"},
    {"permit overrides", PV(ACR("\"Cpanel\"", 2) "," ACR("\"all\"", 16) "," ACR("\"all\"", 2)),
     M2M_RETRIEVE, "/cse/room/door", "Cphone", "permitted"},
    {"time window, now",
     PV("{\"acor\":[\"all\"],\"acop\":2,\"acco\":[{\"actw\":[\"* * 2 * * * *\"]}]}"), M2M_RETRIEVE,
     "/cse/room/door", "Cphone", "permitted"},
    {"time window, not now",
     PV("{\"acor\":[\"all\"],\"acop\":2,\"acco\":[{\"actw\":[\"* * 3 * * * *\"]}]}"), M2M_RETRIEVE,
     "/cse/room/door", "Cphone", "not-resource"},
    {"a region, which nobody knows", PV("{\"acor\":[\"all\"],\"acop\":2,\"acco\":[{\"aclr\":{}}]}"),
     M2M_RETRIEVE, "/cse/room/door", "Cphone", "not-resource"},
    {"CREATE of a type", PV("{\"acor\":[\"all\"],\"acop\":1,\"acod\":[{\"chty\":[3]}]}"),
     M2M_CREATE, "/cse/room/door", "Cphone", "permitted"},
    {"CREATE of another type", PV("{\"acor\":[\"all\"],\"acop\":1,\"acod\":[{\"chty\":[4]}]}"),
     M2M_CREATE, "/cse/room/door", "Cphone", "not-resource"},

    {"for another CSE", "{\"pm\":[{" GUEST "}]}", M2M_RETRIEVE, "/other/lamp/state", "Cphone",
     "not-audience"},
};

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(requests); i++) {
        const struct request_row *row = &requests[i];
        m2m_house_make(&house, NULL, "permit: [{path: /cse/lamp/**, ",
                       "permit: [{path: /other/**, operations: [RETRIEVE]}, {path: /cse/lamp/**, ");
        struct pep_session *s = m2m_house_open(&house, "phone");
        struct bytes token = m2m_mint(&(struct m2m_minting){.tkps = row->tkps});
        struct pep_taken t = take(NULL, token, 42);
        if (t.err != PEP_OK)
            fail_msg("%s: %s", row->name, pep_err_str(t.err));
        struct pep_decision d = ask(s, row->op, row->path, row->originator);
        /* there its holder is another AE, and its token not in question */
        const char *want = strcmp(row->reason, "not-audience") == 0 ? "not-resource" : row->reason;
        if (strcmp(d.reason, want) != 0)
            fail_msg("%s: posted: %s, wanted %s", row->name, d.reason, want);
        bool permitted = strcmp(row->reason, "permitted") == 0;
        assert_int_equal(d.verdict, permitted ? POLICY_PERMIT : POLICY_DENY);
        if (permitted) {
            assert_int_equal(d.grant, t.grant);
            assert_string_equal(d.authority, "das");
            assert_int_equal(d.ends_s, 1795316400);
        }
        pep_session_close(s);
        m2m_house_clear(&house);
    }
}

/* What comes with the request is judged as what came before it. */
static void test_carried(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(requests); i++) {
        const struct request_row *row = &requests[i];
        m2m_house_make(&house, NULL, "permit: [{path: /cse/lamp/**, ",
                       "permit: [{path: /other/**, operations: [RETRIEVE]}, {path: /cse/lamp/**, ");
        struct pep_session *s = m2m_house_open(&house, "phone");
        struct bytes token = m2m_mint(&(struct m2m_minting){.tkps = row->tkps});
        struct pep_decision d = ask_with(s, row->op, row->path, row->originator, &token, 1);
        const char *want =
            strcmp(row->reason, "not-audience") == 0 ? "wrong-audience" : row->reason;
        if (strcmp(d.reason, want) != 0)
            fail_msg("%s: carried: %s, wanted %s", row->name, d.reason, want);
        if (d.verdict == POLICY_PERMIT)
            assert_int_equal(d.basis.kind, PEP_ON_TOKEN);
        /* and for that request alone */
        assert_int_equal(ask(s, row->op, row->path, row->originator).verdict, POLICY_DENY);
        struct m2m_asking a;
        m2m_ask_for(&a, row->op, row->path, row->originator);
        a.r.token = token;
        a.r.has_token = true;
        pep_authorize(house.pep, s, &a.r, M2M_NOW, &d);
        if (strcmp(d.reason, want) != 0)
            fail_msg("%s: option: %s, wanted %s", row->name, d.reason, want);
        pep_session_close(s);
        m2m_house_clear(&house);
    }
}

/* ---- whose it is ---- */

#define OCT_KEY "ICECAwQFBgcICQoLDA0ODw"
#define CNF     ",\"cnf\":{\"jwk\":{\"kty\":\"oct\",\"k\":\"" OCT_KEY "\",\"kid\":\"k\"}}"

static struct pep_session *open_kid(const char *kid)
{
    uint8_t text[32];
    struct buf b = buf_on(text, sizeof text);
    struct pep_proof proof;
    static const uint8_t front[] = {0xa1, 0x08, 0xa1, 0x01, 0xa2, 0x01, 0x04, 0x02};
    buf_put(&b, bytes_of(front, sizeof front));
    buf_put_u8(&b, (uint8_t)(0x40 + strlen(kid)));
    buf_put_str(&b, kid);
    assert_int_equal(pep_find_psk(house.pep, buf_bytes(&b), NULL, M2M_NOW, &proof), PEP_KEY_FOUND);
    struct pep_session *s = pep_session_open(house.pep, &proof);
    assert_non_null(s);
    return s;
}

static void test_holder(void **state)
{
    (void)state;
    static const struct {
        const char *name, *azp, *originator, *as;
        const char *want;
    } rows[] = {
        {"its own", "\"" M2M_HOLDER "\"", "Cphone", "phone", "permitted"},
        {"told within the provider", "\"/mn-cse/Cphone\"", "Cphone", "phone", "permitted"},
        {"told as the originator tells it", "\"Cphone\"", "Cphone", "phone", "permitted"},
        {"told shorter than the originator", "\"Cphone\"", M2M_HOLDER, "phone", "wrong-holder"},
        {"another AE's", "\"//house.example/mn-cse/Cpanel\"", "Cphone", "phone", "wrong-holder"},
        {"of another CSE", "\"//house.example/x-cse/Cphone\"", "Cphone", "phone", "wrong-holder"},
        {"of another provider", "\"//hotel.example/mn-cse/Cphone\"", "Cphone", "phone",
         "wrong-holder"},
        {"a pattern is no name", "\"//house.example/mn-cse/*\"", "Cphone", "phone", "wrong-holder"},
        {"longer", "\"" M2M_HOLDER "2\"", "Cphone", "phone", "wrong-holder"},
        {"another case", "\"//house.example/mn-cse/CPHONE\"", "Cphone", "phone", "wrong-holder"},
        {"spoofed by another association", "\"" M2M_HOLDER "\"", "Cphone", "panel",
         "bad-confirmation"},
    };
    for (size_t i = 0; i < N(rows); i++) {
        m2m_house_make(&house, NULL, NULL, NULL);
        struct pep_session *s = m2m_house_open(&house, rows[i].as);
        struct bytes token = m2m_mint(&(struct m2m_minting){.azp = rows[i].azp});
        struct pep_decision d =
            ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", rows[i].originator, &token, 1);
        bool permitted = strcmp(rows[i].want, "permitted") == 0;
        if (permitted ? d.verdict != POLICY_PERMIT : d.verdict == POLICY_PERMIT)
            fail_msg("%s: carried: %s", rows[i].name, d.reason);
        /* posted it is taken, for whoever it is for */
        if (strcmp(rows[i].as, "phone") == 0) {
            assert_int_equal(take(NULL, token, 42).err, PEP_OK);
            d = ask(s, M2M_RETRIEVE, "/cse/lamp/state", rows[i].originator);
            if (permitted != (d.verdict == POLICY_PERMIT))
                fail_msg("%s: posted: %s", rows[i].name, d.reason);
        }
        pep_session_close(s);
        m2m_house_clear(&house);
    }
}

/* The key that the token names is the association's: then its holder is who
 * asks, enrolled or not. */
static void test_cnf(void **state)
{
    (void)state;
    struct m2m_minting m = {.more = CNF, .sealed = "ec-enc"};
    struct pep_session *phone = m2m_house_open(&house, "phone");
    struct bytes token = m2m_mint(&m);
    /* an association that does not prove the key */
    struct pep_decision d = ask_with(phone, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", &token, 1);
    assert_string_equal(d.reason, "bad-confirmation");
    struct pep_taken t = take(NULL, token, 42);
    assert_int_equal(t.err, PEP_OK);
    assert_false(may(phone, M2M_RETRIEVE, "/cse/lamp/state"));
    struct pep_session *s = open_kid("k");
    /* its holder is enrolled: no authority gives that name to another key */
    assert_int_equal(ask(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone").rsc, M2M_NOT_AUTHENTICATED);
    pep_session_close(s);
    m.azp = "\"//house.example/mn-cse/Cguest\"";
    token = m2m_mint(&m);
    assert_int_equal(take(NULL, token, 42).err, PEP_OK);
    s = open_kid("k");
    assert_int_equal(ask(s, M2M_RETRIEVE, "/cse/lamp/state", "Cguest").verdict, POLICY_PERMIT);
    assert_int_equal(ask(s, M2M_RETRIEVE, "/cse/lamp/state", "Cpanel").rsc, M2M_NOT_AUTHENTICATED);
    d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cguest", &token, 1);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    assert_int_equal(pep_session_ends(s, M2M_NOW), 1795316400);
    assert_true(pep_session_ends(s, 1795316400) <= 1795316400);
    /* who is enrolled as that AE is nobody else, whatever an authority says */
    m.azp = "\"//house.example/mn-cse/Cpanel\"";
    m.jti = "\"t2@house.example\"";
    assert_int_equal(take(NULL, m2m_mint(&m), 42).err, PEP_OK);
    d = ask(s, M2M_RETRIEVE, "/cse/lamp/state", "Cpanel");
    assert_int_equal(d.verdict, POLICY_DENY);
    assert_int_equal(d.rsc, M2M_NOT_AUTHENTICATED);
    pep_session_close(s);
    pep_session_close(phone);
    /* the whole token as psk_identity */
    m = (struct m2m_minting){.more = CNF,
                             .sealed = "dir",
                             .jti = "\"t3@house.example\"",
                             .azp = "\"//house.example/mn-cse/Cguest\""};
    struct pep_proof proof;
    assert_int_equal(pep_find_psk(house.pep, m2m_mint(&m), NULL, M2M_NOW, &proof), PEP_KEY_FOUND);
    assert_int_equal(proof.kind, PEP_IDENTITY_TOKEN);
    s = pep_session_open(house.pep, &proof);
    assert_int_equal(ask(s, M2M_RETRIEVE, "/cse/lamp/state", "Cguest").verdict, POLICY_PERMIT);
    pep_session_close(s);
    m = (struct m2m_minting){.jti = "\"t4@house.example\""}; /* of no key, no PSK */
    assert_int_equal(pep_find_psk(house.pep, m2m_mint(&m), NULL, M2M_NOW, &proof), PEP_KEY_NONE);
}

/* bearer: allow: whoever brings it over an association passes for its holder,
 * as long as that association lasts. */
static void test_bearer(void **state)
{
    (void)state;
    struct bytes token = m2m_mint(&(struct m2m_minting){.azp = "\"//house.example/mn-cse/Cx\""});
    for (int allow = 0; allow < 2; allow++) {
        m2m_house_make(&house, NULL, "bearer: deny", allow ? "bearer: allow" : "bearer: deny");
        struct pep_session *s = m2m_house_open(&house, "phone");
        struct pep_decision d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cx", &token, 1);
        assert_int_equal(d.verdict == POLICY_PERMIT, allow);
        struct pep_taken t = take(s, token, 42);
        assert_int_equal(t.err, PEP_OK);
        d = ask(s, M2M_UPDATE, "/cse/lamp/state", "Cx");
        assert_int_equal(d.verdict == POLICY_PERMIT, allow);
        struct pep_session *other = m2m_house_open(&house, "phone");
        assert_int_equal(ask(other, M2M_UPDATE, "/cse/lamp/state", "Cx").verdict, POLICY_DENY);
        pep_session_close(other);
        pep_session_close(s);
        m2m_house_clear(&house);
    }
}

/* A token for another CSE says nothing here, not of whom it is either: else its
 * holder would be whoever has that name here. */
static void test_holder_elsewhere(void **state)
{
    (void)state;
    static const struct {
        const char *name, *azp, *aud;
        bool permitted;
    } rows[] = {
        {"for this CSE", "\"//house.example/mn-cse/Cx\"", "[\"/mn-cse\"]", true},
        {"for another", "\"//house.example/mn-cse/Cx\"", "[\"/gym-cse\"]", false},
        {"told shortly, for this", "\"Cx\"", "[\"/mn-cse\"]", true},
        {"told shortly, for another", "\"Cx\"", "[\"/gym-cse\"]", false},
    };
    for (size_t i = 0; i < N(rows); i++) {
        m2m_house_make(&house, NULL, "bearer: deny", "bearer: allow");
        struct pep_session *s = m2m_house_open(&house, "panel");
        assert_int_equal(ask(s, M2M_DELETE, "/cse/lamp/state", "Cx").rsc, M2M_NOT_AUTHENTICATED);
        const struct m2m_minting m = {.azp = rows[i].azp, .aud = rows[i].aud};
        assert_int_equal(take(s, m2m_mint(&m), 42).err, PEP_OK);
        struct pep_decision d = ask(s, M2M_DELETE, "/cse/lamp/state", "Cx");
        if (rows[i].permitted != (d.verdict == POLICY_PERMIT) ||
            (!rows[i].permitted && d.rsc != M2M_NOT_AUTHENTICATED))
            fail_msg("%s: %s, %u", rows[i].name, d.reason, d.rsc);
        pep_session_close(s);
        m2m_house_clear(&house);
    }
}

/* An ID is no secret: it brings nobody what only showing the token does. */
static void test_holder_by_id(void **state)
{
    (void)state;
    struct m2m_asking a;
    struct pep_decision d;
    struct bytes token = m2m_mint(&(struct m2m_minting){.azp = "\"//house.example/mn-cse/Cx\""});
    m2m_house_make(&house, NULL, "bearer: deny", "bearer: allow");
    struct pep_session *s = m2m_house_open(&house, "panel"),
                       *other = m2m_house_open(&house, "phone");
    d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cx", &token, 1);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    char lti[M2M_ID_MAX];
    const uint8_t *colon = memchr(d.ati.p, ':', d.ati.n);
    assert_non_null(colon);
    size_t n = (size_t)(colon - d.ati.p);
    memcpy(lti, d.ati.p, n);
    for (int by_lti = 0; by_lti < 2; by_lti++) {
        m2m_ask_for(&a, M2M_RETRIEVE, "/cse/lamp/state", "Cx");
        if (by_lti)
            a.m.ltids[a.m.n_ltids++] = bytes_of(lti, n);
        else
            a.m.tids[a.m.n_tids++] = BYTES_LIT("t1@house.example");
        pep_authorize(house.pep, other, &a.r, M2M_NOW, &d);
        assert_int_equal(d.outcome, PEP_DENY);
        assert_string_equal(d.reason, "bad-confirmation");
    }
    pep_session_close(other);
    pep_session_close(s);
    m2m_house_clear(&house);
}

/* While a policy is tried out, a token that fails speaks for nobody: the
 * originator that it was to prove never reaches the CSE. */
static void test_holder_reported(void **state)
{
    (void)state;
    static const struct {
        const char *name, *azp, *originator;
        enum pep_outcome want;
    } rows[] = {
        {"its own", "\"" M2M_HOLDER "\"", "Cphone", PEP_FORWARD},
        {"its own, a token that fails", "\"x\"", "Cphone", PEP_FORWARD},
        {"another's, whose token it proves", "\"Cx\"", "Cx", PEP_FORWARD},
        {"another's, a token that fails", "\"x\"", "Cx", PEP_DENY},
        {"another's, enrolled", "\"Cpanel\"", "Cpanel", PEP_DENY},
    };
    m2m_house_make(&house, NULL, "bearer: deny", "bearer: allow");
    static char text[8192];
    const char *deny = strstr(m2m_policy_text, "bearer: deny");
    (void)snprintf(text, sizeof text, "mode: report\n%.*sbearer: allow%s",
                   (int)(deny - m2m_policy_text), m2m_policy_text, deny + 12);
    struct policy *p = policy_load("policy.yaml", bytes_str(text), "0", &house.diag);
    assert_true(p && pep_load(house.pep, p, house.dir, M2M_NOW, &house.diag));
    policy_unref(p);
    for (size_t i = 0; i < N(rows); i++) {
        struct pep_session *s = m2m_house_open(&house, "phone");
        struct bytes token = m2m_mint(&(struct m2m_minting){.azp = rows[i].azp});
        struct pep_decision d =
            ask_with(s, M2M_DELETE, "/cse/lamp/state", rows[i].originator, &token, 1);
        if (d.outcome != rows[i].want || d.verdict == POLICY_PERMIT)
            fail_msg("%s: %d, %s", rows[i].name, (int)d.outcome, d.reason);
        pep_session_close(s);
    }
    m2m_house_clear(&house);
}

/* ---- several ---- */

static void test_several(void **state)
{
    (void)state;
    struct pep_session *s = m2m_house_open(&house, "phone");
    struct bytes guest = m2m_mint(&(struct m2m_minting){0}),
                 room = m2m_mint(&(struct m2m_minting){.jti = "\"t2@house.example\"",
                                                       .tkps = PV(ACR("\"all\"", 2))}),
                 over = m2m_mint(&(struct m2m_minting){.exp = "1795312800"}),
                 good[] = {guest, room}, bad[] = {guest, over};
    struct pep_decision d = ask_with(s, M2M_RETRIEVE, "/cse/room/door", "Cphone", good, 2);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", good, 2);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    /* one bad token fails the request, whatever the others say */
    d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", bad, 2);
    assert_string_equal(d.reason, "token-expired");
    assert_int_equal(d.verdict, POLICY_DENY);
    /* posted ones add up; those of one ID replace each other */
    assert_int_equal(take(NULL, guest, 42).replaced, false);
    assert_int_equal(take(NULL, room, 42).replaced, false);
    assert_int_equal(take(NULL, room, 42).replaced, false);
    assert_true(may(s, M2M_RETRIEVE, "/cse/lamp/state") && may(s, M2M_RETRIEVE, "/cse/room/door"));
    struct bytes less = m2m_mint(
        &(struct m2m_minting){.jti = "\"t2@house.example\"", .tkps = PV(ACR("\"all\"", 16))});
    assert_int_equal(take(NULL, less, 42).replaced, true);
    assert_true(may(s, M2M_RETRIEVE, "/cse/lamp/state"));
    assert_false(may(s, M2M_RETRIEVE, "/cse/room/door"));
    assert_true(may(s, M2M_NOTIFY, "/cse/room/door"));
    /* ... up to a bound */
    for (int i = 3; i < 12; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "\"t%d@house.example\"", i);
        struct pep_taken t = take(NULL, m2m_mint(&(struct m2m_minting){.jti = id}), 42);
        assert_int_equal(t.err, i <= 8 ? PEP_OK : PEP_FULL);
    }
    /* what lasts longer takes the place of what ends first; what ends before does not */
    struct m2m_minting late = {.jti = "\"late\"", .exp = "1795316500"},
                       soon = {.jti = "\"soon\"", .exp = "1795316300"};
    assert_int_equal(take(NULL, m2m_mint(&soon), 42).err, PEP_FULL);
    struct pep_taken t = take(NULL, m2m_mint(&late), 42);
    assert_int_equal(t.err, PEP_OK);
    assert_true(t.replaced);
    pep_session_close(s);
}

/* ---- roles that the request names ---- */

static void test_narrow(void **state)
{
    (void)state;
    static const struct {
        const char *rids[2];
        enum m2m_operation op;
        const char *path;
        bool permitted;
    } rows[] = {
        {{0}, M2M_RETRIEVE, "/cse/lamp/state", true},
        {{"guest@house.example"}, M2M_RETRIEVE, "/cse/lamp/state", true},
        {{"night@house.example", "guest@house.example"}, M2M_RETRIEVE, "/cse/lamp/state", true},
        {{"night@house.example"}, M2M_RETRIEVE, "/cse/lamp/state", false},
        {{"owner@house.example"}, M2M_RETRIEVE, "/cse/lamp/state", false},
        {{"owner@house.example"}, M2M_DELETE, "/cse/lamp/state", false},
        {{"x@y"}, M2M_RETRIEVE, "/cse/lamp/state", false},
        /* rules of its own, by a role and by its holder */
        {{0}, M2M_NOTIFY, "/cse/room/door", true},
        {{"guest@house.example"}, M2M_NOTIFY, "/cse/room/door", true},
        {{"night@house.example"}, M2M_NOTIFY, "/cse/room/door", false},
        {{"night@house.example"}, M2M_RETRIEVE, "/cse/room/door", true},
    };
    struct pep_session *s = m2m_house_open(&house, "phone");
    struct bytes token = m2m_mint(&(struct m2m_minting){
        .tkps = "{\"pm\":[{" ANYWHERE "\"rids\":[\"guest@house.example\"],\"pv\":{\"acr\":[" ACR(
            "\"guest@house.example\"", 16) "," ACR("\"Cphone\"", 2) "]}}]}"});
    assert_int_equal(take(NULL, token, 42).err, PEP_OK);
    for (size_t i = 0; i < N(rows); i++) {
        struct m2m_asking a;
        struct pep_decision d;
        m2m_ask_for(&a, rows[i].op, rows[i].path, "Cphone");
        for (; a.m.n_rids < 2 && rows[i].rids[a.m.n_rids]; a.m.n_rids++)
            a.m.rids[a.m.n_rids] = bytes_str(rows[i].rids[a.m.n_rids]);
        pep_authorize(house.pep, s, &a.r, M2M_NOW, &d);
        if ((d.verdict == POLICY_PERMIT) != rows[i].permitted)
            fail_msg("row %zu: %s", i, d.reason);
    }
    pep_session_close(s);
}

/* ---- tokens by their IDs ---- */

static struct pep_decision ask_by(struct pep_session *s, const char *originator, const char *ltid,
                                  const char *tid, int64_t now_s)
{
    struct m2m_asking a;
    struct pep_decision d;
    m2m_ask_for(&a, M2M_RETRIEVE, "/cse/lamp/state", originator);
    if (ltid)
        a.m.ltids[a.m.n_ltids++] = bytes_str(ltid);
    if (tid)
        a.m.tids[a.m.n_tids++] = bytes_str(tid);
    pep_authorize(house.pep, s, &a.r, now_s, &d);
    return d;
}

/* The first local ID in an ATI. */
static char *local_of(const struct pep_decision *d)
{
    static char texts[32][M2M_ID_MAX + 1];
    static unsigned turn;
    char *text = texts[turn++ % 32];
    const uint8_t *colon = d->ati.n ? memchr(d->ati.p, ':', d->ati.n) : NULL;
    if (!colon)
        fail_msg("no ATI");
    (void)snprintf(text, sizeof *texts, "%.*s", (int)(colon - d->ati.p), (const char *)d->ati.p);
    return text;
}

static void test_local_ids(void **state)
{
    (void)state;
    struct pep_session *s = m2m_house_open(&house, "phone"),
                       *panel = m2m_house_open(&house, "panel");
    struct bytes t[] = {m2m_mint(&(struct m2m_minting){0}),
                        m2m_mint(&(struct m2m_minting){.jti = "\"t2@house.example\""})};
    struct pep_decision d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", t, 2);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    char *lti = local_of(&d), want[256];
    const uint8_t *plus = memchr(d.ati.p, '+', d.ati.n);
    assert_non_null(plus);
    (void)snprintf(want, sizeof want, "%s:t1@house.example+", lti);
    assert_memory_equal(d.ati.p, want, strlen(want));
    assert_memory_equal(d.ati.p + d.ati.n - 17, ":t2@house.example", 17);
    /* shown again: the same one; an observation is not told */
    d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", t, 1);
    assert_string_equal(local_of(&d), lti);
    struct m2m_asking a;
    m2m_ask_for(&a, M2M_RETRIEVE, "/cse/lamp/state", "Cphone");
    a.m.tkns[a.m.n_tkns++] = t[0];
    a.r.continued = true;
    pep_authorize(house.pep, s, &a.r, M2M_NOW, &d);
    assert_int_equal(d.ati.n, 0);

    static const struct {
        const char *name, *originator, *tid, *want;
        bool local, other;
    } rows[] = {
        {"local ID", "Cphone", NULL, "permitted", true, false},
        {"local ID, told in full", M2M_HOLDER, NULL, "permitted", true, false},
        {"ID", "Cphone", "t1@house.example", "permitted", false, false},
        {"ID and local ID", "Cphone", "t2@house.example", "permitted", true, false},
        {"none", "Cphone", NULL, "not-resource", false, false},
        {"another ID", "Cphone", "t3@house.example", "unknown-token-id", false, false},
        {"another ID beside a good one", "Cphone", "t3@house.example", "unknown-token-id", true,
         false},
        {"of another's", "Cpanel", NULL, "unknown-token-id", true, true},
        {"ID of another's", "Cpanel", "t1@house.example", "unknown-token-id", false, true},
    };
    for (size_t i = 0; i < N(rows); i++) {
        d = ask_by(rows[i].other ? panel : s, rows[i].originator, rows[i].local ? lti : NULL,
                   rows[i].tid, M2M_NOW);
        if (strcmp(d.reason, rows[i].want) != 0)
            fail_msg("%s: %s", rows[i].name, d.reason);
        if (strcmp(d.reason, "unknown-token-id") == 0) {
            assert_int_equal(d.code, 0x83);
            assert_int_equal(d.rsc, M2M_NO_PRIVILEGE);
        }
        if (rows[i].tid && d.verdict == POLICY_PERMIT)
            assert_true(d.ati.n > 0);
    }
    /* it ends with its token */
    assert_string_equal(ask_by(s, "Cphone", lti, NULL, 1795316400).reason, "token-expired");
    assert_string_equal(ask_by(s, "Cphone", lti, NULL, M2M_NOW).reason, "unknown-token-id");
    d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", t, 1);
    char *next = local_of(&d);
    assert_string_not_equal(next, lti);
    struct pep_revoked out;
    struct pep_revoking r = {.kind = REVOKED_HASH, .token = t[0]};
    assert_int_equal(pep_revoke(house.pep, &r, M2M_NOW, &out), REVOCATION_OK);
    assert_string_equal(ask_by(s, "Cphone", next, NULL, M2M_NOW).reason, "token-revoked");
    assert_string_equal(ask_by(s, "Cphone", next, NULL, M2M_NOW).reason, "unknown-token-id");
    /* what was posted is known by its ID */
    assert_int_equal(take(NULL, t[1], 42).err, PEP_OK);
    assert_string_equal(ask_by(s, "Cphone", NULL, "t2@house.example", M2M_NOW).reason, "permitted");
    pep_session_close(s);
    pep_session_close(panel);
}

static void test_local_bounds(void **state)
{
    (void)state;
    struct pep_session *s = m2m_house_open(&house, "phone");
    char *first = NULL, *last = NULL, id[64];
    for (int i = 0; i < 17; i++) {
        (void)snprintf(id, sizeof id, "\"n%d@house.example\"", i);
        struct bytes t = m2m_mint(&(struct m2m_minting){.jti = id});
        struct pep_decision d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", &t, 1);
        assert_int_equal(d.verdict, POLICY_PERMIT);
        last = local_of(&d);
        first = first ? first : last;
    }
    assert_string_equal(ask_by(s, "Cphone", first, NULL, M2M_NOW).reason, "unknown-token-id");
    assert_string_equal(ask_by(s, "Cphone", last, NULL, M2M_NOW).reason, "permitted");
    /* what ATI cannot tell is given none */
    struct bytes odd = m2m_mint(&(struct m2m_minting){.jti = "\"a:b+c\""});
    struct pep_decision d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", &odd, 1);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    assert_int_equal(d.ati.n, 0);
    pep_session_close(s);
}

/* ---- what holds of all tokens ---- */

static uint32_t seed = 20261122;

static uint32_t any(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void put_list(struct buf *b, const char *const *of, uint32_t n_of)
{
    buf_put_u8(b, '[');
    bool some = false;
    for (uint32_t i = 0; i < n_of; i++)
        if (any(3) == 0) {
            buf_put_str(b, some ? ",\"" : "\"");
            buf_put_str(b, of[i]);
            buf_put_u8(b, '"');
            some = true;
        }
    buf_put_u8(b, ']');
}

static const char *const role_ids[] = {"guest@house.example", "night@house.example",
                                       "owner@house.example", "x@y"};
static const char *const places[] = {
    "lamp/state", "room/door", "room/*", "lamp/safe", "/mn-cse/room/safe",
    "*",          "*/*",       "*/*/*",  "meter"};
static const char *const people[] = {"Cphone", "all", "Cpanel", "guest@house.example",
                                     "/mn-cse/C*"};

static void put_permission(struct buf *b)
{
    char acop[32];
    buf_put_str(b, "{");
    if (any(2)) {
        buf_put_str(b, "\"ris\":");
        put_list(b, places, N(places));
        buf_put_u8(b, ',');
    }
    bool rules = any(3) > 0;
    if (rules) {
        buf_put_str(b, "\"pv\":{\"acr\":[{\"acor\":");
        put_list(b, people, N(people));
        (void)snprintf(acop, sizeof acop, ",\"acop\":%u}]}", any(64));
        buf_put_str(b, acop);
    }
    if (!rules || any(2)) {
        buf_put_str(b, rules ? ",\"rids\":" : "\"rids\":");
        put_list(b, role_ids, N(role_ids));
    }
    buf_put_str(b, "}");
}

static struct bytes any_token(const char *id)
{
    static char text[2048];
    struct buf b = buf_on(text, sizeof text - 1);
    buf_put_str(&b, "{\"pm\":[");
    for (uint32_t n = 1 + any(3), i = 0; i < n; i++) {
        if (i)
            buf_put_u8(&b, ',');
        put_permission(&b);
    }
    buf_put_str(&b, "]}");
    text[b.n] = 0;
    return m2m_mint(&(struct m2m_minting){.jti = id, .tkps = text});
}

static const char *const paths[] = {"/cse/lamp/state", "/cse/lamp/safe", "/cse/room/door",
                                    "/cse/room/safe",  "/cse/meter",     "/cse/room/door/x"};

/* Whether these tokens together may do what; bit by path and operation. */
static uint64_t all_of(struct pep_session *s, const struct bytes *of, size_t n,
                       const struct bytes *rids, size_t n_rids)
{
    uint64_t out = 0;
    for (size_t p = 0; p < N(paths); p++)
        for (int op = M2M_CREATE; op <= M2M_DISCOVERY; op++) {
            struct m2m_asking a;
            struct pep_decision d;
            m2m_ask_for(&a, (enum m2m_operation)op, paths[p], "Cphone");
            for (size_t i = 0; i < n; i++)
                a.m.tkns[a.m.n_tkns++] = of[i];
            for (size_t i = 0; i < n_rids; i++)
                a.m.rids[a.m.n_rids++] = rids[i];
            pep_authorize(house.pep, s, &a.r, M2M_NOW, &d);
            if (d.verdict == POLICY_PERMIT)
                out |= UINT64_C(1) << (p * 8 + (size_t)op);
        }
    return out;
}

/* What may-grant and the roles that it names come to, less what is forbidden:
 * more than that no token gives. */
static uint64_t bound(void)
{
    uint64_t out = 0;
    static const struct {
        size_t path;
        unsigned operations;
    } most[] = {
        {0, 1u << M2M_RETRIEVE | 1u << M2M_UPDATE},
        {1, 1u << M2M_UPDATE},
        {2, 1u << M2M_RETRIEVE | 1u << M2M_NOTIFY | 1u << M2M_CREATE},
        {3, 1u << M2M_NOTIFY | 1u << M2M_CREATE},
        {5, 1u << M2M_RETRIEVE | 1u << M2M_NOTIFY | 1u << M2M_CREATE},
    };
    for (size_t i = 0; i < N(most); i++)
        out |= (uint64_t)most[i].operations << (most[i].path * 8);
    return out;
}

static void test_properties(void **state)
{
    (void)state;
    struct pep_session *s = m2m_house_open(&house, "phone");
    uint64_t seen = 0;
    for (int turn = 0; turn < 80; turn++) {
        struct bytes t[2] = {any_token("\"a@h\""), any_token("\"b@h\"")}, rids[2];
        uint64_t one = all_of(s, &t[0], 1, NULL, 0), two = all_of(s, &t[1], 1, NULL, 0);
        uint64_t both = all_of(s, t, 2, NULL, 0);
        seen |= both;
        if (one & ~bound() || two & ~bound())
            fail_msg("turn %d: beyond what its authority may grant", turn);
        if (both != (one | two))
            fail_msg("turn %d: two together are not their union", turn);
        size_t n = 1 + any(2);
        for (size_t i = 0; i < n; i++)
            rids[i] = bytes_str(role_ids[any(N(role_ids))]);
        if (all_of(s, t, 2, rids, n) & ~both)
            fail_msg("turn %d: roles in a request widen", turn);
    }
    if (seen != bound())
        fail_msg("not all was ever permitted: %llx of %llx", (unsigned long long)seen,
                 (unsigned long long)bound());
    pep_session_close(s);
}

/* ---- keeping and ending ---- */

static void test_restart(void **state)
{
    (void)state;
    struct store *store = store_open_memory();
    m2m_house_make(&house, store, NULL, NULL);
    struct bytes token = m2m_mint(&(struct m2m_minting){0});
    struct pep_taken t = take(NULL, token, 42);
    assert_int_equal(t.err, PEP_OK);
    pep_free(house.pep);
    house.pep = m2m_house_pep(&house, &(struct pep_config){.store = store});
    struct pep_session *s = m2m_house_open(&house, "phone");
    struct pep_decision d = ask(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone");
    assert_int_equal(d.verdict, POLICY_PERMIT);
    assert_int_equal(d.grant, t.grant);
    /* a policy under which less counts */
    assert_true(m2m_house_reload(&house, "roles: [guest, night]", "roles: [night]"));
    assert_string_equal(ask(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone").reason,
                        "beyond-authority");
    assert_false(pep_basis_holds(house.pep, s, &(struct pep_basis){0}, M2M_NOW) &&
                 may(s, M2M_RETRIEVE, "/cse/lamp/state"));
    assert_true(m2m_house_reload(&house, NULL, NULL));
    assert_true(may(s, M2M_RETRIEVE, "/cse/lamp/state"));
    /* one whose authority may protect tokens otherwise */
    assert_true(m2m_house_reload(&house, "bearer: deny", "classes: nested"));
    assert_false(may(s, M2M_RETRIEVE, "/cse/lamp/state"));
    assert_true(m2m_house_reload(&house, NULL, NULL));
    assert_false(may(s, M2M_RETRIEVE, "/cse/lamp/state"));
    pep_session_close(s);
    m2m_house_clear(&house);
    store_close(store);
}

/* Bound to a key it is known again by that. */
static void test_restart_cnf(void **state)
{
    (void)state;
    struct store *store = store_open_memory();
    m2m_house_make(&house, store, NULL, NULL);
    struct m2m_minting m = {
        .more = CNF, .sealed = "kw", .azp = "\"//house.example/mn-cse/Cguest\""};
    assert_int_equal(take(NULL, m2m_mint(&m), 42).err, PEP_OK);
    m.jti = "\"t2@house.example\"";
    m.tkps = PV(ACR("\"all\"", 2));
    assert_int_equal(take(NULL, m2m_mint(&m), 42).err, PEP_OK);
    pep_free(house.pep);
    house.pep = m2m_house_pep(&house, &(struct pep_config){.store = store});
    struct pep_session *s = open_kid("k");
    assert_string_equal(ask(s, M2M_RETRIEVE, "/cse/lamp/state", "Cguest").reason, "permitted");
    assert_string_equal(ask(s, M2M_RETRIEVE, "/cse/room/door", "Cguest").reason, "permitted");
    pep_session_close(s);
    m2m_house_clear(&house);
    store_close(store);
}

/* Signatures are checked elsewhere, one after another; the request is asked
 * again each time. */
static void test_checks(void **state)
{
    (void)state;
    m2m_house_make(&house, NULL, NULL, NULL);
    pep_free(house.pep);
    house.pep = m2m_house_pep(&house, &(struct pep_config){.checks_elsewhere = true});
    struct pep_session *s = m2m_house_open(&house, "phone");
    struct bytes t[] = {
        m2m_mint(&(struct m2m_minting){0}),
        m2m_mint(&(struct m2m_minting){.jti = "\"t2@house.example\"", .sealed = "ec-enc"}),
        m2m_mint(
            &(struct m2m_minting){.jti = "\"t3@house.example\"", .key = "hs", .alg = "HS256"})};
    for (int turn = 0; turn < 3; turn++) {
        struct pep_decision d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", t, 3);
        struct pep_check *c = pep_next_check(house.pep);
        if (turn == 2) {
            assert_int_equal(d.verdict, POLICY_PERMIT);
            assert_null(c);
            assert_true(d.ati.n > 0);
            break;
        }
        assert_int_equal(d.outcome, PEP_WAIT);
        assert_non_null(c);
        assert_int_equal(d.wait, pep_check_id(c));
        pep_check_run(c);
        pep_take_check(house.pep, c);
    }
    pep_settle(house.pep);
    pep_session_close(s);
    m2m_house_clear(&house);
}

static struct pep *colleague;

static bool tell(void *self, const struct store_op *ops, size_t n)
{
    (void)self;
    for (size_t i = 0; i < n; i++)
        pep_take_change(colleague, &ops[i], M2M_NOW);
    return true;
}

static bool visit_none(void *self, enum store_kind kind, store_visit_fn *visit, void *user)
{
    (void)self;
    (void)kind;
    (void)visit;
    (void)user;
    return true;
}

static void test_colleague(void **state)
{
    (void)state;
    static const struct store_backend backend = {.change = tell, .each = visit_none};
    static struct store to_colleague = {&backend, NULL};
    m2m_house_make(&house, NULL, NULL, NULL);
    pep_free(house.pep);
    colleague = m2m_house_pep(&house, &(struct pep_config){.worker = 1, .workers = 2});
    struct pep *own = house.pep = m2m_house_pep(
        &house,
        &(struct pep_config){.store = &to_colleague, .colleagues = &to_colleague, .workers = 2});
    assert_int_equal(take(NULL, m2m_mint(&(struct m2m_minting){0}), 42).err, PEP_OK);
    struct pep_session *s = m2m_house_open(&house, "phone");
    struct bytes token = m2m_mint(
        &(struct m2m_minting){.jti = "\"t2@house.example\"", .tkps = PV(ACR("\"all\"", 2))});
    struct pep_decision d = ask_with(s, M2M_RETRIEVE, "/cse/room/door", "Cphone", &token, 1);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    char *lti = local_of(&d);
    pep_session_close(s);
    /* as many as there may be, and one that takes the place of the first */
    for (int i = 0; i < 8; i++) {
        char id[32], exp[32];
        (void)snprintf(id, sizeof id, "\"m%d\"", i);
        (void)snprintf(exp, sizeof exp, "%d", 1795316401 + i);
        const struct m2m_minting m = {.jti = id, .exp = exp, .tkps = PV(ACR("\"all\"", 16))};
        assert_int_equal(take(NULL, m2m_mint(&m), 42).err, PEP_OK);
    }
    assert_int_equal(pep_grants_of(own, 0), 8);
    assert_int_equal(pep_grants_of(colleague, 0), 8);
    house.pep = colleague;
    s = m2m_house_open(&house, "phone");
    assert_false(may(s, M2M_RETRIEVE, "/cse/lamp/state")); /* that was the first */
    assert_true(may(s, M2M_NOTIFY, "/cse/room/door"));
    /* it is known, and for the room */
    assert_string_equal(ask_by(s, "Cphone", lti, NULL, M2M_NOW).reason, "beyond-authority");
    pep_session_close(s);
    house.pep = own;
    m2m_house_clear(&house);
    pep_free(colleague);
}

static void test_revoked(void **state)
{
    (void)state;
    struct pep_session *s = m2m_house_open(&house, "phone");
    struct pep_revoked out;
    static const struct {
        const char *name;
        struct pep_revoking r;
    } rows[] = {
        {"its ID", {.kind = REVOKED_ID, .value = {(const uint8_t *)"t1@house.example", 16}}},
        {"its holder",
         {.kind = REVOKED_SUBJECT,
          .value = {(const uint8_t *)M2M_HOLDER, sizeof M2M_HOLDER - 1},
          .until_s = REVOKED_FOR_GOOD}},
        {"its authority",
         {.kind = REVOKED_AUTHORITY,
          .authority = {(const uint8_t *)"das", 3},
          .until_s = REVOKED_FOR_GOOD}},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct bytes token = m2m_mint(&(struct m2m_minting){0});
        assert_int_equal(take(NULL, token, 42).err, PEP_OK);
        struct pep_decision d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", &token, 1);
        assert_int_equal(d.verdict, POLICY_PERMIT);
        assert_true(pep_basis_holds(house.pep, s, &d.basis, M2M_NOW));
        assert_int_equal(pep_revoke(house.pep, &rows[i].r, M2M_NOW, &out), REVOCATION_OK);
        if (out.ended != 1)
            fail_msg("%s: ended %zu", rows[i].name, out.ended);
        assert_false(pep_basis_holds(house.pep, s, &d.basis, M2M_NOW));
        assert_false(may(s, M2M_RETRIEVE, "/cse/lamp/state"));
        d = ask_with(s, M2M_RETRIEVE, "/cse/lamp/state", "Cphone", &token, 1);
        assert_string_equal(d.reason, "token-revoked");
        assert_int_equal(take(NULL, token, 42).err, PEP_REVOKED);
        assert_int_equal(pep_unrevoke(house.pep, &rows[i].r, &out), REVOCATION_OK);
    }
    /* the token itself */
    struct bytes token = m2m_mint(&(struct m2m_minting){0});
    assert_int_equal(take(NULL, token, 42).err, PEP_OK);
    struct pep_revoking r = {.kind = REVOKED_HASH, .token = token};
    assert_int_equal(pep_revoke(house.pep, &r, M2M_NOW, &out), REVOCATION_OK);
    assert_int_equal(out.ended, 1);
    assert_false(may(s, M2M_RETRIEVE, "/cse/lamp/state"));
    pep_session_close(s);
}

/* A request of another dialect has no originator, and so no holder's token. */
static void test_plain(void **state)
{
    (void)state;
    struct pep_session *s = m2m_house_open(&house, "phone");
    struct bytes token = m2m_mint(&(struct m2m_minting){.aud = "", .tkps = PV(ACR("\"all\"", 63))});
    assert_int_equal(take(s, token, 42).err, PEP_OK);
    struct m2m_asking a;
    struct pep_decision d;
    m2m_ask_for(&a, M2M_RETRIEVE, "/cse/room/door", "Cphone");
    pep_authorize(house.pep, s, &a.r, M2M_NOW, &d);
    assert_int_equal(d.verdict, POLICY_PERMIT);
    a.r.m2m = NULL;
    pep_authorize(house.pep, s, &a.r, M2M_NOW, &d);
    assert_int_equal(d.verdict, POLICY_DENY);
    a.r.token = token;
    a.r.has_token = true;
    pep_authorize(house.pep, s, &a.r, M2M_NOW, &d);
    assert_string_equal(d.reason, "wrong-holder");
    /* and without an association nobody has proved to be anybody */
    a.r.m2m = &a.m;
    pep_authorize(house.pep, NULL, &a.r, M2M_NOW, &d);
    assert_int_equal(d.verdict, POLICY_DENY);
    pep_session_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test_setup_teardown(test_vectors, make, drop),
        cmocka_unit_test(test_classes),
        cmocka_unit_test_setup_teardown(test_formats, make, drop),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_carried),
        cmocka_unit_test(test_holder),
        cmocka_unit_test_setup_teardown(test_cnf, make, drop),
        cmocka_unit_test(test_bearer),
        cmocka_unit_test(test_holder_elsewhere),
        cmocka_unit_test(test_holder_by_id),
        cmocka_unit_test(test_holder_reported),
        cmocka_unit_test_setup_teardown(test_several, make, drop),
        cmocka_unit_test_setup_teardown(test_narrow, make, drop),
        cmocka_unit_test_setup_teardown(test_local_ids, make, drop),
        cmocka_unit_test_setup_teardown(test_local_bounds, make, drop),
        cmocka_unit_test_setup_teardown(test_properties, make, drop),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_cnf),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_colleague),
        cmocka_unit_test_setup_teardown(test_revoked, make, drop),
        cmocka_unit_test_setup_teardown(test_plain, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
