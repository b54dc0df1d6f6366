/* One request on its way to its verdict: the question, with the storage that
 * it borrows, and where each thing that is held comes from. For authorize.c
 * and those that add to what is held. */
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

#endif
