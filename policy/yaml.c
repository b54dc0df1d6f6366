#include "yaml_inside.h"

#include <libfyaml.h>
#include <stdlib.h>

#include "utf8.h"

enum { SMALL_MAP = 16 }; /* up to here duplicate keys are sought pairwise */

static bool check_text(struct yaml *y)
{
    if (y->text.n > YAML_TEXT_MAX) {
        y->text.n = 0; /* no line of it is shown */
        yaml_complain(y, 0, "larger than %d MiB", YAML_TEXT_MAX >> 20);
        return false;
    }
    if (y->text.n >= 3 && memcmp(y->text.p, "\xef\xbb\xbf", 3) == 0)
        y->text = bytes_of(y->text.p + 3, y->text.n - 3); /* byte order mark */
    if (!yaml_index_lines(y)) {
        yaml_complain(y, 0, "out of memory");
        return false;
    }
    const uint8_t *p = y->text.p;
    for (size_t i = 0; i < y->text.n;) {
        size_t step = utf8_size(bytes_of(p + i, y->text.n - i));
        if (!step) {
            yaml_complain(y, i, "not UTF-8");
            return false;
        }
        if ((p[i] < 0x20 && p[i] != '\t' && !yaml_is_break(p[i])) || p[i] == 0x7f) {
            yaml_complain(y, i, "control character 0x%02x", p[i]);
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
    yaml_complain(y, key->pos, "duplicate key '%.*s'; it is already on line %u",
                  TEXT(yaml_raw(key)), yaml_line(y, older));
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
static struct yaml_node *add_node(struct builder *b, enum yaml_kind kind, size_t pos)
{
    struct yaml *y = b->y;
    if (++y->n_nodes > YAML_NODES_MAX) {
        yaml_complain(y, pos, "more than %d values in one file", YAML_NODES_MAX);
        return NULL;
    }
    struct yaml_node *up = b->depth ? b->open[b->depth - 1].node : NULL;
    if (up && up->kind == MAPPING && up->n % 2 == 0 && kind != SCALAR) {
        yaml_complain(y, pos, "a key must be text");
        return NULL;
    }
    struct yaml_node *n = arena_alloc(&y->arena, sizeof *n);
    if (!n) {
        yaml_complain(y, pos, "out of memory");
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
        yaml_complain(y, pos, "out of memory");
        return false;
    }
    if (len > YAML_SCALAR_MAX) {
        yaml_complain(y, pos, "a value longer than %d bytes", YAML_SCALAR_MAX);
        return false;
    }
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)s[i] < 0x20 || s[i] == 0x7f) {
            yaml_complain(y, pos, "a line break or other control character within a value");
            return false;
        }
    struct yaml_node *up_last = b->depth ? b->open[b->depth - 1].last : NULL;
    struct yaml_node *n = add_node(b, SCALAR, pos);
    if (!n)
        return false;
    n->text = (const uint8_t *)arena_text(&y->arena, bytes_of(s, len));
    n->n = (uint32_t)len;
    n->quoted = t && fy_token_scalar_style(t) != FYSS_PLAIN;
    if (len == 0 && !n->quoted && up_last)
        n->pos = up_last->pos; /* nothing stands nowhere: show what it belongs to */
    if (!n->text)
        yaml_complain(y, pos, "out of memory");
    return n->text;
}

static bool open_node(struct builder *b, enum yaml_kind kind, size_t pos)
{
    if (b->depth == YAML_DEPTH_MAX) {
        yaml_complain(b->y, pos, "nested deeper than %d", YAML_DEPTH_MAX);
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
        yaml_complain(b->y, n->pos, "out of memory");
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
        yaml_complain(y, event_pos(y, e), "%s are not supported; write the value out", what);
    return !what;
}

static bool take_event(struct builder *b, struct fy_event *e)
{
    struct yaml *y = b->y;
    switch (e->type) {
    case FYET_DOCUMENT_START:
        if (b->n_documents++) {
            yaml_complain(y, event_pos(y, e), "a second document; only one is read");
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
        for (int i = 1; i < e->column && pos < y->text.n && !yaml_is_break(y->text.p[pos]); i++)
            pos += utf8_size(bytes_of(y->text.p + pos, y->text.n - pos));
        while (pos > 0 && pos == y->text.n && yaml_is_break(y->text.p[pos - 1]))
            y->text.n = --pos; /* show the last line that has something on it */
        yaml_complain(y, pos, "%s", e->msg);
        return; /* those that follow are of the first one's making */
    }
    yaml_complain(y, y->text.n, "not YAML");
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
        yaml_complain(y, 0, "out of memory");
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
            yaml_complain(y, 0, "there is nothing in this file");
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
