#include "decision_point.h"

#include "json_doc.h"
#include "json_write.h"
#include "m2m_time.h"

/* TS-0004 6.3.4.2.51 and 6.3.4.2.52 */
enum { DECISION_PERMIT = 1, DECISION_DENY = 2 };
enum {
    STATUS_OK = 1,
    STATUS_NOT_APPLICABLE = 2,
    STATUS_LAST = 5, /* 3 to 5 are errors: of what was told, of its policy, of its own */
};

enum { ANSWER_MAX = 16384, ECHO_MAX = M2M_ASK_MAX + 2 };

enum local_says point_own_word(const struct policy_decision *d)
{
    return d->verdict == POLICY_PERMIT        ? LOCAL_PERMITS
           : d->reason == POLICY_NOT_RESOURCE ? LOCAL_SILENT
                                              : LOCAL_DENIES;
}

bool point_is_asked(enum policy_combine combine, enum local_says local)
{
    switch (combine) {
    case POLICY_DENY_OVERRIDES:
        return local == LOCAL_PERMITS;
    case POLICY_LOCAL_FIRST:
        return local == LOCAL_SILENT;
    }
    return false;
}

enum local_says point_combine(enum policy_combine combine, enum local_says local,
                              enum point_says says)
{
    switch (says) {
    case POINT_PERMITS:
        return point_is_asked(combine, local) ? LOCAL_PERMITS : LOCAL_DENIES;
    case POINT_NOT_APPLICABLE:
        return local;
    case POINT_DENIES:
    case POINT_UNHEARD:
        break;
    }
    return LOCAL_DENIES;
}

/* ---- asking ---- */

void point_write(const struct m2m_ask *a, struct buf *out)
{
    json_write_text_of(out, "to", a->to);
    json_write_text_of(out, "fr", a->from);
    json_write_int_of(out, "op", m2m_ask_operation(a->operation));
    if (a->type >= 0)
        json_write_int_of(out, "rrt", a->type);
    if (a->operation == M2M_DISCOVERY) {
        json_write_name(out, "fu"); /* of m2m:filterCriteria (TS-0004 table 7.4.43.1-3) */
        buf_put_str(out, "{\"fu\":1}");
    }
    json_write_texts_of(out, "rids", a->roles, a->n_roles);
    json_write_texts_of(out, "tids", a->tids, a->n_tids);
    m2m_ask_put_address(out, "oip", &a->peer);
}

void point_question(struct bytes attributes, int64_t now_s, struct buf *out)
{
    buf_put_str(out, "{\"m2m:auds\":{");
    buf_put(out, attributes);
    json_write_name(out, "rtm");
    buf_put_u8(out, '"');
    m2m_timestamp_write(now_s, out);
    buf_put_str(out, "\"}}");
}

/* ---- answers ---- */

/* An attribute that comes back as it was sent, or not at all: an answer about
 * something else is none. */
static bool echoes(const struct json_node *asked, const struct json_node *told, const char *name)
{
    const struct json_node *a = json_node_get(asked, name), *b = json_node_get(told, name);
    struct bytes text, other;
    int64_t v, w;
    if (!b)
        return true;
    if (json_node_text(a, &text))
        return json_node_text(b, &other) && bytes_equal(text, other);
    return json_node_int(a, &v) && json_node_int(b, &w) && v == w;
}

static bool is_about(struct bytes attributes, const struct json_node *told)
{
    static const char *const names[] = {"to", "fr", "op", "rrt"};
    uint8_t text[ECHO_MAX];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, '{');
    buf_put(&b, attributes);
    buf_put_u8(&b, '}');
    struct json_node *asked = json_doc_read(buf_bytes(&b));
    bool ok = asked != NULL;
    for (size_t i = 0; ok && i < sizeof names / sizeof *names; i++)
        ok = echoes(asked, told, names[i]);
    json_doc_free(asked);
    return ok;
}

/* "decision and/or status" (TS-0001 9.6.41): either alone will do, as far as it
 * is clear. A status other than OK beside PERMIT is a contradiction. */
static enum point_says weigh(const struct json_node *told, const char **why)
{
    const struct json_node *dec = json_node_get(told, "dec"), *sus = json_node_get(told, "sus");
    int64_t decision = 0, status = STATUS_OK;
    *why = "no decision";
    if ((dec && !json_node_int(dec, &decision)) || (sus && !json_node_int(sus, &status)) ||
        (dec && decision != DECISION_PERMIT && decision != DECISION_DENY) || status < STATUS_OK ||
        status > STATUS_LAST)
        return POINT_UNHEARD;
    if (decision == DECISION_DENY)
        return POINT_DENIES;
    if (status == STATUS_NOT_APPLICABLE && !dec)
        return POINT_NOT_APPLICABLE;
    if (status == STATUS_OK && dec)
        return POINT_PERMITS;
    if (status != STATUS_OK)
        *why = dec ? "it contradicts itself" : "it could not decide";
    return POINT_UNHEARD;
}

enum point_says point_read(const struct pep_reply *r, struct bytes attributes, const char **why)
{
    *why = "away";
    if (r->away)
        return POINT_UNHEARD;
    *why = "it refused the question";
    if (!m2m_ask_succeeded(r->code, r->rsc))
        return POINT_UNHEARD;
    *why = "not an answer";
    if (r->body.n > ANSWER_MAX || !m2m_ask_is_json(r->content_format))
        return POINT_UNHEARD;
    struct json_node *doc = json_doc_read(r->body);
    const struct json_node *told = json_node_get(doc, "m2m:auds");
    enum point_says says = POINT_UNHEARD;
    if (json_node_kind(told) == JSON_NODE_OBJECT && json_node_count(doc) == 1) {
        *why = "an answer about something else";
        if (is_about(attributes, told))
            says = weigh(told, why);
    }
    json_doc_free(doc);
    return says;
}
