#include "crypto.h"

#include <errno.h>
#include <sys/random.h>

#include <mbedtls/ccm.h>
#include <mbedtls/constant_time.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/gcm.h>
#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>

#include "crypto_inside.h"

/* RFC 9053 2.1, 3.1, 4.1, 4.2 */
static const struct crypto_alg algs[] = {
    {-7, CRYPTO_SIGN, "ES256", CRYPTO_P256, 32, 0, 64, false},
    {-35, CRYPTO_SIGN, "ES384", CRYPTO_P384, 48, 0, 96, false},
    {-36, CRYPTO_SIGN, "ES512", CRYPTO_P521, 66, 0, 132, false},
    {4, CRYPTO_MAC, "HMAC 256/64", 0, 32, 0, 8, false},
    {5, CRYPTO_MAC, "HMAC 256/256", 0, 32, 0, 32, false},
    {6, CRYPTO_MAC, "HMAC 384/384", 0, 48, 0, 48, false},
    {7, CRYPTO_MAC, "HMAC 512/512", 0, 64, 0, 64, false},
    {1, CRYPTO_AEAD, "A128GCM", 0, 16, 12, 16, false},
    {2, CRYPTO_AEAD, "A192GCM", 0, 24, 12, 16, false},
    {3, CRYPTO_AEAD, "A256GCM", 0, 32, 12, 16, false},
    {10, CRYPTO_AEAD, "AES-CCM-16-64-128", 0, 16, 13, 8, false},
    {11, CRYPTO_AEAD, "AES-CCM-16-64-256", 0, 32, 13, 8, false},
    {12, CRYPTO_AEAD, "AES-CCM-64-64-128", 0, 16, 7, 8, false},
    {13, CRYPTO_AEAD, "AES-CCM-64-64-256", 0, 32, 7, 8, false},
    {30, CRYPTO_AEAD, "AES-CCM-16-128-128", 0, 16, 13, 16, false},
    {31, CRYPTO_AEAD, "AES-CCM-16-128-256", 0, 32, 13, 16, false},
    {32, CRYPTO_AEAD, "AES-CCM-64-128-128", 0, 16, 7, 16, false},
    {33, CRYPTO_AEAD, "AES-CCM-64-128-256", 0, 32, 7, 16, false},
};

static const struct curve {
    int crv;
    mbedtls_ecp_group_id id;
    size_t n;
} curves[] = {
    {CRYPTO_P256, MBEDTLS_ECP_DP_SECP256R1, 32},
    {CRYPTO_P384, MBEDTLS_ECP_DP_SECP384R1, 48},
    {CRYPTO_P521, MBEDTLS_ECP_DP_SECP521R1, 66},
};

const struct crypto_alg *crypto_alg_at(size_t i)
{
    return i < sizeof algs / sizeof *algs ? &algs[i] : NULL;
}

const struct crypto_alg *crypto_alg(int alg)
{
    for (size_t i = 0; i < sizeof algs / sizeof *algs; i++)
        if (algs[i].alg == alg)
            return &algs[i];
    return NULL;
}

static const struct curve *curve_of(int crv)
{
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
        if (curves[i].crv == crv)
            return &curves[i];
    return NULL;
}

size_t crypto_curve_n(int crv)
{
    const struct curve *c = curve_of(crv);
    return c ? c->n : 0;
}

static bool is_gcm(const struct crypto_alg *a)
{
    return a->iv_n == 12;
}

static const mbedtls_md_info_t *md_of(const struct crypto_alg *a)
{
    switch (a->alg) {
    case -7:
    case 4:
    case 5:
        return mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    case -35:
    case 6:
        return mbedtls_md_info_from_type(MBEDTLS_MD_SHA384);
    case -36:
    case 7:
        return mbedtls_md_info_from_type(MBEDTLS_MD_SHA512);
    default:
        return NULL;
    }
}

void crypto_wipe(void *p, size_t n)
{
    if (n)
        mbedtls_platform_zeroize(p, n);
}

