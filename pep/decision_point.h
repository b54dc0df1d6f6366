/* A remote decision point (TS-0003 7.5.2): what it is asked by UPDATE of an
 * <authorizationDecision> (TS-0001 9.6.41, in JSON {"m2m:auds": {...}}), what its
 * answer says, and how that goes together with the policy's own word. No
 * transport, no memory.
 *
 * The policy's own word is one of three: it permits; it denies (a `forbid`, a
 * condition that does not hold, a method or operation, size or format that no
 * rule permits, an audience, more than an authority may grant); or it is
 * silent: no rule of what is held names the path.
 *
 *   deny-overrides    own word   decision point        together
 *                     denies     is not asked          denied
 *                     silent     is not asked          denied
 *                     permits    PERMIT                permitted
 *                     permits    DENY                  denied
 *                     permits    NOT_APPLICABLE        permitted
 *                     permits    away, or nonsense     denied
 *
 *   local-first       denies     is not asked          denied
 *                     permits    is not asked          permitted
 *                     silent     PERMIT                permitted
 *                     silent     DENY                  denied
 *                     silent     NOT_APPLICABLE        denied, or the next one is asked
 *                     silent     away, or nonsense     denied
 *
 * Where several are for a path, those with local-first are asked in the file's
 * order until one says PERMIT or DENY (TS-0003 7.5.2); what is permitted then,
 * by whomever, all those with deny-overrides are asked about. */
#ifndef POSTERN_DECISION_POINT_H
#define POSTERN_DECISION_POINT_H

#include "m2m_ask.h"
#include "question.h"

enum local_says { LOCAL_DENIES = 0, LOCAL_SILENT, LOCAL_PERMITS };

enum point_says {
    POINT_UNHEARD = 0, /* away, not allowed to ask, an error of its, or nonsense */
    POINT_DENIES,
    POINT_NOT_APPLICABLE,
    POINT_PERMITS,
};

/* The policy's own word, of who holds something. */
enum local_says point_own_word(const struct policy_decision *d);
bool point_is_asked(enum policy_combine combine, enum local_says local);
/* What is said together; only of one that was asked. */
enum local_says point_combine(enum policy_combine combine, enum local_says local,
                              enum point_says says);

/* The attributes that a request becomes, between their braces. */
void point_write(const struct m2m_ask *a, struct buf *out);
/* The whole body: those, and the time. */
void point_question(struct bytes attributes, int64_t now_s, struct buf *out);

/* Reads an answer to what was asked by these attributes. *why (static) tells
 * what is wrong with one that says nothing. */
enum point_says point_read(const struct pep_reply *r, struct bytes attributes, const char **why);

#endif
