/* Uplinks of datagrams: a connected UDP socket, with DTLS on it or without. */
#include <stdlib.h>

#include "dtls_out.h"
#include "limits.h"
#include "udp.h"
#include "uplink_inside.h"

struct datagram_uplink {
    struct uplink base; /* first */
    struct udp *udp;
    struct dtls_out_session *session; /* NULL: plain */
    struct instant now;               /* of the event that runs */
};

static struct datagram_uplink *mine(struct uplink *l)
{
    return (struct datagram_uplink *)l;
}

static const struct datagram_uplink *mine_const(const struct uplink *l)
{
    return (const struct datagram_uplink *)l;
}

static void on_datagram_out(void *user, struct bytes datagram)
{
    struct datagram_uplink *d = user;
    udp_send(d->udp, NULL, datagram);
    uplink_pend(&d->base);
}

/* ---- DTLS ---- */

static enum uplink_end end_of(const struct datagram_uplink *d)
{
    switch (dtls_out_end(d->session)) {
    case DTLS_OUT_SILENT:
        return UPLINK_SILENT;
    case DTLS_OUT_ENDED:
        return UPLINK_CLOSED;
    case DTLS_OUT_REFUSED:
    default:
        return UPLINK_UNTRUSTED;
    }
}

static void take_event(struct datagram_uplink *d, enum dtls_out_event e, struct instant now)
{
    switch (e) {
    case DTLS_OUT_NOTHING:
        return;
    case DTLS_OUT_ESTABLISHED:
        uplink_opened(&d->base, now);
        return;
    case DTLS_OUT_CLOSED:
        uplink_ended(&d->base, end_of(d), dtls_out_reason(d->session), now);
        return;
    }
}

static void take_record(struct datagram_uplink *d, struct bytes datagram, struct instant now)
{
    uint8_t plain[DATAGRAM_MAX];
    take_event(d, dtls_out_receive(d->session, datagram, now), now);
    while (d->base.state == UPLINK_OPEN) {
        enum dtls_out_event e;
        struct bytes message = dtls_out_read(d->session, now, plain, sizeof plain, &e);
        if (message.n > 0)
            d->base.ops->message(d->base.user, &d->base, message, now);
        if (d->base.state == UPLINK_OPEN)
            take_event(d, e, now);
        if (message.n == 0)
            break;
    }
}

/* ---- the socket ---- */

static void take_datagram(void *user, const struct peer *from, struct bytes datagram)
{
    (void)from;
    struct datagram_uplink *d = user;
    struct uplink *l = &d->base;
    if (l->state == UPLINK_OVER)
        return;
    if (datagram.n == 0) {
        /* ICMP. It may be forged, so what stands is not given up for it; what
         * comes is, for nobody is there to hear it. */
        if (l->state == UPLINK_OPEN)
            l->ops->unreachable(l->user, l, d->now);
        else
            uplink_ended(l, UPLINK_REFUSED, "unreachable", d->now);
    } else if (d->session) {
        take_record(d, datagram, d->now);
    } else if (l->state == UPLINK_OPEN) {
        l->ops->message(l->user, l, datagram, d->now);
    }
}

static bool readable(void *user, int tag, struct instant now)
{
    (void)tag;
    struct datagram_uplink *d = user;
    if (d->base.state == UPLINK_OVER)
        return false;
    d->now = now;
    return udp_receive(d->udp, take_datagram, d);
}

/* ---- the kind ---- */

static void start(struct uplink *l, struct instant now)
{
    struct datagram_uplink *d = mine(l);
    if (d->session)
        take_event(d, dtls_out_start(d->session, now), now);
    else
        uplink_opened(l, now);
}

static void send_message(struct uplink *l, struct bytes message, struct instant now)
{
    struct datagram_uplink *d = mine(l);
    if (!d->session)
        udp_send(d->udp, NULL, message);
    else if (!dtls_out_write(d->session, message, now))
        return; /* lost, as on a wire: it is sent again */
}

static bool takes(const struct uplink *l, size_t n)
{
    (void)l;
    return n <= MESSAGE_MAX;
}

/* A server that has forgotten a session says nothing to it. */
static bool check(struct uplink *l, struct instant now)
{
    (void)now;
    return !mine(l)->session;
}

static void say_goodbye(struct uplink *l, struct instant now)
{
    struct datagram_uplink *d = mine(l);
    if (d->session)
        dtls_out_close(d->session, now);
}

static void flush(struct uplink *l)
{
    if (udp_pending(mine(l)->udp))
        udp_flush(mine(l)->udp);
}

static void free_uplink(struct uplink *l)
{
    struct datagram_uplink *d = mine(l);
    if (d->udp)
        loop_unwatch(l->all->loop, udp_fd(d->udp));
    dtls_out_session_free(d->session);
    udp_free(d->udp);
    free(d);
}

static bool has_way(const struct uplink *l)
{
    return udp_has_way(mine_const(l)->udp);
}

static uint64_t deadline_ms(const struct uplink *l)
{
    const struct datagram_uplink *d = mine_const(l);
    return d->session ? dtls_out_deadline_ms(d->session) : UINT64_MAX;
}

static void expire(struct uplink *l, struct instant now)
{
    struct datagram_uplink *d = mine(l);
    take_event(d, dtls_out_expire(d->session, now), now);
}

static void give_up(struct uplink *l, struct instant now)
{
    take_event(mine(l), dtls_out_give_up(mine(l)->session), now);
}

static const struct uplink_kind kind = {
    .reliable = false,
    .start = start,
    .send = send_message,
    .takes = takes,
    .check = check,
    .close = say_goodbye,
    .flush = flush,
    .free = free_uplink,
    .has_way = has_way,
    .deadline_ms = deadline_ms,
    .expire = expire,
    .give_up = give_up,
};

struct uplink *uplink_datagram_new(struct uplinks *all, const struct uplink_config *c,
                                   struct buf *diag)
{
    struct datagram_uplink *d = calloc(1, sizeof *d);
    if (!d) {
        buf_put_str(diag, "out of memory");
        return NULL;
    }
    uplink_init(&d->base, &kind, all, c);
    d->udp = udp_connect(&c->to, diag);
    if (d->udp && c->dtls)
        d->session = dtls_out_session_new(c->dtls, on_datagram_out, d);
    if (d->udp && (d->session || !c->dtls) && loop_watch(all->loop, udp_fd(d->udp), readable, d, 0))
        return &d->base;
    dtls_out_session_free(d->session);
    udp_free(d->udp);
    free(d);
    return NULL;
}
