#include "assoc_inside.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "conn.h"
#include "hello.h"

/* ---- the orders and the tables ---- */

void assoc_idle_add(struct assocs *t, struct assoc *a)
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

void assoc_seat_leave(struct assocs *t, struct assoc_seat *s)
{
    if (s->order == ORDER_NONE)
        return;
    *(s->prev ? &s->prev->next : &t->orders[s->order].first) = s->next;
    *(s->next ? &s->next->prev : &t->orders[s->order].last) = s->prev;
    t->orders[s->order].n--;
    s->order = ORDER_NONE;
}

void assoc_seat_enter(struct assocs *t, struct assoc_seat *s, enum assoc_order order,
                      uint64_t since_ms)
{
    assoc_seat_leave(t, s);
    struct assoc_seat *last = t->orders[order].last;
    s->since_ms = since_ms;
    s->order = order;
    s->prev = last;
    s->next = NULL;
    *(last ? &last->next : &t->orders[order].first) = s;
    t->orders[order].last = s;
    t->orders[order].n++;
}

struct assoc_seat *assoc_seat_new(struct assoc *a, struct dtls_session *dtls)
{
    struct assoc_seat *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->assoc = a;
    s->dtls = dtls;
    return s;
}

void assoc_seat_free(struct assocs *t, struct assoc_seat *s)
{
    if (!s)
        return;
    assoc_seat_leave(t, s);
    deadline_cancel(&t->deadlines, &s->deadline);
    dtls_session_leave(s->dtls);
    free(s);
}

struct assoc **assoc_bucket(struct assocs *t, int listener, const struct peer *peer)
{
    return &t->by_peer[(peer_hash(peer, t->seed) + (uint64_t)listener) & t->mask];
}

static bool is_at(const struct assoc *a, int listener, const struct peer *peer)
{
    return a->listener == listener && peer_equal(&a->peer, peer);
}

struct assoc *assoc_lookup(struct assocs *t, int listener, const struct peer *peer)
{
    for (struct assoc *a = *assoc_bucket(t, listener, peer); a; a = a->hash_next)
        if (is_at(a, listener, peer))
            return a;
    return NULL;
}

void assoc_used(struct assocs *t, struct assoc *a, struct instant now)
{
    a->used_ms = instant_ms(now);
    if (t->idle_last != a) {
        idle_remove(t, a);
        assoc_idle_add(t, a);
    }
    if (a->live)
        assoc_seat_enter(t, a->live, ORDER_AWAKE, instant_ms(now));
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

/* At all tables. Two may find the last place free at once, and one of them
 * loses it again when its handshake is complete. */
size_t assocs_established(const struct assocs *t)
{
    return t->config.total ? atomic_load_explicit(t->config.total, memory_order_relaxed)
                           : t->stats.established;
}

void assoc_count(struct assocs *t, size_t more)
{
    t->stats.established += more;
    if (t->config.total)
        (void)atomic_fetch_add_explicit(t->config.total, more, memory_order_relaxed);
}

struct assocs *assocs_new(const struct assocs_config *c, const struct dtls_config *dc,
                          const struct assoc_ops *ops, void *user, struct buf *diag)
{
    static const struct dtls_ops engine = {on_find_psk, on_judge, on_send};
    struct assocs *t = calloc(1, sizeof *t);
    bool ok = t || complain(diag, "associations: out of memory");
    if (ok) {
        t->config = *c;
        t->last_id = c->first_id;
        t->ops = *ops;
        t->user = user;
        size_t room = c->max + c->max_half, buckets = 16;
        while (2 * buckets < room) /* two in one, when all are there */
            buckets *= 2;
        t->mask = buckets - 1;
        t->by_peer = calloc(buckets, sizeof *t->by_peer);
        t->by_id = calloc(buckets, sizeof *t->by_id);
        if (c->max_waiting)
            t->lobby = lobby_new(c->max_waiting, c->max_waiting_per_net, c->max_waiting_per_host,
                                 c->budget);
        ok = (deadlines_init(&t->deadlines, c->max_half + 1) && t->by_peer && t->by_id &&
              (t->lobby || c->max_waiting == 0) && crypto_random(t->seed, sizeof t->seed)) ||
             complain(diag, "associations: out of memory");
    }
    if (ok)
        t->dtls = dtls_new(dc, &engine, t, diag);
    if (ok && t->dtls) {
        dtls_set_worker(t->dtls, (uint8_t)c->first_id);
        return t;
    }
    assocs_free(t);
    return NULL;
}

/* No owner is told: what it keeps for associations goes its own way. */
static void assoc_free(struct assocs *t, struct assoc *a)
{
    assoc_seat_free(t, a->live);
    assoc_seat_free(t, a->pending);
    assoc_forget_asleep(t, a);
    assoc_forget_cid(t, a);
    slab_give(&t->small, a, sizeof *a);
}

void assocs_free(struct assocs *t)
{
    if (!t)
        return;
    for (struct assoc *a; (a = t->idle_first);) {
        idle_remove(t, a);
        assoc_free(t, a);
    }
    for (struct assoc_seat *s; (s = t->orders[ORDER_HALF].first);)
        assoc_free(t, s->assoc);
    for (struct assoc *a; (a = t->dead);) {
        t->dead = a->dead_next;
        assoc_free(t, a);
    }
    assocs_forget_trial(t);
    dtls_free(t->dtls);
    deadlines_clear(&t->deadlines);
    slab_clear(&t->small);
    lobby_free(t->lobby);
    free(t->by_peer);
    free(t->by_id);
    free(t->by_cid);
    free(t);
}

struct dtls *assocs_dtls(struct assocs *t)
{
    return t->dtls;
}

uint64_t assoc_next_id(const struct assocs *t)
{
    return t->last_id + (t->config.workers ? t->config.workers : 1);
}

struct assoc *assoc_make(struct assocs *t, uint64_t id, int listener, const struct peer *peer)
{
    struct assoc *a = slab_take(&t->small, sizeof *a);
    if (!a)
        return NULL;
    a->id = id;
    if (id > t->last_id)
        t->last_id = id;
    a->peer = *peer;
    a->listener = listener;
    struct assoc **b = assoc_bucket(t, listener, peer);
    a->hash_next = *b;
    *b = a;
    b = &t->by_id[a->id & t->mask];
    a->id_next = *b;
    *b = a;
    dtls_random(t->dtls, &a->next_mid, sizeof a->next_mid);
    return a;
}

void assoc_close(struct assocs *t, struct assoc *a, const char *reason)
{
    if (a->dead)
        return;
    a->dead = true;
    if (assoc_is_established(a)) {
        assoc_count(t, (size_t)-1);
        struct dtls_session *s = a->conn ? NULL : assoc_awake(t, a); /* to say so to the peer */
        if (s)
            dtls_close(s, reason);
        if (a->conn) {
            conn_set_owner(a->conn, NULL);
            conn_close(a->conn, reason, t->now);
            a->conn = NULL;
        }
        idle_remove(t, a);
    }
    a->reason = reason;
    if (a->live)
        assoc_seat_leave(t, a->live);
    if (a->pending) {
        dtls_close(a->pending->dtls, reason);
        assoc_seat_leave(t, a->pending);
        deadline_cancel(&t->deadlines, &a->pending->deadline);
    }
    assoc_forget_cid(t, a);
    struct assoc **p = assoc_bucket(t, a->listener, &a->peer);
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
        assoc_free(t, a);
    }
    assocs_sleep_beyond(t);
}

