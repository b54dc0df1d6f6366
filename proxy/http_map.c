#include "http_map.h"

#include <strings.h>

#include "../policy/utf8.h"
#include "http_media.h"
#include "limits.h"
#include "m2m_http.h"

enum {
    C_CREATED = MSG_CODE(2, 1),
    C_DELETED = MSG_CODE(2, 2),
    C_VALID = MSG_CODE(2, 3),
    C_CHANGED = MSG_CODE(2, 4),
    C_CONTENT = MSG_CODE(2, 5),
    C_BAD_REQUEST = MSG_CODE(4, 0),
    C_BAD_OPTION = MSG_CODE(4, 2),
    C_METHOD = MSG_CODE(4, 5),
    C_NOT_ACCEPTABLE = MSG_CODE(4, 6),
    C_PRECONDITION = MSG_CODE(4, 12),
    C_FORMAT = MSG_CODE(4, 15),
    C_TOO_MANY = MSG_CODE(4, 29),
    C_BAD_GATEWAY = MSG_CODE(5, 2),
    C_BUSY = MSG_CODE(5, 3),
    OCTETS = 42,
    TAGS_TEXT = 1024,
};

static uint8_t refuse(uint8_t code, const char *text, const char **why)
{
    *why = text;
    return code;
}

/* ---- requests ---- */

/* iPATCH is a PATCH whose format makes it idempotent (RFC 8132 3). FETCH has
 * no counterpart: a server would not take its body for a question. */
static const char *method_of(uint8_t code)
{
    static const char *const methods[] = {
        [MSG_GET] = "GET",       [MSG_POST] = "POST",   [MSG_PUT] = "PUT",
        [MSG_DELETE] = "DELETE", [MSG_PATCH] = "PATCH", [MSG_IPATCH] = "PATCH",
    };
    return code < sizeof methods / sizeof *methods ? methods[code] : NULL;
}

/* The server's tags for the options of this number. `unknown`: how many had
 * been forgotten. */
static bool put_tags(const struct http_side *s, const struct msg *m, uint16_t number,
                     struct buf *tags, size_t *unknown)
{
    for (size_t i = 0; i < m->n_options; i++) {
        if (m->options[i].number != number)
            continue;
        const char *text = m->options[i].value.n == 0
                               ? "*" /* If-Match: that there is one (RFC 7252 5.10.8.1) */
                               : http_etags_find(s->etags, m->options[i].value);
        if (!text) {
            ++*unknown;
            continue;
        }
        if (tags->n > 0)
            buf_put_str(tags, ", ");
        buf_put_str(tags, text);
    }
    return !tags->full;
}

static uint8_t put_conditions(const struct http_side *s, const struct msg *m,
                              struct http_request *out, const char **why)
{
    char text[TAGS_TEXT];
    struct buf tags = buf_on(text, sizeof text);
    size_t unknown = 0;
    if (msg_find(m, OPT_IF_MATCH)) {
        /* Without the forgotten ones less may match, never more. */
        if (!put_tags(s, m, OPT_IF_MATCH, &tags, &unknown) || tags.n == 0)
            return refuse(C_PRECONDITION, "unknown ETag", why);
        if (!http_request_line(out, "If-Match", buf_bytes(&tags)))
            return refuse(C_BAD_OPTION, "too long", why);
    }
    if (msg_find(m, OPT_IF_NONE_MATCH)) {
        if (!http_request_line(out, "If-None-Match", BYTES_LIT("*")))
            return refuse(C_BAD_OPTION, "too long", why);
    } else if (m->code == MSG_GET) {
        tags.n = 0;
        tags.full = false;
        if (!put_tags(s, m, OPT_ETAG, &tags, &unknown))
            tags.n = 0; /* then it is asked for as a whole */
        if (tags.n > 0 && !http_request_line(out, "If-None-Match", buf_bytes(&tags)))
            return refuse(C_BAD_OPTION, "too long", why);
    }
    return 0;
}

/* What is told, what ends here (of the transfer, of the hop), and what is
 * elective and unknown. */
static bool is_taken(uint16_t number)
{
    switch (number) {
    case OPT_IF_MATCH:
    case OPT_IF_NONE_MATCH:
    case OPT_URI_HOST:
    case OPT_URI_PORT:
    case OPT_URI_PATH:
    case OPT_URI_QUERY:
    case OPT_ACCEPT:
    case OPT_BLOCK1:
    case OPT_BLOCK2:
        return true;
    default:
        return !(number & 1);
    }
}

