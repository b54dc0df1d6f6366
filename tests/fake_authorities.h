/* Authorities without a policy file: stands in for policy/policy.c in test
 * programs of pep that need nothing else of it. Include once a program. */
#ifndef POSTERN_FAKE_AUTHORITIES_H
#define POSTERN_FAKE_AUTHORITIES_H

#include "../policy/policy.h"

struct policy {
    const struct policy_authority *authorities;
    size_t n;
};

const struct policy_authority *policy_authority(const struct policy *p, size_t i)
{
    return i < p->n ? &p->authorities[i] : NULL;
}

#endif
