#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../pep/cose.h"
#include "../pep/grants.h"
#include "../pep/hints.h"
#include "../pep/store.h"
#include "support_pep.h"

#define N(a)       (sizeof(a) / sizeof *(a))
#define CODE(c, d) ((uint8_t)((c) << 5 | (d)))
#define NOW        HOUSE_NOW

static struct house house;
static struct pep *pep;

static int setup(void **state)
{
    (void)state;
    if (!house_make(&house))
        return -1;
    pep = house_pep(&house, NULL, 32);
    if (!pep)
        print_error("%s\n", house.diag_text);
    return pep ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pep_free(pep);
    pep = NULL;
    house_clear(&house);
    return 0;
}

/* ---- steps ---- */

static struct pep_taken post_at(struct pep_session *s, const struct minting *m, int64_t now_s)
{
    uint8_t raw[TOKEN_MAX];
    struct pep_taken t;
    struct bytes token = house_mint(&house, m, raw);
    assert_true(token.n > 0);
    pep_take_token(pep, s, NULL, token, -1, now_s, &t);
    return t;
}

static struct pep_taken post(struct pep_session *s, const struct minting *m)
{
    return post_at(s, m, NOW);
}

static void post_ok(struct pep_session *s, const struct minting *m)
{
    struct pep_taken t = post(s, m);
    if (t.err != PEP_OK)
        fail_msg("refused: %s", pep_err_str(t.err));
    assert_int_equal(t.code, CODE(2, 1));
    assert_true(t.grant != 0);
}

static enum pep_key_state find_kid(const char *kid, int64_t now_s, struct pep_proof *proof)
{
    uint8_t id[80];
    return pep_find_psk(pep, house_kid_identity(kid, strlen(kid), id), NULL, now_s, proof);
}

static struct pep_session *open_kid(const char *kid)
{
    struct pep_proof proof;
    assert_int_equal(find_kid(kid, NOW, &proof), PEP_KEY_FOUND);
    assert_int_equal(proof.kind, PEP_IDENTITY_KID);
    struct pep_session *s = pep_session_open(pep, &proof);
    assert_non_null(s);
    return s;
}

static struct pep_session *open_name(const char *name)
{
    struct pep_proof proof;
    assert_int_equal(pep_find_psk(pep, bytes_str(name), NULL, NOW, &proof), PEP_KEY_FOUND);
    return pep_session_open(pep, &proof);
}

static struct pep_decision ask_at(struct pep_session *s, uint8_t method, const char *path,
                                  int device, int64_t now_s)
{
    struct request r = house_request(method, path, device);
    struct pep_decision d;
    memset(&d, 0xee, sizeof d); /* every field is written */
    pep_authorize(pep, s, &r, now_s, &d);
    return d;
}

static struct pep_decision ask(struct pep_session *s, uint8_t method, const char *path, int device)
{
    return ask_at(s, method, path, device, NOW);
}

static bool may(struct pep_session *s, uint8_t method, const char *path, int device)
{
    struct pep_decision d = ask(s, method, path, device);
    assert_int_equal(d.outcome == PEP_FORWARD, d.verdict == POLICY_PERMIT);
    return d.verdict == POLICY_PERMIT;
}

static struct pep_stats stats(void)
{
    struct pep_stats s;
    pep_get_stats(pep, &s);
    return s;
}

enum { GET = 1, POST = 2, PUT = 3, DELETE = 4 };

/* ---- taking tokens ---- */

/* Each row is one mutation of the good token of its authority. */
static void taking(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct minting m;
        enum pep_err want;
        uint8_t code;
    } rows[] = {
        {"good", {.key = 1}, PEP_OK, CODE(2, 1)},
        {"good, public key", {.key = 2, .cnf = KEY_PUBLIC}, PEP_OK, CODE(2, 1)},
        {"good, no iss", {.key = 3, .iss = ""}, PEP_OK, CODE(2, 1)},
        {"good, for a device", {.key = 4, .aud = "lamp"}, PEP_OK, CODE(2, 1)},
        {"good, one of its audiences",
         {.key = 5, .aud = "elsewhere", .aud2 = "lamp"},
         PEP_OK,
         CODE(2, 1)},
        {"good, unknown words beside a known one",
         {.key = 6, .scope = "lights_r dance all_w"},
         PEP_OK,
         CODE(2, 1)},
        {"good, a role as a word", {.key = 7, .scope = "guest"}, PEP_OK, CODE(2, 1)},
        {"good, AIF", {.key = 8, .aif_path = "/lamp/state", .aif_mask = 1}, PEP_OK, CODE(2, 1)},
        {"good, of the other authority", {.key = 9, .as = VISITOR}, PEP_OK, CODE(2, 1)},
        {"good, derived key", {.as = DERIVE, .cnf = KEY_BARE, .kid = "d-kid"}, PEP_OK, CODE(2, 1)},
        {"nobody's key", {.key = 1, .stray = true}, PEP_UNKNOWN_KEY, CODE(4, 1)},
        {"another's iss", {.key = 1, .iss = "coaps://visitors"}, PEP_ISSUER, CODE(4, 1)},
        {"expired now", {.key = 1, .exp_in = -1}, PEP_EXPIRED, CODE(4, 1)},
        {"not yet", {.key = 1, .nbf_in = 1}, PEP_NOT_YET, CODE(4, 1)},
        {"no exp", {.key = 1, .exp_in = HOUSE_NEVER}, PEP_NO_EXPIRY, CODE(4, 1)},
        {"no aud", {.key = 1, .aud = ""}, PEP_AUDIENCE, CODE(4, 3)},
        {"another's aud", {.key = 1, .aud = "gateway.hom"}, PEP_AUDIENCE, CODE(4, 3)},
        {"name of a device that is no audience",
         {.key = 1, .aud = "meter"},
         PEP_AUDIENCE,
         CODE(4, 3)},
        {"no scope", {.key = 1, .scope = ""}, PEP_SCOPE, CODE(4, 0)},
        {"unknown scope", {.key = 1, .scope = "dance"}, PEP_SCOPE, CODE(4, 0)},
        {"beyond the authority", {.key = 1, .scope = "door_r all_w"}, PEP_SCOPE, CODE(4, 0)},
        {"AIF beyond the authority",
         {.key = 1, .aif_path = "/door/x", .aif_mask = 1},
         PEP_SCOPE,
         CODE(4, 0)},
        {"no cnf", {.cnf = KEY_NOBODYS}, PEP_CONFIRMATION, CODE(4, 0)},
        {"no cnf, bearer allowed, but no association",
         {.as = VISITOR, .cnf = KEY_NOBODYS},
         PEP_CONFIRMATION,
         CODE(4, 0)},
        {"kid of nobody", {.cnf = KEY_BY_KID, .kid = "nobody"}, PEP_CONFIRMATION, CODE(4, 0)},
        {"kid of another authority's key",
         {.as = VISITOR, .cnf = KEY_BY_KID, .kid = "\1"},
         PEP_CONFIRMATION,
         CODE(4, 0)},
        /* what is judged first is told first (RFC 9200 5.10.1.1) */
        {"iss before exp", {.key = 1, .iss = "x", .exp_in = -1}, PEP_ISSUER, CODE(4, 1)},
        {"exp before aud", {.key = 1, .exp_in = -1, .aud = "x"}, PEP_EXPIRED, CODE(4, 1)},
        {"aud before scope", {.key = 1, .aud = "x", .scope = "dance"}, PEP_AUDIENCE, CODE(4, 3)},
        {"scope before cnf", {.cnf = KEY_NOBODYS, .scope = "dance"}, PEP_SCOPE, CODE(4, 0)},
    };
    for (size_t i = 0; i < N(rows); i++) {
        uint64_t grants = stats().grants, refused = stats().refused;
        struct pep_taken t = post(NULL, &rows[i].m);
        if (t.err != rows[i].want || t.code != rows[i].code)
            fail_msg("%s: got %s %u.%02u", rows[i].name, pep_err_str(t.err), t.code >> 5,
                     t.code & 31);
        bool ok = rows[i].want == PEP_OK;
        assert_int_equal(stats().grants, grants + ok);
        assert_int_equal(stats().refused, refused + !ok);
        assert_int_equal(t.grant != 0, ok);
    }
}

