/* A request of the oneM2M binding, read (TS-0008 6.2): its parameters out of
 * options and query, whatever numbering they came in; and what is left of it,
 * a message as any other, without what ends here (the parameters of tokens
 * and roles). Pure.
 *
 * Two readings are refused: an operation that method, TY, `op` and `fu` do not
 * agree on, a parameter twice, one that a CSE could find where we see none. */
#ifndef POSTERN_M2M_READ_H
#define POSTERN_M2M_READ_H

#include "limits.h"
#include "m2m_cse.h"

struct m2m_fault {
    uint8_t code;
    uint16_t rsc; /* enum m2m_rsc */
    const char *why;
};

/* Large: part of its owner. Slices are borrowed from the message, and from
 * the storage here. */
struct m2m_read {
    enum m2m_numbering numbering; /* that its client uses; good after a fault, too, */
    struct m2m_values values;     /* and so is what was sound of these */
    bool certain;                 /* its options say so themselves */
    struct m2m_request request;
    struct msg plain;
    size_t tkns_n;
    uint8_t tkns[MESSAGE_MAX], to[MESSAGE_MAX];
};

enum m2m_sender {
    M2M_CLIENT = 0, /* RQI and RVI are needed: some CSEs end on a request without */
    M2M_CSE = 1,    /* of the first release there is no RVI */
};

/* `unclear`: the numbering of who uses none of the numbers that tell. False:
 * *why is what to answer. All but the address is read. */
MUST_USE bool m2m_read(const struct msg *in, enum m2m_sender from, enum m2m_numbering unclear,
                       int64_t now_s, struct m2m_read *out, struct m2m_fault *why);

/* What it is addressed to: `path` has n segments, of which the first n_prefix
 * name the device, or the way to it. They are put into the one form that rules
 * see (m2m_cse.h). False: no such address. */
MUST_USE bool m2m_read_address(struct m2m_read *r, const struct m2m_cse *cse,
                               struct bytes path[POLICY_PATH_SEGMENTS_MAX], size_t *n,
                               size_t n_prefix);

#endif
