/* The spool: audit lines on disk until they have been delivered. A directory
 * of segment files, named by the sequence number of their first line, and a
 * position file that tells how far the lines are settled: delivered, or known
 * to be lost. Beside the audit file, not in it: that one is the operator's to
 * rotate, compress and remove.
 *
 * One thread appends, another reads and settles; neither waits for the other
 * for longer than it takes to look at a list. Total size is bounded: the
 * oldest segment gives way. What is missing when the reader comes to its
 * place (given way, damaged, never written) is read as one record that tells
 * how many were lost; so the loss is delivered in its order, and again after
 * a crash, until it is settled like any other.
 *
 * Every line begins with {"seq":N, and ends with }. A line that was cut by a
 * crash is removed at the next start; a position that was torn gives way to
 * the one before it, and lines are delivered twice rather than not at all. */
#ifndef POSTERN_SPOOL_H
#define POSTERN_SPOOL_H

#include "../policy/bytes.h"

enum spool_limits {
    SPOOL_LINE_MAX = 2048, /* a record is not much more than half of it */
    SPOOL_MIN = 256 << 10,
    SPOOL_SEGMENTS = 16,         /* the spool's size in segments: what is lost at once ... */
    SPOOL_SEGMENT_MAX = 4 << 20, /* ... and at most */
    SPOOL_CHUNK_MAX = 64 << 10,
    SPOOL_STREAM = 16, /* hexadecimal digits */
};

struct spool;

/* `after`: the last sequence number that was given out elsewhere; a new spool
 * begins behind it. The directory is made. */
MUST_USE struct spool *spool_open(const char *dir, uint64_t max, uint64_t after, struct buf *diag);
void spool_close(struct spool *s); /* NULL is fine */

/* Numbers count from 1 in one stream: a spool that was deleted begins a new
 * one, so that a collector which knows what it has does not mistake them. */
const char *spool_stream(const struct spool *s);
uint64_t spool_last(const struct spool *s); /* the last number given out */

/* The sequence number of a line without its newline. */
MUST_USE bool spool_line_seq(struct bytes line, uint64_t *seq);

/* ---- the writer's ---- */

size_t spool_chunk(const struct spool *s); /* bytes an append takes at most */
/* Whole lines, numbered to `last`. False: not kept, the disk refused; they
 * will be read as lost. */
bool spool_append(struct spool *s, struct bytes lines, uint64_t first, uint64_t last);

/* ---- the reader's ---- */

struct spool_taken {
    unsigned records;
    uint64_t last; /* number of the last record */
    uint64_t lost; /* told as lost by records among them */
};

/* The next records behind those read before: whole lines, at most `max` and
 * what fits `out`, which must hold 2 * SPOOL_LINE_MAX. `stamp` is the time of
 * a record of losses. False: there is none yet. */
MUST_USE bool spool_read(struct spool *s, const char *stamp, unsigned max, struct buf *out,
                         struct spool_taken *t);
/* To the disk with what was read, before it leaves the machine: after a power
 * failure no number may come to stand for another record. */
void spool_sync(struct spool *s);
/* Everything to `last` is settled; its segments may go. */
void spool_settle(struct spool *s, uint64_t last, uint64_t lost);
/* The next read begins behind what is settled. */
void spool_rewind(struct spool *s);

/* ---- anyone's ---- */

struct spool_stats {
    uint64_t last, settled, taken; /* numbers given out, settled, read */
    uint64_t waiting;              /* records kept and not settled */
    uint64_t lost;                 /* ever */
};

void spool_get_stats(const struct spool *s, struct spool_stats *out);

#endif
