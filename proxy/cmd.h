/* What the commands of `postern` share: their table, their options, their
 * exit statuses, the few lines that they print alike. */
#ifndef POSTERN_CMD_H
#define POSTERN_CMD_H

#include <sysexits.h>

#include "../policy/bytes.h"

enum cmd_status {
    CMD_OK = 0,
    CMD_NO = 1,                /* the answer is no: denied, not valid, not done */
    CMD_USAGE = EX_USAGE,      /* 64: misused */
    CMD_INPUT = EX_DATAERR,    /* 65: a file that was named cannot be used */
    CMD_AWAY = EX_UNAVAILABLE, /* 69: the daemon does not run */
    CMD_OUTPUT = EX_CANTCREAT, /* 73: cannot be written */
    CMD_CONFIG = EX_CONFIG,    /* 78: bad configuration, policy or keys */
};

enum { CMD_VALUES_MAX = 16, CMD_DIAG_MAX = 16 << 10 };

/* One option. A flag has no `arg`. One with `many` may come again. */
struct cmd_option {
    const char *name; /* without dashes */
    char letter;      /* or 0 */
    const char *arg;  /* "FILE" */
    const char *help;
    bool many;
};

struct cmd_values {
    const char *v[CMD_VALUES_MAX];
    size_t n;
};

struct cmd {
    const char *name;                 /* "token new" */
    const char *args;                 /* "METHOD PATH" */
    const char *summary;              /* one line */
    const char *about;                /* more of it, with newlines, or NULL */
    const struct cmd_option *options; /* ended by a NULL name; --help is added */
    size_t min_args, max_args;
    /* options' values by their index in `options`; flags have n 1 when set */
    int (*run)(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args);
};

extern const struct cmd cmd_check, cmd_enrol, cmd_enrol_ca, cmd_enrolled, cmd_explain,
    cmd_introspect, cmd_key_new, cmd_reload, cmd_revoke, cmd_status, cmd_token_new, cmd_token_show,
    cmd_unenrol;

/* Reads the arguments behind the command's name and runs it. */
int cmd_main(const struct cmd *c, int argc, char **argv);

/* The nearest of the words, or NULL. */
const char *cmd_nearest(const char *word, const char *const *words, size_t n);

/* "postern check: ..." on stderr; returns `status`. */
int cmd_fail(const struct cmd *c, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Diagnostics that speak for themselves. */
int cmd_complain(int status, struct buf *diag);

/* The value of an option that comes once, or NULL. */
static inline const char *cmd_value(const struct cmd_values *o)
{
    return o->n ? o->v[0] : NULL;
}

/* "90s", "15m", "8h", "30d"; false: not one. */
MUST_USE bool cmd_duration(const char *text, int64_t *out_s);
/* UTC: "2026-02-03T04:05:06Z", "2026-02-03 04:05" or "2026-02-03". */
MUST_USE bool cmd_time(const char *text, int64_t *out_s);
/* "2026-02-03T04:05:06Z"; out has 32 bytes. */
const char *cmd_time_text(char out[32], int64_t s);
/* Hexadecimal, spaces and colons allowed; false: not, or does not fit. */
MUST_USE bool cmd_hex(struct bytes text, struct buf *out);
int64_t cmd_now(void);

#endif
