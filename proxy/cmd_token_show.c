/* postern token show: what a token says, and whether anybody vouches for it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../pep/base64url.h"
#include "../pep/jose.h"
#include "../pep/keys.h"
#include "../policy/hex.h"
#include "cmd_claims.h"
#include "cmd_key.h"
#include "cmd_token.h"
#include "file.h"
#include "json.h"
#include "setup.h"

enum { O_CONFIG, O_JSON, O_REVEAL };
static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "verify with the keys of this configuration", false},
    [O_JSON] = {"json", 'j', NULL, "one JSON object", false},
    [O_REVEAL] = {"reveal", 0, NULL, "print a symmetric key that the token carries", false},
    {NULL, 0, NULL, NULL, false},
};

/* ---- reading ---- */

static bool all(struct bytes s, bool (*is)(uint8_t))
{
    for (size_t i = 0; i < s.n; i++)
        if (!is(s.p[i]))
            return false;
    return s.n > 0;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_hex(uint8_t c)
{
    return is_space(c) || hex_digit(c) >= 0;
}

static bool is_base64url(uint8_t c)
{
    return is_space(c) || base64url_is_digit(c) || c == '=';
}

/* Lines may be broken, padding may follow; what is left must be strict. */
static bool read_base64url(struct bytes text, struct buf *out)
{
    uint8_t room[TOKEN_MAX / 3 * 4 + 4];
    struct buf digits = buf_on(room, sizeof room);
    bool end = false, ok = true;
    for (size_t i = 0; i < text.n && ok; i++) {
        uint8_t c = text.p[i];
        if (is_space(c))
            continue;
        ok = !end || c == '=';
        end = c == '=';
        if (!end)
            buf_put_u8(&digits, c);
    }
    ok = ok && !digits.full && base64url_read(buf_bytes(&digits), out);
    crypto_wipe(room, sizeof room);
    return ok;
}

static bool is_print(uint8_t c)
{
    return c > 0x20 && c < 0x7f;
}

static bool is_token(struct bytes raw)
{
    struct token_unverified t;
    bool ok = token_peek(raw, &t) != PEP_MALFORMED;
    token_clear(&t.token);
    return ok;
}

int cmd_token_read(const struct cmd *c, const char *file, struct buf *out)
{
    const char *why;
    uint8_t *p;
    size_t n;
    if (!file_read(file, true, 4 * TOKEN_MAX, &p, &n, &why))
        return cmd_fail(c, CMD_INPUT, "%s: %s", file, why);
    struct bytes all_of = bytes_of(p, n), line = all_of;
    while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    bool hex = all(all_of, is_hex), text = all(line, is_print), decoded = false;
    if (!jose_is_compact(line) && (hex || all(all_of, is_base64url)))
        decoded = hex ? cmd_hex(all_of, out) : read_base64url(all_of, out);
    /* A reference may be of the same letters: then it is meant as it stands. */
    if (!decoded || !is_token(buf_bytes(out))) {
        out->n = 0;
        out->full = false;
        buf_put(out, text ? line : all_of);
    }
    crypto_wipe(p, n);
    free(p);
    if (out->full)
        return cmd_fail(c, CMD_INPUT, "%s: longer than a token may be (%d bytes)", file, TOKEN_MAX);
    if (out->n == 0)
        return cmd_fail(c, CMD_INPUT, "%s: empty", file);
    return CMD_OK;
}

const char *cmd_code_text(char out[8], uint8_t code)
{
    (void)snprintf(out, 8, "%u.%02u", code >> 5, code & 31u);
    return out;
}

const char *cmd_safe_text(char *out, size_t cap, struct bytes s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n && n + 5 < cap; i++)
        n += (size_t)snprintf(out + n, cap - n,
                              s.p[i] >= ' ' && s.p[i] < 0x7f && s.p[i] != '\\' ? "%c" : "\\x%02x",
                              s.p[i]);
    out[n] = '\0';
    return out;
}

/* ---- showing ---- */

struct shown {
    const struct cmd *c;
    bool reveal;
    struct setup setup;
    struct bytes raw;
    struct token_unverified peek;
    struct token token;          /* if it was verified */
    const struct claims *claims; /* its, else what could be read; or NULL */
    bool checked;                /* -c was given */
    enum pep_err verified;       /* PEP_OK with `checked`: the authority vouches */
    struct pep_taken taken;      /* what the gateway would say now */
};

static const char *authority(const struct shown *s)
{
    if (!s->checked || s->verified != PEP_OK)
        return NULL;
    return policy_authority(pep_policy(s->setup.pep), (size_t)s->token.authority)->name;
}

