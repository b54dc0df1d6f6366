#include "m2m_http.h"

#include "../pep/onem2m.h"
#include "../policy/utf8.h"

enum {
    C_BAD_REQUEST = MSG_CODE(4, 0),
    C_METHOD = MSG_CODE(4, 5),
    C_NOT_IMPLEMENTED = MSG_CODE(5, 1),
    C_BAD_GATEWAY = MSG_CODE(5, 2),
    TIMESTAMP = 15, /* YYYYMMDDTHHMMSS */
    TEXT_MAX = 255,
};

/* TS-0009 6.4. What is not here has no field: GTM, OMR, PRPI and MSU change
 * what is asked, so a request with one is refused. */
static const struct row {
    enum m2m_param param;
    const char *name;
    enum form { TEXT, TIME, UINT, RELEASE } form;
    uint32_t max; /* of a number */
    bool asked, answered;
} rows[] = {
    {M2M_FR, "X-M2M-Origin", TEXT, 0, true, true},
    {M2M_RQI, "X-M2M-RI", TEXT, 0, true, false}, /* in answers, see put_ids() */
    {M2M_RVI, "X-M2M-RVI", RELEASE, 0, true, false},
    {M2M_OT, "X-M2M-OT", TIME, 0, true, true},
    {M2M_RQET, "X-M2M-RET", TIME, 0, true, false},
    {M2M_RSET, "X-M2M-RST", TIME, 0, true, true},
    {M2M_OET, "X-M2M-OET", TIME, 0, true, false},
    {M2M_RTURI, "X-M2M-RTU", TEXT, 0, true, false},
    {M2M_EC, "X-M2M-EC", UINT, UINT8_MAX, true, true},
    {M2M_GID, "X-M2M-GID", TEXT, 0, true, false},
    {M2M_VSI, "X-M2M-VSI", TEXT, 0, true, true},
    {M2M_AUS, "X-M2M-AS", TEXT, 0, true, false},
    {M2M_ASRI, "X-M2M-ASRI", TEXT, 0, true, true},
    {M2M_ATI, "X-M2M-ATI", TEXT, 0, false, true},
    {M2M_CTS, "X-M2M-CTS", UINT, UINT16_MAX, false, true},
    {M2M_CTO, "X-M2M-CTO", UINT, UINT16_MAX, false, true},
};

enum { ROWS = sizeof rows / sizeof *rows };

static uint8_t refuse(uint8_t code, const char *text, const char **why)
{
    *why = text;
    return code;
}

/* ---- requests ---- */

/* By method and TY, or by `op` of a POST (TS-0008 6.2.1). M2M_NONE: by none of
 * them, or by both. */
static enum m2m_operation operation_of(const struct msg *m, const struct m2m_values *v)
{
    enum m2m_operation by_op = M2M_NONE;
    for (size_t i = 0; i < m->n_options; i++) {
        struct bytes q = m->options[i].value;
        if (m->options[i].number != OPT_URI_QUERY || q.n < 3 || memcmp(q.p, "op=", 3) != 0)
            continue;
        if (by_op != M2M_NONE || q.n != 4 || q.p[3] < '1' || q.p[3] > '5')
            return M2M_NONE;
        by_op = (enum m2m_operation)(q.p[3] - '0');
    }
    switch (m->code) {
    case MSG_GET:
        return by_op == M2M_NONE || by_op == M2M_RETRIEVE ? M2M_RETRIEVE : M2M_NONE;
    case MSG_PUT:
        return by_op == M2M_NONE || by_op == M2M_UPDATE ? M2M_UPDATE : M2M_NONE;
    case MSG_DELETE:
        return by_op == M2M_NONE || by_op == M2M_DELETE ? M2M_DELETE : M2M_NONE;
    case MSG_POST:
        return by_op != M2M_NONE ? by_op : m2m_has(v, M2M_TY) ? M2M_CREATE : M2M_NOTIFY;
    default:
        return M2M_NONE;
    }
}

static const struct row *row_of(enum m2m_param p)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].param == p)
            return &rows[i];
    return NULL;
}

const char *m2m_http_field(enum m2m_param p, bool asked)
{
    const struct row *r = row_of(p);
    bool ids = p == M2M_RQI || p == M2M_RVI; /* in both: see put_ids() */
    return r && (ids || (asked ? r->asked : r->answered)) ? r->name : NULL;
}

