/* JSON Web Tokens (RFC 7519, 7800, 8725, 9068): opened, their claims read,
 * and minted. The claims of an introspection answer in JSON are the same.
 *
 * It judges form, not meaning, as cwt.h does: times lie in range, texts are
 * texts, keys are keys; whether the token has expired or is for us, others
 * ask. Unknown claims are skipped (the JSON was read strictly).
 *
 * Which JWTs are tokens for us (RFC 8725 3.11, 3.12): `typ` absent, "JWT" or
 * "at+jwt". Most issuers write one of the first two, so they cannot be
 * refused; whatever names another kind (logout+jwt, secevent+jwt, dpop+jwt,
 * token-introspection+jwt) is refused, and an ID token, which has no name of
 * its own, carries a client's name as its audience, which is not ours.
 *
 * A token that is only encrypted, and to a public key of ours, is refused:
 * anybody can make one. Encrypted with a shared key it is as good as a MAC.
 */
#ifndef POSTERN_JWT_H
#define POSTERN_JWT_H

#include "jose.h"
#include "json_doc.h"
#include "keys.h"
#include "token.h"

enum jwt_kind {
    JWT_ACCESS_TOKEN = 0,
    /* An answer of RFC 9701: `typ` must say so, so that neither passes for
     * the other (9701 8.1). */
    JWT_INTROSPECTION = 1,
};

struct jwt_opened {
    int authority;        /* whose keys protected it */
    bool encrypted;       /* nobody on the way could read it */
    struct bytes content; /* JSON, unread; in `plain` */
};

/* Verifies and decrypts with the keys of `authority` (-1: all that speak
 * JOSE), one layer or two: signed, then encrypted (RFC 7519 11.2), both by
 * keys of one authority. The content is appended to `plain`, which may hold
 * secrets, also on failure. */
MUST_USE enum pep_err jwt_open(const struct keys *keys, int authority, enum jwt_kind kind,
                               struct bytes raw, struct buf *plain, struct jwt_opened *out);

/* Where a claims set came from. */
struct jwt_source {
    const struct keys *keys; /* NULL: nobody's; keys inside stay closed */
    int authority;
    bool encrypted;    /* it may carry a secret */
    struct buf *plain; /* takes what the claims point to */
};

/* PEP_CLAIMS, PEP_SCOPE, PEP_CONFIRMATION. A content that lies in `plain` is
 * overwritten once it was parsed: its texts need no more room than it had. */
MUST_USE enum pep_err jwt_read(struct bytes content, const struct jwt_source *from,
                               struct claims *out);
/* The same of an object that was parsed already. */
MUST_USE enum pep_err jwt_read_claims(const struct json_node *object, const struct jwt_source *from,
                                      struct claims *out);

/* The claim cnf alone; NULL: there is none. PEP_CONFIRMATION. */
MUST_USE enum pep_err jwt_read_cnf(const struct json_node *cnf, const struct jwt_source *from,
                                   struct cnf *out);

/* Appends the claims set. PEP_CONFIRMATION: a derived key, or a kid or cti
 * that is no text. */
MUST_USE enum pep_err jwt_write(const struct claims *c, struct buf *out);

/* Mints a token, with `typ` at+jwt: signed or MACed by `proof`, then encrypted
 * for or with `seal`; either key may be NULL, not both. An algorithm of 0: the
 * key's own, or what fits it best. PEP_CONFIRMATION: a symmetric key without
 * `seal`. PEP_UNSUPPORTED: an algorithm that does not fit. PEP_TOO_LARGE. */
struct jwt_maker {
    const struct key *proof;
    int proof_alg;
    const struct key *seal;
    int seal_alg; /* a CRYPTO_WRAP row; or an AEAD row, then it is dir */
};
MUST_USE enum pep_err jwt_mint(const struct claims *c, const struct jwt_maker *with,
                               struct buf *out);

/* For tokens of another content than jwt_write()'s: the member cnf, false if
 * none can be; and the protection, with `typ` of each layer, NULL: none. A
 * nested one has the cty that it must have. */
MUST_USE bool jwt_put_cnf(const struct cnf *k, struct buf *out);
struct jwt_types {
    const char *jws, *jwe;
};
MUST_USE enum pep_err jwt_protect(struct bytes content, const struct jwt_types *typ,
                                  const struct jwt_maker *with, struct buf *out);

#endif
