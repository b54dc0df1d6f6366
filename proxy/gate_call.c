#include "gate_call.h"

#include <stdlib.h>

#include "../policy/siphash.h"
#include "mail.h"

enum {
    SPEAKERS = 1024, /* AE-IDs whose association is known at once; a power of two */
    /* Who has not spoken yet is looked for among all associations. */
    LOOK_AROUND_MS = 1000,
};

#define CALL_ID (UINT64_C(1) << 63) /* among the numbers of exchange_notify() */

enum call_state {
    CALL_FREE = 0,
    CALL_ELSEWHERE, /* another worker is asked whether it has the client */
    CALL_WAITS,     /* for the one before it to the same client */
    CALL_SENT,
    CALL_HEARD, /* acknowledged, its answer to come */
    CALL_OVER,  /* known so that a repeated answer is acknowledged, until the slot is needed */
};

struct call {
    enum call_state state;
    uint64_t id;
    /* Who asked: a CSE's request here, or one of another worker's. */
    uint32_t slot;
    bool remote;
    unsigned worker; /* whose it is, of a remote one */
    uint64_t number; /* it is known as there */
    uint64_t asked;  /* bit i: worker i, or this one, has looked for the client */
    int device;
    uint64_t assoc; /* its number */
    uint64_t due_ms;
    struct exchange *kept;
    uint8_t ae_n, ae[M2M_ID_MAX];
    size_t n;
    uint8_t request[MESSAGE_MAX]; /* bare, in the current numbering */
};

struct calls {
    struct siphash_key seed;
    uint64_t last;      /* id given */
    uint64_t looked_ms; /* among all */
    size_t n_open;
    struct speaker {
        uint64_t hash, assoc;
        unsigned worker; /* that has it */
    } speakers[SPEAKERS];
    struct call list[NOTIFY_CALLS];
};

/* What one worker says to another. */
struct call_mail {
    struct mail_head head;
    uint64_t number;
    int device;
    uint8_t ae_n, ae[M2M_ID_MAX];
};

/* Told to all: who has used an AE-ID last. */
struct spoke_told {
    struct mail_head head;
    unsigned worker;
    int device;
    uint64_t assoc;
    uint8_t ae_n, ae[M2M_ID_MAX];
};

struct called_mail {
    struct mail_head head;
    uint64_t number;
    bool here, answered;
    uint8_t up_end;
};

bool gate_open_calls(struct gate *g)
{
    for (size_t i = 0; i < g->config->n_listeners; i++)
        if (g->config->listeners[i].notifies) {
            g->calls = calloc(1, sizeof *g->calls);
            if (g->calls)
                gate_random(g, &g->calls->seed, sizeof g->calls->seed);
            return g->calls != NULL;
        }
    return true;
}

void gate_close_calls(struct gate *g)
{
    free(g->calls);
    g->calls = NULL;
}

/* ---- who speaks for an AE ---- */

static uint64_t hash_of(const struct calls *t, int device, struct bytes ae_id)
{
    return siphash(&t->seed, ae_id) + (uint64_t)(unsigned)device;
}

static struct speaker *speaker_at(struct calls *t, uint64_t hash)
{
    return &t->speakers[hash % SPEAKERS];
}

static void tell_spoke(struct gate *g, const struct assoc *a, int device, struct bytes ae_id)
{
    struct spoke_told s = {
        .head = {MAIL_SPOKE}, .worker = g->worker, .device = device, .assoc = a->id};
    if (ae_id.n > sizeof s.ae || !crew_may_tell(g->crew, sizeof s))
        return; /* it is found by asking each */
    s.ae_n = (uint8_t)ae_id.n;
    memcpy(s.ae, ae_id.p, ae_id.n);
    const struct bytes part = bytes_of(&s, sizeof s);
    (void)!crew_tell(g->crew, g->worker, &part, 1);
}

void gate_call_spoke(struct gate *g, const struct assoc *a, int device, struct bytes ae_id)
{
    if (!g->calls || ae_id.n == 0)
        return;
    uint64_t hash = hash_of(g->calls, device, ae_id);
    struct speaker *s = speaker_at(g->calls, hash);
    if (s->hash == hash && s->assoc == a->id && s->worker == g->worker)
        return;
    *s = (struct speaker){hash, a->id, g->worker};
    if (g->crew)
        tell_spoke(g, a, device, ae_id);
}

