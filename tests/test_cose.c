/* pep/cose: the working group's examples, and one mutation a row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "../pep/cbor.h"
#include "../pep/cose.h"
#include "support_hex.h"

/* ---- published messages ---- */

static struct key secret_key(struct bytes k)
{
    struct key key = {.kind = KEY_SECRET, .authority = 0, .has_secret = true, .secret_n = k.n};
    memcpy(key.secret, k.p, k.n);
    return key;
}

static const struct {
    const char *name;
    bool ec;
    int crv;
    enum pep_err parse, open;
} examples[] = {
    {"aes-ccm-enc-01", false, 0, PEP_OK, PEP_OK},
    {"aes-ccm-enc-02", false, 0, PEP_OK, PEP_OK},
    {"aes-ccm-enc-03", false, 0, PEP_OK, PEP_OK},
    {"aes-ccm-enc-04", false, 0, PEP_OK, PEP_OK},
    {"aes-ccm-enc-05", false, 0, PEP_OK, PEP_OK},
    {"aes-ccm-enc-06", false, 0, PEP_OK, PEP_OK},
    {"aes-ccm-enc-07", false, 0, PEP_OK, PEP_OK},
    {"aes-ccm-enc-08", false, 0, PEP_OK, PEP_OK},
    {"aes-gcm-enc-01", false, 0, PEP_OK, PEP_OK},
    {"aes-gcm-enc-02", false, 0, PEP_OK, PEP_OK},
    {"aes-gcm-enc-03", false, 0, PEP_OK, PEP_OK},
    {"aes-gcm-enc-04", false, 0, PEP_OK, PEP_PROTECTION}, /* "Fail the tag" */
    {"hmac-enc-01", false, 0, PEP_OK, PEP_OK},
    {"hmac-enc-02", false, 0, PEP_OK, PEP_OK},
    {"hmac-enc-03", false, 0, PEP_OK, PEP_OK},
    {"hmac-enc-04", false, 0, PEP_OK, PEP_PROTECTION}, /* "Incorrect Tag" */
    {"hmac-enc-05", false, 0, PEP_OK, PEP_OK},
    {"ecdsa-sig-01", true, CRYPTO_P256, PEP_OK, PEP_OK},
    {"ecdsa-sig-02", true, CRYPTO_P384, PEP_OK, PEP_OK},
    {"ecdsa-sig-03", true, CRYPTO_P521, PEP_OK, PEP_OK},
    {"ecdsa-sig-04", true, CRYPTO_P256, PEP_OK, PEP_PROTECTION}, /* ES512 on P-256 */
};

static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        char name[64];
        struct key key = {.kind = KEY_EC, .authority = 0};
        if (examples[i].ec) {
            snprintf(name, sizeof name, "%s.x", examples[i].name);
            struct bytes x = vector("cose_wg", name);
            snprintf(name, sizeof name, "%s.y", examples[i].name);
            assert_true(crypto_ec_from_xy(examples[i].crv, x, vector("cose_wg", name), &key.ec));
        } else {
            snprintf(name, sizeof name, "%s.key", examples[i].name);
            key = secret_key(vector("cose_wg", name));
        }
        snprintf(name, sizeof name, "%s.msg", examples[i].name);
        struct cose m;
        uint8_t room[256];
        struct buf plain = buf_on(room, sizeof room);
        struct bytes content = BYTES_NONE;
        enum pep_err e = cose_parse(vector("cose_wg", name), &m);
        if (e == PEP_OK && examples[i].parse == PEP_OK)
            e = cose_open(&m, &key, &plain, &content);
        if (e != examples[i].open)
            fail_msg("%s: got %s, wanted %s", examples[i].name, pep_err_str(e),
                     pep_err_str(examples[i].open));
        if (e == PEP_OK)
            assert_true(bytes_equal_str(content, "This is the content."));
    }
}

/* ---- form ---- */

#define Z16  "00000000000000000000000000000000"
#define SIG  "5840 " Z16 Z16 Z16 Z16
#define TAG8 "480000000000000000"
#define IV13 "4d00000000000000000000000000"

