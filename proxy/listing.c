#include "listing.h"

#include <strings.h>

#include "links.h"

enum { COAPS_PORT = 5684 };

#define CONTENT      MSG_CODE(2, 5)
#define VALID        MSG_CODE(2, 3)
#define BAD_REQUEST  MSG_CODE(4, 0)
#define NO_METHOD    MSG_CODE(4, 5)
#define NO_FORMAT    MSG_CODE(4, 6)
#define SERVER_ERROR MSG_CODE(5, 0)

static const char own_links[] = "</authz-info>;rt=\"ace.ai\"";

struct listing {
    const struct listing_ask *ask;
    struct buf *out;
    size_t judged;
    bool full; /* something did not fit */
    struct request r;
    struct link_place place, anchor;
};

static bool passes(const struct listing *w, const struct link *l, struct bytes target)
{
    for (size_t i = 0; i < w->ask->n_query; i++)
        if (!link_matches(l, target, w->ask->query[i]))
            return false;
    return true;
}

/* From the device's place to the gateway's: its base becomes its prefix, or,
 * for a device that is found by host, its name, as in request.h. False: it
 * has no name here. */
static bool map_place(const struct discovery_device *dev, const struct link_place *from,
                      struct request *r)
{
    const struct forward_map *map = &dev->map;
    struct bytes name = bytes_str(dev->name);
    const struct bytes *prefix = dev->host ? &name : map->prefix;
    size_t n_prefix = dev->host ? 1 : map->n_prefix;
    if (from->n_path < map->n_base || n_prefix == 0 ||
        n_prefix + from->n_path - map->n_base > POLICY_PATH_SEGMENTS_MAX)
        return false;
    for (size_t i = 0; i < map->n_base; i++)
        if (!bytes_equal(from->path[i], map->base[i]))
            return false;
    r->n_path = r->n_query = 0;
    for (size_t i = 0; i < n_prefix; i++)
        r->path[r->n_path++] = prefix[i];
    for (size_t i = map->n_base; i < from->n_path; i++)
        r->path[r->n_path++] = from->path[i];
    for (size_t i = 0; i < from->n_query; i++)
        r->query[r->n_query++] = from->query[i];
    return true;
}

/* The reference that the client uses for r: by path, or for another host an
 * absolute one, since its path alone would be a resource of the gateway. */
static void put_target(const struct listing *w, const struct discovery_device *dev,
                       struct bytes tail)
{
    const struct request *r = &w->r;
    size_t first = dev->host ? 1 : 0;
    if (dev->host) {
        buf_put_str(w->out, "coaps://");
        buf_put_str(w->out, dev->host);
        if (w->ask->port && w->ask->port != COAPS_PORT) {
            char port[8];
            size_t n = 0;
            for (unsigned v = w->ask->port; v; v /= 10)
                port[n++] = (char)('0' + v % 10);
            buf_put_u8(w->out, ':');
            while (n)
                buf_put_u8(w->out, (uint8_t)port[--n]);
        }
    }
    if (r->n_path == first)
        buf_put_u8(w->out, '/');
    for (size_t i = first; i < r->n_path; i++)
        link_put_segment(w->out, r->path[i]);
    buf_put(w->out, tail);
}

static bool may(struct listing *w)
{
    if (w->judged == LISTING_JUDGED_MAX)
        return false;
    w->judged++;
    return w->ask->may(w->ask->user, &w->r);
}

/* An anchor makes a statement about another resource (RFC 6690 2.1): it is
 * told only to whom may touch that, too. */
static bool put_anchor(struct listing *w, const struct discovery_device *dev, struct bytes value)
{
    if (value.n < 2 || *value.p != '"' || memchr(value.p, '\\', value.n))
        return false;
    if (!link_place_read(bytes_of(value.p + 1, value.n - 2), &w->anchor) ||
        !map_place(dev, &w->anchor, &w->r) || !may(w))
        return false;
    buf_put_str(w->out, ";anchor=\"");
    put_target(w, dev, w->anchor.tail);
    buf_put_u8(w->out, '"');
    return true;
}

static bool put_params(struct listing *w, const struct discovery_device *dev, struct bytes params)
{
    struct link_param p;
    bool anchored = false;
    while (link_param_next(&params, &p)) {
        if (p.name.n == 6 && strncasecmp((const char *)p.name.p, "anchor", 6) == 0) {
            if (anchored || !put_anchor(w, dev, p.value))
                return false;
            anchored = true;
            continue;
        }
        buf_put_u8(w->out, ';');
        buf_put(w->out, p.name);
        if (p.value.p) {
            buf_put_u8(w->out, '=');
            buf_put(w->out, p.value);
        }
    }
    return true;
}

