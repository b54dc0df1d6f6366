/* Observations of devices that another worker has: what gate_device.c says to
 * observe.h, by mail. What asks has room for one answer (crew.h), so a
 * subscription always hears what became of it; a notice may have to wait. */
#include "gate_internal.h"

#include "mail.h"

struct subscribe {
    struct mail_head head;
    int device;
    uint64_t watch;
};

struct word { /* unsubscribe, ready */
    struct mail_head head;
    bool seen;
    uint64_t watch;
};

struct notice {
    struct mail_head head;
    uint8_t taken, up_end; /* taken: OBSERVE_TAKEN, or there is none */
    bool confirm, last;
    uint32_t age_s;
    uint64_t watch;
};

static bool read_head(struct bytes message, void *head, size_t n, struct bytes *rest)
{
    if (message.n < n)
        return false;
    memcpy(head, message.p, n);
    *rest = bytes_of(message.p + n, message.n - n);
    return true;
}

static bool mail_owner(struct gate *g, int device, const struct bytes *parts, size_t n)
{
    unsigned owner = gate_owner((size_t)device, crew_size(g->crew));
    return crew_mail(g->crew, g->worker, owner, CREW_ASK, parts, n);
}

enum observe_taken gate_mail_subscribe(struct gate *g, const struct watch *w, const struct msg *m,
                                       enum exchange_up_end *why)
{
    uint8_t text[MESSAGE_MAX];
    struct buf b = buf_on(text, sizeof text);
    struct msg bare = *m;
    bare.type = TYPE_NON;
    bare.mid = 0;
    bare.token_n = 0;
    if (!msg_write(&bare, &b))
        return OBSERVE_PLAIN;
    const struct subscribe s = {{MAIL_SUBSCRIBE}, w->device, w->id};
    const struct bytes parts[] = {bytes_of(&s, sizeof s), buf_bytes(&b)};
    *why = UP_FULL;
    return mail_owner(g, w->device, parts, 2) ? OBSERVE_TAKEN : OBSERVE_REFUSED;
}

static bool mail_word(struct gate *g, const struct watch *w, enum mail_kind kind, bool seen)
{
    const struct word s = {{(uint8_t)kind}, seen, w->id};
    const struct bytes part = bytes_of(&s, sizeof s);
    return mail_owner(g, w->device, &part, 1);
}

bool gate_mail_unsubscribe(struct gate *g, const struct watch *w)
{
    return mail_word(g, w, MAIL_UNSUBSCRIBE, false);
}

bool gate_mail_ready(struct gate *g, const struct watch *w, bool seen)
{
    return mail_word(g, w, MAIL_READY, seen);
}

bool gate_mail_notice(struct gate *g, struct subscriber to, const struct observe_notice *n)
{
    const struct notice s = {.head = {MAIL_NOTICE},
                             .taken = OBSERVE_TAKEN,
                             .up_end = (uint8_t)n->up_end,
                             .confirm = n->confirm,
                             .last = n->last,
                             .age_s = n->age_s,
                             .watch = to.id};
    const struct bytes parts[] = {bytes_of(&s, sizeof s), n->message};
    return crew_mail(g->crew, g->worker, to.worker, CREW_REPLY, parts, 2);
}

static void take_subscribe(struct gate *g, unsigned from, struct bytes message)
{
    struct subscribe s;
    struct bytes text;
    struct msg m;
    enum exchange_up_end why = UP_FULL;
    if (!read_head(message, &s, sizeof s, &text) || gate_is_elsewhere(g, s.device))
        return;
    enum observe_taken taken = OBSERVE_PLAIN;
    if (msg_parse(text, &m) == MSG_OK)
        taken = observe_subscribe(g->observes, s.device, &m, (struct subscriber){from, s.watch},
                                  g->now, &why);
    if (taken == OBSERVE_TAKEN)
        return;
    const struct notice no = {
        .head = {MAIL_NOTICE}, .taken = (uint8_t)taken, .up_end = (uint8_t)why, .watch = s.watch};
    const struct bytes part = bytes_of(&no, sizeof no);
    (void)!crew_mail(g->crew, g->worker, from, CREW_REPLY, &part, 1);
}

static void take_notice(struct gate *g, struct bytes message)
{
    struct notice s;
    struct bytes text;
    if (!read_head(message, &s, sizeof s, &text))
        return;
    const struct observe_notice n = {.message = text,
                                     .up_end = (enum exchange_up_end)s.up_end,
                                     .age_s = s.age_s,
                                     .confirm = s.confirm,
                                     .last = s.last};
    if (s.taken == OBSERVE_TAKEN)
        gate_watch_take(g, s.watch, &n);
    else
        gate_watch_untaken(g, s.watch, (enum observe_taken)s.taken, n.up_end);
}

bool gate_take_watch_mail(struct gate *g, unsigned from, struct bytes message)
{
    struct word s;
    struct bytes rest;
    switch (mail_kind(message)) {
    case MAIL_SUBSCRIBE:
        take_subscribe(g, from, message);
        return true;
    case MAIL_UNSUBSCRIBE:
        if (read_head(message, &s, sizeof s, &rest))
            observe_unsubscribe(g->observes, (struct subscriber){from, s.watch}, g->now);
        return true;
    case MAIL_READY:
        if (read_head(message, &s, sizeof s, &rest))
            observe_ready(g->observes, (struct subscriber){from, s.watch}, s.seen, g->now);
        return true;
    case MAIL_NOTICE:
        take_notice(g, message);
        return true;
    default:
        return false;
    }
}
