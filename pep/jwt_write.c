#include "jwt.h"

#include <stdio.h>

#include "base64url.h"
#include "jwk.h"

static void put_name(struct buf *out, const char *name)
{
    if (out->n && out->p[out->n - 1] != '{')
        buf_put_u8(out, ',');
    buf_put_u8(out, '"');
    buf_put_str(out, name);
    buf_put_str(out, "\":");
}

/* Texts of claims are UTF-8 already. */
static void put_text(struct buf *out, struct bytes s)
{
    char escape[8];
    buf_put_u8(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            buf_put_u8(out, '\\');
        if (s.p[i] >= 0x20) {
            buf_put_u8(out, s.p[i]);
        } else {
            (void)snprintf(escape, sizeof escape, "\\u%04x", s.p[i]);
            buf_put_str(out, escape);
        }
    }
    buf_put_u8(out, '"');
}

static void put_binary(struct buf *out, const char *name, struct bytes s)
{
    put_name(out, name);
    buf_put_u8(out, '"');
    base64url_put(out, s);
    buf_put_u8(out, '"');
}

static void put_number(struct buf *out, uint64_t n)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    buf_put_str(out, text);
}

static void put_time(struct buf *out, const char *name, bool has, int64_t s)
{
    if (!has)
        return;
    put_name(out, name);
    put_number(out, (uint64_t)s);
}

static void put_string(struct buf *out, const char *name, struct bytes s)
{
    if (!s.n)
        return;
    put_name(out, name);
    put_text(out, s);
}

/* What a CWT has as bytes and a JWT as text. */
static bool is_text(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 0x80 || s.p[i] == 0)
            return false;
    return true;
}

static void put_aud(const struct claims *c, struct buf *out)
{
    put_name(out, "aud");
    if (c->n_aud != 1)
        buf_put_u8(out, '[');
    for (size_t i = 0; i < c->n_aud; i++) {
        if (i)
            buf_put_u8(out, ',');
        put_text(out, c->aud[i]);
    }
    if (c->n_aud != 1)
        buf_put_u8(out, ']');
}

static void put_scope(const struct claims *c, struct buf *out)
{
    put_name(out, "scope");
    if (c->n_aif == 0) {
        put_text(out, c->scope_words);
        return;
    }
    for (size_t i = 0; i < c->n_aif; i++) {
        buf_put_str(out, i ? ",[" : "[[");
        put_text(out, c->aif[i].path);
        buf_put_u8(out, ',');
        put_number(out, c->aif[i].mask);
        buf_put_u8(out, ']');
    }
    buf_put_u8(out, ']');
}

static bool put_jwk(const struct cnf *k, struct buf *out)
{
    struct crypto_ec ec;
    put_name(out, "jwk");
    buf_put_u8(out, '{');
    if (k->kind == CNF_EC) {
        uint8_t text[512];
        struct key key = {.kind = KEY_EC};
        struct buf b = buf_on(text, sizeof text);
        if (!crypto_ec_from_xy(k->crv, k->x, k->y, &ec))
            return false;
        key.ec = ec;
        jwk_put(&key, false, &b);
        struct bytes whole = buf_bytes(&b);
        if (whole.n < 2)
            return false;
        buf_put(out, bytes_of(whole.p + 1, whole.n - 2)); /* without its braces */
    } else {
        put_string(out, "kty", BYTES_LIT("oct"));
        put_binary(out, "k", bytes_of(k->key, k->key_n));
    }
    put_string(out, "kid", k->kid);
    buf_put_u8(out, '}');
    return true;
}

bool jwt_put_cnf(const struct cnf *k, struct buf *out)
{
    bool ok = is_text(k->kid);
    put_name(out, "cnf");
    buf_put_u8(out, '{');
    switch (k->kind) {
    case CNF_EC:
    case CNF_SYMMETRIC:
        ok = ok && put_jwk(k, out);
        break;
    case CNF_KID:
        put_string(out, "kid", k->kid);
        break;
    case CNF_X5T:
        put_binary(out, "x5t#S256", bytes_of(k->key, k->key_n));
        break;
    case CNF_JKT:
        put_binary(out, "jkt", bytes_of(k->key, k->key_n));
        break;
    case CNF_NONE:
    case CNF_DERIVED:
    case CNF_HOLDER:
        ok = false;
        break;
    }
    buf_put_u8(out, '}');
    return ok;
}

