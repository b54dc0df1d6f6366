#include "crew.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    /* Of one colleague, a turn: the others have something to say too. */
    MAIL_BATCH = 256,
    HEAD = 16, /* who told; keeps what follows aligned */
};

struct member {
    _Alignas(64) atomic_bool sleeping;
    int fd;
    /* its own */
    uint32_t wrote_to; /* whom it must wake, by number */
    bool drained;      /* under the lock */
};

struct crew {
    unsigned n;
    struct member members[CREW_MAX];
    struct mailbox *mail[CREW_LANES][CREW_MAX][CREW_MAX]; /* from, to */
    struct mailbox *ledger;
    pthread_mutex_t telling; /* held for a copy into memory, nothing else */
    atomic_uint_fast64_t refused;
    atomic_bool paused, stopping;
    pthread_mutex_t lock;
    pthread_cond_t stood_still, goes_on;
    unsigned depth, running, still; /* of the others */
    unsigned n_drained;
};

struct crew *crew_new(unsigned n)
{
    assert(n >= 1 && n <= CREW_MAX);
    struct crew *c = aligned_alloc(64, sizeof *c);
    if (!c)
        return NULL;
    memset(c, 0, sizeof *c);
    c->n = n;
    (void)pthread_mutex_init(&c->telling, NULL);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->stood_still, NULL);
    (void)pthread_cond_init(&c->goes_on, NULL);
    c->ledger = mailbox_new(CREW_LEDGER, n);
    bool ok = c->ledger != NULL;
    for (unsigned i = 0; i < CREW_MAX; i++)
        c->members[i].fd = -1;
    for (unsigned i = 0; i < n; i++) {
        c->members[i].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        ok = ok && c->members[i].fd >= 0;
        for (unsigned k = 0; k < n; k++)
            for (int l = 0; l < CREW_LANES; l++)
                ok = ok && (i == k || (c->mail[l][i][k] = mailbox_new(CREW_MAIL, 1)));
    }
    if (ok)
        return c;
    crew_free(c);
    return NULL;
}

void crew_free(struct crew *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->n; i++) {
        if (c->members[i].fd >= 0)
            close(c->members[i].fd);
        for (unsigned k = 0; k < c->n; k++)
            for (int l = 0; l < CREW_LANES; l++)
                mailbox_free(c->mail[l][i][k]);
    }
    mailbox_free(c->ledger);
    (void)pthread_cond_destroy(&c->goes_on);
    (void)pthread_cond_destroy(&c->stood_still);
    (void)pthread_mutex_destroy(&c->lock);
    (void)pthread_mutex_destroy(&c->telling);
    free(c);
}

unsigned crew_size(const struct crew *c)
{
    return c ? c->n : 1;
}

int crew_fd(const struct crew *c, unsigned who)
{
    return c->members[who].fd;
}

/* ---- messages ---- */

static bool note(struct crew *c, bool taken)
{
    if (!taken)
        atomic_fetch_add_explicit(&c->refused, 1, memory_order_relaxed);
    return taken;
}

bool crew_mail(struct crew *c, unsigned from, unsigned to, enum crew_lane lane,
               const struct bytes *parts, size_t n_parts)
{
    c->members[from].wrote_to |= UINT32_C(1) << to;
    return note(c, mailbox_put(c->mail[lane][from][to], parts, n_parts));
}

bool crew_tell(struct crew *c, unsigned from, const struct bytes *parts, size_t n_parts)
{
    enum { PARTS = 8 };
    uint8_t head[HEAD] = {(uint8_t)from};
    struct bytes all[PARTS + 1] = {bytes_of(head, sizeof head)};
    assert(n_parts <= PARTS);
    memcpy(all + 1, parts, n_parts * sizeof *parts);
    (void)pthread_mutex_lock(&c->telling);
    bool taken = mailbox_put(c->ledger, all, n_parts + 1);
    (void)pthread_mutex_unlock(&c->telling);
    c->members[from].wrote_to |= ((UINT32_C(1) << c->n) - 1) & ~(UINT32_C(1) << from);
    return note(c, taken);
}

bool crew_may_tell(struct crew *c, size_t n)
{
    (void)pthread_mutex_lock(&c->telling);
    bool may = mailbox_has_room(c->ledger, n + CREW_MARGIN);
    (void)pthread_mutex_unlock(&c->telling);
    return may;
}

void crew_hear(struct crew *c, unsigned who, crew_take_fn *take, void *user)
{
    for (struct bytes m; mailbox_peek(c->ledger, who, &m); mailbox_next(c->ledger, who))
        if (m.p[0] != who)
            take(user, m.p[0], bytes_of(m.p + HEAD, m.n - HEAD));
}

