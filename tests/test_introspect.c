/* pep/introspect: what is asked, and what an answer says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "../pep/introspect.h"
#include "../pep/jose.h"
#include "fake_authorities.h"
#include "support_hex.h"
#include "support_oauth.h"

#define N(a)       (sizeof(a) / sizeof *(a))
#define CODE(c, d) ((uint8_t)((c) << 5 | (d)))

/* 0 speaks oauth. */
static struct keys *keys;

static int set_up(void **state)
{
    (void)state;
    static const struct policy_authority a[] = {
        {.name = "zero", .keys = "0", .dialect = POLICY_OAUTH}};
    const struct policy p = {a, 1};
    char dir[] = "/tmp/postern-introspect-XXXXXX", path[64], text[512];
    struct buf diag = buf_on(text, sizeof text);
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/0", dir);
    oauth_put_keys(path);
    keys = keys_load(&p, dir, &diag);
    unlink(path);
    rmdir(dir);
    return keys ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    keys_free(keys);
    return 0;
}

/* ---- questions ---- */

enum { RFC = POLICY_RFC9200, OLD = POLICY_ACE07, WEB = 100 };

static struct introspect_about about(int how, struct bytes token)
{
    static const char *const audience[] = {"gateway.home"};
    return (struct introspect_about){.keys = keys,
                                     .dialect =
                                         how == WEB ? POLICY_OAUTH : (enum policy_dialect)how,
                                     .http = how == WEB,
                                     .issuer = "https://as.home",
                                     .client_id = "rs-1",
                                     .audience = audience,
                                     .n_audience = 1,
                                     .token = token};
}

static const struct {
    const char *name;
    int how;
    const char *token; /* hex */
    bool unwrapped;
    const char *body; /* hex, or text of a form */
    int format;
} questions[] = {
    /* RFC 9200 figure 9 but for the hint, which is a text in table 6 */
    {"rfc9200", RFC, "ee08f474951dd4b5", false, "a2 0b48ee08f474951dd4b5 182163706f70", 19},
    {"ace-07", OLD, "ee08f474951dd4b5", false, "a2 181b48ee08f474951dd4b5 181c63706f70", 60},
    {"wrapped", RFC, "48ee08f474951dd4b5", false, "a2 0b4948ee08f474951dd4b5 182163706f70", 19},
    {"wrapped, once more", RFC, "48ee08f474951dd4b5", true, "a2 0b48ee08f474951dd4b5 182163706f70",
     19},
    {"form", WEB, "6162632d2e5f7e39", false, "token=abc-._~9&token_type_hint=access_token",
     PEP_FORMAT_FORM},
    {"form, escaped", WEB, "6120262b3d2f25", false,
     "token=a%20%26%2B%3D%2F%25&token_type_hint=access_token", PEP_FORMAT_FORM},
    {"form, bytes", WEB, "ee08f474951dd4b5", false,
     "token=7gj0dJUd1LU&token_type_hint=access_token", PEP_FORMAT_FORM},
};

static void test_ask(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(questions); i++) {
        uint8_t room[INTROSPECT_ASK_MAX];
        struct buf b = buf_on(room, sizeof room);
        struct introspect_about a = about(questions[i].how, unhex(questions[i].token));
        int format = 0;
        a.unwrapped = questions[i].unwrapped;
        struct bytes want =
            questions[i].how == WEB ? bytes_str(questions[i].body) : unhex(questions[i].body);
        if (!introspect_ask(&a, &b, &format) || !bytes_equal(buf_bytes(&b), want) ||
            format != questions[i].format)
            fail_msg("%s: another body, or format %d", questions[i].name, format);
        struct buf tight = buf_on(room, want.n - 1);
        if (introspect_ask(&a, &tight, &format))
            fail_msg("%s: fits where it cannot", questions[i].name);
    }
    /* The longest token fits in its worst form. */
    uint8_t longest[TOKEN_MAX], room[INTROSPECT_ASK_MAX];
    int format;
    memset(longest, '%', sizeof longest);
    for (int how = 0; how < 3; how++) {
        struct introspect_about a = about(how == 2 ? WEB : how, bytes_of(longest, sizeof longest));
        struct buf b = buf_on(room, sizeof room);
        assert_true(introspect_ask(&a, &b, &format));
    }
}

