/* On what a decision rests: the grant, the token, others' word or the
 * enrolment that permitted it, for the record and for as long as it holds;
 * and whose requests are counted where rates are set. */
#ifndef POSTERN_CREDIT_H
#define POSTERN_CREDIT_H

#include "asked.h"

/* `held` is an index into a->of, or -1: on nothing. `role` may be NULL. */
void credit_decision(const struct pep *p, const struct asked *a, int held, const char *role,
                     struct pep_decision *out);
/* The ways that the policy left, each with the rate of the enrolled subject
 * itself, whatever grant it uses. out->n_offers is 0 before. */
void credit_offers(const struct pep *p, const struct pep_session *s, const struct asked *a,
                   const struct policy_decision *d, struct pep_decision *out);

#endif
