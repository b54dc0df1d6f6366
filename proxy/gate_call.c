#include "gate_call_inside.h"

#include <stdlib.h>

/* Who has not spoken yet is looked for among all associations, this often. */
enum { LOOK_AROUND_MS = 1000 };

bool gate_open_calls(struct gate *g)
{
    for (size_t i = 0; i < g->config->n_listeners; i++)
        if (g->config->listeners[i].notifies) {
            g->calls = calloc(1, sizeof *g->calls);
            if (!g->calls)
                return false;
            for (size_t k = 0; k < NOTIFY_CALLS; k++)
                g->calls->list[k].room = &g->calls->rooms[k];
            gate_random(g, &g->calls->speakers.seed, sizeof g->calls->speakers.seed);
            return true;
        }
    return true;
}

void gate_close_calls(struct gate *g)
{
    free(g->calls);
    g->calls = NULL;
}

/* ---- who speaks for an AE ---- */

void gate_call_spoke(struct gate *g, const struct assoc *a, int device, struct bytes ae_id)
{
    if (g->calls && ae_id.n > 0 &&
        speakers_note(&g->calls->speakers, device, ae_id, a->id, g->worker))
        call_tell_spoke(g, a, device, ae_id);
}

static bool speaks(const struct assoc *a, int device, struct bytes ae_id)
{
    return a && !a->dead && a->session && pep_session_speaks_for(a->session, device, ae_id);
}

struct search {
    int device;
    struct bytes ae_id;
    struct assoc *found;
};

/* Of several the youngest: who has come back has left the others behind. */
static void look_at(void *user, struct assoc *a)
{
    struct search *s = user;
    if ((!s->found || s->found->id < a->id) && speaks(a, s->device, s->ae_id))
        s->found = a;
}

struct assoc *call_speaker(struct gate *g, int device, struct bytes ae_id)
{
    struct calls *t = g->calls;
    struct search s = {.device = device, .ae_id = ae_id};
    uint64_t now_ms = instant_ms(g->now);
    const struct speaker *last = speakers_find(&t->speakers, device, ae_id);
    struct assoc *a =
        last && last->worker == g->worker ? assocs_find(g->assocs, last->assoc) : NULL;
    if (speaks(a, device, ae_id))
        return a;
    if (t->looked_ms && now_ms < t->looked_ms + LOOK_AROUND_MS)
        return NULL;
    t->looked_ms = now_ms;
    assocs_each(g->assocs, look_at, &s);
    if (s.found)
        gate_call_spoke(g, s.found, device, ae_id);
    return s.found;
}

/* ---- the table ---- */

struct call *call_take(struct calls *t)
{
    struct call *best = NULL;
    for (size_t i = 0; i < NOTIFY_CALLS && !(best && best->state == CALL_FREE); i++) {
        struct call *c = &t->list[i];
        if (c->state == CALL_FREE || (c->state == CALL_OVER && (!best || c->id < best->id)))
            best = c;
    }
    if (!best)
        return NULL;
    *best = (struct call){.id = CALL_ID | ++t->last, .room = best->room};
    t->n_open++;
    return best;
}

struct call *call_find(struct calls *t, uint64_t id)
{
    for (size_t i = 0; i < NOTIFY_CALLS; i++)
        if (t->list[i].state != CALL_FREE && t->list[i].id == id)
            return &t->list[i];
    return NULL;
}

/* What it said may be private, and is not kept until the slot is used again. */
static void close_call(struct gate *g, struct call *c)
{
    if (c->kept)
        exchange_unsay(g->exchanges, c->kept, c->id);
    c->kept = NULL;
    c->state = c->assoc ? CALL_OVER : CALL_FREE;
    c->due_ms = UINT64_MAX;
    explicit_bzero(c->room->request, c->n);
    c->n = 0;
    g->calls->n_open--;
}

/* ---- its end ---- */

static struct exchange *asker_of(struct gate *g, const struct call *c)
{
    struct exchange *x = c->remote ? NULL : exchange_at_slot(g->exchanges, c->slot);
    return x && x->state == EXCHANGE_OPEN && x->called == c->id ? x : NULL;
}

static void answer_cse(struct gate *g, struct exchange *x, const struct msg *m,
                       enum exchange_up_end how)
{
    static const struct forward_map as_it_is = {NULL, 0, NULL, 0};
    struct msg rest, out;
    struct m2m_values v;
    struct m2m_dress dress;
    uint8_t age[4];
    x->called = 0;
    x->up_end = how;
    bool good = m && m2m_split(m, M2M_CURRENT, &v, &rest) &&
                forward_response(&g->forward, &rest, &as_it_is, &out) == 0 &&
                m2m_join(&v, (enum m2m_numbering)(x->m2m - 1), &out);
    if (!good) {
        gate_msg(&out, how == UP_FULL ? MSG_CODE(5, 3) : MSG_CODE(5, 0));
        if (how == UP_FULL && !msg_add_uint(&out, OPT_MAX_AGE, DEVICE_MAX_AGE_S, age))
            out.n_options = 0;
        gate_m2m_dress_late(g, x, &out, !m, &dress);
    }
    exchange_answer(g->exchanges, x, &out, g->now);
    gate_record_end(g, x, out.code);
}

