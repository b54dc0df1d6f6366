/* Strangers, who mean harm: sends one kind of datagram at a steady rate, for
 * a bounded time, as cheaply as one can, and reads what comes back only as
 * far as a stranger must.
 *
 *   bench_flood KIND PORT SECONDS RATE [FILE [SOURCE_PORT]]
 *
 *   hellos     ClientHellos without a cookie, each from another port
 *   ecdhe      the cookie is fetched and returned, and then nothing more is said:
 *              RATE returned cookies a second, each of a new ClientHello
 *   tls        the same over TCP: a connection, a ClientHello, and nothing more
 *   tokens     the datagrams of FILE, one a line in hexadecimal, over and over,
 *              with a message ID and token of their own (CoAP)
 *   noise      random bytes, as records of an association and as none
 *   replay     the datagrams of FILE as they are, over and over, from the port
 *              of 127.0.0.1 that they once came from
 *
 * Prints one line of JSON: {"sent": , "answers": , "seconds": }. */
#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum {
    SOCKETS = 64, /* the strangers' ports; a cookie is for one of them */
    LINES = 2048,
    RATE_MAX = 20000,
    SECONDS_MAX = 60,
    HELLO_RANDOM_AT = 13 + 12 + 2,
};

struct line {
    uint8_t *p;
    size_t n;
};

static int fds[SOCKETS];
static struct line lines[LINES];
static size_t n_lines;
static uint64_t n_sent, n_answers, seed = 88172645463325252u;

static uint64_t random64(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

static uint64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void put(int fd, const uint8_t *p, size_t n)
{
    if (send(fd, p, n, 0) == (ssize_t)n)
        n_sent++;
}

static size_t put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return 2;
}

/* RFC 6347 4.2.2, RFC 8422 5.1: what a stock client with ECDHE offers. */
static size_t make_hello(uint8_t *p, const uint8_t random[32], const uint8_t *cookie,
                         size_t cookie_n)
{
    static const uint8_t rest[] = {
        0x00, 0x04, 0xc0, 0x2b, 0xc0, 0xae, /* ECDHE_ECDSA with GCM, CCM_8 */
        0x01, 0x00,                         /* no compression */
        0x00, 0x1a,                         /* extensions */
        0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17, 0x00, 0x0b, 0x00, 0x02, 0x01,
        0x00, 0x00, 0x0d, 0x00, 0x08, 0x00, 0x06, 0x04, 0x03, 0x05, 0x03, 0x06, 0x03};
    size_t body = 2 + 32 + 1 + 1 + cookie_n + sizeof rest, n = 0;
    bool again = cookie_n > 0;
    static const uint8_t head[] = {22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0};
    memcpy(p, head, sizeof head);
    n = sizeof head;
    p[n++] = again;
    n += put16(p + n, (unsigned)(body + 12));
    p[n++] = 1;
    p[n++] = 0;
    n += put16(p + n, (unsigned)body);
    n += put16(p + n, again);
    p[n++] = 0;
    n += put16(p + n, 0);
    p[n++] = 0;
    n += put16(p + n, (unsigned)body);
    n += put16(p + n, 0xfefd);
    memcpy(p + n, random, 32);
    n += 32;
    p[n++] = 0;
    p[n++] = (uint8_t)cookie_n;
    if (cookie_n)
        memcpy(p + n, cookie, cookie_n);
    n += cookie_n;
    memcpy(p + n, rest, sizeof rest);
    return n + sizeof rest;
}

/* RFC 5246 7.4.1.2: what a stock client with ECDHE offers. */
static size_t make_tls_hello(uint8_t *p, const uint8_t random[32])
{
    static const uint8_t head[] = {22, 3, 1, 0, 0x4d, 1, 0, 0, 0x49, 3, 3};
    static const uint8_t rest[] = {0x00, 0x00, 0x04, 0xc0, 0x2b, 0xc0, 0xae, 0x01, 0x00, 0x00,
                                   0x1c, 0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17, 0x00,
                                   0x0b, 0x00, 0x02, 0x01, 0x00, 0x00, 0x0d, 0x00, 0x0a, 0x00,
                                   0x08, 0x04, 0x03, 0x05, 0x03, 0x06, 0x03, 0x02, 0x03};
    memcpy(p, head, sizeof head);
    memcpy(p + sizeof head, random, 32);
    memcpy(p + sizeof head + 32, rest, sizeof rest);
    return sizeof head + 32 + sizeof rest;
}

/* A random in the socket's last hello: its cookie is looked for in the answer. */
static uint8_t randoms[SOCKETS][32];

static void say_hello(size_t i)
{
    uint8_t hello[256];
    for (size_t k = 0; k < 4; k++) {
        uint64_t r = random64();
        memcpy(randoms[i] + 8 * k, &r, sizeof r);
    }
    put(fds[i], hello, make_hello(hello, randoms[i], NULL, 0));
}

/* What came to socket i; a HelloVerifyRequest is answered when `go_on`. */
static void hear(size_t i, bool go_on)
{
    uint8_t in[2048], hello[256];
    for (ssize_t n; (n = recv(fds[i], in, sizeof in, MSG_DONTWAIT)) > 0;) {
        n_answers++;
        size_t cookie_n = n > 27 && in[0] == 22 && in[13] == 3 ? in[27] : 0;
        if (!go_on || cookie_n == 0 || cookie_n > 32 || (size_t)n < 28 + cookie_n)
            continue;
        put(fds[i], hello, make_hello(hello, randoms[i], in + 28, cookie_n));
    }
}

