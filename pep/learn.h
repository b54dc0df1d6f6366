/* From a token's bytes to what it says: by its protection, by its authority's
 * word, or both. Nothing is judged here but whether that word counts still. */
#ifndef POSTERN_LEARN_H
#define POSTERN_LEARN_H

#include "inside.h"

struct learned {
    struct cached *said;   /* borrowed until the next call */
    struct answer *answer; /* it rests on one; or NULL */
    uint64_t wait;         /* with PEP_PENDING: the question */
    uint32_t retry_s;      /* with PEP_AWAY, PEP_BUSY */
};

enum { LEARN_NO_DEVICE = -1 };

/* By its protection, by its authority's word, or both. `device`: what the
 * request is for; `associated`: it came by an association. */
MUST_USE enum pep_err learn_token(struct pep *p, struct bytes raw, int device, bool associated,
                                  const struct policy_peer *from, int64_t now_s,
                                  struct learned *out);
/* What is still known of a token, by the hash of its bytes, without asking.
 * False: nothing that counts. */
MUST_USE bool learn_find(struct pep *p, const uint8_t hash[TOKEN_HASH], int64_t now_s,
                         struct learned *out);
/* Whether a grant counts without asking. */
bool learn_is_fresh(struct pep *p, const struct grant *g, int64_t now_s);
/* Asks again about a grant that does not. PEP_PENDING, or why it cannot be. */
MUST_USE enum pep_err learn_again(struct pep *p, const struct grant *g,
                                  const struct policy_peer *from, int64_t now_s,
                                  struct learned *out);
/* Whether tokens of this authority need its word, beyond their protection. */
bool learn_asks(const struct policy_authority *a, bool reference);
/* An authority's answer that a colleague was given (STORE_ANSWER). */
void learn_take_told(struct pep *p, struct bytes told, int64_t now_s);
/* What is known here of g, which a colleague took, or which is of before the
 * start. May end g. */
void learn_freshen(struct pep *p, struct grant *g, int64_t now_s);
/* A question has no answer to be used; PEP_AWAY: and when to come again. */
void learn_fail(struct pep *p, struct answer *a, enum pep_err err, uint32_t retry_s);
/* The request that is being judged rests on it. */
void learn_note_use(struct pep *p, struct answer *a);
/* ... and waits for this question now. */
void learn_hold_used(struct pep *p, uint64_t question);
/* A new policy is in force. */
void learn_reload(struct pep *p, const struct policy *old, int64_t now_s);

#endif
