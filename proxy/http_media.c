#include "http_media.h"

#include <ctype.h>
#include <strings.h>

enum { PARAMETERS_MAX = 8 };

struct media {
    uint16_t format;
    const char *type;
    /* The parameter that makes it this one and no other, and all of it. */
    const char *parameter, *value, *whole;
};

#define PLAIN(format, type)                                                                        \
    {                                                                                              \
        format, type, NULL, NULL, type                                                             \
    }

static const struct media media[] = {
    {0, "text/plain", "charset", "utf-8", "text/plain;charset=utf-8"},
    {16, "application/cose", "cose-type", "cose-encrypt0",
     "application/cose; cose-type=\"cose-encrypt0\""},
    {17, "application/cose", "cose-type", "cose-mac0", "application/cose; cose-type=\"cose-mac0\""},
    {18, "application/cose", "cose-type", "cose-sign1",
     "application/cose; cose-type=\"cose-sign1\""},
    PLAIN(19, "application/ace+cbor"),
    PLAIN(21, "image/gif"),
    PLAIN(22, "image/jpeg"),
    PLAIN(23, "image/png"),
    PLAIN(40, "application/link-format"),
    PLAIN(41, "application/xml"),
    PLAIN(42, "application/octet-stream"),
    PLAIN(47, "application/exi"),
    PLAIN(50, "application/json"),
    PLAIN(51, "application/json-patch+json"),
    PLAIN(52, "application/merge-patch+json"),
    PLAIN(60, "application/cbor"),
    PLAIN(61, "application/cwt"),
    PLAIN(62, "application/multipart-core"),
    PLAIN(63, "application/cbor-seq"),
    PLAIN(101, "application/cose-key"),
    PLAIN(102, "application/cose-key-set"),
    PLAIN(110, "application/senml+json"),
    PLAIN(111, "application/sensml+json"),
    PLAIN(112, "application/senml+cbor"),
    PLAIN(113, "application/sensml+cbor"),
    PLAIN(114, "application/senml-exi"),
    PLAIN(115, "application/sensml-exi"),
    PLAIN(256, "application/coap-group+json"),
    PLAIN(257, "application/concise-problem-details+cbor"),
    PLAIN(262, "application/ace-trl+cbor"),
    PLAIN(286, "application/pkcs10"),
    PLAIN(287, "application/pkix-cert"),
    PLAIN(290, "application/aif+cbor"),
    PLAIN(291, "application/aif+json"),
    PLAIN(310, "application/senml+xml"),
    PLAIN(311, "application/sensml+xml"),
    PLAIN(320, "application/senml-etch+json"),
    PLAIN(322, "application/senml-etch+cbor"),
    PLAIN(432, "application/td+json"),
    /* oneM2M: TS-0008 table 6.2.2.2-1 */
    PLAIN(10001, "application/vnd.onem2m-res+json"),
    PLAIN(10002, "application/vnd.onem2m-ntfy+xml"),
    PLAIN(10003, "application/vnd.onem2m-ntfy+json"),
    PLAIN(10006, "application/vnd.onem2m-preq+xml"),
    PLAIN(10007, "application/vnd.onem2m-preq+json"),
    PLAIN(10008, "application/vnd.onem2m-prsp+xml"),
    PLAIN(10009, "application/vnd.onem2m-prsp+json"),
    PLAIN(10010, "application/vnd.onem2m-res+cbor"),
    PLAIN(10011, "application/vnd.onem2m-ntfy+cbor"),
    PLAIN(10012, "application/vnd.onem2m-preq+cbor"),
    PLAIN(10013, "application/vnd.onem2m-prsp+cbor"),
    PLAIN(10014, "application/vnd.onem2m-res+xml"),
    PLAIN(11542, "application/vnd.oma.lwm2m+tlv"),
    PLAIN(11543, "application/vnd.oma.lwm2m+json"),
    PLAIN(11544, "application/vnd.oma.lwm2m+cbor"),
};

enum { MEDIA = sizeof media / sizeof *media };

