/* pep/jwt, and token_verify() on JWTs: what is a token, whose, and what it
 * says. Each refused row is one mutation of an accepted one, and properly
 * protected unless its protection is what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "../pep/cwt.h"
#include "../pep/jwt.h"
#include "fake_authorities.h"
#include "support_oauth.h"

/* 0 and 2 speak oauth, 1 rfc9200; 1 has 0's signing key too, 2 has its own. */
static struct keys *keys;
static struct token token;

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
}

static int set_up(void **state)
{
    (void)state;
    static const struct policy_authority a[] = {
        {.name = "zero", .keys = "0", .dialect = POLICY_OAUTH},
        {.name = "one", .keys = "1", .dialect = POLICY_RFC9200},
        {.name = "two", .keys = "2", .dialect = POLICY_OAUTH}};
    const struct policy p = {a, 3};
    char dir[] = "/tmp/postern-jwt-XXXXXX", path[64], text[512];
    struct buf diag = buf_on(text, sizeof text - 1);
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/0", dir);
    oauth_put_keys(path);
    snprintf(path, sizeof path, "%s/1", dir);
    put(path, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"es\","
              "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
              "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}");
    snprintf(path, sizeof path, "%s/2", dir);
    put(path, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"other\","
              "\"x\":\"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0\","
              "\"y\":\"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps\"}");
    keys = keys_load(&p, dir, &diag);
    for (char c = '0'; c < '3'; c++) {
        snprintf(path, sizeof path, "%s/%c", dir, c);
        unlink(path);
    }
    rmdir(dir);
    text[diag.n] = 0;
    if (!keys)
        fprintf(stderr, "%s\n", text);
    return keys ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    keys_free(keys);
    return 0;
}

#define BASE "\"iss\":\"as\",\"aud\":\"gw\",\"exp\":2000000000,\"scope\":\"r w\""
#define CNF  "\"cnf\":{\"kid\":\"c\"}"

static struct key alice(void)
{
    return jwk_key(BYTES_LIT("{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"other\","
                             "\"x\":\"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0\","
                             "\"y\":\"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps\","
                             "\"d\":\"0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo\"}"));
}

static struct bytes seal(const char *kid, const char *alg, const char *cty, struct bytes content)
{
    static uint8_t rooms[32][8192];
    static unsigned turn;
    struct buf b = buf_on(rooms[turn++ % 32], sizeof *rooms);
    struct key k = oauth_key(kid);
    enum pep_err e = jose_seal(alg ? crypto_jose_named(bytes_str(alg)) : NULL,
                               crypto_jose_named(BYTES_LIT("A256GCM")), &k, NULL, cty, content, &b);
    if (e != PEP_OK)
        fail_msg("seal %s: %s", kid, pep_err_str(e));
    return buf_bytes(&b);
}

/* ---- protection ---- */

