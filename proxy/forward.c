#include "forward.h"

enum {
    C_METHOD_NOT_ALLOWED = MSG_CODE(4, 5),
    C_BAD_REQUEST = MSG_CODE(4, 0),
    C_BAD_OPTION = MSG_CODE(4, 2),
    C_BAD_GATEWAY = MSG_CODE(5, 2),
    C_PROXYING = MSG_CODE(5, 5),
    C_HOP_LIMIT = MSG_CODE(5, 8),
};

/* What becomes of an option. */
enum act {
    UNKNOWN = 0, /* not defined in this direction: its number's bits judge */
    PASS,
    STRIP,
    REFUSE,
    REFUSE_PROXY,
    HOST,
    PATH,
    QUERY,
    TOKEN,
    HOP_LIMIT,
    LOCATION,
    BLOCK,
    BAD_BLOCK,
};

struct row {
    uint16_t min, max; /* length in bytes */
    bool repeats;
    enum act request, response;
};

/* RFC 7252 5.10 table 4, RFC 7641 2, 7959 2.1, 4, 8613 2, 8768 3. An option
 * that is not defined for a direction is treated there as unknown (7252 5.4):
 * Max-Age in a request, Uri-Path in an answer. */
static const struct row near[] = {
    [OPT_IF_MATCH] = {0, 8, true, PASS, UNKNOWN},
    /* Host and port are the client's name for this gateway or, by it, for
     * one of its devices. They choose the device and end here: the device
     * never had that name, and many refuse the option (4.02). */
    [OPT_URI_HOST] = {1, 255, false, HOST, UNKNOWN},
    [OPT_URI_PORT] = {0, 2, false, STRIP, UNKNOWN},
    [OPT_ETAG] = {1, 8, true, PASS, PASS},
    [OPT_IF_NONE_MATCH] = {0, 0, false, PASS, UNKNOWN},
    /* Elective: without it, the answer is a plain one (RFC 7641 2). */
    [OPT_OBSERVE] = {0, 3, false, STRIP, STRIP},
    [OPT_LOCATION_PATH] = {0, 255, true, UNKNOWN, LOCATION},
    /* Its method and path are out of sight (Class E), so nothing could be
     * judged; critical, and not processed here. */
    [OPT_OSCORE] = {0, 255, false, REFUSE, REFUSE},
    [OPT_URI_PATH] = {0, 255, true, PATH, UNKNOWN},
    [OPT_CONTENT_FORMAT] = {0, 2, false, PASS, PASS},
    [OPT_MAX_AGE] = {0, 4, false, UNKNOWN, PASS},
    [OPT_URI_QUERY] = {0, 255, true, QUERY, UNKNOWN},
    /* Decremented (RFC 8768 3), never inserted: the operator listed the
     * devices, so a loop is an operator's mistake, while an option that a
     * constrained device does not expect costs on every request. */
    [OPT_HOP_LIMIT] = {0, UINT16_MAX, true, HOP_LIMIT, UNKNOWN},
    [OPT_ACCEPT] = {0, 2, false, PASS, UNKNOWN},
    [OPT_LOCATION_QUERY] = {0, 255, true, UNKNOWN, LOCATION},
    [OPT_BLOCK2] = {0, 3, false, BLOCK, BLOCK},
    [OPT_BLOCK1] = {0, 3, false, BLOCK, BLOCK},
    [OPT_SIZE2] = {0, 4, false, PASS, PASS},
    [OPT_PROXY_URI] = {1, 1034, false, REFUSE_PROXY, UNKNOWN},
    [OPT_PROXY_SCHEME] = {1, 255, false, REFUSE_PROXY, UNKNOWN},
    [OPT_SIZE1] = {0, 4, false, PASS, PASS},
};

/* Echo is elective and safe to forward, between client and device (RFC 9175
 * 2.2); Request-Tag the same, and it repeats (3.2). */
