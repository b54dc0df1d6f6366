/* The floor: what a DTLS relay must do and nothing else. Decrypts, gives the
 * CoAP datagram a message ID of its own, sends it to the device; finds the
 * client by that ID when the answer comes, encrypts. No policy, no record, no
 * duplicates, no timers, no cookies, no options looked at. One key for all.
 * Datagrams come and go in batches, as they do in the product.
 *
 *   bench_floor DEVICE_PORT {IDENTITY KEY | -c CERTIFICATE KEYFILE}
 *
 * prints its port. IDENTITY and KEY are hexadecimal; with a certificate (PEM
 * files) the client is asked for one too, and any will do. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>

#include "../../proxy/compat_mbedtls.h"
#include "bench.h"

enum { BUCKETS = 1 << 16 };

struct session {
    mbedtls_ssl_context ssl;
    struct sockaddr_in peer;
    struct session *next;
    bool established;
    unsigned open;     /* requests that wait for the device */
    const uint8_t *in; /* the datagram that is being read */
    size_t in_n;
};

struct sock {
    int fd;
    struct mmsghdr in[BENCH_BATCH], out[BENCH_BATCH];
    struct iovec in_iov[BENCH_BATCH], out_iov[BENCH_BATCH];
    struct sockaddr_in in_peer[BENCH_BATCH], out_peer[BENCH_BATCH];
    uint8_t in_data[BENCH_BATCH][BENCH_DATAGRAM], out_data[BENCH_BATCH][BENCH_DATAGRAM];
    unsigned n_out;
};

static struct sock clients, device;
static struct session *sessions[BUCKETS];
static struct {
    struct session *session;
    uint16_t mid;
} requests[1 << 16];
static uint16_t next_mid;
static mbedtls_ssl_config conf;
static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context drbg;

/* ---- sockets ---- */

static void flush(struct sock *s)
{
    for (unsigned done = 0; done < s->n_out;) {
        int n = sendmmsg(s->fd, s->out + done, s->n_out - done, 0);
        done += n > 0 ? (unsigned)n : 1u;
    }
    s->n_out = 0;
}

static void put(struct sock *s, const struct sockaddr_in *to, const uint8_t *p, size_t n)
{
    if (n > BENCH_DATAGRAM)
        return;
    if (s->n_out == BENCH_BATCH)
        flush(s);
    unsigned i = s->n_out++;
    memcpy(s->out_data[i], p, n);
    s->out_iov[i] = (struct iovec){s->out_data[i], n};
    s->out[i].msg_hdr = (struct msghdr){.msg_iov = &s->out_iov[i], .msg_iovlen = 1};
    if (to) {
        s->out_peer[i] = *to;
        s->out[i].msg_hdr.msg_name = &s->out_peer[i];
        s->out[i].msg_hdr.msg_namelen = sizeof *to;
    }
}

static int get(struct sock *s)
{
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        s->in_iov[i] = (struct iovec){s->in_data[i], BENCH_DATAGRAM};
        s->in[i].msg_hdr = (struct msghdr){.msg_name = &s->in_peer[i],
                                           .msg_namelen = sizeof s->in_peer[i],
                                           .msg_iov = &s->in_iov[i],
                                           .msg_iovlen = 1};
    }
    return recvmmsg(s->fd, s->in, BENCH_BATCH, MSG_DONTWAIT, NULL);
}

/* ---- sessions ---- */

static int on_send(void *user, const unsigned char *p, size_t n)
{
    struct session *s = user;
    put(&clients, &s->peer, p, n);
    return (int)n;
}

static int on_recv(void *user, unsigned char *p, size_t cap)
{
    struct session *s = user;
    size_t n = s->in_n;
    if (n == 0 || n > cap)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(p, s->in, n);
    s->in_n = 0;
    return (int)n;
}

/* The client repeats what is lost. */
static void on_set_timer(void *user, uint32_t int_ms, uint32_t fin_ms)
{
    (void)user, (void)int_ms, (void)fin_ms;
}

static int on_get_timer(void *user)
{
    (void)user;
    return 0;
}

static struct session **bucket(const struct sockaddr_in *peer)
{
    uint64_t key = (uint64_t)peer->sin_addr.s_addr << 16 | peer->sin_port;
    return &sessions[key * 0x9e3779b97f4a7c15u >> 48];
}

static struct session *find(const struct sockaddr_in *peer)
{
    for (struct session *s = *bucket(peer); s; s = s->next)
        if (s->peer.sin_addr.s_addr == peer->sin_addr.s_addr && s->peer.sin_port == peer->sin_port)
            return s;
    struct session *s = calloc(1, sizeof *s);
    if (!s)
        bench_fail("out of memory");
    s->peer = *peer;
    mbedtls_ssl_init(&s->ssl);
    if (mbedtls_ssl_setup(&s->ssl, &conf) != 0)
        bench_fail("out of memory");
    mbedtls_ssl_set_bio(&s->ssl, s, on_send, on_recv, NULL);
    mbedtls_ssl_set_timer_cb(&s->ssl, s, on_set_timer, on_get_timer);
    s->next = *bucket(peer);
    *bucket(peer) = s;
    return s;
}