static void taking_reports(void **state)
{
    (void)state;
    struct pep_taken t = post(
        NULL, &(struct minting){.key = 1, .sub = "ali\nce@x", .scope = "lights_r dance all_w hum"});
    assert_int_equal(t.err, PEP_OK);
    assert_int_equal(t.n_unknown, 2);
    assert_int_equal(t.n_beyond, 1);
    assert_string_equal(t.authority, "home-as");
    assert_string_equal(t.subject, "ali.ce.x@home-as");
    t = post(NULL, &(struct minting){.key = 2});
    assert_string_equal(t.subject, "kid:02@home-as");
    /* the clock was never set */
    t = post_at(NULL, &(struct minting){.key = 3}, HOUSE_BUILD - 1);
    assert_int_equal(t.err, PEP_CLOCK);
}

static void taking_bytes(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX + 1] = {0};
    struct pep_taken t;
    struct bytes good = house_mint(&house, &(struct minting){.key = 1, .cnf = KEY_PUBLIC}, raw);
    assert_true(good.n > 0);
    for (size_t n = 0; n < good.n; n++) {
        pep_take_token(pep, NULL, NULL, bytes_of(raw, n), -1, NOW, &t);
        assert_int_equal(t.err, PEP_MALFORMED);
        assert_int_equal(t.code, CODE(4, 0));
    }
    pep_take_token(pep, NULL, NULL, bytes_of(raw, sizeof raw), -1, NOW, &t);
    assert_int_equal(t.err, PEP_TOO_LARGE);
    raw[good.n - 1] ^= 1; /* the signature's end */
    pep_take_token(pep, NULL, NULL, good, -1, NOW, &t);
    assert_int_equal(t.err, PEP_PROTECTION);
    raw[good.n - 1] ^= 1;
    static const int formats[][2] = {{-1, 1}, {61, 1}, {18, 1}, {42, 1},
                                     {60, 1}, {0, 0},  {50, 0}, {19, 0}};
    for (size_t i = 0; i < N(formats); i++) {
        pep_take_token(pep, NULL, NULL, good, formats[i][0], NOW, &t);
        assert_int_equal(t.err, formats[i][1] ? PEP_OK : PEP_UNSUPPORTED);
        assert_int_equal(t.code, formats[i][1] ? CODE(2, 1) : CODE(4, 15));
    }
    assert_int_equal(stats().grants, 1);

    /* well protected, but no claims */
    struct buf b = buf_on(raw, sizeof raw);
    assert_int_equal(cose_write(crypto_alg(-7), &house.proof[HOME], BYTES_LIT("\xa1\x01\x02"), &b),
                     PEP_OK);
    pep_take_token(pep, NULL, NULL, buf_bytes(&b), -1, NOW, &t);
    assert_int_equal(t.err, PEP_CLAIMS);
    assert_int_equal(t.code, CODE(4, 0));
}

/* ---- requests ---- */

static void denials(void **state)
{
    (void)state;
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1", .scope = "lights_r night"});
    post_ok(NULL, &(struct minting){.key = 2, .kid = "k2", .aud = "lamp"});
    post_ok(NULL, &(struct minting){.key = 3, .kid = "k3", .scope = "guest door_r"});
    struct pep_session *s[] = {NULL, open_kid("k1"), open_kid("k2"), open_kid("k3"),
                               open_name("t7")};
    static const struct {
        const char *name;
        size_t s;
        uint8_t method;
        const char *path;
        int device;
        uint8_t code; /* 0: forwarded */
        const char *reason;
    } rows[] = {
        {"permitted", 1, GET, "/lamp/state", LAMP, 0, "permitted"},
        {"a stranger", 0, GET, "/lamp/state", LAMP, CODE(4, 1), "no-grant"},
        {"a stranger learns no method", 0, PUT, "/lamp/state", LAMP, CODE(4, 1), "no-grant"},
        {"not this method", 1, PUT, "/lamp/state", LAMP, CODE(4, 5), "not-method"},
        {"not this resource", 1, GET, "/meter/now", METER, CODE(4, 3), "not-resource"},
        {"forbidden", 1, GET, "/lamp/firmware", LAMP, CODE(4, 3), "forbidden"},
        {"forbidden outranks the method", 1, PUT, "/lamp/firmware", LAMP, CODE(4, 3), "forbidden"},
        {"device audience", 2, GET, "/lamp/state", LAMP, 0, "permitted"},
        {"device audience, other device", 2, GET, "/lamp/state", DOOR, CODE(4, 3), "not-audience"},
        {"device audience, no device", 2, GET, "/lamp/state", -1, CODE(4, 3), "not-audience"},
        {"gateway audience, no device", 1, GET, "/lamp/state", -1, 0, "permitted"},
        {"its authority may not", 3, GET, "/door/bell", DOOR, CODE(4, 3), "beyond-authority"},
        {"a role by token", 3, GET, "/lamp/guest", LAMP, 0, "permitted"},
        {"enrolled", 4, GET, "/meter/now", METER, 0, "permitted"},
        {"enrolled, not its resource", 4, GET, "/lamp/state", LAMP, CODE(4, 3), "not-resource"},
        {"enrolled, not its method", 4, PUT, "/meter/now", METER, CODE(4, 5), "not-method"},
        {"no such method", 1, 8, "/lamp/state", LAMP, CODE(4, 5), "not-method"},
        {"no such method, a stranger", 0, 8, "/lamp/state", LAMP, CODE(4, 1), "not-method"},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct pep_decision d = ask(s[rows[i].s], rows[i].method, rows[i].path, rows[i].device);
        bool forward = rows[i].code == 0;
        if (d.code != rows[i].code || strcmp(d.reason, rows[i].reason) != 0 ||
            d.outcome != (forward ? PEP_FORWARD : PEP_DENY) ||
            d.verdict != (forward ? POLICY_PERMIT : POLICY_DENY))
            fail_msg("%s: got %u.%02u %s", rows[i].name, d.code >> 5, d.code & 31, d.reason);
        assert_string_equal(d.policy_hash, "0123456789abcdef");
        assert_int_equal(d.payload_n > 0, d.code == CODE(4, 1));
    }
    struct pep_decision d = ask(s[1], GET, "/lamp/state", LAMP);
    assert_string_equal(d.authority, "home-as");
    assert_true(d.grant != 0 && d.ends_s == NOW + 3600);
    assert_string_equal(d.rule.file, "policy.yaml");
    d = ask(s[4], GET, "/meter/now", METER);
    assert_null(d.authority);
    assert_true(d.grant == 0 && d.ends_s == INT64_MAX);
    assert_string_equal(pep_session_subject(s[1]), "kid:6b31@home-as");
    assert_string_equal(pep_session_subject(s[4]), "thermostat-7");
    assert_string_equal(pep_session_subject(NULL), "unknown");
    struct request r = house_request(0, "/lamp/state", LAMP);
    assert_int_equal(pep_methods(pep, s[1], &r, NOW), POLICY_METHOD_BIT(GET));
    assert_int_equal(pep_methods(pep, NULL, &r, NOW), 0);
    for (size_t i = 1; i < N(s); i++)
        pep_session_close(s[i]);
    assert_int_equal(stats().sessions, 0);
}

static void condition(void **state)
{
    (void)state;
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1", .scope = "night"});
    struct pep_session *s = open_kid("k1");
    struct pep_decision d = ask(s, GET, "/lamp/night", LAMP);
    assert_int_equal(d.code, CODE(4, 3));
    assert_string_equal(d.reason, "condition");
    assert_string_equal(d.missing, "dates");
    pep_session_close(s);
}

