/* Both ways between CoAP and HTTP: a client's message becomes lines of text that
 * hold nothing of its own making, and whatever a server says becomes a message
 * that can be written, in the binding's form where it is a CSE.
 *
 * The first byte: 0 a request, 1 an answer, by its lowest bit; the others say
 * which dialect, numbering and method. A request is a CoAP message; an answer is
 * lines of "name: value", an empty one, and the body. */
#include <stdint.h>
#include <stdlib.h>

#include "../../proxy/http_map.h"
#include "../../proxy/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

enum { FIELDS = 16, TEXT = 4096 };

static struct m2m_cse cse = {.id = "/mn-cse", .base = "cb"};

static void check_text(const char *s)
{
    for (; s && *s; s++)
        check((uint8_t)*s >= ' ' && (uint8_t)*s < 0x7f);
}

static void request(const struct http_side *side, struct bytes in)
{
    static struct http_request r;
    struct msg m;
    const char *why = NULL;
    if (msg_parse(in, &m) != MSG_OK || !msg_is_request(&m))
        return;
    uint8_t code = http_map_request(side, &m, m.payload, &r, &why);
    if (code) {
        check(MSG_CLASS(code) == 4 || MSG_CLASS(code) == 5);
        return;
    }
    check_text(r.method);
    check_text(r.target);
    check(r.target[0] == '/' && !strchr(r.target, ' ') && !strchr(r.target, '#'));
    check_text(r.content_type);
    check_text(r.accept);
    for (size_t i = 0; i < r.n_lines; i++)
        check_text(r.lines[i]);
}

static size_t read_fields(char *text, struct http_field *fields, struct bytes *body)
{
    size_t n = 0;
    for (char *line = text; line && n < FIELDS;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        if (line[0] == '\0') {
            *body = end ? bytes_str(end + 1) : BYTES_NONE;
            break;
        }
        char *colon = strchr(line, ':');
        if (colon) {
            *colon = '\0';
            fields[n++] = (struct http_field){line, colon + 1};
        }
        line = end ? end + 1 : NULL;
    }
    return n;
}

static void answer(const struct http_side *side, uint8_t how, unsigned status, struct bytes in)
{
    static struct http_reply r;
    static char text[TEXT];
    struct http_field fields[FIELDS];
    struct msg asked = {.code = (uint8_t)(1 + (how >> 4 & 3))};
    struct http_answer a = {.status = status, .fields = fields};
    if (in.n >= sizeof text)
        return;
    if (in.n)
        memcpy(text, in.p, in.n);
    text[in.n] = '\0';
    a.n_fields = read_fields(text, fields, &a.body);
    bool fits = msg_add(&asked, OPT_URI_PATH, BYTES_LIT("cb"));
    if (side->cse)
        fits = fits && msg_add(&asked, m2m_number(cse.options, M2M_RQI), BYTES_LIT("r1"));
    if (how & 8)
        fits = fits && msg_add(&asked, OPT_ETAG, BYTES_LIT("12345678"));
    check(fits);
    http_map_answer(side, &asked, &a, &r);
    check(msg_is_response(&r.m));
    uint8_t out[HTTP_OPTION_TEXT + 1024];
    struct buf b = buf_on(out, sizeof out);
    struct bytes body = r.m.payload;
    r.m.payload = BYTES_NONE;
    check(msg_write(&r.m, &b));
    check(body.n <= TEXT);
    struct m2m_values v;
    struct msg rest;
    if (side->cse)
        check(m2m_split(&r.m, cse.options, &v, &rest) && m2m_has(&v, M2M_RSC));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct bytes base[] = {BYTES_LIT("api")};
    static struct http_etags *etags;
    if (!etags)
        etags = http_etags_new();
    if (size < 3 || !etags)
        return 0;
    cse.options = data[0] & 4 ? M2M_LEGACY : M2M_CURRENT;
    const struct http_side side = {.origin = {false, "web.test", 80, base, 1},
                                   .etags = etags,
                                   .cse = data[0] & 2 ? &cse : NULL};
    unsigned status = (unsigned)(data[1] << 8 | data[2]) % 700;
    if (data[0] & 1)
        answer(&side, data[0], status, bytes_of(data + 3, size - 3));
    else
        request(&side, bytes_of(data + 1, size - 1));
    return 0;
}
