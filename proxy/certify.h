/* Certificates for enrolment: a CA of the house's own, keys for devices, and
 * what the CA signs. For the command alone; the daemon makes none.
 *
 * Of a request (PKCS #10) only the key is taken, and the proof that the asker
 * has it: names and uses are the operator's to give. Keys come and go as PEM
 * in the caller's storage, which the caller wipes. `diag` gets one line. */
#ifndef POSTERN_CERTIFY_H
#define POSTERN_CERTIFY_H

#include "../policy/bytes.h"

enum certify_limits {
    CERTIFY_PEM_MAX = 8192,        /* one certificate or key */
    CERTIFY_CHAIN_MAX = 256 << 10, /* a file of CAs */
    CERTIFY_REQUEST_MAX = 16 << 10,
    CERTIFY_NAMES_MAX = 8,   /* as many as a handshake looks at */
    CERTIFY_COMMON_MAX = 64, /* RFC 5280 A.1 ub-common-name */
    CERTIFY_FINGERPRINT = 32,
};

struct certify;

MUST_USE struct certify *certify_new(struct buf *diag);
void certify_free(struct certify *c); /* wipes; NULL is fine */

/* A new CA. */
MUST_USE bool certify_make_ca(struct certify *c, const char *common_name, int64_t from_s,
                              int64_t until_s, struct buf *diag);
/* Of these certificates the CA whose key this is. */
MUST_USE bool certify_use_ca(struct certify *c, struct bytes certificates, struct bytes key,
                             int64_t now_s, struct buf *diag);
/* Appends PEM, without NUL. */
MUST_USE bool certify_put_ca(const struct certify *c, struct buf *pem);
MUST_USE bool certify_put_ca_key(struct certify *c, struct buf *pem);
int64_t certify_ca_ends(const struct certify *c);
/* Whether these (PEM, the first of them) chain to the CA. */
bool certify_vouches_for(const struct certify *c, struct bytes certificates);

/* Whose certificate is to be made: a fresh key (P-256), or that of a request,
 * in PEM or DER. */
MUST_USE bool certify_make_key(struct certify *c, struct buf *diag);
MUST_USE bool certify_take_request(struct certify *c, struct bytes request, struct buf *diag);
MUST_USE bool certify_put_key(struct certify *c, struct buf *pem);

struct certify_names {
    const char *common;
    const char *uris[CERTIFY_NAMES_MAX]; /* subjectAltName, ASCII */
    size_t n_uris;
    const char *dns[CERTIFY_NAMES_MAX];
    size_t n_dns;
};

/* For a client's end of a handshake. What was made is read and verified again
 * before it is given out. */
MUST_USE bool certify_sign(struct certify *c, const struct certify_names *names, int64_t from_s,
                           int64_t until_s, struct buf *pem,
                           uint8_t fingerprint[CERTIFY_FINGERPRINT], struct buf *diag);

#endif
