#include "jwk.h"

#include "base64url.h"
#include "crypto_jose.h"

static const struct {
    const char *name;
    int crv;
} curves[] = {{"P-256", CRYPTO_P256}, {"P-384", CRYPTO_P384}, {"P-521", CRYPTO_P521}};

/* ---- reading ---- */

/* A member as bytes into `out`; *n is 0 when it is not there. False: there,
 * but no strict base64url, or too long. */
static bool take(const struct json_node *jwk, const char *name, uint8_t *out, size_t cap, size_t *n)
{
    const struct json_node *v = json_node_get(jwk, name);
    struct bytes text;
    struct buf b = buf_on(out, cap);
    *n = 0;
    if (!v)
        return true;
    if (!json_node_text(v, &text) || !base64url_read(text, &b) || b.n == 0)
        return false;
    *n = b.n;
    return true;
}

static bool read_ec(const struct json_node *jwk, struct key *k, const char **why)
{
    struct bytes name = BYTES_NONE;
    uint8_t x[CRYPTO_COORD_MAX], y[CRYPTO_COORD_MAX];
    size_t x_n, y_n;
    int crv = 0;
    struct crypto_ec of_d;
    if (!json_node_text(json_node_get(jwk, "crv"), &name))
        name = BYTES_NONE;
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
        if (bytes_equal_str(name, curves[i].name))
            crv = curves[i].crv;
    *why = "crv is none of P-256, P-384, P-521";
    if (crv == 0)
        return false;
    *why = "x and y are not a point of their curve";
    if (!take(jwk, "x", x, sizeof x, &x_n) || !take(jwk, "y", y, sizeof y, &y_n) ||
        !crypto_ec_from_xy(crv, bytes_of(x, x_n), bytes_of(y, y_n), &k->ec))
        return false;
    *why = "d is not the private key of x and y";
    if (!take(jwk, "d", k->secret, sizeof k->secret, &k->secret_n) ||
        (k->secret_n && (!crypto_ec_of_secret(crv, key_secret(k), &of_d) ||
                         memcmp(of_d.point, k->ec.point, 1 + 2 * of_d.n) != 0)))
        return false;
    k->has_secret = k->secret_n > 0;
    k->kind = KEY_EC;
    return true;
}

static bool read_rsa(const struct json_node *jwk, struct key *k, const char **why)
{
    uint8_t n[CRYPTO_RSA_MAX], e[4], d[CRYPTO_RSA_MAX], p[CRYPTO_PRIME_MAX], q[CRYPTO_PRIME_MAX];
    size_t n_n, e_n, d_n, p_n, q_n;
    *why = "n and e are no RSA key of 2048 to 4096 bits";
    if (!take(jwk, "n", n, sizeof n, &n_n) || !take(jwk, "e", e, sizeof e, &e_n) ||
        !crypto_rsa_from_parts(bytes_of(n, n_n), bytes_of(e, e_n), &k->rsa))
        return false;
    *why = "d is not the private key of n and e";
    bool ok = take(jwk, "d", d, sizeof d, &d_n) && take(jwk, "p", p, sizeof p, &p_n) &&
              take(jwk, "q", q, sizeof q, &q_n) && !json_node_get(jwk, "oth") &&
              (d_n > 0 || (p_n == 0 && q_n == 0));
    if (ok && d_n)
        ok = crypto_rsa_set_private(&k->rsa, bytes_of(d, d_n), bytes_of(p, p_n), bytes_of(q, q_n));
    crypto_wipe(d, sizeof d);
    crypto_wipe(p, sizeof p);
    crypto_wipe(q, sizeof q);
    k->has_secret = ok && d_n > 0;
    k->kind = KEY_RSA;
    return ok;
}

static bool read_okp(const struct json_node *jwk, struct key *k, const char **why)
{
    struct bytes crv;
    uint8_t of_d[CRYPTO_ED25519_KEY];
    size_t x_n;
    *why = "crv is not Ed25519";
    if (!json_node_text(json_node_get(jwk, "crv"), &crv) || !bytes_equal_str(crv, "Ed25519"))
        return false;
    *why = "x is not 32 bytes";
    if (!take(jwk, "x", k->ed25519, sizeof k->ed25519, &x_n) || x_n != sizeof k->ed25519)
        return false;
    *why = "d is not the private key of x";
    if (!take(jwk, "d", k->secret, sizeof k->secret, &k->secret_n) ||
        (k->secret_n &&
         (k->secret_n != CRYPTO_ED25519_KEY || !crypto_ed25519_of_secret(k->secret, of_d) ||
          memcmp(of_d, k->ed25519, sizeof of_d) != 0)))
        return false;
    k->has_secret = k->secret_n > 0;
    k->kind = KEY_ED25519;
    return true;
}

