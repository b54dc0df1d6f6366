#include "conn.h"
#include "limits.h"
#include "uplink_inside.h"

bool uplinks_init(struct uplinks *all, struct loop *l, size_t streams)
{
    *all = (struct uplinks){.loop = l, .conns_due_ms = UINT64_MAX};
    if (streams > 0)
        all->conns = uplink_stream_conns(l, streams);
    return streams == 0 || all->conns;
}

void uplinks_clear(struct uplinks *all)
{
    if (all->conns)
        conns_free(all->conns);
    all->conns = NULL;
    http_uplinks_free(all->http);
    all->http = NULL;
}

struct uplink *uplink_new(struct uplinks *all, const struct uplink_config *c, struct buf *diag)
{
    return c->url      ? uplink_http_new(all, c, diag)
           : c->stream ? uplink_stream_new(all, c, diag)
                       : uplink_datagram_new(all, c, diag);
}

void uplink_init(struct uplink *l, const struct uplink_kind *kind, struct uplinks *all,
                 const struct uplink_config *c)
{
    *l = (struct uplink){
        .kind = kind, .all = all, .ops = c->ops, .user = c->user, .open_by_ms = UINT64_MAX};
}

void uplink_pend(struct uplink *l)
{
    if (l->is_pending)
        return;
    l->is_pending = true;
    l->next = l->all->pending;
    l->all->pending = l;
}

void uplink_start(struct uplink *l, struct instant now)
{
    if (l->state != UPLINK_FRESH)
        return;
    l->state = UPLINK_OPENING;
    l->open_by_ms = instant_ms(now) + UPLINK_OPEN_MS;
    l->kind->start(l, now);
}

void uplink_opened(struct uplink *l, struct instant now)
{
    l->state = UPLINK_OPEN;
    l->open_by_ms = UINT64_MAX;
    l->ops->opened(l->user, l, now);
}

void uplink_close(struct uplink *l, struct instant now)
{
    if (!l || l->state == UPLINK_OVER)
        return;
    l->kind->close(l, now);
    l->state = UPLINK_OVER;
    l->open_by_ms = UINT64_MAX;
    uplink_pend(l);
}

void uplink_ended(struct uplink *l, enum uplink_end how, const char *reason, struct instant now)
{
    if (l->state == UPLINK_OVER)
        return;
    uplink_close(l, now);
    l->ops->ended(l->user, l, how, reason, now);
}

bool uplink_is_open(const struct uplink *l)
{
    return l && l->state == UPLINK_OPEN && !(l->kind->is_leaving && l->kind->is_leaving(l));
}

bool uplink_is_reliable(const struct uplink *l)
{
    return l->kind->reliable;
}

bool uplink_has_way(const struct uplink *l)
{
    return !l->kind->has_way || l->kind->has_way(l);
}

bool uplink_takes(const struct uplink *l, size_t n)
{
    return l->kind->takes(l, n);
}

bool uplink_check(struct uplink *l, struct instant now)
{
    return l->kind->check(l, now);
}

void uplink_send(struct uplink *l, struct bytes message, struct instant now)
{
    if (!uplink_is_open(l))
        return;
    l->kind->send(l, message, now);
    uplink_pend(l);
}

void uplink_forget(struct uplink *l, uint64_t token)
{
    if (uplink_is_open(l) && l->kind->forget)
        l->kind->forget(l, token);
}

uint32_t uplink_answer_ms(const struct uplink *l)
{
    return l->kind->answer_ms;
}

uint64_t uplink_deadline_ms(const struct uplink *l)
{
    if (l->state == UPLINK_OVER)
        return UINT64_MAX;
    uint64_t of_kind = l->kind->deadline_ms ? l->kind->deadline_ms(l) : UINT64_MAX;
    return of_kind < l->open_by_ms ? of_kind : l->open_by_ms;
}

void uplink_expire(struct uplink *l, struct instant now)
{
    if (instant_ms(now) < uplink_deadline_ms(l))
        return;
    if (l->open_by_ms > instant_ms(now))
        l->kind->expire(l, now);
    else if (l->kind->give_up)
        l->kind->give_up(l, now);
    else
        uplink_ended(l, UPLINK_SILENT, "handshake-timeout", now);
}

void uplinks_take(struct uplinks *all, struct instant now)
{
    if (all->http)
        http_uplinks_turn(all->http, now);
}

/* Streams first: what ends there may be sent elsewhere. */
void uplinks_turn(struct uplinks *all, struct instant now)
{
    if (all->conns)
        all->conns_due_ms = conns_turn(all->conns, now);
    for (struct uplink *l; (l = all->pending);) {
        all->pending = l->next;
        l->is_pending = false;
        if (l->kind->flush)
            l->kind->flush(l);
        if (l->state == UPLINK_OVER)
            l->kind->free(l);
    }
}

uint64_t uplinks_deadline_ms(const struct uplinks *all)
{
    uint64_t http = all->http ? http_uplinks_deadline_ms(all->http) : UINT64_MAX;
    return http < all->conns_due_ms ? http : all->conns_due_ms;
}
