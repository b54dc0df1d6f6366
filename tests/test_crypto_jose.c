/* pep/crypto_jose, crypto_rsa, crypto_ed25519: the RFCs' vectors, and what is
 * one bit beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "../pep/crypto_ed25519.h"
#include "../pep/crypto_jose.h"
#include "../pep/crypto_rsa.h"
#include "support_hex.h"
#include "support_jose.h"

/* ---- RFC 3394, section 4 ---- */

static const struct {
    const char *name, *kek, *plain, *wrapped;
} wraps[] = {
    {"4.1", "000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff",
     "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"},
    {"4.2", "000102030405060708090a0b0c0d0e0f1011121314151617", "00112233445566778899aabbccddeeff",
     "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d"},
    {"4.3", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
     "00112233445566778899aabbccddeeff", "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"},
    {"4.4", "000102030405060708090a0b0c0d0e0f1011121314151617",
     "00112233445566778899aabbccddeeff0001020304050607",
     "031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2"},
    {"4.6", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
     "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
     "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"},
};

static void test_wrap(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wraps / sizeof *wraps; i++) {
        struct bytes kek = unhex(wraps[i].kek), plain = unhex(wraps[i].plain),
                     wrapped = unhex(wraps[i].wrapped);
        uint8_t room[64], bent[64];
        struct buf b = buf_on(room, sizeof room);
        if (!crypto_wrap(kek, plain, &b) || !bytes_equal(buf_bytes(&b), wrapped))
            fail_msg("%s: wrapped otherwise", wraps[i].name);
        b = buf_on(room, sizeof room);
        if (!crypto_unwrap(kek, wrapped, &b) || !bytes_equal(buf_bytes(&b), plain))
            fail_msg("%s: unwrapped otherwise", wraps[i].name);
        for (size_t bit = 0; bit < wrapped.n * 8; bit++) {
            memcpy(bent, wrapped.p, wrapped.n);
            bent[bit / 8] ^= (uint8_t)(1 << bit % 8);
            b = buf_on(room, sizeof room);
            assert_false(crypto_unwrap(kek, bytes_of(bent, wrapped.n), &b));
            assert_int_equal(b.n, 0);
        }
        for (size_t n = 0; n < wrapped.n; n++) {
            b = buf_on(room, sizeof room);
            assert_false(crypto_unwrap(kek, bytes_of(wrapped.p, n), &b));
        }
        b = buf_on(room, sizeof room);
        assert_false(crypto_unwrap(bytes_of(kek.p, kek.n - 1), wrapped, &b));
        assert_false(crypto_wrap(kek, bytes_of(plain.p, plain.n - 1), &b));
        assert_false(crypto_wrap(kek, bytes_of(plain.p, 8), &b));
    }
}

/* ---- RFC 7518, appendices B.1 and C ---- */

static void test_cbc(void **state)
{
    (void)state;
    const struct crypto_alg *a = crypto_jose_of(CRYPTO_A128CBC_HS256);
    struct bytes key = unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    struct bytes iv = unhex("1af38c2dc2b96ffdd86694092341bc04");
    struct bytes aad = BYTES_LIT("The second principle of Auguste Kerckhoffs");
    struct bytes plain = BYTES_LIT("A cipher system must not be required to be secret, and it must "
                                   "be able to fall into the hands of the enemy without "
                                   "inconvenience");
    struct bytes tag = unhex("652c3fa36b0a7c5b3219fab3a30bc1c4");
    uint8_t sealed[256], room[256];
    struct buf s = buf_on(sealed, sizeof sealed), b = buf_on(room, sizeof room);
    assert_true(crypto_jose_seal(a, key, iv, aad, plain, &s));
    assert_int_equal(s.n, 144 + 16);
    assert_memory_equal(sealed + 144, tag.p, tag.n);
    assert_memory_equal(sealed, unhex("c80edfa32ddf39d5ef00c0b468834279").p, 16);
    assert_true(crypto_jose_open(a, key, iv, aad, buf_bytes(&s), &b));
    assert_true(bytes_equal(buf_bytes(&b), plain));
    for (size_t bit = 0; bit < s.n * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        b = buf_on(room, sizeof room);
        assert_false(crypto_jose_open(a, key, iv, aad, buf_bytes(&s), &b));
        assert_int_equal(b.n, 0);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < s.n; n++)
        assert_false(crypto_jose_open(a, key, iv, aad, bytes_of(sealed, n), &b));
    assert_false(crypto_jose_open(a, key, iv, bytes_of(aad.p, aad.n - 1), buf_bytes(&s), &b));
    assert_false(crypto_jose_open(a, key, bytes_of(iv.p, 15), aad, buf_bytes(&s), &b));
    assert_false(crypto_jose_open(a, bytes_of(key.p, 31), iv, aad, buf_bytes(&s), &b));
    /* Every length around a block. */
    for (size_t n = 0; n < 40; n++) {
        s = buf_on(sealed, sizeof sealed);
        b = buf_on(room, sizeof room);
        assert_true(crypto_jose_seal(a, key, iv, aad, bytes_of(plain.p, n), &s));
        assert_true(crypto_jose_open(a, key, iv, aad, buf_bytes(&s), &b));
        assert_true(bytes_equal(buf_bytes(&b), bytes_of(plain.p, n)));
    }
}

