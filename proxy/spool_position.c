#include "spool_position.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { SLOT = 512, TEXT = 96 };

/* FNV-1a: against a torn write, not against anyone. */
static uint64_t checksum(const char *text, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    return h;
}

static size_t put_slot(const struct position *p, char text[TEXT])
{
    int n = snprintf(text, TEXT, "%016llx %016llx %016llx ", (unsigned long long)p->count,
                     (unsigned long long)p->settled, (unsigned long long)p->lost);
    n += snprintf(text + n, TEXT - (size_t)n, "%016llx\n",
                  (unsigned long long)checksum(text, (size_t)n));
    return (size_t)n;
}

static bool read_slot(int fd, int slot, struct position *out)
{
    char got[TEXT] = "", want[TEXT];
    unsigned long long count, settled, lost;
    if (pread(fd, got, TEXT - 1, (off_t)slot * SLOT) <= 0 ||
        sscanf(got, "%16llx %16llx %16llx ", &count, &settled, &lost) != 3)
        return false;
    struct position p = {fd, count, settled, lost};
    size_t n = put_slot(&p, want);
    if (memcmp(got, want, n) != 0)
        return false;
    *out = p;
    return true;
}

bool position_open(struct position *p, int dir, bool *known)
{
    struct position slots[2];
    int fd = openat(dir, "position", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool first = read_slot(fd, 0, &slots[0]), second = read_slot(fd, 1, &slots[1]);
    *known = first || second;
    *p = (struct position){.fd = fd};
    if (first && (!second || slots[0].count > slots[1].count))
        *p = slots[0];
    else if (second)
        *p = slots[1];
    return true;
}

void position_close(struct position *p)
{
    if (p->fd < 0)
        return;
    (void)fdatasync(p->fd);
    close(p->fd);
    p->fd = -1;
}

bool position_write(struct position *p)
{
    char text[TEXT];
    p->count++;
    size_t n = put_slot(p, text);
    return pwrite(p->fd, text, n, (off_t)(p->count % 2) * SLOT) == (ssize_t)n;
}

bool position_sync(struct position *p)
{
    return fdatasync(p->fd) == 0;
}
