/* What a device answered before, in its stead. Behind the judgement, and
 * behind the filter of options: what it is asked by is what the device would
 * be asked by, so a token or a name of ours is never part of a key. */
#include "gate_internal.h"

bool gate_open_cache(struct gate *g)
{
    const struct config *c = g->config;
    struct siphash_key seed;
    dtls_random(assocs_dtls(g->assocs), &seed, sizeof seed);
    size_t share = gate_share(c->cache_bytes, crew_size(g->crew));
    g->cache =
        device_cache_new(share < CACHE_BYTES_MIN ? CACHE_BYTES_MIN : share, c->n_devices, &seed);
    g->blocks = blocks_new(GATE_ID_BASE(GATE_TRANSFERS), &seed);
    g->waits = gate_waits_new(c->max_exchanges);
    return g->cache && g->blocks && g->waits;
}

static enum cache_mode mode_of(const struct gate *g, int device)
{
    return upstream_config(g->upstreams, device)->cache;
}

/* What may change something (RFC 7252 5.8, RFC 8132). */
static bool is_unsafe_method(uint8_t method)
{
    return method != MSG_GET && method != MSG_FETCH;
}

static bool has_etag(const struct msg *m, size_t n_options, struct bytes etag)
{
    for (size_t i = 0; i < n_options; i++)
        if (m->options[i].number == OPT_ETAG && bytes_equal(m->options[i].value, etag))
            return true;
    return false;
}

/* Where the last ETag is; n_options: nowhere. */
static size_t last_etag(const struct msg *m)
{
    size_t at = m->n_options;
    for (size_t i = 0; i < m->n_options; i++)
        if (m->options[i].number == OPT_ETAG)
            at = i;
    return at;
}

static void take_etag_out(struct msg *m)
{
    size_t at = last_etag(m);
    if (at == m->n_options)
        return;
    m->n_options--;
    memmove(&m->options[at], &m->options[at + 1], (m->n_options - at) * sizeof m->options[0]);
}

/* x does not go to the device, or not yet: nothing of its body is under way. */
static void rest_transfer(struct gate *g, struct exchange *x)
{
    block_left(g->blocks, x->up_transfer, g->now);
    x->up_transfer = 0;
}

/* The device is asked, by the ETag of what is stale, if it has one. */
static bool ask(struct gate *g, struct exchange *x, int device, struct msg *m,
                const struct cache_answer *stale)
{
    if (stale->etag.n > 0 && !has_etag(m, m->n_options, stale->etag))
        x->up_tagged = msg_add(m, OPT_ETAG, stale->etag);
    if (upstream_submit(g->upstreams, x, device, m, g->now))
        return true;
    if (!x->up_tagged || x->up_end != UP_TOO_LARGE)
        return false;
    x->up_tagged = false;
    take_etag_out(m);
    return upstream_submit(g->upstreams, x, device, m, g->now);
}

bool gate_cache_serve(struct gate *g, struct exchange *x, int device, struct msg *m)
{
    struct cache_answer *found = &g->found;
    x->up_lead = 0;
    x->up_tagged = x->up_stale = false;
    /* Also when it is sent: from here on no one can know what is true. */
    if (is_unsafe_method(m->code))
        device_cache_changed(g->cache, device, g->now);
    if (mode_of(g, device) == CACHE_NO || !device_cache_takes(m))
        return upstream_submit(g->upstreams, x, device, m, g->now);
    switch (device_cache_find(g->cache, device, m, g->now, found)) {
    case CACHE_FRESH:
        x->up_end = UP_CACHED;
        rest_transfer(g, x);
        gate_deliver(g, x, &found->m);
        return true;
    case CACHE_STALE:
        x->up_stale = true;
        break;
    default:
        return upstream_submit(g->upstreams, x, device, m, g->now);
    }
    /* What was fresh for a while will be so again: one question is enough. */
    if (found->lead && gate_wait_for(g, x, m, found->lead)) {
        g->stats.shared++;
        rest_transfer(g, x);
        return true;
    }
    if (!ask(g, x, device, m, found))
        return false;
    if (found->lasts && !found->lead) {
        x->up_lead = GATE_ID_BASE(GATE_LEADS) | ++g->leads;
        device_cache_lead(g->cache, found, x->up_lead);
    }
    return true;
}

