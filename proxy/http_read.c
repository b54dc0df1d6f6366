#include "http_read.h"

#include <strings.h>

#include "../policy/hex.h"

enum { BLANK = 4, CHUNK_LINE = 64 };

enum end { END_NONE, END_FOUND, END_BAD };

static bool is_token_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

/* A line, up to CR LF; each of them alone is none (RFC 9112 2.2 lets a reader
 * take LF, which is what others did not). */
static enum end take_line(struct bytes *at, struct bytes *line)
{
    for (size_t i = 0; i < at->n; i++) {
        if (at->p[i] == '\n' || at->p[i] == 0)
            return END_BAD;
        if (at->p[i] != '\r')
            continue;
        if (i + 1 == at->n)
            return END_NONE;
        if (at->p[i + 1] != '\n')
            return END_BAD;
        *line = bytes_of(at->p, i);
        *at = bytes_of(at->p + i + 2, at->n - i - 2);
        return END_FOUND;
    }
    return END_NONE;
}

static struct bytes take_word(struct bytes *line)
{
    const uint8_t *space = line->n ? memchr(line->p, ' ', line->n) : NULL;
    size_t n = space ? (size_t)(space - line->p) : line->n;
    struct bytes word = bytes_of(line->p, n);
    *line = space ? bytes_of(line->p + n + 1, line->n - n - 1) : BYTES_NONE;
    return word;
}

