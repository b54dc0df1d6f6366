/* The names of one token, by which it may be found revoked.
 *
 * RFC 9770 4: 0x01 (sha-256, RFC 6920) and the hash of the base64url text of
 * the token's bytes when the client got it in CBOR, of the token's text when
 * it got it in JSON. Nobody here saw which, so each token has both.
 *
 * One token must not become another by what no key protects. Where it can be
 * helped without asking for the strict form, names are kept for that too:
 * - an ECDSA signature (r, s) is as good as (r, n - s), and who holds a token
 *   can write the other one; so the names of that twin are also its own;
 * - 0x00 and the hash of what is protected alone, for revocations made here:
 *   tags, unprotected headers and signature may change, it does not;
 * - a reference is asked about with and without a byte string around it, and
 *   over HTTP as base64url when it is no text: then 0x00 and the hash of what
 *   is left in the end, and the names of what is inside are its own too.
 */
#ifndef POSTERN_TOKEN_IDS_H
#define POSTERN_TOKEN_IDS_H

#include "../policy/bytes.h"

enum token_ids_limits {
    TOKEN_ID = 33,     /* the algorithm's number, then SHA-256 */
    TOKEN_IDS_MAX = 5, /* two, two of the twin or of what is inside, one of the core */
    TOKEN_ID_SHA256 = 1,
    TOKEN_ID_CORE = 0, /* reserved in the registry of RFC 6920 9.4 */
};

struct token_ids {
    size_t n; /* 0: not looked for */
    uint8_t id[TOKEN_IDS_MAX][TOKEN_ID];
};

static inline struct bytes token_id(const struct token_ids *t, size_t i)
{
    return bytes_of(t->id[i], TOKEN_ID);
}

/* False: longer than TOKEN_MAX, or no memory to hash with. */
MUST_USE bool token_ids_of(struct bytes raw, struct token_ids *out);

/* Whether nobody could have given the token another hash on its way (RFC
 * 9770 9.6): a CWT must be tag 61 over its COSE tag over the array, without
 * unprotected headers. What is no CWT has one form only. */
bool token_form_is_strict(struct bytes raw);

#endif
