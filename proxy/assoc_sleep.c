/* Sleep and waking of established associations. */
#include <stdlib.h>

#include "assoc_inside.h"
#include "hello.h"
#include "memory.h"

void assocs_forget_trial(struct assocs *t)
{
    if (t->trial)
        dtls_session_leave(t->trial);
    t->trial = NULL;
    t->trial_of = NULL;
}

void assoc_forget_asleep(struct assocs *t, struct assoc *a)
{
    if (t->trial_of == a)
        assocs_forget_trial(t);
    t->stats.asleep -= a->asleep != NULL;
    dtls_asleep_free(t->dtls, a->asleep);
    a->asleep = NULL;
}

/* The copy of a that records are tried on. */
static struct dtls_session *trial(struct assocs *t, struct assoc *a)
{
    if (t->trial_of == a)
        return t->trial;
    assocs_forget_trial(t);
    t->trial = dtls_rouse(t->dtls, a->asleep, &a->peer, a, t->now);
    t->trial_of = t->trial ? a : NULL;
    return t->trial;
}

struct dtls_session *assoc_awake(struct assocs *t, struct assoc *a)
{
    if (a->live)
        return a->live->dtls;
    struct dtls_session *s = trial(t, a);
    struct assoc_seat *seat = s ? assoc_seat_new(a, s) : NULL;
    if (!seat)
        return NULL;
    /* The copy becomes the session, and the bytes go: there is one again. */
    t->trial = NULL;
    t->trial_of = NULL;
    assoc_forget_asleep(t, a);
    a->live = seat;
    assoc_seat_enter(t, seat, ORDER_AWAKE, instant_ms(t->now));
    t->stats.woken++;
    return s;
}

/* Records one by one, as an awake session reads them. What costs nothing
 * comes first; then a stranger costs a copy, and the next of the same kind
 * only a decryption, as with a session that is awake. */
static bool asleep_owns(struct assocs *t, struct assoc *a, struct bytes datagram)
{
    bool tried = false;
    for (struct bytes record; dtls_next_of(&datagram, &record);) {
        if (!dtls_asleep_expects(a->asleep, record))
            continue;
        struct dtls_session *s = trial(t, a);
        if (s && dtls_owns(s, record))
            return assoc_awake(t, a) != NULL;
        tried = true;
    }
    t->stats.tried += tried;
    return false;
}

bool assoc_owns(struct assocs *t, struct assoc *a, struct bytes datagram)
{
    return a->live ? dtls_owns(a->live->dtls, datagram) : asleep_owns(t, a, datagram);
}

/* False: it cannot now. It counts as used, so that it is tried again later
 * and not at once. */
static bool put_to_sleep(struct assocs *t, struct assoc_seat *seat)
{
    struct assoc *a = seat->assoc;
    a->asleep = dtls_sleep(seat->dtls);
    if (!a->asleep) {
        assoc_seat_enter(t, seat, seat->order, instant_ms(t->now));
        return false;
    }
    seat->dtls = NULL;
    a->live = NULL;
    assoc_seat_free(t, seat);
    t->stats.asleep++;
    t->stats.slept++;
    if (t->ops.slept)
        t->ops.slept(t->user, a);
    return true;
}

static uint64_t due_ms(const struct assocs *t, enum assoc_order order)
{
    const struct assoc_seat *first = t->orders[order].first;
    if (!first || t->config.sleep_ms == 0)
        return UINT64_MAX;
    uint64_t wait = t->config.sleep_ms;
    if (order == ORDER_FRESH && wait < FLIGHT_MS)
        wait = FLIGHT_MS;
    return first->since_ms + wait;
}

/* Where many fell asleep, their buffers go back to the system soon; where
 * few, in a while. */
static uint64_t give_back_ms(const struct assocs *t)
{
    uint64_t n = t->stats.slept - t->given_back_at;
    return n == 0 ? UINT64_MAX
                  : t->given_back_ms + (n >= GIVE_BACK_MIN ? GIVE_BACK_MS : GIVE_BACK_FEW_MS);
}

