#include "jwt.h"

#include "base64url.h"
#include "cwt.h"
#include "jwk.h"

/* ---- protection ---- */

static bool is_allowed(const struct keys *keys, int authority, enum policy_class class,
                       const struct jose *m)
{
    return (!m->alg || keys_allow(keys, authority, class, m->alg)) &&
           (m->kind != JOSE_JWE || keys_allow(keys, authority, class, m->enc));
}

/* The key that opens the message, among those of `authority` (-1: all). */
static enum pep_err open_with_any(const struct keys *keys, int authority, enum policy_class class,
                                  const struct jose *m, struct buf *plain, struct bytes *content,
                                  int *whose)
{
    struct keys_found found;
    keys_find(keys, authority, jose_key_alg(m), jose_kid(m), &found);
    if (found.n == 0) /* the kid is known, but its key is for something else */
        return found.kid_known ? PEP_PROTECTION : PEP_UNKNOWN_KEY;
    enum pep_err e = PEP_PROTECTION;
    for (size_t i = 0; i < found.n; i++) {
        if (!is_allowed(keys, found.key[i]->authority, class, m))
            continue;
        e = jose_open(m, found.key[i], plain, content);
        if (e == PEP_OK) {
            *whose = found.key[i]->authority;
            return PEP_OK;
        }
    }
    return e;
}

/* `innermost`: this layer holds the claims. */
static enum pep_err check_types(const struct jose *m, enum jwt_kind kind, bool innermost)
{
    bool plain = m->typ == JOSE_TYP_ABSENT || m->typ == JOSE_TYP_JWT;
    bool ok = kind == JWT_ACCESS_TOKEN ? plain || m->typ == JOSE_TYP_ACCESS_TOKEN
                                       : m->typ == JOSE_TYP_INTROSPECTION || (plain && !innermost);
    return ok && m->cty == (innermost ? JOSE_CTY_ABSENT : JOSE_CTY_JWT) ? PEP_OK : PEP_UNSUPPORTED;
}

/* By the length of a symmetric key, whoever made it had that key. */
static bool is_shared(const struct jose *m)
{
    return !m->alg || (!crypto_jose_is_rsa(m->alg) && !crypto_jose_is_ecdh(m->alg));
}

enum pep_err jwt_open(const struct keys *keys, int authority, enum jwt_kind kind, struct bytes raw,
                      struct buf *plain, struct jwt_opened *out)
{
    struct jose m;
    struct jwt_opened o = {.authority = -1};
    enum pep_err e = jose_parse(raw, &m);
    if (e != PEP_OK)
        return e;
    o.encrypted = m.kind == JOSE_JWE;
    bool nested = o.encrypted && m.cty == JOSE_CTY_JWT;
    enum policy_class class = nested ? POLICY_NESTED : o.encrypted ? POLICY_JWE : POLICY_JWS;
    e = check_types(&m, kind, !nested);
    if (e == PEP_OK && o.encrypted && !nested && !is_shared(&m))
        e = PEP_PROTECTION;
    if (e == PEP_OK)
        e = open_with_any(keys, authority, class, &m, plain, &o.content, &o.authority);
    if (e != PEP_OK)
        return e;
    if (nested) {
        int whose;
        e = jose_parse(o.content, &m);
        if (e != PEP_OK)
            return e == PEP_MALFORMED ? PEP_CLAIMS : e;
        if (m.kind == JOSE_JWE)
            return PEP_TOO_DEEP;
        e = check_types(&m, kind, true);
        if (e != PEP_OK)
            return e;
        /* The payload is decoded where it stands. Both keys must be of one
         * authority: a stranger to its encryption key cannot pass its token
         * off as another's secret one. */
        struct buf there = *plain;
        there.n = (size_t)(m.segment[1].p - plain->p);
        e = open_with_any(keys, o.authority, class, &m, &there, &o.content, &whose);
        if (e != PEP_OK)
            return e;
        plain->n = there.n;
    }
    *out = o;
    return PEP_OK;
}

/* ---- claims ---- */

/* The slice lives in `plain` from now on. */
static bool keep(const struct jwt_source *from, struct bytes s, struct bytes *out)
{
    size_t at = from->plain->n;
    buf_put(from->plain, s);
    *out = bytes_of(from->plain->p + at, s.n);
    return !from->plain->full;
}

static bool keep_text(const struct jwt_source *from, const struct json_node *v, struct bytes *out)
{
    struct bytes text;
    return json_node_text(v, &text) && keep(from, text, out);
}

/* A claim that may be missing. */
static bool read_text(const struct jwt_source *from, const struct json_node *o, const char *name,
                      struct bytes *out)
{
    const struct json_node *v = json_node_get(o, name);
    return !v || keep_text(from, v, out);
}

/* NumericDate (RFC 7519 2): before 1970 nobody issued tokens; after 9999
 * stands who counts in milliseconds. The comparison keeps out NaN. */
