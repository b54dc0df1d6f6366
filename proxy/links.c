#include "links.h"

#include <ctype.h>

enum { SEGMENT_MAX = 255 }; /* of Uri-Path and Uri-Query (RFC 7252 5.10) */

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_one_of(uint8_t c, const char *set)
{
    return c && strchr(set, c);
}

static bool is_blank(uint8_t c)
{
    return is_one_of(c, " \t\r\n");
}

/* pchar without pct-encoded (RFC 3986 3.3) */
static bool is_pchar(uint8_t c)
{
    return is_alnum(c) || is_one_of(c, "-._~!$&'()*+,;=:@");
}

static bool is_parmname(uint8_t c)
{
    return is_alnum(c) || is_one_of(c, "!#$&+-.^_`|~*");
}

/* ptokenchar (RFC 6690 2) */
static bool is_ptoken(uint8_t c)
{
    return is_alnum(c) || is_one_of(c, "!#$%&'()*+-./:<=>?@[]^_`{|}~");
}

static void skip(struct bytes *b, size_t n)
{
    if (n == 0) /* p may be NULL */
        return;
    b->p += n;
    b->n -= n;
}

static void skip_blanks(struct bytes *b)
{
    while (b->n && is_blank(*b->p))
        skip(b, 1);
}

static struct bytes take_while(struct bytes *b, bool (*is)(uint8_t c))
{
    struct bytes out = {b->p, 0};
    while (b->n && is(*b->p)) {
        out.n++;
        skip(b, 1);
    }
    return out;
}

/* With its quotes; empty if it is none. */
static struct bytes take_quoted(struct bytes *b)
{
    for (size_t i = 1; i < b->n; i++) {
        uint8_t c = b->p[i];
        if (c == '"') {
            struct bytes out = {b->p, i + 1};
            skip(b, i + 1);
            return out;
        }
        if (c == '\\')
            c = ++i < b->n ? b->p[i] : 0;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            break;
    }
    return BYTES_NONE;
}

/* One parameter with its semicolon. False: there is none, or it is not
 * well-formed; then *b stands where it stood. */
static bool take_param(struct bytes *b, struct link_param *out)
{
    struct bytes at = *b;
    skip_blanks(&at);
    if (at.n == 0 || *at.p != ';')
        return false;
    skip(&at, 1);
    skip_blanks(&at);
    out->name = take_while(&at, is_parmname);
    out->value = BYTES_NONE;
    if (out->name.n == 0)
        return false;
    if (at.n && *at.p == '=') {
        skip(&at, 1);
        out->value = at.n && *at.p == '"' ? take_quoted(&at) : take_while(&at, is_ptoken);
        if (out->value.n == 0)
            return false;
    }
    *b = at;
    return true;
}

enum link_result link_next(struct bytes *rest, struct link *out)
{
    struct bytes at = *rest;
    struct link_param param;
    skip_blanks(&at);
    if (at.n == 0)
        return LINK_END;
    if (*at.p != '<')
        return LINK_BAD;
    skip(&at, 1);
    struct bytes target = {at.p, 0};
    /* What else is no URI, link_place_read() finds: such a link is left out,
     * but it does not hide where the next one begins. */
    for (; target.n < at.n && at.p[target.n] != '>'; target.n++)
        if (at.p[target.n] <= ' ' || at.p[target.n] == 0x7f || is_one_of(at.p[target.n], "<\""))
            return LINK_BAD;
    if (target.n == at.n)
        return LINK_BAD;
    skip(&at, target.n + 1);
    struct bytes params = {at.p, 0};
    while (take_param(&at, &param))
        ;
    params.n = (size_t)(at.p - params.p);
    skip_blanks(&at);
    if (at.n) {
        if (*at.p != ',')
            return LINK_BAD;
        skip(&at, 1);
        skip_blanks(&at);
        if (at.n == 0)
            return LINK_BAD;
    }
    *rest = at;
    *out = (struct link){target, params};
    return LINK_FOUND;
}

