#include "route.h"

#include <stdlib.h>

#include "../policy/path.h"
#include "tagmap.h"

enum { HOST_MAX = 255 }; /* RFC 7252 5.10: longest Uri-Host */

struct routes {
    const struct device_config *devices;
    struct siphash_key seed;
    struct tagmap hosts, prefixes;
    size_t deepest; /* segments of the longest prefix */
    int root;       /* the device without one, or -1 */
};

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static bool same_host(struct bytes a, struct bytes b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

static uint32_t host_tag(const struct routes *r, struct bytes host)
{
    uint8_t folded[HOST_MAX];
    size_t n = host.n < HOST_MAX ? host.n : HOST_MAX;
    for (size_t i = 0; i < n; i++)
        folded[i] = lower(host.p[i]);
    return (uint32_t)siphash(&r->seed, bytes_of(folded, n));
}

/* The hash of a path from that of its parent. What strangers ask for is
 * only looked up (policy/path.h). */
static uint64_t descend(uint64_t parent, struct bytes segment)
{
    return (parent ^ path_hash(segment)) * 0x9e3779b97f4a7c15u >> 16;
}

static int find_host(const struct routes *r, struct bytes host)
{
    size_t step = 0;
    uint32_t tag = host_tag(r, host);
    for (uint32_t i; tagmap_find(&r->hosts, tag, &step, &i);)
        if (same_host(host, bytes_str(r->devices[i].host)))
            return (int)i;
    return -1;
}

static int find_prefix(const struct routes *r, uint64_t hash, const struct bytes *path, size_t n)
{
    size_t step = 0;
    for (uint32_t i; tagmap_find(&r->prefixes, (uint32_t)hash, &step, &i);) {
        const struct device_config *d = &r->devices[i];
        size_t same = 0;
        while (same < n && same < d->n_prefix && bytes_equal(d->prefix[same], path[same]))
            same++;
        if (same == n && d->n_prefix == n)
            return (int)i;
    }
    return -1;
}

static bool add_host(struct routes *r, uint32_t i, struct buf *diag)
{
    struct bytes host = bytes_str(r->devices[i].host);
    if (find_host(r, host) >= 0) {
        buf_put_str(diag, "two devices have the host ");
        buf_put(diag, host);
        buf_put_str(diag, "\n");
        return false;
    }
    tagmap_put(&r->hosts, host_tag(r, host), i);
    return true;
}

static bool add_prefix(struct routes *r, uint32_t i, struct buf *diag)
{
    const struct device_config *d = &r->devices[i];
    uint64_t hash = 0;
    for (size_t k = 0; k < d->n_prefix; k++)
        hash = descend(hash, d->prefix[k]);
    if (find_prefix(r, hash, d->prefix, d->n_prefix) >= 0) {
        buf_put_str(diag, "two devices have the path of ");
        buf_put_str(diag, d->name);
        buf_put_str(diag, "\n");
        return false;
    }
    tagmap_put(&r->prefixes, (uint32_t)hash, i);
    if (d->n_prefix > r->deepest)
        r->deepest = d->n_prefix;
    return true;
}

struct routes *routes_new(const struct device_config *devices, size_t n,
                          const struct siphash_key *seed, struct buf *diag)
{
    struct routes *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->devices = devices;
    r->seed = *seed;
    bool ok = tagmap_init(&r->hosts, n);
    ok = tagmap_init(&r->prefixes, n) && ok;
    for (uint32_t i = 0; ok && i < n; i++) {
        if (devices[i].host)
            ok = add_host(r, i, diag);
        /* Without a host, no prefix is the root: all that no other takes. */
        if (ok && (!devices[i].host || devices[i].n_prefix > 0))
            ok = add_prefix(r, i, diag);
    }
    r->root = ok ? find_prefix(r, 0, NULL, 0) : -1;
    if (ok)
        return r;
    routes_free(r);
    return NULL;
}

void routes_free(struct routes *r)
{
    if (!r)
        return;
    tagmap_clear(&r->hosts);
    tagmap_clear(&r->prefixes);
    free(r);
}

int routes_find(const struct routes *r, struct bytes uri_host, const struct bytes *path,
                size_t n_path, size_t *strip)
{
    *strip = 0;
    if (uri_host.n > 0 && r->hosts.n > 0) {
        int named = find_host(r, uri_host);
        if (named >= 0)
            return named;
    }
    uint64_t hash = 0;
    int best = r->root;
    for (size_t k = 1; k <= n_path && k <= r->deepest; k++) {
        hash = descend(hash, path[k - 1]);
        int found = find_prefix(r, hash, path, k);
        if (found < 0)
            continue;
        best = found;
        *strip = k;
    }
    return best;
}
