#include "arena.h"

#include <stdlib.h>

enum { BLOCK = 1 << 16, ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    _Alignas(ALIGN) uint8_t data[];
};

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2) {
        a->failed = true;
        return NULL;
    }
    n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct arena_block *b = a->blocks;
    if (!b || n > b->cap - b->used) {
        size_t cap = n > BLOCK / 4 ? n : BLOCK;
        struct arena_block *fresh = calloc(1, sizeof *fresh + cap);
        if (!fresh) {
            a->failed = true;
            return NULL;
        }
        fresh->cap = cap;
        if (b && cap != BLOCK) { /* a large one goes behind, so that b is filled on */
            fresh->used = cap;
            fresh->next = b->next;
            b->next = fresh;
            return fresh->data;
        }
        fresh->next = b;
        a->blocks = b = fresh;
    }
    void *out = b->data + b->used;
    b->used += n;
    return out;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) {
        a->failed = true;
        return NULL;
    }
    return arena_alloc(a, count * size);
}

char *arena_text(struct arena *a, struct bytes s)
{
    char *out = arena_alloc(a, s.n + 1);
    if (out && s.n)
        memcpy(out, s.p, s.n);
    return out;
}

void arena_clear(struct arena *a)
{
    for (struct arena_block *b = a->blocks; b;) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    *a = (struct arena){0};
}
