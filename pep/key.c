#include "key.h"

#include "cbor.h"
#include "crypto_jose.h"

/* RFC 9052 table 4, RFC 9053 tables 18 and 21 */
enum label {
    LABEL_KTY = 1,
    LABEL_KID = 2,
    LABEL_ALG = 3,
    LABEL_OPS = 4,
    LABEL_K = -1,
    LABEL_CRV = -1,
    LABEL_X = -2,
    LABEL_Y = -3,
    LABEL_D = -4,
};

static uint32_t read_ops(struct cbor *c)
{
    uint32_t ops = 1; /* bit 0 is no operation: a list of none allows none */
    size_t n = cbor_take_array(c);
    for (size_t i = 0; i < n && !c->bad; i++) {
        struct bytes one = cbor_skip(c);
        struct cbor inner = cbor_on(one);
        struct cbor_item op;
        if (cbor_next(&inner, &op) && op.kind == CBOR_UINT && op.n > 0 && op.n < 32)
            ops |= UINT32_C(1) << op.n;
    }
    return ops;
}

bool cose_key_parse(struct bytes item, struct cose_key *out, const char **why)
{
    struct cose_key k = {0};
    if (cbor_check(item) != CBOR_OK) {
        *why = "not well-formed CBOR";
        return false;
    }
    /* Labels below zero depend on kty, which may come after them. */
    struct cbor c = cbor_on(item);
    size_t n = cbor_take_map(&c);
    if (c.bad) {
        *why = "not a COSE_Key map";
        return false;
    }
    struct cbor first = c;
    for (size_t i = 0; i < n && !c.bad; i++) {
        if (cbor_take_key(&c) == LABEL_KTY)
            k.kty = cbor_take_int(&c);
        else
            (void)cbor_skip(&c);
    }
    if (c.bad || (k.kty != COSE_KTY_EC2 && k.kty != COSE_KTY_SYMMETRIC)) {
        *why = "kty is neither 2 (EC2) nor 4 (symmetric)";
        return false;
    }
    bool ec = k.kty == COSE_KTY_EC2;
    c = first;
    *why = "a parameter of the COSE_Key has the wrong type";
    for (size_t i = 0; i < n && !c.bad; i++) {
        int64_t label = cbor_take_key(&c);
        if (label == LABEL_KID) {
            k.kid = cbor_take_bytes(&c);
        } else if (label == LABEL_ALG) {
            k.alg = cbor_take_int(&c);
            c.bad = c.bad || k.alg == 0;
        } else if (label == LABEL_OPS) {
            k.ops = read_ops(&c);
        } else if (label == LABEL_CRV && ec) {
            k.crv = cbor_take_int(&c);
        } else if (label == LABEL_K && !ec) {
            k.k = cbor_take_bytes(&c);
            k.has_k = true;
        } else if (label == LABEL_X && ec) {
            k.x = cbor_take_bytes(&c);
        } else if (label == LABEL_Y && ec) {
            /* RFC 9053 7.1.1 has a compressed form, a boolean: nobody has
             * been seen to send it, and 2.28 cannot read it. */
            if (cbor_peek(&c) == CBOR_BOOL)
                *why = "y is compressed; only uncompressed points are read";
            k.y = cbor_take_bytes(&c);
        } else if (label == LABEL_D && ec) {
            k.d = cbor_take_bytes(&c);
            k.has_d = true;
        } else {
            (void)cbor_skip(&c);
        }
    }
    if (!cbor_done(&c))
        return false;
    if (k.kid.n > TOKEN_KID_MAX) {
        *why = "kid is longer than 64 bytes";
        return false;
    }
    *out = k;
    return true;
}

void key_clear(struct key *k)
{
    crypto_wipe(k, sizeof *k);
}

static bool from_ec(const struct cose_key *v, struct key *k, const char **why)
{
    size_t n = v->crv >= 0 && v->crv <= CRYPTO_P521 ? crypto_curve_n((int)v->crv) : 0;
    if (n == 0) {
        *why = "crv is none of 1 (P-256), 2 (P-384), 3 (P-521)";
        return false;
    }
    if (v->has_d) {
        if (!crypto_ec_of_secret((int)v->crv, v->d, &k->ec)) {
            *why = "d is not a private key of its curve";
            return false;
        }
        if ((v->x.n || v->y.n) &&
            (!bytes_equal(v->x, crypto_ec_x(&k->ec)) || !bytes_equal(v->y, crypto_ec_y(&k->ec)))) {
            *why = "x and y do not belong to d";
            return false;
        }
        memcpy(k->secret, v->d.p, v->d.n);
        k->secret_n = v->d.n;
        k->has_secret = true;
    } else if (!crypto_ec_from_xy((int)v->crv, v->x, v->y, &k->ec)) {
        *why = "x and y are not a point of their curve";
        return false;
    }
    k->kind = KEY_EC;
    return true;
}

