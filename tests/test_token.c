/* pep/token: whole tokens, from the bytes that a stranger sends to claims.
 * Each refused row is one mutation of an accepted one, and properly protected
 * unless its protection is what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "../pep/cbor.h"
#include "../pep/cwt.h"
#include "../pep/token.h"
#include "fake_authorities.h"
#include "support_hex.h"
#include "support_token.h"

static struct keys *keys;    /* authorities 0 (rfc9200) and 1 (ace-07), a key for each alg */
static struct keys *rfc8392; /* the RFC's three keys */
static struct token token;

static enum pep_err verify(struct bytes raw)
{
    return token_verify(keys, raw, &token);
}

/* ---- RFC 8392, appendix A ---- */

static void test_rfc8392(void **state)
{
    (void)state;
    static const char *const names[] = {"a3.signed", "a4.maced", "a5.encrypted", "a6.nested"};
    for (size_t i = 0; i < 4; i++) {
        struct bytes raw = vector("rfc8392", names[i]);
        enum pep_err e = token_verify(rfc8392, raw, &token);
        if (e != PEP_OK)
            fail_msg("%s: %s", names[i], pep_err_str(e));
        const struct claims *c = &token.claims;
        assert_int_equal(token.authority, 0);
        assert_true(bytes_equal_str(c->iss, "coap://as.example.com"));
        assert_true(bytes_equal_str(c->sub, "erikw"));
        assert_int_equal(c->n_aud, 1);
        assert_true(bytes_equal_str(c->aud[0], "coap://light.example.com"));
        assert_int_equal(c->exp_s, 1444064944);
        assert_int_equal(c->nbf_s, 1443944944);
        assert_int_equal(c->iat_s, 1443944944);
        assert_true(bytes_equal(c->cti, unhex("0b71")));
        uint8_t h[TOKEN_HASH];
        assert_true(crypto_sha256(raw, h));
        assert_memory_equal(token.hash, h, sizeof h);
        for (size_t n = 0; n < raw.n; n++)
            assert_int_not_equal(token_verify(rfc8392, bytes_of(raw.p, n), &token), PEP_OK);
    }
    assert_int_equal(token_verify(rfc8392, vector("rfc8392", "a7.float"), &token), PEP_OK);
    assert_true(token.claims.has_iat && token.claims.iat_s == 1443944944); /* .5, down */
    assert_int_equal(verify(vector("rfc8392", "a3.signed")), PEP_UNKNOWN_KEY);
}

/* ---- what we mint, we verify; and nothing near it ---- */

static struct claims some_claims(void)
{
    return (struct claims){.iss = BYTES_LIT("as"),
                           .has_iss = true,
                           .aud = {BYTES_LIT("gw")},
                           .n_aud = 1,
                           .has_exp = true,
                           .exp_s = 2000000000,
                           .scope_words = BYTES_LIT("r w"),
                           .has_scope = true,
                           .cnf = {.kind = CNF_KID, .kid = BYTES_LIT("kid")}};
}

static struct bytes mint(int proof_authority, int proof, int seal_authority, int seal)
{
    static uint8_t room[4][TOKEN_MAX];
    static unsigned turn;
    struct claims c = some_claims();
    struct key p = {0}, s = {0};
    if (proof)
        p = test_key(proof_authority, proof);
    if (seal)
        s = test_key(seal_authority, seal);
    struct cwt_maker with = {.proof = proof ? &p : NULL, .seal = seal ? &s : NULL};
    struct buf out = buf_on(room[turn++ % 4], TOKEN_MAX);
    enum pep_err e = cwt_mint(&c, POLICY_RFC9200, &with, &out);
    if (e != PEP_OK)
        fail_msg("mint %d %d: %s", proof, seal, pep_err_str(e));
    return buf_bytes(&out);
}

static void expect_claims(const char *what, int authority)
{
    const struct claims *c = &token.claims;
    if (token.authority != authority || !bytes_equal_str(c->iss, "as") || c->n_aud != 1 ||
        c->exp_s != 2000000000 || !bytes_equal_str(c->scope_words, "r w") ||
        c->cnf.kind != CNF_KID || !bytes_equal_str(c->cnf.kid, "kid"))
        fail_msg("%s: other claims came back", what);
}

