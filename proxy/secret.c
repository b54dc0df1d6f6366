#include "secret.h"

#include "../pep/crypto.h"

const uint8_t *secrets_of(struct secrets *s, uint64_t period, bool current)
{
    size_t i = period % 2;
    if (s->of[i].period != period) {
        if (!current || !crypto_random(s->of[i].secret, SECRET))
            return NULL;
        s->of[i].period = period;
    }
    return s->of[i].secret;
}

void secrets_wipe(struct secrets *s)
{
    crypto_wipe(s, sizeof *s);
}
