#include "device.h"

#include <assert.h>
#include <stdlib.h>

#include "device_inside.h"

enum {
    /* Silence that makes a device down. One lost CON was five times sent; of
     * NON it takes two in a row, for one may just have been lost. */
    SILENCE_CON = 2,
    SILENCE_NON = 1,
};

/* ---- requests ---- */

/* Nobody waits for it, so it takes nothing from those who do. Behind the
 * requests of an observation there are clients. */
static bool is_aside(const struct exchange *x)
{
    return x->own && (x->observation == 0 || x->type == TYPE_NON);
}

/* Whether a request that cannot leave now may wait until it can. */
static bool may_wait(const struct device *d, const struct exchange *x, const struct way *up,
                     struct instant now)
{
    if (up && way_is_ready(up))
        return !is_aside(x) && d->n_queued < d->config->queue;
    /* Behind a handshake, or a name that is looked up: its window's worth
     * would be under way by now. */
    if (up)
        return d->n_queued < d->config->queue + (is_aside(x) ? 0 : d->config->window);
    /* Down: as many as the window holds try whether it is back. */
    const struct way *trial = &d->ways[d->trial];
    return !is_aside(x) && way_has_sessions(trial) && way_is_trying(trial, now) &&
           d->n_queued < d->config->window;
}

/* A plain way needs no handshake: the request itself is the trial. */
static struct way *way_for(const struct device *d, struct way *up)
{
    if (up)
        return up;
    struct way *trial = &d->ways[d->trial];
    return way_has_sessions(trial) ? NULL : trial;
}

static bool submit(struct device *d, struct exchange *x, struct msg *m, struct instant now)
{
    assert(x->up == UP_NONE && (x->type == TYPE_CON || x->type == TYPE_NON));
    struct way *up = flight_way(d), *w = way_for(d, up);
    bool wait = d->n_queued > 0 || !flight_has_room(d) || flight_is_pausing(d, now) || !w ||
                !way_is_ready(w);
    if (wait && !may_wait(d, x, up, now)) {
        d->stats.refused++;
        x->up_end = !up && d->ways[d->trial].how == UPLINK_UNTRUSTED ? UP_UNTRUSTED : UP_FULL;
        return false;
    }
    m->type = x->type;
    m->mid = 0; /* this and the token when it is sent */
    m->token_n = DEVICE_TOKEN_BYTES;
    memset(m->token, 0, sizeof m->token);
    /* Written elsewhere first: parts of `m` may lie in the slot. */
    uint8_t text[MESSAGE_MAX];
    struct buf b = buf_on(text, sizeof text);
    if (!msg_write(m, &b)) {
        d->stats.refused++;
        x->up_end = UP_TOO_LARGE;
        return false;
    }
    memcpy(x->room->stored, b.p, b.n);
    x->stored_n = b.n;
    x->up_moves = 0;
    if (!wait && !way_takes(w, x->stored_n)) {
        d->stats.refused++;
        x->up_end = UP_TOO_LARGE;
        return false;
    }
    if (!wait) {
        flight_send(d, w, x, now);
        return true;
    }
    flight_enqueue(d, x, false);
    flight_move_up(d, now); /* wants a way that is not ready */
    return true;
}

/* ---- silence ---- */

static bool is_unheard(const struct device *d, const struct exchange *x)
{
    return d->ways[x->up_way].heard_us <= x->sent_us;
}

/* What a device got twice, or two did, had the effect of once (RFC 7252 5.1;
 * RFC 8132 for FETCH and iPATCH). No other request begins anew: that its
 * first copy came to nothing cannot be known. */
static bool may_begin_anew(const struct exchange *x, struct instant now)
{
    bool harmless = x->method != MSG_POST && x->method != MSG_PATCH;
    return harmless && x->up_moves < REQUEST_MOVES_MAX &&
           now.mono_us - x->up_first_us < (uint64_t)MAX_TRANSMIT_WAIT_MS * 1000;
}

static void begin_anew(struct device *d, struct exchange *x)
{
    flight_leave(d, x);
    x->up_moves++;
    d->stats.moved++;
    flight_enqueue(d, x, true);
}

static enum exchange_up_end up_end_of(enum uplink_end how)
{
    return how == UPLINK_UNTRUSTED ? UP_UNTRUSTED : how == UPLINK_REFUSED ? UP_REFUSED : UP_SILENT;
}

