/* What the configuration says of a CSE, and what its addresses mean (TS-0001
 * 9.3.1, TS-0008 6.2.2.3), so that rules see one name of one resource:
 *
 * - CSE-relative addresses stand for themselves, and so do the virtual
 *   children `la` and `ol` in them.
 * - SP-relative (`~`, then the CSE-ID) and absolute ones (`_`, the SP-ID, the
 *   CSE-ID) of this CSE, and `-` for its CSEBase, are what they are short or
 *   long for: the CSE-relative address.
 * - What only a rule's own words name, and neither `*` nor `**` stand for:
 *   addresses of other CSEs, up to the first segment behind the CSE-ID; the
 *   first segment of an unstructured address (a bare resource ID: a rule on
 *   the structured path knows nothing of it, and its `forbid` neither); and
 *   `fopt` and `sfop`, behind which are a group's members, wherever they are.
 *
 * Where `cse-id`, `sp-id` or `cse-base` is not told, an address that needs it
 * is another CSE's; and without cse-base nobody can tell an ID from a name, so
 * `**` stands for both. Pure. */
#ifndef POSTERN_M2M_CSE_H
#define POSTERN_M2M_CSE_H

#include "../pep/onem2m.h"
#include "../policy/policy.h"
#include "m2m_options.h"

struct m2m_cse {
    enum m2m_numbering options;
    const char *id;   /* "/mn-cse", or NULL */
    const char *sp;   /* "//sp.example", or NULL */
    const char *base; /* name of its CSEBase, or NULL */
    int notify;       /* the listener that it notifies clients by; -1: none */
};

struct m2m_address {
    int form; /* as m2m_request.address; CSE-relative: of this CSE */
    /* As rules see it, below the device's prefix. */
    struct bytes path[POLICY_PATH_SEGMENTS_MAX];
    size_t n;
    uint32_t named; /* bit i: path[i] must be a rule's own word */
};

/* `path`: what is below the device's prefix. False: more segments than there
 * may be, or one that is no name: empty, with a byte that a URL could be cut at,
 * or with a mark (`~`, `_`, `-`) that does not stand where it has a meaning. */
MUST_USE bool m2m_address_read(const struct m2m_cse *cse, const struct bytes *path, size_t n,
                               struct m2m_address *out);
/* As one text: without what stands before a CSE's ID. False: no room. */
MUST_USE bool m2m_address_write(const struct m2m_address *a, struct buf *out);

#endif