static void test_minted(void **state)
{
    (void)state;
    const struct crypto_alg *a, *b;
    for (size_t i = 0; (a = crypto_alg_at(i)); i++) {
        bool seal = a->class == CRYPTO_AEAD;
        for (int who = 0; who < 2; who++) {
            struct bytes raw = mint(who, seal ? 0 : a->alg, who, seal ? a->alg : 0);
            enum pep_err e = verify(raw);
            if (e != PEP_OK)
                fail_msg("%s: %s", a->name, pep_err_str(e));
            expect_claims(a->name, who);
        }
        for (size_t j = 0; !seal && (b = crypto_alg_at(j)); j++) {
            if (b->class != CRYPTO_AEAD)
                continue;
            assert_int_equal(verify(mint(0, a->alg, 0, b->alg)), PEP_OK);
            expect_claims(b->name, 0);
        }
    }
}

/* Tokens by an implementation that shares nothing with ours. */
static void test_foreign(void **state)
{
    (void)state;
    const struct crypto_alg *a;
    for (size_t i = 0; (a = crypto_alg_at(i)); i++) {
        char name[16];
        snprintf(name, sizeof name, "alg%d", a->alg);
        enum pep_err e = verify(vector("tokens", name));
        if (e != PEP_OK)
            fail_msg("%s: %s", a->name, pep_err_str(e));
        expect_claims(a->name, 0);
    }
    assert_int_equal(verify(vector("tokens", "nested")), PEP_OK);
    expect_claims("nested", 0);
}

/* Every length, every bit, a byte behind: none verifies. All headers of ours
 * are protected, so there is no bit that does not matter. */
static void test_mutilated(void **state)
{
    (void)state;
    static const int made[][2] = {{-7, 0}, {4, 0}, {5, 0}, {0, 10}, {0, 3}, {-7, 10}};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        struct bytes good = mint(0, made[i][0], 0, made[i][1]);
        uint8_t raw[TOKEN_MAX + 1];
        memcpy(raw, good.p, good.n);
        for (size_t n = 0; n < good.n; n++)
            assert_int_not_equal(verify(bytes_of(raw, n)), PEP_OK);
        for (unsigned v = 0; v < 256; v += 51) {
            raw[good.n] = (uint8_t)v;
            assert_int_equal(verify(bytes_of(raw, good.n + 1)), PEP_MALFORMED);
        }
        /* Public-key operations take their time: a third of the bits will do. */
        size_t step = made[i][0] == -7 && !made[i][1] ? 3 : 1;
        for (size_t bit = 0; bit < good.n * 8; bit += step) {
            raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (verify(bytes_of(raw, good.n)) == PEP_OK)
                fail_msg("%d/%d with bit %zu of %zu changed", made[i][0], made[i][1], bit,
                         good.n * 8);
            raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_int_equal(verify(bytes_of(raw, good.n)), PEP_OK);
    }
}

/* ---- forged with good keys ---- */

#define CLAIMS "a1041a77359400"
#define KID_ES "44303a2d37" /* "0:-7" */
#define KID_M5 "43303a35"   /* "0:5" */
#define KID_CC "44303a3130" /* "0:10" */
#define IV13   "4d00000000000000000000000000"
#define K16    "000102030405060708090a0b0c0d0e0f"

