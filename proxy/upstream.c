#include "upstream.h"

#include <stdlib.h>

#include "device.h"
#include "resolve.h"
#include "route.h"

struct upstreams {
    struct device_config *configs; /* our copy; what they point to is borrowed */
    struct device **devices;
    size_t n;
    struct routes *routes;
    struct device_shared shared;
    struct instant now; /* of the last turn, for the goodbyes */
};

static bool is_sound(const struct device_config *c, struct buf *diag)
{
    const char *why = c->window == 0 || c->window > DEVICE_WINDOW_MAX ? "window out of range"
                      : c->n_urls == 0 || c->n_urls > DEVICE_URLS_MAX
                          ? "number of URLs out of range"
                          : NULL;
    for (size_t i = 0; !why && i < c->n_urls; i++)
        if (device_url_is_secure(&c->urls[i]) && !c->tls)
            why = "nothing to know the device by";
    if (!why)
        return true;
    buf_put_str(diag, c->name);
    buf_put_str(diag, ": ");
    buf_put_str(diag, why);
    buf_put_str(diag, "\n");
    return false;
}

static void on_resolved(void *user, uint64_t id, const struct peer *to, struct instant now)
{
    struct upstreams *u = user;
    if (id / DEVICE_URLS_MAX < u->n)
        device_resolved(u->devices[id / DEVICE_URLS_MAX], id % DEVICE_URLS_MAX, to, now);
}

/* Each has one that is used and one that may take its place. */
static size_t count_streams(const struct upstreams *u)
{
    size_t n = 0;
    for (size_t i = 0; i < u->n; i++)
        for (size_t k = 0; k < u->configs[i].n_urls; k++)
            if (u->configs[i].urls[k].scheme == DEVICE_COAP_TCP ||
                u->configs[i].urls[k].scheme == DEVICE_COAPS_TCP)
                n += 2;
    return n;
}

static bool has_names(const struct upstreams *u)
{
    for (size_t i = 0; i < u->n; i++)
        for (size_t k = 0; k < u->configs[i].n_urls; k++)
            if (u->configs[i].urls[k].to.len == 0 && !u->configs[i].elsewhere)
                return true;
    return false;
}

static bool open_all(struct upstreams *u, struct buf *diag)
{
    struct siphash_key seed;
    u->shared.random(u->shared.user, &seed, sizeof seed);
    u->routes = routes_new(u->configs, u->n, &seed, diag);
    u->devices = calloc(u->n ? u->n : 1, sizeof *u->devices);
    size_t places = 0;
    for (size_t i = 0; i < u->n; i++) {
        if (!is_sound(&u->configs[i], diag))
            return false;
        places += device_places(&u->configs[i]) + DEVICE_OBSERVATIONS;
    }
    if (!u->routes || !u->devices || !deadlines_init(&u->shared.deadlines, places) ||
        !deadlines_init(&u->shared.timers, u->n))
        return false;
    if (has_names(u) &&
        !(u->shared.resolver = resolver_new(u->shared.uplinks.loop, on_resolved, u)))
        return false;
    for (size_t i = 0; i < u->n; i++)
        if (!u->configs[i].elsewhere &&
            !(u->devices[i] = device_new(&u->configs[i], i, &u->shared, diag)))
            return false;
    return true;
}

struct upstreams *upstreams_new(const struct device_config *devices, size_t n, struct loop *loop,
                                const struct upstream_ops *ops, void *user,
                                void (*random)(void *user, void *to, size_t n), struct buf *diag)
{
    struct upstreams *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->configs = calloc(n ? n : 1, sizeof *u->configs);
    if (!u->configs) {
        free(u);
        return NULL;
    }
    if (n)
        memcpy(u->configs, devices, n * sizeof *u->configs);
    u->n = n;
    u->shared.ops = ops;
    u->shared.user = user;
    u->shared.random = random;
    if (uplinks_init(&u->shared.uplinks, loop, count_streams(u)) && open_all(u, diag))
        return u;
    upstreams_free(u);
    return NULL;
}

void upstreams_free(struct upstreams *u)
{
    if (!u)
        return;
    resolver_free(u->shared.resolver);
    for (size_t i = 0; u->devices && i < u->n; i++)
        device_close(u->devices[i], u->now);
    uplinks_turn(&u->shared.uplinks, u->now);
    for (size_t i = 0; u->devices && i < u->n; i++)
        device_free(u->devices[i]);
    free(u->devices);
    routes_free(u->routes);
    deadlines_clear(&u->shared.deadlines);
    deadlines_clear(&u->shared.timers);
    uplinks_clear(&u->shared.uplinks);
    free(u->configs);
    free(u);
}

int upstream_route(const struct upstreams *u, struct bytes uri_host, const struct bytes *path,
                   size_t n_path, size_t *strip)
{
    return routes_find(u->routes, uri_host, path, n_path, strip);
}

const struct device_config *upstream_config(const struct upstreams *u, int device)
{
    return &u->configs[device];
}

bool upstream_submit(struct upstreams *u, struct exchange *x, int device, struct msg *m,
                     struct instant now)
{
    return device_submit(u->devices[device], x, m, now);
}

void upstream_cancel(struct upstreams *u, struct exchange *x, struct instant now)
{
    (void)u;
    if (x->up != UP_NONE)
        device_cancel(x->device, x, now);
}

bool upstream_listen(struct upstreams *u, int device, uint32_t owner, uint64_t *token)
{
    return device_listen(u->devices[device], owner, token);
}

void upstream_unlisten(struct upstreams *u, int device, uint64_t token)
{
    device_unlisten(u->devices[device], token);
}

uint64_t upstreams_deadline_ms(struct upstreams *u)
{
    devices_settle(&u->shared);
    uint64_t requests = deadlines_next(&u->shared.deadlines);
    uint64_t devices = deadlines_next(&u->shared.timers);
    uint64_t streams = uplinks_deadline_ms(&u->shared.uplinks);
    uint64_t first = requests < devices ? requests : devices;
    return first < streams ? first : streams;
}

void upstreams_expire(struct upstreams *u, struct instant now)
{
    uplinks_take(&u->shared.uplinks, now);
    for (struct deadline *d; (d = deadlines_pop(&u->shared.deadlines, instant_ms(now)));) {
        struct exchange *x =
            (struct exchange *)(void *)((uint8_t *)d - offsetof(struct exchange, up_deadline));
        device_expire(x->device, x, now);
    }
    devices_settle(&u->shared);
    for (struct deadline *d; (d = deadlines_pop(&u->shared.timers, instant_ms(now)));)
        device_tick(device_of_timer(d), now);
    u->now = now;
}

void upstreams_turn(struct upstreams *u, struct instant now)
{
    uplinks_turn(&u->shared.uplinks, now);
}

void upstream_get_stats(const struct upstreams *u, int device, struct device_stats *out)
{
    device_get_stats(u->devices[device], out);
}
