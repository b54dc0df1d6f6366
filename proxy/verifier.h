/* A thread beside a worker that checks signatures of tokens, so that no
 * client's request waits for a stranger's token. It runs at a lower priority
 * than the workers: where there is one processor for both, established
 * clients go first. How many checks may be under way, and which comes next, is
 * pep's to say (pep/checks.h). */
#ifndef POSTERN_VERIFIER_H
#define POSTERN_VERIFIER_H

#include "../pep/pep.h"

struct verifier;

MUST_USE struct verifier *verifier_new(void);
/* The check that runs is waited for; those that are left are dropped. */
void verifier_free(struct verifier *v); /* NULL is fine */

/* Readable when a check is done. */
int verifier_fd(const struct verifier *v);
/* Takes the check over; in order. */
void verifier_put(struct verifier *v, struct pep_check *c);
/* One that is done, or NULL. */
struct pep_check *verifier_take(struct verifier *v);

#endif
