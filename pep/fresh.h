/* Freshness without a clock or a line: what must be remembered of tokens with
 * `exi` (RFC 9200 5.10.3), of tokens with sequence numbers (ace-07 5.7.2), and
 * the nonces that we hand out (RFC 9200 5.3.1), which need no memory.
 *
 * It is kept by the name of the authority, so that it outlives a policy and
 * an authority that comes back; in the store, so that it outlives kill -9.
 * A note that cannot be made to last is an error: its token is refused.
 */
#ifndef POSTERN_FRESH_H
#define POSTERN_FRESH_H

#include "../policy/freshness.h"
#include "err.h"
#include "store.h"

struct fresh;

enum fresh_limits {
    FRESH_EXI_MAX = 1024,        /* tokens with exi that count at the same time */
    FRESH_AUTHORITIES_MAX = 256, /* that ever had a number here */
    FRESH_CNONCE = 13,           /* bytes of a nonce: 5 of time, 8 of a MAC */
    /* From a hint to the token made with it: a person may have to log in. */
    FRESH_CNONCE_S = 300,
};

/* `key`: 32 bytes for nonces, or NULL: some of its own. */
MUST_USE struct fresh *fresh_new(const uint8_t *key);
void fresh_free(struct fresh *f); /* wipes; NULL is fine */
/* Takes in what the store kept. Tokens with exi whose time was counted by a
 * clock that was not set (before build_s) are over: nobody can tell how long
 * the gateway was down. False: not all could be read, or made room for. */
MUST_USE bool fresh_load(struct fresh *f, struct store *s, int64_t build_s);

/* What another's store was told (STORE_FRESH). The reading that grants less
 * holds: the earlier first sight, the higher number. */
void fresh_take_change(struct fresh *f, const struct store_op *op);

/* The number in a cti: `id`, then the number and nothing else. */
MUST_USE bool fresh_number(struct bytes cti, const char *id, enum policy_numeral n, uint64_t *out);

/* Whether a token with exi counts now; *ends_s: when it will no longer. A
 * number that is new here counts from now on. PEP_EXPIRED, PEP_FULL. */
MUST_USE enum pep_err fresh_judge_exi(const struct fresh *f, const char *authority, uint64_t number,
                                      int64_t exi_s, int64_t now_s, int64_t *ends_s);
/* The token was first verified now; nothing if it is known. PEP_STORE. */
MUST_USE enum pep_err fresh_note_exi(struct fresh *f, struct store *s, const char *authority,
                                     uint64_t number, int64_t exi_s, int64_t now_s);
/* Whether a token with this number is in range. PEP_EXPIRED, PEP_FULL. */
MUST_USE enum pep_err fresh_judge_sequence(const struct fresh *f, const char *authority,
                                           uint64_t number, uint32_t range);
/* *raised: older ones may be out of range now. PEP_STORE. */
MUST_USE enum pep_err fresh_note_sequence(struct fresh *f, struct store *s, const char *authority,
                                          uint64_t number, bool *raised);

/* Forgets what has expired and remembers how far that went. True: numbers of
 * tokens that still counted may be among those that are over now. */
bool fresh_expire(struct fresh *f, struct store *s, int64_t now_s);
/* When fresh_expire() has something to do; INT64_MAX: never. */
int64_t fresh_next(const struct fresh *f);

/* A nonce of this second. False: no memory. */
MUST_USE bool fresh_cnonce(const struct fresh *f, int64_t now_s, uint8_t out[FRESH_CNONCE]);
/* Ours, and of the last FRESH_CNONCE_S seconds; as bytes or, from JSON, as
 * base64url. */
bool fresh_cnonce_is(const struct fresh *f, struct bytes cnonce, int64_t now_s);

#endif
