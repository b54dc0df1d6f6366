/* From a configuration's file to what judges: the order that the daemon and
 * the commands share. Opens no socket. */
#ifndef POSTERN_SETUP_H
#define POSTERN_SETUP_H

#include "config.h"
#include "crew_store.h"
#include "wire.h"

struct setup {
    struct config *config;
    struct store *store; /* or NULL */
    struct pep *pep;     /* the first of them */
    struct pep *peps[CREW_MAX];
    struct crew *crew; /* NULL: one worker */
    struct crew_stores *stores;
    uint8_t nonce_key[32];      /* that all peps share */
    struct pep_device *devices; /* pep borrows them */
    struct wire *wire;          /* its authorization servers; NULL once the worker has them */
};

enum { SETUP_DIAG_MAX = 16 << 10 };

/* Configuration, policy, keys; with `with_store`, as the daemon does it, also
 * the kept grants, and signatures are for another thread to check. On failure nothing is left open
 * and `diag` says why. */
MUST_USE bool setup_open(struct setup *s, const char *file, bool with_store, int64_t now_s,
                         struct buf *diag);
void setup_close(struct setup *s); /* zeroed is fine */

/* All that can be known before sockets open, DTLS credentials included. What
 * is good may leave warnings in `diag`. */
MUST_USE bool setup_check(const char *file, int64_t now_s, struct buf *diag);

#endif
