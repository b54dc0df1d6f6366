#include <stdlib.h>

#include "authority_inside.h"

struct slot *slot_take(struct authorities *as)
{
    if (as->free == 0)
        return NULL;
    struct slot *s = &as->slots[as->free - 1];
    uint32_t index = as->free - 1;
    as->free = s->next_free;
    *s = (struct slot){.serial = ++as->next_serial << 16 | index};
    return s;
}

struct slot *slot_find(struct authorities *as, uint64_t serial)
{
    struct slot *s = &as->slots[serial & 0xffff];
    return (serial & 0xffff) < AUTHORITY_QUESTIONS && s->state != SLOT_FREE && s->serial == serial
               ? s
               : NULL;
}

void slot_set_state(struct authorities *as, struct slot *s, enum slot_state state)
{
    if (s->server) {
        s->server->under_way -= s->state == SLOT_ASKED;
        s->server->under_way += state == SLOT_ASKED;
    }
    as->n_away -= s->state == SLOT_AWAY;
    as->n_away += state == SLOT_AWAY;
    as->n_standing -= s->state == SLOT_STANDING;
    as->n_standing += state == SLOT_STANDING;
    s->state = state;
}

void slot_free(struct authorities *as, struct slot *s)
{
    slot_set_state(as, s, SLOT_FREE);
    if (s->server && s->observe)
        s->server->n_standing--;
    free(s->query);
    *s = (struct slot){.next_free = as->free};
    as->free = (uint32_t)(s - as->slots) + 1;
}

bool slot_copy_query(struct slot *s, const struct bytes *query, size_t n)
{
    size_t room = 0;
    for (size_t i = 0; i < n; i++) {
        if (query[i].n > UINT8_MAX)
            return false;
        room += 1 + query[i].n;
    }
    s->query = malloc(room + 1);
    if (!s->query || n > UINT8_MAX)
        return false;
    struct buf b = buf_on(s->query, room);
    for (size_t i = 0; i < n; i++) {
        buf_put_u8(&b, (uint8_t)query[i].n);
        buf_put(&b, query[i]);
    }
    s->query_n = b.n;
    return true;
}
