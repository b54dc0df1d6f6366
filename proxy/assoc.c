#include "assoc.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "hello.h"

/* Two orders hold every association that is not dead: `idle` by its last
 * authentic record, oldest first, and, while it has a handshake, `half` by
 * that handshake's birth. */
struct assocs {
    struct assocs_config config;
    struct assoc_ops ops;
    void *user;
    struct dtls *dtls;
    uint8_t seed[16];
    uint64_t last_id;
    size_t mask; /* buckets, a power of two, less one */
    struct assoc **by_peer, **by_id;
    struct assoc *idle_first, *idle_last, *half_first, *half_last, *dead;
    struct deadlines deadlines;
    struct assocs_stats stats;
};

/* ---- the orders and the tables ---- */

static void idle_add(struct assocs *t, struct assoc *a)
{
    a->idle_prev = t->idle_last;
    a->idle_next = NULL;
    *(t->idle_last ? &t->idle_last->idle_next : &t->idle_first) = a;
    t->idle_last = a;
}

static void idle_remove(struct assocs *t, struct assoc *a)
{
    *(a->idle_prev ? &a->idle_prev->idle_next : &t->idle_first) = a->idle_next;
    *(a->idle_next ? &a->idle_next->idle_prev : &t->idle_last) = a->idle_prev;
    a->idle_prev = a->idle_next = NULL;
}

static void half_add(struct assocs *t, struct assoc *a)
{
    a->half_prev = t->half_last;
    a->half_next = NULL;
    *(t->half_last ? &t->half_last->half_next : &t->half_first) = a;
    t->half_last = a;
    t->stats.half_open++;
}

static void half_remove(struct assocs *t, struct assoc *a)
{
    *(a->half_prev ? &a->half_prev->half_next : &t->half_first) = a->half_next;
    *(a->half_next ? &a->half_next->half_prev : &t->half_last) = a->half_prev;
    a->half_prev = a->half_next = NULL;
    t->stats.half_open--;
}

static struct assoc **peer_bucket(struct assocs *t, int listener, const struct peer *peer)
{
    return &t->by_peer[(peer_hash(peer, t->seed) + (uint64_t)listener) & t->mask];
}

static struct assoc *lookup(struct assocs *t, int listener, const struct peer *peer)
{
    for (struct assoc *a = *peer_bucket(t, listener, peer); a; a = a->hash_next)
        if (a->listener == listener && peer_equal(&a->peer, peer))
            return a;
    return NULL;
}

static void touch(struct assocs *t, struct assoc *a, struct instant now)
{
    a->used_ms = instant_ms(now);
    if (t->idle_last != a) {
        idle_remove(t, a);
        idle_add(t, a);
    }
}

/* ---- life and death ---- */

static bool complain(struct buf *diag, const char *text)
{
    buf_put_str(diag, text);
    return false;
}

static enum pep_key_state on_find_psk(void *user, struct dtls_session *s, struct bytes identity,
                                      struct pep_proof *out)
{
    struct assocs *t = user;
    return t->ops.find_psk(t->user, dtls_session_owner(s), identity, out);
}

static bool on_judge(void *user, struct dtls_session *s, const struct pep_certificate *c,
                     struct pep_proof *out)
{
    struct assocs *t = user;
    return t->ops.judge_certificate(t->user, dtls_session_owner(s), c, out);
}

static void on_send(void *user, struct dtls_session *s, struct bytes datagram)
{
    struct assocs *t = user;
    const struct assoc *a = dtls_session_owner(s);
    t->ops.send(t->user, a->listener, &a->peer, datagram);
}

struct assocs *assocs_new(const struct assocs_config *c, const struct dtls_config *dc,
                          const struct assoc_ops *ops, void *user, struct buf *diag)
{
    static const struct dtls_ops engine = {on_find_psk, on_judge, on_send};
    struct assocs *t = calloc(1, sizeof *t);
    bool ok = t || complain(diag, "associations: out of memory");
    if (ok) {
        t->config = *c;
        t->ops = *ops;
        t->user = user;
        /* Each association has one deadline. */
        size_t room = c->max + c->max_half, buckets = 16;
        while (buckets < room)
            buckets *= 2;
        t->mask = buckets - 1;
        t->by_peer = calloc(buckets, sizeof *t->by_peer);
        t->by_id = calloc(buckets, sizeof *t->by_id);
        ok = (deadlines_init(&t->deadlines, room) && t->by_peer && t->by_id &&
              crypto_random(t->seed, sizeof t->seed)) ||
             complain(diag, "associations: out of memory");
    }
    if (ok)
        t->dtls = dtls_new(dc, &engine, t, diag);
    if (ok && t->dtls)
        return t;
    assocs_free(t);
    return NULL;
}

