#include "cmd.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../policy/hex.h"
#include "../policy/yaml.h"

enum { OPTIONS_MAX = 40, WORDS_MAX = OPTIONS_MAX + 1, WIDTH = 24 };

/* ---- messages ---- */

int cmd_fail(const struct cmd *c, int status, const char *fmt, ...)
{
    va_list ap;
    (void)fprintf(stderr, "postern %s: ", c->name);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    return status;
}

int cmd_complain(int status, struct buf *diag)
{
    diag->full = false; /* what fitted is better than nothing */
    (void)fwrite(diag->p, 1, diag->n, stderr);
    if (diag->n > 0 && diag->p[diag->n - 1] != '\n')
        (void)fputc('\n', stderr);
    return status;
}

const char *cmd_nearest(const char *word, const char *const *words, size_t n)
{
    const char *best = NULL;
    unsigned best_d = UINT_MAX;
    for (size_t i = 0; i < n; i++) {
        unsigned d = yaml_distance(bytes_str(word), bytes_str(words[i]));
        if (d < best_d) {
            best = words[i];
            best_d = d;
        }
    }
    return best;
}

static int help(const struct cmd *c)
{
    printf("usage: postern %s%s%s%s\n\n%s\n", c->name, c->options[0].name ? " [OPTION]..." : "",
           c->args ? " " : "", c->args ? c->args : "", c->summary);
    if (c->about)
        printf("\n%s", c->about);
    printf("\n");
    for (const struct cmd_option *o = c->options; o->name; o++) {
        char left[64];
        (void)snprintf(left, sizeof left, "%c%c%s--%s%s%s", o->letter ? '-' : ' ',
                       o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
                       o->arg ? " " : "", o->arg ? o->arg : "");
        printf("  %-*s  %s%s\n", WIDTH, left, o->help, o->many ? " (may be given again)" : "");
    }
    printf("  %-*s  %s\n", WIDTH, "-h, --help", "print this and exit");
    return fflush(stdout) == 0 ? CMD_OK : CMD_OUTPUT;
}

static int __attribute__((format(printf, 3, 4)))
misuse(const struct cmd *c, const char *near, const char *fmt, ...)
{
    va_list ap;
    (void)fprintf(stderr, "postern %s: ", c->name);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    if (near)
        (void)fprintf(stderr, "; did you mean '--%s'?", near);
    (void)fprintf(stderr, "\nTry 'postern %s --help'.\n", c->name);
    return CMD_USAGE;
}

/* ---- arguments ---- */

static int find_long(const struct cmd *c, const char *name, size_t n)
{
    for (int i = 0; c->options[i].name; i++)
        if (strlen(c->options[i].name) == n && memcmp(c->options[i].name, name, n) == 0)
            return i;
    return -1;
}

static int find_short(const struct cmd *c, char letter)
{
    for (int i = 0; c->options[i].name; i++)
        if (c->options[i].letter == letter)
            return i;
    return -1;
}

static const char *nearest_option(const struct cmd *c, const char *name)
{
    const char *words[WORDS_MAX] = {"help"};
    size_t n = 1;
    for (const struct cmd_option *o = c->options; o->name && n < WORDS_MAX; o++)
        words[n++] = o->name;
    return cmd_nearest(name, words, n);
}

