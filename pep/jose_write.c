#include "jose.h"

#include "base64url.h"
#include "jwk.h"

static void put_text(struct buf *h, const char *name, struct bytes value)
{
    buf_put_str(h, h->n > 1 ? ",\"" : "\"");
    buf_put_str(h, name);
    buf_put_str(h, "\":\"");
    buf_put(h, value);
    buf_put_u8(h, '"');
}

/* A kid is put if it is plain text: another one stands in no header, and the
 * key is found without. */
static void put_kid(struct buf *h, const struct key *key)
{
    struct bytes kid = key_kid(key);
    for (size_t i = 0; i < kid.n; i++)
        if (kid.p[i] < 0x20 || kid.p[i] > 0x7e || kid.p[i] == '"' || kid.p[i] == '\\')
            return;
    if (kid.n)
        put_text(h, "kid", kid);
}

enum pep_err jose_sign(const struct crypto_alg *alg, const struct key *key, const char *typ,
                       struct bytes payload, struct buf *out)
{
    uint8_t header[JOSE_HEADER_MAX], proof[CRYPTO_RSA_MAX];
    struct buf h = buf_on(header, sizeof header), p = buf_on(proof, sizeof proof);
    size_t from = out->n;
    if (!alg->jose || !key_can_make(key, alg))
        return PEP_PROTECTION;
    buf_put_u8(&h, '{');
    put_text(&h, "alg", bytes_str(alg->name));
    if (typ)
        put_text(&h, "typ", bytes_str(typ));
    put_kid(&h, key);
    buf_put_u8(&h, '}');
    base64url_put(out, buf_bytes(&h));
    buf_put_u8(out, '.');
    base64url_put(out, payload);
    if (h.full || out->full)
        return PEP_TOO_LARGE;
    struct bytes guarded = bytes_of(out->p + from, out->n - from);
    if (!key_sign(key, alg, &guarded, 1, &p))
        return PEP_PROTECTION;
    buf_put_u8(out, '.');
    base64url_put(out, buf_bytes(&p));
    return out->full ? PEP_TOO_LARGE : PEP_OK;
}

/* A fresh content key, or the one that is given or agreed upon; and how it
 * travels. */
static bool send_key(struct jose *m, const struct key *key, uint8_t cek[CRYPTO_CEK_MAX],
                     struct buf *sealed)
{
    uint8_t d[CRYPTO_COORD_MAX], agreed[CRYPTO_CEK_MAX];
    size_t n = m->enc->key_n, agreed_n;
    struct bytes k = bytes_of(cek, n);
    bool ok;
    if (!m->alg) {
        memcpy(cek, key->secret, n);
        return true;
    }
    if (!crypto_random(cek, n))
        return false;
    if (crypto_jose_is_rsa(m->alg))
        return crypto_rsa_seal(&key->rsa, k, sealed);
    if (!crypto_jose_is_ecdh(m->alg))
        return crypto_wrap(key_secret(key), k, sealed);
    ok = crypto_ec_generate(key->ec.crv, &m->epk, d) &&
         jose_agree(m, &key->ec, bytes_of(d, m->epk.n), agreed, &agreed_n);
    if (ok && m->alg->key_n == 0)
        memcpy(cek, agreed, n);
    else
        ok = ok && crypto_wrap(bytes_of(agreed, agreed_n), k, sealed);
    crypto_wipe(d, sizeof d);
    crypto_wipe(agreed, sizeof agreed);
    return ok;
}

enum pep_err jose_seal(const struct crypto_alg *alg, const struct crypto_alg *enc,
                       const struct key *key, const char *typ, const char *cty,
                       struct bytes content, struct buf *out)
{
    struct jose m = {.kind = JOSE_JWE, .alg = alg, .enc = enc};
    uint8_t header[JOSE_HEADER_MAX], cek[CRYPTO_CEK_MAX], wrapped[CRYPTO_RSA_MAX],
        iv[CRYPTO_AES_IV_MAX], text[JOSE_MAX];
    struct buf h = buf_on(header, sizeof header), w = buf_on(wrapped, sizeof wrapped),
               t = buf_on(text, sizeof text);
    if (!enc->jose || enc->class != CRYPTO_AEAD || (alg && alg->class != CRYPTO_WRAP) ||
        !key_can_make(key, jose_key_alg(&m)))
        return PEP_PROTECTION;
    size_t tag = enc->proof_n;
    bool ok = send_key(&m, key, cek, &w) && crypto_random(iv, enc->iv_n);
    buf_put_u8(&h, '{');
    put_text(&h, "alg", alg ? bytes_str(alg->name) : BYTES_LIT("dir"));
    put_text(&h, "enc", bytes_str(enc->name));
    if (typ)
        put_text(&h, "typ", bytes_str(typ));
    if (cty)
        put_text(&h, "cty", bytes_str(cty));
    put_kid(&h, key);
    if (m.epk.n) {
        struct key epk = {.kind = KEY_EC, .ec = m.epk};
        buf_put_str(&h, ",\"epk\":");
        jwk_put(&epk, false, &h);
    }
    buf_put_u8(&h, '}');
    size_t from = out->n;
    base64url_put(out, buf_bytes(&h));
    if (h.full || out->full)
        ok = false;
    struct bytes aad = bytes_of(out->p + from, out->n - from);
    ok = ok && crypto_jose_seal(enc, bytes_of(cek, enc->key_n), bytes_of(iv, enc->iv_n), aad,
                                content, &t);
    crypto_wipe(cek, sizeof cek);
    if (!ok)
        return h.full || out->full || t.full ? PEP_TOO_LARGE : PEP_PROTECTION;
    const struct bytes segment[] = {buf_bytes(&w), bytes_of(iv, enc->iv_n),
                                    bytes_of(t.p, t.n - tag), bytes_of(t.p + t.n - tag, tag)};
    for (size_t i = 0; i < sizeof segment / sizeof *segment; i++) {
        buf_put_u8(out, '.');
        base64url_put(out, segment[i]);
    }
    return out->full ? PEP_TOO_LARGE : PEP_OK;
}
