/* One run of `postern token new`: its options are read into claims by
 * cmd_token_new.c, made a token by minting.c, and told by minting_told.c. */
#ifndef POSTERN_MINTING_H
#define POSTERN_MINTING_H

#include "../pep/jwt.h"
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
    O_OUT,
    O_JSON,
};

enum { MINTING_KEYS_MAX = 16 };

struct minting {
    const struct cmd *c;
    const struct cmd_values *o;
    struct setup setup; /* of --authority */
    enum policy_dialect dialect;
    char key_path[4096];
    struct key keys[MINTING_KEYS_MAX];
    size_t n_keys;
    struct claims claims;
    char kid[TOKEN_KID_MAX];
    struct crypto_ec pub;
    uint8_t raw[TOKEN_MAX];
    struct buf token;
};

/* Status of the command; the token is in m->token. */
MUST_USE int minting_mint(struct minting *m);
/* The token to stdout or its file; to stderr, how it is used. */
MUST_USE int minting_deliver(const struct minting *m);

#endif
