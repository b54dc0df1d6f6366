/* What the enforcement point may know of a request. No CoAP library type:
 * all slices are borrowed from the datagram until the end of the event. */
#ifndef POSTERN_REQUEST_H
#define POSTERN_REQUEST_H

#include "../policy/bytes.h"
#include "../policy/policy.h"
#include "onem2m.h"

enum request_limits {
    REQUEST_QUERIES_MAX = 16, /* more Uri-Query options than this: 4.02 before it comes here */
};

struct request {
    uint8_t method; /* CoAP method code, 1..7 */
    /* The path in the gateway's name space, one slice an option. For a
     * device found by Uri-Host its name comes first, so that no path of one
     * device can be read as another's. Never joined, never decoded. */
    struct bytes path[POLICY_PATH_SEGMENTS_MAX];
    size_t n_path;
    struct bytes query[REQUEST_QUERIES_MAX];
    size_t n_query;
    struct bytes token; /* value of the Access-Token option, or empty */
    bool has_token;     /* the option was there (an empty one is not none) */
    /* Permitted before, and asked whether it still is (an observation): what
     * proves that a token is fresh is not asked for twice. */
    bool continued;
    struct bytes originator;       /* oneM2M FR, or empty */
    const struct m2m_request *m2m; /* NULL: of another dialect */
    /* Bytes of payload; of a block (RFC 7959), as many as the whole has at
     * least by its place and its Size1. */
    uint64_t payload_n;
    int32_t content_format;  /* -1: none */
    int device;              /* index into the devices given to pep_new(), -1: none */
    struct policy_peer peer; /* where it came from */
};

#endif
