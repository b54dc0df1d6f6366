#include "device.h"

#include <assert.h>
#include <stdlib.h>

#include "tagmap.h"

enum {
    TOKEN_BYTES = 8,
    RECENT = 8,     /* separate answers whose ACK we can repeat */
    HEADER_MID = 2, /* where they stand in a message (RFC 7252 3) */
    HEADER_TOKEN = 4,
    /* Silence that makes a device down. One lost CON was five times sent; of
     * NON it takes two in a row, for one may just have been lost. */
    SILENCE_CON = 2,
    SILENCE_NON = 1,
    SILENCE_DOWN = 2,
};

struct device {
    const struct device_config *config;
    struct device_shared *shared;
    struct udp *udp;
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

    bool down;
    unsigned silence;
    uint64_t heard_us; /* last authentic message */

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

struct device *device_new(const struct device_config *c, struct device_shared *shared,
                          struct buf *diag)
{
    struct device *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->config = c;
    d->shared = shared;
    d->n_places = d->n_free = device_places(c);
    d->places = calloc(d->n_places + DEVICE_OBSERVATIONS, sizeof *d->places);
    d->free_places = calloc(d->n_places, sizeof *d->free_places);
    if (d->places && d->free_places && tagmap_init(&d->by_mid, d->n_places + DEVICE_OBSERVATIONS))
        d->udp = udp_connect(&c->to, diag);
    if (!d->udp) {
        device_free(d);
        return NULL;
    }
    for (size_t i = 0; i < d->n_places; i++)
        d->free_places[i] = (uint16_t)(d->n_places - 1 - i);
    random_bytes(shared, &d->next_mid, sizeof d->next_mid); /* RFC 7252 4.4 */
    return d;
}

void device_free(struct device *d)
{
    if (!d)
        return;
    udp_free(d->udp);
    free(d->free_places);
    tagmap_clear(&d->by_mid);
    free(d->places);
    free(d);
}

struct udp *device_udp(const struct device *d)
{
    return d->udp;
}

/* ---- the flight ---- */

static struct exchange *find_token(const struct device *d, const struct msg *m, uint64_t *token)
{
    *token = 0;
    if (m->token_n != TOKEN_BYTES)
        return NULL;
    for (size_t i = 0; i < TOKEN_BYTES; i++)
        *token = *token << 8 | m->token[i];
    size_t place = *token & 0xffff;
    struct exchange *x = place < d->n_places + DEVICE_OBSERVATIONS ? d->places[place] : NULL;
    return x && x->up_token == *token ? x : NULL;
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
static struct exchange *find_mid(const struct device *d, uint16_t mid)
{
    size_t step = 0;
    for (uint32_t i; tagmap_find(&d->by_mid, mid_tag(mid), &step, &i);)
        if (d->places[i]->up_mid == mid && d->places[i]->up == UP_SENT)
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

static void transmit(struct device *d, const struct exchange *x)
{
    udp_send(d->udp, &d->config->to, bytes_of(x->room->stored, x->stored_n));
}

static uint64_t new_token(struct device *d, size_t place)
{
    uint64_t token;
    random_bytes(d->shared, &token, sizeof token);
    return (token & ~(uint64_t)0xffff) | place;
}

static void send_first(struct device *d, struct exchange *x, struct instant now)
{
    assert(has_room(d) && x->up == UP_NONE);
    uint16_t place = (uint16_t)(x->up_token & 0xffff);
    if (!x->up_kept) {
        place = d->free_places[--d->n_free];
        x->up_token = new_token(d, place);
    }
    assert(!d->places[place]);
    x->up_mid = take_mid(d);
    d->places[place] = x;
    tagmap_put(&d->by_mid, mid_tag(x->up_mid), place);
    d->n_window++;
    d->stats.in_flight++;

    struct buf header = buf_on(x->room->stored + HEADER_MID, 2 + TOKEN_BYTES);
    buf_put_be(&header, x->up_mid, 2);
    buf_put_be(&header, x->up_token, TOKEN_BYTES);

    x->up = UP_SENT;
    x->device = d;
    x->sent_us = now.mono_us;
    x->up_tries = 1;
    uint32_t jitter;
    random_bytes(d->shared, &jitter, sizeof jitter);
    x->up_wait_ms = x->type == TYPE_CON
                        ? ACK_TIMEOUT_MS + jitter % (ACK_TIMEOUT_MS * ACK_RANDOM_PERCENT / 100 + 1)
                    : x->own ? OWN_WAIT_MS
                             : NON_WAIT_MS;
    arm(d, x, now, x->up_wait_ms);
    d->stats.sent++;
    transmit(d, x);
}

static void enqueue(struct device *d, struct exchange *x)
{
    x->up = UP_QUEUED;
    x->device = d;
    x->up_next = NULL;
    x->up_prev = d->queue_tail;
    if (d->queue_tail)
        d->queue_tail->up_next = x;
    else
        d->queue_head = x;
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
    while (d->queue_head && !d->down && has_room(d)) {
        struct exchange *x = d->queue_head;
        leave(d, x);
        send_first(d, x, now);
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

bool device_submit(struct device *d, struct exchange *x, struct msg *m, struct instant now)
{
    assert(x->up == UP_NONE && (x->type == TYPE_CON || x->type == TYPE_NON));
    bool wait = d->n_queued > 0 || !has_room(d);
    if (wait && (is_aside(x) || d->down || d->n_queued >= d->config->queue)) {
        d->stats.refused++;
        x->up_end = UP_FULL;
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
    if (wait)
        enqueue(d, x);
    else
        send_first(d, x, now);
    return true;
}

void device_cancel(struct device *d, struct exchange *x, struct instant now)
{
    leave(d, x);
    move_up(d, now);
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

static void heard(struct device *d, struct instant now)
{
    bool was_down = d->down;
    d->heard_us = now.mono_us;
    d->silence = 0;
    d->down = false;
    for (size_t i = 0; was_down && d->n_ears > 0 && i < DEVICE_OBSERVATIONS; i++)
        if (d->ears[i].token)
            d->shared->ops->returned(d->shared->user, d->ears[i].owner, now);
}

/* No answer came to x. The device is down only if nothing else came either. */
static void lost(struct device *d, struct exchange *x, struct instant now)
{
    d->stats.silent++;
    /* Who answers its clients need not answer us. */
    if (d->heard_us <= x->sent_us && !is_aside(x))
        d->silence += x->type == TYPE_CON ? SILENCE_CON : SILENCE_NON;
    if (d->silence >= SILENCE_DOWN)
        d->down = true;
    end(d, x, UP_SILENT, NULL, now);
    /* Those behind it would wait in vain, one transmit wait after the other. */
    while (d->down && d->queue_head) {
        d->stats.drained++;
        end(d, d->queue_head, UP_DRAINED, NULL, now);
    }
}

void device_expire(struct device *d, struct exchange *x, struct instant now)
{
    if (x->up != UP_SENT || x->type != TYPE_CON || x->up_tries > MAX_RETRANSMIT) {
        lost(d, x, now);
        return;
    }
    x->up_tries++; /* RFC 7252 4.2: the same message, after twice the time */
    x->up_wait_ms *= 2;
    arm(d, x, now, x->up_wait_ms);
    d->stats.retransmitted++;
    transmit(d, x);
}

/* ICMP: nobody listens on the port. It may be forged, and a device that
 * restarts answers again soon, so requests keep being retransmitted. Only
 * those to a device that is down already need not wait any longer. */
static void unreachable(struct device *d, struct instant now)
{
    d->stats.unreachable++;
    for (size_t i = 0; d->down && i < d->n_places + DEVICE_OBSERVATIONS; i++) {
        struct exchange *x = d->places[i];
        if (x && x->up == UP_SENT && x->sent_us < now.mono_us)
            end(d, x, UP_REFUSED, NULL, now);
    }
}

/* ---- answers ---- */

static void send_empty(struct device *d, enum msg_type type, uint16_t mid)
{
    struct buf slot = udp_slot(d->udp);
    msg_write_empty(type, mid, &slot);
    udp_commit(d->udp, &d->config->to, &slot);
}

/* RFC 7252 4.2, 4.3: a CON that we cannot use is rejected, the rest ignored. */
static void reject(struct device *d, const struct msg *m)
{
    d->stats.stray++;
    if (m->type == TYPE_CON)
        send_empty(d, TYPE_RST, m->mid);
}

static void take_empty(struct device *d, const struct msg *m, struct instant now)
{
    if (m->type == TYPE_CON || m->type == TYPE_NON) {
        reject(d, m); /* a ping (4.3) */
        return;
    }
    struct exchange *x = find_mid(d, m->mid);
    if (!x || (m->type == TYPE_ACK && x->type != TYPE_CON)) {
        d->stats.stray++; /* also the ACKs of our retransmissions */
        return;
    }
    heard(d, now);
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
static void take_notice(struct device *d, const struct msg *m, uint64_t token, bool cut,
                        struct instant now)
{
    const struct ear *e = find_ear(d, token);
    if (!e || !d->shared->ops->notified(d->shared->user, e->owner, m, cut, now)) {
        reject(d, m);
        if (m->type == TYPE_NON && msg_find(m, OPT_OBSERVE))
            send_empty(d, TYPE_RST, m->mid);
        return;
    }
    if (m->type == TYPE_CON)
        send_empty(d, TYPE_ACK, m->mid);
    heard(d, now);
    d->stats.notified++;
}

static void take_answer(struct device *d, const struct msg *m, bool cut, struct instant now)
{
    uint64_t token;
    struct exchange *x = find_token(d, m, &token);
    if (!x) {
        /* An answer again whose ACK was lost is no stray (RFC 7252 4.2). */
        if (m->type == TYPE_CON && m->token_n == TOKEN_BYTES && is_recent(d, m->mid, token, now))
            send_empty(d, TYPE_ACK, m->mid);
        else
            take_notice(d, m, token, cut, now);
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
        send_empty(d, TYPE_ACK, m->mid);
    }
    heard(d, now);
    measure(d, x, now);
    d->stats.answered++;
    if (cut)
        end(d, x, UP_TOO_LARGE, NULL, now);
    else
        end(d, x, UP_ANSWERED, m, now);
}

void device_receive(struct device *d, struct bytes datagram, struct instant now)
{
    if (datagram.n == 0) {
        unreachable(d, now);
        return;
    }
    struct msg m;
    enum msg_parse parse = msg_parse(datagram, &m);
    if (parse == MSG_IGNORE)
        d->stats.stray++;
    else if (parse == MSG_BAD)
        reject(d, &m);
    else if (m.code == MSG_EMPTY)
        take_empty(d, &m, now);
    else if (msg_is_response(&m))
        /* One of this length may have been longer (udp_receive). */
        take_answer(d, &m, datagram.n >= DATAGRAM_MAX, now);
    else
        reject(d, &m); /* a request: we serve devices nothing */
}

void device_get_stats(const struct device *d, struct device_stats *out)
{
    *out = d->stats;
    out->queued = d->n_queued;
    out->down = d->down;
}