enum pep_err jwt_write(const struct claims *c, struct buf *out)
{
    if (!is_text(c->cti) || !is_text(c->cnonce))
        return PEP_CONFIRMATION;
    buf_put_u8(out, '{');
    if (c->has_iss) {
        put_name(out, "iss");
        put_text(out, c->iss);
    }
    put_string(out, "sub", c->sub);
    if (c->n_aud)
        put_aud(c, out);
    put_time(out, "exp", c->has_exp, c->exp_s);
    put_time(out, "nbf", c->has_nbf, c->nbf_s);
    put_time(out, "iat", c->has_iat, c->iat_s);
    put_time(out, "exi", c->has_exi, c->exi_s);
    put_string(out, "jti", c->cti);
    put_string(out, "cnonce", c->cnonce);
    if (c->has_scope)
        put_scope(c, out);
    if (c->cnf.kind != CNF_NONE && !jwt_put_cnf(&c->cnf, out))
        return PEP_CONFIRMATION;
    buf_put_u8(out, '}');
    return out->full ? PEP_TOO_LARGE : PEP_OK;
}

/* ---- minting ---- */

static const struct crypto_alg *choose_proof(const struct key *k, int alg)
{
    const struct crypto_alg *a;
    for (size_t i = 0; (a = crypto_jose_at(i)); i++)
        if ((a->class == CRYPTO_SIGN || a->class == CRYPTO_MAC) && (!alg || a->alg == alg) &&
            key_can_make(k, a))
            return a;
    return NULL;
}

/* A public key wraps; a shared one is the content key itself unless it says
 * otherwise. *enc is what it then protects with. */
static bool choose_seal(const struct key *k, int alg, const struct crypto_alg **wrap,
                        const struct crypto_alg **enc)
{
    const struct crypto_alg *a;
    *wrap = *enc = NULL;
    for (size_t i = 0; (a = crypto_jose_at(i)) && !*enc; i++)
        if (a->class == CRYPTO_AEAD && (!alg || a->alg == alg) && key_can_make(k, a))
            *enc = a;
    for (size_t i = 0; (a = crypto_jose_at(i)) && !*enc; i++)
        if (a->class == CRYPTO_WRAP && (!alg || a->alg == alg) && key_can_make(k, a)) {
            *wrap = a;
            *enc = crypto_jose_named(BYTES_LIT("A256GCM"));
        }
    return *enc != NULL;
}

enum pep_err jwt_protect(struct bytes content, const struct jwt_types *typ,
                         const struct jwt_maker *with, struct buf *out)
{
    uint8_t room[TOKEN_MAX];
    struct buf inner = buf_on(room, sizeof room);
    const struct crypto_alg *proof = NULL, *wrap = NULL, *enc = NULL;
    if (with->proof)
        proof = choose_proof(with->proof, with->proof_alg);
    if (with->seal && !choose_seal(with->seal, with->seal_alg, &wrap, &enc))
        return PEP_UNSUPPORTED;
    if (!proof != !with->proof || (!proof && !enc))
        return PEP_UNSUPPORTED;
    size_t from = out->n;
    enum pep_err e = PEP_OK;
    if (proof)
        e = jose_sign(proof, with->proof, typ->jws, content, enc ? &inner : out);
    if (e == PEP_OK && enc)
        e = jose_seal(wrap, enc, with->seal, typ->jwe, proof ? "JWT" : NULL,
                      proof ? buf_bytes(&inner) : content, out);
    if (e == PEP_OK && (out->full || out->n - from > TOKEN_MAX))
        e = PEP_TOO_LARGE;
    crypto_wipe(room, sizeof room);
    return e;
}

enum pep_err jwt_mint(const struct claims *c, const struct jwt_maker *with, struct buf *out)
{
    static const struct jwt_types access = {.jws = "at+jwt"}; /* RFC 9068 2.1 */
    uint8_t room[TOKEN_MAX];
    struct buf content = buf_on(room, sizeof room);
    if (c->cnf.kind == CNF_SYMMETRIC && !with->seal)
        return PEP_CONFIRMATION;
    enum pep_err e = jwt_write(c, &content);
    if (e == PEP_OK)
        e = jwt_protect(buf_bytes(&content), &access, with, out);
    crypto_wipe(room, sizeof room);
    return e;
}
