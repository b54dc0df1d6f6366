#include "url.h"

#include "hex.h"

static const uint8_t *find(struct bytes s, const char *any)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] && strchr(any, s.p[i]))
            return s.p + i;
    return NULL;
}

static struct bytes cut(struct bytes *s, size_t n)
{
    struct bytes head = {s->p, n};
    s->p += n;
    s->n -= n;
    return head;
}

static bool is_host_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool take_host(struct bytes s, struct url *out, const char **why)
{
    if (s.n == 0 || s.n > URL_HOST_MAX) {
        *why = s.n ? "the host is too long" : "there is no host";
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c >= 'A' && c <= 'Z' && !out->is_v6_literal)
            c = (uint8_t)(c - 'A' + 'a');
        if (!out->is_v6_literal && !is_host_char(c)) {
            *why = "the host is neither an address nor a name";
            return false;
        }
        if (c < 0x21 || c > 0x7e) {
            *why = "the host has a character that no address has";
            return false;
        }
        out->host[i] = (char)c;
    }
    out->host[s.n] = '\0';
    /* A zone is written "%25eth0" in a URI (RFC 6874 2). */
    char *zone = out->is_v6_literal ? strstr(out->host, "%25") : NULL;
    if (zone)
        memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
    return true;
}

static bool take_port(struct bytes s, struct url *out, const char **why)
{
    int port = 0;
    for (size_t i = 0; i < s.n && i < 6; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            port = 0;
            break;
        }
        port = port * 10 + (s.p[i] - '0');
    }
    if (port < 1 || port > 65535) {
        *why = "the port is not a number from 1 to 65535";
        return false;
    }
    out->port = port;
    return true;
}

bool url_parse(struct bytes text, struct url *out, const char **why)
{
    struct url u = {.port = -1};
    const uint8_t *colon = find(text, ":");
    size_t scheme_n = colon ? (size_t)(colon - text.p) : 0;
    if (!colon || scheme_n == 0 || text.n - scheme_n < 3 || memcmp(colon, "://", 3) != 0) {
        *why = "expected a URI such as coap://192.0.2.10";
        return false;
    }
    u.scheme = cut(&text, scheme_n);
    (void)cut(&text, 3);
    if (find(text, "?#")) {
        *why = "a query or a fragment has no place here";
        return false;
    }
    const uint8_t *slash = find(text, "/");
    struct bytes authority = cut(&text, slash ? (size_t)(slash - text.p) : text.n);
    u.path = text;
    if (find(authority, "@")) {
        *why = "user information has no place here";
        return false;
    }
    struct bytes host;
    if (authority.n > 0 && authority.p[0] == '[') {
        const uint8_t *end = find(authority, "]");
        if (!end) {
            *why = "a bracket is not closed";
            return false;
        }
        host = bytes_of(authority.p + 1, (size_t)(end - authority.p) - 1);
        (void)cut(&authority, host.n + 2);
        u.is_v6_literal = true;
    } else {
        const uint8_t *end = find(authority, ":");
        host = cut(&authority, end ? (size_t)(end - authority.p) : authority.n);
    }
    if (!take_host(host, &u, why))
        return false;
    if (authority.n > 0) {
        if (authority.p[0] != ':') {
            *why = "something stands between the address and the port";
            return false;
        }
        (void)cut(&authority, 1);
        if (!take_port(authority, &u, why))
            return false;
    }
    *out = u;
    return true;
}

bool url_next_segment(struct bytes *path, uint8_t *to, size_t *n, const char **why)
{
    *why = NULL;
    if (path->n == 0)
        return false;
    size_t used = 0;
    struct bytes s = {path->p + 1, path->n - 1};
    while (s.n > 0 && s.p[0] != '/') {
        uint8_t c = s.p[0];
        size_t step = 1;
        if (c == '%') {
            int hi = s.n > 2 ? hex_digit(s.p[1]) : -1, lo = s.n > 2 ? hex_digit(s.p[2]) : -1;
            if (hi < 0 || lo < 0) {
                *why = "'%' without two hexadecimal digits";
                return false;
            }
            c = (uint8_t)(hi << 4 | lo);
            step = 3;
        }
        /* An encoded slash would be one segment here and two elsewhere. */
        if (c == '/' || c == 0) {
            *why = "a segment holds '/' or NUL";
            return false;
        }
        if (used == URL_SEGMENT_MAX) {
            *why = "a segment is longer than 255 bytes";
            return false;
        }
        to[used++] = c;
        (void)cut(&s, step);
    }
    if (used == 0) {
        *why = "a segment is empty";
        return false;
    }
    if ((used == 1 && to[0] == '.') || (used == 2 && to[0] == '.' && to[1] == '.')) {
        *why = "a segment is '.' or '..'";
        return false;
    }
    *path = s;
    *n = used;
    return true;
}
