/* Notifications (RFC 7641 4.2): what goes to a client that did not ask now. */
#include "exchange_inside.h"

bool exchange_notify(struct exchanges *t, struct assoc *a, uint64_t watch, struct msg *m,
                     struct instant now, struct exchange **kept)
{
    struct exchange *x = exchange_take_slot(t, now);
    if (!x) {
        t->stats.full++;
        return false;
    }
    x->notice = true;
    x->watch = watch;
    x->type = m->type;
    x->peer = a->peer;
    x->listener = a->listener;
    exchange_assoc_enter(x, a);
    a->n_exchanges++;
    uint32_t tag;
    x->reliable = a->conn != NULL;
    if (x->reliable) /* whether it is heard is TCP's to see to (RFC 8323 7.1) */
        m->type = x->type = TYPE_NON;
    m->mid = x->answer_mid = exchange_own_mid(t, x, &tag);
    struct bytes b = exchange_write_out(t, a, m);
    *kept = m->type == TYPE_CON ? x : NULL;
    if (*kept) {
        exchange_keep(t, x, b);
        exchange_await_ack(t, x, tag, now);
    }
    t->ops->send(t->user, x, b);
    if (!*kept)
        exchange_release(t, x);
    return true;
}

void exchange_end_notice(struct exchanges *t, struct exchange *x, enum exchange_heard heard,
                         struct instant now)
{
    uint64_t watch = x->watch, rtt_us = now.mono_us - x->born.mono_us;
    rtt_us = x->tries > 1 ? 0 : rtt_us ? rtt_us : 1;
    exchange_release(t, x);
    t->stats.undelivered += heard != HEARD_ACK;
    t->ops->notified(t->user, watch, heard, rtt_us);
}

bool exchange_is_unheard(const struct exchange *x, uint64_t watch)
{
    return x->notice && x->confirm && x->watch == watch;
}

void exchange_unsay(struct exchanges *t, struct exchange *x, uint64_t watch)
{
    if (exchange_is_unheard(x, watch))
        exchange_release(t, x);
}
