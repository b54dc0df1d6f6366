#include "observe_inside.h"

#include <assert.h>
#include <stdlib.h>

#include "observe_order.h"

enum { MAX_AGE_DEFAULT_S = 60 /* RFC 7252 5.10.5 */ };

struct observes *observes_new(const struct observes_config *c)
{
    struct observes *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->config = *c;
    t->free_top = t->free_member = NONE;
    /* Not cleared: what is never used is never there. */
    t->all = malloc((c->max + 1) * sizeof *t->all);
    t->members = malloc((c->max_subscribers + 1) * sizeof *t->members);
    bool ok = tagmap_init(&t->by_request, c->max);
    ok = tagmap_init(&t->by_subscriber, c->max_subscribers) && ok;
    ok = deadlines_init(&t->tell, c->max) && ok;
    ok = deadlines_init(&t->renew, c->max) && ok;
    if (!ok || !t->all || !t->members) {
        observes_free(t);
        return NULL;
    }
    for (size_t i = 0; i < 2; i++) {
        t->seed.k0 = t->seed.k0 << 32 | c->random(c->user);
        t->seed.k1 = t->seed.k1 << 32 | c->random(c->user);
    }
    return t;
}

void observes_free(struct observes *t)
{
    if (!t)
        return;
    deadlines_clear(&t->renew);
    deadlines_clear(&t->tell);
    tagmap_clear(&t->by_subscriber);
    tagmap_clear(&t->by_request);
    free(t->members);
    free(t->all);
    free(t);
}

static uint32_t number_of(const struct observes *t, const struct observation *o)
{
    return (uint32_t)(o - t->all);
}

static void tell_at(struct observes *t, struct observation *o, uint64_t at_ms)
{
    /* Neither heap can be full: there is room for each. */
    if (o->tell.slot == 0 || at_ms < o->tell.at_ms)
        (void)deadline_set(&t->tell, &o->tell, at_ms);
}

static void renew_in(struct observes *t, struct observation *o, struct instant now, uint64_t ms)
{
    (void)deadline_set(&t->renew, &o->renew, instant_ms(now) + ms);
}

/* ---- observations ---- */

static struct observation *find(const struct observes *t, int device, struct bytes request,
                                uint32_t tag)
{
    size_t step = 0;
    for (uint32_t i; tagmap_find(&t->by_request, tag, &step, &i);)
        if (t->all[i].device == device &&
            bytes_equal(bytes_of(t->all[i].request, t->all[i].request_n), request))
            return &t->all[i];
    return NULL;
}

static struct observation *open_one(struct observes *t, int device, struct bytes request,
                                    uint32_t tag)
{
    uint32_t i = t->free_top;
    if (i == NONE && t->n_used == t->config.max)
        return NULL;
    uint64_t token;
    if (!upstream_listen(t->config.upstreams, device, i == NONE ? t->n_used : i, &token))
        return NULL;
    if (i == NONE)
        i = t->n_used++;
    else
        t->free_top = t->all[i].next_free;
    struct observation *o = &t->all[i];
    memset(o, 0, offsetof(struct observation, request));
    o->state = OPEN;
    o->tag = tag;
    o->device = device;
    o->token = token;
    o->ready = o->busy = (struct list){NONE, NONE};
    memcpy(o->request, request.p, request.n);
    o->request_n = request.n;
    tagmap_put(&t->by_request, tag, i);
    t->stats.observations++;
    return o;
}

/* Whoever comes now begins a new one. */
static void stop(struct observes *t, struct observation *o, enum state next)
{
    assert(o->state == OPEN && !o->x);
    tagmap_remove(&t->by_request, o->tag, number_of(t, o));
    deadline_cancel(&t->renew, &o->renew);
    o->state = next;
}

static void free_one(struct observes *t, struct observation *o)
{
    assert(o->n == 0 && !o->x && o->state != OPEN);
    deadline_cancel(&t->tell, &o->tell);
    upstream_unlisten(t->config.upstreams, o->device, o->token);
    o->state = FREE;
    o->next_free = t->free_top;
    t->free_top = number_of(t, o);
    t->stats.observations--;
}

/* The request goes to the device, to register or to end it; of no other type
 * than CON is it known that it came there, and to say that we go costs the
 * frail no more than one message. */
