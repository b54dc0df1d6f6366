#include "path.h"

#include "hex.h"

/* No wider type: routers have 32 bits. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t m = ((a << 29 | a >> 35) ^ b ^ 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
    return m ^ m >> 32;
}

/* All of fewer than 8 bytes; some twice. Of one length, each text has its own. */
static uint64_t short_word(struct bytes s)
{
    uint32_t first, last;
    if (s.n >= sizeof first) {
        memcpy(&first, s.p, sizeof first);
        memcpy(&last, s.p + s.n - sizeof last, sizeof last);
        return (uint64_t)last << 32 | first;
    }
    return s.n ? (uint64_t)s.p[s.n - 1] << 16 | (uint64_t)s.p[s.n / 2] << 8 | s.p[0] : 0;
}

/* Spreads names over tables; equality is always decided on the bytes. Only
 * the operator's names are ever put into a table, so strangers cannot make
 * long chains, only look up what is not there. */
uint32_t path_hash(struct bytes s)
{
    uint64_t h = s.n;
    while (s.n >= 8) {
        uint64_t w;
        memcpy(&w, s.p, 8);
        h = mix(h, w);
        s = bytes_of(s.p + 8, s.n - 8);
    }
    return (uint32_t)mix(h, short_word(s));
}

static bool is_dots(struct bytes s)
{
    return (s.n == 1 && s.p[0] == '.') || (s.n == 2 && s.p[0] == '.' && s.p[1] == '.');
}

static bool is_sound(struct bytes s)
{
    if (is_dots(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '/' || s.p[i] == 0)
            return false;
    return true;
}

static bool empty_is_sound(size_t i, size_t n)
{
    return i > 0 && i + 1 == n;
}

void path_init(struct path *p, const struct bytes *seg, size_t n)
{
    p->seg = seg;
    p->n = n;
    p->named = 0;
    p->below = false;
    p->sound = n <= POLICY_PATH_SEGMENTS_MAX;
    for (size_t i = 0; p->sound && i < n; i++) {
        p->sound = is_sound(seg[i]) && (seg[i].n > 0 || empty_is_sound(i, n));
        p->hash[i] = path_hash(seg[i]);
    }
}

const char *pattern_parse(struct bytes text, struct pattern *out)
{
    out->n = 0;
    out->rest = false;
    if (text.n == 0 || text.p[0] != '/')
        return "a path begins with '/'";
    if (text.n == 1)
        return NULL;
    for (size_t from = 1, to; from <= text.n; from = to + 1) {
        for (to = from; to < text.n && text.p[to] != '/'; to++)
            ;
        struct bytes s = bytes_of(text.p + from, to - from);
        bool last = to == text.n;
        if (s.n == 0 && (!last || out->n == 0))
            return "an empty segment matches no path";
        if (is_dots(s))
            return "'.' and '..' match no path";
        if (memchr(s.p, 0, s.n))
            return "a NUL matches no path";
        if (bytes_equal_str(s, "**")) {
            if (!last)
                return "'**' stands for the rest and must be the last segment";
            out->rest = true;
            return NULL;
        }
        bool star = bytes_equal_str(s, "*");
        if (!star && memchr(s.p, '*', s.n))
            return "'*' stands for a whole segment, not for a part of one";
        if (out->n == POLICY_PATH_SEGMENTS_MAX)
            return "too many segments";
        out->seg[out->n++] = star ? BYTES_NONE : s;
    }
    return NULL;
}

/* Decodes until `stop` or the end; *at is left there. */
static bool decode(struct bytes text, size_t *at, const char *stops, uint8_t **to,
                   struct bytes *out)
{
    uint8_t *start = *to;
    for (; *at < text.n && (text.p[*at] == 0 || !strchr(stops, text.p[*at])); (*at)++) {
        uint8_t c = text.p[*at];
        if (c == '%') {
            int high = text.n - *at < 3 ? -1 : hex_digit(text.p[*at + 1]);
            int low = text.n - *at < 3 ? -1 : hex_digit(text.p[*at + 2]);
            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high << 4 | low);
            *at += 2;
        }
        *(*to)++ = c;
    }
    *out = bytes_of(start, (size_t)(*to - start));
    return true;
}

bool path_parse_uri(struct bytes text, uint8_t *storage, struct bytes seg[POLICY_PATH_SEGMENTS_MAX],
                    size_t *n, struct bytes *query)
{
    size_t at = 0;
    *n = 0;
    *query = BYTES_NONE;
    if (text.n == 0 || text.p[0] != '/')
        return false;
    bool root = text.n == 1 || text.p[1] == '?';
    if (root)
        at = 1;
    while (!root && at < text.n && text.p[at] == '/') {
        if (*n == POLICY_PATH_SEGMENTS_MAX)
            return false;
        at++;
        if (!decode(text, &at, "/?#", &storage, &seg[*n]) || !is_sound(seg[*n]))
            return false;
        ++*n;
    }
    for (size_t i = 0; i < *n; i++)
        if (seg[i].n == 0 && !empty_is_sound(i, *n))
            return false;
    if (at == text.n)
        return true;
    if (text.p[at] != '?')
        return false; /* a fragment names nothing on a server */
    at++;
    struct bytes raw = bytes_of(text.p + at, text.n - at);
    if (raw.n == 0 || memchr(raw.p, '#', raw.n))
        return false;
    size_t i = 0;
    if (!decode(raw, &i, "", &storage, query))
        return false;
    /* Questions bring their options joined by '&'. What was an encoded '&'
     * or '%' here could be taken for another list of options: such an entry
     * grants nothing. */
    size_t amps = 0, decoded_amps = 0;
    for (i = 0; i < raw.n; i++)
        amps += raw.p[i] == '&';
    for (i = 0; i < query->n; i++)
        decoded_amps += query->p[i] == '&';
    return amps == decoded_amps && !memchr(query->p, '%', query->n) &&
           !memchr(query->p, 0, query->n);
}
