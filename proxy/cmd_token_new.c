/* postern token new: mints a CWT or a JWT with a local key, for guests of a house
 * without an authorization server, and for trying things out. */
#include <stdio.h>
#include <stdlib.h>

#include "../pep/base64url.h"
#include "../pep/cbor.h"
#include "../pep/cwt.h"
#include "../pep/jwt.h"
#include "../policy/hex.h"
#include "cmd_key.h"
#include "cmd_token.h"
#include "file.h"
#include "json.h"
#include "setup.h"

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

static const struct cmd_option options[] = {
    [O_KEY] = {"key", 'k', "FILE", "mint with this key (COSE_KeySet, JWK, PEM or hex)", false},
    [O_KEY_KID] = {"key-kid", 0, "KID", "of several in the file, this one", false},
    [O_ALG] = {"alg", 0, "NAME", "algorithm, where the key leaves a choice", false},
    [O_CONFIG] = {"config", 'c', "FILE", "for --authority (" CONFIG_FILE_DEFAULT ")", false},
    [O_AUTHORITY] = {"authority", 'A', "NAME",
                     "issuer, dialect and key as the policy has them for it", false},
    [O_ISSUER] = {"issuer", 0, "TEXT", "claim iss", false},
    [O_DIALECT] = {"dialect", 0, "NAME", "rfc9200 (default), ace-07 or oauth", false},
    [O_JWT] = {"jwt", 'J', NULL, "a JWT, as with --dialect oauth", false},
    [O_AUD] = {"aud", 'a', "TEXT", "claim aud", true},
    [O_SCOPE] = {"scope", 's', "WORDS", "claim scope: scope or role words", false},
    [O_AIF] = {"aif", 0, "PATH=METHODS", "scope as AIF: /lamp/state=GET,PUT", true},
    [O_SUB] = {"sub", 0, "TEXT", "claim sub", false},
    [O_EXP] = {"exp", 'e', "WHEN", "ends in 90s, 15m, 8h, 30d (1h), or at a time", false},
    [O_NBF] = {"nbf", 0, "WHEN", "begins then", false},
    [O_CNF_NEW] = {"cnf-new", 'n', NULL, "bind it to a fresh key, and print that", false},
    [O_CNF_KEY] = {"cnf-key", 0, "HEX", "bind it to this symmetric key", false},
    [O_CNF_PUB] = {"cnf-pub", 0, "PEM", "bind it to this public key's holder", false},
    [O_CNF_DERIVED] = {"cnf-derived", 0, NULL, "bind it to a key derived from the token", false},
    [O_BEARER] = {"bearer", 0, NULL, "bind it to nobody", false},
    [O_KID] = {"kid", 0, "KID", "key ID of the bound key (random)", false},
    [O_OUT] = {"out", 'o', "FILE|hex|base64url|text",
               "where or how the token goes (hex; a JWT: text)", false},
    [O_JSON] = {"json", 'j', NULL, "one JSON object with all of it", false},
    {NULL, 0, NULL, NULL, false},
};

enum { PSK_TEXT_N = 32, KID_N = 8, KEYS_MAX = 16 }; /* 32 letters of 5 bits */

struct minting {
    const struct cmd *c;
    const struct cmd_values *o;
    struct setup setup; /* of --authority */
    enum policy_dialect dialect;
    char key_path[4096];
    struct key keys[KEYS_MAX];
    size_t n_keys;
    struct claims claims;
    char kid[TOKEN_KID_MAX];
    struct crypto_ec pub;
    uint8_t raw[TOKEN_MAX];
    struct buf token;
};

static bool misused(struct minting *m, const char *what)
{
    (void)cmd_fail(m->c, CMD_USAGE, "%s", what);
    return false;
}

/* ---- who mints, and with what ---- */

