#include "sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../pep/crypto.h"
#include "../policy/cursor.h"

enum {
    A256GCM = 3,
    NONCE = 12,
    TAG = 16,
    FRAME = 4, /* a chunk's length, and in its highest bit whether it is the last */
    ENTRY = 3, /* kind and length */
};
#define LAST UINT32_C(0x80000000)

static const uint8_t MAGIC[8] = "postern\1";

/* What both sides know of the file. */
struct sealed {
    int fd, dir_fd;
    uint8_t key[SEALED_KEY];
    uint32_t chunks;
    uint8_t head[SEALED_HEAD_MAX];
    size_t head_n;
};

struct sealed_writer {
    struct sealed s;
    char name[64];
    int error; /* errno of the first failure */
    size_t n;
    uint8_t plain[SEALED_CHUNK];
};

struct sealed_reader {
    struct sealed s;
    off_t first;
    uint8_t plain[SEALED_CHUNK];
};

static void nonce(uint32_t chunk, bool last, uint8_t out[NONCE])
{
    struct buf b = buf_on(out, NONCE);
    buf_put_be(&b, last, 8);
    buf_put_be(&b, chunk, 4);
}

static void clear(struct sealed *s)
{
    if (s->fd >= 0)
        close(s->fd);
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    crypto_wipe(s->key, sizeof s->key);
}