uint8_t http_map_options(const struct http_side *s, const struct msg *m, struct http_request *out,
                         const char **why)
{
    int64_t format = msg_uint(m, OPT_CONTENT_FORMAT), accept = msg_uint(m, OPT_ACCEPT);
    for (size_t i = 0; i < m->n_options; i++)
        if (!is_taken(m->options[i].number))
            return refuse(C_BAD_OPTION, "unsupported critical option", why);
    out->content_type = format < 0 ? NULL : http_media_of((uint32_t)format);
    out->accept = accept < 0 ? NULL : http_media_of((uint32_t)accept);
    if (format >= 0 && !out->content_type)
        return refuse(C_FORMAT, "no media type is known for it", why);
    if (accept >= 0 && !out->accept)
        return refuse(C_NOT_ACCEPTABLE, "no media type is known for it", why);
    return put_conditions(s, m, out, why);
}

uint8_t http_map_request(const struct http_side *s, const struct msg *m, struct bytes body,
                         struct http_request *out, const char **why)
{
    *why = "";
    http_request_init(out);
    if (s->cse)
        return m2m_http_request(s, m, body, out, why);
    out->method = method_of(m->code);
    if (!out->method)
        return refuse(C_METHOD, "no such method in HTTP", why);
    uint8_t code = http_request_target(out, m, "=", NULL);
    if (code)
        return refuse(code, "a path that could be read as another", why);
    /* A payload has no meaning with GET and DELETE, in either protocol. */
    if (out->method[0] == 'P')
        out->body = body;
    return http_map_options(s, m, out, why);
}

/* ---- answers: the code (RFC 7252 10.1, RFC 8075 table 2) ---- */

static uint8_t success(uint8_t method, unsigned status)
{
    bool made =
        method == MSG_POST || method == MSG_PUT || method == MSG_PATCH || method == MSG_IPATCH;
    switch (status) {
    case 201:
        return made ? C_CREATED : C_BAD_GATEWAY;
    case 200:
    case 202: /* CoAP has no word for what will be done later */
    case 203:
    case 204:
    case 205:
        return method == MSG_GET ? C_CONTENT : method == MSG_DELETE ? C_DELETED : C_CHANGED;
    default: /* 206: no part was asked for */
        return C_BAD_GATEWAY;
    }
}

static uint8_t failure(unsigned status)
{
    static const struct {
        uint16_t status;
        uint8_t code;
    } codes[] = {
        {401, MSG_CODE(4, 1)}, {403, MSG_CODE(4, 3)}, {404, MSG_CODE(4, 4)},
        {405, MSG_CODE(4, 5)}, {406, MSG_CODE(4, 6)}, {407, C_BAD_GATEWAY},
        {408, MSG_CODE(5, 4)}, {409, MSG_CODE(4, 9)}, {410, MSG_CODE(4, 4)},
        {411, C_BAD_GATEWAY},  {412, C_PRECONDITION}, {413, MSG_CODE(4, 13)},
        {415, C_FORMAT},       {421, C_BAD_GATEWAY},  {422, MSG_CODE(4, 22)},
        {426, C_BAD_GATEWAY},  {429, C_TOO_MANY},     {501, MSG_CODE(5, 1)},
        {502, C_BAD_GATEWAY},  {503, C_BUSY},         {504, MSG_CODE(5, 4)},
        {505, C_BAD_GATEWAY},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].status == status)
            return codes[i].code;
    return status / 100 == 4 ? C_BAD_REQUEST : MSG_CODE(5, 0);
}

static uint8_t code_of(const struct msg *asked, unsigned status)
{
    if (status / 100 == 2)
        return success(asked->code, status);
    if (status == 304) /* to one who asked for that */
        return asked->code == MSG_GET && msg_find(asked, OPT_ETAG) ? C_VALID : C_BAD_GATEWAY;
    return status / 100 == 4 || status / 100 == 5 ? failure(status) : C_BAD_GATEWAY;
}

/* ---- answers: how long they hold ---- */