/* One link of a device, whole or not at all. */
static bool put_link(struct listing *w, int device, const struct discovery_device *dev,
                     const struct link *l)
{
    w->r.device = device;
    if (!link_place_read(l->target, &w->place) || !map_place(dev, &w->place, &w->r))
        return false;
    if (w->out->n)
        buf_put_u8(w->out, ',');
    buf_put_u8(w->out, '<');
    size_t at = w->out->n;
    put_target(w, dev, w->place.tail);
    struct bytes target = {w->out->p + at, w->out->n - at};
    if (w->out->full || !passes(w, l, target) || !may(w))
        return false;
    buf_put_u8(w->out, '>');
    return put_params(w, dev, l->params) && !w->out->full;
}

static void list_link(struct listing *w, int device, const struct discovery_device *dev,
                      const struct link *l)
{
    size_t before = w->out->n;
    if (!put_link(w, device, dev, l)) {
        w->full = w->out->full;
        w->out->full = false;
        w->out->n = before;
    }
}

static void list_device(struct listing *w, int device, const struct discovery_device *dev,
                        bool known, struct bytes text)
{
    struct link l;
    if (known) {
        while (!w->full && w->judged < LISTING_JUDGED_MAX && link_next(&text, &l) == LINK_FOUND)
            list_link(w, device, dev, &l);
        return;
    }
    uint8_t storage[LINK_TEXT_MAX];
    struct buf root = buf_on(storage, sizeof storage);
    for (size_t i = 0; i < dev->map.n_base; i++)
        link_put_segment(&root, dev->map.base[i]);
    if (root.full)
        return;
    l = (struct link){buf_bytes(&root), BYTES_NONE};
    list_link(w, device, dev, &l);
}

void listing_write(struct discovery *d, const struct listing_ask *ask, struct buf *out)
{
    struct listing w = {.ask = ask, .out = out};
    struct link own;
    struct bytes text = bytes_str(own_links);
    if (link_next(&text, &own) == LINK_FOUND && passes(&w, &own, own.target))
        buf_put_str(out, own_links);
    if (!ask->may || out->full)
        return;
    const struct discovery_device *devices;
    size_t n = discovery_devices(d, &devices);
    for (size_t i = 0; i < n && !w.full; i++) {
        bool known = discovery_known(d, (int)i, &text);
        list_device(&w, (int)i, &devices[i], known, text);
    }
}

/* The content's name for the client; no more is asked of it than that another
 * content has another one (FNV-1a). */
static void make_etag(struct bytes text, uint8_t etag[8])
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < text.n; i++)
        h = (h ^ text.p[i]) * 0x100000001b3u;
    struct buf b = buf_on(etag, 8);
    buf_put_be(&b, h, 8);
}

static bool has_etag(const struct msg *m, struct bytes etag)
{
    for (size_t i = 0; i < m->n_options; i++)
        if (m->options[i].number == OPT_ETAG && bytes_equal(m->options[i].value, etag))
            return true;
    return false;
}

void listing_answer(struct bytes text, const struct msg *request, struct msg *out,
                    struct listing_scratch *scratch)
{
    struct bytes etag = {scratch->etag, sizeof scratch->etag};
    bool asked = msg_find(request, OPT_BLOCK2) != NULL;
    uint32_t block = asked ? (uint32_t)msg_uint(request, OPT_BLOCK2) : DISCOVERY_SZX_MAX;
    int64_t accept = msg_uint(request, OPT_ACCEPT);
    unsigned szx = block & 7;
    *out = (struct msg){.code = CONTENT};
    if (request->code != MSG_GET) {
        out->code = NO_METHOD;
        return;
    }
    if (accept != CF_NONE && accept != CF_LINK) {
        out->code = NO_FORMAT; /* RFC 7252 5.10.4 */
        return;
    }
    size_t from = (size_t)(block >> 4) << (szx + 4);
    if (szx > DISCOVERY_SZX_MAX || (from > 0 && from >= text.n)) {
        out->code = BAD_REQUEST; /* RFC 7959 2.2 */
        return;
    }
    make_etag(text, scratch->etag);
    if (from == 0 && has_etag(request, etag)) {
        out->code = msg_add(out, OPT_ETAG, etag) ? VALID : SERVER_ERROR;
        return;
    }
    size_t size = (size_t)1 << (szx + 4);
    bool more = text.n - from > size;
    out->payload = bytes_of(text.p + from, more ? size : text.n - from);
    bool ok = msg_add(out, OPT_ETAG, etag) &&
              msg_add_uint(out, OPT_CONTENT_FORMAT, CF_LINK, scratch->format);
    if (asked || more)
        ok = ok && msg_add_uint(out, OPT_BLOCK2, (block & ~8u) | (more ? 8u : 0u), scratch->block);
    if (asked ? msg_find(request, OPT_SIZE2) != NULL : more)
        ok = ok && msg_add_uint(out, OPT_SIZE2, (uint32_t)text.n, scratch->size);
    if (!ok)
        *out = (struct msg){.code = SERVER_ERROR};
}