static void hints(void **state)
{
    (void)state;
    static const struct {
        const char *name, *path;
        uint8_t method;
        int device;
        struct bytes want;
    } rows[] = {
        {"device with audience and authority", "/lamp/state", GET, LAMP,
         BYTES_LIT("\xa3\x01\x6f"
                   "coaps://as.home\x05\x64"
                   "lamp\x09\x68"
                   "lights_r")},
        {"the scope that would do", "/lamp/state", PUT, LAMP,
         BYTES_LIT("\xa3\x01\x6f"
                   "coaps://as.home\x05\x64"
                   "lamp\x09\x68"
                   "lights_w")},
        {"no scope would do", "/lamp/state", DELETE, LAMP,
         BYTES_LIT("\xa2\x01\x6f"
                   "coaps://as.home\x05\x64"
                   "lamp")},
        {"the device's authority", "/door/bell", GET, DOOR,
         BYTES_LIT("\xa3\x01\x70"
                   "coaps://visitors\x05\x64"
                   "door\x09\x66"
                   "door_r")},
        {"first authority, gateway's audience", "/x", GET, METER,
         BYTES_LIT("\xa2\x01\x6f"
                   "coaps://as.home\x05\x6c"
                   "gateway.home")},
        {"no device", "/x", GET, -1,
         BYTES_LIT("\xa2\x01\x6f"
                   "coaps://as.home\x05\x6c"
                   "gateway.home")},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct pep_decision d = ask(NULL, rows[i].method, rows[i].path, rows[i].device);
        assert_int_equal(d.code, CODE(4, 1));
        assert_int_equal(d.content_format, HINTS_FORMAT);
        if (!bytes_equal(bytes_of(d.payload, d.payload_n), rows[i].want))
            fail_msg("%s: got %.*s", rows[i].name, (int)d.payload_n, (const char *)d.payload);
    }
    /* what does not fit is left out, the least useful first */
    static uint8_t big[400];
    memset(big, 'a', sizeof big);
    struct bytes l = bytes_of(big, 300), s = bytes_of(big, 30);
    static const struct {
        size_t as, audience, scope;
        uint8_t map;
        size_t n;
    } sizes[] = {{1, 1, 1, 0xa3, 10},  {1, 1, 0, 0xa2, 7},   {0, 0, 0, 0, 0},
                 {2, 2, 1, 0xa2, 308}, {2, 1, 2, 0xa2, 308}, {1, 2, 2, 0xa2, 308}};
    for (size_t i = 0; i < N(sizes); i++) {
        uint8_t out[512];
        struct buf b = buf_on(out, sizeof out);
        struct hints h = {.as = bytes_of(big, sizes[i].as == 2 ? 300 : sizes[i].as),
                          .audience =
                              bytes_of(big, sizes[i].audience == 2 ? 300 : sizes[i].audience),
                          .scope = bytes_of(big, sizes[i].scope == 2 ? 300 : sizes[i].scope)};
        hints_write(&h, &b);
        assert_false(b.full);
        assert_int_equal(b.n, sizes[i].n);
        if (b.n)
            assert_int_equal(out[0], sizes[i].map);
    }
    uint8_t out[512];
    struct buf b = buf_on(out, sizeof out);
    hints_write(&(struct hints){.as = l, .audience = s, .scope = s}, &b);
    assert_memory_equal(out, "\xa3\x01\x79\x01\x2c", 5);
}

static void report_mode(void **state)
{
    (void)state;
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1"});
    struct pep_session *s = open_kid("k1");
    assert_true(house_reload(&house, pep, "mode: enforce", "mode: report"));
    struct pep_decision d = ask(s, PUT, "/lamp/state", LAMP);
    assert_int_equal(d.outcome, PEP_FORWARD);
    assert_int_equal(d.verdict, POLICY_DENY);
    assert_string_equal(d.reason, "not-method");
    /* without an association nothing passes */
    d = ask(NULL, GET, "/lamp/state", LAMP);
    assert_int_equal(d.outcome, PEP_DENY);
    assert_int_equal(d.code, CODE(4, 1));
    pep_session_close(s);
}

/* ---- replacing and combining ---- */

static void replacement(void **state)
{
    (void)state;
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1"});
    struct pep_session *s = open_kid("k1");
    assert_true(may(s, GET, "/lamp/state", LAMP));
    assert_false(may(s, PUT, "/lamp/state", LAMP));
    /* same key, same authority: replaced, and the association has it at once */
    struct pep_taken t = post(s, &(struct minting){.key = 1, .kid = "k1", .scope = "lights_w"});
    assert_true(t.err == PEP_OK && t.replaced);
    assert_false(may(s, GET, "/lamp/state", LAMP));
    assert_true(may(s, PUT, "/lamp/state", LAMP));
    assert_int_equal(stats().grants, 1);
    /* the key by reference (RFC 9202 4) */
    t = post(NULL, &(struct minting){.cnf = KEY_BY_KID, .kid = "k1", .scope = "lights_r lights_w"});
    assert_true(t.err == PEP_OK && t.replaced);
    assert_true(may(s, GET, "/lamp/state", LAMP) && may(s, PUT, "/lamp/state", LAMP));
    /* a COSE_Key without k is a reference too */
    t = post(NULL, &(struct minting){.cnf = KEY_BARE, .kid = "k1"});
    assert_true(t.err == PEP_OK && t.replaced);
    assert_false(may(s, PUT, "/lamp/state", LAMP));
    /* another authority with the same key: combined */
    t = post(NULL, &(struct minting){.as = VISITOR, .key = 1, .kid = "k1"});
    assert_true(t.err == PEP_OK && !t.replaced);
    assert_int_equal(stats().grants, 2);
    assert_true(may(s, GET, "/lamp/state", LAMP) && may(s, GET, "/door/bell", DOOR));
    /* a refused one leaves everything as it was */
    t = post(s, &(struct minting){.key = 1, .kid = "k1", .scope = "dance"});
    assert_int_equal(t.err, PEP_SCOPE);
    assert_true(may(s, GET, "/lamp/state", LAMP));
    /* a token for another key gives this association nothing */
    post_ok(s, &(struct minting){.key = 2, .kid = "k2", .scope = "lights_w"});
    assert_false(may(s, PUT, "/lamp/state", LAMP));
    pep_session_close(s);
}

static void same_token_again(void **state)
{
    (void)state;
    static const struct minting rows[] = {{.key = 1, .kid = "k1"},
                                          {.key = 2, .cnf = KEY_PUBLIC},
                                          {.as = DERIVE, .cnf = KEY_BARE, .kid = "d"}};
    for (size_t i = 0; i < N(rows); i++) {
        uint8_t raw[TOKEN_MAX];
        struct pep_taken a, b;
        struct bytes token = house_mint(&house, &rows[i], raw);
        pep_take_token(pep, NULL, NULL, token, 61, NOW, &a);
        uint64_t hits = stats().cache_hits, verified = stats().verified;
        pep_take_token(pep, NULL, NULL, token, 61, NOW + 1, &b);
        assert_true(a.err == PEP_OK && b.err == PEP_OK && a.grant == b.grant && !b.replaced);
        assert_int_equal(stats().cache_hits, hits + 1);
        assert_int_equal(stats().verified, verified);
        /* known, but judged again */
        pep_take_token(pep, NULL, NULL, token, 61, NOW + 3600, &b);
        assert_int_equal(b.err, PEP_EXPIRED);
    }
    assert_int_equal(stats().grants, N(rows));
    /* more tokens than the cache remembers */
    for (int i = 0; i < 300; i++)
        (void)post(NULL, &(struct minting){.key = 3, .kid = "k3", .exp_in = 1000 + i});
    assert_int_equal(stats().grants, N(rows) + 1);
}

