/* A client's observation (RFC 7641) from its registration to its end. What a
 * device says is judged for each client again, with the request that it
 * registered by; who may not have it any more is told so, once, and is out.
 *
 * One message at a time is on its way to a client's observation. While that
 * is unacknowledged, waits for a judgement or for its turn, the device's side
 * keeps what is newer (say_ready()), so nothing piles up here. */
#include "gate_call.h"

#include <stdlib.h>

#include "observe_order.h"

enum { LOOK_AGAIN_S = 60 }; /* a grant's end is in wall time, which may be set */

/* ---- the table ---- */

static void plan(struct gate *g, struct watch *w)
{
    uint64_t now_ms = instant_ms(g->now), at_ms = UINT64_MAX;
    if (w->ends_s != INT64_MAX) {
        int64_t left_s = w->ends_s - g->now.wall_s;
        left_s = left_s < 0 ? 0 : left_s > LOOK_AGAIN_S ? LOOK_AGAIN_S : left_s;
        at_ms = now_ms + (uint64_t)left_s * 1000;
    }
    uint64_t others[] = {
        w->retry ? now_ms + WATCH_RETRY_MS : UINT64_MAX,
        w->say != SAID ? now_ms + WATCH_MAIL_MS : UINT64_MAX,
        /* its slot in the exchange table may have had to give way */
        w->sent ? w->sent_ms + MAX_TRANSMIT_WAIT_MS + ACK_TIMEOUT_MS : UINT64_MAX,
        w->open && !w->sent ? w->con_ms + g->watch_con_ms : UINT64_MAX,
        w->unrecorded ? w->recorded_ms + WATCH_RECORD_MS : UINT64_MAX,
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i] < at_ms)
            at_ms = others[i];
    watch_at(g->watches, w, at_ms);
}

/* Both come late when there is no room on the way to another thread. */
static void say_ready(struct gate *g, struct watch *w, bool seen)
{
    w->say = gate_ready(g, w, seen) ? SAID : seen ? SAY_SEEN : SAY_UNSEEN;
    if (w->say != SAID)
        plan(g, w);
}

static void say_over(struct gate *g, struct watch *w)
{
    if (!w->subscribed || gate_unsubscribe(g, w))
        watch_remove(g->watches, w);
    else
        watch_at(g->watches, w, instant_ms(g->now) + WATCH_MAIL_MS);
}

/* RFC 7252 4.7: one unacknowledged message of ours at a time for a client. */
static bool is_confirming(const struct assoc *a)
{
    for (const struct watch *w = a->watches; w; w = w->next)
        if (w->sent)
            return true;
    return false;
}

static void take(struct gate *g, struct watch *w, const struct observe_notice *n);

/* What waited for its turn or for room comes again, in its newest form. */
static void resume(struct gate *g, struct watch *w)
{
    w->postponed = w->retry = false;
    struct observe_notice *held = watch_unhold(w);
    if (held)
        take(g, w, held);
    else
        say_ready(g, w, false);
    free(held);
}

static void resume_all(struct gate *g, struct assoc *a)
{
    for (struct watch *w = a->watches, *next; w; w = next) {
        next = w->next;
        if (w->postponed)
            resume(g, w);
    }
}

static void forget(struct gate *g, struct watch *w)
{
    struct assoc *a = w->assoc;
    bool was_confirming = w->sent != NULL;
    if (w->sent)
        exchange_unsay(g->exchanges, w->sent, w->id);
    if (w->x)
        w->x->watch = 0;
    watch_leave(g->watches, w);
    say_over(g, w);
    if (was_confirming)
        resume_all(g, a);
}

bool gate_watch_reread(struct gate *g, struct watch *w, struct msg *m)
{
    struct request *r = &g->again;
    struct bytes host;
    const char *why;
    if (msg_parse(bytes_of(w->request, w->request_n), m) != MSG_OK ||
        forward_read(&g->forward, m, r, &host, &why) != 0)
        return false;
    r->continued = true;
    r->device = w->device;
    r->peer = peer_policy(&w->assoc->peer);
    r->originator = bytes_str(pep_session_originator(w->assoc->session));
    return gate_name_path(upstream_config(g->upstreams, w->device), r);
}

