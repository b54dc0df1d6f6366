#include "audit_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum {
    RING = 1 << 20,   /* bytes that wait for the disk: some 3000 records */
    LINE_ROOM = 2048, /* has_room: one record of any length fits */
    RETRY_S = 1,      /* after a failed write */
    CHUNK = 64 << 10, /* bytes a write */
};

/* One producer (the worker) and one consumer (the writer thread). `head` and
 * `tail` count bytes and never wrap in practice (2^64); between them stand
 * whole lines only, because a line is published by one store of `head`, and
 * `tail` moves by whole lines. */
struct audit_sink {
    char *file;
    int fd;
    pthread_t writer;
    sem_t wake;
    _Alignas(64) atomic_size_t head;
    _Alignas(64) atomic_size_t tail;
    atomic_bool asleep, stop, reopen, failing;
    atomic_uint_fast64_t lost;
    /* the writer's own */
    size_t part;        /* bytes of the line at `tail` that are in the file */
    uint64_t lost_told; /* losses that a note was made of */
    char note[128];     /* the record of losses, and how much of it is in the file */
    size_t note_n, note_done;
    uint8_t ring[RING];
};

static int open_file(const char *file)
{
    /* O_RDWR: a FIFO opens without a reader, and the last byte can be read.
     * O_NONBLOCK: a FIFO that nobody empties must not hold up the close. */
    int fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (fd < 0)
        return -1;
    /* A line that a full disk cut before a crash must not swallow ours. */
    struct stat st;
    char last = '\n';
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n' && write(fd, "\n", 1) != 1) {
        close(fd);
        return -1;
    }
    return fd;
}

static void do_reopen(struct audit_sink *s)
{
    int fd = open_file(s->file);
    if (fd < 0) {
        /* The old file, even if it was renamed, is better than none. */
        log_event(LOG_LEVEL_ERROR, "audit-reopen-failed", "file", s->file, "error", strerror(errno),
                  NULL);
        return;
    }
    close(s->fd);
    s->fd = fd;
    s->part = 0; /* a half-written line is written whole into the new file */
    s->note_done = 0;
}

static void set_failing(struct audit_sink *s, bool failing, int error)
{
    if (atomic_exchange(&s->failing, failing) == failing)
        return;
    if (failing)
        log_event(LOG_LEVEL_ERROR, "audit-write-failed", "file", s->file, "error", strerror(error),
                  NULL);
    else
        log_event(LOG_LEVEL_INFO, "audit-write-recovered", "file", s->file, NULL);
}

/* Moves `tail` over the whole lines among the next n bytes that were written. */
static void consume(struct audit_sink *s, size_t n)
{
    size_t tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
    size_t seen = s->part + n, whole = 0;
    for (size_t i = s->part; i < seen; i++)
        if (s->ring[(tail + i) % RING] == '\n')
            whole = i + 1;
    s->part = seen - whole;
    atomic_store_explicit(&s->tail, tail + whole, memory_order_release);
}

/* Bytes written, or 0: the file does not take it now. */
static size_t write_out(struct audit_sink *s, const struct iovec *iov, int n)
{
    ssize_t done;
    do
        done = writev(s->fd, iov, n);
    while (done < 0 && errno == EINTR);
    if (done > 0) {
        set_failing(s, false, 0);
        return (size_t)done;
    }
    if (done == 0 || errno != EAGAIN)
        set_failing(s, true, done < 0 ? errno : ENOSPC);
    return 0;
}

static bool is_empty(struct audit_sink *s)
{
    return atomic_load(&s->head) == atomic_load_explicit(&s->tail, memory_order_relaxed);
}

static bool write_lines(struct audit_sink *s)
{
    while (!is_empty(s)) {
        size_t from = atomic_load_explicit(&s->tail, memory_order_relaxed) + s->part;
        size_t n = atomic_load_explicit(&s->head, memory_order_acquire) - from;
        if (n > CHUNK)
            n = CHUNK;
        size_t at = from % RING, first = n < RING - at ? n : RING - at;
        struct iovec iov[2] = {{s->ring + at, first}, {s->ring, n - first}};
        size_t done = write_out(s, iov, n > first ? 2 : 1);
        if (done == 0)
            return false;
        consume(s, done);
    }
    return true;
}