static void open_box(struct crew *c, unsigned from, unsigned who, enum crew_lane lane,
                     crew_take_fn *take, void *user)
{
    struct mailbox *box = c->mail[lane][from][who], *back = c->mail[CREW_REPLY][who][from];
    struct bytes m;
    for (unsigned k = 0; k < MAIL_BATCH && mailbox_peek(box, 0, &m); k++) {
        if (lane == CREW_ASK && !mailbox_has_room(back, CREW_ANSWER))
            return;
        take(user, from, m);
        mailbox_next(box, 0);
    }
}

void crew_open(struct crew *c, unsigned who, crew_take_fn *take, void *user)
{
    for (unsigned i = 0; i < c->n; i++)
        if (i != who)
            open_box(c, i, who, CREW_REPLY, take, user);
    for (unsigned i = 0; i < c->n; i++)
        if (i != who)
            open_box(c, i, who, CREW_ASK, take, user);
}

uint64_t crew_refused(const struct crew *c)
{
    return atomic_load_explicit(&c->refused, memory_order_relaxed);
}

/* ---- turns ---- */

static void wake(struct crew *c, unsigned who)
{
    (void)eventfd_write(c->members[who].fd, 1);
}

/* Both sides exchange: whichever comes second sees what the first has done. */
static void wake_readers(struct crew *c, struct member *me)
{
    for (unsigned i = 0; me->wrote_to; i++, me->wrote_to >>= 1)
        if (me->wrote_to & 1 && atomic_exchange(&c->members[i].sleeping, false))
            wake(c, i);
}

void crew_turn(struct crew *c, unsigned who)
{
    atomic_store_explicit(&c->members[who].sleeping, false, memory_order_relaxed);
    if (who == 0 || !atomic_load_explicit(&c->paused, memory_order_acquire))
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->still++;
    (void)pthread_cond_signal(&c->stood_still);
    while (atomic_load(&c->paused))
        (void)pthread_cond_wait(&c->goes_on, &c->lock);
    c->still--;
    (void)pthread_mutex_unlock(&c->lock);
}

static bool has_mail(const struct crew *c, unsigned who)
{
    bool any = !mailbox_is_empty(c->ledger, who);
    for (unsigned i = 0; !any && i < c->n; i++)
        any = i != who && (!mailbox_is_empty(c->mail[CREW_REPLY][i][who], 0) ||
                           !mailbox_is_empty(c->mail[CREW_ASK][i][who], 0));
    return any;
}

bool crew_sleep(struct crew *c, unsigned who)
{
    struct member *me = &c->members[who];
    wake_readers(c, me);
    (void)atomic_exchange(&me->sleeping, true);
    return !has_mail(c, who);
}

/* ---- all at once ---- */

void crew_pause(struct crew *c)
{
    (void)pthread_mutex_lock(&c->lock);
    c->depth++;
    atomic_store(&c->paused, true);
    for (unsigned i = 1; c->depth == 1 && i < c->n; i++)
        wake(c, i);
    while (c->still < c->running)
        (void)pthread_cond_wait(&c->stood_still, &c->lock);
    (void)pthread_mutex_unlock(&c->lock);
}

void crew_resume(struct crew *c)
{
    (void)pthread_mutex_lock(&c->lock);
    if (--c->depth == 0) {
        atomic_store(&c->paused, false);
        (void)pthread_cond_broadcast(&c->goes_on);
    }
    (void)pthread_mutex_unlock(&c->lock);
    /* What was said for them meanwhile woke nobody. */
    for (unsigned i = 1; i < c->n; i++)
        wake(c, i);
}

bool crew_is_paused(const struct crew *c)
{
    return atomic_load_explicit(&c->paused, memory_order_relaxed);
}

void crew_enter(struct crew *c, unsigned who)
{
    (void)pthread_mutex_lock(&c->lock);
    c->running += who != 0;
    (void)pthread_mutex_unlock(&c->lock);
}

void crew_leave(struct crew *c, unsigned who)
{
    (void)pthread_mutex_lock(&c->lock);
    c->running -= who != 0;
    (void)pthread_cond_signal(&c->stood_still);
    (void)pthread_mutex_unlock(&c->lock);
    crew_set_drained(c, who, true);
}

void crew_stop(struct crew *c)
{
    atomic_store(&c->stopping, true);
    for (unsigned i = 0; i < c->n; i++)
        wake(c, i);
}

bool crew_is_stopping(const struct crew *c)
{
    return atomic_load_explicit(&c->stopping, memory_order_relaxed);
}

void crew_set_drained(struct crew *c, unsigned who, bool drained)
{
    bool all = false;
    (void)pthread_mutex_lock(&c->lock);
    if (c->members[who].drained != drained) {
        c->members[who].drained = drained;
        c->n_drained += drained ? 1 : (unsigned)-1;
        all = c->n_drained == c->n;
    }
    (void)pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; all && i < c->n; i++)
        wake(c, i);
}

bool crew_is_drained(struct crew *c)
{
    (void)pthread_mutex_lock(&c->lock);
    bool all = c->n_drained == c->n;
    (void)pthread_mutex_unlock(&c->lock);
    return all;
}
