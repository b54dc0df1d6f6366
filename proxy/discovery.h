/* What the devices publish at their own /.well-known/core (RFC 6690),
 * learned in the background by requests that the gate sends for this module,
 * and kept as the text it came as. listing.h tells it to clients.
 *
 * A device is asked at the start, and again when a listing wanted it and
 * what is known has aged. Bounded: a few devices at a time, a fixed buffer
 * for each of these, one document of at most DISCOVERY_TEXT_MAX a device.
 * What is larger or malformed is not kept at all: half a list would look
 * like a whole one.
 *
 * Pure: no socket, no clock. It allocates when a device's document is
 * complete, never for a client's request.
 */
#ifndef POSTERN_DISCOVERY_H
#define POSTERN_DISCOVERY_H

#include "forward.h"

struct discovery;

enum discovery_limits {
    DISCOVERY_TEXT_MAX = 16384,  /* what a device publishes */
    DISCOVERY_LINKS_MAX = 256,   /* of one device */
    DISCOVERY_LEARNERS = 4,      /* devices asked at a time */
    DISCOVERY_RESTARTS = 3,      /* the document changed between two blocks */
    DISCOVERY_FRESH_MIN_S = 300, /* a device's Max-Age counts within these */
    DISCOVERY_FRESH_MAX_S = 86400,
    DISCOVERY_RETRY_MIN_S = 30, /* after silence, doubling */
    DISCOVERY_RETRY_MAX_S = 3600,
    DISCOVERY_SZX_MAX = 6, /* blocks of 1024 bytes (RFC 7959 2.2) */
};

/* Strings and maps are borrowed for the table's life; the array is copied. */
struct discovery_device {
    const char *name;       /* first segment of a judged path when it is found by host */
    const char *host;       /* found by Uri-Host, or NULL: by path */
    struct forward_map map; /* n_prefix 0 with host */
    bool elsewhere;         /* another worker has it, and learns from it */
    bool mute;              /* it is never asked: a CSE, or a web server, publishes no links */
};

MUST_USE struct discovery *discovery_new(const struct discovery_device *devices, size_t n);
void discovery_free(struct discovery *d); /* NULL is fine */

/* When discovery_next() has something to say; UINT64_MAX: not by time. */
uint64_t discovery_deadline_ms(const struct discovery *d);
/* The next device to ask, which is under way from then on; -1: none now. */
int discovery_next(struct discovery *d, uint64_t now_ms);

/* The request for a device that is under way, of type NON; message ID and
 * token are the caller's to set. False: it is not under way. */
struct discovery_scratch {
    uint8_t block[4];
};
MUST_USE bool discovery_request(const struct discovery *d, int device, struct msg *out,
                                struct discovery_scratch *scratch);
/* Its answer; m NULL: there was none, or the request could not be sent. True:
 * there is more, discovery_request() asks for it. False: the device is done. */
MUST_USE bool discovery_take_answer(struct discovery *d, int device, const struct msg *m,
                                    uint64_t now_ms);

/* The next device elsewhere that a listing wants anew: to be said there, where
 * it is discovery_want()ed; -1: none. */
int discovery_next_elsewhere(struct discovery *d, uint64_t now_ms);
void discovery_want(struct discovery *d, int device);
/* What is known of it and until when, for those elsewhere. False: it is under
 * way. */
MUST_USE bool discovery_learned(const struct discovery *d, int device, struct bytes *text,
                                uint64_t *due_ms);
void discovery_take_learned(struct discovery *d, int device, struct bytes text, uint64_t due_ms);

size_t discovery_devices(const struct discovery *d, const struct discovery_device **devices);
/* What the device publishes, well-formed; it will be asked again when that
 * has aged. Lives until the next discovery_take_answer(). False: nothing is
 * known. */
MUST_USE bool discovery_known(struct discovery *d, int device, struct bytes *text);

#endif
