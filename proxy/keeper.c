#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "limits.h"
#include "notify.h"

enum { FIRST_FD = 3, FDS_MAX = 64 }; /* sd_listen_fds(3) */

/* The manager closes the pipe when it comes to this message: those before it
 * were read then. */
static bool barrier(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    bool ok = notify_fd("BARRIER=1", ends[1]);
    close(ends[1]);
    struct pollfd p = {.fd = ends[0], .events = 0};
    int got = -1;
    while (ok && (got = poll(&p, 1, KEEPER_WAIT_MS)) < 0 && errno == EINTR)
        ;
    close(ends[0]);
    return ok && got == 1 && (p.revents & POLLHUP);
}

bool keeper_give(const char *name, int fd)
{
    char text[128];
    (void)snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s", name);
    return notify_fd(text, fd) && barrier();
}

static int number(const char *variable)
{
    const char *text = getenv(variable);
    long v = text ? strtol(text, NULL, 10) : 0;
    return v > 0 && v < 1 << 30 ? (int)v : 0;
}

int keeper_take(const char *name)
{
    const char *names = getenv("LISTEN_FDNAMES");
    int n = number("LISTEN_FDS");
    size_t want = strlen(name);
    if (!names || n > FDS_MAX || number("LISTEN_PID") != (int)getpid())
        return -1;
    int found = -1;
    for (int i = 0; i < n; i++) {
        size_t len = strcspn(names, ":");
        if (found < 0 && len == want && memcmp(names, name, len) == 0)
            found = FIRST_FD + i;
        names += len + (names[len] == ':');
    }
    if (found < 0 || fcntl(found, F_SETFD, FD_CLOEXEC) != 0)
        return -1;
    char text[128];
    (void)snprintf(text, sizeof text, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    notify(text);
    return found;
}