static const struct {
    const char *name, *header, *key, *alg;
    enum pep_err want;
} signed_rows[] = {
    {"ES256", "{\"alg\":\"ES256\",\"kid\":\"es\"}", "es", "ES256", PEP_OK},
    {"ES256, no kid", "{\"alg\":\"ES256\"}", "es", "ES256", PEP_OK},
    {"ES256, kid unknown", "{\"alg\":\"ES256\",\"kid\":\"x\"}", "es", "ES256", PEP_UNKNOWN_KEY},
    {"ES256, kid of the RSA key", "{\"alg\":\"ES256\",\"kid\":\"rs\"}", "es", "ES256",
     PEP_PROTECTION},
    {"ES256, kid of the other authority", "{\"alg\":\"ES256\",\"kid\":\"other\"}", "es", "ES256",
     PEP_PROTECTION},
    {"ES256, by the key to be sealed to", "{\"alg\":\"ES256\",\"kid\":\"ec-enc\"}", "es", "ES256",
     PEP_PROTECTION},
    {"RS256", "{\"alg\":\"RS256\",\"kid\":\"rs\"}", "rs", "RS256", PEP_OK},
    {"RS256, key for PS256", "{\"alg\":\"RS256\",\"kid\":\"ps\"}", "rs", "RS256", PEP_PROTECTION},
    {"PS256", "{\"alg\":\"PS256\",\"kid\":\"ps\"}", "ps", "PS256", PEP_OK},
    {"PS256, says RS256", "{\"alg\":\"RS256\",\"kid\":\"rs\"}", "ps", "PS256", PEP_PROTECTION},
    {"PS384", "{\"alg\":\"PS384\",\"kid\":\"ps\"}", "ps", "PS256", PEP_PROTECTION},
    {"EdDSA", "{\"alg\":\"EdDSA\",\"kid\":\"ed\"}", "ed", "EdDSA", PEP_OK},
    {"HS256", "{\"alg\":\"HS256\",\"kid\":\"hs\"}", "hs", "HS256", PEP_OK},
    {"HS256, kid of RSA", "{\"alg\":\"HS256\",\"kid\":\"rs\"}", "hs", "HS256", PEP_PROTECTION},
    {"HS256, kid of AES", "{\"alg\":\"HS256\",\"kid\":\"dir\"}", "hs", "HS256", PEP_PROTECTION},
    {"none", "{\"alg\":\"none\",\"kid\":\"es\"}", "es", "ES256", PEP_PROTECTION},
    {"typ JWT", "{\"alg\":\"ES256\",\"typ\":\"JWT\"}", "es", "ES256", PEP_OK},
    {"typ jwt", "{\"alg\":\"ES256\",\"typ\":\"jwt\"}", "es", "ES256", PEP_OK},
    {"typ at+jwt", "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}", "es", "ES256", PEP_OK},
    {"typ application/at+jwt", "{\"alg\":\"ES256\",\"typ\":\"application/at+JWT\"}", "es", "ES256",
     PEP_OK},
    {"typ dpop+jwt", "{\"alg\":\"ES256\",\"typ\":\"dpop+jwt\"}", "es", "ES256", PEP_UNSUPPORTED},
    {"typ logout+jwt", "{\"alg\":\"ES256\",\"typ\":\"logout+jwt\"}", "es", "ES256",
     PEP_UNSUPPORTED},
    {"typ introspection", "{\"alg\":\"ES256\",\"typ\":\"token-introspection+jwt\"}", "es", "ES256",
     PEP_UNSUPPORTED},
    {"typ empty", "{\"alg\":\"ES256\",\"typ\":\"\"}", "es", "ES256", PEP_UNSUPPORTED},
    {"typ JWT;x", "{\"alg\":\"ES256\",\"typ\":\"JWT;x=1\"}", "es", "ES256", PEP_UNSUPPORTED},
    {"cty JWT", "{\"alg\":\"ES256\",\"cty\":\"JWT\"}", "es", "ES256", PEP_UNSUPPORTED},
    {"cty other", "{\"alg\":\"ES256\",\"cty\":\"text\"}", "es", "ES256", PEP_UNSUPPORTED},
    {"its own jwk", /* RFC 8725 2.1 by another name: the key brings itself */
     "{\"alg\":\"ES256\",\"jwk\":{\"kty\":\"EC\",\"crv\":\"P-256\","
     "\"x\":\"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ\","
     "\"y\":\"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck\"}}",
     "ec-enc", "ES256", PEP_PROTECTION},
};

static void test_signed(void **state)
{
    (void)state;
    struct bytes claims = BYTES_LIT("{" BASE "," CNF "}");
    for (size_t i = 0; i < sizeof signed_rows / sizeof *signed_rows; i++) {
        struct key k = oauth_key(signed_rows[i].key);
        k.ops = 0;
        struct bytes raw = jws_of(signed_rows[i].header, claims, &k, signed_rows[i].alg);
        enum pep_err e = token_verify(keys, raw, &token);
        if (e != signed_rows[i].want)
            fail_msg("%s: %s, wanted %s", signed_rows[i].name, pep_err_str(e),
                     pep_err_str(signed_rows[i].want));
        if (e == PEP_OK && (token.authority != 0 || !bytes_equal_str(token.claims.iss, "as") ||
                            !bytes_equal_str(token.claims.scope_words, "r w") ||
                            !bytes_equal_str(token.claims.cnf.kid, "c")))
            fail_msg("%s: other claims came back", signed_rows[i].name);
    }
    struct key k = alice();
    assert_int_equal(token_verify(keys, jws_of("{\"alg\":\"ES256\"}", claims, &k, "ES256"), &token),
                     PEP_OK);
    assert_int_equal(token.authority, 2);
}