static bool from_symmetric(const struct cose_key *v, struct key *k, const char **why)
{
    if (v->k.n < KEY_SECRET_MIN || v->k.n > sizeof k->secret) {
        *why = "k is shorter than 16 or longer than 66 bytes";
        return false;
    }
    memcpy(k->secret, v->k.p, v->k.n);
    k->secret_n = v->k.n;
    k->has_secret = true;
    k->kind = KEY_SECRET;
    return true;
}

/* A key that names an algorithm which it can never serve is a mistake. */
static bool alg_suits(const struct key *k, const char **why)
{
    if (k->alg == 0 || (k->alg == KEY_ALG_DERIVATION && k->kind == KEY_SECRET))
        return true;
    const struct crypto_alg *a = crypto_alg(k->alg);
    struct key any_op = *k;
    any_op.ops = 0;
    bool ok = a && key_can_check(&any_op, a);
    key_clear(&any_op);
    if (!ok)
        *why = a ? "alg does not fit the key" : "alg is not one that is spoken here";
    return ok;
}

bool key_from_cose(struct bytes item, struct key *out, const char **why)
{
    struct cose_key v;
    struct key k = {.authority = -1};
    if (!cose_key_parse(item, &v, why))
        return false;
    bool ok = true;
    if (v.alg < INT16_MIN || v.alg > INT16_MAX) {
        *why = "alg is not one that is spoken here";
        ok = false;
    }
    k.alg = ok ? (int)v.alg : 0;
    k.ops = v.ops;
    k.kid_n = v.kid.n;
    if (v.kid.n)
        memcpy(k.kid, v.kid.p, v.kid.n);
    ok = ok && (v.kty == COSE_KTY_EC2 ? from_ec(&v, &k, why) : from_symmetric(&v, &k, why)) &&
         alg_suits(&k, why);
    if (ok)
        *out = k;
    key_clear(&k);
    return ok;
}

void key_put_cose(const struct key *k, bool secret, struct buf *out)
{
    bool d = k->kind == KEY_EC && k->has_secret && secret;
    size_t n = 1u + (k->kid_n != 0) + (k->alg != 0) + (k->kind == KEY_EC ? 3u : 1u) + d;
    cbor_put_map(out, n);
    cbor_put_int(out, LABEL_KTY);
    cbor_put_int(out, k->kind == KEY_EC ? COSE_KTY_EC2 : COSE_KTY_SYMMETRIC);
    if (k->kid_n) {
        cbor_put_int(out, LABEL_KID);
        cbor_put_bytes(out, key_kid(k));
    }
    if (k->alg) {
        cbor_put_int(out, LABEL_ALG);
        cbor_put_int(out, k->alg);
    }
    if (k->kind == KEY_EC) {
        cbor_put_int(out, LABEL_CRV);
        cbor_put_int(out, k->ec.crv);
        cbor_put_int(out, LABEL_X);
        cbor_put_bytes(out, crypto_ec_x(&k->ec));
        cbor_put_int(out, LABEL_Y);
        cbor_put_bytes(out, crypto_ec_y(&k->ec));
        if (d) {
            cbor_put_int(out, LABEL_D);
            cbor_put_bytes(out, key_secret(k));
        }
    } else {
        cbor_put_int(out, LABEL_K);
        cbor_put_bytes(out, key_secret(k));
    }
}

static bool fits(const struct key *k, const struct crypto_alg *a)
{
    if (k->alg != 0 && k->alg != a->alg)
        return false;
    switch (a->class) {
    case CRYPTO_SIGN:
        return a->crv == 0                ? k->kind == KEY_RSA
               : a->crv == CRYPTO_ED25519 ? k->kind == KEY_ED25519
                                          : k->kind == KEY_EC && k->ec.crv == a->crv;
    case CRYPTO_MAC: /* RFC 7518 3.2 knows no exception */
        return k->kind == KEY_SECRET && (k->secret_n >= a->key_n || (k->alg == a->alg && !a->jose));
    case CRYPTO_AEAD:
        return k->kind == KEY_SECRET && k->secret_n == a->key_n;
    case CRYPTO_WRAP:
        return crypto_jose_is_rsa(a)    ? k->kind == KEY_RSA
               : crypto_jose_is_ecdh(a) ? k->kind == KEY_EC
                                        : k->kind == KEY_SECRET && k->secret_n == a->key_n;
    default:
        return false;
    }
}

enum {
    OPS_OPEN = 1u << COSE_OP_DECRYPT | 1u << COSE_OP_UNWRAP | 1u << COSE_OP_DERIVE_KEY |
               1u << COSE_OP_DERIVE_BITS,
    OPS_DERIVE = 1u << COSE_OP_DERIVE_KEY | 1u << COSE_OP_DERIVE_BITS,
    OPS_SIGN = 1u << COSE_OP_SIGN | 1u << COSE_OP_VERIFY,
};

static bool allows(const struct key *k, unsigned op)
{
    return k->ops == 0 || (k->ops & UINT32_C(1) << op);
}