/* It ends for another reason than a judgement; `code`: what the client was
 * told, or 0. */
static void end(struct gate *g, struct watch *w, const char *reason, uint8_t code)
{
    struct msg m;
    if (w->open && gate_watch_reread(g, w, &m))
        gate_record_watch_end(g, w, reason, code);
    forget(g, w);
}

/* ---- to the client ---- */

/* The low bits of a clock, as RFC 7641 4.4 has it: so it grows over a new
 * registration with the same token too; by one at the least. */
static uint32_t next_number(const struct gate *g, struct watch *w)
{
    enum { TICK_US = 4096, HALF = 1 << 23 };
    uint32_t clock = (uint32_t)(g->now.mono_us / TICK_US) & OBSERVE_NUMBER_MASK;
    uint32_t least = (w->number + 1) & OBSERVE_NUMBER_MASK;
    bool ahead = ((clock - least) & OBSERVE_NUMBER_MASK) < HALF;
    return w->number = ahead ? clock : least;
}

static bool notify(struct gate *g, struct watch *w, struct msg *m, struct exchange **kept)
{
    m->token_n = w->token_n;
    memcpy(m->token, w->token, sizeof m->token);
    return exchange_notify(g->exchanges, w->assoc, w->id, m, g->now, kept);
}

/* As the device sent it; but CON from time to time, to know that the client
 * is there (RFC 7641 4.5), for the last word, and where NON would be more
 * than one a round trip (4.5.1). */
static uint8_t type_of(const struct gate *g, const struct watch *w, bool confirm)
{
    uint64_t now_ms = instant_ms(g->now);
    uint64_t gap_ms = w->rtt_us ? w->rtt_us / 1000 : WATCH_GAP_MS;
    bool con = confirm || w->n_non >= WATCH_NON_MAX || now_ms >= w->con_ms + g->watch_con_ms ||
               (w->sent_ms > 0 && now_ms < w->sent_ms + gap_ms);
    return con ? TYPE_CON : TYPE_NON;
}

/* Max-Age counts from when the device sent it (RFC 7252 5.7.1). */
static void grow_old(struct msg *m, uint32_t age_s, uint8_t storage[4])
{
    enum { MAX_AGE_DEFAULT_S = 60 };
    if (age_s == 0)
        return;
    int64_t age = msg_uint(m, OPT_MAX_AGE);
    uint32_t given = age < 0 ? MAX_AGE_DEFAULT_S : (uint32_t)age;
    struct msg with;
    gate_msg(&with, m->code);
    for (size_t i = 0; i < m->n_options; i++)
        if (m->options[i].number != OPT_MAX_AGE)
            with.options[with.n_options++] = m->options[i];
    if (!msg_add_uint(&with, OPT_MAX_AGE, given > age_s ? given - age_s : 0, storage))
        return;
    m->n_options = with.n_options;
    memcpy(m->options, with.options, with.n_options * sizeof *with.options);
}

/* What the client gets of the device's message. True: it goes on after it. */
static bool translate(struct gate *g, struct watch *w, const struct observe_notice *n,
                      struct msg *in, uint8_t age[4], struct msg *out)
{
    struct forward_map map = gate_device_map(upstream_config(g->upstreams, w->device));
    if (msg_parse(n->message, in) != MSG_OK) {
        gate_msg(out, n->up_end == UP_TOO_LARGE ? MSG_CODE(5, 2) : MSG_CODE(5, 4));
        return false;
    }
    grow_old(in, n->age_s, age);
    uint8_t refused = forward_response(&g->forward, in, &map, out);
    if (refused)
        gate_msg(out, refused);
    return !n->last && !refused;
}

/* No room for it now: later. The last one is kept, for nobody has it again. */
static void postpone(struct gate *g, struct watch *w, const struct observe_notice *n, bool retry)
{
    if (n->last && !watch_hold(w, n)) {
        end(g, w, "no-memory", 0);
        return;
    }
    w->postponed = !retry;
    w->retry = retry;
    plan(g, w);
}