static void test_wrapped(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool is;
    } rows[] = {{"48ee08f474951dd4b5", true},
                {"580101", true},
                {"40", false},
                {"48ee08f474951dd4", false},
                {"4100ff", false},
                {"6161", false},
                {"8141ff", false},
                {"5f41ff41ffff", false},
                {"", false}};
    for (size_t i = 0; i < N(rows); i++) {
        struct bytes inner;
        if (introspect_is_wrapped(unhex(rows[i].hex), &inner) != rows[i].is)
            fail_msg("%s", rows[i].hex);
    }
}

/* ---- answers in CBOR ---- */

static const char *const said_text[] = {"nothing", "refused", "unusable", "inactive", "active"};

#define EXP   "041a65000000"
#define KEY16 "50000102030405060708090a0b0c0d0e0f"

static const struct {
    const char *name;
    int how;
    uint8_t code;
    int format;
    const char *body;
    enum introspect_said want;
} answers[] = {
    /* RFC 9200 figure 10 */
    {"figure 10", RFC, CODE(2, 1), 19,
     "a4 0af5 096472656164 182601 08a101a3010402 44dfd1aa97 20" KEY16, INTROSPECT_ACTIVE},
    {"with 2.05", RFC, CODE(2, 5), 19, "a2 0af5 096472656164", INTROSPECT_ACTIVE},
    {"with 2.04", RFC, CODE(2, 4), 19, "a2 0af5 096472656164", INTROSPECT_NOTHING},
    {"with 2.00", RFC, CODE(2, 0), 19, "a2 0af5 096472656164", INTROSPECT_NOTHING},
    {"as application/cbor", RFC, CODE(2, 1), 60, "a2 0af5 096472656164", INTROSPECT_ACTIVE},
    {"as octets", RFC, CODE(2, 1), 42, "a2 0af5 096472656164", INTROSPECT_NOTHING},
    {"as JSON", RFC, CODE(2, 1), 50, "a2 0af5 096472656164", INTROSPECT_NOTHING},
    {"without a format", RFC, CODE(2, 1), -1, "a2 0af5 096472656164", INTROSPECT_NOTHING},
    {"4.00", RFC, CODE(4, 0), 19, "a1 181e01", INTROSPECT_NOTHING},
    {"4.01", RFC, CODE(4, 1), 19, "a1 181e02", INTROSPECT_REFUSED},
    {"4.03", RFC, CODE(4, 3), -1, "", INTROSPECT_REFUSED},
    {"5.00", RFC, CODE(5, 0), -1, "", INTROSPECT_NOTHING},
    {"4.01 that says active", RFC, CODE(4, 1), 19, "a2 0af5 096472656164", INTROSPECT_REFUSED},
    {"inactive", RFC, CODE(2, 1), 19, "a1 0af4", INTROSPECT_INACTIVE},
    {"inactive, and more", RFC, CODE(2, 1), 19, "a2 0af4 096472656164", INTROSPECT_INACTIVE},
    {"active, nothing more", RFC, CODE(2, 1), 19, "a1 0af5", INTROSPECT_ACTIVE},
    {"no active", RFC, CODE(2, 1), 19, "a1 096472656164", INTROSPECT_NOTHING},
    {"active null", RFC, CODE(2, 1), 19, "a1 0af6", INTROSPECT_NOTHING},
    {"active 1", RFC, CODE(2, 1), 19, "a1 0a01", INTROSPECT_NOTHING},
    {"active a text", RFC, CODE(2, 1), 19, "a1 0a6474727565", INTROSPECT_NOTHING},
    {"active twice", RFC, CODE(2, 1), 19, "a2 0af4 0af5", INTROSPECT_NOTHING},
    {"active at ace-07's number", RFC, CODE(2, 1), 19, "a1 181df5", INTROSPECT_NOTHING},
    {"empty", RFC, CODE(2, 1), 19, "", INTROSPECT_NOTHING},
    {"an empty map", RFC, CODE(2, 1), 19, "a0", INTROSPECT_NOTHING},
    {"an array", RFC, CODE(2, 1), 19, "81 f5", INTROSPECT_NOTHING},
    {"half", RFC, CODE(2, 1), 19, "a2 0af5 0964726561", INTROSPECT_NOTHING},
    {"a byte behind", RFC, CODE(2, 1), 19, "a1 0af5 00", INTROSPECT_NOTHING},
    {"indefinite length", RFC, CODE(2, 1), 19, "bf 0af5 ff", INTROSPECT_NOTHING},
    {"iss longer than it is", RFC, CODE(2, 1), 19,
     "a9 0af5 016861732e686f6d65 0263616e6e 03646c616d70 " EXP " 0500 0600 074101 0963612062",
     INTROSPECT_NOTHING},
    {"all claims", RFC, CODE(2, 1), 19,
     "a9 0af5 016761732e686f6d65 0263616e6e 03646c616d70 " EXP " 0500 0600 074101 0963612062",
     INTROSPECT_ACTIVE},
    {"exp in milliseconds", RFC, CODE(2, 1), 19, "a2 0af5 041b0001977420dc0000",
     INTROSPECT_NOTHING},
    {"exp beyond the year 9999", RFC, CODE(2, 1), 19, "a2 0af5 041b00ffffffffffffff",
     INTROSPECT_NOTHING},
    {"exp a text", RFC, CODE(2, 1), 19, "a2 0af5 046131", INTROSPECT_NOTHING},
    {"exi, cnonce", RFC, CODE(2, 1), 19, "a3 0af5 18274101 1828190e10", INTROSPECT_ACTIVE},
    {"exi negative", RFC, CODE(2, 1), 19, "a2 0af5 182820", INTROSPECT_NOTHING},
    {"scope a number", RFC, CODE(2, 1), 19, "a2 0af5 0901", INTROSPECT_UNUSABLE},
    {"scope AIF", RFC, CODE(2, 1), 19, "a2 0af5 09468182622f6101", INTROSPECT_ACTIVE},
    {"cnf a text", RFC, CODE(2, 1), 19, "a2 0af5 086161", INTROSPECT_UNUSABLE},
    {"cnf with two methods", RFC, CODE(2, 1), 19, "a2 0af5 08a2034101 01a0", INTROSPECT_UNUSABLE},
    {"cnf kid", RFC, CODE(2, 1), 19, "a2 0af5 08a1034101", INTROSPECT_ACTIVE},
    {"rs_cnf", RFC, CODE(2, 1), 19, "a2 0af5 1829a1034101", INTROSPECT_ACTIVE},
    {"coap_dtls", RFC, CODE(2, 1), 19, "a2 0af5 182601", INTROSPECT_ACTIVE},
    {"coap_oscore", RFC, CODE(2, 1), 19, "a2 0af5 182602", INTROSPECT_UNUSABLE},
    {"profile a map", RFC, CODE(2, 1), 19, "a2 0af5 1826a0", INTROSPECT_NOTHING},
    {"pop with its key", RFC, CODE(2, 1), 19, "a3 0af5 182202 08a1034101", INTROSPECT_ACTIVE},
    {"pop without its key", RFC, CODE(2, 1), 19, "a2 0af5 182202", INTROSPECT_UNUSABLE},
    {"pop as a text", RFC, CODE(2, 1), 19, "a2 0af5 182263706f70", INTROSPECT_UNUSABLE},
    {"PoP as a text", RFC, CODE(2, 1), 19, "a2 0af5 182263506f50", INTROSPECT_UNUSABLE},
    {"bearer", RFC, CODE(2, 1), 19, "a2 0af5 182201", INTROSPECT_ACTIVE},
    {"bearer as a text", RFC, CODE(2, 1), 19, "a2 0af5 182266626561726572", INTROSPECT_ACTIVE},
    {"token_type bytes", RFC, CODE(2, 1), 19, "a2 0af5 182243706f70", INTROSPECT_NOTHING},
    {"unknown parameters", RFC, CODE(2, 1), 19, "a4 0af5 1901f4a0 616101 2000", INTROSPECT_ACTIVE},

    {"ace-07", OLD, CODE(2, 1), 60, "a3 181df5 0c6472656164 1819a1034101", INTROSPECT_ACTIVE},
    {"ace-07, 2.05, ace+cbor", OLD, CODE(2, 5), 19, "a1 181df5", INTROSPECT_ACTIVE},
    {"ace-07, active 1", OLD, CODE(2, 1), 60, "a1 181d01", INTROSPECT_ACTIVE},
    {"ace-07, active 0", OLD, CODE(2, 1), 60, "a1 181d00", INTROSPECT_INACTIVE},
    {"ace-07, active 2", OLD, CODE(2, 1), 60, "a1 181d02", INTROSPECT_NOTHING},
    {"ace-07, active at the RFC's number", OLD, CODE(2, 1), 60, "a1 0af5", INTROSPECT_NOTHING},
    {"ace-07, tagged exp", OLD, CODE(2, 1), 60, "a2 181df5 04c11a65000000", INTROSPECT_ACTIVE},
    {"ace-07, pop in lower case, no key", OLD, CODE(2, 1), 60, "a2 181df5 1463706f70",
     INTROSPECT_UNUSABLE},
    {"ace-07, profile 2", OLD, CODE(2, 1), 60, "a2 181df5 181a02", INTROSPECT_UNUSABLE},
    {"ace-07, client_token", OLD, CODE(2, 1), 60, "a2 181df5 181e43010203", INTROSPECT_ACTIVE},
    {"ace-07, client_id", OLD, CODE(2, 1), 60, "a2 181df5 0863616e6e", INTROSPECT_ACTIVE},
};

