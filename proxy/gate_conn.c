/* Clients by TCP (RFC 8323): a connection with TLS is an association as one of
 * DTLS is, with the same proofs; one without is a stranger's, as plain coap. */
#include "gate_internal.h"

/* A message came: what a colleague told before its sender was answered there
 * is known before it is looked at. */
static void begin(struct gate *g, struct instant now)
{
    if (g->hear)
        g->hear(g->hear_user, now);
    g->now = now;
}

static enum pep_key_state find_psk(void *user, struct conn *c, struct bytes identity,
                                   struct pep_proof *out)
{
    struct gate *g = user;
    uint64_t wait;
    begin(g, loop_now(g->loop));
    enum pep_key_state state = gate_find_psk(g, conn_peer(c), identity, out, &wait);
    conn_set_wait(c, wait);
    return state;
}

static bool judge_certificate(void *user, struct conn *c, const struct pep_certificate *cert,
                              struct pep_proof *out)
{
    struct gate *g = user;
    begin(g, loop_now(g->loop));
    return gate_judge_certificate(g, conn_peer(c), cert, out);
}

static bool opened(void *user, struct conn *c, struct instant now)
{
    struct gate *g = user;
    g->now = now;
    return !g->config->listeners[conn_tag(c)].secure ||
           assocs_adopt(g->assocs, conn_tag(c), c, now) != NULL;
}

static void message(void *user, struct conn *c, const struct msg *m, struct bytes datagram,
                    struct instant now)
{
    struct gate *g = user;
    begin(g, now);
    struct assoc *a = conn_owner(c);
    if (a)
        assoc_touch(g->assocs, a, now);
    struct arrival in = {
        .assoc = a, .listener = conn_tag(c), .from = conn_peer(c), .m = m, .datagram = datagram};
    gate_take(g, &in);
}

static bool busy(void *user, struct conn *c)
{
    (void)user;
    const struct assoc *a = conn_owner(c);
    return a && a->n_exchanges > 0;
}

static void closed(void *user, struct conn *c, const char *reason, struct instant now)
{
    struct gate *g = user;
    struct assoc *a = conn_owner(c);
    g->now = now;
    if (a) {
        assoc_close(g->assocs, a, reason);
        return;
    }
    uint64_t held;
    if (!conn_was_open(c) && log_may(&g->failed_lines, instant_ms(now), &held)) {
        char peer[PEER_TEXT];
        peer_text(conn_peer(c), peer);
        log_event(LOG_LEVEL_INFO, "connection-failed", "peer", peer, "reason", reason, "held",
                  LOG_U(held), NULL);
    }
}

bool gate_open_conns(struct gate *g, struct buf *diag)
{
    static const struct conn_ops ops = {find_psk, judge_certificate, opened, message, busy, closed};
    const struct config *c = g->config;
    unsigned n = crew_size(g->crew);
    const struct conns_config cc = {.max = gate_share(c->max_conns, n),
                                    .max_half = gate_share(CONNS_HALF, n),
                                    .max_half_per_net = gate_share(CONNS_HALF_PER_NET, n),
                                    .worker = g->worker,
                                    .workers = n,
                                    .max_message = MESSAGE_MAX,
                                    .idle_ms = UINT64_MAX, /* its association's */
                                    .budget = &g->budget};
    for (size_t i = 0; i < c->n_listeners; i++) {
        const struct config_listener *l = &c->listeners[i];
        if (!l->tcp || l->http)
            continue;
        if (!g->conns && !(g->conns = conns_new(g->loop, &cc, &ops, g))) {
            buf_put_str(diag, "out of memory: lower `limits: {connections: }`\n");
            return false;
        }
        if (l->secure && !g->tls && !(g->tls = tls_server_new(&c->dtls, diag)))
            return false;
        if (!conns_listen(g->conns, &l->local, l->v6only, l->secure ? g->tls : NULL, (int)i, diag))
            return false;
    }
    return true;
}

void gate_conn_send(struct gate *g, struct assoc *a, int listener, const struct peer *to,
                    struct bytes datagram)
{
    struct conn *c = a ? a->conn : conns_find_stranger(g->conns, listener, to);
    /* What a peer cannot take it would wait for. */
    if (c && !conn_send(c, datagram, g->now))
        conn_abort(c, "an answer larger than you take", g->now);
}

static bool is_due(void *user, struct conn *c)
{
    const struct gate *g = user;
    if (conn_wait(c) == 0 || conn_wait(c) != g->replied)
        return false;
    conn_set_wait(c, 0);
    return true;
}

void gate_wake_conns(struct gate *g)
{
    if (g->conns)
        conns_wake(g->conns, is_due, g, g->now);
}

static void release(void *user, struct conn *c)
{
    const struct gate *g = user;
    conn_release(c, g->now);
}

void gate_release_conns(struct gate *g)
{
    if (g->conns)
        conns_each(g->conns, release, g);
}
