#include "budget.h"

#include "limits.h"

enum { BURST_US = HANDSHAKE_BURST_MS * 1000 };

void budget_init(struct budget *b, uint64_t (*cpu_us)(void))
{
    *b = (struct budget){.cpu_us = cpu_us, .left_us = BURST_US};
}

void budget_served(struct budget *b, struct instant now)
{
    b->served_ms = instant_ms(now);
}

static uint64_t percent(const struct budget *b)
{
    if (!b->busy)
        return HANDSHAKE_PERCENT;
    return b->waiting[BUDGET_DATAGRAMS] + b->waiting[BUDGET_CONNECTIONS] < HANDSHAKE_CROWD
               ? HANDSHAKE_BUSY_PERCENT
               : HANDSHAKE_CROWD_PERCENT;
}

/* Within a turn the moment stays the same (loop.h). */
static void begin_turn(struct budget *b, struct instant now)
{
    b->busy = b->served_ms && instant_ms(now) < b->served_ms + HANDSHAKE_BUSY_MS;
    if (now.mono_us <= b->turn_us)
        return;
    uint64_t passed = now.mono_us - b->turn_us;
    uint64_t full = (uint64_t)(BURST_US - b->left_us) * 100 / percent(b);
    b->left_us = passed >= full ? BURST_US : b->left_us + (int64_t)(passed * percent(b) / 100);
    b->turn_us = now.mono_us;
    b->turn_spent_us = 0;
}

bool budget_has(struct budget *b, enum budget_of kind, size_t waiting, struct instant now)
{
    b->waiting[kind] = waiting;
    begin_turn(b, now);
    return b->left_us > 0 && b->turn_spent_us < HANDSHAKE_TURN_US;
}

void budget_spend(struct budget *b, uint64_t us)
{
    b->turn_spent_us += us;
    b->left_us -= (int64_t)us;
    b->spent_us += us;
}

void budget_begin(struct budget *b)
{
    b->begun_us = b->cpu_us ? b->cpu_us() : 0;
}

void budget_end(struct budget *b)
{
    budget_spend(b, b->cpu_us ? b->cpu_us() - b->begun_us : 0);
}

uint64_t budget_deadline_ms(const struct budget *b)
{
    if (b->left_us > 0)
        return b->turn_us / 1000;
    return (b->turn_us + (uint64_t)(1 - b->left_us) * 100 / percent(b)) / 1000 + 1;
}