/* Storage of exactly the promised size. */
static struct introspection read_in(const struct introspect_about *a, const struct pep_reply *r,
                                    uint8_t **room)
{
    struct introspection in;
    size_t n = 2 * r->body.n + 64;
    *room = malloc(n);
    struct buf storage = buf_on(*room, n);
    introspect_read(a, r, &storage, &in);
    return in;
}

static void test_cbor(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(answers); i++) {
        struct introspect_about a = about(answers[i].how, BYTES_LIT("reference"));
        struct pep_reply r = {.code = answers[i].code,
                              .content_format = answers[i].format,
                              .body = unhex(answers[i].body)};
        uint8_t *room;
        struct introspection in = read_in(&a, &r, &room);
        if (in.said != answers[i].want)
            fail_msg("%s: %s (%s), wanted %s", answers[i].name, said_text[in.said],
                     in.why ? in.why : "-", said_text[answers[i].want]);
        if ((in.why != NULL) != (in.said != INTROSPECT_ACTIVE) ||
            (in.said == INTROSPECT_UNUSABLE && in.err == PEP_OK))
            fail_msg("%s: does not say why", answers[i].name);
        /* No answer that is cut short is one, whatever it said whole. */
        for (size_t n = 0; n < r.body.n && in.said >= INTROSPECT_UNUSABLE; n++) {
            struct pep_reply cut = r;
            uint8_t *room2;
            cut.body.n = n;
            if (read_in(&a, &cut, &room2).said != INTROSPECT_NOTHING)
                fail_msg("%s: cut at %zu it still says something", answers[i].name, n);
            free(room2);
        }
        free(room);
    }
}

