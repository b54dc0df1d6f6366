/* Calls with several workers: each has its own associations. A call goes where
 * its AE-ID was used last, and then from one to the next; where the client is,
 * it is a remote call of that worker's, and what came of it is mailed back. */
#include "gate_call_inside.h"
#include "mail.h"

struct call_mail {
    struct mail_head head;
    uint64_t number;
    int device;
    uint8_t ae_n, ae[M2M_ID_MAX];
};

struct called_mail {
    struct mail_head head;
    uint64_t number;
    bool here, answered;
    uint8_t up_end;
};

/* Told to all: who has used an AE-ID last. */
struct spoke_told {
    struct mail_head head;
    unsigned worker;
    int device;
    uint64_t assoc;
    uint8_t ae_n, ae[M2M_ID_MAX];
};

_Static_assert(CREW_MAX <= 32, "call.asked has a bit for each");

bool call_ask(struct gate *g, struct call *c, unsigned worker)
{
    struct call_mail q = {.head = {MAIL_CALL}, .number = c->id, .device = c->device};
    q.ae_n = c->ae_n;
    memcpy(q.ae, c->room->ae, c->ae_n);
    const struct bytes parts[] = {bytes_of(&q, sizeof q), bytes_of(c->room->request, c->n)};
    c->asked |= UINT32_C(1) << worker;
    if (!crew_mail(g->crew, g->worker, worker, CREW_ASK, parts, 2))
        return false;
    c->state = CALL_ELSEWHERE;
    c->due_ms = instant_ms(g->now) + MAX_TRANSMIT_WAIT_MS + 2 * NOTIFY_ANSWER_MS;
    return true;
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

void call_mail_over(struct gate *g, const struct call *c, const struct msg *m,
                    enum exchange_up_end how)
{
    mail_called(g, c->worker, c->number, true, m, how);
}

static void take_call(struct gate *g, unsigned from, struct bytes message)
{
    struct call_mail q;
    if (message.n < sizeof q)
        return;
    memcpy(&q, message.p, sizeof q);
    struct bytes request = bytes_of(message.p + sizeof q, message.n - sizeof q);
    struct assoc *a = call_speaker(g, q.device, bytes_of(q.ae, q.ae_n));
    struct call *c = a && request.n <= MESSAGE_MAX ? call_take(g->calls) : NULL;
    if (!c) {
        mail_called(g, from, q.number, a != NULL, NULL, a ? UP_FULL : UP_REFUSED);
        return;
    }
    c->remote = true;
    c->worker = from;
    c->number = q.number;
    c->device = q.device;
    memcpy(c->room->request, request.p, request.n);
    c->n = request.n;
    call_begin(g, c, a);
}

static void take_called(struct gate *g, struct bytes message)
{
    struct called_mail r;
    struct msg m;
    if (message.n < sizeof r)
        return;
    memcpy(&r, message.p, sizeof r);
    struct bytes text = bytes_of(message.p + sizeof r, message.n - sizeof r);
    struct call *c = call_find(g->calls, r.number);
    if (!c || c->state != CALL_ELSEWHERE)
        return;
    if (!r.here)
        call_place(g, c);
    else
        call_finish(g, c, r.answered && msg_parse(text, &m) == MSG_OK ? &m : NULL,
                    (enum exchange_up_end)r.up_end);
}

bool gate_take_call_mail(struct gate *g, unsigned from, struct bytes message)
{
    if (!g->calls)
        return false;
    switch (mail_kind(message)) {
    case MAIL_CALL:
        take_call(g, from, message);
        return true;
    case MAIL_CALLED:
        take_called(g, message);
        return true;
    default:
        return false;
    }
}

void call_tell_spoke(struct gate *g, const struct assoc *a, int device, struct bytes ae_id)
{
    struct spoke_told s = {
        .head = {MAIL_SPOKE}, .worker = g->worker, .device = device, .assoc = a->id};
    if (!g->crew || ae_id.n > sizeof s.ae || !crew_may_tell(g->crew, sizeof s))
        return; /* it is found by asking each */
    s.ae_n = (uint8_t)ae_id.n;
    memcpy(s.ae, ae_id.p, ae_id.n);
    const struct bytes part = bytes_of(&s, sizeof s);
    (void)!crew_tell(g->crew, g->worker, &part, 1);
}

bool gate_take_spoke(struct gate *g, struct bytes message)
{
    struct spoke_told m;
    if (!g->calls || mail_kind(message) != MAIL_SPOKE || message.n != sizeof m)
        return false;
    memcpy(&m, message.p, sizeof m);
    if (m.worker != g->worker)
        (void)speakers_note(&g->calls->speakers, m.device, bytes_of(m.ae, m.ae_n), m.assoc,
                            m.worker);
    return true;
}
