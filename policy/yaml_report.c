#include "yaml_inside.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "utf8.h"

enum {
    EXCERPT = 120,  /* bytes of a line that are shown */
    SHOWN = 64,     /* bytes of a value that are shown in a message */
    TAIL_ROOM = 40, /* for "N more errors" */
};

int yaml_shown(struct bytes s)
{
    if (s.n <= SHOWN)
        return (int)s.n;
    int n = SHOWN;
    while (n > 0 && (s.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

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

bool yaml_is_break(uint8_t c)
{
    return c == '\n' || c == '\r';
}

bool yaml_index_lines(struct yaml *y)
{
    const uint8_t *p = y->text.p;
    size_t n = 1;
    for (size_t i = 0; i < y->text.n; i++)
        n += yaml_is_break(p[i]);
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
static void put_excerpt(const struct yaml *y, size_t pos, struct buf *out)
{
    size_t start = y->lines[line_at(y, pos)], end = start;
    while (end < y->text.n && !yaml_is_break(y->text.p[end]))
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
        size_t step = utf8_size(bytes_of(y->text.p + i, end - i));
        uint8_t c = y->text.p[i];
        bool clean = step && (c >= 0x20 || c == '\t') && c != 0x7f;
        if (i < pos && n_pad < sizeof pad)
            pad[n_pad++] = c == '\t' ? '\t' : ' ';
        buf_put(out, clean ? bytes_of(y->text.p + i, step) : BYTES_LIT("?"));
        i += clean ? step : 1;
    }
    buf_put_u8(out, '\n');
    buf_put(out, bytes_of(pad, n_pad));
    buf_put_str(out, "^\n");
}

static void put_where(const struct yaml *y, size_t pos, struct buf *out)
{
    char text[48];
    size_t column = 1, line = 0;
    if (y->lines) {
        line = line_at(y, pos);
        for (size_t i = y->lines[line]; i < pos && i < y->text.n; i++)
            column += (y->text.p[i] & 0xc0) != 0x80;
    }
    snprintf(text, sizeof text, ":%zu:%zu", line + 1, column);
    buf_put_str(out, y->name);
    buf_put_str(out, text);
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
    char text[512];
    vsnprintf(text, sizeof text, fmt, ap);
    put_where(y, pos, y->diag);
    buf_put_str(y->diag, ": error: ");
    buf_put_str(y->diag, text);
    buf_put_u8(y->diag, '\n');
    if (y->lines)
        put_excerpt(y, pos, y->diag);
    y->diag->cap += TAIL_ROOM;
    if (y->diag->full) { /* half a message is none */
        y->diag->full = false;
        y->diag->n = was;
        drop_error(y);
    }
}

void yaml_complain(struct yaml *y, size_t pos, const char *fmt, ...)
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

void yaml_place(struct yaml *y, const struct yaml_node *n, struct arena *a, const char **where,
                const char **excerpt)
{
    uint8_t text[1024];
    struct buf b = buf_on(text, sizeof text);
    size_t pos = n ? n->pos : 0;
    put_where(y, pos, &b);
    *where = arena_text(a, b.full ? bytes_str("policy") : buf_bytes(&b));
    b = buf_on(text, sizeof text);
    if (y->lines)
        put_excerpt(y, pos, &b);
    *excerpt = arena_text(a, buf_bytes(&b));
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
