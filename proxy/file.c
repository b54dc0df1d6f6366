#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void wipe(void *p, size_t n)
{
    if (p)
        explicit_bzero(p, n);
}

/* Keys are read here too: every buffer that is given up is wiped. */
static bool read_all(int fd, size_t max, uint8_t **out, size_t *n, const char **why)
{
    size_t used = 0, cap = 0;
    uint8_t *p = NULL;
    for (;;) {
        if (used == cap) {
            size_t more = cap ? cap * 2 : 4096;
            uint8_t *grown = malloc(more);
            if (!grown) {
                *why = "out of memory";
                break;
            }
            if (used)
                memcpy(grown, p, used);
            wipe(p, cap);
            free(p);
            p = grown;
            cap = more;
        }
        ssize_t got = read(fd, p + used, cap - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            *why = strerror(errno);
            break;
        }
        if (got == 0) {
            *out = p;
            *n = used;
            return true;
        }
        used += (size_t)got;
        if (used > max) {
            *why = "the file is too large";
            break;
        }
    }
    wipe(p, cap);
    free(p);
    return false;
}

bool file_read(const char *file, bool stdin_too, size_t max, uint8_t **out, size_t *n,
               const char **why)
{
    if (stdin_too && strcmp(file, "-") == 0)
        return read_all(STDIN_FILENO, max, out, n, why);
    /* O_NONBLOCK: a FIFO in place of a file must not stop the daemon. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        *why = strerror(errno);
        return false;
    }
    struct stat st;
    bool ok = false;
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        ok = read_all(fd, max, out, n, why);
    else
        *why = "it is a directory";
    close(fd);
    return ok;
}

bool file_write(const char *file, struct bytes content, unsigned mode, bool fresh, const char **why)
{
    char beside[4096];
    int len = snprintf(beside, sizeof beside, "%s.%ld.new", file, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof beside) {
        *why = "the name is too long";
        return false;
    }
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
    if (fd < 0) {
        *why = strerror(errno);
        return false;
    }
    size_t done = 0;
    while (done < content.n) {
        ssize_t n = write(fd, content.p + done, content.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    bool ok = done == content.n && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    /* link() refuses what is there; rename() replaces it. */
    ok = ok && (fresh ? link(beside, file) : rename(beside, file)) == 0;
    if (!ok)
        *why = strerror(errno);
    if (!ok || fresh)
        (void)unlink(beside);
    return ok;
}
