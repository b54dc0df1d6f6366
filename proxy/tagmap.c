#include "tagmap.h"

#include <assert.h>
#include <stdlib.h>

bool tagmap_init(struct tagmap *m, size_t max)
{
    /* At most half full, so that probes stay short. */
    size_t size = 16;
    while (size < 2 * max)
        size *= 2;
    *m = (struct tagmap){calloc(size, sizeof *m->entries), size - 1, 0};
    return m->entries != NULL;
}

void tagmap_clear(struct tagmap *m)
{
    free(m->entries);
    *m = (struct tagmap){0};
}

bool tagmap_find(const struct tagmap *m, uint32_t tag, size_t *step, uint32_t *value)
{
    for (;;) {
        const struct tagmap_entry *e = &m->entries[(tag + (*step)++) & m->mask];
        if (e->value == 0)
            return false;
        if (e->tag == tag) {
            *value = e->value - 1;
            return true;
        }
    }
}

void tagmap_put(struct tagmap *m, uint32_t tag, uint32_t value)
{
    assert(m->n <= m->mask / 2);
    size_t i = tag & m->mask;
    while (m->entries[i].value != 0)
        i = (i + 1) & m->mask;
    m->entries[i] = (struct tagmap_entry){tag, value + 1};
    m->n++;
}

static size_t place_of(const struct tagmap *m, uint32_t tag, uint32_t value)
{
    size_t i = tag & m->mask;
    while (m->entries[i].tag != tag || m->entries[i].value != value + 1) {
        assert(m->entries[i].value != 0);
        i = (i + 1) & m->mask;
    }
    return i;
}

void tagmap_renumber(struct tagmap *m, uint32_t tag, uint32_t value, uint32_t to)
{
    m->entries[place_of(m, tag, value)].value = to + 1;
}

void tagmap_remove(struct tagmap *m, uint32_t tag, uint32_t value)
{
    size_t hole = place_of(m, tag, value);
    /* What was pushed past the hole moves back, so that no tombstones stay. */
    for (size_t i = (hole + 1) & m->mask; m->entries[i].value != 0; i = (i + 1) & m->mask) {
        size_t pushed = (i - m->entries[i].tag) & m->mask;
        if (pushed >= ((i - hole) & m->mask)) {
            m->entries[hole] = m->entries[i];
            hole = i;
        }
    }
    m->entries[hole].value = 0;
    m->n--;
}
