/* What time does: what is due, handshakes, and when to come again. */
#include "gate_call.h"
#include "gate_internal.h"
#include "gate_notify_http.h"

/* Handshakes, when all else of the turn is done and sent. */
static bool take_handshakes(struct gate *g)
{
    struct assoc *a;
    bool any = false;
    for (bool more = true; more; any |= more) {
        /* By turns: neither kind of strangers keeps the other out. */
        more = g->conns_first && g->conns && conns_serve(g->conns, g->now);
        if (assocs_serve(g->assocs, g->now, &a)) {
            more = true;
            if (a)
                (void)gate_take_plain(g, a, a->listener, &a->peer);
        }
        more |= !g->conns_first && g->conns && conns_serve(g->conns, g->now);
        g->conns_first ^= more;
    }
    return any;
}

/* What is due, then what it said leaves. */
static bool turn(struct gate *g, uint64_t *conns)
{
    struct instant now = g->now;
    *conns = g->conns ? conns_turn(g->conns, now) : UINT64_MAX;
    exchanges_expire(g->exchanges, now);
    upstreams_expire(g->upstreams, now);
    gate_expire_watches(g);
    gate_expire_calls(g);
    observes_turn(g->observes, now);
    assocs_expire(g->assocs, now);
    if (now.wall_s >= g->pep_expire_s)
        g->pep_expire_s = pep_expire(g->pep, now.wall_s);
    gate_expire_assocs(g);
    gate_learn(g);
    gate_ask(g);
    gate_serve_waiting(g);
    bool unsent = g->crew && gate_mail_turn(g);
    assocs_reap(g->assocs);
    upstreams_turn(g->upstreams, now);
    for (size_t i = 0; i < g->config->n_listeners; i++)
        if (g->listeners[i])
            udp_flush(g->listeners[i]);
    if (g->audit)
        audit_sink_tell(g->audit, g->worker);
    return unsent;
}

uint64_t gate_turn(struct gate *g, struct instant now)
{
    uint64_t conns;
    g->now = now;
    gate_http_turn(g);
    bool unsent = turn(g, &conns);
    if (take_handshakes(g)) /* what came of them leaves in this turn, too */
        unsent = turn(g, &conns);

    gate_tell_enrolments(g);
    uint64_t next = exchanges_deadline_ms(g->exchanges);
    uint64_t others[] = {upstreams_deadline_ms(g->upstreams),
                         assocs_deadline_ms(g->assocs),
                         deadlines_next(&g->ends),
                         discovery_deadline_ms(g->discovery),
                         blocks_deadline_ms(g->blocks),
                         observes_deadline_ms(g->observes),
                         watches_deadline_ms(g->watches),
                         g->enrolled_ms,
                         gate_calls_deadline_ms(g),
                         gate_http_deadline_ms(g),
                         conns};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i] < next)
            next = others[i];
    /* What is over by then is over though nothing happens. */
    int64_t over_s = g->pep_expire_s - now.wall_s;
    if (over_s > 0 && (uint64_t)over_s * 1000 + instant_ms(now) < next)
        next = (uint64_t)over_s * 1000 + instant_ms(now);
    /* A colleague that has read its mail does not say so. */
    return unsent && instant_ms(now) + 1 < next ? instant_ms(now) + 1 : next;
}

bool gate_drain(struct gate *g, struct instant now)
{
    g->now = now;
    if (!g->draining)
        gate_release_conns(g);
    g->draining = true;
    struct exchanges_stats s;
    exchanges_get_stats(g->exchanges, &s);
    return s.open == 0;
}
