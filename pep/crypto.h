/* The few cryptographic operations that tokens need, by COSE algorithm
 * number (RFC 9053). The one adapter to mbedcrypto.
 *
 * Everything is stateless and may be called from any thread. Keys are plain
 * values of the caller, who wipes them. Whatever goes wrong inside, a lack of
 * memory included, reads as "not verified": false, and outputs are unwritten
 * or wiped.
 */
#ifndef POSTERN_CRYPTO_H
#define POSTERN_CRYPTO_H

#include "../policy/bytes.h"

enum crypto_limits {
    CRYPTO_COORD_MAX = 66,                       /* P-521 */
    CRYPTO_POINT_MAX = 1 + 2 * CRYPTO_COORD_MAX, /* 04, x, y */
    CRYPTO_SIG_MAX = 2 * CRYPTO_COORD_MAX,
    CRYPTO_MAC_MAX = 64,
    CRYPTO_SECRET_MAX = 66, /* the longest private or symmetric key: P-521, HMAC 512/512 */
    CRYPTO_SHA256 = 32,
};

/* RFC 9053 7.1 */
enum crypto_curve { CRYPTO_P256 = 1, CRYPTO_P384 = 2, CRYPTO_P521 = 3 };

enum crypto_class {
    CRYPTO_NONE = 0,
    CRYPTO_SIGN = 1,
    CRYPTO_MAC = 2,
    CRYPTO_AEAD = 3,
    CRYPTO_WRAP = 4, /* brings a content key (RFC 7518 4); JOSE only */
};

/* One row of the table of algorithms that we speak. */
struct crypto_alg {
    int alg; /* COSE number */
    enum crypto_class class;
    const char *name;
    /* SIGN: the one curve. RFC 9053 2.1 ties no hash to a curve; we accept
     * the usual pairs only, so that a key is for one algorithm. */
    int crv;
    size_t key_n;   /* AEAD: exactly; MAC: length of the hash, see key.h */
    size_t iv_n;    /* AEAD */
    size_t proof_n; /* length of signature or tag; 0: the RSA key's */
    bool jose;      /* a row of crypto_jose.h: for tokens of that family only */
};

const struct crypto_alg *crypto_alg(int alg); /* NULL: not spoken here, in COSE */
/* The i-th row, NULL past the end; for listings. */
const struct crypto_alg *crypto_alg_at(size_t i);
size_t crypto_curve_n(int crv); /* bytes of a coordinate, 0: unknown curve */

/* A public key: the uncompressed point (SEC 1, 2.3.3). */
struct crypto_ec {
    int crv;
    size_t n; /* bytes of a coordinate */
    uint8_t point[CRYPTO_POINT_MAX];
};

static inline struct bytes crypto_ec_x(const struct crypto_ec *k)
{
    return bytes_of(k->point + 1, k->n);
}

static inline struct bytes crypto_ec_y(const struct crypto_ec *k)
{
    return bytes_of(k->point + 1 + k->n, k->n);
}

/* From coordinates of the curve's exact length. False unless the point is on
 * the curve and not at infinity. */
MUST_USE bool crypto_ec_from_xy(int crv, struct bytes x, struct bytes y, struct crypto_ec *out);
/* From a SubjectPublicKeyInfo (DER), as certificates have it. */
MUST_USE bool crypto_ec_from_spki(struct bytes der, struct crypto_ec *out);
/* One PEM block "PUBLIC KEY". */
MUST_USE bool crypto_ec_from_pem(struct bytes pem, struct crypto_ec *out);
/* A private key, PEM ("EC PRIVATE KEY" or "PRIVATE KEY", unencrypted) or DER.
 * `d` gets out->n bytes. */
MUST_USE bool crypto_ec_from_private(struct bytes pem_or_der, struct crypto_ec *out,
                                     uint8_t d[CRYPTO_COORD_MAX]);
/* The public half of d; false if d is out of range. */
MUST_USE bool crypto_ec_of_secret(int crv, struct bytes d, struct crypto_ec *out);
MUST_USE bool crypto_ec_generate(int crv, struct crypto_ec *out, uint8_t d[CRYPTO_COORD_MAX]);

/* The shared secret, the x of d * key (RFC 6090 4). `out` gets key->n bytes.
 * Refuses a point that is not on its curve. */
MUST_USE bool crypto_ecdh(const struct crypto_ec *key, struct bytes d,
                          uint8_t out[CRYPTO_COORD_MAX]);

/* Messages come in parts, so that nobody must copy them together. Signatures
 * are r || s (RFC 9053 2.1), and deterministic when made (RFC 6979). */
MUST_USE bool crypto_verify(const struct crypto_alg *a, const struct crypto_ec *key,
                            const struct bytes *parts, size_t n, struct bytes sig);
MUST_USE bool crypto_sign(const struct crypto_alg *a, struct bytes d, const struct bytes *parts,
                          size_t n, struct buf *sig);

MUST_USE bool crypto_mac(const struct crypto_alg *a, struct bytes key, const struct bytes *parts,
                         size_t n, struct buf *tag);
MUST_USE bool crypto_mac_verify(const struct crypto_alg *a, struct bytes key,
                                const struct bytes *parts, size_t n, struct bytes tag);

/* The tag stands behind the ciphertext (RFC 9053 4). Both append to `out`
 * and take back what they wrote on failure. */
MUST_USE bool crypto_open(const struct crypto_alg *a, struct bytes key, struct bytes iv,
                          struct bytes aad, struct bytes sealed, struct buf *out);
MUST_USE bool crypto_seal(const struct crypto_alg *a, struct bytes key, struct bytes iv,
                          struct bytes aad, struct bytes plain, struct buf *out);

MUST_USE bool crypto_sha256(struct bytes in, uint8_t out[CRYPTO_SHA256]);
/* RFC 5869; n at most 255 * 32. */
MUST_USE bool crypto_hkdf_sha256(struct bytes salt, struct bytes ikm, struct bytes info,
                                 uint8_t *out, size_t n);

bool crypto_equal(struct bytes a, struct bytes b); /* constant time for equal lengths */
void crypto_wipe(void *p, size_t n);
/* From the kernel; for minting and blinding. */
MUST_USE bool crypto_random(void *to, size_t n);

#endif
