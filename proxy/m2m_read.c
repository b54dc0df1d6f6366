#include "m2m_read.h"

#include <strings.h>

#include "../pep/m2m_time.h"

enum {
    C_BAD_REQUEST = MSG_CODE(4, 0),
    C_BAD_OPTION = MSG_CODE(4, 2),
    C_NOT_ALLOWED = MSG_CODE(4, 5),
    C_FORMAT = MSG_CODE(4, 15),
    C_TIMEOUT = MSG_CODE(5, 4),
};

/* Content-formats of whole request primitives (TS-0008 table 6.2.2.2-1): what
 * they ask for, of what and in whose name stands in the payload. */
enum { CF_PREQ_XML = 10006, CF_PREQ_JSON = 10007, CF_PREQ_CBOR = 10012 };

/* ---- parameters in the query (TS-0004 8.2.2) ---- */

enum parameter {
    P_OTHER, /* this and those up to P_TY go on to the CSE */
    P_OP,
    P_FU,
    P_RT,
    P_RCN,
    P_SQI,
    P_TY,
    P_TQI,
    P_RIDS,
    P_TIDS,
    P_LTIDS,
    P_TKNS,
    P_OPTION, /* what this binding has options for */
};

struct query {
    uint32_t seen; /* bit P_OP ... */
    int op, fu;    /* 0: not there */
    int rcn;       /* -1: not there */
    bool later;    /* the answer need not be waited for */
    bool sqi;
};

static bool fault(struct m2m_fault *why, uint8_t code, uint16_t rsc, const char *text)
{
    *why = (struct m2m_fault){code, rsc, text};
    return false;
}

static bool bad(struct m2m_fault *why, const char *text)
{
    return fault(why, C_BAD_REQUEST, M2M_BAD_REQUEST, text);
}

/* Names of oneM2M have a case (TS-0004 8.2.1). What differs in that alone, some
 * CSE may take for the same: *unsure. */
static enum parameter named(struct bytes name, bool *unsure)
{
    static const struct {
        const char *name;
        enum parameter is;
    } names[] = {
        {"op", P_OP},     {"fu", P_FU},     {"rt", P_RT},     {"rcn", P_RCN},    {"sqi", P_SQI},
        {"ty", P_TY},     {"tqi", P_TQI},   {"rids", P_RIDS}, {"tids", P_TIDS},  {"ltids", P_LTIDS},
        {"tkns", P_TKNS}, {"fr", P_OPTION}, {"to", P_OPTION}, {"rqi", P_OPTION}, {"rvi", P_OPTION},
    };
    *unsure = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (name.n != strlen(names[i].name) ||
            strncasecmp((const char *)name.p, names[i].name, name.n) != 0)
            continue;
        *unsure = !bytes_equal_str(name, names[i].name);
        return names[i].is;
    }
    return P_OTHER;
}

/* One digit from 1 to `max`; 0: it is none. */
static int digit(struct bytes s, int max)
{
    int v = s.n == 1 ? s.p[0] - '0' : 0;
    return v >= 1 && v <= max ? v : 0;
}

/* Of one or two digits; -1: it is none. */
static int number(struct bytes s)
{
    int v = 0;
    if (s.n == 0 || s.n > 2 || (s.n == 2 && s.p[0] == '0'))
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        v = 10 * v + s.p[i] - '0';
    }
    return v;
}

/* Whether the answer would have more than the target itself (TS-0004 table
 * 6.3.4.2.7-1): children, and references to them, which are all that discovery
 * is about. What later releases mean by a number nobody knows here. */
static bool is_below(int rcn, bool discovers)
{
    switch (rcn) {
    case -1:
    case 0:
    case 1:
    case 2:
    case 3:
    case 7:
    case 9:
    case 10:
        return false;
    case 5:
    case 6:
        return !discovers;
    default:
        return true;
    }
}

