#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "log.h"
#include "spool_position.h"
#include "spool_segments.h"

enum {
    READ = 16 << 10,
};

struct spool {
    int dir;
    uint64_t max, segment_max;
    char stream[SPOOL_STREAM + 1];
    pthread_mutex_t lock; /* of the list, once threads run */
    struct segments list;
    atomic_uint_fast64_t last, settled, lost, taken, lost_taken;
    /* the writer's own */
    int out; /* the newest segment, or -1 */
    uint64_t out_size;
    bool refused, dropping;
    /* the reader's own */
    struct position position;
    bool stuck;                        /* the position cannot be written */
    int in;                            /* or -1 */
    uint64_t in_first, past, next, at; /* `at`: offset in the file of buf[from] */
    size_t from, end;
    uint8_t buf[READ];
};

bool spool_line_seq(struct bytes line, uint64_t *seq)
{
    static const char head[] = "{\"seq\":";
    size_t i = sizeof head - 1;
    uint64_t v = 0;
    if (line.n > SPOOL_LINE_MAX || line.n < i + 3 || memcmp(line.p, head, i) != 0 ||
        line.p[line.n - 1] != '}')
        return false;
    for (; i < line.n && line.p[i] >= '0' && line.p[i] <= '9'; i++)
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(line.p[i] - '0'), &v))
            return false;
    *seq = v;
    return v > 0 && line.p[i] == ',';
}

/* ---- start ---- */

/* The last number in the file, and where its last whole line ends. */
static bool scan(struct spool *s, int fd, uint64_t *last, uint64_t *end)
{
    uint64_t at = 0;
    size_t have = 0;
    *end = 0;
    for (;;) {
        ssize_t got = pread(fd, s->buf + have, READ - have, (off_t)(at + have));
        if (got < 0)
            return false;
        have += (size_t)got;
        size_t from = 0;
        for (const uint8_t *nl; (nl = memchr(s->buf + from, '\n', have - from));) {
            struct bytes line = {s->buf + from, (size_t)(nl - s->buf) - from};
            uint64_t seq;
            if (spool_line_seq(line, &seq) && seq > *last)
                *last = seq;
            from += line.n + 1;
            *end = at + from;
        }
        if (got == 0)
            return true;
        if (from == 0 && have == READ)
            from = have; /* no line of ours is so long */
        memmove(s->buf, s->buf + from, have - from);
        have -= from;
        at += from;
    }
}

