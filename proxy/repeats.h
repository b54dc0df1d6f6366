/* What is remembered of requests that are over, so that a duplicate of one is
 * known and gets the same answer again (RFC 7252 4.2, 4.5): two lines of the
 * cache for each, where a request under way has ten. They are taken in turn,
 * and the oldest is given back first, so that a busy table is walked through
 * from one end to the other.
 *
 * Part of exchange.c, which finds them by its map of message IDs, sees to it
 * that there is room, and lends the longer answers a room of its own. */
#ifndef POSTERN_REPEATS_H
#define POSTERN_REPEATS_H

#include "../policy/bytes.h"

struct assoc;

/* Each in the order of age. Of one list all live equally long. */
enum repeat_list {
    REPEATS_CON = 0,
    REPEATS_NON,
    REPEATS_PLAIN_CON, /* of endpoints without an association */
    REPEATS_PLAIN_NON,
    REPEAT_LISTS,
};

enum { REPEAT_SMALL = 64 }; /* an answer that needs no room */

/* Places are told as numbers + 1, 0 being none. */
struct repeat {
    _Alignas(64) uint64_t hash; /* of the message's bytes */
    struct assoc *assoc;        /* NULL: plain coap, and the endpoint is in its room */
    uint64_t born_ms, kept_ms;
    uint32_t tag;  /* of its message ID */
    uint32_t room; /* number + 1 of the room that is its own */
    uint32_t age_prev, age_next, of_prev, of_next;
    uint16_t mid, n; /* n: bytes of its answer */
    uint8_t type, list;
    bool acked; /* by an empty ACK */
    uint8_t small[REPEAT_SMALL];
};

struct repeats {
    struct repeat *all;
    size_t max, n_used, n; /* those from n_used on were never touched */
    uint32_t free;
    struct {
        uint32_t first, last;
    } lists[REPEAT_LISTS];
};

MUST_USE bool repeats_init(struct repeats *t, size_t max);
void repeats_clear(struct repeats *t);

/* The youngest of its list, and of its association's own: `of` is the head of
 * that, or NULL. There must be room. All else is the caller's to fill. */
struct repeat *repeats_add(struct repeats *t, enum repeat_list list, uint32_t *of);
/* `of` as it was added with. */
void repeats_remove(struct repeats *t, struct repeat *r, uint32_t *of);

static inline uint32_t repeat_number(const struct repeats *t, const struct repeat *r)
{
    return (uint32_t)(r - t->all);
}

/* NULL: none. */
static inline struct repeat *repeat_at(const struct repeats *t, uint32_t place)
{
    return place ? &t->all[place - 1] : NULL;
}

static inline struct repeat *repeats_oldest(const struct repeats *t, enum repeat_list list)
{
    return repeat_at(t, t->lists[list].first);
}

/* What will be asked for when the oldest has to go is fetched. */
void repeats_expect(const struct repeats *t, const struct repeat *next);

#endif