static void give_back(struct assocs *t, uint64_t now_ms)
{
    if (now_ms < give_back_ms(t))
        return;
    t->given_back_at = t->stats.slept;
    t->given_back_ms = now_ms;
    memory_give_back();
}

uint64_t assocs_sleep_deadline_ms(const struct assocs *t)
{
    uint64_t fresh = due_ms(t, ORDER_FRESH), awake = due_ms(t, ORDER_AWAKE);
    uint64_t next = fresh < awake ? fresh : awake, back = give_back_ms(t);
    return back < next ? back : next;
}

void assocs_sleep_due(struct assocs *t, uint64_t now_ms)
{
    for (enum assoc_order o = ORDER_FRESH; o <= ORDER_AWAKE; o++)
        for (size_t n = 0; n < SLEEP_BATCH && due_ms(t, o) <= now_ms; n++)
            (void)put_to_sleep(t, t->orders[o].first);
    give_back(t, now_ms);
}

/* Those that keep a flight are the last: it may still be wanted. */
void assocs_sleep_beyond(struct assocs *t)
{
    size_t max = t->config.max_awake;
    if (max == 0)
        return;
    while (t->orders[ORDER_AWAKE].n + t->orders[ORDER_FRESH].n > max) {
        struct assoc_seat *first = t->orders[ORDER_AWAKE].first;
        if (!put_to_sleep(t, first ? first : t->orders[ORDER_FRESH].first))
            return; /* memory is short; the next turn tries again */
    }
}

/* ---- over a restart ---- */

void assocs_sleep_all(struct assocs *t)
{
    for (struct assoc_seat *s; (s = t->orders[ORDER_HALF].first);)
        assoc_drop_pending(t, s->assoc, "stopping");
    for (enum assoc_order o = ORDER_FRESH; o <= ORDER_AWAKE; o++)
        for (struct assoc_seat *s; (s = t->orders[o].first);)
            if (!put_to_sleep(t, s))
                assoc_close(t, s->assoc, "stopping");
    for (struct assoc *a = t->idle_first, *next; a; a = next) {
        next = a->idle_next;
        if (!a->asleep) /* a connection: it ends with its socket */
            assoc_close(t, a, "stopping");
    }
    assocs_reap(t);
}

void assoc_describe(const struct assocs *t, const struct assoc *a, struct assoc_kept *out)
{
    uint64_t now_ms = instant_ms(t->now);
    *out = (struct assoc_kept){.id = a->id,
                               .peer = a->peer,
                               .listener = a->listener,
                               .next_mid = a->next_mid,
                               .unused_ms = now_ms > a->used_ms ? now_ms - a->used_ms : 0,
                               .cid = assoc_cid(a),
                               .asleep = dtls_asleep_bytes(a->asleep)};
}

struct assoc *assoc_restore(struct assocs *t, const struct assoc_kept *k, struct instant now)
{
    t->now = now;
    if (assocs_established(t) >= t->config.max || assocs_find(t, k->id))
        return NULL;
    /* Only by connection IDs two come to be at one address; the later one was
     * used later. */
    struct assoc *other = assoc_lookup(t, k->listener, &k->peer);
    if (other)
        assoc_close(t, other, "replaced");
    struct dtls_asleep *asleep = dtls_asleep_of(t->dtls, k->asleep);
    struct assoc *a = asleep ? assoc_make(t, k->id, k->listener, &k->peer) : NULL;
    if (!a) {
        dtls_asleep_free(t->dtls, asleep);
        return NULL;
    }
    uint64_t now_ms = instant_ms(now);
    a->asleep = asleep;
    a->next_mid = k->next_mid;
    assoc_learn_cid(t, a, k->cid);
    a->used_ms = now_ms > k->unused_ms ? now_ms - k->unused_ms : 0;
    assoc_idle_add(t, a);
    assoc_count(t, 1);
    t->stats.asleep++;
    t->stats.restored++;
    return a;
}

bool assoc_is_sound(struct assocs *t, struct assoc *a)
{
    return a->live || trial(t, a);
}