/* Host i of 127.9.9.0/24. */
static struct sockaddr_in host(size_t i)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(0x7f090901 + (uint32_t)i % 16)};
}

/* The connection in this place gives way to a new one. */
static void say_tls_hello(size_t i, const struct sockaddr_in *to)
{
    uint8_t out[128], random[32];
    struct sockaddr_in from = host(i);
    for (size_t k = 0; k < sizeof random; k += 8) {
        uint64_t r = random64();
        memcpy(random + k, &r, sizeof r);
    }
    close(fds[i]);
    fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fds[i] < 0 || bind(fds[i], (const struct sockaddr *)&from, sizeof from) != 0)
        bench_fail("cannot open a socket");
    (void)!connect(fds[i], (const struct sockaddr *)to, sizeof *to);
    size_t n = make_tls_hello(out, random);
    if (send(fds[i], out, n, MSG_NOSIGNAL) == (ssize_t)n) /* there was a place for it */
        n_sent++;
}

static void say_noise(size_t i)
{
    uint8_t out[320];
    uint64_t how = random64();
    size_t n = 1 + how % 300;
    for (size_t k = 0; k < n; k += 8) {
        uint64_t r = random64();
        memcpy(out + k, &r, sizeof r);
    }
    if (how >> 32 & 1 && n > 13) { /* looks like a record of an established session */
        static const uint8_t head[] = {23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0};
        memcpy(out, head, sizeof head);
        put16(out + 11, (unsigned)(n - 13));
    }
    put(fds[i], out, n);
}

static void say_line(size_t i, bool coap)
{
    struct line *l = &lines[n_sent % n_lines];
    if (coap && l->n > 8 && (l->p[0] & 15) == 4) {
        put16(l->p + 2, (unsigned)random64() & 0xffff);
        uint64_t r = random64();
        memcpy(l->p + 4, &r, 4);
    }
    put(fds[i], l->p, l->n);
}

static void read_lines(const char *file)
{
    static char text[8192];
    FILE *f = file ? fopen(file, "r") : NULL;
    if (!f)
        bench_fail("cannot read the file of datagrams");
    while (n_lines < LINES && fgets(text, sizeof text, f)) {
        uint8_t bytes[BENCH_DATAGRAM];
        text[strcspn(text, "\n")] = 0;
        struct line *l = &lines[n_lines];
        l->n = bench_hex(text, bytes, sizeof bytes);
        l->p = malloc(l->n + 1);
        if (!l->p)
            bench_fail("out of memory");
        memcpy(l->p, bytes, l->n);
        n_lines += l->n > 0;
    }
    fclose(f);
    if (n_lines == 0)
        bench_fail("no datagrams");
}

static void open_sockets(const struct sockaddr_in *to, uint16_t source)
{
    for (size_t i = 0; i < SOCKETS; i++) {
        struct sockaddr_in local = host(i);
        if (source && i > 0) {
            fds[i] = fds[0];
            continue;
        }
        if (source) {
            local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            local.sin_port = htons(source);
        }
        fds[i] = bench_socket(&local);
        if (connect(fds[i], (const struct sockaddr *)to, sizeof *to) != 0)
            bench_fail("cannot connect");
    }
}

int main(int argc, char **argv)
{
    const char *kind = argc > 4 ? argv[1] : "";
    double seconds = argc > 4 ? atof(argv[3]) : 0, rate = argc > 4 ? atof(argv[4]) : 0;
    bool hellos = strcmp(kind, "hellos") == 0, ecdhe = strcmp(kind, "ecdhe") == 0;
    bool tokens = strcmp(kind, "tokens") == 0, noise = strcmp(kind, "noise") == 0;
    bool replay = strcmp(kind, "replay") == 0, tls = strcmp(kind, "tls") == 0;
    if (!(hellos || ecdhe || tls || tokens || noise || replay) || seconds <= 0 ||
        seconds > SECONDS_MAX || rate <= 0 || rate > RATE_MAX)
        bench_fail("bench_flood hellos|ecdhe|tls|tokens|noise|replay PORT SECONDS RATE [FILE "
                   "[SOURCE_PORT]]");
    if (tokens || replay)
        read_lines(argc > 5 ? argv[5] : NULL);
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)atoi(argv[2])),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    open_sockets(&to, replay && argc > 6 ? (uint16_t)atoi(argv[6]) : 0);
    uint64_t from = clock_us(), until = from + (uint64_t)(seconds * 1e6), now = from, due = from;
    for (uint64_t k = 0; now < until; now = clock_us()) {
        for (; due <= now; due = from + (uint64_t)((double)++k * 1e6 / rate)) {
            size_t i = k % SOCKETS;
            hear(i, ecdhe); /* before the next hello has another random */
            if (tls)
                say_tls_hello(i, &to);
            else if (hellos || ecdhe)
                say_hello(i);
            else if (noise)
                say_noise(i);
            else
                say_line(i, tokens);
        }
        struct pollfd none = {-1, 0, 0};
        struct timespec wait = {0, 500000}; /* then a few at once: the generator must stay cheap */
        (void)ppoll(&none, 1, &wait, NULL);
    }
    printf("{\"sent\": %llu, \"answers\": %llu, \"seconds\": %.3f}\n", (unsigned long long)n_sent,
           (unsigned long long)n_answers, (double)(now - from) / 1e6);
    return 0;
}
