/* What the store kept of grants, judged anew at the start. */
#ifndef POSTERN_STORED_H
#define POSTERN_STORED_H

#include "inside.h"

/* At the first load of a policy, once. */
void stored_load(struct pep *p, int64_t now_s);

#endif
