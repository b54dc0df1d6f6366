/* The local syslog: a Unix datagram socket, a message each. */
#ifndef POSTERN_SHIP_LOCAL_H
#define POSTERN_SHIP_LOCAL_H

#include "../policy/bytes.h"

/* False: *why is errno's text. */
MUST_USE bool ship_local_open(const char *path, int *fd, const char **why);
/* *n is all of it, or 0: it takes nothing now. */
MUST_USE bool ship_local_send(int fd, struct bytes message, size_t *n, const char **why);

#endif
