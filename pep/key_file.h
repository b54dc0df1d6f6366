/* Files that hold keys: an authority's keys, a private key to mint with, an
 * enrolled subject's PSK.
 *
 * What a file holds is told by its first byte:
 * - CBOR: a COSE_KeySet or one COSE_Key (RFC 9052 7), with kid, alg and
 *   key_ops;
 * - JSON, first byte {: a JWK Set or one JWK (RFC 7517), with the same and
 *   `use`;
 * - PEM: one or more EC or RSA public keys ("PUBLIC KEY"); to mint with, one
 *   private key. They have no kid;
 * - text: one symmetric key in hexadecimal; lines that begin with # are
 *   comments. No kid, no alg.
 *
 * A file with a secret (symmetric key, private half) must not be readable by
 * others nor writable by its group: no mode looser than 0640. One with public
 * keys only must not be writable by others. A key that cannot be used is an
 * error, never skipped: what stands in the file shall count.
 *
 * `diag` gets "PATH: error: ..." with the remedy, and a newline.
 */
#ifndef POSTERN_KEY_FILE_H
#define POSTERN_KEY_FILE_H

#include "key.h"

enum key_file_limits {
    KEY_FILE_MAX = 65536, /* bytes */
    KEY_FILE_KEYS_MAX = 256,
    KEY_PSK_MIN = 16, /* a password in hexadecimal is not a key */
};

enum key_file_use {
    /* A PEM private key is refused: whoever checks tokens needs the public
     * half only, and a key that can mint has no business on the gate. (A
     * COSE_Key or JWK with d is taken for its public half: it is what `postern
     * token` writes on a gateway that is its own authority. And a JWK may be
     * one that opens what is sealed for us.) */
    KEY_FILE_CHECK = 0,
    KEY_FILE_MINT = 1,
};

/* Reads at most `max` keys. `path` is used as it is. */
MUST_USE bool key_file_read(const char *path, enum key_file_use use, struct key *out, size_t max,
                            size_t *n, struct buf *diag);

/* The PSK of an enrolled subject: KEY_PSK_MIN to TOKEN_KEY_MAX bytes. `name`
 * is relative to `dir` unless it is absolute; dir NULL: as it is. */
MUST_USE bool key_file_read_psk(const char *dir, const char *name, uint8_t out[TOKEN_KEY_MAX],
                                size_t *n, struct buf *diag);

/* Writes a new file as a COSE_KeySet, mode 0640 with `secret`, else 0644.
 * An existing file is never overwritten. */
MUST_USE bool key_file_create(const char *path, const struct key *keys, size_t n, bool secret,
                              struct buf *diag);

/* dir/name, or name if that is absolute or dir NULL. False: too long. */
MUST_USE bool key_file_path(const char *dir, const char *name, char *out, size_t cap);

#endif
