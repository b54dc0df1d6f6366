/* Paths of requests, path patterns, and paths of AIF entries: all as
 * segments, never as a joined string.
 *
 * A pattern is written with slashes; a segment `*` stands for one segment,
 * `**` for the rest (zero or more, last only), anything else for itself. "/"
 * is the path without segments. A slash at the end is a last, empty segment;
 * only the same pattern and `**` match it.
 *
 * A path that no pattern can match, because a device could read it as
 * another one, is not `sound`: a segment that is `.` or `..`, holds `/` or
 * NUL, or is empty but not the last of several; or too many of them.
 */
#ifndef POSTERN_PATH_H
#define POSTERN_PATH_H

#include "policy.h"

struct path {
    const struct bytes *seg;
    size_t n;
    uint32_t hash[POLICY_PATH_SEGMENTS_MAX]; /* one a segment, when sound */
    bool sound;
    /* Segments (bit i) that only a pattern's own word matches, not a star. */
    uint32_t named;
    bool below; /* all that is below it, too: only `**` matches that */
};

/* Borrows the segments. */
void path_init(struct path *p, const struct bytes *seg, size_t n);

uint32_t path_hash(struct bytes segment);

struct pattern {
    struct bytes seg[POLICY_PATH_SEGMENTS_MAX]; /* into the text; star: n 0 and p NULL */
    size_t n;
    bool rest; /* ends in `**`, which is no segment here */
};

/* NULL, or what is wrong with the text. */
MUST_USE const char *pattern_parse(struct bytes text, struct pattern *out);

/* The URI of an AIF entry (RFC 9237 2.1): path, and behind '?' the query.
 * Percent-encoding is decoded into `storage` (text.n bytes), which the
 * segments then borrow. False: not an absolute path, or one that is not
 * sound, or whose query could be read in two ways. */
MUST_USE bool path_parse_uri(struct bytes text, uint8_t *storage,
                             struct bytes seg[POLICY_PATH_SEGMENTS_MAX], size_t *n,
                             struct bytes *query);

#endif
