/* The requests of one device that are under way: in flight, each in its place,
 * or in the queue behind the window. */
#include <assert.h>
#include <stdlib.h>

#include "device_inside.h"

enum {
    HEADER_MID = 2, /* where they stand in a message (RFC 7252 3) */
};

size_t device_places(const struct device_config *c)
{
    return (size_t)c->window + DEVICE_ACKED;
}

bool flight_init(struct device *d)
{
    d->n_places = d->n_free = device_places(d->config);
    d->places = calloc(flight_places(d), sizeof *d->places);
    d->free_places = calloc(d->n_places, sizeof *d->free_places);
    for (size_t i = 0; d->free_places && i < d->n_places; i++)
        d->free_places[i] = (uint16_t)(d->n_places - 1 - i);
    device_random(d, &d->next_mid, sizeof d->next_mid); /* RFC 7252 4.4 */
    return d->places && d->free_places && tagmap_init(&d->by_mid, flight_places(d));
}

void flight_clear(struct device *d)
{
    free(d->free_places);
    tagmap_clear(&d->by_mid);
    free(d->places);
}

void device_random(struct device *d, void *to, size_t n)
{
    struct device_shared *s = d->shared;
    if (s->pool_n < n) {
        s->random(s->user, s->pool, sizeof s->pool);
        s->pool_n = sizeof s->pool;
    }
    s->pool_n -= n;
    memcpy(to, s->pool + s->pool_n, n);
    memset(s->pool + s->pool_n, 0, n);
}

size_t flight_places(const struct device *d)
{
    return d->n_places + DEVICE_OBSERVATIONS;
}

bool flight_is_current(const struct device *d, const struct exchange *x)
{
    return x->up_epoch == d->ways[x->up_way].epoch;
}

static bool is_on(const struct device *d, const struct exchange *x, const struct way *w)
{
    return &d->ways[x->up_way] == w && flight_is_current(d, x);
}

struct exchange *flight_find_token(const struct device *d, const struct way *w, const struct msg *m,
                                   uint64_t *token)
{
    _Static_assert(DEVICE_TOKEN_BYTES == sizeof *token, "one word");
    *token = 0;
    if (m->token_n != DEVICE_TOKEN_BYTES)
        return NULL;
    memcpy(token, m->token, sizeof *token);
    *token = be64toh(*token);
    size_t place = *token & 0xffff;
    struct exchange *x = place < flight_places(d) ? d->places[place] : NULL;
    return x && x->up_token == *token && is_on(d, x, w) ? x : NULL;
}

const struct ear *flight_find_ear(const struct device *d, uint64_t token)
{
    size_t i = (size_t)(token & 0xffff) - d->n_places;
    return token != 0 && i < DEVICE_OBSERVATIONS && d->ears[i].token == token ? &d->ears[i] : NULL;
}

/* Our IDs come in a row; side by side they would make the map walk. */
static uint32_t mid_tag(uint16_t mid)
{
    return mid * UINT32_C(0x9e3779b1) >> 16;
}

struct exchange *flight_find_mid(const struct device *d, const struct way *w, uint16_t mid)
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
uint16_t flight_take_mid(struct device *d)
{
    for (;;) {
        uint16_t mid = d->next_mid++;
        uint32_t place;
        size_t step = 0;
        if (!tagmap_find(&d->by_mid, mid_tag(mid), &step, &place))
            return mid; /* nor any other of its tag, which does no harm */
    }
}

void flight_arm(struct device *d, struct exchange *x, struct instant now, uint32_t wait_ms)
{
    /* It cannot be full: it has room for every place of every device. */
    (void)deadline_set(&d->shared->deadlines, &x->up_deadline, instant_ms(now) + wait_ms);
}

bool flight_has_room(const struct device *d)
{
    return d->n_window < d->config->window && d->n_free > 0;
}

bool flight_is_pausing(const struct device *d, struct instant now)
{
    return instant_ms(now) < d->pause_until_ms;
}

void flight_pause(struct device *d, struct instant now)
{
    if (d->config->pause_ms > 0)
        d->pause_until_ms = instant_ms(now) + d->config->pause_ms;
}

struct way *flight_way(const struct device *d)
{
    for (size_t i = 0; i < d->n_ways; i++)
        if (way_is_up(&d->ways[i]))
            return &d->ways[i];
    return NULL;
}

void flight_transmit(struct device *d, const struct exchange *x, struct instant now)
{
    if (flight_is_current(d, x))
        way_send(&d->ways[x->up_way], bytes_of(x->room->stored, x->stored_n), now);
}

