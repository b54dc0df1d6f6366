/* Tells a service manager how the daemon is (the protocol of sd_notify(3)):
 * one datagram to the socket that NOTIFY_SOCKET names. Without it nothing
 * happens; a manager that does not listen is no error. */
#ifndef POSTERN_NOTIFY_H
#define POSTERN_NOTIFY_H

#include <stdbool.h>

#include "instant.h"

/* "READY=1", "STOPPING=1", "STATUS=..."; several separated by newlines. */
void notify(const char *state);

/* A reload has begun (Type=notify-reload); it is over with READY=1. */
void notify_reloading(struct instant now);
/* With a file descriptor, which stays the caller's. False: nobody to tell. */
bool notify_fd(const char *state, int fd);

#endif
