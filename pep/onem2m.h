/* What a request of the oneM2M binding asks (TS-0001 8.1, TS-0008), whatever
 * numbering its options came in. Slices are borrowed, as those of struct
 * request. */
#ifndef POSTERN_ONEM2M_H
#define POSTERN_ONEM2M_H

#include "../policy/bytes.h"

/* As in the `op` parameter (TS-0004 6.3.4.2.5), and DISCOVERY, which is a
 * RETRIEVE with fu=1. */
enum m2m_operation {
    M2M_NONE = 0,
    M2M_CREATE = 1,
    M2M_RETRIEVE = 2,
    M2M_UPDATE = 3,
    M2M_DELETE = 4,
    M2M_NOTIFY = 5,
    M2M_DISCOVERY = 6,
};

/* Its bit in acop (TS-0001 table 9.6.2.3-1). */
#define M2M_ACOP(operation) (1u << ((operation)-1))

enum m2m_limits {
    M2M_IDS_MAX = 16,   /* of each list in a request */
    M2M_TOKENS_MAX = 4, /* tokens that come in one request */
    M2M_ID_MAX = 255,   /* bytes of an identifier */
};

/* Response status codes (TS-0004 6.6.3): what is looked for in answers of CSEs, and
 * of what is answered here. */
enum m2m_rsc {
    M2M_CREATED = 2001,
    M2M_DELETED = 2002,
    M2M_BAD_REQUEST = 4000,
    M2M_NOT_FOUND = 4004,
    M2M_NOT_ALLOWED = 4005,
    M2M_REQUEST_TIMEOUT = 4008,
    M2M_MEDIA_TYPE = 4015,
    M2M_CONTENTS_UNACCEPTABLE = 4102,
    M2M_NO_PRIVILEGE = 4103,
    M2M_CONFLICT = 4105,
    M2M_NOT_AUTHENTICATED = 4106,
    M2M_ASSOCIATION_REQUIRED = 4107,
    M2M_APP_RULE_FAILED = 4126,
    M2M_INTERNAL_ERROR = 5000,
    M2M_TARGET_NOT_REACHABLE = 5103,
};

enum m2m_type { M2M_TYPE_AE = 2, M2M_TYPE_CONTAINER = 3 };

struct m2m_request {
    enum m2m_operation operation;
    int type;            /* TY, -1: none */
    bool has_originator; /* FR was there; it may be empty */
    struct bytes originator, rqi, rvi;
    enum { M2M_CSE_RELATIVE, M2M_SP_RELATIVE, M2M_ABSOLUTE } address;
    /* Without the device's prefix, joined by '/'. Of this CSE it is CSE-
     * relative, whatever form it came in; of another what follows `~` or `_`. */
    struct bytes to;
    /* Segments (bit i) of the request's path that only a rule's own word
     * names, neither `*` nor `**` (policy_question.named). */
    uint32_t named;
    /* It would get what is below its target, too (policy_question.below). */
    bool below;
    struct bytes rids[M2M_IDS_MAX], tids[M2M_IDS_MAX], ltids[M2M_IDS_MAX];
    size_t n_rids, n_tids, n_ltids;
    struct bytes tkns[M2M_TOKENS_MAX]; /* whole, joined from their options */
    size_t n_tkns;
    bool wants_dynamic; /* tqi=1 */
    int64_t expires_s;  /* RQET, INT64_MAX: none */
};

#endif