static void test_sealed(void **state)
{
    (void)state;
    struct bytes claims = BYTES_LIT("{" BASE "," CNF "}");
    struct key es = oauth_key("es"), other = alice();
    struct bytes inner = jws_of("{\"alg\":\"ES256\",\"kid\":\"es\"}", claims, &es, "ES256");
    struct bytes foreign = jws_of("{\"alg\":\"ES256\"}", claims, &other, "ES256");
    struct bytes typed = jws_of("{\"alg\":\"ES256\",\"typ\":\"dpop+jwt\"}", claims, &es, "ES256");
    const struct {
        const char *name, *kid, *alg, *cty;
        struct bytes content;
        enum pep_err want;
    } rows[] = {
        {"dir", "dir", 0, 0, claims, PEP_OK},
        {"A128KW", "kw", "A128KW", 0, claims, PEP_OK},
        /* Anybody can seal to a public key. */
        {"RSA-OAEP-256, unsigned", "rsa-enc", "RSA-OAEP-256", 0, claims, PEP_PROTECTION},
        {"ECDH-ES, unsigned", "ec-enc", "ECDH-ES", 0, claims, PEP_PROTECTION},
        {"ECDH-ES+A128KW, unsigned", "ec-enc", "ECDH-ES+A128KW", 0, claims, PEP_PROTECTION},
        {"RSA-OAEP-256, unsigned, says JWT", "rsa-enc", "RSA-OAEP-256", "JWT", claims, PEP_CLAIMS},
        {"RSA-OAEP-256, nested", "rsa-enc", "RSA-OAEP-256", "JWT", inner, PEP_OK},
        {"ECDH-ES, nested", "ec-enc", "ECDH-ES", "JWT", inner, PEP_OK},
        {"dir, nested", "dir", 0, "JWT", inner, PEP_OK},
        {"dir, nested, cty jwt", "dir", 0, "jwt", inner, PEP_OK},
        {"dir, nested, no cty", "dir", 0, 0, inner, PEP_CLAIMS},
        {"dir, nested, other cty", "dir", 0, "text", inner, PEP_UNSUPPORTED},
        {"dir, signed by another authority", "dir", 0, "JWT", foreign, PEP_PROTECTION},
        {"dir, another typ inside", "dir", 0, "JWT", typed, PEP_UNSUPPORTED},
        {"dir, sealed inside", "dir", 0, "JWT", seal("dir", 0, 0, claims), PEP_TOO_DEEP},
        {"dir, a byte behind", "dir", 0, "JWT", bytes_of(inner.p, inner.n - 1), PEP_CLAIMS},
        {"dir, nothing", "dir", 0, 0, BYTES_NONE, PEP_CLAIMS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes raw = seal(rows[i].kid, rows[i].alg, rows[i].cty, rows[i].content);
        enum pep_err e = token_verify(keys, raw, &token);
        if (e != rows[i].want && !(rows[i].want == PEP_CLAIMS && e == PEP_PROTECTION))
            fail_msg("%s: %s, wanted %s", rows[i].name, pep_err_str(e), pep_err_str(rows[i].want));
        if (e == PEP_OK)
            assert_true(bytes_equal_str(token.claims.cnf.kid, "c"));
    }
}

/* A JWT counts for oauth, a CWT for the rest, though both have the key. */
static void test_families(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    struct buf b = buf_on(raw, sizeof raw);
    struct key es = oauth_key("es");
    struct claims c = {.has_exp = true,
                       .exp_s = 2000000000,
                       .has_scope = true,
                       .scope_words = BYTES_LIT("r"),
                       .cnf = {.kind = CNF_KID, .kid = BYTES_LIT("c")}};
    struct cwt_maker with = {.proof = &es, .proof_alg = -7};
    es.ops = 0;
    assert_int_equal(cwt_mint(&c, POLICY_RFC9200, &with, &b), PEP_OK);
    assert_int_equal(token_verify(keys, buf_bytes(&b), &token), PEP_OK);
    assert_int_equal(token.authority, 1);
    struct jwt_maker j = {.proof = &es};
    b = buf_on(raw, sizeof raw);
    assert_int_equal(jwt_mint(&c, &j, &b), PEP_OK);
    assert_int_equal(token_verify(keys, buf_bytes(&b), &token), PEP_OK);
    assert_int_equal(token.authority, 0);
    /* A CWT of the other's key alone: authority 2 speaks oauth. */
    struct key other = alice();
    with.proof = &other;
    b = buf_on(raw, sizeof raw);
    assert_int_equal(cwt_mint(&c, POLICY_RFC9200, &with, &b), PEP_OK);
    assert_int_equal(token_verify(keys, buf_bytes(&b), &token), PEP_UNKNOWN_KEY);
}

/* ---- claims ---- */

#define K16 "AAECAwQFBgcICQoLDA0ODw"
#define OCT "{\"kty\":\"oct\",\"k\":\"" K16 "\"}"
#define X   "18wHLeIgW9wVN6VD1Txgpqy2LszYkMf6J8njVAibvhM"
#define Y   "-V4dS4UaLMgP_4fY4j8ir7cl1TXlFdAgcx55o7TkcSA"
#define ECK "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" Y "\""
#define D32 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

static const struct {
    const char *name, *text;
    enum pep_err want;
    bool sealed;
} claim_rows[] = {
    {"base", "{" BASE "," CNF "}", PEP_OK, false},
    {"nothing", "{}", PEP_OK, false},
    {"a list", "[]", PEP_CLAIMS, false},
    {"no JSON", "x", PEP_CLAIMS, false},
    {"claim twice", "{\"exp\":1,\"exp\":2}", PEP_CLAIMS, false},
    {"cnf twice", "{" BASE "," CNF "," CNF "}", PEP_CLAIMS, false},
    {"unknown claims", "{" BASE ",\"x\":[{}],\"client_id\":\"c\",\"azp\":1}", PEP_OK, false},
    {"iss a number", "{\"iss\":1}", PEP_CLAIMS, false},
    {"iss null", "{\"iss\":null}", PEP_CLAIMS, false},
    {"sub a list", "{\"sub\":[\"a\"]}", PEP_CLAIMS, false},
    {"jti a number", "{\"jti\":1}", PEP_CLAIMS, false},
    {"client_id a number", "{\"client_id\":1}", PEP_CLAIMS, false},
    {"aud a list", "{\"aud\":[\"a\",\"b\"]}", PEP_OK, false},
    {"aud a number in a list", "{\"aud\":[\"a\",1]}", PEP_CLAIMS, false},
    {"aud an object", "{\"aud\":{}}", PEP_CLAIMS, false},
    {"8 aud", "{\"aud\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\"]}", PEP_OK, false},
    {"9 aud", "{\"aud\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}", PEP_CLAIMS,
     false},
    {"exp 0", "{\"exp\":0}", PEP_OK, false},
    {"exp below 0", "{\"exp\":-1}", PEP_CLAIMS, false},
    {"exp a real", "{\"exp\":1e9}", PEP_OK, false},
    {"exp a text", "{\"exp\":\"2000000000\"}", PEP_CLAIMS, false},
    {"exp null", "{\"exp\":null}", PEP_CLAIMS, false},
    {"exp in 9999", "{\"exp\":253402300799}", PEP_OK, false},
    {"exp in 10000", "{\"exp\":253402300800}", PEP_CLAIMS, false},
    {"exp huge", "{\"exp\":9223372036854775807}", PEP_CLAIMS, false},
    {"exp huger", "{\"exp\":9223372036854775808}", PEP_CLAIMS, false},
    {"exp 1e300", "{\"exp\":1e300}", PEP_CLAIMS, false},
    {"exp 1e999", "{\"exp\":1e999}", PEP_CLAIMS, false},
    {"exp -0.5", "{\"exp\":-0.5}", PEP_CLAIMS, false},
    {"nbf true", "{\"nbf\":true}", PEP_CLAIMS, false},
    {"exi", "{\"exi\":3600}", PEP_OK, false},
    {"exi below 0", "{\"exi\":-1}", PEP_CLAIMS, false},
    {"scope one word", "{\"scope\":\"r\"}", PEP_OK, false},
    {"scope empty", "{\"scope\":\"\"}", PEP_OK, false},
    {"scope two spaces", "{\"scope\":\"r  w\"}", PEP_SCOPE, false},
    {"scope a space behind", "{\"scope\":\"r \"}", PEP_SCOPE, false},
    {"scope a quote", "{\"scope\":\"r\\\"\"}", PEP_SCOPE, false},
    {"scope a newline", "{\"scope\":\"r\\nw\"}", PEP_SCOPE, false},
    {"scope a number", "{\"scope\":1}", PEP_SCOPE, false},
    {"scope an object", "{\"scope\":{}}", PEP_SCOPE, false},
    {"scope list of words", "{\"scope\":[\"r\",\"w\"]}", PEP_OK, false},
    {"scope list, two in one", "{\"scope\":[\"r w\"]}", PEP_SCOPE, false},
    {"scope list, empty word", "{\"scope\":[\"r\",\"\"]}", PEP_SCOPE, false},
    {"scope list, a number", "{\"scope\":[\"r\",1]}", PEP_SCOPE, false},
    {"AIF", "{\"scope\":[[\"/a\",1],[\"/b/c?d\",4294967297]]}", PEP_OK, false},
    {"AIF, no slash", "{\"scope\":[[\"a\",1]]}", PEP_SCOPE, false},
    {"AIF, empty path", "{\"scope\":[[\"\",1]]}", PEP_SCOPE, false},
    {"AIF, negative", "{\"scope\":[[\"/a\",-1]]}", PEP_SCOPE, false},
    {"AIF, a real", "{\"scope\":[[\"/a\",1.0]]}", PEP_SCOPE, false},
    {"AIF, three", "{\"scope\":[[\"/a\",1,2]]}", PEP_SCOPE, false},
    {"AIF and words", "{\"scope\":[[\"/a\",1],\"r\"]}", PEP_SCOPE, false},
    {"words and AIF", "{\"scope\":[\"r\",[\"/a\",1]]}", PEP_SCOPE, false},
    /* RFC 7800 3 */
    {"cnf jwk", "{\"cnf\":{\"jwk\":{" ECK "}}}", PEP_OK, false},
    {"cnf jwk off the curve",
     "{\"cnf\":{\"jwk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" X "\"}}}",
     PEP_CONFIRMATION, false},
    {"cnf jwk with d", "{\"cnf\":{\"jwk\":{" ECK ",\"d\":\"" X "\"}}}", PEP_CONFIRMATION, false},
    {"cnf jwk oct, sealed", "{\"cnf\":{\"jwk\":" OCT "}}", PEP_OK, true},
    {"cnf jwk oct in the open", "{\"cnf\":{\"jwk\":" OCT "}}", PEP_CONFIRMATION, false},
    {"cnf jwk oct of 33 bytes",
     "{\"cnf\":{\"jwk\":{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\"}}}",
     PEP_CONFIRMATION, true},
    {"cnf jwk oct of 7 bytes", "{\"cnf\":{\"jwk\":{\"kty\":\"oct\",\"k\":\"AAECAwQFBg\"}}}",
     PEP_CONFIRMATION, true},
    {"cnf jwk oct by kid", "{\"cnf\":{\"jwk\":{\"kty\":\"oct\",\"kid\":\"c\"}}}", PEP_OK, false},
    {"cnf jwk oct of nothing", "{\"cnf\":{\"jwk\":{\"kty\":\"oct\"}}}", PEP_CONFIRMATION, true},
    {"cnf jwk OKP", "{\"cnf\":{\"jwk\":{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" D32 "\"}}}",
     PEP_CONFIRMATION, false},
    {"cnf jwk a text", "{\"cnf\":{\"jwk\":\"" OCT "\"}}", PEP_CLAIMS, false},
    {"cnf kid", "{\"cnf\":{\"kid\":\"dfd1aa97-6d8d-4575-a0fe-34b96de2bfad\"}}", PEP_OK, false},
    {"cnf kid empty", "{\"cnf\":{\"kid\":\"\"}}", PEP_CONFIRMATION, false},
    {"cnf kid a number", "{\"cnf\":{\"kid\":1}}", PEP_CONFIRMATION, false},
    {"cnf x5t#S256", "{\"cnf\":{\"x5t#S256\":\"" D32 "\"}}", PEP_OK, false},
    {"cnf x5t#S256 short", "{\"cnf\":{\"x5t#S256\":\"" K16 "\"}}", PEP_CONFIRMATION, false},
    {"cnf x5t#S256 padded", "{\"cnf\":{\"x5t#S256\":\"" D32 "=\"}}", PEP_CONFIRMATION, false},
    {"cnf x5t", "{\"cnf\":{\"x5t\":\"" D32 "\"}}", PEP_CONFIRMATION, false},
    {"cnf jkt", "{\"cnf\":{\"jkt\":\"" D32 "\"}}", PEP_OK, false},
    {"cnf jkt a number", "{\"cnf\":{\"jkt\":1}}", PEP_CONFIRMATION, false},
    {"cnf jku", "{\"cnf\":{\"jku\":\"https://a\",\"kid\":\"c\"}}", PEP_CONFIRMATION, false},
    {"cnf two", "{\"cnf\":{\"jkt\":\"" D32 "\",\"kid\":\"c\"}}", PEP_CONFIRMATION, false},
    {"cnf none", "{\"cnf\":{}}", PEP_CONFIRMATION, false},
    {"cnf null", "{\"cnf\":null}", PEP_CONFIRMATION, false},
    {"cnf a text", "{\"cnf\":\"c\"}", PEP_CONFIRMATION, false},
    {"cnf jwe, no JWE", "{\"cnf\":{\"jwe\":\"a.b.c.d.e\"}}", PEP_CONFIRMATION, false},
};

static enum pep_err verify_claims(const char *text, bool sealed)
{
    struct key es = oauth_key("es");
    struct bytes raw = sealed ? seal("dir", NULL, NULL, bytes_str(text))
                              : jws_of("{\"alg\":\"ES256\"}", bytes_str(text), &es, "ES256");
    return token_verify(keys, raw, &token);
}

static void test_claims(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof claim_rows / sizeof *claim_rows; i++) {
        enum pep_err e = verify_claims(claim_rows[i].text, claim_rows[i].sealed);
        if (e != claim_rows[i].want)
            fail_msg("%s: %s, wanted %s", claim_rows[i].name, pep_err_str(e),
                     pep_err_str(claim_rows[i].want));
    }
}

