#include "enrol_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "file.h"

static const char fresh[] =
    "# Who is enrolled. `postern enrol` and `postern unenrol` write here, an entry a\n"
    "# line; they leave other lines as they are. See postern-policy(5).\n"
    "version: 1\n"
    "enrolments:\n";

static bool fail(const char **why)
{
    *why = strerror(errno);
    return false;
}

/* ---- open ---- */

static bool dir_of(const char *path, char out[ENROL_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    int len = slash && n == 0 ? snprintf(out, ENROL_PATH_MAX, "/")
              : slash         ? snprintf(out, ENROL_PATH_MAX, "%.*s", (int)n, path)
                              : snprintf(out, ENROL_PATH_MAX, ".");
    return len >= 0 && len < ENROL_PATH_MAX;
}

static bool take(struct enrol_file *f, struct bytes text)
{
    f->text = malloc(text.n + 1);
    if (!f->text)
        return false;
    memcpy(f->text, text.p, text.n);
    f->n = text.n;
    return true;
}

bool enrol_file_open(struct enrol_file *f, const char *path, const char *like, const char **why)
{
    char dir[ENROL_PATH_MAX];
    *f = (struct enrol_file){.dir = -1};
    int len = snprintf(f->path, sizeof f->path, "%s", path);
    if (len < 0 || (size_t)len >= sizeof f->path || !dir_of(path, dir)) {
        *why = "the path is too long";
        return false;
    }
    /* The directory is locked, not the file, which another one replaces. */
    f->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir < 0)
        return fail(why);
    while (flock(f->dir, LOCK_EX) != 0)
        if (errno != EINTR)
            return fail(why);
    if (stat(f->path, &f->as) == 0) {
        f->exists = true;
        return file_read(f->path, false, ENROL_FILE_MAX, &f->text, &f->n, why);
    }
    if (errno != ENOENT || stat(like, &f->as) != 0)
        return fail(why);
    *why = "out of memory";
    return take(f, bytes_of(fresh, sizeof fresh - 1));
}

void enrol_file_close(struct enrol_file *f)
{
    if (f->dir >= 0)
        close(f->dir);
    free(f->text);
    *f = (struct enrol_file){.dir = -1};
}

/* ---- lines ---- */

static struct bytes line_at(const struct enrol_file *f, size_t at)
{
    const uint8_t *end = at < f->n ? memchr(f->text + at, '\n', f->n - at) : NULL;
    return bytes_of(f->text + at, end ? (size_t)(end - f->text) - at + 1 : f->n - at);
}

/* Blanks before the first other character; all of it when there is none. */
static size_t indent_of(struct bytes line)
{
    size_t n = 0;
    while (n < line.n && (line.p[n] == ' ' || line.p[n] == '\t' || line.p[n] == '\r'))
        n++;
    return n;
}

static uint8_t first_of(struct bytes line)
{
    size_t n = indent_of(line);
    return n < line.n ? line.p[n] : '\n';
}

static bool is_aside(struct bytes line)
{
    uint8_t c = first_of(line);
    return c == '\n' || c == '#';
}

/* How far in the entries stand: as the first of them does. */
static size_t entry_indent(const struct enrol_file *f)
{
    for (size_t at = 0; at < f->n;) {
        struct bytes line = line_at(f, at);
        size_t in = indent_of(line);
        if (first_of(line) == '-' && in + 1 < line.n && line.p[in + 1] == ' ')
            return in;
        at += line.n;
    }
    return 2;
}

bool enrol_file_add(struct enrol_file *f, struct bytes entry)
{
    size_t in = entry_indent(f), cap = f->n + in + entry.n + 4;
    uint8_t *text = malloc(cap);
    if (!text)
        return false;
    struct buf b = buf_on(text, cap);
    buf_put(&b, bytes_of(f->text, f->n));
    if (f->n > 0 && f->text[f->n - 1] != '\n')
        buf_put_u8(&b, '\n');
    for (size_t i = 0; i < in; i++)
        buf_put_u8(&b, ' ');
    buf_put_str(&b, "- ");
    buf_put(&b, entry);
    buf_put_u8(&b, '\n');
    free(f->text);
    f->text = text;
    f->n = b.n;
    return !b.full;
}

