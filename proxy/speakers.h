/* Which association has used an AE-ID last: a hint, since it may have gone, or
 * lost the right to; whoever uses it looks. A table of fixed size without
 * chains: two AE-IDs that fall together take turns. */
#ifndef POSTERN_SPEAKERS_H
#define POSTERN_SPEAKERS_H

#include "../policy/bytes.h"
#include "../policy/siphash.h"

enum { SPEAKERS = 1024 }; /* a power of two; 24 KiB */

struct speaker {
    uint64_t hash;   /* of device and AE-ID; 0: nobody */
    uint64_t assoc;  /* its number */
    unsigned worker; /* that has it */
};

struct speakers {
    struct siphash_key seed; /* to be set: clients choose AE-IDs */
    struct speaker of[SPEAKERS];
};

/* NULL: nobody is known. The ID in whatever form: it is told by its last part
 * (/cse/Cmeter is Cmeter). */
const struct speaker *speakers_find(const struct speakers *t, int device, struct bytes ae_id);
/* False: it was known. */
bool speakers_note(struct speakers *t, int device, struct bytes ae_id, uint64_t assoc,
                   unsigned worker);

#endif
