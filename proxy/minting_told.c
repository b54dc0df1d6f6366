/* The minted token, on its way out: to stdout or a file, and to people how it
 * is used. */
#include <stdio.h>

#include "../pep/base64url.h"
#include "../pep/cbor.h"
#include "../policy/hex.h"
#include "cmd_key.h"
#include "cmd_token.h"
#include "file.h"
#include "json.h"
#include "minting.h"

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

static bool is_jwt(const struct minting *m)
{
    return m->dialect == POLICY_OAUTH || m->dialect == POLICY_ONEM2M;
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
                  is_jwt(m) ? 42 : 61, token ? token : "TOKEN-FILE");
    if (m->dialect == POLICY_ONEM2M && cnf->kind == CNF_NONE)
        (void)fprintf(stderr, "It counts for requests of %.*s, which may also carry it in tkns.\n",
                      (int)m->claims.sub.n, (const char *)m->claims.sub.p);
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
static void tell_verdict(const struct minting *m)
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
    if (is_jwt(m)) {
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

int minting_deliver(const struct minting *m)
{
    bool jwt = is_jwt(m);
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