bool enrol_file_cut(struct enrol_file *f, unsigned line)
{
    size_t start = 0;
    for (unsigned i = 1; i < line && start < f->n; i++)
        start += line_at(f, start).n;
    if (line == 0 || start >= f->n)
        return false;
    struct bytes first = line_at(f, start);
    size_t in = indent_of(first), end = start + first.n;
    if (first_of(first) != '-')
        return false;
    /* What stands further in belongs to it; comments and blank lines behind it
     * do not. */
    for (size_t at = end; at < f->n;) {
        struct bytes next = line_at(f, at);
        at += next.n;
        if (is_aside(next))
            continue;
        if (indent_of(next) <= in)
            break;
        end = at;
    }
    memmove(f->text + start, f->text + end, f->n - end);
    f->n -= end - start;
    return true;
}

/* ---- writing ---- */

static bool put_all(int fd, struct bytes content)
{
    for (size_t done = 0; done < content.n;) {
        ssize_t n = write(fd, content.p + done, content.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        done += (size_t)n;
    }
    return fsync(fd) == 0;
}

/* As `as` has it: who may not give it away keeps it, if it stays readable to
 * those who could read it. */
static bool dress(int fd, const struct stat *as)
{
    struct stat own;
    if (fstat(fd, &own) != 0)
        return false;
    bool same = own.st_uid == as->st_uid && own.st_gid == as->st_gid;
    return (same || fchown(fd, as->st_uid, as->st_gid) == 0) && fchmod(fd, as->st_mode & 0777) == 0;
}

static bool sync_dir(int dir)
{
    return fsync(dir) == 0;
}

static bool is_unchanged(const struct enrol_file *f)
{
    struct stat now;
    if (stat(f->path, &now) != 0)
        return !f->exists && errno == ENOENT;
    return f->exists && now.st_ino == f->as.st_ino && now.st_dev == f->as.st_dev &&
           now.st_size == f->as.st_size && now.st_mtim.tv_sec == f->as.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == f->as.st_mtim.tv_nsec;
}

bool enrol_file_write(const struct enrol_file *f, const char **why)
{
    char beside[ENROL_PATH_MAX + 32];
    (void)snprintf(beside, sizeof beside, "%s.%ld.new", f->path, (long)getpid());
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(why);
    bool ok = dress(fd, &f->as) && put_all(fd, bytes_of(f->text, f->n));
    int err = errno;
    if (close(fd) != 0 && ok) {
        ok = false;
        err = errno;
    }
    *why = ok ? "somebody changed it meanwhile; nothing was written" : strerror(err);
    ok = ok && is_unchanged(f);
    if (ok && rename(beside, f->path) != 0)
        ok = fail(why);
    if (!ok) {
        (void)unlink(beside);
        return false;
    }
    return sync_dir(f->dir) || fail(why);
}

bool enrol_file_create(const char *path, struct bytes content, bool for_group, const char **why)
{
    char dir[ENROL_PATH_MAX];
    struct stat at, own;
    if (!dir_of(path, dir)) {
        *why = "the path is too long";
        return false;
    }
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd =
        dir_fd < 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool made = fd >= 0;
    bool ok = made && fstat(dir_fd, &at) == 0 && fstat(fd, &own) == 0;
    bool shared = ok && for_group && at.st_gid != own.st_gid && (at.st_mode & S_IRGRP);
    if (ok && (at.st_uid != own.st_uid || at.st_gid != own.st_gid) && geteuid() == 0)
        ok = fchown(fd, at.st_uid, at.st_gid) == 0;
    else if (ok && shared)
        shared = fchown(fd, (uid_t)-1, at.st_gid) == 0;
    if (ok && shared)
        ok = fchmod(fd, 0640) == 0;
    ok = ok && put_all(fd, content);
    int err = errno;
    if (made && close(fd) != 0 && ok) {
        ok = false;
        err = errno;
    }
    ok = ok && sync_dir(dir_fd);
    if (!ok)
        *why = strerror(err);
    if (!ok && made)
        (void)unlink(path);
    if (dir_fd >= 0)
        close(dir_fd);
    return ok;
}
