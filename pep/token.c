#include "token.h"

#include "cbor.h"
#include "cose.h"
#include "cwt.h"
#include "jwt.h"
#include "m2m_token.h"

/* The key that opens the message, among those of `authority` (-1: all). */
static enum pep_err open_with_any(const struct keys *keys, int authority, const struct cose *m,
                                  struct buf *plain, struct bytes *content, int *whose)
{
    struct keys_found found;
    keys_find(keys, authority, m->alg, m->kid, &found);
    if (found.n == 0) /* the kid is known, but its key is for something else */
        return found.kid_known ? PEP_PROTECTION : PEP_UNKNOWN_KEY;
    enum pep_err e = PEP_PROTECTION;
    for (size_t i = 0; i < found.n; i++) {
        e = cose_open(m, found.key[i], plain, content);
        if (e == PEP_OK) {
            *whose = found.key[i]->authority;
            return PEP_OK;
        }
    }
    return e;
}

static bool is_claims(struct bytes content)
{
    struct cbor c = cbor_on(content);
    return cbor_peek(&c) == CBOR_MAP;
}

static enum pep_err verify_cose(const struct keys *keys, struct bytes raw, struct token *out)
{
    struct buf plain = buf_on(out->plain, sizeof out->plain);
    struct bytes content;
    struct cose m;
    /* A token inside a byte string is no CWT: RFC 8392 has no such form, and
     * each layer of wrapping would be one more name for one token. (Servers
     * were seen to wrap reference tokens; those are not for here.) */
    enum pep_err e = cose_parse(raw, &m);
    if (e != PEP_OK)
        return e;
    e = open_with_any(keys, -1, &m, &plain, &content, &out->authority);
    if (e != PEP_OK)
        return e;
    bool encrypted = m.kind == COSE_ENCRYPT0;
    if (encrypted && !is_claims(content)) {
        /* Signed, then encrypted (RFC 8392 A.6); no other order and no third
         * layer (TOKEN_NEST_MAX). Both keys must be of one authority: a
         * stranger to its encryption key cannot pass its token off as
         * another's secret one. */
        int whose;
        e = cose_parse(content, &m);
        if (e != PEP_OK)
            return e == PEP_MALFORMED ? PEP_CLAIMS : e;
        if (m.kind == COSE_ENCRYPT0)
            return PEP_TOO_DEEP;
        e = open_with_any(keys, out->authority, &m, &plain, &content, &whose);
        if (e != PEP_OK)
            return e;
    }
    struct cwt_source from = {
        .keys = keys,
        .authority = out->authority,
        .dialect = keys_dialect(keys, out->authority),
        .encrypted = encrypted,
        .raw = raw,
        .plain = &plain,
    };
    return cwt_read(content, &from, &out->claims);
}

static enum pep_err verify_jose(const struct keys *keys, struct bytes raw, struct token *out)
{
    struct buf plain = buf_on(out->plain, sizeof out->plain);
    struct jwt_opened opened;
    enum pep_err e = jwt_open(keys, -1, JWT_ACCESS_TOKEN, raw, &plain, &opened);
    if (e != PEP_OK)
        return e;
    out->authority = opened.authority;
    struct jwt_source from = {.keys = keys,
                              .authority = opened.authority,
                              .encrypted = opened.encrypted,
                              .plain = &plain};
    return keys_dialect(keys, opened.authority) == POLICY_ONEM2M
               ? m2m_token_read(opened.content, &from, &out->claims)
               : jwt_read(opened.content, &from, &out->claims);
}

enum pep_err token_verify(const struct keys *keys, struct bytes raw, struct token *out)
{
    if (raw.n > TOKEN_MAX)
        return PEP_TOO_LARGE;
    out->authority = -1;
    enum pep_err e =
        jose_is_compact(raw) ? verify_jose(keys, raw, out) : verify_cose(keys, raw, out);
    if (e == PEP_OK && !crypto_sha256(raw, out->hash))
        e = PEP_PROTECTION;
    if (e != PEP_OK)
        token_clear(out);
    return e;
}

bool token_is_costly(struct bytes raw)
{
    struct jose j;
    struct cose c;
    if (raw.n > TOKEN_MAX)
        return false;
    if (jose_is_compact(raw))
        return jose_parse(raw, &j) == PEP_OK && j.alg &&
               (j.alg->class == CRYPTO_SIGN || crypto_jose_is_rsa(j.alg) ||
                crypto_jose_is_ecdh(j.alg));
    return cose_parse(raw, &c) == PEP_OK && c.alg->class == CRYPTO_SIGN;
}

