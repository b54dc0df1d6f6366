/* pep/crypto against published vectors, and against itself both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "../pep/crypto.h"
#include "support_hex.h"

static void test_sha256(void **state)
{
    (void)state;
    uint8_t h[CRYPTO_SHA256];
    assert_true(crypto_sha256(BYTES_LIT("abc"), h)); /* FIPS 180-2 B.1 */
    assert_true(
        bytes_equal(bytes_of(h, sizeof h),
                    unhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")));
    assert_true(crypto_sha256(BYTES_NONE, h));
}

static void test_hkdf(void **state)
{
    (void)state;
    uint8_t okm[42];
    assert_true(crypto_hkdf_sha256(vector("rfc5869", "a1.salt"), vector("rfc5869", "a1.ikm"),
                                   vector("rfc5869", "a1.info"), okm, sizeof okm));
    assert_true(bytes_equal(bytes_of(okm, sizeof okm), vector("rfc5869", "a1.okm")));
    assert_true(
        crypto_hkdf_sha256(BYTES_NONE, vector("rfc5869", "a3.ikm"), BYTES_NONE, okm, sizeof okm));
    assert_true(bytes_equal(bytes_of(okm, sizeof okm), vector("rfc5869", "a3.okm")));
    assert_false(crypto_hkdf_sha256(BYTES_NONE, BYTES_LIT("k"), BYTES_NONE, okm, 255 * 32 + 1));
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(crypto_equal(BYTES_LIT("abc"), BYTES_LIT("abc")));
    assert_false(crypto_equal(BYTES_LIT("abc"), BYTES_LIT("abd")));
    assert_false(crypto_equal(BYTES_LIT("abc"), BYTES_LIT("ab")));
    assert_true(crypto_equal(BYTES_NONE, BYTES_NONE));
}

/* Sign and verify with each curve; each part, the signature and the key count. */
static void test_sign(void **state)
{
    (void)state;
    static const int algs[] = {-7, -35, -36};
    for (size_t i = 0; i < 3; i++) {
        const struct crypto_alg *a = crypto_alg(algs[i]);
        struct crypto_ec key, other;
        uint8_t d[CRYPTO_COORD_MAX], d2[CRYPTO_COORD_MAX], sig[CRYPTO_SIG_MAX],
            sig2[CRYPTO_SIG_MAX];
        struct bytes parts[] = {BYTES_LIT("a"), BYTES_NONE, BYTES_LIT("bc")};
        struct bytes whole = BYTES_LIT("abc"), wrong = BYTES_LIT("abd");
        struct buf s = buf_on(sig, sizeof sig), s2 = buf_on(sig2, sizeof sig2);
        assert_true(crypto_ec_generate(a->crv, &key, d));
        assert_true(crypto_ec_generate(a->crv, &other, d2));
        assert_true(crypto_sign(a, bytes_of(d, key.n), parts, 3, &s));
        assert_true(crypto_sign(a, bytes_of(d, key.n), &whole, 1, &s2));
        assert_int_equal(s.n, a->proof_n);
        assert_memory_equal(sig, sig2, s.n); /* RFC 6979: deterministic */
        assert_true(crypto_verify(a, &key, &whole, 1, buf_bytes(&s)));
        assert_false(crypto_verify(a, &key, &wrong, 1, buf_bytes(&s)));
        assert_false(crypto_verify(a, &other, &whole, 1, buf_bytes(&s)));
        assert_false(crypto_verify(a, &key, &whole, 1, bytes_of(sig, s.n - 1)));
        assert_false(crypto_verify(crypto_alg(algs[(i + 1) % 3]), &key, &whole, 1, buf_bytes(&s)));
        for (size_t bit = 0; bit < s.n * 8; bit += 37) {
            sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(crypto_verify(a, &key, &whole, 1, buf_bytes(&s)));
            sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        memset(sig, 0, s.n); /* r = s = 0 */
        assert_false(crypto_verify(a, &key, &whole, 1, buf_bytes(&s)));
        memset(d, 0, sizeof d);
        s.n = 0;
        assert_false(crypto_sign(a, bytes_of(d, key.n), &whole, 1, &s));
        memset(d, 0xff, sizeof d);
        assert_false(crypto_sign(a, bytes_of(d, key.n), &whole, 1, &s));
        assert_false(crypto_ec_of_secret(a->crv, bytes_of(d, key.n), &other));
    }
}

/* RFC 6979 A.2.5, SHA-256, message "sample" */
static void test_deterministic(void **state)
{
    (void)state;
    struct bytes d = unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
    struct bytes want = unhex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
                              "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");
    struct bytes m = BYTES_LIT("sample");
    uint8_t sig[64];
    struct buf s = buf_on(sig, sizeof sig);
    assert_true(crypto_sign(crypto_alg(-7), d, &m, 1, &s));
    assert_true(bytes_equal(buf_bytes(&s), want));
    struct crypto_ec pub;
    assert_true(crypto_ec_of_secret(CRYPTO_P256, d, &pub));
    assert_true(bytes_equal(crypto_ec_x(&pub), unhex("60fed4ba255a9d31c961eb74c6356d68c049b8923b61"
                                                     "fa6ce669622e60f29fb6")));
}

static void test_points(void **state)
{
    (void)state;
    struct bytes x = vector("cose_wg", "ecdsa-sig-01.x"), y = vector("cose_wg", "ecdsa-sig-01.y");
    struct crypto_ec k;
    uint8_t bad[32], zero[32] = {0}, ones[32];
    assert_true(crypto_ec_from_xy(CRYPTO_P256, x, y, &k));
    assert_true(bytes_equal(crypto_ec_x(&k), x) && bytes_equal(crypto_ec_y(&k), y));
    memcpy(bad, y.p, 32);
    bad[31] ^= 1;
    assert_false(crypto_ec_from_xy(CRYPTO_P256, x, bytes_of(bad, 32), &k));
    assert_false(crypto_ec_from_xy(CRYPTO_P384, x, y, &k));
    assert_false(crypto_ec_from_xy(4, x, y, &k));
    assert_false(crypto_ec_from_xy(CRYPTO_P256, bytes_of(x.p, 31), y, &k));
    assert_false(crypto_ec_from_xy(CRYPTO_P256, BYTES_NONE, BYTES_NONE, &k));
    assert_false(crypto_ec_from_xy(CRYPTO_P256, bytes_of(zero, 32), bytes_of(zero, 32), &k));
    memset(ones, 0xff, sizeof ones); /* beyond the field */
    assert_false(crypto_ec_from_xy(CRYPTO_P256, bytes_of(ones, 32), y, &k));
}

static void test_mac(void **state)
{
    (void)state;
    static const int algs[] = {4, 5, 6, 7};
    for (size_t i = 0; i < 4; i++) {
        const struct crypto_alg *a = crypto_alg(algs[i]);
        uint8_t tag[CRYPTO_MAC_MAX];
        struct buf t = buf_on(tag, sizeof tag);
        struct bytes key = BYTES_LIT("0123456789abcdef"), m = BYTES_LIT("abc");
        assert_true(crypto_mac(a, key, &m, 1, &t));
        assert_int_equal(t.n, a->proof_n);
        assert_true(crypto_mac_verify(a, key, &m, 1, buf_bytes(&t)));
        assert_false(crypto_mac_verify(a, key, &m, 1, bytes_of(tag, t.n - 1)));
        assert_false(crypto_mac_verify(a, key, &m, 1, BYTES_NONE));
        assert_false(crypto_mac_verify(a, BYTES_NONE, &m, 1, buf_bytes(&t)));
        assert_false(crypto_mac_verify(a, BYTES_LIT("0123456789abcdeg"), &m, 1, buf_bytes(&t)));
        for (size_t bit = 0; bit < t.n * 8; bit++) {
            tag[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(crypto_mac_verify(a, key, &m, 1, buf_bytes(&t)));
            tag[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    /* RFC 4231 4.3 (test case 2): HMAC-SHA-256 */
    struct bytes m = BYTES_LIT("what do ya want for nothing?");
    assert_true(crypto_mac_verify(
        crypto_alg(5), BYTES_LIT("Jefe"), &m, 1,
        unhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")));
}

static void test_aead(void **state)
{
    (void)state;
    const struct crypto_alg *a;
    uint8_t key[32], iv[16], sealed[64], plain[64];
    memset(key, 1, sizeof key);
    memset(iv, 2, sizeof iv);
    for (size_t i = 0; (a = crypto_alg_at(i)); i++) {
        if (a->class != CRYPTO_AEAD)
            continue;
        struct bytes k = bytes_of(key, a->key_n), n = bytes_of(iv, a->iv_n), aad = BYTES_LIT("aad");
        for (size_t len = 0; len <= 20; len += 20) {
            struct bytes m = bytes_of("This is the content.", len);
            struct buf s = buf_on(sealed, sizeof sealed), p = buf_on(plain, sizeof plain);
            assert_true(crypto_seal(a, k, n, aad, m, &s));
            assert_int_equal(s.n, len + a->proof_n);
            assert_true(crypto_open(a, k, n, aad, buf_bytes(&s), &p));
            assert_true(bytes_equal(buf_bytes(&p), m));
            for (size_t bit = 0; bit < s.n * 8; bit++) {
                sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
                assert_false(crypto_open(a, k, n, aad, buf_bytes(&s), &p));
                assert_int_equal(p.n, len);
                sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
            assert_false(crypto_open(a, k, n, BYTES_LIT("aae"), buf_bytes(&s), &p));
            assert_false(crypto_open(a, k, bytes_of(iv, a->iv_n - 1), aad, buf_bytes(&s), &p));
            assert_false(crypto_open(a, bytes_of(key, a->key_n - 1), n, aad, buf_bytes(&s), &p));
            assert_false(crypto_open(a, k, n, aad, bytes_of(sealed, a->proof_n - 1), &p));
            struct buf tight = buf_on(plain, len ? len - 1 : 0);
            assert_true(crypto_open(a, k, n, aad, buf_bytes(&s), &tight) == (len == 0));
        }
    }
}

static void test_pem(void **state)
{
    (void)state;
    struct crypto_ec k;
    struct bytes spki = unhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"
                              "bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff"
                              "20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e");
    assert_true(crypto_ec_from_spki(spki, &k));
    assert_int_equal(k.crv, CRYPTO_P256);
    assert_true(bytes_equal(crypto_ec_x(&k), vector("cose_wg", "ecdsa-sig-01.x")));
    for (size_t n = 0; n < spki.n; n++)
        assert_false(crypto_ec_from_spki(bytes_of(spki.p, n), &k));
    assert_false(crypto_ec_from_pem(BYTES_LIT("-----BEGIN PUBLIC KEY-----\n"), &k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),        cmocka_unit_test(test_hkdf),
        cmocka_unit_test(test_equal),         cmocka_unit_test(test_sign),
        cmocka_unit_test(test_deterministic), cmocka_unit_test(test_points),
        cmocka_unit_test(test_mac),           cmocka_unit_test(test_aead),
        cmocka_unit_test(test_pem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
