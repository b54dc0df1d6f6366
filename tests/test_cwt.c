/* pep/cwt: claims of both dialects; each refused row is one mutation of the
 * accepted one above it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../pep/cbor.h"
#include "../pep/cose.h"
#include "../pep/cwt.h"
#include "fake_authorities.h"
#include "support_hex.h"

#define K16 "000102030405060708090a0b0c0d0e0f"
#define X   "bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff"
#define Y   "20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e"
#define KID "02 43 6b6964" /* kid: "kid" */

enum { RFC = POLICY_RFC9200, OLD = POLICY_ACE07 };

/* Authority 0 speaks rfc9200 and shares key-encryption and derivation keys
 * with us; 1 speaks ace-07 and shares neither. */
static struct keys *keys;

struct row {
    const char *name, *claims;
    int authority;
    bool encrypted;
    enum pep_err want;
};

static const struct row rows[] = {
    {"no claims", "a0", RFC, 0, PEP_OK},
    {"a byte behind", "a000", RFC, 0, PEP_CLAIMS},
    {"no map", "80", RFC, 0, PEP_CLAIMS},
    {"nothing", "", RFC, 0, PEP_CLAIMS},
    {"iss, sub", "a2 016161 026162", RFC, 0, PEP_OK},
    {"iss twice", "a2 016161 016161", RFC, 0, PEP_CLAIMS},
    {"iss twice, another form", "a2 016161 18016161", RFC, 0, PEP_CLAIMS},
    {"iss bytes", "a1 014161", RFC, 0, PEP_CLAIMS},
    {"iss not UTF-8", "a1 0161ff", RFC, 0, PEP_CLAIMS},
    {"sub a number", "a1 0200", RFC, 0, PEP_CLAIMS},
    {"aud", "a1 036161", RFC, 0, PEP_OK},
    {"aud array", "a1 03826161 6162", RFC, 0, PEP_OK},
    {"aud of eight", "a1 0388 6161 6161 6161 6161 6161 6161 6161 6161", RFC, 0, PEP_OK},
    {"aud of nine", "a1 0389 6161 6161 6161 6161 6161 6161 6161 6161 6161", RFC, 0, PEP_CLAIMS},
    {"aud with a number", "a1 0382 6161 01", RFC, 0, PEP_CLAIMS},
    {"aud array in an array", "a1 0381 816161", RFC, 0, PEP_CLAIMS},
    {"aud bytes", "a1 034161", RFC, 0, PEP_CLAIMS},
    {"exp", "a1 041a65000000", RFC, 0, PEP_OK},
    {"exp in a longer form", "a1 041b0000000065000000", RFC, 0, PEP_OK},
    {"exp at the end of 9999", "a1 041b0000003afff4417f", RFC, 0, PEP_OK},
    {"exp a second later", "a1 041b0000003afff44180", RFC, 0, PEP_CLAIMS},
    {"exp in milliseconds", "a1 041b0000018bcfe56800", RFC, 0, PEP_CLAIMS},
    {"exp of 2^64-1", "a1 041bffffffffffffffff", RFC, 0, PEP_CLAIMS},
    {"exp negative", "a1 0420", RFC, 0, PEP_CLAIMS},
    {"exp a text", "a1 046131", RFC, 0, PEP_CLAIMS},
    {"exp null", "a1 04f6", RFC, 0, PEP_CLAIMS},
    {"exp a float", "a1 04fb41d9400000200000", RFC, 0, PEP_OK},
    {"exp NaN", "a1 04f97e00", RFC, 0, PEP_CLAIMS},
    {"exp infinity", "a1 04f97c00", RFC, 0, PEP_CLAIMS},
    {"exp minus infinity", "a1 04f9fc00", RFC, 0, PEP_CLAIMS},
    {"exp 1e300", "a1 04fb7e37e43c8800759c", RFC, 0, PEP_CLAIMS},
    {"exp -0.5", "a1 04f9b800", RFC, 0, PEP_CLAIMS},
    {"exp tagged, RFC", "a1 04c11a65000000", RFC, 0, PEP_CLAIMS},
    {"exp tagged, ace-07", "a1 04c11a65000000", OLD, 0, PEP_OK},
    {"exp tagged 0, ace-07", "a1 04c01a65000000", OLD, 0, PEP_CLAIMS},
    {"exp tagged twice, ace-07", "a1 04c1c11a65000000", OLD, 0, PEP_CLAIMS},
    {"exp untagged, ace-07", "a1 041a65000000", OLD, 0, PEP_OK},
    {"nbf, iat", "a2 0500 0600", RFC, 0, PEP_OK},
    {"nbf NaN", "a1 05f97e00", RFC, 0, PEP_CLAIMS},
    {"iat a text", "a1 066131", RFC, 0, PEP_CLAIMS},
    {"cti", "a1 074101", RFC, 0, PEP_OK},
    {"cti a text", "a1 076131", RFC, 0, PEP_CLAIMS},
    {"unknown claims", "a3 2000 6161 80 1901f4a0", RFC, 0, PEP_OK},
    {"unknown claim, malformed inside", "a1 1901f4a201000100", RFC, 0, PEP_CLAIMS},
    {"unknown claim, too deep", "a1 1901f4 8181818181818181818181818100", RFC, 0, PEP_CLAIMS},
    {"exi", "a2 041a65000000 182801", RFC, 0, PEP_OK},
    {"exi is negative", "a2 041a65000000 182820", RFC, 0, PEP_CLAIMS},
    {"exi is a float", "a2 041a65000000 1828f93c00", RFC, 0, PEP_CLAIMS},
    {"exi beyond all times", "a2 041a65000000 18281bffffffffffffffff", RFC, 0, PEP_CLAIMS},
    {"cnonce", "a2 041a65000000 18274101", RFC, 0, PEP_OK},
    {"cnonce is a text", "a2 041a65000000 18276101", RFC, 0, PEP_CLAIMS},
    {"cnonce is empty", "a2 041a65000000 182740", RFC, 0, PEP_CLAIMS},
    {"exi's number, ace-07", "a1 182801", OLD, 0, PEP_OK},
    {"cnonce, ace_profile", "a2 18274101 182601", RFC, 0, PEP_OK},

    {"scope words", "a1 09636120 62", RFC, 0, PEP_OK},
    {"scope empty", "a1 0960", RFC, 0, PEP_OK},
    {"scope, space before", "a1 09622061", RFC, 0, PEP_SCOPE},
    {"scope, space behind", "a1 09626120", RFC, 0, PEP_SCOPE},
    {"scope, two spaces", "a1 096461202062", RFC, 0, PEP_SCOPE},
    {"scope, a quote", "a1 096122", RFC, 0, PEP_SCOPE},
    {"scope, a backslash", "a1 09615c", RFC, 0, PEP_SCOPE},
    {"scope, NUL", "a1 096100", RFC, 0, PEP_SCOPE},
    {"scope, tab", "a1 096109", RFC, 0, PEP_SCOPE},
    {"scope, umlaut", "a1 0962c3bc", RFC, 0, PEP_SCOPE},
    {"scope a number", "a1 0901", RFC, 0, PEP_SCOPE},
    {"scope AIF", "a1 0946 8182622f6101", RFC, 0, PEP_OK},
    {"scope AIF, bare", "a1 09 8182622f6101", RFC, 0, PEP_OK},
    {"scope AIF, empty", "a1 0941 80", RFC, 0, PEP_OK},
    {"scope AIF, a byte behind", "a1 0947 8182622f610100", RFC, 0, PEP_SCOPE},
    {"scope AIF, relative path", "a1 0946 818262616101", RFC, 0, PEP_SCOPE},
    {"scope AIF, empty path", "a1 0944 81826001", RFC, 0, PEP_SCOPE},
    {"scope AIF, mask negative", "a1 0946 8182622f6120", RFC, 0, PEP_SCOPE},
    {"scope AIF, mask a float", "a1 0948 8182622f61f93c00", RFC, 0, PEP_SCOPE},
    {"scope AIF, mask of 64 bits", "a1 094e 8182622f611bffffffffffffffff", RFC, 0, PEP_OK},
    {"scope AIF, three elements", "a1 0947 8183622f610101", RFC, 0, PEP_SCOPE},
    {"scope AIF, one element", "a1 0945 8181622f61", RFC, 0, PEP_SCOPE},
    {"scope AIF, path bytes", "a1 0946 8182422f6101", RFC, 0, PEP_SCOPE},
    {"scope, bytes of a map", "a1 0941 a0", RFC, 0, PEP_SCOPE},
    {"scope, bytes of words", "a1 0941 61", RFC, 0, PEP_SCOPE},
    {"scope, no bytes", "a1 0940", RFC, 0, PEP_SCOPE},
    {"scope 12, ace-07", "a1 0c6161", OLD, 0, PEP_OK},
    {"scope 9 as text, ace-07", "a1 096161", OLD, 0, PEP_OK},
    {"scope 9 and 12, ace-07", "a2 096161 0c6161", OLD, 0, PEP_CLAIMS},
    {"client_secret 9 and scope 12, ace-07", "a2 094161 0c6161", OLD, 0, PEP_OK},

    {"cnf EC", "a1 08 a101 a40102 2001 215820" X " 225820" Y, RFC, 0, PEP_OK},
    {"cnf EC with kid", "a1 08 a101 a50102 " KID " 2001 215820" X " 225820" Y, RFC, 0, PEP_OK},
    {"cnf EC off its curve", "a1 08 a101 a40102 2001 215820" Y " 225820" X, RFC, 0,
     PEP_CONFIRMATION},
    {"cnf EC on curve 4", "a1 08 a101 a40102 2004 215820" X " 225820" Y, RFC, 0, PEP_CONFIRMATION},
    {"cnf EC, crv a text", "a1 08 a101 a40102 206131 215820" X " 225820" Y, RFC, 0,
     PEP_CONFIRMATION},
    {"cnf EC with d", "a1 08 a101 a50102 2001 215820" X " 225820" Y " 234100", RFC, 1,
     PEP_CONFIRMATION},
    {"cnf EC, compressed", "a1 08 a101 a40102 2001 215820" X " 22f5", RFC, 0, PEP_CONFIRMATION},
    {"cnf EC, x twice", "a1 08 a101 a50102 2001 215820" X " 215820" X " 225820" Y, RFC, 0,
     PEP_CLAIMS},
    {"cnf OKP", "a1 08 a101 a30101 2006 215820" X, RFC, 0, PEP_CONFIRMATION},
    {"cnf symmetric, encrypted", "a1 08 a101 a20104 2050" K16, RFC, 1, PEP_OK},
    {"cnf symmetric in the open", "a1 08 a101 a20104 2050" K16, RFC, 0, PEP_CONFIRMATION},
    {"cnf symmetric with kid", "a1 08 a101 a30104 " KID " 2050" K16, RFC, 1, PEP_OK},
    {"cnf symmetric of 8", "a1 08 a101 a20104 20480102030405060708", RFC, 1, PEP_OK},
    {"cnf symmetric of 7", "a1 08 a101 a20104 204701020304050607", RFC, 1, PEP_CONFIRMATION},
    {"cnf symmetric of 32", "a1 08 a101 a20104 205820" K16 K16, RFC, 1, PEP_OK},
    {"cnf symmetric of 33", "a1 08 a101 a20104 205821" K16 K16 "00", RFC, 1, PEP_CONFIRMATION},
    {"cnf symmetric, k a text",
     "a1 08 a101 a20104 2068"
     "6162636465666768",
     RFC, 1, PEP_CONFIRMATION},
    {"cnf symmetric, kid only", "a1 08 a101 a20104 " KID, RFC, 0, PEP_OK},
    {"cnf symmetric, nothing", "a1 08 a101 a10104", RFC, 1, PEP_CONFIRMATION},
    {"cnf kid", "a1 08 a103 436b6964", RFC, 0, PEP_OK},
    {"cnf kid empty", "a1 08 a103 40", RFC, 0, PEP_CONFIRMATION},
    {"cnf kid a text", "a1 08 a103 636b6964", RFC, 0, PEP_CONFIRMATION},
    {"cnf kid of 65", "a1 08 a103 5841" K16 K16 K16 K16 "00", RFC, 0, PEP_CONFIRMATION},
    {"cnf of nothing", "a1 08 a0", RFC, 0, PEP_CONFIRMATION},
    {"cnf of two methods", "a1 08 a2 03 436b6964 01 a20104 " KID, RFC, 1, PEP_CONFIRMATION},
    {"cnf osc", "a1 08 a104 a1004101", RFC, 1, PEP_CONFIRMATION},
    {"cnf unknown method", "a1 08 a105 a0", RFC, 1, PEP_CONFIRMATION},
    {"cnf no map", "a1 08 01", RFC, 1, PEP_CONFIRMATION},
    {"cnf 25, RFC: not a cnf", "a1 1819 a0", RFC, 0, PEP_OK},
    {"cnf 25, ace-07", "a1 1819 a103 436b6964", OLD, 0, PEP_OK},
    {"cnf 25 of nothing, ace-07", "a1 1819 a0", OLD, 0, PEP_CONFIRMATION},
    {"cnf 8, ace-07", "a1 08 a103 436b6964", OLD, 0, PEP_OK},
    {"cnf 8 of nothing, ace-07", "a1 08 a0", OLD, 0, PEP_CONFIRMATION},
    {"cnf 8 and 25, ace-07", "a2 08 a103 436b6964 1819 a103 436b6964", OLD, 0, PEP_CLAIMS},
    {"client_id 8 and cnf 25, ace-07", "a2 086161 1819 a103 436b6964", OLD, 0, PEP_OK},
    {"cnf 8 a text, RFC", "a1 086161", RFC, 0, PEP_CONFIRMATION},
};

