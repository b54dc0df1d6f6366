/* The order of bodies that come in blocks (RFC 7959, RFC 9175 3).
 *
 * Blocks pass one by one, each judged as the request that it is. To a device
 * they all come from one endpoint, ours, and most devices know a transfer by
 * endpoint and resource only (RFC 7959 2.5), without Request-Tag. Two clients
 * whose blocks to one resource crossed would write one body out of two. So
 * while one client's body is under way to a resource, another's first block
 * waits; and a block that is no first one passes only when its transfer began
 * here: else its client is told to begin again (4.08, 2.9.2).
 *
 * The same holds for the blocks of an answer to a body (POST, FETCH: 2.7),
 * which the device keeps for "its" client. Blocks of a plain GET stand for
 * themselves.
 *
 * Options pass as they are: Request-Tag too, by which a device that knows it
 * tells apart transfers of one client. A client is a number here. */
#ifndef POSTERN_BLOCK_H
#define POSTERN_BLOCK_H

#include "../policy/siphash.h"
#include "instant.h"
#include "msg.h"

struct blocks;

enum block_verdict {
    BLOCK_WAIT = 0,   /* for the transfer *id to be over */
    BLOCK_GO,         /* *id is the transfer that it is part of; 0: of none */
    BLOCK_INCOMPLETE, /* 4.08: what came before it is not there */
    BLOCK_FULL,       /* 5.03 */
};

struct blocks_stats {
    uint64_t transfers, waited, refused, incomplete;
    uint64_t open; /* now */
};

/* Ids have the bits of `id_base` and are counted below them. */
MUST_USE struct blocks *blocks_new(uint64_t id_base, const struct siphash_key *seed);
void blocks_free(struct blocks *b); /* NULL is fine */

/* A request for a device, as it goes there. After BLOCK_GO with an id comes
 * one block_answered() or block_left(). */
enum block_verdict block_ask(struct blocks *b, int device, uint64_t client,
                             const struct msg *request, struct instant now, uint64_t *id);

/* What came of a request that block_ask() let go with `id`, also 0; `answer`
 * NULL: nothing. True: the transfer is over, and those that wait for it can
 * ask again. */
bool block_answered(struct blocks *b, uint64_t id, int device, uint64_t client,
                    const struct msg *request, const struct msg *answer, struct instant now);
/* Its client left. The transfer waits for its next block as long as always. */
void block_left(struct blocks *b, uint64_t id, struct instant now);

uint64_t blocks_deadline_ms(const struct blocks *b);
/* The transfers that rested too long, one a call; 0: no more. With *refuse,
 * the transfer goes on, and those that wait for it have waited enough. */
uint64_t blocks_expire(struct blocks *b, struct instant now, bool *refuse);
void blocks_get_stats(const struct blocks *b, struct blocks_stats *out);

#endif