static void test_cbor_content(void **state)
{
    (void)state;
    uint8_t *room;
    struct introspect_about a = about(RFC, BYTES_LIT("reference"));
    struct pep_reply r = {.code = CODE(2, 1),
                          .content_format = 19,
                          .body =
                              unhex("ab 0af5 016761732e686f6d65 03646c616d70 " EXP
                                    " 074101 0963612062 182342616e 1827420102 182818ff 1829a1034101"
                                    " 08a101a3010402 44dfd1aa97 20" KEY16)};
    /* username must be a text: bytes are passed over */
    struct introspection in = read_in(&a, &r, &room);
    assert_int_equal(in.said, INTROSPECT_ACTIVE);
    assert_true(in.claims.has_iss && bytes_equal_str(in.claims.iss, "as.home"));
    assert_true(in.claims.n_aud == 1 && bytes_equal_str(in.claims.aud[0], "lamp"));
    assert_true(in.claims.has_exp && in.claims.exp_s == 0x65000000);
    assert_true(in.claims.has_exi && in.claims.exi_s == 255);
    assert_true(bytes_equal_str(in.claims.scope_words, "a b"));
    assert_int_equal(in.claims.cnonce.n, 2);
    assert_int_equal(in.claims.sub.n, 0);
    assert_true(in.claims.cnf.kind == CNF_SYMMETRIC && in.claims.cnf.key_n == 16);
    assert_true(in.has_rs_cnf);
    free(room);

    r.body = unhex("a3 0af5 182362616e 18186178");
    in = read_in(&a, &r, &room);
    assert_true(bytes_equal_str(in.claims.sub, "an"));
    free(room);

    a = about(OLD, BYTES_LIT("reference"));
    r.content_format = 60;
    static const struct {
        const char *body;
        const char *client_token;
    } rows[] = {{"a2 181df5 181e43010203", "010203"},
                {"a2 181df5 181e63616263", "616263"},
                {"a2 181df5 181ed08340a040", "d08340a040"},
                {"a2 181df4 181e43010203", ""}};
    for (size_t i = 0; i < N(rows); i++) {
        r.body = unhex(rows[i].body);
        in = read_in(&a, &r, &room);
        if (!bytes_equal(in.client_token, unhex(rows[i].client_token)))
            fail_msg("client token %zu", i);
        free(room);
    }
}