/* ---- connections ---- */

struct assoc *assocs_adopt(struct assocs *t, int listener, struct conn *c, struct instant now)
{
    t->now = now;
    struct assoc *idle = t->idle_first;
    if (assocs_established(t) >= t->config.max && idle &&
        instant_ms(now) >= idle->used_ms + t->config.idle_ms)
        assoc_close(t, idle, "idle");
    struct assoc *a = assocs_established(t) < t->config.max
                          ? assoc_make(t, assoc_next_id(t), listener, conn_peer(c))
                          : NULL;
    if (!a) {
        t->stats.refused++;
        return NULL;
    }
    a->conn = c;
    conn_set_owner(c, a);
    assoc_count(t, 1);
    assoc_idle_add(t, a);
    assoc_used(t, a, now);
    if (t->ops.established(t->user, a, now))
        return a;
    assoc_close(t, a, "refused");
    return NULL;
}

static void serve(struct assocs *t, struct assoc *a, struct instant now)
{
    assoc_used(t, a, now);
    if (t->config.budget)
        budget_served(t->config.budget, now);
}

void assoc_touch(struct assocs *t, struct assoc *a, struct instant now)
{
    t->now = now;
    serve(t, a, now);
}

/* ---- datagrams ---- */

/* Whose a datagram is that is no ClientHello. With two sessions a record in
 * clear is the handshake's. A protected one goes to whom it is authentic for,
 * and to nobody else: a handshake that waits for its Finished would take any
 * other for a wrong key. */
static struct dtls_session *recipient(struct assocs *t, struct assoc *a, struct bytes datagram)
{
    if (!a->pending && a->live)
        return a->live->dtls;
    if (!a->pending)
        return assoc_owns(t, a, datagram) ? a->live->dtls : NULL;
    if (!assoc_is_established(a))
        return a->pending->dtls;
    struct bytes rest = datagram, record;
    if (!dtls_next_of(&rest, &record))
        return NULL;
    if (dtls_record_epoch(record) == 0)
        return a->pending->dtls;
    if (assoc_owns(t, a, datagram))
        return a->live->dtls;
    return dtls_owns(a->pending->dtls, datagram) ? a->pending->dtls : NULL;
}

