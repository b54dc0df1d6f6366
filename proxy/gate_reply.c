/* What goes to a client, and by what it goes. */
#include "gate_internal.h"
#include "gate_m2m.h"
#include "gate_notify_http.h"

void gate_reply(struct gate *g, const struct arrival *in, struct msg *m)
{
    uint8_t echo[ECHO_VALUE];
    struct m2m_dress s;
    if (g->m2m)
        gate_m2m_dress(g, in, m, &s);
    if (!in->assoc && !(in->x && in->x->gone))
        gate_fit_plain(g, in, m, echo);
    if (in->x) {
        exchange_answer(g->exchanges, in->x, m, g->now);
        return;
    }
    g->stats.answered++;
    m->type = in->m->type == TYPE_CON ? TYPE_ACK : TYPE_NON;
    m->mid = in->m->type == TYPE_CON ? in->m->mid : g->plain_mid++;
    m->token_n = in->m->token_n;
    memcpy(m->token, in->m->token, sizeof m->token);
    uint8_t storage[MESSAGE_MAX];
    struct buf plain = buf_on(storage, sizeof storage);
    if (msg_write(m, &plain))
        gate_send(g, in->assoc, in->listener, in->from, buf_bytes(&plain));
}

void gate_reply_code(struct gate *g, const struct arrival *in, uint8_t code, const char *why)
{
    struct msg m;
    gate_msg(&m, code);
    m.payload = bytes_str(why);
    gate_reply(g, in, &m);
}

void gate_reply_later(struct gate *g, const struct arrival *in, uint8_t code, uint32_t age_s)
{
    struct msg m;
    uint8_t age[4];
    gate_msg(&m, code);
    if (msg_add_uint(&m, OPT_MAX_AGE, age_s, age))
        gate_reply(g, in, &m);
}

void gate_reply_busy(struct gate *g, const struct arrival *in)
{
    gate_reply_later(g, in, MSG_CODE(5, 3), DEVICE_MAX_AGE_S);
}

void gate_reply_too_large(struct gate *g, const struct arrival *in)
{
    struct msg m;
    uint8_t size[4];
    gate_msg(&m, MSG_CODE(4, 13));
    if (msg_add_uint(&m, OPT_SIZE1, BODY_SURE, size))
        gate_reply(g, in, &m);
}

void gate_send_empty(struct gate *g, const struct arrival *in, enum msg_type type)
{
    uint8_t storage[4];
    struct buf empty = buf_on(storage, sizeof storage);
    msg_write_empty(type, in->m->mid, &empty);
    gate_send(g, in->assoc, in->listener, in->from, buf_bytes(&empty));
}

void gate_send(struct gate *g, struct assoc *a, int listener, const struct peer *to,
               struct bytes message)
{
    if (a && !(listener == a->listener && peer_equal(to, &a->peer))) { /* it has moved */
        listener = a->listener;
        to = &a->peer;
    }
    struct udp *udp = g->listeners[listener];
    if (!udp && g->config->listeners[listener].http) {
        gate_http_send(g, listener, message);
        return;
    }
    if (!udp) {
        gate_conn_send(g, a, listener, to, message);
        return;
    }
    if (!a) {
        udp_send(udp, to, message);
        return;
    }
    struct buf slot = udp_slot(udp);
    if (assoc_write(g->assocs, a, message, &slot))
        udp_commit(udp, to, &slot);
}

static void exchange_send(void *user, struct exchange *x, struct bytes message)
{
    struct gate *g = user;
    if (!x->gone && gate_spend(g, x, message.n))
        gate_send(g, x->assoc, x->listener, &x->peer, message);
}

static void exchange_undelivered(void *user, struct exchange *x, bool reset)
{
    /* The client has lost interest or its line: counted by the table. */
    if (x->watch)
        gate_watch_undelivered(user, x, reset);
}

const struct exchange_ops gate_exchange_ops = {
    .send = exchange_send, .undelivered = exchange_undelivered, .notified = gate_watch_heard};
