/* pep/jose: the examples of RFC 7515, 7516, 7520 and 8037; then one mutation
 * after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "../pep/jose.h"
#include "support_jose.h"

static uint8_t room[JOSE_MAX];

static enum pep_err open_it(struct bytes raw, const struct key *key, struct bytes *content)
{
    struct jose m;
    struct buf plain = buf_on(room, sizeof room);
    enum pep_err e = jose_parse(raw, &m);
    return e == PEP_OK ? jose_open(&m, key, &plain, content) : e;
}

static const struct {
    const char *file, *message, *key, *plain; /* plain NULL: only that it opens */
} golden[] = {
    {"rfc7515", "a1.jws", "a1.jwk", 0},
    {"rfc7515", "a2.jws", "a2.jwk", 0},
    {"rfc7515", "a3.jws", "a3.jwk", 0},
    {"rfc7515", "a4.jws", "a4.jwk", 0},
    {"rfc7516", "a3.jwe", "a3.jwk", "a3.plain"},
    {"rfc7520", "4.1.jws", "4.1.jwk", 0},
    {"rfc7520", "4.2.jws", "4.2.jwk", 0},
    {"rfc7520", "4.3.jws", "4.3.jwk", 0},
    {"rfc7520", "4.4.jws", "4.4.jwk", 0},
    {"rfc7520", "5.4.jwe", "5.4.jwk", "5.4.plain"},
    {"rfc7520", "5.5.jwe", "5.5.jwk", "5.5.plain"},
    {"rfc7520", "5.6.jwe", "5.6.jwk", "5.6.plain"},
    {"rfc7520", "5.8.jwe", "5.8.jwk", "5.8.plain"},
    {"rfc7638", "ed25519.jws", "ed25519.jwk", 0},
};

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        struct bytes raw = jose_vector(golden[i].file, golden[i].message), content;
        struct key k = jwk_key(jose_vector(golden[i].file, golden[i].key));
        assert_true(jose_is_compact(raw));
        enum pep_err e = open_it(raw, &k, &content);
        if (e != PEP_OK)
            fail_msg("%s %s: %s", golden[i].file, golden[i].message, pep_err_str(e));
        if (golden[i].plain)
            assert_true(bytes_equal(content, jose_vector(golden[i].file, golden[i].plain)));
        /* No other of the keys opens it. */
        for (size_t j = 0; j < sizeof golden / sizeof *golden; j++) {
            struct key other = jwk_key(jose_vector(golden[j].file, golden[j].key));
            uint8_t a[32], b[32];
            assert_true(jwk_thumbprint(&k, a) && jwk_thumbprint(&other, b));
            if (memcmp(a, b, sizeof a) != 0)
                assert_int_equal(open_it(raw, &other, &content), PEP_PROTECTION);
        }
    }
    struct bytes content;
    struct key k = jwk_key(jose_vector("rfc7520", "4.1.jwk"));
    assert_int_equal(open_it(jose_vector("rfc7520", "4.1.jws"), &k, &content), PEP_OK);
    assert_memory_equal(content.p, "It\xe2\x80\x99s a dangerous business", 27);
    /* What is not spoken: RSA1_5, RSA-OAEP with SHA-1, PBES2, GCM key wrap; zip. */
    static const char *const never[] = {"5.1.jwe", "5.2.jwe", "5.3.jwe", "5.7.jwe", "5.9.jwe"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(open_it(jose_vector("rfc7520", never[i]), &k, &content), PEP_UNSUPPORTED);
    assert_int_equal(open_it(jose_vector("rfc7515", "a5.none"), &k, &content), PEP_PROTECTION);
}

/* Every length, every byte changed, a byte behind: none opens. */
static void test_mutilated(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        struct bytes raw = jose_vector(golden[i].file, golden[i].message), content;
        struct key k = jwk_key(jose_vector(golden[i].file, golden[i].key));
        uint8_t bent[JOSE_MAX];
        memcpy(bent, raw.p, raw.n);
        bool slow = k.kind == KEY_EC || k.kind == KEY_RSA;
        for (size_t n = 0; n < raw.n; n += n + 90 < raw.n && slow ? 7 : 1)
            assert_int_not_equal(open_it(bytes_of(raw.p, n), &k, &content), PEP_OK);
        for (size_t at = 0; at < raw.n; at += slow ? 23 : 1) {
            static const char to[] = "A_. =+/";
            for (size_t c = 0; c < sizeof to; c++) {
                if (bent[at] == (uint8_t)to[c])
                    continue;
                bent[at] = (uint8_t)to[c];
                if (open_it(bytes_of(bent, raw.n), &k, &content) == PEP_OK)
                    fail_msg("%s: byte %zu to '%c'", golden[i].message, at, to[c]);
                bent[at] = raw.p[at];
                if (slow)
                    c += at % 3;
            }
        }
        static const char behind[] = " \n=.A";
        for (size_t c = 0; c < sizeof behind; c++) {
            bent[raw.n] = (uint8_t)behind[c];
            assert_int_not_equal(open_it(bytes_of(bent, raw.n + 1), &k, &content), PEP_OK);
        }
        bent[0] = ' ';
        memcpy(bent + 1, raw.p, raw.n);
        assert_int_equal(open_it(bytes_of(bent, raw.n + 1), &k, &content), PEP_MALFORMED);
    }
}

