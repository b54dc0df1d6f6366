/* postern key new: a key for a local issuer. */
#include "cmd_key.h"

#include <stdio.h>
#include <stdlib.h>

#include "../pep/key_file.h"
#include "../policy/hex.h"

enum { O_ALG, O_KID, O_PUBLIC, O_DERIVATION };
enum { KID_N = 6 };

static const struct cmd_option options[] = {
    [O_ALG] = {"alg", 'a', "NAME", "what the key is for (A128GCM)", false},
    [O_KID] = {"kid", 'k', "KID", "key ID, text or 0xHEX (random)", false},
    [O_PUBLIC] = {"public", 'p', "FILE", "write the public half there too (ES256 and kin)", false},
    [O_DERIVATION] = {"derivation", 'd', NULL, "add a key that proof keys are derived from", false},
    {NULL, 0, NULL, NULL, false},
};

int cmd_alg(const struct cmd *c, const char *name)
{
    const struct crypto_alg *a;
    char *end;
    long number = strtol(name, &end, 10);
    if (strcmp(name, "derivation") == 0)
        return KEY_ALG_DERIVATION;
    for (size_t i = 0; (a = crypto_alg_at(i)); i++)
        if (strcasecmp(a->name, name) == 0 || (*name && !*end && a->alg == number))
            return a->alg;
    char known[512];
    struct buf b = buf_on(known, sizeof known - 1);
    for (size_t i = 0; (a = crypto_alg_at(i)); i++) {
        buf_put_str(&b, i ? ", " : "");
        buf_put_str(&b, a->name);
    }
    known[b.n] = '\0';
    (void)cmd_fail(c, CMD_USAGE, "unknown algorithm '%s'; known: %s", name, known);
    return 0;
}

static const char *alg_name(int alg)
{
    const struct crypto_alg *a = crypto_alg(alg);
    return a ? a->name : alg == KEY_ALG_DERIVATION ? "derivation" : "any";
}

bool cmd_kid(const struct cmd *c, const char *text, struct buf *out)
{
    bool ok = true;
    if (strncmp(text, "0x", 2) == 0)
        ok = cmd_hex(bytes_str(text + 2), out);
    else
        buf_put_str(out, text);
    if (ok && !out->full && out->n > 0)
        return true;
    (void)cmd_fail(c, CMD_USAGE, "'%s' is no key ID: text or 0xHEX, 1 to %d bytes", text,
                   TOKEN_KID_MAX);
    return false;
}

const char *cmd_kid_text(char out[2 * TOKEN_KID_MAX + 3], struct bytes kid)
{
    struct buf b = buf_on(out, 2 * TOKEN_KID_MAX + 2);
    bool printable = kid.n > 0;
    for (size_t i = 0; i < kid.n; i++)
        printable = printable && kid.p[i] > ' ' && kid.p[i] < 0x7f;
    if (printable) {
        buf_put(&b, kid);
    } else {
        buf_put_str(&b, "0x");
        hex_put(&b, kid);
    }
    out[b.n] = '\0';
    return out;
}

bool cmd_random_text(char *out, size_t n)
{
    /* 32 of them: five bits each, no bias, none that is read as another. */
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    if (!crypto_random(out, n))
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = letters[(uint8_t)out[i] & 31];
    return true;
}

static bool make(const struct cmd *c, const struct cmd_values *o, struct key *keys, size_t *n)
{
    char text[TOKEN_KID_MAX];
    struct buf kid = buf_on(text, sizeof text);
    int alg = cmd_alg(c, o[O_ALG].n ? cmd_value(&o[O_ALG]) : "A128GCM");
    if (alg == 0)
        return false;
    if (o[O_KID].n && !cmd_kid(c, cmd_value(&o[O_KID]), &kid))
        return false;
    if (!o[O_KID].n) {
        kid.n = KID_N;
        if (!cmd_random_text(text, KID_N))
            return false;
    }
    if (!key_generate(alg, buf_bytes(&kid), &keys[(*n)++]))
        return false;
    return !o[O_DERIVATION].n || key_generate(KEY_ALG_DERIVATION, BYTES_NONE, &keys[(*n)++]);
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    char text[1024], kid[2 * TOKEN_KID_MAX + 3];
    struct buf diag = buf_on(text, sizeof text);
    struct key keys[2] = {{.kind = KEY_NONE}};
    size_t n = 0;
    const char *public = cmd_value(&o[O_PUBLIC]);
    int status = CMD_OK;
    if (!make(c, o, keys, &n))
        status = n ? cmd_fail(c, EX_OSERR, "no key could be made") : CMD_USAGE;
    else if (public && keys[0].kind != KEY_EC)
        status = cmd_fail(c, CMD_USAGE, "--public: a key for %s has no public half",
                          alg_name(keys[0].alg));
    else if (!key_file_create(args->v[0], keys, n, true, &diag))
        status = cmd_complain(CMD_OUTPUT, &diag);
    else if (public && !key_file_create(public, keys, 1, false, &diag))
        status = cmd_complain(CMD_OUTPUT, &diag);
    else
        printf("%s: %s, kid %s%s\n", args->v[0], alg_name(keys[0].alg),
               cmd_kid_text(kid, key_kid(&keys[0])), n > 1 ? ", and a derivation key" : "");
    for (size_t i = 0; i < n; i++)
        key_clear(&keys[i]);
    return status;
}

const struct cmd cmd_key_new = {
    .name = "key new",
    .args = "FILE",
    .summary = "make a key file for a local issuer of tokens",
    .about = "Writes a COSE_KeySet, mode 0640, that `postern token new` mints with and that an\n"
             "authority of the policy checks with (`keys: FILE`). A file that exists is left\n"
             "alone. Tokens that carry a symmetric key must be encrypted: A128GCM and the other\n"
             "AES algorithms do that; ES256 and HMAC do not. With --public the gateway can be\n"
             "given the public half alone.\n"
             "Exit status: 0 done, 64 misused, 73 the file cannot be written.\n",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
