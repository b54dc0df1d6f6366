#include "json_doc.h"

#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* jansson copies what it reads into buffers of its own and frees them as they
 * are. Set before main(), when there is one thread. */
static void wipe_and_free(void *p)
{
    if (p)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

__attribute__((constructor)) static void wipe_what_jansson_frees(void)
{
    json_set_alloc_funcs(malloc, wipe_and_free);
}

/* Before jansson recurses or allocates: how deep, and how many. Counts each
 * value once or more often, never less. What is not JSON, it will say. */
static bool within_caps(struct bytes text)
{
    size_t depth = 0, nodes = 1;
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
            continue;
        }
        if (c == '"')
            quoted = true;
        else if ((c == '{' || c == '[') && ++depth > JSON_DOC_DEPTH_MAX)
            return false;
        else if ((c == '}' || c == ']') && depth)
            depth--;
        if ((c == '{' || c == '[' || c == ',') && ++nodes > JSON_DOC_NODES_MAX)
            return false;
    }
    return true;
}

static const json_t *of(const struct json_node *n)
{
    return (const json_t *)n;
}

static const struct json_node *as(const json_t *j)
{
    return (const struct json_node *)j;
}

struct json_node *json_doc_read(struct bytes text)
{
    json_error_t why;
    if (text.n == 0 || text.n > JSON_DOC_MAX || !within_caps(text))
        return NULL;
    return (struct json_node *)json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES,
                                          &why);
}

void json_doc_free(struct json_node *doc)
{
    json_decref((json_t *)doc);
}

enum json_node_kind json_node_kind(const struct json_node *n)
{
    if (!n)
        return JSON_NODE_NONE;
    switch (json_typeof(of(n))) {
    case JSON_OBJECT:
        return JSON_NODE_OBJECT;
    case JSON_ARRAY:
        return JSON_NODE_ARRAY;
    case JSON_STRING:
        return JSON_NODE_TEXT;
    case JSON_INTEGER:
        return JSON_NODE_INT;
    case JSON_REAL:
        return JSON_NODE_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_NODE_BOOL;
    case JSON_NULL:
        return JSON_NODE_NULL;
    }
    return JSON_NODE_NONE;
}

const struct json_node *json_node_get(const struct json_node *object, const char *name)
{
    return as(json_object_get(of(object), name));
}

size_t json_node_count(const struct json_node *n)
{
    return json_node_kind(n) == JSON_NODE_OBJECT ? json_object_size(of(n)) : json_array_size(of(n));
}

const struct json_node *json_node_at(const struct json_node *array, size_t i)
{
    return as(json_array_get(of(array), i));
}

bool json_node_text(const struct json_node *n, struct bytes *out)
{
    if (json_node_kind(n) != JSON_NODE_TEXT)
        return false;
    *out = bytes_of(json_string_value(of(n)), json_string_length(of(n)));
    return true;
}

bool json_node_int(const struct json_node *n, int64_t *out)
{
    if (json_node_kind(n) != JSON_NODE_INT)
        return false;
    *out = json_integer_value(of(n));
    return true;
}

bool json_node_number(const struct json_node *n, double *out)
{
    enum json_node_kind k = json_node_kind(n);
    if (k != JSON_NODE_INT && k != JSON_NODE_REAL)
        return false;
    *out = json_number_value(of(n));
    return true;
}

bool json_node_bool(const struct json_node *n, bool *out)
{
    if (json_node_kind(n) != JSON_NODE_BOOL)
        return false;
    *out = json_is_true(of(n));
    return true;
}

void json_node_put(const struct json_node *n, struct buf *out)
{
    size_t room = out->full ? 0 : out->cap - out->n;
    size_t need = json_dumpb(of(n), (char *)out->p + out->n, room, JSON_COMPACT);
    if (need == 0)
        out->full = true; /* no array, no object, or no memory */
    else
        (void)buf_reserve(out, need);
}
