/* The claims of one token, whatever its format.
 *
 * Trust has types: bytes become `struct token` only through token_verify(),
 * which checked the protection against a key of the authority that it names.
 * token_peek() yields `struct token_unverified` for people to look at, and
 * nothing that decides takes one.
 *
 * All slices point into the token's own `plain` storage or into the bytes
 * that were verified; they live as long as both. Nothing is allocated.
 * Clear with token_clear(): the storage holds secrets.
 */
#ifndef POSTERN_TOKEN_H
#define POSTERN_TOKEN_H

#include "../policy/bytes.h"
#include "../policy/policy.h"
#include "err.h"

struct keys;

enum token_limits {
    TOKEN_MAX = 2048,   /* bytes of a token; larger ones do not fit a datagram */
    TOKEN_HASH = 32,    /* SHA-256 over the bytes as they were presented */
    TOKEN_AUD_MAX = 8,  /* audiences looked at; a token with more is refused */
    TOKEN_AIF_MAX = 32, /* entries of an AIF scope; more are refused */
    TOKEN_KID_MAX = 64,
    TOKEN_KEY_MAX = 32, /* symmetric proof key: mbedtls 2.28 takes no longer PSK */
    TOKEN_NEST_MAX = 2, /* sign, then encrypt */
};

/* A proof-of-possession key. For EC: x and y are of the curve's length. */
enum cnf_kind {
    CNF_NONE = 0,
    CNF_SYMMETRIC = 1, /* the key came in the token */
    CNF_EC = 2,        /* a public key */
    CNF_KID = 3,       /* by reference to a key that is known here */
    CNF_DERIVED = 4,   /* RFC 9202 3.3.1: COSE_Key with a kid and no k; the
                          key was derived and stands in `key` */
    CNF_X5T = 5,       /* SHA-256 of the client's certificate, in `key` (RFC 8705 3.1) */
    CNF_JKT = 6,       /* SHA-256 thumbprint of its key, in `key` (RFC 7638, 9449 6.1) */
    CNF_HOLDER = 7,    /* of a grant by a oneM2M token without cnf: it counts for the
                          associations whose originator its holder is */
};

struct cnf {
    enum cnf_kind kind;
    struct bytes kid; /* may be empty but for CNF_KID, CNF_DERIVED */
    uint8_t key[TOKEN_KEY_MAX];
    size_t key_n;
    int crv; /* COSE curve: 1 P-256, 2 P-384, 3 P-521 */
    struct bytes x, y;
};

struct claims {
    struct bytes iss, sub;
    struct bytes aud[TOKEN_AUD_MAX];
    size_t n_aud;
    bool has_iss, has_exp, has_nbf, has_iat, has_exi;
    int64_t exp_s, nbf_s, iat_s; /* floats are rounded: exp down, nbf up */
    int64_t exi_s;               /* lifetime, from when it is first verified (RFC 9200 5.10.3) */
    struct bytes cnonce;         /* RFC 9200 5.10; empty: none */
    struct bytes cti;            /* a JWT's jti is that too */
    struct bytes scope_words;    /* text scope, or empty */
    struct policy_aif aif[TOKEN_AIF_MAX];
    size_t n_aif;
    bool has_scope;
    /* JSON text of a oneM2M token's permissions (m2m_claims.h); n 0: another
     * token. Its `sub` is its holder, whose requests alone it is for. */
    struct bytes permissions;
    struct cnf cnf;
};

struct token {
    int authority; /* index in the policy's authorities, whose key it was */
    struct claims claims;
    uint8_t hash[TOKEN_HASH];
    uint8_t plain[TOKEN_MAX]; /* decrypted content, if it was encrypted */
};

struct token_unverified {
    struct token token; /* authority is a guess, or -1 */
    const char *format; /* "COSE_Sign1", "COSE_Mac0", "COSE_Encrypt0", "JWS", "JWE" */
    const char *alg;    /* what the header says, by the name of its family */
    struct bytes kid;
    bool readable; /* the claims could be read (not encrypted, or not for us) */
};

/* Checks the protection and reads the claims; judges none of them. What it is
 * is told by its form: JOSE compact (RFC 7519), else CBOR (RFC 8392). The one
 * counts for authorities of the dialects oauth and onem2m, and is read as the
 * one whose key it was has it; the other for the rest. */
MUST_USE enum pep_err token_verify(const struct keys *keys, struct bytes raw, struct token *out);

/* Whether its outer protection takes a public-key operation to check: what
 * anybody can make us do. */
bool token_is_costly(struct bytes raw);

/* Reads what can be read without a key. */
MUST_USE enum pep_err token_peek(struct bytes raw, struct token_unverified *out);

/* Judges iss, then exp and nbf, in the order of RFC 9200 5.10.1.1. aud and
 * scope are the caller's: they depend on devices and policy; so is exi, which
 * needs memory. `build_s` is the earliest time that a set clock can show. */
MUST_USE enum pep_err token_check_times(const struct claims *c, const char *issuer, int64_t now_s,
                                        int64_t build_s);

void token_clear(struct token *t);

/* A scope's text: words between single spaces (RFC 6749 3.3). */
bool token_is_words(struct bytes s);

#endif
