#include "explain.h"

#include <stdio.h>

#include "compiled.h"
#include "m2m_words.h"

static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"};

static void put_number(struct buf *out, unsigned long long v)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", v);
    buf_put_str(out, text);
}

/* Printable ASCII as it is, the rest in hexadecimal: it may end on a
 * terminal. */
static void put_segment(struct buf *out, struct bytes s)
{
    for (size_t i = 0; i < s.n; i++) {
        char text[8];
        bool plain = s.p[i] > 0x20 && s.p[i] < 0x7f && s.p[i] != '/' && s.p[i] != '%';
        snprintf(text, sizeof text, plain ? "%c" : "%%%02X", s.p[i]);
        buf_put_str(out, text);
    }
}

static void put_request(struct buf *out, const struct policy_question *q)
{
    if (q->operation) {
        const char *word = m2m_operation_str(q->operation), *type;
        buf_put_str(out, word ? word : "an unknown operation");
        if (q->type >= 0) {
            type = m2m_type_str((unsigned)q->type);
            buf_put_str(out, " of ");
            if (type)
                buf_put_str(out, type);
            else
                put_number(out, (unsigned)q->type);
        }
    } else if (q->method >= 1 && q->method <= 7) {
        buf_put_str(out, methods[q->method - 1]);
    } else {
        buf_put_str(out, "method ");
        put_number(out, q->method);
    }
    buf_put_str(out, q->n_path ? " " : " /");
    for (size_t i = 0; i < q->n_path; i++) {
        buf_put_u8(out, '/');
        put_segment(out, q->path[i]);
    }
}

static void put_set(struct buf *out, uint32_t set, const char *const *words, size_t n)
{
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (!(set >> i & 1))
            continue;
        buf_put_str(out, first ? "" : ", ");
        buf_put_str(out, words[i]);
        first = false;
    }
}

static void put_methods(struct buf *out, uint32_t set)
{
    put_set(out, set, methods, 7);
}

static void put_operations(struct buf *out, uint32_t set)
{
    put_set(out, set >> 7, m2m_operation_words, M2M_OPERATIONS);
}

/* What this path would have permitted instead. */
static void put_alternatives(struct buf *out, const struct policy *p,
                             const struct policy_question *q)
{
    buf_put_str(out, "\npermitted on this path: ");
    uint32_t set = q->operation ? policy_operations(p, q) : policy_methods(p, q);
    if (!set)
        buf_put_str(out, "nothing now");
    else if (q->operation)
        put_operations(out, set);
    else
        put_methods(out, set);
}

/* "role guest, policy.yaml:12". */
static void put_rule(struct buf *out, const struct policy *p, const struct policy_decision *d)
{
    if (!d->rule.file && d->holder && strcmp(d->holder, "permission") == 0) {
        buf_put_str(out, "the token's own privileges");
        return;
    }
    if (!d->rule.file) {
        buf_put_str(out, "an entry of the token's own list (AIF)");
        return;
    }
    uint32_t id = d->holder ? names_find(&p->names, bytes_str(d->holder)) : NAMES_NONE;
    if (id != NAMES_NONE) {
        buf_put_str(out, p->holders[id].is_role ? "role " : "scope ");
        buf_put_str(out, d->holder);
        buf_put_str(out, ", ");
    }
    buf_put_str(out, d->rule.file);
    buf_put_u8(out, ':');
    put_number(out, d->rule.line);
}

/* "10/min for each client (role guest, policy.yaml:12)". */
static void put_rate(struct buf *out, const struct policy *p, const struct policy_rate *r)
{
    policy_rate_put(r, out);
    buf_put_str(out, r->whole ? " (" : " for each client (");
    buf_put_str(out, r->of);
    buf_put_u8(out, ' ');
    if (r->name) {
        buf_put_str(out, r->name);
        buf_put_str(out, ", ");
    }
    buf_put_str(out, p->name);
    buf_put_u8(out, ':');
    put_number(out, r->line);
    buf_put_u8(out, ')');
}

/* How often: each way that permits it has its rates. */
static void put_offers(struct buf *out, const struct policy *p, const struct policy_decision *d)
{
    for (uint8_t i = 0; i < d->n_offers; i++) {
        const struct policy_offer *o = &d->offers[i];
        buf_put_str(out, i == 0 ? "\nat most: " : "\nor at most: ");
        for (uint8_t k = 0; k < o->n_rates; k++) {
            buf_put_str(out, k == 0 ? "" : " and ");
            put_rate(out, p, o->rates[k]);
        }
    }
}

static void put_held(struct buf *out, const struct policy *p, const struct policy_question *q)
{
    enum { SHOWN = 8 };
    size_t n = 0;
    for (size_t i = 0; i < q->n_held; i++) {
        const struct policy_holding *h = &q->held[i];
        if (!h->covers || !h->grant || h->grant->policy != p)
            continue;
        for (uint32_t k = 0; k < h->grant->held.n; k++, n++) {
            if (n > SHOWN)
                continue;
            buf_put_str(out, n == 0 ? "\nheld here: " : ", ");
            buf_put_str(out, n == SHOWN ? "..." : p->holders[h->grant->held.ids[k]].name);
        }
        if (h->grant->n_aif) {
            buf_put_str(out, n++ == 0 ? "\nheld here: " : ", ");
            put_number(out, h->grant->n_aif);
            buf_put_str(out, " AIF entries");
        }
    }
    if (n == 0)
        buf_put_str(out, "\nheld here: nothing");
}