static void end_call(struct gate *g, struct call *c, const struct msg *m, enum exchange_up_end how)
{
    struct exchange *x = asker_of(g, c);
    if (c->remote)
        call_mail_over(g, c, m, how);
    close_call(g, c);
    if (x)
        answer_cse(g, x, m, how);
}

/* ---- to the client ---- */

/* False: it cannot be told to this client. */
static bool write_call(const struct gate *g, const struct call *c, const struct assoc *a,
                       struct msg *out)
{
    struct msg m;
    struct m2m_values v;
    uint8_t text[MESSAGE_MAX];
    size_t max = a->conn ? conn_message_max(a->conn) : sizeof text;
    struct buf b = buf_on(text, max < sizeof text ? max : sizeof text);
    const struct m2m_cse *cse = upstream_config(g->upstreams, c->device)->cse;
    enum m2m_numbering n = a->m2m ? (enum m2m_numbering)(a->m2m - 1) : cse->options;
    if (msg_parse(bytes_of(c->room->request, c->n), &m) != MSG_OK ||
        !m2m_split(&m, M2M_CURRENT, &v, out) || !m2m_join(&v, n, out))
        return false;
    out->type = TYPE_CON;
    out->token_n = sizeof c->id;
    memcpy(out->token, &c->id, sizeof c->id);
    return msg_write(out, &b);
}

static void send_call(struct gate *g, struct call *c, struct assoc *a)
{
    struct msg m;
    struct exchange *kept = NULL;
    if (!write_call(g, c, a, &m)) {
        end_call(g, c, NULL, UP_TOO_LARGE);
        return;
    }
    c->state = CALL_SENT;
    /* Beyond the last transmission, should its slot have had to give way. */
    c->due_ms = instant_ms(g->now) + MAX_TRANSMIT_WAIT_MS + ACK_TIMEOUT_MS;
    if (!exchange_notify(g->exchanges, a, c->id, &m, g->now, &kept)) {
        end_call(g, c, NULL, UP_FULL);
        return;
    }
    g->stats.called++;
    c->kept = kept;
    if (!kept) { /* TCP's to see to */
        c->state = CALL_HEARD;
        c->due_ms = instant_ms(g->now) + NOTIFY_ANSWER_MS;
    }
}

/* The oldest that waits for this client; NULL also while another is unheard. */
static struct call *next_for(struct calls *t, uint64_t assoc)
{
    struct call *next = NULL;
    for (size_t i = 0; i < NOTIFY_CALLS; i++) {
        struct call *c = &t->list[i];
        if (c->assoc == assoc && c->state == CALL_SENT)
            return NULL;
        if (c->assoc == assoc && c->state == CALL_WAITS && (!next || c->id < next->id))
            next = c;
    }
    return next;
}

/* Each comes to an end, or is under way. */
static void send_next(struct gate *g, uint64_t assoc)
{
    struct assoc *a = assoc ? assocs_find(g->assocs, assoc) : NULL;
    for (struct call *c; a && !a->dead && (c = next_for(g->calls, assoc)) != NULL;)
        send_call(g, c, a);
}

void call_finish(struct gate *g, struct call *c, const struct msg *m, enum exchange_up_end how)
{
    uint64_t assoc = c->assoc;
    end_call(g, c, m, how);
    send_next(g, assoc);
}

void call_begin(struct gate *g, struct call *c, struct assoc *a)
{
    c->assoc = a->id;
    c->state = CALL_WAITS;
    c->due_ms = instant_ms(g->now) + MAX_TRANSMIT_WAIT_MS;
    send_next(g, a->id);
}

/* First where the AE-ID was used last; a client that has come back may have
 * left an association behind elsewhere. Then here, then each of the others. */
void call_place(struct gate *g, struct call *c)
{
    struct bytes ae_id = bytes_of(c->room->ae, c->ae_n);
    const struct speaker *last = speakers_find(&g->calls->speakers, c->device, ae_id);
    if (g->crew && last && last->worker != g->worker && !(c->asked >> last->worker & 1) &&
        call_ask(g, c, last->worker))
        return;
    if (!(c->asked >> g->worker & 1)) {
        c->asked |= UINT32_C(1) << g->worker;
        struct assoc *a = call_speaker(g, c->device, ae_id);
        if (a) {
            call_begin(g, c, a);
            return;
        }
    }
    for (unsigned i = 0; g->crew && i < crew_size(g->crew); i++)
        if (!(c->asked >> i & 1) && call_ask(g, c, i))
            return;
    end_call(g, c, NULL, UP_REFUSED);
}

