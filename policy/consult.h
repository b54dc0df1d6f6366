/* Who else has a word in a request, beyond the rules and the tokens: decision
 * points (oneM2M's distributed authorization, TS-0003 7.5), and authorities
 * that are asked for a permission which a client lacks (dynamic authorization,
 * TS-0003 7.3). What the policy file says of them, as plain data; the asking is
 * pep's. */
#ifndef POSTERN_CONSULT_H
#define POSTERN_CONSULT_H

#include "endpoint.h"

enum policy_consult_limits {
    POLICY_POINTS_MAX = 8,       /* decision points; a request may wait for each in turn */
    POLICY_DYNAMIC_MAX = 8,      /* authorities with dynamic-authorization */
    POLICY_ASK_TIMEOUT_S = 5,    /* unless told; the client of ours waits */
    POLICY_ASK_TIMEOUT_MAX = 15, /* beyond, a client has given up (AUTHORITY_WAIT_MS) */
};

/* How a decision point's word and the policy's own go together. */
enum policy_combine {
    POLICY_DENY_OVERRIDES = 0, /* asked about what the policy permits; both must permit */
    POLICY_LOCAL_FIRST = 1,    /* asked where no rule of the policy says anything */
};

struct policy_point {
    const char *name;
    struct policy_endpoint endpoint; /* its <authorizationDecision> resource */
    enum policy_combine combine;
    uint32_t cache_s; /* a decision is kept so long at most; 0: not at all */
    unsigned line;
};

/* An authority's `dynamic-authorization`. */
struct policy_dynamic {
    const char *tell;           /* URI for clients that want to ask (tqi); NULL: none */
    struct policy_endpoint ask; /* where we ask; url NULL: not at all */
    uint32_t lifetime_s;        /* what it permits holds so long at most */
};

/* By bits: of decision points, and of authorities with dynamic-authorization,
 * whose numbers are in `authority`. */
struct policy_consult {
    uint32_t points, dynamic;
    const uint16_t *authority;
    /* A point may deny this path, or something below it: it cannot be asked about
     * all of that at once. */
    bool denies_here, denies_below;
};

#endif