/* Those who wait for its answer go on, or end as it did. */
static void release(struct gate *g, struct exchange *x, const struct msg *request,
                    enum exchange_up_end how)
{
    if (!x->up_lead)
        return;
    device_cache_unlead(g->cache, x->device_index, request, x->up_lead);
    gate_wait_over(g, x->up_lead, how);
    x->up_lead = 0;
}

/* 2.03. NULL: not of what is kept, nor of what the client has. */
static const struct msg *validated(struct gate *g, struct exchange *x, const struct msg *request,
                                   const struct msg *m)
{
    struct cache_answer *found = &g->found;
    bool known = device_cache_validate(g->cache, mode_of(g, x->device_index), x->device_index,
                                       request, m, x->sent_us, g->now, found);
    if (!x->up_tagged)
        return m;
    const struct msg_option *etag = msg_find(m, OPT_ETAG);
    if (etag && has_etag(request, last_etag(request), etag->value))
        return m; /* one of the client's own */
    if (!known)
        return NULL;
    x->up_end = UP_VALIDATED;
    return &found->m;
}

/* The request is not read again for what is not kept anyway. */
static bool concerns(const struct exchange *x, enum cache_mode mode, const struct msg *m)
{
    if (x->up_stale)
        return true;
    return m && mode != CACHE_NO && (mode == CACHE_YES || msg_find(m, OPT_MAX_AGE));
}

const struct msg *gate_cache_served(struct gate *g, struct exchange *x, const struct msg *m,
                                    bool *again)
{
    enum cache_mode mode = mode_of(g, x->device_index);
    if (is_unsafe_method(x->method)) {
        /* Only a denial of the request says that nothing has changed. */
        if (!m || MSG_CLASS(m->code) != 4)
            device_cache_changed(g->cache, x->device_index, g->now);
        return m;
    }
    struct msg request;
    if (!concerns(x, mode, m) || !gate_request_of(x, &request) || !device_cache_takes(&request))
        return m;
    if (m && m->code == MSG_CODE(2, 3)) {
        const struct msg *whole = validated(g, x, &request, m);
        if (!whole) {
            /* What it is the answer to has gone from here meanwhile. */
            struct msg bare = request;
            x->up_tagged = false;
            take_etag_out(&bare);
            *again = upstream_submit(g->upstreams, x, x->device_index, &bare, g->now);
            if (*again)
                return NULL;
        }
        m = whole;
    } else if (m) {
        device_cache_keep(g->cache, mode, x->device_index, &request, m, x->sent_us, g->now);
    }
    release(g, x, &request, m ? UP_ANSWERED : x->up_end);
    return m;
}

static void without_observe(const struct msg *in, struct msg *out)
{
    out->code = in->code;
    out->payload = in->payload;
    out->n_options = 0;
    for (size_t i = 0; i < in->n_options; i++)
        if (in->options[i].number != OPT_OBSERVE)
            out->options[out->n_options++] = in->options[i];
}

/* Observe is no part of a request's key (RFC 7641 2). */
void gate_cache_note(struct gate *g, int device, struct bytes request, const struct msg *m)
{
    struct msg asked, bare, answer;
    if (mode_of(g, device) == CACHE_NO || msg_parse(request, &asked) != MSG_OK)
        return;
    without_observe(&asked, &bare);
    without_observe(m, &answer);
    if (device_cache_takes(&bare))
        device_cache_keep(g->cache, mode_of(g, device), device, &bare, &answer, g->now.mono_us,
                          g->now);
}

void gate_cache_unserve(struct gate *g, struct exchange *x)
{
    struct msg request;
    if (is_unsafe_method(x->method))
        device_cache_changed(g->cache, x->device_index, g->now);
    if (x->up_lead && gate_request_of(x, &request))
        release(g, x, &request, UP_ANSWERED);
}