/* ---- headers: signed all the same, so that each fails for its own reason ---- */

static const struct {
    const char *name, *header;
    enum pep_err want;
} headers[] = {
    {"alg", "{\"alg\":\"ES256\"}", PEP_OK},
    {"white space", " { \"alg\" : \"ES256\" }\n", PEP_OK},
    {"typ, cty, kid", "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"cty\":\"x\",\"kid\":\"k\"}", PEP_OK},
    {"no alg", "{\"typ\":\"JWT\"}", PEP_MALFORMED},
    {"alg a number", "{\"alg\":-7}", PEP_MALFORMED},
    {"alg null", "{\"alg\":null}", PEP_MALFORMED},
    {"alg a list", "{\"alg\":[\"ES256\"]}", PEP_MALFORMED},
    {"alg twice", "{\"alg\":\"ES256\",\"alg\":\"ES256\"}", PEP_MALFORMED},
    {"alg twice, escaped", "{\"alg\":\"ES256\",\"\\u0061lg\":\"none\"}", PEP_MALFORMED},
    {"none", "{\"alg\":\"none\"}", PEP_PROTECTION},
    {"None", "{\"alg\":\"None\"}", PEP_PROTECTION},
    {"NONE", "{\"alg\":\"NONE\"}", PEP_PROTECTION},
    {"nOnE", "{\"alg\":\"nOnE\"}", PEP_PROTECTION},
    {"none and a space", "{\"alg\":\"none \"}", PEP_UNSUPPORTED},
    {"none, escaped", "{\"alg\":\"\\u006eone\"}", PEP_PROTECTION},
    {"no name", "{\"alg\":\"\"}", PEP_UNSUPPORTED},
    {"es256", "{\"alg\":\"es256\"}", PEP_UNSUPPORTED},
    {"ES256K", "{\"alg\":\"ES256K\"}", PEP_UNSUPPORTED},
    {"ES384", "{\"alg\":\"ES384\"}", PEP_MALFORMED}, /* the signature's length */
    {"EdDSA", "{\"alg\":\"EdDSA\"}", PEP_PROTECTION},
    {"RS256", "{\"alg\":\"RS256\"}", PEP_PROTECTION},
    {"HS256", "{\"alg\":\"HS256\"}", PEP_MALFORMED},
    {"dir", "{\"alg\":\"dir\",\"enc\":\"A128GCM\"}", PEP_UNSUPPORTED},
    {"A128KW", "{\"alg\":\"A128KW\"}", PEP_PROTECTION},
    {"A128GCM", "{\"alg\":\"A128GCM\"}", PEP_PROTECTION},
    {"crit", "{\"alg\":\"ES256\",\"crit\":[\"exp\"],\"exp\":1}", PEP_UNSUPPORTED},
    {"crit, empty", "{\"alg\":\"ES256\",\"crit\":[]}", PEP_UNSUPPORTED},
    {"crit of alg", "{\"alg\":\"ES256\",\"crit\":[\"alg\"]}", PEP_UNSUPPORTED},
    {"b64 false", "{\"alg\":\"ES256\",\"b64\":false,\"crit\":[\"b64\"]}", PEP_UNSUPPORTED},
    {"b64 false, not critical", "{\"alg\":\"ES256\",\"b64\":false}", PEP_UNSUPPORTED},
    {"zip", "{\"alg\":\"ES256\",\"zip\":\"DEF\"}", PEP_UNSUPPORTED},
    {"unknown header", "{\"alg\":\"ES256\",\"x\":{\"y\":[1]}}", PEP_OK},
    {"jku", "{\"alg\":\"ES256\",\"jku\":\"https://evil\"}", PEP_OK},
    {"kid a number", "{\"alg\":\"ES256\",\"kid\":1}", PEP_MALFORMED},
    {"kid of 65 bytes",
     "{\"alg\":\"ES256\","
     "\"kid\":\"0123456789012345678901234567890123456789012345678901234567890123x\"}",
     PEP_MALFORMED},
    {"typ a number", "{\"alg\":\"ES256\",\"typ\":1}", PEP_MALFORMED},
    {"cty a number", "{\"alg\":\"ES256\",\"cty\":1}", PEP_MALFORMED},
    {"a list", "[\"ES256\"]", PEP_MALFORMED},
    {"a text", "\"ES256\"", PEP_MALFORMED},
    {"a byte behind", "{\"alg\":\"ES256\"}x", PEP_MALFORMED},
    {"not UTF-8", "{\"alg\":\"ES256\",\"x\":\"\xff\"}", PEP_MALFORMED},
    {"cut", "{\"alg\":\"ES256\"", PEP_MALFORMED},
    {"nothing", "", PEP_MALFORMED},
};