bool crypto_equal(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || mbedtls_ct_memcmp(a.p, b.p, a.n) == 0);
}

bool crypto_random(void *to, size_t n)
{
    uint8_t *p = to;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

int crypto_inside_rng(void *ctx, unsigned char *to, size_t n)
{
    (void)ctx;
    return crypto_random(to, n) ? 0 : MBEDTLS_ERR_ECP_RANDOM_FAILED;
}

/* ---- hashes and MACs ---- */

bool crypto_sha256(struct bytes in, uint8_t out[CRYPTO_SHA256])
{
    return mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), in.p, in.n, out) == 0;
}

bool crypto_inside_digest(const mbedtls_md_info_t *md, struct bytes key, const struct bytes *parts,
                          size_t n, uint8_t out[MBEDTLS_MD_MAX_SIZE])
{
    mbedtls_md_context_t ctx;
    bool mac = key.n != 0;
    mbedtls_md_init(&ctx);
    bool ok = md && mbedtls_md_setup(&ctx, md, mac) == 0 &&
              (mac ? mbedtls_md_hmac_starts(&ctx, key.p, key.n) : mbedtls_md_starts(&ctx)) == 0;
    for (size_t i = 0; ok && i < n; i++)
        if (parts[i].n)
            ok = (mac ? mbedtls_md_hmac_update(&ctx, parts[i].p, parts[i].n)
                      : mbedtls_md_update(&ctx, parts[i].p, parts[i].n)) == 0;
    ok = ok && (mac ? mbedtls_md_hmac_finish(&ctx, out) : mbedtls_md_finish(&ctx, out)) == 0;
    mbedtls_md_free(&ctx);
    return ok;
}

static bool mac_of(const struct crypto_alg *a, struct bytes key, const struct bytes *parts,
                   size_t n, uint8_t out[MBEDTLS_MD_MAX_SIZE])
{
    return a->class == CRYPTO_MAC && key.n && crypto_inside_digest(md_of(a), key, parts, n, out);
}

bool crypto_mac(const struct crypto_alg *a, struct bytes key, const struct bytes *parts, size_t n,
                struct buf *tag)
{
    uint8_t full[MBEDTLS_MD_MAX_SIZE];
    bool ok = mac_of(a, key, parts, n, full);
    if (ok)
        buf_put(tag, bytes_of(full, a->proof_n));
    crypto_wipe(full, sizeof full);
    return ok && !tag->full;
}

bool crypto_mac_verify(const struct crypto_alg *a, struct bytes key, const struct bytes *parts,
                       size_t n, struct bytes tag)
{
    uint8_t full[MBEDTLS_MD_MAX_SIZE];
    bool ok = tag.n == a->proof_n && mac_of(a, key, parts, n, full) &&
              crypto_equal(bytes_of(full, a->proof_n), tag);
    crypto_wipe(full, sizeof full);
    return ok;
}

bool crypto_hkdf_sha256(struct bytes salt, struct bytes ikm, struct bytes info, uint8_t *out,
                        size_t n)
{
    return mbedtls_hkdf(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), salt.p, salt.n, ikm.p, ikm.n,
                        info.p, info.n, out, n) == 0;
}

/* ---- AEAD ---- */

static bool fits(const struct crypto_alg *a, struct bytes key, struct bytes iv)
{
    return a->class == CRYPTO_AEAD && key.n == a->key_n && iv.n == a->iv_n;
}

static unsigned bits(struct bytes key)
{
    return (unsigned)key.n * 8;
}

