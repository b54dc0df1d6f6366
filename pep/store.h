/* What must survive a restart and kill -9: records by kind and key.
 *
 * A change is all or nothing, and durable when store_change() has returned
 * true: only then is a token answered with 2.01. When it returns false
 * nothing was changed, and what the caller already holds in memory stays
 * good. The store knows no meaning: it keeps the bytes of record.h.
 *
 * The LMDB backend calls fsync inside store_change(), so a call may block
 * for the disk's time (milliseconds). It is off the way of a permitted
 * request; it moves off the workers when there is more than one.
 *
 * Records hold proof keys: their directory is 0700 and its files 0600.
 */
#ifndef POSTERN_STORE_H
#define POSTERN_STORE_H

#include "../policy/bytes.h"

struct store;

enum store_limits {
    STORE_KEY_MAX = 64,
    STORE_VALUE_MAX = 66560,      /* a published key set, and its name */
    STORE_OPS_MAX = 128,          /* operations of one change */
    STORE_MAP_DEFAULT = 64 << 20, /* bytes of the file at most; sparse */
};

/* Written to disk: never renumber. */
enum store_kind {
    STORE_GRANT = 'g',
    STORE_CREATED = 'c',
    STORE_REVOCATION = 'r',
    STORE_FRESH = 'f',
    STORE_KEYS = 'k',
    STORE_REGISTERED = 'n',
    STORE_ANSWER = 'a', /* told to colleagues only (pep_config), never written */
    STORE_LOCAL = 'l',  /* likewise */
    STORE_RESTART = 'o', /* which restart was the last (proxy/restart.c) */
};

struct store_op {
    enum store_kind kind;
    struct bytes key;
    struct bytes value; /* p NULL: delete (a key that is not there is fine) */
};

/* What a visitor wants done with the record it was shown. */
enum store_keep { STORE_REMOVE = 0, STORE_KEEP = 1 };
typedef enum store_keep store_visit_fn(void *user, struct bytes key, struct bytes value);

/* Opens or makes the directory `grants` in the state directory, which is made
 * too (but not its parents). `map` bytes at most are used, 0: the default. On
 * failure NULL, and `diag` says why. */
MUST_USE struct store *store_open(const char *state, size_t map, struct buf *diag);
/* Keeps nothing beyond its own life. NULL: no memory. */
MUST_USE struct store *store_open_memory(void);
void store_close(struct store *s); /* NULL is fine */

MUST_USE bool store_change(struct store *s, const struct store_op *ops, size_t n);
/* All records of a kind; slices live for the visit. False: could not be
 * read to the end. What the visitor gives up is removed afterwards. */
MUST_USE bool store_each(struct store *s, enum store_kind kind, store_visit_fn *visit, void *user);

/* ---- what a backend implements ---- */

struct store_backend {
    bool (*change)(void *self, const struct store_op *ops, size_t n);
    bool (*each)(void *self, enum store_kind kind, store_visit_fn *visit, void *user);
    void (*close)(void *self);
};

struct store {
    const struct store_backend *backend;
    void *self;
};

#endif
