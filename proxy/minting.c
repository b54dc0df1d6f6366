/* Which key of the file protects the token, and how. */
#include "minting.h"

#include "../pep/cwt.h"
#include "cmd_key.h"

static const struct key *find_key(const struct minting *m, bool seal, int alg)
{
    const struct crypto_alg *a;
    for (size_t k = 0; k < m->n_keys; k++)
        for (size_t i = 0; (a = crypto_alg_at(i)); i++)
            if ((a->class == CRYPTO_AEAD) == seal && (!alg || a->alg == alg) &&
                m->keys[k].alg != KEY_ALG_DERIVATION && key_can_make(&m->keys[k], a))
                return &m->keys[k];
    return NULL;
}

static const struct key *find_derivation(const struct minting *m)
{
    for (size_t k = 0; k < m->n_keys; k++)
        if (m->keys[k].alg == KEY_ALG_DERIVATION)
            return &m->keys[k];
    return NULL;
}

static int tell_minted(const struct minting *m, enum pep_err err)
{
    switch (err) {
    case PEP_OK:
        return CMD_OK;
    case PEP_CONFIRMATION:
        return cmd_fail(m->c, CMD_INPUT,
                        "%s: a token that carries a symmetric key must be encrypted, and no key in "
                        "it can; use an AES key, --cnf-pub or --cnf-derived",
                        m->key_path);
    case PEP_TOO_LARGE:
        return cmd_fail(m->c, CMD_INPUT, "the token would be longer than %d bytes", TOKEN_MAX);
    default:
        return cmd_fail(m->c, CMD_INPUT, "%s: the key and the algorithm do not fit", m->key_path);
    }
}

/* Of the JOSE rows; a key that can sign does, before it encrypts. */
static const struct key *find_jose_key(const struct minting *m, bool seal,
                                       const struct crypto_alg *only)
{
    const struct crypto_alg *a;
    for (size_t k = 0; k < m->n_keys; k++)
        for (size_t i = 0; (a = crypto_jose_at(i)); i++)
            if ((a->class == CRYPTO_AEAD || a->class == CRYPTO_WRAP) == seal &&
                (!only || a == only) && m->keys[k].alg != KEY_ALG_DERIVATION &&
                /* what wraps for a public key is the reader's, not ours */
                (m->keys[k].kind == KEY_SECRET || !seal || m->keys[k].ops) &&
                key_can_make(&m->keys[k], a))
                return &m->keys[k];
    return NULL;
}

/* Signed, if a key can and the authority allows it; and encrypted when it must
 * be. */
static int choose_class(struct minting *m, bool can_sign, bool can_seal, enum policy_class *out)
{
    static const char *const names[POLICY_CLASSES] = {
        [POLICY_JWS] = "jws", [POLICY_JWE] = "jwe", [POLICY_NESTED] = "nested"};
    const struct policy_authority *a = m->authority;
    unsigned allowed = a ? a->classes : POLICY_CLASSES_ALL, possible = 0;
    bool secret = m->claims.cnf.kind == CNF_SYMMETRIC;
    const char *name = cmd_value(&m->o[O_CLASS]);
    possible |= can_sign && !secret ? 1U << POLICY_JWS : 0;
    possible |= can_seal ? 1U << POLICY_JWE : 0;
    possible |= can_sign && can_seal ? 1U << POLICY_NESTED : 0;
    static const enum policy_class order[] = {POLICY_JWS, POLICY_NESTED, POLICY_JWE};
    for (size_t i = 0; i < POLICY_CLASSES; i++) {
        enum policy_class c = order[i];
        if ((name ? strcmp(name, names[c]) == 0 : allowed >> c & 1) && possible >> c & 1) {
            *out = c;
            return CMD_OK;
        }
    }
    return name ? cmd_fail(m->c, CMD_INPUT, "%s: no keys in it for --class %s", m->key_path, name)
                : cmd_fail(m->c, CMD_INPUT, "%s: no keys in it for a class that is allowed",
                           m->key_path);
}

