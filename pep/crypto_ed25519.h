/* Ed25519 (RFC 8032), for EdDSA in JOSE (RFC 8037): mbedtls has none. The one
 * adapter to libsodium. Stateless, any thread. */
#ifndef POSTERN_CRYPTO_ED25519_H
#define POSTERN_CRYPTO_ED25519_H

#include "../policy/bytes.h"

enum crypto_ed25519_limits { CRYPTO_ED25519_KEY = 32, CRYPTO_ED25519_SIG = 64 };

/* One message, not parts: the algorithm reads it twice. Points of small order
 * and encodings that are not canonical are refused. */
MUST_USE bool crypto_ed25519_verify(const uint8_t key[CRYPTO_ED25519_KEY], struct bytes message,
                                    struct bytes sig);
/* `seed` is the private key of RFC 8032. */
MUST_USE bool crypto_ed25519_sign(const uint8_t seed[CRYPTO_ED25519_KEY], struct bytes message,
                                  struct buf *sig);
MUST_USE bool crypto_ed25519_of_secret(const uint8_t seed[CRYPTO_ED25519_KEY],
                                       uint8_t key[CRYPTO_ED25519_KEY]);

#endif
