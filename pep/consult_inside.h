/* What the files of consult.c share: one request while others are asked about
 * it. Not for other files. */
#ifndef POSTERN_CONSULT_INSIDE_H
#define POSTERN_CONSULT_INSIDE_H

#include "consult.h"

enum {
    /* In front of what is asked: whose request it is, the policies and
     * revocations of before, the device; then the attributes. */
    CONSULT_HEAD = PEP_KEY_ID + 8 + 8 + 2,
    CONSULT_KEY_MAX = CONSULT_HEAD + M2M_ASK_MAX,
    CONSULT_ADDRESS_MAX = 2048,
};

struct telling {
    struct m2m_ask ask;
    struct bytes roles[M2M_ASK_ROLES_MAX];
    uint8_t to[CONSULT_ADDRESS_MAX];
};

struct round {
    struct pep *p;
    struct pep_session *s; /* NULL: nobody can be told of the request */
    const struct request *r;
    struct asked *a;
    int64_t now_s;
    struct telling told;
    struct consulting *out;
    uint8_t key[CONSULT_KEY_MAX];
};

/* What others are told of r. False: it cannot be told. */
MUST_USE bool consult_describe(struct pep_session *s, const struct request *r,
                               const struct asked *a, struct telling *out);
/* What is asked, by these attributes; empty: it cannot be asked. In r->key. */
struct bytes consult_key(struct round *r, struct bytes attributes);
/* PEP_OK: *out has the answer. Else r->out has what goes with the error. */
MUST_USE enum pep_err consult_ask(struct round *r, enum pep_ask kind, int of, struct bytes about,
                                  struct answer **out);
/* Nothing is held, and the association stands all the same: the client CA
 * knows it. Of who had a token once, a token is asked for again. */
static inline bool consult_is_known_alone(const struct pep_session *s)
{
    return s->trusted && s->last_exp_s == 0;
}

/* ---- consult_points.c ---- */

enum local_says consult_own_word(struct round *r, const struct policy_decision *d);
/* Each of these in turn, as long as the word so far is one that it is asked
 * about. With an error in r->out it is LOCAL_DENIES. */
enum local_says consult_points(struct round *r, uint32_t points, enum policy_combine combine,
                               enum local_says word);

/* It is denied, since no point could be asked about all that is below. */
void consult_refuse_below(struct round *r);

/* ---- consult_dynamic.c ---- */

/* Asks those authorities for what is lacking, and holds what they give; *d is
 * the judgement anew. PEP_OK, whatever came of it; PEP_PENDING; or PEP_AWAY,
 * PEP_BUSY, when one could not be asked and the others gave nothing. */
MUST_USE enum pep_err consult_dynamic(struct round *r, const struct policy_consult *whom,
                                      struct policy_decision *d);

#endif
