/* Dynamic authorization (TS-0003 7.3.2): what an authority is asked when a
 * client lacks a permission, by NOTIFY with securityInfo ({"m2m:seci": {"sit":
 * 1, "dreq": {...}}}), what its answer gives (sit 2, dres), and what a client is
 * told that wants to ask by itself (tqf). No transport, no memory, no judgement
 * of tokens and rules. */
#ifndef POSTERN_DYNAMIC_H
#define POSTERN_DYNAMIC_H

#include "json_doc.h"
#include "m2m_ask.h"
#include "question.h"

enum { DYNAMIC_TOKENS_MAX = 4 };

/* The elements of a dasRequest, between their braces (TS-0004 6.3.5.46).
 * `useful`: a role that would do, or empty. */
void dynamic_write(const struct m2m_ask *a, struct bytes useful, struct buf *out);
/* The whole body of our question. */
void dynamic_question(struct bytes elements, int64_t now_s, uint32_t lifetime_s, struct buf *out);

/* One server of a tqf: begin, those that there are, end. */
void dynamic_tell_begin(struct buf *out);
void dynamic_tell(struct buf *out, const char *uri, struct bytes elements);
void dynamic_tell_end(struct buf *out);

struct dynamic_answer {
    struct json_node *doc;       /* of all that is below; NULL: it gives nothing */
    const struct json_node *acr; /* rules that it grants (m2m_rules.h); NULL: none */
    int64_t until_s;             /* they hold to before then; 0: for this request alone */
    struct bytes tokens[DYNAMIC_TOKENS_MAX];
    size_t n_tokens;
};

/* False: away, or nonsense, and *why (static) tells. An answer that gives
 * nothing is one. Clear *out. */
MUST_USE bool dynamic_read(const struct pep_reply *r, int64_t now_s, struct dynamic_answer *out,
                           const char **why);
void dynamic_clear(struct dynamic_answer *a);

#endif
