/* The processor's time that handshakes may take, by whichever transport.
 *
 * A flight of a handshake with ECDHE or certificates takes a processor for
 * about a millisecond, some hundred times as long as a request of a client
 * that is known, and anybody who receives at its address can ask for one. So
 * they do not run when they come, but after what came from established
 * clients, for so long a turn and for such a part of the time. What is spent
 * is measured, since what a flight costs is the processor's and the suite's
 * matter: handshakes by pre-shared key hardly wait. */
#ifndef POSTERN_BUDGET_H
#define POSTERN_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

#include "instant.h"

enum budget_of { BUDGET_DATAGRAMS, BUDGET_CONNECTIONS };

struct budget {
    uint64_t (*cpu_us)(void); /* what this thread has used; NULL: nothing is */
    uint64_t served_ms;       /* when something was last read from a client */
    bool busy;
    size_t waiting[2];               /* flights, by enum budget_of */
    uint64_t turn_us, turn_spent_us; /* the moment of this turn, and what it spent */
    int64_t left_us;                 /* below 0: owed */
    uint64_t begun_us, spent_us;     /* the flight that runs; all of them */
};

void budget_init(struct budget *b, uint64_t (*cpu_us)(void));
/* An established client is being served: its kind comes first for a while. */
void budget_served(struct budget *b, struct instant now);

/* Whether there is time for a flight now, of so many of its kind that wait. */
bool budget_has(struct budget *b, enum budget_of kind, size_t waiting, struct instant now);
/* Around a flight. */
void budget_begin(struct budget *b);
void budget_end(struct budget *b);
void budget_spend(struct budget *b, uint64_t us);
/* When there is time for the next. */
uint64_t budget_deadline_ms(const struct budget *b);

#endif
