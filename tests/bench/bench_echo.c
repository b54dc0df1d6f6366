/* A device that does as little as one can: it answers every request at once.
 * GET: 2.05 and 20 bytes; anything else: 2.04. What a gateway asks for
 * itself (/.well-known/core) is not there.
 *
 *   bench_echo        prints its port, and runs until it is stopped */
#include <arpa/inet.h>
#include <string.h>

#include "bench.h"

/* The answer in the place of its request; its length, 0: none. */
static size_t answer(uint8_t *p, size_t n)
{
    static const char payload[] = "\xff"
                                  "20 bytes of content.";
    size_t token_n = n >= 4 ? p[0] & 15 : 9;
    unsigned type = n >= 4 ? p[0] >> 4 & 3 : 0;
    if (token_n > 8 || n < 4 + token_n || p[0] >> 6 != 1 || type > 1 || p[1] == 0 || p[1] > 31)
        return 0;
    bool get = p[1] == 1, known = memmem(p, n, ".well-known", 11) == NULL;
    p[0] = (uint8_t)(0x40 | (type == 0 ? 2u : 1u) << 4 | token_n);
    p[1] = !known ? 0x84 : get ? 0x45 : 0x44;
    if (!known || !get)
        return 4 + token_n;
    memcpy(p + 4 + token_n, payload, sizeof payload - 1);
    return 4 + token_n + sizeof payload - 1;
}

int main(void)
{
    static uint8_t data[BENCH_BATCH][BENCH_DATAGRAM];
    static struct sockaddr_in peers[BENCH_BATCH];
    static struct iovec iov[BENCH_BATCH];
    static struct mmsghdr in[BENCH_BATCH], out[BENCH_BATCH];
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t local_n = sizeof local;
    int fd = bench_socket(&local);
    if (getsockname(fd, (struct sockaddr *)&local, &local_n) != 0)
        bench_fail("no port");
    printf("%u\n", ntohs(local.sin_port));
    fflush(stdout);
    for (;;) {
        for (size_t i = 0; i < BENCH_BATCH; i++) {
            iov[i] = (struct iovec){data[i], BENCH_DATAGRAM};
            in[i].msg_hdr = (struct msghdr){.msg_name = &peers[i],
                                            .msg_namelen = sizeof peers[i],
                                            .msg_iov = &iov[i],
                                            .msg_iovlen = 1};
        }
        int n = recvmmsg(fd, in, BENCH_BATCH, MSG_WAITFORONE, NULL);
        unsigned n_out = 0;
        for (int i = 0; i < n; i++) {
            iov[i].iov_len = answer(data[i], in[i].msg_len);
            if (iov[i].iov_len > 0)
                out[n_out++].msg_hdr = in[i].msg_hdr;
        }
        for (unsigned done = 0; done < n_out;) {
            int sent = sendmmsg(fd, out + done, n_out - done, 0);
            done += sent > 0 ? (unsigned)sent : 1u;
        }
    }
}
