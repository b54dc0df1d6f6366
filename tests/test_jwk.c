/* pep/jwk: RFC 7517's sets, RFC 7638 and 8037's thumbprints, and what a key
 * must not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "../pep/crypto_jose.h"
#include "support_jose.h"

#define X   "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define Y   "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define D   "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
#define EC  "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" Y "\""
#define K16 "AAECAwQFBgcICQoLDA0ODw"
#define K32 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define OX  "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define OD  "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"

static const struct {
    const char *name, *text;
    const char *can; /* an algorithm that it may check with; NULL: not read */
    const char *cannot;
} rows[] = {
    {"EC", "{" EC "}", "ES256", "ES384"},
    {"EC, private", "{" EC ",\"d\":\"" D "\"}", "ES256", "HS256"},
    {"EC, d of another", "{" EC ",\"d\":\"" X "\"}", 0, 0},
    {"EC, d short", "{" EC ",\"d\":\"" K16 "\"}", 0, 0},
    {"EC, other curve", "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" X "\",\"y\":\"" Y "\"}", 0, 0},
    {"EC, secp256k1", "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" X "\",\"y\":\"" Y "\"}", 0,
     0},
    {"EC, off the curve", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" X "\"}", 0,
     0},
    {"EC, x padded", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "=\",\"y\":\"" Y "\"}", 0, 0},
    {"EC, no y", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\"}", 0, 0},
    {"EC, x a number", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":1,\"y\":\"" Y "\"}", 0, 0},
    {"EC, no crv", "{\"kty\":\"EC\",\"x\":\"" X "\",\"y\":\"" Y "\"}", 0, 0},
    {"no kty", "{\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" Y "\"}", 0, 0},
    {"kty in lower case", "{\"kty\":\"ec\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" Y "\"}", 0,
     0},
    {"EC, use sig", "{" EC ",\"use\":\"sig\"}", "ES256", "ECDH-ES"},
    {"EC, use enc", "{" EC ",\"use\":\"enc\",\"d\":\"" D "\"}", "ECDH-ES", "ES256"},
    {"EC, use enc, public", "{" EC ",\"use\":\"enc\"}", "", "ECDH-ES"},
    {"EC, unknown use", "{" EC ",\"use\":\"tls\"}", "", "ES256"},
    {"EC, use a number", "{" EC ",\"use\":1}", 0, 0},
    {"EC, ops verify", "{" EC ",\"key_ops\":[\"verify\"]}", "ES256", "ECDH-ES"},
    {"EC, ops sign only, public", "{" EC ",\"key_ops\":[\"encrypt\"]}", "", "ES256"},
    {"EC, no ops", "{" EC ",\"key_ops\":[]}", "", "ES256"},
    {"EC, ops no list", "{" EC ",\"key_ops\":\"verify\"}", 0, 0},
    {"EC, ops against use", "{" EC ",\"use\":\"enc\",\"key_ops\":[\"verify\"]}", "", "ES256"},
    {"EC, alg", "{" EC ",\"alg\":\"ES256\"}", "ES256", "ECDH-ES"},
    {"EC, alg of another curve", "{" EC ",\"alg\":\"ES384\"}", 0, 0},
    {"EC, alg of RSA", "{" EC ",\"alg\":\"RS256\"}", 0, 0},
    {"EC, alg none", "{" EC ",\"alg\":\"none\"}", 0, 0},
    {"EC, alg a number", "{" EC ",\"alg\":-7}", 0, 0},
    {"EC, alg against use", "{" EC ",\"alg\":\"ES256\",\"use\":\"enc\"}", "", "ES256"},
    {"EC, alg to agree", "{" EC ",\"alg\":\"ECDH-ES+A128KW\",\"d\":\"" D "\"}", "ECDH-ES+A128KW",
     "ECDH-ES"},
    {"EC, kid", "{" EC ",\"kid\":\"k\"}", "ES256", "HS256"},
    {"EC, kid empty", "{" EC ",\"kid\":\"\"}", 0, 0},
    {"EC, kid a number", "{" EC ",\"kid\":1}", 0, 0},
    {"EC, kid of 65 bytes",
     "{" EC ",\"kid\":\"0123456789012345678901234567890123456789012345678901234567890123x\"}", 0,
     0},
    {"EC, x5u", "{" EC ",\"x5u\":\"https://a\",\"x5c\":[\"AA==\"]}", "ES256", "HS256"},
    {"oct", "{\"kty\":\"oct\",\"k\":\"" K32 "\"}", "HS256", "RS256"},
    {"oct, GCM", "{\"kty\":\"oct\",\"k\":\"" K32 "\"}", "A256GCM", "A128GCM"},
    {"oct, too short for its hash", "{\"kty\":\"oct\",\"k\":\"" K32 "\"}", "HS256", "HS384"},
    {"oct, alg too long for it", "{\"kty\":\"oct\",\"k\":\"" K32 "\",\"alg\":\"HS512\"}", 0, 0},
    {"oct, alg", "{\"kty\":\"oct\",\"k\":\"" K32 "\",\"alg\":\"HS256\"}", "HS256", "A256GCM"},
    {"oct, alg KW", "{\"kty\":\"oct\",\"k\":\"" K16 "\",\"alg\":\"A128KW\"}", "A128KW", "A128GCM"},
    {"oct, alg KW, too long", "{\"kty\":\"oct\",\"k\":\"" K32 "\",\"alg\":\"A128KW\"}", 0, 0},
    {"oct, alg dir", "{\"kty\":\"oct\",\"k\":\"" K16 "\",\"alg\":\"dir\"}", "A128GCM", "A128KW"},
    {"EC, alg dir", "{" EC ",\"alg\":\"dir\"}", 0, 0},
    {"oct, 15 bytes", "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0O\"}", 0, 0},
    {"oct, PBES2", "{\"kty\":\"oct\",\"k\":\"" K16 "\",\"alg\":\"PBES2-HS256+A128KW\"}", 0, 0},
    {"oct, sign and verify",
     "{\"kty\":\"oct\",\"k\":\"" K32 "\",\"key_ops\":[\"sign\",\"verify\"]}", "HS256", "A256GCM"},
    {"OKP", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" OX "\"}", "EdDSA", "ES256"},
    {"OKP, private", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" OX "\",\"d\":\"" OD "\"}",
     "EdDSA", "HS256"},
    {"OKP, d of another", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" OX "\",\"d\":\"" OX "\"}",
     0, 0},
    {"OKP, Ed448", "{\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":\"" OX "\"}", 0, 0},
    {"OKP, X25519", "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" OX "\"}", 0, 0},
    {"OKP, short", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" K16 "\"}", 0, 0},
    {"RSA of 15 bytes", "{\"kty\":\"RSA\",\"n\":\"" K16 "\",\"e\":\"AQAB\"}", 0, 0},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_node *doc = json_doc_read(bytes_str(rows[i].text));
        struct key k;
        const char *why = NULL;
        if (!doc)
            fail_msg("%s: no JSON", rows[i].name);
        bool ok = jwk_read(doc, KEY_SECRET_MIN, &k, &why);
        json_doc_free(doc);
        if (ok != (rows[i].can != NULL))
            fail_msg("%s: %s", rows[i].name, ok ? "read" : why);
        if (!ok)
            continue;
        if (*rows[i].can && !key_can_check(&k, crypto_jose_named(bytes_str(rows[i].can))))
            fail_msg("%s: not for %s", rows[i].name, rows[i].can);
        if (key_can_check(&k, crypto_jose_named(bytes_str(rows[i].cannot))))
            fail_msg("%s: for %s", rows[i].name, rows[i].cannot);
    }
}