static void kid_conflicts(void **state)
{
    (void)state;
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k", .iat_in = -10});
    struct pep_session *s = open_kid("k");
    /* another authority, another key */
    struct pep_taken t = post(NULL, &(struct minting){.as = VISITOR, .key = 2, .kid = "k"});
    assert_int_equal(t.err, PEP_KID_TAKEN);
    assert_int_equal(t.code, CODE(4, 0));
    /* an older token of the same authority does not throw the key out */
    t = post(NULL, &(struct minting){.key = 2, .kid = "k", .iat_in = -11});
    assert_int_equal(t.err, PEP_KID_TAKEN);
    assert_true(may(s, GET, "/lamp/state", LAMP));
    /* a newer one does; the old key's association has lost its last grant */
    t = post(NULL, &(struct minting){.key = 2, .kid = "k", .iat_in = -9});
    assert_true(t.err == PEP_OK && t.replaced);
    assert_int_equal(stats().grants, 1);
    struct pep_decision d = ask(s, GET, "/lamp/state", LAMP);
    assert_int_equal(d.code, CODE(4, 1));
    assert_string_equal(d.reason, "grant-ended");
    assert_true(pep_session_ends(s, NOW) <= NOW);
    pep_session_close(s);
    /* a kid whose grant expired is free */
    post_ok(NULL, &(struct minting){.key = 3, .kid = "x", .exp_in = 10});
    t = post_at(NULL, &(struct minting){.as = VISITOR, .key = 4, .kid = "x"}, NOW + 10);
    assert_int_equal(t.err, PEP_OK);
}

static void many_authorities_one_table(void **state)
{
    (void)state;
    for (int i = 0; i < 32; i++) {
        char kid[8];
        (void)snprintf(kid, sizeof kid, "k%d", i);
        post_ok(NULL, &(struct minting){.key = (uint8_t)(i + 1), .kid = kid, .exp_in = 100 + i});
    }
    struct pep_taken t = post(NULL, &(struct minting){.key = 99, .kid = "more"});
    assert_int_equal(t.err, PEP_FULL);
    assert_int_equal(t.code, CODE(5, 3));
    /* replacing needs no room */
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k0", .scope = "lights_w"});
    /* what has expired makes room */
    t = post_at(NULL, &(struct minting){.key = 99, .kid = "more"}, NOW + 101);
    assert_int_equal(t.err, PEP_OK);
    assert_int_equal(stats().grants, 32); /* k1 has gone; k0 is new */
    /* the kid of a full table is found, and the key is the right one */
    struct pep_proof proof;
    assert_int_equal(find_kid("k31", NOW, &proof), PEP_KEY_FOUND);
    assert_int_equal(proof.key_n, 16);
    assert_int_equal(proof.key[0], 32);
}

/* ---- bearer ---- */

static void bearer(void **state)
{
    (void)state;
    struct pep_session *s = open_name("t7"), *other = open_name("t7");
    struct minting m = {.as = VISITOR, .cnf = KEY_NOBODYS};
    post_ok(s, &m);
    assert_true(may(s, GET, "/door/bell", DOOR));
    assert_false(may(other, GET, "/door/bell", DOOR)); /* this association only */
    assert_int_equal(post(s, &(struct minting){.cnf = KEY_NOBODYS}).err, PEP_CONFIRMATION);
    m.exp_in = 30;
    assert_true(post(s, &m).replaced);
    assert_int_equal(stats().grants, 1);
    assert_true(ask(s, GET, "/door/bell", DOOR).ends_s == NOW + 30);
    assert_int_equal(ask_at(s, GET, "/door/bell", DOOR, NOW + 30).code, CODE(4, 3));
    (void)pep_expire(pep, NOW + 30);
    assert_int_equal(stats().grants, 0);
    m.exp_in = 0;
    post_ok(s, &m);
    assert_true(house_reload(&house, pep, "bearer: allow", "bearer: deny"));
    assert_int_equal(stats().grants, 0); /* no longer allowed: it ended */
    assert_false(may(s, GET, "/door/bell", DOOR));
    assert_true(house_reload(&house, pep, NULL, NULL));
    post_ok(other, &m);
    pep_session_close(other); /* and it ends with its association */
    assert_int_equal(stats().grants, 0);
    pep_session_close(s);
}

/* ---- time ---- */

static void expiry(void **state)
{
    (void)state;
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1", .exp_in = 100});
    post_ok(NULL, &(struct minting){.as = VISITOR, .key = 1, .kid = "k1", .exp_in = 50});
    struct pep_session *s = open_kid("k1");
    struct pep_proof proof;
    assert_true(pep_session_ends(s, NOW) == NOW + 100);
    assert_int_equal(ask_at(s, GET, "/door/bell", DOOR, NOW + 49).outcome, PEP_FORWARD);
    assert_int_equal(ask_at(s, GET, "/door/bell", DOOR, NOW + 50).code, CODE(4, 3));
    assert_int_equal(ask_at(s, GET, "/lamp/state", LAMP, NOW + 99).outcome, PEP_FORWARD);
    assert_int_equal(find_kid("k1", NOW + 99, &proof), PEP_KEY_FOUND);
    /* the second of exp itself: over, swept or not */
    struct pep_decision d = ask_at(s, GET, "/lamp/state", LAMP, NOW + 100);
    assert_int_equal(d.code, CODE(4, 1));
    assert_string_equal(d.reason, "token-expired");
    assert_true(d.payload_n > 0);
    assert_true(pep_session_ends(s, NOW + 100) <= NOW + 100);
    assert_int_equal(find_kid("k1", NOW + 100, &proof), PEP_KEY_NONE);
    assert_int_equal(proof.kind, PEP_IDENTITY_KID);
    assert_true(pep_expire(pep, NOW) == NOW + 50);
    assert_true(pep_expire(pep, NOW + 50) == NOW + 100);
    assert_int_equal(stats().grants, 1);
    (void)pep_expire(pep, NOW + 100);
    assert_int_equal(stats().grants, 0);
    assert_int_equal(stats().expired, 2);
    d = ask_at(s, GET, "/lamp/state", LAMP, NOW + 100);
    assert_string_equal(d.reason, "token-expired");
    /* a clock that fell back before the build shows nothing */
    d = ask_at(s, GET, "/lamp/state", LAMP, HOUSE_BUILD - 1);
    assert_string_equal(d.reason, "clock-not-set");
    assert_true(pep_session_ends(s, NOW + 100) <= NOW + 100);
    pep_session_close(s);
    s = open_name("t7");
    assert_true(pep_session_ends(s, NOW) == INT64_MAX);
    pep_session_close(s);
}

static void unused(void **state)
{
    (void)state;
    post_ok(NULL, &(struct minting){.key = 1, .kid = "used", .exp_in = 10 * 86400});
    post_ok(NULL, &(struct minting){.key = 2, .kid = "idle", .exp_in = 10 * 86400});
    pep_session_close(open_kid("used"));
    (void)pep_expire(pep, NOW + GRANTS_UNUSED_S - 1);
    assert_int_equal(stats().grants, 2);
    (void)pep_expire(pep, NOW + GRANTS_UNUSED_S);
    assert_int_equal(stats().grants, 1);
    assert_int_equal(stats().unused, 1);
    struct pep_proof proof;
    assert_int_equal(find_kid("used", NOW, &proof), PEP_KEY_FOUND);
    assert_int_equal(find_kid("idle", NOW, &proof), PEP_KEY_NONE);
}

static void many_expire(void **state)
{
    (void)state;
    pep_free(pep);
    pep = house_pep(&house, NULL, 1000);
    assert_non_null(pep);
    for (int i = 0; i < 300; i++) {
        char kid[8];
        (void)snprintf(kid, sizeof kid, "k%d", i);
        struct minting m = {.key = (uint8_t)i, .kid = kid, .exp_in = 10, .as = VISITOR};
        m.cnf = i % 3 ? KEY_PSK : KEY_BARE;
        (void)post(NULL, &m);
    }
    int64_t now_s = NOW + 10;
    for (int i = 0; i < 5; i++)
        now_s = pep_expire(pep, now_s);
    assert_int_equal(stats().grants, 0);
}

