/* postern token new: mints a CWT or a JWT with a local key, for guests of a house
 * without an authorization server, and for trying things out. */
#include <stdlib.h>

#include "../pep/cwt.h"
#include "cmd_key.h"
#include "file.h"
#include "minting.h"

static const struct cmd_option options[] = {
    [O_KEY] = {"key", 'k', "FILE", "mint with this key (COSE_KeySet, JWK, PEM or hex)", false},
    [O_KEY_KID] = {"key-kid", 0, "KID", "of several in the file, this one", false},
    [O_ALG] = {"alg", 0, "NAME", "algorithm, where the key leaves a choice", false},
    [O_CONFIG] = {"config", 'c', "FILE", "for --authority (" CONFIG_FILE_DEFAULT ")", false},
    [O_AUTHORITY] = {"authority", 'A', "NAME",
                     "issuer, dialect and key as the policy has them for it", false},
    [O_ISSUER] = {"issuer", 0, "TEXT", "claim iss", false},
    [O_DIALECT] = {"dialect", 0, "NAME", "rfc9200 (default), ace-07, oauth or onem2m", false},
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
    [O_HOLDER] = {"holder", 0, "ID", "oneM2M: whose requests it is for, such as //sp/cse/Cae",
                  false},
    [O_ID] = {"id", 0, "ID", "oneM2M: the token's own, name@fqdn (random)", false},
    [O_ROLE] = {"role", 0, "ROLE", "oneM2M: a role ID, or with -A an alias", true},
    [O_ON] = {"on", 0, "RESOURCE", "oneM2M: for these resources alone, * within a segment", true},
    [O_PERMIT] = {"permit", 0, "OPERATIONS", "oneM2M: RETRIEVE,UPDATE by itself, for its holder",
                  false},
    [O_PERMISSIONS] = {"permissions", 0, "FILE", "oneM2M: tkps, or its list, as JSON", false},
    [O_CLASS] = {"class", 0, "NAME", "oneM2M: jws, jwe or nested", false},
    [O_OWN_NAMES] = {"own-names", 0, NULL, "oneM2M: claims as TS-0004 names them", false},
    [O_OUT] = {"out", 'o', "FILE|hex|base64url|text",
               "where or how the token goes (hex; a JWT: text)", false},
    [O_JSON] = {"json", 'j', NULL, "one JSON object with all of it", false},
    {NULL, 0, NULL, NULL, false},
};

enum { PSK_TEXT_N = 32, KID_N = 8 }; /* 32 letters of 5 bits */

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
    m->authority = a;
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
    if (!key_file_read(m->key_path, KEY_FILE_MINT, m->keys, MINTING_KEYS_MAX, &m->n_keys, &diag))
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
    static const char *const dialects[] = {"rfc9200", "ace-07", "oauth", "onem2m"};
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
        while (i < 4 && strcmp(name, dialects[i]) != 0)
            i++;
        if (i == 4)
            return cmd_fail(m->c, CMD_USAGE,
                            "--dialect is rfc9200, ace-07, oauth or onem2m, not '%s'", name);
        m->dialect = (enum policy_dialect)i;
    } else if (minting_is_m2m(m) && !m->o[O_AUTHORITY].n) {
        m->dialect = POLICY_ONEM2M;
    }
    if (m->o[O_JWT].n)
        m->dialect = POLICY_OAUTH;
    if ((m->dialect == POLICY_OAUTH || m->dialect == POLICY_ONEM2M) && m->o[O_CNF_DERIVED].n)
        return cmd_fail(m->c, CMD_USAGE, "--cnf-derived: a JWT has no such form");
    if ((m->dialect == POLICY_ONEM2M) != minting_is_m2m(m))
        return cmd_fail(m->c, CMD_USAGE,
                        m->dialect == POLICY_ONEM2M
                            ? "a token of the dialect onem2m says whose it is: --holder"
                            : "--holder is for the dialect onem2m");
    if (minting_is_m2m(m) && !minting_settle_m2m(m))
        return CMD_USAGE;
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
    if (!o[O_AUD].n && !minting_is_m2m(m))
        return misused(m, "--aud is needed: without an audience no gateway takes the token");
    if (o[O_AUD].n > TOKEN_AUD_MAX)
        return misused(m, "more audiences than a gateway looks at (8)");
    for (size_t i = 0; i < o[O_AUD].n; i++)
        k->aud[k->n_aud++] = bytes_str(o[O_AUD].v[i]);
    if (minting_is_m2m(m)) {
        if (!minting_read_m2m(m))
            return false;
    } else {
        if (!o[O_SCOPE].n == !o[O_AIF].n)
            return misused(m, "one of --scope and --aif is needed");
        k->has_scope = true;
        k->scope_words = bytes_str(cmd_value(&o[O_SCOPE]));
        for (size_t i = 0; i < o[O_AIF].n; i++)
            if (!read_aif(m, o[O_AIF].v[i]))
                return false;
        k->sub = bytes_str(cmd_value(&o[O_SUB]));
    }
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
    if (n == 0 && minting_is_m2m(m)) /* its holder is who proves it */
        return true;
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
        status = minting_mint(m);
    if (status == CMD_OK)
        status = minting_deliver(m);
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
             "For an authority of the dialect oauth, and with --jwt, it is a JWT; with --holder "
             "one of\n"
             "oneM2M:\n"
             "\n"
             "  postern token new -A das --holder //sp.example/cse1/Cphone --role guest -e 2d\n"
             "Exit status: 0 done, 64 misused, 65 a key file cannot be used, 73 the file cannot\n"
             "be written, 78 bad configuration.\n",
    .options = options,
    .run = run,
};