static const struct row echo = {1, 40, false, PASS, PASS};
static const struct row request_tag = {0, 8, true, PASS, UNKNOWN};
/* No-Response is elective and unsafe to forward (RFC 7967 2): passed on, it
 * would make a healthy device look silent. It is only a wish; the client is
 * answered. */
static const struct row no_response = {0, 1, false, STRIP, UNKNOWN};
/* Access-Token is consumed here in either direction (ace-oauth-authz-07 8.9). */
static const struct row access_token = {1, 254, false, TOKEN, STRIP};
static const struct row none = {0, 0, false, UNKNOWN, UNKNOWN};

static const struct row *find_row(const struct forward_config *c, uint16_t number)
{
    if (number == c->access_token)
        return &access_token;
    if (number < sizeof near / sizeof *near)
        return &near[number];
    switch (number) {
    case OPT_ECHO:
        return &echo;
    case OPT_NO_RESPONSE:
        return &no_response;
    case OPT_REQUEST_TAG:
        return &request_tag;
    default:
        return &none;
    }
}

/* RFC 7252 5.4.6 */
static bool is_critical(uint16_t number)
{
    return number & 1;
}

static bool is_unsafe(uint16_t number)
{
    return number & 2;
}

/* SZX 7 is reserved (RFC 7959 2.2). Over TCP it means BERT (RFC 8323 6), which
 * is for those who say that they know it; no datagram has room for one. */
static bool is_bad_block(struct bytes value)
{
    return value.n > 0 && (value.p[value.n - 1] & 7) == 7;
}

/* An option of a wrong length, or one too many of its number, is treated as
 * unknown (RFC 7252 5.4.3, 5.4.5). Of the unknown, RFC 7252 5.7.1 would have
 * a proxy refuse the unsafe ones and forward the critical ones that are
 * safe. To the client we are the server that it asks (5.7.3), whose critical
 * options must be understood (5.4.1): they could change the meaning of what
 * was judged. So both are refused. */
static enum act judge(const struct forward_config *c, const struct msg *m, size_t i, bool request)
{
    const struct msg_option *o = &m->options[i];
    const struct row *r = find_row(c, o->number);
    enum act act = request ? r->request : r->response;
    bool extra = i > 0 && m->options[i - 1].number == o->number && !r->repeats;
    bool fits = o->value.n >= r->min && o->value.n <= r->max && !extra;

    if (act == BLOCK && fits)
        return is_bad_block(o->value) ? BAD_BLOCK : PASS;
    if (act != UNKNOWN && fits)
        return act;
    /* Elective, so a bad or a second token could be ignored (5.4.1, 5.4.5);
     * then the request would rest on what else is held, or on the one of two
     * tokens that suits. Refusing grants less. In an answer it never passes. */
    if (r == &access_token)
        return request ? REFUSE : STRIP;
    return is_critical(o->number) || is_unsafe(o->number) ? REFUSE : PASS;
}

/* 0, 4.00 or 5.08. "Set to 0 or greater than 255" is 4.00 (RFC 8768 3), so
 * any length is read. */
static uint8_t check_hop_limit(struct bytes value)
{
    size_t i = 0;
    while (i + 1 < value.n && value.p[i] == 0)
        i++;
    if (value.n - i != 1 || value.p[i] == 0)
        return C_BAD_REQUEST;
    return value.p[i] == 1 ? C_HOP_LIMIT : 0;
}

static uint8_t refuse(uint8_t code, const char *text, const char **why)
{
    *why = text;
    return code;
}

/* Of the payload's format only one is told. An elective option that comes
 * twice may pass (RFC 7252 5.4.5), and the device may read either: then it is
 * of no format that a rule can name. */
static void note_format(struct request *r, struct bytes value)
{
    enum { NO_FORMAT = UINT16_MAX + 1 };
    r->content_format = r->content_format >= 0 || value.n > 2 ? NO_FORMAT
                        : value.n == 2                        ? value.p[0] << 8 | value.p[1]
                        : value.n == 1                        ? value.p[0]
                                                              : 0;
}