static enum pep_err read_hex(const char *hex, int authority, bool encrypted, struct buf *plain,
                             struct claims *out)
{
    struct cwt_source from = {.keys = keys,
                              .authority = authority,
                              .dialect = keys_dialect(keys, authority),
                              .encrypted = encrypted,
                              .raw = BYTES_LIT("token"),
                              .plain = plain};
    return cwt_read(unhex(hex), &from, out);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct claims c;
        uint8_t room[TOKEN_MAX];
        struct buf plain = buf_on(room, sizeof room);
        enum pep_err e = read_hex(rows[i].claims, rows[i].authority, rows[i].encrypted, &plain, &c);
        if (e != rows[i].want)
            fail_msg("%s: got %s, wanted %s", rows[i].name, pep_err_str(e),
                     pep_err_str(rows[i].want));
    }
}

static struct claims claims_of(const char *hex, int authority, bool encrypted)
{
    static uint8_t room[TOKEN_MAX];
    struct buf plain = buf_on(room, sizeof room);
    struct claims c;
    enum pep_err e = read_hex(hex, authority, encrypted, &plain, &c);
    if (e != PEP_OK)
        fail_msg("%s: %s", hex, pep_err_str(e));
    return c;
}

static void test_values(void **state)
{
    (void)state;
    struct claims c = claims_of("a7 016161 026162 0382 6163 6164 04fb41d9400000200000 "
                                "05fb41d9400000200000 06fb41d9400000200000 0742aabb",
                                RFC, false);
    assert_true(c.has_iss && bytes_equal_str(c.iss, "a") && bytes_equal_str(c.sub, "b"));
    assert_int_equal(c.n_aud, 2);
    assert_true(bytes_equal_str(c.aud[1], "d"));
    /* 1694498816.5: exp and iat down, nbf up */
    assert_int_equal(c.exp_s, 1694498816);
    assert_int_equal(c.nbf_s, 1694498817);
    assert_int_equal(c.iat_s, 1694498816);
    assert_int_equal(c.cti.n, 2);
    assert_int_equal(c.cnf.kind, CNF_NONE);
    assert_false(c.has_scope);

    c = claims_of("a1 04c11a65000000", OLD, false);
    assert_true(c.has_exp && c.exp_s == 0x65000000);
    c = claims_of("a1 09636120 62", RFC, false);
    assert_true(c.has_scope && bytes_equal_str(c.scope_words, "a b") && c.n_aif == 0);
    c = claims_of("a1 08 a101 a50102 " KID " 2001 215820" X " 225820" Y, RFC, false);
    assert_int_equal(c.cnf.kind, CNF_EC);
    assert_int_equal(c.cnf.crv, 1);
    assert_true(bytes_equal(c.cnf.x, unhex(X)) && bytes_equal(c.cnf.y, unhex(Y)));
    assert_true(bytes_equal_str(c.cnf.kid, "kid"));
    c = claims_of("a1 08 a101 a30104 " KID " 2050" K16, RFC, true);
    assert_int_equal(c.cnf.kind, CNF_SYMMETRIC);
    assert_true(bytes_equal(bytes_of(c.cnf.key, c.cnf.key_n), unhex(K16)));
    c = claims_of("a1 08 a103 436b6964", RFC, false);
    assert_int_equal(c.cnf.kind, CNF_KID);
    /* without a derivation key, a bare kid is a reference */
    c = claims_of("a1 08 a101 a20104 " KID, OLD, false);
    assert_int_equal(c.cnf.kind, CNF_KID);
    assert_true(bytes_equal_str(c.cnf.kid, "kid"));
    /* a client_secret is no scope */
    c = claims_of("a1 094161", OLD, false);
    assert_false(c.has_scope);
}

