/* Permission sets: from the claims of a token or an enrolment to a grant.
 * Words become holders with all that they include, AIF entries (RFC 9237)
 * become exact paths with masks, and both are clipped to what their authority
 * may grant: roles clip roles, scopes clip scopes, resources clip entries,
 * and a kind that may-grant does not name grants nothing of it. A role that
 * another includes counts only through the one that was granted.
 *
 * policy_grant_new() and policy_grant_free() of policy.h are here; this
 * header has what the judge asks of a grant. */
#ifndef POSTERN_SCOPE_H
#define POSTERN_SCOPE_H

#include "compiled.h"

/* An AIF mask knows the methods, and the methods on what the client made
 * itself 32 bits above (RFC 9237 3, "Dynamic"). */
#define AIF_STATIC(mask)  ((uint32_t)(mask)&POLICY_METHODS_ALL)
#define AIF_DYNAMIC(mask) ((uint32_t)((mask) >> 32) & POLICY_METHODS_ALL)

/* The entry for exactly this path and query, or NULL. */
const struct aif_entry *grant_aif(const struct policy_grant *g, const struct path *path,
                                  struct bytes query, uint32_t hash);

#endif
