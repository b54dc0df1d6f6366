/* AE-IDs that CSEs gave to AEs which registered through this gateway, and
 * whose they are from then on: by the device, the AE-ID in its shortest form
 * (m2m_name.h) and the name of the enrolled subject. A later policy may enrol
 * the subject with another key; a name that it does not have any more owns
 * nothing.
 *
 * Each entry is a record of the store, told to colleagues as it is written. */
#ifndef POSTERN_REGISTERED_H
#define POSTERN_REGISTERED_H

#include "../policy/siphash.h"
#include "store.h"

struct registered;

enum registered_limits {
    REGISTERED_MAX = 16384,   /* of all devices; a kilobyte each at most */
    REGISTERED_EACH_MAX = 64, /* of one subject: a client could go on and on */
    REGISTERED_ADDRESS_MAX =
        512, /* bytes; a resource behind a longer one is known by its ID alone */
};

struct registration {
    struct bytes device, id, owner;
    struct bytes at; /* the AE's resource, as a request's `to`; empty: not known */
};

MUST_USE struct registered *registered_new(struct siphash_key seed);
void registered_free(struct registered *t); /* NULL is fine */

/* NULL: nobody's. Borrowed until the next change. */
const struct registration *registered_find(const struct registered *t, struct bytes device,
                                           struct bytes id);
/* By the address of the resource. */
const struct registration *registered_at(const struct registered *t, struct bytes device,
                                         struct bytes at);
size_t registered_count(const struct registered *t, struct bytes owner);

/* Takes the place of what was known of this AE-ID. False: full, or no memory.
 * What the store (or NULL) does not take is remembered all the same, and
 * *kept says so. */
MUST_USE bool registered_put(struct registered *t, const struct registration *r, struct store *s,
                             bool *kept);
/* `r` may be what registered_find() gave. */
void registered_drop(struct registered *t, const struct registration *r, struct store *s,
                     bool *kept);

/* A colleague's change. */
void registered_take_change(struct registered *t, const struct store_op *op);
/* What the store kept; `is_owner` says whose is still wanted. */
MUST_USE bool registered_load(struct registered *t, struct store *s,
                              bool (*is_owner)(void *user, struct bytes owner), void *user);

#endif
