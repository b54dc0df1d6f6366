/* What the permissions of one oneM2M token come to under one policy (TS-0003
 * 7.3.2.5): each covers some resources or all, and brings roles, rules of its
 * own, or both. Roles that the policy does not have or the token's authority
 * may not grant are left out; the token's own rules count as far as that
 * authority's may-grant does, which the policy judges (policy_holding.direct).
 *
 * Made once a token and policy; a question allocates nothing. It holds a
 * reference on its policy, so it is dropped when another comes into force. */
#ifndef POSTERN_M2M_PERMISSIONS_H
#define POSTERN_M2M_PERMISSIONS_H

#include "m2m_claims.h"

struct m2m_permissions;

/* `text` as struct claims has it. NULL: no memory. */
MUST_USE struct m2m_permissions *m2m_permissions_new(struct policy *policy, int authority,
                                                     struct bytes text,
                                                     struct policy_grant_report *report);
void m2m_permissions_free(struct m2m_permissions *p); /* NULL is fine */

/* What is asked for, by all names that it has (m2m_names.h). */
struct m2m_wanted {
    const struct bytes *to;
    size_t n_to;
    const struct bytes *who; /* the names of the originator, who has proved to be that */
    size_t n_who;
    bool below; /* what is below it, too: a list of resources does not cover that */
    /* As in acr; its roles are those that the request says it uses, n 0: all
     * that the token brings. */
    struct m2m_asked asked;
};

/* What one permission gives to a request: borrowed. */
struct m2m_given {
    size_t number;                    /* of the permission, from 0 */
    const struct policy_grant *roles; /* that it brings; NULL: none */
    bool direct;                      /* its own rules permit it */
};

/* The permissions that cover what is asked for and give something, from *i on,
 * which it moves. False: no more. */
bool m2m_permissions_next(const struct m2m_permissions *p, const struct m2m_wanted *w, size_t *i,
                          struct m2m_given *out);
/* A grant of nothing, of the token's authority: what is direct is held by it. */
const struct policy_grant *m2m_permissions_bare(const struct m2m_permissions *p);

#endif
