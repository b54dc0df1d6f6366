/* A DTLS client that changes its address. It offers a connection ID (RFC
 * 9146), asks for /lamp/state, then does so from other ports, without a word
 * between, and prints a line for each: the code of the answer, or "silence".
 *
 *   helper_mover PORT IDENTITY KEY TIMES
 *
 * The first line is "cid" or "none": what came of the offer. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../proxy/hello.h"
#include "../proxy/msg.h"
#include "dtls_client.h"

enum { PATIENCE_MS = 5000, SILENCE_MS = 1500 };

static int fd = -1;
static bool with_cid;

static struct instant now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (struct instant){.mono_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000};
}

static void on_send(void *user, struct bytes datagram)
{
    (void)user;
    with_cid |= datagram.n > 0 && datagram.p[0] == DTLS_WITH_CID;
    (void)!send(fd, datagram.p, datagram.n, 0);
}

static void open_socket(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0)
        close(fd);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        exit(1);
}

/* What comes within `ms`, until there is plaintext or the handshake is done. */
static struct bytes listen_to(struct dtls_client *c, uint64_t ms, bool for_handshake)
{
    uint64_t end = instant_ms(now()) + ms;
    for (uint64_t at; (at = instant_ms(now())) < end;) {
        uint64_t due = dtls_client_deadline_ms(c);
        struct pollfd p = {fd, POLLIN, 0};
        uint64_t until = due < end ? due : end;
        if (poll(&p, 1, until > at ? (int)(until - at) : 0) > 0) {
            uint8_t in[4096];
            ssize_t n = recv(fd, in, sizeof in, 0);
            if (n > 0)
                dtls_client_receive(c, bytes_of(in, (size_t)n), now());
        } else if (due <= instant_ms(now())) {
            dtls_client_expire(c, now());
        }
        if (for_handshake && dtls_client_established(c))
            return BYTES_NONE;
        struct bytes plain = dtls_client_read(c);
        if (plain.n)
            return plain;
    }
    return BYTES_NONE;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 64;
    uint16_t port = (uint16_t)atoi(argv[1]);
    struct dtls_client_config config = {
        .identity = bytes_str(argv[2]), .key = bytes_str(argv[3]), .cid = true, .send = on_send};
    struct dtls_client *c = dtls_client_new(&config);
    if (!c)
        return 1;
    open_socket(port);
    dtls_client_connect(c, now());
    (void)listen_to(c, PATIENCE_MS, true);
    if (!dtls_client_established(c))
        return 1;
    for (int i = 0; i < (with_cid || i == 0 ? atoi(argv[4]) : 2); i++) {
        uint8_t storage[64];
        struct buf b = buf_on(storage, sizeof storage);
        struct msg m = {.type = TYPE_CON, .code = MSG_GET, .mid = (uint16_t)(i + 1), .token_n = 1};
        m.token[0] = (uint8_t)i;
        if (!msg_add(&m, OPT_URI_PATH, BYTES_LIT("lamp")) ||
            !msg_add(&m, OPT_URI_PATH, BYTES_LIT("state")) || !msg_write(&m, &b) ||
            !dtls_client_write(c, buf_bytes(&b), now()))
            return 1;
        if (i == 0)
            puts(with_cid ? "cid" : "none");
        struct bytes answer = listen_to(c, with_cid ? PATIENCE_MS : SILENCE_MS, false);
        if (msg_parse(answer, &m) == MSG_OK)
            printf("%d.%02d\n", MSG_CLASS(m.code), m.code & 31);
        else
            puts("silence");
        open_socket(port);
    }
    dtls_client_close(c, now());
    dtls_client_free(c);
    close(fd);
    return 0;
}