/* RFC 9237's own example. */
static void test_aif(void **state)
{
    (void)state;
    struct bytes aif = vector("rfc9237", "aif");
    uint8_t room[128];
    struct buf b = buf_on(room, sizeof room), plain = buf_on(NULL, 0);
    cbor_put_map(&b, 1);
    cbor_put_int(&b, 9);
    cbor_put_bytes(&b, aif);
    struct cwt_source from = {.keys = keys, .plain = &plain};
    static struct claims c;
    assert_int_equal(cwt_read(buf_bytes(&b), &from, &c), PEP_OK);
    assert_int_equal(c.n_aif, 3);
    assert_true(bytes_equal_str(c.aif[0].path, "/s/temp") && c.aif[0].mask == 1);
    assert_true(bytes_equal_str(c.aif[1].path, "/a/led") && c.aif[1].mask == 5);
    assert_true(bytes_equal_str(c.aif[2].path, "/dtls") && c.aif[2].mask == 2);
}

static void test_aif_count(void **state)
{
    (void)state;
    for (size_t n = TOKEN_AIF_MAX; n <= TOKEN_AIF_MAX + 1; n++) {
        uint8_t room[512];
        struct buf b = buf_on(room, sizeof room), plain = buf_on(NULL, 0);
        cbor_put_map(&b, 1);
        cbor_put_int(&b, 9);
        cbor_put_array(&b, n);
        for (size_t i = 0; i < n; i++) {
            cbor_put_array(&b, 2);
            cbor_put_text(&b, BYTES_LIT("/a"));
            cbor_put_uint(&b, 1);
        }
        struct cwt_source from = {.keys = keys, .plain = &plain};
        static struct claims c;
        assert_int_equal(cwt_read(buf_bytes(&b), &from, &c),
                         n == TOKEN_AIF_MAX ? PEP_OK : PEP_SCOPE);
    }
}

