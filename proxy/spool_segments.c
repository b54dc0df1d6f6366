#include "spool_segments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

void segments_name(uint64_t first, char out[SEGMENT_NAME])
{
    (void)snprintf(out, SEGMENT_NAME, "%020llu.jsonl", (unsigned long long)first);
}

static bool number_of(const char *name, uint64_t *first)
{
    *first = 0;
    for (size_t i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(*first, 10u, first) ||
            __builtin_add_overflow(*first, (uint64_t)(name[i] - '0'), first))
            return false;
    }
    return *first > 0 && strcmp(name + 20, ".jsonl") == 0;
}

void segments_note_oldest(struct segments *g)
{
    atomic_store(&g->oldest, g->n ? g->at[0].first : 0);
}

void segments_remove_first(struct segments *g)
{
    char name[SEGMENT_NAME];
    segments_name(g->at[0].first, name);
    if (unlinkat(g->dir, name, 0) != 0)
        log_event(LOG_LEVEL_ERROR, "audit-spool-failed", "remove", name, "error", strerror(errno),
                  NULL);
    g->total -= g->at[0].size;
    g->n--;
    memmove(g->at, g->at + 1, g->n * sizeof *g->at);
    segments_note_oldest(g);
}

ssize_t segments_find(const struct segments *g, uint64_t first)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->at[i].first == first)
            return (ssize_t)i;
    return -1;
}

static int by_first(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

bool segments_add(struct segments *g, uint64_t first, uint64_t size)
{
    if (g->n == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 64;
        struct segment *more = realloc(g->at, cap * sizeof *more);
        if (!more)
            return false;
        g->at = more;
        g->cap = cap;
    }
    g->at[g->n++] = (struct segment){first, size};
    g->total += size;
    return true;
}

bool segments_read(struct segments *g, int dir)
{
    g->dir = dir;
    int fd = dup(g->dir);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = true;
    for (const struct dirent *e; ok && (e = readdir(d));) {
        uint64_t first;
        struct stat st;
        if (strnlen(e->d_name, SEGMENT_NAME) == 26 && number_of(e->d_name, &first) &&
            fstatat(g->dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            ok = segments_add(g, first, (uint64_t)st.st_size);
    }
    closedir(d);
    if (g->n)
        qsort(g->at, g->n, sizeof *g->at, by_first);
    return ok;
}

void segments_clear(struct segments *g)
{
    free(g->at);
    g->at = NULL;
    g->n = g->cap = 0;
}