static const struct {
    const char *name;
    int alg; /* what protects it, with authority 0's key for that */
    const char *tags, *guarded, *unguarded, *content;
    enum pep_err want;
} forged[] = {
    {"signed", -7, "d83dd2", "a10126", "a104" KID_ES, CLAIMS, PEP_OK},
    {"signed, COSE tag only", -7, "d2", "a10126", "a104" KID_ES, CLAIMS, PEP_OK},
    {"signed, no tag", -7, "", "a10126", "a104" KID_ES, CLAIMS, PEP_OK},
    {"signed, CWT tag only", -7, "d83d", "a10126", "a104" KID_ES, CLAIMS, PEP_MALFORMED},
    {"signed, Mac0 tag", -7, "d1", "a10126", "a104" KID_ES, CLAIMS, PEP_PROTECTION},
    {"signed, kid protected", -7, "d2", "a2012604" KID_ES, "a0", CLAIMS, PEP_OK},
    {"signed, no kid", -7, "d2", "a10126", "a0", CLAIMS, PEP_OK},
    {"signed, empty kid", -7, "d2", "a10126", "a10440", CLAIMS, PEP_OK},
    {"signed, kid nobody has", -7, "d2", "a10126", "a104417a", CLAIMS, PEP_UNKNOWN_KEY},
    {"signed, kid of the MAC key", -7, "d2", "a10126", "a104" KID_M5, CLAIMS, PEP_PROTECTION},
    {"signed, kid of the other authority", -7, "d2", "a10126", "a10444313a2d37", CLAIMS,
     PEP_PROTECTION},
    {"signed, says ES384", -7, "d2", "a1013822", "a0", CLAIMS, PEP_PROTECTION},
    {"signed, says HMAC", -7, "", "a10105", "a104" KID_M5, CLAIMS, PEP_PROTECTION},
    {"signed, alg in the open", -7, "d2", "", "a2012604" KID_ES, CLAIMS, PEP_UNSUPPORTED},
    {"signed, alg in the open, a0", -7, "d2", "a0", "a2012604" KID_ES, CLAIMS, PEP_UNSUPPORTED},
    {"signed, unknown critical header", -7, "d2", "a30126028118631863f5", "a104" KID_ES, CLAIMS,
     PEP_UNSUPPORTED},
    {"signed, unknown header, not critical", -7, "d2", "a201261863f5", "a104" KID_ES, CLAIMS,
     PEP_OK},
    {"signed, header twice", -7, "d2", "a301261863f51863f5", "a104" KID_ES, CLAIMS, PEP_MALFORMED},
    {"signed, indefinite header", -7, "d2", "bf0126ff", "a104" KID_ES, CLAIMS, PEP_MALFORMED},
    {"signed, no claims", -7, "d2", "a10126", "a0", "", PEP_CLAIMS},
    {"signed, claims an array", -7, "d2", "a10126", "a0", "80", PEP_CLAIMS},
    {"signed, claims with a byte behind", -7, "d2", "a10126", "a0", CLAIMS "00", PEP_CLAIMS},
    {"signed, claims cut", -7, "d2", "a10126", "a0", "a1041a773594", PEP_CLAIMS},
    {"signed, claim twice", -7, "d2", "a10126", "a0", "a2040004 00", PEP_CLAIMS},
    {"signed, indefinite claims", -7, "d2", "a10126", "a0", "bf0400ff", PEP_CLAIMS},
    {"signed, text of 2^63 bytes", -7, "d2", "a10126", "a0", "a1017b8000000000000000", PEP_CLAIMS},
    {"signed, tagged claims", -7, "d2", "a10126", "a0", "d83d" CLAIMS, PEP_CLAIMS},
    {"signed, secret in the open", -7, "d2", "a10126", "a0", "a108a101a201042050" K16,
     PEP_CONFIRMATION},
    {"signed, derived key", -7, "d2", "a10126", "a0", "a108a101a20104024141", PEP_OK},
    {"MACed", 5, "d1", "a10105", "a104" KID_M5, CLAIMS, PEP_OK},
    {"MACed, no tag", 5, "", "a10105", "a104" KID_M5, CLAIMS, PEP_OK},
    {"MACed, says 256/64", 5, "d1", "a10104", "a104" KID_M5, CLAIMS, PEP_PROTECTION},
    {"MACed, says ES256", 5, "", "a10126", "a104" KID_ES, CLAIMS, PEP_PROTECTION},
    {"MACed, secret in the open", 5, "d1", "a10105", "a0", "a108a101a201042050" K16,
     PEP_CONFIRMATION},
    {"encrypted", 10, "d0", "a1010a", "a204" KID_CC "05" IV13, CLAIMS, PEP_OK},
    {"encrypted, no tag", 10, "", "a1010a", "a204" KID_CC "05" IV13, CLAIMS, PEP_OK},
    {"encrypted, no kid", 10, "d0", "a1010a", "a105" IV13, CLAIMS, PEP_OK},
    {"encrypted, IV protected", 10, "d0", "a2010a05" IV13, "a104" KID_CC, CLAIMS, PEP_OK},
    {"encrypted, another IV", 10, "d0", "a1010a", "a1054d01000000000000000000000000", CLAIMS,
     PEP_PROTECTION},
    {"encrypted, secret inside", 10, "d0", "a1010a", "a105" IV13, "a108a101a201042050" K16, PEP_OK},
    {"encrypted, nothing inside", 10, "d0", "a1010a", "a105" IV13, "", PEP_CLAIMS},
    {"encrypted, an integer inside", 10, "d0", "a1010a", "a105" IV13, "01", PEP_CLAIMS},
    {"encrypted, bytes inside", 10, "d0", "a1010a", "a105" IV13, "47" CLAIMS, PEP_CLAIMS},
};

