/* Tells a service manager how the daemon is (the protocol of sd_notify(3)):
 * one datagram to the socket that NOTIFY_SOCKET names. Without it nothing
 * happens; a manager that does not listen is no error. */
#ifndef POSTERN_NOTIFY_H
#define POSTERN_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=..."; several separated by newlines. */
void notify(const char *state);

#endif
