/* Whether a server is worth asking: closed, open with a back-off that doubles,
 * half-open while one question probes. Pure; the owner says what happened. */
#ifndef POSTERN_CIRCUIT_H
#define POSTERN_CIRCUIT_H

#include "instant.h"

#include <stdbool.h>

enum circuit_state { CIRCUIT_CLOSED = 0, CIRCUIT_OPEN, CIRCUIT_HALF_OPEN };

struct circuit {
    enum circuit_state state;
    uint32_t backoff_ms; /* of the next failure; 0: the least */
    uint64_t until_ms;   /* open: not before */
    int64_t since_s;     /* wall time since when it is closed, or not; 0: always */
};

/* Whether a question may go: always when closed; when open, the first one
 * after the back-off, which makes it half-open. */
bool circuit_admits(struct circuit *c, struct instant now);
/* The server answered, whatever it said. */
void circuit_succeeded(struct circuit *c, struct instant now);
/* It was not there. `jitter`: any random number. While open nothing changes. */
void circuit_failed(struct circuit *c, uint32_t jitter, struct instant now);
/* The probe was given up without an answer of either kind. */
void circuit_unprobed(struct circuit *c);
uint32_t circuit_retry_s(const struct circuit *c,
                         struct instant now); /* at least 1, unless closed */

enum { CIRCUIT_BACKOFF_MS = 1000, CIRCUIT_BACKOFF_MAX_MS = 60000 };

#endif