static bool ask(struct observes *t, struct observation *o, uint32_t observe, struct instant now,
                enum exchange_up_end *why)
{
    struct msg m;
    uint8_t value[4];
    *why = UP_FULL;
    struct exchange *x = exchange_own(t->config.exchanges, now);
    if (!x)
        return false;
    bool ok = msg_parse(bytes_of(o->request, o->request_n), &m) == MSG_OK;
    for (size_t i = 0; i < m.n_options; i++)
        if (m.options[i].number == OPT_OBSERVE)
            m.options[i].value = bytes_of(value, observe == OBSERVE_REGISTER ? 0 : 1);
    value[0] = (uint8_t)observe;
    x->type = observe == OBSERVE_REGISTER ? TYPE_CON : TYPE_NON;
    x->method = m.code;
    x->device_index = o->device;
    x->observation = number_of(t, o) + 1;
    x->up_kept = true;
    x->up_token = o->token;
    if (ok && upstream_submit(t->config.upstreams, x, o->device, &m, now)) {
        o->x = x;
        return true;
    }
    *why = x->up_end;
    exchange_drop(t->config.exchanges, x, now);
    return false;
}

/* Again, but each time after twice as long. */
static void back_off(struct observes *t, struct observation *o, struct instant now)
{
    uint64_t ms = (uint64_t)OBSERVE_RETRY_MIN_S * 1000 << (o->failures < 8 ? o->failures : 8);
    o->failures++;
    o->known = false;
    if (ms > (uint64_t)OBSERVE_RETRY_MAX_S * 1000)
        ms = (uint64_t)OBSERVE_RETRY_MAX_S * 1000;
    renew_in(t, o, now, ms + t->config.random(t->config.user) % (uint32_t)(ms / 4));
}

/* The device is told that nobody is left, when it has room for it. Where it
 * does not hear that, RST to its next message says the same (RFC 7641 3.6). */
static void say_goodbye(struct observes *t, struct observation *o, struct instant now)
{
    enum { TRIES = 5, AGAIN_MS = 500 };
    enum exchange_up_end why;
    if (o->x)
        return; /* it is under way */
    if (!o->known || o->failures == TRIES) {
        free_one(t, o);
    } else if (!ask(t, o, OBSERVE_DEREGISTER, now, &why)) {
        o->failures++;
        tell_at(t, o, instant_ms(now) + AGAIN_MS);
    }
}

static void quit(struct observes *t, struct observation *o, struct instant now)
{
    if (o->x) {
        o->known = o->known || o->x->up != UP_QUEUED; /* it may have come there */
        upstream_cancel(t->config.upstreams, o->x, now);
        exchange_drop(t->config.exchanges, o->x, now);
        o->x = NULL;
    }
    stop(t, o, LEAVING);
    o->failures = 0;
    say_goodbye(t, o, now);
}

/* ---- subscribers ---- */

static bool is_fresh(const struct observation *o, struct instant now)
{
    return o->known && o->version > 0 && instant_ms(now) < o->fresh_until_ms;
}

enum observe_taken observe_subscribe(struct observes *t, int device, const struct msg *m,
                                     struct subscriber s, struct instant now,
                                     enum exchange_up_end *why)
{
    uint8_t storage[OBSERVE_REQUEST_MAX];
    struct buf request = buf_on(storage, sizeof storage);
    if (!observe_request(m, &request) || member_find(t, s) != NONE)
        return OBSERVE_PLAIN;
    uint32_t tag =
        (uint32_t)siphash(&t->seed, buf_bytes(&request)) ^ (uint32_t)device * UINT32_C(0x9e3779b1);
    struct observation *o = find(t, device, buf_bytes(&request), tag);
    bool known = o != NULL;
    if (member_has_room(t) && !o)
        o = open_one(t, device, buf_bytes(&request), tag);
    if (!o || !member_has_room(t)) {
        t->stats.full++;
        return OBSERVE_PLAIN;
    }
    bool fresh = is_fresh(o, now);
    if (!fresh && !o->x && !ask(t, o, OBSERVE_REGISTER, now, why)) {
        if (!known) {
            stop(t, o, LEAVING);
            free_one(t, o);
        }
        return OBSERVE_REFUSED;
    }
    member_join(t, o, s, fresh);
    if (fresh)
        tell_at(t, o, instant_ms(now));
    return OBSERVE_TAKEN;
}

void observe_unsubscribe(struct observes *t, struct subscriber s, struct instant now)
{
    uint32_t i = member_find(t, s);
    if (i == NONE)
        return;
    struct observation *o = &t->all[t->members[i].at];
    member_leave(t, i);
    if (o->n == 0)
        tell_at(t, o, instant_ms(now)); /* by then another may have come */
}

/* At the pace on the average, a few at once. */
static uint64_t may_tell_ms(const struct observation *o, struct instant now)
{
    enum { AHEAD_MS = OBSERVE_BURST * OBSERVE_PACE_MS };
    uint64_t now_ms = instant_ms(now);
    bool paced = o->state == OPEN && o->paced != o->version;
    return paced && o->pace_ms > now_ms + AHEAD_MS ? o->pace_ms - AHEAD_MS : now_ms;
}