static void test_thumbprints(void **state)
{
    (void)state;
    static const char *const names[] = {"rsa", "ed25519"};
    char name[32];
    for (size_t i = 0; i < 2; i++) {
        uint8_t got[CRYPTO_SHA256];
        snprintf(name, sizeof name, "%s.jwk", names[i]);
        struct key k = jwk_key(jose_vector("rfc7638", name));
        snprintf(name, sizeof name, "%s.thumbprint", names[i]);
        assert_true(jwk_thumbprint(&k, got));
        assert_true(
            bytes_equal(base64url_text(bytes_of(got, sizeof got)), jose_vector("rfc7638", name)));
    }
}

/* What is written is read again as the same key. */
static void test_written(void **state)
{
    (void)state;
    struct key all[] = {
        jwk_key(BYTES_LIT("{" EC ",\"d\":\"" D "\",\"kid\":\"k\",\"alg\":\"ES256\"}")),
        jwk_key(jose_vector("rfc7638", "ed25519.jwk")),
        jwk_key(BYTES_LIT("{\"kty\":\"oct\",\"k\":\"" K32 "\"}")),
        jwk_key(jose_vector("rfc7515", "a2.jwk")),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        uint8_t text[JWK_MAX], a[CRYPTO_SHA256], b[CRYPTO_SHA256];
        for (int secret = 0; secret < 2; secret++) {
            struct buf out = buf_on(text, sizeof text);
            jwk_put(&all[i], secret, &out);
            struct key k = jwk_key(buf_bytes(&out));
            assert_true(jwk_thumbprint(&all[i], a) && jwk_thumbprint(&k, b));
            assert_memory_equal(a, b, sizeof a);
            assert_int_equal(k.has_secret, secret || k.kind == KEY_SECRET);
            assert_int_equal(k.kid_n, all[i].kid_n);
            assert_int_equal(k.alg, all[i].alg);
        }
    }
}

