/* An invented loop: who watches what, and nothing that waits. In loop.c's
 * place in test programs of modules that watch sockets; include once a
 * program. The test says the time, and when a socket is readable. */
#ifndef POSTERN_FAKE_LOOP_H
#define POSTERN_FAKE_LOOP_H

#include <assert.h>

#include "../proxy/loop.h"

enum { FAKE_WATCHES = 64 };

struct loop {
    struct instant now;
    struct {
        int fd;
        loop_read_fn *fn;
        void *user;
        int tag;
    } watches[FAKE_WATCHES];
    size_t n;
};

struct instant loop_now(struct loop *l)
{
    return l->now;
}

bool loop_watch(struct loop *l, int fd, loop_read_fn *fn, void *user, int tag)
{
    assert(l->n < FAKE_WATCHES);
    l->watches[l->n].fd = fd;
    l->watches[l->n].fn = fn;
    l->watches[l->n].user = user;
    l->watches[l->n++].tag = tag;
    return true;
}

bool loop_watch_io(struct loop *l, int fd, unsigned io, loop_io_fn *fn, void *user)
{
    (void)l, (void)fd, (void)io, (void)fn, (void)user;
    return false; /* libcurl's sockets are real */
}

void loop_unwatch(struct loop *l, int fd)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->watches[i].fd == fd) {
            l->watches[i] = l->watches[--l->n];
            return;
        }
}

static inline void fake_loop_readable(struct loop *l, int fd)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->watches[i].fd == fd) {
            (void)l->watches[i].fn(l->watches[i].user, l->watches[i].tag, l->now);
            return;
        }
}

#endif