static void test_values(void **state)
{
    (void)state;
    const struct claims *c = &token.claims;
    assert_int_equal(
        verify_claims("{\"iss\":\"https://as\",\"sub\":\"m\\u00fc\\\"ller\",\"aud\":[\"a\","
                      "\"b\"],\"exp\":2000000000.9,\"nbf\":1000000000.1,\"iat\":5,"
                      "\"exi\":60,\"jti\":\"id\",\"cnonce\":\"n\",\"scope\":[\"r\","
                      "\"w\"],\"cnf\":{\"jwk\":{" ECK ",\"kid\":\"k\"}}}",
                      false),
        PEP_OK);
    assert_true(c->has_iss && bytes_equal_str(c->iss, "https://as"));
    assert_true(bytes_equal_str(c->sub, "m\xc3\xbc\"ller"));
    assert_int_equal(c->n_aud, 2);
    assert_true(bytes_equal_str(c->aud[1], "b"));
    assert_int_equal(c->exp_s, 2000000000); /* down */
    assert_int_equal(c->nbf_s, 1000000001); /* up */
    assert_int_equal(c->iat_s, 5);
    assert_true(c->has_exi && c->exi_s == 60);
    assert_true(bytes_equal_str(c->cti, "id") && bytes_equal_str(c->cnonce, "n"));
    assert_true(c->has_scope && bytes_equal_str(c->scope_words, "r w"));
    assert_int_equal(c->cnf.kind, CNF_EC);
    assert_int_equal(c->cnf.crv, 1);
    assert_true(bytes_equal(c->cnf.x, base64url_bytes(X)));
    assert_true(bytes_equal(c->cnf.y, base64url_bytes(Y)));
    assert_true(bytes_equal_str(c->cnf.kid, "k"));

    assert_int_equal(verify_claims("{\"scope\":[[\"/a\",1],[\"/b\",4294967299]]}", false), PEP_OK);
    assert_int_equal(c->n_aif, 2);
    assert_true(bytes_equal_str(c->aif[1].path, "/b") && c->aif[1].mask == 0x100000003);
    assert_int_equal(verify_claims("{\"client_id\":\"c\"}", false), PEP_OK);
    assert_true(bytes_equal_str(c->sub, "c"));
    assert_int_equal(verify_claims("{\"client_id\":\"c\",\"sub\":\"s\"}", false), PEP_OK);
    assert_true(bytes_equal_str(c->sub, "s"));
    assert_int_equal(verify_claims("{\"cnf\":{\"jkt\":\"" D32 "\"}}", false), PEP_OK);
    assert_true(c->cnf.kind == CNF_JKT && c->cnf.key_n == 32 && c->cnf.key[31] == 31);
    assert_int_equal(verify_claims("{\"cnf\":{\"x5t#S256\":\"" D32 "\"}}", false), PEP_OK);
    assert_int_equal(c->cnf.kind, CNF_X5T);
    assert_int_equal(verify_claims("{\"cnf\":{\"jwk\":" OCT "}}", true), PEP_OK);
    assert_true(c->cnf.kind == CNF_SYMMETRIC && c->cnf.key_n == 16 && c->cnf.key[15] == 15);
    assert_int_equal(verify_claims("{}", false), PEP_OK);
    assert_true(!c->has_iss && !c->has_exp && !c->has_scope && c->cnf.kind == CNF_NONE);
}