static void test_forged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        struct key k = test_key(0, forged[i].alg);
        struct forgery f = {.tags = unhex(forged[i].tags),
                            .guarded = unhex(forged[i].guarded),
                            .unguarded = unhex(forged[i].unguarded),
                            .content = unhex(forged[i].content)};
        enum pep_err e = verify(forge(forged[i].alg, &k, &f));
        if (e != forged[i].want)
            fail_msg("%s: got %s, wanted %s", forged[i].name, pep_err_str(e),
                     pep_err_str(forged[i].want));
        if (e != PEP_OK) { /* nothing is left behind */
            assert_int_equal(token.authority, -1);
            assert_int_equal(token.claims.exp_s, 0);
            assert_int_equal(token.plain[0], 0);
        }
    }
}

/* An unused byte of a string in front of the token, tags in longer forms. */
static void test_wrapped(void **state)
{
    (void)state;
    struct bytes good = mint(0, 5, 0, 0);
    static const struct {
        const char *name, *before;
        size_t cut; /* bytes of the good token's front that it replaces */
    } rows[] = {
        {"as it is", "", 0},
        {"CWT tag of 3 bytes", "d9003d", 2},
        {"CWT tag of 5 bytes", "da0000003d", 2},
        {"COSE tag of 2 bytes", "d83d d811", 3},
        {"two CWT tags", "d83d", 0},
        {"self-described CBOR", "d9d9f7", 0},
        {"array of 2 bytes", "d83d d1 9804", 4},
        {"no tag", "", 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t room[TOKEN_MAX];
        struct buf b = buf_on(room, sizeof room);
        buf_put(&b, unhex(rows[i].before));
        buf_put(&b, bytes_of(good.p + rows[i].cut, good.n - rows[i].cut));
        bool want = rows[i].before[0] == 0;
        if ((verify(buf_bytes(&b)) == PEP_OK) != want)
            fail_msg("%s: %s", rows[i].name, want ? "refused" : "taken");
    }
    for (int layers = 1; layers <= 2; layers++) {
        uint8_t one[TOKEN_MAX], two[TOKEN_MAX];
        struct buf b = buf_on(one, sizeof one), c = buf_on(two, sizeof two);
        cbor_put_bytes(&b, good);
        cbor_put_bytes(&c, buf_bytes(&b));
        assert_int_equal(verify(buf_bytes(layers == 1 ? &b : &c)), PEP_MALFORMED);
    }
}

static struct bytes seal_up(int authority, struct bytes content)
{
    struct key k = test_key(authority, 10);
    struct forgery f = {.tags = unhex("d83dd0"),
                        .guarded = unhex("a1010a"),
                        .unguarded = unhex("a105" IV13),
                        .content = content};
    return forge(10, &k, &f);
}

static void test_nested(void **state)
{
    (void)state;
    struct bytes inner = mint(0, -7, 0, 0);
    assert_int_equal(verify(seal_up(0, inner)), PEP_OK);
    expect_claims("nested", 0);
    assert_int_equal(verify(seal_up(0, bytes_of(inner.p + 2, inner.n - 2))), PEP_OK); /* no 61 */
    assert_int_equal(verify(seal_up(0, bytes_of(inner.p, inner.n - 1))), PEP_CLAIMS);
    /* one authority signs, another encrypts */
    assert_int_not_equal(verify(seal_up(1, inner)), PEP_OK);
    assert_int_not_equal(verify(mint(1, -7, 0, 10)), PEP_OK);
    /* three layers; encrypted twice; encrypted, then signed */
    assert_int_equal(verify(seal_up(0, seal_up(0, inner))), PEP_TOO_DEEP);
    assert_int_equal(verify(seal_up(0, mint(0, 0, 0, 10))), PEP_TOO_DEEP);
    struct key k = test_key(0, -7);
    struct forgery f = {.tags = unhex("d83dd2"),
                        .guarded = unhex("a10126"),
                        .unguarded = unhex("a0"),
                        .content = mint(0, 0, 0, 10)};
    assert_int_equal(verify(forge(-7, &k, &f)), PEP_CLAIMS);
    /* the inner signature counts */
    uint8_t spoilt[TOKEN_MAX];
    memcpy(spoilt, inner.p, inner.n);
    spoilt[inner.n - 1] ^= 1;
    assert_int_equal(verify(seal_up(0, bytes_of(spoilt, inner.n))), PEP_PROTECTION);
}

/* A symmetric proof key comes through encryption, with and without a
 * signature below; the writer does not put it anywhere else. */
static void test_secret(void **state)
{
    (void)state;
    struct claims c = some_claims();
    c.cnf = (struct cnf){.kind = CNF_SYMMETRIC, .kid = BYTES_LIT("k"), .key_n = 16};
    memset(c.cnf.key, 7, 16);
    struct key sign = test_key(0, -7), seal = test_key(0, 10);
    uint8_t room[TOKEN_MAX];
    for (int i = 0; i < 3; i++) {
        struct buf out = buf_on(room, sizeof room);
        struct cwt_maker with = {.proof = i < 2 ? &sign : NULL, .seal = i ? &seal : NULL};
        enum pep_err e = cwt_mint(&c, POLICY_RFC9200, &with, &out);
        assert_int_equal(e, i ? PEP_OK : PEP_CONFIRMATION);
        if (i == 0)
            continue;
        assert_int_equal(verify(buf_bytes(&out)), PEP_OK);
        assert_int_equal(token.claims.cnf.kind, CNF_SYMMETRIC);
        assert_memory_equal(token.claims.cnf.key, c.cnf.key, 16);
    }
}

static void test_mint_errors(void **state)
{
    (void)state;
    struct claims c = some_claims();
    struct key sign = test_key(0, -7), public = sign, seal = test_key(0, 10);
    uint8_t room[TOKEN_MAX], big[TOKEN_MAX];
    struct buf out = buf_on(room, sizeof room);
    assert_int_equal(cwt_mint(&c, 0, &(struct cwt_maker){0}, &out), PEP_UNSUPPORTED);
    assert_int_equal(cwt_mint(&c, 0, &(struct cwt_maker){.proof = &sign, .proof_alg = -35}, &out),
                     PEP_UNSUPPORTED);
    assert_int_equal(cwt_mint(&c, 0, &(struct cwt_maker){.proof = &seal}, &out), PEP_UNSUPPORTED);
    assert_int_equal(cwt_mint(&c, 0, &(struct cwt_maker){.seal = &sign}, &out), PEP_UNSUPPORTED);
    public.has_secret = false;
    assert_int_equal(cwt_mint(&c, 0, &(struct cwt_maker){.proof = &public}, &out), PEP_UNSUPPORTED);
    memset(big, 'a', sizeof big);
    c.scope_words = bytes_of(big, sizeof big);
    assert_int_equal(cwt_mint(&c, 0, &(struct cwt_maker){.proof = &sign}, &out), PEP_TOO_LARGE);
    c.scope_words = bytes_of(big, sizeof big - 60);
    assert_int_equal(cwt_mint(&c, 0, &(struct cwt_maker){.proof = &sign}, &out), PEP_TOO_LARGE);
    struct buf tight = buf_on(room, 20);
    c = some_claims();
    assert_int_equal(cwt_mint(&c, 0, &(struct cwt_maker){.proof = &sign}, &tight), PEP_TOO_LARGE);
}

/* RFC 9202 3.3.1 over a whole token: the bytes presented are part of it. */
static void test_derived(void **state)
{
    (void)state;
    struct claims c = some_claims();
    c.cnf = (struct cnf){.kind = CNF_DERIVED, .kid = BYTES_LIT("k")};
    struct key sign = test_key(0, -7), derivation = test_key(0, KEY_ALG_DERIVATION);
    struct cwt_maker with = {.proof = &sign};
    uint8_t room[TOKEN_MAX], want[KEYS_DERIVED_LEN];
    struct buf out = buf_on(room, sizeof room);
    assert_int_equal(cwt_mint(&c, POLICY_RFC9200, &with, &out), PEP_OK);
    assert_int_equal(verify(buf_bytes(&out)), PEP_OK);
    assert_int_equal(token.claims.cnf.kind, CNF_DERIVED);
    assert_true(cwt_derive(&derivation, buf_bytes(&out), want));
    assert_int_equal(token.claims.cnf.key_n, sizeof want);
    assert_memory_equal(token.claims.cnf.key, want, sizeof want);
    /* without tag 61 the token is another, and so is its key */
    assert_int_equal(verify(bytes_of(out.p + 2, out.n - 2)), PEP_OK);
    assert_memory_not_equal(token.claims.cnf.key, want, sizeof want);
}

static void test_sizes(void **state)
{
    (void)state;
    static uint8_t big[TOKEN_MAX + 1];
    assert_int_equal(verify(bytes_of(big, TOKEN_MAX + 1)), PEP_TOO_LARGE);
    assert_int_equal(verify(BYTES_NONE), PEP_MALFORMED);
    struct claims c = some_claims();
    struct key seal = test_key(0, 10);
    uint8_t room[TOKEN_MAX];
    memset(big, 'a', sizeof big);
    size_t n = TOKEN_MAX;
    struct buf out;
    enum pep_err e;
    do { /* the longest that fits verifies too */
        c.scope_words = bytes_of(big, --n);
        out = buf_on(room, sizeof room);
        e = cwt_mint(&c, POLICY_RFC9200, &(struct cwt_maker){.seal = &seal}, &out);
    } while (e == PEP_TOO_LARGE);
    assert_int_equal(e, PEP_OK);
    assert_int_equal(out.n, TOKEN_MAX);
    assert_int_equal(verify(buf_bytes(&out)), PEP_OK);
    assert_int_equal(token.claims.scope_words.n, n);
}

/* ---- times ---- */

static void test_times(void **state)
{
    (void)state;
    enum { BUILD = 1000, NOW = 5000 };
    static const struct {
        const char *name, *iss, *issuer;
        int64_t exp, nbf, now; /* 0: not there */
        enum pep_err want;
    } rows[] = {
        {"good", "as", "as", NOW + 1, 0, NOW, PEP_OK},
        {"no iss", NULL, "as", NOW + 1, 0, NOW, PEP_OK},
        {"another iss", "az", "as", NOW + 1, 0, NOW, PEP_ISSUER},
        {"a longer iss", "as2", "as", NOW + 1, 0, NOW, PEP_ISSUER},
        {"an empty iss", "", "as", NOW + 1, 0, NOW, PEP_ISSUER},
        {"iss, authority without", "as", NULL, NOW + 1, 0, NOW, PEP_ISSUER},
        {"no iss, authority without", NULL, NULL, NOW + 1, 0, NOW, PEP_OK},
        {"another iss and expired", "az", "as", NOW, 0, NOW, PEP_ISSUER},
        {"no exp", "as", "as", 0, 0, NOW, PEP_NO_EXPIRY},
        {"exp now", "as", "as", NOW, 0, NOW, PEP_EXPIRED},
        {"exp past", "as", "as", NOW - 1, 0, NOW, PEP_EXPIRED},
        {"nbf now", "as", "as", NOW + 1, NOW, NOW, PEP_OK},
        {"nbf to come", "as", "as", NOW + 9, NOW + 1, NOW, PEP_NOT_YET},
        {"expired, nbf to come", "as", "as", NOW, NOW + 1, NOW, PEP_EXPIRED},
        {"clock at the build", "as", "as", NOW, 0, BUILD, PEP_OK},
        {"clock before the build", "as", "as", NOW, 0, BUILD - 1, PEP_CLOCK},
        {"clock at 0", "as", "as", NOW, 0, 0, PEP_CLOCK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct claims c = {.iss = bytes_str(rows[i].iss),
                           .has_iss = rows[i].iss,
                           .has_exp = rows[i].exp,
                           .exp_s = rows[i].exp,
                           .has_nbf = rows[i].nbf,
                           .nbf_s = rows[i].nbf};
        enum pep_err e = token_check_times(&c, rows[i].issuer, rows[i].now, BUILD);
        if (e != rows[i].want)
            fail_msg("%s: got %s, wanted %s", rows[i].name, pep_err_str(e),
                     pep_err_str(rows[i].want));
    }
}

/* ---- peeking ---- */

static void test_peek(void **state)
{
    (void)state;
    static struct token_unverified u;
    assert_int_equal(token_peek(vector("rfc8392", "a3.signed"), &u), PEP_OK);
    assert_string_equal(u.format, "COSE_Sign1");
    assert_string_equal(u.alg, "ES256");
    assert_true(bytes_equal_str(u.kid, "AsymmetricECDSA256"));
    assert_true(u.readable && bytes_equal_str(u.token.claims.sub, "erikw"));
    assert_int_equal(u.token.authority, -1);
    assert_int_equal(token_peek(vector("rfc8392", "a6.nested"), &u), PEP_OK);
    assert_string_equal(u.format, "COSE_Encrypt0");
    assert_false(u.readable);
    assert_int_equal(token_peek(BYTES_LIT("eyJ0"), &u), PEP_MALFORMED);
    /* ace-07's tagged times */
    struct key k = test_key(1, 5);
    struct forgery f = {.tags = unhex("d1"),
                        .guarded = unhex("a10105"),
                        .unguarded = unhex("a0"),
                        .content = unhex("a104c11a77359400")};
    assert_int_equal(token_peek(forge(5, &k, &f), &u), PEP_OK);
    assert_true(u.readable && u.token.claims.exp_s == 2000000000);
    assert_int_equal(verify(forge(5, &k, &f)), PEP_OK);
    k = test_key(0, 5); /* the same from the other authority is refused */
    assert_int_equal(verify(forge(5, &k, &f)), PEP_CLAIMS);
}

static char dir[] = "/tmp/postern-token-XXXXXX";

static struct keys *load(const struct policy_authority *a, size_t n)
{
    struct policy p = {a, n};
    char text[512];
    struct buf diag = buf_on(text, sizeof text);
    struct keys *k = keys_load(&p, dir, &diag);
    if (!k)
        fprintf(stderr, "%.*s", (int)diag.n, text);
    return k;
}

static int set_up(void **state)
{
    (void)state;
    static const char *const names[] = {"a2.symmetric128", "a2.symmetric256", "a2.ecdsa256"};
    struct key k[3];
    const char *why;
    char path[64], text[512];
    struct buf diag = buf_on(text, sizeof text);
    if (!mkdtemp(dir))
        return -1;
    put_authorities(dir, 2);
    for (size_t i = 0; i < 3; i++)
        if (!key_from_cose(vector("rfc8392", names[i]), &k[i], &why))
            return -1;
    snprintf(path, sizeof path, "%s/rfc8392", dir);
    if (!key_file_create(path, k, 3, true, &diag))
        return -1;
    const struct policy_authority two[] = {{.name = "zero", .keys = "0", .dialect = POLICY_RFC9200},
                                           {.name = "one", .keys = "1", .dialect = POLICY_ACE07}};
    const struct policy_authority rfc = {.name = "rfc", .keys = "rfc8392"};
    keys = load(two, 2);
    rfc8392 = load(&rfc, 1);
    unlink(path);
    drop_authorities(dir, 2);
    rmdir(dir);
    return keys && rfc8392 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    keys_free(keys);
    keys_free(rfc8392);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8392),     cmocka_unit_test(test_minted),
        cmocka_unit_test(test_foreign),     cmocka_unit_test(test_mutilated),
        cmocka_unit_test(test_forged),      cmocka_unit_test(test_wrapped),
        cmocka_unit_test(test_nested),      cmocka_unit_test(test_secret),
        cmocka_unit_test(test_mint_errors), cmocka_unit_test(test_derived),
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_times),
        cmocka_unit_test(test_peek),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
