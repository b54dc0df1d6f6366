#include "m2m_token.h"

#include "json_write.h"
#include "m2m_time.h"

static enum pep_err read_object(const struct json_node *o, const struct jwt_source *from,
                                struct claims *out)
{
    struct m2m_claims m2m;
    struct claims c;
    enum pep_err e = m2m_claims_read(o, from, &c, &m2m);
    if (e != PEP_OK)
        return e;
    if (m2m.holder.n > M2M_ID_MAX || c.cti.n > M2M_ID_MAX)
        return PEP_CLAIMS;
    c.sub = m2m.holder;
    c.has_scope = true;
    e = jwt_read_cnf(json_node_get(o, "cnf"), from, &c.cnf);
    size_t at = from->plain->n;
    json_node_put(m2m.permissions, from->plain);
    c.permissions = bytes_of(from->plain->p + at, from->plain->n - at);
    if (e == PEP_OK && from->plain->full)
        e = PEP_CLAIMS;
    if (e == PEP_OK)
        *out = c;
    crypto_wipe(c.cnf.key, sizeof c.cnf.key);
    return e;
}

enum pep_err m2m_token_read(struct bytes content, const struct jwt_source *from, struct claims *out)
{
    struct json_node *doc = json_doc_read(content);
    struct buf *plain = from->plain;
    if (doc && content.p >= plain->p && content.p <= plain->p + plain->n)
        plain->n = (size_t)(content.p - plain->p);
    enum pep_err e = doc ? read_object(doc, from, out) : PEP_CLAIMS;
    json_doc_free(doc);
    return e;
}

/* ---- written ---- */

static void put_time(struct buf *out, const char *name, const char *own, int64_t s)
{
    json_write_name(out, own ? own : name);
    if (!own) {
        buf_put_decimal(out, (uint64_t)s, 1);
        return;
    }
    buf_put_u8(out, '"');
    m2m_timestamp_write(s, out);
    buf_put_u8(out, '"');
}

enum pep_err m2m_token_write(const struct claims *c, enum m2m_naming naming, struct buf *out)
{
    bool own = naming == M2M_OWN_NAMES;
    buf_put_u8(out, '{');
    json_write_text_of(out, own ? "vr" : "tkvr", BYTES_LIT("1.0.0"));
    json_write_text_of(out, own ? "tkid" : "jti", c->cti);
    json_write_text_of(out, own ? "tkis" : "iss", c->iss);
    json_write_text_of(out, own ? "tkhd" : "azp", c->sub);
    if (c->has_nbf)
        put_time(out, "nbf", own ? "tknb" : NULL, c->nbf_s);
    put_time(out, "exp", own ? "tkna" : NULL, c->exp_s);
    json_write_texts_of(out, own ? "tkau" : "aud", c->aud, c->n_aud);
    json_write_name(out, "tkps");
    buf_put_str(out, "{\"pm\":");
    buf_put(out, c->permissions);
    buf_put_u8(out, '}');
    if (c->cnf.kind != CNF_NONE && !jwt_put_cnf(&c->cnf, out))
        return PEP_CONFIRMATION;
    buf_put_u8(out, '}');
    return out->full ? PEP_TOO_LARGE : PEP_OK;
}

enum pep_err m2m_token_mint(const struct claims *c, enum m2m_naming naming,
                            const struct jwt_maker *with, struct buf *out)
{
    /* TS-0003 7.3.2.6.2 */
    static const struct jwt_types typ = {.jws = "JWT", .jwe = "JWT"};
    uint8_t room[TOKEN_MAX];
    struct buf content = buf_on(room, sizeof room);
    if (c->cnf.kind == CNF_SYMMETRIC && !with->seal)
        return PEP_CONFIRMATION;
    enum pep_err e = m2m_token_write(c, naming, &content);
    if (e == PEP_OK)
        e = jwt_protect(buf_bytes(&content), &typ, with, out);
    crypto_wipe(room, sizeof room);
    return e;
}
