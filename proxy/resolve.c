#include "resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { QUESTIONS = 64, HOST = 256 };

struct question {
    uint64_t id;
    int port;
    char host[HOST];
    bool found;
    struct peer to;
};

/* What the thread and the loop share. Whoever leaves last frees it. */
struct shared {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct question asked[QUESTIONS], answered[QUESTIONS];
    size_t first, n_asked, n_answered, n_open; /* open: asked, and not yet fetched */
    int fd;                                    /* tells the loop */
    bool closed, running;
};

struct resolver {
    struct loop *loop;
    resolve_done_fn *done;
    void *user;
    struct shared *shared;
};

static bool look_up(const char *host, int port, int flags, struct peer *out)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *list = NULL;
    snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return false;
    bool ok = list && list->ai_addrlen <= sizeof out->in6;
    memset(out, 0, sizeof *out);
    if (ok) {
        out->len = list->ai_addrlen;
        memcpy(&out->in6, list->ai_addr, list->ai_addrlen);
    }
    freeaddrinfo(list);
    return ok;
}

bool resolve_literal(const char *host, int port, struct peer *out)
{
    /* RFC 6761 6.3: this name is nobody's to answer. */
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    return look_up(host, port, AI_NUMERICHOST, out);
}

static void shared_free(struct shared *s)
{
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->more);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

static void *run(void *user)
{
    struct shared *s = user;
    pthread_mutex_lock(&s->lock);
    while (!s->closed) {
        if (s->n_asked == 0) {
            pthread_cond_wait(&s->more, &s->lock);
            continue;
        }
        struct question q = s->asked[s->first];
        s->first = (s->first + 1) % QUESTIONS;
        s->n_asked--;
        pthread_mutex_unlock(&s->lock);
        q.found = look_up(q.host, q.port, AI_ADDRCONFIG, &q.to);
        pthread_mutex_lock(&s->lock);
        s->answered[s->n_answered++] = q; /* n_open leaves room */
        if (!s->closed)
            (void)eventfd_write(s->fd, 1);
    }
    pthread_mutex_unlock(&s->lock);
    shared_free(s);
    return NULL;
}

static bool on_answers(void *user, int tag, struct instant now)
{
    (void)tag;
    struct resolver *r = user;
    struct shared *s = r->shared;
    eventfd_t count;
    (void)eventfd_read(s->fd, &count);
    for (;;) {
        struct question q;
        pthread_mutex_lock(&s->lock);
        bool any = s->n_answered > 0;
        if (any) {
            q = s->answered[--s->n_answered];
            s->n_open--;
        }
        pthread_mutex_unlock(&s->lock);
        if (!any)
            return false;
        r->done(r->user, q.id, q.found ? &q.to : NULL, now);
    }
}

struct resolver *resolver_new(struct loop *l, resolve_done_fn *done, void *user)
{
    struct resolver *r = calloc(1, sizeof *r);
    struct shared *s = calloc(1, sizeof *s);
    if (!r || !s) {
        free(r);
        free(s);
        return NULL;
    }
    *r = (struct resolver){l, done, user, s};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->fd < 0 || !loop_watch(l, s->fd, on_answers, r, 0)) {
        shared_free(s);
        free(r);
        return NULL;
    }
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    struct shared *s = r->shared;
    loop_unwatch(r->loop, s->fd);
    pthread_mutex_lock(&s->lock);
    bool running = s->running;
    s->closed = true;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    if (!running)
        shared_free(s);
    free(r);
}

/* Signals are the loop's. */
static bool start(struct shared *s)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(&thread, &attr, run, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return ok;
}

bool resolver_ask(struct resolver *r, uint64_t id, const char *host, int port)
{
    struct shared *s = r->shared;
    struct question q = {.id = id, .port = port};
    if (strlen(host) >= sizeof q.host)
        return false;
    memcpy(q.host, host, strlen(host) + 1);
    pthread_mutex_lock(&s->lock);
    bool ok = s->n_open < QUESTIONS && (s->running || start(s));
    if (ok) {
        s->running = true;
        s->asked[(s->first + s->n_asked++) % QUESTIONS] = q;
        s->n_open++;
        pthread_cond_signal(&s->more);
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}
