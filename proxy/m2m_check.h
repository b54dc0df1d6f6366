/* What configuration and policy say of CSEs that is no mistake in either, but
 * cannot work together. */
#ifndef POSTERN_M2M_CHECK_H
#define POSTERN_M2M_CHECK_H

#include "config.h"

/* Adds "FILE:LINE: warning: ..." lines. */
void m2m_warn(const struct config *c, const struct policy *p, struct buf *diag);

#endif
