#include "slab.h"

#include <stdlib.h>

/* What is not lent is not to be touched: ASan is told. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define HIDE(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define SHOW(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define HIDE(p, n) ((void)(p), (void)(n))
#define SHOW(p, n) ((void)(p), (void)(n))
#endif

struct slab_page {
    struct slab_page *next;
};

struct slab_block {
    struct slab_block *next;
};

static size_t class_of(size_t n)
{
    return (n + SLAB_STEP - 1) / SLAB_STEP - 1;
}

/* Blocks are made of a new page from its end, so that the first lies lowest. */
static bool add_page(struct slab *s, size_t class)
{
    size_t size = (class + 1) * SLAB_STEP, room = SLAB_PAGE - sizeof(struct slab_page);
    struct slab_page *page = malloc(SLAB_PAGE);
    if (!page)
        return false;
    page->next = s->pages;
    s->pages = page;
    uint8_t *first = (uint8_t *)(page + 1);
    for (size_t i = room / size; i-- > 0;) {
        struct slab_block *b = (struct slab_block *)(void *)(first + i * size);
        b->next = s->spare[class];
        s->spare[class] = b;
        HIDE(b, size);
    }
    return true;
}

void *slab_take(struct slab *s, size_t n)
{
    if (n > SLAB_MAX)
        return calloc(1, n);
    size_t class = class_of(n);
    if (!s->spare[class] && !add_page(s, class))
        return NULL;
    struct slab_block *b = s->spare[class];
    SHOW(b, n < sizeof *b ? sizeof *b : n);
    s->spare[class] = b->next;
    memset(b, 0, n);
    return b;
}

void slab_give(struct slab *s, void *p, size_t n)
{
    if (!p)
        return;
    if (n > SLAB_MAX) {
        free(p);
        return;
    }
    struct slab_block *b = p;
    size_t class = class_of(n);
    b->next = s->spare[class];
    s->spare[class] = b;
    HIDE(b, n < sizeof *b ? sizeof *b : n);
}

void slab_clear(struct slab *s)
{
    for (struct slab_page *p; (p = s->pages);) {
        s->pages = p->next;
        SHOW(p, SLAB_PAGE);
        free(p);
    }
    *s = (struct slab){0};
}