/* RFC 7517 4.3: what bringing a content key is called depends on how. */
static bool allows_wrap(const struct key *k, const struct crypto_alg *a, bool open)
{
    uint32_t wrap = 1u << (open ? COSE_OP_UNWRAP : COSE_OP_WRAP);
    uint32_t crypt = 1u << (open ? COSE_OP_DECRYPT : COSE_OP_ENCRYPT);
    uint32_t any = crypto_jose_is_ecdh(a)  ? OPS_DERIVE
                   : crypto_jose_is_rsa(a) ? wrap | crypt
                                           : wrap;
    return k->ops == 0 || k->ops & any;
}

bool key_can_check(const struct key *k, const struct crypto_alg *a)
{
    if (!fits(k, a))
        return false;
    switch (a->class) {
    case CRYPTO_SIGN: /* who may sign has a public half that verifies */
        return allows(k, COSE_OP_VERIFY) || (k->has_secret && allows(k, COSE_OP_SIGN));
    case CRYPTO_MAC:
        return allows(k, COSE_OP_MAC_VERIFY) || allows(k, COSE_OP_MAC_CREATE);
    case CRYPTO_WRAP:
        return k->has_secret && allows_wrap(k, a, true);
    default:
        return allows(k, COSE_OP_DECRYPT);
    }
}

bool key_can_make(const struct key *k, const struct crypto_alg *a)
{
    if (!fits(k, a))
        return false;
    if (a->class == CRYPTO_WRAP) /* a public key will do, where there is one */
        return allows_wrap(k, a, false);
    return k->has_secret && allows(k, a->class == CRYPTO_SIGN  ? COSE_OP_SIGN
                                      : a->class == CRYPTO_MAC ? COSE_OP_MAC_CREATE
                                                               : COSE_OP_ENCRYPT);
}

bool key_is_recipient(const struct key *k)
{
    return (k->kind == KEY_EC || k->kind == KEY_RSA) && k->has_secret && k->ops & OPS_OPEN &&
           !(k->ops & OPS_SIGN);
}

/* EdDSA reads its message twice, so it must lie in one piece. JOSE's does. */
static bool in_one_piece(const struct bytes *parts, size_t n, struct bytes *out)
{
    *out = n ? parts[0] : BYTES_NONE;
    return n <= 1;
}

bool key_verify(const struct key *k, const struct crypto_alg *a, const struct bytes *parts,
                size_t n, struct bytes proof)
{
    struct bytes whole;
    if (!key_can_check(k, a))
        return false;
    if (a->class == CRYPTO_MAC)
        return crypto_mac_verify(a, key_secret(k), parts, n, proof);
    if (a->class != CRYPTO_SIGN)
        return false;
    switch (k->kind) {
    case KEY_EC:
        return crypto_verify(a, &k->ec, parts, n, proof);
    case KEY_RSA:
        return crypto_rsa_verify(a, &k->rsa, parts, n, proof);
    case KEY_ED25519:
        return in_one_piece(parts, n, &whole) && crypto_ed25519_verify(k->ed25519, whole, proof);
    default:
        return false;
    }
}

bool key_sign(const struct key *k, const struct crypto_alg *a, const struct bytes *parts, size_t n,
              struct buf *proof)
{
    struct bytes whole;
    if (!key_can_make(k, a))
        return false;
    if (a->class == CRYPTO_MAC)
        return crypto_mac(a, key_secret(k), parts, n, proof);
    if (a->class != CRYPTO_SIGN)
        return false;
    switch (k->kind) {
    case KEY_EC:
        return crypto_sign(a, key_secret(k), parts, n, proof);
    case KEY_RSA:
        return crypto_rsa_sign(a, &k->rsa, parts, n, proof);
    case KEY_ED25519:
        return in_one_piece(parts, n, &whole) && crypto_ed25519_sign(k->secret, whole, proof);
    default:
        return false;
    }
}

bool key_generate(int alg, struct bytes kid, struct key *out)
{
    enum { KID_FRESH = 8 };
    const struct crypto_alg *a = crypto_alg(alg);
    struct key k = {.authority = -1, .alg = alg, .has_secret = true};
    bool ok = (a || alg == KEY_ALG_DERIVATION) && kid.n <= TOKEN_KID_MAX;
    k.kid_n = kid.n ? kid.n : KID_FRESH;
    if (ok && kid.n)
        memcpy(k.kid, kid.p, kid.n);
    else if (ok)
        ok = crypto_random(k.kid, KID_FRESH);
    if (ok && a && a->class == CRYPTO_SIGN) {
        k.kind = KEY_EC;
        k.secret_n = a->key_n;
        ok = crypto_ec_generate(a->crv, &k.ec, k.secret);
    } else if (ok) {
        k.kind = KEY_SECRET;
        k.secret_n = a ? a->key_n : CRYPTO_SHA256;
        ok = crypto_random(k.secret, k.secret_n);
    }
    if (ok)
        *out = k;
    key_clear(&k);
    return ok;
}