/* ---- keys inside ---- */

/* cnf {2: COSE_Encrypt0 of `key`}, made by the key of this kid. */
static struct bytes encrypted_cnf(const char *kid, const char *key, bool untagged, bool spoil)
{
    static uint8_t room[512];
    uint8_t one[256];
    struct keys_found f;
    struct buf m = buf_on(one, sizeof one), b = buf_on(room, sizeof room);
    keys_find(keys, -1, crypto_alg(10), bytes_str(kid), &f);
    assert_true(f.n >= 1);
    struct key k = *f.key[0];
    assert_int_equal(cose_write(crypto_alg(10), &k, unhex(key), &m), PEP_OK);
    if (spoil)
        one[m.n - 1] ^= 1;
    cbor_put_map(&b, 1);
    cbor_put_int(&b, 8);
    cbor_put_map(&b, 1);
    cbor_put_int(&b, 2);
    buf_put(&b, bytes_of(one + untagged, m.n - untagged));
    return buf_bytes(&b);
}

static void test_encrypted_key(void **state)
{
    (void)state;
    static const struct {
        const char *name, *kid, *key;
        bool untagged, spoil;
        int authority;
        enum pep_err want;
    } list[] = {
        {"tagged", "seal", "a30104 " KID " 2050" K16, false, false, RFC, PEP_OK},
        {"untagged", "seal", "a30104 " KID " 2050" K16, true, false, RFC, PEP_OK},
        {"one bit", "seal", "a30104 " KID " 2050" K16, false, true, RFC, PEP_CONFIRMATION},
        {"another's", "seal", "a30104 " KID " 2050" K16, false, false, OLD, PEP_CONFIRMATION},
        {"without k", "seal", "a20104 " KID, false, false, RFC, PEP_CONFIRMATION},
        {"EC", "seal", "a40102 2001 215820" X " 225820" Y, false, false, RFC, PEP_CONFIRMATION},
        {"of 33", "seal", "a20104 205821" K16 K16 "00", false, false, RFC, PEP_CONFIRMATION},
        {"no key", "seal", "01", false, false, RFC, PEP_CONFIRMATION},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        uint8_t room[TOKEN_MAX];
        struct buf plain = buf_on(room, sizeof room);
        static struct claims c;
        struct cwt_source from = {.keys = keys, .authority = list[i].authority, .plain = &plain};
        enum pep_err e = cwt_read(
            encrypted_cnf(list[i].kid, list[i].key, list[i].untagged, list[i].spoil), &from, &c);
        if (e != list[i].want)
            fail_msg("%s: got %s", list[i].name, pep_err_str(e));
        if (e == PEP_OK) {
            assert_int_equal(c.cnf.kind, CNF_SYMMETRIC);
            assert_true(bytes_equal(bytes_of(c.cnf.key, c.cnf.key_n), unhex(K16)));
            assert_true(bytes_equal_str(c.cnf.kid, "kid"));
        }
    }
}