static int mint_m2m(struct minting *m, const struct crypto_alg *a, struct jwt_maker *with)
{
    bool seals = a && (a->class == CRYPTO_AEAD || a->class == CRYPTO_WRAP);
    enum policy_class class = POLICY_JWS;
    with->proof = find_jose_key(m, false, seals ? NULL : a);
    with->seal = find_jose_key(m, true, seals ? a : NULL);
    if (with->proof == with->seal) /* one key, one use: to sign, unless it must be secret */
        *(m->claims.cnf.kind == CNF_SYMMETRIC || seals ? &with->proof : &with->seal) = NULL;
    int status = choose_class(m, with->proof != NULL, with->seal != NULL, &class);
    if (status != CMD_OK)
        return status;
    if (class == POLICY_JWS)
        with->seal = NULL;
    if (class == POLICY_JWE)
        with->proof = NULL;
    with->proof_alg = with->proof && a && !seals ? a->alg : 0;
    with->seal_alg = with->seal && seals ? a->alg : 0;
    enum m2m_naming naming = m->o[O_OWN_NAMES].n ? M2M_OWN_NAMES : M2M_JWT_NAMES;
    return tell_minted(m, m2m_token_mint(&m->claims, naming, with, &m->token));
}

static int mint_jwt(struct minting *m)
{
    const char *name = cmd_value(&m->o[O_ALG]);
    const struct crypto_alg *a = name ? crypto_jose_named(bytes_str(name)) : NULL;
    struct jwt_maker with = {0};
    if (name && !a)
        return cmd_fail(m->c, CMD_USAGE,
                        "no algorithm '%s' for a JWT; some are ES256, RS256, "
                        "PS256, EdDSA, HS256, A128GCM, A128KW, ECDH-ES",
                        name);
    if (m->dialect == POLICY_ONEM2M)
        return mint_m2m(m, a, &with);
    bool seals = a && (a->class == CRYPTO_AEAD || a->class == CRYPTO_WRAP);
    if (!seals)
        with.proof = find_jose_key(m, false, a);
    if (!a || seals || m->claims.cnf.kind == CNF_SYMMETRIC)
        with.seal = find_jose_key(m, true, seals ? a : NULL);
    if (with.proof == with.seal) { /* one key, one use */
        if (m->claims.cnf.kind == CNF_SYMMETRIC)
            with.proof = NULL;
        else
            with.seal = NULL;
    }
    with.proof_alg = with.proof && a ? a->alg : 0;
    with.seal_alg = with.seal && seals ? a->alg : 0;
    if (!with.proof && !with.seal)
        return cmd_fail(m->c, CMD_INPUT, "%s: no key in it can %s", m->key_path,
                        a ? a->name : "protect a token");
    return tell_minted(m, jwt_mint(&m->claims, &with, &m->token));
}

int minting_mint(struct minting *m)
{
    m->token = buf_on(m->raw, sizeof m->raw);
    if (m->dialect == POLICY_OAUTH || m->dialect == POLICY_ONEM2M)
        return mint_jwt(m);
    int alg = m->o[O_ALG].n ? cmd_alg(m->c, cmd_value(&m->o[O_ALG])) : 0;
    if (m->o[O_ALG].n && !alg)
        return CMD_USAGE;
    const struct crypto_alg *a = crypto_alg(alg);
    struct cwt_maker with = {0};
    /* A key without an algorithm of its own may serve as either: as one. */
    if (!a || a->class != CRYPTO_AEAD)
        with.proof = find_key(m, false, alg);
    if (!a || a->class == CRYPTO_AEAD)
        with.seal = find_key(m, true, alg);
    if (with.proof == with.seal)
        with.proof = NULL;
    with.proof_alg = with.proof ? alg : 0;
    with.seal_alg = with.seal && a && a->class == CRYPTO_AEAD ? alg : 0;
    if (!with.proof && !with.seal)
        return cmd_fail(m->c, CMD_INPUT, "%s: no key in it can %s", m->key_path,
                        a ? a->name : "protect a token");
    int status = tell_minted(m, cwt_mint(&m->claims, m->dialect, &with, &m->token));
    if (status != CMD_OK)
        return status;
    struct cnf *cnf = &m->claims.cnf;
    if (cnf->kind == CNF_DERIVED) {
        const struct key *k = find_derivation(m);
        if (!k || !cwt_derive(k, buf_bytes(&m->token), cnf->key))
            return cmd_fail(m->c, CMD_INPUT,
                            "%s: no derivation key in it; make one with "
                            "`postern key new --derivation`",
                            m->key_path);
        cnf->key_n = KEYS_DERIVED_LEN;
    }
    return CMD_OK;
}
