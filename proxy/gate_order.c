/* Requests that wait for another one's on the device's side: for its body to
 * be over, or for its answer. What waits is an open exchange that keeps the
 * request as it would go to the device. */
#include "gate_internal.h"

#include <assert.h>
#include <stdlib.h>

struct gate_waits {
    size_t n, cap;
    struct {
        uint64_t id;
        enum exchange_up_end how;
    } over[]; /* in this turn */
};

struct gate_waits *gate_waits_new(size_t max_exchanges)
{
    /* A number is over once, and each open exchange leads one at the most. */
    size_t cap = 2 * (max_exchanges + BLOCK_TRANSFERS);
    struct gate_waits *w = calloc(1, sizeof *w + cap * sizeof w->over[0]);
    if (w)
        w->cap = cap;
    return w;
}

void gate_waits_free(struct gate_waits *w)
{
    free(w);
}

bool gate_wait_for(struct gate *g, struct exchange *x, struct msg *m, uint64_t id)
{
    /* Written elsewhere first: parts of `m` may lie in the exchange. */
    uint8_t text[MESSAGE_MAX];
    struct buf b = buf_on(text, sizeof text);
    m->type = x->type;
    m->mid = 0;
    m->token_n = 0;
    if (!msg_write(m, &b))
        return false;
    memcpy(x->room->stored, b.p, b.n);
    x->stored_n = b.n;
    exchange_wait(g->exchanges, x, id);
    return true;
}

void gate_wait_over(struct gate *g, uint64_t id, enum exchange_up_end how)
{
    struct gate_waits *w = g->waits;
    if (id == 0)
        return;
    assert(w->n < w->cap);
    w->over[w->n].id = id;
    w->over[w->n++].how = how;
}

static void serve_again(void *user, struct exchange *x)
{
    struct gate *g = user;
    struct msg m;
    uint8_t text[MESSAGE_MAX];
    memcpy(text, x->room->stored, x->stored_n);
    /* Time has passed: what may not be answered any more may not be asked. */
    bool ended = g->now.wall_s >= x->ends_s;
    x->up_end = UP_FULL;
    if (ended || msg_parse(bytes_of(text, x->stored_n), &m) != MSG_OK ||
        !gate_serve(g, x, x->device_index, &m))
        gate_deliver(g, x, NULL);
}

static void end_waiting(void *user, struct exchange *x)
{
    struct gate *g = user;
    x->up_end = g->waits->over[0].how;
    gate_deliver(g, x, NULL);
}

void gate_serve_waiting(struct gate *g)
{
    struct gate_waits *w = g->waits;
    bool refuse;
    for (uint64_t id; (id = blocks_expire(g->blocks, g->now, &refuse)) != 0;)
        gate_wait_over(g, id, refuse ? UP_FULL : UP_ANSWERED);
    while (w->n > 0) {
        bool again = w->over[0].how == UP_ANSWERED;
        exchanges_each_waiting(g->exchanges, w->over[0].id, again ? serve_again : end_waiting, g);
        /* In the order of their ends; there are few. */
        memmove(&w->over[0], &w->over[1], --w->n * sizeof w->over[0]);
    }
}
