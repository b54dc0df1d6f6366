/* One JSON document from outside (RFC 8259), read whole and strictly: tokens,
 * keys, answers of authorization servers. The one user of jansson. (What the
 * daemon writes on its control socket is proxy/json.h, another thing.)
 *
 * Refused: duplicate names, also when one is written with escapes (RFC 7519
 * 4 leaves the choice; two readers must not choose differently), bytes behind
 * the document, what is not UTF-8, U+0000, numbers beyond int64 or a double,
 * a top level that is no object or array, depth and counts beyond the caps.
 *
 * Nodes and their texts live as long as the document. What it held in memory
 * is wiped when it is freed: tokens carry secrets.
 */
#ifndef POSTERN_JSON_DOC_H
#define POSTERN_JSON_DOC_H

#include "../policy/bytes.h"

enum json_doc_limits {
    JSON_DOC_MAX = 65536,    /* bytes; a key set, at most */
    JSON_DOC_DEPTH_MAX = 12, /* a JWK in a set in an answer needs 5 */
    JSON_DOC_NODES_MAX = 8192,
};

struct json_node; /* opaque; a document is its topmost node */

enum json_node_kind {
    JSON_NODE_NONE = 0, /* of a NULL node too */
    JSON_NODE_NULL,
    JSON_NODE_BOOL,
    JSON_NODE_INT,
    JSON_NODE_REAL,
    JSON_NODE_TEXT,
    JSON_NODE_ARRAY,
    JSON_NODE_OBJECT,
};

/* NULL: not strict JSON, too large, or no memory. */
MUST_USE struct json_node *json_doc_read(struct bytes text);
void json_doc_free(struct json_node *doc); /* NULL is fine */

/* All take NULL for a node that is not there. */
enum json_node_kind json_node_kind(const struct json_node *n);
const struct json_node *json_node_get(const struct json_node *object, const char *name);
size_t json_node_count(const struct json_node *array_or_object);
const struct json_node *json_node_at(const struct json_node *array, size_t i);
/* False, and *out as it was, when it is of another kind. */
MUST_USE bool json_node_text(const struct json_node *n, struct bytes *out);
MUST_USE bool json_node_int(const struct json_node *n, int64_t *out);
MUST_USE bool json_node_number(const struct json_node *n, double *out); /* whole ones too */
MUST_USE bool json_node_bool(const struct json_node *n, bool *out);
/* Appends an array or object as text, without blanks. */
void json_node_put(const struct json_node *n, struct buf *out);

#endif