static bool read_oct(const struct json_node *jwk, size_t min, struct key *k, const char **why)
{
    *why = "k is too short, or longer than 66 bytes";
    if (!take(jwk, "k", k->secret, sizeof k->secret, &k->secret_n) || k->secret_n < min ||
        k->secret_n == 0)
        return false;
    k->has_secret = true;
    k->kind = KEY_SECRET;
    return true;
}

enum { OP_NONE = 1 }; /* bit 0 is no operation: with it alone, none is allowed */

/* RFC 7517 4.3: a MAC is a signature there. */
static const struct {
    const char *name;
    uint32_t ops;
} operations[] = {
    {"sign", 1u << COSE_OP_SIGN | 1u << COSE_OP_MAC_CREATE},
    {"verify", 1u << COSE_OP_VERIFY | 1u << COSE_OP_MAC_VERIFY},
    {"encrypt", 1u << COSE_OP_ENCRYPT},
    {"decrypt", 1u << COSE_OP_DECRYPT},
    {"wrapKey", 1u << COSE_OP_WRAP},
    {"unwrapKey", 1u << COSE_OP_UNWRAP},
    {"deriveKey", 1u << COSE_OP_DERIVE_KEY},
    {"deriveBits", 1u << COSE_OP_DERIVE_BITS},
};

static const uint32_t ops_sig =
    1u << COSE_OP_SIGN | 1u << COSE_OP_MAC_CREATE | 1u << COSE_OP_VERIFY | 1u << COSE_OP_MAC_VERIFY;
static const uint32_t ops_enc = 1u << COSE_OP_ENCRYPT | 1u << COSE_OP_DECRYPT | 1u << COSE_OP_WRAP |
                                1u << COSE_OP_UNWRAP | 1u << COSE_OP_DERIVE_KEY |
                                1u << COSE_OP_DERIVE_BITS;

static bool read_ops(const struct json_node *jwk, struct key *k)
{
    const struct json_node *use = json_node_get(jwk, "use"), *list = json_node_get(jwk, "key_ops");
    struct bytes word;
    uint32_t ops = 0;
    if (use) {
        if (!json_node_text(use, &word))
            return false;
        /* A use that we do not know is none that we may make of it. */
        k->ops = OP_NONE | (bytes_equal_str(word, "sig")   ? ops_sig
                            : bytes_equal_str(word, "enc") ? ops_enc
                                                           : 0);
    }
    if (!list)
        return true;
    if (json_node_kind(list) != JSON_NODE_ARRAY)
        return false;
    for (size_t i = 0; i < json_node_count(list); i++) {
        if (!json_node_text(json_node_at(list, i), &word))
            return false;
        for (size_t o = 0; o < sizeof operations / sizeof *operations; o++)
            if (bytes_equal_str(word, operations[o].name))
                ops |= operations[o].ops;
    }
    k->ops = OP_NONE | (use ? k->ops & ops : ops);
    return true;
}

/* The algorithm, and what it means for operations that were not named. */
static bool read_alg(const struct json_node *jwk, struct key *k)
{
    const struct json_node *v = json_node_get(jwk, "alg");
    struct bytes name;
    uint32_t ops = ops_enc;
    if (!v)
        return true;
    if (!json_node_text(v, &name))
        return false;
    if (bytes_equal_str(name, "dir")) {
        /* The content algorithm is told by the token, and by the length. */
        if (k->kind != KEY_SECRET)
            return false;
        ops = 1u << COSE_OP_ENCRYPT | 1u << COSE_OP_DECRYPT;
    } else {
        const struct crypto_alg *a = crypto_jose_named(name);
        struct key any = {
            .kind = k->kind, .has_secret = true, .secret_n = k->secret_n, .ec = {.crv = k->ec.crv}};
        if (!a || !key_can_check(&any, a))
            return false;
        k->alg = a->alg;
        if (a->class == CRYPTO_SIGN || a->class == CRYPTO_MAC)
            ops = ops_sig;
    }
    k->ops = k->ops ? k->ops & (OP_NONE | ops) : OP_NONE | ops;
    return true;
}

