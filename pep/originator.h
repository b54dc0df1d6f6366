/* Whether a request to a CSE may say that it is from whom it says (TS-0003
 * 7.2.1 and 8.2, TS-0004 7.3.2.1): an association speaks for the AE-IDs of its
 * subject, enrolled or learned when they were registered, or for one CSE and
 * those behind it. Judged before any rule, and whatever the policy's mode: a
 * spoofed originator never reaches a CSE. */
#ifndef POSTERN_ORIGINATOR_H
#define POSTERN_ORIGINATOR_H

#include "inside.h"

struct originator_ruling {
    uint16_t rsc; /* enum m2m_rsc of a denial; 0: it may */
    uint8_t code;
    const char *reason; /* static */
    bool speaks;        /* it may, by the association itself */
    bool vouchable;     /* it may, if a token that the association proves has this holder */
    /* Without an association: the entry of the policy that lets it, -1: none. */
    int unassociated;
};

/* r->m2m is there. `s` is refreshed, or NULL: no association. */
void originator_judge(struct pep *p, const struct pep_session *s, const struct request *r,
                      struct originator_ruling *out);

/* Whether the association itself speaks for this AE-ID, or is this CSE, at
 * that device: the name in whatever form. Not what others behind a CSE say. */
bool originator_is_own(const struct pep *p, const struct pep_session *s, int device,
                       struct bytes id);

#endif