bool m2m_http_write(enum m2m_param p, struct bytes value, struct buf *to)
{
    const struct row *r = row_of(p);
    if (!r || (r->form != UINT && !http_is_value(value)))
        return false;
    if (r->form == UINT) {
        struct m2m_values one = {.has = 0};
        m2m_set(&one, p, value);
        buf_put_decimal(to, (uint64_t)m2m_uint(&one, p), 1);
    } else {
        buf_put(to, value);
    }
    return !to->full;
}

static uint8_t put_lines(const struct m2m_values *v, struct http_request *out, const char **why)
{
    uint32_t told = UINT32_C(1) << M2M_TY;
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *r = &rows[i];
        char text[TEXT_MAX + 1];
        struct buf b = buf_on(text, sizeof text);
        if (!m2m_has(v, r->param) || !r->asked)
            continue;
        told |= UINT32_C(1) << r->param;
        /* Nobody's name is none: the registrar chooses one. */
        if (v->of[r->param].n == 0 && r->param == M2M_FR)
            continue;
        if (!m2m_http_write(r->param, v->of[r->param], &b) ||
            !http_request_line(out, r->name, buf_bytes(&b)))
            return refuse(C_BAD_REQUEST, "a value that a header field cannot hold", why);
    }
    if (v->has & ~told)
        return refuse(C_NOT_IMPLEMENTED, "a parameter that HTTP has no field for", why);
    return 0;
}

/* "application/json;ty=3": a POST with ty is a CREATE, without it a NOTIFY. */
static bool put_type(const struct m2m_values *v, struct http_request *out)
{
    char text[16];
    struct buf b = buf_on(text, sizeof text);
    buf_put_str(&b, ";ty=");
    buf_put_decimal(&b, (uint64_t)m2m_uint(v, M2M_TY), 1);
    out->content_type = http_request_text(out, bytes_str(out->content_type), buf_bytes(&b));
    return out->content_type != NULL;
}

uint8_t m2m_http_request(const struct http_side *s, const struct msg *m, struct bytes body,
                         struct http_request *out, const char **why)
{
    static const char *const methods[] = {[M2M_CREATE] = "POST",
                                          [M2M_RETRIEVE] = "GET",
                                          [M2M_UPDATE] = "PUT",
                                          [M2M_DELETE] = "DELETE",
                                          [M2M_NOTIFY] = "POST"};
    struct m2m_values v;
    struct msg rest;
    if (!m2m_split(m, s->cse->options, &v, &rest))
        return refuse(C_BAD_REQUEST, "a parameter of a wrong form", why);
    enum m2m_operation op = operation_of(m, &v);
    if (op == M2M_NONE)
        return m->code > MSG_DELETE ? refuse(C_METHOD, "no such operation", why)
                                    : refuse(C_BAD_REQUEST, "an unclear operation", why);
    if ((op == M2M_CREATE) != m2m_has(&v, M2M_TY))
        return refuse(C_BAD_REQUEST, "a CREATE has a type, and nothing else has", why);
    out->method = methods[op];
    uint8_t code = http_request_target(out, &rest, "=+", "op");
    if (!code)
        code = http_map_options(s, &rest, out, why);
    if (!code)
        code = put_lines(&v, out, why);
    if (code)
        return code;
    if (out->method[0] == 'P')
        out->body = body;
    else if (body.n > 0) /* a list of attributes, which HTTP has in the query */
        return refuse(C_NOT_IMPLEMENTED, "content that HTTP has no place for", why);
    /* What everybody means who says nothing. */
    if (!out->content_type && (body.n > 0 || op == M2M_CREATE))
        out->content_type = "application/json";
    if (op == M2M_CREATE && !put_type(&v, out))
        return refuse(C_BAD_REQUEST, "too long", why);
    return 0;
}

/* ---- status ---- */

static bool is_accepted(uint32_t rsc)
{
    return rsc >= 1000 && rsc < 2000;
}

