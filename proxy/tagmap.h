/* A hash index of fixed size: a 32-bit tag (a keyed hash of the key) to a
 * small number, usually a slot's. Several values may have one tag: the caller
 * compares the keys. Open addressing; looking for what is not there touches
 * the index alone, never the slots. */
#ifndef POSTERN_TAGMAP_H
#define POSTERN_TAGMAP_H

#include "../policy/bytes.h"

struct tagmap {
    struct tagmap_entry {
        uint32_t tag, value; /* value + 1; 0: empty */
    } * entries;
    size_t mask, n;
};

/* For at most `max` entries at once. */
MUST_USE bool tagmap_init(struct tagmap *m, size_t max);
void tagmap_clear(struct tagmap *m);

/* The values of a tag one after the other; *step begins at 0. False: no more. */
bool tagmap_find(const struct tagmap *m, uint32_t tag, size_t *step, uint32_t *value);
void tagmap_put(struct tagmap *m, uint32_t tag, uint32_t value);
/* The pair must be there. */
void tagmap_remove(struct tagmap *m, uint32_t tag, uint32_t value);

/* As remove and put, in the same place. */
void tagmap_renumber(struct tagmap *m, uint32_t tag, uint32_t value, uint32_t to);

/* It will be asked for soon: fetched meanwhile. */
static inline void tagmap_expect(const struct tagmap *m, uint32_t tag)
{
    __builtin_prefetch(&m->entries[tag & m->mask], 1);
}

#endif
