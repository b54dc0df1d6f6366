/* A grant as the store keeps it.
 *
 * The record is the token itself, not what was made of it: at the next start
 * it is verified again with the keys then in force and judged by the policy
 * then in force, so a stored grant can never say more than its authority
 * does now. Only where the token names its key by kid, or is a reference, does
 * the record hold the key; a token that carries its key is encrypted, and
 * stays so on disk.
 */
#ifndef POSTERN_RECORD_H
#define POSTERN_RECORD_H

#include "grants.h"
#include "store.h"

enum record_limits { RECORD_MAX = TOKEN_MAX + 768, RECORD_KEY = 8, RECORD_SUM = 16 };

struct record {
    uint64_t id;
    int64_t taken_s;
    bool used;
    enum pep_via via;
    bool by_reference;
    struct grant_key key; /* with by_reference */
    struct bytes raw;     /* into the record's bytes */
    /* A reference: what its authority said of it is not kept, but whose it is
     * and by which key it is known. */
    bool opaque;
    int64_t exp_s;
    struct bytes authority, subject; /* names, likewise into the bytes */
};

/* False: does not fit, or no memory to hash with. `key` gets RECORD_KEY bytes.
 * `authority`: the name of the grant's. */
MUST_USE bool record_write(const struct grant *g, const char *authority, uint8_t key[RECORD_KEY],
                           struct buf *out);
void record_key(uint64_t id, uint8_t key[RECORD_KEY]);
/* False: not a record of ours, whole and unharmed. */
MUST_USE bool record_read(struct bytes key, struct bytes value, struct record *out);

/* Of records of any kind, at most RECORD_MAX with their key. The sum finds
 * disks that lie, not attackers: who can write here has the gateway. It covers
 * the key too, so that no record passes for another. False: too long, or no
 * memory to hash with. */
MUST_USE bool record_sum(struct bytes key, struct bytes body, uint8_t sum[RECORD_SUM]);

#endif
