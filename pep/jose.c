#include "jose.h"

#include <strings.h>

#include "base64url.h"
#include "jwk.h"

enum { SEG_HEADER = 0, SEG_PAYLOAD = 1, SEG_PROOF = 2 };     /* JWS */
enum { SEG_KEY = 1, SEG_IV = 2, SEG_TEXT = 3, SEG_TAG = 4 }; /* JWE */
enum { JWS_SEGMENTS = 3, JWE_SEGMENTS = 5, PROOF_MAX = CRYPTO_RSA_MAX };

/* ---- reading ---- */

static size_t split(struct bytes raw, struct bytes segment[JOSE_SEGMENTS_MAX])
{
    size_t n = 0, from = 0;
    for (size_t i = 0; i <= raw.n; i++) {
        if (i < raw.n && raw.p[i] != '.')
            continue;
        if (n == JOSE_SEGMENTS_MAX)
            return 0;
        segment[n++] = bytes_of(raw.p + from, i - from);
        from = i + 1;
    }
    return n == JWS_SEGMENTS || n == JWE_SEGMENTS ? n : 0;
}

bool jose_is_compact(struct bytes raw)
{
    struct bytes segment[JOSE_SEGMENTS_MAX];
    if (raw.n == 0 || raw.n > JOSE_MAX || split(raw, segment) == 0 || segment[0].n == 0)
        return false;
    for (size_t i = 0; i < raw.n; i++)
        if (raw.p[i] != '.' && !base64url_is_digit(raw.p[i]))
            return false;
    return true;
}

/* Media types are compared without case, and "application/" may be left out
 * (RFC 7515 4.1.9). */
static bool is_type(struct bytes text, const char *type)
{
    static const char front[] = "application/";
    size_t n = strlen(type), skip = 0;
    if (text.n == n + sizeof front - 1)
        skip = sizeof front - 1;
    if (text.n != n + skip)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c - 'A' + 'a');
        if (c != (uint8_t)(i < skip ? front[i] : type[i - skip]))
            return false;
    }
    return true;
}

static bool read_types(const struct json_node *h, struct jose *m)
{
    const struct json_node *typ = json_node_get(h, "typ"), *cty = json_node_get(h, "cty");
    struct bytes t;
    m->typ = JOSE_TYP_ABSENT;
    m->cty = JOSE_CTY_ABSENT;
    if (typ) {
        if (!json_node_text(typ, &t))
            return false;
        m->typ = is_type(t, "jwt")                       ? JOSE_TYP_JWT
                 : is_type(t, "at+jwt")                  ? JOSE_TYP_ACCESS_TOKEN
                 : is_type(t, "token-introspection+jwt") ? JOSE_TYP_INTROSPECTION
                                                         : JOSE_TYP_OTHER;
    }
    if (cty) {
        if (!json_node_text(cty, &t))
            return false;
        m->cty = is_type(t, "jwt") ? JOSE_CTY_JWT : JOSE_CTY_OTHER;
    }
    return true;
}

static bool read_party(const struct json_node *v, uint8_t out[JOSE_PARTY_MAX], size_t *n)
{
    struct bytes text;
    struct buf b = buf_on(out, JOSE_PARTY_MAX);
    if (!v)
        return true;
    bool ok = json_node_text(v, &text) && base64url_read(text, &b);
    *n = b.n;
    return ok;
}

/* RFC 7518 4.6.1; the point is checked to lie on its curve. */
static bool read_agreement(const struct json_node *h, struct jose *m)
{
    struct key k = {0};
    const char *why;
    bool ok = read_party(json_node_get(h, "apu"), m->apu, &m->apu_n) &&
              read_party(json_node_get(h, "apv"), m->apv, &m->apv_n) &&
              jwk_read(json_node_get(h, "epk"), 1, &k, &why) && k.kind == KEY_EC && !k.has_secret;
    m->epk = k.ec;
    key_clear(&k);
    return ok;
}

