/* Claims as commands show them: lines for people, members for programs. */
#include "cmd_claims.h"

#include <stdio.h>

#include "../pep/base64url.h"
#include "../pep/crypto.h"
#include "../policy/hex.h"
#include "cmd_key.h"
#include "cmd_token.h"
#include "json.h"

enum { SHOWN = 512 };

static void print_text(const char *name, struct bytes s)
{
    char text[SHOWN];
    if (s.n)
        printf("  %-9s %s\n", name, cmd_safe_text(text, sizeof text, s));
}

static void print_time(const char *name, bool has, int64_t s, bool over)
{
    char text[32];
    if (has)
        printf("  %-9s %s%s\n", name, cmd_time_text(text, s), over ? "  (past)" : "");
}

static void print_aif(const struct claims *k)
{
    static const char *const names[] = {"GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"};
    for (size_t i = 0; i < k->n_aif; i++) {
        char text[SHOWN];
        printf("  %-9s %s =", i ? "" : "scope", cmd_safe_text(text, sizeof text, k->aif[i].path));
        for (unsigned bit = 0; bit < 64; bit++)
            if (k->aif[i].mask >> bit & 1) {
                if (bit % 32 < 7)
                    printf(" %s%s", bit >= 32 ? "+" : "", names[bit % 32]);
                else
                    printf(" bit-%u", bit);
            }
        printf("\n");
    }
}

static void print_cnf(const struct cnf *k, bool reveal)
{
    static const char *const kinds[] = {
        [CNF_NONE] = "none: whoever holds the token may use it",
        [CNF_SYMMETRIC] = "a symmetric key",
        [CNF_EC] = "the holder of a public key",
        [CNF_KID] = "a key known by its kid",
        [CNF_DERIVED] = "a key derived from the token",
        [CNF_X5T] = "the certificate with SHA-256",
        [CNF_JKT] = "the key with the thumbprint",
    };
    char kid[2 * TOKEN_KID_MAX + 3], hex[2 * TOKEN_KEY_MAX + 1];
    printf("  %-9s %s", "cnf", kinds[k->kind]);
    if (k->kid.n && k->kid.n <= TOKEN_KID_MAX)
        printf(", kid %s", cmd_kid_text(kid, k->kid));
    if (k->kind == CNF_EC)
        printf(" (P-%d)", k->crv == CRYPTO_P256 ? 256 : k->crv == CRYPTO_P384 ? 384 : 521);
    if (k->kind == CNF_X5T || k->kind == CNF_JKT) {
        char text[64];
        struct buf b = buf_on(text, sizeof text);
        base64url_put(&b, bytes_of(k->key, k->key_n));
        printf(" %.*s", (int)b.n, text);
    } else if (k->key_n && reveal) {
        struct buf b = buf_on(hex, sizeof hex);
        hex_put(&b, bytes_of(k->key, k->key_n));
        printf(", %.*s", (int)b.n, hex);
    } else if (k->key_n) {
        printf(", %zu bytes (--reveal prints it)", k->key_n);
    }
    printf("\n");
}

void cmd_print_claims(const struct claims *k, bool reveal)
{
    int64_t now_s = cmd_now();
    print_text("iss", k->iss);
    bool m2m = k->permissions.n > 0;
    print_text(m2m ? "holder" : "sub", k->sub);
    if (m2m)
        print_text("id", k->cti);
    for (size_t i = 0; i < k->n_aud; i++)
        print_text("aud", k->aud[i]);
    print_text("scope", k->scope_words);
    print_aif(k);
    print_time("exp", k->has_exp, k->exp_s, k->exp_s <= now_s);
    print_time("nbf", k->has_nbf, k->nbf_s, false);
    print_time("iat", k->has_iat, k->iat_s, false);
    if (k->cti.n && !m2m) {
        char hex[2 * SHOWN];
        struct buf b = buf_on(hex, sizeof hex);
        hex_put(&b, k->cti.n <= SHOWN ? k->cti : bytes_of(k->cti.p, SHOWN));
        printf("  %-9s %.*s\n", "cti", (int)b.n, hex);
    }
    if (m2m && k->cnf.kind == CNF_NONE)
        printf("  %-9s its holder, whom the association must prove\n", "for");
    else
        print_cnf(&k->cnf, reveal);
    if (m2m)
        cmd_print_permissions(k->permissions);
}

static void json_text(struct buf *out, const char *name, struct bytes s)
{
    if (!s.n)
        return;
    json_put_key(out, name);
    json_put_string(out, s);
}

void cmd_json_hex(struct buf *out, const char *name, struct bytes s)
{
    if (!s.n)
        return;
    json_put_key(out, name);
    buf_put_u8(out, '"');
    hex_put(out, s);
    buf_put_u8(out, '"');
}

static void json_time(struct buf *out, const char *name, bool has, int64_t s)
{
    if (has && s >= 0)
        json_member_u64(out, name, (uint64_t)s);
}

void cmd_json_claims(const struct claims *k, bool reveal, struct buf *out)
{
    static const char *const kinds[] = {"none",    "symmetric",   "public",    "kid",
                                        "derived", "certificate", "thumbprint"};
    json_put_key(out, "claims");
    buf_put_u8(out, '{');
    json_text(out, "iss", k->iss);
    bool m2m = k->permissions.n > 0;
    json_text(out, m2m ? "holder" : "sub", k->sub);
    if (m2m)
        json_text(out, "id", k->cti);
    json_put_key(out, "aud");
    buf_put_u8(out, '[');
    for (size_t i = 0; i < k->n_aud; i++) {
        if (i)
            buf_put_u8(out, ',');
        json_put_string(out, k->aud[i]);
    }
    buf_put_u8(out, ']');
    json_text(out, "scope", k->scope_words);
    if (m2m) {
        json_put_key(out, "permissions");
        buf_put(out, k->permissions);
    }
    if (k->n_aif) {
        json_put_key(out, "aif");
        buf_put_u8(out, '[');
        for (size_t i = 0; i < k->n_aif; i++) {
            buf_put_str(out, i ? ",[" : "[");
            json_put_string(out, k->aif[i].path);
            buf_put_u8(out, ',');
            json_put_u64(out, k->aif[i].mask);
            buf_put_u8(out, ']');
        }
        buf_put_u8(out, ']');
    }
    json_time(out, "exp", k->has_exp, k->exp_s);
    json_time(out, "nbf", k->has_nbf, k->nbf_s);
    json_time(out, "iat", k->has_iat, k->iat_s);
    cmd_json_hex(out, "cti", m2m ? BYTES_NONE : k->cti);
    json_member(out, "cnf", kinds[k->cnf.kind]);
    cmd_json_hex(out, "cnf_kid", k->cnf.kid);
    if (reveal || k->cnf.kind == CNF_X5T || k->cnf.kind == CNF_JKT)
        cmd_json_hex(out, "cnf_key", bytes_of(k->cnf.key, k->cnf.key_n));
    buf_put_u8(out, '}');
}
