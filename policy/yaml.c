#include "yaml.h"

#include <libfyaml.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum kind { SCALAR, SEQUENCE, MAPPING };

enum {
    EXCERPT = 120,  /* bytes of a line that are shown */
    SHOWN = 64,     /* bytes of a value that are shown in a message */
    TAIL_ROOM = 40, /* for "N more errors" */
    SMALL_MAP = 16, /* up to here duplicate keys are sought pairwise */
};

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

/* ---- positions and messages ---- */

/* Bytes of the code point at p, 0: not UTF-8 (RFC 3629 4). */
static size_t utf8_step(const uint8_t *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

/* How much of s a message shows: whole code points. */
static int shown(struct bytes s)
{
    if (s.n <= SHOWN)
        return (int)s.n;
    int n = SHOWN;
    while (n > 0 && (s.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

#define TEXT(s) shown(s), (const char *)(s).p

static size_t line_at(const struct yaml *y, size_t pos)
{
    size_t lo = 0, hi = y->n_lines;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (y->lines[mid] <= pos)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static bool is_break(uint8_t c)
{
    return c == '\n' || c == '\r';
}

static bool index_lines(struct yaml *y)
{
    const uint8_t *p = y->text.p;
    size_t n = 1;
    for (size_t i = 0; i < y->text.n; i++)
        n += is_break(p[i]);
    y->lines = malloc(n * sizeof *y->lines);
    if (!y->lines)
        return false;
    y->lines[0] = 0;
    y->n_lines = 1;
    for (size_t i = 0; i < y->text.n; i++)
        if (p[i] == '\n' || (p[i] == '\r' && (i + 1 == y->text.n || p[i + 1] != '\n')))
            y->lines[y->n_lines++] = (uint32_t)(i + 1);
    return true;
}

/* The line and a caret under pos, both cut to a window when they are long. */
static void put_excerpt(struct yaml *y, size_t pos)
{
    size_t start = y->lines[line_at(y, pos)], end = start;
    while (end < y->text.n && !is_break(y->text.p[end]))
        end++;
    if (pos > end)
        pos = end;
    if (pos - start > EXCERPT / 2)
        start = pos - EXCERPT / 2;
    while (start < pos && (y->text.p[start] & 0xc0) == 0x80)
        start++;
    if (end - start > EXCERPT)
        end = start + EXCERPT;
    uint8_t pad[EXCERPT + 1];
    size_t n_pad = 0;
    for (size_t i = start; i < end;) {
        size_t step = utf8_step(y->text.p + i, end - i);
        uint8_t c = y->text.p[i];
        bool clean = step && (c >= 0x20 || c == '\t') && c != 0x7f;
        if (i < pos && n_pad < sizeof pad)
            pad[n_pad++] = c == '\t' ? '\t' : ' ';
        buf_put(y->diag, clean ? bytes_of(y->text.p + i, step) : BYTES_LIT("?"));
        i += clean ? step : 1;
    }
    buf_put_u8(y->diag, '\n');
    buf_put(y->diag, bytes_of(pad, n_pad));
    buf_put_str(y->diag, "^\n");
}

static void drop_error(struct yaml *y)
{
    char text[TAIL_ROOM];
    y->n_dropped++;
    if (y->n_dropped > 1 && y->diag->n == y->tail_end)
        y->diag->n = y->tail;
    y->tail = y->diag->n;
    int n = snprintf(text, sizeof text, "%zu more error%s\n", y->n_dropped,
                     y->n_dropped == 1 ? "" : "s");
    if ((size_t)n <= y->diag->cap - y->diag->n)
        buf_put(y->diag, bytes_of(text, (size_t)n));
    y->tail_end = y->diag->n;
}

static void __attribute__((format(printf, 3, 0)))
error_at(struct yaml *y, size_t pos, const char *fmt, va_list ap)
{
    y->n_errors++;
    if (!y->diag || y->diag->full)
        return;
    size_t was = y->diag->n;
    if (y->n_errors > YAML_ERRORS_MAX || y->n_dropped || y->diag->cap - was < TAIL_ROOM) {
        drop_error(y);
        return;
    }
    y->diag->cap -= TAIL_ROOM;
    char text[512], where[48];
    size_t column = 1, line = 0;
    if (y->lines) {
        line = line_at(y, pos);
        for (size_t i = y->lines[line]; i < pos && i < y->text.n; i++)
            column += (y->text.p[i] & 0xc0) != 0x80;
    }
    vsnprintf(text, sizeof text, fmt, ap);
    snprintf(where, sizeof where, ":%zu:%zu: error: ", line + 1, column);
    buf_put_str(y->diag, y->name);
    buf_put_str(y->diag, where);
    buf_put_str(y->diag, text);
    buf_put_u8(y->diag, '\n');
    if (y->lines)
        put_excerpt(y, pos);
    y->diag->cap += TAIL_ROOM;
    if (y->diag->full) { /* half a message is none */
        y->diag->full = false;
        y->diag->n = was;
        drop_error(y);
    }
}

static void __attribute__((format(printf, 3, 4)))
complain(struct yaml *y, size_t pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_at(y, pos, fmt, ap);
    va_end(ap);
}

void yaml_error(struct yaml *y, const struct yaml_node *n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_at(y, n ? n->pos : 0, fmt, ap);
    va_end(ap);
}

bool yaml_ok(const struct yaml *y)
{
    return y->n_errors == 0;
}

bool yaml_is_full(const struct yaml *y)
{
    return y->n_errors >= YAML_ERRORS_MAX || y->n_dropped;
}

const struct yaml_node *yaml_root(const struct yaml *y)
{
    return y->root;
}

unsigned yaml_line(const struct yaml *y, const struct yaml_node *n)
{
    return n ? (unsigned)line_at(y, n->pos) + 1 : 0;
}

unsigned yaml_distance(struct bytes a, struct bytes b)
{
    /* Optimal string alignment: insert, delete, change, swap neighbours. A
     * third of the word may be wrong. */
    unsigned row[3][SHOWN + 1];
    size_t longer = a.n > b.n ? a.n : b.n;
    if (longer > SHOWN || longer == 0)
        return UINT_MAX;
    for (size_t j = 0; j <= b.n; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            unsigned best = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    unsigned d = row[a.n % 3][b.n];
    return d <= (longer + 1) / 3 ? d : UINT_MAX;
}

static const char *nearest(struct bytes word, const char *const *words, size_t n)
{
    const char *best = NULL;
    unsigned best_d = UINT_MAX;
    for (size_t i = 0; i < n; i++) {
        unsigned d = yaml_distance(word, bytes_str(words[i]));
        if (d < best_d) {
            best = words[i];
            best_d = d;
        }
    }
    return best;
}

/* ---- from text to nodes ---- */

static bool check_text(struct yaml *y)
{
    if (y->text.n > YAML_TEXT_MAX) {
        y->text.n = 0; /* no line of it is shown */
        complain(y, 0, "larger than %d MiB", YAML_TEXT_MAX >> 20);
        return false;
    }
    if (y->text.n >= 3 && memcmp(y->text.p, "\xef\xbb\xbf", 3) == 0)
        y->text = bytes_of(y->text.p + 3, y->text.n - 3); /* byte order mark */
    if (!index_lines(y)) {
        complain(y, 0, "out of memory");
        return false;
    }
    const uint8_t *p = y->text.p;
    for (size_t i = 0; i < y->text.n;) {
        size_t step = utf8_step(p + i, y->text.n - i);
        if (!step) {
            complain(y, i, "not UTF-8");
            return false;
        }
        if ((p[i] < 0x20 && p[i] != '\t' && !is_break(p[i])) || p[i] == 0x7f) {
            complain(y, i, "control character 0x%02x", p[i]);
            return false;
        }
        i += step;
    }
    return true;
}

static int by_text(const void *a, const void *b)
{
    const struct yaml_node *x = *(const struct yaml_node *const *)a;
    const struct yaml_node *z = *(const struct yaml_node *const *)b;
    uint32_t n = x->n < z->n ? x->n : z->n;
    int c = n ? memcmp(x->text, z->text, n) : 0;
    if (c)
        return c;
    if (x->n != z->n)
        return x->n < z->n ? -1 : 1;
    return x->pos < z->pos ? -1 : x->pos > z->pos;
}

static void duplicate(struct yaml *y, const struct yaml_node *key, const struct yaml_node *older)
{
    complain(y, key->pos, "duplicate key '%.*s'; it is already on line %u", TEXT(yaml_raw(key)),
             yaml_line(y, older));
}

static bool same_text(const struct yaml_node *a, const struct yaml_node *b)
{
    return bytes_equal(yaml_raw(a), yaml_raw(b));
}

static bool check_keys(struct yaml *y, const struct yaml_node *map)
{
    if (map->n / 2 <= SMALL_MAP) {
        for (const struct yaml_node *a = map->first; a; a = a->next->next)
            for (const struct yaml_node *b = map->first; b != a; b = b->next->next)
                if (same_text(a, b)) {
                    duplicate(y, a, b);
                    break;
                }
        return true;
    }
    const struct yaml_node **keys = malloc(map->n / 2 * sizeof(*keys));
    if (!keys)
        return false;
    size_t n = 0;
    for (const struct yaml_node *k = map->first; k; k = k->next->next)
        keys[n++] = k;
    qsort(keys, n, sizeof(*keys), by_text);
    for (size_t i = 1; i < n; i++)
        if (same_text(keys[i], keys[i - 1]))
            duplicate(y, keys[i], keys[i - 1]);
    free(keys);
    return true;
}

static size_t event_pos(struct yaml *y, struct fy_event *e)
{
    const struct fy_mark *m = fy_event_start_mark(e);
    return m && m->input_pos <= y->text.n ? m->input_pos : y->text.n;
}

/* Where the tree is being built. */
struct builder {
    struct yaml *y;
    struct {
        struct yaml_node *node, *last;
    } open[YAML_DEPTH_MAX];
    size_t depth;
    size_t n_documents;
    bool done; /* the stream has ended well */
};

/* Hangs a new node where the text is; NULL: reported. */
static struct yaml_node *add_node(struct builder *b, enum kind kind, size_t pos)
{
    struct yaml *y = b->y;
    if (++y->n_nodes > YAML_NODES_MAX) {
        complain(y, pos, "more than %d values in one file", YAML_NODES_MAX);
        return NULL;
    }
    struct yaml_node *up = b->depth ? b->open[b->depth - 1].node : NULL;
    if (up && up->kind == MAPPING && up->n % 2 == 0 && kind != SCALAR) {
        complain(y, pos, "a key must be text");
        return NULL;
    }
    struct yaml_node *n = arena_alloc(&y->arena, sizeof *n);
    if (!n) {
        complain(y, pos, "out of memory");
        return NULL;
    }
    n->kind = (uint8_t)kind;
    n->pos = (uint32_t)pos;
    if (!up) {
        y->root = n;
        return n;
    }
    if (b->open[b->depth - 1].last)
        b->open[b->depth - 1].last->next = n;
    else
        up->first = n;
    b->open[b->depth - 1].last = n;
    up->n++;
    return n;
}

static bool add_scalar(struct builder *b, struct fy_event *e)
{
    struct yaml *y = b->y;
    size_t pos = event_pos(y, e), len = 0;
    struct fy_token *t = e->scalar.value;
    const char *s = t ? fy_token_get_text(t, &len) : "";
    if (!s) {
        complain(y, pos, "out of memory");
        return false;
    }
    if (len > YAML_SCALAR_MAX) {
        complain(y, pos, "a value longer than %d bytes", YAML_SCALAR_MAX);
        return false;
    }
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)s[i] < 0x20 || s[i] == 0x7f) {
            complain(y, pos, "a line break or other control character within a value");
            return false;
        }
    struct yaml_node *n = add_node(b, SCALAR, pos);
    if (!n)
        return false;
    n->text = (const uint8_t *)arena_text(&y->arena, bytes_of(s, len));
    n->n = (uint32_t)len;
    n->quoted = t && fy_token_scalar_style(t) != FYSS_PLAIN;
    if (!n->text)
        complain(y, pos, "out of memory");
    return n->text;
}

static bool open_node(struct builder *b, enum kind kind, size_t pos)
{
    if (b->depth == YAML_DEPTH_MAX) {
        complain(b->y, pos, "nested deeper than %d", YAML_DEPTH_MAX);
        return false;
    }
    struct yaml_node *n = add_node(b, kind, pos);
    if (!n)
        return false;
    b->open[b->depth].node = n;
    b->open[b->depth++].last = NULL;
    return true;
}

static bool close_node(struct builder *b)
{
    struct yaml_node *n = b->open[--b->depth].node;
    if (n->kind == MAPPING && !check_keys(b->y, n)) {
        complain(b->y, n->pos, "out of memory");
        return false;
    }
    return true;
}

/* What has no use in our files, and could only hide something. */
static bool check_decoration(struct yaml *y, struct fy_event *e)
{
    const char *what = NULL;
    if (e->type == FYET_ALIAS)
        what = "aliases";
    else if (fy_event_get_anchor_token(e))
        what = "anchors";
    else if (fy_event_get_tag_token(e))
        what = "tags";
    if (what)
        complain(y, event_pos(y, e), "%s are not supported; write the value out", what);
    return !what;
}

static bool take_event(struct builder *b, struct fy_event *e)
{
    struct yaml *y = b->y;
    switch (e->type) {
    case FYET_DOCUMENT_START:
        if (b->n_documents++) {
            complain(y, event_pos(y, e), "a second document; only one is read");
            return false;
        }
        return true;
    case FYET_STREAM_END:
        b->done = true;
        return true;
    case FYET_SCALAR:
        return check_decoration(y, e) && add_scalar(b, e);
    case FYET_MAPPING_START:
        return check_decoration(y, e) && open_node(b, MAPPING, event_pos(y, e));
    case FYET_SEQUENCE_START:
        return check_decoration(y, e) && open_node(b, SEQUENCE, event_pos(y, e));
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        return close_node(b);
    case FYET_ALIAS:
        return check_decoration(y, e);
    default:
        return true;
    }
}

/* Tells what libfyaml found wrong, in our form. */
static void relay(struct yaml *y, struct fy_diag *diag)
{
    void *at = NULL;
    for (struct fy_diag_error *e; (e = fy_diag_errors_iterate(diag, &at));) {
        if (e->type != FYET_ERROR || !e->msg)
            continue;
        size_t line = e->line > 0 ? (size_t)e->line - 1 : 0;
        if (line >= y->n_lines)
            line = y->n_lines - 1;
        size_t pos = y->lines[line];
        for (int i = 1; i < e->column && pos < y->text.n && !is_break(y->text.p[pos]); i++)
            pos += utf8_step(y->text.p + pos, y->text.n - pos);
        while (pos > 0 && pos == y->text.n && is_break(y->text.p[pos - 1]))
            y->text.n = --pos; /* show the last line that has something on it */
        complain(y, pos, "%s", e->msg);
        return; /* those that follow are of the first one's making */
    }
    complain(y, y->text.n, "not YAML");
}

static void discard(struct fy_diag *diag, void *user, const char *text, size_t len)
{
    (void)diag, (void)user, (void)text, (void)len;
}

static bool parse(struct yaml *y)
{
    struct builder b = {.y = y};
    struct fy_diag_cfg dc;
    struct fy_diag *diag = NULL;
    struct fy_parser *parser = NULL;
    bool ok = false;

    fy_diag_cfg_default(&dc);
    dc.fp = NULL;
    dc.output_fn = discard;
    dc.colorize = false;
    diag = fy_diag_create(&dc);
    if (!diag)
        goto out;
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg pc = {
        .search_path = "", .flags = FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE, .diag = diag};
    parser = fy_parser_create(&pc);
    if (!parser || fy_parser_set_string(parser, (const char *)y->text.p, y->text.n) != 0)
        goto out;
    for (ok = true; ok && !b.done;) {
        struct fy_event *e = fy_parser_parse(parser);
        if (!e) {
            relay(y, diag);
            ok = false;
            break;
        }
        ok = take_event(&b, e);
        fy_parser_event_free(parser, e);
    }
out:
    if (!ok && y->n_errors == 0)
        complain(y, 0, "out of memory");
    if (parser)
        fy_parser_destroy(parser);
    if (diag)
        fy_diag_destroy(diag);
    return ok;
}

struct yaml *yaml_load(const char *name, struct bytes text, struct buf *diag)
{
    struct yaml *y = calloc(1, sizeof *y);
    if (!y) {
        if (diag)
            buf_put_str(diag, "out of memory\n");
        return NULL;
    }
    y->name = name;
    y->text = text;
    y->diag = diag;
    if (check_text(y) && parse(y)) {
        if (!y->root)
            complain(y, 0, "there is nothing in this file");
        else
            return y;
    }
    yaml_free(y);
    return NULL;
}

void yaml_free(struct yaml *y)
{
    if (!y)
        return;
    arena_clear(&y->arena);
    free(y->lines);
    free(y);
}

/* ---- mappings and sequences ---- */

bool yaml_is_map(const struct yaml_node *n)
{
    return n && n->kind == MAPPING;
}

bool yaml_is_seq(const struct yaml_node *n)
{
    return n && n->kind == SEQUENCE;
}

bool yaml_is_scalar(const struct yaml_node *n)
{
    return n && n->kind == SCALAR;
}

static const char *kind_str(const struct yaml_node *n)
{
    return n->kind == MAPPING    ? "a mapping"
           : n->kind == SEQUENCE ? "a list"
           : n->n || n->quoted   ? "text"
                                 : "nothing";
}

bool yaml_map_open(struct yaml *y, const struct yaml_node *n, struct yaml_map *out)
{
    *out = (struct yaml_map){.y = y};
    if (!n)
        return false;
    if (n->kind != MAPPING) {
        yaml_error(y, n, "expected a mapping of keys to values, found %s", kind_str(n));
        return false;
    }
    out->node = n;
    out->at = n->first;
    out->left = n->n / 2;
    return true;
}

static const struct yaml_node *find(struct yaml_map *m, const char *key, bool want_key)
{
    if (!m->node)
        return NULL;
    if (m->n_known < YAML_KEYS_MAX)
        m->known[m->n_known++] = key;
    for (const struct yaml_node *k = m->node->first; k; k = k->next->next)
        if (bytes_equal_str(yaml_raw(k), key))
            return want_key ? k : k->next;
    return NULL;
}

const struct yaml_node *yaml_map_get(struct yaml_map *m, const char *key)
{
    return find(m, key, false);
}

const struct yaml_node *yaml_map_need(struct yaml_map *m, const char *key)
{
    const struct yaml_node *n = find(m, key, false);
    if (!n && m->node)
        yaml_error(m->y, m->node, "missing key '%s'", key);
    return n;
}

void yaml_map_refuse(struct yaml_map *m, const char *key)
{
    const struct yaml_node *n = find(m, key, true);
    if (n)
        yaml_error(m->y, n, "'%s' is not supported by this version", key);
}

void yaml_map_close(struct yaml_map *m)
{
    if (!m->node)
        return;
    for (const struct yaml_node *k = m->node->first; k; k = k->next->next) {
        struct bytes key = yaml_raw(k);
        bool known = false;
        for (size_t i = 0; i < m->n_known && !known; i++)
            known = bytes_equal_str(key, m->known[i]);
        if (known)
            continue;
        const char *near = nearest(key, m->known, m->n_known);
        if (near)
            yaml_error(m->y, k, "unknown key '%.*s'; did you mean '%s'?", TEXT(key), near);
        else
            yaml_error(m->y, k, "unknown key '%.*s'", TEXT(key));
    }
}

bool yaml_map_next(struct yaml_map *m, const struct yaml_node **key, const struct yaml_node **value)
{
    if (!m->left)
        return false;
    *key = m->at;
    *value = m->at->next;
    m->at = m->at->next->next;
    m->left--;
    return true;
}

bool yaml_seq_open(struct yaml *y, const struct yaml_node *n, struct yaml_seq *out)
{
    *out = (struct yaml_seq){0};
    if (!n)
        return false;
    if (n->kind != SEQUENCE) {
        yaml_error(y, n, "expected a list, found %s", kind_str(n));
        return false;
    }
    *out = (struct yaml_seq){n->first, n->n};
    return true;
}

bool yaml_seq_open_or_one(struct yaml *y, const struct yaml_node *n, struct yaml_seq *out)
{
    if (!n || n->kind == SEQUENCE)
        return yaml_seq_open(y, n, out);
    *out = (struct yaml_seq){n, 1};
    return true;
}

const struct yaml_node *yaml_seq_next(struct yaml_seq *s)
{
    if (!s->left)
        return NULL;
    const struct yaml_node *n = s->at;
    s->at = n->next;
    s->left--;
    return n;
}

/* ---- scalars ---- */

struct bytes yaml_raw(const struct yaml_node *n)
{
    return yaml_is_scalar(n) ? bytes_of(n->text, n->n) : BYTES_NONE;
}

static bool is_scalar(struct yaml *y, const struct yaml_node *n, const char *wanted)
{
    if (!n)
        return false;
    if (n->kind == SCALAR && (n->n || n->quoted))
        return true;
    yaml_error(y, n, "expected %s, found %s", wanted, kind_str(n));
    return false;
}

bool yaml_text(struct yaml *y, const struct yaml_node *n, struct arena *a, const char **out)
{
    static const char *const reserved[] = {"null", "Null", "NULL",  "~",     "true",
                                           "True", "TRUE", "false", "False", "FALSE"};
    if (!is_scalar(y, n, "text"))
        return false;
    if (n->n == 0) {
        yaml_error(y, n, "expected text, found an empty one");
        return false;
    }
    for (size_t i = 0; !n->quoted && i < sizeof reserved / sizeof *reserved; i++)
        if (bytes_equal_str(yaml_raw(n), reserved[i])) {
            yaml_error(y, n, "expected text, found %s; quote it if text is meant", reserved[i]);
            return false;
        }
    const char *s = arena_text(a, yaml_raw(n));
    if (!s) {
        yaml_error(y, n, "out of memory");
        return false;
    }
    *out = s;
    return true;
}

bool yaml_int(struct yaml *y, const struct yaml_node *n, int64_t min, int64_t max, int64_t *out)
{
    if (!is_scalar(y, n, "a number"))
        return false;
    struct bytes s = yaml_raw(n);
    size_t i = s.n && s.p[0] == '-';
    bool digits = !n->quoted && i < s.n && (s.p[i] != '0' || s.n == i + 1);
    int64_t v = 0;
    bool fits = true;
    for (; digits && i < s.n; i++) {
        digits = s.p[i] >= '0' && s.p[i] <= '9';
        int d = s.p[0] == '-' ? '0' - s.p[i] : s.p[i] - '0';
        fits = fits && !__builtin_mul_overflow(v, 10, &v) && !__builtin_add_overflow(v, d, &v);
    }
    if (!digits) {
        yaml_error(y, n, "expected a decimal number, found '%.*s'%s", TEXT(s),
                   n->quoted ? " in quotes" : "");
        return false;
    }
    if (!fits || v < min || v > max) {
        yaml_error(y, n, "%.*s is out of range; expected %lld to %lld", TEXT(s), (long long)min,
                   (long long)max);
        return false;
    }
    *out = v;
    return true;
}

bool yaml_enum(struct yaml *y, const struct yaml_node *n, const char *const *words, size_t n_words,
               int *out)
{
    char list[256];
    size_t used = 0;
    list[0] = 0;
    for (size_t i = 0; i < n_words && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s",
                                 i == 0             ? ""
                                 : i + 1 == n_words ? " or "
                                                    : ", ",
                                 words[i]);
    if (!is_scalar(y, n, list))
        return false;
    for (size_t i = 0; i < n_words; i++)
        if (bytes_equal_str(yaml_raw(n), words[i])) {
            *out = (int)i;
            return true;
        }
    yaml_error(y, n, "expected %s, found '%.*s'", list, TEXT(yaml_raw(n)));
    return false;
}

bool yaml_bool(struct yaml *y, const struct yaml_node *n, bool *out)
{
    static const char *const words[] = {"true", "yes", "false", "no"};
    int i;
    if (!is_scalar(y, n, "true or false"))
        return false;
    for (i = 0; i < 4; i++)
        if (!n->quoted && bytes_equal_str(yaml_raw(n), words[i])) {
            *out = i < 2;
            return true;
        }
    yaml_error(y, n, "expected true or false, found '%.*s'%s", TEXT(yaml_raw(n)),
               n->quoted ? " in quotes" : "");
    return false;
}