static enum pep_err read_algorithms(const struct json_node *h, struct jose *m)
{
    struct bytes alg, enc;
    if (!json_node_text(json_node_get(h, "alg"), &alg))
        return PEP_MALFORMED;
    bool direct = m->kind == JOSE_JWE && bytes_equal_str(alg, "dir");
    m->alg = direct ? NULL : crypto_jose_named(alg);
    /* Not merely unknown here: no server's word makes that a token (RFC 8725
     * 3.2). In any case, as some libraries take it. */
    if (alg.n == 4 && strncasecmp((const char *)alg.p, "none", 4) == 0)
        return PEP_PROTECTION;
    if (!direct && !m->alg)
        return PEP_UNSUPPORTED;
    if (m->kind == JOSE_JWS)
        return m->alg->class == CRYPTO_SIGN || m->alg->class == CRYPTO_MAC ? PEP_OK
                                                                           : PEP_PROTECTION;
    if (m->alg && m->alg->class != CRYPTO_WRAP)
        return PEP_PROTECTION;
    if (!json_node_text(json_node_get(h, "enc"), &enc))
        return PEP_MALFORMED;
    m->enc = crypto_jose_named(enc);
    if (!m->enc)
        return PEP_UNSUPPORTED;
    if (m->enc->class != CRYPTO_AEAD)
        return PEP_PROTECTION;
    if (m->alg && crypto_jose_is_ecdh(m->alg) && !read_agreement(h, m))
        return PEP_MALFORMED;
    return PEP_OK;
}

static enum pep_err read_header(const struct json_node *h, struct jose *m)
{
    const struct json_node *kid = json_node_get(h, "kid");
    struct bytes text;
    if (json_node_kind(h) != JSON_NODE_OBJECT)
        return PEP_MALFORMED;
    if (json_node_get(h, "crit") || json_node_get(h, "b64") || json_node_get(h, "zip"))
        return PEP_UNSUPPORTED;
    if (kid) {
        if (!json_node_text(kid, &text) || text.n > sizeof m->kid)
            return PEP_MALFORMED;
        memcpy(m->kid, text.p, text.n);
        m->kid_n = text.n;
    }
    if (!read_types(h, m))
        return PEP_MALFORMED;
    return read_algorithms(h, m);
}

/* What each segment's length must be, as far as the header tells. */
static bool lengths_fit(const struct jose *m)
{
    if (m->kind == JOSE_JWS) {
        size_t n = base64url_size(m->segment[SEG_PROOF].n);
        return m->alg->proof_n ? n == m->alg->proof_n : n <= PROOF_MAX;
    }
    bool no_key = !m->alg || m->alg->alg == CRYPTO_ECDH_ES;
    size_t key_n = base64url_size(m->segment[SEG_KEY].n);
    return (no_key ? m->segment[SEG_KEY].n == 0 : key_n > 0 && key_n <= PROOF_MAX) &&
           base64url_size(m->segment[SEG_IV].n) == m->enc->iv_n &&
           base64url_size(m->segment[SEG_TAG].n) == m->enc->proof_n;
}

enum pep_err jose_parse(struct bytes raw, struct jose *out)
{
    struct jose m = {0};
    uint8_t header[JOSE_HEADER_MAX];
    struct buf b = buf_on(header, sizeof header);
    if (raw.n > JOSE_MAX)
        return PEP_TOO_LARGE;
    size_t n = raw.n ? split(raw, m.segment) : 0;
    m.kind = n == JWS_SEGMENTS ? JOSE_JWS : n == JWE_SEGMENTS ? JOSE_JWE : JOSE_NONE;
    for (size_t i = 0; i < n; i++)
        if (!base64url_is(m.segment[i]))
            return PEP_MALFORMED;
    if (m.kind == JOSE_NONE || m.segment[SEG_HEADER].n == 0)
        return PEP_MALFORMED;
    if (!base64url_read(m.segment[SEG_HEADER], &b))
        return PEP_TOO_LARGE;
    struct json_node *h = json_doc_read(buf_bytes(&b));
    enum pep_err e = read_header(h, &m);
    json_doc_free(h);
    if (e == PEP_OK && !lengths_fit(&m))
        e = PEP_MALFORMED;
    if (e != PEP_OK)
        return e;
    m.guarded = bytes_of(raw.p, m.segment[0].n + 1 + m.segment[SEG_PAYLOAD].n);
    *out = m;
    return PEP_OK;
}

/* ---- content keys ---- */

