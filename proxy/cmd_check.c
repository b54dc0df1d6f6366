/* postern check: everything that can be known before the daemon starts. */
#include "cmd.h"

#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "setup.h"

enum { O_CONFIG, O_JSON };

static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "configuration (" CONFIG_FILE_DEFAULT ")", false},
    [O_JSON] = {"json", 'j', NULL, "one JSON object", false},
    {NULL, 0, NULL, NULL, false},
};

/* ---- diagnostics as JSON ---- */

/* A number between colons at the end of `s`, which is cut before it. */
static bool cut_number(struct bytes *s, uint64_t *out)
{
    size_t i = s->n;
    *out = 0;
    for (uint64_t ten = 1; i > 0 && s->p[i - 1] >= '0' && s->p[i - 1] <= '9' && ten < 1000000000;
         ten *= 10)
        *out += ten * (uint64_t)(s->p[--i] - '0');
    if (i == s->n || i == 0 || s->p[i - 1] != ':')
        return false;
    s->n = i - 1;
    return true;
}

static size_t find(struct bytes in, const char *what)
{
    size_t n = strlen(what);
    for (size_t i = 0; i + n <= in.n; i++)
        if (memcmp(in.p + i, what, n) == 0)
            return i;
    return in.n;
}

static void put_text(struct buf *out, const char *key, struct bytes text)
{
    json_put_key(out, key);
    json_put_string(out, text);
}

/* "FILE:LINE:COLUMN: error: WHAT", or less of it, and the line that is meant
 * (yaml.h). */
static void put_diagnostic(struct buf *out, struct bytes head, struct bytes excerpt)
{
    static const char error[] = ": error: ", warning[] = ": warning: ";
    struct bytes where = head;
    uint64_t line, column;
    const char *mark = find(head, warning) < head.n ? warning : error;
    size_t at = find(head, mark);
    if (out->n > 0 && out->p[out->n - 1] == '}')
        buf_put_u8(out, ',');
    buf_put_u8(out, '{');
    if (at < head.n) {
        where.n = at;
        head = bytes_of(head.p + at + strlen(mark), head.n - at - strlen(mark));
        bool two = cut_number(&where, &column), placed = two && cut_number(&where, &line);
        if (two && !placed) /* a line alone */
            line = column;
        put_text(out, "file", where);
        if (two)
            json_member_u64(out, "line", line);
        if (placed)
            json_member_u64(out, "column", column);
    }
    if (mark == warning)
        json_member_bool(out, "warning", true);
    put_text(out, "message", head);
    if (excerpt.n > 0)
        put_text(out, "excerpt", excerpt);
    buf_put_u8(out, '}');
}

static struct bytes take_line(struct bytes *text)
{
    size_t n = find(*text, "\n");
    struct bytes line = bytes_of(text->p, n);
    text->p += n + (n < text->n);
    text->n -= n + (n < text->n);
    return line;
}

static bool is_caret(struct bytes line)
{
    size_t i = 0;
    while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
        i++;
    return i + 1 == line.n && line.p[i] == '^';
}

static void put_diagnostics(struct buf *out, struct bytes text)
{
    json_put_key(out, "diagnostics");
    buf_put_u8(out, '[');
    while (text.n > 0) {
        struct bytes head = take_line(&text), rest = text, excerpt = take_line(&rest);
        if (is_caret(take_line(&rest)))
            text = rest;
        else
            excerpt = BYTES_NONE;
        put_diagnostic(out, head, excerpt);
    }
    buf_put_u8(out, ']');
}

/* What is said of a quoted text grows sixfold at most. */
enum { JSON_MAX = 8 * CMD_DIAG_MAX };

static int print_json(const struct cmd *c, const char *file, bool good, struct bytes diag)
{
    void *storage = malloc(JSON_MAX);
    struct buf out = buf_on(storage, storage ? JSON_MAX : 0);
    buf_put_u8(&out, '{');
    json_member(&out, "file", file);
    json_member_bool(&out, "ok", good);
    put_diagnostics(&out, diag);
    buf_put_str(&out, "}\n");
    int status = out.full ? cmd_fail(c, CMD_OUTPUT, "out of memory") : good ? CMD_OK : CMD_CONFIG;
    if (!out.full)
        (void)fwrite(out.p, 1, out.n, stdout);
    free(storage);
    return status;
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    (void)args;
    char text[CMD_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    const char *file = o[O_CONFIG].n ? cmd_value(&o[O_CONFIG]) : CONFIG_FILE_DEFAULT;
    bool good = setup_check(file, cmd_now(), &diag);
    if (o[O_JSON].n)
        return print_json(c, file, good, bytes_of(text, diag.n));
    if (good)
        printf("%s: ok\n", file);
    return cmd_complain(good ? CMD_OK : CMD_CONFIG, &diag); /* warnings, or why */
}

const struct cmd cmd_check = {
    .name = "check",
    .summary = "check configuration, policy and keys",
    .about = "Reads everything as the daemon would and opens nothing. Run it as the user that\n"
             "the daemon runs as, since it looks at permissions too. Diagnostics go to stderr\n"
             "as FILE:LINE:COLUMN, or with --json to stdout; warnings of enrolments that end\n"
             "within 30 days, and of what cannot work with CSEs, as well. Exit status: 0 good,\n"
             "78 bad, 64 misused.\n",
    .options = options,
    .run = run,
};