/* ---- the Access-Token option ---- */

static struct pep_decision ask_with(struct pep_session *s, uint8_t method, const char *path,
                                    int device, const struct minting *m, int64_t now_s)
{
    uint8_t raw[TOKEN_MAX];
    struct request r = house_request(method, path, device);
    struct pep_decision d;
    memset(&d, 0xee, sizeof d);
    r.has_token = true;
    r.token = m ? house_mint(&house, m, raw) : BYTES_NONE;
    pep_authorize(pep, s, &r, now_s, &d);
    return d;
}

static void option(void **state)
{
    (void)state;
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1"});
    struct pep_session *s = open_kid("k1");
    static const struct {
        const char *name;
        struct minting m;
        uint8_t method;
        const char *path;
        int device;
        int64_t in;
        uint8_t code;
        const char *reason;
    } rows[] = {
        {"its own key",
         {.key = 1, .kid = "k1", .scope = "lights_w"},
         PUT,
         "/lamp/state",
         LAMP,
         0,
         0,
         "permitted"},
        {"and what the association holds",
         {.key = 1, .kid = "k1", .scope = "lights_w"},
         GET,
         "/lamp/state",
         LAMP,
         0,
         0,
         "permitted"},
        {"key by reference",
         {.cnf = KEY_BY_KID, .kid = "k1", .scope = "lights_w"},
         PUT,
         "/lamp/state",
         LAMP,
         0,
         0,
         "permitted"},
        {"of another authority",
         {.as = VISITOR, .key = 1},
         GET,
         "/door/bell",
         DOOR,
         0,
         0,
         "permitted"},
        {"bearer", {.as = VISITOR, .cnf = KEY_NOBODYS}, GET, "/door/bell", DOOR, 0, 0, "permitted"},
        {"AIF",
         {.key = 1, .aif_path = "/lamp/x", .aif_mask = 4},
         PUT,
         "/lamp/x",
         LAMP,
         0,
         0,
         "permitted"},
        {"another's key",
         {.key = 2, .kid = "k1", .scope = "lights_w"},
         PUT,
         "/lamp/state",
         LAMP,
         0,
         CODE(4, 1),
         "bad-confirmation"},
        {"another's key, though the association may",
         {.key = 2},
         GET,
         "/lamp/state",
         LAMP,
         0,
         CODE(4, 1),
         "bad-confirmation"},
        {"bearer not allowed",
         {.cnf = KEY_NOBODYS},
         GET,
         "/lamp/state",
         LAMP,
         0,
         CODE(4, 1),
         "bad-confirmation"},
        {"kid of nobody",
         {.cnf = KEY_BY_KID, .kid = "k2"},
         GET,
         "/lamp/state",
         LAMP,
         0,
         CODE(4, 1),
         "bad-confirmation"},
        {"expired",
         {.key = 1, .kid = "k1", .exp_in = 10},
         GET,
         "/lamp/state",
         LAMP,
         10,
         CODE(4, 1),
         "token-expired"},
        {"one second before",
         {.key = 1, .kid = "k1", .exp_in = 10, .scope = "lights_w"},
         PUT,
         "/lamp/state",
         LAMP,
         9,
         0,
         "permitted"},
        {"wrong audience",
         {.key = 1, .aud = "x"},
         GET,
         "/lamp/state",
         LAMP,
         0,
         CODE(4, 1),
         "wrong-audience"},
        {"for another device of ours",
         {.key = 1, .aud = "door", .scope = "lights_w"},
         PUT,
         "/lamp/state",
         LAMP,
         0,
         CODE(4, 5),
         "not-method"},
        {"unknown scope",
         {.key = 1, .scope = "dance"},
         GET,
         "/lamp/state",
         LAMP,
         0,
         CODE(4, 1),
         "unknown-scope"},
        {"nobody's key",
         {.key = 1, .stray = true},
         GET,
         "/lamp/state",
         LAMP,
         0,
         CODE(4, 1),
         "unknown-authority"},
        {"not this method",
         {.key = 1, .scope = "lights_w"},
         DELETE,
         "/lamp/state",
         LAMP,
         0,
         CODE(4, 5),
         "not-method"},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct pep_decision d =
            ask_with(s, rows[i].method, rows[i].path, rows[i].device, &rows[i].m, NOW + rows[i].in);
        if (d.code != rows[i].code || strcmp(d.reason, rows[i].reason) != 0)
            fail_msg("%s: got %u.%02u %s", rows[i].name, d.code >> 5, d.code & 31, d.reason);
        assert_int_equal(d.payload_n > 0, d.code == CODE(4, 1));
    }
    /* for that request only */
    assert_false(may(s, PUT, "/lamp/state", LAMP));
    assert_false(may(s, GET, "/door/bell", DOOR));
    /* an empty option is a bad token, not none */
    assert_string_equal(ask_with(s, GET, "/lamp/state", LAMP, NULL, NOW).reason, "malformed-token");
    /* without an association nothing proves anything */
    struct minting good = {.key = 1, .kid = "k1"};
    assert_int_equal(ask_with(NULL, GET, "/lamp/state", LAMP, &good, NOW).code, CODE(4, 1));
    /* the record names whose token it was */
    struct minting w = {.key = 1, .kid = "k1", .scope = "lights_w", .exp_in = 77};
    struct pep_decision d = ask_with(s, PUT, "/lamp/state", LAMP, &w, NOW);
    assert_string_equal(d.authority, "home-as");
    assert_true(d.grant == 0 && d.ends_s == NOW + 77);
    assert_int_equal(stats().grants, 1);
    pep_session_close(s);
}

static void queries(void **state)
{
    (void)state;
    post_ok(NULL,
            &(struct minting){.key = 1, .kid = "k1", .aif_path = "/lamp/x?a=1&b=2", .aif_mask = 1});
    struct pep_session *s = open_kid("k1");
    static const struct {
        const char *name;
        const char *q[3];
        bool ok;
    } rows[] = {{"as it says", {"a=1", "b=2"}, true},     {"one option", {"a=1&b=2"}, false},
                {"other order", {"b=2", "a=1"}, false},   {"one less", {"a=1"}, false},
                {"one more", {"a=1", "b=2", "c"}, false}, {"none", {0}, false}};
    for (size_t i = 0; i < N(rows); i++) {
        struct request r = house_request(GET, "/lamp/x", LAMP);
        struct pep_decision d;
        while (r.n_query < 3 && rows[i].q[r.n_query]) {
            r.query[r.n_query] = bytes_str(rows[i].q[r.n_query]);
            r.n_query++;
        }
        pep_authorize(pep, s, &r, NOW, &d);
        if ((d.outcome == PEP_FORWARD) != rows[i].ok)
            fail_msg("%s: got %s", rows[i].name, d.reason);
    }
    pep_session_close(s);
    /* An empty option is a query; a path without one is another resource. */
    post_ok(NULL, &(struct minting){.key = 2, .kid = "k2", .aif_path = "/lamp/x", .aif_mask = 1});
    s = open_kid("k2");
    struct request r = house_request(GET, "/lamp/x", LAMP);
    struct pep_decision d;
    pep_authorize(pep, s, &r, NOW, &d);
    assert_int_equal(d.outcome, PEP_FORWARD);
    r.query[r.n_query++] = bytes_of("", 0);
    pep_authorize(pep, s, &r, NOW, &d);
    assert_int_equal(d.outcome, PEP_DENY);
    pep_session_close(s);
}

/* ---- identities ---- */

