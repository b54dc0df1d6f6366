/* A bounded queue of messages between threads: plain values, copied in and
 * read in place. One thread writes (or several under a lock of their own), and
 * each of its readers sees every message, in the order of writing. Nobody
 * waits: a message that has no room, because a reader is behind, is refused,
 * and what that means is the writer's to say.
 *
 * Who is to be woken when is crew.h's business. */
#ifndef POSTERN_MAILBOX_H
#define POSTERN_MAILBOX_H

#include "../policy/bytes.h"

struct mailbox;

enum mailbox_limits { MAILBOX_READERS_MAX = 16 };

/* `size`: bytes, a power of two; a message takes at most a quarter of it.
 * Readers are numbered from 0. */
MUST_USE struct mailbox *mailbox_new(size_t size, unsigned readers);
void mailbox_free(struct mailbox *m); /* wipes; NULL is fine */

/* One message, of these parts one behind the other. False: no room. */
MUST_USE bool mailbox_put(struct mailbox *m, const struct bytes *parts, size_t n_parts);
/* A message of n bytes would be taken now. The writer's. */
bool mailbox_has_room(const struct mailbox *m, size_t n);

/* The reader's next message, which stands until mailbox_next(); aligned for
 * any plain value. False: none. */
bool mailbox_peek(struct mailbox *m, unsigned reader, struct bytes *message);
void mailbox_next(struct mailbox *m, unsigned reader);
bool mailbox_is_empty(const struct mailbox *m, unsigned reader);

#endif
