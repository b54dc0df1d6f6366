#include "way.h"

#include "dtls_out.h"
#include "limits.h"
#include "log.h"
#include "msg.h"
#include "resolve.h"
#include "tls.h"

enum { SILENCE_DOWN = 2 }; /* see way_silent(), device.c */

static bool is_known(const struct way *w)
{
    return w->to.len > 0;
}

static bool is_stream(const struct way *w)
{
    return w->url->scheme == DEVICE_COAP_TCP || w->url->scheme == DEVICE_COAPS_TCP;
}

static bool is_http(const struct way *w)
{
    return device_url_is_http(w->url);
}

bool way_has_sessions(const struct way *w)
{
    return w->url->scheme != DEVICE_COAP;
}

bool way_is_up(const struct way *w)
{
    return w->health.state == CIRCUIT_CLOSED;
}

bool way_is_ready(const struct way *w)
{
    return uplink_is_open(w->link);
}

bool way_is_trying(const struct way *w, struct instant now)
{
    return w->health.state == CIRCUIT_HALF_OPEN ||
           (w->health.state == CIRCUIT_OPEN && w->health.until_ms <= instant_ms(now));
}

void way_want(struct way *w)
{
    w->wanted = true;
}

bool way_takes(const struct way *w, size_t n)
{
    return uplink_takes(w->link, n);
}

void way_send(struct way *w, struct bytes message, struct instant now)
{
    uplink_send(w->link, message, now);
}

/* ---- health ---- */

void way_heard(struct way *w, struct instant now)
{
    w->heard_us = now.mono_us;
    w->spoken = true;
    w->silence = 0;
    if (way_is_up(w))
        return;
    w->pinging = false;
    circuit_succeeded(&w->health, now);
    log_event(LOG_LEVEL_INFO, "device-up", "device", w->device, "url", w->url->text, NULL);
}

static void drop(struct way *w, struct uplink **l, struct instant now)
{
    uplink_close(*l, now);
    *l = NULL;
    if (l == &w->link)
        w->epoch++;
}

void way_fail(struct way *w, enum uplink_end how, const char *reason, struct instant now)
{
    /* A line for each time, not for each probe of it. */
    if (way_is_up(w) || how != w->how)
        log_event(LOG_LEVEL_WARN, "device-down", "device", w->device, "url", w->url->text, "reason",
                  reason, NULL);
    circuit_failed(&w->health, w->ops->random(w->user), now);
    w->how = how;
    w->reason = reason;
    w->silence = 0;
    w->pinging = false;
    w->wanted = false;
    if (way_has_sessions(w)) {
        drop(w, &w->coming, now);
        drop(w, &w->link, now);
    }
    /* Perhaps it has moved. */
    if (w->resolver && !w->asking && w->name_due_ms > instant_ms(now) + NAME_RETRY_MS)
        w->name_due_ms = instant_ms(now);
    w->ops->failed(w->user, w, how, now);
}

void way_silent(struct way *w, unsigned weight, struct instant now)
{
    w->silence += weight;
    if (w->silence >= SILENCE_DOWN)
        way_fail(w, UPLINK_SILENT, "silent", now);
}

/* ---- uplinks ---- */

static void on_opened(void *user, struct uplink *l, struct instant now)
{
    struct way *w = user;
    uplink_close(w->link, now);
    w->link = l;
    w->coming = NULL;
    w->epoch++;
    w->wanted = w->reopen = false;
    if (way_has_sessions(w))
        way_heard(w, now);
    w->spoken = false;
    w->ops->ready(w->user, w, now);
    w->ops->touched(w->user, now);
}

static void on_ended(void *user, struct uplink *l, enum uplink_end how, const char *reason,
                     struct instant now)
{
    struct way *w = user;
    bool stood = l == w->link;
    if (stood) {
        w->link = NULL;
        w->epoch++;
    } else {
        w->coming = NULL;
    }
    /* One that never served is not opened again at once. */
    if (stood && w->spoken)
        w->ops->lost(w->user, w, how, reason, now);
    else
        way_fail(w, how, reason, now);
    w->ops->touched(w->user, now);
}

