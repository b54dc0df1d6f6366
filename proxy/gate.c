#include "gate_call.h"
#include "gate_internal.h"
#include "gate_m2m.h"
#include "gate_notify.h"

/* ---- a request ---- */

/* The path in the gateway's name space. A device found by Uri-Host has its
 * name put in front, so that /state of one host is never /state of another. */
bool gate_name_path(const struct device_config *d, struct request *r)
{
    if (!d || d->n_prefix > 0)
        return true;
    if (r->n_path >= POLICY_PATH_SEGMENTS_MAX)
        return false;
    memmove(&r->path[1], &r->path[0], r->n_path * sizeof r->path[0]);
    r->path[0] = bytes_str(d->name);
    r->n_path++;
    return true;
}

bool gate_denial(const struct pep_decision *d, struct msg *m, uint8_t scratch[3][4])
{
    gate_msg(m, d->code);
    if (d->retry_s && !msg_add_uint(m, OPT_MAX_AGE, d->retry_s, scratch[0]))
        return false;
    if (d->payload_n > 0 && !msg_add_uint(m, OPT_CONTENT_FORMAT, d->content_format, scratch[1]))
        return false;
    m->payload = bytes_of(d->payload, d->payload_n);
    return d->code != MSG_CODE(4, 13) || msg_add_uint(m, OPT_SIZE1, d->size1, scratch[2]);
}

static void deny(struct gate *g, const struct arrival *in, const struct pep_decision *d)
{
    struct msg m;
    uint8_t scratch[3][4];
    if (!gate_denial(d, &m, scratch))
        return;
    g->stats.denied++;
    if (!in->assoc)
        g->stats.plain_refused++;
    gate_record_decision(g, in, &g->request, d, d->code);
    gate_m2m_deny(g, in, d);
    gate_reply(g, in, &m);
}

void gate_stop(struct gate *g, const struct arrival *in, uint8_t code)
{
    gate_record_end(g, in->x, code);
    if (code == MSG_CODE(5, 3))
        gate_reply_busy(g, in);
    else if (code == MSG_CODE(4, 13))
        gate_reply_too_large(g, in);
    else
        gate_reply_code(g, in, code, NULL);
}

void gate_forward(struct gate *g, const struct arrival *in, int device)
{
    if (device < 0) {
        gate_stop(g, in, MSG_CODE(4, 4));
        return;
    }
    struct msg out;
    struct forward_scratch scratch;
    struct forward_map map = gate_device_map(upstream_config(g->upstreams, device));
    if (!forward_request(&g->forward, in->m, &map, &out, &scratch) ||
        (in->m2m && !gate_m2m_put(in, upstream_config(g->upstreams, device), &out))) {
        gate_give_back_rate(g, in->x);
        gate_stop(g, in, MSG_CODE(4, 2));
        return;
    }
    out.type = in->m->type;
    in->x->device_index = device;
    enum observe_taken watched = gate_watch(g, in, device, &out);
    if (watched == OBSERVE_TAKEN ||
        (watched == OBSERVE_PLAIN && gate_serve(g, in->x, device, &out)))
        return;
    gate_give_back_rate(g, in->x);
    gate_stop(g, in, gate_code_refused(in->x));
}

bool gate_judge(struct gate *g, struct arrival *in, struct request *r, struct pep_session *s)
{
    struct pep_decision *d = &g->decision;
    pep_authorize(g->pep, s, r, g->now.wall_s, d);
    if (d->outcome == PEP_WAIT && in->x) {
        gate_park(g, in, d->wait);
        return false;
    }
    /* What the policy lets pass without an association (Mca): pep knows of no
     * other that it would forward for nobody. */
    if (d->outcome == PEP_FORWARD && !in->x && in->m2m && d->verdict == POLICY_PERMIT) {
        if (!gate_accept_plain(g, in))
            return false;
        gate_m2m_hold(in);
    }
    if (d->outcome != PEP_FORWARD || !in->x) {
        /* A plain listener forwards nothing else, whatever pep says. */
        if (d->outcome != PEP_DENY)
            *d = (struct pep_decision){.code =
                                           d->outcome == PEP_WAIT ? MSG_CODE(5, 3) : MSG_CODE(4, 1),
                                       .retry_s = d->outcome == PEP_WAIT ? PLAIN_MAX_AGE_S : 0,
                                       .reason = "no-association",
                                       .policy_hash = d->policy_hash};
        deny(g, in, d);
        return false;
    }
    if (g->config->audit_required && g->audit && !audit_sink_has_room(g->audit, g->worker)) {
        g->stats.denied++;
        gate_reply_busy(g, in);
        return false;
    }
    gate_take_rate(g, r->device, d, in->x);
    if (d->outcome != PEP_FORWARD) {
        deny(g, in, d);
        return false;
    }
    if (d->verdict == POLICY_PERMIT)
        g->stats.permitted++;
    else
        g->stats.reported++;
    in->x->ends_s = d->ends_s;
    in->x->basis = d->basis;
    if (in->m2m)
        gate_m2m_keep(g, in, d);
    gate_record_decision(g, in, r, d, 0);
    return true;
}

