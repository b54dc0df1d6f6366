#include "dynamic.h"

#include "json_write.h"
#include "m2m_claims.h"
#include "m2m_time.h"
#include "token.h"

/* TS-0004 6.3.4.2.35 */
enum { SECURITY_REQUEST = 1, SECURITY_RESPONSE = 2 };

enum { ANSWER_MAX = 16384 }; /* bytes: four tokens, and rules */

/* ---- asking ---- */

void dynamic_write(const struct m2m_ask *a, struct bytes useful, struct buf *out)
{
    json_write_text_of(out, "or", a->from);
    if (a->type >= 0)
        json_write_int_of(out, "trt", a->type);
    json_write_int_of(out, "op", m2m_ask_operation(a->operation));
    m2m_ask_put_address(out, "oip", &a->peer);
    json_write_texts_of(out, "orid", a->roles, a->n_roles);
    json_write_text_of(out, "trid", a->to);
    json_write_texts_of(out, "rfa", &useful, useful.n > 0);
    json_write_texts_of(out, "tids", a->tids, a->n_tids);
}

static void put_time(struct buf *out, const char *name, int64_t s)
{
    json_write_name(out, name);
    buf_put_u8(out, '"');
    m2m_timestamp_write(s, out);
    buf_put_u8(out, '"');
}

void dynamic_question(struct bytes elements, int64_t now_s, uint32_t lifetime_s, struct buf *out)
{
    buf_put_str(out, "{\"m2m:seci\":{");
    json_write_int_of(out, "sit", SECURITY_REQUEST);
    buf_put_str(out, ",\"dreq\":{");
    buf_put(out, elements);
    put_time(out, "rts", now_s);
    put_time(out, "ppl", now_s + lifetime_s);
    buf_put_str(out, "}}}");
}

/* ---- what a client is told ---- */

void dynamic_tell_begin(struct buf *out)
{
    buf_put_str(out, "{\"dasi\":[");
}

void dynamic_tell(struct buf *out, const char *uri, struct bytes elements)
{
    if (out->n && out->p[out->n - 1] != '[')
        buf_put_u8(out, ',');
    buf_put_u8(out, '{');
    json_write_text_of(out, "uri", bytes_str(uri));
    buf_put_str(out, ",\"dreq\":{");
    buf_put(out, elements);
    buf_put_str(out, "}}");
}

void dynamic_tell_end(struct buf *out)
{
    buf_put_str(out, "]}");
}

/* ---- answers ---- */

static bool read_tokens(const struct json_node *tkns, struct dynamic_answer *out)
{
    struct bytes text;
    if (!tkns)
        return true;
    if (json_node_kind(tkns) != JSON_NODE_ARRAY || json_node_count(tkns) > DYNAMIC_TOKENS_MAX)
        return false;
    for (size_t i = 0; i < json_node_count(tkns); i++) {
        if (!json_node_text(json_node_at(tkns, i), &text) || text.n == 0 || text.n > TOKEN_MAX)
            return false;
        out->tokens[out->n_tokens++] = text;
    }
    return true;
}

/* Both of its parts are optional: rules without an end are for this request,
 * an end without rules grants nothing. */
static bool read_rules(const struct json_node *dai, int64_t now_s, struct dynamic_answer *out)
{
    const struct json_node *gp = json_node_get(dai, "gp"), *pl = json_node_get(dai, "pl");
    const struct json_node *acr = json_node_get(gp, "acr");
    struct bytes text;
    int64_t ms;
    if (!dai)
        return true;
    if (json_node_kind(dai) != JSON_NODE_OBJECT)
        return false;
    if (gp && (json_node_kind(acr) != JSON_NODE_ARRAY || json_node_count(gp) != 1 ||
               json_node_count(acr) > M2M_LIST_MAX))
        return false;
    out->acr = acr;
    if (json_node_int(pl, &ms)) { /* relative: milliseconds (TS-0004 table 6.3.2-1) */
        if (ms < 0 || ms / 1000 > INT32_MAX)
            return false;
        out->until_s = now_s + ms / 1000;
        return true;
    }
    return !pl || (json_node_text(pl, &text) && m2m_abs_or_rel(text, now_s, &out->until_s));
}

static bool read_answer(const struct json_node *doc, int64_t now_s, struct dynamic_answer *out,
                        const char **why)
{
    const struct json_node *seci = json_node_get(doc, "m2m:seci");
    const struct json_node *dres = json_node_get(seci, "dres");
    int64_t type;
    *why = "not an answer";
    if (json_node_kind(seci) != JSON_NODE_OBJECT || json_node_count(doc) != 1 ||
        !json_node_int(json_node_get(seci, "sit"), &type))
        return false;
    *why = "not an answer to what was asked"; /* TS-0004 7.5.1.2.10 */
    if (type != SECURITY_RESPONSE)
        return false;
    *why = "what it gives cannot be read";
    return !dres || (json_node_kind(dres) == JSON_NODE_OBJECT &&
                     read_tokens(json_node_get(dres, "tkns"), out) &&
                     read_rules(json_node_get(dres, "dai"), now_s, out));
}

bool dynamic_read(const struct pep_reply *r, int64_t now_s, struct dynamic_answer *out,
                  const char **why)
{
    *out = (struct dynamic_answer){0};
    *why = "away";
    if (r->away)
        return false;
    *why = "it refused the question";
    if (!m2m_ask_succeeded(r->code, r->rsc))
        return false;
    if (r->body.n == 0) /* it gives nothing (TS-0001 11.5.2) */
        return true;
    *why = "not an answer";
    if (r->body.n > ANSWER_MAX || !m2m_ask_is_json(r->content_format))
        return false;
    out->doc = json_doc_read(r->body);
    if (out->doc && read_answer(out->doc, now_s, out, why))
        return true;
    dynamic_clear(out);
    return false;
}

void dynamic_clear(struct dynamic_answer *a)
{
    json_doc_free(a->doc);
    *a = (struct dynamic_answer){0};
}