bool jose_agree(const struct jose *m, const struct crypto_ec *theirs, struct bytes ours,
                uint8_t out[CRYPTO_CEK_MAX], size_t *n)
{
    uint8_t z[CRYPTO_COORD_MAX];
    const struct crypto_alg *user = m->alg->key_n ? m->alg : m->enc;
    bool ok =
        crypto_ecdh(theirs, ours, z) &&
        crypto_concat_kdf(bytes_of(z, theirs->n), bytes_str(user->name), bytes_of(m->apu, m->apu_n),
                          bytes_of(m->apv, m->apv_n), out, user->key_n);
    *n = user->key_n;
    crypto_wipe(z, sizeof z);
    return ok;
}

/* False: it does not come out; `cek` has what counts all the same. */
static bool bring_key(const struct jose *m, const struct key *key, struct buf *cek)
{
    uint8_t sealed[PROOF_MAX], agreed[CRYPTO_CEK_MAX];
    struct buf s = buf_on(sealed, sizeof sealed);
    size_t agreed_n = 0;
    bool ok = base64url_read(m->segment[SEG_KEY], &s);
    if (!m->alg) {
        buf_put(cek, key_secret(key));
    } else if (crypto_jose_is_rsa(m->alg)) {
        ok = ok && crypto_rsa_open(&key->rsa, buf_bytes(&s), cek);
    } else if (crypto_jose_is_ecdh(m->alg)) {
        ok = ok && m->epk.crv == key->ec.crv &&
             jose_agree(m, &m->epk, key_secret(key), agreed, &agreed_n);
        if (ok && m->alg->key_n == 0)
            buf_put(cek, bytes_of(agreed, agreed_n));
        else
            ok = ok && crypto_unwrap(bytes_of(agreed, agreed_n), buf_bytes(&s), cek);
    } else {
        ok = ok && crypto_unwrap(key_secret(key), buf_bytes(&s), cek);
    }
    crypto_wipe(agreed, sizeof agreed);
    return ok && !cek->full && cek->n == m->enc->key_n;
}

static enum pep_err open_jwe(const struct jose *m, const struct key *key, struct buf *plain,
                             struct bytes *content)
{
    uint8_t room[CRYPTO_CEK_MAX], other[CRYPTO_CEK_MAX], iv[CRYPTO_AES_IV_MAX];
    struct buf cek = buf_on(room, sizeof room), v = buf_on(iv, sizeof iv);
    /* Ciphertext and tag go where the plaintext will stand. */
    struct buf sealed = *plain;
    size_t from = plain->n;
    if (!base64url_read(m->segment[SEG_TEXT], &sealed) ||
        !base64url_read(m->segment[SEG_TAG], &sealed))
        return PEP_TOO_LARGE;
    if (!base64url_read(m->segment[SEG_IV], &v) || !crypto_random(other, sizeof other))
        return PEP_PROTECTION;
    bool ok = bring_key(m, key, &cek);
    struct bytes k = bytes_of(ok ? room : other, m->enc->key_n);
    ok = crypto_jose_open(m->enc, k, buf_bytes(&v), m->segment[SEG_HEADER],
                          bytes_of(plain->p + from, sealed.n - from), plain) &&
         ok;
    crypto_wipe(room, sizeof room);
    crypto_wipe(other, sizeof other);
    if (!ok)
        return PEP_PROTECTION;
    *content = bytes_of(plain->p + from, plain->n - from);
    return PEP_OK;
}

bool jose_peek(const struct jose *m, struct buf *plain, struct bytes *content)
{
    size_t from = plain->n;
    if (m->kind != JOSE_JWS || !base64url_read(m->segment[SEG_PAYLOAD], plain))
        return false;
    *content = bytes_of(plain->p + from, plain->n - from);
    return true;
}

enum pep_err jose_open(const struct jose *m, const struct key *key, struct buf *plain,
                       struct bytes *content)
{
    uint8_t proof[PROOF_MAX];
    struct buf p = buf_on(proof, sizeof proof);
    if (!key_can_check(key, jose_key_alg(m)))
        return PEP_PROTECTION;
    if (m->kind == JOSE_JWE)
        return open_jwe(m, key, plain, content);
    if (!base64url_read(m->segment[SEG_PROOF], &p) ||
        !key_verify(key, m->alg, &m->guarded, 1, buf_bytes(&p)))
        return PEP_PROTECTION;
    return jose_peek(m, plain, content) ? PEP_OK : PEP_TOO_LARGE;
}