/* Which word of which authority would do. */
static void put_remedy(struct buf *out, const struct policy *p, const struct policy_question *q)
{
    for (size_t i = 0; i < p->n_authorities; i++) {
        struct bytes word = policy_scope_for(p, (int)i, q);
        if (!word.n)
            continue;
        buf_put_str(out, "\nmissing: '");
        buf_put(out, word);
        buf_put_str(out, "', which ");
        buf_put_str(out, p->authorities[i].name);
        buf_put_str(out, " may grant");
        return;
    }
    buf_put_str(out, "\nmissing: a rule; no authority may grant anything that permits this");
}

static void put_condition(struct buf *out, const struct policy_question *q, const char *missing)
{
    buf_put_str(out, "\nmissing: ");
    buf_put_str(out, missing ? missing : "a condition");
    if (!missing || strcmp(missing, "network") == 0)
        return;
    if (strcmp(missing, "association") == 0) {
        buf_put_str(out, " (it is not known strongly enough)");
    } else if (strcmp(missing, "created") == 0) {
        buf_put_str(out, " (only for what this client created itself)");
    } else {
        char text[48];
        int64_t year, day = q->now_s / 86400 - (q->now_s % 86400 < 0);
        unsigned month, of_month, second = (unsigned)(q->now_s - day * 86400);
        civil_from_days(day, &year, &month, &of_month);
        snprintf(text, sizeof text, " (it is %04lld-%02u-%02u %02u:%02u UTC)", (long long)year,
                 month, of_month, second / 3600, second / 60 % 60);
        buf_put_str(out, text);
    }
}

void policy_explain(const struct policy *p, const struct policy_question *q,
                    const struct policy_decision *d, struct buf *out)
{
    bool permitted = d->verdict == POLICY_PERMIT;
    buf_put_str(out, permitted ? "permitted: " : "denied (");
    if (!permitted) {
        buf_put_str(out, policy_reason_str(d->reason));
        buf_put_str(out, "): ");
    }
    put_request(out, q);
    switch (d->reason) {
    case POLICY_PERMITTED:
        buf_put_str(out, "\nby: ");
        put_rule(out, p, d);
        put_offers(out, p, d);
        break;
    case POLICY_FORMAT:
        buf_put_str(out, "\nnearest: ");
        put_rule(out, p, d);
        buf_put_str(out, "\nmissing: a payload of one of its formats (");
        if (q->content_format < 0)
            buf_put_str(out, "the request names none)");
        else {
            buf_put_str(out, "this is ");
            put_number(out, (unsigned)q->content_format);
            buf_put_u8(out, ')');
        }
        break;
    case POLICY_PAYLOAD:
        buf_put_str(out, "\nnearest: ");
        put_rule(out, p, d);
        buf_put_str(out, "\nmissing: at most ");
        put_number(out, d->max_payload);
        buf_put_str(out, " bytes of payload (these are ");
        put_number(out, q->payload_n);
        buf_put_u8(out, ')');
        break;
    case POLICY_FORBIDDEN:
        buf_put_str(out, "\nforbidden by: ");
        put_rule(out, p, d);
        break;
    case POLICY_CONDITION:
        buf_put_str(out, "\nnearest: ");
        put_rule(out, p, d);
        put_condition(out, q, d->missing);
        break;
    case POLICY_NOT_METHOD:
        buf_put_str(out, "\nnearest: ");
        put_rule(out, p, d);
        put_alternatives(out, p, q);
        put_remedy(out, p, q);
        break;
    case POLICY_NOT_TYPE:
        buf_put_str(out, "\nnearest: ");
        put_rule(out, p, d);
        if (q->type < 0)
            buf_put_str(out, "\nmissing: the type that would be created");
        put_remedy(out, p, q);
        break;
    case POLICY_BEYOND_AUTHORITY:
        buf_put_str(out, "\nnearest: ");
        put_rule(out, p, d);
        buf_put_str(out, "\nmissing: the token says so, but its authority may not grant it");
        break;
    case POLICY_NOT_RESOURCE:
        if (q->n_only > 0)
            buf_put_str(out, "\nonly the roles that the request names were looked at");
        if (q->n_held > POLICY_GRANTS_MAX)
            buf_put_str(out, "\nmore grants than can be judged at once");
        put_held(out, p, q);
        put_remedy(out, p, q);
        break;
    case POLICY_NOT_AUDIENCE:
        buf_put_str(out, "\nwhat is held is for other devices");
        put_remedy(out, p, q);
        break;
    case POLICY_NO_GRANT:
        buf_put_str(out, "\nnothing is held");
        put_remedy(out, p, q);
        break;
    }
    if (!permitted && p->mode == POLICY_REPORT)
        buf_put_str(out, "\nmode report: it would pass all the same");
}
