#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS_MAX = 16 };

/* Written once by log_open(), before threads; read-only afterwards. */
static struct {
    enum log_level most;
    bool journal;
} settings = {LOG_LEVEL_INFO, false};

/* systemd.exec(5): JOURNAL_STREAM is device and inode of the stream. It may
 * be inherited by a process whose stderr is another. */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    char own[64];
    if (!stream || fstat(STDERR_FILENO, &st) != 0)
        return false;
    (void)snprintf(own, sizeof own, "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    return strcmp(own, stream) == 0;
}

void log_open(enum log_level most)
{
    settings.most = most;
    settings.journal = is_journal();
}

const char *log_decimal(char out[24], uint64_t n)
{
    (void)snprintf(out, 24, "%llu", (unsigned long long)n);
    return out;
}

const char *log_bytes(char out[LOG_VALUE_MAX], struct bytes b)
{
    size_t n = b.n < LOG_VALUE_MAX - 1 ? b.n : LOG_VALUE_MAX - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = b.p[i] ? (char)b.p[i] : '?';
    out[n] = '\0';
    return out;
}

static bool is_plain(const char *s)
{
    if (*s == '\0')
        return false;
    for (; *s; s++)
        if (*s <= ' ' || *s >= 0x7f || *s == '"' || *s == '=' || *s == '\\')
            return false;
    return true;
}

static void put_value(struct buf *b, const char *s)
{
    if (is_plain(s)) {
        buf_put(b, bytes_of(s, strnlen(s, LOG_VALUE_MAX)));
        return;
    }
    buf_put_u8(b, '"');
    for (size_t i = 0; s[i] && i < LOG_VALUE_MAX; i++) {
        unsigned char c = (unsigned char)s[i];
        char hex[5];
        if (c == '"' || c == '\\') {
            buf_put_u8(b, '\\');
            buf_put_u8(b, c);
        } else if (c == '\n') {
            buf_put_str(b, "\\n");
        } else if (c < ' ' || c >= 0x7f) {
            (void)snprintf(hex, sizeof hex, "\\x%02x", c);
            buf_put_str(b, hex);
        } else {
            buf_put_u8(b, c);
        }
    }
    buf_put_u8(b, '"');
}

static void put_pairs(struct buf *b, const char *event, const char *const *pairs, size_t n)
{
    buf_put_str(b, "event=");
    put_value(b, event);
    for (size_t i = 0; i < n && !b->full; i++) {
        /* A pair that does not fit goes as a whole, and so do those behind it. */
        size_t before = b->n;
        buf_put_u8(b, ' ');
        buf_put_str(b, pairs[2 * i]);
        buf_put_u8(b, '=');
        put_value(b, pairs[2 * i + 1]);
        if (b->full)
            b->n = before;
    }
}

size_t log_format(char out[LOG_LINE_MAX], const char *event, const char *const *pairs, size_t n)
{
    struct buf b = buf_on(out, LOG_LINE_MAX - 1);
    put_pairs(&b, event, pairs, n);
    out[b.n++] = '\n';
    return b.n;
}

void log_event(enum log_level level, const char *event, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"};
    if (level > settings.most)
        return;

    char line[LOG_LINE_MAX + 64];
    struct buf head = buf_on(line, 64);
    if (settings.journal) {
        buf_put_str(&head, priorities[level]);
    } else {
        char stamp[32];
        struct timespec now;
        struct tm tm;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        (void)gmtime_r(&now.tv_sec, &tm);
        size_t n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
        buf_put_str(&head, "time=");
        buf_put(&head, bytes_of(stamp, n));
        (void)snprintf(stamp, sizeof stamp, ".%03ldZ ", now.tv_nsec / 1000000);
        buf_put_str(&head, stamp);
    }
    buf_put_str(&head, "level=");
    buf_put_str(&head, names[level]);
    buf_put_u8(&head, ' ');

    const char *pairs[2 * PAIRS_MAX];
    size_t n = 0;
    va_list ap;
    va_start(ap, event);
    for (; n < PAIRS_MAX; n++) {
        const char *key = va_arg(ap, const char *);
        const char *value = key ? va_arg(ap, const char *) : NULL;
        if (!key || !value)
            break;
        pairs[2 * n] = key;
        pairs[2 * n + 1] = value;
    }
    va_end(ap);

    size_t total = head.n + log_format(line + head.n, event, pairs, n);
    /* Nobody to tell when stderr is gone. */
    ssize_t done = write(STDERR_FILENO, line, total);
    (void)done;
}

bool log_may(struct log_limit *l, uint64_t now_ms, uint64_t *held)
{
    if (l->n == 0 || now_ms - l->since_ms >= LOG_INTERVAL_MS) {
        l->since_ms = now_ms;
        l->n = 0;
    }
    if (l->n >= LOG_BURST) {
        l->held++;
        return false;
    }
    l->n++;
    *held = l->held;
    l->held = 0;
    return true;
}
