/* Where the authorities of one policy are asked, with every credential
 * loaded: what a policy says of `introspect`, `revocation-list`, `jwks`
 * and of decision points becomes bytes here, before the first question, so that nothing reads a
 * file later. Immutable once loaded; opens no socket. */
#ifndef POSTERN_WIRE_H
#define POSTERN_WIRE_H

#include "../pep/key.h"
#include "../policy/policy.h"
#include "../policy/url.h"
#include "dtls_out.h"
#include "http_client.h"

enum authority_purpose {
    AUTHORITY_INTROSPECT = 0,
    AUTHORITY_REVOCATIONS = 1,
    AUTHORITY_JWKS = 2,
    AUTHORITY_DYNAMIC = 3,  /* a permission that a client lacks */
    AUTHORITY_DECISION = 4, /* of a decision point, never of an authority */
    AUTHORITY_PURPOSES = 5,
};

enum wire_limits { WIRE_SEGMENTS_MAX = 16, WIRE_SECRET_MAX = 4096, WIRE_PEM_MAX = 65536 };

struct wire_file {
    uint8_t *p;
    size_t n;
};

struct wire_endpoint {
    const struct policy_endpoint *said; /* NULL: there is none for this purpose */
    char host[URL_HOST_MAX + 1];
    bool host_is_name;
    int port;
    struct bytes path[WIRE_SEGMENTS_MAX]; /* coap */
    size_t n_path;
    struct wire_file segments; /* storage of `path` */
    struct wire_file psk, certificate, key, ca;
    struct wire_file user, secret; /* text with NUL; for basic encoded as it goes out */
    /* post: "&client_id=...&client_secret=..."; mutual-tls: the first alone */
    struct wire_file form;
    struct key signing; /* private-key-jwt */
    /* Of scheme, host, port and credentials towards the server: the same
     * digest is the same line. */
    uint8_t digest[CRYPTO_SHA256];
};

struct wire_authority {
    const char *name, *issuer; /* issuer: or NULL */
    struct wire_endpoint endpoints[AUTHORITY_PURPOSES];
};

struct wire {
    struct policy *policy;              /* a reference: what is `said` lies there */
    struct wire_authority *authorities; /* in the policy's order; behind them decision points */
    size_t n;                           /* of both */
    size_t n_authorities;
};

/* `dir` is where the policy lies. On failure NULL; `diag` names line and
 * file, and all that is wrong. */
MUST_USE struct wire *wire_load(struct policy *p, const char *dir, struct buf *diag);
void wire_free(struct wire *w); /* wipes the secrets; NULL is fine */

/* The credentials of a coaps endpoint as an engine. NULL: *why. */
MUST_USE struct dtls_out *wire_dtls(const struct wire_endpoint *e, const char **why);

/* A fresh proof of who we are (RFC 7523 2.2, 3), as parameters of a form:
 * "&client_assertion_type=...&client_assertion=...&client_id=...". */
MUST_USE bool wire_assertion(const struct wire_endpoint *e, const char *audience, int64_t now_s,
                             struct buf *out);

#endif
