/* JOSE in tests: the texts of vectors/NAME.jose, whose lines are "name text"
 * or comments, and what turns text into keys and back. */
#ifndef POSTERN_SUPPORT_JOSE_H
#define POSTERN_SUPPORT_JOSE_H

#include "../pep/jwk.h"

/* All live to the end of the program; what cannot be done ends the test. */
struct bytes jose_vector(const char *file, const char *name);
struct bytes base64url_text(struct bytes b);
struct bytes base64url_bytes(const char *text);
/* A JWK. */
struct key jwk_key(struct bytes text);
/* "a.b.c" of a header and payload as they are, signed as they come: by `key`
 * with `alg`, whatever the header says. */
struct bytes jws_of(const char *header, struct bytes payload, const struct key *key,
                    const char *alg);

#endif
