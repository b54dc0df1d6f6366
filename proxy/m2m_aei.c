#include "m2m_aei.h"

#include "../pep/cbor.h"
#include "../pep/json_doc.h"

enum {
    CF_XML = 41,
    CF_JSON = 50,
    CF_CBOR_PLAIN = 60,
    CF_RES_JSON = 10001,
    CF_RES_CBOR = 10010,
    CF_RES_XML = 10014,
};

static struct bytes keep(struct bytes id, uint8_t storage[M2M_ID_MAX])
{
    if (id.n == 0 || id.n > M2M_ID_MAX)
        return BYTES_NONE;
    memcpy(storage, id.p, id.n);
    return bytes_of(storage, id.n);
}

/* The representation, or, with rcn=3, that within the answer's own object
 * (TS-0004 7.5.2). */
static struct bytes of_json(struct bytes text, const char *name, uint8_t storage[M2M_ID_MAX])
{
    struct json_node *doc = json_doc_read(text);
    const struct json_node *ae = json_node_get(doc, "m2m:ae");
    struct bytes id = BYTES_NONE;
    if (!ae)
        ae = json_node_get(json_node_get(doc, "m2m:rce"), "m2m:ae");
    if (json_node_text(json_node_get(ae, name), &id))
        id = keep(id, storage);
    else
        id = BYTES_NONE;
    json_doc_free(doc);
    return id;
}

/* The item of a map that has this name; of a checked one. */
static struct bytes item(struct bytes map, const char *name)
{
    struct cbor c = cbor_on(map);
    if (cbor_peek(&c) != CBOR_MAP)
        return BYTES_NONE;
    for (size_t n = cbor_take_map(&c); n > 0 && !c.bad; n--) {
        bool is = cbor_peek(&c) == CBOR_TEXT;
        struct cbor_item key;
        if (is)
            is = cbor_next(&c, &key) && bytes_equal_str(key.b, name);
        else
            (void)cbor_skip(&c);
        struct bytes value = cbor_skip(&c);
        if (is && !c.bad)
            return value;
    }
    return BYTES_NONE;
}

static struct bytes of_cbor(struct bytes text, const char *name, uint8_t storage[M2M_ID_MAX])
{
    if (cbor_check(text) != CBOR_OK)
        return BYTES_NONE;
    struct bytes ae = item(text, "m2m:ae");
    if (ae.n == 0)
        ae = item(item(text, "m2m:rce"), "m2m:ae");
    struct cbor c = cbor_on(item(ae, name));
    if (cbor_peek(&c) != CBOR_TEXT)
        return BYTES_NONE;
    return keep(cbor_take_text(&c), storage);
}

/* No parser of XML for one word: the element, if it stands there once, whatever
 * stands around it. Twice, and one of them may be the client's own. */
static struct bytes of_xml(struct bytes text, uint8_t storage[M2M_ID_MAX])
{
    static const char open[] = "<aei>", close[] = "</aei>";
    enum { OPEN = sizeof open - 1, CLOSE = sizeof close - 1 };
    if (text.n == 0)
        return BYTES_NONE;
    const uint8_t *from = memmem(text.p, text.n, open, OPEN);
    if (!from)
        return BYTES_NONE;
    from += OPEN;
    size_t left = text.n - (size_t)(from - text.p);
    const uint8_t *to = memmem(from, left, close, CLOSE);
    if (!to || memmem(from, left, open, OPEN) || memchr(from, '<', left) != to ||
        memchr(from, '&', (size_t)(to - from)))
        return BYTES_NONE;
    return keep(bytes_of(from, (size_t)(to - from)), storage);
}

static struct bytes attribute(int64_t format, struct bytes payload, const char *name,
                              uint8_t storage[M2M_ID_MAX])
{
    switch (format) {
    case -1:
    case CF_JSON:
    case CF_RES_JSON:
        return of_json(payload, name, storage);
    case CF_CBOR_PLAIN:
    case CF_RES_CBOR:
        return of_cbor(payload, name, storage);
    default:
        return BYTES_NONE;
    }
}

struct bytes m2m_aei(int64_t format, struct bytes payload, uint8_t storage[M2M_ID_MAX])
{
    return format == CF_XML || format == CF_RES_XML ? of_xml(payload, storage)
                                                    : attribute(format, payload, "aei", storage);
}

struct bytes m2m_rn(int64_t format, struct bytes payload, uint8_t storage[M2M_ID_MAX])
{
    return attribute(format, payload, "rn", storage);
}
