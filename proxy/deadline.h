/* Deadlines in one intrusive binary heap. The owner embeds a `struct
 * deadline`; the heap's storage is sized once and never grows with traffic. */
#ifndef POSTERN_DEADLINE_H
#define POSTERN_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../policy/bytes.h"

struct deadline {
    uint64_t at_ms;
    size_t slot; /* index + 1 in the heap; 0: not set */
};

struct deadlines {
    struct deadline **heap;
    size_t n, cap;
};

MUST_USE bool deadlines_init(struct deadlines *h, size_t cap);
void deadlines_clear(struct deadlines *h);
/* Sets or moves. False when the heap is full (the cap was too small). */
bool deadline_set(struct deadlines *h, struct deadline *d, uint64_t at_ms);
void deadline_cancel(struct deadlines *h, struct deadline *d);
/* UINT64_MAX: none. */
uint64_t deadlines_next(const struct deadlines *h);
/* The first that is due at now_ms, taken out; NULL: none. */
struct deadline *deadlines_pop(struct deadlines *h, uint64_t now_ms);

#endif
