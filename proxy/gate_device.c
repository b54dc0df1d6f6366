/* The device's side of a request: what happens between its permission and
 * the device, and between the device and the client's side again. Nothing
 * here knows an association. A request is its exchange and a message; its
 * client may be on another thread. */
#include "gate_internal.h"

struct forward_map gate_device_map(const struct device_config *d)
{
    return (struct forward_map){d->prefix, d->n_prefix, d->base, d->n_base};
}

/* RFC 7959 2.9.2: the client begins again. */
static void reply_incomplete(struct gate *g, struct exchange *x)
{
    struct msg m;
    gate_msg(&m, MSG_CODE(4, 8));
    x->up_end = UP_BLOCKED;
    gate_deliver(g, x, &m);
}

bool gate_serve(struct gate *g, struct exchange *x, int device, struct msg *m)
{
    if (gate_is_elsewhere(g, device))
        return gate_mail_serve(g, x, device, m);
    if (x->own)
        return upstream_submit(g->upstreams, x, device, m, g->now);
    uint64_t id;
    switch (block_ask(g->blocks, device, x->client, m, g->now, &id)) {
    case BLOCK_GO:
        break;
    case BLOCK_WAIT:
        if (gate_wait_for(g, x, m, id))
            return true;
        x->up_end = UP_TOO_LARGE;
        return false;
    case BLOCK_INCOMPLETE:
        reply_incomplete(g, x);
        return true;
    case BLOCK_FULL:
    default:
        x->up_end = UP_FULL;
        return false;
    }
    x->up_transfer = id;
    if (gate_cache_serve(g, x, device, m))
        return true;
    block_left(g->blocks, id, g->now);
    return false;
}

void gate_unserve(struct gate *g, struct exchange *x)
{
    if (x->mailed) {
        gate_mail_unserve(g, x);
        return;
    }
    block_left(g->blocks, x->up_transfer, g->now);
    gate_cache_unserve(g, x);
    upstream_cancel(g->upstreams, x, g->now);
}

bool gate_request_of(const struct exchange *x, struct msg *out)
{
    return msg_parse(bytes_of(x->room->stored, x->stored_n), out) == MSG_OK;
}

static void end_block(struct gate *g, struct exchange *x, const struct msg *m)
{
    struct msg request;
    uint64_t id = x->up_transfer;
    bool in_blocks = id || (m && x->method != MSG_GET && msg_find(m, OPT_BLOCK2));
    x->up_transfer = 0; /* told once, though it may be asked once more */
    if (in_blocks && gate_request_of(x, &request) &&
        block_answered(g->blocks, id, x->device_index, x->client, &request, m, g->now))
        gate_wait_over(g, id, UP_ANSWERED);
}

static void served(struct gate *g, struct exchange *x, const struct msg *m)
{
    bool again = false;
    end_block(g, x, m);
    m = gate_cache_served(g, x, m, &again);
    if (!again)
        gate_deliver(g, x, m);
}

enum observe_taken gate_subscribe(struct gate *g, const struct watch *w, const struct msg *m,
                                  enum exchange_up_end *why)
{
    if (gate_is_elsewhere(g, w->device))
        return gate_mail_subscribe(g, w, m, why);
    return observe_subscribe(g->observes, w->device, m, (struct subscriber){g->worker, w->id},
                             g->now, why);
}

bool gate_unsubscribe(struct gate *g, const struct watch *w)
{
    if (gate_is_elsewhere(g, w->device))
        return gate_mail_unsubscribe(g, w);
    observe_unsubscribe(g->observes, (struct subscriber){g->worker, w->id}, g->now);
    return true;
}

bool gate_ready(struct gate *g, const struct watch *w, bool seen)
{
    if (gate_is_elsewhere(g, w->device))
        return gate_mail_ready(g, w, seen);
    observe_ready(g->observes, (struct subscriber){g->worker, w->id}, seen, g->now);
    return true;
}

static bool notified(void *user, uint32_t owner, const struct msg *m, bool cut, struct instant now)
{
    struct gate *g = user;
    int device;
    struct bytes request;
    g->now = now;
    bool taken = observe_notified(g->observes, owner, m, cut, now);
    if (taken && !cut && observe_is_news(g->observes, owner, now, &device, &request))
        gate_cache_note(g, device, request, m);
    return taken;
}

static void returned(void *user, uint32_t owner, struct instant now)
{
    struct gate *g = user;
    observe_returned(g->observes, owner, now);
}

const struct upstream_ops gate_upstream_ops = {gate_served, notified, returned};

void gate_served(void *user, struct exchange *x, const struct msg *m, struct instant now)
{
    struct gate *g = user;
    g->now = now;
    if (x->observation)
        observe_answered(g->observes, x, m, now);
    else if (x->own)
        gate_take_links(g, x, m);
    else
        served(g, x, m);
}
