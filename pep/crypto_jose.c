#include "crypto_jose.h"

#include <mbedtls/aes.h>

#include "crypto_inside.h"

enum { BLOCK = 16, HALF = 8, CBC_KEY = 16, CBC_MAC = 16, CBC_TAG = 16 };

/* RFC 7518 3.1, 4.1, 5.1; RFC 8037 3.1 */
static const struct crypto_alg algs[] = {
    {-7, CRYPTO_SIGN, "ES256", CRYPTO_P256, 32, 0, 64, true},
    {-35, CRYPTO_SIGN, "ES384", CRYPTO_P384, 48, 0, 96, true},
    {-36, CRYPTO_SIGN, "ES512", CRYPTO_P521, 66, 0, 132, true},
    {CRYPTO_RS256, CRYPTO_SIGN, "RS256", 0, 0, 0, 0, true},
    {CRYPTO_RS384, CRYPTO_SIGN, "RS384", 0, 0, 0, 0, true},
    {CRYPTO_RS512, CRYPTO_SIGN, "RS512", 0, 0, 0, 0, true},
    {CRYPTO_PS256, CRYPTO_SIGN, "PS256", 0, 0, 0, 0, true},
    {CRYPTO_PS384, CRYPTO_SIGN, "PS384", 0, 0, 0, 0, true},
    {CRYPTO_PS512, CRYPTO_SIGN, "PS512", 0, 0, 0, 0, true},
    {CRYPTO_EDDSA, CRYPTO_SIGN, "EdDSA", CRYPTO_ED25519, 32, 0, 64, true},
    {5, CRYPTO_MAC, "HS256", 0, 32, 0, 32, true},
    {6, CRYPTO_MAC, "HS384", 0, 48, 0, 48, true},
    {7, CRYPTO_MAC, "HS512", 0, 64, 0, 64, true},
    {CRYPTO_A128KW, CRYPTO_WRAP, "A128KW", 0, 16, 0, 0, true},
    {CRYPTO_A192KW, CRYPTO_WRAP, "A192KW", 0, 24, 0, 0, true},
    {CRYPTO_A256KW, CRYPTO_WRAP, "A256KW", 0, 32, 0, 0, true},
    {CRYPTO_RSA_OAEP_256, CRYPTO_WRAP, "RSA-OAEP-256", 0, 0, 0, 0, true},
    {CRYPTO_ECDH_ES, CRYPTO_WRAP, "ECDH-ES", 0, 0, 0, 0, true},
    {CRYPTO_ECDH_ES_A128KW, CRYPTO_WRAP, "ECDH-ES+A128KW", 0, 16, 0, 0, true},
    {CRYPTO_ECDH_ES_A192KW, CRYPTO_WRAP, "ECDH-ES+A192KW", 0, 24, 0, 0, true},
    {CRYPTO_ECDH_ES_A256KW, CRYPTO_WRAP, "ECDH-ES+A256KW", 0, 32, 0, 0, true},
    {1, CRYPTO_AEAD, "A128GCM", 0, 16, 12, 16, true},
    {2, CRYPTO_AEAD, "A192GCM", 0, 24, 12, 16, true},
    {3, CRYPTO_AEAD, "A256GCM", 0, 32, 12, 16, true},
    {CRYPTO_A128CBC_HS256, CRYPTO_AEAD, "A128CBC-HS256", 0, 32, 16, 16, true},
};

const struct crypto_alg *crypto_jose_at(size_t i)
{
    return i < sizeof algs / sizeof *algs ? &algs[i] : NULL;
}

const struct crypto_alg *crypto_jose_named(struct bytes name)
{
    for (size_t i = 0; i < sizeof algs / sizeof *algs; i++)
        if (bytes_equal_str(name, algs[i].name))
            return &algs[i];
    return NULL;
}

const struct crypto_alg *crypto_jose_of(int alg)
{
    for (size_t i = 0; i < sizeof algs / sizeof *algs; i++)
        if (algs[i].alg == alg)
            return &algs[i];
    return NULL;
}

bool crypto_jose_is_ecdh(const struct crypto_alg *a)
{
    return a->alg <= CRYPTO_ECDH_ES && a->alg >= CRYPTO_ECDH_ES_A256KW;
}

bool crypto_jose_is_rsa(const struct crypto_alg *a)
{
    return a->alg == CRYPTO_RSA_OAEP_256 || (a->class == CRYPTO_SIGN && a->crv == 0);
}

