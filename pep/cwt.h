/* The claims set of a CBOR Web Token (RFC 8392, 8747, 9200 5.10, 9237), and
 * its proof-of-possession key.
 *
 * It judges form, not meaning: times lie in range, texts are texts, a point
 * is on its curve; whether the token has expired or is for us, others ask.
 * Unknown claims are skipped (their form was checked).
 */
#ifndef POSTERN_CWT_H
#define POSTERN_CWT_H

#include "keys.h"
#include "token.h"

enum cwt_limits {
    /* A proof key shorter than this could be guessed from one handshake. */
    CWT_PROOF_KEY_MIN = 8,
    CWT_CNONCE_MAX = 64,
};

#define CWT_TIME_MAX INT64_C(253402300799) /* the end of the year 9999 */

/* Where a claims set came from. */
struct cwt_source {
    const struct keys *keys; /* NULL: nobody's; keys inside stay closed */
    int authority;           /* whose key protected it */
    enum policy_dialect dialect;
    bool encrypted;    /* it may carry a secret (PROTOCOL: else it is refused) */
    struct bytes raw;  /* the token as it was presented: derived keys hang on it */
    struct buf *plain; /* takes the plaintext of an Encrypted_COSE_Key */
};

/* PEP_CLAIMS, PEP_SCOPE (a byte string or array that is not AIF, a text that
 * is not scope words), PEP_CONFIRMATION. */
MUST_USE enum pep_err cwt_read(struct bytes claims, const struct cwt_source *from,
                               struct claims *out);

/* Appends the claims set in deterministic encoding. A cnf key with kind
 * CNF_DERIVED is written as kid only; its bytes are not. */
void cwt_write(const struct claims *c, enum policy_dialect d, struct buf *out);

/* Mints a token: claims, signed or MACed by `proof`, then encrypted by
 * `seal`; either key may be NULL, not both. Tags 61 and COSE in front.
 * PEP_CONFIRMATION: a symmetric key without `seal`. PEP_UNSUPPORTED: an alg
 * that does not fit its key. PEP_TOO_LARGE: beyond TOKEN_MAX, or the room.
 * An alg of 0: the key's own, or what fits it best. */
struct cwt_maker {
    const struct key *proof;
    int proof_alg;
    const struct key *seal;
    int seal_alg;
};
MUST_USE enum pep_err cwt_mint(const struct claims *c, enum policy_dialect d,
                               const struct cwt_maker *with, struct buf *out);

/* The proof key of a token that names it by kid only (RFC 9202 3.3.1). */
MUST_USE bool cwt_derive(const struct key *derivation, struct bytes raw,
                         uint8_t out[KEYS_DERIVED_LEN]);

#endif
