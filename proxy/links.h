/* The link format (RFC 6690) as a view into its text: reading it, matching
 * a link against a filter, and the way from a link's target to the segments
 * of a request and back. Pure; nothing is copied but what is percent-decoded
 * into the caller's storage.
 */
#ifndef POSTERN_LINKS_H
#define POSTERN_LINKS_H

#include "../pep/request.h"

struct link {
    struct bytes target; /* between the angle brackets, checked as a URI reference */
    struct bytes params; /* from the first ';', empty if none */
};

enum link_result { LINK_END = 0, LINK_FOUND = 1, LINK_BAD = 2 };

/* The next link of *rest, which advances behind it. A document that is not
 * well-formed is bad at the offending link; blanks around separators are
 * allowed, as RFC 5988 5 has them. */
MUST_USE enum link_result link_next(struct bytes *rest, struct link *out);

struct link_param {
    struct bytes name;
    struct bytes value; /* as written, with its quotes; p NULL: there was no '=' */
};

/* The next parameter of a link that link_next() found. */
MUST_USE bool link_param_next(struct bytes *params, struct link_param *out);

/* What a target asks its server for, decoded as RFC 7252 6.4 says. */
enum { LINK_TEXT_MAX = 512 };
struct link_place {
    struct bytes path[POLICY_PATH_SEGMENTS_MAX];
    size_t n_path;
    struct bytes query[REQUEST_QUERIES_MAX];
    size_t n_query;
    struct bytes tail; /* query and fragment as written, with '?' or '#' */
    uint8_t storage[LINK_TEXT_MAX];
};

/* Reads a target (or an anchor) that is relative to its server. False: it
 * has a scheme or an authority, so it is elsewhere; or no request has that
 * path ("." or "..", too many or too long segments). */
MUST_USE bool link_place_read(struct bytes target, struct link_place *out);

/* Whether the link passes one filter, "name=value" with an optional trailing
 * '*' (RFC 6690 4.1); href is matched with `target`, the others with the
 * parameters, of which rt, if and rel hold words. What is not of this form
 * is no filter and passes. */
MUST_USE bool link_matches(const struct link *l, struct bytes target, struct bytes filter);

/* '/' and the segment, percent-encoded. */
void link_put_segment(struct buf *out, struct bytes segment);

#endif
