/* Words of oneM2M that the policy file and the record use: operations, and
 * resource types by the names of TS-0004 table 6.3.4.2.1-1. Pure. */
#ifndef POSTERN_M2M_WORDS_H
#define POSTERN_M2M_WORDS_H

#include "bytes.h"

enum { M2M_OPERATIONS = 6 }; /* numbered from 1: CREATE ... DISCOVERY, as enum m2m_operation */

/* NULL: there is no such. */
const char *m2m_operation_str(unsigned operation);
extern const char *const m2m_operation_words[M2M_OPERATIONS];

/* NULL: not in the table; types of later releases have numbers all the same. */
const char *m2m_type_str(unsigned type);
/* By name, or by number. NULL, or what is wrong with the text. */
MUST_USE const char *m2m_type_parse(struct bytes text, uint16_t *out);
/* Every name, for suggestions; NULL: past the end. */
const char *m2m_type_name(size_t i);

#endif