/* Lists are joined by '+'. */
static bool read_list(struct bytes s, struct bytes *list, size_t max, size_t *n)
{
    *n = 0;
    for (size_t from = 0, to; from <= s.n; from = to + 1) {
        for (to = from; to < s.n && s.p[to] != '+'; to++)
            ;
        if (to == from || *n == max || to - from > (max == M2M_IDS_MAX ? M2M_ID_MAX : SIZE_MAX))
            return false;
        list[(*n)++] = bytes_of(s.p + from, to - from);
    }
    return true;
}

/* An extension: one option has no room for a signed token, so what stands in
 * several goes together, in their order. */
static bool add_tkns(struct m2m_read *r, struct bytes s)
{
    if (s.n > sizeof r->tkns - r->tkns_n)
        return false;
    if (s.n)
        memcpy(r->tkns + r->tkns_n, s.p, s.n);
    r->tkns_n += s.n;
    return true;
}

static bool read_bool(struct bytes s, bool *out)
{
    *out = bytes_equal_str(s, "1") || bytes_equal_str(s, "true");
    return *out || bytes_equal_str(s, "0") || bytes_equal_str(s, "false");
}

/* A CSE may put the options together and take them apart again at '&' or ';',
 * cut off what is behind a '#', and decode what it finds: no name may appear
 * then that was not seen here, and none get lost. */
static bool is_plain(struct bytes option, struct bytes name)
{
    for (size_t i = 0; i < option.n; i++)
        if (option.p[i] < ' ' || option.p[i] == 0x7f || strchr("&;#", option.p[i]))
            return false;
    for (size_t i = 0; i < name.n; i++)
        if (strchr("%+ ?", name.p[i]))
            return false;
    return true;
}

/* *passes: the CSE gets it. */
static bool read_parameter(struct m2m_read *r, struct query *q, struct bytes option, bool *passes,
                           struct m2m_fault *why)
{
    struct m2m_request *out = &r->request;
    const uint8_t *eq = option.n ? memchr(option.p, '=', option.n) : NULL;
    struct bytes name = bytes_of(option.p, eq ? (size_t)(eq - option.p) : option.n);
    struct bytes value = eq ? bytes_of(eq + 1, option.n - name.n - 1) : BYTES_NONE;
    bool ok = true, unsure;
    if (!is_plain(option, name))
        return bad(why, "a query parameter that could be read as two");
    enum parameter p = named(name, &unsure);
    *passes = p <= P_TY;
    if (unsure || p == P_OPTION)
        return bad(why, "a query parameter of another name");
    if (p == P_OTHER)
        return true;
    if (p != P_TKNS && p != P_TY && q->seen >> p & 1)
        return bad(why, "a query parameter twice");
    q->seen |= UINT32_C(1) << p;
    switch (p) {
    case P_OP:
        ok = (q->op = digit(value, M2M_NOTIFY)) != 0;
        break;
    case P_FU:
        ok = (q->fu = digit(value, 3)) != 0;
        break;
    case P_RCN:
        ok = (q->rcn = number(value)) >= 0;
        break;
    case P_RT:
        ok = digit(value, 4) != 0;
        q->later = !bytes_equal_str(value, "3"); /* blockingRequest */
        break;
    case P_SQI:
        ok = read_bool(value, &q->sqi);
        break;
    case P_TQI:
        ok = read_bool(value, &out->wants_dynamic);
        break;
    case P_RIDS:
        ok = read_list(value, out->rids, M2M_IDS_MAX, &out->n_rids);
        break;
    case P_TIDS:
        ok = read_list(value, out->tids, M2M_IDS_MAX, &out->n_tids);
        break;
    case P_LTIDS:
        ok = read_list(value, out->ltids, M2M_IDS_MAX, &out->n_ltids);
        break;
    case P_TKNS:
        ok = add_tkns(r, value);
        break;
    default:
        break;
    }
    return ok || bad(why, "a query parameter of a wrong form");
}

