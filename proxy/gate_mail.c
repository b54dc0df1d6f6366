/* Devices that another worker has. The client's side mails the request, which
 * that worker serves under an exchange of its own, a guest, and mails back
 * what came of it. So one worker alone keeps a device's window, queue, health
 * and cache, whoever asks.
 *
 * A request goes by its slot and a number that is never used again: what
 * comes late for a slot that has another by then is for nobody. */
#include "gate_internal.h"
#include "gate_call.h"
#include "gate_notify.h"

#include <stdlib.h>

#include "mail.h"

struct gate_mail {
    uint64_t last;  /* number given to a request */
    size_t n_slots; /* of each worker's table */
    size_t unsent;
    /* By worker and its slot: our slot, plus one. */
    uint32_t guests[];
};

struct serve {
    struct mail_head head;
    uint8_t type, method;
    uint32_t slot;
    int device;
    uint32_t policies; /* by which of them it was judged */
    uint64_t number, client;
    int64_t ends_s;
};

struct served {
    struct mail_head head;
    uint8_t up_end;
    bool answered;
    bool refused; /* it was not taken at all */
    uint32_t slot;
    uint64_t number;
};

struct unserve {
    struct mail_head head;
    uint32_t slot;
    uint64_t number;
};

struct moved {
    struct mail_head head;
    int listener;
    struct peer from;
};

struct links {
    struct mail_head head;
    int device;
    uint64_t due_ms;
};

struct gate_mail *gate_mail_new(unsigned workers, size_t max_exchanges)
{
    struct gate_mail *m = calloc(1, sizeof *m + workers * max_exchanges * sizeof m->guests[0]);
    if (m)
        m->n_slots = max_exchanges;
    return m;
}

void gate_mail_free(struct gate_mail *m)
{
    free(m);
}

bool gate_is_elsewhere(const struct gate *g, int device)
{
    return g->crew && gate_owner((size_t)device, crew_size(g->crew)) != g->worker;
}

/* Without type, message ID and token: each side has its own. */
static bool write_bare(const struct msg *m, struct buf *out)
{
    struct msg bare = *m;
    bare.type = TYPE_NON;
    bare.mid = 0;
    bare.token_n = 0;
    return msg_write(&bare, out);
}

static bool read_head(struct bytes message, void *head, size_t n, struct bytes *rest)
{
    if (message.n < n)
        return false;
    memcpy(head, message.p, n);
    *rest = bytes_of(message.p + n, message.n - n);
    return true;
}

/* ---- the client's side ---- */

bool gate_mail_serve(struct gate *g, struct exchange *x, int device, struct msg *m)
{
    uint8_t text[MESSAGE_MAX];
    struct buf b = buf_on(text, sizeof text);
    x->up_end = UP_TOO_LARGE;
    if (!write_bare(m, &b))
        return false;
    const struct serve s = {.head = {MAIL_SERVE},
                            .type = x->type,
                            .method = x->method,
                            .slot = exchange_slot(g->exchanges, x),
                            .device = device,
                            .policies = g->policies,
                            .number = ++g->mail->last,
                            .client = x->client,
                            .ends_s = x->ends_s};
    const struct bytes parts[] = {bytes_of(&s, sizeof s), buf_bytes(&b)};
    x->up_end = UP_FULL;
    if (!crew_mail(g->crew, g->worker, gate_owner((size_t)device, crew_size(g->crew)), CREW_ASK,
                   parts, 2))
        return false;
    x->mailed = s.number;
    return true;
}

/* Should this have no room, the device is asked for nobody. */
void gate_mail_unserve(struct gate *g, struct exchange *x)
{
    const struct unserve u = {{MAIL_UNSERVE}, exchange_slot(g->exchanges, x), x->mailed};
    const struct bytes part = bytes_of(&u, sizeof u);
    unsigned owner = gate_owner((size_t)x->device_index, crew_size(g->crew));
    (void)!crew_mail(g->crew, g->worker, owner, CREW_ASK, &part, 1);
    x->mailed = 0;
}

/* Not taken: as gate.c says it when the device is here. */
static void refused(struct gate *g, struct exchange *x)
{
    const struct arrival in = {
        .assoc = x->assoc, .listener = x->listener, .from = &x->peer, .x = x};
    gate_give_back_rate(g, x);
    gate_stop(g, &in, gate_code_refused(x));
}

