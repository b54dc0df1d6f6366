#include "deadline.h"

#include <stdlib.h>

bool deadlines_init(struct deadlines *h, size_t cap)
{
    h->heap = calloc(cap ? cap : 1, sizeof *h->heap);
    h->n = 0;
    h->cap = cap;
    return h->heap != NULL;
}

void deadlines_clear(struct deadlines *h)
{
    free(h->heap);
    *h = (struct deadlines){0};
}

static void place(struct deadlines *h, size_t i, struct deadline *d)
{
    h->heap[i] = d;
    d->slot = i + 1;
}

static void sift_up(struct deadlines *h, size_t i)
{
    struct deadline *d = h->heap[i];
    for (; i > 0; i = (i - 1) / 2) {
        struct deadline *parent = h->heap[(i - 1) / 2];
        if (parent->at_ms <= d->at_ms)
            break;
        place(h, i, parent);
    }
    place(h, i, d);
}

static void sift_down(struct deadlines *h, size_t i)
{
    struct deadline *d = h->heap[i];
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && h->heap[child + 1]->at_ms < h->heap[child]->at_ms)
            child++;
        if (d->at_ms <= h->heap[child]->at_ms)
            break;
        place(h, i, h->heap[child]);
    }
    place(h, i, d);
}

bool deadline_set(struct deadlines *h, struct deadline *d, uint64_t at_ms)
{
    if (d->slot == 0) {
        if (h->n == h->cap)
            return false;
        d->at_ms = at_ms;
        place(h, h->n++, d);
        sift_up(h, d->slot - 1);
        return true;
    }
    uint64_t before = d->at_ms;
    d->at_ms = at_ms;
    if (at_ms < before)
        sift_up(h, d->slot - 1);
    else
        sift_down(h, d->slot - 1);
    return true;
}

void deadline_cancel(struct deadlines *h, struct deadline *d)
{
    if (d->slot == 0)
        return;
    size_t i = d->slot - 1;
    struct deadline *last = h->heap[--h->n];
    d->slot = 0;
    if (last == d)
        return;
    place(h, i, last);
    sift_up(h, i);
    sift_down(h, last->slot - 1);
}

uint64_t deadlines_next(const struct deadlines *h)
{
    return h->n ? h->heap[0]->at_ms : UINT64_MAX;
}

struct deadline *deadlines_pop(struct deadlines *h, uint64_t now_ms)
{
    if (h->n == 0 || h->heap[0]->at_ms > now_ms)
        return NULL;
    struct deadline *d = h->heap[0];
    deadline_cancel(h, d);
    return d;
}
