/* Which enrolments end soon, for those who should know it before: the log,
 * `postern status`, `postern check`. */
#ifndef POSTERN_ENROLLED_H
#define POSTERN_ENROLLED_H

#include "../policy/policy.h"

struct enrolled_sum {
    size_t subjects, ended, soon;          /* soon: within ENROLMENT_SOON_S */
    const struct policy_subject *next;     /* whose end comes next; NULL: nobody's */
    const struct policy_subject *an_ended; /* one that has, or NULL */
};

void enrolled_sum(const struct policy *p, int64_t now_s, struct enrolled_sum *out);
/* The i-th that ends soon, or has ended; NULL: no more. */
const struct policy_subject *enrolled_ending(const struct policy *p, int64_t now_s, size_t i);

/* "FILE:LINE: warning: ..." for each of them, within reason. */
void enrolled_warn(const struct policy *p, int64_t now_s, struct buf *diag);
/* The same of a certificate that all of them rest on. */
void enrolled_warn_of(const char *file, const char *what, int64_t ends_s, int64_t now_s,
                      struct buf *diag);
/* The same as lines of the log. */
void enrolled_log(const struct policy *p, int64_t now_s);

#endif
