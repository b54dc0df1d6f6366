/* What fuzzers do with claims that were read: every byte that they point to is
 * looked at, for the sanitizers, and every count is within its cap. */
#ifndef POSTERN_TOUCH_CLAIMS_H
#define POSTERN_TOUCH_CLAIMS_H

#include <stdlib.h>

#include "../../pep/cwt.h"

static inline unsigned touch(struct bytes b)
{
    unsigned sum = 0;
    for (size_t i = 0; i < b.n; i++)
        sum += b.p[i];
    return sum;
}

static inline void touch_claims(const struct claims *c)
{
    volatile unsigned sum = touch(c->iss) + touch(c->sub) + touch(c->cti) + touch(c->scope_words);
    for (size_t i = 0; i < c->n_aud; i++)
        sum += touch(c->aud[i]);
    for (size_t i = 0; i < c->n_aif; i++)
        sum += touch(c->aif[i].path);
    sum += touch(c->cnf.kid) + touch(c->cnf.x) + touch(c->cnf.y) + touch(c->cnonce);
    (void)sum; /* read all the same: it is volatile */
    if (c->n_aud > TOKEN_AUD_MAX || c->n_aif > TOKEN_AIF_MAX || c->cnf.key_n > TOKEN_KEY_MAX ||
        (c->has_exp && (c->exp_s < 0 || c->exp_s > CWT_TIME_MAX)))
        abort();
}

#endif