/* What is observed is observed at another place now, or by another
 * connection, or at a device that may have forgotten. */
static void tell_ears(struct device *d, struct instant now)
{
    for (size_t i = 0; d->n_ears > 0 && i < DEVICE_OBSERVATIONS; i++)
        if (d->ears[i].token)
            d->shared->ops->returned(d->shared->user, d->ears[i].owner, now);
}

static void note_way_in_use(struct device *d, struct instant now)
{
    const struct way *w = flight_way(d);
    if (w && w != d->in_use)
        tell_ears(d, now);
    d->in_use = w;
}

static void heard(struct device *d, struct way *w, struct instant now)
{
    way_heard(w, now);
    note_way_in_use(d, now);
}

/* What was sent on w and cannot be answered any more, for its connection is
 * gone; with `all`, also what still could be. */
static void clear_flight(struct device *d, const struct way *w, bool all, enum exchange_up_end how,
                         struct instant now)
{
    for (size_t i = flight_places(d); i-- > 0;) {
        struct exchange *x = d->places[i];
        if (!x || &d->ways[x->up_way] != w ||
            (flight_is_current(d, x) && !(all && x->up == UP_SENT)))
            continue;
        if (flight_way(d) && may_begin_anew(x, now))
            begin_anew(d, x);
        else if (!flight_is_current(d, x))
            flight_end(d, x, how, NULL, now);
    }
    flight_move_up(d, now);
}

static void drain(struct device *d, enum exchange_up_end how, struct instant now)
{
    for (size_t n = d->n_queued; n > 0 && !flight_way(d) && d->queue_head; n--) {
        d->stats.drained++;
        flight_end(d, d->queue_head, how, NULL, now);
    }
}

static void on_ready(void *user, struct way *w, struct instant now)
{
    struct device *d = user;
    if (w == d->in_use) /* a connection in place of another */
        tell_ears(d, now);
    note_way_in_use(d, now);
    clear_flight(user, w, false, UP_SILENT, now);
}

static bool has_another(const struct device *d, const struct way *w)
{
    for (size_t i = 0; i < d->n_ways; i++)
        if (&d->ways[i] != w && way_is_up(&d->ways[i]))
            return true;
    return false;
}

/* Who was silent to a Ping, too, may only have been forgotten by a NAT: a new
 * connection tells, unless those who wait can be served elsewhere at once.
 * What is observed was observed by that connection (RFC 8323 A.4): another is
 * opened for it, whether somebody asks or not. */
static void on_lost(void *user, struct way *w, enum uplink_end how, const char *reason,
                    struct instant now)
{
    struct device *d = user;
    if (how == UPLINK_SILENT && has_another(d, w)) {
        way_fail(w, how, reason, now);
        return;
    }
    if (d->n_ears > 0 && w == d->in_use)
        way_want(w);
    clear_flight(d, w, false, UP_SILENT, now);
}

static void on_failed(void *user, struct way *w, enum uplink_end how, struct instant now)
{
    struct device *d = user;
    enum exchange_up_end end_as = up_end_of(how);
    d->trial = ((size_t)(w - d->ways) + 1) % d->n_ways;
    note_way_in_use(d, now);
    clear_flight(d, w, flight_way(d) != NULL, end_as, now);
    /* Those in the queue would wait in vain, one transmit wait after the other. */
    drain(d, end_as == UP_UNTRUSTED ? UP_UNTRUSTED : UP_DRAINED, now);
}

/* No answer came to x. The way is down only if nothing else came either. */
static void lost(struct device *d, struct exchange *x, struct instant now)
{
    struct way *w = &d->ways[x->up_way];
    uint64_t token = x->up_token;
    uint16_t place = (uint16_t)(token & 0xffff);
    d->stats.silent++;
    /* Who answers its clients need not answer us. */
    bool silence = flight_is_current(d, x) && is_unheard(d, x);
    if (silence) /* a NON gives no other sign that a session is forgotten */
        way_suspect(w, now);
    if (silence && !is_aside(x))
        way_silent(w, x->type == TYPE_CON ? SILENCE_CON : SILENCE_NON, now);
    if (d->places[place] != x || x->up_token != token)
        return; /* it went elsewhere with the others */
    flight_end(d, x, UP_SILENT, NULL, now);
}

