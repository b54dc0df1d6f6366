/* Who else would have a word in what `postern explain` explains; nobody is
 * asked. */
#ifndef POSTERN_CMD_CONSULT_H
#define POSTERN_CMD_CONSULT_H

#include "../policy/policy.h"

/* One line for each, with its newline. */
void cmd_consult_print(const struct policy *p, const struct policy_question *q,
                       const struct policy_decision *d);
/* "asks": ["pdp", ...], if there are any. */
void cmd_consult_json(const struct policy *p, const struct policy_question *q,
                      const struct policy_decision *d, struct buf *out);

#endif
