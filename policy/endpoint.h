/* Where an authority is asked, and as whom: what the policy file says of an
 * authority's `introspect`, `revocation-list` and `jwks`, as written. Plain
 * data; files are named here and read by the wire when it loads. */
#ifndef POSTERN_ENDPOINT_H
#define POSTERN_ENDPOINT_H

#include "bytes.h"

/* A file that the policy names, and where it does: what is found wrong with
 * the file is told there. */
struct policy_file {
    const char *name;    /* as written, relative to the policy file; NULL: none named */
    const char *where;   /* "policy.yaml:12:20" */
    const char *excerpt; /* that line, and one with a caret */
};

/* How we prove ourselves over HTTP. */
enum policy_auth {
    POLICY_AUTH_NONE = 0,
    POLICY_AUTH_BASIC,           /* client_secret_basic (RFC 6749 2.3.1) */
    POLICY_AUTH_POST,            /* client_secret_post */
    POLICY_AUTH_BEARER,          /* a token for ourselves (RFC 7662 2.1) */
    POLICY_AUTH_MUTUAL_TLS,      /* RFC 8705 2 */
    POLICY_AUTH_PRIVATE_KEY_JWT, /* RFC 7523 2.2 */
};

struct policy_endpoint {
    const char *url;          /* NULL: not given. coaps or https; coap or http to loopback only */
    bool http;                /* https or http; else coaps or coap */
    bool secure;              /* coaps or https */
    const char *psk_identity; /* coaps by PSK; else NULL */
    struct policy_file psk_key;
    struct policy_file certificate, key; /* ours */
    struct policy_file ca;               /* whom the server's certificate must be from */
    enum policy_auth auth;
    const char *client_id;
    struct policy_file secret;      /* basic, post: the secret; bearer: the token */
    struct policy_file signing_key; /* private-key-jwt */
    struct policy_file self;        /* `url` itself: for complaints about the rest */
    /* oneM2M: as whom we ask (From), and by which numbers of its options
     * (TS-0008); else NULL. */
    const char *m2m_from;
    bool m2m_legacy;
    uint32_t timeout_s; /* for an answer; 0: the wire's own */
};

enum policy_introspect_when { POLICY_REFERENCE_ONLY = 0, POLICY_ALWAYS = 1 };

/* What is said of an authority's line; ends within struct policy_authority. */
struct policy_wire {
    struct policy_endpoint introspect, revocation_list, jwks;
    enum policy_introspect_when when;
    uint32_t cache_s;   /* answers are kept at most; 0: not at all */
    uint32_t poll_s;    /* the full list is asked for at least so often */
    uint32_t refresh_s; /* so often are the keys fetched again */
};

enum policy_wire_defaults {
    POLICY_CACHE_S = 60,
    POLICY_POLL_S = 300,
    POLICY_REFRESH_S = 3600,
};

/* "WHERE: error: WHAT", the line and the caret. */
void policy_file_complain(const struct policy_file *f, const char *what, struct buf *diag);

#endif
