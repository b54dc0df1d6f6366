/* From a token's bytes to a live grant: learned, judged, bound to a proof
 * key, made durable, and only then held. And how a grant ends. */
#ifndef POSTERN_TAKE_H
#define POSTERN_TAKE_H

#include "inside.h"

/* Verifies, judges, keeps. *grant is set on success. */
void take_token(struct pep *p, struct pep_session *s, const struct policy_peer *from,
                struct bytes raw, enum pep_via via, int64_t now_s, struct pep_taken *out,
                struct grant **grant);
/* The answer's account takes the place of what its grant said, or ends it. */
void take_refresh(struct pep *p, struct grant *g, struct answer *a, int64_t now_s);
/* Ends a grant here and in the store. */
void take_revoke(struct pep *p, struct grant *g);
/* Ends a grant in memory; what rests on it is told by p->changes. */
void take_end(struct pep *p, struct grant *g);
/* The name for records: "sub@authority". An enrolled subject's name has no
 * such tail, so no token can borrow it. */
void take_name(const struct policy_authority *a, struct bytes sub, const struct grant_key *key,
               char out[PEP_SUBJECT_MAX]);
/* Compiles a grant for a policy; *report says how much of it counts. NULL: no memory. */
MUST_USE struct policy_grant *take_compile(struct policy *policy, int authority,
                                           const struct grant *g,
                                           struct policy_grant_report *report);

#endif
