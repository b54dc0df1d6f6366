/* A bad line between two network namespaces, for kernels without netem: a
 * TUN device in each, and this between them. IP packets are lost, delayed (a
 * fixed time and up to as much again), overtaken by later ones and doubled,
 * by chance from a seed.
 *
 *   bench_line NETNS DEVICE NETNS DEVICE LOSS REORDER DUPLICATE DELAY_MS SEED
 *
 * The first three numbers are in parts of a thousand. Prints "ready"; when it
 * is stopped (SIGTERM), what it did, as one line of JSON. */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { QUEUE = 4096 };

struct packet {
    uint64_t due_us; /* 0: free */
    int to;
    size_t n;
    uint8_t bytes[BENCH_DATAGRAM];
};

static struct packet queue[QUEUE];
static struct {
    unsigned loss, reorder, duplicate, delay_ms;
} line;
static struct {
    unsigned long long seen, lost, reordered, duplicated, overflowed, refused;
} done;
static volatile sig_atomic_t stopped;
static uint64_t chance;

static void on_stop(int signo)
{
    (void)signo;
    stopped = 1;
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* xorshift64: the same seed gives the same line. */
static unsigned draw(unsigned below)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (unsigned)(chance >> 33) % below;
}

static int open_device(const char *netns, const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int there = open(netns, O_RDONLY | O_CLOEXEC), fd = -1;
    if (there < 0 || setns(there, CLONE_NEWNET) != 0 || strlen(name) >= sizeof r.ifr_name)
        bench_fail("no such network namespace");
    close(there);
    memcpy(r.ifr_name, name, strlen(name));
    if ((fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0 ||
        ioctl(fd, TUNSETIFF, &r) != 0)
        bench_fail("no TUN device");
    return fd;
}

static void put(int to, const uint8_t *p, size_t n, uint64_t due_us)
{
    for (size_t i = 0; i < QUEUE; i++)
        if (queue[i].due_us == 0) {
            queue[i].due_us = due_us;
            queue[i].to = to;
            queue[i].n = n;
            memcpy(queue[i].bytes, p, n);
            return;
        }
    done.overflowed++;
}

static void take(int from, int to)
{
    static uint8_t bytes[BENCH_DATAGRAM];
    for (ssize_t n; (n = read(from, bytes, sizeof bytes)) > 0;) {
        uint64_t now = now_us(), delay_us = line.delay_ms * UINT64_C(1000);
        done.seen++;
        if (draw(1000) < line.loss) {
            done.lost++;
            continue;
        }
        uint64_t due_us = now + delay_us;
        if (draw(1000) < line.reorder) { /* later than what follows it */
            due_us += delay_us + draw((unsigned)delay_us + 1);
            done.reordered++;
        }
        put(to, bytes, (size_t)n, due_us);
        if (draw(1000) < line.duplicate) {
            put(to, bytes, (size_t)n, due_us + draw((unsigned)delay_us + 1));
            done.duplicated++;
        }
    }
}

/* What is due leaves, the earliest first. Returns how long until the next. */
static int give(void)
{
    for (;;) {
        struct packet *first = NULL;
        for (size_t i = 0; i < QUEUE; i++)
            if (queue[i].due_us && (!first || queue[i].due_us < first->due_us))
                first = &queue[i];
        uint64_t now = now_us();
        if (!first)
            return -1;
        if (first->due_us > now)
            return (int)((first->due_us - now + 999) / 1000);
        if (write(first->to, first->bytes, first->n) != (ssize_t)first->n)
            done.refused++;
        first->due_us = 0;
    }
}

int main(int argc, char **argv)
{
    if (argc != 10)
        bench_fail("see the head of bench_line.c");
    line.loss = (unsigned)atoi(argv[5]);
    line.reorder = (unsigned)atoi(argv[6]);
    line.duplicate = (unsigned)atoi(argv[7]);
    line.delay_ms = (unsigned)atoi(argv[8]);
    chance = strtoull(argv[9], NULL, 10) * 2654435761u + 1;
    struct sigaction act = {.sa_handler = on_stop};
    sigaction(SIGTERM, &act, NULL);
    struct pollfd p[2] = {{open_device(argv[1], argv[2]), POLLIN, 0},
                          {open_device(argv[3], argv[4]), POLLIN, 0}};
    printf("ready\n");
    fflush(stdout);
    while (!stopped) {
        int wait_ms = give();
        (void)poll(p, 2, wait_ms < 0 ? 1000 : wait_ms);
        take(p[0].fd, p[1].fd);
        take(p[1].fd, p[0].fd);
    }
    printf("{\"seen\": %llu, \"lost\": %llu, \"reordered\": %llu, \"duplicated\": %llu, "
           "\"overflowed\": %llu, \"refused\": %llu}\n",
           done.seen, done.lost, done.reordered, done.duplicated, done.overflowed, done.refused);
    return 0;
}