static bool has_other(const struct device *d, const struct way *w)
{
    for (size_t i = 0; i < d->n_ways; i++)
        if (&d->ways[i] != w && way_is_up(&d->ways[i]))
            return true;
    return false;
}

static void expire(struct device *d, struct exchange *x, struct instant now)
{
    struct way *w = &d->ways[x->up_way];
    bool current = flight_is_current(d, x), unheard = is_unheard(d, x);
    if (x->up != UP_SENT || x->type != TYPE_CON || !current || x->up_tries > MAX_RETRANSMIT) {
        lost(d, x, now);
        return;
    }
    if (uplink_is_reliable(w->link)) { /* it waits for the answer alone */
        x->up_tries = MAX_RETRANSMIT + 1;
        flight_arm(d, x, now, uplink_answer_ms(w->link));
        if (unheard)
            way_suspect(w, now);
        return;
    }
    unsigned tries = x->up_tries++; /* RFC 7252 4.2: the same message, after twice the time */
    x->up_wait_ms *= 2;
    flight_arm(d, x, now, x->up_wait_ms);
    d->stats.retransmitted++;
    flight_transmit(d, x, now);
    if (!unheard || tries != DEVICE_SUSPECT_TRIES)
        return;
    if (has_other(d, w))
        way_fail(w, UPLINK_SILENT, "silent", now);
    else
        way_suspect(w, now);
}

/* ICMP: nobody listens on the port. It may be forged, and a device that
 * restarts answers again soon, so requests keep being retransmitted, unless
 * there is another URL to go to. Only those to a device that is down already
 * need not wait any longer. */
static void on_unreachable(void *user, struct way *w, struct instant now)
{
    struct device *d = user;
    d->stats.unreachable++;
    if (way_is_up(w) && has_other(d, w)) {
        way_fail(w, UPLINK_REFUSED, "unreachable", now);
        return;
    }
    for (size_t i = 0; !way_is_up(w) && i < flight_places(d); i++) {
        struct exchange *x = d->places[i];
        if (x && x->up == UP_SENT && &d->ways[x->up_way] == w && x->sent_us < now.mono_us)
            flight_end(d, x, UP_REFUSED, NULL, now);
    }
}

/* ---- answers ---- */

static void send_empty(struct way *w, enum msg_type type, uint16_t mid, struct instant now)
{
    uint8_t storage[4];
    struct buf b = buf_on(storage, sizeof storage);
    if (uplink_is_reliable(w->link))
        return;
    msg_write_empty(type, mid, &b);
    way_send(w, buf_bytes(&b), now);
}

/* RFC 7252 4.2, 4.3: a CON that we cannot use is rejected, the rest ignored. */
static void reject(struct device *d, struct way *w, const struct msg *m, struct instant now)
{
    d->stats.stray++;
    if (m->type == TYPE_CON)
        send_empty(w, TYPE_RST, m->mid, now);
}

static void take_empty(struct device *d, struct way *w, const struct msg *m, struct instant now)
{
    if (m->type == TYPE_CON || m->type == TYPE_NON) {
        reject(d, w, m, now); /* a ping (4.3) */
        return;
    }
    if (way_takes_pong(w, m->mid)) {
        heard(d, w, now);
        return;
    }
    struct exchange *x = flight_find_mid(d, w, m->mid);
    if (!x || (m->type == TYPE_ACK && x->type != TYPE_CON)) {
        d->stats.stray++; /* also the ACKs of our retransmissions */
        return;
    }
    heard(d, w, now);
    if (m->type == TYPE_RST) {
        d->stats.reset++;
        flight_end(d, x, UP_RESET, NULL, now);
        return;
    }
    x->up = UP_ACKED;
    d->n_window--;
    flight_arm(d, x, now, SEPARATE_WAIT_MS);
    flight_move_up(d, now);
}

static void remember(struct device *d, uint16_t mid, uint64_t token, struct instant now)
{
    d->recent[d->next_recent].mid = mid;
    d->recent[d->next_recent].token = token;
    d->recent[d->next_recent].until_ms = instant_ms(now) + EXCHANGE_LIFETIME_MS;
    d->next_recent = (d->next_recent + 1) % DEVICE_RECENT;
}