static bool read_time(const struct json_node *o, const char *name, bool up, bool *has, int64_t *out)
{
    const struct json_node *v = json_node_get(o, name);
    double f;
    if (!v)
        return true;
    *has = true;
    if (json_node_int(v, out))
        return *out >= 0 && *out <= CWT_TIME_MAX;
    if (!json_node_number(v, &f) || !(f >= 0 && f <= (double)CWT_TIME_MAX))
        return false;
    *out = (int64_t)f;
    if (up && (double)*out < f)
        ++*out;
    return true;
}

static bool read_aud(const struct jwt_source *from, const struct json_node *v, struct claims *out)
{
    if (!v)
        return true;
    if (json_node_kind(v) != JSON_NODE_ARRAY) {
        out->n_aud = 1;
        return keep_text(from, v, &out->aud[0]);
    }
    if (json_node_count(v) > TOKEN_AUD_MAX)
        return false;
    out->n_aud = json_node_count(v);
    for (size_t i = 0; i < out->n_aud; i++)
        if (!keep_text(from, json_node_at(v, i), &out->aud[i]))
            return false;
    return true;
}

/* RFC 9237 2 and 3, in JSON: [[path, mask], ...]. */
static bool read_aif(const struct jwt_source *from, const struct json_node *v, struct claims *out)
{
    out->n_aif = json_node_count(v);
    if (out->n_aif > TOKEN_AIF_MAX)
        return false;
    for (size_t i = 0; i < out->n_aif; i++) {
        const struct json_node *pair = json_node_at(v, i);
        struct policy_aif *a = &out->aif[i];
        int64_t mask;
        if (json_node_kind(pair) != JSON_NODE_ARRAY || json_node_count(pair) != 2 ||
            !keep_text(from, json_node_at(pair, 0), &a->path) || a->path.n == 0 ||
            a->path.p[0] != '/' || !json_node_int(json_node_at(pair, 1), &mask) || mask < 0)
            return false;
        a->mask = (uint64_t)mask;
    }
    return true;
}

/* Some issuers write the words as an array. Each entry must be one word, so
 * it says what the text would have said. */
static bool join_words(const struct jwt_source *from, const struct json_node *v, struct bytes *out)
{
    size_t at = from->plain->n;
    for (size_t i = 0; i < json_node_count(v); i++) {
        struct bytes word;
        if (!json_node_text(json_node_at(v, i), &word) || word.n == 0 ||
            memchr(word.p, ' ', word.n))
            return false;
        if (i)
            buf_put_u8(from->plain, ' ');
        buf_put(from->plain, word);
    }
    *out = bytes_of(from->plain->p + at, from->plain->n - at);
    return !from->plain->full;
}

static bool read_scope(const struct jwt_source *from, const struct json_node *v, struct claims *out)
{
    if (!v)
        return true;
    out->has_scope = true;
    if (json_node_kind(v) == JSON_NODE_TEXT)
        return keep_text(from, v, &out->scope_words) && token_is_words(out->scope_words);
    if (json_node_kind(v) != JSON_NODE_ARRAY)
        return false;
    if (json_node_kind(json_node_at(v, 0)) == JSON_NODE_TEXT)
        return join_words(from, v, &out->scope_words) && token_is_words(out->scope_words);
    return read_aif(from, v, out);
}

/* ---- the proof key (RFC 7800 3) ---- */

static bool read_kid(const struct jwt_source *from, const struct json_node *v, struct cnf *out)
{
    return keep_text(from, v, &out->kid) && out->kid.n > 0 && out->kid.n <= TOKEN_KID_MAX;
}

static enum pep_err read_jwk(const struct json_node *jwk, const struct jwt_source *from,
                             bool sealed, struct cnf *out)
{
    const struct json_node *kid = json_node_get(jwk, "kid");
    struct bytes kty;
    struct key k;
    const char *why;
    if (kid && !read_kid(from, kid, out))
        return PEP_CONFIRMATION;
    /* A kid and no key: a reference, as an update of rights is (RFC 9202 4). */
    if (kid && json_node_text(json_node_get(jwk, "kty"), &kty) && bytes_equal_str(kty, "oct") &&
        !json_node_get(jwk, "k")) {
        out->kind = CNF_KID;
        return PEP_OK;
    }
    if (!jwk_read(jwk, CWT_PROOF_KEY_MIN, &k, &why))
        return PEP_CONFIRMATION;
    bool ok = false;
    if (k.kind == KEY_SECRET) {
        /* A secret that everybody on the way could read proves nothing (RFC
         * 7800 3.2: it must be encrypted). */
        ok = sealed && k.secret_n <= sizeof out->key;
        if (ok) {
            out->kind = CNF_SYMMETRIC;
            memcpy(out->key, k.secret, k.secret_n);
            out->key_n = k.secret_n;
        }
    } else if (k.kind == KEY_EC && !k.has_secret) {
        /* A private half has no business in a token. Other kinds of key
         * cannot be proved in our handshakes. */
        out->kind = CNF_EC;
        out->crv = k.ec.crv;
        ok = keep(from, crypto_ec_x(&k.ec), &out->x) && keep(from, crypto_ec_y(&k.ec), &out->y);
    }
    key_clear(&k);
    return ok ? PEP_OK : PEP_CONFIRMATION;
}