static int find_authority(struct minting *m)
{
    const char *name = cmd_value(&m->o[O_AUTHORITY]);
    const char *file = m->o[O_CONFIG].n ? cmd_value(&m->o[O_CONFIG]) : CONFIG_FILE_DEFAULT;
    char text[CMD_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    if (!setup_open(&m->setup, file, false, cmd_now(), &diag))
        return cmd_complain(CMD_CONFIG, &diag);
    const struct policy *p = pep_policy(m->setup.pep);
    int i = policy_authority_find(p, bytes_str(name));
    if (i < 0)
        return cmd_fail(m->c, CMD_USAGE, "the policy %s has no authority '%s'", policy_name(p),
                        name);
    const struct policy_authority *a = policy_authority(p, (size_t)i);
    m->dialect = a->dialect;
    m->claims.has_iss = a->issuer != NULL;
    m->claims.iss = bytes_str(a->issuer);
    if (m->o[O_KEY].n)
        return CMD_OK;
    if (!a->keys)
        return cmd_fail(m->c, CMD_USAGE,
                        "authority '%s' has no `keys:` in the policy; name a key "
                        "with --key",
                        name);
    if (!key_file_path(m->setup.config->policy_dir, a->keys, m->key_path, sizeof m->key_path))
        return cmd_fail(m->c, CMD_CONFIG, "%s: the path is too long", a->keys);
    return CMD_OK;
}

static int read_keys(struct minting *m)
{
    char text[1024], kid_text[TOKEN_KID_MAX];
    struct buf diag = buf_on(text, sizeof text), kid = buf_on(kid_text, sizeof kid_text);
    if (!key_file_read(m->key_path, KEY_FILE_MINT, m->keys, KEYS_MAX, &m->n_keys, &diag))
        return cmd_complain(CMD_INPUT, &diag);
    if (!m->o[O_KEY_KID].n)
        return CMD_OK;
    if (!cmd_kid(m->c, cmd_value(&m->o[O_KEY_KID]), &kid))
        return CMD_USAGE;
    size_t n = 0;
    for (size_t i = 0; i < m->n_keys; i++)
        if (m->keys[i].alg == KEY_ALG_DERIVATION ||
            bytes_equal(key_kid(&m->keys[i]), buf_bytes(&kid)))
            m->keys[n++] = m->keys[i];
    m->n_keys = n;
    return CMD_OK;
}

static int choose_issuer(struct minting *m)
{
    static const char *const dialects[] = {"rfc9200", "ace-07", "oauth"};
    int status = m->o[O_AUTHORITY].n ? find_authority(m) : CMD_OK;
    if (status != CMD_OK)
        return status;
    if (m->o[O_KEY].n &&
        !key_file_path(NULL, cmd_value(&m->o[O_KEY]), m->key_path, sizeof m->key_path))
        return cmd_fail(m->c, CMD_INPUT, "--key: the path is too long");
    if (!m->key_path[0])
        return cmd_fail(m->c, CMD_USAGE, "a key to mint with is needed: --key or --authority");
    if (m->o[O_ISSUER].n) {
        m->claims.has_iss = true;
        m->claims.iss = bytes_str(cmd_value(&m->o[O_ISSUER]));
    }
    if (m->o[O_DIALECT].n) {
        const char *name = cmd_value(&m->o[O_DIALECT]);
        size_t i = 0;
        while (i < 3 && strcmp(name, dialects[i]) != 0)
            i++;
        if (i == 3)
            return cmd_fail(m->c, CMD_USAGE, "--dialect is rfc9200, ace-07 or oauth, not '%s'",
                            name);
        m->dialect = (enum policy_dialect)i;
    }
    if (m->o[O_JWT].n)
        m->dialect = POLICY_OAUTH;
    if (m->dialect == POLICY_OAUTH && m->o[O_CNF_DERIVED].n)
        return cmd_fail(m->c, CMD_USAGE, "--cnf-derived: a JWT has no such form");
    return read_keys(m);
}

/* ---- what it says ---- */

static bool read_when(struct minting *m, int option, int64_t now_s, int64_t *out)
{
    const char *text = cmd_value(&m->o[option]);
    int64_t s;
    bool ago = text[0] == '-'; /* an expired token, to see it refused */
    if (cmd_duration(text + ago, &s))
        *out = ago ? now_s - s : now_s + s;
    else if (!cmd_time(text, out))
        return misused(m,
                       option == O_EXP
                           ? "--exp wants 90s, 15m, 8h, 30d or a time such as 2026-02-03T04:05Z"
                           : "--nbf wants 90s, 15m, 8h, 30d or a time such as 2026-02-03T04:05Z");
    return true;
}

static unsigned method_number(const char *word, size_t n)
{
    static const char *const names[] = {"GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == n && strncasecmp(names[i], word, n) == 0)
            return i + 1;
    return 0;
}

/* "/lamp/state=GET,PUT"; "+GET" is for resources that the client made. */
static bool read_aif(struct minting *m, const char *text)
{
    const char *equals = strrchr(text, '=');
    if (text[0] != '/' || !equals || !equals[1])
        return misused(m, "--aif wants PATH=METHODS, such as /lamp/state=GET,PUT");
    struct policy_aif a = {bytes_of(text, (size_t)(equals - text)), 0};
    for (const char *at = equals + 1; *at;) {
        bool created = *at == '+';
        at += created;
        size_t n = strcspn(at, ",");
        unsigned method = method_number(at, n);
        if (!method)
            return misused(m, "--aif: methods are GET, POST, PUT, DELETE, FETCH, PATCH, iPATCH, "
                              "each with a '+' before it for resources that the client made");
        a.mask |= UINT64_C(1) << (method - 1 + (created ? 32 : 0));
        at += n + (at[n] == ',');
    }
    m->claims.aif[m->claims.n_aif++] = a;
    return true;
}

static bool read_claims(struct minting *m, int64_t now_s)
{
    struct claims *k = &m->claims;
    const struct cmd_values *o = m->o;
    if (!o[O_AUD].n)
        return misused(m, "--aud is needed: without an audience no gateway takes the token");
    if (o[O_AUD].n > TOKEN_AUD_MAX)
        return misused(m, "more audiences than a gateway looks at (8)");
    for (size_t i = 0; i < o[O_AUD].n; i++)
        k->aud[k->n_aud++] = bytes_str(o[O_AUD].v[i]);
    if (!o[O_SCOPE].n == !o[O_AIF].n)
        return misused(m, "one of --scope and --aif is needed");
    k->has_scope = true;
    k->scope_words = bytes_str(cmd_value(&o[O_SCOPE]));
    for (size_t i = 0; i < o[O_AIF].n; i++)
        if (!read_aif(m, o[O_AIF].v[i]))
            return false;
    k->sub = bytes_str(cmd_value(&o[O_SUB]));
    k->has_exp = true;
    k->exp_s = now_s + 3600;
    k->has_nbf = o[O_NBF].n > 0;
    return (!o[O_EXP].n || read_when(m, O_EXP, now_s, &k->exp_s)) &&
           (!o[O_NBF].n || read_when(m, O_NBF, now_s, &k->nbf_s));
}

/* ---- whom it is for ---- */

static bool read_symmetric(struct minting *m)
{
    struct cnf *cnf = &m->claims.cnf;
    struct buf key = buf_on(cnf->key, sizeof cnf->key);
    cnf->kind = CNF_SYMMETRIC;
    if (m->o[O_CNF_NEW].n) {
        cnf->key_n = PSK_TEXT_N;
        return cmd_random_text((char *)cnf->key, PSK_TEXT_N);
    }
    if (!cmd_hex(bytes_str(cmd_value(&m->o[O_CNF_KEY])), &key) || key.n < CWT_PROOF_KEY_MIN)
        return misused(m, "--cnf-key wants 8 to 32 bytes in hexadecimal");
    cnf->key_n = key.n;
    return true;
}

static bool read_public(struct minting *m)
{
    struct cnf *cnf = &m->claims.cnf;
    const char *file = cmd_value(&m->o[O_CNF_PUB]), *why = "it holds no EC public key in PEM";
    uint8_t *pem = NULL;
    size_t n = 0;
    bool ok = file_read(file, true, KEY_FILE_MAX, &pem, &n, &why) &&
              crypto_ec_from_pem(bytes_of(pem, n), &m->pub);
    free(pem);
    if (!ok) {
        (void)cmd_fail(m->c, CMD_INPUT, "--cnf-pub %s: %s", file, why);
        return false;
    }
    cnf->kind = CNF_EC;
    cnf->crv = m->pub.crv;
    cnf->x = crypto_ec_x(&m->pub);
    cnf->y = crypto_ec_y(&m->pub);
    return true;
}

static bool read_cnf(struct minting *m)
{
    const struct cmd_values *o = m->o;
    struct cnf *cnf = &m->claims.cnf;
    struct buf kid = buf_on(m->kid, sizeof m->kid);
    size_t n =
        o[O_CNF_NEW].n + o[O_CNF_KEY].n + o[O_CNF_PUB].n + o[O_CNF_DERIVED].n + o[O_BEARER].n;
    if (n != 1)
        return misused(m, "whom the token is for: one of --cnf-new, --cnf-key, --cnf-pub, "
                          "--cnf-derived or --bearer");
    if (o[O_BEARER].n)
        return true;
    if (o[O_CNF_PUB].n && !read_public(m))
        return false;
    if ((o[O_CNF_NEW].n || o[O_CNF_KEY].n) && !read_symmetric(m))
        return false;
    if (o[O_CNF_DERIVED].n)
        cnf->kind = CNF_DERIVED;
    if (o[O_KID].n) {
        if (!cmd_kid(m->c, cmd_value(&o[O_KID]), &kid))
            return false;
    } else if (cnf->kind != CNF_EC) {
        kid.n = KID_N;
        if (!cmd_random_text(m->kid, KID_N))
            return misused(m, "the kernel gives no randomness");
    }
    cnf->kid = buf_bytes(&kid);
    return true;
}

/* ---- minting ---- */

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

static int mint(struct minting *m)
{
    m->token = buf_on(m->raw, sizeof m->raw);
    if (m->dialect == POLICY_OAUTH)
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

/* ---- telling ---- */

/* {8: {1: {1: 4, 2: kid}}}, RFC 9202 3.3.2 */
static struct bytes identity(const struct minting *m, struct buf *out)
{
    cbor_put_map(out, 1);
    cbor_put_int(out, 8);
    cbor_put_map(out, 1);
    cbor_put_int(out, 1);
    cbor_put_map(out, 2);
    cbor_put_int(out, 1);
    cbor_put_int(out, COSE_KTY_SYMMETRIC);
    cbor_put_int(out, 2);
    cbor_put_bytes(out, m->claims.cnf.kid);
    return buf_bytes(out);
}

static bool is_text(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++)
        if (b.p[i] <= ' ' || b.p[i] >= 0x7f)
            return false;
    return true;
}

static void tell_how(const struct minting *m, const char *token)
{
    char kid[2 * TOKEN_KID_MAX + 3], when[32];
    uint8_t room[TOKEN_KID_MAX + 16];
    struct buf b = buf_on(room, sizeof room);
    const struct cnf *cnf = &m->claims.cnf;
    struct bytes key = bytes_of(cnf->key, cnf->key_n);
    (void)fprintf(stderr, "token: %zu bytes, until %s\n", m->token.n,
                  cmd_time_text(when, m->claims.exp_s));
    (void)fprintf(stderr,
                  "\nGive it to the gateway:\n  coap-client -m post -t %d -f %s "
                  "coap://GATEWAY/authz-info\n",
                  m->dialect == POLICY_OAUTH ? 42 : 61, token ? token : "TOKEN-FILE");
    if (cnf->kind == CNF_EC)
        (void)fprintf(stderr, "Then connect with a certificate of that key:\n  coap-client-openssl "
                              "-c CLIENT.crt -j CLIENT.key coaps://GATEWAY/PATH\n");
    if (cnf->key_n == 0)
        return;
    char hex[2 * TOKEN_KEY_MAX + 1];
    struct buf h = buf_on(hex, sizeof hex);
    hex_put(&h, key);
    (void)fprintf(stderr, "Then connect with the key (kid %s):\n  ", cmd_kid_text(kid, cnf->kid));
    struct bytes id = identity(m, &b);
    (void)fprintf(stderr, "coap-client-openssl -u \"$(printf '");
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] >= '0' && id.p[i] <= 'z' && id.p[i] != '\\')
            (void)fputc(id.p[i], stderr);
        else
            (void)fprintf(stderr, "\\%03o", id.p[i]);
    (void)fprintf(stderr, "')\" -k ");
    if (is_text(key))
        (void)fprintf(stderr, "%.*s", (int)key.n, (const char *)key.p);
    else
        (void)fprintf(stderr, "KEY");
    (void)fprintf(stderr, " coaps://GATEWAY/PATH\nThe key in hexadecimal: %.*s\n", (int)h.n, hex);
}

