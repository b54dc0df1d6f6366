#include "device.h"

#include <assert.h>
#include <stdlib.h>

#include "tagmap.h"
#include "way.h"

enum {
    TOKEN_BYTES = 8,
    RECENT = 8,     /* separate answers whose ACK we can repeat */
    HEADER_MID = 2, /* where they stand in a message (RFC 7252 3) */
    HEADER_TOKEN = 4,
    /* Silence that makes a device down. One lost CON was five times sent; of
     * NON it takes two in a row, for one may just have been lost. */
    SILENCE_CON = 2,
    SILENCE_NON = 1,
};

struct device {
    const struct device_config *config;
    struct device_shared *shared;
    struct way *ways; /* of config->urls */
    size_t n_ways;
    const struct way *in_use; /* as the observations were told; NULL: all are down */
    size_t trial;             /* the way that is tried while all are down */
    struct deadline timer;
    uint64_t pause_until_ms;
    uint16_t next_mid;

    /* The flight. A token ends in the number of its place; an empty ACK has
     * nothing but its message ID to be found by. */
    struct exchange **places;
    struct tagmap by_mid;
    uint16_t *free_places;
    size_t n_places, n_free;
    size_t n_window; /* of them UP_SENT */

    /* Observations: their tokens, and of each the place behind the others
     * where its request is while one is in flight. */
    struct ear {
        uint64_t token; /* 0: free */
        uint32_t owner;
    } ears[DEVICE_OBSERVATIONS];
    size_t n_ears;

    struct exchange *queue_head, *queue_tail;
    size_t n_queued;

    struct {
        uint16_t mid;
        uint64_t token, until_ms;
    } recent[RECENT];
    size_t next_recent;
    struct device_stats stats;
};

size_t device_places(const struct device_config *c)
{
    return (size_t)c->window + DEVICE_ACKED;
}

static void random_bytes(struct device_shared *s, void *to, size_t n)
{
    if (s->pool_n < n) {
        s->random(s->user, s->pool, sizeof s->pool);
        s->pool_n = sizeof s->pool;
    }
    s->pool_n -= n;
    memcpy(to, s->pool + s->pool_n, n);
    memset(s->pool + s->pool_n, 0, n);
}

/* ---- the flight ---- */

/* With those of the observations. */
static size_t all_places(const struct device *d)
{
    return d->n_places + DEVICE_OBSERVATIONS;
}

/* Sent by the connection that its way has now: nothing of an older one can
 * be answered, nor sent again (RFC 7252 9.1.1). */
static bool is_current(const struct device *d, const struct exchange *x)
{
    return x->up_epoch == d->ways[x->up_way].epoch;
}

static bool is_on(const struct device *d, const struct exchange *x, const struct way *w)
{
    return &d->ways[x->up_way] == w && is_current(d, x);
}

static struct exchange *find_token(const struct device *d, const struct way *w, const struct msg *m,
                                   uint64_t *token)
{
    *token = 0;
    if (m->token_n != TOKEN_BYTES)
        return NULL;
    for (size_t i = 0; i < TOKEN_BYTES; i++)
        *token = *token << 8 | m->token[i];
    size_t place = *token & 0xffff;
    struct exchange *x = place < all_places(d) ? d->places[place] : NULL;
    return x && x->up_token == *token && is_on(d, x, w) ? x : NULL;
}

static const struct ear *find_ear(const struct device *d, uint64_t token)
{
    size_t i = (size_t)(token & 0xffff) - d->n_places;
    return token != 0 && i < DEVICE_OBSERVATIONS && d->ears[i].token == token ? &d->ears[i] : NULL;
}

/* Our IDs come in a row; side by side they would make the map walk. */
static uint32_t mid_tag(uint16_t mid)
{
    return mid * UINT32_C(0x9e3779b1) >> 16;
}

/* One that was sent and neither acknowledged nor answered. */
static struct exchange *find_mid(const struct device *d, const struct way *w, uint16_t mid)
{
    size_t step = 0;
    for (uint32_t i; tagmap_find(&d->by_mid, mid_tag(mid), &step, &i);)
        if (d->places[i]->up_mid == mid && d->places[i]->up == UP_SENT && is_on(d, d->places[i], w))
            return d->places[i];
    return NULL;
}

