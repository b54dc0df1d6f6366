/* Keys in JSON (RFC 7517, RFC 7518 6, RFC 8037 2) and their thumbprints (RFC
 * 7638). It judges values as key.h does: points lie on their curves, RSA has
 * 2048 bits or more, a private half belongs to its public one, lengths are
 * exact, `alg` is one that the key can serve.
 *
 * `use`, `key_ops` and `alg` become struct key's ops and alg. Of a key with
 * both `use` and `key_ops` counts what both allow. x5c, x5u and their kin say
 * nothing here: a key counts because of where it was found.
 */
#ifndef POSTERN_JWK_H
#define POSTERN_JWK_H

#include "json_doc.h"
#include "key.h"

enum jwk_limits { JWK_MAX = 4096 /* bytes of one written: RSA with its private half */ };

/* One JWK. A symmetric key is of at least `min` bytes. On failure false and
 * *why is static text. */
MUST_USE bool jwk_read(const struct json_node *jwk, size_t min, struct key *out, const char **why);

enum jwk_set_kind {
    /* A file of ours: what stands in it shall count, so a key that cannot be
     * used is an error. */
    JWK_SET_FILE = 0,
    /* Published by others: keys that are not for us are passed over (RFC 7517
     * 5), secrets and private halves among them, for they are none. */
    JWK_SET_FETCHED = 1,
};

/* A JWK or a JWK Set. Appends to out[*n]; *which is the number of the key
 * that *why speaks of, from 1. A set without a usable key is an error. */
MUST_USE bool jwk_read_set(struct bytes text, enum jwk_set_kind kind, struct key *out, size_t max,
                           size_t *n, const char **why, size_t *which);

/* Appends the JWK; the private half of a key pair only with `secret`. */
void jwk_put(const struct key *k, bool secret, struct buf *out);

/* RFC 7638 with SHA-256. */
MUST_USE bool jwk_thumbprint(const struct key *k, uint8_t out[CRYPTO_SHA256]);
MUST_USE bool jwk_thumbprint_ec(const struct crypto_ec *ec, uint8_t out[CRYPTO_SHA256]);
MUST_USE bool jwk_thumbprint_secret(struct bytes secret, uint8_t out[CRYPTO_SHA256]);

#endif
