/* Devices: route, connection, window (NSTART), queue, health; and RFC 7252
 * section 4 for the side where we are the client. An answer is matched by
 * the connection that was asked on (a socket's source is the kernel's to
 * check) and by a token of 64 bits, 48 of them random. */
#ifndef POSTERN_UPSTREAM_H
#define POSTERN_UPSTREAM_H

#include "device_cache.h"
#include "exchange.h"
#include "forward.h"
#include "m2m_cse.h"
#include "udp.h"

struct upstreams;
struct loop;

enum device_scheme {
    DEVICE_COAP = 0,
    DEVICE_COAPS = 1,
    DEVICE_COAP_TCP = 2,
    DEVICE_COAPS_TCP = 3, /* RFC 8323 */
    DEVICE_HTTP = 4,      /* RFC 7252 10.1, or oneM2M's TS-0009 */
    DEVICE_HTTPS = 5,
};

struct device_url {
    enum device_scheme scheme;
    const char *text; /* as written, for people */
    const char *host; /* a name or an address literal */
    int port;
    struct peer to; /* len 0: the host is a name, to be resolved */
};

static inline bool device_url_is_secure(const struct device_url *u)
{
    return u->scheme == DEVICE_COAPS || u->scheme == DEVICE_COAPS_TCP || u->scheme == DEVICE_HTTPS;
}

static inline bool device_url_is_http(const struct device_url *u)
{
    return u->scheme == DEVICE_HTTP || u->scheme == DEVICE_HTTPS;
}

/* Who we are to a device and whom we take for it: identity and psk, or ca
 * and, for a device that asks, certificate and key (PEM). */
struct device_tls {
    struct bytes identity, psk, ca, certificate, key;
};

/* One device as configured; what it points to is borrowed for the table's
 * life. */
struct device_config {
    const char *name;
    const char *host;           /* by Uri-Host; or NULL */
    const struct bytes *prefix; /* by path: its segments; n 0 with host */
    size_t n_prefix;
    const struct device_url *urls; /* the first that is up is used */
    size_t n_urls;                 /* at least 1 */
    const struct device_tls *tls;  /* NULL: all are plain */
    const struct bytes *base;      /* path of the URLs, put before what is left */
    size_t n_base;
    unsigned window;   /* requests it has not acknowledged or answered; NSTART 1 */
    unsigned queue;    /* DEVICE_QUEUE */
    unsigned pause_ms; /* at least between the end of one request and the next */
    bool elsewhere;    /* another worker has it: it is routed to, and no more */
    /* CACHE_NO for a dialect whose answers depend on more than options say. */
    enum cache_mode cache;
    const struct m2m_cse *cse; /* NULL: it speaks no oneM2M */
};

struct device_stats {
    uint64_t sent, answered, retransmitted, silent, reset, drained;
    uint64_t refused;           /* not taken */
    uint64_t unreachable;       /* ICMP errors */
    uint64_t notified;          /* messages of observations that were taken */
    uint64_t stray;             /* datagrams that are no answer to what is in flight */
    uint64_t in_flight, queued; /* now */
    uint64_t moved;             /* begun anew on another connection or URL */
    bool down;                  /* all of its URLs are */
    int64_t since_s;            /* wall time since when it is up or down; 0: always */
    const char *url;            /* the one in use */
    const char *reason;         /* why that was last down; NULL: never */
    uint64_t rtt_us;            /* smoothed */
};

struct upstream_ops {
    /* The device answered x (view into the datagram), or never did: m NULL,
     * and x->up_end says why. x has left the device; may call upstream_*. */
    void (*answered)(void *user, struct exchange *x, const struct msg *m, struct instant now);
    /* A message with a token of upstream_listen() that answers nothing under
     * way; `cut`: it was longer than a datagram that we read. True: it was
     * waited for, and is acknowledged; false: rejected, so that the device
     * sends no more (RFC 7641 3.6). May be NULL. */
    bool (*notified)(void *user, uint32_t owner, const struct msg *m, bool cut, struct instant now);
    /* The device was away and is back: what it knew of its observers may be
     * lost. Takes note and calls nothing. May be NULL. */
    void (*returned)(void *user, uint32_t owner, struct instant now);
};

/* Watches the devices' sockets on `loop`, and resolves their names there. */
MUST_USE struct upstreams *upstreams_new(const struct device_config *devices, size_t n,
                                         struct loop *loop, const struct upstream_ops *ops,
                                         void *user, void (*random)(void *user, void *to, size_t n),
                                         struct buf *diag);
void upstreams_free(struct upstreams *u);

/* Which device a request is for: the longest path prefix, or the host.
 * Returns its index or -1; *strip is how many segments are its prefix. A
 * request with a Uri-Host that names a device goes there by host alone. */
int upstream_route(const struct upstreams *u, struct bytes uri_host, const struct bytes *path,
                   size_t n_path, size_t *strip);
const struct device_config *upstream_config(const struct upstreams *u, int device);

/* Sends the request `m` for x now, or queues it. CON goes as CON, NON as
 * NON; message ID and token are ours. False: not taken, and x->up_end says
 * why: UP_FULL (the queue; or the device is down, and as many as its window
 * holds are trying whether it is back), UP_TOO_LARGE. A request that would
 * do no harm twice goes to the next URL when the one in use goes down. */
MUST_USE bool upstream_submit(struct upstreams *u, struct exchange *x, int device, struct msg *m,
                              struct instant now);
/* x is over (its client left): its place is given on. Nothing is called;
 * fine when x is with no device. */
void upstream_cancel(struct upstreams *u, struct exchange *x, struct instant now);

/* A token that stays good over many answers, for an observation (RFC 7641);
 * `owner` is the caller's own. A request that is to carry it has up_kept and
 * up_token set before it is submitted; one at a time. It holds no place of
 * the window but while such a request does. False: DEVICE_OBSERVATIONS. */
MUST_USE bool upstream_listen(struct upstreams *u, int device, uint32_t owner, uint64_t *token);
/* None of its requests may be under way. */
void upstream_unlisten(struct upstreams *u, int device, uint64_t token);

uint64_t upstreams_deadline_ms(struct upstreams *u);
void upstreams_expire(struct upstreams *u, struct instant now);
/* Of every turn of the loop, at its end: what was sent leaves. */
void upstreams_turn(struct upstreams *u, struct instant now);
void upstream_get_stats(const struct upstreams *u, int device, struct device_stats *out);

#endif