/* Losses are a record themselves, written when there is room again. */
static bool write_losses(struct audit_sink *s)
{
    uint64_t lost = atomic_load(&s->lost);
    if (s->note_done == s->note_n) {
        if (lost == s->lost_told)
            return true;
        char stamp[32];
        struct timespec now;
        struct tm tm;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        (void)gmtime_r(&now.tv_sec, &tm);
        (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
        s->note_n =
            (size_t)snprintf(s->note, sizeof s->note,
                             "{\"time\":\"%s.%06ldZ\",\"event\":\"lost\",\"records\":%llu}\n",
                             stamp, now.tv_nsec / 1000, (unsigned long long)(lost - s->lost_told));
        s->note_done = 0;
        s->lost_told = lost;
    }
    while (s->note_done < s->note_n) {
        struct iovec iov = {s->note + s->note_done, s->note_n - s->note_done};
        size_t done = write_out(s, &iov, 1);
        if (done == 0)
            return false;
        s->note_done += done;
    }
    return true;
}

/* Until the file may take more: a FIFO tells, a disk is asked again. */
static void wait_for_file(struct audit_sink *s)
{
    if (!atomic_load(&s->failing)) {
        struct pollfd p = {s->fd, POLLOUT, 0};
        (void)poll(&p, 1, RETRY_S * 1000);
        return;
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RETRY_S;
    (void)sem_timedwait(&s->wake, &until);
}

static void *writer(void *arg)
{
    struct audit_sink *s = arg;
    for (;;) {
        if (atomic_exchange(&s->reopen, false))
            do_reopen(s);
        bool stop = atomic_load(&s->stop);
        /* Between a half-written note and the next line, the note goes first. */
        bool ok =
            (s->note_done == s->note_n || write_losses(s)) && write_lines(s) && write_losses(s);
        if (stop)
            return NULL;
        if (!ok) {
            wait_for_file(s);
            continue;
        }
        /* Sleep only if nothing came between the last look and the flag;
         * the producer looks at the flag after it has published. */
        atomic_store(&s->asleep, true);
        if (is_empty(s) && !atomic_load(&s->stop) && !atomic_load(&s->reopen))
            while (sem_wait(&s->wake) != 0 && errno == EINTR)
                continue;
        atomic_store(&s->asleep, false);
    }
}

static void wake(struct audit_sink *s)
{
    if (atomic_exchange(&s->asleep, false))
        (void)sem_post(&s->wake);
}

struct audit_sink *audit_sink_open(const char *file, struct buf *diag)
{
    struct audit_sink *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    if (!s) {
        buf_put_str(diag, "audit: out of memory");
        return NULL;
    }
    memset(s, 0, offsetof(struct audit_sink, ring));
    s->fd = open_file(file);
    s->file = strdup(file);
    if (s->fd < 0 || !s->file) {
        buf_put_str(diag, "cannot open the audit file ");
        buf_put_str(diag, file);
        buf_put_str(diag, ": ");
        buf_put_str(diag, strerror(errno));
        goto fail;
    }
    if (sem_init(&s->wake, 0, 0) != 0)
        goto fail_thread;
    if (pthread_create(&s->writer, NULL, writer, s) == 0)
        return s;
    (void)sem_destroy(&s->wake);
fail_thread:
    buf_put_str(diag, "audit: cannot start the writer");
fail:
    if (s->fd >= 0)
        close(s->fd);
    free(s->file);
    free(s);
    return NULL;
}

void audit_sink_close(struct audit_sink *s)
{
    if (!s)
        return;
    atomic_store(&s->stop, true);
    (void)sem_post(&s->wake);
    (void)pthread_join(s->writer, NULL);
    if (!is_empty(s))
        log_event(LOG_LEVEL_ERROR, "audit-records-lost", "file", s->file, "bytes",
                  LOG_U(atomic_load(&s->head) - atomic_load(&s->tail)), NULL);
    close(s->fd);
    (void)sem_destroy(&s->wake);
    free(s->file);
    free(s);
}

static size_t room(const struct audit_sink *s)
{
    return RING - (atomic_load_explicit(&s->head, memory_order_relaxed) -
                   atomic_load_explicit(&s->tail, memory_order_acquire));
}

bool audit_sink_write(struct audit_sink *s, struct bytes line)
{
    if (line.n == 0 || line.p[line.n - 1] != '\n' || line.n > room(s)) {
        atomic_fetch_add(&s->lost, 1);
        wake(s);
        return false;
    }
    size_t head = atomic_load_explicit(&s->head, memory_order_relaxed);
    size_t at = head % RING, first = line.n < RING - at ? line.n : RING - at;
    memcpy(s->ring + at, line.p, first);
    if (line.n > first)
        memcpy(s->ring, line.p + first, line.n - first);
    atomic_store(&s->head, head + line.n);
    wake(s);
    return true;
}

bool audit_sink_has_room(const struct audit_sink *s)
{
    /* A file that refuses what is queued already is as good as full. */
    return !atomic_load_explicit(&s->failing, memory_order_relaxed) && room(s) >= LINE_ROOM;
}

void audit_sink_reopen(struct audit_sink *s)
{
    atomic_store(&s->reopen, true);
    (void)sem_post(&s->wake); /* also out of the wait after a failed write */
}

uint64_t audit_sink_lost(const struct audit_sink *s)
{
    return atomic_load(&s->lost);
}
