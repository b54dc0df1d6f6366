/* The inside of the YAML reader; for yaml*.c alone. yaml.c makes nodes of a
 * text, yaml_read.c asks them, yaml_report.c has the messages. */
#ifndef POSTERN_YAML_INSIDE_H
#define POSTERN_YAML_INSIDE_H

#include "yaml.h"

enum yaml_kind { SCALAR, SEQUENCE, MAPPING };

struct yaml_node {
    struct yaml_node *next;
    union {
        struct yaml_node *first; /* a mapping's children: key, value, key, ... */
        const uint8_t *text;
    };
    uint32_t n; /* children, or bytes of text */
    uint32_t pos;
    uint8_t kind;
    bool quoted;
};

struct yaml {
    const char *name;
    struct bytes text;
    struct buf *diag;
    struct arena arena;
    struct yaml_node *root;
    uint32_t *lines; /* where each begins */
    size_t n_lines, n_nodes;
    size_t n_errors, n_dropped;
    size_t tail, tail_end; /* of "N more errors" in diag */
};

/* Complains about a place in the text. */
void yaml_complain(struct yaml *y, size_t pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The lines of y->text; false: out of memory. */
MUST_USE bool yaml_index_lines(struct yaml *y);
bool yaml_is_break(uint8_t c);
/* How much of s a message shows: whole code points. */
int yaml_shown(struct bytes s);

/* For "%.*s". */
#define TEXT(s) yaml_shown(s), (const char *)(s).p

#endif