static bool read_query(struct m2m_read *r, struct query *q, struct m2m_fault *why)
{
    struct msg *m = &r->plain;
    size_t kept = 0;
    for (size_t i = 0; i < m->n_options; i++) {
        bool passes = true;
        if (m->options[i].number == OPT_URI_QUERY &&
            !read_parameter(r, q, m->options[i].value, &passes, why))
            return false;
        /* It has no notifications of that kind (TS-0008 has requests for it). */
        if (m->options[i].number == OPT_OBSERVE)
            passes = false;
        if (passes)
            m->options[kept++] = m->options[i];
    }
    m->n_options = kept;
    if (q->seen >> P_TKNS & 1 && !read_list(bytes_of(r->tkns, r->tkns_n), r->request.tkns,
                                            M2M_TOKENS_MAX, &r->request.n_tkns))
        return bad(why, "no tokens, or too many");
    return true;
}

/* ---- the operation ---- */

static enum m2m_operation by_method(uint8_t method, bool typed)
{
    switch (method) {
    case MSG_GET:
        return M2M_RETRIEVE;
    case MSG_POST:
        return typed ? M2M_CREATE : M2M_NOTIFY;
    case MSG_PUT:
        return M2M_UPDATE;
    case MSG_DELETE:
        return M2M_DELETE;
    default:
        return M2M_NONE;
    }
}

/* Table 6.2.1-1, and `op` where the method is POST (6.3.2). What says it twice
 * says the same. */
static bool read_operation(struct m2m_read *r, uint8_t method, const struct query *q,
                           struct m2m_fault *why)
{
    struct m2m_request *out = &r->request;
    bool typed = out->type >= 0;
    enum m2m_operation op = by_method(method, typed);
    if (q->op && method != MSG_POST && q->op != (int)op)
        return bad(why, "op and method contradict each other");
    if (q->op)
        op = (enum m2m_operation)q->op;
    if (typed != (op == M2M_CREATE))
        return bad(why, typed ? "only a CREATE has a resource type" : "a CREATE of what type?");
    /* As a criterion it is for what is there, not for what is made or told; some
     * CSEs look for the type of a CREATE there, too. */
    if (q->seen >> P_TY & 1 && (op == M2M_CREATE || op == M2M_NOTIFY))
        return bad(why, "a resource type in the query");
    /* What is found by the criteria of another's request (3: on demand) is
     * found, too. 2 makes any operation conditional. */
    bool discovers = q->fu == 1 || q->fu == 3;
    if (discovers && (op != M2M_RETRIEVE || q->sqi))
        return bad(why, "fu and the operation contradict each other");
    out->operation = discovers ? M2M_DISCOVERY : op;
    /* A semantic query looks at nothing else, and is answered with what
     * descriptors say, of what is below, too (TS-0001 table 8.1.2-3, 10.2.14). */
    out->below = is_below(q->rcn, discovers) || q->sqi;
    return true;
}

static uint8_t method_of(enum m2m_operation op)
{
    static const uint8_t methods[] = {
        [M2M_CREATE] = MSG_POST,   [M2M_RETRIEVE] = MSG_GET, [M2M_UPDATE] = MSG_PUT,
        [M2M_DELETE] = MSG_DELETE, [M2M_NOTIFY] = MSG_POST,  [M2M_DISCOVERY] = MSG_GET};
    return methods[op];
}

/* There are CSEs that pass over `op` and take each such POST for a NOTIFY,
 * which who may RETRIEVE need not be permitted. So what was judged goes out by
 * its own method, as it should where the answer is waited for (6.2.1). Where
 * it is not, POST and `op` are the binding's own form (6.2.2.3), and stay. */
static void settle_method(struct m2m_read *r, const struct query *q)
{
    struct msg *m = &r->plain;
    size_t kept = 0;
    if (!q->op || q->later)
        return;
    m->code = method_of(r->request.operation);
    for (size_t i = 0; i < m->n_options; i++) {
        struct bytes v = m->options[i].value;
        if (m->options[i].number != OPT_URI_QUERY || v.n < 3 || memcmp(v.p, "op=", 3) != 0)
            m->options[kept++] = m->options[i];
    }
    m->n_options = kept;
}

/* ---- the whole ---- */

static void begin(struct m2m_read *r)
{
    struct m2m_request *q = &r->request;
    q->operation = M2M_NONE;
    q->type = -1;
    q->has_originator = q->wants_dynamic = false;
    q->originator = q->rqi = q->rvi = q->to = BYTES_NONE;
    q->address = M2M_CSE_RELATIVE;
    q->named = 0;
    q->below = false;
    q->n_rids = q->n_tids = q->n_ltids = q->n_tkns = 0;
    q->expires_s = INT64_MAX;
    r->tkns_n = 0;
}

