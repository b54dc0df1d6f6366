/* What the service manager holds for us from one process to the next: open
 * file descriptors by name (sd_notify(3): FDSTORE, FDSTOREREMOVE, BARRIER;
 * sd_listen_fds(3)). */
#ifndef POSTERN_KEEPER_H
#define POSTERN_KEEPER_H

#include "../policy/bytes.h"

/* True: the manager has read the message. Whether it keeps what was sent is
 * its configuration's matter (FileDescriptorStoreMax=). */
MUST_USE bool keeper_give(const char *name, int fd);
/* The descriptor of that name that came with the start, now the caller's, or
 * -1. The manager is told to let go of it. */
int keeper_take(const char *name);

#endif
