/* What a token is good for, now: judged in the order of RFC 9200 5.10.1.1,
 * after its protection was verified and before anything is kept of it. Its
 * audience goes to p->cover, for judge_apply() before the next token. */
#ifndef POSTERN_JUDGE_H
#define POSTERN_JUDGE_H

#include "inside.h"

struct judged {
    bool whole;     /* its audience: the gateway as a whole; else p->cover */
    int64_t ends_s; /* by exp and exi */
    bool clockless;
    enum grant_number numbered;
    uint64_t number;
};

/* Judges revocation, iss, times, audience and scope of what a token says (RFC
 * 9770 10.1, RFC 9200 5.10.1.1). `reference`: it says so by an answer alone,
 * and its cti has no number of ours. */
MUST_USE enum pep_err judge_token(struct pep *p, struct cached *said, bool reference, int64_t now_s,
                                  struct judged *out);
/* Its audience alone. False: neither the gateway nor a device. */
bool judge_covers(struct pep *p, const struct claims *c, bool *whole);
/* A new token must carry a fresh cnonce where its authority demands one. */
MUST_USE enum pep_err judge_cnonce(const struct pep *p, const struct token *t, int64_t now_s);
/* What must be remembered of it, for good: its number, and that it was first
 * verified now. */
MUST_USE enum pep_err judge_note(struct pep *p, const struct token *t, const struct judged *j,
                                 int64_t now_s);
/* The grant is good for that. */
void judge_apply(struct pep *p, const struct judged *j, struct grant *g);
/* Grants whose number is over by now count no longer; the next sweep takes
 * them out of the store. */
void judge_end_numbered(struct pep *p, int64_t now_s);

#endif
