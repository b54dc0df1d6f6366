#include "audit_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "stamp.h"

/* The writer sleeps until the first record of a quiet time wakes it. Then it
 * pauses after each write: to be woken for every line would cost the worker
 * more than the line. */
enum writer_state { WRITER_AWAKE = 0, WRITER_PAUSES, WRITER_SLEEPS };

enum {
    RING = 1 << 20,          /* bytes that wait for the disk: some 3000 records of a worker */
    LINE_ROOM = 2048,        /* has_room: one record of any length fits */
    WAKE_AT = RING / 2,      /* this much does not wait for the end of a pause */
    PAUSE_MS = 100,          /* of the writer, while records come */
    RETRY_MS = 1000,         /* after a failed write */
    STAGE = SPOOL_CHUNK_MAX, /* bytes a write */
    NUMBER = 32,             /* {"seq":18446744073709551615, */
    LINE_MAX_HERE = SPOOL_LINE_MAX - NUMBER,
    TAIL = 4 * SPOOL_LINE_MAX, /* of the file, to find its last number */
};

/* One producer (its worker) and one consumer (the writer thread). `head` and
 * `tail` count bytes and never wrap in practice (2^64); between them stand
 * whole lines only, because a line is published by one store of `head`, and
 * `tail` moves by whole lines. */
struct ring {
    _Alignas(64) atomic_size_t head;
    bool untold; /* the worker's own: there are lines that it has not told of */
    _Alignas(64) atomic_size_t tail;
    uint8_t bytes[RING];
};