/* One option at argv[*at], which begins with '-'. -1: go on. */
static int take_option(const struct cmd *c, int argc, char **argv, int *at,
                       struct cmd_values values[OPTIONS_MAX])
{
    char *arg = argv[*at], *value = NULL;
    int i;
    if (arg[1] == '-') {
        char *equals = strchr(arg + 2, '=');
        size_t n = equals ? (size_t)(equals - arg) - 2 : strlen(arg + 2);
        if (n == 4 && memcmp(arg + 2, "help", 4) == 0)
            return help(c);
        i = find_long(c, arg + 2, n);
        value = equals ? equals + 1 : NULL;
        if (equals)
            *equals = '\0';
        if (i < 0)
            return misuse(c, nearest_option(c, arg + 2), "unknown option '%s'", arg);
        if (value && !c->options[i].arg)
            return misuse(c, NULL, "option '%s' takes no argument", arg);
    } else {
        if (arg[1] == 'h' && !arg[2])
            return help(c);
        i = find_short(c, arg[1]);
        if (i < 0 || (arg[2] && !c->options[i].arg))
            return misuse(c, NULL, "unknown option '%s'", arg);
        value = arg[2] ? arg + 2 : NULL;
    }
    const struct cmd_option *o = &c->options[i];
    if (o->arg && !value) {
        if (*at + 1 >= argc)
            return misuse(c, NULL, "option '%s' needs an argument: %s", arg, o->arg);
        value = argv[++*at];
    }
    if (values[i].n == (o->many ? CMD_VALUES_MAX : 1))
        return misuse(c, NULL, "option '%s' was given %s", arg, o->many ? "too often" : "twice");
    values[i].v[values[i].n++] = value ? value : "";
    return -1;
}

/* The n-th word of what the command wants: "METHOD PATH". */
static const char *wanted(const struct cmd *c, size_t n, char out[32])
{
    const char *at = c->args;
    for (; n > 0 && at; n--) {
        at = strchr(at, ' ');
        at += at != NULL;
    }
    (void)snprintf(out, 32, "%.*s", at ? (int)strcspn(at, " ") : 0, at ? at : "");
    return out;
}

int cmd_main(const struct cmd *c, int argc, char **argv)
{
    struct cmd_values values[OPTIONS_MAX] = {{{NULL}, 0}}, args = {{NULL}, 0};
    bool options = true;
    for (int i = 0; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1]) {
            int status = take_option(c, argc, argv, &i, values);
            if (status >= 0)
                return status;
        } else if (args.n == c->max_args) {
            return misuse(c, NULL, "unexpected argument '%s'", argv[i]);
        } else {
            args.v[args.n++] = argv[i];
        }
    }
    char word[32];
    if (args.n < c->min_args)
        return misuse(c, NULL, "missing argument: %s", wanted(c, args.n, word));
    int status = c->run(c, values, &args);
    if (fflush(stdout) != 0)
        return CMD_OUTPUT;
    return status;
}

/* ---- values ---- */

int64_t cmd_now(void)
{
    return time(NULL);
}

bool cmd_duration(const char *text, int64_t *out_s)
{
    int64_t v = 0;
    size_t i = 0;
    for (; i < 9 && text[i] >= '0' && text[i] <= '9'; i++)
        v = v * 10 + (text[i] - '0');
    static const struct {
        char letter;
        int64_t s;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    for (size_t k = 0; i > 0 && text[i] && !text[i + 1] && k < 4; k++)
        if (units[k].letter == text[i]) {
            *out_s = v * units[k].s;
            return true;
        }
    return false;
}

bool cmd_time(const char *text, int64_t *out_s)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ",
                                        "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);
        if (end && !*end) {
            *out_s = timegm(&tm);
            return true;
        }
    }
    return false;
}

const char *cmd_time_text(char out[32], int64_t s)
{
    struct tm tm;
    time_t t = (time_t)s;
    if (!gmtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        (void)snprintf(out, 32, "%lld", (long long)s);
    return out;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool cmd_hex(struct bytes text, struct buf *out)
{
    int high = -1;
    for (size_t i = 0; i < text.n; i++) {
        int d = hex_digit(text.p[i]);
        if (d < 0 && (is_space(text.p[i]) || text.p[i] == ':') && high < 0)
            continue;
        if (d < 0)
            return false;
        if (high >= 0)
            buf_put_u8(out, (uint8_t)(high << 4 | d));
        high = high >= 0 ? -1 : d;
    }
    return high < 0 && !out->full;
}
