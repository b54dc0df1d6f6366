/* The little JSON that the daemon speaks on its control socket: written into
 * a buffer, and read where it is one flat object of strings and whole
 * numbers. Nothing is allocated. */
#ifndef POSTERN_JSON_H
#define POSTERN_JSON_H

#include "../policy/bytes.h"

/* A quoted string; what is not UTF-8 becomes U+FFFD. */
void json_put_string(struct buf *out, struct bytes s);
void json_put_u64(struct buf *out, uint64_t n);
/* `"key":value`, with a comma before it unless it comes first in its object
 * or array. */
void json_put_key(struct buf *out, const char *key);
void json_member(struct buf *out, const char *key, const char *value); /* NULL: null */
void json_member_u64(struct buf *out, const char *key, uint64_t value);
void json_member_bool(struct buf *out, const char *key, bool value);

struct json_field {
    struct bytes key, text; /* text of a string; of a number, its digits */
    bool is_number;
    uint64_t number;
};

/* Reads one flat object. Refused: nesting, escapes, duplicate keys, more
 * fields than `max`, anything behind the object. */
MUST_USE bool json_read_flat(struct bytes text, struct json_field *out, size_t max, size_t *n);

#endif