static const struct {
    const char *name, *hex;
    enum pep_err want;
} forms[] = {
    {"Sign1", "d2 84 43a10126 a0 4101 " SIG, PEP_OK},
    {"Sign1 as CWT", "d83d d2 84 43a10126 a0 4101 " SIG, PEP_OK},
    {"Sign1 untagged", "84 43a10126 a0 4101 " SIG, PEP_OK},
    {"CWT tag without COSE tag", "d83d 84 43a10126 a0 4101 " SIG, PEP_MALFORMED},
    {"CWT tag inside", "d2 d83d 84 43a10126 a0 4101 " SIG, PEP_MALFORMED},
    {"CWT tag twice", "d83d d83d d2 84 43a10126 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"COSE tag twice", "d2 d2 84 43a10126 a0 4101 " SIG, PEP_MALFORMED},
    {"tag of COSE_Sign", "d862 84 43a10126 a0 4101 80", PEP_UNSUPPORTED},
    {"tag of COSE_Mac", "d861 85 43a10105 a0 4101 4101 80", PEP_UNSUPPORTED},
    {"untagged COSE_Sign", "84 43a10126 a0 4101 80", PEP_MALFORMED},
    {"tag 998", "d903e6 84 43a10126 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"COSE tag in a longer form", "d812 84 43a10126 a0 4101 " SIG, PEP_MALFORMED},
    {"CWT tag in a longer form", "d9003d d2 84 43a10126 a0 4101 " SIG, PEP_MALFORMED},
    {"array in a longer form", "d2 9804 43a10126 a0 4101 " SIG, PEP_MALFORMED},
    {"protected in a longer form", "d2 84 5803a10126 a0 4101 " SIG, PEP_MALFORMED},
    {"unprotected in a longer form", "d2 84 43a10126 b800 4101 " SIG, PEP_MALFORMED},
    {"payload in a longer form", "d2 84 43a10126 a0 580101 " SIG, PEP_MALFORMED},
    {"payload indefinite", "d2 84 43a10126 a0 5f4101ff " SIG, PEP_MALFORMED},
    {"array indefinite", "d2 9f 43a10126 a0 4101 " SIG " ff", PEP_MALFORMED},
    {"wrapped in bytes", "584b d284 43a10126 a0 4101 " SIG, PEP_MALFORMED},
    {"a text, as a JWT is", "65 794a3062", PEP_MALFORMED},
    {"a map", "a10126", PEP_MALFORMED},
    {"nothing", "", PEP_MALFORMED},
    {"three elements tagged Sign1", "d2 83 43a10126 a0 4101", PEP_MALFORMED},
    {"five elements", "d2 85 43a10126 a0 4101 4101 4101", PEP_MALFORMED},
    {"a byte behind", "d2 84 43a10126 a0 4101 " SIG " 00", PEP_MALFORMED},
    {"tag of Mac0 on a signature's alg", "d1 84 43a10126 a0 4101 " SIG, PEP_PROTECTION},
    {"tag of Encrypt0 on four", "d0 84 43a10126 a0 4101 " SIG, PEP_MALFORMED},
    {"detached payload", "d2 84 43a10126 a0 f6 " SIG, PEP_UNSUPPORTED},
    {"payload a map", "d2 84 43a10126 a0 a0 " SIG, PEP_MALFORMED},
    {"signature a text", "d2 84 43a10126 a0 4101 6101", PEP_MALFORMED},
    {"protected a map", "d2 84 a10126 a0 4101 " SIG, PEP_MALFORMED},
    {"protected bytes of an integer", "d2 84 4101 a0 4101 " SIG, PEP_MALFORMED},
    {"protected with a byte behind", "d2 84 44a1012600 a0 4101 " SIG, PEP_MALFORMED},
    {"unprotected an array", "d2 84 43a10126 80 4101 " SIG, PEP_MALFORMED},
    {"no alg, empty protected", "d2 84 40 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"no alg, protected a0", "d2 84 41a0 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"alg unprotected only", "d2 84 40 a10126 4101 " SIG, PEP_UNSUPPORTED},
    {"alg unprotected, protected a0", "d2 84 41a0 a10126 4101 " SIG, PEP_UNSUPPORTED},
    {"alg in both", "d2 84 43a10126 a10126 4101 " SIG, PEP_MALFORMED},
    {"alg unknown", "d2 84 45a1013903e6 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"alg of 2^63", "d2 84 4ba1011b8000000000000000 a0 4101 " SIG, PEP_MALFORMED},
    {"alg EdDSA", "d2 84 43a10127 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"alg a name", "d2 84 48a101654553323536 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"alg 0", "d2 84 43a10100 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"alg twice", "d2 84 45a201260126 a0 4101 " SIG, PEP_MALFORMED},
    {"kid unprotected", "d2 84 43a10126 a1044131 4101 " SIG, PEP_OK},
    {"kid protected", "d2 84 46a20126044131 a0 4101 " SIG, PEP_OK},
    {"kid in both", "d2 84 46a20126044131 a1044131 4101 " SIG, PEP_MALFORMED},
    {"kid a text", "d2 84 43a10126 a1046131 4101 " SIG, PEP_MALFORMED},
    {"kid twice", "d2 84 43a10126 a2044131044131 4101 " SIG, PEP_MALFORMED},
    {"crit of alg", "d2 84 46a20126028101 a0 4101 " SIG, PEP_OK},
    {"crit of kid", "d2 84 49a3012602810404 4131 a0 4101 " SIG, PEP_OK},
    {"crit of a kid that is not there", "d2 84 46a20126028104 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"crit of an unknown label", "d2 84 4aa30126028118631863 00 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"crit of a text", "d2 84 47a2012602816178 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"crit of the content type", "d2 84 48a301260281030300 a0 4101 " SIG, PEP_UNSUPPORTED},
    {"crit empty", "d2 84 45a201260280 a0 4101 " SIG, PEP_MALFORMED},
    {"crit no array", "d2 84 45a201260201 a0 4101 " SIG, PEP_MALFORMED},
    {"crit unprotected", "d2 84 43a10126 a1028101 4101 " SIG, PEP_MALFORMED},
    {"content type", "d2 84 46a2012603183d a0 4101 " SIG, PEP_OK},
    {"content type a name", "d2 84 47a20126036261 62 a0 4101 " SIG, PEP_OK},
    {"content type bytes", "d2 84 47a20126034261 62 a0 4101 " SIG, PEP_MALFORMED},
    {"unknown header", "d2 84 43a10126 a1186300 4101 " SIG, PEP_OK},
    {"unknown header twice", "d2 84 43a10126 a2186300186300 4101 " SIG, PEP_MALFORMED},
    {"IV on a signature", "d2 84 43a10126 a10541 00 4101 " SIG, PEP_MALFORMED},
    {"Mac0", "d1 84 43a10104 a0 4101 " TAG8, PEP_OK},
    {"Mac0 untagged", "84 43a10104 a0 4101 " TAG8, PEP_OK},
    {"Mac0 tagged as Sign1", "d2 84 43a10104 a0 4101 " TAG8, PEP_PROTECTION},
    {"Mac0 with an AEAD alg", "d1 84 43a1010a a0 4101 " TAG8, PEP_PROTECTION},
    {"Encrypt0", "d0 83 43a1010a a105" IV13 " 49 010000000000000000", PEP_OK},
    {"Encrypt0 untagged", "83 43a1010a a105" IV13 " 49 010000000000000000", PEP_OK},
    {"Encrypt0 with a MAC alg", "d0 83 43a10104 a105" IV13 " 4101", PEP_PROTECTION},
    {"Encrypt0 without IV", "d0 83 43a1010a a0 49 010000000000000000", PEP_MALFORMED},
    {"Encrypt0, IV of 12", "d0 83 43a1010a a1054c000000000000000000000000 4101", PEP_MALFORMED},
    {"Encrypt0, IV of 7 for 13", "d0 83 43a1010a a10547 00000000000000 4101", PEP_MALFORMED},
    {"Encrypt0, alg 12, IV of 7", "d0 83 43a1010c a10547 00000000000000 4101", PEP_OK},
    {"Encrypt0, Partial IV", "d0 83 43a1010a a106 4261a7 4101", PEP_UNSUPPORTED},
    {"Encrypt0, IV and Partial IV", "d0 83 43a1010a a205" IV13 "06 4261a7 4101", PEP_UNSUPPORTED},
    {"Encrypt0, IV a text", "d0 83 43a1010a a1056161 4101", PEP_MALFORMED},
    {"Encrypt0, detached", "d0 83 43a1010a a105" IV13 " f6", PEP_UNSUPPORTED},
    {"nested too deep", "d2 84 43a10126 a1186381818181818181818181818101 4101 " SIG, PEP_TOO_DEEP},
};

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct cose m;
        enum pep_err e = cose_parse(unhex(forms[i].hex), &m);
        if (e != forms[i].want)
            fail_msg("%s: got %s, wanted %s", forms[i].name, pep_err_str(e),
                     pep_err_str(forms[i].want));
    }
}

/* ---- which key for which algorithm ---- */

static struct key cose_key(const char *hex)
{
    struct key k;
    const char *why = "";
    if (!key_from_cose(unhex(hex), &k, &why))
        fail_msg("%s: %s", hex, why);
    return k;
}

#define K16 "000102030405060708090a0b0c0d0e0f"

static const struct {
    const char *name, *key;
    int alg;
    bool check, make;
} fits[] = {
    {"AES-128 key, no alg", "a20104 2050" K16, 10, true, true},
    {"AES-128 key, no alg, GCM", "a20104 2050" K16, 1, true, true},
    {"AES-128 key, AES-256", "a20104 2050" K16, 11, false, false},
    {"AES-128 key, HMAC: shorter than the hash", "a20104 2050" K16, 5, false, false},
    {"the same named for HMAC", "a30104 0305 2050" K16, 5, true, true},
    {"named for HMAC 256/256, not 256/64", "a30104 0305 2050" K16, 4, false, false},
    {"named for CCM, not GCM", "a30104 030a 2050" K16, 1, false, false},
    {"32 bytes, no alg, HMAC", "a20104 205820" K16 K16, 5, true, true},
    {"32 bytes, no alg, AES-256", "a20104 205820" K16 K16, 3, true, true},
    {"32 bytes, no alg, HMAC 384", "a20104 205820" K16 K16, 6, false, false},
    {"key derivation", "a30104 0329 205820" K16 K16, 5, false, false},
    {"to encrypt only", "a30104 048103 2050" K16, 10, false, true},
    {"to decrypt only", "a30104 048104 2050" K16, 10, true, false},
    {"for nothing", "a30104 0480 2050" K16, 10, false, false},
    {"for an operation with a name", "a30104 04816178 2050" K16, 10, false, false},
    {"to check MACs only", "a30104 04810a 205820" K16 K16, 5, true, false},
};

static void test_fits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
        struct key k = cose_key(fits[i].key);
        const struct crypto_alg *a = crypto_alg(fits[i].alg);
        if (key_can_check(&k, a) != fits[i].check || key_can_make(&k, a) != fits[i].make)
            fail_msg("%s: check %d, make %d", fits[i].name, key_can_check(&k, a),
                     key_can_make(&k, a));
    }
}

#define X "bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff"
#define Y "20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e"
/* RFC 8152 C.7.2: the private half of the same key */
#define D "57c92077664146e876760c9520d054aa93c3afb04e306705db6090308507b4d3"

static const struct {
    const char *name, *hex;
    bool want;
} cose_keys[] = {
    {"EC2", "a40102 2001 215820" X " 225820" Y, true},
    {"EC2, kty last", "a4 2001 215820" X " 225820" Y " 0102", true},
    {"EC2 with kid and alg", "a60102 02423131 0326 2001 215820" X " 225820" Y, true},
    {"EC2 for ES384 on P-256", "a50102 033822 2001 215820" X " 225820" Y, false},
    {"EC2 for HMAC", "a50102 0305 2001 215820" X " 225820" Y, false},
    {"EC2 for an unknown alg", "a50102 031903e7 2001 215820" X " 225820" Y, false},
    {"EC2 off its curve", "a40102 2001 215820" Y " 225820" X, false},
    {"EC2 on another curve", "a40102 2002 215820" X " 225820" Y, false},
    {"EC2 on no curve", "a30102 215820" X " 225820" Y, false},
    {"EC2 on curve 2^32+1", "a40102 201b0000000100000001 215820" X " 225820" Y, false},
    {"EC2 without y", "a30102 2001 215820" X, false},
    {"EC2 compressed", "a40102 2001 215820" X " 22f5", false},
    {"EC2 with x a text", "a40102 2001 2161 61 225820" Y, false},
    {"EC2 with d", "a50102 2001 215820" X " 225820" Y " 235820" D, true},
    {"EC2 with d only", "a30102 2001 235820" D, true},
    {"EC2 with another's d", "a50102 2001 215820" X " 225820" Y " 235820" X, false},
    {"EC2 with a short d", "a30102 2001 2341 01", false},
    {"EC2, x twice", "a50102 2001 215820" X " 215820" X " 225820" Y, false},
    {"symmetric", "a20104 2050" K16, true},
    {"symmetric, a byte behind", "a20104 2050" K16 "00", false},
    {"symmetric, 15 bytes", "a20104 204f0102030405060708090a0b0c0d0e0f", false},
    {"symmetric, no k", "a10104", false},
    {"symmetric, k a text", "a20104 206161", false},
    {"symmetric for ES256", "a30104 0326 2050" K16, false},
    {"symmetric, AES-256 of 16 bytes", "a30104 0303 2050" K16, false},
    {"symmetric, alg a name", "a30104 036161 2050" K16, false},
    {"symmetric, kid a text", "a30104 026161 2050" K16, false},
    {"symmetric, kid a number", "a30104 0201 2050" K16, false},
    {"symmetric, ops no array", "a30104 0404 2050" K16, false},
    {"symmetric, something unknown", "a40104 2050" K16 "1863 80 6161 00", true},
    {"OKP", "a30101 2006 215820" X, false},
    {"RSA", "a10103", false},
    {"no kty", "a12050" K16, false},
    {"kty a name", "a201634f4354 2050" K16, false},
    {"no map", "80", false},
    {"nothing", "", false},
};

static void test_cose_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cose_keys / sizeof *cose_keys; i++) {
        struct key k;
        const char *why = NULL;
        if (key_from_cose(unhex(cose_keys[i].hex), &k, &why) != cose_keys[i].want)
            fail_msg("%s: %s", cose_keys[i].name, cose_keys[i].want ? why : "was taken");
        if (!cose_keys[i].want && !why)
            fail_msg("%s: no reason", cose_keys[i].name);
    }
}