uint8_t m2m_http_code(uint32_t rsc, int operation, bool created)
{
    static const struct {
        uint16_t rsc;
        uint8_t code;
    } codes[] = {
        {1001, MSG_CODE(2, 1)}, {2001, MSG_CODE(2, 1)}, {2002, MSG_CODE(2, 2)},
        {2004, MSG_CODE(2, 4)}, {4001, MSG_CODE(5, 1)}, {4004, MSG_CODE(4, 4)},
        {4005, MSG_CODE(4, 5)}, {4008, MSG_CODE(5, 4)}, {4015, MSG_CODE(4, 15)},
        {4101, MSG_CODE(4, 3)}, {4103, MSG_CODE(4, 3)}, {4105, MSG_CODE(4, 3)},
        {4106, MSG_CODE(4, 3)}, {4107, MSG_CODE(4, 3)}, {4108, MSG_CODE(4, 3)},
        {4109, MSG_CODE(4, 3)}, {4111, MSG_CODE(4, 3)}, {4112, MSG_CODE(4, 3)},
        {4113, MSG_CODE(4, 3)}, {4114, MSG_CODE(4, 3)}, {4115, MSG_CODE(4, 3)},
        {4116, MSG_CODE(4, 3)}, {4117, MSG_CODE(4, 3)}, {4118, MSG_CODE(4, 4)},
        {4119, MSG_CODE(4, 4)}, {4120, MSG_CODE(4, 2)}, {4121, MSG_CODE(4, 4)},
        {4122, MSG_CODE(4, 2)}, {4125, MSG_CODE(5, 1)}, {4126, MSG_CODE(4, 3)},
        {4127, MSG_CODE(4, 3)}, {5001, MSG_CODE(5, 1)}, {5103, MSG_CODE(4, 4)},
        {5105, MSG_CODE(4, 3)}, {5106, MSG_CODE(4, 0)}, {5107, MSG_CODE(4, 4)},
        {5203, MSG_CODE(4, 3)}, {5205, MSG_CODE(4, 3)}, {5206, MSG_CODE(5, 1)},
        {5207, MSG_CODE(4, 6)}, {5208, MSG_CODE(4, 3)}, {5214, MSG_CODE(4, 3)},
        {5215, MSG_CODE(4, 3)}, {5218, MSG_CODE(4, 3)}, {5219, MSG_CODE(4, 0)},
        {5220, MSG_CODE(4, 0)}, {5222, MSG_CODE(4, 3)}, {6003, MSG_CODE(4, 4)},
        {6005, MSG_CODE(4, 4)}, {6010, MSG_CODE(4, 0)}, {6022, MSG_CODE(4, 0)},
        {6023, MSG_CODE(4, 0)}, {6024, MSG_CODE(4, 0)}, {6028, MSG_CODE(4, 0)},
        {6029, MSG_CODE(4, 0)}, {6030, MSG_CODE(5, 4)}, {6031, MSG_CODE(5, 4)},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].rsc == rsc)
            return codes[i].code;
    if (is_accepted(rsc)) /* a <request> was made, or was not */
        return created ? MSG_CODE(2, 1) : MSG_CODE(2, 4);
    if (rsc / 1000 == 2)
        return operation == M2M_RETRIEVE ? MSG_CODE(2, 5) : MSG_CODE(2, 4);
    return rsc / 1000 == 4 ? C_BAD_REQUEST : MSG_CODE(5, 0);
}

/* The status of an answer without one: what is in front of a CSE may answer
 * in its stead. TS-0009 table 6.3.2-1 by its most general rows. */
static uint32_t status_of(unsigned status, enum m2m_operation op)
{
    static const uint16_t done[] = {[M2M_CREATE] = 2001,
                                    [M2M_RETRIEVE] = 2000,
                                    [M2M_UPDATE] = 2004,
                                    [M2M_DELETE] = 2002,
                                    [M2M_NOTIFY] = 2000};
    switch (status) {
    case 200:
    case 204:
        return done[op];
    case 201:
        return op == M2M_CREATE ? 2001 : 0;
    case 202:
        return 1000;
    case 304:
        return op == M2M_RETRIEVE ? 2000 : 0;
    case 403:
        return 4103;
    case 404:
    case 410:
        return 4004;
    case 405:
        return 4005;
    case 406:
        return 5207;
    case 409:
        return 4105;
    case 415:
        return 4015;
    case 501:
        return 5001;
    case 504:
    case 408:
        return 4008;
    default:
        return status / 100 == 4 ? 4000 : status / 100 == 5 ? 5000 : 0;
    }
}

/* 0: none that can be read, or one that the line above it contradicts. Of two
 * readings neither is taken. */
