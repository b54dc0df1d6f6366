/* The ordinary log: one line of key=value on stderr for each event. Never a
 * payload, a token or a key. Values are quoted and escaped, so that nothing
 * from outside can forge a key or a line. A line leaves in one write().
 *
 * The level is set once, before any thread starts. What strangers can cause
 * goes through a `struct log_limit` that its owner keeps. */
#ifndef POSTERN_LOG_H
#define POSTERN_LOG_H

#include "../policy/bytes.h"

enum log_level { LOG_LEVEL_ERROR = 0, LOG_LEVEL_WARN = 1, LOG_LEVEL_INFO = 2, LOG_LEVEL_DEBUG = 3 };

enum log_limits {
    LOG_LINE_MAX = 1024,     /* longer lines are cut */
    LOG_VALUE_MAX = 256,     /* of one value, before escaping */
    LOG_BURST = 10,          /* lines of one kind that a stranger may cause ... */
    LOG_INTERVAL_MS = 60000, /* ... in this time */
};

/* When stderr is a journal, which stamps lines itself, they begin with their
 * priority instead of the time. */
void log_open(enum log_level most);

/* Pairs of key and value, ended by NULL: log_event(LOG_LEVEL_INFO, "reload",
 * "policy", hash, "rules", LOG_U(n), NULL). A NULL value ends the line too:
 * what may be missing is wrapped in LOG_OR. */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

#define LOG_U(n)  log_decimal((char[24]){0}, (uint64_t)(n))
#define LOG_B(b)  log_bytes((char[LOG_VALUE_MAX]){0}, (b))
#define LOG_OR(s) ((s) ? (s) : "-")
const char *log_decimal(char out[24], uint64_t n);
/* A slice as a string: NUL becomes '?', cut to fit. */
const char *log_bytes(char out[LOG_VALUE_MAX], struct bytes b);

struct log_limit {
    uint64_t since_ms;
    unsigned n;
    uint64_t held; /* lines not written since */
};

/* Whether a line of this kind may be written now. *held is how many were
 * not since the last one that was: write it with the line. */
MUST_USE bool log_may(struct log_limit *l, uint64_t now_ms, uint64_t *held);

/* The line as log_event() would write it, for tests and for other sinks. */
size_t log_format(char out[LOG_LINE_MAX], const char *event, const char *const *pairs, size_t n);

#endif
