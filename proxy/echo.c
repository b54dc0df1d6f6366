#include "echo.h"

#include "../pep/crypto.h"
#include "limits.h"

enum { COSE_HMAC_256_256 = 5, HMAC = 32 };

static uint64_t period_of(struct instant now)
{
    return now.mono_us / 1000000 / ECHO_LIFE_S + 1;
}

static bool mac(const uint8_t *secret, const struct peer *peer, uint8_t out[HMAC])
{
    uint8_t len = (uint8_t)peer->len;
    const struct bytes parts[] = {bytes_of(&len, 1), bytes_of(&peer->sa, peer->len)};
    struct buf tag = buf_on(out, HMAC);
    return crypto_mac(crypto_alg(COSE_HMAC_256_256), bytes_of(secret, SECRET), parts,
                      sizeof parts / sizeof *parts, &tag) &&
           tag.n == HMAC;
}

bool echo_make(struct echo *e, const struct peer *to, struct instant now, uint8_t out[ECHO_VALUE])
{
    uint8_t whole[HMAC];
    const uint8_t *secret = secrets_of(&e->secrets, period_of(now), true);
    if (!secret || !mac(secret, to, whole))
        return false;
    memcpy(out, whole, ECHO_VALUE);
    crypto_wipe(whole, sizeof whole);
    return true;
}

bool echo_is(struct echo *e, const struct peer *from, struct bytes value, struct instant now)
{
    bool is = false;
    if (value.n != ECHO_VALUE)
        return false;
    for (uint64_t age = 0; age < 2 && !is; age++) {
        uint8_t wanted[HMAC];
        const uint8_t *secret = secrets_of(&e->secrets, period_of(now) - age, false);
        is = secret && mac(secret, from, wanted) &&
             crypto_equal(bytes_of(wanted, ECHO_VALUE), value);
        crypto_wipe(wanted, sizeof wanted);
    }
    return is;
}