static bool take_directive(struct bytes *at, struct bytes *name, struct bytes *value)
{
    size_t n = 0;
    while (at->n > 0 && strchr(" \t,", at->p[0]) && at->p[0] != 0)
        *at = bytes_of(at->p + 1, at->n - 1);
    bool quoted = false;
    while (n < at->n && (quoted || at->p[n] != ',')) {
        quoted = quoted != (at->p[n] == '"');
        n++;
    }
    struct bytes whole = bytes_of(at->p, n);
    *at = bytes_of(at->p + n, at->n - n);
    const uint8_t *is = n > 0 ? memchr(whole.p, '=', n) : NULL;
    *name = is ? bytes_of(whole.p, (size_t)(is - whole.p)) : whole;
    *value = is ? bytes_of(is + 1, (size_t)(whole.p + n - is - 1)) : BYTES_NONE;
    while (name->n > 0 && name->p[name->n - 1] == ' ')
        name->n--;
    return n > 0;
}

static bool is_word(struct bytes a, const char *word)
{
    return a.n == strlen(word) && strncasecmp((const char *)a.p, word, a.n) == 0;
}

/* -1: no number of seconds. */
static int64_t seconds(struct bytes text)
{
    int64_t v = 0;
    if (text.n >= 2 && text.p[0] == '"' && text.p[text.n - 1] == '"')
        text = bytes_of(text.p + 1, text.n - 2);
    while (text.n > 0 && (text.p[text.n - 1] == ' ' || text.p[text.n - 1] == '\t'))
        text.n--;
    if (text.n == 0)
        return -1;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return -1;
        v = v * 10 + (text.p[i] - '0');
        if (v > UINT32_MAX)
            return UINT32_MAX; /* RFC 9111 1.2.2 */
    }
    return v;
}

/* What is stated, and is so for us, a cache that many share (RFC 9111 4.2.1,
 * 5.2.2). An Expires is not looked at, and nothing is guessed: who says no
 * more may hold for no longer. In CoAP, silence would mean 60 seconds. */
static uint32_t fresh_s(const struct http_answer *a)
{
    int64_t age = -1, shared = -1;
    struct bytes name, value;
    for (size_t i = 0; i < a->n_fields; i++) {
        if (strcasecmp(a->fields[i].name, "Vary") == 0 && strchr(a->fields[i].value, '*'))
            return 0;
        if (strcasecmp(a->fields[i].name, "Cache-Control") != 0)
            continue;
        struct bytes at = bytes_str(a->fields[i].value);
        while (take_directive(&at, &name, &value)) {
            if (is_word(name, "no-store") || is_word(name, "no-cache") || is_word(name, "private"))
                return 0;
            /* Twice, or none: as if it had ended (RFC 9111 4.2.1). */
            if (is_word(name, "max-age"))
                age = age >= 0 || seconds(value) < 0 ? 0 : seconds(value);
            else if (is_word(name, "s-maxage"))
                shared = shared >= 0 || seconds(value) < 0 ? 0 : seconds(value);
        }
    }
    age = shared >= 0 ? shared : age;
    if (age > 0 && http_answer_find(a, "Age", &value) != HTTP_FOUND_NONE) {
        int64_t old = seconds(value);
        age = old < 0 || old > age ? 0 : age - old;
    }
    return age > 0 ? (uint32_t)age : 0;
}

static bool put_age(const struct msg *asked, const struct http_answer *a, struct http_reply *out)
{
    uint8_t code = out->m.code;
    if (code == C_BUSY || code == C_TOO_MANY)
        return a->retry_s == 0 || http_reply_uint(out, OPT_MAX_AGE, a->retry_s);
    bool is_kept = asked->code == MSG_GET && code != C_BAD_GATEWAY;
    return !is_kept || http_reply_uint(out, OPT_MAX_AGE, fresh_s(a));
}

/* ---- answers: the rest ---- */

/* NULL, or why it is 5.02. */
static const char *put_etag(const struct http_side *s, const struct msg *asked,
                            const struct http_answer *a, struct http_reply *out)
{
    struct bytes value;
    uint8_t id[HTTP_ETAG_ID];
    bool valid = out->m.code == C_VALID;
    if (MSG_CLASS(out->m.code) != 2 || out->m.code == C_DELETED)
        return NULL;
    switch (http_answer_find(a, "ETag", &value)) {
    case HTTP_FOUND_MANY:
        return "two ETags";
    case HTTP_FOUND_ONE:
        if (http_etags_put(s->etags, value, id))
            return http_reply_option(out, OPT_ETAG, bytes_of(id, sizeof id)) ? NULL : "too long";
        break;
    case HTTP_FOUND_NONE:
        break;
    }
    if (!valid)
        return NULL;
    /* Which one it is must be told (RFC 7252 5.9.1.3): clear if one was asked. */
    const struct msg_option *o = msg_find(asked, OPT_ETAG);
    bool one = o && (o + 1 == asked->options + asked->n_options || o[1].number != OPT_ETAG);
    return one && http_reply_option(out, OPT_ETAG, o->value) ? NULL : "304 without an ETag";
}

