/* Revoking, as pep does it: the table is changed, what rests on it ends at
 * once, and the change is on disk before it is said to be.
 *
 * After each of these calls the caller has the associations looked at again
 * (pep_session_ends(), pep_basis_holds()). */
#ifndef POSTERN_PEP_REVOKE_H
#define POSTERN_PEP_REVOKE_H

#include "pep.h"
#include "revocation.h"
#include "trl.h"

/* What is asked for. A whole token may be given instead of a kind's value. */
struct pep_revoking {
    enum revocation_kind kind; /* REVOKED_HASH with `token` */
    struct bytes value;
    struct bytes token;     /* n 0: none */
    struct bytes authority; /* name; empty: of any */
    int64_t until_s;        /* kid, subject, authority; REVOKED_FOR_GOOD */
    bool named;             /* `value` is what another pep's table holds */
};

struct pep_revoked {
    size_t ended;                        /* grants */
    bool kept;                           /* it survives a restart */
    uint8_t value[REVOCATION_VALUE_MAX]; /* what the table holds: a token's hash may be another
                                            than the one asked for (token_ids.h) */
    size_t value_n;
    int64_t until_s;
};

MUST_USE enum revocation_err pep_revoke(struct pep *p, const struct pep_revoking *r, int64_t now_s,
                                        struct pep_revoked *out);
/* Takes back what pep_revoke() made; grants that ended stay so. */
MUST_USE enum revocation_err pep_unrevoke(struct pep *p, const struct pep_revoking *r,
                                          struct pep_revoked *out);

/* What an authority's list says, full or in differences. `authority` is its
 * name. False: it named more than could be held; what it named is ended, but
 * until a list fits, no further token of this authority is taken. */
struct pep_listed {
    size_t ended, added, removed;
    bool kept;
};
MUST_USE bool pep_take_list(struct pep *p, const char *authority, const struct trl_answer *a,
                            int64_t now_s, struct pep_listed *out);

const struct revocations *pep_revocations(const struct pep *p);
/* Live grants of the authority of this index. */
size_t pep_grants_of(const struct pep *p, int authority);

#endif
