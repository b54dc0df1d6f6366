#include "crypto_rsa.h"

#include "crypto_inside.h"
#include "crypto_jose.h"

enum { E_N = 4, PEM_MAX = 8192 }; /* a private key of 4096 bits is 3.3 KB of PEM */

/* ---- keys ---- */

static void put_be32(uint32_t v, uint8_t out[E_N])
{
    for (size_t i = 0; i < E_N; i++)
        out[i] = (uint8_t)(v >> (8 * (E_N - 1 - i)));
}

static bool judge(const struct crypto_rsa *k)
{
    return k->size >= CRYPTO_RSA_MIN && k->size <= CRYPTO_RSA_MAX && k->n[0] & 0x80 &&
           k->n[k->size - 1] & 1 && k->e >= 3 && k->e & 1;
}

bool crypto_rsa_from_parts(struct bytes n, struct bytes e, struct crypto_rsa *out)
{
    struct crypto_rsa k = {.size = n.n};
    if (n.n > sizeof k.n || n.n == 0 || e.n == 0 || e.n > E_N || e.p[0] == 0)
        return false;
    memcpy(k.n, n.p, n.n);
    for (size_t i = 0; i < e.n; i++)
        k.e = k.e << 8 | e.p[i];
    if (!judge(&k))
        return false;
    *out = k;
    return true;
}

/* Into a context that was initialized; with the private half if there is one. */
static bool load(const struct crypto_rsa *k, mbedtls_rsa_context *rsa)
{
    uint8_t e[E_N];
    put_be32(k->e, e);
    return mbedtls_rsa_import_raw(rsa, k->n, k->size, k->p, k->prime_n, k->q, k->prime_n, NULL, 0,
                                  e, sizeof e) == 0 &&
           mbedtls_rsa_complete(rsa) == 0 && mbedtls_rsa_get_len(rsa) == k->size;
}

/* All of a context, the primes with `primes`. */
static bool store(const mbedtls_rsa_context *rsa, bool primes, struct crypto_rsa *out)
{
    struct crypto_rsa k = {.size = mbedtls_rsa_get_len(rsa)};
    uint8_t e[E_N];
    if (k.size < CRYPTO_RSA_MIN || k.size > CRYPTO_RSA_MAX ||
        mbedtls_rsa_export_raw(rsa, k.n, k.size, NULL, 0, NULL, 0, NULL, 0, e, sizeof e) != 0)
        return false;
    for (size_t i = 0; i < E_N; i++)
        k.e = k.e << 8 | e[i];
    k.prime_n = primes ? (k.size + 1) / 2 : 0;
    bool ok = judge(&k) && (!primes || mbedtls_rsa_export_raw(rsa, NULL, 0, k.p, k.prime_n, k.q,
                                                              k.prime_n, NULL, 0, NULL, 0) == 0);
    if (ok)
        *out = k;
    crypto_wipe(&k, sizeof k);
    return ok;
}

bool crypto_rsa_set_private(struct crypto_rsa *k, struct bytes d, struct bytes p, struct bytes q)
{
    uint8_t e[E_N];
    mbedtls_rsa_context rsa;
    put_be32(k->e, e);
    compat_rsa_init(&rsa, false, MBEDTLS_MD_NONE);
    /* mbedtls finds the primes from d; those that are given must be theirs. */
    bool ok = d.n > 0 && d.n <= k->size && !p.n == !q.n && p.n <= CRYPTO_PRIME_MAX &&
              q.n <= CRYPTO_PRIME_MAX &&
              mbedtls_rsa_import_raw(&rsa, k->n, k->size, p.p, p.n, q.p, q.n, d.p, d.n, e,
                                     sizeof e) == 0 &&
              mbedtls_rsa_complete(&rsa) == 0 && mbedtls_rsa_check_pubkey(&rsa) == 0 &&
              mbedtls_rsa_check_privkey(&rsa) == 0 && store(&rsa, true, k);
    mbedtls_rsa_free(&rsa);
    return ok;
}

bool crypto_rsa_put_private(const struct crypto_rsa *k, struct buf *d)
{
    mbedtls_rsa_context rsa;
    compat_rsa_init(&rsa, false, MBEDTLS_MD_NONE);
    uint8_t *to = k->prime_n ? buf_reserve(d, k->size) : NULL;
    bool ok = to && load(k, &rsa) &&
              mbedtls_rsa_export_raw(&rsa, NULL, 0, NULL, 0, NULL, 0, to, k->size, NULL, 0) == 0;
    mbedtls_rsa_free(&rsa);
    return ok;
}

static bool from_pem(struct bytes pem, bool private, struct crypto_rsa *out)
{
    uint8_t text[PEM_MAX];
    mbedtls_pk_context pk;
    if (pem.n == 0 || pem.n >= sizeof text || memchr(pem.p, 0, pem.n))
        return false;
    memcpy(text, pem.p, pem.n);
    text[pem.n] = 0; /* the PEM reader wants it there */
    mbedtls_pk_init(&pk);
    bool ok = (private ? compat_pk_parse_key(&pk, text, pem.n + 1, crypto_inside_rng)
                       : mbedtls_pk_parse_public_key(&pk, text, pem.n + 1)) == 0 &&
              mbedtls_pk_get_type(&pk) == MBEDTLS_PK_RSA && store(mbedtls_pk_rsa(pk), private, out);
    mbedtls_pk_free(&pk);
    crypto_wipe(text, sizeof text);
    return ok;
}

