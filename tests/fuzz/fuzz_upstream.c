/* What a device may send: datagrams, each behind its length in one byte;
 * length 0 is an ICMP error. Requests of both types are in flight and in the
 * queue; whatever comes, each ends at most once and the counts agree. */
#include <stdlib.h>

#include "../../proxy/log.h"
#include "../../proxy/upstream.h"
#include "../fake_loop.h"
#include "../fake_udp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REQUESTS = 6 };

static struct exchange requests[REQUESTS];
static struct exchange_room rooms[REQUESTS];

/* Known tokens and message IDs, so that a corpus can name them. */
static void known(void *user, void *to, size_t n)
{
    (void)user;
    memset(to, 0x5a, n);
}

static void answered(void *user, struct exchange *x, const struct msg *m, struct instant now)
{
    (void)m;
    (void)now;
    bool *ended = user;
    if (x->up != UP_NONE || ended[x - requests])
        abort();
    ended[x - requests] = true;
}

static void check(struct upstreams *u)
{
    struct device_stats s;
    uint64_t flight = 0, queued = 0;
    upstream_get_stats(u, 0, &s);
    for (size_t i = 0; i < REQUESTS; i++) {
        flight += requests[i].up == UP_SENT || requests[i].up == UP_ACKED;
        queued += requests[i].up == UP_QUEUED;
    }
    if (s.in_flight != flight || s.queued != queued)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct bytes path[] = {BYTES_LIT("d")};
    struct device_config c = {.name = "d", .prefix = path, .n_prefix = 1, .window = 3, .queue = 9};
    struct device_url url = {.text = "d", .to = fake_peer("192.0.2.1", 5683)};
    struct loop loop = {.n = 0};
    c.urls = &url;
    c.n_urls = 1;
    bool ended[REQUESTS] = {false};
    log_open(LOG_LEVEL_ERROR);
    struct upstream_ops ops = {.answered = answered};
    struct buf diag = buf_on(NULL, 0);
    struct upstreams *u = upstreams_new(&c, 1, &loop, &ops, ended, known, &diag);
    struct instant now = {.mono_us = 1000000};
    if (!u)
        abort();
    struct udp *wire = fake_udp_connected(&url.to);
    for (size_t i = 0; i < REQUESTS; i++) {
        memset(&requests[i], 0, sizeof requests[i]);
        requests[i].room = &rooms[i];
        requests[i].type = i % 2 ? TYPE_NON : TYPE_CON;
        struct msg m = {.code = MSG_GET};
        if (!upstream_submit(u, &requests[i], 0, &m, now))
            abort();
    }
    for (size_t at = 0; at < size;) {
        size_t n = data[at++];
        if (n > size - at)
            n = size - at;
        now.mono_us += 1000;
        if (n > 0)
            fake_udp_inject(wire, &url.to, bytes_of(data + at, n));
        else
            fake_udp_inject_icmp(wire);
        loop.now = now;
        fake_loop_readable(&loop, udp_fd(wire));
        check(u);
        upstreams_turn(u, now);
        at += n;
    }
    now.mono_us += 3600000000;
    for (int i = 0; i < 100; i++, now.mono_us += 100000000)
        upstreams_expire(u, now);
    check(u);
    for (size_t i = 0; i < REQUESTS; i++)
        if (!ended[i])
            abort();
    upstreams_free(u);
    (void)fake_udp_reset();
    return 0;
}
