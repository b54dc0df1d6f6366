#include "mailbox.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A message is a word with its length, then its bytes, filled up to a whole
 * number of words. None goes over the ring's end: a word with SKIP stands
 * there instead, and it begins at the front. */
enum { WORD = alignof(max_align_t) };
static const uint64_t SKIP = UINT64_MAX;

struct reader {
    _Alignas(64) atomic_size_t tail;
};

/* `head` and the tails count bytes and never wrap in practice. */
struct mailbox {
    _Alignas(64) atomic_size_t head;
    size_t oldest; /* the writer's memory of the last tail */
    size_t size;
    unsigned n_readers;
    uint8_t *ring;
    struct reader readers[MAILBOX_READERS_MAX];
};

struct mailbox *mailbox_new(size_t size, unsigned readers)
{
    assert(size >= 1024 && (size & (size - 1)) == 0 && readers <= MAILBOX_READERS_MAX);
    struct mailbox *m = aligned_alloc(64, sizeof *m);
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m);
    m->size = size;
    m->n_readers = readers;
    m->ring = aligned_alloc(64, size);
    if (m->ring)
        return m;
    free(m);
    return NULL;
}

void mailbox_free(struct mailbox *m)
{
    if (!m)
        return;
    size_t head = atomic_load(&m->head);
    explicit_bzero(m->ring, head < m->size ? head : m->size); /* records hold keys */
    free(m->ring);
    free(m);
}

static size_t oldest_tail(const struct mailbox *m, size_t head)
{
    size_t oldest = head;
    for (unsigned i = 0; i < m->n_readers; i++) {
        size_t tail = atomic_load_explicit(&m->readers[i].tail, memory_order_acquire);
        if (head - tail > head - oldest)
            oldest = tail;
    }
    return oldest;
}

static size_t whole_words(size_t n)
{
    return (n + WORD + WORD - 1) / WORD * WORD;
}

/* What a message of n bytes takes, with what is skipped before it; 0: more
 * than there will ever be. */
static size_t room_for(const struct mailbox *m, size_t head, size_t n)
{
    if (n > m->size / 4)
        return 0;
    size_t need = whole_words(n), left = m->size - (head & (m->size - 1));
    return need <= left ? need : left + need;
}

bool mailbox_has_room(const struct mailbox *m, size_t n)
{
    size_t head = atomic_load_explicit(&m->head, memory_order_relaxed);
    size_t need = room_for(m, head, n);
    return need > 0 && m->size - (head - oldest_tail(m, head)) >= need;
}

static void put_word(struct mailbox *m, size_t at, uint64_t v)
{
    memcpy(m->ring + (at & (m->size - 1)), &v, sizeof v);
}

bool mailbox_put(struct mailbox *m, const struct bytes *parts, size_t n_parts)
{
    size_t n = 0, head = atomic_load_explicit(&m->head, memory_order_relaxed);
    for (size_t i = 0; i < n_parts; i++)
        n += parts[i].n;
    size_t need = room_for(m, head, n);
    if (need == 0)
        return false;
    if (m->size - (head - m->oldest) < need) {
        m->oldest = oldest_tail(m, head);
        if (m->size - (head - m->oldest) < need)
            return false;
    }
    size_t at = head;
    if (need > whole_words(n)) {
        put_word(m, at, SKIP);
        at += need - whole_words(n);
    }
    put_word(m, at, n);
    uint8_t *to = m->ring + (at & (m->size - 1)) + WORD;
    for (size_t i = 0; i < n_parts; i++) {
        if (parts[i].n)
            memcpy(to, parts[i].p, parts[i].n);
        to += parts[i].n;
    }
    atomic_store_explicit(&m->head, head + need, memory_order_release);
    return true;
}

bool mailbox_is_empty(const struct mailbox *m, unsigned reader)
{
    return atomic_load_explicit(&m->head, memory_order_acquire) ==
           atomic_load_explicit(&m->readers[reader].tail, memory_order_relaxed);
}

static uint64_t word_at(const struct mailbox *m, size_t at)
{
    uint64_t v;
    memcpy(&v, m->ring + (at & (m->size - 1)), sizeof v);
    return v;
}

bool mailbox_peek(struct mailbox *m, unsigned reader, struct bytes *message)
{
    if (mailbox_is_empty(m, reader))
        return false;
    atomic_size_t *tail = &m->readers[reader].tail;
    size_t at = atomic_load_explicit(tail, memory_order_relaxed);
    if (word_at(m, at) == SKIP) {
        at += m->size - (at & (m->size - 1));
        atomic_store_explicit(tail, at, memory_order_release);
    }
    *message = bytes_of(m->ring + (at & (m->size - 1)) + WORD, word_at(m, at));
    return true;
}

void mailbox_next(struct mailbox *m, unsigned reader)
{
    atomic_size_t *tail = &m->readers[reader].tail;
    size_t at = atomic_load_explicit(tail, memory_order_relaxed);
    atomic_store_explicit(tail, at + whole_words(word_at(m, at)), memory_order_release);
}
