/* Others' word in a request that the policy has judged: decision points
 * (decision_point.h), and authorities that may give a permission which is
 * lacking (dynamic.h). What they say of one request is found again by all that
 * they were told of it, its subject, the policy, and what was revoked so far:
 * a reload or a revocation makes every answer of before one to another
 * question. Allocates for a question, and for nothing else. */
#ifndef POSTERN_PEP_CONSULT_H
#define POSTERN_PEP_CONSULT_H

#include "asked.h"

struct consulting {
    enum pep_err err; /* PEP_OK; PEP_PENDING, PEP_AWAY, PEP_BUSY, PEP_FULL: it is denied */
    uint64_t wait;    /* with PEP_PENDING */
    uint32_t retry_s;
    bool again;         /* tokens came: what is held is to be gathered anew, and judged */
    const char *by;     /* who else had a word, or could not be asked; or NULL */
    const char *reason; /* of `verdict`, when that is not the policy's own; static */
    struct policy_rule_ref rule;
    enum policy_verdict verdict;
    int64_t ends_s; /* of a permission that was given, INT64_MAX: not told */
};

/* `d` is the policy's own word on `a`; both are added to by what is given.
 * Without an association nobody is asked: what needs another's word is denied. */
void consult(struct pep *p, struct pep_session *s, const struct request *r, struct asked *a,
             struct policy_decision *d, int64_t now_s, struct consulting *out);

/* Where a client that is denied could get a token by itself (tqf); empty:
 * nowhere. Borrowed until the next call. */
struct bytes consult_tell(struct pep *p, struct pep_session *s, const struct request *r,
                          const struct asked *a, const struct policy_decision *d);

/* The token of this ID, from an authority that is asked for permissions on r's
 * path: verified, not judged. PEP_OK: *raw, borrowed until the next call;
 * PEP_TOKEN_ID: nobody gave it; or why nobody could be asked, with what goes
 * with it in a->learned. */
MUST_USE enum pep_err consult_token(struct pep *p, struct pep_session *s, const struct request *r,
                                    struct asked *a, struct bytes id, int64_t now_s,
                                    struct bytes *raw);

/* What a permission rests on that another's word gave: that nothing was loaded
 * or revoked since. */
static inline struct pep_basis consult_basis(const struct pep *p)
{
    return (struct pep_basis){.kind = PEP_ON_DECISION, .grant = p->loads, .revoked = p->revokes};
}

/* The body of a question about a request, and what came of it. */
enum { CONSULT_BODY_MAX = M2M_ASK_MAX + 128 };
void consult_write(const struct pep *p, const struct answer *a, int64_t now_s, struct buf *body,
                   struct pep_question *out);
void consult_take_reply(struct pep *p, struct answer *a, const struct pep_reply *r, int64_t now_s);

#endif