/* RFC 7800 3.3: an encrypted key in a token that is only signed. */
static void test_cnf_jwe(void **state)
{
    (void)state;
    static const struct {
        const char *kid, *alg, *jwk;
        enum pep_err want;
    } rows[] = {
        {"kw", "A128KW", OCT, PEP_OK},
        {"rsa-enc", "RSA-OAEP-256", OCT, PEP_OK},
        {"ec-enc", "ECDH-ES", OCT, PEP_OK},
        {"dir", 0, OCT, PEP_OK},
        {"kw", "A128KW", "{" ECK "}", PEP_CONFIRMATION},
        {"kw", "A128KW", "{\"kty\":\"oct\",\"kid\":\"c\"}", PEP_CONFIRMATION},
        {"kw", "A128KW", "x", PEP_CONFIRMATION},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[2048];
        struct bytes jwe = seal(rows[i].kid, rows[i].alg, NULL, bytes_str(rows[i].jwk));
        snprintf(text, sizeof text, "{\"cnf\":{\"jwe\":\"%.*s\"}}", (int)jwe.n,
                 (const char *)jwe.p);
        assert_int_equal(verify_claims(text, false), rows[i].want);
        if (rows[i].want == PEP_OK)
            assert_true(token.claims.cnf.kind == CNF_SYMMETRIC && token.claims.cnf.key[1] == 1);
        text[30] = text[30] == 'A' ? 'B' : 'A';
        assert_int_not_equal(verify_claims(text, false), PEP_OK);
    }
}