bool crypto_rsa_from_pem(struct bytes pem, struct crypto_rsa *out)
{
    return from_pem(pem, false, out);
}

bool crypto_rsa_from_private(struct bytes pem, struct crypto_rsa *out)
{
    return from_pem(pem, true, out);
}

bool crypto_rsa_generate(size_t size, struct crypto_rsa *out)
{
    mbedtls_rsa_context rsa;
    compat_rsa_init(&rsa, false, MBEDTLS_MD_NONE);
    bool ok = size >= CRYPTO_RSA_MIN && size <= CRYPTO_RSA_MAX &&
              mbedtls_rsa_gen_key(&rsa, crypto_inside_rng, NULL, (unsigned)size * 8, 65537) == 0 &&
              store(&rsa, true, out);
    mbedtls_rsa_free(&rsa);
    return ok;
}

/* ---- signatures ---- */

static bool is_pss(const struct crypto_alg *a)
{
    return a->alg <= CRYPTO_PS256 && a->alg >= CRYPTO_PS512;
}

static mbedtls_md_type_t md_of(const struct crypto_alg *a)
{
    switch (a->alg) {
    case CRYPTO_RS256:
    case CRYPTO_PS256:
        return MBEDTLS_MD_SHA256;
    case CRYPTO_RS384:
    case CRYPTO_PS384:
        return MBEDTLS_MD_SHA384;
    case CRYPTO_RS512:
    case CRYPTO_PS512:
        return MBEDTLS_MD_SHA512;
    default:
        return MBEDTLS_MD_NONE;
    }
}

static bool hash_of(const struct crypto_alg *a, const struct bytes *parts, size_t n,
                    uint8_t out[MBEDTLS_MD_MAX_SIZE], unsigned *out_n)
{
    const mbedtls_md_info_t *md = mbedtls_md_info_from_type(md_of(a));
    *out_n = md ? mbedtls_md_get_size(md) : 0;
    return md && crypto_inside_digest(md, BYTES_NONE, parts, n, out);
}

bool crypto_rsa_verify(const struct crypto_alg *a, const struct crypto_rsa *k,
                       const struct bytes *parts, size_t n, struct bytes sig)
{
    uint8_t hash[MBEDTLS_MD_MAX_SIZE];
    unsigned hash_n;
    if (sig.n != k->size || !hash_of(a, parts, n, hash, &hash_n))
        return false;
    struct crypto_rsa public = *k;
    public.prime_n = 0;
    mbedtls_rsa_context rsa;
    compat_rsa_init(&rsa, is_pss(a), md_of(a));
    bool ok = load(&public, &rsa) &&
              compat_rsa_verify(&rsa, is_pss(a), md_of(a), hash_n, hash, sig.p) == 0;
    mbedtls_rsa_free(&rsa);
    crypto_wipe(&public, sizeof public);
    return ok;
}

bool crypto_rsa_sign(const struct crypto_alg *a, const struct crypto_rsa *k,
                     const struct bytes *parts, size_t n, struct buf *sig)
{
    uint8_t hash[MBEDTLS_MD_MAX_SIZE], made[CRYPTO_RSA_MAX];
    unsigned hash_n;
    if (k->prime_n == 0 || !hash_of(a, parts, n, hash, &hash_n))
        return false;
    mbedtls_rsa_context rsa;
    compat_rsa_init(&rsa, is_pss(a), md_of(a));
    bool ok = load(k, &rsa) && compat_rsa_sign(&rsa, is_pss(a), md_of(a), hash_n, hash,
                                               crypto_inside_rng, made) == 0;
    mbedtls_rsa_free(&rsa);
    if (ok)
        buf_put(sig, bytes_of(made, k->size));
    return ok && !sig->full;
}

/* ---- content keys ---- */

bool crypto_rsa_open(const struct crypto_rsa *k, struct bytes sealed, struct buf *out)
{
    uint8_t plain[CRYPTO_RSA_MAX];
    size_t n = 0;
    if (k->prime_n == 0 || sealed.n != k->size)
        return false;
    mbedtls_rsa_context rsa;
    compat_rsa_init(&rsa, true, MBEDTLS_MD_SHA256);
    bool ok = load(k, &rsa) &&
              compat_rsa_oaep_open(&rsa, crypto_inside_rng, &n, sealed.p, plain, sizeof plain) == 0;
    mbedtls_rsa_free(&rsa);
    if (ok)
        buf_put(out, bytes_of(plain, n));
    crypto_wipe(plain, sizeof plain);
    return ok && !out->full;
}

bool crypto_rsa_seal(const struct crypto_rsa *k, struct bytes plain, struct buf *out)
{
    uint8_t made[CRYPTO_RSA_MAX];
    struct crypto_rsa public = *k;
    public.prime_n = 0;
    mbedtls_rsa_context rsa;
    compat_rsa_init(&rsa, true, MBEDTLS_MD_SHA256);
    bool ok = load(&public, &rsa) &&
              compat_rsa_oaep_seal(&rsa, crypto_inside_rng, plain.n, plain.p, made) == 0;
    mbedtls_rsa_free(&rsa);
    crypto_wipe(&public, sizeof public);
    if (ok)
        buf_put(out, bytes_of(made, k->size));
    return ok && !out->full;
}
