/* An authority that issues JWTs, with a key of each kind, for tests of pep.
 * Test keys only. */
#ifndef POSTERN_SUPPORT_OAUTH_H
#define POSTERN_SUPPORT_OAUTH_H

#include "../pep/keys.h"
#include "support_jose.h"

/* kids: "es" P-256, "rs" RSA (alg RS256), "ps" the same RSA (alg PS256), "ed"
 * Ed25519, "hs" HS256, "dir" A256GCM, "kw" A128KW; "ec-enc" P-256 and
 * "rsa-enc" to be sealed to. */
struct key oauth_key(const char *kid);
/* Writes all of them as a JWK Set, with private halves, mode 0600. */
void oauth_put_keys(const char *path);
/* These keys for a policy whose authorities have the file "0". NULL: could not. */
struct keys *oauth_load(const struct policy *p);

#endif
