/* What the files of one device share: device.c tells what comes and when,
 * device_flight.c keeps the requests under way. No one else includes this. */
#ifndef POSTERN_DEVICE_INSIDE_H
#define POSTERN_DEVICE_INSIDE_H

#include "device.h"
#include "tagmap.h"
#include "way.h"

enum {
    DEVICE_TOKEN_BYTES = 8,
    DEVICE_RECENT = 8, /* separate answers whose ACK we can repeat */
};

struct device {
    const struct device_config *config;
    struct device_shared *shared;
    struct way *ways; /* of config->urls */
    size_t n_ways;
    const struct way *in_use; /* as the observations were told; NULL: all are down */
    size_t trial;             /* the way that is tried while all are down */
    struct deadline timer;
    bool is_stirred;
    struct device *next_stirred;
    uint64_t pause_until_ms;
    uint16_t next_mid;

    /* The flight. A token ends in the number of its place; an empty ACK has
     * nothing but its message ID to be found by. */
    struct exchange **places;
    struct tagmap by_mid;
    uint16_t *free_places;
    size_t n_places, n_free;
    size_t n_window; /* of them UP_SENT */

    /* Observations: their tokens, and of each the place behind the others
     * where its request is while one is in flight. */
    struct ear {
        uint64_t token; /* 0: free */
        uint32_t owner;
    } ears[DEVICE_OBSERVATIONS];
    size_t n_ears;

    struct exchange *queue_head, *queue_tail;
    size_t n_queued;

    struct {
        uint16_t mid;
        uint64_t token, until_ms;
    } recent[DEVICE_RECENT];
    size_t next_recent;
    struct device_stats stats;
};

/* ---- device_flight.c ---- */

MUST_USE bool flight_init(struct device *d);
void flight_clear(struct device *d);
size_t flight_places(const struct device *d); /* with those of the observations */
void device_random(struct device *d, void *to, size_t n);
uint16_t flight_take_mid(struct device *d);

/* Sent by the connection that its way has now: nothing of an older one can
 * be answered, nor sent again (RFC 7252 9.1.1). */
bool flight_is_current(const struct device *d, const struct exchange *x);
struct exchange *flight_find_token(const struct device *d, const struct way *w, const struct msg *m,
                                   uint64_t *token);
/* One that was sent and neither acknowledged nor answered. */
struct exchange *flight_find_mid(const struct device *d, const struct way *w, uint16_t mid);
const struct ear *flight_find_ear(const struct device *d, uint64_t token);

/* The way for new requests: the first that is up. NULL: none is. */
struct way *flight_way(const struct device *d);
bool flight_has_room(const struct device *d);
bool flight_is_pausing(const struct device *d, struct instant now);
void flight_pause(struct device *d, struct instant now); /* from now on */

/* x's deadline is so much later. */
void flight_arm(struct device *d, struct exchange *x, struct instant now, uint32_t wait_ms);
void flight_transmit(struct device *d, const struct exchange *x, struct instant now);
void flight_send(struct device *d, struct way *w, struct exchange *x, struct instant now);
/* At the end; or in front, when it was under way already. */
void flight_enqueue(struct device *d, struct exchange *x, bool in_front);
/* The only way out: gives back what x holds. */
void flight_leave(struct device *d, struct exchange *x);
/* What waits moves up. While the device is down nothing waits for long. */
void flight_move_up(struct device *d, struct instant now);
/* The call at its end may come back to this device: what follows looks at it
 * anew. */
void flight_end(struct device *d, struct exchange *x, enum exchange_up_end how, const struct msg *m,
                struct instant now);

#endif