static bool read_kid(const struct json_node *jwk, struct key *k)
{
    const struct json_node *v = json_node_get(jwk, "kid");
    struct bytes kid;
    if (!v)
        return true;
    if (!json_node_text(v, &kid) || kid.n == 0 || kid.n > sizeof k->kid)
        return false;
    memcpy(k->kid, kid.p, kid.n);
    k->kid_n = kid.n;
    return true;
}

bool jwk_read(const struct json_node *jwk, size_t min, struct key *out, const char **why)
{
    struct key k = {.authority = -1};
    struct bytes kty = BYTES_NONE;
    bool ok = false;
    *why = "not a JWK: kty is none of EC, RSA, OKP, oct";
    if (!json_node_text(json_node_get(jwk, "kty"), &kty))
        kty = BYTES_NONE;
    if (bytes_equal_str(kty, "EC"))
        ok = read_ec(jwk, &k, why);
    else if (bytes_equal_str(kty, "RSA"))
        ok = read_rsa(jwk, &k, why);
    else if (bytes_equal_str(kty, "OKP"))
        ok = read_okp(jwk, &k, why);
    else if (bytes_equal_str(kty, "oct"))
        ok = read_oct(jwk, min, &k, why);
    if (ok && !read_kid(jwk, &k)) {
        *why = "kid is no text of 1 to 64 bytes";
        ok = false;
    }
    if (ok && !read_ops(jwk, &k)) {
        *why = "use or key_ops has the wrong type";
        ok = false;
    }
    if (ok && !read_alg(jwk, &k)) {
        *why = "alg is not one that is spoken here, or does not fit the key";
        ok = false;
    }
    if (ok)
        *out = k;
    key_clear(&k);
    return ok;
}

static bool read_each(const struct json_node *list, enum jwk_set_kind kind, struct key *out,
                      size_t max, size_t *n, const char **why, size_t *which)
{
    size_t count = json_node_kind(list) == JSON_NODE_ARRAY ? json_node_count(list) : 0, from = *n;
    for (size_t i = 0; i < count; i++) {
        struct key k;
        *which = i + 1;
        if (*n == max) {
            *why = "there are more keys than can be held";
            return false;
        }
        if (!jwk_read(json_node_at(list, i), KEY_SECRET_MIN, &k, why)) {
            if (kind == JWK_SET_FETCHED)
                continue;
            return false;
        }
        k.fetched = kind == JWK_SET_FETCHED;
        if (!(k.fetched && k.has_secret))
            out[(*n)++] = k;
        key_clear(&k);
    }
    *which = 0;
    *why = "holds no key that could be used";
    return *n > from;
}

bool jwk_read_set(struct bytes text, enum jwk_set_kind kind, struct key *out, size_t max, size_t *n,
                  const char **why, size_t *which)
{
    struct json_node *doc = json_doc_read(text);
    size_t from = *n;
    bool ok = false;
    *which = 0;
    *why = "is not well-formed JSON with each name once";
    if (json_node_get(doc, "keys"))
        ok = read_each(json_node_get(doc, "keys"), kind, out, max, n, why, which);
    else if (doc && kind == JWK_SET_FETCHED) /* an error page may be JSON too */
        *why = "is no JWK Set";
    else if (doc && *n == max)
        *why = "there are more keys than can be held";
    else if (doc && (ok = jwk_read(doc, KEY_SECRET_MIN, &out[*n], why)))
        ++*n;
    json_doc_free(doc);
    while (!ok && *n > from)
        key_clear(&out[--*n]);
    return ok;
}

/* ---- writing ---- */

static void put_member(struct buf *out, const char *name, struct bytes value)
{
    if (out->n && out->p[out->n - 1] != '{')
        buf_put_u8(out, ',');
    buf_put_u8(out, '"');
    buf_put_str(out, name);
    buf_put_str(out, "\":\"");
    buf_put(out, value);
    buf_put_u8(out, '"');
}