static void print_verdict(const struct shown *s)
{
    char code[8];
    if (!s->checked)
        printf("UNVERIFIED: no key was tried; give -c CONFIG to verify\n");
    else if (s->verified != PEP_OK)
        printf("UNVERIFIED: %s\n", pep_err_str(s->verified));
    else
        printf("verified: authority %s\n", authority(s));
    if (s->checked)
        printf("posted to this gateway now: %s %s\n", cmd_code_text(code, s->taken.code),
               pep_err_str(s->taken.err));
    if (s->checked && s->taken.n_unknown + s->taken.n_beyond > 0)
        printf("of its scope %zu unknown here, %zu beyond its authority\n", s->taken.n_unknown,
               s->taken.n_beyond);
}

static void print(const struct shown *s)
{
    char kid[2 * TOKEN_KID_MAX + 3];
    const struct claims *k = s->claims;
    print_verdict(s);
    printf("%s, %s%s%s, %zu bytes\n", s->peek.format, s->peek.alg, s->peek.kid.n ? ", kid " : "",
           s->peek.kid.n && s->peek.kid.n <= TOKEN_KID_MAX ? cmd_kid_text(kid, s->peek.kid) : "",
           s->raw.n);
    if (!k) {
        printf("its claims cannot be read%s\n", s->checked ? "" : " without a key");
        return;
    }
    cmd_print_claims(k, s->reveal);
}

static int print_json(const struct shown *s)
{
    char text[32 << 10], code[8];
    struct buf out = buf_on(text, sizeof text);
    buf_put_u8(&out, '{');
    json_member_bool(&out, "verified", authority(s) != NULL);
    json_member(&out, "authority", authority(s));
    if (s->checked) {
        json_member(&out, "verdict", pep_err_str(s->taken.err));
        json_member(&out, "code", cmd_code_text(code, s->taken.code));
    }
    json_member(&out, "format", s->peek.format);
    json_member(&out, "alg", s->peek.alg);
    cmd_json_hex(&out, "kid", s->peek.kid);
    cmd_json_hex(&out, "hash", bytes_of(s->peek.token.hash, TOKEN_HASH));
    if (s->claims)
        cmd_json_claims(s->claims, s->reveal, &out);
    buf_put_str(&out, "}\n");
    size_t done = fwrite(text, 1, out.n, stdout);
    crypto_wipe(text, sizeof text);
    return done == out.n && !out.full ? CMD_OK : CMD_OUTPUT;
}

/* ---- the command ---- */

static int verify(struct shown *s, const char *file)
{
    char text[CMD_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    if (!setup_open(&s->setup, file, false, cmd_now(), &diag))
        return cmd_complain(CMD_CONFIG, &diag);
    struct keys *keys = keys_load(pep_policy(s->setup.pep), s->setup.config->policy_dir, &diag);
    if (!keys)
        return cmd_complain(CMD_CONFIG, &diag);
    s->checked = true;
    s->verified = token_verify(keys, s->raw, &s->token);
    if (s->verified == PEP_OK)
        s->claims = &s->token.claims;
    keys_free(keys);
    pep_take_token(s->setup.pep, NULL, NULL, s->raw, -1, cmd_now(), &s->taken);
    return CMD_OK;
}

static int show(struct shown *s, const struct cmd_values *o, const struct cmd_values *args)
{
    uint8_t raw[TOKEN_MAX];
    struct buf b = buf_on(raw, sizeof raw);
    int status = cmd_token_read(s->c, args->v[0], &b);
    if (status != CMD_OK)
        return status;
    s->raw = buf_bytes(&b);
    s->reveal = o[O_REVEAL].n > 0;
    enum pep_err err = token_peek(s->raw, &s->peek);
    if (err != PEP_OK)
        return cmd_fail(s->c, CMD_INPUT, "%s: %s", args->v[0], pep_err_str(err));
    if (s->peek.readable)
        s->claims = &s->peek.token.claims;
    if (o[O_CONFIG].n)
        status = verify(s, cmd_value(&o[O_CONFIG]));
    if (status == CMD_OK && o[O_JSON].n)
        status = print_json(s);
    else if (status == CMD_OK)
        print(s);
    crypto_wipe(raw, sizeof raw);
    return status == CMD_OK && s->checked && s->verified != PEP_OK ? CMD_NO : status;
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    struct shown *s = calloc(1, sizeof *s);
    if (!s)
        return cmd_fail(c, EX_OSERR, "out of memory");
    s->c = c;
    int status = show(s, o, args);
    token_clear(&s->peek.token);
    token_clear(&s->token);
    setup_close(&s->setup);
    free(s);
    return status;
}

const struct cmd cmd_token_show = {
    .name = "token show",
    .args = "FILE",
    .summary = "print what a token says, and who vouches for it",
    .about = "FILE may be -; binary, hexadecimal, base64url and JWTs are told apart. Without -c "
             "nothing\n"
             "is verified, and the output says so. Keys are not printed unless asked for.\n"
             "Exit status: 0 shown (and verified, with -c), 1 not verified, 65 not a token,\n"
             "64 misused, 78 bad configuration.\n",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