static void identities(void **state)
{
    (void)state;
    struct pep_proof proof;
    uint8_t raw[TOKEN_MAX], id[80];
    assert_int_equal(pep_find_psk(pep, BYTES_LIT("t7"), NULL, NOW, &proof), PEP_KEY_FOUND);
    assert_int_equal(proof.kind, PEP_IDENTITY_SUBJECT);
    assert_int_equal(proof.subject, 0);
    assert_int_equal(proof.key_n, 16);
    assert_int_equal(proof.key[15], 15);
    static const char *const nobody[] = {"t", "t77", "T7", "t7\n", "thermostat-7", "\xc2\xa1"};
    for (size_t i = 0; i < N(nobody); i++) {
        assert_int_equal(pep_find_psk(pep, bytes_str(nobody[i]), NULL, NOW, &proof), PEP_KEY_NONE);
        assert_int_equal(proof.kind, PEP_IDENTITY_UNKNOWN);
        assert_int_equal(proof.subject, -1);
        assert_int_equal(proof.key_n, 0);
    }
    assert_int_equal(pep_find_psk(pep, BYTES_LIT("t7\0"), NULL, NOW, &proof), PEP_KEY_NONE);
    assert_int_equal(pep_find_psk(pep, BYTES_NONE, NULL, NOW, &proof), PEP_KEY_NONE);

    /* the whole token: verified, judged and kept */
    struct bytes token = house_mint(&house, &(struct minting){.key = 5, .kid = "\xa1k5"}, raw);
    assert_int_equal(pep_find_psk(pep, token, NULL, NOW, &proof), PEP_KEY_FOUND);
    assert_int_equal(proof.kind, PEP_IDENTITY_TOKEN);
    assert_int_equal(proof.strength, POLICY_STRENGTH_PSK);
    assert_int_equal(proof.key[0], 5);
    assert_int_equal(stats().grants, 1);
    struct pep_session *s = pep_session_open(pep, &proof);
    assert_true(may(s, GET, "/lamp/state", LAMP));
    pep_session_close(s);
    assert_int_equal(pep_find_psk(pep, token, NULL, NOW, &proof),
                     PEP_KEY_FOUND); /* a new handshake */
    assert_int_equal(stats().grants, 1);

    /* by kid, bare and written as text */
    struct bytes kid = house_kid_identity("\xa1k5", 3, id);
    assert_int_equal(pep_find_psk(pep, kid, NULL, NOW, &proof), PEP_KEY_FOUND);
    assert_false(proof.utf8_wrapped);
    uint8_t wrapped[2 * TOKEN_MAX];
    struct bytes forms[] = {kid, token};
    for (size_t f = 0; f < 2; f++) {
        size_t n = 0;
        for (size_t i = 0; i < forms[f].n; i++) {
            uint8_t b = forms[f].p[i];
            if (b >= 0x80)
                wrapped[n++] = (uint8_t)(0xc0 | b >> 6);
            wrapped[n++] = b >= 0x80 ? (uint8_t)(0x80 | (b & 0x3f)) : b;
        }
        assert_int_equal(pep_find_psk(pep, bytes_of(wrapped, n), NULL, NOW, &proof), PEP_KEY_FOUND);
        assert_true(proof.utf8_wrapped);
        assert_int_equal(proof.key[0], 5);
    }

    /* tokens that are refused say why, and are not kept */
    static const struct {
        const char *name;
        struct minting m;
        enum pep_err want;
    } rows[] = {
        {"expired", {.key = 6, .exp_in = -1}, PEP_EXPIRED},
        {"wrong audience", {.key = 6, .aud = "x"}, PEP_AUDIENCE},
        {"nobody's", {.key = 6, .stray = true}, PEP_UNKNOWN_KEY},
        {"a public key is no PSK", {.key = 6, .cnf = KEY_PUBLIC}, PEP_CONFIRMATION},
        {"bearer", {.as = VISITOR, .cnf = KEY_NOBODYS}, PEP_CONFIRMATION},
    };
    for (size_t i = 0; i < N(rows); i++) {
        token = house_mint(&house, &rows[i].m, raw);
        assert_int_equal(pep_find_psk(pep, token, NULL, NOW, &proof), PEP_KEY_NONE);
        if (proof.err != rows[i].want || proof.kind != PEP_IDENTITY_TOKEN || proof.key_n)
            fail_msg("%s: got %s", rows[i].name, pep_err_str(proof.err));
    }
    assert_int_equal(stats().grants, 1);
    /* a public key that was posted is still no PSK, neither way */
    token = house_mint(&house, &(struct minting){.key = 7, .cnf = KEY_PUBLIC, .kid = "pub"}, raw);
    struct pep_taken t;
    pep_take_token(pep, NULL, NULL, token, -1, NOW, &t);
    assert_int_equal(t.err, PEP_OK);
    assert_int_equal(pep_find_psk(pep, token, NULL, NOW, &proof), PEP_KEY_NONE);
    assert_int_equal(find_kid("pub", NOW, &proof), PEP_KEY_NONE);

    /* a derived key is the one of RFC 9202 3.3.1 */
    uint8_t want[KEYS_DERIVED_LEN];
    token = house_mint(&house, &(struct minting){.as = DERIVE, .cnf = KEY_BARE, .kid = "d"}, raw);
    assert_true(cwt_derive(&house.derivation, token, want));
    assert_int_equal(pep_find_psk(pep, token, NULL, NOW, &proof), PEP_KEY_FOUND);
    assert_int_equal(proof.key_n, sizeof want);
    assert_memory_equal(proof.key, want, sizeof want);
}

static void certificates(void **state)
{
    (void)state;
    uint8_t der[128], other[128];
    struct pep_proof proof;
    struct pep_certificate c = {.spki = house_spki(7, der)};
    assert_false(pep_judge_certificate(pep, &c, NOW, &proof)); /* nobody vouches for it */
    post_ok(NULL, &(struct minting){.key = 7, .cnf = KEY_PUBLIC, .sub = "bob"});
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    assert_false(pep_judge_certificate(pep, &c, NOW + 3600, &proof)); /* its grant expired */
    c.spki = house_spki(8, other);
    assert_false(pep_judge_certificate(pep, &c, NOW, &proof));
    c.spki = bytes_of(der, 90);
    assert_false(pep_judge_certificate(pep, &c, NOW, &proof));
    c.spki = BYTES_NONE;
    c.trusted = true;
    assert_false(pep_judge_certificate(pep, &c, NOW, &proof));

    c = (struct pep_certificate){.spki = house_spki(7, der)};
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    assert_int_equal(proof.strength, POLICY_STRENGTH_CERTIFICATE);
    struct pep_session *s = pep_session_open(pep, &proof);
    assert_string_equal(pep_session_subject(s), "bob@home-as");
    assert_true(may(s, GET, "/lamp/state", LAMP));
    assert_true(pep_session_ends(s, NOW) == NOW + 3600);
    pep_session_close(s);

    /* a name counts only when the client CA stands behind it */
    c.names[c.n_names++] = BYTES_LIT("other.home");
    c.names[c.n_names++] = BYTES_LIT("panel.home");
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    assert_int_equal(proof.subject, -1);
    c.trusted = true;
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    assert_int_equal(proof.subject, 1);
    s = pep_session_open(pep, &proof);
    assert_string_equal(pep_session_subject(s), "panel");
    assert_true(may(s, GET, "/meter/now", METER));
    assert_true(may(s, GET, "/lamp/state", LAMP)); /* the token of its key adds */
    assert_true(pep_session_ends(s, NOW) == INT64_MAX);
    pep_session_close(s);

    /* trusted, but nobody enrolled it: known, with nothing */
    c.n_names = 1;
    c.spki = house_spki(8, other);
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    assert_int_equal(proof.subject, -1);
    s = pep_session_open(pep, &proof);
    assert_string_equal(pep_session_subject(s), "cert:other.home");
    assert_int_equal(ask(s, GET, "/meter/now", METER).code, CODE(4, 1));
    assert_true(pep_session_ends(s, NOW) == INT64_MAX);
    post_ok(s, &(struct minting){.key = 8, .cnf = KEY_PUBLIC});
    assert_true(may(s, GET, "/lamp/state", LAMP));
    pep_session_close(s);
}

/* ---- AIF Dynamic ---- */