/* RFC 9202 3.3.1; the expected bytes were computed by python3-cryptography:
 * HKDF(SHA256, 16, salt=b"", info=cbor2.dumps([type, 16, b"token"])). */
static void test_derived(void **state)
{
    (void)state;
    struct claims c = claims_of("a1 08 a101 a20104 " KID, RFC, false);
    assert_int_equal(c.cnf.kind, CNF_DERIVED);
    assert_int_equal(c.cnf.key_n, KEYS_DERIVED_LEN);
    assert_true(
        bytes_equal(bytes_of(c.cnf.key, c.cnf.key_n), unhex("627407f248b2aa22fc0f04b5a838639b")));
}

/* ---- the writer ---- */

static void test_round(void **state)
{
    (void)state;
    for (int d = RFC; d <= OLD; d++) {
        struct bytes x = unhex(X), y = unhex(Y);
        struct claims c = {.iss = BYTES_LIT("as"),
                           .sub = BYTES_LIT("me"),
                           .aud = {BYTES_LIT("a"), BYTES_LIT("b")},
                           .n_aud = 2,
                           .has_iss = true,
                           .has_exp = true,
                           .has_nbf = true,
                           .has_iat = true,
                           .exp_s = 2000000000,
                           .nbf_s = 1,
                           .iat_s = 2,
                           .cti = BYTES_LIT("id"),
                           .scope_words = BYTES_LIT("r w"),
                           .has_scope = true,
                           .cnf = {.kind = CNF_EC, .crv = 1, .x = x, .y = y}};
        uint8_t room[1024];
        struct buf b = buf_on(room, sizeof room), plain = buf_on(NULL, 0);
        cwt_write(&c, (enum policy_dialect)d, &b);
        assert_false(b.full);
        struct cwt_source from = {
            .keys = keys, .authority = d, .dialect = (enum policy_dialect)d, .plain = &plain};
        static struct claims back;
        enum pep_err e = cwt_read(buf_bytes(&b), &from, &back);
        if (e != PEP_OK)
            fail_msg("dialect %d: %s", d, pep_err_str(e));
        assert_true(bytes_equal(back.iss, c.iss) && bytes_equal(back.sub, c.sub));
        assert_true(back.n_aud == 2 && bytes_equal(back.aud[1], c.aud[1]));
        assert_true(back.exp_s == c.exp_s && back.nbf_s == 1 && back.iat_s == 2);
        assert_true(bytes_equal(back.cti, c.cti) && bytes_equal(back.scope_words, c.scope_words));
        assert_true(back.cnf.kind == CNF_EC && bytes_equal(back.cnf.x, x));

        c.cnf = (struct cnf){.kind = CNF_SYMMETRIC, .kid = BYTES_LIT("k"), .key_n = 16};
        c.aif[0] = (struct policy_aif){BYTES_LIT("/a"), UINT64_C(1) << 32};
        c.n_aif = 1;
        c.n_aud = 1;
        b.n = 0;
        cwt_write(&c, (enum policy_dialect)d, &b);
        from.encrypted = true;
        e = cwt_read(buf_bytes(&b), &from, &back);
        assert_true(e == PEP_OK && back.n_aif == 1 && back.aif[0].mask == UINT64_C(1) << 32);
        assert_true(back.n_aud == 1 && back.cnf.kind == CNF_SYMMETRIC && back.cnf.key_n == 16);

        c.cnf = (struct cnf){.kind = CNF_KID, .kid = BYTES_LIT("k")};
        b.n = 0;
        cwt_write(&c, (enum policy_dialect)d, &b);
        assert_int_equal(cwt_read(buf_bytes(&b), &from, &back), PEP_OK);
        assert_int_equal(back.cnf.kind, CNF_KID);
    }
}

