/* The gate as a whole: what it is made of, and its end. */
#include "gate_internal.h"

#include <stdlib.h>

#include "gate_call.h"
#include "gate_m2m.h"
#include "gate_notify_http.h"

void gate_random(struct gate *g, void *to, size_t n)
{
    uint8_t *p = to;
    for (size_t part; n > 0; p += part, n -= part) {
        if (g->random_left == 0) {
            dtls_random(assocs_dtls(g->assocs), g->random, sizeof g->random);
            g->random_left = sizeof g->random;
        }
        part = n < g->random_left ? n : g->random_left;
        g->random_left -= part;
        memcpy(p, g->random + g->random_left, part);
        memset(g->random + g->random_left, 0, part);
    }
}

static void on_random(void *user, void *to, size_t n)
{
    gate_random(user, to, n);
}

static uint32_t random32(void *user)
{
    uint32_t v;
    gate_random(user, &v, sizeof v);
    return v;
}

static const struct observe_ops observe_ops = {gate_notice};

static bool open_discovery(struct gate *g)
{
    const struct config *c = g->config;
    struct discovery_device *devices = calloc(c->n_devices + 1, sizeof *devices);
    if (!devices)
        return false;
    for (size_t i = 0; i < c->n_devices; i++) {
        const struct device_config *d = &c->devices[i].upstream;
        devices[i] = (struct discovery_device){d->name, d->host, gate_device_map(d),
                                               gate_is_elsewhere(g, (int)i),
                                               d->cse || device_url_is_http(&d->urls[0])};
    }
    g->discovery = discovery_new(devices, c->n_devices);
    free(devices);
    return g->discovery != NULL;
}

static bool open_observations(struct gate *g)
{
    struct observes_config c = {.upstreams = g->upstreams,
                                .exchanges = g->exchanges,
                                .ops = &observe_ops,
                                .user = g,
                                .random = random32,
                                .max = OBSERVATIONS,
                                .max_subscribers = WATCHES * crew_size(g->crew)};
    uint64_t half_idle_ms = g->config->idle_s * 1000 / 2;
    g->watch_con_ms = half_idle_ms < WATCH_CON_MS ? half_idle_ms : WATCH_CON_MS;
    g->watches = watches_new(WATCHES);
    g->observes = observes_new(&c);
    return g->watches && g->observes;
}

static bool open_tables(struct gate *g, struct buf *diag)
{
    const struct config *c = g->config;
    unsigned n = crew_size(g->crew);
    struct assocs_config ac = {.max = c->max_assocs,
                               .total = g->associations,
                               .first_id = g->worker,
                               .workers = n,
                               .max_half = gate_share(c->max_handshakes, n),
                               .max_half_per_net = gate_share(HANDSHAKES_PER_NET, n),
                               .idle_ms = c->idle_s * 1000,
                               .max_awake = gate_share(c->max_awake, n),
                               .sleep_ms = c->sleep_s * 1000,
                               .max_waiting = HANDSHAKES_WAITING,
                               .max_waiting_per_net = HANDSHAKES_WAITING_PER_NET,
                               .max_waiting_per_host = HANDSHAKES_WAITING_PER_HOST,
                               .budget = &g->budget};
    g->assocs = assocs_new(&ac, &c->dtls, &gate_assoc_ops, g, diag);
    if (!g->assocs)
        return false;
    struct device_config *devices = calloc(c->n_devices + 1, sizeof *devices);
    if (!devices)
        return false;
    for (size_t i = 0; i < c->n_devices; i++) {
        devices[i] = c->devices[i].upstream;
        devices[i].elsewhere = gate_is_elsewhere(g, (int)i);
    }
    g->upstreams =
        upstreams_new(devices, c->n_devices, g->loop, &gate_upstream_ops, g, on_random, diag);
    free(devices);
    if (!g->upstreams)
        return false;
    g->exchanges = exchanges_new(c->max_exchanges, &gate_exchange_ops, g, random32);
    if (g->crew)
        g->mail = gate_mail_new(crew_size(g->crew), c->max_exchanges);
    if (!g->exchanges || (g->crew && !g->mail) || !gate_open_m2m(g) || !gate_open_calls(g) ||
        !open_observations(g) || !open_discovery(g) ||
        !deadlines_init(&g->ends, c->max_assocs + 1)) {
        buf_put_str(diag, "out of memory: lower `limits:` in the configuration\n");
        return false;
    }
    if (!gate_open_conns(g, diag) || !gate_open_http(g, diag))
        return false;
    if (!gate_open_cache(g)) {
        buf_put_str(diag, "out of memory: lower `limits: {cache: }` in the configuration\n");
        return false;
    }
    on_random(g, &g->plain_mid, sizeof g->plain_mid);
    if (!g->rates) {
        struct siphash_key seed;
        on_random(g, &seed, sizeof seed);
        g->rates = g->own_rates = rates_new(c->max_rates, seed);
    }
    if (!g->rates) {
        buf_put_str(diag, "out of memory: lower `limits:` in the configuration\n");
        return false;
    }
    return true;
}

