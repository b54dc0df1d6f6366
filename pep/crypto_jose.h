/* What JOSE needs beyond crypto.h (RFC 7518): its table of algorithms, AES
 * key wrap, A128CBC-HS256, and the key derivation of ECDH-ES. As there:
 * stateless, and whatever goes wrong reads as "no".
 *
 * Algorithms carry their COSE numbers (RFC 8812, 8230, 9053) where there is
 * one for the same thing; JOSE's own are below -65536, COSE's private range,
 * so that no COSE header and no COSE_Key of ours can name them.
 */
#ifndef POSTERN_CRYPTO_JOSE_H
#define POSTERN_CRYPTO_JOSE_H

#include "crypto.h"

enum crypto_jose_number {
    CRYPTO_RS256 = -257,
    CRYPTO_RS384 = -258,
    CRYPTO_RS512 = -259,
    CRYPTO_PS256 = -37,
    CRYPTO_PS384 = -38,
    CRYPTO_PS512 = -39,
    CRYPTO_EDDSA = -8,
    CRYPTO_A128KW = -3,
    CRYPTO_A192KW = -4,
    CRYPTO_A256KW = -5,
    CRYPTO_RSA_OAEP_256 = -41,
    CRYPTO_ECDH_ES = -70001, /* COSE's derive differently */
    CRYPTO_ECDH_ES_A128KW = -70002,
    CRYPTO_ECDH_ES_A192KW = -70003,
    CRYPTO_ECDH_ES_A256KW = -70004,
    CRYPTO_A128CBC_HS256 = -70010,
};

/* RFC 9053 table 18 */
enum { CRYPTO_ED25519 = 6 };

enum crypto_jose_limits {
    CRYPTO_CEK_MAX = 32, /* a content key: A256GCM, A128CBC-HS256 */
    CRYPTO_AES_IV_MAX = 16,
    CRYPTO_WRAP_MORE = 8, /* a wrapped key is so much longer (RFC 3394) */
};

/* The i-th row, NULL past the end. ES*, HS* and A*GCM are here too. */
const struct crypto_alg *crypto_jose_at(size_t i);
const struct crypto_alg *crypto_jose_named(struct bytes name); /* NULL: not spoken here */
const struct crypto_alg *crypto_jose_of(int alg);

/* Of a CRYPTO_WRAP row: whether the content key, or what wraps it, is agreed
 * upon by ECDH-ES. Its key_n is of the wrapping key; 0: none. */
bool crypto_jose_is_ecdh(const struct crypto_alg *a);
bool crypto_jose_is_rsa(const struct crypto_alg *a);

/* RFC 3394 with the initial value of 2.2.3.1. `key` 16, 24 or 32 bytes,
 * plain n * 8 bytes up to CRYPTO_CEK_MAX. */
MUST_USE bool crypto_wrap(struct bytes key, struct bytes plain, struct buf *out);
MUST_USE bool crypto_unwrap(struct bytes key, struct bytes wrapped, struct buf *out);

/* Like crypto_open() and crypto_seal(), for the AEAD rows of this table. */
MUST_USE bool crypto_jose_open(const struct crypto_alg *a, struct bytes key, struct bytes iv,
                               struct bytes aad, struct bytes sealed, struct buf *out);
MUST_USE bool crypto_jose_seal(const struct crypto_alg *a, struct bytes key, struct bytes iv,
                               struct bytes aad, struct bytes plain, struct buf *out);

/* RFC 7518 4.6.2; n at most CRYPTO_SHA256: one round. */
MUST_USE bool crypto_concat_kdf(struct bytes z, struct bytes id, struct bytes apu, struct bytes apv,
                                uint8_t *out, size_t n);

#endif
