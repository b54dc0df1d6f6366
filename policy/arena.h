/* Memory that is filled once and freed at once: what a file says, kept as
 * long as what was made of it. Not for requests.
 *
 * Zero-initialise to begin (`struct arena a = {0}`). An allocation that
 * fails returns NULL and sticks in `failed`, so a reader may check once at
 * its end. What it hands out is zeroed, aligned for any type, and lives
 * until arena_clear().
 */
#ifndef POSTERN_ARENA_H
#define POSTERN_ARENA_H

#include "bytes.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    bool failed;
};

void *arena_alloc(struct arena *a, size_t n);
/* count * size, NULL also when that overflows. */
void *arena_array(struct arena *a, size_t count, size_t size);
/* A copy that ends with NUL. */
char *arena_text(struct arena *a, struct bytes s);
void arena_clear(struct arena *a);

#endif
