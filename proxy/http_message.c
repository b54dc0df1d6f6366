#include "http_message.h"

#include <strings.h>

#include "../policy/hex.h"
#include "../policy/utf8.h"

enum {
    C_BAD_REQUEST = MSG_CODE(4, 0),
    VALUE_MAX = 255, /* Location-Path, Location-Query: RFC 7252 5.10 */
};

static bool is_unreserved(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("-._~", c));
}

static bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

/* ---- a request ---- */

void http_request_init(struct http_request *r)
{
    r->method = NULL;
    r->target[0] = '\0';
    r->content_type = r->accept = NULL;
    r->n_lines = 0;
    r->body = BYTES_NONE;
    r->text = buf_on(r->storage, sizeof r->storage);
}

/* All that could mean something is encoded, sub-delims too: some servers cut
 * "a;b" at the semicolon, and what they serve then is not what was judged. */
static void put_encoded(struct buf *to, struct bytes value, const char *keep)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.n; i++) {
        uint8_t c = value.p[i];
        if (is_unreserved(c) || (c != 0 && strchr(keep, c))) {
            buf_put_u8(to, c);
        } else {
            buf_put_u8(to, '%');
            buf_put_u8(to, (uint8_t)hex[c >> 4]);
            buf_put_u8(to, (uint8_t)hex[c & 15]);
        }
    }
}

/* Many servers decode %2F before they split a path, end a name at %00, and
 * step over empty segments; all of them resolve "..", encoded or not. */
static bool is_segment(struct bytes s, bool last)
{
    if (s.n == 0)
        return last;
    for (size_t i = 0; i < s.n; i++)
        if (is_control(s.p[i]) || s.p[i] == '/' || s.p[i] == '\\')
            return false;
    return !bytes_equal_str(s, ".") && !bytes_equal_str(s, "..");
}

static size_t count(const struct msg *m, uint16_t number)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_options; i++)
        n += m->options[i].number == number;
    return n;
}

static bool is_skipped(struct bytes query, const char *skip)
{
    size_t n = skip ? strlen(skip) : 0;
    return n > 0 && query.n >= n && memcmp(query.p, skip, n) == 0 &&
           (query.n == n || query.p[n] == '=');
}

uint8_t http_request_target(struct http_request *r, const struct msg *m, const char *keep,
                            const char *skip)
{
    struct buf b = buf_on(r->target, sizeof r->target);
    size_t n_path = count(m, OPT_URI_PATH), n = 0;
    bool queried = false;
    if (n_path == 0)
        buf_put_u8(&b, '/');
    for (size_t i = 0; i < m->n_options; i++) {
        const struct msg_option *o = &m->options[i];
        if (o->number == OPT_URI_PATH) {
            if (!is_segment(o->value, ++n == n_path))
                return C_BAD_REQUEST;
            buf_put_u8(&b, '/');
            put_encoded(&b, o->value, "");
        } else if (o->number == OPT_URI_QUERY && !is_skipped(o->value, skip)) {
            buf_put_u8(&b, queried ? '&' : '?');
            put_encoded(&b, o->value, keep);
            queried = true;
        }
    }
    buf_put_u8(&b, 0);
    return b.full ? C_BAD_REQUEST : 0;
}

/* Beyond ASCII, servers differ in what they read; and white space around a
 * value is none of it (RFC 9110 5.5), so that it would arrive as another. */
bool http_is_value(struct bytes v)
{
    for (size_t i = 0; i < v.n; i++)
        if (is_control(v.p[i]) || v.p[i] >= 0x80 ||
            (v.p[i] == ' ' && (i == 0 || i + 1 == v.n || v.p[i + 1] == ' ')))
            return false;
    return true;
}

const char *http_request_text(struct http_request *r, struct bytes a, struct bytes b)
{
    const char *text = (const char *)r->text.p + r->text.n;
    if (!http_is_value(a) || !http_is_value(b))
        return NULL;
    buf_put(&r->text, a);
    buf_put(&r->text, b);
    buf_put_u8(&r->text, 0);
    return r->text.full ? NULL : text;
}

