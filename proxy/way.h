/* One URL of a device: its address, the uplink to it, and whether it is up.
 * Used by device.c alone.
 *
 * A name is resolved off the loop, again when NAME_LIFE_MS is over and after
 * silence. DTLS and streams are opened when something is to be sent, kept,
 * and replaced when they seem to be lost: the old one goes on until the new
 * one stands. What is down is probed with a back-off that doubles (circuit.h):
 * by an empty CON (RFC 7252 4.3) or by opening a connection; one probe at a
 * time.
 *
 * An `epoch` is the time of one uplink. Messages of one epoch have nothing to
 * do with those of another (RFC 7252 9.1.1). */
#ifndef POSTERN_WAY_H
#define POSTERN_WAY_H

#include "circuit.h"
#include "uplink.h"
#include "upstream.h"

struct way;
struct resolver;

/* None is called from within way_want(), way_suspect() or way_heard(). */
struct way_ops {
    /* It can be sent on, in a new epoch: nothing of older ones is answered. */
    void (*ready)(void *user, struct way *w, struct instant now);
    void (*message)(void *user, struct way *w, struct bytes message, struct instant now);
    /* The uplink ended, and the way is not down for it, unless who is told says
     * so. */
    void (*lost)(void *user, struct way *w, enum uplink_end how, const char *reason,
                 struct instant now);
    /* It went down, or a probe failed. */
    void (*failed)(void *user, struct way *w, enum uplink_end how, struct instant now);
    void (*unreachable)(void *user, struct way *w, struct instant now);
    uint16_t (*mid)(void *user);
    uint32_t (*random)(void *user);
    /* Of each of these the last: way_deadline_ms() may have changed. */
    void (*touched)(void *user, struct instant now);
};

/* All but the fields that say so are way.c's to write. */
struct way {
    const struct way_ops *ops;
    void *user;
    const char *device; /* its name, for the log */
    const struct device_config *config;
    const struct device_url *url;
    struct uplinks *uplinks;
    struct resolver *resolver;
    uint64_t id;           /* of its questions to the resolver */
    struct dtls_out *dtls; /* or */
    struct tls *tls;

    struct peer to;     /* len 0: not known yet */
    bool asking, moved; /* moved: `to` is newer than the uplink's address */
    uint64_t name_due_ms;

    struct uplink *link, *coming;
    uint32_t epoch;
    bool spoken; /* something came by the link */
    bool wanted; /* something is to be sent */
    bool reopen; /* what stands may be lost */

    struct circuit health;
    enum uplink_end how; /* while it is down */
    const char *reason;  /* why it was last down; NULL: never */
    unsigned silence;
    uint64_t heard_us;
    bool pinging;
    uint16_t ping_mid;
    uint64_t ping_by_ms;

    size_t in_flight; /* kept by device.c */
};

struct way_config {
    const struct way_ops *ops;
    void *user;
    const struct device_config *device;
    const struct device_url *url;
    struct uplinks *uplinks;
    struct resolver *resolver; /* NULL: the URL has no name */
    uint64_t id;
};

/* False: `diag` says why. way_close() either way. */
MUST_USE bool way_init(struct way *w, const struct way_config *c, struct buf *diag);
/* Then uplinks_turn(), then way_clear(). */
void way_close(struct way *w, struct instant now);
void way_clear(struct way *w);

bool way_is_up(const struct way *w); /* until the contrary is known */
bool way_is_ready(const struct way *w);
/* It has connections that must be opened before anything is sent. */
bool way_has_sessions(const struct way *w);
/* Down, but its next probe is due or under way. */
bool way_is_trying(const struct way *w, struct instant now);

/* Something is to be sent as soon as it is ready. */
void way_want(struct way *w);
/* Opens what should be open again, if there is anything to open. */
void way_suspect(struct way *w, struct instant now);
/* The device has spoken, by this way. */
void way_heard(struct way *w, struct instant now);
/* A request went unanswered and unheard; of `weight`. */
void way_silent(struct way *w, unsigned weight, struct instant now);
void way_fail(struct way *w, enum uplink_end how, const char *reason, struct instant now);
/* An empty ACK or RST: whether it answers our ping. */
bool way_takes_pong(struct way *w, uint16_t mid);
/* Whether a message of n bytes is one that the device takes; once ready. */
bool way_takes(const struct way *w, size_t n);
void way_send(struct way *w, struct bytes message, struct instant now);

/* The resolver answered; NULL: there is no such name. */
void way_resolved(struct way *w, const struct peer *to, struct instant now);
uint64_t way_deadline_ms(const struct way *w);
void way_tick(struct way *w, struct instant now);

#endif