static uint64_t uint_of(struct bytes value)
{
    uint64_t v = 0;
    for (size_t i = 0; i < value.n; i++)
        v = v << 8 | value.p[i];
    return v;
}

/* A block is as much of a payload as lies before it, too; and more follows, or
 * its first says how much (RFC 7959 2.2, 4). */
static void note_size(struct request *r, uint16_t option, struct bytes value)
{
    uint64_t at_least = 0;
    if (option == OPT_SIZE1 && value.n <= 4) {
        at_least = uint_of(value);
    } else if (option == OPT_BLOCK1) {
        uint64_t block = uint_of(value), exponent = block & 7;
        /* 7 is BERT (RFC 8323 6), which counts in blocks of 1024 */
        at_least =
            (block >> 4 << (exponent == 7 ? 10 : exponent + 4)) + r->payload_n + (block >> 3 & 1);
    }
    r->payload_n = at_least > r->payload_n ? at_least : r->payload_n;
}

uint8_t forward_read(const struct forward_config *c, const struct msg *m, struct request *out,
                     struct bytes *uri_host, const char **why)
{
    uint8_t hop_limit = 0;
    *why = "";
    *uri_host = BYTES_NONE;
    /* Not all of `out`: its arrays are large and mostly unused. */
    out->method = m->code;
    out->n_path = out->n_query = 0;
    out->token = BYTES_NONE;
    out->originator = BYTES_NONE;
    out->m2m = NULL;
    out->has_token = out->continued = false;
    out->device = -1;
    out->peer = (struct policy_peer){0};
    out->payload_n = m->payload.n;
    out->content_format = -1;
    if (m->code < MSG_GET || m->code > MSG_IPATCH)
        return refuse(C_METHOD_NOT_ALLOWED, "unknown method", why); /* RFC 7252 5.8 */

    for (size_t i = 0; i < m->n_options; i++) {
        const struct msg_option *o = &m->options[i];
        switch (judge(c, m, i, true)) {
        case REFUSE_PROXY:
            return refuse(C_PROXYING, "not a forward proxy", why);
        case HOST:
            *uri_host = o->value;
            break;
        case PATH:
            if (out->n_path == POLICY_PATH_SEGMENTS_MAX)
                return refuse(C_BAD_OPTION, "too many Uri-Path options", why);
            out->path[out->n_path++] = o->value;
            break;
        case QUERY:
            if (out->n_query == REQUEST_QUERIES_MAX)
                return refuse(C_BAD_OPTION, "too many Uri-Query options", why);
            out->query[out->n_query++] = o->value;
            break;
        case TOKEN:
            out->token = o->value;
            out->has_token = true;
            break;
        case HOP_LIMIT:
            if (!hop_limit)
                hop_limit = check_hop_limit(o->value);
            if (hop_limit == C_BAD_REQUEST)
                return refuse(hop_limit, "Hop-Limit out of range", why);
            break;
        case PASS:
            if (o->number == OPT_CONTENT_FORMAT)
                note_format(out, o->value);
            else if (o->number == OPT_BLOCK1 || o->number == OPT_SIZE1)
                note_size(out, o->number, o->value);
            break;
        case STRIP:
            break;
        case BAD_BLOCK:
            return refuse(C_BAD_REQUEST, "reserved block size", why);
        default:
            return refuse(C_BAD_OPTION,
                          o->number == c->access_token ? "bad Access-Token option"
                          : is_critical(o->number)     ? "unsupported critical option"
                                                       : "unsupported unsafe option",
                          why);
        }
    }
    if (hop_limit)
        return refuse(hop_limit, "Hop-Limit reached", why);
    return 0;
}

static bool add_path(struct msg *out, uint16_t number, const struct bytes *segments, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!msg_add(out, number, segments[i]))
            return false;
    return true;
}

/* Code and payload; the rest is the caller's. */
static void begin(const struct msg *in, struct msg *out)
{
    out->type = out->token_n = 0;
    out->mid = 0;
    out->code = in->code;
    out->n_options = 0;
    out->payload = in->payload;
}