/* A text is a diagnostic payload (RFC 7252 5.5.2); what people look at in a
 * browser is left out, and so is all that is long. */
static bool put_error(const struct http_answer *a, enum http_media_kind kind, uint16_t format,
                      struct http_reply *out)
{
    bool text = format == 0;
    if (a->body.n == 0 || a->body.n > BODY_SURE || kind != HTTP_MEDIA_KNOWN ||
        (text && !utf8_is(a->body)))
        return true;
    out->m.payload = a->body;
    return text || http_reply_uint(out, OPT_CONTENT_FORMAT, format);
}

/* What CSEs call the same JSON, XML or CBOR, one so and another so. */
static bool is_same(const struct http_side *s, int64_t accept, uint16_t format)
{
    static const uint16_t families[][2] = {{50, 10001}, {41, 10014}, {60, 10010}};
    for (size_t i = 0; s->cse && i < sizeof families / sizeof *families; i++)
        if ((accept == families[i][0] && format == families[i][1]) ||
            (accept == families[i][1] && format == families[i][0]))
            return true;
    return accept == format;
}

const char *http_map_content(const struct http_side *s, const struct msg *asked,
                             const struct http_answer *a, struct http_reply *out)
{
    struct bytes value;
    uint16_t format = OCTETS;
    enum http_media_kind kind = HTTP_MEDIA_UNKNOWN;
    enum http_found coding = http_answer_find(a, "Content-Encoding", &value);
    if (coding == HTTP_FOUND_MANY || (coding == HTTP_FOUND_ONE && !is_word(value, "identity")))
        return "a content coding that nobody asked for";
    enum http_found type = http_answer_find(a, "Content-Type", &value);
    if (type == HTTP_FOUND_ONE)
        kind = http_media_format(value, &format);
    if (type == HTTP_FOUND_MANY || kind == HTTP_MEDIA_BAD)
        return "an unreadable Content-Type";
    const char *why = put_etag(s, asked, a, out);
    if (why)
        return why;
    if (MSG_CLASS(out->m.code) != 2)
        return put_error(a, kind, format, out) && put_age(asked, a, out) ? NULL : "too long";
    int64_t accept = msg_uint(asked, OPT_ACCEPT);
    bool has_body = a->body.n > 0 && out->m.code != C_VALID;
    if (asked->code == MSG_GET && has_body && accept >= 0 && !is_same(s, accept, format)) {
        http_reply_init(out, C_NOT_ACCEPTABLE); /* RFC 7252 5.10.4 */
        return http_reply_uint(out, OPT_MAX_AGE, 0) ? NULL : "too long";
    }
    if (has_body) {
        if (accept >= 0 && is_same(s, accept, format))
            format = (uint16_t)accept;
        if (!http_reply_uint(out, OPT_CONTENT_FORMAT, format))
            return "too long";
        out->m.payload = a->body;
    }
    return put_age(asked, a, out) ? NULL : "too long";
}

static void bad_gateway(struct http_reply *out, const char *why)
{
    http_reply_init(out, C_BAD_GATEWAY);
    out->m.payload = bytes_str(why);
}

void http_map_answer(const struct http_side *s, const struct msg *asked,
                     const struct http_answer *a, struct http_reply *out)
{
    struct bytes value;
    if (s->cse) {
        m2m_http_answer(s, asked, a, out);
        return;
    }
    http_reply_init(out, code_of(asked, a->status));
    const char *why = a->status / 100 == 3 && out->m.code == C_BAD_GATEWAY
                          ? "redirected"
                          : http_map_content(s, asked, a, out);
    if (why) {
        bad_gateway(out, why);
        return;
    }
    if (out->m.code == C_CREATED && http_answer_find(a, "Location", &value) == HTTP_FOUND_ONE)
        http_reply_location(out, &s->origin, asked, value, false);
}