/* ---- what we mint, we verify ---- */

static void test_minted(void **state)
{
    (void)state;
    static const char *const proofs[] = {"es", "rs", "ps", "ed", "hs", 0}, *const seals[] = {
                                                                               0, "dir", "kw",
                                                                               "rsa-enc", "ec-enc"};
    const struct claims made = {.has_iss = true,
                                .iss = BYTES_LIT("a\"\\\n"),
                                .sub = BYTES_LIT("s"),
                                .aud = {BYTES_LIT("x"), BYTES_LIT("y")},
                                .n_aud = 2,
                                .has_exp = true,
                                .exp_s = 2000000000,
                                .cti = BYTES_LIT("id"),
                                .has_scope = true,
                                .aif = {{BYTES_LIT("/a"), 3}},
                                .n_aif = 1,
                                .cnf = {.kind = CNF_KID, .kid = BYTES_LIT("c")}};
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 5; j++) {
            uint8_t raw[TOKEN_MAX];
            struct buf b = buf_on(raw, sizeof raw);
            struct key p, s;
            struct jwt_maker with = {0};
            bool asymmetric = j > 2;
            if (proofs[i]) {
                p = oauth_key(proofs[i]);
                with.proof = &p;
            }
            if (seals[j]) {
                s = oauth_key(seals[j]);
                with.seal = &s;
            }
            enum pep_err e = jwt_mint(&made, &with, &b);
            if (!proofs[i] && !seals[j]) {
                assert_int_equal(e, PEP_UNSUPPORTED);
                continue;
            }
            if (e == PEP_OK)
                e = token_verify(keys, buf_bytes(&b), &token);
            if (e != (!proofs[i] && asymmetric ? PEP_PROTECTION : PEP_OK))
                fail_msg("%s, %s: %s", proofs[i], seals[j], pep_err_str(e));
            if (e != PEP_OK)
                continue;
            assert_true(bytes_equal(token.claims.iss, made.iss));
            assert_true(bytes_equal_str(token.claims.aud[1], "y"));
            assert_true(bytes_equal_str(token.claims.cti, "id"));
            assert_true(token.claims.n_aif == 1 && token.claims.aif[0].mask == 3);
            assert_int_equal(token.claims.cnf.kind, CNF_KID);
        }
    /* A symmetric key goes into no token that is not sealed. */
    struct claims secret = made;
    uint8_t raw[TOKEN_MAX];
    struct buf b = buf_on(raw, sizeof raw);
    struct key es = oauth_key("es"), dir = oauth_key("dir");
    secret.cnf = (struct cnf){.kind = CNF_SYMMETRIC, .key_n = 16};
    assert_int_equal(jwt_mint(&secret, &(struct jwt_maker){.proof = &es}, &b), PEP_CONFIRMATION);
    b = buf_on(raw, sizeof raw);
    assert_int_equal(jwt_mint(&secret, &(struct jwt_maker){.seal = &dir}, &b), PEP_OK);
    assert_int_equal(token_verify(keys, buf_bytes(&b), &token), PEP_OK);
    assert_int_equal(token.claims.cnf.key_n, 16);
}