bool gate_call(struct gate *g, struct exchange *x, int device, struct bytes ae_id,
               const struct msg *m)
{
    x->up_end = UP_FULL;
    struct call *c = ae_id.n <= M2M_ID_MAX ? call_take(g->calls) : NULL;
    if (!c)
        return false;
    struct buf b = buf_on(c->room->request, sizeof c->room->request);
    struct msg bare = *m;
    bare.type = TYPE_CON;
    bare.mid = 0;
    bare.token_n = 0;
    if (!msg_write(&bare, &b)) {
        x->up_end = UP_TOO_LARGE;
        close_call(g, c);
        return false;
    }
    c->n = b.n;
    c->device = device;
    c->ae_n = (uint8_t)ae_id.n;
    if (ae_id.n)
        memcpy(c->room->ae, ae_id.p, ae_id.n);
    c->slot = exchange_slot(g->exchanges, x);
    x->called = c->id;
    call_place(g, c);
    return true;
}

/* ---- from the client ---- */

bool gate_call_heard(struct gate *g, uint64_t id, enum exchange_heard heard)
{
    if (!(id & CALL_ID))
        return false;
    struct call *c = call_find(g->calls, id);
    if (!c || c->state != CALL_SENT)
        return true;
    c->kept = NULL;
    if (heard == HEARD_ACK) {
        c->state = CALL_HEARD;
        c->due_ms = instant_ms(g->now) + NOTIFY_ANSWER_MS;
        send_next(g, c->assoc);
    } else {
        call_finish(g, c, NULL, heard == HEARD_RESET ? UP_RESET : UP_REFUSED);
    }
    return true;
}

/* In the current numbering, whatever it came in. */
static bool put_current(const struct assoc *a, const struct m2m_cse *cse, const struct msg *in,
                        struct msg *out)
{
    struct m2m_values v;
    enum m2m_seen seen = m2m_recognise(in);
    enum m2m_numbering n = seen == M2M_SEEN_CURRENT  ? M2M_CURRENT
                           : seen == M2M_SEEN_LEGACY ? M2M_LEGACY
                           : a->m2m                  ? (enum m2m_numbering)(a->m2m - 1)
                                                     : cse->options;
    return m2m_split(in, n, &v, out) && m2m_join(&v, M2M_CURRENT, out);
}

bool gate_call_answered(struct gate *g, const struct arrival *in)
{
    uint64_t id;
    struct msg m;
    if (!g->calls || !in->assoc || in->m->token_n != sizeof id || !msg_is_response(in->m))
        return false;
    memcpy(&id, in->m->token, sizeof id);
    struct call *c = call_find(g->calls, id);
    if (!c || c->assoc != in->assoc->id || c->state < CALL_SENT)
        return false;
    if (c->state == CALL_OVER)
        return true; /* it has not seen our ACK */
    const struct m2m_cse *cse = upstream_config(g->upstreams, c->device)->cse;
    bool good = put_current(in->assoc, cse, in->m, &m);
    g->stats.called_answered += good;
    call_finish(g, c, good ? &m : NULL, good ? UP_ANSWERED : UP_RESET);
    return true;
}

/* ---- its ends ---- */

void gate_forget_calls(struct gate *g, struct assoc *a)
{
    for (size_t i = 0; g->calls && i < NOTIFY_CALLS; i++) {
        struct call *c = &g->calls->list[i];
        if (c->state == CALL_FREE || c->assoc != a->id)
            continue;
        c->assoc = 0;
        if (c->state == CALL_OVER)
            c->state = CALL_FREE;
        else
            end_call(g, c, NULL, UP_REFUSED);
    }
}

uint64_t gate_calls_deadline_ms(const struct gate *g)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; g->calls && g->calls->n_open && i < NOTIFY_CALLS; i++)
        if (g->calls->list[i].state != CALL_FREE && g->calls->list[i].due_ms < first)
            first = g->calls->list[i].due_ms;
    return first;
}

void gate_expire_calls(struct gate *g)
{
    for (size_t i = 0; g->calls && g->calls->n_open && i < NOTIFY_CALLS; i++) {
        struct call *c = &g->calls->list[i];
        if (c->state != CALL_FREE && c->state != CALL_OVER && instant_ms(g->now) >= c->due_ms)
            call_finish(g, c, NULL, c->state == CALL_HEARD ? UP_SILENT : UP_REFUSED);
    }
}
