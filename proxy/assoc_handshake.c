/* Handshakes of clients: their room, their turns, and what becomes of them. */
#include "assoc_inside.h"

#include "limits.h"

/* When something is to be done about a's handshake: its retransmission or its
 * end. */
static void reschedule(struct assocs *t, struct assoc *a)
{
    if (a->dead || !a->pending)
        return;
    uint64_t end = a->pending->since_ms + HANDSHAKE_MS;
    uint64_t again = dtls_deadline_ms(a->pending->dtls);
    (void)deadline_set(&t->deadlines, &a->pending->deadline, again < end ? again : end);
}

static void unseat_pending(struct assocs *t, struct assoc *a)
{
    assoc_seat_free(t, a->pending);
    a->pending = NULL;
}

void assoc_drop_pending(struct assocs *t, struct assoc *a, const char *reason)
{
    dtls_close(a->pending->dtls, reason);
    if (assoc_is_established(a))
        unseat_pending(t, a);
    else
        assoc_close(t, a, reason);
}

/* RFC 6347 4.2.8: only now does the old association go, and nothing is said
 * about it: the client has forgotten it. */
static void promote(struct assocs *t, struct assoc *a, struct instant now)
{
    struct assoc_seat *old = a->live;
    bool had = assoc_is_established(a);
    if (old)
        assoc_seat_leave(t, old);
    assoc_forget_asleep(t, a);
    a->live = a->pending;
    a->pending = NULL;
    deadline_cancel(&t->deadlines, &a->live->deadline);
    a->live->wait = 0;
    if (!had) {
        assoc_count(t, 1);
        assoc_idle_add(t, a);
    }
    t->stats.completed++;
    assoc_used(t, a, now);
    assoc_seat_enter(t, a->live, ORDER_FRESH, instant_ms(now));
    assoc_learn_cid(t, a, dtls_cid(a->live->dtls));
    bool welcome =
        (had || assocs_established(t) <= t->config.max) && t->ops.established(t->user, a, now);
    assoc_seat_free(t, old);
    if (!welcome)
        assoc_close(t, a, "refused");
}

bool assoc_follow(struct assocs *t, struct assoc *a, enum dtls_event e, struct instant now)
{
    bool established = e == DTLS_ESTABLISHED;
    if (established) {
        promote(t, a, now);
    } else if (e == DTLS_CLOSED) {
        t->stats.failed++;
        assoc_drop_pending(t, a, dtls_close_reason(a->pending->dtls));
    }
    reschedule(t, a);
    return established && !a->dead;
}

/* ---- room ---- */

static void evict(struct assocs *t, struct assoc *a)
{
    t->stats.evicted++;
    assoc_drop_pending(t, a, "evicted");
}

/* The oldest handshake of `net` if it has its share, or NULL. */
static struct assoc *oldest_of_net(struct assocs *t, uint64_t net)
{
    struct assoc *oldest = NULL;
    size_t n = 0;
    for (struct assoc_seat *s = t->orders[ORDER_HALF].first; s; s = s->next) {
        if (peer_net(&s->assoc->peer) != net)
            continue;
        if (!oldest)
            oldest = s->assoc;
        n++;
    }
    return n >= t->config.max_half_per_net ? oldest : NULL;
}

/* Makes room for one more handshake; `known` has an association already.
 * The oldest handshake gives way, first of the same network; an established
 * association never does, unless its idle time is over. */
static bool make_room(struct assocs *t, const struct peer *peer, bool known, struct instant now)
{
    struct assoc *oldest = oldest_of_net(t, peer_net(peer));
    if (!oldest && assocs_half_open(t) >= t->config.max_half && assocs_half_open(t) > 0)
        oldest = t->orders[ORDER_HALF].first->assoc;
    if (oldest)
        evict(t, oldest);
    if (assocs_half_open(t) >= t->config.max_half)
        return false; /* max_half is 0 */
    if (known || assocs_established(t) < t->config.max)
        return true;
    struct assoc *idle = t->idle_first;
    if (!idle || instant_ms(now) < idle->used_ms + t->config.idle_ms)
        return false;
    assoc_close(t, idle, "idle");
    return true;
}

/* ---- turns ---- */

/* A handshake that came this far has shown that it receives here: its flights,
 * and their retransmissions, may be longer than what came (RFC 6347 4.2.1). What
 * is said before it never is (dtls_greet()). */
