/* Uplinks over TCP, with TLS on it or without (RFC 8323): a connection of
 * conn.h, which frames and signals. */
#include <stdlib.h>

#include "conn.h"
#include "limits.h"
#include "uplink_inside.h"

struct stream_uplink {
    struct uplink base; /* first */
    struct peer to;
    struct tls *tls;   /* NULL: plain */
    struct conn *conn; /* NULL: not begun, or over */
};

static struct stream_uplink *mine(struct uplink *l)
{
    return (struct stream_uplink *)l;
}

static const struct stream_uplink *mine_const(const struct uplink *l)
{
    return (const struct stream_uplink *)l;
}

/* ---- what connections tell ---- */

static bool on_opened(void *user, struct conn *c, struct instant now)
{
    (void)user;
    struct stream_uplink *s = conn_owner(c);
    if (s)
        uplink_opened(&s->base, now);
    return s != NULL;
}

static void on_message(void *user, struct conn *c, const struct msg *m, struct bytes datagram,
                       struct instant now)
{
    (void)user, (void)m;
    struct stream_uplink *s = conn_owner(c);
    if (s && s->base.state == UPLINK_OPEN)
        s->base.ops->message(s->base.user, &s->base, datagram, now);
}

static bool on_busy(void *user, struct conn *c)
{
    (void)user;
    const struct stream_uplink *s = conn_owner(c);
    return s && s->base.ops->busy(s->base.user, &s->base);
}

/* What ends a connection before it is open, other than these, is TLS. */
static enum uplink_end end_of(const struct stream_uplink *s, bool was_open, const char *reason)
{
    if (was_open)
        return strcmp(reason, "silent") == 0 ? UPLINK_SILENT : UPLINK_CLOSED;
    if (strcmp(reason, "unreachable") == 0)
        return UPLINK_REFUSED;
    bool silent = strcmp(reason, "handshake-timeout") == 0 || strcmp(reason, "lost") == 0;
    return s->tls && !silent ? UPLINK_UNTRUSTED : UPLINK_SILENT;
}

static void on_closed(void *user, struct conn *c, const char *reason, struct instant now)
{
    (void)user;
    struct stream_uplink *s = conn_owner(c);
    if (!s)
        return;
    s->conn = NULL;
    uplink_ended(&s->base, end_of(s, conn_was_open(c), reason), reason, now);
}

struct conns *uplink_stream_conns(struct loop *l, size_t max)
{
    static const struct conn_ops ops = {
        .opened = on_opened, .message = on_message, .busy = on_busy, .closed = on_closed};
    const struct conns_config c = {.max = max,
                                   .max_half = max,
                                   .max_half_per_net = max,
                                   .max_message = MESSAGE_MAX,
                                   .idle_ms = UINT64_MAX,
                                   .keep_ms = CONN_KEEP_MS};
    return conns_new(l, &c, &ops, NULL);
}

/* ---- the kind ---- */

static void start(struct uplink *l, struct instant now)
{
    struct stream_uplink *s = mine(l);
    s->conn = conn_connect(l->all->conns, &s->to, s->tls, 0, now);
    if (s->conn)
        conn_set_owner(s->conn, s);
    else
        uplink_ended(l, UPLINK_REFUSED, "unreachable", now);
}

static void send_message(struct uplink *l, struct bytes message, struct instant now)
{
    struct stream_uplink *s = mine(l);
    if (s->conn)
        (void)conn_send(s->conn, message, now); /* it ends the connection, or is told by takes() */
}

static bool takes(const struct uplink *l, size_t n)
{
    const struct stream_uplink *s = mine_const(l);
    return !s->conn || n <= conn_message_max(s->conn);
}

static bool check(struct uplink *l, struct instant now)
{
    struct stream_uplink *s = mine(l);
    if (s->conn)
        conn_ping(s->conn, now);
    return true;
}

static void say_goodbye(struct uplink *l, struct instant now)
{
    struct stream_uplink *s = mine(l);
    if (!s->conn)
        return;
    conn_set_owner(s->conn, NULL);
    conn_close(s->conn, "closed", now);
    s->conn = NULL;
}

static void free_uplink(struct uplink *l)
{
    free(mine(l));
}

/* RFC 8323 5.5: the device answers what it has, and wants no more. */
static bool is_leaving(const struct uplink *l)
{
    const struct stream_uplink *s = mine_const(l);
    return s->conn && conn_is_released(s->conn);
}

static const struct uplink_kind kind = {
    .reliable = true,
    .answer_ms = SEPARATE_WAIT_MS,
    .start = start,
    .send = send_message,
    .takes = takes,
    .check = check,
    .close = say_goodbye,
    .free = free_uplink,
    .is_leaving = is_leaving,
};

struct uplink *uplink_stream_new(struct uplinks *all, const struct uplink_config *c,
                                 struct buf *diag)
{
    struct stream_uplink *s = calloc(1, sizeof *s);
    if (!s) {
        buf_put_str(diag, "out of memory");
        return NULL;
    }
    uplink_init(&s->base, &kind, all, c);
    s->to = c->to;
    s->tls = c->tls;
    return &s->base;
}