/* ---- answers in JSON ---- */

static const struct {
    const char *name;
    uint8_t code;
    int format;
    const char *body;
    enum introspect_said want;
} web[] = {
    {"RFC 7662 2.2", CODE(2, 0), 50,
     "{\"active\":true,\"client_id\":\"l238j323ds-23ij4\",\"username\":\"jdoe\","
     "\"scope\":\"read write dolphin\",\"sub\":\"Z5O3upPC88QrAjx00dis\","
     "\"aud\":\"https://protected.example.net/resource\","
     "\"iss\":\"https://server.example.com/\",\"exp\":1419356238,\"iat\":1419350238,"
     "\"extension_field\":\"twenty-seven\"}",
     INTROSPECT_ACTIVE},
    {"inactive", CODE(2, 0), 50, "{\"active\":false}", INTROSPECT_INACTIVE},
    {"201", CODE(2, 1), 50, "{\"active\":true}", INTROSPECT_NOTHING},
    {"204", CODE(2, 4), 50, "{\"active\":true}", INTROSPECT_NOTHING},
    {"400", CODE(4, 0), 50, "{\"error\":\"invalid_request\"}", INTROSPECT_NOTHING},
    {"401", CODE(4, 1), 50, "{\"error\":\"invalid_client\"}", INTROSPECT_REFUSED},
    {"403", CODE(4, 3), -1, "", INTROSPECT_REFUSED},
    {"a page", CODE(2, 0), -1, "<html>active</html>", INTROSPECT_NOTHING},
    {"no type", CODE(2, 0), -1, "{\"active\":true}", INTROSPECT_NOTHING},
    {"CBOR's type", CODE(2, 0), 60, "{\"active\":true}", INTROSPECT_NOTHING},
    {"a JWT's type", CODE(2, 0), PEP_FORMAT_INTROSPECTION_JWT, "{\"active\":true}",
     INTROSPECT_NOTHING},
    {"no active", CODE(2, 0), 50, "{\"scope\":\"a\"}", INTROSPECT_NOTHING},
    {"active a text", CODE(2, 0), 50, "{\"active\":\"true\"}", INTROSPECT_NOTHING},
    {"active 1", CODE(2, 0), 50, "{\"active\":1}", INTROSPECT_NOTHING},
    {"active twice", CODE(2, 0), 50, "{\"active\":false,\"active\":true}", INTROSPECT_NOTHING},
    {"half", CODE(2, 0), 50, "{\"active\":true", INTROSPECT_NOTHING},
    {"an array", CODE(2, 0), 50, "[{\"active\":true}]", INTROSPECT_NOTHING},
    {"something behind", CODE(2, 0), 50, "{\"active\":true}{}", INTROSPECT_NOTHING},
    {"exp a text", CODE(2, 0), 50, "{\"active\":true,\"exp\":\"1\"}", INTROSPECT_NOTHING},
    {"scope a number", CODE(2, 0), 50, "{\"active\":true,\"scope\":1}", INTROSPECT_UNUSABLE},
    {"cnf jkt", CODE(2, 0), 50,
     "{\"active\":true,\"cnf\":{\"jkt\":\"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I\"}}",
     INTROSPECT_ACTIVE},
    {"cnf unknown", CODE(2, 0), 50, "{\"active\":true,\"cnf\":{\"x\":1}}", INTROSPECT_UNUSABLE},
    {"token_type bearer", CODE(2, 0), 50, "{\"active\":true,\"token_type\":\"bearer\"}",
     INTROSPECT_ACTIVE},
    {"token_type pop, no key", CODE(2, 0), 50, "{\"active\":true,\"token_type\":\"PoP\"}",
     INTROSPECT_UNUSABLE},
    {"coap_oscore", CODE(2, 0), 50, "{\"active\":true,\"ace_profile\":\"coap_oscore\"}",
     INTROSPECT_UNUSABLE},
    {"coap_dtls", CODE(2, 0), 50, "{\"active\":true,\"ace_profile\":\"coap_dtls\"}",
     INTROSPECT_ACTIVE},
};

