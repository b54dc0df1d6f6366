#include "repeats.h"

#include <stdlib.h>

_Static_assert(sizeof(struct repeat) == 128, "two lines");

bool repeats_init(struct repeats *t, size_t max)
{
    *t = (struct repeats){.max = max};
    t->all = aligned_alloc(_Alignof(struct repeat), max * sizeof *t->all);
    return t->all != NULL;
}

void repeats_clear(struct repeats *t)
{
    free(t->all);
    *t = (struct repeats){.all = NULL};
}

struct repeat *repeats_add(struct repeats *t, enum repeat_list list, uint32_t *of)
{
    uint32_t place = t->free;
    if (place)
        t->free = t->all[place - 1].age_next;
    else
        place = (uint32_t)++t->n_used;
    struct repeat *r = &t->all[place - 1], *before = repeat_at(t, t->lists[list].last);
    r->list = (uint8_t)list;
    r->age_prev = t->lists[list].last;
    r->age_next = 0;
    *(before ? &before->age_next : &t->lists[list].first) = place;
    t->lists[list].last = place;
    r->of_prev = r->of_next = 0;
    if (of) {
        r->of_next = *of;
        if (*of)
            t->all[*of - 1].of_prev = place;
        *of = place;
    }
    t->n++;
    return r;
}

void repeats_remove(struct repeats *t, struct repeat *r, uint32_t *of)
{
    struct repeat *prev = repeat_at(t, r->age_prev), *next = repeat_at(t, r->age_next);
    *(prev ? &prev->age_next : &t->lists[r->list].first) = r->age_next;
    *(next ? &next->age_prev : &t->lists[r->list].last) = r->age_prev;
    if (of) {
        prev = repeat_at(t, r->of_prev);
        next = repeat_at(t, r->of_next);
        *(prev ? &prev->of_next : of) = r->of_next;
        if (next)
            next->of_prev = r->of_prev;
    }
    r->age_next = t->free;
    t->free = repeat_number(t, r) + 1;
    t->n--;
}

void repeats_expect(const struct repeats *t, const struct repeat *next)
{
    const struct repeat *after = repeat_at(t, next->age_next);
    const struct repeat *of = repeat_at(t, next->of_prev);
    if (of)
        __builtin_prefetch(of, 1);
    if (after) {
        __builtin_prefetch(after, 1);
        __builtin_prefetch(after->small, 1);
    }
}