static bool read_values(struct m2m_read *r, enum m2m_sender from, int64_t now_s,
                        struct m2m_fault *why)
{
    const struct m2m_values *v = &r->values;
    struct m2m_request *q = &r->request;
    q->type = (int)m2m_uint(v, M2M_TY);
    q->has_originator = m2m_has(v, M2M_FR);
    q->originator = q->has_originator ? v->of[M2M_FR] : BYTES_NONE;
    if (q->rqi.n == 0)
        return bad(why, "no request identifier");
    if (q->rvi.n == 0 && from == M2M_CLIENT)
        return bad(why, "no release version");
    if (!m2m_has(v, M2M_RQET))
        return true;
    if (!m2m_timestamp(v->of[M2M_RQET], false, &q->expires_s))
        return bad(why, "no such time");
    return q->expires_s > now_s || fault(why, C_TIMEOUT, M2M_REQUEST_TIMEOUT, "too late");
}

bool m2m_read(const struct msg *in, enum m2m_sender from, enum m2m_numbering unclear, int64_t now_s,
              struct m2m_read *r, struct m2m_fault *why)
{
    struct query q = {.rcn = -1};
    enum m2m_seen seen = m2m_recognise(in);
    begin(r);
    r->certain = seen == M2M_SEEN_CURRENT || seen == M2M_SEEN_LEGACY;
    r->numbering = seen == M2M_SEEN_CURRENT  ? M2M_CURRENT
                   : seen == M2M_SEEN_LEGACY ? M2M_LEGACY
                                             : unclear;
    bool sound = m2m_split(in, r->numbering, &r->values, &r->plain);
    if (m2m_has(&r->values, M2M_RQI)) /* a refusal says whose it is, too */
        r->request.rqi = r->values.of[M2M_RQI];
    if (m2m_has(&r->values, M2M_RVI))
        r->request.rvi = r->values.of[M2M_RVI];
    if (by_method(in->code, false) == M2M_NONE)
        return fault(why, C_NOT_ALLOWED, M2M_NOT_ALLOWED, "no operation has this method");
    if (!sound)
        return fault(why, C_BAD_OPTION, M2M_BAD_REQUEST, "bad oneM2M option");
    int64_t format = msg_uint(in, OPT_CONTENT_FORMAT);
    if (format == CF_PREQ_XML || format == CF_PREQ_JSON || format == CF_PREQ_CBOR)
        return fault(why, C_FORMAT, M2M_MEDIA_TYPE, "a primitive within a request");
    if (!read_values(r, from, now_s, why) || !read_query(r, &q, why) ||
        !read_operation(r, in->code, &q, why))
        return false;
    /* GET and DELETE have no payload (RFC 7252 5.5). Where there is one all the
     * same some CSEs end, and others could take it for a notification. */
    if (from == M2M_CLIENT && in->payload.n > 0 &&
        (method_of(r->request.operation) == MSG_GET || r->request.operation == M2M_DELETE))
        return bad(why, "an operation without content has some");
    settle_method(r, &q);
    return true;
}

bool m2m_read_address(struct m2m_read *r, const struct m2m_cse *cse,
                      struct bytes path[POLICY_PATH_SEGMENTS_MAX], size_t *n, size_t n_prefix)
{
    struct m2m_address a;
    struct buf to = buf_on(r->to, sizeof r->to);
    if (!m2m_address_read(cse, path + n_prefix, *n - n_prefix, &a) ||
        n_prefix + a.n > POLICY_PATH_SEGMENTS_MAX || !m2m_address_write(&a, &to))
        return false;
    if (a.n)
        memcpy(path + n_prefix, a.path, a.n * sizeof *path);
    *n = n_prefix + a.n;
    r->request.address = (unsigned)a.form;
    r->request.to = buf_bytes(&to);
    r->request.named = a.n == 0 ? 0 : a.named << n_prefix;
    return true;
}
