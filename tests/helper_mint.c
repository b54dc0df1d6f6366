/* Mints a token with the test key of every algorithm, alone and encrypted
 * again, one "alg hex" a line, for vectors/make_tokens.py --verify. */
#include <stdio.h>

#include "../pep/cwt.h"
#include "support_token.h"

static int mint(const struct claims *c, const struct crypto_alg *a, bool nested)
{
    struct key key = test_key(0, a->alg), seal = test_key(0, 10);
    bool aead = a->class == CRYPTO_AEAD;
    struct cwt_maker with = {.proof = aead ? NULL : &key,
                             .seal = aead     ? &key
                                     : nested ? &seal
                                              : NULL};
    uint8_t room[TOKEN_MAX];
    struct buf out = buf_on(room, sizeof room);
    enum pep_err e = cwt_mint(c, POLICY_RFC9200, &with, &out);
    if (e != PEP_OK) {
        fprintf(stderr, "%s: %s\n", a->name, pep_err_str(e));
        return 1;
    }
    printf("%d ", a->alg);
    for (size_t i = 0; i < out.n; i++)
        printf("%02x", room[i]);
    puts("");
    return 0;
}

int main(void)
{
    const struct claims c = {.iss = BYTES_LIT("as"),
                             .has_iss = true,
                             .aud = {BYTES_LIT("gw")},
                             .n_aud = 1,
                             .has_exp = true,
                             .exp_s = 2000000000,
                             .scope_words = BYTES_LIT("r w"),
                             .has_scope = true,
                             .cnf = {.kind = CNF_KID, .kid = BYTES_LIT("kid")}};
    const struct crypto_alg *a;
    int bad = 0;
    for (size_t i = 0; (a = crypto_alg_at(i)); i++) {
        bad += mint(&c, a, false);
        if (a->class != CRYPTO_AEAD)
            bad += mint(&c, a, true);
    }
    return bad != 0;
}