static void created(void **state)
{
    (void)state;
    const uint64_t dynamic = UINT64_C(1) << (32 + DELETE - 1);
    post_ok(NULL, &(struct minting){
                      .key = 1, .kid = "k1", .aif_path = "/lamp/list", .aif_mask = 2 | dynamic});
    post_ok(NULL, &(struct minting){
                      .key = 2, .kid = "k2", .aif_path = "/lamp/list", .aif_mask = 2 | dynamic});
    struct pep_session *a = open_kid("k1"), *b = open_kid("k2");
    assert_true(may(a, POST, "/lamp/list", LAMP));
    struct request r = house_request(DELETE, "/lamp/list", LAMP);
    assert_false(may(a, DELETE, "/lamp/list", LAMP));
    pep_note_created(pep, a, r.path, r.n_path);
    assert_true(may(a, DELETE, "/lamp/list", LAMP));
    assert_false(may(b, DELETE, "/lamp/list", LAMP)); /* another made it */
    assert_false(may(a, GET, "/lamp/list", LAMP));
    pep_note_created(pep, NULL, r.path, r.n_path);
    /* bounded: the oldest is forgotten */
    for (int i = 0; i < 64; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "/lamp/list/%d", i);
        struct request more = house_request(POST, path, LAMP);
        pep_note_created(pep, a, more.path, more.n_path);
    }
    assert_false(may(a, DELETE, "/lamp/list", LAMP));
    pep_session_close(a);
    pep_session_close(b);
}

/* ---- reload ---- */