static void on_message(void *user, struct uplink *l, struct bytes message, struct instant now)
{
    struct way *w = user;
    if (l == w->link) /* what the one before still says is of another epoch */
        w->ops->message(w->user, w, message, now);
    w->ops->touched(w->user, now);
}

static void on_unreachable(void *user, struct uplink *l, struct instant now)
{
    struct way *w = user;
    if (l == w->link)
        w->ops->unreachable(w->user, w, now);
    w->ops->touched(w->user, now);
}

static bool on_busy(void *user, const struct uplink *l)
{
    const struct way *w = user;
    return l == w->link && w->in_flight > 0;
}

static const struct uplink_ops uplink_ops = {on_opened, on_message, on_ended, on_unreachable,
                                             on_busy};

static bool open_uplink(struct way *w, struct instant now, struct buf *diag)
{
    w->moved = false;
    const struct uplink_config c = {.to = w->to,
                                    .stream = is_stream(w),
                                    .dtls = w->dtls,
                                    .tls = w->tls,
                                    .device = w->config,
                                    .url = is_http(w) ? w->url : NULL,
                                    .ops = &uplink_ops,
                                    .user = w};
    w->coming = uplink_new(w->uplinks, &c, diag);
    if (!w->coming)
        return false;
    uplink_start(w->coming, now);
    return true;
}

static void open_again(struct way *w, struct instant now)
{
    char text[256];
    struct buf diag = buf_on(text, sizeof text);
    if (!w->coming && is_known(w) && !open_uplink(w, now, &diag))
        way_fail(w, UPLINK_SILENT, "no-socket", now);
}

void way_suspect(struct way *w, struct instant now)
{
    if (w->resolver && !w->asking && w->name_due_ms > instant_ms(now) + NAME_RETRY_MS)
        w->name_due_ms = instant_ms(now);
    if (w->link && way_is_up(w) && !uplink_check(w->link, now))
        w->reopen = true;
}

/* ---- names ---- */

void way_resolved(struct way *w, const struct peer *to, struct instant now)
{
    uint64_t ms = instant_ms(now);
    bool sound = to && peer_is_one_host(to);
    w->asking = false;
    w->name_due_ms = ms + (sound ? NAME_LIFE_MS : NAME_RETRY_MS);
    if (!sound && !is_known(w)) {
        way_fail(w, UPLINK_SILENT, to ? "no-host-address" : "no-such-name", now);
    } else if (sound && !peer_equal(to, &w->to)) {
        w->to = *to;
        w->moved = true;
        if (!way_is_up(w))
            w->health.until_ms = ms; /* tried at once where it is now */
    }
    way_tick(w, now);
}

static void ask_name(struct way *w, struct instant now)
{
    w->asking = resolver_ask(w->resolver, w->id, w->url->host, w->url->port);
    if (!w->asking)
        w->name_due_ms = instant_ms(now) + NAME_RETRY_MS;
}

/* ---- time ---- */

bool way_takes_pong(struct way *w, uint16_t mid)
{
    bool ours = w->pinging && w->ping_mid == mid;
    w->pinging = w->pinging && !ours;
    return ours;
}

static void ping(struct way *w, struct instant now)
{
    uint8_t storage[4];
    struct buf b = buf_on(storage, sizeof storage);
    w->ping_mid = w->ops->mid(w->user);
    w->pinging = true;
    w->ping_by_ms = instant_ms(now) + PING_WAIT_MS;
    msg_write_empty(TYPE_CON, w->ping_mid, &b);
    uplink_send(w->link, buf_bytes(&b), now);
}

