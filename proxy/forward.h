/* The table of options: what passes, is rewritten, is stripped or is
 * refused, in both directions (RFC 7252 5.4, 5.7; RFC 8768). One row an
 * option; what is not in the table is judged by its number's bits. Pure: no
 * state, no socket. */
#ifndef POSTERN_FORWARD_H
#define POSTERN_FORWARD_H

#include "../pep/request.h"
#include "msg.h"

struct forward_config {
    uint16_t access_token; /* number of the Access-Token option */
};

/* Reads a request's options into what pep and routing need. Returns 0, or
 * the response code that refuses it: 4.02 unknown critical or unsafe, or a
 * known one with a bad length or repeated; 4.00 a block of a reserved size;
 * 5.05 Proxy-Uri, Proxy-Scheme;
 * 5.08 or 4.00 by Hop-Limit; 4.05 for a method that nobody knows. 5.08 comes
 * last, when `out` is whole: a request that is answered here may ignore it.
 * `uri_host` is empty when absent. The path is the request's own, without
 * any device's name. On refusal *why is static text for the diagnostic
 * payload. */
MUST_USE uint8_t forward_read(const struct forward_config *c, const struct msg *m,
                              struct request *out, struct bytes *uri_host, const char **why);

/* Where a device's resources stand here and there: `prefix` is its path in
 * the gateway (none when it is found by host), `base` the path of its URL. */
struct forward_map {
    const struct bytes *prefix;
    size_t n_prefix;
    const struct bytes *base;
    size_t n_base;
};

/* The request for the device: options filtered, the first map->n_prefix path
 * segments replaced by the base, Hop-Limit decremented. Type, MID and token
 * are the caller's to set. `scratch` holds rewritten values. False:
 * forward_read() would have refused it, it is not below the prefix's depth,
 * or there are too many options. */
struct forward_scratch {
    uint8_t hop_limit;
};
MUST_USE bool forward_request(const struct forward_config *c, const struct msg *in,
                              const struct forward_map *map, struct msg *out,
                              struct forward_scratch *scratch);

/* The answer for the client: options filtered, the base of a Location-Path
 * replaced by the prefix (one that is not below the base is dropped: it has
 * no name here). Returns 0, or 5.02 when the device's answer has an option
 * that we do not know and that is critical or unsafe (RFC 7252 5.7.1), or
 * does not fit. */
MUST_USE uint8_t forward_response(const struct forward_config *c, const struct msg *in,
                                  const struct forward_map *map, struct msg *out);

#endif
