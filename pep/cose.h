/* COSE_Sign1, COSE_Mac0 and COSE_Encrypt0 (RFC 9052 4.2, 6.2, 5.2), read and
 * written. It knows headers and protection, not claims.
 *
 * What we read is narrower than what COSE allows, always on the side that
 * grants less:
 * - alg counts only in the protected header; IV and kid in either one. So an
 *   empty protected header, sent as a0 or as nothing, is refused for want of
 *   an alg before the question how it is authenticated comes up;
 * - no label twice, in the two headers together (RFC 9052 3);
 * - crit only protected, and every label in it must be one we act upon;
 * - Partial IV is refused: it needs a context key that tokens do not have;
 * - content travels inside: a detached payload is refused;
 * - external_aad is empty;
 * - heads outside the protected content are in shortest form: nobody writes
 *   them otherwise, and each other form would be one more hash of one token.
 *
 * Untagged messages are taken: three elements can only be Encrypt0. With
 * four, Sign1 and Mac0 look alike, but the protected alg is for one of them
 * only, and the text that is authenticated begins with the structure's name,
 * so a wrong reading cannot verify. (COSE_Sign, COSE_Mac and COSE_Encrypt
 * have arrays where these have byte strings.) A tag that is there must agree.
 */
#ifndef POSTERN_COSE_H
#define POSTERN_COSE_H

#include "err.h"
#include "key.h"

enum cose_kind {
    COSE_NONE = 0,
    COSE_ENCRYPT0 = 16, /* the numbers of their tags */
    COSE_MAC0 = 17,
    COSE_SIGN1 = 18,
};

enum cose_limits {
    COSE_TAG_CWT = 61,
    COSE_PROTECTED_MAX = 256, /* of an Encrypt0: it is copied into the AAD */
};

/* A message that was read but not verified. Borrowed from the input. */
struct cose {
    enum cose_kind kind;
    const struct crypto_alg *alg;
    bool tagged;    /* a COSE tag was there */
    bool cwt;       /* tag 61 before it (RFC 8392 6) */
    bool unguarded; /* it has headers that nothing protects */
    struct bytes kid;
    struct bytes iv;
    struct bytes guarded; /* the protected header's content */
    struct bytes content; /* payload, or ciphertext with its tag */
    struct bytes proof;   /* signature or MAC */
};

/* PEP_MALFORMED, PEP_TOO_LARGE, PEP_UNSUPPORTED (no or unknown alg, critical
 * header, structure) or PEP_PROTECTION (alg is not for this structure). */
MUST_USE enum pep_err cose_parse(struct bytes raw, struct cose *out);

/* Verifies or decrypts with a key that key_can_check(); `content` is the
 * payload inside the input, or the plaintext appended to `plain`. */
MUST_USE enum pep_err cose_open(const struct cose *m, const struct key *key, struct buf *plain,
                                struct bytes *content);

/* Protects content with a key that key_can_make(). All headers, kid and IV
 * included, go into the protected one, so that nobody on the way can change
 * the token's hash (RFC 9770 4). A random IV for each message: no state to
 * keep, and far from 2^48 messages with one key. */
MUST_USE enum pep_err cose_write(const struct crypto_alg *alg, const struct key *key,
                                 struct bytes content, struct buf *out);

#endif
