/* Tokens in tests: a set of authorities with a key for every algorithm, and
 * a forge that protects whatever it is given, well-formed or not, so that
 * what is refused is refused for its own reason. Test keys only. */
#ifndef POSTERN_SUPPORT_TOKEN_H
#define POSTERN_SUPPORT_TOKEN_H

#include "../pep/keys.h"

/* The test key for a COSE algorithm: fixed secret, kid "<authority>:<alg>". */
struct key test_key(int authority, int alg);

/* A structure with these parts, properly protected by `key` with `alg`,
 * whatever the headers say. `tags` goes in front. */
struct forgery {
    struct bytes tags;
    struct bytes guarded;   /* content of the protected header */
    struct bytes unguarded; /* encoded map */
    struct bytes iv;        /* for the cipher; BYTES_NONE: zeros */
    struct bytes content;
};
struct bytes forge(int alg, const struct key *key, const struct forgery *f);

/* Writes n authorities' key sets into `dir` as the files "0", "1", ... */
void put_authorities(const char *dir, int n);
void drop_authorities(const char *dir, int n);

#endif