static bool write_all(int fd, struct bytes in)
{
    while (in.n > 0) {
        ssize_t n = write(fd, in.p, in.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        in = bytes_of(in.p + n, in.n - (size_t)n);
    }
    return true;
}

static bool read_all(int fd, uint8_t *out, size_t n)
{
    while (n > 0) {
        ssize_t got = read(fd, out, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        out += got;
        n -= (size_t)got;
    }
    return true;
}

/* ---- writing ---- */

static void fail(struct sealed_writer *w, int error)
{
    if (w->error == 0)
        w->error = error ? error : EIO;
}

struct sealed_writer *sealed_create(const char *dir, const char *name,
                                    const uint8_t key[SEALED_KEY], struct bytes head,
                                    const char **why)
{
    uint8_t front[sizeof MAGIC + 2];
    struct buf b = buf_on(front, sizeof front);
    struct sealed_writer *w = NULL;
    errno = EINVAL;
    if (head.n <= SEALED_HEAD_MAX && strlen(name) < sizeof w->name)
        w = malloc(sizeof *w);
    if (!w) {
        *why = strerror(errno);
        return NULL;
    }
    w->error = 0;
    w->n = 0;
    w->s = (struct sealed){.fd = -1, .head_n = head.n};
    memcpy(w->s.key, key, SEALED_KEY);
    if (head.n)
        memcpy(w->s.head, head.p, head.n);
    memcpy(w->name, name, strlen(name) + 1);
    w->s.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->s.dir_fd >= 0 && (unlinkat(w->s.dir_fd, name, 0) == 0 || errno == ENOENT))
        w->s.fd =
            openat(w->s.dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    buf_put(&b, bytes_of(MAGIC, sizeof MAGIC));
    buf_put_be(&b, head.n, 2);
    if (w->s.fd < 0 || !write_all(w->s.fd, buf_bytes(&b)) || !write_all(w->s.fd, head)) {
        *why = strerror(errno);
        sealed_abandon(w);
        return NULL;
    }
    return w;
}

static void put_chunk(struct sealed_writer *w, bool last)
{
    static const size_t room = FRAME + SEALED_CHUNK + TAG;
    uint8_t iv[NONCE];
    uint8_t *storage = malloc(room);
    if (!storage) {
        fail(w, ENOMEM);
        return;
    }
    struct buf out = buf_on(storage, room);
    buf_put_be(&out, (w->n + TAG) | (last ? LAST : 0), FRAME);
    nonce(w->s.chunks++, last, iv);
    if (!crypto_seal(crypto_alg(A256GCM), bytes_of(w->s.key, SEALED_KEY), bytes_of(iv, NONCE),
                     bytes_of(w->s.head, w->s.head_n), bytes_of(w->plain, w->n), &out))
        fail(w, EIO);
    else if (!write_all(w->s.fd, buf_bytes(&out)))
        fail(w, errno);
    crypto_wipe(w->plain, w->n);
    free(storage);
    w->n = 0;
}

void sealed_put(struct sealed_writer *w, uint8_t kind, struct bytes entry)
{
    if (entry.n > SEALED_ENTRY_MAX)
        fail(w, EMSGSIZE);
    if (w->error)
        return;
    if (ENTRY + entry.n > SEALED_CHUNK - w->n)
        put_chunk(w, false);
    struct buf b = buf_on(w->plain + w->n, SEALED_CHUNK - w->n);
    buf_put_u8(&b, kind);
    buf_put_be(&b, entry.n, 2);
    buf_put(&b, entry);
    w->n += b.n;
}

static void writer_free(struct sealed_writer *w)
{
    crypto_wipe(w->plain, sizeof w->plain);
    clear(&w->s);
    free(w);
}

void sealed_abandon(struct sealed_writer *w)
{
    if (!w)
        return;
    if (w->s.fd >= 0) {
        (void)unlinkat(w->s.dir_fd, w->name, 0);
        (void)fsync(w->s.dir_fd);
    }
    writer_free(w);
}

bool sealed_finish(struct sealed_writer *w, const char **why)
{
    if (!w->error)
        put_chunk(w, true);
    if (!w->error && (fsync(w->s.fd) != 0 || fsync(w->s.dir_fd) != 0))
        fail(w, errno);
    if (w->error) {
        *why = strerror(w->error);
        sealed_abandon(w);
        return false;
    }
    writer_free(w);
    return true;
}

/* ---- reading ---- */

/* The next chunk's plaintext in r->plain. */
static bool take_chunk(struct sealed_reader *r, size_t *n, bool *last)
{
    uint8_t frame[FRAME], iv[NONCE];
    if (!read_all(r->s.fd, frame, FRAME))
        return false;
    uint32_t length =
        (uint32_t)frame[0] << 24 | (uint32_t)frame[1] << 16 | (uint32_t)frame[2] << 8 | frame[3];
    *last = (length & LAST) != 0;
    length &= ~LAST;
    if (length < TAG || length > SEALED_CHUNK + TAG)
        return false;
    uint8_t *sealed = malloc(length);
    struct buf out = buf_on(r->plain, sizeof r->plain);
    nonce(r->s.chunks++, *last, iv);
    bool ok = sealed && read_all(r->s.fd, sealed, length) &&
              crypto_open(crypto_alg(A256GCM), bytes_of(r->s.key, SEALED_KEY), bytes_of(iv, NONCE),
                          bytes_of(r->s.head, r->s.head_n), bytes_of(sealed, length), &out);
    free(sealed);
    *n = out.n;
    return ok;
}

static bool show_chunk(struct bytes plain,
                       bool (*visit)(void *user, uint8_t kind, struct bytes entry), void *user,
                       bool *said)
{
    struct cursor c = cursor_on(plain);
    while (cursor_ok(&c) && c.n > 0) {
        uint8_t kind = cursor_u8(&c);
        struct bytes entry = cursor_vector(&c, 2);
        if (!cursor_ok(&c))
            return false;
        if (visit && !visit(user, kind, entry)) {
            *said = true;
            return false;
        }
    }
    return cursor_ok(&c);
}

/* From the first chunk to the last, and nothing behind it. */
static bool walk(struct sealed_reader *r,
                 bool (*visit)(void *user, uint8_t kind, struct bytes entry), void *user)
{
    bool last = false, said = false, ok = lseek(r->s.fd, r->first, SEEK_SET) == r->first;
    uint8_t more;
    r->s.chunks = 0;
    while (ok && !last) {
        size_t n = 0;
        ok = take_chunk(r, &n, &last) && show_chunk(bytes_of(r->plain, n), visit, user, &said);
        crypto_wipe(r->plain, n);
    }
    return ok && read(r->s.fd, &more, 1) == 0;
}

static bool read_head(struct sealed_reader *r)
{
    uint8_t front[sizeof MAGIC + 2];
    if (!read_all(r->s.fd, front, sizeof front) || memcmp(front, MAGIC, sizeof MAGIC) != 0)
        return false;
    r->s.head_n = (size_t)front[sizeof MAGIC] << 8 | front[sizeof MAGIC + 1];
    if (r->s.head_n > SEALED_HEAD_MAX || !read_all(r->s.fd, r->s.head, r->s.head_n))
        return false;
    r->first = (off_t)(sizeof front + r->s.head_n);
    return true;
}

/* Of all who try to remove it one can. */
static enum sealed_err take_away(struct sealed *s, const char *dir, const char *name)
{
    struct stat st;
    s->fd = -1;
    s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0)
        return SEALED_IO;
    s->fd = openat(s->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    int error = errno;
    if (unlinkat(s->dir_fd, name, 0) != 0)
        return errno == ENOENT ? SEALED_NONE : SEALED_IO;
    if (fsync(s->dir_fd) != 0)
        return SEALED_IO;
    if (s->fd < 0)
        return error == ENOENT ? SEALED_NONE : SEALED_IO;
    /* One that was put there between the two is not the one that went. */
    if (fstat(s->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 0)
        return SEALED_BROKEN;
    return SEALED_OK;
}

enum sealed_err sealed_take(const char *dir, const char *name, const uint8_t key[SEALED_KEY],
                            struct sealed_reader **out)
{
    struct sealed_reader *r = malloc(sizeof *r);
    if (!r) {
        (void)sealed_remove(dir, name);
        return SEALED_IO;
    }
    memset(&r->s, 0, sizeof r->s);
    enum sealed_err err = take_away(&r->s, dir, name);
    memcpy(r->s.key, key, SEALED_KEY);
    if (err == SEALED_OK && (!read_head(r) || !walk(r, NULL, NULL)))
        err = SEALED_BROKEN;
    if (err == SEALED_OK)
        *out = r;
    else
        sealed_close(r);
    return err;
}

bool sealed_remove(const char *dir, const char *name)
{
    struct sealed s = {.fd = -1};
    enum sealed_err err = take_away(&s, dir, name);
    clear(&s);
    return err == SEALED_OK || err == SEALED_BROKEN;
}

struct bytes sealed_head(const struct sealed_reader *r)
{
    return bytes_of(r->s.head, r->s.head_n);
}

bool sealed_each(struct sealed_reader *r, bool (*visit)(void *user, uint8_t kind, struct bytes e),
                 void *user)
{
    return walk(r, visit, user);
}

void sealed_close(struct sealed_reader *r)
{
    if (!r)
        return;
    clear(&r->s);
    crypto_wipe(r->plain, sizeof r->plain);
    free(r);
}
