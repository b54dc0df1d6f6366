#include "watch.h"

#include <stddef.h>
#include <stdlib.h>

#include "observe.h"

struct watches {
    struct watch *all;
    size_t max, n_used; /* those from n_used on were never touched */
    struct watch *free; /* by `next` */
    struct watch *waiting;
    struct deadlines deadlines;
    uint64_t generation;
    struct watches_stats stats;
};

struct watches *watches_new(size_t max)
{
    struct watches *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->max = max;
    t->all = malloc((max + 1) * sizeof *t->all);
    if (!t->all || max >= UINT32_MAX || !deadlines_init(&t->deadlines, max)) {
        watches_free(t);
        return NULL;
    }
    return t;
}

static void free_request(struct watch *w)
{
    if (w->request)
        explicit_bzero(w->request, w->request_n);
    free(w->request);
    w->request = NULL;
}

void watches_free(struct watches *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_used; i++) {
        if (t->all[i].id == 0)
            continue;
        free_request(&t->all[i]);
        free(t->all[i].held);
    }
    deadlines_clear(&t->deadlines);
    free(t->all);
    free(t);
}

static size_t count(const struct assoc *a)
{
    size_t n = 0;
    for (const struct watch *w = a->watches; w; w = w->next)
        n++;
    return n;
}

static bool keep_request(struct watch *w, const struct msg *request)
{
    uint8_t storage[MESSAGE_MAX];
    struct buf b = buf_on(storage, sizeof storage);
    bool ok = msg_write(request, &b) && (w->request = malloc(b.n)) != NULL;
    if (ok) {
        memcpy(w->request, b.p, b.n);
        w->request_n = b.n;
    }
    explicit_bzero(storage, sizeof storage);
    return ok;
}

struct watch *watch_add(struct watches *t, struct assoc *a, const struct msg *request)
{
    struct watch *w = t->free;
    if ((!w && t->n_used == t->max) || count(a) >= WATCHES_PER_ASSOC) {
        t->stats.refused++;
        return NULL;
    }
    struct watch fresh = {.assoc = a, .token_n = request->token_n, .ends_s = INT64_MAX};
    memcpy(fresh.token, request->token, sizeof fresh.token);
    if (!keep_request(&fresh, request)) {
        t->stats.refused++;
        return NULL;
    }
    if (w)
        t->free = w->next;
    else
        w = &t->all[t->n_used++];
    *w = fresh;
    w->id = ++t->generation << 32 | (uint64_t)(w - t->all);
    w->next = a->watches;
    if (w->next)
        w->next->prev = w;
    a->watches = w;
    t->stats.now++;
    return w;
}

static void wait_leave(struct watch *w)
{
    if (!w->wait_at)
        return;
    *w->wait_at = w->wait_next;
    if (w->wait_next)
        w->wait_next->wait_at = w->wait_at;
    w->wait_at = NULL;
    w->wait = 0;
}

static void wait_enter(struct watch **list, struct watch *w, uint64_t question)
{
    wait_leave(w);
    w->wait = question;
    w->wait_at = list;
    w->wait_next = *list;
    if (w->wait_next)
        w->wait_next->wait_at = &w->wait_next;
    *list = w;
}

void watch_leave(struct watches *t, struct watch *w)
{
    wait_leave(w);
    deadline_cancel(&t->deadlines, &w->deadline);
    if (w->prev)
        w->prev->next = w->next;
    else
        w->assoc->watches = w->next;
    if (w->next)
        w->next->prev = w->prev;
    free_request(w);
    free(watch_unhold(w));
    w->assoc = NULL;
}

void watch_remove(struct watches *t, struct watch *w)
{
    if (w->assoc)
        watch_leave(t, w);
    deadline_cancel(&t->deadlines, &w->deadline);
    w->id = 0;
    w->next = t->free;
    t->free = w;
    t->stats.now--;
}

struct watch *watch_find(struct watches *t, uint64_t id)
{
    size_t i = (uint32_t)id;
    bool is = id != 0 && i < t->n_used && t->all[i].id == id && t->all[i].assoc;
    return is ? &t->all[i] : NULL;
}

struct watch *watch_of(const struct assoc *a, const uint8_t *token, size_t token_n)
{
    for (struct watch *w = a->watches; w; w = w->next)
        if (bytes_equal(bytes_of(w->token, w->token_n), bytes_of(token, token_n)))
            return w;
    return NULL;
}

void watches_each(struct watches *t, void (*visit)(void *user, struct watch *w), void *user)
{
    /* By place, so that it does not matter whom `visit` removes. */
    for (size_t i = 0; i < t->n_used; i++)
        if (t->all[i].id && t->all[i].assoc)
            visit(user, &t->all[i]);
}

void watch_wait(struct watches *t, struct watch *w, uint64_t question)
{
    wait_enter(&t->waiting, w, question);
}

void watches_each_waiting(struct watches *t, uint64_t question,
                          void (*visit)(void *user, struct watch *w), void *user)
{
    /* First onto a list of their own: who waits anew is for the next time. */
    struct watch *due = NULL;
    for (struct watch *w = t->waiting, *next; w; w = next) {
        next = w->wait_next;
        if (w->wait == question)
            wait_enter(&due, w, question);
    }
    while (due) {
        struct watch *w = due;
        wait_leave(w);
        visit(user, w);
    }
}

bool watch_hold(struct watch *w, const struct observe_notice *n)
{
    struct observe_notice *copy = malloc(sizeof *copy + n->message.n);
    if (!copy)
        return false;
    *copy = *n;
    copy->message.p = (uint8_t *)(copy + 1);
    if (n->message.n)
        memcpy(copy + 1, n->message.p, n->message.n);
    free(w->held);
    w->held = copy;
    return true;
}

struct observe_notice *watch_unhold(struct watch *w)
{
    struct observe_notice *n = w->held;
    w->held = NULL;
    return n;
}

void watch_at(struct watches *t, struct watch *w, uint64_t at_ms)
{
    if (at_ms == UINT64_MAX)
        deadline_cancel(&t->deadlines, &w->deadline);
    else /* it cannot be full: it has room for each */
        (void)deadline_set(&t->deadlines, &w->deadline, at_ms);
}

uint64_t watches_deadline_ms(const struct watches *t)
{
    return deadlines_next(&t->deadlines);
}

struct watch *watches_due(struct watches *t, uint64_t now_ms)
{
    struct deadline *d = deadlines_pop(&t->deadlines, now_ms);
    return d ? (struct watch *)(void *)((uint8_t *)d - offsetof(struct watch, deadline)) : NULL;
}

struct watches_stats *watches_stats(struct watches *t)
{
    return &t->stats;
}
