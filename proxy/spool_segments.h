/* The segment files of a spool, oldest first: a list of what lies in its
 * directory, each file named by the sequence number of its first line. The
 * spool keeps the files open and holds the lock; only `oldest` is read
 * without it. */
#ifndef POSTERN_SPOOL_SEGMENTS_H
#define POSTERN_SPOOL_SEGMENTS_H

#include <stdatomic.h>
#include <sys/types.h>

#include "../policy/bytes.h"

enum { SEGMENT_NAME = 32 }; /* "00000000000000000001.jsonl" */

struct segment {
    uint64_t first; /* number of its first line; in its name */
    uint64_t size;
};

struct segments {
    int dir; /* borrowed */
    struct segment *at;
    size_t n, cap;
    uint64_t total;              /* bytes of all */
    atomic_uint_fast64_t oldest; /* the first's first; 0: none */
};

void segments_name(uint64_t first, char out[SEGMENT_NAME]);
/* What is in `dir`, which stays open; false: it cannot be read, or no memory. */
MUST_USE bool segments_read(struct segments *g, int dir);
void segments_clear(struct segments *g);
/* Behind the others. `oldest` is for segments_note_oldest(). */
MUST_USE bool segments_add(struct segments *g, uint64_t first, uint64_t size);
void segments_note_oldest(struct segments *g);
/* The file too. */
void segments_remove_first(struct segments *g);
/* The index of the segment that begins with `first`, or -1. */
ssize_t segments_find(const struct segments *g, uint64_t first);

#endif
