#include "introspect.h"

#include <strings.h>

#include "../policy/hex.h"
#include "base64url.h"
#include "cbor.h"
#include "code.h"
#include "crypto.h"
#include "introspect_json.h"

/* RFC 9200 table 6; ace-07 figure 17. */
struct numbers {
    int64_t token, hint, active, token_type, client_id, username, profile, client_token, rs_cnf;
};

static const struct numbers rfc9200 = {11, 33, 10, 34, 24, 35, 38, CBOR_KEY_OTHER, 41};
static const struct numbers ace07 = {27, 28, 29, 20, 8, 22, 26, 30, 31};

static const struct numbers *numbers_of(enum policy_dialect d)
{
    return d == POLICY_ACE07 ? &ace07 : &rfc9200;
}

/* ---- the question ---- */

bool introspect_is_wrapped(struct bytes token, struct bytes *inner)
{
    struct cbor c = cbor_on(token);
    if (cbor_peek(&c) != CBOR_BYTES)
        return false;
    *inner = cbor_take_bytes(&c);
    return cbor_done(&c) && inner->n > 0;
}

static bool is_text(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e)
            return false;
    return true;
}

static void put_escaped(struct buf *out, struct bytes s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t b = s.p[i];
        if ((b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
            b == '-' || b == '.' || b == '_' || b == '~') {
            buf_put_u8(out, b);
            continue;
        }
        hex_put_percent(out, b);
    }
}

bool introspect_ask(const struct introspect_about *a, struct buf *out, int *content_format)
{
    struct bytes token = a->token;
    if (a->unwrapped && !introspect_is_wrapped(a->token, &token))
        return false;
    if (a->http) {
        /* A token that is no text (RFC 6749 A.12) was handed out in JSON as
         * base64url, as all bytes are there (RFC 9200 5.8.4.4, 5.9.2). */
        buf_put_str(out, "token=");
        if (is_text(token))
            put_escaped(out, token);
        else
            base64url_put(out, token);
        buf_put_str(out, "&token_type_hint=access_token");
        *content_format = PEP_FORMAT_FORM;
        return !out->full;
    }
    const struct numbers *n = numbers_of(a->dialect);
    cbor_put_map(out, 2);
    cbor_put_int(out, n->token);
    cbor_put_bytes(out, token);
    /* Table 6 says a text, figure 9 the number 2; servers take the table's. */
    cbor_put_int(out, n->hint);
    cbor_put_text(out, BYTES_LIT("pop"));
    *content_format = a->dialect == POLICY_ACE07 ? PEP_FORMAT_CBOR : PEP_FORMAT_ACE_CBOR;
    return !out->full;
}

/* ---- the answer ---- */

static void say(struct introspection *out, enum introspect_said said, const char *why)
{
    out->said = said;
    out->why = why;
}

/* What an answer says of the token beside its claims. */
struct traits {
    bool has_active, active, pop, foreign;
    struct bytes username, client_id;
};

static bool read_active(struct cbor *c, const struct introspect_about *a, struct traits *t)
{
    struct cbor_item i;
    /* Figure 17 of ace-07 has a uint where its text has a boolean. */
    bool ok = cbor_next(c, &i) && (i.kind == CBOR_BOOL ||
                                   (a->dialect == POLICY_ACE07 && i.kind == CBOR_UINT && i.n <= 1));
    t->has_active = ok;
    t->active = ok && i.n == 1;
    return ok;
}

static bool is_pop(struct bytes word)
{
    return word.n == 3 && strncasecmp((const char *)word.p, "pop", 3) == 0;
}

/* Bearer 1, PoP 2 (RFC 9200 8.7); as text in any case (PROTOCOL 8). */
static bool read_token_type(struct cbor *c, struct traits *t)
{
    struct cbor_item i;
    if (!cbor_next(c, &i) || (i.kind != CBOR_TEXT && i.kind != CBOR_UINT))
        return false;
    t->pop = i.kind == CBOR_UINT ? i.n == 2 : is_pop(i.b);
    return true;
}