bool http_request_line(struct http_request *r, const char *name, struct bytes value)
{
    char head[64];
    struct buf b = buf_on(head, sizeof head);
    buf_put_str(&b, name);
    /* The library's form of a field without a value. */
    buf_put_str(&b, value.n > 0 ? ": " : ";");
    if (b.full || r->n_lines == HTTP_LINES_MAX || !http_is_value(value))
        return false;
    const char *line = (const char *)r->text.p + r->text.n;
    buf_put(&r->text, buf_bytes(&b));
    buf_put(&r->text, value);
    buf_put_u8(&r->text, 0);
    if (r->text.full)
        return false;
    r->lines[r->n_lines++] = line;
    return true;
}

/* ---- an answer ---- */

static struct bytes trimmed(const char *text)
{
    struct bytes v = bytes_str(text);
    while (v.n > 0 && (v.p[0] == ' ' || v.p[0] == '\t'))
        v = bytes_of(v.p + 1, v.n - 1);
    while (v.n > 0 && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
        v.n--;
    return v;
}

enum http_found http_answer_find(const struct http_answer *a, const char *name, struct bytes *value)
{
    enum http_found found = HTTP_FOUND_NONE;
    for (size_t i = 0; i < a->n_fields; i++)
        if (strcasecmp(a->fields[i].name, name) == 0) {
            if (found != HTTP_FOUND_NONE)
                return HTTP_FOUND_MANY;
            *value = trimmed(a->fields[i].value);
            found = HTTP_FOUND_ONE;
        }
    return found;
}

void http_reply_init(struct http_reply *r, uint8_t code)
{
    r->m.type = TYPE_NON;
    r->m.mid = 0;
    r->m.token_n = 0;
    r->m.code = code;
    r->m.n_options = 0;
    r->m.payload = BYTES_NONE;
    r->text = buf_on(r->storage, sizeof r->storage);
}

bool http_reply_option(struct http_reply *r, uint16_t number, struct bytes value)
{
    uint8_t *to = buf_reserve(&r->text, value.n);
    if (!to)
        return false;
    if (value.n > 0)
        memcpy(to, value.p, value.n);
    return msg_add(&r->m, number, bytes_of(to, value.n));
}

bool http_reply_uint(struct http_reply *r, uint16_t number, uint32_t v)
{
    uint8_t *to = buf_reserve(&r->text, 4);
    return to && msg_add_uint(&r->m, number, v, to);
}

/* ---- Location (RFC 9110 10.2.2, RFC 3986) ---- */

struct location {
    struct bytes path, query;
    bool is_absolute;
};

static bool take_word(struct bytes *at, const char *word)
{
    size_t n = strlen(word);
    if (at->n < n || strncasecmp((const char *)at->p, word, n) != 0)
        return false;
    *at = bytes_of(at->p + n, at->n - n);
    return true;
}

/* Up to the first of these, or all. */
static struct bytes take_until(struct bytes *at, const char *ends)
{
    size_t n = 0;
    while (n < at->n && !strchr(ends, at->p[n]))
        n++;
    struct bytes part = bytes_of(at->p, n);
    *at = bytes_of(at->p + n, at->n - n);
    return part;
}

static bool is_authority(const struct http_origin *o, bool tls, struct bytes authority)
{
    bool v6 = strchr(o->host, ':') != NULL;
    if (tls != o->tls || (v6 && !take_word(&authority, "[")) || !take_word(&authority, o->host) ||
        (v6 && !take_word(&authority, "]")))
        return false;
    int port = tls ? 443 : 80;
    if (take_word(&authority, ":") && authority.n > 0) {
        port = 0;
        for (; authority.n > 0 && port < 65536;
             authority = bytes_of(authority.p + 1, authority.n - 1)) {
            if (authority.p[0] < '0' || authority.p[0] > '9')
                return false;
            port = port * 10 + (authority.p[0] - '0');
        }
    }
    return authority.n == 0 && port == o->port;
}

static bool split(const struct http_origin *o, struct bytes value, bool ids, struct location *out)
{
    bool http = take_word(&value, "http://"), tls = !http && take_word(&value, "https://");
    bool net = !http && !tls && !ids && take_word(&value, "//");
    if ((http || tls || net) && !is_authority(o, net ? o->tls : tls, take_until(&value, "/?#")))
        return false;
    *out = (struct location){.path = take_until(&value, "?#")};
    if (take_word(&value, "?"))
        out->query = take_until(&value, "#");
    out->is_absolute = http || tls || net || (out->path.n > 0 && out->path.p[0] == '/');
    struct bytes rest = out->path, first = take_until(&rest, "/");
    if (!out->is_absolute && first.n > 0 && memchr(first.p, ':', first.n))
        return false; /* of another scheme (RFC 3986 4.2) */
    return out->path.n > 0 || http || tls || net;
}

static bool put_decoded(struct http_reply *r, uint16_t number, struct bytes value)
{
    uint8_t text[VALUE_MAX];
    struct buf b = buf_on(text, sizeof text);
    for (size_t i = 0; i < value.n; i++) {
        uint8_t c = value.p[i];
        if (c == '%') {
            int high = i + 2 < value.n ? hex_digit(value.p[i + 1]) : -1;
            int low = i + 2 < value.n ? hex_digit(value.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        }
        if (is_control(c) || (number == OPT_LOCATION_PATH && c == '/'))
            return false;
        buf_put_u8(&b, c);
    }
    return !b.full && utf8_is(buf_bytes(&b)) && http_reply_option(r, number, buf_bytes(&b));
}

static bool put_segments(struct http_reply *r, struct bytes path)
{
    (void)take_word(&path, "/");
    if (path.n == 0)
        return true;
    for (;;) {
        if (!put_decoded(r, OPT_LOCATION_PATH, take_until(&path, "/")))
            return false;
        if (!take_word(&path, "/"))
            return true;
    }
}

/* What a relative one begins with: the base; or the request's own path up to
 * its last segment (RFC 3986 5.2.3). */
static bool put_beginning(struct http_reply *r, const struct http_origin *o,
                          const struct msg *asked, bool ids)
{
    size_t left = ids ? 0 : count(asked, OPT_URI_PATH);
    for (size_t i = 0; ids && i < o->n_base; i++)
        if (!http_reply_option(r, OPT_LOCATION_PATH, o->base[i]))
            return false;
    for (size_t i = 0; left > 1 && i < asked->n_options; i++)
        if (asked->options[i].number == OPT_URI_PATH) {
            left--;
            if (!http_reply_option(r, OPT_LOCATION_PATH, asked->options[i].value))
                return false;
        }
    return true;
}

static bool put_location(struct http_reply *r, const struct http_origin *o, const struct msg *asked,
                         struct bytes value, bool ids)
{
    struct location at;
    for (size_t i = 0; i < value.n; i++)
        if (is_control(value.p[i]) || value.p[i] == ' ' || value.p[i] >= 0x80)
            return false;
    if (ids && take_word(&value, "//")) { /* an SP's name comes first */
        at = (struct location){.path = value, .is_absolute = true};
        if (!put_beginning(r, o, asked, true) ||
            !http_reply_option(r, OPT_LOCATION_PATH, BYTES_LIT("_")))
            return false;
    } else if (!split(o, value, ids, &at) ||
               (!at.is_absolute && !put_beginning(r, o, asked, ids))) {
        return false;
    }
    if (!put_segments(r, at.path))
        return false;
    while (at.query.n > 0) {
        if (!put_decoded(r, OPT_LOCATION_QUERY, take_until(&at.query, "&")))
            return false;
        (void)take_word(&at.query, "&");
    }
    return true;
}

void http_reply_location(struct http_reply *r, const struct http_origin *o, const struct msg *asked,
                         struct bytes value, bool ids)
{
    struct msg before = r->m;
    size_t n = r->text.n;
    if (put_location(r, o, asked, value, ids))
        return;
    r->m = before;
    r->text.n = n;
    r->text.full = false;
}