/* A slip in the audience or the scope shows now, not at the client. No more
 * than a note: to be refused is what some tokens are minted for. */
static void tell_verdict(struct minting *m)
{
    struct pep_taken t;
    char code[8];
    if (!m->setup.pep)
        return;
    pep_take_token(m->setup.pep, NULL, NULL, buf_bytes(&m->token), -1, cmd_now(), &t);
    if (t.err != PEP_OK)
        (void)fprintf(stderr, "note: this gateway would refuse it now: %s %s\n",
                      cmd_code_text(code, t.code), pep_err_str(t.err));
    else if (t.n_unknown + t.n_beyond > 0)
        (void)fprintf(stderr,
                      "note: of its scope %zu unknown to this gateway, %zu beyond the authority\n",
                      t.n_unknown, t.n_beyond);
}

static void json_hex(struct buf *out, const char *name, struct bytes b)
{
    json_put_key(out, name);
    buf_put_u8(out, '"');
    hex_put(out, b);
    buf_put_u8(out, '"');
}

static int tell_json(const struct minting *m)
{
    char text[16 << 10];
    uint8_t room[TOKEN_KID_MAX + 16];
    struct buf out = buf_on(text, sizeof text), b = buf_on(room, sizeof room);
    const struct cnf *cnf = &m->claims.cnf;
    buf_put_u8(&out, '{');
    json_hex(&out, "token", buf_bytes(&m->token));
    json_put_key(&out, "token_base64url");
    buf_put_u8(&out, '"');
    base64url_put(&out, buf_bytes(&m->token));
    buf_put_u8(&out, '"');
    if (m->dialect == POLICY_OAUTH) {
        json_put_key(&out, "jwt");
        json_put_string(&out, buf_bytes(&m->token));
    }
    json_member_u64(&out, "exp", m->claims.exp_s > 0 ? (uint64_t)m->claims.exp_s : 0);
    if (cnf->kid.n)
        json_hex(&out, "kid", cnf->kid);
    if (cnf->key_n) {
        json_hex(&out, "psk", bytes_of(cnf->key, cnf->key_n));
        json_hex(&out, "psk_identity", identity(m, &b));
    }
    buf_put_str(&out, "}\n");
    size_t done = fwrite(text, 1, out.n, stdout);
    crypto_wipe(text, sizeof text);
    return done == out.n && !out.full ? CMD_OK : CMD_OUTPUT;
}