static void take_served(struct gate *g, struct bytes message)
{
    struct served s;
    struct bytes text;
    struct msg m;
    if (!read_head(message, &s, sizeof s, &text))
        return;
    struct exchange *x = exchange_at_slot(g->exchanges, s.slot);
    if (!x || x->state != EXCHANGE_OPEN || x->mailed != s.number || s.number == 0)
        return;
    x->mailed = 0;
    x->up_end = (enum exchange_up_end)s.up_end;
    if (s.refused)
        refused(g, x);
    else if (s.answered && msg_parse(text, &m) == MSG_OK)
        gate_deliver(g, x, &m);
    else
        gate_deliver(g, x, NULL);
}

/* ---- the device's side ---- */

static uint32_t *guest_place(const struct gate *g, unsigned from, uint32_t slot)
{
    return slot < g->mail->n_slots ? &g->mail->guests[from * g->mail->n_slots + slot] : NULL;
}

static struct exchange *find_guest(struct gate *g, unsigned from, uint32_t slot, uint64_t number)
{
    const uint32_t *at = guest_place(g, from, slot);
    struct exchange *x = at && *at ? exchange_at_slot(g->exchanges, *at - 1) : NULL;
    return x && x->guest && x->state == EXCHANGE_OPEN && x->guest_of == from &&
                   x->guest_slot == slot && x->mailed_as == number
               ? x
               : NULL;
}

static void forget_guest(struct gate *g, struct exchange *x)
{
    uint32_t *at = guest_place(g, x->guest_of, x->guest_slot);
    if (find_guest(g, x->guest_of, x->guest_slot, x->mailed_as) == x)
        *at = 0;
    exchange_drop(g->exchanges, x, g->now);
}

static bool mail_served(struct gate *g, unsigned to, const struct served *s, struct bytes text)
{
    const struct bytes parts[] = {bytes_of(s, sizeof *s), text};
    return crew_mail(g->crew, g->worker, to, CREW_REPLY, parts, 2);
}

void gate_mail_answer(struct gate *g, struct exchange *x, const struct msg *m)
{
    uint8_t text[DATAGRAM_MAX];
    struct buf b = buf_on(text, sizeof text);
    if (m && !write_bare(m, &b)) {
        x->up_end = UP_TOO_LARGE;
        m = NULL;
    }
    const struct served s = {.head = {MAIL_SERVED},
                             .up_end = (uint8_t)x->up_end,
                             .answered = m != NULL,
                             .slot = x->guest_slot,
                             .number = x->mailed_as};
    if (mail_served(g, x->guest_of, &s, m ? buf_bytes(&b) : BYTES_NONE)) {
        forget_guest(g, x);
        return;
    }
    /* It waits for room: whoever asked waits for it. */
    x->stored_n = 0;
    if (m && b.n <= sizeof x->room->stored) {
        memcpy(x->room->stored, b.p, b.n);
        x->stored_n = b.n;
    } else if (m) {
        x->up_end = UP_TOO_LARGE;
    }
    g->mail->unsent++;
    exchange_wait(g->exchanges, x, GATE_UNSENT);
}

static void send_again(void *user, struct exchange *x)
{
    struct gate *g = user;
    const struct served s = {.head = {MAIL_SERVED},
                             .up_end = (uint8_t)x->up_end,
                             .answered = x->stored_n > 0,
                             .slot = x->guest_slot,
                             .number = x->mailed_as};
    if (mail_served(g, x->guest_of, &s, bytes_of(x->room->stored, x->stored_n))) {
        g->mail->unsent--;
        forget_guest(g, x);
    } else {
        exchange_wait(g->exchanges, x, GATE_UNSENT);
    }
}

bool gate_mail_turn(struct gate *g)
{
    if (g->mail->unsent > 0)
        exchanges_each_waiting(g->exchanges, GATE_UNSENT, send_again, g);
    return g->mail->unsent > 0;
}

static void take_serve(struct gate *g, unsigned from, struct bytes message)
{
    struct serve s;
    struct bytes text;
    struct msg m;
    if (!read_head(message, &s, sizeof s, &text) || gate_is_elsewhere(g, s.device))
        return;
    uint32_t *at = guest_place(g, from, s.slot);
    struct served no = {.head = {MAIL_SERVED},
                        .up_end = UP_FULL,
                        .refused = true,
                        .slot = s.slot,
                        .number = s.number};
    bool good = at && s.policies == g->policies && msg_parse(text, &m) == MSG_OK;
    struct exchange *x = good ? exchange_own(g->exchanges, g->now) : NULL;
    if (x) {
        x->own = false;
        x->gone = true; /* its client is not here */
        x->guest = true;
        x->guest_of = (uint8_t)from;
        x->guest_slot = s.slot;
        x->mailed_as = s.number;
        x->type = s.type;
        x->method = s.method;
        x->client = s.client;
        x->ends_s = s.ends_s;
        x->device_index = s.device;
        *at = exchange_slot(g->exchanges, x) + 1;
        if (gate_serve(g, x, s.device, &m))
            return;
        no.up_end = (uint8_t)x->up_end;
        forget_guest(g, x);
    }
    /* There is room for this: else the request was not read (crew.h). */
    (void)!mail_served(g, from, &no, BYTES_NONE);
}

