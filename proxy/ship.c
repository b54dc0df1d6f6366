#include "ship.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "ship_carrier.h"
#include "stamp.h"
#include "syslog_line.h"

enum {
    SEND = 64 << 10, /* of formatted messages at once */
    ACKED_LOOK_MS = 20,
    IDLE_MS = 3600000,
    CONTENT_TOO_LARGE = 413, /* RFC 9110 15.5.14 */
};

/* Handed over, and not settled yet. */
struct held {
    uint64_t last, lost;
    uint64_t end;   /* in octets of the connection */
    uint64_t at_ms; /* since when; 0: nothing is held */
};

struct ship {
    const struct ship_config *config;
    struct spool *spool;
    struct carrier *carrier;
    pthread_t thread;
    atomic_bool asleep, stopping;
    atomic_uint_fast64_t news;
    pthread_mutex_t lock; /* of the status, held for copies only */
    struct ship_status status;
    /* the thread's own */
    struct syslog_origin origin;
    char host[256];
    unsigned batch;
    struct spool_taken taken;
    struct held older, newer; /* streams: the older of the two settles first */
    uint64_t backoff_ms, retry_at_ms, up_at_ms, retry_s;
    struct buf records, messages;
};

static void set_state(struct ship *s, enum ship_state state, const char *error)
{
    (void)pthread_mutex_lock(&s->lock);
    bool turned = s->status.state != state;
    if (turned) {
        s->status.state = state;
        s->status.since_s = time(NULL);
    }
    if (error)
        (void)snprintf(s->status.error, sizeof s->status.error, "%s", error);
    (void)pthread_mutex_unlock(&s->lock);
    if (!turned)
        return;
    if (state == SHIP_UP)
        log_event(LOG_LEVEL_INFO, "audit-collector-up", "to", s->config->to, NULL);
    else
        log_event(LOG_LEVEL_WARN, "audit-collector-away", "to", s->config->to, "error",
                  LOG_OR(error), NULL);
}

static void set_shipped(struct ship *s, uint64_t last)
{
    (void)pthread_mutex_lock(&s->lock);
    s->status.shipped = last;
    (void)pthread_mutex_unlock(&s->lock);
}

static bool is_stream(const struct ship *s)
{
    return s->config->kind == SHIP_SYSLOG_STREAM;
}

static void set_up(struct ship *s)
{
    s->up_at_ms = carrier_now_ms();
    set_state(s, SHIP_UP, NULL);
}

static void settle(struct ship *s, uint64_t last, uint64_t lost)
{
    spool_settle(s->spool, last, lost);
    s->backoff_ms = 0;
}

/* From half to the whole of a time that doubles: gateways that lost their
 * collector together do not come back together. */
static void away(struct ship *s)
{
    uint64_t now = carrier_now_ms(), random = 0;
    set_state(s, SHIP_DOWN, carrier_error(s->carrier));
    carrier_close(s->carrier);
    s->older = s->newer = (struct held){0};
    spool_rewind(s->spool);
    struct spool_stats stats;
    spool_get_stats(s->spool, &stats);
    set_shipped(s, stats.settled);

    if (s->up_at_ms && now - s->up_at_ms > SHIP_HOLD_MS)
        s->backoff_ms = 0;
    s->up_at_ms = 0;
    s->backoff_ms = s->backoff_ms ? s->backoff_ms * 2 : SHIP_BACKOFF_MIN_MS;
    if (s->backoff_ms > SHIP_BACKOFF_MAX_MS)
        s->backoff_ms = SHIP_BACKOFF_MAX_MS;
    uint64_t wait = s->backoff_ms;
    if (s->retry_s > SHIP_BACKOFF_MAX_MS / 1000) /* Retry-After (RFC 9110 10.2.3) */
        wait = SHIP_BACKOFF_MAX_MS;
    else if (s->retry_s * 1000 > wait)
        wait = s->retry_s * 1000;
    s->retry_s = 0;
    if (getentropy(&random, sizeof random) != 0)
        random = 0; /* no jitter */
    s->retry_at_ms = now + wait / 2 + random % (wait / 2 + 1);
}

/* ---- one batch ---- */

static bool take(struct ship *s)
{
    char stamp[STAMP];
    stamp_now(stamp);
    s->records.n = 0;
    if (!spool_read(s->spool, stamp, s->batch, &s->records, &s->taken))
        return false;
    spool_sync(s->spool);
    return true;
}

static bool flush(struct ship *s)
{
    bool ok = s->messages.n == 0 || carrier_send(s->carrier, buf_bytes(&s->messages));
    s->messages.n = 0;
    return ok;
}

static bool send_messages(struct ship *s)
{
    struct bytes left = buf_bytes(&s->records);
    bool counted = is_stream(s);
    s->messages.n = 0;
    while (left.n > 0) {
        const uint8_t *end = memchr(left.p, '\n', left.n);
        size_t n = (size_t)(end - left.p);
        while (!syslog_put(&s->origin, bytes_of(left.p, n), counted, &s->messages))
            if (!flush(s)) /* SEND has room for any one */
                return false;
        left = bytes_of(end + 1, left.n - n - 1);
        if (!counted && !flush(s)) /* a datagram each */
            return false;
    }
    return flush(s);
}

static void hold(struct ship *s)
{
    struct held *h = s->older.at_ms ? &s->newer : &s->older;
    h->last = s->taken.last;
    h->lost += s->taken.lost;
    h->end = carrier_handed(s->carrier);
    h->at_ms = carrier_now_ms();
}

static void settle_held(struct ship *s, bool now)
{
    struct held *h = &s->older;
    if (!h->at_ms || (!now && carrier_now_ms() - h->at_ms < SHIP_HOLD_MS) ||
        carrier_acked(s->carrier) < h->end)
        return;
    settle(s, h->last, h->lost);
    s->older = s->newer;
    s->newer = (struct held){0};
    if (now && s->older.at_ms)
        settle_held(s, now);
}

