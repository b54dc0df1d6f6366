/* What a denial says: its code, its reason, and where to turn instead. Who is
 * not authenticated learns the least. */
#ifndef POSTERN_DENIAL_H
#define POSTERN_DENIAL_H

#include "inside.h"

/* RFC 9200 5.10.2. Who is not authenticated learns no more than that. */
uint8_t denial_code(enum policy_reason reason, bool authenticated);
/* Why nothing was held, as far as it can be told. */
const char *denial_of_nothing(const struct pep *p, const struct pep_session *s, int64_t now_s);
/* The authority that a client should turn to, and what to ask it for: the
 * payload of a 4.01 (hints.h). */
void denial_hint(struct pep *p, const struct request *r, const struct policy_question *q,
                 int64_t now_s, struct pep_decision *out);
/* Denials in the words of oneM2M's binding; others stay as they are. */
void denial_in_binding(struct pep_decision *out);

#endif