static bool is_recent(const struct device *d, uint16_t mid, uint64_t token, struct instant now)
{
    for (size_t i = 0; i < DEVICE_RECENT; i++)
        if (d->recent[i].mid == mid && d->recent[i].token == token &&
            instant_ms(now) < d->recent[i].until_ms)
            return true;
    return false;
}

static void measure(struct device *d, const struct exchange *x, struct instant now)
{
    if (x->up_tries != 1) /* which of them was answered? */
        return;
    uint64_t rtt = now.mono_us - x->sent_us;
    d->stats.rtt_us = d->stats.rtt_us ? (7 * d->stats.rtt_us + rtt) / 8 : rtt;
}

/* A message of an observation is acknowledged, or answered by RST (RFC 7641
 * 3.6): also a NON, or a device that lost count of us would go on for ever. */
static void take_notice(struct device *d, struct way *w, const struct msg *m, uint64_t token,
                        bool cut, struct instant now)
{
    /* A URL that is not in use any more has nothing to tell. */
    const struct ear *e = flight_way(d) == w || !flight_way(d) ? flight_find_ear(d, token) : NULL;
    if (!e || !d->shared->ops->notified(d->shared->user, e->owner, m, cut, now)) {
        reject(d, w, m, now);
        if (m->type == TYPE_NON && msg_find(m, OPT_OBSERVE))
            send_empty(w, TYPE_RST, m->mid, now);
        return;
    }
    if (m->type == TYPE_CON)
        send_empty(w, TYPE_ACK, m->mid, now);
    heard(d, w, now);
    d->stats.notified++;
}

static void take_answer(struct device *d, struct way *w, const struct msg *m, bool cut,
                        struct instant now)
{
    uint64_t token;
    struct exchange *x = flight_find_token(d, w, m, &token);
    if (!x) {
        /* An answer again whose ACK was lost is no stray (RFC 7252 4.2). */
        if (m->type == TYPE_CON && m->token_n == DEVICE_TOKEN_BYTES &&
            is_recent(d, m->mid, token, now))
            send_empty(w, TYPE_ACK, m->mid, now);
        else
            take_notice(d, w, m, token, cut, now);
        return;
    }
    /* Piggybacked, it must acknowledge the message that carried the token
     * (RFC 7252 5.3.2); a NON is never acknowledged, and RST carries nothing. */
    if (m->type == TYPE_RST ||
        (m->type == TYPE_ACK && (x->type != TYPE_CON || m->mid != x->up_mid))) {
        d->stats.stray++;
        return;
    }
    if (m->type == TYPE_CON) {
        remember(d, m->mid, token, now);
        send_empty(w, TYPE_ACK, m->mid, now);
    }
    heard(d, w, now);
    measure(d, x, now);
    flight_pause(d, now);
    d->stats.answered++;
    if (cut)
        flight_end(d, x, UP_TOO_LARGE, NULL, now);
    else
        flight_end(d, x, UP_ANSWERED, m, now);
}

static void on_message(void *user, struct way *w, struct bytes message, struct instant now)
{
    struct device *d = user;
    struct msg m;
    enum msg_parse parse = msg_parse(message, &m);
    if (parse == MSG_IGNORE)
        d->stats.stray++;
    else if (parse == MSG_BAD)
        reject(d, w, &m, now);
    else if (m.code == MSG_EMPTY)
        take_empty(d, w, &m, now);
    else if (msg_is_response(&m))
        /* One of this length may have been longer (udp_receive). */
        take_answer(d, w, &m, message.n >= DATAGRAM_MAX, now);
    else
        reject(d, w, &m, now); /* a request: we serve devices nothing */
}

/* ---- time, and what changes it ---- */

static void rearm(struct device *d, struct instant now)
{
    uint64_t due = d->queue_head && flight_is_pausing(d, now) ? d->pause_until_ms : UINT64_MAX;
    for (size_t i = 0; i < d->n_ways; i++) {
        uint64_t of_way = way_deadline_ms(&d->ways[i]);
        due = of_way < due ? of_way : due;
    }
    if (due == UINT64_MAX)
        deadline_cancel(&d->shared->timers, &d->timer);
    else if (d->timer.slot == 0 || d->timer.at_ms != due)
        (void)deadline_set(&d->shared->timers, &d->timer, due); /* room for every device */
}