struct gate *gate_new(const struct gate_config *c, struct buf *diag)
{
    struct gate *g = calloc(1, sizeof *g);
    if (!g) {
        buf_put_str(diag, "out of memory\n");
        return NULL;
    }
    g->config = c->config;
    g->pep = c->pep;
    g->audit = c->audit;
    g->worker = c->worker;
    g->crew = c->crew;
    g->associations = c->associations;
    g->listeners = c->listeners;
    g->loop = c->loop;
    g->ask = c->ask;
    g->ask_user = c->ask_user;
    g->hear = c->hear;
    g->hear_user = c->hear_user;
    g->others = c->others;
    g->others_user = c->others_user;
    g->check = c->check;
    g->check_user = c->check_user;
    budget_init(&g->budget, c->cpu_us);
    g->forward.access_token = c->config->access_token_option;
    g->rates = c->rates;
    if (!open_tables(g, diag)) {
        gate_free(g);
        return NULL;
    }
    return g;
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    /* Associations go first: their ends still name exchanges and devices. */
    if (g->assocs && g->exchanges && g->upstreams && g->observes && g->watches && !g->forgotten)
        gate_close_all(g, g->now);
    observes_free(g->observes);
    watches_free(g->watches);
    if (g->upstreams)
        upstreams_free(g->upstreams);
    if (g->exchanges)
        exchanges_free(g->exchanges);
    if (g->assocs)
        assocs_free(g->assocs);
    conns_free(g->conns);
    gate_close_http(g);
    tls_free(g->tls);
    discovery_free(g->discovery);
    secrets_wipe(&g->echo.secrets);
    gate_mail_free(g->mail);
    device_cache_free(g->cache);
    blocks_free(g->blocks);
    gate_waits_free(g->waits);
    gate_close_m2m(g);
    gate_close_calls(g);
    rates_free(g->own_rates);
    deadlines_clear(&g->ends);
    free(g);
}

struct upstreams *gate_upstreams(struct gate *g)
{
    return g->upstreams;
}

void gate_get_stats(const struct gate *g, struct gate_stats *out)
{
    *out = g->stats;
    assocs_get_stats(g->assocs, &out->assocs);
    exchanges_get_stats(g->exchanges, &out->exchanges);
    device_cache_get_stats(g->cache, &out->cache);
    blocks_get_stats(g->blocks, &out->blocks);
    observes_get_stats(g->observes, &out->observes);
    out->watches = *watches_stats(g->watches);
    if (g->conns)
        conns_get_stats(g->conns, &out->conns);
    out->handshake_us = g->budget.spent_us;
    for (size_t i = 0; i < g->config->n_listeners; i++) {
        struct udp_stats s;
        if (!g->listeners[i])
            continue;
        udp_get_stats(g->listeners[i], &s);
        out->udp.in += s.in;
        out->udp.out += s.out;
        out->udp.dropped_out += s.dropped_out;
        out->udp.truncated_in += s.truncated_in;
    }
}