/* In turn, past those in flight. RFC 7252 4.4 wants none again within
 * EXCHANGE_LIFETIME. A device that is asked more than 265 times a second all
 * that while would have to be made to wait for it; we let the ID come again,
 * since the token tells the answers apart. */
static uint16_t take_mid(struct device *d)
{
    for (;;) {
        uint16_t mid = d->next_mid++;
        uint32_t place;
        size_t step = 0;
        if (!tagmap_find(&d->by_mid, mid_tag(mid), &step, &place))
            return mid; /* nor any other of its tag, which does no harm */
    }
}

static void arm(struct device *d, struct exchange *x, struct instant now, uint32_t wait_ms)
{
    /* It cannot be full: it has room for every place of every device. */
    (void)deadline_set(&d->shared->deadlines, &x->up_deadline, instant_ms(now) + wait_ms);
}

static bool has_room(const struct device *d)
{
    return d->n_window < d->config->window && d->n_free > 0;
}

static bool is_pausing(const struct device *d, struct instant now)
{
    return instant_ms(now) < d->pause_until_ms;
}

static void pause_from(struct device *d, struct instant now)
{
    if (d->config->pause_ms > 0)
        d->pause_until_ms = instant_ms(now) + d->config->pause_ms;
}

/* The way for new requests: the first that is up. NULL: none is. */
static struct way *pick(const struct device *d)
{
    for (size_t i = 0; i < d->n_ways; i++)
        if (way_is_up(&d->ways[i]))
            return &d->ways[i];
    return NULL;
}

static void transmit(struct device *d, const struct exchange *x, struct instant now)
{
    if (is_current(d, x))
        way_send(&d->ways[x->up_way], bytes_of(x->room->stored, x->stored_n), now);
}

static uint32_t first_wait_ms(struct device *d, const struct exchange *x, const struct way *w)
{
    uint32_t jitter;
    random_bytes(d->shared, &jitter, sizeof jitter);
    if (x->type != TYPE_CON)
        return x->own ? OWN_WAIT_MS : NON_WAIT_MS;
    if (uplink_is_reliable(w->link))
        return RELIABLE_SUSPECT_MS;
    return ACK_TIMEOUT_MS + jitter % (ACK_TIMEOUT_MS * ACK_RANDOM_PERCENT / 100 + 1);
}

static uint64_t new_token(struct device *d, size_t place)
{
    uint64_t token;
    random_bytes(d->shared, &token, sizeof token);
    return (token & ~(uint64_t)0xffff) | place;
}

static void send_first(struct device *d, struct way *w, struct exchange *x, struct instant now)
{
    assert(has_room(d) && x->up == UP_NONE && way_is_ready(w));
    uint16_t place = (uint16_t)(x->up_token & 0xffff);
    if (!x->up_kept) {
        place = d->free_places[--d->n_free];
        x->up_token = new_token(d, place);
    }
    assert(!d->places[place]);
    x->up_mid = take_mid(d);
    x->up_way = (uint8_t)(w - d->ways);
    x->up_epoch = w->epoch;
    d->places[place] = x;
    tagmap_put(&d->by_mid, mid_tag(x->up_mid), place);
    d->n_window++;
    d->stats.in_flight++;
    w->in_flight++;

    struct buf header = buf_on(x->room->stored + HEADER_MID, 2 + TOKEN_BYTES);
    buf_put_be(&header, x->up_mid, 2);
    buf_put_be(&header, x->up_token, TOKEN_BYTES);

    x->up = UP_SENT;
    x->device = d;
    x->sent_us = now.mono_us;
    if (x->up_moves == 0)
        x->up_first_us = now.mono_us;
    x->up_tries = 1;
    x->up_wait_ms = first_wait_ms(d, x, w);
    arm(d, x, now, x->up_wait_ms);
    pause_from(d, now);
    d->stats.sent++;
    transmit(d, x, now);
}