void observe_ready(struct observes *t, struct subscriber s, bool seen, struct instant now)
{
    uint32_t i = member_find(t, s);
    if (i == NONE || (!t->members[i].busy && seen))
        return;
    struct observation *o = &t->all[t->members[i].at];
    if (member_ready(t, i, seen))
        tell_at(t, o, may_tell_ms(o, now));
}

/* ---- what the device says ---- */

static uint64_t max_age_ms(const struct msg *m)
{
    int64_t s = msg_uint(m, OPT_MAX_AGE);
    return (uint64_t)(s < 0 ? MAX_AGE_DEFAULT_S : s) * 1000;
}

/* When it is quiet for longer than its word is good, after the time that
 * RFC 7641 3.3.1 gives it; but not never, for a device that has restarted
 * does not say so. */
static void await_next(struct observes *t, struct observation *o, uint64_t age_ms,
                       struct instant now)
{
    uint64_t wait = age_ms < OBSERVE_RENEW_MAX_MS ? age_ms : OBSERVE_RENEW_MAX_MS;
    uint32_t jitter =
        t->config.random(t->config.user) % (OBSERVE_LATE_MAX_MS - OBSERVE_LATE_MIN_MS + 1);
    renew_in(t, o, now, wait + OBSERVE_LATE_MIN_MS + jitter);
}

/* The newest state, which is told from now on. */
static void take_state(struct observes *t, struct observation *o, const struct msg *m, bool cut,
                       struct instant now)
{
    struct msg copy = *m;
    copy.token_n = 0;
    copy.mid = 0;
    copy.type = TYPE_NON;
    struct buf b = buf_on(o->message, sizeof o->message);
    if (cut || !msg_write(&copy, &b)) {
        b.n = 0;
        o->up_end = UP_TOO_LARGE;
    }
    int64_t number = b.n ? observe_number(m) : -1;
    o->message_n = b.n;
    o->version++;
    o->came_us = now.mono_us;
    o->confirm = m->type == TYPE_CON;
    o->failures = 0;
    if (number < 0) {
        t->stats.ended++;
        stop(t, o, OVER);
    } else {
        uint64_t age_ms = max_age_ms(m);
        o->number = (uint32_t)number;
        o->fresh_until_ms = instant_ms(now) + age_ms;
        o->known = true;
        await_next(t, o, age_ms, now);
    }
    tell_at(t, o, may_tell_ms(o, now));
}

/* Those who asked will be told that there is no answer. The others keep what
 * they have: it grows old, and they see that themselves (RFC 7641 3.3.1). */
static void fail(struct observes *t, struct observation *o, enum exchange_up_end why,
                 struct instant now)
{
    t->stats.lost++;
    if (o->message_n == 0)
        o->up_end = why;
    o->failure = why;
    o->failed = true;
    for (uint32_t i = o->ready.head; i != NONE; i = t->members[i].next)
        t->members[i].failed = t->members[i].waits;
    back_off(t, o, now);
    tell_at(t, o, instant_ms(now));
}

void observe_answered(struct observes *t, struct exchange *x, const struct msg *m,
                      struct instant now)
{
    struct observation *o = &t->all[x->observation - 1];
    enum exchange_up_end why = x->up_end;
    assert(o->x == x);
    o->x = NULL;
    exchange_drop(t->config.exchanges, x, now);
    if (o->state == LEAVING) {
        free_one(t, o);
        return;
    }
    if (!m && why != UP_TOO_LARGE) {
        fail(t, o, why, now);
        return;
    }
    /* Whatever its number: we asked after all that we knew, and a device
     * that has restarted counts anew. */
    if (m)
        take_state(t, o, m, false, now);
    else
        take_state(t, o, &(struct msg){.code = MSG_CODE(5, 2)}, true, now);
    t->stats.registered += o->state == OPEN;
}

bool observe_notified(struct observes *t, uint32_t owner, const struct msg *m, bool cut,
                      struct instant now)
{
    struct observation *o = &t->all[owner];
    if (o->state != OPEN) {
        o->known = false; /* it is told by RST */
        return false;
    }
    t->stats.notifications++;
    int64_t number = observe_number(m);
    if (number >= 0 && o->version > 0 &&
        !observe_is_newer(o->number, o->came_us, (uint32_t)number, now.mono_us)) {
        t->stats.disordered++;
        return true;
    }
    if (o->x) { /* in the device's queue: it would say no more than this */
        upstream_cancel(t->config.upstreams, o->x, now);
        exchange_drop(t->config.exchanges, o->x, now);
        o->x = NULL;
    }
    take_state(t, o, m, cut, now);
    return true;
}

