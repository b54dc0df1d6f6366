/* Secrets for what strangers are handed and must bring back: one a period,
 * random, made on its first use, and good for one period more. What was made
 * with one is good for one to two periods, and no longer for anybody. */
#ifndef POSTERN_SECRET_H
#define POSTERN_SECRET_H

#include "../policy/bytes.h"

enum { SECRET = 32 };

/* Zeroed: none yet. */
struct secrets {
    struct {
        uint64_t period; /* 0: never set */
        uint8_t secret[SECRET];
    } of[2];
};

/* The secret of a period, counted from 1; NULL: there is none, or no
 * randomness. Only that of the current one is made. */
const uint8_t *secrets_of(struct secrets *s, uint64_t period, bool current);
void secrets_wipe(struct secrets *s);

#endif
