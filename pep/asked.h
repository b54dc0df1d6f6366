/* One request on its way to its verdict: the question, with the storage that
 * it borrows, and where each thing that is held comes from. For authorize.c
 * and those that add to what is held. Allocates nothing and hashes nothing but
 * a token that comes with the request, and a path for AIF's Dynamic. */
#ifndef POSTERN_ASKED_H
#define POSTERN_ASKED_H

#include "inside.h"
#include "learn.h"

enum { ASKED_QUERY_MAX = 1024 };

/* Neither a grant, a token, nor an answer: an enrolment. */
struct asked_source {
    struct grant *grant;
    const struct token *token;   /* that came with the request, kept nowhere */
    const uint8_t *key;          /* that proves the token; NULL: a bearer token */
    int64_t ends_s;              /* of the token, or the enrolment */
    const char *unassociated;    /* who holds it without an association, as the policy has it */
    int permission;              /* of a oneM2M token, from 0; -1: none of them */
    const struct answer *answer; /* the permission is what its authority gave for this request */
};

struct asked {
    struct policy_question q;
    struct policy_holding held[POLICY_GRANTS_MAX];
    struct asked_source of[POLICY_GRANTS_MAX];
    bool own_token; /* one came with the request, and counts */
    bool speaks;    /* the association speaks for the request's originator, without any token */
    /* Live, but their authority must be asked before they count. */
    struct grant *stale[POLICY_GRANTS_MAX];
    size_t n_stale;
    struct learned learned; /* of what is asked; `wait`, `retry_s` */
    struct bytes ati;       /* in p->ati; for the decision */
    uint8_t query[ASKED_QUERY_MAX];
};

/* What is beyond POLICY_GRANTS_MAX grants nothing. */
static inline void asked_hold(struct asked *a, const struct policy_holding *h,
                              struct asked_source from)
{
    if (a->q.n_held == POLICY_GRANTS_MAX)
        return;
    a->held[a->q.n_held] = *h;
    a->of[a->q.n_held++] = from;
}

/* The question from its beginning: what s holds, and what came with r.
 * `speaks` as in m2m_hold.h. PEP_OK; or why what came with the request fails
 * it; or PEP_PENDING, PEP_AWAY, PEP_BUSY as a->learned says. */
MUST_USE enum pep_err asked_gather(struct pep *p, struct pep_session *s, const struct request *r,
                                   int64_t now_s, bool speaks, struct asked *a);
/* A grant of the session's, whether its authority must be asked first or not. */
void asked_hold_grant(struct asked *a, const struct pep_session *s, const struct request *r,
                      struct grant *g);
/* The roles that the policy gives to who comes without an association. */
void asked_hold_unassociated(const struct pep *p, int entry, struct asked *a);

#endif