static void put_bytes(struct buf *out, const char *name, struct bytes value)
{
    put_member(out, name, BYTES_NONE);
    if (out->full)
        return;
    out->n--; /* the closing quote */
    base64url_put(out, value);
    buf_put_u8(out, '"');
}

static const char *curve_name(int crv)
{
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
        if (curves[i].crv == crv)
            return curves[i].name;
    return "";
}

static struct bytes exponent(const struct crypto_rsa *k, uint8_t e[4])
{
    size_t skip = 0;
    for (size_t i = 0; i < 4; i++)
        e[i] = (uint8_t)(k->e >> (8 * (3 - i)));
    while (skip < 3 && e[skip] == 0)
        skip++;
    return bytes_of(e + skip, 4 - skip);
}

/* The members that a thumbprint is taken of, in their order (RFC 7638 3.2);
 * `other` goes where it stands between them. */
static void put_required(const struct key *k, struct buf *out)
{
    uint8_t e[4];
    switch (k->kind) {
    case KEY_EC:
        put_member(out, "crv", bytes_str(curve_name(k->ec.crv)));
        put_member(out, "kty", BYTES_LIT("EC"));
        put_bytes(out, "x", crypto_ec_x(&k->ec));
        put_bytes(out, "y", crypto_ec_y(&k->ec));
        break;
    case KEY_RSA:
        put_bytes(out, "e", exponent(&k->rsa, e));
        put_member(out, "kty", BYTES_LIT("RSA"));
        put_bytes(out, "n", crypto_rsa_n(&k->rsa));
        break;
    case KEY_ED25519:
        put_member(out, "crv", BYTES_LIT("Ed25519"));
        put_member(out, "kty", BYTES_LIT("OKP"));
        put_bytes(out, "x", bytes_of(k->ed25519, sizeof k->ed25519));
        break;
    case KEY_SECRET:
        put_bytes(out, "k", key_secret(k));
        put_member(out, "kty", BYTES_LIT("oct"));
        break;
    case KEY_NONE:
        out->full = true;
        break;
    }
}

bool jwk_thumbprint(const struct key *k, uint8_t out[CRYPTO_SHA256])
{
    uint8_t text[1024];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, '{');
    put_required(k, &b);
    buf_put_u8(&b, '}');
    bool ok = !b.full && crypto_sha256(buf_bytes(&b), out);
    crypto_wipe(text, sizeof text);
    return ok;
}

bool jwk_thumbprint_ec(const struct crypto_ec *ec, uint8_t out[CRYPTO_SHA256])
{
    struct key k = {.kind = KEY_EC, .ec = *ec};
    return jwk_thumbprint(&k, out);
}

bool jwk_thumbprint_secret(struct bytes secret, uint8_t out[CRYPTO_SHA256])
{
    struct key k = {.kind = KEY_SECRET, .secret_n = secret.n};
    if (secret.n == 0 || secret.n > sizeof k.secret)
        return false;
    memcpy(k.secret, secret.p, secret.n);
    bool ok = jwk_thumbprint(&k, out);
    key_clear(&k);
    return ok;
}

/* Kids of ours are plain; what would need escapes in JSON is left out, and a
 * key without a kid is found all the same. */
static bool is_plain(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return s.n > 0;
}

void jwk_put(const struct key *k, bool secret, struct buf *out)
{
    const struct crypto_alg *a = k->alg ? crypto_jose_of(k->alg) : NULL;
    buf_put_u8(out, '{');
    put_required(k, out);
    if (is_plain(key_kid(k)))
        put_member(out, "kid", key_kid(k));
    if (a)
        put_member(out, "alg", bytes_str(a->name));
    if (secret && k->has_secret && (k->kind == KEY_EC || k->kind == KEY_ED25519))
        put_bytes(out, "d", key_secret(k));
    if (secret && k->kind == KEY_RSA && k->rsa.prime_n) {
        uint8_t room[CRYPTO_RSA_MAX];
        struct buf d = buf_on(room, sizeof room);
        if (!crypto_rsa_put_private(&k->rsa, &d))
            out->full = true;
        put_bytes(out, "d", buf_bytes(&d));
        put_bytes(out, "p", bytes_of(k->rsa.p, k->rsa.prime_n));
        put_bytes(out, "q", bytes_of(k->rsa.q, k->rsa.prime_n));
        crypto_wipe(room, sizeof room);
    }
    buf_put_u8(out, '}');
}