static void probe(struct way *w, struct instant now)
{
    if (!is_known(w))
        way_fail(w, w->how, w->reason, now); /* the name is asked for by itself */
    else if (way_has_sessions(w) || !w->link)
        open_again(w, now);
    if (!way_has_sessions(w) && w->link)
        ping(w, now);
}

/* Whether a new uplink is due: nothing is lost by it when nothing is in
 * flight on the one there is. */
static bool should_open(const struct way *w)
{
    if (!is_known(w) || w->coming)
        return false;
    if (!way_has_sessions(w))
        return !w->link || (w->moved && (w->in_flight == 0 || !way_is_up(w)));
    return way_is_up(w) &&
           ((w->wanted && (!w->link || (w->moved && w->in_flight == 0))) || w->reopen);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t way_deadline_ms(const struct way *w)
{
    if (should_open(w))
        return 0;
    uint64_t first = w->link ? uplink_deadline_ms(w->link) : UINT64_MAX;
    if (w->resolver && !w->asking)
        first = earlier(first, w->name_due_ms);
    if (w->coming)
        first = earlier(first, uplink_deadline_ms(w->coming));
    if (w->pinging)
        first = earlier(first, w->ping_by_ms);
    if (w->health.state == CIRCUIT_OPEN)
        first = earlier(first, w->health.until_ms);
    return first;
}

void way_tick(struct way *w, struct instant now)
{
    uint64_t ms = instant_ms(now);
    if (w->resolver && !w->asking && w->name_due_ms <= ms)
        ask_name(w, now);
    if (w->link)
        uplink_expire(w->link, now);
    if (w->coming)
        uplink_expire(w->coming, now);
    if (w->pinging && w->ping_by_ms <= ms)
        way_fail(w, w->how, w->reason, now);
    if (!way_is_up(w) && circuit_admits(&w->health, now))
        probe(w, now);
    if (should_open(w)) {
        w->reopen = false;
        open_again(w, now);
    }
    w->ops->touched(w->user, now);
}

/* ---- life ---- */

/* NULL: there is nothing wrong. */
static const char *load(struct way *w, const struct way_config *c)
{
    const char *why = NULL;
    if (!device_url_is_secure(c->url) || is_http(w)) /* libcurl has its own */
        return NULL;
    const struct device_tls *t = c->device->tls;
    const struct dtls_out_config dc = {
        .identity = t->identity,
        .psk = t->psk,
        .certificate = t->certificate,
        .key = t->key,
        .ca = t->ca,
        .host = c->url->host,
    };
    if (is_stream(w))
        w->tls = tls_client_new(&dc, &why);
    else
        w->dtls = dtls_out_new(&dc, &why);
    return w->tls || w->dtls ? NULL : why;
}

bool way_init(struct way *w, const struct way_config *c, struct buf *diag)
{
    static const struct instant start = {0};
    *w = (struct way){.ops = c->ops,
                      .user = c->user,
                      .device = c->device->name,
                      .config = c->device,
                      .url = c->url,
                      .uplinks = c->uplinks,
                      .resolver = c->resolver,
                      .id = c->id,
                      .to = c->url->to};
    const char *why = load(w, c);
    if (why) {
        buf_put_str(diag, c->device->name);
        buf_put_str(diag, ": ");
        buf_put_str(diag, why);
        return false;
    }
    /* The sockets of all plain devices are there from the start: what is
     * wrong with one shows before the daemon says that it is ready. */
    if (way_has_sessions(w) || !is_known(w))
        return true;
    if (!open_uplink(w, start, diag))
        return false;
    if (!uplink_has_way(w->link))
        log_event(LOG_LEVEL_WARN, "no-way-to-device", "device", w->device, "url", w->url->text,
                  NULL);
    return true;
}

void way_close(struct way *w, struct instant now)
{
    uplink_close(w->coming, now);
    uplink_close(w->link, now);
    w->coming = w->link = NULL;
}

void way_clear(struct way *w)
{
    dtls_out_free(w->dtls);
    tls_free(w->tls);
}
