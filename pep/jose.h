/* JWS and JWE in compact form (RFC 7515 7.1, RFC 7516 7.1), read and written.
 * It knows headers and protection, not claims.
 *
 * What we read is narrower than what JOSE allows, on the side that grants less
 * (RFC 8725):
 * - `none` is no algorithm, in no spelling (2.1, 3.2);
 * - the key decides which algorithm counts, the header only has to agree
 *   (3.1): an RSA key never serves as an HMAC secret;
 * - crit is refused whatever it names: no extension is spoken here. So is b64
 *   (RFC 7797) also without crit, and zip (3.6);
 * - jwk, jku, x5c, x5u, x5t are passed over: a token does not say who vouches
 *   for it (3.10). PBES2 is not spoken: its cost is the sender's choice;
 * - base64url is strict and headers are strict JSON, so that one token has
 *   one text and everybody reads the same in it.
 *
 * A content key that does not come out is replaced by a random one and the
 * opening goes on, so that it fails no sooner and no otherwise than with a
 * wrong tag (RFC 7516 11.5).
 */
#ifndef POSTERN_JOSE_H
#define POSTERN_JOSE_H

#include "crypto_jose.h"
#include "err.h"
#include "key.h"

enum jose_kind { JOSE_NONE = 0, JOSE_JWS = 1, JOSE_JWE = 2 };

enum jose_limits {
    JOSE_MAX = 16384,       /* bytes; an introspection answer may be long */
    JOSE_HEADER_MAX = 1024, /* bytes of decoded header */
    JOSE_PARTY_MAX = 128,   /* apu, apv */
    JOSE_SEGMENTS_MAX = 5,
};

/* `typ` (RFC 7515 4.1.9), as far as anything here asks for one. */
enum jose_typ {
    JOSE_TYP_OTHER = 0,
    JOSE_TYP_ABSENT,
    JOSE_TYP_JWT,
    JOSE_TYP_ACCESS_TOKEN,  /* at+jwt, RFC 9068 */
    JOSE_TYP_INTROSPECTION, /* token-introspection+jwt, RFC 9701 */
};

/* `cty` (4.1.10) */
enum jose_cty { JOSE_CTY_OTHER = 0, JOSE_CTY_ABSENT, JOSE_CTY_JWT };

/* A message that was read but not verified. Segments are borrowed. */
struct jose {
    enum jose_kind kind;
    const struct crypto_alg *alg; /* NULL: dir, the key is the content key */
    const struct crypto_alg *enc; /* JWE */
    enum jose_typ typ;
    enum jose_cty cty;
    struct bytes guarded;                    /* what a signature is over */
    struct bytes segment[JOSE_SEGMENTS_MAX]; /* in base64url */
    uint8_t kid[TOKEN_KID_MAX];
    size_t kid_n;
    struct crypto_ec epk; /* n 0: none */
    uint8_t apu[JOSE_PARTY_MAX], apv[JOSE_PARTY_MAX];
    size_t apu_n, apv_n;
};

static inline struct bytes jose_kid(const struct jose *m)
{
    return bytes_of(m->kid, m->kid_n);
}

/* The algorithm that a key is looked up for. */
static inline const struct crypto_alg *jose_key_alg(const struct jose *m)
{
    return m->alg ? m->alg : m->enc;
}

/* Whether these bytes are three or five base64url segments between dots: then
 * they are read as JOSE. No COSE message is (its first byte is beyond ASCII). */
bool jose_is_compact(struct bytes raw);

/* PEP_MALFORMED, PEP_TOO_LARGE, PEP_UNSUPPORTED (algorithm, crit, zip, b64) or
 * PEP_PROTECTION (alg is not for this structure). */
MUST_USE enum pep_err jose_parse(struct bytes raw, struct jose *out);

/* Verifies or decrypts with a key that key_can_check(). `content` is appended
 * to `plain`. A JWS whose payload segment begins at the end of what is in
 * `plain` is decoded in place. */
MUST_USE enum pep_err jose_open(const struct jose *m, const struct key *key, struct buf *plain,
                                struct bytes *content);
/* The payload of a JWS, unverified: for people to look at. */
MUST_USE bool jose_peek(const struct jose *m, struct buf *plain, struct bytes *content);

/* Appends a JWS. `typ` is put as it is, or left out if NULL. */
MUST_USE enum pep_err jose_sign(const struct crypto_alg *alg, const struct key *key,
                                const char *typ, struct bytes payload, struct buf *out);
/* Appends a JWE; alg NULL: dir. `typ` and `cty` likewise. */
MUST_USE enum pep_err jose_seal(const struct crypto_alg *alg, const struct crypto_alg *enc,
                                const struct key *key, const char *typ, const char *cty,
                                struct bytes content, struct buf *out);

/* The Z of ECDH-ES through the Concat KDF: the content key, or what wraps it
 * (RFC 7518 4.6). For jose.c and jose_write.c. */
MUST_USE bool jose_agree(const struct jose *m, const struct crypto_ec *theirs, struct bytes ours,
                         uint8_t out[CRYPTO_CEK_MAX], size_t *n);

#endif