static void test_peek(void **state)
{
    (void)state;
    static struct token_unverified u;
    struct key es = oauth_key("es");
    struct bytes raw =
        jws_of("{\"alg\":\"ES256\",\"kid\":\"nobody\"}", BYTES_LIT("{" BASE "}"), &es, "ES256");
    assert_int_equal(token_peek(raw, &u), PEP_OK);
    assert_string_equal(u.format, "JWS");
    assert_string_equal(u.alg, "ES256");
    assert_true(bytes_equal_str(u.kid, "nobody"));
    assert_true(u.readable && bytes_equal_str(u.token.claims.iss, "as"));
    assert_int_equal(u.token.authority, -1);
    assert_int_equal(token_peek(seal("dir", NULL, NULL, BYTES_LIT("{" BASE "}")), &u), PEP_OK);
    assert_string_equal(u.format, "JWE");
    assert_string_equal(u.alg, "dir");
    assert_false(u.readable);
    assert_int_equal(token_peek(BYTES_LIT("a.b.c"), &u), PEP_MALFORMED);
}

/* A signed answer of RFC 9701 is no token, and a token is no such answer. */
static void test_introspection(void **state)
{
    (void)state;
    uint8_t room[TOKEN_MAX];
    struct jwt_opened o;
    struct key es = oauth_key("es");
    struct bytes payload = BYTES_LIT("{\"token_introspection\":{\"active\":true}}");
    struct bytes answer =
        jws_of("{\"alg\":\"ES256\",\"typ\":\"token-introspection+jwt\"}", payload, &es, "ES256");
    struct bytes plain = jws_of("{\"alg\":\"ES256\",\"typ\":\"JWT\"}", payload, &es, "ES256");
    struct buf b = buf_on(room, sizeof room);
    assert_int_equal(jwt_open(keys, 0, JWT_INTROSPECTION, answer, &b, &o), PEP_OK);
    assert_true(bytes_equal(o.content, payload) && o.authority == 0 && !o.encrypted);
    assert_int_equal(jwt_open(keys, 0, JWT_INTROSPECTION, plain, &b, &o), PEP_UNSUPPORTED);
    assert_int_equal(jwt_open(keys, 2, JWT_INTROSPECTION, answer, &b, &o), PEP_PROTECTION);
    b = buf_on(room, sizeof room);
    assert_int_equal(jwt_open(keys, 0, JWT_INTROSPECTION, seal("dir", NULL, "JWT", answer), &b, &o),
                     PEP_OK);
    assert_true(bytes_equal(o.content, payload) && o.encrypted);
}