static enum pep_err peek_jose(struct bytes raw, struct token_unverified *out)
{
    struct jose m;
    enum pep_err e = jose_parse(raw, &m);
    if (e != PEP_OK)
        return e;
    *out = (struct token_unverified){.token = {.authority = -1},
                                     .format = m.kind == JOSE_JWS ? "JWS" : "JWE",
                                     .alg = m.alg ? m.alg->name : "dir"};
    struct token *t = &out->token;
    struct buf plain = buf_on(t->plain, sizeof t->plain);
    buf_put(&plain, jose_kid(&m));
    out->kid = buf_bytes(&plain);
    if (!crypto_sha256(raw, t->hash))
        return PEP_PROTECTION;
    /* `encrypted`: a secret in the open is shown for what it is. */
    struct bytes content;
    struct jwt_source from = {.authority = -1, .encrypted = true, .plain = &plain};
    size_t start = plain.n;
    /* Whose dialect it is, nobody can know yet: oneM2M's tokens have claims
     * that others have not. */
    for (int i = 0; i < 2 && m.kind == JOSE_JWS && !out->readable; i++) {
        plain = (struct buf){t->plain, start, sizeof t->plain, false};
        out->readable = jose_peek(&m, &plain, &content) &&
                        (i == 0 ? m2m_token_read(content, &from, &t->claims)
                                : jwt_read(content, &from, &t->claims)) == PEP_OK;
    }
    return PEP_OK;
}

enum pep_err token_peek(struct bytes raw, struct token_unverified *out)
{
    static const char *const format[] = {
        [COSE_SIGN1] = "COSE_Sign1", [COSE_MAC0] = "COSE_Mac0", [COSE_ENCRYPT0] = "COSE_Encrypt0"};
    struct cose m;
    if (raw.n > TOKEN_MAX)
        return PEP_TOO_LARGE;
    if (jose_is_compact(raw))
        return peek_jose(raw, out);
    enum pep_err e = cose_parse(raw, &m);
    if (e != PEP_OK)
        return e;
    *out = (struct token_unverified){
        .token = {.authority = -1}, .format = format[m.kind], .alg = m.alg->name, .kid = m.kid};
    if (!crypto_sha256(raw, out->token.hash))
        return PEP_PROTECTION;
    if (m.kind == COSE_ENCRYPT0)
        return PEP_OK;
    /* Whose dialect it is, nobody can know yet: as the RFC has it, else as
     * the draft. `encrypted`: a secret in the open is shown for what it is. */
    struct buf none = buf_on(NULL, 0);
    struct cwt_source from = {.authority = -1, .encrypted = true, .raw = raw, .plain = &none};
    for (int d = POLICY_RFC9200; d <= POLICY_ACE07 && !out->readable; d++) {
        from.dialect = (enum policy_dialect)d;
        out->readable = cwt_read(m.content, &from, &out->token.claims) == PEP_OK;
    }
    return PEP_OK;
}

enum pep_err token_check_times(const struct claims *c, const char *issuer, int64_t now_s,
                               int64_t build_s)
{
    /* RFC 9200 5.10.1.1: iss "if present". Without it, the key says whose
     * token it is. An authority without an issuer has tokens without iss. */
    if (c->has_iss && (!issuer || !bytes_equal_str(c->iss, issuer)))
        return PEP_ISSUER;
    /* A lifetime from the first sight needs no clock (RFC 9200 5.10.3). */
    if (now_s < build_s && (c->has_exp || c->has_nbf))
        return PEP_CLOCK;
    if (c->has_exp && now_s >= c->exp_s) /* RFC 7519 4.1.4: not on or after */
        return PEP_EXPIRED;
    if (c->has_nbf && now_s < c->nbf_s)
        return PEP_NOT_YET;
    return c->has_exp || c->has_exi ? PEP_OK : PEP_NO_EXPIRY;
}

/* RFC 6749 3.3: words of %x21 / %x23-5B / %x5D-7E, single spaces between. */
bool token_is_words(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t b = s.p[i];
        if (b < 0x20 || b > 0x7e || b == '"' || b == '\\')
            return false;
        if (b == ' ' && (i == 0 || i + 1 == s.n || s.p[i - 1] == ' '))
            return false;
    }
    return true;
}

void token_clear(struct token *t)
{
    crypto_wipe(t, sizeof *t);
    t->authority = -1;
}