static void deliver(struct gate *g, struct watch *w, const struct observe_notice *n)
{
    struct msg in, out;
    uint8_t age[4], number[4];
    struct exchange *kept;
    bool goes_on = translate(g, w, n, &in, age, &out);
    uint32_t before = w->number;
    out.type = goes_on ? type_of(g, w, n->confirm) : TYPE_CON;
    if (goes_on && !msg_add_uint(&out, OPT_OBSERVE, next_number(g, w), number))
        goes_on = false;
    if (!notify(g, w, &out, &kept)) {
        w->number = before;
        postpone(g, w, n, true);
        return;
    }
    struct watches_stats *s = watches_stats(g->watches);
    w->notified++;
    w->unrecorded++;
    s->notified++;
    s->confirmed += kept != NULL;
    w->sent_ms = instant_ms(g->now);
    if (!goes_on || !msg_find(&out, OPT_OBSERVE)) { /* or it became a 5.02 */
        end(g, w, "device", out.code);
        return;
    }
    if (w->recorded_ms == 0 || instant_ms(g->now) >= w->recorded_ms + WATCH_RECORD_MS)
        gate_record_notified(g, w, true);
    w->sent = kept;
    if (!kept) {
        w->n_non++;
        w->mids[1] = w->mids[0];
        w->mids[0] = out.mid;
        say_ready(g, w, true);
    }
    plan(g, w);
}

/* ---- judgement ---- */

/* No longer: once, without Observe (RFC 9200 5.10.3, RFC 7641 4.2). What is
 * on its way as CON is not sent again. */
static void refuse(struct gate *g, struct watch *w)
{
    struct pep_decision *d = &g->again_decision;
    struct msg m;
    uint8_t scratch[3][4];
    struct exchange *kept;
    if (w->sent)
        exchange_unsay(g->exchanges, w->sent, w->id);
    if (!gate_denial(d, &m, scratch))
        gate_msg(&m, d->code);
    m.type = TYPE_CON;
    bool told = notify(g, w, &m, &kept);
    watches_stats(g->watches)->denied++;
    gate_record_watch_denied(g, w, told ? m.code : 0);
    forget(g, w);
}

/* True: it may have what there is. False: it was told that not, or waits. */
static bool judge(struct gate *g, struct watch *w)
{
    struct pep_decision *d = &g->again_decision;
    struct msg m;
    if (!gate_watch_reread(g, w, &m)) {
        end(g, w, "malformed", 0);
        return false;
    }
    pep_authorize(g->pep, w->assoc->session, &g->again, g->now.wall_s, d);
    if (d->outcome == PEP_WAIT) {
        watch_wait(g->watches, w, d->wait);
        return false;
    }
    if (d->outcome != PEP_FORWARD) {
        refuse(g, w);
        return false;
    }
    w->ends_s = d->ends_s;
    return true;
}

static void take(struct gate *g, struct watch *w, const struct observe_notice *n)
{
    uint64_t id = w->id;
    bool full = g->config->audit_required && g->audit && !audit_sink_has_room(g->audit, g->worker);
    if (full || (is_confirming(w->assoc) &&
                 (n->last || n->message.n == 0 || type_of(g, w, n->confirm) == TYPE_CON))) {
        postpone(g, w, n, full);
        return;
    }
    if (judge(g, w))
        deliver(g, w, n);
    else if ((w = watch_find(g->watches, id)) != NULL && !watch_hold(w, n)) /* it waits */
        end(g, w, "no-memory", 0);
}

/* Rights may have changed, whether or not there is anything to tell. */
static void doubt(struct gate *g, struct watch *w)
{
    if (w->open && w->wait == 0 && judge(g, w))
        plan(g, w);
}

static void doubt_one(void *user, struct watch *w)
{
    doubt(user, w);
}

void gate_doubt_watches(struct gate *g)
{
    watches_each(g->watches, doubt_one, g);
}

static void take_up(void *user, struct watch *w)
{
    struct gate *g = user;
    struct observe_notice *held = watch_unhold(w);
    if (held)
        take(g, w, held);
    else
        doubt(g, w);
    free(held);
}

void gate_watch_replied(struct gate *g, uint64_t question)
{
    watches_each_waiting(g->watches, question, take_up, g);
}

/* ---- registration ---- */