/* RFC 7800 3.3. */
static enum pep_err read_jwe(const struct json_node *v, const struct jwt_source *from,
                             struct cnf *out)
{
    struct jose m;
    struct bytes text, plain = BYTES_NONE;
    int whose;
    if (!json_node_text(v, &text) || jose_parse(text, &m) != PEP_OK || m.kind != JOSE_JWE)
        return PEP_CONFIRMATION;
    if (!from->keys) {
        out->kind = CNF_SYMMETRIC; /* there is one; it stays closed */
        return PEP_OK;
    }
    uint8_t room[TOKEN_MAX];
    struct buf b = buf_on(room, sizeof room);
    struct json_node *jwk = NULL;
    /* A key in a token that was encrypted once or not at all. */
    if (open_with_any(from->keys, from->authority, POLICY_JWE, &m, &b, &plain, &whose) == PEP_OK)
        jwk = json_doc_read(plain);
    enum pep_err e = jwk ? read_jwk(jwk, from, true, out) : PEP_CONFIRMATION;
    if (e == PEP_OK && out->kind != CNF_SYMMETRIC)
        e = PEP_CONFIRMATION;
    json_doc_free(jwk);
    crypto_wipe(room, sizeof room);
    return e;
}

static enum pep_err read_digest(const struct json_node *v, enum cnf_kind kind, struct cnf *out)
{
    struct bytes text;
    struct buf b = buf_on(out->key, sizeof out->key);
    if (!json_node_text(v, &text) || !base64url_read(text, &b) || b.n != CRYPTO_SHA256)
        return PEP_CONFIRMATION;
    out->kind = kind;
    out->key_n = b.n;
    return PEP_OK;
}

enum pep_err jwt_read_cnf(const struct json_node *cnf, const struct jwt_source *from,
                          struct cnf *out)
{
    const struct json_node *v;
    if (!cnf)
        return PEP_OK;
    /* RFC 7800 3.1: one key. Several methods in one cnf can only agree or
     * contradict each other; neither needs an answer. */
    if (json_node_kind(cnf) != JSON_NODE_OBJECT || json_node_count(cnf) != 1)
        return PEP_CONFIRMATION;
    if ((v = json_node_get(cnf, "jwk")))
        return read_jwk(v, from, from->encrypted, out);
    if ((v = json_node_get(cnf, "jwe")))
        return read_jwe(v, from, out);
    if ((v = json_node_get(cnf, "x5t#S256")))
        return read_digest(v, CNF_X5T, out);
    if ((v = json_node_get(cnf, "jkt")))
        return read_digest(v, CNF_JKT, out);
    if ((v = json_node_get(cnf, "kid")) && read_kid(from, v, out)) {
        out->kind = CNF_KID;
        return PEP_OK;
    }
    /* jku among them: we fetch no keys that a token names. */
    return PEP_CONFIRMATION;
}

/* ---- all of them ---- */

enum pep_err jwt_read_claims(const struct json_node *o, const struct jwt_source *from,
                             struct claims *out)
{
    struct claims c = {0};
    bool has_exi = false;
    if (json_node_kind(o) != JSON_NODE_OBJECT)
        return PEP_CLAIMS;
    c.has_iss = json_node_get(o, "iss") != NULL;
    enum pep_err e = PEP_CLAIMS;
    bool ok = read_text(from, o, "iss", &c.iss) && read_text(from, o, "sub", &c.sub) &&
              read_text(from, o, "jti", &c.cti) && read_text(from, o, "cnonce", &c.cnonce) &&
              read_aud(from, json_node_get(o, "aud"), &c) &&
              read_time(o, "exp", false, &c.has_exp, &c.exp_s) &&
              read_time(o, "nbf", true, &c.has_nbf, &c.nbf_s) &&
              read_time(o, "iat", false, &c.has_iat, &c.iat_s) &&
              read_time(o, "exi", false, &has_exi, &c.exi_s);
    c.has_exi = has_exi;
    /* A client's own token may have no subject but the client (RFC 9068 2.2
     * wants both; introspection has client_id, RFC 7662 2.2). */
    if (ok && c.sub.n == 0)
        ok = read_text(from, o, "client_id", &c.sub);
    if (ok)
        e = read_scope(from, json_node_get(o, "scope"), &c) ? PEP_OK : PEP_SCOPE;
    if (e == PEP_OK)
        e = jwt_read_cnf(json_node_get(o, "cnf"), from, &c.cnf);
    if (e == PEP_OK)
        *out = c;
    crypto_wipe(c.cnf.key, sizeof c.cnf.key);
    return e;
}

enum pep_err jwt_read(struct bytes content, const struct jwt_source *from, struct claims *out)
{
    struct json_node *doc = json_doc_read(content);
    struct buf *plain = from->plain;
    if (doc && content.p >= plain->p && content.p <= plain->p + plain->n)
        plain->n = (size_t)(content.p - plain->p);
    enum pep_err e = jwt_read_claims(doc, from, out);
    json_doc_free(doc);
    return e;
}