/* ---- AES key wrap (RFC 3394 2.2); Debian 12's mbedtls has none ---- */

static const uint8_t wrap_iv[HALF] = {0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6};

static bool wrap_fits(struct bytes key, size_t plain_n)
{
    return (key.n == 16 || key.n == 24 || key.n == 32) && plain_n >= 2 * HALF &&
           plain_n <= CRYPTO_CEK_MAX && plain_n % HALF == 0;
}

/* At most 24 steps, so their number is one byte. */
bool crypto_wrap(struct bytes key, struct bytes plain, struct buf *out)
{
    uint8_t b[BLOCK], r[CRYPTO_CEK_MAX];
    size_t n = plain.n / HALF;
    if (!wrap_fits(key, plain.n))
        return false;
    mbedtls_aes_context aes;
    mbedtls_aes_init(&aes);
    bool ok = mbedtls_aes_setkey_enc(&aes, key.p, (unsigned)key.n * 8) == 0;
    memcpy(b, wrap_iv, HALF);
    memcpy(r, plain.p, plain.n);
    for (size_t t = 1; ok && t <= 6 * n; t++) {
        uint8_t *at = r + (t - 1) % n * HALF;
        memcpy(b + HALF, at, HALF);
        ok = mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_ENCRYPT, b, b) == 0;
        b[HALF - 1] ^= (uint8_t)t;
        memcpy(at, b + HALF, HALF);
    }
    mbedtls_aes_free(&aes);
    if (ok) {
        buf_put(out, bytes_of(b, HALF));
        buf_put(out, bytes_of(r, plain.n));
    }
    crypto_wipe(b, sizeof b);
    crypto_wipe(r, sizeof r);
    return ok && !out->full;
}

bool crypto_unwrap(struct bytes key, struct bytes wrapped, struct buf *out)
{
    uint8_t b[BLOCK], r[CRYPTO_CEK_MAX];
    if (wrapped.n < HALF || !wrap_fits(key, wrapped.n - HALF))
        return false;
    size_t plain_n = wrapped.n - HALF, n = plain_n / HALF;
    mbedtls_aes_context aes;
    mbedtls_aes_init(&aes);
    bool ok = mbedtls_aes_setkey_dec(&aes, key.p, (unsigned)key.n * 8) == 0;
    memcpy(b, wrapped.p, HALF);
    memcpy(r, wrapped.p + HALF, plain_n);
    for (size_t t = 6 * n; ok && t > 0; t--) {
        uint8_t *at = r + (t - 1) % n * HALF;
        b[HALF - 1] ^= (uint8_t)t;
        memcpy(b + HALF, at, HALF);
        ok = mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_DECRYPT, b, b) == 0;
        memcpy(at, b + HALF, HALF);
    }
    mbedtls_aes_free(&aes);
    ok = ok && crypto_equal(bytes_of(b, HALF), bytes_of(wrap_iv, HALF));
    if (ok)
        buf_put(out, bytes_of(r, plain_n));
    crypto_wipe(b, sizeof b);
    crypto_wipe(r, sizeof r);
    return ok && !out->full;
}

/* ---- A128CBC-HS256 (RFC 7518 5.2) ---- */

static bool cbc_tag(struct bytes key, struct bytes iv, struct bytes aad, struct bytes text,
                    uint8_t tag[MBEDTLS_MD_MAX_SIZE])
{
    uint8_t al[8];
    struct buf b = buf_on(al, sizeof al);
    buf_put_be(&b, (uint64_t)aad.n * 8, sizeof al);
    const struct bytes parts[] = {aad, iv, text, buf_bytes(&b)};
    return crypto_inside_digest(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256),
                                bytes_of(key.p, CBC_MAC), parts, 4, tag);
}

/* In place. */
static bool cbc(bool seal, struct bytes key, struct bytes iv, uint8_t *at, size_t n)
{
    uint8_t v[BLOCK];
    mbedtls_aes_context aes;
    memcpy(v, iv.p, BLOCK);
    mbedtls_aes_init(&aes);
    const uint8_t *k = key.p + CBC_MAC;
    bool ok = (seal ? mbedtls_aes_setkey_enc(&aes, k, CBC_KEY * 8)
                    : mbedtls_aes_setkey_dec(&aes, k, CBC_KEY * 8)) == 0 &&
              mbedtls_aes_crypt_cbc(&aes, seal ? MBEDTLS_AES_ENCRYPT : MBEDTLS_AES_DECRYPT, n, v,
                                    at, at) == 0;
    mbedtls_aes_free(&aes);
    return ok;
}

