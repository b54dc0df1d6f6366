/* One device: its connected socket, the requests in flight to it, the queue
 * behind its window, and whether it is alive. Used by upstream.c alone.
 *
 * A request holds one of the window's places until it is acknowledged or
 * answered (RFC 7252 4.7), and one of the flight's places until it is
 * answered. Both are given back in one function, however it ends. */
#ifndef POSTERN_DEVICE_H
#define POSTERN_DEVICE_H

#include "upstream.h"

struct device;

/* What the devices of one table have in common. */
struct device_shared {
    const struct upstream_ops *ops;
    void *user;
    void (*random)(void *user, void *to, size_t n);
    struct deadlines deadlines; /* of exchanges, by their up_deadline */
    uint8_t pool[512];          /* randomness fetched ahead; wiped as it is used */
    size_t pool_n;
};

/* Requests that may be in flight at once. */
size_t device_places(const struct device_config *c);

MUST_USE struct device *device_new(const struct device_config *c, struct device_shared *shared,
                                   struct buf *diag);
void device_free(struct device *d); /* NULL is fine */
struct udp *device_udp(const struct device *d);

/* As upstream_submit(), _cancel() and _receive(). */
MUST_USE bool device_submit(struct device *d, struct exchange *x, struct msg *m,
                            struct instant now);
void device_cancel(struct device *d, struct exchange *x, struct instant now);
void device_receive(struct device *d, struct bytes datagram, struct instant now);
MUST_USE bool device_listen(struct device *d, uint32_t owner, uint64_t *token);
void device_unlisten(struct device *d, uint64_t token);

/* x's up_deadline has come, and was taken out of the heap. */
void device_expire(struct device *d, struct exchange *x, struct instant now);
void device_get_stats(const struct device *d, struct device_stats *out);

#endif
