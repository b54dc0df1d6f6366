/* A strict reader for our two YAML files, the only user of libfyaml.
 *
 * yaml_load() reads the whole text into nodes. Everything that the files have
 * no use for is refused there: anchors, aliases, tags, several documents,
 * keys that are not text, duplicate keys, control characters, and too much of
 * anything. What is left is asked for by name and type.
 *
 * Every complaint goes to the caller's `diag` in compiler style:
 *
 *     policy.yaml:7:5: error: unknown key 'permits'; did you mean 'permit'?
 *         permits:
 *         ^
 *
 * Readers go on after an error, so that an operator sees several at once; the
 * end is judged by yaml_ok(). A node may be NULL wherever one is taken: it was
 * missing, that was reported, and the call fails quietly. Messages past
 * YAML_ERRORS_MAX, or past the room in `diag`, are counted in a last line.
 *
 * The document borrows `name` and `text`. Nodes and yaml_raw() live as long as
 * the document; what yaml_text() hands out lives in the arena it was given.
 */
#ifndef POSTERN_YAML_H
#define POSTERN_YAML_H

#include "arena.h"

enum yaml_limits {
    YAML_TEXT_MAX = 64 << 20,  /* bytes; a rule takes about a hundred */
    YAML_DEPTH_MAX = 16,       /* our files need 7 */
    YAML_NODES_MAX = 16 << 20, /* bounds the memory that a text can ask for */
    YAML_SCALAR_MAX = 4096,    /* bytes of one value: a path name fits */
    YAML_KEYS_MAX = 32,        /* different keys that one mapping can be asked for */
    YAML_ERRORS_MAX = 20,      /* shown; the rest is counted */
};

struct yaml;
struct yaml_node;

/* NULL if the text is not YAML as above, or memory ran out: `diag` says it. */
MUST_USE struct yaml *yaml_load(const char *name, struct bytes text, struct buf *diag);
void yaml_free(struct yaml *y); /* NULL is fine */

/* False once anything was reported. */
bool yaml_ok(const struct yaml *y);
const struct yaml_node *yaml_root(const struct yaml *y);
unsigned yaml_line(const struct yaml *y, const struct yaml_node *n); /* from 1 */

/* Where a node stands, for a complaint when the document is gone:
 * "NAME:LINE:COLUMN", and the line with a caret under it. */
void yaml_place(struct yaml *y, const struct yaml_node *n, struct arena *a, const char **where,
                const char **excerpt);

/* Complains about a node; for what only the caller can see. */
void yaml_error(struct yaml *y, const struct yaml_node *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* True when further messages are only counted: then none needs much work. */
bool yaml_is_full(const struct yaml *y);

/* ---- mappings ---- */

struct yaml_map {
    struct yaml *y;
    const struct yaml_node *node, *at;
    size_t left;
    const char *known[YAML_KEYS_MAX]; /* asked for; the rest is unknown */
    size_t n_known;
};

/* False, reported: not a mapping. The map is then empty and safe to ask. */
bool yaml_map_open(struct yaml *y, const struct yaml_node *n, struct yaml_map *out);
const struct yaml_node *yaml_map_get(struct yaml_map *m, const char *key);  /* or NULL */
const struct yaml_node *yaml_map_need(struct yaml_map *m, const char *key); /* NULL: reported */
/* A key that is kept for what is not honoured here: reported by name when it
 * is there. */
void yaml_map_refuse(struct yaml_map *m, const char *key);
/* Every key that was not asked for is reported. Call once, after the asking. */
void yaml_map_close(struct yaml_map *m);
/* For mappings whose keys are names: one entry after another, instead of
 * get and close. `key` is a node too, for yaml_text() and yaml_error(). */
bool yaml_map_next(struct yaml_map *m, const struct yaml_node **key,
                   const struct yaml_node **value);

/* ---- sequences ---- */

struct yaml_seq {
    const struct yaml_node *at;
    size_t left; /* how many come */
};

/* False, reported: not a sequence. */
bool yaml_seq_open(struct yaml *y, const struct yaml_node *n, struct yaml_seq *out);
/* A single scalar or mapping counts as a sequence of one. */
bool yaml_seq_open_or_one(struct yaml *y, const struct yaml_node *n, struct yaml_seq *out);
const struct yaml_node *yaml_seq_next(struct yaml_seq *s); /* NULL: the end */

/* ---- scalars; false: reported ---- */

/* Not empty, no control characters; null, true and false need quotes. */
bool yaml_text(struct yaml *y, const struct yaml_node *n, struct arena *a, const char **out);
/* Decimal, not quoted, within min and max. */
bool yaml_int(struct yaml *y, const struct yaml_node *n, int64_t min, int64_t max, int64_t *out);
/* true, false, yes, no. */
bool yaml_bool(struct yaml *y, const struct yaml_node *n, bool *out);
/* One of the words; its index. */
bool yaml_enum(struct yaml *y, const struct yaml_node *n, const char *const *words, size_t n_words,
               int *out);

/* The text without checks or copy, for own parsing; BYTES_NONE: no scalar.
 * Ends with a NUL that is not counted. */
struct bytes yaml_raw(const struct yaml_node *n);
bool yaml_is_map(const struct yaml_node *n);
bool yaml_is_seq(const struct yaml_node *n);
bool yaml_is_scalar(const struct yaml_node *n);

/* How far `a` is from `b` in typing errors; UINT_MAX: too far to be meant. */
unsigned yaml_distance(struct bytes a, struct bytes b);

#endif