static void test_json(void **state)
{
    (void)state;
    struct introspect_about a = about(WEB, BYTES_LIT("reference"));
    uint8_t *room;
    for (size_t i = 0; i < N(web); i++) {
        struct pep_reply r = {
            .code = web[i].code, .content_format = web[i].format, .body = bytes_str(web[i].body)};
        struct introspection in = read_in(&a, &r, &room);
        if (in.said != web[i].want)
            fail_msg("%s: %s (%s), wanted %s", web[i].name, said_text[in.said],
                     in.why ? in.why : "-", said_text[web[i].want]);
        for (size_t n = 0; n < r.body.n && in.said >= INTROSPECT_UNUSABLE; n++) {
            struct pep_reply cut = r;
            uint8_t *room2;
            cut.body.n = n;
            if (read_in(&a, &cut, &room2).said != INTROSPECT_NOTHING)
                fail_msg("%s: cut at %zu it still says something", web[i].name, n);
            free(room2);
        }
        free(room);
    }
    struct pep_reply r = {.code = CODE(2, 0), .content_format = 50, .body = bytes_str(web[0].body)};
    struct introspection in = read_in(&a, &r, &room);
    assert_true(bytes_equal_str(in.claims.scope_words, "read write dolphin"));
    assert_true(bytes_equal_str(in.claims.sub, "Z5O3upPC88QrAjx00dis"));
    assert_int_equal(in.claims.exp_s, 1419356238);
    free(room);
    r.away = true;
    assert_int_equal(read_in(&a, &r, &room).said, INTROSPECT_NOTHING);
    free(room);
}

/* ---- signed answers (RFC 9701) ---- */

#define SAYS "\"iat\":1,\"token_introspection\":{\"active\":true,\"scope\":\"r\"}"