static void test_headers(void **state)
{
    (void)state;
    struct key k = jwk_key(jose_vector("rfc7515", "a3.jwk"));
    struct bytes content;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct bytes raw = jws_of(headers[i].header, BYTES_LIT("{}"), &k, "ES256");
        enum pep_err e = open_it(raw, &k, &content);
        if (e != headers[i].want)
            fail_msg("%s: %s, wanted %s", headers[i].name, pep_err_str(e),
                     pep_err_str(headers[i].want));
    }
    /* The largest header, and one byte more. */
    char large[JOSE_HEADER_MAX + 2];
    for (size_t more = 0; more < 2; more++) {
        size_t n = JOSE_HEADER_MAX + more;
        memset(large, ' ', n);
        large[n] = 0;
        memcpy(large, "{\"alg\":\"ES256\"}", 15);
        enum pep_err e = open_it(jws_of(large, BYTES_LIT("{}"), &k, "ES256"), &k, &content);
        assert_int_equal(e, more ? PEP_TOO_LARGE : PEP_OK);
    }
}

/* RFC 8725 2.1: the public key as an HMAC secret, in the forms it comes in. */
static void test_confusion(void **state)
{
    (void)state;
    struct key rsa = jwk_key(jose_vector("rfc7515", "a2.jwk"));
    struct key hs = {.kind = KEY_SECRET, .has_secret = true, .secret_n = 64};
    struct bytes content;
    memcpy(hs.secret, rsa.rsa.n, 64);
    struct bytes raw = jws_of("{\"alg\":\"HS256\"}", BYTES_LIT("{}"), &hs, "HS256");
    assert_int_equal(open_it(raw, &hs, &content), PEP_OK);
    assert_int_equal(open_it(raw, &rsa, &content), PEP_PROTECTION);
    /* A key for RS256 verifies no PS256, and one that says nothing both. */
    raw = jws_of("{\"alg\":\"PS256\"}", BYTES_LIT("{}"), &rsa, "PS256");
    assert_int_equal(open_it(raw, &rsa, &content), PEP_OK);
    rsa.alg = CRYPTO_RS256;
    assert_int_equal(open_it(raw, &rsa, &content), PEP_PROTECTION);
    /* An HMAC secret below its hash, whatever it says it is for. */
    hs.secret_n = 31;
    hs.alg = 5;
    raw = jws_of("{\"alg\":\"ES256\"}", BYTES_LIT("{}"), &rsa, "RS256");
    assert_false(key_can_check(&hs, crypto_jose_named(BYTES_LIT("HS256"))));
}

/* ---- what we seal, we open ---- */

static void test_sealed(void **state)
{
    (void)state;
    static const struct {
        const char *alg; /* NULL: dir */
        const char *jwk;
    } rows[] = {
        {"A128KW", "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODw\"}"},
        {"A192KW", "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\"}"},
        {"A256KW", "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}"},
        {"RSA-OAEP-256", 0},
        {"ECDH-ES", 0},
        {"ECDH-ES+A128KW", 0},
        {"ECDH-ES+A192KW", 0},
        {"ECDH-ES+A256KW", 0},
        {0, "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}"},
    };
    static const char *const encs[] = {"A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256"};
    static const char *const ecs[] = {"rfc7515 a3.jwk", "rfc7520 5.4.jwk", "rfc7515 a4.jwk"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t e = 0; e < 4; e++) {
            const struct crypto_alg *alg =
                rows[i].alg ? crypto_jose_named(bytes_str(rows[i].alg)) : NULL;
            const struct crypto_alg *enc = crypto_jose_named(bytes_str(encs[e]));
            char file[8] = "";
            struct key k;
            if (rows[i].jwk) {
                k = jwk_key(bytes_str(rows[i].jwk));
            } else if (crypto_jose_is_rsa(alg)) {
                k = jwk_key(jose_vector("rfc7515", "a2.jwk"));
            } else {
                memcpy(file, ecs[e % 3], 7);
                k = jwk_key(jose_vector(file, ecs[e % 3] + 8));
            }
            if (!alg && k.secret_n != enc->key_n)
                continue;
            uint8_t out[4096];
            struct buf b = buf_on(out, sizeof out);
            struct bytes content, plain = BYTES_LIT("{\"a\":1}");
            k.ops = 0;
            assert_int_equal(jose_seal(alg, enc, &k, NULL, NULL, plain, &b), PEP_OK);
            enum pep_err err = open_it(buf_bytes(&b), &k, &content);
            if (err != PEP_OK || !bytes_equal(content, plain))
                fail_msg("%s %s: %s", rows[i].alg, encs[e], pep_err_str(err));
            /* Any segment of it, changed. */
            for (size_t at = 0; at < b.n; at += 1 + b.n / 40) {
                uint8_t was = out[at];
                out[at] = was == 'Q' ? 'w' : 'Q';
                assert_int_not_equal(open_it(buf_bytes(&b), &k, &content), PEP_OK);
                out[at] = was;
            }
        }
}