/* At the end; or in front, when it was under way already. */
static void enqueue(struct device *d, struct exchange *x, bool in_front)
{
    struct exchange *before = in_front ? NULL : d->queue_tail;
    struct exchange *after = in_front ? d->queue_head : NULL;
    x->up = UP_QUEUED;
    x->device = d;
    x->up_prev = before;
    x->up_next = after;
    if (before)
        before->up_next = x;
    else
        d->queue_head = x;
    if (after)
        after->up_prev = x;
    else
        d->queue_tail = x;
    d->n_queued++;
}

/* The only way out: gives back what x holds. */
static void leave(struct device *d, struct exchange *x)
{
    assert(x->device == d && x->up != UP_NONE);
    if (x->up == UP_QUEUED) {
        if (x->up_prev)
            x->up_prev->up_next = x->up_next;
        else
            d->queue_head = x->up_next;
        if (x->up_next)
            x->up_next->up_prev = x->up_prev;
        else
            d->queue_tail = x->up_prev;
        assert(d->n_queued > 0);
        d->n_queued--;
    } else {
        uint16_t place = (uint16_t)(x->up_token & 0xffff);
        assert(d->places[place] == x && (x->up_kept || d->n_free < d->n_places));
        d->places[place] = NULL;
        tagmap_remove(&d->by_mid, mid_tag(x->up_mid), place);
        if (!x->up_kept)
            d->free_places[d->n_free++] = place;
        d->stats.in_flight--;
        d->ways[x->up_way].in_flight--;
        assert(x->up != UP_SENT || d->n_window > 0);
        if (x->up == UP_SENT)
            d->n_window--;
        deadline_cancel(&d->shared->deadlines, &x->up_deadline);
    }
    x->up = UP_NONE;
    x->device = NULL;
}

/* What waits moves up. While the device is down nothing waits for long. */
static void move_up(struct device *d, struct instant now)
{
    while (d->queue_head && has_room(d) && !is_pausing(d, now)) {
        struct way *w = pick(d);
        if (w && !way_is_ready(w))
            way_want(w);
        if (!w || !way_is_ready(w))
            return;
        struct exchange *x = d->queue_head;
        leave(d, x);
        if (way_takes(w, x->stored_n)) {
            send_first(d, w, x, now);
            continue;
        }
        x->up_end = UP_TOO_LARGE;
        d->shared->ops->answered(d->shared->user, x, NULL, now);
    }
}

/* The call at its end may come back to this device: what follows an end()
 * looks at it anew. */
static void end(struct device *d, struct exchange *x, enum exchange_up_end how, const struct msg *m,
                struct instant now)
{
    leave(d, x);
    x->up_end = how;
    move_up(d, now);
    d->shared->ops->answered(d->shared->user, x, m, now);
}

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
    struct way *up = pick(d), *w = way_for(d, up);
    bool wait = d->n_queued > 0 || !has_room(d) || is_pausing(d, now) || !w || !way_is_ready(w);
    if (wait && !may_wait(d, x, up, now)) {
        d->stats.refused++;
        x->up_end = !up && d->ways[d->trial].how == UPLINK_UNTRUSTED ? UP_UNTRUSTED : UP_FULL;
        return false;
    }
    m->type = x->type;
    m->mid = 0; /* this and the token when it is sent */
    m->token_n = TOKEN_BYTES;
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
        send_first(d, w, x, now);
        return true;
    }
    enqueue(d, x, false);
    move_up(d, now); /* wants a way that is not ready */
    return true;
}

/* ---- observations ---- */

bool device_listen(struct device *d, uint32_t owner, uint64_t *token)
{
    size_t i = 0;
    while (i < DEVICE_OBSERVATIONS && d->ears[i].token)
        i++;
    if (i == DEVICE_OBSERVATIONS)
        return false;
    *token = new_token(d, d->n_places + i);
    d->ears[i].token = *token;
    d->ears[i].owner = owner;
    d->n_ears++;
    return true;
}