/* No owner is told: what it keeps for associations goes its own way. */
static void assoc_free(struct assoc *a)
{
    dtls_session_free(a->live);
    dtls_session_free(a->pending);
    free(a);
}

void assocs_free(struct assocs *t)
{
    if (!t)
        return;
    for (struct assoc *a; (a = t->idle_first);) {
        idle_remove(t, a);
        assoc_free(a);
    }
    for (struct assoc *a; (a = t->dead);) {
        t->dead = a->dead_next;
        assoc_free(a);
    }
    dtls_free(t->dtls);
    deadlines_clear(&t->deadlines);
    free(t->by_peer);
    free(t->by_id);
    free(t);
}

struct dtls *assocs_dtls(struct assocs *t)
{
    return t->dtls;
}

static struct assoc *assoc_new(struct assocs *t, int listener, const struct peer *peer,
                               struct instant now)
{
    struct assoc *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->id = ++t->last_id;
    a->peer = *peer;
    a->listener = listener;
    a->used_ms = instant_ms(now);
    struct assoc **b = peer_bucket(t, listener, peer);
    a->hash_next = *b;
    *b = a;
    b = &t->by_id[a->id & t->mask];
    a->id_next = *b;
    *b = a;
    idle_add(t, a);
    dtls_random(t->dtls, &a->next_mid, sizeof a->next_mid);
    return a;
}

void assoc_close(struct assocs *t, struct assoc *a, const char *reason)
{
    if (a->dead)
        return;
    a->dead = true;
    a->reason = reason;
    if (a->live) {
        t->stats.established--;
        dtls_close(a->live, reason);
    }
    if (a->pending) {
        half_remove(t, a);
        dtls_close(a->pending, reason);
    }
    deadline_cancel(&t->deadlines, &a->deadline);
    idle_remove(t, a);
    struct assoc **p = peer_bucket(t, a->listener, &a->peer);
    while (*p != a)
        p = &(*p)->hash_next;
    *p = a->hash_next;
    p = &t->by_id[a->id & t->mask];
    while (*p != a)
        p = &(*p)->id_next;
    *p = a->id_next;
    a->dead_next = t->dead;
    t->dead = a;
}

void assocs_reap(struct assocs *t)
{
    for (struct assoc *a; (a = t->dead);) {
        t->dead = a->dead_next;
        t->ops.closed(t->user, a, a->reason);
        assoc_free(a);
    }
}

/* When something is to be done about a: its handshake's retransmission or
 * end, or, once live, its idle end. The latter is not moved at every record:
 * it is looked at when it comes. */
static void reschedule(struct assocs *t, struct assoc *a)
{
    uint64_t at = UINT64_MAX;
    if (a->dead)
        return;
    if (a->live)
        at = a->used_ms + t->config.idle_ms;
    if (a->pending) {
        uint64_t end = a->born_ms + HANDSHAKE_MS, again = dtls_deadline_ms(a->pending);
        at = end < at ? end : at;
        at = again < at ? again : at;
    }
    (void)deadline_set(&t->deadlines, &a->deadline, at); /* it has room for every slot */
}

/* The handshake is over without an association; a live one goes on. */
static void drop_pending(struct assocs *t, struct assoc *a, const char *reason)
{
    struct dtls_session *s = a->pending;
    dtls_close(s, reason);
    if (!a->live) {
        assoc_close(t, a, reason);
        return;
    }
    half_remove(t, a);
    a->pending = NULL;
    dtls_session_free(s);
    reschedule(t, a);
}

/* RFC 6347 4.2.8: only now does the old association go, and nothing is said
 * about it: the client has forgotten it. */