void gate_watch_leave(struct gate *g, const struct arrival *in)
{
    int64_t wish = in->assoc ? msg_uint(in->m, OPT_OBSERVE) : -1;
    struct watch *w = wish == OBSERVE_REGISTER || wish == OBSERVE_DEREGISTER
                          ? watch_of(in->assoc, in->m->token, in->m->token_n)
                          : NULL;
    /* An older message of the same token has its own answer first. */
    if (w && w->open && in->x)
        in->x->observed = w->number;
    if (w && w->open)
        end(g, w, wish == OBSERVE_REGISTER ? "replaced" : "deregistered", 0);
}

enum observe_taken gate_watch(struct gate *g, const struct arrival *in, int device,
                              const struct msg *out)
{
    if (msg_uint(in->m, OPT_OBSERVE) != OBSERVE_REGISTER ||
        /* HTTP answers once: the answer without the option says so (RFC 7641 2). */
        device_url_is_http(&upstream_config(g->upstreams, device)->urls[0]) ||
        watch_of(in->assoc, in->m->token, in->m->token_n))
        return OBSERVE_PLAIN;
    struct watch *w = watch_add(g->watches, in->assoc, in->m);
    if (!w)
        return OBSERVE_PLAIN;
    w->device = device;
    w->ends_s = in->x->ends_s;
    w->x = in->x;
    w->number = in->x->observed;
    in->x->watch = w->id;
    enum observe_taken taken = gate_subscribe(g, w, out, &in->x->up_end);
    w->subscribed = taken == OBSERVE_TAKEN;
    if (!w->subscribed)
        forget(g, w);
    return taken;
}

void gate_watch_answer(struct gate *g, struct exchange *x, struct msg *out, uint8_t number[4])
{
    struct watch *w = watch_find(g->watches, x->watch);
    if (w && w->subscribed && MSG_CLASS(out->code) == 2)
        w->open = msg_add_uint(out, OPT_OBSERVE, next_number(g, w), number);
}

void gate_watch_answered(struct gate *g, struct exchange *x, uint8_t code)
{
    struct watch *w = watch_find(g->watches, x->watch);
    if (!w)
        return;
    w->x = NULL;
    if (!w->open || MSG_CLASS(code) != 2) {
        w->open = false;
        forget(g, w);
        return;
    }
    watches_stats(g->watches)->opened++;
    w->con_ms = instant_ms(g->now);
    say_ready(g, w, true);
    plan(g, w);
}

/* ---- what comes ---- */

bool gate_notice(void *user, struct subscriber to, const struct observe_notice *n)
{
    struct gate *g = user;
    if (to.worker != g->worker)
        return gate_mail_notice(g, to, n);
    gate_watch_take(g, to.id, n);
    return true;
}

void gate_watch_take(struct gate *g, uint64_t id, const struct observe_notice *n)
{
    struct watch *w = watch_find(g->watches, id);
    if (!w)
        return; /* it went meanwhile, and says so */
    w->subscribed = !n->last;
    if (!w->x) {
        take(g, w, n);
        return;
    }
    struct msg m;
    uint8_t age[4];
    bool any = msg_parse(n->message, &m) == MSG_OK;
    if (any)
        grow_old(&m, n->age_s, age);
    w->x->up_end = n->up_end;
    gate_deliver(g, w->x, any ? &m : NULL);
}

/* It was taken by another thread, and there it was not. */
void gate_watch_untaken(struct gate *g, uint64_t id, enum observe_taken taken,
                        enum exchange_up_end why)
{
    struct watch *w = watch_find(g->watches, id);
    struct exchange *x = w ? w->x : NULL;
    struct msg m, out;
    struct forward_scratch scratch;
    if (!x)
        return;
    uint8_t text[MESSAGE_MAX];
    size_t n = w->request_n < sizeof text ? w->request_n : sizeof text;
    memcpy(text, w->request, n);
    w->subscribed = false;
    forget(g, w);
    struct forward_map map = gate_device_map(upstream_config(g->upstreams, x->device_index));
    bool plain = taken == OBSERVE_PLAIN && msg_parse(bytes_of(text, n), &m) == MSG_OK &&
                 forward_request(&g->forward, &m, &map, &out, &scratch);
    x->up_end = why;
    if (!plain || !gate_serve(g, x, x->device_index, &out)) {
        const struct arrival in = {
            .assoc = x->assoc, .listener = x->listener, .from = &x->peer, .x = x};
        gate_give_back_rate(g, x);
        gate_stop(g, &in, gate_code_refused(x));
    }
    explicit_bzero(text, n); /* it may hold a token */
}

