#include "speakers.h"

static uint64_t hash_of(const struct speakers *t, int device, struct bytes ae_id)
{
    size_t from = ae_id.n;
    while (from > 0 && ae_id.p[from - 1] != '/')
        from--;
    uint64_t h = siphash(&t->seed, bytes_of(ae_id.p + from, ae_id.n - from));
    h += (uint64_t)(unsigned)device;
    return h ? h : 1;
}

const struct speaker *speakers_find(const struct speakers *t, int device, struct bytes ae_id)
{
    uint64_t hash = hash_of(t, device, ae_id);
    const struct speaker *s = &t->of[hash % SPEAKERS];
    return s->hash == hash ? s : NULL;
}

bool speakers_note(struct speakers *t, int device, struct bytes ae_id, uint64_t assoc,
                   unsigned worker)
{
    uint64_t hash = hash_of(t, device, ae_id);
    struct speaker *s = &t->of[hash % SPEAKERS];
    if (s->hash == hash && s->assoc == assoc && s->worker == worker)
        return false;
    *s = (struct speaker){hash, assoc, worker};
    return true;
}