static int deliver(struct minting *m)
{
    bool jwt = m->dialect == POLICY_OAUTH;
    const char *how = m->o[O_OUT].n ? cmd_value(&m->o[O_OUT]) : jwt ? "text" : "hex", *why;
    bool hex = strcmp(how, "hex") == 0, base64url = strcmp(how, "base64url") == 0,
         as_text = jwt && strcmp(how, "text") == 0;
    if (!hex && !base64url && !as_text && !file_write(how, buf_bytes(&m->token), 0600, false, &why))
        return cmd_fail(m->c, CMD_OUTPUT, "%s: %s", how, why);
    if (m->o[O_JSON].n)
        return tell_json(m);
    char text[2 * TOKEN_MAX + 2];
    struct buf out = buf_on(text, sizeof text);
    if (hex)
        hex_put(&out, buf_bytes(&m->token));
    else if (base64url)
        base64url_put(&out, buf_bytes(&m->token));
    else if (as_text)
        buf_put(&out, buf_bytes(&m->token));
    if (out.n)
        printf("%.*s\n", (int)out.n, text);
    (void)fflush(stdout);
    tell_how(m, out.n ? NULL : how);
    tell_verdict(m);
    return CMD_OK;
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    (void)args;
    struct minting *m = calloc(1, sizeof *m);
    if (!m)
        return cmd_fail(c, EX_OSERR, "out of memory");
    m->c = c;
    m->o = o;
    int status = CMD_OK;
    if (!read_claims(m, cmd_now()) || !read_cnf(m))
        status = CMD_USAGE;
    if (status == CMD_OK)
        status = choose_issuer(m);
    if (status == CMD_OK)
        status = mint(m);
    if (status == CMD_OK)
        status = deliver(m);
    setup_close(&m->setup);
    crypto_wipe(m, sizeof *m);
    free(m);
    return status;
}

const struct cmd cmd_token_new = {
    .name = "token new",
    .summary = "mint a token with a local key",
    .about = "The token goes to stdout (or a file), how to use it and the bound key to stderr.\n"
             "\n"
             "  postern token new -A home-as -a lamp -s guest --cnf-new -e 8h -o guest.cwt\n"
             "\n"
             "For an authority of the dialect oauth, and with --jwt, it is a JWT.\n"
             "Exit status: 0 done, 64 misused, 65 a key file cannot be used, 73 the file cannot\n"
             "be written, 78 bad configuration.\n",
    .options = options,
    .run = run,
};