static struct assoc *welcome(struct assocs *t, int listener, const struct peer *from,
                             struct bytes datagram, struct instant now)
{
    struct assoc *a = assoc_lookup(t, listener, from);
    t->stats.cookies++;
    if (a && a->pending) {
        struct dtls_session *s = a->pending->dtls;
        if (dtls_began_with(s, datagram)) /* our flight was lost */
            return assoc_follow(t, a, dtls_receive(s, datagram, now), now) ? a : NULL;
        unseat_pending(t, a); /* in silence: an alert would end the client's new handshake */
    }
    bool known = a && assoc_is_established(a);
    if (known &&
        (a->live ? dtls_began_with(a->live->dtls, datagram)
                 : dtls_asleep_began_with(t->dtls, a->asleep, datagram))) { /* late on the way */
        t->stats.stray++;
        return NULL;
    }
    const char *refused = "refused";
    struct dtls_session *s = NULL;
    if (make_room(t, from, known, now)) {
        refused = "out-of-memory";
        if (!a)
            a = assoc_make(t, assoc_next_id(t), listener, from);
        s = a ? dtls_session_new(t->dtls, from, a) : NULL;
        if (s && !(a->pending = assoc_seat_new(a, s)))
            dtls_session_free(s);
    }
    if (!a || !a->pending) {
        t->stats.refused++;
        if (a && !known)
            assoc_close(t, a, refused);
        return NULL;
    }
    a->peer = *from; /* equal, but perhaps asked at another address of ours */
    assoc_seat_enter(t, a->pending, ORDER_HALF, instant_ms(now));
    t->stats.handshakes++;
    return assoc_follow(t, a, dtls_receive(s, datagram, now), now) ? a : NULL;
}

bool assoc_wait_for_turn(struct assocs *t, int listener, const struct peer *from,
                         struct bytes datagram, struct instant now)
{
    if (!t->lobby || t->serving)
        return false;
    switch (lobby_put(t->lobby, listener, from, datagram, now)) {
    case LOBBY_TAKEN:
        t->stats.waited++;
        break;
    case LOBBY_FULL:
        t->stats.dropped++;
        break;
    case LOBBY_THERE_ALREADY:
        break;
    }
    return true;
}

struct assoc *assoc_hello(struct assocs *t, int listener, const struct peer *from,
                          struct bytes datagram, struct instant now)
{
    uint8_t storage[128];
    struct buf out = buf_on(storage, sizeof storage);
    switch (dtls_greet(t->dtls, from, datagram, now, &out)) {
    case DTLS_GREET_WELCOME:
        if (assoc_wait_for_turn(t, listener, from, datagram, now))
            return NULL;
        return welcome(t, listener, from, datagram, now);
    case DTLS_GREET_ANSWER:
        t->stats.hellos++;
        t->ops.send(t->user, listener, from, buf_bytes(&out));
        return NULL;
    case DTLS_GREET_DROP:
        break;
    }
    t->stats.stray++;
    return NULL;
}

bool assocs_serve(struct assocs *t, struct instant now, struct assoc **out)
{
    struct lobby_guest guest;
    if (!t->lobby || !lobby_next(t->lobby, now, &guest, &t->stats.dropped))
        return false;
    budget_begin(t->config.budget);
    t->serving = true;
    *out = assocs_receive(t, guest.listener, &guest.peer, guest.datagram, now);
    t->serving = false;
    budget_end(t->config.budget);
    return true;
}

void assoc_wake(struct assocs *t, struct assoc *a, struct instant now)
{
    t->now = now;
    if (!a->dead && a->pending)
        (void)assoc_follow(t, a, dtls_wake(a->pending->dtls, now), now);
}

void assoc_expire_pending(struct assocs *t, struct assoc *a, struct instant now)
{
    uint64_t ms = instant_ms(now);
    if (ms >= a->pending->since_ms + HANDSHAKE_MS) {
        t->stats.failed++;
        assoc_drop_pending(t, a, "handshake-timeout");
        return;
    }
    (void)assoc_follow(t, a, dtls_expire(a->pending->dtls, now), now);
    if (!a->dead && a->pending && a->pending->deadline.at_ms <= ms) /* never twice in one turn */
        (void)deadline_set(&t->deadlines, &a->pending->deadline, ms + 1);
}