bool observe_is_news(const struct observes *t, uint32_t owner, struct instant now, int *device,
                     struct bytes *request)
{
    const struct observation *o = &t->all[owner];
    *device = o->device;
    *request = bytes_of(o->request, o->request_n);
    return o->version > 0 && o->came_us == now.mono_us; /* also when it was the last */
}

void observe_returned(struct observes *t, uint32_t owner, struct instant now)
{
    struct observation *o = &t->all[owner];
    if (o->state != OPEN)
        return;
    o->known = false;
    renew_in(t, o, now, t->config.random(t->config.user) % OBSERVE_RETURN_MS);
}

/* ---- telling ---- */

/* False: there was no room for one. */
static bool tell_failed(struct observes *t, struct observation *o)
{
    for (uint32_t i = o->ready.head, next; o->failed && i != NONE; i = next) {
        struct observe_notice n = {.up_end = o->failure, .last = true};
        next = t->members[i].next;
        if (!t->members[i].failed)
            continue;
        if (!t->config.ops->notify(t->config.user, t->members[i].who, &n))
            return false;
        member_leave(t, i);
    }
    o->failed = false;
    return true;
}

/* A notice may make any member ready or gone, but for who gets the last. */
static bool tell_one(struct observes *t, struct observation *o, uint32_t i, struct instant now)
{
    struct observe_notice n = {.message = bytes_of(o->message, o->message_n),
                               .up_end = o->up_end,
                               .age_s = (uint32_t)((now.mono_us - o->came_us) / 1000000),
                               .confirm = o->confirm,
                               .last = o->state == OVER};
    struct subscriber who = t->members[i].who;
    bool waits = t->members[i].waits;
    if (!n.last)
        member_told(t, i);
    bool told = t->config.ops->notify(t->config.user, who, &n);
    if (told && n.last)
        member_leave(t, i);
    else if (!told && !n.last)
        member_untold(t, i, waits);
    return told;
}

/* False: the budget is spent, or there was no room. */
static bool tell(struct observes *t, struct observation *o, struct instant now, size_t *budget)
{
    bool may = may_tell_ms(o, now) <= instant_ms(now);
    if (!tell_failed(t, o))
        return false;
    for (uint32_t i; (i = o->ready.head) != NONE;) {
        const struct member *m = &t->members[i];
        if (o->state != OVER && (m->shown == o->version || !(may || m->waits)))
            break;
        if (*budget == 0)
            return false;
        (*budget)--;
        if (may && o->paced != o->version) {
            o->paced = o->version;
            o->pace_ms =
                (o->pace_ms > instant_ms(now) ? o->pace_ms : instant_ms(now)) + OBSERVE_PACE_MS;
        }
        if (!tell_one(t, o, i, now))
            return false;
    }
    return true;
}

void observes_turn(struct observes *t, struct instant now)
{
    uint64_t now_ms = instant_ms(now);
    size_t budget = OBSERVE_NOTICES;
    for (struct deadline *d; budget > 0 && (d = deadlines_pop(&t->tell, now_ms));) {
        struct observation *o =
            (struct observation *)(void *)((uint8_t *)d - offsetof(struct observation, tell));
        if (o->state == LEAVING)
            say_goodbye(t, o, now);
        else if (!tell(t, o, now, &budget))
            /* Others have their turn in between. */
            tell_at(t, o, now_ms + (budget == 0 ? 1 : OBSERVE_ROOM_MS));
        else if (o->n == 0 && o->state == OPEN)
            quit(t, o, now);
        else if (o->n == 0 && o->state == OVER)
            free_one(t, o);
        else if (o->state == OPEN && member_is_behind(t, o))
            tell_at(t, o, may_tell_ms(o, now));
    }
    for (struct deadline *d; (d = deadlines_pop(&t->renew, now_ms));) {
        struct observation *o =
            (struct observation *)(void *)((uint8_t *)d - offsetof(struct observation, renew));
        enum exchange_up_end why;
        if (!o->x && o->n > 0 && !ask(t, o, OBSERVE_REGISTER, now, &why))
            back_off(t, o, now);
    }
}

uint64_t observes_deadline_ms(const struct observes *t)
{
    uint64_t tell = deadlines_next(&t->tell), renew = deadlines_next(&t->renew);
    return tell < renew ? tell : renew;
}

void observes_get_stats(const struct observes *t, struct observes_stats *out)
{
    *out = t->stats;
}
