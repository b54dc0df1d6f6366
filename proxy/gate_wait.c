/* Waiting for an authorization server: the one place where a request is put
 * aside and taken up again. What waits is an open exchange that keeps its
 * own datagram, or a handshake that dtls.c or tls.c keeps; both name a
 * question. */
#include "gate_internal.h"

bool gate_accept_plain(struct gate *g, struct arrival *in)
{
    struct bytes again = BYTES_NONE;
    uint32_t may_send = gate_may_send(g, in);
    switch (exchange_accept(g->exchanges, NULL, in->listener, in->from, in->m, in->datagram, g->now,
                            &in->x, &again)) {
    case EXCHANGE_NEW:
        in->x->may_send = may_send;
        return true;
    case EXCHANGE_REPEAT: /* it waits already; what is sent again is no longer than
                             what may be sent for this datagram, which is the same */
        g->stats.requests--;
        if (again.n > 0 && again.n <= may_send)
            gate_send(g, NULL, in->listener, in->from, again);
        return false;
    case EXCHANGE_FULL:
    case EXCHANGE_MANY:
    default:
        in->x = NULL;
        gate_reply_later(g, in, MSG_CODE(4, 29), PLAIN_MAX_AGE_S);
        return false;
    }
}

void gate_park(struct gate *g, struct arrival *in, uint64_t question)
{
    /* On a plain listener nothing is kept for a stranger, but for as long as a
     * question about its token is under way. */
    if (!in->x && !gate_accept_plain(g, in))
        return;
    struct exchange *x = in->x;
    if (in->datagram.n > sizeof x->room->stored) {
        gate_reply_code(g, in, MSG_CODE(4, 13), NULL);
        return;
    }
    memcpy(x->room->stored, in->datagram.p, in->datagram.n);
    x->stored_n = in->datagram.n;
    exchange_wait(g->exchanges, x, question);
    g->stats.parked++;
}

static void take_up(void *user, struct exchange *x)
{
    struct gate *g = user;
    struct msg m;
    uint8_t plain[MESSAGE_MAX];
    memcpy(plain, x->room->stored, x->stored_n);
    struct arrival in = {.assoc = x->assoc,
                         .listener = x->listener,
                         .from = &x->peer,
                         .m = &m,
                         .datagram = bytes_of(plain, x->stored_n),
                         .x = x};
    if (msg_parse(in.datagram, &m) == MSG_OK)
        gate_request(g, &in);
    else
        exchange_drop(g->exchanges, x, g->now);
}

static void wake(void *user, struct assoc *a)
{
    struct gate *g = user;
    if (a->pending->wait == 0 || a->pending->wait != g->replied)
        return;
    a->pending->wait = 0;
    assoc_wake(g->assocs, a, g->now);
}

/* The answer is there, for all who waited for it. */
static void call_waiting(struct gate *g, uint64_t id)
{
    g->replied = id;
    exchanges_each_waiting(g->exchanges, id, take_up, g);
    gate_watch_replied(g, id);
    assocs_each_pending(g->assocs, wake, g);
    gate_wake_conns(g);
    g->replied = 0;
    pep_settle(g->pep);
}

void gate_reply_came(struct gate *g, uint64_t id, const struct pep_reply *r, struct instant now)
{
    g->now = now;
    pep_take_reply(g->pep, id, r, now.wall_s);
    call_waiting(g, id);
}

void gate_checked(struct gate *g, struct pep_check *c, struct instant now)
{
    g->now = now;
    uint64_t id = pep_check_id(c);
    pep_take_check(g->pep, c);
    call_waiting(g, id);
}

void gate_ask(struct gate *g)
{
    struct pep_question q;
    for (struct pep_check *c; g->check && (c = pep_next_check(g->pep));)
        g->check(g->check_user, c);
    while (pep_next_question(g->pep, g->now.wall_s, &q)) {
        if (g->ask && g->ask(g->ask_user, &q, g->now))
            continue;
        const struct pep_reply away = {.away = true, .content_format = PEP_FORMAT_NONE};
        gate_reply_came(g, q.id, &away, g->now);
    }
}
