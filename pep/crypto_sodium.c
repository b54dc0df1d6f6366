#include <sodium.h>

#include "crypto_ed25519.h"

_Static_assert(CRYPTO_ED25519_KEY == crypto_sign_ed25519_PUBLICKEYBYTES &&
                   CRYPTO_ED25519_KEY == crypto_sign_ed25519_SEEDBYTES &&
                   CRYPTO_ED25519_SIG == crypto_sign_ed25519_BYTES,
               "RFC 8032 5.1");

/* None of these needs sodium_init(): it seeds randomness and picks faster
 * code for other things. */

bool crypto_ed25519_verify(const uint8_t key[CRYPTO_ED25519_KEY], struct bytes message,
                           struct bytes sig)
{
    return sig.n == CRYPTO_ED25519_SIG &&
           crypto_sign_ed25519_verify_detached(sig.p, message.p, message.n, key) == 0;
}

static bool expand(const uint8_t seed[CRYPTO_ED25519_KEY], uint8_t key[CRYPTO_ED25519_KEY],
                   uint8_t secret[crypto_sign_ed25519_SECRETKEYBYTES])
{
    return crypto_sign_ed25519_seed_keypair(key, secret, seed) == 0;
}

bool crypto_ed25519_sign(const uint8_t seed[CRYPTO_ED25519_KEY], struct bytes message,
                         struct buf *sig)
{
    uint8_t key[CRYPTO_ED25519_KEY], secret[crypto_sign_ed25519_SECRETKEYBYTES];
    uint8_t *to = buf_reserve(sig, CRYPTO_ED25519_SIG);
    bool ok = to && expand(seed, key, secret) &&
              crypto_sign_ed25519_detached(to, NULL, message.p, message.n, secret) == 0;
    sodium_memzero(secret, sizeof secret);
    return ok;
}

bool crypto_ed25519_of_secret(const uint8_t seed[CRYPTO_ED25519_KEY],
                              uint8_t key[CRYPTO_ED25519_KEY])
{
    uint8_t secret[crypto_sign_ed25519_SECRETKEYBYTES];
    bool ok = expand(seed, key, secret);
    sodium_memzero(secret, sizeof secret);
    return ok;
}
