/* Small blocks that live long, in pages of their own: among what comes and
 * goes each would hold a page of the heap that is otherwise free. Blocks of a
 * size share their pages and are used again; pages are kept until the end. No
 * header, no rounding beyond 8 bytes. One thread at a time.
 *
 * A zeroed slab is an empty one. What is given back is not wiped. */
#ifndef POSTERN_SLAB_H
#define POSTERN_SLAB_H

#include "bytes.h"

enum slab_limits {
    SLAB_STEP = 8,          /* between sizes, and the alignment */
    SLAB_MAX = 512,         /* larger blocks are malloc's */
    SLAB_PAGE = 32768 - 32, /* taken at a time, for one size; with room for malloc */
};

struct slab_page;
struct slab_block;

struct slab {
    struct slab_page *pages;
    struct slab_block *spare[SLAB_MAX / SLAB_STEP]; /* by size */
};

/* Zeroed; NULL: no memory. n is not 0. */
MUST_USE void *slab_take(struct slab *s, size_t n);
void slab_give(struct slab *s, void *p, size_t n); /* n as it was taken; NULL is fine */
/* Frees all pages, and so every block but the large ones. */
void slab_clear(struct slab *s);

#endif
