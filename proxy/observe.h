/* The device's side of observations (RFC 7641): one at the device for each
 * resource that is asked for (observe_request()), with any number of
 * subscribers. Here is the newest representation and nothing else: no
 * client, no right, no message to a client. Who may see what is judged by
 * those who are told.
 *
 * Subscribers are plain values, for they may live on other threads. Each is
 * told of one state at a time: after a notice it hears no more until it says
 * that it is ready, and then of the newest only. So a device that notifies a
 * thousand times a second, or a client that does not acknowledge, makes
 * nobody keep anything.
 *
 * The device is asked again when it was quiet beyond Max-Age, when it did
 * not answer, and when it is back from being down, with back-off; it is told
 * to stop when the last subscriber has gone.
 *
 * Notices come from observes_turn(), never from within another call. */
#ifndef POSTERN_OBSERVE_H
#define POSTERN_OBSERVE_H

#include "upstream.h"

struct observes;

struct subscriber {
    uint32_t worker;
    uint64_t id;
};

/* What a subscriber is told: the message of the device as it is now, or that
 * there was no answer. */
struct observe_notice {
    struct bytes message; /* borrowed for the call; empty: no answer, and why: */
    enum exchange_up_end up_end;
    uint32_t age_s; /* since the device sent it: Max-Age counts from there */
    bool confirm;   /* the device sent it as CON */
    bool last;      /* it ended the observation; this subscriber is forgotten */
};

struct observe_ops {
    /* False: there was no room for it on the way to another thread; then it
     * comes again, in its newest form. */
    bool (*notify)(void *user, struct subscriber to, const struct observe_notice *n);
};

struct observes_config {
    struct upstreams *upstreams;
    struct exchanges *exchanges; /* requests to the devices are slots of it */
    const struct observe_ops *ops;
    void *user;
    uint32_t (*random)(void *user);
    size_t max, max_subscribers;
};

MUST_USE struct observes *observes_new(const struct observes_config *c);
void observes_free(struct observes *t); /* NULL is fine */

enum observe_taken {
    OBSERVE_REFUSED = 0, /* the device takes no request now: *why */
    OBSERVE_PLAIN,       /* no observation can be had: ask as for any other request */
    OBSERVE_TAKEN,       /* a notice will come: the answer, or that there is none */
};

/* The request `m` as it would go to the device. What is fresh is told at
 * once; else the device is asked. */
MUST_USE enum observe_taken observe_subscribe(struct observes *t, int device, const struct msg *m,
                                              struct subscriber s, struct instant now,
                                              enum exchange_up_end *why);
/* Fine when it is not (or no longer) known. */
void observe_unsubscribe(struct observes *t, struct subscriber s, struct instant now);
/* The subscriber can take the next notice; with `seen` false it has not used
 * the last one, or wants it once more, and hears of it again. */
void observe_ready(struct observes *t, struct subscriber s, bool seen, struct instant now);

/* What the upstream says (upstream_ops): of x->observation, or of `owner`. */
void observe_answered(struct observes *t, struct exchange *x, const struct msg *m,
                      struct instant now);
bool observe_notified(struct observes *t, uint32_t owner, const struct msg *m, bool cut,
                      struct instant now);
void observe_returned(struct observes *t, uint32_t owner, struct instant now);

/* Whether the device told `owner` something new in this moment, and what it
 * was asked: for who keeps answers, which must not be older than this. */
bool observe_is_news(const struct observes *t, uint32_t owner, struct instant now, int *device,
                     struct bytes *request);

uint64_t observes_deadline_ms(const struct observes *t);
void observes_turn(struct observes *t, struct instant now);

struct observes_stats {
    uint64_t observations, subscribers; /* now */
    uint64_t registered;                /* accepted by a device, again included */
    uint64_t notifications;             /* from devices, and of them: */
    uint64_t disordered;                /* older than what was known, or the same again */
    uint64_t ended;                     /* by the device: an error, or no Observe option */
    uint64_t lost;                      /* registrations without an answer */
    uint64_t full;                      /* not taken for want of room here or at the device */
};
void observes_get_stats(const struct observes *t, struct observes_stats *out);

#endif