/* What key_put_cose() writes comes back the same. */
static void test_key_round(void **state)
{
    (void)state;
    static const int algs[] = {-7, -35, -36, 4, 5, 6, 7, 1, 2, 3, 10, 33, KEY_ALG_DERIVATION};
    for (size_t i = 0; i < sizeof algs / sizeof *algs; i++) {
        struct key k, back;
        const char *why = "";
        uint8_t room[KEY_COSE_MAX];
        struct buf b = buf_on(room, sizeof room);
        assert_true(key_generate(algs[i], i % 2 ? BYTES_LIT("kid") : BYTES_NONE, &k));
        assert_int_equal(k.kid_n, i % 2 ? 3 : 8);
        key_put_cose(&k, true, &b);
        assert_false(b.full);
        if (!key_from_cose(buf_bytes(&b), &back, &why))
            fail_msg("alg %d: %s", algs[i], why);
        assert_true(bytes_equal(key_secret(&k), key_secret(&back)));
        assert_int_equal(back.alg, algs[i]);
        b.n = 0;
        key_put_cose(&k, false, &b);
        assert_true(key_from_cose(buf_bytes(&b), &back, &why));
        assert_true(back.has_secret == (k.kind == KEY_SECRET));
    }
    struct key k;
    assert_false(key_generate(-8, BYTES_NONE, &k));
    assert_false(key_generate(0, BYTES_NONE, &k));
    uint8_t long_kid[TOKEN_KID_MAX + 1] = {0};
    assert_false(key_generate(5, bytes_of(long_kid, sizeof long_kid), &k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),  cmocka_unit_test(test_forms),
        cmocka_unit_test(test_fits),      cmocka_unit_test(test_cose_keys),
        cmocka_unit_test(test_key_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