/* ---- keys from a JWKS URL ---- */

static void test_fetched(void **state)
{
    (void)state;
    char text[512];
    struct buf diag = buf_on(text, sizeof text);
    struct bytes set = BYTES_LIT("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"new\","
                                 "\"x\":\"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ\","
                                 "\"y\":\"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck\"},"
                                 "{\"kty\":\"oct\",\"k\":\"" D32 "\",\"kid\":\"leak\"}]}");
    struct key k = oauth_key("ec-enc"), es = oauth_key("es"), hs = {.kind = KEY_NONE};
    k.ops = 0;
    struct bytes claims = BYTES_LIT("{" BASE "," CNF "}");
    struct bytes raw = jws_of("{\"alg\":\"ES256\",\"kid\":\"new\"}", claims, &k, "ES256");
    struct bytes old = jws_of("{\"alg\":\"ES256\",\"kid\":\"es\"}", claims, &es, "ES256");
    hs = jwk_key(BYTES_LIT("{\"kty\":\"oct\",\"k\":\"" D32 "\"}"));
    struct bytes leaked = jws_of("{\"alg\":\"HS256\",\"kid\":\"leak\"}", claims, &hs, "HS256");
    assert_int_equal(token_verify(keys, raw, &token), PEP_UNKNOWN_KEY);
    struct keys *more = keys_with_set(keys, 0, set, "https://as/jwks", &diag);
    assert_non_null(more);
    assert_int_equal(keys_count(more), keys_count(keys) + 1);
    assert_int_equal(token_verify(more, raw, &token), PEP_OK);
    assert_int_equal(token_verify(more, old, &token), PEP_OK); /* the file's stay */
    assert_int_equal(token_verify(more, leaked, &token), PEP_UNKNOWN_KEY);
    assert_false(keys_same(keys, 0, more, 0));
    assert_true(keys_same(keys, 1, more, 1));
    /* The next set takes the place of the last. */
    struct keys *next =
        keys_with_set(more, 0,
                      BYTES_LIT("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"newer\","
                                "\"x\":\"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0\","
                                "\"y\":\"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps\"}]}"),
                      "u", &diag);
    assert_non_null(next);
    assert_int_equal(keys_count(next), keys_count(more));
    assert_int_equal(token_verify(next, raw, &token), PEP_UNKNOWN_KEY);
    assert_int_equal(token_verify(next, old, &token), PEP_OK);
    keys_free(next);
    /* Nothing usable: refused, and said so. */
    diag.n = 0;
    assert_null(keys_with_set(more, 0, BYTES_LIT("{\"keys\":[]}"), "https://as/jwks", &diag));
    assert_non_null(memmem(text, diag.n, "https://as/jwks: error: ", 24));
    assert_null(keys_with_set(more, 0, BYTES_LIT("<html>"), "u", &diag));
    assert_null(keys_with_set(more, 3, set, "u", &diag));
    keys_free(more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signed),        cmocka_unit_test(test_sealed),
        cmocka_unit_test(test_families),      cmocka_unit_test(test_claims),
        cmocka_unit_test(test_values),        cmocka_unit_test(test_cnf_jwe),
        cmocka_unit_test(test_minted),        cmocka_unit_test(test_peek),
        cmocka_unit_test(test_introspection), cmocka_unit_test(test_fetched),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
