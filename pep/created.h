/* Resources that a subject created, for the Dynamic bits of AIF (RFC 9237
 * 2.3): by the proof key or the enrolment of the subject. Only digests of
 * paths are kept. Bounded twice: the oldest path of a subject gives way, and
 * so does the subject that created nothing for longest.
 *
 * Written to the store by created_flush(), not at once: a creation lost in a
 * crash only costs its Dynamic rights, and a client must not be able to make
 * us wait for the disk with every POST.
 */
#ifndef POSTERN_CREATED_H
#define POSTERN_CREATED_H

#include "../policy/siphash.h"
#include "pep.h"
#include "store.h"

struct created;

enum created_limits { CREATED_PATHS_MAX = 64 };

MUST_USE struct created *created_new(size_t max_owners, struct siphash_key seed);
void created_free(struct created *t);

void created_add(struct created *t, const uint8_t owner[PEP_KEY_ID], const struct bytes *path,
                 size_t n_path);
bool created_has(const struct created *t, const uint8_t owner[PEP_KEY_ID], const struct bytes *path,
                 size_t n_path);
/* The owner is no more. */
void created_drop(struct created *t, const uint8_t owner[PEP_KEY_ID]);

/* Says at once what is known of the owner to those of another store, where
 * created_take_change() adds it to what they know (STORE_CREATED). */
void created_tell(const struct created *t, const uint8_t owner[PEP_KEY_ID], struct store *s);
/* `keep`: it is also ours to write. */
void created_take_change(struct created *t, const struct store_op *op, bool keep);

/* Writes what changed. False: some of it could not be; it is tried again. */
bool created_flush(struct created *t, struct store *s);
/* Takes in what the store kept; `is_owner` says of whom it is still wanted. */
MUST_USE bool created_load(struct created *t, struct store *s,
                           bool (*is_owner)(void *user, const uint8_t owner[PEP_KEY_ID]),
                           void *user);

#endif