static void reload(void **state)
{
    (void)state;
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1"});
    post_ok(NULL, &(struct minting){.as = VISITOR, .key = 1, .kid = "k1"});
    struct pep_session *s = open_kid("k1"), *t7 = open_name("t7");
    struct pep_proof early;
    assert_int_equal(pep_find_psk(pep, BYTES_LIT("t7"), NULL, NOW, &early), PEP_KEY_FOUND);

    /* the rule is gone, then back: the grant is compiled again */
    assert_true(house_reload(&house, pep, "lights_r: {permit: [{path: /lamp/**, methods: [GET]}]}",
                             "lights_r: {permit: [{path: /lamp/other, methods: [GET]}]}"));
    assert_int_equal(ask(s, GET, "/lamp/state", LAMP).code, CODE(4, 3));
    assert_string_equal(ask(s, GET, "/lamp/state", LAMP).policy_hash, "changed000000000");
    assert_true(may(s, GET, "/door/bell", DOOR));
    assert_true(house_reload(&house, pep, NULL, NULL));
    assert_true(may(s, GET, "/lamp/state", LAMP));

    /* a failing load changes nothing */
    assert_false(house_reload(&house, pep, "key-file: t7.psk", "key-file: no-such.psk"));
    assert_non_null(strstr(house.diag_text, "no-such.psk"));
    assert_false(house_reload(&house, pep, "keys: visitor-as.keys", "keys: t8.keys"));
    assert_false(house_reload(&house, pep, "name: visitor-as", "name: strangers")); /* the door's */
    assert_non_null(strstr(house.diag_text, "visitor-as"));
    assert_true(may(s, GET, "/lamp/state", LAMP) && may(s, GET, "/door/bell", DOOR));
    assert_true(may(t7, GET, "/meter/now", METER));
    assert_string_equal(ask(s, GET, "/lamp/state", LAMP).policy_hash, "0123456789abcdef");

    /* its authority is gone: the grant ends; indexes move, the others stay */
    char one[1024];
    const char *from = strstr(house_policy_text, "  - name: derive-as"),
               *to = strstr(house_policy_text, "roles:\n  sensor");
    (void)snprintf(one, sizeof one, "%.*s", (int)(to - from), from);
    struct pep_taken t = post(NULL, &(struct minting){.as = DERIVE, .cnf = KEY_BARE, .kid = "d"});
    assert_int_equal(t.err, PEP_OK);
    assert_true(house_reload(&house, pep, one, ""));
    assert_int_equal(stats().grants, 2);
    assert_int_equal(stats().ended, 1);
    assert_true(may(s, GET, "/lamp/state", LAMP));

    /* the issuer changed its name: tokens in the old name end */
    assert_true(house_reload(&house, pep, "issuer: coaps://as.home", "issuer: coaps://as2.home"));
    assert_int_equal(stats().grants, 1);
    assert_int_equal(ask(s, GET, "/lamp/state", LAMP).code, CODE(4, 3));

    /* its key changed: so does every token of the old key */
    house.proof[VISITOR].secret[0] ^= 1;
    assert_true(house_write_keys(&house, VISITOR));
    assert_true(house_reload(&house, pep, NULL, NULL));
    assert_int_equal(stats().grants, 0);
    assert_string_equal(ask(s, GET, "/door/bell", DOOR).reason, "grant-ended");
    pep_session_close(s);

    /* the subject is gone: its sessions lose their rights */
    const char *line = "  - {name: thermostat-7, psk-identity: t7, key-file: t7.psk, roles: "
                       "[sensor]}\n";
    assert_true(house_reload(&house, pep, line, ""));
    assert_int_equal(ask(t7, GET, "/meter/now", METER).code, CODE(4, 1));
    assert_true(pep_session_ends(t7, NOW) <= NOW);
    /* and a handshake from before must not become the subject that now has
     * its index */
    struct pep_session *late = pep_session_open(pep, &early);
    assert_int_equal(ask(late, GET, "/meter/now", METER).code, CODE(4, 1));
    assert_true(house_reload(&house, pep, NULL, NULL));
    assert_true(may(t7, GET, "/meter/now", METER)); /* back, with the same key */
    char path[128];
    (void)snprintf(path, sizeof path, "%s/t7.psk", house.dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("ff0102030405060708090a0b0c0d0e0f", f);
    fclose(f);
    assert_true(house_reload(&house, pep, NULL, NULL));
    assert_false(may(t7, GET, "/meter/now", METER)); /* another key is another credential */
    pep_session_close(t7);
    pep_session_close(late);
}

/* ---- the store ---- */

static bool dead;

static bool dying_change(void *self, const struct store_op *ops, size_t n)
{
    return !dead && store_change(self, ops, n);
}

static bool dying_each(void *self, enum store_kind kind, store_visit_fn *visit, void *user)
{
    return !dead && store_each(self, kind, visit, user);
}

static void dying_close(void *self)
{
    store_close(self);
}

static const struct store_backend dying = {dying_change, dying_each, dying_close};

static void store_fails(void **state)
{
    (void)state;
    struct store *s = malloc(sizeof *s);
    assert_non_null(s);
    *s = (struct store){&dying, store_open_memory()};
    dead = false;
    pep_free(pep);
    pep = house_pep(&house, s, 8);
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1"});
    struct pep_session *a = open_kid("k1");
    dead = true;
    struct pep_taken t = post(NULL, &(struct minting){.key = 2, .kid = "k2"});
    assert_int_equal(t.err, PEP_STORE);
    assert_int_equal(t.code, CODE(5, 0));
    t = post(a, &(struct minting){.key = 1, .kid = "k1", .scope = "lights_w"});
    assert_int_equal(t.err, PEP_STORE); /* and the old grant is the one in force */
    assert_true(may(a, GET, "/lamp/state", LAMP));
    assert_false(may(a, PUT, "/lamp/state", LAMP));
    assert_int_equal(stats().grants, 1);
    (void)pep_expire(pep, NOW + 3600); /* ends here, whatever the store says */
    assert_int_equal(stats().grants, 0);
    assert_true(stats().store_errors > 0);
    pep_session_close(a);
    pep_free(pep);
    pep = house_pep(&house, s, 8); /* what was revoked cannot be known */
    assert_null(pep);
    dead = false;
    pep = house_pep(&house, s, 8);
    assert_int_equal(stats().grants, 1); /* the old one, replaced by nobody */
    pep_free(pep);
    pep = NULL;
    store_close(s);
}

static void restart(struct store *s, int64_t now_s)
{
    char text[256];
    struct buf diag = buf_on(text, sizeof text);
    pep_free(pep);
    pep = house_pep_empty(s, 32);
    struct policy *policy = house_policy(&house, NULL, NULL);
    assert_true(pep_load(pep, policy, house.dir, now_s, &diag));
    policy_unref(policy);
}

static void survives_restart(void **state)
{
    (void)state;
    struct store *st = store_open_memory();
    struct pep_proof proof;
    restart(st, NOW);
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1"});
    post_ok(NULL, &(struct minting){.as = VISITOR, .key = 1, .kid = "k1"});
    post_ok(NULL, &(struct minting){.key = 2, .cnf = KEY_PUBLIC, .kid = "pub"});
    post_ok(NULL, &(struct minting){.as = DERIVE, .cnf = KEY_BARE, .kid = "d"});
    post_ok(NULL, &(struct minting){.key = 4, .kid = "short", .exp_in = 10});
    struct pep_session *s = open_kid("k1");
    post_ok(s, &(struct minting){.as = VISITOR, .cnf = KEY_NOBODYS}); /* bearer: not kept */
    /* the key that the replaced token brought is still known */
    post_ok(NULL, &(struct minting){.cnf = KEY_BY_KID, .kid = "k1", .scope = "lights_w"});
    struct request made = house_request(POST, "/lamp/made", LAMP);
    pep_note_created(pep, s, made.path, made.n_path);
    struct pep_proof derived;
    assert_int_equal(find_kid("d", NOW, &derived), PEP_KEY_FOUND);
    uint64_t id = ask(s, PUT, "/lamp/state", LAMP).grant;
    pep_session_close(s);

    restart(st, NOW + 10);
    assert_int_equal(stats().grants, 4);
    assert_int_equal(find_kid("short", NOW, &proof), PEP_KEY_NONE);
    assert_int_equal(find_kid("d", NOW, &proof), PEP_KEY_FOUND);
    assert_memory_equal(proof.key, derived.key, sizeof proof.key);
    s = open_kid("k1");
    struct pep_decision d = ask(s, PUT, "/lamp/state", LAMP);
    assert_true(d.outcome == PEP_FORWARD && d.grant == id);
    assert_true(may(s, GET, "/door/bell", DOOR));
    assert_false(may(s, GET, "/lamp/state", LAMP));
    /* a new grant never has an old one's number */
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1"});
    assert_true(ask(s, GET, "/lamp/state", LAMP).grant > id);
    /* used once, it does not count as forgotten after the next start */
    pep_session_close(s);
    (void)pep_expire(pep, NOW + 11);
    restart(st, NOW + 12);

    /* with a clock that is not set nothing is thrown away, and nothing counts */
    restart(st, HOUSE_BUILD - 1000);
    assert_int_equal(stats().grants, 4);
    assert_int_equal(find_kid("k1", HOUSE_BUILD - 1000, &proof), PEP_KEY_NONE);
    (void)pep_expire(pep, HOUSE_BUILD - 1000);
    assert_int_equal(find_kid("k1", NOW, &proof), PEP_KEY_FOUND);

    /* the key of an authority changed meanwhile: its grants end */
    house.seal[HOME].secret[0] ^= 1;
    assert_true(house_write_keys(&house, HOME));
    restart(st, NOW);
    assert_int_equal(find_kid("k1", NOW, &proof), PEP_KEY_FOUND); /* visitor-as vouches still */
    assert_int_equal(stats().grants, 3);
    pep_free(pep);
    pep = NULL;
    store_close(st);
}

static void created_survives(void **state)
{
    (void)state;
    struct store *st = store_open_memory();
    const uint64_t dynamic = UINT64_C(1) << (32 + DELETE - 1);
    restart(st, NOW);
    post_ok(
        NULL,
        &(struct minting){
            .key = 1, .kid = "k1", .aif_path = "/lamp/l", .aif_mask = 2 | dynamic, .exp_in = 100});
    struct pep_session *s = open_kid("k1");
    struct request made = house_request(DELETE, "/lamp/l", LAMP);
    pep_note_created(pep, s, made.path, made.n_path);
    pep_session_close(s);
    (void)pep_expire(pep, NOW + 1);
    restart(st, NOW + 2);
    s = open_kid("k1");
    assert_true(may(s, DELETE, "/lamp/l", LAMP));
    pep_session_close(s);
    /* it ends with the last grant of its key, in the store too */
    (void)pep_expire(pep, NOW + 100);
    (void)pep_expire(pep, NOW + 160);
    post_ok(NULL, &(struct minting){
                      .key = 1, .kid = "k1", .aif_path = "/lamp/l", .aif_mask = 2 | dynamic});
    restart(st, NOW);
    s = open_kid("k1");
    assert_false(may(s, DELETE, "/lamp/l", LAMP));
    pep_session_close(s);
    pep_free(pep);
    pep = NULL;
    store_close(st);
}

static enum store_keep count_one(void *user, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    ++*(int *)user;
    return STORE_KEEP;
}

static void corrupt_store(void **state)
{
    (void)state;
    struct store *st = store_open_memory();
    restart(st, NOW);
    post_ok(NULL, &(struct minting){.key = 1, .kid = "k1"});
    struct store_op bad[] = {
        {STORE_GRANT, BYTES_LIT("12345678"), BYTES_LIT("rubbish")},
        {STORE_GRANT, BYTES_LIT("1"), BYTES_LIT("")},
        {STORE_CREATED, BYTES_LIT("1"), BYTES_LIT("x")},
    };
    assert_true(store_change(st, bad, 3));
    restart(st, NOW);
    assert_int_equal(stats().grants, 1);
    assert_int_equal(stats().corrupt, 2);
    int left = 0;
    assert_true(store_each(st, STORE_GRANT, count_one, &left));
    assert_true(store_each(st, STORE_CREATED, count_one, &left));
    assert_int_equal(left, 1);
    pep_free(pep);
    pep = NULL;
    store_close(st);
}

/* What was answered with 2.01 is there after kill -9. */
static void survives_kill(void **state)
{
    (void)state;
    char dir[96], text[256];
    struct buf diag = buf_on(text, sizeof text);
    int tell[2];
    (void)snprintf(dir, sizeof dir, "%s/store", house.dir);
    assert_int_equal(pipe(tell), 0);
    pid_t child = fork();
    if (child == 0) {
        struct store *st = store_open(dir, 0, &diag);
        char said = 'n';
        if (st) {
            restart(st, NOW);
            uint8_t raw[TOKEN_MAX];
            struct pep_taken t;
            pep_take_token(pep, NULL, NULL,
                           house_mint(&house, &(struct minting){.key = 1, .kid = "k1"}, raw), -1,
                           NOW, &t);
            said = t.code == CODE(2, 1) ? 'y' : 'n';
        }
        if (write(tell[1], &said, 1) == 1)
            (void)kill(getpid(), SIGKILL);
        _exit(1);
    }
    char said = 0;
    assert_int_equal(read(tell[0], &said, 1), 1);
    assert_int_equal(said, 'y');
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(tell[0]);
    close(tell[1]);
    struct store *st = store_open(dir, 0, &diag);
    assert_non_null(st);
    restart(st, NOW + 1);
    struct pep_session *s = open_kid("k1");
    assert_true(may(s, GET, "/lamp/state", LAMP));
    pep_session_close(s);
    pep_free(pep);
    pep = NULL;
    store_close(st);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(taking),
        T(taking_reports),
        T(taking_bytes),
        T(denials),
        T(condition),
        T(hints),
        T(report_mode),
        T(replacement),
        T(same_token_again),
        T(kid_conflicts),
        T(many_authorities_one_table),
        T(bearer),
        T(expiry),
        T(unused),
        T(many_expire),
        T(option),
        T(queries),
        T(identities),
        T(certificates),
        T(created),
        T(reload),
        T(store_fails),
        T(survives_restart),
        T(created_survives),
        T(corrupt_store),
        T(survives_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
