#include "verifier.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    NICER = 19,
    SLICE_NS = 100000, /* the least that Linux gives */
    RING = 256,        /* more than pep has under way at once */
};

struct ring {
    struct pep_check *of[RING];
    size_t head, n;
};

struct verifier {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct ring waiting, done;
    int fd;
    bool started, stop;
};

static bool put(struct ring *r, struct pep_check *c)
{
    if (r->n == RING)
        return false;
    r->of[(r->head + r->n++) % RING] = c;
    return true;
}

static struct pep_check *take(struct ring *r)
{
    if (r->n == 0)
        return NULL;
    struct pep_check *c = r->of[r->head];
    r->head = (r->head + 1) % RING;
    r->n--;
    return c;
}

/* This thread gives way to its worker where both have one processor. To be
 * nicer is not enough: since 6.6 Linux lets a thread end its slice, of some
 * milliseconds, before one that wakes has its turn; since 6.12 a thread may ask
 * for a shorter one (sched_setattr(2), sched_runtime). Without all that it is
 * only less fair. */
static void give_way(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } a = {.size = sizeof a, .nice = getpriority(PRIO_PROCESS, 0) + NICER, .runtime = SLICE_NS};
    if (syscall(SYS_sched_setattr, gettid(), &a, 0U) != 0)
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), a.nice);
}

static void *run(void *user)
{
    struct verifier *v = user;
    give_way();
    pthread_mutex_lock(&v->lock);
    while (!v->stop) {
        struct pep_check *c = take(&v->waiting);
        if (!c) {
            pthread_cond_wait(&v->more, &v->lock);
            continue;
        }
        pthread_mutex_unlock(&v->lock);
        pep_check_run(c);
        pthread_mutex_lock(&v->lock);
        if (!put(&v->done, c)) /* cannot be: it has as much room as what waits */
            pep_check_free(c);
        uint64_t one = 1;
        (void)!write(v->fd, &one, sizeof one);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

struct verifier *verifier_new(void)
{
    struct verifier *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->more, NULL);
    sigset_t all, old; /* signals are the workers' */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    v->started = v->fd >= 0 && pthread_create(&v->thread, NULL, run, v) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (v->started)
        return v;
    verifier_free(v);
    return NULL;
}

void verifier_free(struct verifier *v)
{
    if (!v)
        return;
    if (v->started) {
        pthread_mutex_lock(&v->lock);
        v->stop = true;
        pthread_cond_signal(&v->more);
        pthread_mutex_unlock(&v->lock);
        pthread_join(v->thread, NULL);
    }
    for (struct pep_check *c; (c = take(&v->waiting)) || (c = take(&v->done));)
        pep_check_free(c);
    pthread_cond_destroy(&v->more);
    pthread_mutex_destroy(&v->lock);
    if (v->fd >= 0)
        (void)close(v->fd);
    free(v);
}

int verifier_fd(const struct verifier *v)
{
    return v->fd;
}

void verifier_put(struct verifier *v, struct pep_check *c)
{
    pthread_mutex_lock(&v->lock);
    bool taken = put(&v->waiting, c);
    pthread_cond_signal(&v->more);
    pthread_mutex_unlock(&v->lock);
    if (!taken)
        pep_check_free(c);
}

struct pep_check *verifier_take(struct verifier *v)
{
    uint64_t n;
    (void)!read(v->fd, &n, sizeof n);
    pthread_mutex_lock(&v->lock);
    struct pep_check *c = take(&v->done);
    pthread_mutex_unlock(&v->lock);
    return c;
}
