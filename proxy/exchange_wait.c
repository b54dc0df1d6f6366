/* Requests that wait for the answer to a question. */
#include "exchange_inside.h"

#include <assert.h>

void exchange_wait_leave(struct exchange *x)
{
    if (!x->wait_at)
        return;
    *x->wait_at = x->wait_next;
    if (x->wait_next)
        x->wait_next->wait_at = x->wait_at;
    x->wait_at = NULL;
    x->wait = 0;
}

static void wait_enter(struct exchange **list, struct exchange *x, uint64_t question)
{
    exchange_wait_leave(x);
    x->wait = question;
    x->wait_at = list;
    x->wait_next = *list;
    if (x->wait_next)
        x->wait_next->wait_at = &x->wait_next;
    *list = x;
}

void exchange_wait(struct exchanges *t, struct exchange *x, uint64_t question)
{
    assert(x->state == EXCHANGE_OPEN && question != 0);
    wait_enter(&t->waiting[question % WAIT_BUCKETS], x, question);
}

void exchanges_each_waiting(struct exchanges *t, uint64_t question,
                            void (*visit)(void *user, struct exchange *x), void *user)
{
    /* First onto a list of their own: who waits anew, for the same even, is
     * for the next time. What `visit` ends leaves it. */
    struct exchange *due = NULL;
    for (struct exchange *x = t->waiting[question % WAIT_BUCKETS], *next; x; x = next) {
        next = x->wait_next;
        if (x->wait == question)
            wait_enter(&due, x, question);
    }
    while (due) {
        struct exchange *x = due;
        exchange_wait_leave(x);
        visit(user, x);
    }
}
