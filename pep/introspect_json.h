/* Answers in JSON (RFC 7662 2.2), plain or as a signed JWT (RFC 9701). For
 * introspect.c alone. */
#ifndef POSTERN_INTROSPECT_JSON_H
#define POSTERN_INTROSPECT_JSON_H

#include "introspect.h"

void introspect_read_json(const struct introspect_about *a, const struct pep_reply *r,
                          struct buf *storage, struct introspection *out);

#endif