/* The newest segment is gone on with, behind its last whole line. */
static bool open_newest(struct spool *s, uint64_t *last)
{
    if (s->list.n == 0)
        return true;
    struct segment *g = &s->list.at[s->list.n - 1];
    char name[SEGMENT_NAME];
    uint64_t end;
    segments_name(g->first, name);
    *last = g->first - 1;
    s->out = openat(s->dir, name, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (s->out < 0 || !scan(s, s->out, last, &end))
        return false;
    if (end < g->size) {
        log_event(LOG_LEVEL_WARN, "audit-spool-mended", "segment", name, "cut",
                  LOG_U(g->size - end), NULL);
        if (ftruncate(s->out, (off_t)end) != 0)
            return false;
    }
    s->list.total -= g->size - end;
    s->out_size = g->size = end;
    return true;
}

static bool is_stream(struct bytes b)
{
    if (b.n != SPOOL_STREAM)
        return false;
    for (size_t i = 0; i < b.n; i++)
        if (!strchr("0123456789abcdef", b.p[i]) || b.p[i] == 0)
            return false;
    return true;
}

static bool read_stream(struct spool *s, const char *dir)
{
    char file[4096];
    uint8_t *text = NULL, id[SPOOL_STREAM / 2];
    size_t n = 0;
    const char *why;
    (void)snprintf(file, sizeof file, "%s/stream", dir);
    bool ok = file_read(file, false, 64, &text, &n, &why);
    struct bytes b = {text, n && text[n - 1] == '\n' ? n - 1 : n};
    ok = ok && is_stream(b);
    if (ok)
        memcpy(s->stream, b.p, b.n);
    free(text);
    if (ok)
        return true;
    if (getentropy(id, sizeof id) != 0)
        return false;
    for (size_t i = 0; i < sizeof id; i++)
        (void)snprintf(s->stream + 2 * i, 3, "%02x", id[i]);
    char line[SPOOL_STREAM + 2];
    (void)snprintf(line, sizeof line, "%s\n", s->stream);
    return file_write(file, bytes_str(line), 0600, false, &why);
}

static bool start(struct spool *s, const char *dir, uint64_t after, const char **why)
{
    uint64_t last = 0;
    *why = NULL;
    if ((mkdir(dir, 0700) != 0 && errno != EEXIST) ||
        (s->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return false;
    if (flock(s->dir, LOCK_EX | LOCK_NB) != 0) {
        *why = errno == EWOULDBLOCK ? "another posternd uses it" : NULL;
        return false;
    }
    bool known;
    if (!segments_read(&s->list, s->dir) || !open_newest(s, &last) || !read_stream(s, dir) ||
        !position_open(&s->position, s->dir, &known))
        return false;
    uint64_t settled = s->position.settled;
    if (!known) { /* rather twice than not at all */
        settled = s->list.n ? s->list.at[0].first - 1 : after;
        s->position.settled = settled;
        if (!position_write(&s->position)) /* from now on a gap is a loss */
            return false;
    }
    if (last < after)
        last = after;
    if (last < settled)
        last = settled;
    atomic_store(&s->last, last);
    atomic_store(&s->settled, settled);
    atomic_store(&s->lost, s->position.lost);
    segments_note_oldest(&s->list);
    while (s->list.n > 1 && s->list.at[1].first <= settled + 1)
        segments_remove_first(&s->list);
    while (s->list.n > 1 && s->list.total > s->max)
        segments_remove_first(&s->list);
    spool_rewind(s);
    return true;
}

struct spool *spool_open(const char *dir, uint64_t max, uint64_t after, struct buf *diag)
{
    struct spool *s = calloc(1, sizeof *s);
    const char *why = "out of memory";
    if (s) {
        s->dir = s->out = s->in = s->position.fd = -1;
        s->max = max;
        s->segment_max = max / SPOOL_SEGMENTS;
        if (s->segment_max > SPOOL_SEGMENT_MAX)
            s->segment_max = SPOOL_SEGMENT_MAX;
        (void)pthread_mutex_init(&s->lock, NULL);
        if (start(s, dir, after, &why))
            return s;
        why = why ? why : strerror(errno);
    }
    buf_put_str(diag, "the audit's spool ");
    buf_put_str(diag, dir);
    buf_put_str(diag, ": ");
    buf_put_str(diag, why);
    spool_close(s);
    return NULL;
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    if (s->out >= 0)
        close(s->out);
    if (s->in >= 0)
        close(s->in);
    position_close(&s->position);
    if (s->dir >= 0)
        close(s->dir);
    (void)pthread_mutex_destroy(&s->lock);
    segments_clear(&s->list);
    free(s);
}

const char *spool_stream(const struct spool *s)
{
    return s->stream;
}

uint64_t spool_last(const struct spool *s)
{
    return atomic_load(&s->last);
}

/* ---- writing ---- */

size_t spool_chunk(const struct spool *s)
{
    return s->segment_max < SPOOL_CHUNK_MAX ? (size_t)s->segment_max : SPOOL_CHUNK_MAX;
}

static void make_room(struct spool *s, size_t n)
{
    (void)pthread_mutex_lock(&s->lock);
    while (s->list.n > 1 && s->list.total + n > s->max) {
        bool unsettled = s->list.at[1].first > atomic_load(&s->settled) + 1;
        if (unsettled && !s->dropping)
            log_event(LOG_LEVEL_ERROR, "audit-spool-full", "dropped-to",
                      LOG_U(s->list.at[1].first - 1), NULL);
        s->dropping = s->dropping || unsettled;
        segments_remove_first(&s->list);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static bool next_segment(struct spool *s, uint64_t first)
{
    char name[SEGMENT_NAME];
    segments_name(first, name);
    int fd =
        openat(s->dir, name, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    (void)pthread_mutex_lock(&s->lock);
    bool ok = segments_add(&s->list, first, 0);
    segments_note_oldest(&s->list);
    (void)pthread_mutex_unlock(&s->lock);
    if (!ok) {
        close(fd);
        return false;
    }
    if (s->out >= 0)
        close(s->out);
    s->out = fd;
    s->out_size = 0;
    return true;
}

static bool write_all(int fd, struct bytes b)
{
    while (b.n > 0) {
        ssize_t n = write(fd, b.p, b.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        b = bytes_of(b.p + n, b.n - (size_t)n);
    }
    return true;
}

static bool append(struct spool *s, struct bytes lines, uint64_t first)
{
    make_room(s, lines.n);
    if (s->out < 0 || s->out_size + lines.n > s->segment_max)
        if (!next_segment(s, first))
            return false;
    if (!write_all(s->out, lines)) {
        int error = errno;
        if (ftruncate(s->out, (off_t)s->out_size) != 0) {
            /* Half a line stays: what comes next begins a segment of its own. */
            close(s->out);
            s->out = -1;
        }
        errno = error;
        return false;
    }
    s->out_size += lines.n;
    (void)pthread_mutex_lock(&s->lock);
    s->list.at[s->list.n - 1].size = s->out_size; /* the newest is never removed */
    s->list.total += lines.n;
    (void)pthread_mutex_unlock(&s->lock);
    return true;
}

bool spool_append(struct spool *s, struct bytes lines, uint64_t first, uint64_t last)
{
    bool ok = append(s, lines, first);
    if (ok == s->refused) {
        if (ok)
            log_event(LOG_LEVEL_INFO, "audit-spool-recovered", NULL);
        else
            log_event(LOG_LEVEL_ERROR, "audit-spool-failed", "error", strerror(errno), NULL);
        s->refused = !ok;
    }
    if (s->dropping && atomic_load(&s->settled) + 1 >= atomic_load(&s->list.oldest))
        s->dropping = false;
    atomic_store(&s->last, last);
    return ok;
}

/* ---- reading ---- */

static void close_in(struct spool *s)
{
    if (s->in >= 0)
        close(s->in);
    s->in = -1;
    s->past = s->in_first;
}

/* The segment with the next number; behind `past`, once one was finished. */
static bool open_in(struct spool *s)
{
    for (;;) {
        uint64_t first = 0;
        char name[SEGMENT_NAME];
        (void)pthread_mutex_lock(&s->lock);
        for (size_t i = 0; i < s->list.n; i++) {
            uint64_t f = s->list.at[i].first;
            if (s->past ? f > s->past && !first : f <= s->next || !first)
                first = f;
        }
        (void)pthread_mutex_unlock(&s->lock);
        if (!first)
            return false;
        segments_name(first, name);
        s->in = openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        s->in_first = first;
        s->at = 0;
        s->from = s->end = 0;
        if (s->in >= 0) {
            (void)fsync(s->dir); /* the name, too, must be there after a power failure */
            return true;
        }
        s->past = first; /* it gave way meanwhile */
    }
}

/* Bytes that may be read behind `at`. False: this segment has no more, and
 * *over says whether another follows. */
static bool has_more(struct spool *s, uint64_t at, uint64_t *n, bool *over)
{
    (void)pthread_mutex_lock(&s->lock);
    ssize_t i = segments_find(&s->list, s->in_first);
    *n = i >= 0 && s->list.at[i].size > at ? s->list.at[i].size - at : 0;
    *over = i < 0 || (size_t)i + 1 < s->list.n;
    (void)pthread_mutex_unlock(&s->lock);
    return *n > 0;
}

/* The next line, not taken yet, without its newline. */
static bool peek(struct spool *s, struct bytes *line)
{
    for (;;) {
        uint64_t more;
        bool over;
        if (s->in < 0 && !open_in(s))
            return false;
        const uint8_t *nl = memchr(s->buf + s->from, '\n', s->end - s->from);
        if (nl) {
            *line = bytes_of(s->buf + s->from, (size_t)(nl - s->buf) - s->from);
            return true;
        }
        if (s->from == 0 && s->end == READ) { /* no line of ours is so long */
            s->at += s->end;
            s->end = 0;
        }
        memmove(s->buf, s->buf + s->from, s->end - s->from);
        s->end -= s->from;
        s->from = 0;
        if (!has_more(s, s->at + s->end, &more, &over)) {
            if (!over)
                return false;
            close_in(s);
            continue;
        }
        size_t want = more < READ - s->end ? (size_t)more : READ - s->end;
        ssize_t got = pread(s->in, s->buf + s->end, want, (off_t)(s->at + s->end));
        if (got > 0) {
            s->end += (size_t)got;
        } else if (over) {
            close_in(s); /* unreadable: lost */
        } else {
            return false;
        }
    }
}

static void skip(struct spool *s, struct bytes line)
{
    s->from += line.n + 1;
    s->at += line.n + 1;
}

static void put_lost(struct buf *out, const char *stamp, uint64_t from, uint64_t to)
{
    char text[256];
    (void)snprintf(text, sizeof text,
                   "{\"seq\":%llu,\"time\":\"%s\",\"event\":\"lost\",\"where\":\"spool\","
                   "\"from\":%llu,\"records\":%llu}\n",
                   (unsigned long long)to, stamp, (unsigned long long)from,
                   (unsigned long long)(to - from + 1));
    buf_put_str(out, text);
}

bool spool_read(struct spool *s, const char *stamp, unsigned max, struct buf *out,
                struct spool_taken *t)
{
    struct bytes line;
    *t = (struct spool_taken){0};
    while (t->records < max && out->cap - out->n > SPOOL_LINE_MAX && peek(s, &line)) {
        uint64_t seq;
        if (!spool_line_seq(line, &seq) || seq < s->next) {
            skip(s, line); /* damaged, or settled before */
            continue;
        }
        if (seq > s->next) {
            put_lost(out, stamp, s->next, seq - 1);
            t->lost += seq - s->next;
            t->last = seq - 1;
            s->next = seq;
        } else {
            buf_put(out, bytes_of(line.p, line.n + 1));
            skip(s, line);
            t->last = seq;
            s->next = seq + 1;
        }
        t->records++;
    }
    atomic_store(&s->taken, s->next - 1);
    atomic_fetch_add(&s->lost_taken, t->lost);
    return t->records > 0;
}

void spool_sync(struct spool *s)
{
    if (s->in >= 0)
        (void)fdatasync(s->in);
}

void spool_settle(struct spool *s, uint64_t last, uint64_t lost)
{
    atomic_fetch_add(&s->lost, lost);
    atomic_fetch_sub(&s->lost_taken, lost);
    atomic_store(&s->settled, last);
    s->position.settled = last;
    s->position.lost = atomic_load(&s->lost);
    bool ok = position_write(&s->position);
    if (!ok != s->stuck) {
        s->stuck = !ok;
        log_event(ok ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
                  ok ? "audit-position-recovered" : "audit-position-failed", "error",
                  ok ? "-" : strerror(errno), NULL);
    }
    (void)pthread_mutex_lock(&s->lock);
    bool some = s->list.n > 1 && s->list.at[1].first <= last + 1;
    (void)pthread_mutex_unlock(&s->lock);
    /* A gap below the oldest segment is read as a loss: the position must be
     * on the disk before what it settles may go. */
    if (!ok || !some || !position_sync(&s->position))
        return;
    (void)pthread_mutex_lock(&s->lock);
    while (s->list.n > 1 && s->list.at[1].first <= last + 1)
        segments_remove_first(&s->list);
    (void)pthread_mutex_unlock(&s->lock);
}

void spool_rewind(struct spool *s)
{
    close_in(s);
    s->past = 0;
    s->next = atomic_load(&s->settled) + 1;
    atomic_store(&s->taken, s->next - 1);
    atomic_store(&s->lost_taken, 0);
}

void spool_get_stats(const struct spool *s, struct spool_stats *out)
{
    uint64_t oldest = atomic_load(&s->list.oldest);
    *out = (struct spool_stats){.last = atomic_load(&s->last),
                                .settled = atomic_load(&s->settled),
                                .taken = atomic_load(&s->taken),
                                .lost = atomic_load(&s->lost) + atomic_load(&s->lost_taken)};
    if (oldest > out->taken + 1)
        out->lost += oldest - out->taken - 1; /* gave way, and not told yet */
    uint64_t from = oldest > out->settled + 1 ? oldest - 1 : out->settled;
    out->waiting = out->last > from ? out->last - from : 0;
}