const char *http_media_of(uint32_t format)
{
    for (size_t i = 0; i < MEDIA; i++)
        if (media[i].format == format)
            return media[i].whole;
    return NULL;
}

/* ---- a Content-Type taken apart (RFC 9110 8.3.1, 5.6) ---- */

struct parsed {
    struct bytes type; /* with its subtype */
    struct bytes names[PARAMETERS_MAX], values[PARAMETERS_MAX];
    size_t n;
};

static bool is_tchar(uint8_t c)
{
    return c < 0x80 && (isalnum(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c)));
}

static struct bytes take_token(struct bytes *at)
{
    size_t n = 0;
    while (n < at->n && is_tchar(at->p[n]))
        n++;
    struct bytes token = bytes_of(at->p, n);
    *at = bytes_of(at->p + n, at->n - n);
    return token;
}

static bool take(struct bytes *at, char c)
{
    if (at->n == 0 || at->p[0] != (uint8_t)c)
        return false;
    *at = bytes_of(at->p + 1, at->n - 1);
    return true;
}

static void skip_space(struct bytes *at)
{
    while (take(at, ' ') || take(at, '\t')) {
    }
}

/* One with a backslash in it equals none of ours. */
static bool take_quoted(struct bytes *at, struct bytes *value)
{
    const uint8_t *from = at->p;
    for (size_t i = 0; i < at->n; i++) {
        if (at->p[i] == '"') {
            *value = bytes_of(from, i);
            *at = bytes_of(at->p + i + 1, at->n - i - 1);
            return true;
        }
        if (at->p[i] == '\\')
            i++;
    }
    return false;
}

static bool parse(struct bytes at, struct parsed *out)
{
    *out = (struct parsed){.n = 0};
    skip_space(&at);
    struct bytes type = take_token(&at);
    if (type.n == 0 || !take(&at, '/'))
        return false;
    struct bytes subtype = take_token(&at);
    out->type = bytes_of(type.p, type.n + 1 + subtype.n);
    if (subtype.n == 0)
        return false;
    for (skip_space(&at); take(&at, ';'); skip_space(&at)) {
        skip_space(&at);
        struct bytes name = take_token(&at), value;
        if (name.n == 0)
            continue; /* "text/plain;" */
        if (!take(&at, '='))
            return false;
        if (take(&at, '"')) {
            if (!take_quoted(&at, &value))
                return false;
        } else {
            value = take_token(&at);
        }
        if (out->n == PARAMETERS_MAX)
            return false;
        out->names[out->n] = name;
        out->values[out->n++] = value;
    }
    return at.n == 0;
}

static bool is_word(struct bytes a, const char *word)
{
    return a.n == strlen(word) && strncasecmp((const char *)a.p, word, a.n) == 0;
}

/* How often it comes: RFC 6838 4.3 wants once. */
static size_t find(const struct parsed *p, const char *name, struct bytes *value)
{
    size_t times = 0;
    for (size_t i = 0; i < p->n; i++)
        if (is_word(p->names[i], name)) {
            *value = p->values[i];
            times++;
        }
    return times;
}

static bool fits(const struct parsed *p, const struct media *m)
{
    struct bytes value = BYTES_NONE;
    if (!is_word(p->type, m->type))
        return false;
    if (!m->parameter)
        return true;
    size_t times = find(p, m->parameter, &value);
    /* US-ASCII is UTF-8, too; and what a text is without a charset (RFC 2046
     * 4.1.2). */
    bool ascii = m->format == 0 && (times == 0 || (times == 1 && is_word(value, "us-ascii")));
    return ascii || (times == 1 && is_word(value, m->value));
}

enum http_media_kind http_media_format(struct bytes content_type, uint16_t *format)
{
    struct parsed p;
    if (!parse(content_type, &p))
        return HTTP_MEDIA_BAD;
    for (size_t i = 0; i < MEDIA; i++)
        if (fits(&p, &media[i])) {
            *format = media[i].format;
            return HTTP_MEDIA_KNOWN;
        }
    return HTTP_MEDIA_UNKNOWN;
}
