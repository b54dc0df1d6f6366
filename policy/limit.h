/* What a permit says of how much: how often, how large, of which formats.
 *
 * Size and format are judged with the request, as conditions are. A rate is
 * only named by the verdict: counting takes a clock and a memory, which are
 * not of this layer. Its id is the same in every policy that says the same,
 * so that whoever counts may go on over a reload.
 *
 * Pure; texts are of our own files, never from the wire.
 */
#ifndef POSTERN_LIMIT_H
#define POSTERN_LIMIT_H

#include "bytes.h"

enum policy_limit_limits {
    POLICY_RATE_COUNT_MAX = 1000000,              /* a microsecond between two, in one second */
    POLICY_ROLE_RATES_MAX = 4,                    /* roles with a rate on one way of includes */
    POLICY_RATES_MAX = POLICY_ROLE_RATES_MAX + 2, /* of one permission: its rule's, its roles',
                                                     its subject's */
    POLICY_OFFERS_MAX = 8, /* ways that permit one request, each at a rate; more are not looked at,
                              which permits less */
    POLICY_FORMATS_MAX = 64, /* of one rule */
    POLICY_TYPES_MAX = 128,  /* of one rule: there are fewer */
};

/* So many requests in so many seconds: up to `count` at once, then one each
 * per_s / count seconds. */
struct policy_rate {
    uint64_t id;
    uint32_t count; /* 0: no rate */
    uint32_t per_s;
    bool whole;       /* one count for all; else one for each client */
    const char *of;   /* "rule", "role", "scope", "subject", "device" */
    const char *name; /* whose; NULL: a rule's */
    unsigned line;
};

/* "10/min". NULL, or what is wrong with the text. */
MUST_USE const char *policy_rate_parse(struct bytes text, struct policy_rate *out);
/* Names the limit: whose it is, what else tells it from others, and its
 * numbers. */
void policy_rate_name(struct policy_rate *r, const char *of, struct bytes name,
                      struct bytes content);
void policy_rate_put(const struct policy_rate *r, struct buf *out);

/* How much one rule permits. */
struct rule_limits {
    struct policy_rate rate;
    bool sized;
    uint32_t max_payload;
    const uint16_t *formats; /* n_formats 0: any */
    size_t n_formats;
    /* oneM2M resource types that a CREATE may be of; n_types 0: any. Other
     * operations have none to judge. */
    const uint16_t *types;
    size_t n_types;
};

/* A CoAP Content-Format by number or by the name of its media type, as it is
 * registered (IANA, RFC 7252 12.3). NULL, or what is wrong with the text. */
MUST_USE const char *policy_format_parse(struct bytes text, uint16_t *out);

#endif
