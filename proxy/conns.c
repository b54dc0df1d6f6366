#include <stddef.h>
#include <stdlib.h>

#include "budget.h"
#include "conn_inside.h"
#include "tcp.h"

struct conns *conns_new(struct loop *l, const struct conns_config *c, const struct conn_ops *ops,
                        void *user)
{
    struct conns *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->loop = l;
    t->config = *c;
    t->ops = *ops;
    t->user = user;
    if (t->config.max_message > MESSAGE_MAX)
        t->config.max_message = MESSAGE_MAX;
    /* One more than there may be: the one that is too many is told so. */
    if (!deadlines_init(&t->deadlines, c->max + c->max_half + 1)) {
        free(t);
        return NULL;
    }
    return t;
}

static void rest(struct conns *t)
{
    for (size_t i = 0; i < t->n_listeners; i++) {
        if (t->listeners[i].watched)
            loop_unwatch(t->loop, t->listeners[i].fd);
        t->listeners[i].watched = false;
    }
}

void conns_free(struct conns *t)
{
    if (!t)
        return;
    rest(t);
    for (size_t i = 0; i < t->n_listeners; i++)
        tcp_close(t->listeners[i].fd);
    static const enum conn_link owners[] = {CONN_ALL, CONN_DEAD};
    for (size_t i = 0; i < sizeof owners / sizeof *owners; i++)
        for (struct conn *c; (c = t->lists[owners[i]].first);) {
            conn_leave(c, owners[i]);
            conn_free(c);
        }
    deadlines_clear(&t->deadlines);
    free(t);
}

/* ---- accepting ---- */

static bool waits(const struct conn *c)
{
    return c->links[CONN_TURN].in;
}

/* Room for one more stranger: first of its network, then of all, the oldest
 * gives way that does not wait for us. False: there is room for none. */
static bool make_room(struct conns *t, const struct peer *from)
{
    struct conn *oldest = NULL;
    size_t of_net = 0;
    for (struct conn *c = t->lists[CONN_STRANGE].first; c; c = c->links[CONN_STRANGE].next)
        if (peer_net(&c->peer) == peer_net(from)) {
            oldest = oldest || waits(c) ? oldest : c;
            of_net++;
        }
    if (of_net < t->config.max_half_per_net) {
        oldest = NULL;
        if (t->lists[CONN_STRANGE].n >= t->config.max_half)
            for (oldest = t->lists[CONN_STRANGE].first; oldest && waits(oldest);)
                oldest = oldest->links[CONN_STRANGE].next;
    } else if (!oldest) {
        return false;
    }
    if (oldest) {
        t->stats.evicted++;
        conn_end(oldest, "evicted");
    }
    return t->lists[CONN_STRANGE].n < t->config.max_half;
}

static void accepted(struct conn_listener *l, int fd, const struct peer *from, struct instant now)
{
    struct conns *t = l->table;
    t->stats.accepted++;
    struct conn *c = make_room(t, from) ? conn_new(t, from, l->tag, !l->tls, now) : NULL;
    if (!c) {
        t->stats.refused++;
        tcp_close(fd);
        return;
    }
    c->accepted = true;
    c->stream = stream_accept(t->loop, fd, l->tls, t->config.budget != NULL, &conn_stream_ops, c);
    if (!c->stream) {
        t->stats.refused++;
        free(c);
        return;
    }
    conn_start(c);
    conn_go_on(c, now); /* plain: our CSM need not wait for theirs */
}

/* CONN_ACCEPTS_S, of which a second's worth may come at once. */
static bool is_due(const struct conns *t, struct instant now)
{
    return t->accepts_us <= now.mono_us + 1000000;
}

static void charge(struct conns *t, struct instant now)
{
    if (t->accepts_us < now.mono_us)
        t->accepts_us = now.mono_us;
    t->accepts_us += 1000000 / CONN_ACCEPTS_S;
}

static bool on_acceptable(void *user, int tag, struct instant now)
{
    struct conn_listener *l = user;
    struct conns *t = l->table;
    (void)tag;
    for (int i = 0; i < CONN_ACCEPTS; i++) {
        struct peer from;
        int fd;
        if (!is_due(t, now)) {
            t->resume_ms = instant_ms(now) + 1000 / CONN_ACCEPTS_S + 1;
            rest(t);
            return false;
        }
        switch (tcp_accept(l->fd, &fd, &from)) {
        case TCP_ACCEPTED:
            charge(t, now);
            accepted(l, fd, &from, now);
            break;
        case TCP_ACCEPT_FULL:
            /* The socket would be readable for ever. */
            t->stats.refused++;
            t->resume_ms = instant_ms(now) + CONN_NO_ROOM_MS;
            rest(t);
            return false;
        case TCP_ACCEPT_NONE:
            return false;
        }
    }
    return true;
}

