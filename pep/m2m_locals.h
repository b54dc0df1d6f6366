/* Tokens that requests refer to instead of carrying them: by their ID (tids),
 * or by the local ID that we gave their holder for them (ltids, assigned in
 * ATI; TS-0003 7.3.2.3, steps 7 and 8).
 *
 * Found by holder and ID, so an ID is worth nothing to another. An entry holds
 * the token's bytes, never what they say: with each request that names it the
 * token is verified, judged and proved as if it had come. Entries are few to a
 * holder and in total; the one not asked for longest gives way, and its holder
 * shows the token again. They end with their token, and with the process:
 * what is lasting is posted. */
#ifndef POSTERN_M2M_LOCALS_H
#define POSTERN_M2M_LOCALS_H

#include "../policy/siphash.h"
#include "onem2m.h"
#include "store.h"

struct m2m_locals;

enum m2m_locals_limits {
    M2M_LOCALS_MAX = 1024,      /* about 2 KB each at most, made as needed */
    M2M_LOCALS_PER_HOLDER = 16, /* as many as a request can name */
    M2M_LOCAL_ID = 24,          /* bytes of a local ID at most */
};

struct m2m_local {
    struct bytes lti, holder, id, raw;
    int64_t exp_s;
    /* kept by m2m_locals.c */
    struct m2m_local *chain, *newer, *older;
    uint64_t hash;
};

MUST_USE struct m2m_locals *m2m_locals_new(struct siphash_key seed);
void m2m_locals_free(struct m2m_locals *t); /* wipes; NULL is fine */

/* Borrowed until the next call that adds or drops. */
const struct m2m_local *m2m_locals_find(struct m2m_locals *t, struct bytes holder,
                                        struct bytes lti);
const struct m2m_local *m2m_locals_find_id(struct m2m_locals *t, struct bytes holder,
                                           struct bytes id);
/* Copied. Another token of the same holder and ID gives way. NULL: no memory,
 * or too long. */
const struct m2m_local *m2m_locals_add(struct m2m_locals *t, const struct m2m_local *what);
void m2m_locals_drop(struct m2m_locals *t, const struct m2m_local *e);
void m2m_locals_expire(struct m2m_locals *t, int64_t now_s);

/* To colleagues (STORE_LOCAL), and from them. */
void m2m_locals_tell(const struct m2m_local *e, struct store *colleagues);
void m2m_locals_take_change(struct m2m_locals *t, const struct store_op *op);

#endif
