/* What oneM2M tokens give to one request: those that were taken before, and
 * those that it carries or names. Each must be for this CSE, hold now, and be
 * held by the originator of the request, exactly (TS-0003 7.3.2.3).
 *
 * What binds a token to the association is its cnf (RFC 7800) if it has one.
 * Else it is its holder: the association must speak for that originator by
 * itself, or the authority's `bearer: allow` lets whoever brings a token (not
 * its ID) pass for its holder. A token with a cnf that the association proves
 * speaks for its holder, too: that is what its authority says of the key. */
#ifndef POSTERN_M2M_HOLD_H
#define POSTERN_M2M_HOLD_H

#include "asked.h"

/* Adds to what is held for r, which is for a CSE (r->m2m). `speaks`: the
 * session speaks for its originator without any token. PEP_OK, or why one of
 * the tokens that came with the request fails it; PEP_PENDING with
 * a->learned.wait. */
MUST_USE enum pep_err m2m_hold(struct pep *p, struct pep_session *s, const struct request *r,
                               bool speaks, int64_t now_s, struct asked *a);

/* The same of one token, that came in the Access-Token option. */
MUST_USE enum pep_err m2m_hold_one(struct pep *p, struct pep_session *s, const struct request *r,
                                   struct bytes raw, bool speaks, int64_t now_s, struct asked *a);

/* Whether a token for this CSE that the session holds, and that is its own by
 * its cnf or as a bearer token, has the originator of r as its holder. */
bool m2m_hold_vouches(struct pep *p, struct pep_session *s, const struct request *r, int64_t now_s);

#endif