void gate_watch_heard(void *user, uint64_t id, enum exchange_heard heard, uint64_t rtt_us)
{
    struct gate *g = user;
    if (gate_call_heard(g, id, heard))
        return;
    struct watch *w = watch_find(g->watches, id);
    if (!w)
        return; /* the last word of one that is over */
    struct assoc *a = w->assoc;
    struct watches_stats *s = watches_stats(g->watches);
    w->sent = NULL;
    if (heard == HEARD_ACK) {
        w->con_ms = instant_ms(g->now);
        w->n_non = 0;
        w->rtt_us = rtt_us ? rtt_us : w->rtt_us;
        say_ready(g, w, true);
        plan(g, w);
    } else if (heard == HEARD_RESET) {
        s->reset++;
        end(g, w, "reset", 0);
    } else {
        s->unacknowledged++;
        end(g, w, "unacknowledged", 0);
    }
    resume_all(g, a);
}

void gate_watch_reset(struct gate *g, struct assoc *a, uint16_t mid)
{
    for (struct watch *w = a->watches; w; w = w->next)
        if ((w->n_non > 0 && w->mids[0] == mid) || (w->n_non > 1 && w->mids[1] == mid)) {
            watches_stats(g->watches)->reset++;
            end(g, w, "reset", 0);
            return;
        }
}

void gate_watch_undelivered(struct gate *g, struct exchange *x, bool reset)
{
    struct watch *w = watch_find(g->watches, x->watch);
    if (!w)
        return;
    struct watches_stats *s = watches_stats(g->watches);
    if (reset)
        s->reset++;
    else
        s->unacknowledged++;
    end(g, w, reset ? "reset" : "unacknowledged", 0);
}

void gate_forget_watches(struct gate *g, struct assoc *a, uint8_t code, const char *reason)
{
    for (struct watch *w = a->watches; w; w = w->next)
        w->postponed = false; /* they do not take each other's place any more */
    while (a->watches) {
        struct watch *w = a->watches;
        struct msg m;
        struct exchange *kept;
        gate_msg(&m, code);
        m.type = TYPE_CON;
        bool told = code && w->open && notify(g, w, &m, &kept);
        end(g, w, reason, told ? code : 0);
    }
}

/* ---- time ---- */

static void look(struct gate *g, struct watch *w)
{
    uint64_t now_ms = instant_ms(g->now);
    if (!w->assoc) {
        say_over(g, w);
        return;
    }
    if (w->say != SAID)
        say_ready(g, w, w->say == SAY_SEEN);
    if (w->sent && !exchange_is_unheard(w->sent, w->id)) {
        w->sent = NULL; /* its slot was needed */
        say_ready(g, w, true);
        resume_all(g, w->assoc);
    }
    if (w->unrecorded && now_ms >= w->recorded_ms + WATCH_RECORD_MS)
        gate_record_notified(g, w, false);
    if (w->retry) {
        uint64_t id = w->id;
        resume(g, w);
        if (!(w = watch_find(g->watches, id)))
            return;
    }
    if (w->open && g->now.wall_s >= w->ends_s && w->wait == 0 && !judge(g, w))
        return;
    bool idle = w->open && !w->sent && !w->held && !w->postponed && !w->retry && w->wait == 0;
    if (idle && now_ms >= w->con_ms + g->watch_con_ms) {
        /* Who only listens is asked whether it is there: once more now, and
         * again when as much time has passed. */
        say_ready(g, w, false);
        w->con_ms = now_ms;
        w->n_non = WATCH_NON_MAX;
    }
    plan(g, w);
}

void gate_expire_watches(struct gate *g)
{
    for (struct watch *w; (w = watches_due(g->watches, instant_ms(g->now)));)
        look(g, w);
}
