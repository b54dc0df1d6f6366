#include "loop.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

struct watch {
    struct loop *loop;
    struct watch *next;
    struct event *event;
    int fd; /* or signal number */
    int tag;
    bool is_signal;
    loop_read_fn *read;
    loop_io_fn *io;
    void (*signal)(void *user, int signo);
    void *user;
};

struct loop {
    struct event_base *base;
    /* A timer of the kernel's that is moved only to an earlier time: while
     * requests come, the next deadline moves away with each of them, and to
     * start and stop a timer around each wait costs more than the wait. It
     * may so fire for nothing, once for each deadline that was reached. */
    int timer_fd;
    struct event *timer;
    uint64_t timer_us; /* when it fires; UINT64_MAX: it is not set */
    loop_turn_fn *turn;
    void *user;
    struct watch *watches;
    struct instant now;
    bool sampled;     /* `now` is of this turn */
    int64_t ahead_us; /* of the monotonic clock: the wall's, */
    uint64_t wall_us; /* as it was at this time of the former; 0: never */
    bool stop;
};

static uint64_t clock_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

struct instant loop_now(struct loop *l)
{
    if (!l->sampled) {
        uint64_t mono_us = clock_us(CLOCK_MONOTONIC);
        /* Within a millisecond the two go alike; turns take microseconds. */
        if (mono_us - l->wall_us >= 1000) {
            l->ahead_us = (int64_t)clock_us(CLOCK_REALTIME) - (int64_t)mono_us;
            l->wall_us = mono_us;
        }
        uint64_t wall_us = mono_us + (uint64_t)l->ahead_us;
        l->now.mono_us = mono_us;
        l->now.wall_s = (int64_t)(wall_us / 1000000);
        l->now.wall_us = (uint32_t)(wall_us % 1000000);
        l->sampled = true;
    }
    return l->now;
}

uint64_t loop_cpu_us(void)
{
    return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

/* The turn that follows does the work. */
static void on_timer(evutil_socket_t fd, short what, void *user)
{
    (void)what;
    struct loop *l = user;
    uint64_t times;
    if (read((int)fd, &times, sizeof times) > 0)
        l->timer_us = UINT64_MAX;
}

struct loop *loop_new(loop_turn_fn *turn, void *user)
{
    struct loop *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->turn = turn;
    l->user = user;
    l->timer_us = UINT64_MAX;
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct event_config *c = event_config_new();
    if (c) {
        /* One thread, no environment that picks another back end, and no timer
         * of libevent's that it would need the time for. */
        event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK);
        event_config_set_flag(c, EVENT_BASE_FLAG_IGNORE_ENV);
        event_config_set_flag(c, EVENT_BASE_FLAG_NO_CACHE_TIME);
        l->base = event_base_new_with_config(c);
        event_config_free(c);
    }
    if (l->base && l->timer_fd >= 0)
        l->timer = event_new(l->base, l->timer_fd, EV_READ | EV_PERSIST, on_timer, l);
    if (!l->timer || event_add(l->timer, NULL) != 0) {
        loop_free(l);
        return NULL;
    }
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    for (struct watch *w; (w = l->watches);) {
        l->watches = w->next;
        event_free(w->event);
        free(w);
    }
    if (l->timer)
        event_free(l->timer);
    if (l->base)
        event_base_free(l->base);
    if (l->timer_fd >= 0)
        close(l->timer_fd);
    free(l);
}

/* The event is level-triggered: a socket that had more than it took in one
 * call is readable again in the next turn, behind the others and the timer. */
static void on_readable(evutil_socket_t fd, short what, void *user)
{
    (void)fd, (void)what;
    struct watch *w = user;
    (void)w->read(w->user, w->tag, loop_now(w->loop));
}

/* The callback may unwatch the socket, and with it free what stands here. */
static void on_io(evutil_socket_t fd, short what, void *user)
{
    const struct watch *w = user;
    unsigned io = (what & EV_READ ? LOOP_READ : 0u) | (what & EV_WRITE ? LOOP_WRITE : 0u);
    w->io(w->user, (int)fd, io, loop_now(w->loop));
}

static void on_signal(evutil_socket_t signo, short what, void *user)
{
    (void)what;
    struct watch *w = user;
    w->signal(w->user, (int)signo);
}

static bool add(struct loop *l, const struct watch *proto, short what, event_callback_fn fn)
{
    struct watch *w = malloc(sizeof *w);
    if (!w)
        return false;
    *w = *proto;
    w->loop = l;
    w->event = event_new(l->base, w->fd, (short)(what | EV_PERSIST), fn, w);
    if (!w->event || event_add(w->event, NULL) != 0) {
        if (w->event)
            event_free(w->event);
        free(w);
        return false;
    }
    w->next = l->watches;
    l->watches = w;
    return true;
}

bool loop_watch(struct loop *l, int fd, loop_read_fn *fn, void *user, int tag)
{
    struct watch w = {.fd = fd, .tag = tag, .read = fn, .user = user};
    return add(l, &w, EV_READ, on_readable);
}

bool loop_watch_io(struct loop *l, int fd, unsigned io, loop_io_fn *fn, void *user)
{
    loop_unwatch(l, fd);
    struct watch w = {.fd = fd, .io = fn, .user = user};
    short what = (short)((io & LOOP_READ ? EV_READ : 0) | (io & LOOP_WRITE ? EV_WRITE : 0));
    return add(l, &w, what, on_io);
}

void loop_unwatch(struct loop *l, int fd)
{
    for (struct watch **p = &l->watches; *p; p = &(*p)->next) {
        struct watch *w = *p;
        if (w->is_signal || w->fd != fd)
            continue;
        *p = w->next;
        event_free(w->event);
        free(w);
        return;
    }
}

bool loop_signal(struct loop *l, int signo, void (*fn)(void *user, int signo), void *user)
{
    struct watch w = {.fd = signo, .is_signal = true, .signal = fn, .user = user};
    return add(l, &w, EV_SIGNAL, on_signal);
}

static bool arm(struct loop *l, uint64_t deadline_ms)
{
    /* A day at most: what is further off is asked for again. */
    uint64_t far = loop_now(l).mono_us / 1000 + 86400000;
    uint64_t at_us = (deadline_ms < far ? deadline_ms : far) * 1000;
    if (deadline_ms == UINT64_MAX || at_us >= l->timer_us)
        return true;
    struct itimerspec at = {
        .it_value = {(time_t)(at_us / 1000000), (long)(at_us % 1000000) * 1000}};
    if (at_us == 0)
        at.it_value.tv_nsec = 1; /* at once; zero would be never */
    l->timer_us = at_us;
    return timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) == 0;
}

bool loop_run(struct loop *l)
{
    bool ok = true;
    l->stop = false;
    for (;;) {
        ok = arm(l, l->turn(l->user, loop_now(l)));
        l->sampled = false;
        if (!ok || l->stop)
            break;
        ok = event_base_loop(l->base, EVLOOP_ONCE) == 0;
        if (!ok)
            break;
    }
    return ok;
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}