/* The profile that we MUST use with the client (RFC 9200 5.9.2); ours is
 * coap_dtls, 1. */
static bool read_profile(struct cbor *c, struct traits *t)
{
    struct cbor_item i;
    if (!cbor_next(c, &i) || (i.kind != CBOR_TEXT && i.kind != CBOR_UINT && i.kind != CBOR_NINT))
        return false;
    t->foreign =
        i.kind == CBOR_TEXT ? !bytes_equal_str(i.b, "coap_dtls") : i.kind != CBOR_UINT || i.n != 1;
    return true;
}

/* A COSE object as it is, or in a string (figure 17 says text). */
static struct bytes read_client_token(struct cbor *c)
{
    struct cbor inner = cbor_on(cbor_skip(c));
    enum cbor_kind kind = cbor_peek(&inner);
    if (kind == CBOR_BYTES)
        return cbor_take_bytes(&inner);
    return kind == CBOR_TEXT ? cbor_take_text(&inner) : inner.rest;
}

static bool read_traits(struct bytes body, const struct introspect_about *a, struct traits *t,
                        struct introspection *out)
{
    const struct numbers *n = numbers_of(a->dialect);
    struct cbor c = cbor_on(body);
    size_t pairs = cbor_take_map(&c);
    for (size_t i = 0; i < pairs && !c.bad; i++) {
        int64_t key = cbor_take_key(&c);
        bool ok = true;
        if (key == CBOR_KEY_OTHER)
            (void)cbor_skip(&c);
        else if (key == n->active)
            ok = read_active(&c, a, t);
        else if (key == n->token_type)
            ok = read_token_type(&c, t);
        else if (key == n->profile)
            ok = read_profile(&c, t);
        else if (key == n->client_token)
            out->client_token = read_client_token(&c);
        else if (key == n->username && cbor_peek(&c) == CBOR_TEXT)
            t->username = cbor_take_text(&c);
        else if (key == n->client_id && cbor_peek(&c) == CBOR_TEXT)
            t->client_id = cbor_take_text(&c);
        else {
            out->has_rs_cnf |= key == n->rs_cnf;
            (void)cbor_skip(&c);
        }
        if (!ok)
            return false;
    }
    return cbor_done(&c) && out->client_token.n <= INTROSPECT_CLIENT_TOKEN_MAX;
}

/* Active, read: is what it says of use on an association of ours? */
static void judge_traits(const struct traits *t, struct introspection *out)
{
    if (t->foreign) {
        say(out, INTROSPECT_UNUSABLE, "the token is for another profile");
        out->err = PEP_UNSUPPORTED;
    } else if (t->pop && out->claims.cnf.kind == CNF_NONE) {
        /* Without its key it would pass for a bearer token, which is more. */
        say(out, INTROSPECT_UNUSABLE, "a pop token without its key");
        out->err = PEP_CONFIRMATION;
    } else {
        say(out, INTROSPECT_ACTIVE, NULL);
    }
    if (out->claims.sub.n == 0)
        out->claims.sub = t->username.n ? t->username : t->client_id;
}

static void read_cbor(const struct introspect_about *a, struct bytes body, struct buf *storage,
                      struct introspection *out)
{
    struct traits t = {0};
    if (cbor_check(body) != CBOR_OK) {
        say(out, INTROSPECT_NOTHING, "not whole CBOR");
        return;
    }
    uint8_t *to = buf_reserve(storage, body.n);
    if (!to) {
        say(out, INTROSPECT_NOTHING, "too long");
        return;
    }
    memcpy(to, body.p, body.n);
    body.p = to;
    if (!read_traits(body, a, &t, out) || !t.has_active) {
        say(out, INTROSPECT_NOTHING, t.has_active ? "not an answer" : "does not say if active");
        return;
    }
    if (!t.active) {
        say(out, INTROSPECT_INACTIVE, "inactive");
        return;
    }
    struct cwt_source from = {.keys = a->keys,
                              .authority = a->authority,
                              .dialect = a->dialect,
                              .encrypted = true, /* the line is (RFC 9200 6.1) */
                              .raw = a->token,
                              .plain = storage};
    out->err = cwt_read(body, &from, &out->claims);
    if (out->err == PEP_OK)
        judge_traits(&t, out);
    else if (out->err == PEP_SCOPE || out->err == PEP_CONFIRMATION)
        say(out, INTROSPECT_UNUSABLE, pep_err_str(out->err));
    else
        say(out, INTROSPECT_NOTHING, "its claims do not read");
}