bool gate_take_spoke(struct gate *g, struct bytes message)
{
    struct spoke_told m;
    if (!g->calls || mail_kind(message) != MAIL_SPOKE || message.n != sizeof m)
        return false;
    memcpy(&m, message.p, sizeof m);
    uint64_t hash = hash_of(g->calls, m.device, bytes_of(m.ae, m.ae_n));
    if (m.worker != g->worker)
        *speaker_at(g->calls, hash) = (struct speaker){hash, m.assoc, m.worker};
    return true;
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

static struct assoc *find_speaker(struct gate *g, int device, struct bytes ae_id)
{
    struct calls *t = g->calls;
    uint64_t hash = hash_of(t, device, ae_id), now_ms = instant_ms(g->now);
    struct search s = {.device = device, .ae_id = ae_id};
    const struct speaker *last = speaker_at(t, hash);
    if (last->hash == hash && last->worker == g->worker) {
        struct assoc *a = assocs_find(g->assocs, last->assoc);
        if (speaks(a, device, ae_id))
            return a;
    }
    if (t->looked_ms && now_ms < t->looked_ms + LOOK_AROUND_MS)
        return NULL;
    t->looked_ms = now_ms;
    assocs_each(g->assocs, look_at, &s);
    if (s.found)
        gate_call_spoke(g, s.found, device, ae_id);
    return s.found;
}

/* ---- the table ---- */

static struct call *take_call(struct calls *t)
{
    struct call *best = NULL;
    for (size_t i = 0; i < NOTIFY_CALLS; i++) {
        struct call *c = &t->list[i];
        if (c->state == CALL_FREE)
            best = c;
        else if (c->state == CALL_OVER && (!best || (best->state == CALL_OVER && c->id < best->id)))
            best = c;
        if (best && best->state == CALL_FREE)
            break;
    }
    if (!best)
        return NULL;
    memset(best, 0, offsetof(struct call, request));
    best->id = CALL_ID | ++t->last;
    t->n_open++;
    return best;
}

static struct call *find_call(struct calls *t, uint64_t id)
{
    for (size_t i = 0; t && i < NOTIFY_CALLS; i++)
        if (t->list[i].state != CALL_FREE && t->list[i].id == id)
            return &t->list[i];
    return NULL;
}

/* Not retained in a slot that is used again soon: what it said may be private. */
static void close_call(struct gate *g, struct call *c)
{
    if (c->kept)
        exchange_unsay(g->exchanges, c->kept, c->id);
    c->kept = NULL;
    c->state = c->assoc ? CALL_OVER : CALL_FREE;
    explicit_bzero(c->request, c->n);
    c->n = 0;
    c->due_ms = UINT64_MAX;
    g->calls->n_open--;
}

static void start_next(struct gate *g, uint64_t assoc);

/* ---- its end ---- */

static struct exchange *asker_of(struct gate *g, const struct call *c)
{
    struct exchange *x = exchange_at_slot(g->exchanges, c->slot);
    return x && x->state == EXCHANGE_OPEN && x->called == c->id ? x : NULL;
}

/* To the CSE: `m` is the client's answer, oneM2M options in the current
 * numbering, or NULL. */
static void answer_cse(struct gate *g, struct exchange *x, const struct msg *m,
                       enum exchange_up_end how)
{
    static const struct forward_map as_it_is = {NULL, 0, NULL, 0};
    struct msg rest, out;
    struct m2m_values v;
    struct m2m_dress dress;
    x->called = 0;
    x->up_end = how;
    bool good = m && m2m_split(m, M2M_CURRENT, &v, &rest) &&
                forward_response(&g->forward, &rest, &as_it_is, &out) == 0 &&
                m2m_join(&v, (enum m2m_numbering)(x->m2m - 1), &out);
    if (!good) {
        gate_msg(&out, how == UP_FULL ? MSG_CODE(5, 3) : MSG_CODE(5, 0));
        gate_m2m_dress_late(g, x, &out, !m, &dress);
    }
    exchange_answer(g->exchanges, x, &out, g->now);
    gate_record_end(g, x, out.code);
}

static void mail_called(struct gate *g, unsigned to, uint64_t number, bool here,
                        const struct msg *m, enum exchange_up_end how)
{
    uint8_t text[MESSAGE_MAX];
    struct buf b = buf_on(text, sizeof text);
    bool answered = m && msg_write(m, &b);
    const struct called_mail r = {{MAIL_CALLED}, number, here, answered, (uint8_t)how};
    const struct bytes parts[] = {bytes_of(&r, sizeof r), answered ? buf_bytes(&b) : BYTES_NONE};
    /* Without room it is as if the client had not answered. */
    (void)!crew_mail(g->crew, g->worker, to, CREW_REPLY, parts, 2);
}

static void finish(struct gate *g, struct call *c, const struct msg *m, enum exchange_up_end how)
{
    uint64_t assoc = c->assoc;
    if (c->remote) {
        mail_called(g, c->worker, c->number, true, m, how);
        close_call(g, c);
    } else {
        struct exchange *x = asker_of(g, c);
        close_call(g, c);
        if (x)
            answer_cse(g, x, m, how);
    }
    if (assoc)
        start_next(g, assoc);
}

/* ---- to the client ---- */

static bool is_busy(const struct calls *t, uint64_t assoc)
{
    for (size_t i = 0; i < NOTIFY_CALLS; i++)
        if (t->list[i].state == CALL_SENT && t->list[i].assoc == assoc)
            return true;
    return false;
}

static void send_call(struct gate *g, struct call *c, struct assoc *a)
{
    struct msg m, rest;
    struct m2m_values v;
    const struct m2m_cse *cse = upstream_config(g->upstreams, c->device)->cse;
    enum m2m_numbering n = a->m2m ? (enum m2m_numbering)(a->m2m - 1) : cse->options;
    if (msg_parse(bytes_of(c->request, c->n), &m) != MSG_OK ||
        !m2m_split(&m, M2M_CURRENT, &v, &rest) || !m2m_join(&v, n, &rest)) {
        finish(g, c, NULL, UP_RESET); /* its numbering has no word for it */
        return;
    }
    rest.type = TYPE_CON;
    rest.token_n = MSG_TOKEN_MAX;
    memcpy(rest.token, &c->id, sizeof c->id);
    c->state = CALL_SENT;
    /* Beyond the last transmission, should its slot have had to give way. */
    c->due_ms = instant_ms(g->now) + MAX_TRANSMIT_WAIT_MS + ACK_TIMEOUT_MS;
    struct exchange *kept = NULL;
    uint64_t id = c->id;
    bool sent = exchange_notify(g->exchanges, a, id, &rest, g->now, &kept);
    if (c->state != CALL_SENT || c->id != id)
        return;
    if (!sent) {
        finish(g, c, NULL, UP_FULL);
        return;
    }
    c->kept = kept;
    if (kept)
        return;
    c->state = CALL_HEARD; /* TCP's to see to */
    c->due_ms = instant_ms(g->now) + NOTIFY_ANSWER_MS;
}

static void begin(struct gate *g, struct call *c, struct assoc *a)
{
    c->assoc = a->id;
    c->state = CALL_WAITS;
    c->due_ms = instant_ms(g->now) + MAX_TRANSMIT_WAIT_MS;
    if (!is_busy(g->calls, a->id))
        send_call(g, c, a);
}

static void start_next(struct gate *g, uint64_t assoc)
{
    struct calls *t = g->calls;
    struct call *next = NULL;
    for (size_t i = 0; i < NOTIFY_CALLS; i++) {
        struct call *c = &t->list[i];
        if (c->state == CALL_WAITS && c->assoc == assoc && (!next || c->id < next->id))
            next = c;
    }
    struct assoc *a = next && !is_busy(t, assoc) ? assocs_find(g->assocs, assoc) : NULL;
    if (a && !a->dead)
        send_call(g, next, a);
}

/* ---- whoever has the client ---- */

static bool ask(struct gate *g, struct call *c, unsigned worker)
{
    struct call_mail q = {.head = {MAIL_CALL}, .number = c->id, .device = c->device};
    q.ae_n = c->ae_n;
    memcpy(q.ae, c->ae, c->ae_n);
    const struct bytes parts[] = {bytes_of(&q, sizeof q), bytes_of(c->request, c->n)};
    c->asked |= UINT64_C(1) << worker;
    if (!crew_mail(g->crew, g->worker, worker, CREW_ASK, parts, 2))
        return false;
    c->state = CALL_ELSEWHERE;
    c->due_ms = instant_ms(g->now) + MAX_TRANSMIT_WAIT_MS + 2 * NOTIFY_ANSWER_MS;
    return true;
}

/* First where the AE-ID was used last; a client that has come back may have
 * left an association behind elsewhere. Then here, then each of the others. */
static void place(struct gate *g, struct call *c)
{
    struct bytes ae_id = bytes_of(c->ae, c->ae_n);
    uint64_t hash = hash_of(g->calls, c->device, ae_id);
    const struct speaker *last = speaker_at(g->calls, hash);
    bool elsewhere = g->crew && last->hash == hash && last->worker != g->worker;
    if (elsewhere && !(c->asked >> last->worker & 1) && ask(g, c, last->worker))
        return;
    if (!(c->asked >> g->worker & 1)) {
        c->asked |= UINT64_C(1) << g->worker;
        struct assoc *a = find_speaker(g, c->device, ae_id);
        if (a) {
            begin(g, c, a);
            return;
        }
    }
    for (unsigned i = 0; g->crew && i < crew_size(g->crew); i++)
        if (!(c->asked >> i & 1) && ask(g, c, i))
            return;
    finish(g, c, NULL, UP_REFUSED);
}

bool gate_call(struct gate *g, struct exchange *x, int device, struct bytes ae_id,
               const struct msg *m)
{
    x->up_end = UP_FULL;
    struct call *c = ae_id.n <= M2M_ID_MAX ? take_call(g->calls) : NULL;
    if (!c)
        return false;
    struct buf b = buf_on(c->request, sizeof c->request);
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
        memcpy(c->ae, ae_id.p, ae_id.n);
    c->slot = exchange_slot(g->exchanges, x);
    x->called = c->id;
    place(g, c);
    return true;
}

static void take_call_mail(struct gate *g, unsigned from, struct bytes message)
{
    struct call_mail q;
    if (message.n < sizeof q)
        return;
    memcpy(&q, message.p, sizeof q);
    struct bytes request = bytes_of(message.p + sizeof q, message.n - sizeof q);
    struct assoc *a = find_speaker(g, q.device, bytes_of(q.ae, q.ae_n));
    struct call *c = a && request.n <= MESSAGE_MAX ? take_call(g->calls) : NULL;
    if (!c) {
        mail_called(g, from, q.number, a != NULL, NULL, a ? UP_FULL : UP_REFUSED);
        return;
    }
    c->remote = true;
    c->worker = from;
    c->number = q.number;
    c->device = q.device;
    memcpy(c->request, request.p, request.n);
    c->n = request.n;
    begin(g, c, a);
}

static void take_called_mail(struct gate *g, struct bytes message)
{
    struct called_mail r;
    struct msg m;
    if (message.n < sizeof r)
        return;
    memcpy(&r, message.p, sizeof r);
    struct bytes text = bytes_of(message.p + sizeof r, message.n - sizeof r);
    struct call *c = find_call(g->calls, r.number);
    if (!c || c->state != CALL_ELSEWHERE)
        return;
    if (!r.here)
        place(g, c);
    else
        finish(g, c, r.answered && msg_parse(text, &m) == MSG_OK ? &m : NULL,
               (enum exchange_up_end)r.up_end);
}

bool gate_take_call_mail(struct gate *g, unsigned from, struct bytes message)
{
    if (!g->calls)
        return false;
    switch (mail_kind(message)) {
    case MAIL_CALL:
        take_call_mail(g, from, message);
        return true;
    case MAIL_CALLED:
        take_called_mail(g, message);
        return true;
    default:
        return false;
    }
}

/* ---- from the client ---- */

bool gate_call_heard(struct gate *g, uint64_t id, enum exchange_heard heard)
{
    if (!(id & CALL_ID))
        return false;
    struct call *c = find_call(g->calls, id);
    if (!c || c->state != CALL_SENT)
        return true;
    c->kept = NULL;
    if (heard != HEARD_ACK) {
        finish(g, c, NULL, heard == HEARD_RESET ? UP_RESET : UP_REFUSED);
        return true;
    }
    c->state = CALL_HEARD;
    c->due_ms = instant_ms(g->now) + NOTIFY_ANSWER_MS;
    start_next(g, c->assoc);
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
    struct call *c = NULL;
    uint64_t id;
    if (!g->calls || !in->assoc || in->m->token_n != sizeof id || !msg_is_response(in->m))
        return false;
    memcpy(&id, in->m->token, sizeof id);
    c = find_call(g->calls, id);
    if (!c || c->assoc != in->assoc->id || c->state < CALL_SENT)
        return false;
    if (c->state == CALL_OVER)
        return true; /* it has not seen our ACK */
    struct msg m;
    const struct m2m_cse *cse = upstream_config(g->upstreams, c->device)->cse;
    if (put_current(in->assoc, cse, in->m, &m))
        finish(g, c, &m, UP_ANSWERED);
    else
        finish(g, c, NULL, UP_RESET);
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
            finish(g, c, NULL, UP_REFUSED);
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
            finish(g, c, NULL, c->state == CALL_HEARD ? UP_SILENT : UP_REFUSED);
    }
}