static const struct {
    const char *name, *key, *typ, *payload;
    enum introspect_said want;
} jwts[] = {
    {"good", "es", "token-introspection+jwt",
     "{\"iss\":\"https://as.home\",\"aud\":\"rs-1\"," SAYS "}", INTROSPECT_ACTIVE},
    {"for us among others", "es", "token-introspection+jwt",
     "{\"iss\":\"https://as.home\",\"aud\":[\"x\",\"gateway.home\"]," SAYS "}", INTROSPECT_ACTIVE},
    {"inactive", "es", "token-introspection+jwt",
     "{\"iss\":\"https://as.home\",\"aud\":\"rs-1\",\"token_introspection\":{\"active\":false}}",
     INTROSPECT_INACTIVE},
    {"an access token", "es", "at+jwt", "{\"iss\":\"https://as.home\",\"aud\":\"rs-1\"," SAYS "}",
     INTROSPECT_NOTHING},
    {"no typ", "es", NULL, "{\"iss\":\"https://as.home\",\"aud\":\"rs-1\"," SAYS "}",
     INTROSPECT_NOTHING},
    {"another issuer", "es", "token-introspection+jwt",
     "{\"iss\":\"https://as.evil\",\"aud\":\"rs-1\"," SAYS "}", INTROSPECT_NOTHING},
    {"no issuer", "es", "token-introspection+jwt", "{\"aud\":\"rs-1\"," SAYS "}",
     INTROSPECT_NOTHING},
    {"for another", "es", "token-introspection+jwt",
     "{\"iss\":\"https://as.home\",\"aud\":\"rs-2\"," SAYS "}", INTROSPECT_NOTHING},
    {"for nobody", "es", "token-introspection+jwt", "{\"iss\":\"https://as.home\"," SAYS "}",
     INTROSPECT_NOTHING},
    {"says it outside", "es", "token-introspection+jwt",
     "{\"iss\":\"https://as.home\",\"aud\":\"rs-1\",\"active\":true}", INTROSPECT_NOTHING},
    {"a text inside", "es", "token-introspection+jwt",
     "{\"iss\":\"https://as.home\",\"aud\":\"rs-1\",\"token_introspection\":\"active\"}",
     INTROSPECT_NOTHING},
};

static void test_signed(void **state)
{
    (void)state;
    struct introspect_about a = about(WEB, BYTES_LIT("reference"));
    for (size_t i = 0; i < N(jwts); i++) {
        uint8_t text[4096], *room;
        struct buf b = buf_on(text, sizeof text);
        struct key k = oauth_key(jwts[i].key);
        assert_int_equal(jose_sign(crypto_jose_named(BYTES_LIT("ES256")), &k, jwts[i].typ,
                                   bytes_str(jwts[i].payload), &b),
                         PEP_OK);
        struct pep_reply r = {.code = CODE(2, 0),
                              .content_format = PEP_FORMAT_INTROSPECTION_JWT,
                              .body = buf_bytes(&b)};
        struct introspection in = read_in(&a, &r, &room);
        if (in.said != jwts[i].want)
            fail_msg("%s: %s (%s), wanted %s", jwts[i].name, said_text[in.said],
                     in.why ? in.why : "-", said_text[jwts[i].want]);
        free(room);
        if (i > 0)
            continue;
        for (size_t n = 0; n < b.n; n++) { /* any byte changed: not the authority's */
            text[n] ^= 1;
            if (read_in(&a, &r, &room).said == INTROSPECT_ACTIVE)
                fail_msg("active with byte %zu changed", n);
            free(room);
            text[n] ^= 1;
        }
        r.content_format = 50;
        assert_int_equal(read_in(&a, &r, &room).said, INTROSPECT_NOTHING);
        free(room);
    }
}

/* ---- two accounts of one token ---- */

static struct claims claims_of(const char *hex)
{
    struct claims c;
    struct buf none = buf_on(NULL, 0);
    struct cwt_source from = {
        .authority = -1, .dialect = POLICY_RFC9200, .encrypted = true, .plain = &none};
    if (cwt_read(unhex(hex), &from, &c) != PEP_OK)
        fail_msg("%s are no claims", hex);
    return c;
}

#define CNF(k) "08a101a30104024101 20" k
#define KEYA   "48aaaaaaaaaaaaaaaa"
#define KEYB   "48bbbbbbbbbbbbbbbb"

