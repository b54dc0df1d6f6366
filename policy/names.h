/* A set of names, numbered in the order they came; hashed. Filled once, then
 * only read. Names are borrowed, memory is the arena's. */
#ifndef POSTERN_NAMES_H
#define POSTERN_NAMES_H

#include "arena.h"

#define NAMES_NONE UINT32_MAX

struct names {
    const char **text;
    uint32_t *slots; /* number + 1, 0: empty */
    uint32_t n, cap, mask;
};

/* For at most `cap` names. */
MUST_USE bool names_init(struct names *s, struct arena *a, size_t cap);
/* The number of the name: s->n as it was if it is new, less if it was there. */
uint32_t names_add(struct names *s, const char *name);
/* NAMES_NONE: not there. */
uint32_t names_find(const struct names *s, struct bytes name);

#endif
