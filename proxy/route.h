/* Which device a request is for. A Uri-Host that names a device decides
 * alone (compared without case, RFC 7252 6.3); any other is the gateway's own
 * name. Else the longest path prefix, segment by segment: the cost grows with
 * the depth of the prefixes, not with the number of devices. */
#ifndef POSTERN_ROUTE_H
#define POSTERN_ROUTE_H

#include "../policy/siphash.h"
#include "upstream.h"

struct routes;

/* Borrows the devices. Two with the same host or prefix: NULL, and `diag`. */
MUST_USE struct routes *routes_new(const struct device_config *devices, size_t n,
                                   const struct siphash_key *seed, struct buf *diag);
void routes_free(struct routes *r); /* NULL is fine */

/* The device's index or -1; *strip is how many segments are its prefix. */
int routes_find(const struct routes *r, struct bytes uri_host, const struct bytes *path,
                size_t n_path, size_t *strip);

#endif