bool link_param_next(struct bytes *params, struct link_param *out)
{
    return take_param(params, out);
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : isxdigit(c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* Decodes one segment or query argument into `to`. */
static bool decode(struct bytes text, const char *also, struct buf *to, struct bytes *out)
{
    size_t from = to->n;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (c == '%') {
            bool whole = text.n - i > 2;
            int high = whole ? hex_digit(text.p[i + 1]) : -1;
            int low = whole ? hex_digit(text.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (!is_pchar(c) && !is_one_of(c, also)) {
            return false;
        }
        buf_put_u8(to, c);
    }
    *out = (struct bytes){to->p + from, to->n - from};
    return !to->full && out->n <= SEGMENT_MAX;
}

/* The part of *rest before the first of `stops`; *rest begins with it then,
 * or is empty. */
static struct bytes take_until(struct bytes *rest, const char *stops)
{
    struct bytes out = {rest->p, 0};
    while (out.n < rest->n && !is_one_of(rest->p[out.n], stops))
        out.n++;
    skip(rest, out.n);
    return out;
}

static bool read_path(struct bytes path, struct buf *to, struct link_place *out)
{
    /* A reference without a leading slash is relative to the server's root
     * (RFC 6690 2.1: the base has an empty path). */
    if (path.n && *path.p == '/')
        skip(&path, 1);
    for (bool more = path.n > 0; more;) {
        struct bytes segment = take_until(&path, "/");
        more = path.n > 0;
        if (more)
            skip(&path, 1);
        if (out->n_path == POLICY_PATH_SEGMENTS_MAX ||
            !decode(segment, "", to, &out->path[out->n_path]))
            return false;
        struct bytes *s = &out->path[out->n_path++];
        /* To be resolved by the client (RFC 3986 5.2.4), before or after our
         * prefix: two readings, so none. */
        if (bytes_equal_str(*s, ".") || bytes_equal_str(*s, ".."))
            return false;
    }
    return true;
}

static bool read_query(struct bytes query, struct buf *to, struct link_place *out)
{
    for (bool more = true; more;) {
        struct bytes argument = take_until(&query, "&");
        more = query.n > 0;
        if (more)
            skip(&query, 1);
        if (out->n_query == REQUEST_QUERIES_MAX ||
            !decode(argument, "/?", to, &out->query[out->n_query]))
            return false;
        out->n_query++;
    }
    return true;
}

bool link_place_read(struct bytes target, struct link_place *out)
{
    struct buf to = buf_on(out->storage, sizeof out->storage);
    struct bytes rest = target, unused;
    out->n_path = out->n_query = 0;
    (void)take_until(&rest, ":/?#");
    if (rest.n && *rest.p == ':') /* a scheme (RFC 3986 4.2) */
        return false;
    if (target.n >= 2 && target.p[0] == '/' && target.p[1] == '/') /* an authority */
        return false;
    rest = target;
    struct bytes path = take_until(&rest, "?#");
    out->tail = rest;
    if (!read_path(path, &to, out))
        return false;
    if (rest.n && *rest.p == '?') {
        skip(&rest, 1);
        if (!read_query(take_until(&rest, "#"), &to, out))
            return false;
    }
    return rest.n == 0 || decode(bytes_of(rest.p + 1, rest.n - 1), "/?", &to, &unused);
}

static bool match(struct bytes value, struct bytes pattern)
{
    if (pattern.n && pattern.p[pattern.n - 1] == '*') {
        pattern.n--;
        if (value.n > pattern.n)
            value.n = pattern.n;
    }
    return bytes_equal(value, pattern);
}

static bool match_words(struct bytes value, struct bytes pattern)
{
    for (;;) {
        struct bytes word = take_until(&value, " ");
        if (match(word, pattern))
            return true;
        if (value.n == 0)
            return false;
        skip(&value, 1);
    }
}

static bool same_name(struct bytes a, struct bytes b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (tolower(a.p[i]) != tolower(b.p[i]))
            return false;
    return true;
}

/* A value without quotes and escapes; one that is too long matches nothing. */
static bool unquote(struct bytes value, struct buf *to)
{
    if (value.n < 2 || *value.p != '"') {
        buf_put(to, value);
        return !to->full;
    }
    for (size_t i = 1; i + 1 < value.n; i++) {
        if (value.p[i] == '\\' && i + 2 < value.n)
            i++;
        buf_put_u8(to, value.p[i]);
    }
    return !to->full;
}

bool link_matches(const struct link *l, struct bytes target, struct bytes filter)
{
    struct bytes pattern = filter, params = l->params;
    struct bytes name = take_until(&pattern, "=");
    struct link_param param;
    if (pattern.n == 0)
        return true;
    skip(&pattern, 1);
    if (bytes_equal_str(name, "href"))
        return match(target, pattern);
    bool words =
        bytes_equal_str(name, "rt") || bytes_equal_str(name, "if") || bytes_equal_str(name, "rel");
    while (link_param_next(&params, &param)) {
        uint8_t storage[256];
        struct buf value = buf_on(storage, sizeof storage);
        if (!same_name(param.name, name) || !unquote(param.value, &value))
            continue;
        if (words ? match_words(buf_bytes(&value), pattern) : match(buf_bytes(&value), pattern))
            return true;
    }
    return false;
}

void link_put_segment(struct buf *out, struct bytes segment)
{
    static const char digits[] = "0123456789ABCDEF";
    buf_put_u8(out, '/');
    for (size_t i = 0; i < segment.n; i++) {
        uint8_t c = segment.p[i];
        if (is_pchar(c)) {
            buf_put_u8(out, c);
        } else {
            buf_put_u8(out, '%');
            buf_put_u8(out, (uint8_t)digits[c >> 4]);
            buf_put_u8(out, (uint8_t)digits[c & 15]);
        }
    }
}