bool forward_request(const struct forward_config *c, const struct msg *in,
                     const struct forward_map *map, struct msg *out,
                     struct forward_scratch *scratch)
{
    size_t n_path = 0;
    bool hop_limit = false;
    begin(in, out);
    if (!add_path(out, OPT_URI_PATH, map->base, map->n_base))
        return false;
    for (size_t i = 0; i < in->n_options; i++) {
        struct msg_option o = in->options[i];
        switch (judge(c, in, i, true)) {
        case PATH:
            if (n_path++ < map->n_prefix)
                continue;
            break;
        case HOP_LIMIT:
            /* Of several, all were valid and the first counts: the others
             * must not go on undiminished. */
            if (check_hop_limit(o.value))
                return false;
            if (hop_limit)
                continue;
            hop_limit = true;
            scratch->hop_limit = (uint8_t)(o.value.p[o.value.n - 1] - 1);
            o.value = bytes_of(&scratch->hop_limit, 1);
            break;
        case PASS:
        case QUERY:
            break;
        case STRIP:
        case HOST:
        case TOKEN:
            continue;
        default:
            return false;
        }
        /* It names a body (RFC 9175 3.2), and a GET has none. A client that puts
         * a new one into each block's request, while what many share has none,
         * would have the device take one answer for several. */
        if (o.number == OPT_REQUEST_TAG && in->code == MSG_GET)
            continue;
        if (!msg_add(out, o.number, o.value))
            return false;
    }
    return n_path >= map->n_prefix;
}

/* Whether the location can be told here: it is below the device's base, and
 * has no "." or ".." (RFC 7252 5.10.7), which behind our prefix would lead
 * out of the device. Otherwise it is left out as a whole; it is elective.
 * One without a path is relative to the request's own and needs no prefix. */
static bool location_is_sound(const struct msg *m, const struct forward_map *map)
{
    size_t n_path = 0;
    for (size_t i = 0; i < m->n_options && m->options[i].number <= OPT_LOCATION_QUERY; i++) {
        const struct msg_option *o = &m->options[i];
        if (o->number != OPT_LOCATION_PATH && o->number != OPT_LOCATION_QUERY)
            continue;
        if (o->value.n > near[o->number].max)
            return false;
        if (o->number == OPT_LOCATION_QUERY)
            continue;
        if (bytes_equal_str(o->value, ".") || bytes_equal_str(o->value, ".."))
            return false;
        if (n_path < map->n_base && !bytes_equal(o->value, map->base[n_path]))
            return false;
        n_path++;
    }
    return n_path == 0 || n_path >= map->n_base;
}

uint8_t forward_response(const struct forward_config *c, const struct msg *in,
                         const struct forward_map *map, struct msg *out)
{
    bool location = location_is_sound(in, map);
    size_t n_path = 0;
    begin(in, out);
    if (!msg_is_response(in))
        return C_BAD_GATEWAY;
    for (size_t i = 0; i < in->n_options; i++) {
        const struct msg_option *o = &in->options[i];
        bool is_location = o->number == OPT_LOCATION_PATH || o->number == OPT_LOCATION_QUERY;
        enum act act = judge(c, in, i, false);
        if (act == STRIP || (is_location && !location))
            continue;
        /* Unknown and critical (RFC 7252 5.4.1), or unknown and unsafe even
         * if elective: 5.02 (5.7.1). */
        if (act != PASS && act != LOCATION)
            return C_BAD_GATEWAY;
        if (o->number == OPT_LOCATION_PATH) {
            if (n_path == 0 && !add_path(out, OPT_LOCATION_PATH, map->prefix, map->n_prefix))
                return C_BAD_GATEWAY;
            if (n_path++ < map->n_base)
                continue;
        }
        if (!msg_add(out, o->number, o->value))
            return C_BAD_GATEWAY;
    }
    return 0;
}
