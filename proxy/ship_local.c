#include "ship_local.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool ship_local_open(const char *path, int *fd, const char **why)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof to.sun_path) {
        *why = "the path is too long";
        return false;
    }
    memcpy(to.sun_path, path, strlen(path) + 1);
    *fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd >= 0 && connect(*fd, (const struct sockaddr *)&to, sizeof to) == 0)
        return true;
    *why = strerror(errno);
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return false;
}

bool ship_local_send(int fd, struct bytes message, size_t *n, const char **why)
{
    *n = 0;
    if (send(fd, message.p, message.n, MSG_NOSIGNAL) == (ssize_t)message.n)
        *n = message.n;
    else if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR) {
        *why = strerror(errno);
        return false;
    }
    return true;
}
