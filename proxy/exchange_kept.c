/* What duplicates are known by, over a planned restart. */
#include "exchange_inside.h"

void exchanges_get_seed(const struct exchanges *t, uint8_t seed[EXCHANGE_SEED])
{
    memcpy(seed, &t->seed, EXCHANGE_SEED);
}

bool exchanges_use_seed(struct exchanges *t, const uint8_t seed[EXCHANGE_SEED])
{
    if (t->n_used > 0)
        return false;
    memcpy(&t->seed, seed, EXCHANGE_SEED);
    return true;
}

void exchanges_each_seen(const struct exchanges *t, struct instant now,
                         void (*visit)(void *user, const struct exchange_seen *x), void *user)
{
    static const enum repeat_list lists[] = {REPEATS_NON, REPEATS_CON};
    struct exchange_seen seen;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (struct repeat *r = repeats_oldest(&t->repeats, lists[i]); r;
             r = repeat_at(&t->repeats, r->age_next)) {
            seen = (struct exchange_seen){.client = r->assoc->id,
                                          .hash = r->hash,
                                          .mid = r->mid,
                                          .type = r->type,
                                          .acked = r->acked,
                                          .age_ms = instant_ms(now) - r->born_ms,
                                          .answer = bytes_of(exchange_repeat_answer(t, r), r->n)};
            visit(user, &seen);
        }
    for (const struct exchange *x = t->lists[LIST_CONFIRM].head; x; x = x->age_next) {
        if (!x->assoc || !x->findable)
            continue;
        seen = (struct exchange_seen){.client = x->assoc->id,
                                      .hash = x->hash,
                                      .mid = x->mid,
                                      .type = x->type,
                                      .acked = x->acked,
                                      .age_ms = instant_ms(now) - instant_ms(x->born),
                                      .answer = exchange_kept_answer(x)};
        visit(user, &seen);
    }
}

bool exchange_remember(struct exchanges *t, struct assoc *a, const struct exchange_seen *s,
                       struct instant now)
{
    if (s->answer.n > MESSAGE_MAX || (s->type != TYPE_CON && s->type != TYPE_NON) ||
        s->age_ms >= instant_ms(now) || !exchange_make_room(t))
        return false;
    uint32_t tag = exchange_key_tag(t, a, a->listener, &a->peer, s->mid);
    struct repeat *r = exchange_add_repeat(t, a, s->type, tag, now);
    tagmap_put(&t->by_mid, tag, exchange_repeat_in_map(t, r));
    r->hash = s->hash;
    r->mid = s->mid;
    r->acked = s->acked;
    r->born_ms = instant_ms(now) - s->age_ms;
    r->n = (uint16_t)s->answer.n;
    exchange_give_room(t);
    if (s->answer.n > EXCHANGE_SMALL)
        r->room = (uint32_t)(exchange_take_room(t) - t->rooms) + 1;
    if (s->answer.n)
        memcpy(exchange_repeat_answer(t, r), s->answer.p, s->answer.n);
    return true;
}