bool crypto_open(const struct crypto_alg *a, struct bytes key, struct bytes iv, struct bytes aad,
                 struct bytes sealed, struct buf *out)
{
    if (!fits(a, key, iv) || sealed.n < a->proof_n)
        return false;
    size_t n = sealed.n - a->proof_n;
    const uint8_t *tag = sealed.p + n;
    uint8_t none; /* for an empty plaintext at the end of the storage */
    uint8_t *to = buf_reserve(out, n);
    if (!to)
        return false;
    if (n == 0)
        to = &none;
    bool ok;
    if (is_gcm(a)) {
        mbedtls_gcm_context g;
        mbedtls_gcm_init(&g);
        ok = mbedtls_gcm_setkey(&g, MBEDTLS_CIPHER_ID_AES, key.p, bits(key)) == 0 &&
             mbedtls_gcm_auth_decrypt(&g, n, iv.p, iv.n, aad.p, aad.n, tag, a->proof_n, sealed.p,
                                      to) == 0;
        mbedtls_gcm_free(&g);
    } else {
        mbedtls_ccm_context c;
        mbedtls_ccm_init(&c);
        ok = mbedtls_ccm_setkey(&c, MBEDTLS_CIPHER_ID_AES, key.p, bits(key)) == 0 &&
             mbedtls_ccm_auth_decrypt(&c, n, iv.p, iv.n, aad.p, aad.n, sealed.p, to, tag,
                                      a->proof_n) == 0;
        mbedtls_ccm_free(&c);
    }
    if (!ok) {
        crypto_wipe(to, n);
        out->n -= n;
    }
    return ok;
}

bool crypto_seal(const struct crypto_alg *a, struct bytes key, struct bytes iv, struct bytes aad,
                 struct bytes plain, struct buf *out)
{
    if (!fits(a, key, iv))
        return false;
    size_t n = plain.n + a->proof_n;
    uint8_t *to = buf_reserve(out, n);
    if (!to)
        return false;
    bool ok;
    if (is_gcm(a)) {
        mbedtls_gcm_context g;
        mbedtls_gcm_init(&g);
        ok = mbedtls_gcm_setkey(&g, MBEDTLS_CIPHER_ID_AES, key.p, bits(key)) == 0 &&
             mbedtls_gcm_crypt_and_tag(&g, MBEDTLS_GCM_ENCRYPT, plain.n, iv.p, iv.n, aad.p, aad.n,
                                       plain.p, to, a->proof_n, to + plain.n) == 0;
        mbedtls_gcm_free(&g);
    } else {
        mbedtls_ccm_context c;
        mbedtls_ccm_init(&c);
        ok = mbedtls_ccm_setkey(&c, MBEDTLS_CIPHER_ID_AES, key.p, bits(key)) == 0 &&
             mbedtls_ccm_encrypt_and_tag(&c, plain.n, iv.p, iv.n, aad.p, aad.n, plain.p, to,
                                         to + plain.n, a->proof_n) == 0;
        mbedtls_ccm_free(&c);
    }
    if (!ok) {
        crypto_wipe(to, n);
        out->n -= n;
    }
    return ok;
}

/* ---- elliptic curves ---- */

/* What every operation on a curve needs; one init and one free. */
struct ec {
    mbedtls_ecp_group grp;
    mbedtls_ecp_point q;
    mbedtls_mpi d, r, s;
};

static bool ec_init(struct ec *e, int crv)
{
    const struct curve *c = curve_of(crv);
    mbedtls_ecp_group_init(&e->grp);
    mbedtls_ecp_point_init(&e->q);
    mbedtls_mpi_init(&e->d);
    mbedtls_mpi_init(&e->r);
    mbedtls_mpi_init(&e->s);
    return c && mbedtls_ecp_group_load(&e->grp, c->id) == 0;
}

static void ec_free(struct ec *e)
{
    mbedtls_ecp_group_free(&e->grp);
    mbedtls_ecp_point_free(&e->q);
    mbedtls_mpi_free(&e->d);
    mbedtls_mpi_free(&e->r);
    mbedtls_mpi_free(&e->s);
}

static size_t point_n(size_t coord_n)
{
    return 1 + 2 * coord_n;
}

static bool ec_set_point(struct ec *e, const uint8_t *point, size_t n)
{
    return mbedtls_ecp_point_read_binary(&e->grp, &e->q, point, n) == 0 &&
           mbedtls_ecp_check_pubkey(&e->grp, &e->q) == 0;
}

