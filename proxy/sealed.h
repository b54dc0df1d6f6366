/* A file that is read once. Entries are gathered into chunks, and each chunk
 * is sealed with AES-256-GCM under a key that is used for this one file and
 * nothing else; the chunk's number and whether it is the last are its nonce,
 * so that none can be cut off, moved or repeated. What the head says is in
 * clear, and authentic with every chunk.
 *
 * Whoever opens the file has removed it first, for good (the directory is
 * synced): of two that try, one can; a crash afterwards loses it. All of it
 * is authenticated before the first entry is shown.
 */
#ifndef POSTERN_SEALED_H
#define POSTERN_SEALED_H

#include "../policy/bytes.h"

enum sealed_limits {
    SEALED_KEY = 32,
    SEALED_HEAD_MAX = 128,
    SEALED_CHUNK = 32 << 10, /* of plaintext: small beside what it describes */
    SEALED_ENTRY_MAX = 16 << 10,
};

struct sealed_writer;
struct sealed_reader;

enum sealed_err {
    SEALED_OK = 0,
    SEALED_NONE,   /* there is no such file, or another has taken it */
    SEALED_IO,     /* it cannot be read, or not be removed */
    SEALED_BROKEN, /* cut, changed, or sealed under another key */
};

/* A new file `name` in `dir`, in the place of any other. NULL: errno's text
 * in *why. */
MUST_USE struct sealed_writer *sealed_create(const char *dir, const char *name,
                                             const uint8_t key[SEALED_KEY], struct bytes head,
                                             const char **why);
/* Entries of at most SEALED_ENTRY_MAX. What goes wrong is said by finish. */
void sealed_put(struct sealed_writer *w, uint8_t kind, struct bytes entry);
/* Frees. True: the file is whole, and on the disk with its name. Else it is
 * gone. */
MUST_USE bool sealed_finish(struct sealed_writer *w, const char **why);
void sealed_abandon(struct sealed_writer *w); /* NULL is fine */

/* Takes the file out of the directory, and reads and checks all of it. */
MUST_USE enum sealed_err sealed_take(const char *dir, const char *name,
                                     const uint8_t key[SEALED_KEY], struct sealed_reader **out);
/* Removes it unread. True: there was one, and it is gone. */
bool sealed_remove(const char *dir, const char *name);
struct bytes sealed_head(const struct sealed_reader *r);
/* The entries in the order of their writing; slices live for the visit. False:
 * `visit` said so. */
MUST_USE bool sealed_each(struct sealed_reader *r,
                          bool (*visit)(void *user, uint8_t kind, struct bytes entry), void *user);
void sealed_close(struct sealed_reader *r); /* wipes; NULL is fine */

#endif