/* A busy device is stirred twice by each request: it is asked when it is due
 * once a turn. */
static void stir(struct device *d, struct instant now)
{
    struct device_shared *s = d->shared;
    s->now = now;
    if (d->is_stirred)
        return;
    d->is_stirred = true;
    d->next_stirred = s->stirred;
    s->stirred = d;
}

void devices_settle(struct device_shared *shared)
{
    for (struct device *d; (d = shared->stirred);) {
        shared->stirred = d->next_stirred;
        d->is_stirred = false;
        rearm(d, shared->now);
    }
}

bool device_submit(struct device *d, struct exchange *x, struct msg *m, struct instant now)
{
    bool ok = submit(d, x, m, now);
    stir(d, now);
    return ok;
}

void device_cancel(struct device *d, struct exchange *x, struct instant now)
{
    flight_leave(d, x);
    flight_move_up(d, now);
    stir(d, now);
}

void device_expire(struct device *d, struct exchange *x, struct instant now)
{
    expire(d, x, now);
    stir(d, now);
}

void device_resolved(struct device *d, size_t way, const struct peer *to, struct instant now)
{
    if (way < d->n_ways)
        way_resolved(&d->ways[way], to, now);
    stir(d, now);
}

void device_tick(struct device *d, struct instant now)
{
    for (size_t i = 0; i < d->n_ways; i++)
        if (way_deadline_ms(&d->ways[i]) <= instant_ms(now))
            way_tick(&d->ways[i], now);
    flight_move_up(d, now);
    stir(d, now);
}

struct device *device_of_timer(struct deadline *timer)
{
    return (struct device *)(void *)((uint8_t *)timer - offsetof(struct device, timer));
}

/* ---- life ---- */

static void on_touched(void *user, struct instant now)
{
    struct device *d = user;
    flight_move_up(d, now); /* a way may have come up */
    stir(d, now);
}

static uint16_t on_mid(void *user)
{
    return flight_take_mid(user);
}

static uint32_t on_random(void *user)
{
    struct device *d = user;
    uint32_t v;
    device_random(d, &v, sizeof v);
    return v;
}

static const struct way_ops way_ops = {on_ready,       on_message, on_lost,   on_failed,
                                       on_unreachable, on_mid,     on_random, on_touched};

static bool open_ways(struct device *d, size_t number, struct buf *diag)
{
    const struct device_config *c = d->config;
    struct way_config wc = {
        .ops = &way_ops, .user = d, .device = c, .uplinks = &d->shared->uplinks};
    d->ways = calloc(c->n_urls, sizeof *d->ways);
    for (size_t i = 0; d->ways && i < c->n_urls; i++) {
        wc.url = &c->urls[i];
        wc.resolver = wc.url->to.len ? NULL : d->shared->resolver;
        wc.id = number * DEVICE_URLS_MAX + i;
        d->n_ways = i + 1;
        if (!way_init(&d->ways[i], &wc, diag))
            return false;
    }
    return d->ways != NULL;
}

struct device *device_new(const struct device_config *c, size_t number,
                          struct device_shared *shared, struct buf *diag)
{
    struct device *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->config = c;
    d->shared = shared;
    if (flight_init(d) && open_ways(d, number, diag)) {
        stir(d, (struct instant){0});
        return d;
    }
    device_close(d, (struct instant){0});
    uplinks_turn(&shared->uplinks, (struct instant){0});
    device_free(d);
    return NULL;
}

void device_close(struct device *d, struct instant now)
{
    for (size_t i = 0; d && i < d->n_ways; i++)
        way_close(&d->ways[i], now);
}

void device_free(struct device *d)
{
    if (!d)
        return;
    devices_settle(d->shared); /* it is in no list then */
    for (size_t i = 0; i < d->n_ways; i++)
        way_clear(&d->ways[i]);
    deadline_cancel(&d->shared->timers, &d->timer);
    free(d->ways);
    flight_clear(d);
    free(d);
}

void device_get_stats(const struct device *d, struct device_stats *out)
{
    const struct way *up = flight_way(d), *w = up ? up : &d->ways[d->trial];
    *out = d->stats;
    out->queued = d->n_queued;
    out->down = !up;
    out->since_s = w->health.since_s;
    out->url = w->url->text;
    out->reason = w->reason;
}
