/* The forms of oneM2M identifiers (TS-0001 7.2, table 7.2-1): pure reading,
 * no lookup. Characters are the unreserved ones of RFC 3986 2.3. */
#ifndef POSTERN_M2M_ID_H
#define POSTERN_M2M_ID_H

#include "../policy/bytes.h"

/* A domain name of two labels or more (RFC 1035 2.3.1), without a dot at its
 * end. */
bool m2m_is_fqdn(struct bytes s);
/* "/cse1", or "//sp.example/cse1". */
bool m2m_is_cse_id(struct bytes s);
/* "Cae1", "Sae1", "/cse1/Cae1", "/Sae1", "//sp.example/cse1/Cae1" or
 * "//sp.example/Sae1": a stem begins with C or S and has more than that. */
bool m2m_is_ae_id(struct bytes s);
/* The part of a KpsaID before its '@' (TS-0003 10.5). */
bool m2m_is_kpsa_name(struct bytes s);

#endif
