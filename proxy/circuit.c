#include "circuit.h"

bool circuit_admits(struct circuit *c, struct instant now)
{
    if (c->state == CIRCUIT_CLOSED)
        return true;
    if (c->state == CIRCUIT_HALF_OPEN || instant_ms(now) < c->until_ms)
        return false;
    c->state = CIRCUIT_HALF_OPEN;
    return true;
}

void circuit_succeeded(struct circuit *c, struct instant now)
{
    if (c->state == CIRCUIT_CLOSED)
        return;
    *c = (struct circuit){.since_s = now.wall_s};
}

void circuit_failed(struct circuit *c, uint32_t jitter, struct instant now)
{
    if (c->state == CIRCUIT_OPEN)
        return;
    if (c->state == CIRCUIT_CLOSED)
        c->since_s = now.wall_s;
    if (c->backoff_ms == 0)
        c->backoff_ms = CIRCUIT_BACKOFF_MS;
    /* Up to a quarter less: many gateways do not come back at once. */
    uint32_t wait = c->backoff_ms - jitter % (c->backoff_ms / 4);
    c->state = CIRCUIT_OPEN;
    c->until_ms = instant_ms(now) + wait;
    c->backoff_ms =
        c->backoff_ms > CIRCUIT_BACKOFF_MAX_MS / 2 ? CIRCUIT_BACKOFF_MAX_MS : 2 * c->backoff_ms;
}

void circuit_unprobed(struct circuit *c)
{
    if (c->state == CIRCUIT_HALF_OPEN)
        c->state = CIRCUIT_OPEN; /* until_ms has passed: the next one probes */
}

uint32_t circuit_retry_s(const struct circuit *c, struct instant now)
{
    uint64_t ms = instant_ms(now);
    if (c->state == CIRCUIT_CLOSED)
        return 0;
    return c->until_ms > ms + 1000 ? (uint32_t)((c->until_ms - ms + 999) / 1000) : 1;
}