static char dir[] = "/tmp/postern-cwt-XXXXXX";
static char files[2][64];

static void put_file(int i, const char *hex)
{
    struct bytes b = unhex(hex);
    snprintf(files[i], sizeof files[i], "%s/%d", dir, i);
    FILE *f = fopen(files[i], "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b.p, 1, b.n, f), b.n);
    fclose(f);
    chmod(files[i], 0600);
}

static int load(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    put_file(0, "82 a40104 024473 65616c 030a 2050" K16 "a30104 0329 205820" K16 K16);
    put_file(1, "81 a30104 024173 205820" K16 K16);
    const struct policy_authority a[] = {
        {.name = "rfc", .keys = files[0], .dialect = POLICY_RFC9200},
        {.name = "old", .keys = files[1], .dialect = POLICY_ACE07}};
    struct policy p = {a, 2};
    char text[512];
    struct buf diag = buf_on(text, sizeof text);
    keys = keys_load(&p, NULL, &diag);
    if (!keys)
        fprintf(stderr, "%.*s", (int)diag.n, text);
    return keys ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    keys_free(keys);
    unlink(files[0]);
    unlink(files[1]);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_values),
        cmocka_unit_test(test_aif),           cmocka_unit_test(test_aif_count),
        cmocka_unit_test(test_encrypted_key), cmocka_unit_test(test_derived),
        cmocka_unit_test(test_round),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