void device_unlisten(struct device *d, uint64_t token)
{
    struct ear *e = &d->ears[(size_t)(token & 0xffff) - d->n_places];
    assert(find_ear(d, token) && !d->places[token & 0xffff]);
    e->token = 0;
    d->n_ears--;
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
    leave(d, x);
    x->up_moves++;
    d->stats.moved++;
    enqueue(d, x, true);
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
    const struct way *w = pick(d);
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
    for (size_t i = all_places(d); i-- > 0;) {
        struct exchange *x = d->places[i];
        if (!x || &d->ways[x->up_way] != w || (is_current(d, x) && !(all && x->up == UP_SENT)))
            continue;
        if (pick(d) && may_begin_anew(x, now))
            begin_anew(d, x);
        else if (!is_current(d, x))
            end(d, x, how, NULL, now);
    }
    move_up(d, now);
}

static void drain(struct device *d, enum exchange_up_end how, struct instant now)
{
    for (size_t n = d->n_queued; n > 0 && !pick(d) && d->queue_head; n--) {
        d->stats.drained++;
        end(d, d->queue_head, how, NULL, now);
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

static void on_lost(void *user, struct way *w, struct instant now)
{
    clear_flight(user, w, false, UP_SILENT, now);
}

static void on_failed(void *user, struct way *w, enum uplink_end how, struct instant now)
{
    struct device *d = user;
    enum exchange_up_end end_as = up_end_of(how);
    d->trial = ((size_t)(w - d->ways) + 1) % d->n_ways;
    note_way_in_use(d, now);
    clear_flight(d, w, pick(d) != NULL, end_as, now);
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
    if (is_current(d, x) && is_unheard(d, x) && !is_aside(x))
        way_silent(w, x->type == TYPE_CON ? SILENCE_CON : SILENCE_NON, now);
    if (d->places[place] != x || x->up_token != token)
        return; /* it went elsewhere with the others */
    end(d, x, UP_SILENT, NULL, now);
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
    bool current = is_current(d, x), unheard = is_unheard(d, x);
    if (x->up != UP_SENT || x->type != TYPE_CON || !current || x->up_tries > MAX_RETRANSMIT) {
        lost(d, x, now);
        return;
    }
    if (uplink_is_reliable(w->link)) { /* it waits for the answer alone */
        x->up_tries = MAX_RETRANSMIT + 1;
        arm(d, x, now, SEPARATE_WAIT_MS);
        if (unheard)
            way_suspect(w, now);
        return;
    }
    unsigned tries = x->up_tries++; /* RFC 7252 4.2: the same message, after twice the time */
    x->up_wait_ms *= 2;
    arm(d, x, now, x->up_wait_ms);
    d->stats.retransmitted++;
    transmit(d, x, now);
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
    for (size_t i = 0; !way_is_up(w) && i < all_places(d); i++) {
        struct exchange *x = d->places[i];
        if (x && x->up == UP_SENT && &d->ways[x->up_way] == w && x->sent_us < now.mono_us)
            end(d, x, UP_REFUSED, NULL, now);
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
    struct exchange *x = find_mid(d, w, m->mid);
    if (!x || (m->type == TYPE_ACK && x->type != TYPE_CON)) {
        d->stats.stray++; /* also the ACKs of our retransmissions */
        return;
    }
    heard(d, w, now);
    if (m->type == TYPE_RST) {
        d->stats.reset++;
        end(d, x, UP_RESET, NULL, now);
        return;
    }
    x->up = UP_ACKED;
    d->n_window--;
    arm(d, x, now, SEPARATE_WAIT_MS);
    move_up(d, now);
}

static void remember(struct device *d, uint16_t mid, uint64_t token, struct instant now)
{
    d->recent[d->next_recent].mid = mid;
    d->recent[d->next_recent].token = token;
    d->recent[d->next_recent].until_ms = instant_ms(now) + EXCHANGE_LIFETIME_MS;
    d->next_recent = (d->next_recent + 1) % RECENT;
}

static bool is_recent(const struct device *d, uint16_t mid, uint64_t token, struct instant now)
{
    for (size_t i = 0; i < RECENT; i++)
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
    const struct ear *e = pick(d) == w || !pick(d) ? find_ear(d, token) : NULL;
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
    struct exchange *x = find_token(d, w, m, &token);
    if (!x) {
        /* An answer again whose ACK was lost is no stray (RFC 7252 4.2). */
        if (m->type == TYPE_CON && m->token_n == TOKEN_BYTES && is_recent(d, m->mid, token, now))
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
    pause_from(d, now);
    d->stats.answered++;
    if (cut)
        end(d, x, UP_TOO_LARGE, NULL, now);
    else
        end(d, x, UP_ANSWERED, m, now);
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
    uint64_t due = d->queue_head && is_pausing(d, now) ? d->pause_until_ms : UINT64_MAX;
    for (size_t i = 0; i < d->n_ways; i++) {
        uint64_t of_way = way_deadline_ms(&d->ways[i]);
        due = of_way < due ? of_way : due;
    }
    if (due == UINT64_MAX)
        deadline_cancel(&d->shared->timers, &d->timer);
    else if (d->timer.slot == 0 || d->timer.at_ms != due)
        (void)deadline_set(&d->shared->timers, &d->timer, due); /* room for every device */
}

bool device_submit(struct device *d, struct exchange *x, struct msg *m, struct instant now)
{
    bool ok = submit(d, x, m, now);
    rearm(d, now);
    return ok;
}

void device_cancel(struct device *d, struct exchange *x, struct instant now)
{
    leave(d, x);
    move_up(d, now);
    rearm(d, now);
}

void device_expire(struct device *d, struct exchange *x, struct instant now)
{
    expire(d, x, now);
    rearm(d, now);
}

void device_resolved(struct device *d, size_t way, const struct peer *to, struct instant now)
{
    if (way < d->n_ways)
        way_resolved(&d->ways[way], to, now);
    rearm(d, now);
}

void device_tick(struct device *d, struct instant now)
{
    for (size_t i = 0; i < d->n_ways; i++)
        if (way_deadline_ms(&d->ways[i]) <= instant_ms(now))
            way_tick(&d->ways[i], now);
    move_up(d, now);
    rearm(d, now);
}

struct device *device_of_timer(struct deadline *timer)
{
    return (struct device *)(void *)((uint8_t *)timer - offsetof(struct device, timer));
}

/* ---- life ---- */

static void on_touched(void *user, struct instant now)
{
    struct device *d = user;
    move_up(d, now); /* a way may have come up */
    rearm(d, now);
}

static uint16_t on_mid(void *user)
{
    return take_mid(user);
}

static uint32_t on_random(void *user)
{
    struct device *d = user;
    uint32_t v;
    random_bytes(d->shared, &v, sizeof v);
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
    d->n_places = d->n_free = device_places(c);
    d->places = calloc(all_places(d), sizeof *d->places);
    d->free_places = calloc(d->n_places, sizeof *d->free_places);
    for (size_t i = 0; d->free_places && i < d->n_places; i++)
        d->free_places[i] = (uint16_t)(d->n_places - 1 - i);
    random_bytes(shared, &d->next_mid, sizeof d->next_mid); /* RFC 7252 4.4 */
    if (d->places && d->free_places && tagmap_init(&d->by_mid, all_places(d)) &&
        open_ways(d, number, diag)) {
        rearm(d, (struct instant){0});
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
    for (size_t i = 0; i < d->n_ways; i++)
        way_clear(&d->ways[i]);
    deadline_cancel(&d->shared->timers, &d->timer);
    free(d->ways);
    free(d->free_places);
    tagmap_clear(&d->by_mid);
    free(d->places);
    free(d);
}

void device_get_stats(const struct device *d, struct device_stats *out)
{
    const struct way *up = pick(d), *w = up ? up : &d->ways[d->trial];
    *out = d->stats;
    out->queued = d->n_queued;
    out->down = !up;
    out->since_s = w->health.since_s;
    out->url = w->url->text;
    out->reason = w->reason;
}
