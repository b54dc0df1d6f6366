/* The messages of token introspection: what is asked, and what an answer
 * says, by dialect (RFC 9200 5.9, ace-oauth-authz-07 5.6, RFC 7662, RFC 9701).
 * No transport, no memory of earlier answers, no judgement of the claims.
 *
 * An answer is from outside, though its sender was authenticated: whatever
 * does not read as a whole answer of the dialect says nothing, and nothing is
 * never a yes.
 */
#ifndef POSTERN_INTROSPECT_H
#define POSTERN_INTROSPECT_H

#include "cwt.h"
#include "question.h"

enum introspect_limits {
    INTROSPECT_ANSWER_MAX = 8192, /* bytes; a signed JWT with a key in it takes 2000 */
    /* A question: each byte of a token at most three in a form. */
    INTROSPECT_ASK_MAX = 3 * TOKEN_MAX + 64,
    INTROSPECT_CLIENT_TOKEN_MAX = 1024, /* it must fit the answer to its poster */
};

/* Whom is asked about which token. */
struct introspect_about {
    const struct keys *keys;
    int authority;
    enum policy_dialect dialect;
    bool http;
    const char *issuer; /* of signed answers; NULL: none known */
    /* Who we are to the authority: a signed answer names one of these. */
    const char *client_id;
    const char *const *audience;
    size_t n_audience;
    struct bytes token; /* as it was presented */
    bool unwrapped;     /* ask about what the one byte string in it holds */
};

/* True if the token is one CBOR byte string and nothing else, as servers were
 * seen to hand out references (PROTOCOL 8). */
bool introspect_is_wrapped(struct bytes token, struct bytes *inner);

/* Writes the body of the question; false: does not fit. */
MUST_USE bool introspect_ask(const struct introspect_about *a, struct buf *out,
                             int *content_format);

enum introspect_said {
    INTROSPECT_NOTHING = 0, /* not an answer: as if nobody had answered */
    INTROSPECT_REFUSED,     /* our credentials are bad (4.01), or we may not ask (4.03) */
    INTROSPECT_UNUSABLE,    /* active, but what it grants cannot be used here: `err` */
    INTROSPECT_INACTIVE,
    INTROSPECT_ACTIVE,
};

struct introspection {
    enum introspect_said said;
    const char *why;           /* static text, for all but ACTIVE */
    enum pep_err err;          /* with UNUSABLE */
    struct claims claims;      /* sub may be the answer's username or client_id */
    struct bytes client_token; /* for whoever brought the token (ace-07 5.6.4) */
    bool has_rs_cnf;           /* it names the key that we should show to the client */
};

/* Reads an answer. Slices of `out` point into `storage`, which must have room
 * for twice the body and 64 bytes. */
void introspect_read(const struct introspect_about *a, const struct pep_reply *r,
                     struct buf *storage, struct introspection *out);

/* What two accounts of one token both say, into `own`: the token's own
 * claims, which were verified, and those of an answer. Neither may add to the
 * other. Words that both have are written to `storage` (room: those of own). */
MUST_USE enum pep_err introspect_merge(struct claims *own, const struct claims *told,
                                       struct buf *storage);

#endif
