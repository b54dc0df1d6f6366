/* One device: the requests in flight to it, the queue behind its window, and
 * which of its URLs they take (way.h). Used by upstream.c alone.
 *
 * A request holds one of the window's places until it is acknowledged or
 * answered (RFC 7252 4.7), and one of the flight's places until it is
 * answered. Both are given back in one function, however it ends. */
#ifndef POSTERN_DEVICE_H
#define POSTERN_DEVICE_H

#include "uplink.h"
#include "upstream.h"

struct device;
struct resolver;

/* What the devices of one table have in common. */
struct device_shared {
    const struct upstream_ops *ops;
    void *user;
    void (*random)(void *user, void *to, size_t n);
    struct deadlines deadlines; /* of exchanges, by their up_deadline */
    struct deadlines timers;    /* of devices */
    struct uplinks uplinks;
    struct resolver *resolver; /* NULL: no URL has a name */
    struct device *stirred;    /* when they are due may have changed, */
    struct instant now;        /* last at this time */
    uint8_t pool[512];         /* randomness fetched ahead; wiped as it is used */
    size_t pool_n;
};

/* Requests that may be in flight at once. */
size_t device_places(const struct device_config *c);

/* `number` is its own: questions to the resolver have ids from number *
 * DEVICE_URLS_MAX on. */
MUST_USE struct device *device_new(const struct device_config *c, size_t number,
                                   struct device_shared *shared, struct buf *diag);
/* Says goodbye on its connections; then uplinks_turn(), then device_free().
 * NULL is fine for either. */
void device_close(struct device *d, struct instant now);
void device_free(struct device *d);

/* As upstream_submit() and _cancel(). */
MUST_USE bool device_submit(struct device *d, struct exchange *x, struct msg *m,
                            struct instant now);
void device_cancel(struct device *d, struct exchange *x, struct instant now);
MUST_USE bool device_listen(struct device *d, uint32_t owner, uint64_t *token);
void device_unlisten(struct device *d, uint64_t token);

/* x's up_deadline has come, and was taken out of the heap. */
void device_expire(struct device *d, struct exchange *x, struct instant now);
/* So has the device's own. It is up to date after devices_settle(). */
struct device *device_of_timer(struct deadline *timer);
void device_tick(struct device *d, struct instant now);
void devices_settle(struct device_shared *shared);
void device_resolved(struct device *d, size_t way, const struct peer *to, struct instant now);
void device_get_stats(const struct device *d, struct device_stats *out);

#endif
