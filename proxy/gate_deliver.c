/* A device's answer on the client's side: judged once more, filtered, sent,
 * recorded. */
#include "gate_internal.h"
#include "gate_m2m.h"

/* A 2.01 with a Location-Path: what AIF's Dynamic bits speak of. */
static void note_created(struct gate *g, struct exchange *x, const struct msg *m)
{
    if (m->code != MSG_CODE(2, 1) || (x->method != MSG_POST && x->method != MSG_PUT) || !x->assoc)
        return;
    struct bytes path[POLICY_PATH_SEGMENTS_MAX];
    size_t n = 0;
    const struct device_config *d = upstream_config(g->upstreams, x->device_index);
    if (d->n_prefix == 0)
        path[n++] = bytes_str(d->name);
    for (size_t i = 0; i < m->n_options; i++) {
        if (m->options[i].number != OPT_LOCATION_PATH)
            continue;
        if (n == POLICY_PATH_SEGMENTS_MAX)
            return;
        path[n++] = m->options[i].value;
    }
    if (n > (d->n_prefix == 0 ? 1 : 0))
        pep_note_created(g->pep, x->assoc->session, path, n);
}

void gate_deliver(struct gate *g, struct exchange *x, const struct msg *m)
{
    if (x->guest) {
        gate_mail_answer(g, x, m);
        return;
    }
    struct msg out;
    uint8_t age[4];
    bool made_here = true;
    struct m2m_dress dress;
    if (g->now.wall_s >= x->ends_s) {
        /* The grant ended while the device worked (RFC 9200 5.10.3). */
        gate_msg(&out, MSG_CODE(4, 1));
    } else if (!m && x->up_end == UP_FULL) {
        gate_give_back_rate(g, x);
        gate_msg(&out, MSG_CODE(5, 3));
        if (!msg_add_uint(&out, OPT_MAX_AGE, DEVICE_MAX_AGE_S, age))
            gate_msg(&out, MSG_CODE(5, 3));
    } else if (!m) {
        bool bad = x->up_end == UP_RESET || x->up_end == UP_TOO_LARGE || x->up_end == UP_UNTRUSTED;
        gate_msg(&out, bad ? MSG_CODE(5, 2) : MSG_CODE(5, 4));
    } else {
        struct forward_map map = gate_device_map(upstream_config(g->upstreams, x->device_index));
        uint8_t refused = x->m2m ? gate_m2m_response(g, x, m, &out)
                                 : forward_response(&g->forward, m, &map, &out);
        if (refused)
            gate_msg(&out, refused);
        else if (!x->m2m)
            note_created(g, x, &out);
        made_here = refused != 0;
    }
    if (x->m2m && made_here)
        gate_m2m_dress_late(g, x, &out, !m && g->now.wall_s < x->ends_s, &dress);
    uint8_t number[4], echo[ECHO_VALUE];
    if (x->plain && !x->gone)
        gate_fit_late(g, x, &out, echo);
    if (x->watch)
        gate_watch_answer(g, x, &out, number);
    /* Answered first: an answer that does not fit becomes another one. */
    exchange_answer(g->exchanges, x, &out, g->now);
    gate_record_end(g, x, out.code);
    if (x->watch)
        gate_watch_answered(g, x, out.code);
}
