/* A loop over real sockets in invented time, in loop.c's place: nothing waits
 * but for an event, and then not for ever. Include once a program. */
#ifndef POSTERN_POLL_LOOP_H
#define POSTERN_POLL_LOOP_H

#include <assert.h>
#include <poll.h>

#include "../proxy/loop.h"

enum { POLL_WATCHES = 1024, POLL_PATIENCE_MS = 5000 };

struct loop {
    struct instant now;
    struct poll_watch {
        int fd;
        short events;
        loop_read_fn *read;
        loop_io_fn *io;
        void *user;
        int tag;
    } watches[POLL_WATCHES];
    size_t n;
};

struct instant loop_now(struct loop *l)
{
    return l->now;
}

void loop_unwatch(struct loop *l, int fd)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->watches[i].fd == fd) {
            l->watches[i] = l->watches[--l->n];
            return;
        }
}

bool loop_watch(struct loop *l, int fd, loop_read_fn *fn, void *user, int tag)
{
    assert(l->n < POLL_WATCHES);
    l->watches[l->n++] =
        (struct poll_watch){.fd = fd, .events = POLLIN, .read = fn, .user = user, .tag = tag};
    return true;
}

bool loop_watch_io(struct loop *l, int fd, unsigned io, loop_io_fn *fn, void *user)
{
    loop_unwatch(l, fd);
    assert(l->n < POLL_WATCHES && io != 0);
    short events = (short)((io & LOOP_READ ? POLLIN : 0) | (io & LOOP_WRITE ? POLLOUT : 0));
    l->watches[l->n++] = (struct poll_watch){.fd = fd, .events = events, .io = fn, .user = user};
    return true;
}

/* Serves what is ready; waits at most `ms` for the first. False: nothing was. */
static inline bool poll_loop_once(struct loop *l, int ms)
{
    static struct pollfd fds[POLL_WATCHES];
    size_t n = l->n;
    for (size_t i = 0; i < n; i++)
        fds[i] = (struct pollfd){l->watches[i].fd, l->watches[i].events, 0};
    if (poll(fds, n, ms) <= 0)
        return false;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; fds[i].revents && k < l->n; k++) {
            struct poll_watch w = l->watches[k];
            if (w.fd != fds[i].fd)
                continue;
            if (w.read) {
                (void)w.read(w.user, w.tag, l->now);
                break;
            }
            bool broken = (fds[i].revents & (POLLERR | POLLHUP)) != 0;
            unsigned io = (fds[i].revents & POLLIN || broken ? LOOP_READ : 0u) |
                          (fds[i].revents & POLLOUT || broken ? LOOP_WRITE : 0u);
            w.io(w.user, w.fd, io, l->now);
            break;
        }
    return true;
}

#endif