/* An ephemeral key that is no point of its curve, of another, or is private
 * (RFC 8725 3.4). */
static void test_epk(void **state)
{
    (void)state;
    struct key k = jwk_key(jose_vector("rfc7520", "5.5.jwk"));
#define HEAD "{\"alg\":\"ECDH-ES\",\"enc\":\"A128GCM\",\"epk\":"
#define GX   "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define GY   "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    static const struct {
        const char *name, *header;
        enum pep_err want;
    } rows[] = {
        {"sound", HEAD "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" GX "\",\"y\":\"" GY "\"}}",
         PEP_PROTECTION},
        {"off the curve",
         HEAD "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" GX "\",\"y\":\"" GX "\"}}",
         PEP_MALFORMED},
        {"none", "{\"alg\":\"ECDH-ES\",\"enc\":\"A128GCM\"}", PEP_MALFORMED},
        {"symmetric", HEAD "{\"kty\":\"oct\",\"k\":\"" GX "\"}}", PEP_MALFORMED},
        {"a text", HEAD "\"" GX "\"}", PEP_MALFORMED},
        {"apu a number",
         HEAD "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" GX "\",\"y\":\"" GY "\"},\"apu\":1}",
         PEP_MALFORMED},
        {"apu padded",
         HEAD "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" GX "\",\"y\":\"" GY
              "\"},\"apu\":\"QQ==\"}",
         PEP_MALFORMED},
        {"no enc",
         "{\"alg\":\"ECDH-ES\",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" GX
         "\",\"y\":\"" GY "\"}}",
         PEP_MALFORMED},
        {"enc unknown", "{\"alg\":\"ECDH-ES\",\"enc\":\"A256CBC-HS512\"}", PEP_UNSUPPORTED},
        {"enc no cipher", "{\"alg\":\"ECDH-ES\",\"enc\":\"HS256\"}", PEP_PROTECTION},
        {"alg a signature", "{\"alg\":\"ES256\",\"enc\":\"A128GCM\"}", PEP_PROTECTION},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes h = base64url_text(bytes_str(rows[i].header)), content;
        uint8_t out[2048];
        struct buf b = buf_on(out, sizeof out);
        buf_put(&b, h);
        buf_put_str(&b, "..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA");
        enum pep_err e = open_it(buf_bytes(&b), &k, &content);
        if (e != rows[i].want)
            fail_msg("%s: %s", rows[i].name, pep_err_str(e));
    }
}

static void test_form(void **state)
{
    (void)state;
    static const char *const no[] = {"",       ".",      "..",          "a.b",
                                     "a..b.c", "a.b.c.", "a.b.c.d.e.f", "a.b.c ",
                                     "a.b=.c", "a.b+.c", "\xd8.b.c"};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_false(jose_is_compact(bytes_str(no[i])));
    assert_true(jose_is_compact(BYTES_LIT("a.b.c")));
    assert_true(jose_is_compact(BYTES_LIT("a..")));
    assert_true(jose_is_compact(BYTES_LIT("a.b.c.d.e")));
    static uint8_t large[JOSE_MAX + 1];
    memset(large, 'A', sizeof large);
    large[4] = large[8] = '.';
    struct jose m;
    assert_true(jose_is_compact(bytes_of(large, JOSE_MAX)));
    assert_false(jose_is_compact(bytes_of(large, JOSE_MAX + 1)));
    assert_int_equal(jose_parse(bytes_of(large, JOSE_MAX + 1), &m), PEP_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),  cmocka_unit_test(test_mutilated),
        cmocka_unit_test(test_headers), cmocka_unit_test(test_confusion),
        cmocka_unit_test(test_sealed),  cmocka_unit_test(test_epk),
        cmocka_unit_test(test_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
