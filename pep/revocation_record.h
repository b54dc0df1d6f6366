/* One revocation, and how the store keeps it. */
#ifndef POSTERN_REVOCATION_RECORD_H
#define POSTERN_REVOCATION_RECORD_H

#include "crypto.h"
#include "token.h"
#include "token_ids.h"

enum revocation_limits {
    REVOCATION_VALUE_MAX = 255,
    REVOCATION_NAME_MAX = 128, /* of an authority */
};

/* Written to disk: never renumber. */
enum revocation_kind {
    REVOKED_NOTHING = 0,
    REVOKED_HASH = 1, /* value: as in token_ids.h */
    REVOKED_ID = 2,   /* cti or jti */
    REVOKED_KID = 3,  /* of the proof key */
    REVOKED_SUBJECT = 4,
    REVOKED_AUTHORITY = 5, /* no value; the authority must be named */
    REVOKED_KINDS
};

#define REVOKED_FOR_GOOD INT64_MAX

struct revocation {
    enum revocation_kind kind;
    struct bytes value;
    struct bytes authority; /* name; empty: of any */
    bool local, listed;     /* made here; named by the authority's list */
    int64_t made_s;
    int64_t since_s; /* tokens issued up to then; REVOKED_FOR_GOOD: all */
    int64_t until_s;
    bool seen; /* hash, cti: its token came, and expires at until_s */
};

const char *revocation_kind_str(enum revocation_kind k); /* "token-hash", "cti", ... */

/* Something that a token can have. */
bool revocation_is_well_formed(const struct revocation *r);
/* By hash or cti: of one token. */
static inline bool revocation_is_of_token(enum revocation_kind k)
{
    return k == REVOKED_HASH || k == REVOKED_ID;
}

enum { REVOCATION_KEY = 1 + CRYPTO_SHA256, REVOCATION_RECORD_MAX = 512 };

/* The name of a record: of what is revoked, not of how. */
MUST_USE bool revocation_record_key(const struct revocation *r, uint8_t key[REVOCATION_KEY]);
/* False: no memory to hash with. */
MUST_USE bool revocation_record_write(const struct revocation *r, uint8_t key[REVOCATION_KEY],
                                      struct buf *out);
/* False: not a record of ours, whole and unharmed. `out` is borrowed from it. */
MUST_USE bool revocation_record_read(struct bytes key, struct bytes value, struct revocation *out);

#endif