struct audit_sink {
    char *file;
    int fd;
    pthread_t writer;
    int wake;                      /* an eventfd: a wait for it knows no clock that can be set */
    _Alignas(64) atomic_int state; /* enum writer_state */
    atomic_bool stop, reopen, failing;
    atomic_uint_fast64_t lost;
    struct spool *spool; /* or NULL, both */
    struct ship *ship;
    /* the writer's own */
    uint64_t seq;       /* of the last record staged */
    uint64_t lost_told; /* losses that a record was made of */
    size_t stage_max, stage_n, stage_done;
    uint8_t stage[STAGE]; /* numbered lines on their way into the file */
    unsigned n_rings;
    unsigned turn; /* whose line is staged next */
    struct ring rings[];
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

/* The highest number among the last lines of a file, 0: none. */
static uint64_t last_number(int fd)
{
    uint8_t tail[TAIL];
    struct stat st;
    uint64_t last = 0;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return 0;
    off_t from = st.st_size > TAIL ? st.st_size - TAIL : 0;
    ssize_t n = pread(fd, tail, TAIL, from);
    struct bytes left = {tail, n > 0 ? (size_t)n : 0};
    for (const uint8_t *nl; left.n > 0 && (nl = memchr(left.p, '\n', left.n));) {
        struct bytes line = {left.p, (size_t)(nl - left.p)};
        uint64_t seq;
        if (spool_line_seq(line, &seq) && seq > last)
            last = seq;
        left = bytes_of(nl + 1, left.n - line.n - 1);
    }
    return last;
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
    /* A half-written line is written whole into the new file. */
    while (s->stage_done > 0 && s->stage[s->stage_done - 1] != '\n')
        s->stage_done--;
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

/* Bytes written, or 0: the file does not take it now. */
static size_t write_out(struct audit_sink *s, struct bytes b)
{
    ssize_t done;
    do
        done = write(s->fd, b.p, b.n);
    while (done < 0 && errno == EINTR);
    if (done > 0) {
        set_failing(s, false, 0);
        return (size_t)done;
    }
    if (done == 0 || errno != EAGAIN)
        set_failing(s, true, done < 0 ? errno : ENOSPC);
    return 0;
}

/* Bytes in the ring, as either side may ask. */
static size_t used(const struct ring *r)
{
    return atomic_load(&r->head) - atomic_load_explicit(&r->tail, memory_order_acquire);
}

/* In the fullest. */
static size_t most_used(const struct audit_sink *s)
{
    size_t most = 0;
    for (unsigned i = 0; i < s->n_rings; i++) {
        size_t n = used(&s->rings[i]);
        most = n > most ? n : most;
    }
    return most;
}

static void stage_number(struct audit_sink *s)
{
    struct buf b = buf_on(s->stage + s->stage_n, NUMBER);
    buf_put(&b, BYTES_LIT("{\"seq\":"));
    buf_put_decimal(&b, ++s->seq, 1);
    buf_put_u8(&b, ',');
    s->stage_n += b.n;
}

/* The next line of a ring, if the stage has room for any. */
static bool stage_line(struct audit_sink *s, struct ring *r)
{
    if (used(r) == 0 || s->stage_max - s->stage_n < SPOOL_LINE_MAX)
        return false;
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    size_t at = (tail + 1) % RING; /* behind its '{' */
    const uint8_t *end = memchr(r->bytes + at, '\n', RING - at);
    size_t first = end ? (size_t)(end - r->bytes) + 1 - at : RING - at, rest = 0;
    if (!end) /* it goes on at the ring's begin */
        rest = (size_t)((const uint8_t *)memchr(r->bytes, '\n', at) - r->bytes) + 1;
    stage_number(s);
    memcpy(s->stage + s->stage_n, r->bytes + at, first);
    memcpy(s->stage + s->stage_n + first, r->bytes, rest);
    s->stage_n += first + rest;
    atomic_store_explicit(&r->tail, tail + 1 + first + rest, memory_order_release);
    return true;
}

/* A line of each in turn, so that what workers wrote at about the same time
 * stands about together; the times in the records say more. */
static bool stage_lines(struct audit_sink *s)
{
    bool any = false;
    for (unsigned i = 0; i < s->n_rings; i++) {
        any = stage_line(s, &s->rings[s->turn]) || any;
        s->turn = s->turn + 1 == s->n_rings ? 0 : s->turn + 1;
    }
    return any;
}

/* Losses are a record themselves, when there is room again. */
static void stage_losses(struct audit_sink *s)
{
    uint64_t lost = atomic_load(&s->lost);
    char stamp[STAMP];
    if (lost == s->lost_told || s->stage_max - s->stage_n < SPOOL_LINE_MAX)
        return;
    stamp_now(stamp);
    stage_number(s);
    s->stage_n += (size_t)snprintf(
        (char *)s->stage + s->stage_n, SPOOL_LINE_MAX - NUMBER,
        "\"time\":\"%s\",\"event\":\"lost\",\"where\":\"queue\",\"records\":%llu}\n", stamp,
        (unsigned long long)(lost - s->lost_told));
    s->lost_told = lost;
}

/* The spool has them first: what a crash leaves out of the file is delivered
 * all the same, and its numbers are not given out again. */
static bool stage(struct audit_sink *s)
{
    uint64_t before = s->seq;
    s->stage_n = s->stage_done = 0;
    while (stage_lines(s))
        continue;
    if (most_used(s) == 0)
        stage_losses(s);
    if (s->stage_n == 0)
        return false;
    if (s->spool) {
        (void)spool_append(s->spool, bytes_of(s->stage, s->stage_n), before + 1, s->seq);
        ship_wake(s->ship);
    }
    return true;
}

/* False: the file takes no more for now. */
static bool write_all(struct audit_sink *s, bool *wrote)
{
    while (s->stage_done < s->stage_n || stage(s)) {
        *wrote = true;
        size_t done = write_out(s, bytes_of(s->stage + s->stage_done, s->stage_n - s->stage_done));
        if (done == 0)
            return false;
        s->stage_done += done;
    }
    return true;
}

/* Until woken; ms -1: however long. */
static void nap(struct audit_sink *s, int ms)
{
    struct pollfd p = {s->wake, POLLIN, 0};
    eventfd_t n;
    if (poll(&p, 1, ms) > 0)
        (void)eventfd_read(s->wake, &n);
}

/* Until the file may take more: a FIFO tells, a disk is asked again. */
static void wait_for_file(struct audit_sink *s)
{
    if (!atomic_load(&s->failing)) {
        struct pollfd p = {s->fd, POLLOUT, 0};
        (void)poll(&p, 1, RETRY_MS);
        return;
    }
    nap(s, RETRY_MS);
}

/* Until there is work. The state is set before the last look at the ring; the
 * producer looks at it after it has published. */
static void wait_for_work(struct audit_sink *s, bool wrote)
{
    if (wrote) {
        atomic_store(&s->state, WRITER_PAUSES);
        if (most_used(s) < WAKE_AT && !atomic_load(&s->stop) && !atomic_load(&s->reopen))
            nap(s, PAUSE_MS);
    } else {
        atomic_store(&s->state, WRITER_SLEEPS);
        if (most_used(s) == 0 && !atomic_load(&s->stop) && !atomic_load(&s->reopen))
            nap(s, -1);
    }
    atomic_store(&s->state, WRITER_AWAKE);
}

static void *writer(void *arg)
{
    struct audit_sink *s = arg;
    for (;;) {
        if (atomic_exchange(&s->reopen, false))
            do_reopen(s);
        bool stop = atomic_load(&s->stop);
        bool wrote = false;
        bool ok = write_all(s, &wrote);
        if (stop)
            return NULL;
        if (ok)
            wait_for_work(s, wrote);
        else
            wait_for_file(s);
    }
}

static void wake(struct audit_sink *s, const struct ring *r)
{
    int state = atomic_load(&s->state);
    if (state == WRITER_SLEEPS || (state == WRITER_PAUSES && used(r) >= WAKE_AT))
        if (atomic_exchange(&s->state, WRITER_AWAKE) != WRITER_AWAKE)
            (void)eventfd_write(s->wake, 1);
}

static bool open_ship(struct audit_sink *s, const struct ship_config *c, struct buf *diag)
{
    s->stage_max = STAGE;
    if (!c || c->kind == SHIP_NONE)
        return true;
    s->spool = spool_open(c->dir, c->spool, s->seq, diag);
    if (!s->spool)
        return false;
    s->seq = spool_last(s->spool);
    s->stage_max = spool_chunk(s->spool);
    s->ship = ship_new(c, s->spool, diag);
    return s->ship != NULL;
}

static void clear(struct audit_sink *s)
{
    ship_free(s->ship);
    spool_close(s->spool);
    if (s->fd >= 0)
        close(s->fd);
    if (s->wake >= 0)
        close(s->wake);
    free(s->file);
    free(s);
}

struct audit_sink *audit_sink_open(const char *file, const struct ship_config *ship,
                                   unsigned workers, struct buf *diag)
{
    /* Not cleared: the pages of a ring that is never used are never there. */
    struct audit_sink *s = aligned_alloc(64, sizeof *s + workers * sizeof(struct ring));
    if (!s) {
        buf_put_str(diag, "audit: out of memory");
        return NULL;
    }
    memset(s, 0, sizeof *s);
    s->n_rings = workers;
    for (unsigned i = 0; i < workers; i++)
        memset(&s->rings[i], 0, offsetof(struct ring, bytes));
    s->wake = -1;
    s->fd = open_file(file);
    s->file = strdup(file);
    if (s->fd < 0 || !s->file) {
        buf_put_str(diag, "cannot open the audit file ");
        buf_put_str(diag, file);
        buf_put_str(diag, ": ");
        buf_put_str(diag, strerror(errno));
        clear(s);
        return NULL;
    }
    s->seq = last_number(s->fd);
    if (!open_ship(s, ship, diag)) {
        clear(s);
        return NULL;
    }
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake >= 0 && pthread_create(&s->writer, NULL, writer, s) == 0)
        return s;
    buf_put_str(diag, "audit: cannot start the writer");
    clear(s);
    return NULL;
}

void audit_sink_close(struct audit_sink *s)
{
    if (!s)
        return;
    atomic_store(&s->stop, true);
    (void)eventfd_write(s->wake, 1);
    (void)pthread_join(s->writer, NULL);
    size_t left = s->stage_n - s->stage_done;
    for (unsigned i = 0; i < s->n_rings; i++)
        left += used(&s->rings[i]);
    if (left > 0)
        log_event(LOG_LEVEL_ERROR, "audit-records-lost", "file", s->file, "bytes", LOG_U(left),
                  NULL);
    clear(s);
}

static size_t room(const struct ring *r)
{
    return RING - used(r);
}

static bool is_record(struct bytes line)
{
    return line.n > 3 && line.n <= LINE_MAX_HERE && line.p[0] == '{' &&
           memcmp(line.p + line.n - 2, "}\n", 2) == 0;
}

bool audit_sink_write(struct audit_sink *s, unsigned worker, struct bytes line)
{
    struct ring *r = &s->rings[worker];
    if (!is_record(line) || line.n > room(r)) {
        atomic_fetch_add(&s->lost, 1);
        wake(s, r);
        return false;
    }
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t at = head % RING, first = line.n < RING - at ? line.n : RING - at;
    bytes_copy(r->bytes + at, line.p, first);
    if (line.n > first)
        bytes_copy(r->bytes, line.p + first, line.n - first);
    atomic_store_explicit(&r->head, head + line.n, memory_order_release);
    r->untold = true;
    return true;
}

void audit_sink_tell(struct audit_sink *s, unsigned worker)
{
    struct ring *r = &s->rings[worker];
    if (!r->untold)
        return;
    r->untold = false;
    /* Either we see that the writer sleeps, or it sees our lines: once a turn,
     * for it waits until all that was written has reached the cache. */
    atomic_thread_fence(memory_order_seq_cst);
    wake(s, r);
}

bool audit_sink_has_room(const struct audit_sink *s, unsigned worker)
{
    /* A file that refuses what is queued already is as good as full. */
    return !atomic_load_explicit(&s->failing, memory_order_relaxed) &&
           room(&s->rings[worker]) >= LINE_ROOM;
}

void audit_sink_reopen(struct audit_sink *s)
{
    atomic_store(&s->reopen, true);
    (void)eventfd_write(s->wake, 1); /* also out of the wait after a failed write */
}

uint64_t audit_sink_lost(const struct audit_sink *s)
{
    return atomic_load(&s->lost);
}

bool audit_sink_ship_status(const struct audit_sink *s, struct ship_status *out)
{
    if (s->ship)
        ship_get_status(s->ship, out);
    return s->ship != NULL;
}
