#include "names.h"

#include "path.h"

bool names_init(struct names *s, struct arena *a, size_t cap)
{
    size_t n_slots = 4;
    *s = (struct names){0};
    if (cap > UINT32_MAX / 8)
        return false;
    while (n_slots < cap * 2)
        n_slots *= 2;
    s->text = arena_array(a, cap, sizeof(*s->text));
    s->slots = arena_array(a, n_slots, sizeof *s->slots);
    s->cap = (uint32_t)cap;
    s->mask = (uint32_t)n_slots - 1;
    return s->text && s->slots;
}

static uint32_t slot_of(const struct names *s, struct bytes name)
{
    uint32_t i = path_hash(name) & s->mask;
    while (s->slots[i] && !bytes_equal_str(name, s->text[s->slots[i] - 1]))
        i = (i + 1) & s->mask;
    return i;
}

uint32_t names_add(struct names *s, const char *name)
{
    uint32_t i = slot_of(s, bytes_str(name));
    if (s->slots[i])
        return s->slots[i] - 1;
    if (s->n == s->cap)
        return NAMES_NONE;
    s->text[s->n] = name;
    s->slots[i] = ++s->n;
    return s->n - 1;
}

uint32_t names_find(const struct names *s, struct bytes name)
{
    uint32_t i = slot_of(s, name);
    return s->slots[i] ? s->slots[i] - 1 : NAMES_NONE;
}