static bool deliver_http(struct ship *s)
{
    int status = 0;
    if (carrier_post(s->carrier, buf_bytes(&s->records), &status, &s->retry_s)) {
        settle(s, s->taken.last, s->taken.lost);
        set_up(s);
        return true;
    }
    if (status == CONTENT_TOO_LARGE && s->taken.records > 1) {
        s->batch = s->taken.records / 2;
        s->retry_s = 0;
        spool_rewind(s->spool);
        return true;
    }
    return false;
}

static bool deliver(struct ship *s)
{
    bool ok = s->config->kind == SHIP_HTTP ? deliver_http(s) : send_messages(s);
    if (!ok)
        return false;
    if (is_stream(s))
        hold(s);
    else if (s->config->kind == SHIP_SYSLOG_LOCAL)
        settle(s, s->taken.last, s->taken.lost);
    struct spool_stats stats;
    spool_get_stats(s->spool, &stats);
    set_shipped(s, is_stream(s) ? s->taken.last : stats.settled);
    return true;
}

/* ---- the thread ---- */

static void idle(struct ship *s, uint64_t news)
{
    uint64_t ms = IDLE_MS;
    if (s->older.at_ms) {
        uint64_t since = carrier_now_ms() - s->older.at_ms;
        ms = since < SHIP_HOLD_MS ? SHIP_HOLD_MS - since : ACKED_LOOK_MS;
    }
    atomic_store(&s->asleep, true);
    bool alive = true;
    if (news == atomic_load(&s->news) && !atomic_load(&s->stopping))
        alive = carrier_wait(s->carrier, ms);
    atomic_store(&s->asleep, false);
    if (alive && news != atomic_load(&s->news) && !atomic_load(&s->stopping))
        alive = carrier_wait(s->carrier, SHIP_LINGER_MS);
    if (!alive)
        away(s);
}

static bool connect_stream(struct ship *s)
{
    if (s->config->kind == SHIP_HTTP || carrier_is_open(s->carrier))
        return true;
    if (!carrier_connect(s->carrier))
        return false;
    set_up(s);
    return true;
}

/* A planned stop: what a living peer's TCP has is delivered. */
static void finish(struct ship *s)
{
    while (s->older.at_ms && !carrier_is_stopped(s->carrier)) {
        if (!carrier_wait(s->carrier, ACKED_LOOK_MS))
            return;
        settle_held(s, true);
    }
}

static void *run(void *arg)
{
    struct ship *s = arg;
    while (!carrier_is_stopped(s->carrier)) {
        bool stopping = atomic_load(&s->stopping);
        uint64_t now = carrier_now_ms(), news = atomic_load(&s->news);
        if (now < s->retry_at_ms) {
            if (stopping)
                break;
            if (!carrier_wait(s->carrier, s->retry_at_ms - now))
                away(s); /* nothing is open now, so nothing ends */
        } else if (!connect_stream(s)) {
            away(s);
        } else {
            settle_held(s, false);
            if (take(s)) {
                if (!deliver(s))
                    away(s);
            } else if (stopping) {
                finish(s);
                break;
            } else {
                idle(s, news);
            }
        }
    }
    return NULL;
}

static void clear(struct ship *s)
{
    carrier_free(s->carrier);
    free(s->records.p);
    free(s->messages.p);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

struct ship *ship_new(const struct ship_config *c, struct spool *spool, struct buf *diag)
{
    struct ship *s = calloc(1, sizeof *s);
    if (!s) {
        buf_put_str(diag, "audit: out of memory");
        return NULL;
    }
    (void)pthread_mutex_init(&s->lock, NULL);
    s->config = c;
    s->spool = spool;
    s->batch = c->batch;
    s->records = buf_on(malloc(SHIP_BATCH_BYTES), SHIP_BATCH_BYTES);
    s->messages = buf_on(malloc(SEND), SEND);
    if (gethostname(s->host, sizeof s->host) != 0)
        s->host[0] = '\0';
    s->host[sizeof s->host - 1] = '\0';
    s->origin = (struct syslog_origin){s->host, spool_stream(spool), (unsigned)getpid()};
    s->status.since_s = time(NULL);
    struct spool_stats stats;
    spool_get_stats(spool, &stats);
    s->status.shipped = stats.settled;
    s->carrier = carrier_new(c, spool_stream(spool), diag);
    if (!s->records.p || !s->messages.p || !s->carrier ||
        pthread_create(&s->thread, NULL, run, s) != 0) {
        if (s->carrier)
            buf_put_str(diag, "audit: cannot start shipping");
        clear(s);
        return NULL;
    }
    return s;
}

void ship_free(struct ship *s)
{
    if (!s)
        return;
    atomic_store(&s->stopping, true);
    carrier_stop(s->carrier, carrier_now_ms() + SHIP_STOP_MS);
    (void)pthread_join(s->thread, NULL);
    clear(s);
}

void ship_wake(struct ship *s)
{
    atomic_fetch_add(&s->news, 1);
    if (atomic_exchange(&s->asleep, false))
        carrier_wake(s->carrier);
}

void ship_get_status(struct ship *s, struct ship_status *out)
{
    struct spool_stats stats;
    (void)pthread_mutex_lock(&s->lock);
    *out = s->status;
    (void)pthread_mutex_unlock(&s->lock);
    spool_get_stats(s->spool, &stats);
    /* A stream's are waiting no more once they were handed over. */
    uint64_t left = stats.last > out->shipped ? stats.last - out->shipped : 0;
    out->waiting = left < stats.waiting ? left : stats.waiting;
    out->lost = stats.lost;
}