static bool ec_get_point(struct ec *e, const mbedtls_ecp_point *q, int crv, struct crypto_ec *out)
{
    struct crypto_ec k = {.crv = crv, .n = crypto_curve_n(crv)};
    size_t got;
    if (mbedtls_ecp_check_pubkey(&e->grp, q) != 0 ||
        mbedtls_ecp_point_write_binary(&e->grp, q, MBEDTLS_ECP_PF_UNCOMPRESSED, &got, k.point,
                                       sizeof k.point) != 0 ||
        got != point_n(k.n))
        return false;
    *out = k;
    return true;
}

bool crypto_ec_from_xy(int crv, struct bytes x, struct bytes y, struct crypto_ec *out)
{
    struct crypto_ec k = {.crv = crv, .n = crypto_curve_n(crv)};
    if (k.n == 0 || x.n != k.n || y.n != k.n)
        return false;
    k.point[0] = 4;
    memcpy(k.point + 1, x.p, k.n);
    memcpy(k.point + 1 + k.n, y.p, k.n);
    struct ec e;
    bool ok = ec_init(&e, crv) && ec_set_point(&e, k.point, point_n(k.n));
    ec_free(&e);
    if (ok)
        *out = k;
    return ok;
}

static bool from_pk(mbedtls_pk_context *pk, struct crypto_ec *out, uint8_t *d)
{
    if (!mbedtls_pk_can_do(pk, MBEDTLS_PK_ECKEY))
        return false;
    const struct curve *c = NULL;
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
        if (curves[i].id == COMPAT_EC_FIELD(pk, grp).id)
            c = &curves[i];
    struct ec e;
    bool ok = c && ec_init(&e, c->crv);
    if (ok)
        ok = ec_get_point(&e, &COMPAT_EC_FIELD(pk, Q), c->crv, out);
    if (ok && d)
        ok = mbedtls_mpi_write_binary(&COMPAT_EC_FIELD(pk, d), d, c->n) == 0;
    if (c)
        ec_free(&e);
    return ok;
}

bool crypto_ec_from_spki(struct bytes der, struct crypto_ec *out)
{
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    bool ok = mbedtls_pk_parse_public_key(&pk, der.p, der.n) == 0 && from_pk(&pk, out, NULL);
    mbedtls_pk_free(&pk);
    return ok;
}

enum { PEM_MAX = 2048 }; /* a P-521 private key is under 400 bytes */

/* The PEM reader wants a NUL behind the text. */
static bool terminated(struct bytes pem, uint8_t out[PEM_MAX])
{
    if (pem.n >= PEM_MAX || memchr(pem.p, 0, pem.n))
        return false;
    memcpy(out, pem.p, pem.n);
    out[pem.n] = 0;
    return true;
}

bool crypto_ec_from_pem(struct bytes pem, struct crypto_ec *out)
{
    uint8_t text[PEM_MAX];
    if (pem.n == 0 || !terminated(pem, text))
        return false;
    return crypto_ec_from_spki(bytes_of(text, pem.n + 1), out);
}

bool crypto_ec_from_private(struct bytes in, struct crypto_ec *out, uint8_t d[CRYPTO_COORD_MAX])
{
    uint8_t text[PEM_MAX];
    struct bytes der = in;
    if (in.n == 0)
        return false;
    if (in.p[0] == '-') {
        if (!terminated(in, text))
            return false;
        der = bytes_of(text, in.n + 1);
    }
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    bool ok =
        compat_pk_parse_key(&pk, der.p, der.n, crypto_inside_rng) == 0 && from_pk(&pk, out, d);
    mbedtls_pk_free(&pk);
    crypto_wipe(text, sizeof text);
    return ok;
}

bool crypto_ec_of_secret(int crv, struct bytes d, struct crypto_ec *out)
{
    struct ec e;
    bool ok = ec_init(&e, crv) && d.n == crypto_curve_n(crv) &&
              mbedtls_mpi_read_binary(&e.d, d.p, d.n) == 0 &&
              mbedtls_ecp_check_privkey(&e.grp, &e.d) == 0 &&
              mbedtls_ecp_mul(&e.grp, &e.q, &e.d, &e.grp.G, crypto_inside_rng, NULL) == 0 &&
              ec_get_point(&e, &e.q, crv, out);
    ec_free(&e);
    return ok;
}