static bool is_success(const struct introspect_about *a, uint8_t code)
{
    /* 2.05 is what some servers answer (PROTOCOL 3). */
    return a->http ? code == CODE(2, 0) : code == CODE(2, 1) || code == CODE(2, 5);
}

static void read_reply(const struct introspect_about *a, const struct pep_reply *r,
                       struct buf *storage, struct introspection *out)
{
    if (r->away) {
        say(out, INTROSPECT_NOTHING, "no answer");
    } else if (r->code == CODE(4, 1)) {
        say(out, INTROSPECT_REFUSED, "our credentials are not good there");
    } else if (r->code == CODE(4, 3)) {
        say(out, INTROSPECT_REFUSED, "we may not ask there");
    } else if (!is_success(a, r->code)) {
        say(out, INTROSPECT_NOTHING, "an error");
    } else if (r->body.n == 0 || r->body.n > INTROSPECT_ANSWER_MAX) {
        say(out, INTROSPECT_NOTHING, r->body.n ? "too long" : "empty");
    } else if (a->http) {
        introspect_read_json(a, r, storage, out);
    } else if (r->content_format == PEP_FORMAT_ACE_CBOR || r->content_format == PEP_FORMAT_CBOR) {
        read_cbor(a, r->body, storage, out);
    } else {
        say(out, INTROSPECT_NOTHING, "another content-format");
    }
}

void introspect_read(const struct introspect_about *a, const struct pep_reply *r,
                     struct buf *storage, struct introspection *out)
{
    *out = (struct introspection){.said = INTROSPECT_NOTHING};
    read_reply(a, r, storage, out);
    if (out->said == INTROSPECT_ACTIVE)
        return;
    crypto_wipe(&out->claims, sizeof out->claims);
    out->client_token = BYTES_NONE;
}

/* ---- two accounts of one token ---- */

static bool has_word(struct bytes words, struct bytes word)
{
    for (size_t i = 0; i < words.n;) {
        size_t n = 0;
        while (i + n < words.n && words.p[i + n] != ' ')
            n++;
        if (bytes_equal(bytes_of(words.p + i, n), word))
            return true;
        i += n + 1;
    }
    return false;
}

static bool common_words(struct claims *own, struct bytes told, struct buf *storage)
{
    struct bytes words = own->scope_words;
    size_t from = storage->n;
    for (size_t i = 0; i < words.n;) {
        size_t n = 0;
        while (i + n < words.n && words.p[i + n] != ' ')
            n++;
        struct bytes word = bytes_of(words.p + i, n);
        if (has_word(told, word)) {
            if (storage->n > from)
                buf_put_u8(storage, ' ');
            buf_put(storage, word);
        }
        i += n + 1;
    }
    own->scope_words = bytes_of(storage->p + from, storage->full ? 0 : storage->n - from);
    return !storage->full;
}

static void common_aif(struct claims *own, const struct claims *told)
{
    size_t kept = 0;
    for (size_t i = 0; i < own->n_aif; i++) {
        uint64_t mask = 0;
        for (size_t k = 0; k < told->n_aif; k++)
            if (bytes_equal(own->aif[i].path, told->aif[k].path))
                mask |= told->aif[k].mask;
        if ((own->aif[i].mask & mask) == 0)
            continue;
        own->aif[kept] = own->aif[i];
        own->aif[kept++].mask &= mask;
    }
    own->n_aif = kept;
}