static uint32_t first_wait_ms(const struct exchange *x, const struct way *w, uint16_t jitter)
{
    if (x->type != TYPE_CON)
        return x->own ? OWN_WAIT_MS : NON_WAIT_MS;
    if (uplink_is_reliable(w->link))
        return RELIABLE_SUSPECT_MS;
    return ACK_TIMEOUT_MS + jitter % (ACK_TIMEOUT_MS * ACK_RANDOM_PERCENT / 100 + 1);
}

/* 48 bits that are random, and the place. */
static uint64_t token_of(uint64_t random, size_t place)
{
    return (random & ~(uint64_t)0xffff) | place;
}

void flight_send(struct device *d, struct way *w, struct exchange *x, struct instant now)
{
    assert(flight_has_room(d) && x->up == UP_NONE && way_is_ready(w));
    uint16_t place = (uint16_t)(x->up_token & 0xffff);
    uint64_t random;
    device_random(d, &random, sizeof random);
    if (!x->up_kept) {
        place = d->free_places[--d->n_free];
        x->up_token = token_of(random, place);
    }
    assert(!d->places[place]);
    x->up_mid = flight_take_mid(d);
    x->up_way = (uint8_t)(w - d->ways);
    x->up_epoch = w->epoch;
    d->places[place] = x;
    tagmap_put(&d->by_mid, mid_tag(x->up_mid), place);
    d->n_window++;
    d->stats.in_flight++;
    w->in_flight++;

    struct buf header = buf_on(x->room->stored + HEADER_MID, 2 + DEVICE_TOKEN_BYTES);
    buf_put_be(&header, x->up_mid, 2);
    buf_put_be(&header, x->up_token, DEVICE_TOKEN_BYTES);

    x->up = UP_SENT;
    x->device = d;
    x->sent_us = now.mono_us;
    if (x->up_moves == 0)
        x->up_first_us = now.mono_us;
    x->up_tries = 1;
    x->up_wait_ms = first_wait_ms(x, w, (uint16_t)random); /* the bits that are not the token's */
    flight_arm(d, x, now, x->up_wait_ms);
    flight_pause(d, now);
    d->stats.sent++;
    flight_transmit(d, x, now);
}

void flight_enqueue(struct device *d, struct exchange *x, bool in_front)
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

void flight_leave(struct device *d, struct exchange *x)
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
        if (flight_is_current(d, x))
            uplink_forget(d->ways[x->up_way].link, x->up_token);
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

void flight_move_up(struct device *d, struct instant now)
{
    while (d->queue_head && flight_has_room(d) && !flight_is_pausing(d, now)) {
        struct way *w = flight_way(d);
        if (w && !way_is_ready(w))
            way_want(w);
        if (!w || !way_is_ready(w))
            return;
        struct exchange *x = d->queue_head;
        flight_leave(d, x);
        /* It may have waited longer than what permitted it. */
        bool over = !x->own && now.wall_s >= x->ends_s;
        if (!over && way_takes(w, x->stored_n)) {
            flight_send(d, w, x, now);
            continue;
        }
        x->up_end = over ? UP_FULL : UP_TOO_LARGE;
        d->shared->ops->answered(d->shared->user, x, NULL, now);
    }
}

/* The call at its end may come back to this device: what follows an flight_end()
 * looks at it anew. */
void flight_end(struct device *d, struct exchange *x, enum exchange_up_end how, const struct msg *m,
                struct instant now)
{
    flight_leave(d, x);
    x->up_end = how;
    flight_move_up(d, now);
    d->shared->ops->answered(d->shared->user, x, m, now);
}

/* ---- observations ---- */

bool device_listen(struct device *d, uint32_t owner, uint64_t *token)
{
    size_t i = 0;
    while (i < DEVICE_OBSERVATIONS && d->ears[i].token)
        i++;
    if (i == DEVICE_OBSERVATIONS)
        return false;
    uint64_t random;
    device_random(d, &random, sizeof random);
    *token = token_of(random, d->n_places + i);
    d->ears[i].token = *token;
    d->ears[i].owner = owner;
    d->n_ears++;
    return true;
}

void device_unlisten(struct device *d, uint64_t token)
{
    struct ear *e = &d->ears[(size_t)(token & 0xffff) - d->n_places];
    assert(flight_find_ear(d, token) && !d->places[token & 0xffff]);
    e->token = 0;
    d->n_ears--;
}
