/* A verdict told in words, for `postern explain` and the log: which rule,
 * which role or scope, what was missing. Pure text, no newline at the end of
 * the last line. */
#ifndef POSTERN_EXPLAIN_H
#define POSTERN_EXPLAIN_H

#include "policy.h"

void policy_explain(const struct policy *p, const struct policy_question *q,
                    const struct policy_decision *d, struct buf *out);

#endif