static bool cbc_open(struct bytes key, struct bytes iv, struct bytes aad, struct bytes sealed,
                     struct buf *out)
{
    if (sealed.n < BLOCK + CBC_TAG || sealed.n % BLOCK != 0)
        return false;
    size_t n = sealed.n - CBC_TAG;
    uint8_t tag[MBEDTLS_MD_MAX_SIZE];
    /* The tag first: only after it does padding say anything, and then it
     * tells an attacker nothing (RFC 7518 5.2.2.2). */
    bool ok = cbc_tag(key, iv, aad, bytes_of(sealed.p, n), tag) &&
              crypto_equal(bytes_of(tag, CBC_TAG), bytes_of(sealed.p + n, CBC_TAG));
    uint8_t *to = ok ? buf_reserve(out, n) : NULL;
    if (!to)
        return false;
    memmove(to, sealed.p, n); /* it may stand there already */
    ok = cbc(false, key, iv, to, n);
    uint8_t pad = to[n - 1];
    ok = ok && pad >= 1 && pad <= BLOCK;
    for (size_t i = 0; ok && i < pad; i++)
        ok = to[n - 1 - i] == pad;
    if (!ok)
        crypto_wipe(to, n);
    out->n -= ok ? pad : n;
    return ok;
}

static bool cbc_seal(struct bytes key, struct bytes iv, struct bytes aad, struct bytes plain,
                     struct buf *out)
{
    size_t pad = BLOCK - plain.n % BLOCK, n = plain.n + pad;
    uint8_t tag[MBEDTLS_MD_MAX_SIZE];
    uint8_t *to = buf_reserve(out, n);
    if (!to)
        return false;
    if (plain.n)
        memcpy(to, plain.p, plain.n);
    memset(to + plain.n, (int)pad, pad);
    if (!cbc(true, key, iv, to, n) || !cbc_tag(key, iv, aad, bytes_of(to, n), tag)) {
        crypto_wipe(to, n);
        out->n -= n;
        return false;
    }
    buf_put(out, bytes_of(tag, CBC_TAG));
    return !out->full;
}

static bool fits(const struct crypto_alg *a, struct bytes key, struct bytes iv)
{
    return a->class == CRYPTO_AEAD && key.n == a->key_n && iv.n == a->iv_n;
}

bool crypto_jose_open(const struct crypto_alg *a, struct bytes key, struct bytes iv,
                      struct bytes aad, struct bytes sealed, struct buf *out)
{
    if (!fits(a, key, iv))
        return false;
    return a->alg == CRYPTO_A128CBC_HS256 ? cbc_open(key, iv, aad, sealed, out)
                                          : crypto_open(a, key, iv, aad, sealed, out);
}

bool crypto_jose_seal(const struct crypto_alg *a, struct bytes key, struct bytes iv,
                      struct bytes aad, struct bytes plain, struct buf *out)
{
    if (!fits(a, key, iv))
        return false;
    return a->alg == CRYPTO_A128CBC_HS256 ? cbc_seal(key, iv, aad, plain, out)
                                          : crypto_seal(a, key, iv, aad, plain, out);
}

/* ---- NIST SP 800-56A Concat KDF (RFC 7518 4.6.2) ---- */

bool crypto_concat_kdf(struct bytes z, struct bytes id, struct bytes apu, struct bytes apv,
                       uint8_t *out, size_t n)
{
    uint8_t number[5][4], full[MBEDTLS_MD_MAX_SIZE];
    const size_t values[5] = {1, id.n, apu.n, apv.n, n * 8};
    if (n > CRYPTO_SHA256)
        return false;
    struct bytes num[5];
    for (size_t i = 0; i < 5; i++) {
        struct buf b = buf_on(number[i], sizeof number[i]);
        buf_put_be(&b, values[i], sizeof number[i]);
        num[i] = buf_bytes(&b);
    }
    const struct bytes parts[] = {num[0], z, num[1], id, num[2], apu, num[3], apv, num[4]};
    bool ok = crypto_inside_digest(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), BYTES_NONE, parts,
                                   sizeof parts / sizeof *parts, full);
    if (ok)
        memcpy(out, full, n);
    crypto_wipe(full, sizeof full);
    return ok;
}