bool assocs_expect(struct assocs *t, int listener, const struct peer *from, struct bytes datagram)
{
    struct bytes cid = dtls_cid_of(datagram);
    return (cid.n && assocs_find_cid(t, cid)) || assoc_lookup(t, listener, from);
}

struct assoc *assocs_receive(struct assocs *t, int listener, const struct peer *from,
                             struct bytes datagram, struct instant now)
{
    t->now = now;
    if (dtls_is_client_hello(datagram))
        return assoc_hello(t, listener, from, datagram, now);
    struct bytes cid = dtls_cid_of(datagram);
    struct assoc *a = cid.n ? assocs_find_cid(t, cid) : NULL;
    bool elsewhere = a && !is_at(a, listener, from);
    if (!a)
        a = assoc_lookup(t, listener, from);
    struct dtls_session *s = NULL;
    if (a)
        s = elsewhere ? assoc_from_elsewhere(t, a, listener, from, datagram)
                      : recipient(t, a, datagram);
    if (!s) {
        t->stats.stray++;
        return NULL;
    }
    if (a->pending && s == a->pending->dtls &&
        assoc_wait_for_turn(t, listener, from, datagram, now))
        return NULL;
    /* One that slept through a restart has forgotten its own. */
    if (cid.n && !a->cid && a->live && s == a->live->dtls && dtls_owns(s, datagram))
        assoc_learn_cid(t, a, cid);
    enum dtls_event e = dtls_receive(s, datagram, now);
    if (a->pending && s == a->pending->dtls)
        return assoc_follow(t, a, e, now) ? a : NULL;
    return a;
}

/* The live session is over by the peer's word; a handshake beside it goes on. */
static void lost_live(struct assocs *t, struct assoc *a)
{
    if (!a->pending) {
        assoc_close(t, a, dtls_close_reason(a->live->dtls));
        return;
    }
    assoc_count(t, (size_t)-1);
    idle_remove(t, a);
    assoc_forget_cid(t, a);
    assoc_seat_free(t, a->live);
    a->live = NULL;
}

struct bytes assoc_read(struct assocs *t, struct assoc *a, struct instant now, uint8_t *storage,
                        size_t cap)
{
    t->now = now;
    if (a->dead || !a->live)
        return BYTES_NONE;
    enum dtls_event e;
    struct bytes plain = dtls_read(a->live->dtls, now, storage, cap, &e);
    if (plain.n)
        serve(t, a, now);
    if (e == DTLS_CLOSED)
        lost_live(t, a);
    return plain;
}

bool assoc_write(struct assocs *t, struct assoc *a, struct bytes plain, struct buf *out)
{
    bool ours = !a->dead && !a->conn && assoc_is_established(a);
    struct dtls_session *s = ours ? assoc_awake(t, a) : NULL;
    if (!s)
        return false;
    assoc_seat_enter(t, a->live, a->live->order, instant_ms(t->now));
    return dtls_write(s, plain, out);
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
    for (struct assoc_seat *s = t->orders[ORDER_HALF].first, *next; s; s = next) {
        next = s->next;
        visit(user, s->assoc);
    }
}

void assocs_each(struct assocs *t, void (*visit)(void *user, struct assoc *a), void *user)
{
    for (struct assoc *a = t->idle_first, *next; a; a = next) {
        next = a->idle_next;
        visit(user, a);
    }
    for (struct assoc_seat *s = t->orders[ORDER_HALF].first, *next; s; s = next) {
        next = s->next;
        if (!assoc_is_established(s->assoc))
            visit(user, s->assoc);
    }
}

/* ---- time ---- */

static uint64_t idle_deadline_ms(const struct assocs *t)
{
    return t->idle_first ? t->idle_first->used_ms + t->config.idle_ms : UINT64_MAX;
}

uint64_t assocs_deadline_ms(const struct assocs *t)
{
    uint64_t next = deadlines_next(&t->deadlines);
    uint64_t others[] = {idle_deadline_ms(t), assocs_sleep_deadline_ms(t),
                         t->lobby ? lobby_deadline_ms(t->lobby) : UINT64_MAX};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i] < next)
            next = others[i];
    return next;
}

void assocs_expire(struct assocs *t, struct instant now)
{
    struct deadline *d;
    t->now = now;
    while ((d = deadlines_pop(&t->deadlines, instant_ms(now))))
        assoc_expire_pending(
            t, ((struct assoc_seat *)((char *)d - offsetof(struct assoc_seat, deadline)))->assoc,
            now);
    for (size_t n = 0; n < SLEEP_BATCH && idle_deadline_ms(t) <= instant_ms(now); n++)
        assoc_close(t, t->idle_first, "idle");
    assocs_sleep_due(t, instant_ms(now));
}

void assocs_get_stats(const struct assocs *t, struct assocs_stats *out)
{
    *out = t->stats;
    out->half_open = assocs_half_open(t);
}