static void take_unserve(struct gate *g, unsigned from, struct bytes message)
{
    struct unserve u;
    struct bytes rest;
    if (!read_head(message, &u, sizeof u, &rest))
        return;
    struct exchange *x = find_guest(g, from, u.slot, u.number);
    if (!x)
        return;
    if (x->wait == GATE_UNSENT)
        g->mail->unsent--; /* the device has answered */
    else
        gate_unserve(g, x);
    forget_guest(g, x);
}

/* ---- clients that have moved ---- */

/* The system chooses a worker by a datagram's addresses, so one from a new
 * address may come to another than its association's (RFC 9146 1). What a
 * stranger makes up is refused there, or here for want of room. */
bool gate_mail_datagram(struct gate *g, int listener, const struct peer *from,
                        struct bytes datagram)
{
    struct bytes cid = g->crew ? dtls_cid_of(datagram) : BYTES_NONE;
    if (cid.n == 0 || cid.p[0] == g->worker || cid.p[0] >= crew_size(g->crew) ||
        assocs_expect(g->assocs, listener, from, datagram))
        return false;
    struct moved m = {.head = {MAIL_DATAGRAM}, .listener = listener, .from = *from};
    const struct bytes parts[] = {bytes_of(&m, sizeof m), datagram};
    (void)!crew_mail(g->crew, g->worker, cid.p[0], CREW_ASK, parts, 2);
    return true;
}

static void take_datagram(struct gate *g, struct bytes message)
{
    struct moved m;
    struct bytes datagram;
    if (!read_head(message, &m, sizeof m, &datagram))
        return;
    struct bytes cid = dtls_cid_of(datagram);
    if (cid.n > 0 && cid.p[0] == g->worker) /* never handed on twice */
        gate_client_datagram(g, m.listener, &m.from, datagram, g->now);
}

/* ---- what devices publish ---- */

void gate_tell_links(struct gate *g, int device)
{
    struct links l = {.head = {MAIL_LINKS}, .device = device};
    struct bytes text;
    if (!discovery_learned(g->discovery, device, &text, &l.due_ms))
        return;
    const struct bytes parts[] = {bytes_of(&l, sizeof l), text};
    /* Else they ask again. */
    if (crew_may_tell(g->crew, text.n))
        (void)!crew_tell(g->crew, g->worker, parts, 2);
}

void gate_want_links(struct gate *g)
{
    for (int device; (device = discovery_next_elsewhere(g->discovery, instant_ms(g->now))) >= 0;) {
        const struct links l = {.head = {MAIL_LEARN}, .device = device};
        const struct bytes part = bytes_of(&l, sizeof l);
        (void)!crew_mail(g->crew, g->worker, gate_owner((size_t)device, crew_size(g->crew)),
                         CREW_ASK, &part, 1);
    }
}

/* ---- doors ---- */

void gate_take_mail(struct gate *g, unsigned from, struct bytes message, struct instant now)
{
    struct links l;
    struct bytes rest;
    g->now = now;
    switch (mail_kind(message)) {
    case MAIL_SERVE:
        take_serve(g, from, message);
        break;
    case MAIL_SERVED:
        take_served(g, message);
        break;
    case MAIL_UNSERVE:
        take_unserve(g, from, message);
        break;
    case MAIL_DATAGRAM:
        take_datagram(g, message);
        break;
    case MAIL_LEARN:
        if (read_head(message, &l, sizeof l, &rest))
            discovery_want(g->discovery, l.device);
        break;
    default:
        if (!gate_take_watch_mail(g, from, message) && !gate_take_notify_mail(g, message))
            (void)gate_take_call_mail(g, from, message);
        break;
    }
}

void gate_take_told(struct gate *g, struct bytes message, struct instant now)
{
    struct links l;
    struct bytes text;
    g->now = now;
    if (gate_take_spoke(g, message))
        return;
    if (mail_kind(message) == MAIL_LINKS && read_head(message, &l, sizeof l, &text))
        discovery_take_learned(g->discovery, l.device, text, l.due_ms);
}
