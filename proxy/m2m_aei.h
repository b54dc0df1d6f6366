/* The AE-ID that a CSE has given an AE, out of its answer to the CREATE
 * (TS-0001 10.2.2.2): the attribute `aei` of the representation, in whichever
 * serialization it is (TS-0004 8). Nothing else in an answer will do: a name,
 * and so a Location-Path, is the client's to choose. */
#ifndef POSTERN_M2M_AEI_H
#define POSTERN_M2M_AEI_H

#include "../pep/onem2m.h"

/* `format`: the Content-Format, -1: none, which is JSON's. Into `storage`, of
 * M2M_ID_MAX bytes. BYTES_NONE: it is not told. */
struct bytes m2m_aei(int64_t format, struct bytes payload, uint8_t storage[M2M_ID_MAX]);
/* The name that the AE has there (`rn`): says where it is, never who. Not out
 * of XML. */
struct bytes m2m_rn(int64_t format, struct bytes payload, uint8_t storage[M2M_ID_MAX]);

#endif