#define BOB                                                                                        \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ\","      \
    "\"y\":\"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck\""
#define ALICE                                                                                      \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0\","      \
    "\"y\":\"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps\""

static void test_agreement(void **state)
{
    (void)state;
    struct key bob = jwk_key(BYTES_LIT("{" BOB "}"));
    struct key alice =
        jwk_key(BYTES_LIT("{" ALICE ",\"d\":\"0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo\"}"));
    uint8_t z[CRYPTO_COORD_MAX], key[16];
    assert_true(crypto_ecdh(&bob.ec, key_secret(&alice), z));
    assert_true(crypto_concat_kdf(bytes_of(z, 32), BYTES_LIT("A128GCM"), BYTES_LIT("Alice"),
                                  BYTES_LIT("Bob"), key, sizeof key));
    assert_true(bytes_equal(bytes_of(key, 16), base64url_bytes("VqqN6vgjbSBcIijNcacQGg")));
    /* A point beside its curve, and the point at infinity's stand-in. */
    bob.ec.point[64] ^= 1;
    assert_false(crypto_ecdh(&bob.ec, key_secret(&alice), z));
    memset(bob.ec.point + 1, 0, 64);
    assert_false(crypto_ecdh(&bob.ec, key_secret(&alice), z));
    assert_false(crypto_concat_kdf(bytes_of(z, 32), BYTES_NONE, BYTES_NONE, BYTES_NONE, key, 33));
}

/* ---- RSA ---- */

static struct crypto_rsa rsa;

static int make_rsa(void **state)
{
    (void)state;
    return crypto_rsa_generate(CRYPTO_RSA_MIN, &rsa) ? 0 : -1;
}

