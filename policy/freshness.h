/* How an authority's tokens are known to be fresh without a clock, as the
 * policy file says it: an authority's `cnonce`, `exi` and `sequence`. */
#ifndef POSTERN_FRESHNESS_H
#define POSTERN_FRESHNESS_H

#include "bytes.h"

/* How a sequence number stands behind the identifier in a cti: no text pins
 * it down (RFC 9200 5.10.3 says "binary representation of the concatenation"). */
enum policy_numeral {
    POLICY_DECIMAL = 0, /* ASCII digits, without leading zeros */
    POLICY_BINARY = 1,  /* one to eight bytes in network order */
};

enum { POLICY_SEQUENCE_RANGE = 32 };

struct policy_freshness {
    bool cnonce; /* a token must carry a fresh cnonce of ours (RFC 9200 5.3.1) */
    /* exi: our identifier at the authority; NULL: tokens with exi are refused */
    const char *exi_id;
    enum policy_numeral exi_numeral;
    /* ace-07 5.7.2: every token carries a number; NULL: they do not */
    const char *sequence_id; /* may be empty */
    enum policy_numeral sequence_numeral;
    uint32_t sequence_range; /* numbers this far below the highest still count */
    /* Whom an introspection answer without aud is for; NULL: nobody. */
    const char *audience;
};

#endif