bool crypto_ec_generate(int crv, struct crypto_ec *out, uint8_t d[CRYPTO_COORD_MAX])
{
    struct ec e;
    bool ok = ec_init(&e, crv) &&
              mbedtls_ecp_gen_keypair(&e.grp, &e.d, &e.q, crypto_inside_rng, NULL) == 0 &&
              ec_get_point(&e, &e.q, crv, out) &&
              mbedtls_mpi_write_binary(&e.d, d, crypto_curve_n(crv)) == 0;
    ec_free(&e);
    return ok;
}

bool crypto_ecdh(const struct crypto_ec *key, struct bytes d, uint8_t out[CRYPTO_COORD_MAX])
{
    struct ec e;
    bool ok = ec_init(&e, key->crv) && d.n == key->n &&
              ec_set_point(&e, key->point, point_n(key->n)) &&
              mbedtls_mpi_read_binary(&e.d, d.p, d.n) == 0 &&
              mbedtls_ecp_check_privkey(&e.grp, &e.d) == 0 &&
              mbedtls_ecdh_compute_shared(&e.grp, &e.r, &e.q, &e.d, crypto_inside_rng, NULL) == 0 &&
              mbedtls_mpi_write_binary(&e.r, out, key->n) == 0;
    ec_free(&e);
    return ok;
}

bool crypto_verify(const struct crypto_alg *a, const struct crypto_ec *key,
                   const struct bytes *parts, size_t n, struct bytes sig)
{
    if (a->class != CRYPTO_SIGN || key->crv != a->crv || sig.n != a->proof_n)
        return false;
    const mbedtls_md_info_t *md = md_of(a);
    uint8_t hash[MBEDTLS_MD_MAX_SIZE];
    size_t half = sig.n / 2;
    struct ec e;
    bool ok = ec_init(&e, key->crv) && crypto_inside_digest(md, BYTES_NONE, parts, n, hash) &&
              mbedtls_ecp_point_read_binary(&e.grp, &e.q, key->point, point_n(key->n)) == 0 &&
              mbedtls_mpi_read_binary(&e.r, sig.p, half) == 0 &&
              mbedtls_mpi_read_binary(&e.s, sig.p + half, half) == 0 &&
              mbedtls_ecdsa_verify(&e.grp, hash, mbedtls_md_get_size(md), &e.q, &e.r, &e.s) == 0;
    ec_free(&e);
    return ok;
}

bool crypto_sign(const struct crypto_alg *a, struct bytes d, const struct bytes *parts, size_t n,
                 struct buf *sig)
{
    if (a->class != CRYPTO_SIGN || d.n != a->key_n)
        return false;
    const mbedtls_md_info_t *md = md_of(a);
    uint8_t hash[MBEDTLS_MD_MAX_SIZE];
    size_t half = a->proof_n / 2;
    struct ec e;
    bool ok = ec_init(&e, a->crv) && crypto_inside_digest(md, BYTES_NONE, parts, n, hash) &&
              mbedtls_mpi_read_binary(&e.d, d.p, d.n) == 0 &&
              mbedtls_ecp_check_privkey(&e.grp, &e.d) == 0 &&
              mbedtls_ecdsa_sign_det_ext(&e.grp, &e.r, &e.s, &e.d, hash, mbedtls_md_get_size(md),
                                         mbedtls_md_get_type(md), crypto_inside_rng, NULL) == 0;
    uint8_t *to = ok ? buf_reserve(sig, a->proof_n) : NULL;
    ok = to && mbedtls_mpi_write_binary(&e.r, to, half) == 0 &&
         mbedtls_mpi_write_binary(&e.s, to + half, half) == 0;
    ec_free(&e);
    return ok;
}