static void test_rsa_signatures(void **state)
{
    (void)state;
    static const int algs[] = {CRYPTO_RS256, CRYPTO_RS384, CRYPTO_RS512,
                               CRYPTO_PS256, CRYPTO_PS384, CRYPTO_PS512};
    struct bytes parts[] = {BYTES_LIT("some "), BYTES_LIT("message")},
                 whole = BYTES_LIT("some message"), other = BYTES_LIT("some massage");
    struct crypto_rsa public = rsa;
    public.prime_n = 0;
    for (size_t i = 0; i < 6; i++) {
        const struct crypto_alg *a = crypto_jose_of(algs[i]);
        uint8_t sig[CRYPTO_RSA_MAX];
        struct buf s = buf_on(sig, sizeof sig);
        assert_true(crypto_rsa_sign(a, &rsa, parts, 2, &s));
        assert_int_equal(s.n, 256);
        assert_true(crypto_rsa_verify(a, &public, &whole, 1, buf_bytes(&s)));
        assert_false(crypto_rsa_verify(a, &public, &other, 1, buf_bytes(&s)));
        for (size_t j = 0; j < 6; j++)
            if (j != i)
                assert_false(
                    crypto_rsa_verify(crypto_jose_of(algs[j]), &public, &whole, 1, buf_bytes(&s)));
        for (size_t bit = 0; bit < s.n * 8; bit += 97) {
            sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(crypto_rsa_verify(a, &public, &whole, 1, buf_bytes(&s)));
            sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_false(crypto_rsa_verify(a, &public, &whole, 1, bytes_of(sig, 255)));
        assert_false(crypto_rsa_sign(a, &public, &whole, 1, &s));
    }
    assert_false(crypto_rsa_verify(crypto_jose_of(-7), &public, &whole, 1, bytes_of(rsa.n, 256)));
}

static void test_rsa_content_keys(void **state)
{
    (void)state;
    struct bytes cek = unhex("000102030405060708090a0b0c0d0e0f");
    uint8_t sealed[CRYPTO_RSA_MAX], room[CRYPTO_RSA_MAX];
    struct buf s = buf_on(sealed, sizeof sealed), b = buf_on(room, sizeof room);
    assert_true(crypto_rsa_seal(&rsa, cek, &s));
    assert_true(crypto_rsa_open(&rsa, buf_bytes(&s), &b));
    assert_true(bytes_equal(buf_bytes(&b), cek));
    for (size_t bit = 0; bit < s.n * 8; bit += 211) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        b = buf_on(room, sizeof room);
        assert_false(crypto_rsa_open(&rsa, buf_bytes(&s), &b));
        assert_int_equal(b.n, 0);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_false(crypto_rsa_open(&rsa, bytes_of(sealed, 255), &b));
    struct crypto_rsa public = rsa;
    public.prime_n = 0;
    assert_false(crypto_rsa_open(&public, buf_bytes(&s), &b));
}

static void test_rsa_keys(void **state)
{
    (void)state;
    uint8_t n[CRYPTO_RSA_MAX + 1] = {0}, room[CRYPTO_RSA_MAX];
    struct crypto_rsa k;
    struct bytes e = unhex("010001");
    memcpy(n + 1, rsa.n, 256);
    assert_true(crypto_rsa_from_parts(bytes_of(n + 1, 256), e, &k));
    assert_false(crypto_rsa_from_parts(bytes_of(n, 257), e, &k)); /* a leading zero */
    assert_false(crypto_rsa_from_parts(bytes_of(n + 1, 255), e, &k));
    assert_false(crypto_rsa_from_parts(bytes_of(n + 1, 128), e, &k));
    assert_false(crypto_rsa_from_parts(bytes_of(n, 0), e, &k));
    assert_true(crypto_rsa_from_parts(bytes_of(n + 1, 256), unhex("03"), &k));
    assert_false(crypto_rsa_from_parts(bytes_of(n + 1, 256), unhex("01"), &k));
    assert_false(crypto_rsa_from_parts(bytes_of(n + 1, 256), unhex("02"), &k));
    assert_false(crypto_rsa_from_parts(bytes_of(n + 1, 256), unhex("00010001"), &k));
    assert_false(crypto_rsa_from_parts(bytes_of(n + 1, 256), unhex("0100000001"), &k));
    assert_false(crypto_rsa_from_parts(bytes_of(n + 1, 256), BYTES_NONE, &k));
    n[256] ^= 1; /* even */
    assert_false(crypto_rsa_from_parts(bytes_of(n + 1, 256), e, &k));
    n[256] ^= 1;
    memset(n + 1, 0xff, 512);
    assert_true(crypto_rsa_from_parts(bytes_of(n + 1, 512), e, &k));
    uint8_t longer[513];
    memset(longer, 0xff, sizeof longer);
    assert_false(crypto_rsa_from_parts(bytes_of(longer, 513), e, &k));

    /* The private half: with and without primes, and another's. */
    struct buf d = buf_on(room, sizeof room);
    assert_true(crypto_rsa_put_private(&rsa, &d));
    struct bytes p = bytes_of(rsa.p, rsa.prime_n), q = bytes_of(rsa.q, rsa.prime_n);
    assert_true(crypto_rsa_from_parts(crypto_rsa_n(&rsa), e, &k));
    assert_true(crypto_rsa_set_private(&k, buf_bytes(&d), p, q));
    assert_int_equal(k.prime_n, 128);
    assert_true(crypto_rsa_from_parts(crypto_rsa_n(&rsa), e, &k));
    assert_true(crypto_rsa_set_private(&k, buf_bytes(&d), BYTES_NONE, BYTES_NONE));
    assert_true(crypto_rsa_from_parts(crypto_rsa_n(&rsa), e, &k));
    assert_false(crypto_rsa_set_private(&k, buf_bytes(&d), p, BYTES_NONE));
    assert_false(crypto_rsa_set_private(&k, buf_bytes(&d), p, p));
    room[200] ^= 1;
    assert_false(crypto_rsa_set_private(&k, buf_bytes(&d), p, q));
    assert_false(crypto_rsa_set_private(&k, BYTES_NONE, p, q));
    assert_int_equal(k.prime_n, 0);
}

/* ---- Ed25519 ---- */

/* RFC 8032 7.1, test 2 */
static void test_ed25519(void **state)
{
    (void)state;
    struct bytes seed = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    struct bytes key = unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    struct bytes want = unhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                              "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    struct bytes message = unhex("72");
    uint8_t public[32], sig[64];
    struct buf s = buf_on(sig, sizeof sig);
    assert_true(crypto_ed25519_of_secret(seed.p, public));
    assert_memory_equal(public, key.p, 32);
    assert_true(crypto_ed25519_sign(seed.p, message, &s));
    assert_true(bytes_equal(buf_bytes(&s), want));
    assert_true(crypto_ed25519_verify(key.p, message, want));
    assert_false(crypto_ed25519_verify(key.p, unhex("73"), want));
    assert_false(crypto_ed25519_verify(key.p, message, bytes_of(want.p, 63)));
    for (size_t bit = 0; bit < 512; bit++) {
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(crypto_ed25519_verify(key.p, message, bytes_of(sig, 64)));
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    /* The neutral element as key, and a signature that any message would have. */
    uint8_t one[32] = {1}, all[64] = {1};
    assert_false(crypto_ed25519_verify(one, message, bytes_of(all, 64)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_cbc),
        cmocka_unit_test(test_agreement),
        cmocka_unit_test(test_rsa_signatures),
        cmocka_unit_test(test_rsa_content_keys),
        cmocka_unit_test(test_rsa_keys),
        cmocka_unit_test(test_ed25519),
    };
    return cmocka_run_group_tests(tests, make_rsa, NULL);
}
