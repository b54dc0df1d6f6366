/* What the programs of the bench share. They are tools, not tests: what goes
 * wrong ends them with a word. */
#ifndef POSTERN_BENCH_H
#define POSTERN_BENCH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BENCH_BATCH = 32, BENCH_DATAGRAM = 2304, BENCH_BUFFER = 4 << 20 };

static inline _Noreturn void bench_fail(const char *why)
{
    fprintf(stderr, "bench: %s\n", why);
    exit(1);
}

static inline size_t bench_hex(const char *text, uint8_t *out, size_t cap)
{
    size_t n = 0;
    unsigned byte;
    for (; n < cap && sscanf(text, "%2x", &byte) == 1; text += 2) {
        out[n++] = (uint8_t)byte;
        if (!text[1])
            bench_fail("an odd number of hexadecimal digits");
    }
    if (*text)
        bench_fail("not hexadecimal, or too long");
    return n;
}

/* With room for a burst, as far as the system lets us. */
static inline int bench_socket(const struct sockaddr_in *local)
{
    int size = BENCH_BUFFER, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)local, sizeof *local) != 0)
        bench_fail("cannot open a socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return fd;
}

#endif
