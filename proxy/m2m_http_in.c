#include "m2m_http_in.h"

#include <strings.h>

#include "../policy/hex.h"
#include "../policy/utf8.h"
#include "http_media.h"

enum { VALUE_MAX = 255, PATH_MAX_SEGMENTS = 32 };

/* ---- the request ---- */

/* A segment or a parameter, decoded once. What would mean something else when
 * it is joined with others is none (gate_notify.h routes by it). */
static bool put_decoded(struct http_reply *out, uint16_t number, struct bytes text)
{
    uint8_t value[VALUE_MAX];
    struct buf b = buf_on(value, sizeof value);
    for (size_t i = 0; i < text.n; i++) {
        int c = text.p[i];
        if (c == '%') {
            int high = i + 2 < text.n ? hex_digit(text.p[i + 1]) : -1;
            int low = i + 2 < text.n ? hex_digit(text.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = high << 4 | low;
            i += 2;
        }
        if (c < ' ' || c == 0x7f || (c == '/' && number == OPT_URI_PATH))
            return false;
        buf_put_u8(&b, (uint8_t)c);
    }
    struct bytes v = buf_bytes(&b);
    bool dots = number == OPT_URI_PATH && (bytes_equal_str(v, ".") || bytes_equal_str(v, ".."));
    return !b.full && utf8_is(v) && !dots && http_reply_option(out, number, v);
}

static bool put_parts(struct http_reply *out, uint16_t number, struct bytes text, char between)
{
    while (text.n > 0) {
        const uint8_t *at = memchr(text.p, between, text.n);
        size_t n = at ? (size_t)(at - text.p) : text.n;
        if ((n == 0 && at) || !put_decoded(out, number, bytes_of(text.p, n)))
            return false;
        text = at ? bytes_of(at + 1, text.n - n - 1) : BYTES_NONE;
    }
    return true;
}

static unsigned put_content(const struct http_incoming *q, struct http_reply *out)
{
    struct bytes type;
    uint16_t format;
    out->m.payload = q->body;
    switch (http_incoming_find(q, "Content-Type", &type)) {
    case 0:
        return q->body.n > 0 ? 415 : 0;
    case 1:
        break;
    default:
        return 400;
    }
    /* With a type it is a CREATE, which nobody takes here (TS-0009 6.2.1). */
    for (size_t i = 0; i + 2 < type.n; i++)
        if (strncasecmp((const char *)type.p + i, "ty=", 3) == 0)
            return 405;
    if (http_media_format(type, &format) != HTTP_MEDIA_KNOWN)
        return 415;
    return http_reply_uint(out, OPT_CONTENT_FORMAT, format) ? 0 : 400;
}

unsigned m2m_http_in_request(const struct m2m_cse *cse, const struct http_incoming *q,
                             struct http_reply *out)
{
    http_reply_init(out, MSG_POST);
    if (!bytes_equal_str(q->method, "POST"))
        return 405;
    if (!put_parts(out, OPT_URI_PATH, bytes_of(q->path.p + 1, q->path.n - 1), '/') ||
        !put_parts(out, OPT_URI_QUERY, q->query, '&'))
        return 400;
    for (enum m2m_param p = 0; p < M2M_PARAMS; p++) {
        const char *name = m2m_http_field(p, true);
        uint16_t option = m2m_number(cse->options, p);
        uint8_t number[2];
        struct buf b = buf_on(number, sizeof number);
        struct bytes text = BYTES_NONE, value;
        size_t times = name && option ? http_incoming_find(q, name, &text) : 0;
        if (times == 0 || text.n == 0)
            continue;
        if (times > 1 || !m2m_http_read(p, text, &b, &value) ||
            !http_reply_option(out, option, value))
            return 400;
    }
    return put_content(q, out);
}

/* ---- the answer ---- */

static unsigned status_of(uint8_t code, int64_t rsc)
{
    static const struct {
        uint8_t code;
        uint16_t status;
    } table[] = {
        {MSG_CODE(2, 1), 201},  {MSG_CODE(4, 1), 403},  {MSG_CODE(4, 3), 403},
        {MSG_CODE(4, 4), 404},  {MSG_CODE(4, 5), 405},  {MSG_CODE(4, 6), 406},
        {MSG_CODE(4, 9), 409},  {MSG_CODE(4, 13), 413}, {MSG_CODE(4, 15), 415},
        {MSG_CODE(4, 29), 429}, {MSG_CODE(5, 1), 501},  {MSG_CODE(5, 3), 503},
        {MSG_CODE(5, 4), 504},
    };
    if (rsc == 4105)
        return 409;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].code == code)
            return table[i].status;
    return MSG_CLASS(code) == 2 ? 200 : MSG_CLASS(code) == 4 ? 400 : 500;
}

static void put_line(struct buf *lines, const char *name, struct bytes value)
{
    buf_put_str(lines, name);
    buf_put_str(lines, ": ");
    buf_put(lines, value);
    buf_put_str(lines, "\r\n");
}

unsigned m2m_http_in_answer(const struct m2m_cse *cse, const struct msg *m, struct buf *lines,
                            struct bytes *body)
{
    static const enum m2m_param told[] = {M2M_RQI, M2M_RVI, M2M_OT, M2M_RSET, M2M_VSI};
    struct m2m_values v;
    struct msg rest;
    (void)!m2m_split(m, cse->options, &v, &rest); /* what is sound of it */
    int64_t rsc = m2m_uint(&v, M2M_RSC), format = msg_uint(&rest, OPT_CONTENT_FORMAT);
    char text[VALUE_MAX + 1];
    if (rsc >= 1000 && rsc <= 9999) {
        struct buf b = buf_on(text, sizeof text);
        buf_put_decimal(&b, (uint64_t)rsc, 4);
        put_line(lines, "X-M2M-RSC", buf_bytes(&b));
    }
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct buf b = buf_on(text, sizeof text);
        if (m2m_has(&v, told[i]) && m2m_http_write(told[i], v.of[told[i]], &b))
            put_line(lines, m2m_http_field(told[i], false), buf_bytes(&b));
    }
    const char *type = format < 0 ? NULL : http_media_of((uint32_t)format);
    *body = type ? rest.payload : BYTES_NONE;
    if (body->n > 0)
        put_line(lines, "Content-Type", bytes_str(type));
    return status_of(m->code, rsc);
}
