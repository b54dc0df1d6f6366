/* One key, what it may be used for, and its COSE_Key form (RFC 9052 7, RFC
 * 9053 7). Its JSON form is jwk.h.
 *
 * A `struct key` is plain data without pointers; it may hold a secret, so it
 * is wiped with key_clear(). `struct cose_key` is the borrowed view of an
 * encoded COSE_Key, whose values nobody has judged yet.
 */
#ifndef POSTERN_KEY_H
#define POSTERN_KEY_H

#include "crypto.h"
#include "crypto_ed25519.h"
#include "crypto_rsa.h"
#include "token.h"

enum key_limits {
    /* What an authority protects tokens with is at least AES-128 strong. */
    KEY_SECRET_MIN = 16,
    /* direct+HKDF-SHA-256 (RFC 9053 6.1): the mark of a key-derivation key.
     * Such a key protects no token. */
    KEY_ALG_DERIVATION = -10,
    KEY_COSE_MAX = 512, /* bytes of one encoded COSE_Key of ours */
};

enum cose_kty { COSE_KTY_EC2 = 2, COSE_KTY_SYMMETRIC = 4 };

/* RFC 9052 table 5 */
enum cose_key_op {
    COSE_OP_SIGN = 1,
    COSE_OP_VERIFY = 2,
    COSE_OP_ENCRYPT = 3,
    COSE_OP_DECRYPT = 4,
    COSE_OP_WRAP = 5,
    COSE_OP_UNWRAP = 6,
    COSE_OP_DERIVE_KEY = 7,
    COSE_OP_DERIVE_BITS = 8,
    COSE_OP_MAC_CREATE = 9,
    COSE_OP_MAC_VERIFY = 10,
};

struct cose_key {
    int64_t kty;
    int64_t alg;  /* 0: none given (0 is reserved) */
    uint32_t ops; /* bit per operation; 0: any */
    int64_t crv;  /* EC2 */
    struct bytes kid, x, y, d, k;
    bool has_d, has_k;
};

/* Reads the form; unknown parameters are skipped. On failure false and *why
 * is static text. */
MUST_USE bool cose_key_parse(struct bytes item, struct cose_key *out, const char **why);

enum key_kind {
    KEY_NONE = 0,
    KEY_EC = 1,      /* `ec`; with has_secret also its private half */
    KEY_SECRET = 2,  /* symmetric */
    KEY_RSA = 3,     /* `rsa`, which holds both halves */
    KEY_ED25519 = 4, /* `ed25519`; with has_secret also its seed */
};

struct key {
    enum key_kind kind;
    int authority; /* index in the policy, -1: none */
    int alg;       /* the one algorithm it is for, 0: any that it fits */
    uint32_t ops;
    size_t kid_n; /* 0: none */
    uint8_t kid[TOKEN_KID_MAX];
    struct crypto_ec ec;
    struct crypto_rsa rsa;
    uint8_t ed25519[CRYPTO_ED25519_KEY];
    bool fetched; /* came from a JWKS URL, not from a file */
    bool has_secret;
    size_t secret_n;
    uint8_t secret[CRYPTO_SECRET_MAX];
};

static inline struct bytes key_kid(const struct key *k)
{
    return bytes_of(k->kid, k->kid_n);
}

static inline struct bytes key_secret(const struct key *k)
{
    return bytes_of(k->secret, k->secret_n);
}

void key_clear(struct key *k);

/* Judges the values too: curve, point, lengths, a private half that belongs
 * to its public one (x and y may be left out beside d). */
MUST_USE bool key_from_cose(struct bytes item, struct key *out, const char **why);
/* Appends the COSE_Key; the private half of an EC key only with `secret`. */
void key_put_cose(const struct key *k, bool secret, struct buf *out);

/* Whether the key may check (or open) what this algorithm protects, or make
 * it. A key without `alg` serves: the algorithm of its curve; AES of exactly
 * its length; HMAC if it is as long as the hash (RFC 9053 3.1); RSA signatures
 * of either padding (a key set that does not say which is common, and no
 * other kind of key is taken for either: RFC 8725 3.1, 3.2). */
bool key_can_check(const struct key *k, const struct crypto_alg *a);
bool key_can_make(const struct key *k, const struct crypto_alg *a);
/* Whether its private half is for opening what is sealed for us, and for
 * nothing else: then the gate keeps it. */
bool key_is_recipient(const struct key *k);

/* Checks or makes a signature or MAC with a key that can. */
MUST_USE bool key_verify(const struct key *k, const struct crypto_alg *a, const struct bytes *parts,
                         size_t n, struct bytes proof);
MUST_USE bool key_sign(const struct key *k, const struct crypto_alg *a, const struct bytes *parts,
                       size_t n, struct buf *proof);

/* Fresh keys for `alg` (-7, -35, -36, MAC, AEAD, or KEY_ALG_DERIVATION).
 * The kid, if empty, becomes eight random bytes. */
MUST_USE bool key_generate(int alg, struct bytes kid, struct key *out);

#endif
