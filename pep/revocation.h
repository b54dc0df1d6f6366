/* The table of revocations: what the operator revoked here, and what the
 * lists of authorities name (RFC 9770). It holds and finds, and is kept in the
 * store; what a revocation ends is revoke.h's.
 *
 * Each says of whom: one authority's tokens, by the authority's name, which
 * outlives policies; or everyone's. A list speaks for its own authority only.
 *
 * A token's own revocation (by hash, by cti) holds until the token was seen
 * and has expired, whatever the list says meanwhile (RFC 9770 10.1). One of a
 * kid, a subject or an authority counts for the tokens that were issued until
 * it was made, by their iat; a token without iat cannot show that it is newer
 * and counts as revoked. It holds until it is undone, or its `until_s`.
 *
 * Bounded, and nothing in force gives way: what does not fit is refused, and
 * the caller says so. Only a hash that its list named and names no more, of a
 * token that never came, makes room (10.1: the earliest first).
 *
 * A change counts at once, and is on disk when revocations_flush() returned
 * true. */
#ifndef POSTERN_REVOCATION_H
#define POSTERN_REVOCATION_H

#include "../policy/siphash.h"
#include "revocation_record.h"
#include "store.h"

enum revocations_limits {
    REVOCATIONS_LOCAL_MAX = 4096,
    REVOCATIONS_LISTED_MAX = 8192, /* of one authority */
    REVOCATIONS_MAX = 32768,       /* about 250 bytes each, made as needed */
};

enum revocation_err {
    REVOCATION_OK = 0,
    REVOCATION_BAD,  /* a value that no token can have */
    REVOCATION_FULL, /* no room, or no memory: it does not hold */
    REVOCATION_NONE, /* there is none such */
};

struct revocations;

MUST_USE struct revocations *revocations_new(struct siphash_key seed);
void revocations_free(struct revocations *t);

/* Made here: copied, `local` set. A second one of the same lasts as long as
 * the longer of the two. */
MUST_USE enum revocation_err revocations_add(struct revocations *t, const struct revocation *r);
/* Takes back what was made here; a list's word stays. */
MUST_USE enum revocation_err revocations_remove(struct revocations *t, enum revocation_kind kind,
                                                struct bytes value, struct bytes authority);

/* What is known of a token when it is judged. */
struct revocation_ask {
    struct bytes authority;      /* name */
    const struct token_ids *ids; /* may have n 0 when nothing looks at hashes */
    struct bytes cti, kid, sub;
    struct bytes shown; /* "sub@authority", as records show it; may be empty */
    bool has_iat, has_exp;
    int64_t iat_s, exp_s;
    int64_t taken_s; /* when it was taken, or INT64_MAX: it comes now */
};

/* The revocation that holds for this token, or NULL. Notes that it was seen. */
const struct revocation *revocations_match(struct revocations *t, const struct revocation_ask *a);
/* Whether an enrolled subject of this name is revoked. It was not issued at
 * any time, so each revocation of the name counts. */
MUST_USE bool revocations_match_enrolled(const struct revocations *t, struct bytes name);
/* Whether any is of this kind; if not, no match depends on that part. */
bool revocations_look_at(const struct revocations *t, enum revocation_kind kind);

/* ---- the list of one authority ---- */

/* A full set replaces: begin, put each, end. What was listed and is not put
 * is no longer listed, and holds as said above. */
void revocations_list_begin(struct revocations *t, struct bytes authority);
MUST_USE enum revocation_err revocations_list_put(struct revocations *t, struct bytes authority,
                                                  struct bytes hash, int64_t now_s, bool *is_new);
void revocations_list_end(struct revocations *t, struct bytes authority);
/* Whether a list was ever begun, or its hashes were kept from before. */
bool revocations_has_list(const struct revocations *t, struct bytes authority);
/* The last full set named more than fits: no token can be cleared by it. */
MUST_USE bool revocations_list_overflowed(const struct revocations *t, struct bytes authority);
/* One hash is no longer listed. */
void revocations_list_drop(struct revocations *t, struct bytes authority, struct bytes hash);

/* ---- keeping ---- */

/* Forgets what is over. When the next that was made for a time is, or
 * INT64_MAX; what names a token is not waited for. */
int64_t revocations_expire(struct revocations *t, int64_t now_s);
/* Writes what changed. False: some of it could not be, it is tried again; or
 * there is no store. */
bool revocations_flush(struct revocations *t, struct store *s);
/* Takes in what the store kept. False: it could not be read, or not held. */
MUST_USE bool revocations_load(struct revocations *t, struct store *s);

/* A colleague saw the token of one (STORE_REVOCATION). `keep`: it is also ours
 * to write. What is revoked is everyone's own business: nothing else of the
 * record counts. */
void revocations_take_change(struct revocations *t, const struct store_op *op, bool keep);

struct revocations_stats {
    uint64_t local, listed, kept; /* kept: no longer listed, not yet forgotten */
    uint64_t corrupt;             /* records that were not whole; they stay in the store */
    uint64_t unwritten;           /* changes that are not on disk */
};
void revocations_get_stats(const struct revocations *t, struct revocations_stats *out);
size_t revocations_listed(const struct revocations *t, struct bytes authority);

/* The n-th, oldest first, NULL past the end; for listings. */
const struct revocation *revocations_at(const struct revocations *t, size_t n);

#endif