static uint32_t read_status(const struct http_answer *a, enum m2m_operation op)
{
    struct bytes value;
    uint32_t rsc = 0;
    switch (http_answer_find(a, "X-M2M-RSC", &value)) {
    case HTTP_FOUND_NONE:
        return status_of(a->status, op);
    case HTTP_FOUND_MANY:
        return 0;
    case HTTP_FOUND_ONE:
        break;
    }
    for (size_t i = 0; i < value.n; i++) {
        if (value.n != 4 || value.p[i] < '0' || value.p[i] > '9')
            return 0;
        rsc = rsc * 10 + (uint32_t)(value.p[i] - '0');
    }
    bool good = a->status / 100 == 2 || a->status == 304;
    bool bad = a->status / 100 == 4 || a->status / 100 == 5;
    if (rsc < 1000 || rsc > 6999 || rsc / 1000 == 3)
        return 0;
    return (rsc < 3000 && good) || (rsc > 3000 && bad) ? rsc : 0;
}

/* ---- answers ---- */

static bool is_timestamp(struct bytes s)
{
    for (size_t i = 0; i < TIMESTAMP; i++)
        if (s.n < TIMESTAMP || (i == 8 ? s.p[i] != 'T' : s.p[i] < '0' || s.p[i] > '9'))
            return false;
    return s.n == TIMESTAMP || s.p[TIMESTAMP] == ',' || s.p[TIMESTAMP] == '.';
}

static bool is_release(struct bytes s)
{
    return (s.n == 1 || s.n == 2) && s.p[0] >= '0' && s.p[0] <= '9' &&
           (s.n == 1 || (s.p[1] >= '0' && s.p[1] <= '9') || (s.p[1] >= 'a' && s.p[1] <= 'z'));
}

static bool is_text(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return s.n > 0 && s.n <= TEXT_MAX && utf8_is(s);
}

static bool read_number(const struct row *r, struct bytes s, struct buf *to)
{
    uint32_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || v > r->max)
            return false;
        v = v * 10 + (uint32_t)(s.p[i] - '0');
    }
    if (s.n == 0 || v > r->max)
        return false;
    if (v > UINT8_MAX)
        buf_put_be(to, v, 2);
    else if (v > 0)
        buf_put_u8(to, (uint8_t)v);
    return !to->full;
}

/* A time may have a fraction in HTTP, and none here. */
bool m2m_http_read(enum m2m_param p, struct bytes text, struct buf *to, struct bytes *value)
{
    const struct row *r = row_of(p);
    size_t from = to->n;
    *value = text;
    switch (r ? r->form : TEXT) {
    case UINT:
        if (!read_number(r, text, to))
            return false;
        *value = bytes_of(to->p + from, to->n - from);
        return true;
    case TIME:
        value->n = TIMESTAMP;
        return is_timestamp(text);
    case RELEASE:
        return is_release(text);
    case TEXT:
    default:
        return r && is_text(text);
    }
}

/* They are news about the answer, not the answer: what is of no sound form is
 * left out. */
static bool put_params(const struct http_side *s, const struct http_answer *a,
                       struct http_reply *out)
{
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *r = &rows[i];
        uint8_t number[2];
        struct buf b = buf_on(number, sizeof number);
        struct bytes text, value;
        uint16_t option = m2m_number(s->cse->options, r->param);
        if (r->answered && option && http_answer_find(a, r->name, &text) == HTTP_FOUND_ONE &&
            m2m_http_read(r->param, text, &b, &value) && !http_reply_option(out, option, value))
            return false;
    }
    return true;
}

/* Request identifier and release are those of the request: another one would
 * be the answer to something else (see is_ours()). */
static bool put_ids(const struct http_side *s, const struct m2m_values *asked, uint32_t rsc,
                    const struct http_answer *a, struct http_reply *out)
{
    enum m2m_numbering n = s->cse->options;
    struct bytes rvi = m2m_has(asked, M2M_RVI) ? asked->of[M2M_RVI] : BYTES_NONE, value;
    if (a && http_answer_find(a, "X-M2M-RVI", &value) == HTTP_FOUND_ONE && is_release(value))
        rvi = value;
    return http_reply_uint(out, m2m_number(n, M2M_RSC), rsc) &&
           (!m2m_has(asked, M2M_RQI) ||
            http_reply_option(out, m2m_number(n, M2M_RQI), asked->of[M2M_RQI])) &&
           (rvi.n == 0 || http_reply_option(out, m2m_number(n, M2M_RVI), rvi));
}

