#include "observe_inside.h"

static void list_remove(struct observes *t, struct list *l, uint32_t i)
{
    struct member *m = &t->members[i];
    if (m->prev != NONE)
        t->members[m->prev].next = m->next;
    else
        l->head = m->next;
    if (m->next != NONE)
        t->members[m->next].prev = m->prev;
    else
        l->tail = m->prev;
}

static void list_add(struct observes *t, struct list *l, uint32_t i, bool first)
{
    struct member *m = &t->members[i];
    m->prev = first ? NONE : l->tail;
    m->next = first ? l->head : NONE;
    if (m->prev != NONE)
        t->members[m->prev].next = i;
    else
        l->head = i;
    if (m->next != NONE)
        t->members[m->next].prev = i;
    else
        l->tail = i;
}

static struct list *list_of(struct observation *o, const struct member *m)
{
    return m->busy ? &o->busy : &o->ready;
}

static uint32_t subscriber_tag(const struct observes *t, struct subscriber s)
{
    uint64_t key[2] = {s.worker, s.id};
    return (uint32_t)siphash(&t->seed, bytes_of(key, sizeof key));
}

uint32_t member_find(const struct observes *t, struct subscriber s)
{
    size_t step = 0;
    for (uint32_t i; tagmap_find(&t->by_subscriber, subscriber_tag(t, s), &step, &i);)
        if (t->members[i].who.worker == s.worker && t->members[i].who.id == s.id)
            return i;
    return NONE;
}

bool member_has_room(const struct observes *t)
{
    return t->free_member != NONE || t->n_members_used < t->config.max_subscribers;
}

void member_join(struct observes *t, struct observation *o, struct subscriber s, bool fresh)
{
    uint32_t i = t->free_member;
    if (i != NONE)
        t->free_member = t->members[i].next;
    else
        i = t->n_members_used++;
    t->members[i] = (struct member){
        .who = s, .at = (uint32_t)(o - t->all), .shown = fresh ? 0 : o->version, .waits = true};
    tagmap_put(&t->by_subscriber, subscriber_tag(t, s), i);
    list_add(t, &o->ready, i, fresh);
    o->n++;
    t->stats.subscribers++;
}

void member_leave(struct observes *t, uint32_t i)
{
    struct member *m = &t->members[i];
    struct observation *o = &t->all[m->at];
    list_remove(t, list_of(o, m), i);
    tagmap_remove(&t->by_subscriber, subscriber_tag(t, m->who), i);
    m->at = NONE;
    m->next = t->free_member;
    t->free_member = i;
    o->n--;
    t->stats.subscribers--;
}

void member_told(struct observes *t, uint32_t i)
{
    struct member *m = &t->members[i];
    struct observation *o = &t->all[m->at];
    list_remove(t, list_of(o, m), i);
    m->busy = true;
    m->waits = false;
    m->shown = o->version;
    list_add(t, &o->busy, i, false);
}

void member_untold(struct observes *t, uint32_t i, bool waits)
{
    (void)member_ready(t, i, false);
    t->members[i].waits = waits;
}

bool member_ready(struct observes *t, uint32_t i, bool seen)
{
    struct member *m = &t->members[i];
    struct observation *o = &t->all[m->at];
    list_remove(t, list_of(o, m), i);
    m->busy = false;
    if (!seen)
        m->shown = 0;
    bool behind = m->shown != o->version || o->state == OVER;
    list_add(t, &o->ready, i, behind);
    return behind;
}

bool member_is_behind(const struct observes *t, const struct observation *o)
{
    return o->ready.head != NONE && t->members[o->ready.head].shown != o->version;
}
