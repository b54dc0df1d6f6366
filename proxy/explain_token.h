/* What a oneM2M token gives to a request, for `postern explain`. */
#ifndef POSTERN_EXPLAIN_TOKEN_H
#define POSTERN_EXPLAIN_TOKEN_H

#include "../pep/m2m_names.h"
#include "../pep/m2m_permissions.h"

struct explain_token {
    struct m2m_permissions *permissions;
    struct policy_holding held[POLICY_GRANTS_MAX];
    size_t n_held;
    struct m2m_names who, to;
};

/* `m` for the CSE d; its originator, or none: then the token's holder asks.
 * PEP_OK: *out holds what it gives, to be cleared; or why the token is refused.
 * The times were judged. */
MUST_USE enum pep_err explain_token_hold(struct policy *policy, const struct token *t,
                                         const struct pep_device *d, const struct m2m_request *m,
                                         const struct policy_question *q,
                                         enum policy_strength strength, struct explain_token *out);
void explain_token_clear(struct explain_token *e);

#endif