static void end(struct session *s)
{
    struct session **p = bucket(&s->peer);
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    for (size_t i = 0; s->open > 0 && i < 1 << 16; i++)
        if (requests[i].session == s) {
            requests[i].session = NULL;
            s->open--;
        }
    mbedtls_ssl_free(&s->ssl);
    free(s);
}

/* ---- the relay ---- */

static void to_device(struct session *s, uint8_t *p, size_t n)
{
    if (n < 4)
        return;
    uint16_t mid = next_mid++;
    if (requests[mid].session)
        requests[mid].session->open--;
    requests[mid].session = s;
    s->open++;
    requests[mid].mid = (uint16_t)(p[2] << 8 | p[3]);
    p[2] = (uint8_t)(mid >> 8);
    p[3] = (uint8_t)mid;
    put(&device, NULL, p, n);
}

static void from_device(uint8_t *p, size_t n)
{
    if (n < 4)
        return;
    uint16_t mid = (uint16_t)(p[2] << 8 | p[3]);
    struct session *s = requests[mid].session;
    if (!s)
        return;
    requests[mid].session = NULL;
    s->open--;
    p[2] = (uint8_t)(requests[mid].mid >> 8);
    p[3] = (uint8_t)requests[mid].mid;
    (void)mbedtls_ssl_write(&s->ssl, p, n);
}

static void from_client(const struct sockaddr_in *peer, const uint8_t *p, size_t n)
{
    static uint8_t plain[BENCH_DATAGRAM];
    struct session *s = find(peer);
    s->in = p;
    s->in_n = n;
    int ret = 0;
    if (!s->established) {
        ret = mbedtls_ssl_handshake(&s->ssl);
        s->established = ret == 0;
    }
    while (ret >= 0 && s->established) {
        ret = mbedtls_ssl_read(&s->ssl, plain, sizeof plain);
        if (ret > 0)
            to_device(s, plain, (size_t)ret);
    }
    if (ret < 0 && ret != MBEDTLS_ERR_SSL_WANT_READ && ret != MBEDTLS_ERR_SSL_WANT_WRITE)
        end(s);
}

static bool prove_by_key(char **argv)
{
    uint8_t identity[128], key[64];
    size_t identity_n = bench_hex(argv[0], identity, sizeof identity);
    size_t key_n = bench_hex(argv[1], key, sizeof key);
    return mbedtls_ssl_conf_psk(&conf, key, key_n, identity, identity_n) == 0;
}

static bool prove_by_certificate(char **argv)
{
    static mbedtls_x509_crt crt;
    static mbedtls_pk_context pk;
    mbedtls_x509_crt_init(&crt);
    mbedtls_pk_init(&pk);
    mbedtls_ssl_conf_authmode(&conf, MBEDTLS_SSL_VERIFY_OPTIONAL);
    return mbedtls_x509_crt_parse_file(&crt, argv[0]) == 0 &&
           compat_parse_keyfile(&pk, argv[1], mbedtls_ctr_drbg_random, &drbg) == 0 &&
           mbedtls_ssl_conf_own_cert(&conf, &crt, &pk) == 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in local = to;
    bool by_certificate = argc == 5 && strcmp(argv[2], "-c") == 0;
    if (argc != 4 && !by_certificate)
        bench_fail("see the head of bench_floor.c");
    to.sin_port = htons((uint16_t)atoi(argv[1]));
    mbedtls_ssl_config_init(&conf);
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&drbg);
    if (!compat_crypto_init() ||
        mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0) != 0 ||
        mbedtls_ssl_config_defaults(&conf, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_DATAGRAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
        !(by_certificate ? prove_by_certificate(argv + 3) : prove_by_key(argv + 2)))
        bench_fail("the DTLS configuration");
    compat_conf_dtls12(&conf);
    mbedtls_ssl_conf_rng(&conf, mbedtls_ctr_drbg_random, &drbg);
    mbedtls_ssl_conf_dtls_cookies(&conf, NULL, NULL, NULL);
    clients.fd = bench_socket(&local);
    local.sin_port = 0;
    device.fd = bench_socket(&local);
    socklen_t n_local = sizeof local;
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event one = {EPOLLIN, {.ptr = &clients}}, two = {EPOLLIN, {.ptr = &device}};
    if (poll_fd < 0 || connect(device.fd, (struct sockaddr *)&to, sizeof to) != 0 ||
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, clients.fd, &one) != 0 ||
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, device.fd, &two) != 0 ||
        getsockname(clients.fd, (struct sockaddr *)&local, &n_local) != 0)
        bench_fail("the sockets");
    printf("%u\n", ntohs(local.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[2];
        int n_events = epoll_wait(poll_fd, events, 2, -1);
        for (int e = 0; e < n_events; e++) {
            struct sock *s = events[e].data.ptr;
            int n = get(s);
            for (int i = 0; i < n; i++) {
                if (s == &device)
                    from_device(s->in_data[i], s->in[i].msg_len);
                else
                    from_client(&s->in_peer[i], s->in_data[i], s->in[i].msg_len);
            }
        }
        flush(&device);
        flush(&clients);
    }
}