static void promote(struct assocs *t, struct assoc *a, struct instant now)
{
    struct dtls_session *old = a->live;
    half_remove(t, a);
    a->live = a->pending;
    a->pending = NULL;
    if (!old)
        t->stats.established++;
    t->stats.completed++;
    touch(t, a, now);
    bool welcome =
        (old || t->stats.established <= t->config.max) && t->ops.established(t->user, a, now);
    dtls_session_free(old);
    if (!welcome)
        assoc_close(t, a, "refused");
}

/* What became of the handshake. True: it is established. */
static bool follow(struct assocs *t, struct assoc *a, enum dtls_event e, struct instant now)
{
    bool established = e == DTLS_ESTABLISHED;
    if (established) {
        promote(t, a, now);
    } else if (e == DTLS_CLOSED) {
        t->stats.failed++;
        drop_pending(t, a, dtls_close_reason(a->pending));
    }
    reschedule(t, a);
    return established && !a->dead;
}

/* ---- room ---- */

static void evict(struct assocs *t, struct assoc *a)
{
    t->stats.evicted++;
    drop_pending(t, a, "evicted");
}

/* The oldest handshake of `net` if it has its share, or NULL. */
static struct assoc *oldest_of_net(struct assocs *t, uint64_t net)
{
    struct assoc *oldest = NULL;
    size_t n = 0;
    for (struct assoc *a = t->half_first; a; a = a->half_next) {
        if (peer_net(&a->peer) != net)
            continue;
        if (!oldest)
            oldest = a;
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
    if (!oldest && t->stats.half_open >= t->config.max_half)
        oldest = t->half_first;
    if (oldest)
        evict(t, oldest);
    if (t->stats.half_open >= t->config.max_half)
        return false; /* max_half is 0 */
    if (known || t->stats.established < t->config.max)
        return true;
    struct assoc *idle = t->idle_first;
    while (idle && !idle->live)
        idle = idle->idle_next;
    if (!idle || instant_ms(now) < idle->used_ms + t->config.idle_ms)
        return false;
    assoc_close(t, idle, "idle");
    return true;
}

/* ---- datagrams ---- */

/* A handshake that came this far has shown that it receives here. */
static struct assoc *welcome(struct assocs *t, int listener, const struct peer *from,
                             struct bytes datagram, struct instant now)
{
    struct assoc *a = lookup(t, listener, from);
    t->stats.cookies++;
    if (a && a->pending) {
        if (dtls_began_with(a->pending, datagram)) /* our flight was lost */
            return follow(t, a, dtls_receive(a->pending, datagram, now), now) ? a : NULL;
        /* In silence: an alert would end the client's new handshake. */
        half_remove(t, a);
        dtls_session_free(a->pending);
        a->pending = NULL;
    }
    if (a && a->live && dtls_began_with(a->live, datagram)) { /* late on the way */
        t->stats.stray++;
        return NULL;
    }
    if (!make_room(t, from, a && a->live, now)) {
        t->stats.refused++;
        if (a && !a->live)
            assoc_close(t, a, "refused");
        return NULL;
    }
    if (!a)
        a = assoc_new(t, listener, from, now);
    struct dtls_session *s = a ? dtls_session_new(t->dtls, from, a) : NULL;
    if (!s) {
        t->stats.refused++;
        if (a && !a->live)
            assoc_close(t, a, "out-of-memory");
        return NULL;
    }
    a->peer = *from; /* equal, but perhaps asked at another address of ours */
    a->pending = s;
    a->born_ms = instant_ms(now);
    half_add(t, a);
    t->stats.handshakes++;
    return follow(t, a, dtls_receive(s, datagram, now), now) ? a : NULL;
}

static struct assoc *hello(struct assocs *t, int listener, const struct peer *from,
                           struct bytes datagram, struct instant now)
{
    uint8_t storage[128];
    struct buf out = buf_on(storage, sizeof storage);
    switch (dtls_greet(t->dtls, from, datagram, now, &out)) {
    case DTLS_GREET_WELCOME:
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

/* Whose a datagram is that is no ClientHello. With two sessions a record in
 * clear is the handshake's. A protected one goes to whom it is authentic for,
 * and to nobody else: a handshake that waits for its Finished would take any
 * other for a wrong key. */
static struct dtls_session *recipient(const struct assoc *a, struct bytes datagram)
{
    if (!a->pending || !a->live)
        return a->pending ? a->pending : a->live;
    struct bytes rest = datagram, record;
    if (!dtls_next_record(&rest, &record))
        return NULL;
    if (dtls_record_epoch(record) == 0)
        return a->pending;
    if (dtls_owns(a->live, datagram))
        return a->live;
    return dtls_owns(a->pending, datagram) ? a->pending : NULL;
}

struct assoc *assocs_receive(struct assocs *t, int listener, const struct peer *from,
                             struct bytes datagram, struct instant now)
{
    if (dtls_is_client_hello(datagram))
        return hello(t, listener, from, datagram, now);
    struct assoc *a = lookup(t, listener, from);
    struct dtls_session *s = a ? recipient(a, datagram) : NULL;
    if (!s) {
        t->stats.stray++;
        return NULL;
    }
    enum dtls_event e = dtls_receive(s, datagram, now);
    if (s == a->pending)
        return follow(t, a, e, now) ? a : NULL;
    return a;
}

/* The live session is over by the peer's word; a handshake beside it goes on. */
static void lost_live(struct assocs *t, struct assoc *a)
{
    if (!a->pending) {
        assoc_close(t, a, dtls_close_reason(a->live));
        return;
    }
    t->stats.established--;
    dtls_session_free(a->live);
    a->live = NULL;
    reschedule(t, a);
}

struct bytes assoc_read(struct assocs *t, struct assoc *a, struct instant now, uint8_t *storage,
                        size_t cap)
{
    if (a->dead || !a->live)
        return BYTES_NONE;
    enum dtls_event e;
    struct bytes plain = dtls_read(a->live, now, storage, cap, &e);
    if (plain.n)
        touch(t, a, now);
    if (e == DTLS_CLOSED)
        lost_live(t, a);
    return plain;
}

bool assoc_write(struct assoc *a, struct bytes plain, struct buf *out)
{
    return !a->dead && a->live && dtls_write(a->live, plain, out);
}

void assoc_wake(struct assocs *t, struct assoc *a, struct instant now)
{
    if (!a->dead && a->pending)
        (void)follow(t, a, dtls_wake(a->pending, now), now);
}

struct assoc *assocs_find(struct assocs *t, uint64_t id)
{
    struct assoc *a = t->by_id[id & t->mask];
    while (a && a->id != id)
        a = a->id_next;
    return a;
}

void assocs_each_pending(struct assocs *t, void (*visit)(void *user, struct assoc *a), void *user)
{
    for (struct assoc *a = t->half_first, *next; a; a = next) {
        next = a->half_next;
        visit(user, a);
    }
}

void assocs_each(struct assocs *t, void (*visit)(void *user, struct assoc *a), void *user)
{
    for (struct assoc *a = t->idle_first, *next; a; a = next) {
        next = a->idle_next;
        visit(user, a);
    }
}

/* ---- time ---- */

uint64_t assocs_deadline_ms(const struct assocs *t)
{
    return deadlines_next(&t->deadlines);
}

static void expire(struct assocs *t, struct assoc *a, struct instant now)
{
    uint64_t ms = instant_ms(now);
    if (a->pending && ms >= a->born_ms + HANDSHAKE_MS) {
        t->stats.failed++;
        drop_pending(t, a, "handshake-timeout");
    } else if (a->pending) {
        (void)follow(t, a, dtls_expire(a->pending, now), now);
    }
    if (!a->dead && a->live && ms >= a->used_ms + t->config.idle_ms)
        assoc_close(t, a, "idle");
    reschedule(t, a);
    if (!a->dead && a->deadline.at_ms <= ms) /* never twice in one turn */
        (void)deadline_set(&t->deadlines, &a->deadline, ms + 1);
}

void assocs_expire(struct assocs *t, struct instant now)
{
    struct deadline *d;
    while ((d = deadlines_pop(&t->deadlines, instant_ms(now))))
        expire(t, (struct assoc *)((char *)d - offsetof(struct assoc, deadline)), now);
}

void assocs_get_stats(const struct assocs *t, struct assocs_stats *out)
{
    *out = t->stats;
}
