/* How often: the rates of policy and configuration, asked last of all, when
 * nothing else is in a request's way. */
#include "gate_internal.h"

void gate_take_rate(struct gate *g, int device, struct pep_decision *d, struct exchange *x)
{
    struct rate_taken *taken = &x->room->taken;
    taken->n = 0;
    /* What report mode lets pass has no rate; what has no device goes nowhere. */
    if (d->outcome != PEP_FORWARD || d->verdict != POLICY_PERMIT || device < 0)
        return;
    const struct policy_rate *whole = &g->config->devices[device].rate;
    if (d->n_offers == 0 && whole->count == 0)
        return;
    struct rate_answer answer;
    rates_take(g->rates, d->offers, d->n_offers, whole, g->now.mono_us, &answer, taken);
    if (answer.verdict == RATE_TAKEN) {
        if (d->n_offers > 0)
            pep_accept(d, answer.offer);
        return;
    }
    g->stats.rate_refused++;
    pep_refuse_rate(g->pep, d, answer.of, answer.retry_s);
}

void gate_give_back_rate(struct gate *g, struct exchange *x)
{
    rates_give_back(g->rates, &x->room->taken);
    x->room->taken.n = 0;
}
