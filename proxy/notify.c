#include "notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool send_state(const char *state, int fd)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
        return false;
    memcpy(to.sun_path, path, strlen(path));
    if (path[0] == '@')
        to.sun_path[0] = '\0'; /* abstract name space */
    int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return false;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    char text[512];
    struct iovec part = {text, strlen(state)};
    bool fits = part.iov_len <= sizeof text;
    memcpy(text, state, fits ? part.iov_len : 0);
    struct msghdr m = {.msg_name = &to,
                       .msg_namelen =
                           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)),
                       .msg_iov = &part,
                       .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    bool ok = fits && sendmsg(s, &m, MSG_NOSIGNAL) == (ssize_t)part.iov_len;
    close(s);
    return ok;
}

void notify(const char *state)
{
    (void)send_state(state, -1);
}

bool notify_fd(const char *state, int fd)
{
    return fd >= 0 && send_state(state, fd);
}

/* systemd.service(5): the moment, so that an older READY=1 does not count. */
void notify_reloading(struct instant now)
{
    char text[64];
    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now.mono_us);
    notify(text);
}