static void test_sets(void **state)
{
    (void)state;
    struct key k[8];
    const char *why;
    size_t n = 0, which;
    /* A.1: an EC key with use enc, an RSA key with alg RS256. */
    assert_true(
        jwk_read_set(jose_vector("rfc7517", "a1.set"), JWK_SET_FETCHED, k, 8, &n, &why, &which));
    assert_int_equal(n, 2);
    assert_true(k[0].fetched && k[0].kind == KEY_EC && k[1].kind == KEY_RSA);
    assert_true(key_can_check(&k[1], crypto_jose_of(CRYPTO_RS256)));
    assert_false(key_can_check(&k[1], crypto_jose_of(CRYPTO_PS256)));
    assert_true(bytes_equal_str(key_kid(&k[1]), "2011-04-29"));
    /* A.2: private keys, A.3: secrets: of no use when published, ours in a file. */
    static const char *const private[] = {"a2.set", "a3.set"};
    for (size_t i = 0; i < 2; i++) {
        n = 0;
        assert_false(jwk_read_set(jose_vector("rfc7517", private[i]), JWK_SET_FETCHED, k, 8, &n,
                                  &why, &which));
        assert_int_equal(n, 0);
        assert_true(
            jwk_read_set(jose_vector("rfc7517", private[i]), JWK_SET_FILE, k, 8, &n, &why, &which));
        assert_int_equal(n, 2);
        assert_true(k[0].has_secret && k[1].has_secret);
    }
    n = 0;
    assert_true(
        jwk_read_set(jose_vector("rfc7517", "b.jwk"), JWK_SET_FILE, k, 8, &n, &why, &which));
    assert_false(
        jwk_read_set(jose_vector("rfc7517", "b.jwk"), JWK_SET_FETCHED, k, 8, &n, &why, &which));
    assert_int_equal(n, 1);

    /* A key of another world beside one of ours. */
    static const char mixed[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"secp256k1\"},{" EC "},3]}";
    n = 0;
    assert_true(jwk_read_set(bytes_str(mixed), JWK_SET_FETCHED, k, 8, &n, &why, &which));
    assert_int_equal(n, 1);
    n = 0;
    assert_false(jwk_read_set(bytes_str(mixed), JWK_SET_FILE, k, 8, &n, &why, &which));
    assert_int_equal(which, 1);
    static const char two[] = "{\"keys\":[{" EC "},{" EC "}]}";
    assert_false(jwk_read_set(bytes_str(two), JWK_SET_FETCHED, k, 1, &n, &why, &which));
    assert_false(jwk_read_set(BYTES_LIT("{\"keys\":{}}"), JWK_SET_FETCHED, k, 8, &n, &why, &which));
    assert_false(jwk_read_set(BYTES_LIT("[]"), JWK_SET_FILE, k, 8, &n, &why, &which));
    assert_false(jwk_read_set(BYTES_LIT("not"), JWK_SET_FILE, k, 8, &n, &why, &which));
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_thumbprints),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
