/* The resources that are answered here: /authz-info (RFC 9200 5.10.1) and
 * /.well-known/core (RFC 6690). Exact paths, nothing that merely ends so. */
#include "gate_internal.h"

static bool path_is(const struct request *r, const char *a, const char *b)
{
    return r->n_path == (b ? 2u : 1u) && bytes_equal_str(r->path[0], a) &&
           (!b || bytes_equal_str(r->path[1], b));
}

/* The client token goes back to who brought the token (ace-07 5.6.4). */
static void hand_on(struct gate *g, const struct arrival *in, const struct pep_taken *t)
{
    struct msg m;
    uint8_t format[4];
    gate_msg(&m, t->code);
    m.payload = t->client_token;
    if (msg_add_uint(&m, OPT_CONTENT_FORMAT, (uint32_t)t->client_token_format, format))
        gate_reply(g, in, &m);
}

/* False: it waits, and comes here again. */
static bool authz_info(struct gate *g, struct arrival *in)
{
    if (in->m->code != MSG_POST) {
        gate_reply_code(g, in, MSG_CODE(4, 5), NULL);
        return true;
    }
    /* A token fits one message (TOKEN_MAX); a transfer in blocks is refused
     * as a whole rather than half understood (RFC 7959 2.9.3). */
    int64_t block = msg_uint(in->m, OPT_BLOCK1);
    if (block >= 0 && block >> 3 != 0) {
        gate_reply_code(g, in, MSG_CODE(4, 13), "token too large");
        return true;
    }
    struct pep_taken t;
    int64_t format = msg_uint(in->m, OPT_CONTENT_FORMAT);
    struct policy_peer from = peer_policy(in->from);
    pep_take_token(g->pep, in->assoc ? in->assoc->session : NULL, &from, in->m->payload,
                   format < 0 ? CF_NONE : (int)format, g->now.wall_s, &t);
    if (t.wait) {
        gate_park(g, in, t.wait);
        return false;
    }
    if (t.err == PEP_OK)
        g->stats.tokens_taken++;
    else
        g->stats.tokens_refused++;
    uint64_t held;
    if (t.err == PEP_STORE && log_may(&g->store_lines, instant_ms(g->now), &held))
        log_event(LOG_LEVEL_ERROR, "store-failed", "state", LOG_OR(g->config->state), "grants",
                  "are refused", "held", LOG_U(held), NULL);
    gate_record_token(g, in->assoc, in->from, PEP_VIA_AUTHZ_INFO, &t);
    if (t.retry_s || t.code == MSG_CODE(5, 3))
        gate_reply_later(g, in, t.code, t.retry_s ? t.retry_s : FULL_MAX_AGE_S);
    else if (t.client_token.n)
        hand_on(g, in, &t);
    else
        gate_reply_code(g, in, t.code, t.err == PEP_OK ? NULL : pep_err_str(t.err));
    return true;
}

/* ---- /.well-known/core ---- */

struct looker {
    struct gate *g;
    struct assoc *assoc;
    struct policy_peer peer;
};

static bool may_touch(void *user, struct request *r)
{
    struct looker *l = user;
    r->peer = l->peer;
    r->originator = BYTES_NONE;
    r->m2m = NULL;
    return pep_methods(l->g->pep, l->assoc->session, r, l->g->now.wall_s) != 0;
}

/* Of the listener that it asks, or, when that is for TCP, of the first for
 * coaps: 0 when there is none. */
static uint16_t listener_port(const struct gate *g, int listener)
{
    const struct config *c = g->config;
    const struct config_listener *l = &c->listeners[listener];
    for (size_t i = 0; l->tcp && i < c->n_listeners; i++)
        if (c->listeners[i].secure && !c->listeners[i].tcp)
            l = &c->listeners[i];
    const struct peer *p = &l->local;
    if (l->tcp)
        return 0;
    return ntohs(p->sa.sa_family == AF_INET6 ? p->in6.sin6_port : p->in4.sin_port);
}

static void discover(struct gate *g, const struct arrival *in, const struct request *r)
{
    struct looker l = {g, in->assoc, peer_policy(in->from)};
    struct listing_ask ask = {.may = in->assoc ? may_touch : NULL,
                              .user = &l,
                              .port = listener_port(g, in->listener),
                              .query = r->query,
                              .n_query = r->n_query};
    struct buf text = buf_on(g->document, sizeof g->document);
    listing_write(g->discovery, &ask, &text);
    struct msg m;
    struct listing_scratch scratch;
    listing_answer(buf_bytes(&text), in->m, &m, &scratch);
    gate_reply(g, in, &m);
}

bool gate_local(struct gate *g, struct arrival *in, const struct request *r)
{
    bool answered = true;
    if (path_is(r, "authz-info", NULL))
        answered = authz_info(g, in);
    else if (path_is(r, ".well-known", "core"))
        discover(g, in, r);
    else
        return false;
    g->stats.answered_here += answered;
    return true;
}

/* ---- learning what devices publish ---- */

static void ask_device(struct gate *g, int device)
{
    for (;;) {
        struct msg m;
        struct discovery_scratch scratch;
        struct exchange *x = exchange_own(g->exchanges, g->now);
        if (x && discovery_request(g->discovery, device, &m, &scratch)) {
            x->device_index = device;
            if (gate_serve(g, x, device, &m))
                return;
        }
        if (x)
            exchange_drop(g->exchanges, x, g->now);
        if (!discovery_take_answer(g->discovery, device, NULL, instant_ms(g->now)))
            return;
    }
}

void gate_learn(struct gate *g)
{
    for (int device; (device = discovery_next(g->discovery, instant_ms(g->now))) >= 0;)
        ask_device(g, device);
    if (g->crew)
        gate_want_links(g);
}

void gate_take_links(struct gate *g, struct exchange *x, const struct msg *m)
{
    int device = x->device_index;
    exchange_drop(g->exchanges, x, g->now);
    if (discovery_take_answer(g->discovery, device, m, instant_ms(g->now)))
        ask_device(g, device);
    else if (g->crew)
        gate_tell_links(g, device);
}