/* Origin-form alone: we are no proxy. */
static bool read_request_line(struct bytes line, struct http_incoming *out)
{
    out->method = take_word(&line);
    struct bytes target = take_word(&line);
    bool old = bytes_equal_str(line, "HTTP/1.0");
    for (size_t i = 0; i < out->method.n; i++)
        if (!is_token_char(out->method.p[i]))
            return false;
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= ' ' || target.p[i] >= 0x7f || target.p[i] == '#')
            return false;
    if (out->method.n == 0 || target.n == 0 || target.p[0] != '/')
        return false;
    if (!old && !bytes_equal_str(line, "HTTP/1.1")) {
        out->status = 505;
        return false;
    }
    const uint8_t *mark = memchr(target.p, '?', target.n);
    out->path = bytes_of(target.p, mark ? (size_t)(mark - target.p) : target.n);
    out->query = mark ? bytes_of(mark + 1, target.n - out->path.n - 1) : BYTES_NONE;
    out->closes = old;
    return true;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static bool read_field(struct bytes line, struct http_incoming *out)
{
    size_t n = 0;
    while (n < line.n && is_token_char(line.p[n]))
        n++;
    if (n == 0 || n == line.n || line.p[n] != ':' || out->n_fields == HTTP_READ_FIELDS)
        return false;
    struct bytes value = bytes_of(line.p + n + 1, line.n - n - 1);
    while (value.n > 0 && is_space(value.p[0]))
        value = bytes_of(value.p + 1, value.n - 1);
    while (value.n > 0 && is_space(value.p[value.n - 1]))
        value.n--;
    for (size_t i = 0; i < value.n; i++)
        if ((value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7f)
            return false;
    out->fields[out->n_fields].name = bytes_of(line.p, n);
    out->fields[out->n_fields++].value = value;
    return true;
}

static bool is_word(struct bytes a, const char *word)
{
    return a.n == strlen(word) && (a.n == 0 || strncasecmp((const char *)a.p, word, a.n) == 0);
}

size_t http_incoming_find(const struct http_incoming *q, const char *name, struct bytes *value)
{
    size_t times = 0;
    for (size_t i = 0; i < q->n_fields; i++)
        if (is_word(q->fields[i].name, name)) {
            *value = q->fields[i].value;
            times++;
        }
    return times;
}

/* ---- bodies (RFC 9112 6) ---- */

struct framing {
    bool chunked;
    size_t length;
};

static bool read_framing(struct http_incoming *out, size_t body_max, struct framing *f)
{
    struct bytes length, coding, word;
    size_t lengths = http_incoming_find(out, "Content-Length", &length);
    size_t codings = http_incoming_find(out, "Transfer-Encoding", &coding);
    *f = (struct framing){.chunked = codings > 0};
    if (lengths > 1 || codings > 1 || (lengths && codings) || (codings && out->closes))
        return false;
    if (codings && !is_word(coding, "chunked")) {
        out->status = 501;
        return false;
    }
    for (size_t i = 0; lengths && i < length.n; i++) {
        if (length.p[i] < '0' || length.p[i] > '9')
            return false;
        f->length = f->length * 10 + (size_t)(length.p[i] - '0');
        if (f->length > body_max) {
            out->status = 413;
            return false;
        }
    }
    if (lengths && length.n == 0)
        return false;
    out->expects = http_incoming_find(out, "Expect", &word) == 1 && is_word(word, "100-continue");
    if (http_incoming_find(out, "Connection", &word) > 0 && !is_word(word, "keep-alive"))
        out->closes = true; /* or something that we do not know */
    return true;
}

/* "5" or "5;name=value" */
static bool read_chunk_size(struct bytes line, size_t most, size_t *size)
{
    size_t i = 0;
    *size = 0;
    for (; i < line.n && hex_digit(line.p[i]) >= 0; i++) {
        *size = *size * 16 + (size_t)hex_digit(line.p[i]);
        if (*size > most)
            return false;
    }
    return i > 0 && (i == line.n || line.p[i] == ';');
}

static enum http_read bad(struct http_incoming *out, unsigned status)
{
    out->status = status;
    return HTTP_READ_BAD;
}

/* Over the chunks at `at`; with `to` their content is moved there. */
static enum http_read walk_chunks(struct bytes *at, size_t body_max, uint8_t *to, size_t *total,
                                  struct http_incoming *out)
{
    struct bytes line;
    size_t size;
    *total = 0;
    do {
        enum end e = take_line(at, &line);
        if (e == END_NONE && at->n <= CHUNK_LINE)
            return HTTP_READ_MORE;
        if (e != END_FOUND || line.n > CHUNK_LINE)
            return bad(out, 400);
        if (!read_chunk_size(line, body_max - *total, &size))
            return bad(out, line.n && hex_digit(line.p[0]) >= 0 ? 413 : 400);
        if (size > 0) {
            if (at->n < size + 2)
                return HTTP_READ_MORE;
            if (at->p[size] != '\r' || at->p[size + 1] != '\n')
                return bad(out, 400);
            if (to)
                memmove(to + *total, at->p, size);
            *total += size;
            *at = bytes_of(at->p + size + 2, at->n - size - 2);
        }
    } while (size > 0);
    for (size_t left = HTTP_READ_HEADER;;) { /* trailers: read, and not looked at */
        enum end e = take_line(at, &line);
        if (e == END_BAD || (e == END_NONE && at->n > left) || (e == END_FOUND && line.n > left))
            return bad(out, 400);
        if (e == END_NONE)
            return HTTP_READ_MORE;
        if (line.n == 0)
            return HTTP_READ_WHOLE;
        left -= line.n;
    }
}

static enum http_read read_body(uint8_t *p, struct bytes *at, size_t body_max,
                                const struct framing *f, struct http_incoming *out)
{
    if (!f->chunked) {
        if (at->n < f->length)
            return HTTP_READ_MORE;
        out->body = bytes_of(at->p, f->length);
        *at = bytes_of(at->p + f->length, at->n - f->length);
        return HTTP_READ_WHOLE;
    }
    struct bytes from = *at;
    size_t total, begin = (size_t)(at->p - p);
    enum http_read r = walk_chunks(at, body_max, NULL, &total, out);
    if (r != HTTP_READ_WHOLE)
        return r;
    out->body = bytes_of(p + begin, total);
    return walk_chunks(&from, body_max, p + begin, &total, out);
}

/* What of it is there is of a sound form, so far. */
static enum http_read read_header(struct bytes *at, struct http_incoming *out)
{
    struct bytes line;
    size_t had = at->n;
    for (bool first = true;; first = false) {
        enum end e = take_line(at, &line);
        if (e == END_BAD)
            return bad(out, 400);
        if (had - at->n > HTTP_READ_HEADER || (e == END_NONE && had > HTTP_READ_HEADER))
            return bad(out, 431);
        if (e == END_NONE)
            return HTTP_READ_MORE;
        if (first && !read_request_line(line, out))
            return bad(out, out->status ? out->status : 400);
        if (!first && line.n == 0)
            return HTTP_READ_WHOLE;
        if (!first && !read_field(line, out))
            return bad(out, out->n_fields == HTTP_READ_FIELDS ? 431 : 400);
    }
}

enum http_read http_read(uint8_t *p, size_t n, size_t body_max, struct http_incoming *out,
                         size_t *used)
{
    struct framing f;
    struct bytes at = bytes_of(p, n);
    *out = (struct http_incoming){.n_fields = 0};
    /* An empty line in front is from a body that was one too long. */
    for (size_t i = 0; i < BLANK && at.n > 0 && (at.p[0] == '\r' || at.p[0] == '\n'); i++)
        at = bytes_of(at.p + 1, at.n - 1);
    enum http_read r = read_header(&at, out);
    if (r != HTTP_READ_WHOLE)
        return r;
    if (!read_framing(out, body_max, &f))
        return bad(out, out->status ? out->status : 400);
    r = read_body(p, &at, body_max, &f, out);
    *used = n - at.n;
    return r;
}
