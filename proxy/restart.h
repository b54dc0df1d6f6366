/* A planned restart: what the gates keep goes into one sealed file in the
 * state directory, and its key to whom the configuration says:
 *
 *   manager  the service manager, as a file descriptor (sd_notify(3),
 *            FDSTORE=1). The key is never on a disk. Without a manager
 *            nothing is kept, and clients are told that it is over.
 *   state    a file beside the other, for want of a manager. It is removed
 *            with it, and both are worth something for RESTART_MAX_S of this
 *            boot and only once: that is written down in the store before
 *            anything of it is used.
 *   no       nothing is kept.
 *
 * Why so much ado: a session's bytes that come back twice are nonces used
 * twice, which is the end of its keys. The key is wiped where it was kept and
 * the file removed, for good, before a byte of it is used; what a crash leaves
 * behind between is a loss and no danger.
 */
#ifndef POSTERN_RESTART_H
#define POSTERN_RESTART_H

#include "config.h"
#include "workers.h"

struct store;

/* All have stopped. What is kept says nothing more to its clients. */
void restart_save(const struct config *c, struct workers *ws);
/* Before the first datagram is read. Logs what became of it. */
void restart_load(const struct config *c, struct store *store, struct workers *ws);

#endif