static enum pep_err merge_scope(struct claims *own, const struct claims *told, struct buf *storage)
{
    if (!told->has_scope)
        return PEP_OK;
    if (!own->has_scope) {
        own->has_scope = true;
        own->scope_words = told->scope_words;
        own->n_aif = told->n_aif;
        memcpy(own->aif, told->aif, sizeof own->aif);
        return PEP_OK;
    }
    /* Words and an AIF cannot be compared without the policy. */
    if ((own->n_aif > 0) != (told->n_aif > 0))
        return PEP_SCOPE;
    if (own->n_aif > 0)
        common_aif(own, told);
    else if (!common_words(own, told->scope_words, storage))
        return PEP_SCOPE;
    return own->n_aif || own->scope_words.n ? PEP_OK : PEP_SCOPE;
}

static enum pep_err merge_aud(struct claims *own, const struct claims *told)
{
    if (told->n_aud == 0)
        return PEP_OK;
    size_t kept = 0;
    for (size_t i = 0; own->n_aud && i < own->n_aud; i++)
        for (size_t k = 0; k < told->n_aud; k++)
            if (bytes_equal(own->aud[i], told->aud[k])) {
                own->aud[kept++] = own->aud[i];
                break;
            }
    if (own->n_aud == 0) {
        memcpy(own->aud, told->aud, sizeof own->aud);
        kept = told->n_aud;
    }
    own->n_aud = kept;
    return kept ? PEP_OK : PEP_AUDIENCE;
}

static bool same_key(const struct cnf *a, const struct cnf *b)
{
    if (a->kind != b->kind || (a->kid.n && b->kid.n && !bytes_equal(a->kid, b->kid)))
        return false;
    return a->crv == b->crv && bytes_equal(a->x, b->x) && bytes_equal(a->y, b->y) &&
           crypto_equal(bytes_of(a->key, a->key_n), bytes_of(b->key, b->key_n));
}

static enum pep_err merge_cnf(struct cnf *own, const struct cnf *told)
{
    struct bytes kid = own->kid;
    if (told->kind == CNF_NONE || same_key(own, told))
        return PEP_OK;
    bool names = own->kind == CNF_KID && (told->kid.n == 0 || bytes_equal(told->kid, kid));
    if (own->kind != CNF_NONE && !names) {
        /* The answer may name what the token shows. */
        return told->kind == CNF_KID && bytes_equal(told->kid, kid) ? PEP_OK : PEP_CONFIRMATION;
    }
    *own = *told;
    if (kid.n)
        own->kid = kid;
    return PEP_OK;
}

static void earlier(bool *has, int64_t *own, bool told_has, int64_t told)
{
    if (told_has && (!*has || told < *own)) {
        *has = true;
        *own = told;
    }
}

enum pep_err introspect_merge(struct claims *own, const struct claims *told, struct buf *storage)
{
    if (told->has_iss && own->has_iss && !bytes_equal(told->iss, own->iss))
        return PEP_ISSUER;
    if (told->has_iss) {
        own->has_iss = true;
        own->iss = told->iss;
    }
    earlier(&own->has_exp, &own->exp_s, told->has_exp, told->exp_s);
    if (told->has_nbf && (!own->has_nbf || told->nbf_s > own->nbf_s)) {
        own->has_nbf = true;
        own->nbf_s = told->nbf_s;
    }
    if (told->cnonce.n) {
        if (own->cnonce.n && !bytes_equal(own->cnonce, told->cnonce))
            return PEP_CLAIMS;
        own->cnonce = told->cnonce;
    }
    if (own->sub.n == 0)
        own->sub = told->sub;
    if (own->cti.n == 0)
        own->cti = told->cti;
    enum pep_err e = merge_aud(own, told);
    if (e == PEP_OK)
        e = merge_scope(own, told, storage);
    return e == PEP_OK ? merge_cnf(&own->cnf, &told->cnf) : e;
}
