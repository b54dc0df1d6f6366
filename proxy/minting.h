/* One run of `postern token new`: its options are read into claims by
 * cmd_token_new.c and minting_m2m.c, made a token by minting.c, and told by
 * minting_told.c. */
#ifndef POSTERN_MINTING_H
#define POSTERN_MINTING_H

#include "../pep/m2m_token.h"
#include "cmd.h"
#include "setup.h"

/* Numbers of its options. */
enum {
    O_KEY,
    O_KEY_KID,
    O_ALG,
    O_CONFIG,
    O_AUTHORITY,
    O_ISSUER,
    O_DIALECT,
    O_JWT,
    O_AUD,
    O_SCOPE,
    O_AIF,
    O_SUB,
    O_EXP,
    O_NBF,
    O_CNF_NEW,
    O_CNF_KEY,
    O_CNF_PUB,
    O_CNF_DERIVED,
    O_BEARER,
    O_KID,
    O_HOLDER,
    O_ID,
    O_ROLE,
    O_ON,
    O_PERMIT,
    O_PERMISSIONS,
    O_CLASS,
    O_OWN_NAMES,
    O_OUT,
    O_JSON,
};

enum { MINTING_KEYS_MAX = 16 };

struct minting {
    const struct cmd *c;
    const struct cmd_values *o;
    struct setup setup;                       /* of --authority: */
    const struct policy_authority *authority; /* or NULL */
    enum policy_dialect dialect;
    char key_path[4096];
    struct key keys[MINTING_KEYS_MAX];
    size_t n_keys;
    struct claims claims;
    char kid[TOKEN_KID_MAX];
    struct crypto_ec pub;
    char id[M2M_ID_MAX + 1];
    uint8_t permissions[TOKEN_MAX]; /* oneM2M: JSON */
    uint8_t raw[TOKEN_MAX];
    struct buf token;
};

/* Whether it is to be a token of oneM2M: it has a holder. */
bool minting_is_m2m(const struct minting *m);
/* False, told: its options do not make permissions. */
MUST_USE bool minting_read_m2m(struct minting *m);
/* The rest, when issuer and policy are known. False, told. */
MUST_USE bool minting_settle_m2m(struct minting *m);

/* Status of the command; the token is in m->token. */
MUST_USE int minting_mint(struct minting *m);
/* The token to stdout or its file; to stderr, how it is used. */
MUST_USE int minting_deliver(const struct minting *m);

#endif
