/* The device's side of a request: what happens between its permission and
 * the device, and between the device and the client's side again. Nothing
 * here knows an association. A request is its exchange and a message; its
 * client may be on another thread. */
#include "gate_internal.h"

struct forward_map gate_device_map(const struct device_config *d)
{
    return (struct forward_map){d->prefix, d->n_prefix, d->base, d->n_base};
}

bool gate_serve(struct gate *g, struct exchange *x, int device, struct msg *m)
{
    return upstream_submit(g->upstreams, x, device, m, g->now);
}

void gate_unserve(struct gate *g, struct exchange *x)
{
    upstream_cancel(g->upstreams, x, g->now);
}

void gate_served(void *user, struct exchange *x, const struct msg *m, struct instant now)
{
    struct gate *g = user;
    g->now = now;
    if (x->own)
        gate_take_links(g, x, m);
    else
        gate_deliver(g, x, m);
}