void gate_request(struct gate *g, struct arrival *in)
{
    struct request *r = &g->request;
    struct bytes host;
    const char *why = NULL;
    if (gate_is_notified(g, in)) {
        gate_notify_request(g, in);
        return;
    }
    if (g->m2m && !gate_m2m_take(g, in))
        return;
    const struct msg *m = in->m;

    /* Refused by its form alone: the answer is a function of the message,
     * so it needs no memory for duplicates. */
    uint8_t refused = forward_read(&g->forward, m, r, &host, &why);
    /* The last hop may be the one to us (RFC 8768 3): it ends what would go on. */
    bool last_hop = refused == MSG_CODE(5, 8);
    if (refused && !last_hop) {
        g->stats.malformed++;
        gate_reply_code(g, in, refused, why);
        return;
    }
    if (g->draining || g->shut) {
        gate_reply_busy(g, in);
        return;
    }
    peer_put_policy(in->from, &r->peer);
    gate_watch_leave(g, in);
    if (gate_local(g, in, r))
        return;
    if (last_hop) {
        gate_reply_code(g, in, refused, why);
        return;
    }
    size_t strip;
    r->device = upstream_route(g->upstreams, host, r->path, r->n_path, &strip);
    if (in->m2m && !gate_m2m_name(g, in, r, strip))
        return;
    if (r->device >= 0 && !gate_name_path(upstream_config(g->upstreams, r->device), r)) {
        gate_reply_code(g, in, MSG_CODE(4, 2), "path too long");
        return;
    }
    if (in->assoc && !in->m2m)
        r->originator = bytes_str(pep_session_originator(in->assoc->session));
    if (gate_judge(g, in, r, in->assoc ? in->assoc->session : NULL))
        gate_forward(g, in, r->device);
}

/* ---- entry points ---- */

void gate_take(struct gate *g, struct arrival *in)
{
    const struct msg *m = in->m;
    if (m->type == TYPE_ACK || m->type == TYPE_RST) { /* over plain coap too: what was parked */
        bool reset = m->type == TYPE_RST;
        if (!exchange_acknowledged(g->exchanges, in->assoc, in->from, in->listener, m->mid, reset,
                                   g->now) &&
            in->assoc && reset)
            gate_watch_reset(g, in->assoc, m->mid);
        (void)!gate_call_answered(g, in); /* with its ACK */
        return;
    }
    if (!msg_is_request(m)) {
        /* A ping (RFC 7252 4.3), or an answer: to something that we asked? */
        bool asked = gate_call_answered(g, in);
        if (m->type == TYPE_CON)
            gate_send_empty(g, in, asked ? TYPE_ACK : TYPE_RST);
        return;
    }
    g->stats.requests++; /* each is answered once, or its client goes first */
    if (gate_is_notified(g, in) && !gate_notify_accept(g, in))
        return;
    if (in->assoc && in->datagram.n > MESSAGE_MAX) {
        g->stats.malformed++;
        gate_reply_too_large(g, in); /* a function of the message: no memory */
        return;
    }
    if (in->assoc) {
        struct bytes again = BYTES_NONE;
        switch (exchange_accept(g->exchanges, in->assoc, in->listener, in->from, m, in->datagram,
                                g->now, &in->x, &again)) {
        case EXCHANGE_NEW:
            break;
        case EXCHANGE_REPEAT:
            g->stats.requests--;
            if (again.n > 0)
                gate_send(g, in->assoc, in->listener, in->from, again);
            return;
        case EXCHANGE_MANY:
            in->x = NULL;
            if (gate_m2m_take(g, in))
                gate_reply_later(g, in, MSG_CODE(4, 29), CLIENT_MAX_AGE_S);
            return;
        case EXCHANGE_FULL:
        default:
            in->x = NULL;
            if (gate_m2m_take(g, in))
                gate_reply_busy(g, in);
            return;
        }
    }
    gate_request(g, in);
}

static void client_message(struct gate *g, struct assoc *a, int listener, const struct peer *from,
                           struct bytes plain)
{
    struct msg m;
    struct arrival in = {
        .assoc = a, .listener = listener, .from = from, .m = &m, .datagram = plain};
    switch (msg_parse(plain, &m)) {
    case MSG_OK:
        break;
    case MSG_BAD:
        g->stats.malformed++;
        if (m.type == TYPE_CON)
            gate_send_empty(g, &in, TYPE_RST);
        return;
    case MSG_IGNORE:
    default:
        g->stats.malformed++;
        return;
    }
    gate_take(g, &in);
}

bool gate_take_plain(struct gate *g, struct assoc *a, int listener, const struct peer *from)
{
    bool any = false;
    while (!a->dead) {
        struct bytes plain = assoc_read(g->assocs, a, g->now, g->plain, sizeof g->plain);
        if (plain.n == 0)
            break;
        /* An older record that comes from elsewhere is one of where it is now. */
        bool there = a->listener == listener && peer_equal(from, &a->peer);
        client_message(g, a, a->listener, there ? from : &a->peer, plain);
        any = true;
    }
    return any;
}

void gate_client_datagram(struct gate *g, int listener, const struct peer *from,
                          struct bytes datagram, struct instant now)
{
    g->now = now;
    if (!g->config->listeners[listener].secure) {
        if (gate_mail_notified(g, listener, from, datagram))
            return;
        client_message(g, NULL, listener, from, datagram);
        return;
    }
    if (gate_mail_datagram(g, listener, from, datagram))
        return;
    struct assoc *a = assocs_receive(g->assocs, listener, from, datagram, now);
    if (a && !gate_take_plain(g, a, listener, from) && !a->dead)
        g->stats.unread++;
}
