/* The audit record of a decision: begun when it is made, ended with the
 * answer, in the exchange's own storage. */
#include "gate_internal.h"

static void write_out(struct gate *g, bool whole, const struct buf *line)
{
    if (whole && g->audit)
        (void)audit_sink_write(g->audit, g->worker, buf_bytes(line)); /* it counts what it loses */
}

static const char *subject_of(const struct assoc *a)
{
    return a && a->session ? pep_session_subject(a->session) : "-";
}

static struct audit_start start_of(struct gate *g, struct assoc *a, const char *peer,
                                   const char *device)
{
    return (struct audit_start){.memo = &g->memo,
                                .wall_s = g->now.wall_s,
                                .wall_us = g->now.wall_us,
                                .association = a ? a->id : 0,
                                .peer = peer,
                                .subject = subject_of(a),
                                .device = device};
}

/* The few that ask at a time are told by what was told of them last. */
static struct bytes who_of(struct gate *g, const struct assoc *a, const struct peer *from)
{
    struct gate_who *w = &g->who[a->id % GATE_WHO];
    const char *subject = subject_of(a);
    if (w->association != a->id || !peer_equal(&w->peer, from) ||
        strcmp(w->subject, subject) != 0) {
        char peer[PEER_TEXT];
        struct buf b = buf_on(w->text, sizeof w->text);
        peer_text(from, peer);
        audit_put_who(a->id, peer, subject, &b);
        bool fits = !b.full && strlen(subject) < sizeof w->subject;
        w->association = fits ? a->id : 0; /* no association has this number */
        w->peer = *from;
        if (fits)
            memcpy(w->subject, subject, strlen(subject) + 1);
        w->n = b.n;
        if (b.full)
            return BYTES_NONE;
    }
    return bytes_of(w->text, w->n);
}

void gate_record_decision(struct gate *g, const struct arrival *in, const struct request *r,
                          const struct pep_decision *d, uint8_t code)
{
    if (!g->audit)
        return;
    if (d->verdict == POLICY_PERMIT && g->config->audit_permits == AUDIT_PERMITS_NONE)
        return;
    char peer[PEER_TEXT], storage[EXCHANGE_RECORD_MAX];
    struct bytes who = in->assoc ? who_of(g, in->assoc, in->from) : BYTES_NONE;
    if (who.n == 0)
        peer_text(in->from, peer);
    struct audit_start s = start_of(
        g, in->assoc, peer, r->device >= 0 ? upstream_config(g->upstreams, r->device)->name : NULL);
    s.who = who;
    if (in->subject)
        s.subject = in->subject;
    struct exchange *x = in->x;
    struct buf line =
        x ? buf_on(x->room->record, sizeof x->room->record) : buf_on(storage, sizeof storage);
    bool whole = audit_begin(&s, r, d, &line);
    if (code == 0 && x) {
        x->record_n = whole ? line.n : 0;
        return;
    }
    whole = whole && audit_end(code, 0, &line);
    write_out(g, whole, &line);
    if (x)
        x->record_n = 0;
}

static struct audit_start start_of_watch(struct gate *g, struct watch *w, const char *observation,
                                         char peer[PEER_TEXT])
{
    peer_text(&w->assoc->peer, peer);
    struct audit_start s =
        start_of(g, w->assoc, peer, upstream_config(g->upstreams, w->device)->name);
    s.observation = observation;
    s.notified = w->notified;
    return s;
}

/* A device may notify many clients many times a second. So what is permitted
 * within WATCH_RECORD_MS of a record is one record more, and none is left out
 * of the count. */
void gate_record_notified(struct gate *g, struct watch *w, bool judged)
{
    char peer[PEER_TEXT], storage[EXCHANGE_RECORD_MAX];
    struct buf line = buf_on(storage, sizeof storage);
    struct audit_start s = start_of_watch(g, w, "notified", peer);
    struct msg m;
    s.notified = w->unrecorded;
    w->unrecorded = 0;
    w->recorded_ms = instant_ms(g->now);
    bool permitted = !judged || g->again_decision.verdict == POLICY_PERMIT; /* or reported */
    if (!g->audit || (permitted && g->config->audit_permits == AUDIT_PERMITS_NONE))
        return;
    bool whole = judged ? audit_begin(&s, &g->again, &g->again_decision, &line)
                        : gate_watch_reread(g, w, &m) &&
                              audit_begin_watch(&s, &g->again, "permitted",
                                                policy_hash(pep_policy(g->pep)), &line);
    write_out(g, whole && audit_end(MSG_CODE(2, 5), 0, &line), &line);
}

void gate_record_watch_denied(struct gate *g, struct watch *w, uint8_t code)
{
    char peer[PEER_TEXT], storage[EXCHANGE_RECORD_MAX];
    struct buf line = buf_on(storage, sizeof storage);
    struct audit_start s = start_of_watch(g, w, "ended", peer);
    if (g->audit)
        write_out(
            g, audit_begin(&s, &g->again, &g->again_decision, &line) && audit_end(code, 0, &line),
            &line);
}

void gate_record_watch_end(struct gate *g, struct watch *w, const char *reason, uint8_t code)
{
    char peer[PEER_TEXT], storage[EXCHANGE_RECORD_MAX];
    struct buf line = buf_on(storage, sizeof storage);
    struct audit_start s = start_of_watch(g, w, "ended", peer);
    const char *hash = policy_hash(pep_policy(g->pep));
    if (g->audit)
        write_out(
            g, audit_begin_watch(&s, &g->again, reason, hash, &line) && audit_end(code, 0, &line),
            &line);
}

void gate_record_end(struct gate *g, struct exchange *x, uint8_t code)
{
    if (!x || x->record_n == 0)
        return;
    struct buf line = {(uint8_t *)x->room->record, x->record_n, sizeof x->room->record, false};
    if (x->up_end == UP_CACHED || x->up_end == UP_VALIDATED)
        audit_put_source(x->up_end == UP_CACHED ? "cache" : "validated", &line);
    bool whole = audit_end(code, g->now.mono_us - x->born.mono_us, &line);
    write_out(g, whole, &line);
    x->record_n = 0;
}

void gate_record_token(struct gate *g, struct assoc *a, const struct peer *from, enum pep_via via,
                       const struct pep_taken *t)
{
    if (!g->audit)
        return;
    char peer[PEER_TEXT], storage[EXCHANGE_RECORD_MAX];
    peer_text(from, peer);
    struct audit_start s = start_of(g, a, peer, NULL);
    struct buf line = buf_on(storage, sizeof storage);
    bool whole = audit_begin_token(&s, via, t, policy_hash(pep_policy(g->pep)), &line) &&
                 audit_end(t->code, 0, &line);
    write_out(g, whole, &line);
}

void gate_record_event(struct gate *g, struct audit_event *e)
{
    if (!g->audit)
        return;
    char storage[EXCHANGE_RECORD_MAX];
    struct buf line = buf_on(storage, sizeof storage);
    e->wall_s = g->now.wall_s;
    e->wall_us = g->now.wall_us;
    write_out(g, audit_event(e, policy_hash(pep_policy(g->pep)), &line), &line);
}