static const struct {
    const char *name, *own, *told;
    enum pep_err err;
    const char *both;
} merges[] = {
    {"the same", "a1 0963612062", "a1 0963612062", PEP_OK, "a1 0963612062"},
    {"nothing", "a1 0963612062", "a0", PEP_OK, "a1 0963612062"},
    {"fewer words", "a1 0965612062 2063", "a1 0963632061", PEP_OK, "a1 0963612063"},
    {"more words", "a1 096161", "a1 0963612062", PEP_OK, "a1 096161"},
    {"other words", "a1 096161", "a1 096162", PEP_SCOPE, NULL},
    {"a word within a word", "a1 096161", "a1 09626161", PEP_SCOPE, NULL},
    {"words told only", "a0", "a1 096161", PEP_OK, "a1 096161"},
    {"words and AIF", "a1 096161", "a1 09468182622f6101", PEP_SCOPE, NULL},
    {"AIF", "a1 094b8282622f610382622f6203", "a1 09468182622f6101", PEP_OK, "a1 09468182622f6101"},
    {"AIF without overlap", "a1 09468182622f6102", "a1 09468182622f6101", PEP_SCOPE, NULL},
    {"exp, the earlier", "a1 041a65000000", "a1 041a64000000", PEP_OK, "a1 041a64000000"},
    {"exp, not the later", "a1 041a65000000", "a1 041a66000000", PEP_OK, "a1 041a65000000"},
    {"nbf, the later", "a1 051a65000000", "a1 051a66000000", PEP_OK, "a1 051a66000000"},
    {"nbf, not the earlier", "a1 051a65000000", "a1 051a64000000", PEP_OK, "a1 051a65000000"},
    {"aud, what both have", "a1 038261616162", "a1 036162", PEP_OK, "a1 036162"},
    {"aud, told only", "a0", "a1 036162", PEP_OK, "a1 036162"},
    {"aud, nothing in common", "a1 036161", "a1 036162", PEP_AUDIENCE, NULL},
    {"iss, the same", "a1 016161", "a1 016161", PEP_OK, "a1 016161"},
    {"iss, another", "a1 016161", "a1 016162", PEP_ISSUER, NULL},
    {"iss, told only", "a0", "a1 016161", PEP_OK, "a1 016161"},
    {"cnonce, another", "a1 18274101", "a1 18274102", PEP_CLAIMS, NULL},
    {"cnf, the same", "a1 " CNF(KEYA), "a1 " CNF(KEYA), PEP_OK, "a1 " CNF(KEYA)},
    {"cnf, another", "a1 " CNF(KEYA), "a1 " CNF(KEYB), PEP_CONFIRMATION, NULL},
    {"cnf, told only", "a0", "a1 " CNF(KEYA), PEP_OK, "a1 " CNF(KEYA)},
    {"cnf, not told", "a1 " CNF(KEYA), "a0", PEP_OK, "a1 " CNF(KEYA)},
    {"cnf by kid, its key told", "a1 08a1034101", "a1 " CNF(KEYA), PEP_OK, "a1 " CNF(KEYA)},
    {"cnf by kid, another's told", "a1 08a1034102", "a1 " CNF(KEYA), PEP_CONFIRMATION, NULL},
    {"cnf, its kid told", "a1 " CNF(KEYA), "a1 08a1034101", PEP_OK, "a1 " CNF(KEYA)},
    {"cnf, another kid told", "a1 " CNF(KEYA), "a1 08a1034102", PEP_CONFIRMATION, NULL},
};

static void test_merge(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(merges); i++) {
        uint8_t storage[64], got[256], want[256];
        struct buf s = buf_on(storage, sizeof storage), g = buf_on(got, sizeof got),
                   w = buf_on(want, sizeof want);
        struct claims own = claims_of(merges[i].own), told = claims_of(merges[i].told);
        enum pep_err e = introspect_merge(&own, &told, &s);
        if (e != merges[i].err)
            fail_msg("%s: %s", merges[i].name, pep_err_str(e));
        if (e != PEP_OK)
            continue;
        struct claims both = claims_of(merges[i].both);
        cwt_write(&own, POLICY_RFC9200, &g);
        cwt_write(&both, POLICY_RFC9200, &w);
        if (!bytes_equal(buf_bytes(&g), buf_bytes(&w)))
            fail_msg("%s: other claims", merges[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask),   cmocka_unit_test(test_wrapped),
        cmocka_unit_test(test_cbor),  cmocka_unit_test(test_cbor_content),
        cmocka_unit_test(test_json),  cmocka_unit_test(test_signed),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
