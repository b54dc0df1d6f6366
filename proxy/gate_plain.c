/* What may be sent to an address that nobody has shown to be there: at most
 * AMPLIFICATION times what came from it (RFC 7252 11.3, RFC 9175 2.4 3). Only
 * plain coap has such addresses. Over DTLS the greeter's cookie comes first
 * (greeter.h), over TCP the handshake. */
#include "gate_internal.h"

enum { ECHO_OPTION = 3 + ECHO_VALUE }; /* at most, with its header */

bool gate_has_shown(struct gate *g, const struct arrival *in)
{
    if (in->assoc || !g->listeners[in->listener]) /* TCP */
        return true;
    if (in->x)
        return in->x->may_send == UINT32_MAX;
    const struct msg_option *o = msg_find(in->m, OPT_ECHO);
    return o && echo_is(&g->echo, in->from, o->value, g->now);
}

uint32_t gate_may_send(struct gate *g, const struct arrival *in)
{
    return gate_has_shown(g, in) ? UINT32_MAX : AMPLIFICATION * (uint32_t)in->datagram.n;
}

bool gate_spend(struct gate *g, struct exchange *x, size_t n)
{
    if (!x->plain || x->may_send == UINT32_MAX)
        return true;
    if (n > x->may_send) {
        g->stats.held_back++;
        return false;
    }
    x->may_send -= (uint32_t)n;
    return true;
}

static size_t size_of(const struct msg *m, const struct arrival *in)
{
    uint8_t storage[MESSAGE_MAX];
    struct buf b = buf_on(storage, sizeof storage);
    return msg_write(m, &b) ? b.n + in->m->token_n - m->token_n : SIZE_MAX;
}

/* A header, its token, and what its sender repeats to be answered in full. */
static void ask_back(struct gate *g, const struct arrival *in, struct msg *m, uint32_t most,
                     uint8_t echo[ECHO_VALUE])
{
    g->stats.echoed++;
    gate_msg(m, MSG_CODE(4, 1));
    if (echo_make(&g->echo, in->from, g->now, echo) &&
        msg_add(m, OPT_ECHO, bytes_of(echo, ECHO_VALUE)) && size_of(m, in) <= most)
        return;
    gate_msg(m, MSG_CODE(4, 1)); /* no longer than the request: a header and its token */
}

void gate_fit_plain(struct gate *g, const struct arrival *in, struct msg *m,
                    uint8_t echo[ECHO_VALUE])
{
    if (!g->listeners[in->listener])
        return;
    m->token_n = 0; /* set later; as long as the request's */
    uint32_t most = in->x ? in->x->may_send : gate_may_send(g, in);
    size_t n = size_of(m, in);
    if (most == UINT32_MAX) {
        /* It will ask for more (the next block): that need not come twice. */
        if (n > AMPLIFICATION * in->datagram.n && n <= MESSAGE_MAX - ECHO_OPTION &&
            echo_make(&g->echo, in->from, g->now, echo) &&
            msg_add(m, OPT_ECHO, bytes_of(echo, ECHO_VALUE)))
            g->stats.echoed++;
        return;
    }
    if (n <= most)
        return;
    /* Words for people are left out first; the code says it, too. */
    if (MSG_CLASS(m->code) > 2 && !msg_find(m, OPT_CONTENT_FORMAT)) {
        m->payload = BYTES_NONE;
        if (size_of(m, in) <= most)
            return;
    }
    ask_back(g, in, m, most, echo);
}

void gate_fit_late(struct gate *g, const struct exchange *x, struct msg *m,
                   uint8_t echo[ECHO_VALUE])
{
    if (!g->listeners[x->listener] || x->may_send == UINT32_MAX)
        return;
    struct msg request;
    request.token_n = x->token_n;
    const struct arrival in = {.listener = x->listener, .from = &x->peer, .m = &request};
    m->token_n = 0;
    if (size_of(m, &in) <= x->may_send)
        return;
    if (x->m2m_operation == M2M_RETRIEVE || x->m2m_operation == M2M_DISCOVERY) {
        ask_back(g, &in, m, x->may_send, echo);
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < m->n_options; i++)
        if (m->options[i].number != OPT_CONTENT_FORMAT)
            m->options[kept++] = m->options[i];
    m->n_options = kept;
    m->payload = BYTES_NONE;
}
