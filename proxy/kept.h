/* What a gate keeps over a planned restart, as a list of sections. Each has a
 * number and a version of its own; a section that the next process does not
 * know, or knows in another version, is a reason to refuse the whole file:
 * half of what belongs together is worse than none.
 *
 * A section saves entries, and is shown each of them again in the order in
 * which it saved them, after all entries of the sections before it in the
 * table (gate_kept.c): whoever refers to associations comes behind them.
 */
#ifndef POSTERN_KEPT_H
#define POSTERN_KEPT_H

#include "instant.h"
#include "sealed.h"

struct gate;

/* Where a section's entries go. */
struct kept_out {
    struct sealed_writer *file;
    uint8_t kind;
    size_t n;
};
void kept_put(struct kept_out *out, struct bytes entry); /* SEALED_ENTRY_MAX */

/* Kinds of entries that are no section's. */
enum kept_kind {
    KEPT_SECTIONS = 0, /* the table: numbers and versions */
    KEPT_WORKER = 255, /* whose gate saved what follows (restart.c) */
};

enum kept_taken {
    KEPT_REFUSED = 0, /* not ours at all: the whole file is refused */
    KEPT_DROPPED,     /* it has no place any more; counted */
    KEPT_TAKEN,
};

struct kept_section {
    uint8_t kind;    /* in the file; never used for another again */
    uint8_t version; /* of its entries */
    const char *name;
    /* Nothing of the gate runs any more; no record may leave afterwards. */
    void (*save)(struct gate *g, struct kept_out *out);
    enum kept_taken (*load)(struct gate *g, struct bytes entry);
};

struct kept_counts {
    uint64_t taken, dropped; /* associations */
};

/* gate_kept.c */

/* All sections into the file. The gate does nothing afterwards but be freed. */
void gate_keep(struct gate *g, struct sealed_writer *file, struct instant now);
/* An entry out of the file, in their order, into a gate that has seen no
 * datagram yet. False: the whole file is refused. */
MUST_USE bool gate_recall(struct gate *g, uint8_t kind, struct bytes entry, struct instant now,
                          struct kept_counts *counts);

/* What it kept is in other hands: its clients are told nothing when it is
 * freed. */
void gate_forget(struct gate *g);

#endif
