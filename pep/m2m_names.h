/* The names that one thing of oneM2M has: identifiers of AEs and CSEs (TS-0001
 * 7.1), and addresses of resources (9.3.1), which may be told relative to their
 * CSE, to the service provider, or absolutely. Tokens and rules of others tell
 * them in any of these forms.
 *
 * A name is only ever made longer: what is short is taken to be of the device
 * that it is said to. What it takes to make it longer may not be known
 * (`cse-id`, `sp-id`); then there are fewer names. */
#ifndef POSTERN_M2M_NAMES_H
#define POSTERN_M2M_NAMES_H

#include "onem2m.h"
#include "pep.h"

enum m2m_names_limits {
    M2M_NAMES_MAX = 6,
    /* an ID or address of a request, behind those of its CSE and provider */
    M2M_NAME_ROOM = 2048,
};

struct m2m_names {
    struct bytes of[M2M_NAMES_MAX];
    size_t n; /* 0: it is empty, or too long to be anybody's */
    uint8_t room[M2M_NAME_ROOM];
};

/* Of an AE or a CSE: "Cae1", "/mn-cse/Cae1" and "//sp/mn-cse/Cae1"; an AE-ID
 * that begins with S is of the provider: "/Sae1". */
void m2m_names_of_entity(const struct pep_device *d, struct bytes id, struct m2m_names *out);
/* Of the resource that a request is for; its CSEBase is "-", too (TS-0001
 * 9.3.1). */
void m2m_names_of_target(const struct pep_device *d, const struct m2m_request *m,
                         struct m2m_names *out);
/* Of the device's own CSE. */
void m2m_names_of_cse(const struct pep_device *d, struct m2m_names *out);

bool m2m_names_have(const struct m2m_names *names, struct bytes text);

#endif