static bool is_ours(const struct m2m_values *asked, const struct http_answer *a)
{
    struct bytes value;
    switch (http_answer_find(a, "X-M2M-RI", &value)) {
    case HTTP_FOUND_NONE:
        return true;
    case HTTP_FOUND_ONE:
        return !m2m_has(asked, M2M_RQI) || bytes_equal(value, asked->of[M2M_RQI]);
    case HTTP_FOUND_MANY:
    default:
        return false;
    }
}

static uint32_t rsc_of(uint8_t code)
{
    switch (code) {
    case MSG_CODE(4, 5):
        return 4005;
    case MSG_CODE(4, 6):
        return 5207;
    case MSG_CODE(4, 13):
        return 4102; /* CONTENTS_UNACCEPTABLE */
    case MSG_CODE(4, 15):
        return 4015;
    case C_NOT_IMPLEMENTED:
        return 5001;
    default:
        return MSG_CLASS(code) == 4 ? M2M_BAD_REQUEST : M2M_INTERNAL_ERROR;
    }
}

void m2m_http_error(const struct http_side *s, const struct msg *asked, uint8_t code,
                    struct http_reply *out)
{
    struct m2m_values v;
    struct msg rest;
    uint32_t rsc = rsc_of(code);
    (void)!m2m_split(asked, s->cse->options, &v, &rest);
    http_reply_init(out, rsc == M2M_INTERNAL_ERROR ? MSG_CODE(5, 0) : code);
    if (!put_ids(s, &v, rsc, NULL, out))
        http_reply_init(out, code);
}

/* A CSE may say an identifier where HTTP wants a URI: "/mn-cse/x1" is then
 * "/~/mn-cse/x1". Where its CSEBase has the CSE-ID's name, it is a path. */
static void put_location(const struct http_side *s, const struct msg *asked, struct bytes value,
                         struct http_reply *out)
{
    char text[512];
    struct buf b = buf_on(text, sizeof text);
    const char *id = s->cse->id, *base = s->cse->base;
    size_t n = id ? strlen(id) : 0;
    bool is_id = n > 1 && !(base && strcmp(base, id + 1) == 0) && value.n > n &&
                 memcmp(value.p, id, n) == 0 && value.p[n] == '/';
    buf_put_str(&b, is_id ? "~" : "");
    buf_put(&b, value);
    if (!b.full)
        http_reply_location(out, &s->origin, asked, buf_bytes(&b), true);
}

void m2m_http_answer(const struct http_side *s, const struct msg *asked,
                     const struct http_answer *a, struct http_reply *out)
{
    struct m2m_values v;
    struct msg rest;
    struct bytes at;
    bool sound = m2m_split(asked, s->cse->options, &v, &rest);
    enum m2m_operation op = operation_of(asked, &v);
    uint32_t rsc = sound && op != M2M_NONE && is_ours(&v, a) ? read_status(a, op) : 0;
    bool located = http_answer_find(a, "Content-Location", &at) == HTTP_FOUND_ONE ||
                   http_answer_find(a, "Location", &at) == HTTP_FOUND_ONE;
    if (rsc == 0 || (a->status == 304 && !msg_find(asked, OPT_ETAG))) {
        m2m_http_error(s, asked, C_BAD_GATEWAY, out);
        return;
    }
    http_reply_init(out, a->status == 304 ? MSG_CODE(2, 3) : m2m_http_code(rsc, (int)op, located));
    if (a->status == 412)
        out->m.code = MSG_CODE(4, 12);
    /* The content of an answer to a NOTIFY is empty (TS-0008 table 6.2.4-1). */
    struct http_answer bare = *a;
    if (op == M2M_NOTIFY && MSG_CLASS(out->m.code) == 2)
        bare.body = BYTES_NONE;
    /* A RETRIEVE may have come as a POST, and is one for all that. */
    rest.code = op == M2M_RETRIEVE ? MSG_GET : asked->code;
    uint8_t code = out->m.code;
    bool told = !http_map_content(s, &rest, &bare, out);
    if (told && out->m.code != code) { /* what it is was not asked for */
        m2m_http_error(s, asked, out->m.code, out);
        return;
    }
    if (!told || !put_ids(s, &v, rsc, a, out) || !put_params(s, a, out)) {
        m2m_http_error(s, asked, C_BAD_GATEWAY, out);
        return;
    }
    if (located && out->m.code == MSG_CODE(2, 1))
        put_location(s, asked, at, out);
}
