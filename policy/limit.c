#include "limit.h"

#include "siphash.h"

static const struct {
    const char *name;
    uint32_t seconds;
} periods[] = {{"s", 1}, {"min", 60}, {"h", 3600}, {"day", 86400}};

enum { N_PERIODS = sizeof periods / sizeof *periods };

/* A decimal number as we write it ourselves: no sign, no leading zero. */
static size_t read_number(struct bytes s, uint32_t max, uint32_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && v <= max; i++)
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    if (i == 0 || v > max || (i > 1 && s.p[0] == '0'))
        return 0;
    *out = (uint32_t)v;
    return i;
}

const char *policy_rate_parse(struct bytes text, struct policy_rate *out)
{
    uint32_t count;
    size_t n = read_number(text, POLICY_RATE_COUNT_MAX, &count);
    if (n == 0 || n == text.n || text.p[n] != '/')
        return "expected a rate such as 10/min; the units are s, min, h and day";
    if (count == 0)
        return "a rate of nothing; leave the permit away to permit nothing";
    struct bytes unit = bytes_of(text.p + n + 1, text.n - n - 1);
    for (size_t i = 0; i < N_PERIODS; i++) {
        if (!bytes_equal_str(unit, periods[i].name))
            continue;
        *out = (struct policy_rate){.count = count, .per_s = periods[i].seconds};
        return NULL;
    }
    return "expected a rate such as 10/min; the units are s, min, h and day";
}

void policy_rate_name(struct policy_rate *r, const char *of, struct bytes name,
                      struct bytes content)
{
    /* The same in every process: nothing of a stranger goes in. */
    static const struct siphash_key key = {0x706f737465726e72, 0x6174652e6c696d69};
    const uint64_t parts[] = {siphash(&key, bytes_str(of)), siphash(&key, name),
                              siphash(&key, content), (uint64_t)r->count << 32 | r->per_s};
    r->of = of;
    r->id = siphash(&key, bytes_of(parts, sizeof parts));
}

void policy_rate_put(const struct policy_rate *r, struct buf *out)
{
    buf_put_decimal(out, r->count, 1);
    buf_put_u8(out, '/');
    for (size_t i = 0; i < N_PERIODS; i++)
        if (periods[i].seconds == r->per_s)
            buf_put_str(out, periods[i].name);
}

/* ---- formats ---- */

/* IANA "CoAP Content-Formats", those without a content coding. */
static const struct {
    uint16_t number;
    const char *name;
} formats[] = {
    {0, "text/plain;charset=utf-8"},
    {0, "text/plain"}, /* the only one there is */
    {16, "application/cose;cose-type=\"cose-encrypt0\""},
    {17, "application/cose;cose-type=\"cose-mac0\""},
    {18, "application/cose;cose-type=\"cose-sign1\""},
    {19, "application/ace+cbor"},
    {21, "image/gif"},
    {22, "image/jpeg"},
    {23, "image/png"},
    {40, "application/link-format"},
    {41, "application/xml"},
    {42, "application/octet-stream"},
    {47, "application/exi"},
    {50, "application/json"},
    {51, "application/json-patch+json"},
    {52, "application/merge-patch+json"},
    {60, "application/cbor"},
    {61, "application/cwt"},
    {62, "application/multipart-core"},
    {63, "application/cbor-seq"},
    {96, "application/cose;cose-type=\"cose-encrypt\""},
    {97, "application/cose;cose-type=\"cose-mac\""},
    {98, "application/cose;cose-type=\"cose-sign\""},
    {101, "application/cose-key"},
    {102, "application/cose-key-set"},
    {110, "application/senml+json"},
    {111, "application/sensml+json"},
    {112, "application/senml+cbor"},
    {113, "application/sensml+cbor"},
    {114, "application/senml-exi"},
    {115, "application/sensml-exi"},
    {256, "application/coap-group+json"},
    {257, "application/concise-problem-details+cbor"},
    {262, "application/ace-trl+cbor"},
    {271, "application/dots+cbor"},
    {272, "application/missing-blocks+cbor-seq"},
    {280, "application/pkcs7-mime;smime-type=server-generated-key"},
    {281, "application/pkcs7-mime;smime-type=certs-only"},
    {284, "application/pkcs8"},
    {285, "application/csrattrs"},
    {286, "application/pkcs10"},
    {287, "application/pkix-cert"},
    {290, "application/aif+cbor"},
    {291, "application/aif+json"},
    {310, "application/senml+xml"},
    {311, "application/sensml+xml"},
    {320, "application/senml-etch+json"},
    {322, "application/senml-etch+cbor"},
    {432, "application/td+json"},
    {10000, "application/vnd.ocf+cbor"},
    {10001, "application/oscore"},
    {10002, "application/javascript"},
    {11542, "application/vnd.oma.lwm2m+tlv"},
    {11543, "application/vnd.oma.lwm2m+json"},
    {11544, "application/vnd.oma.lwm2m+cbor"},
    {20000, "text/css"},
    {30000, "image/svg+xml"},
};

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* Case does not matter (RFC 6838 4.2), nor does a space before a parameter. */
static bool is_named(struct bytes text, const char *name)
{
    size_t k = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == ' ' && i > 0 && text.p[i - 1] == ';')
            continue;
        if (name[k] == '\0' || lower(text.p[i]) != (uint8_t)name[k])
            return false;
        k++;
    }
    return name[k] == '\0';
}

const char *policy_format_parse(struct bytes text, uint16_t *out)
{
    uint32_t v;
    size_t n = read_number(text, UINT16_MAX, &v);
    if (n > 0 && n == text.n) {
        *out = (uint16_t)v;
        return NULL;
    }
    if (text.n > 0 && text.p[0] >= '0' && text.p[0] <= '9')
        return "a content-format is a number from 0 to 65535";
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (!is_named(text, formats[i].name))
            continue;
        *out = formats[i].number;
        return NULL;
    }
    return "no content-format of that name is known here; its number will do";
}
