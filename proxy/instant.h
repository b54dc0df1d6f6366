/* A moment, sampled once per batch by the loop and passed by value. */
#ifndef POSTERN_INSTANT_H
#define POSTERN_INSTANT_H

#include <stdint.h>

struct instant {
    uint64_t mono_us; /* monotonic; for deadlines and durations */
    int64_t wall_s;   /* UTC seconds since 1970; for tokens and conditions */
    uint32_t wall_us; /* its fraction, for the record */
};

static inline uint64_t instant_ms(struct instant t)
{
    return t.mono_us / 1000;
}

#endif