static bool listen_again(struct conns *t)
{
    for (size_t i = 0; i < t->n_listeners; i++) {
        struct conn_listener *l = &t->listeners[i];
        if (!l->watched)
            l->watched = loop_watch(t->loop, l->fd, on_acceptable, l, 0);
        if (!l->watched)
            return false;
    }
    return true;
}

bool conns_listen(struct conns *t, const struct peer *local, bool v6only, struct tls *tls, int tag,
                  struct buf *diag)
{
    if (t->n_listeners == CONN_LISTENERS_MAX) {
        buf_put_str(diag, "too many listeners\n");
        return false;
    }
    int fd = t->config.workers > 1 ? tcp_listen_shared(local, v6only, t->config.worker == 0, diag)
                                   : tcp_listen(local, v6only, diag);
    if (fd < 0)
        return false;
    struct conn_listener *l = &t->listeners[t->n_listeners++];
    *l = (struct conn_listener){.table = t, .fd = fd, .tag = tag, .tls = tls};
    if (listen_again(t))
        return true;
    buf_put_str(diag, "out of memory\n");
    return false;
}

void conns_local(const struct conns *t, size_t i, struct peer *out)
{
    tcp_local(t->listeners[i].fd, out);
}

/* ---- all of them ---- */

void conns_wake(struct conns *t, bool (*visit)(void *user, struct conn *c), void *user,
                struct instant now)
{
    for (struct conn *c = t->lists[CONN_STRANGE].first, *next; c; c = next) {
        next = c->links[CONN_STRANGE].next;
        if (stream_is_parked(c->stream) && visit(user, c))
            stream_wake(c->stream, now);
    }
}

struct conn *conns_find_stranger(struct conns *t, int tag, const struct peer *peer)
{
    struct conn *c = t->lists[CONN_STRANGE].first;
    while (c && !(c->tag == tag && peer_equal(&c->peer, peer)))
        c = c->links[CONN_STRANGE].next;
    return c;
}

void conns_each(struct conns *t, void (*visit)(void *user, struct conn *c), void *user)
{
    for (struct conn *c = t->lists[CONN_ALL].first, *next; c; c = next) {
        next = c->links[CONN_ALL].next;
        visit(user, c);
    }
}

static void reap(struct conns *t, struct instant now)
{
    for (struct conn *c; (c = t->lists[CONN_DEAD].first);) {
        conn_leave(c, CONN_DEAD);
        t->ops.closed(t->user, c, c->reason, now);
        conn_free(c);
    }
}

bool conns_serve(struct conns *t, struct instant now)
{
    struct conn *c = t->lists[CONN_TURN].first;
    struct budget *b = t->config.budget; /* NULL: nobody waits for a turn */
    if (!b || !budget_has(b, BUDGET_CONNECTIONS, t->lists[CONN_TURN].n, now) || !c)
        return false;
    conn_leave(c, CONN_TURN);
    budget_begin(t->config.budget);
    stream_step(c->stream, now);
    budget_end(t->config.budget);
    return true;
}

uint64_t conns_turn(struct conns *t, struct instant now)
{
    if (t->resume_ms && instant_ms(now) >= t->resume_ms)
        t->resume_ms = listen_again(t) ? 0 : instant_ms(now) + CONN_NO_ROOM_MS;
    /* Those who have more to read: each once, others come between. */
    struct conn_list *again = &t->lists[CONN_AGAIN];
    for (size_t n = again->n; n > 0 && again->first; n--)
        conn_go_on(again->first, now);
    for (struct conn *c = t->lists[CONN_CHECKED].first, *next; c; c = next) {
        next = c->links[CONN_CHECKED].next;
        conn_check(c);
    }
    for (struct deadline *d; (d = deadlines_pop(&t->deadlines, instant_ms(now)));)
        conn_expire((struct conn *)(void *)((char *)d - offsetof(struct conn, deadline)), now);
    reap(t, now);
    uint64_t next = again->first ? instant_ms(now) : deadlines_next(&t->deadlines);
    if (t->lists[CONN_TURN].first && budget_deadline_ms(t->config.budget) < next)
        next = budget_deadline_ms(t->config.budget);
    return t->resume_ms && t->resume_ms < next ? t->resume_ms : next;
}

void conns_get_stats(const struct conns *t, struct conns_stats *out)
{
    *out = t->stats;
    out->half_open = t->lists[CONN_STRANGE].n;
    out->open = t->lists[CONN_ALL].n - out->half_open;
}
