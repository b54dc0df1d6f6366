/* Clients, as many as wanted, behind one socket: each has an address of its
 * own in 127.0.0.0/8 and a DTLS session of its own. Reads orders from its
 * standard input and answers each with one line of JSON:
 *
 *   closed SECONDS C      C requests under way, a new one for each answer
 *   open SECONDS RATE     RATE requests a second, come what may; latency
 *                         counts from when a request was due
 *   handshakes SECONDS C  C at a time, each closed when it is complete
 *   idle SECONDS 1        nothing is asked; time passes for the clients too
 *   once SECONDS C        one request of each client, C under way; a client
 *                         whose association has ended counts as lost
 *
 *   bench_load -t PORT {-i IDENTITY -k KEY | -c CERTIFICATE -j KEYFILE}
 *              [-n CLIENTS] [-s SUITE] [-u PATH | -x PROXY_URI] [-p BYTES]
 *              [-P PID]
 *
 * IDENTITY and KEY are hexadecimal, CERTIFICATE and KEYFILE are PEM files;
 * with -p it is PUT with so many bytes, else GET; -P names the process whose
 * CPU time is read at both ends. */
#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/version.h>

#include "../../proxy/compat_mbedtls.h"
#include "bench.h"

#ifdef __clang__
#define COMPILER "" /* says so itself */
#else
#define COMPILER "gcc"
#endif

enum {
    SLOTS = 1 << 14,   /* requests under way */
    CONNECTING = 16,   /* handshakes at a time; below the gateway's cap for one network */
    LOST_US = 2000000, /* what has no answer by then is lost */
    CONNECT_S = 120,
    STEP = 64, /* of the histogram: that many steps an octave */
    BINS = STEP * 32,
    CONTROL = CMSG_SPACE(sizeof(struct in_pktinfo)),
};

struct client {
    mbedtls_ssl_context ssl;
    struct in_addr address;
    bool used, established, closed;
    uint16_t mid;
    uint64_t int_us, fin_us; /* the engine's timer; 0: none */
    const uint8_t *in;
    size_t in_n;
};

struct slot {
    uint64_t since_us; /* 0: free */
    uint32_t token, client;
};

struct result {
    uint64_t done, lost, errors, bins[BINS], from_us, until_us, cpu_from_ns, cpu_until_ns;
};

static int fd;
static struct sockaddr_in server;
static struct mmsghdr in[BENCH_BATCH], out[BENCH_BATCH];
static struct iovec in_iov[BENCH_BATCH], out_iov[BENCH_BATCH];
static uint8_t in_data[BENCH_BATCH][BENCH_DATAGRAM], out_data[BENCH_BATCH][BENCH_DATAGRAM];
static _Alignas(struct cmsghdr) uint8_t in_control[BENCH_BATCH][CONTROL],
    out_control[BENCH_BATCH][CONTROL];
static unsigned n_out;

static mbedtls_ssl_config conf;
static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context drbg;
static mbedtls_x509_crt certificate;
static mbedtls_pk_context private_key;
static struct client *clients; /* clients of the load, then those that only connect */
static uint32_t n_clients, n_all, next_client, n_established;

static struct slot slots[SLOTS];
static uint32_t free_slots[SLOTS], n_free, n_open, serial;
static uint8_t request[BENCH_DATAGRAM]; /* all but type, message ID and token */
static size_t request_n;
static uint64_t now_us, scanned_us;
static struct result *result; /* of what runs; NULL: nothing is counted */
static bool may_end;          /* the proxy was restarted: associations may be gone */
static pid_t pid;

static uint64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* utime and stime of all its threads, by the kernel's own count. */
static uint64_t cpu_ns(void)
{
    clockid_t id;
    struct timespec t;
    if (pid == 0)
        return 0;
    if (clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &t) != 0) {
        if (may_end)
            return 0;
        bench_fail("the measured process is gone");
    }
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the wire ---- */

static void flush(void)
{
    for (unsigned done = 0; done < n_out;) {
        int n = sendmmsg(fd, out + done, n_out - done, 0);
        done += n > 0 ? (unsigned)n : 1u;
    }
    n_out = 0;
}

static int on_send(void *user, const unsigned char *p, size_t n)
{
    const struct client *c = user;
    if (n > BENCH_DATAGRAM)
        return (int)n;
    if (n_out == BENCH_BATCH)
        flush();
    unsigned i = n_out++;
    memcpy(out_data[i], p, n);
    out_iov[i] = (struct iovec){out_data[i], n};
    out[i].msg_hdr = (struct msghdr){.msg_name = &server,
                                     .msg_namelen = sizeof server,
                                     .msg_iov = &out_iov[i],
                                     .msg_iovlen = 1,
                                     .msg_control = out_control[i],
                                     .msg_controllen = CONTROL};
    struct cmsghdr *h = CMSG_FIRSTHDR(&out[i].msg_hdr);
    struct in_pktinfo info = {.ipi_spec_dst = c->address};
    h->cmsg_level = IPPROTO_IP;
    h->cmsg_type = IP_PKTINFO;
    h->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(h), &info, sizeof info);
    return (int)n;
}

static int on_recv(void *user, unsigned char *p, size_t cap)
{
    struct client *c = user;
    size_t n = c->in_n;
    if (n == 0 || n > cap)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(p, c->in, n);
    c->in_n = 0;
    return (int)n;
}

static void on_set_timer(void *user, uint32_t int_ms, uint32_t fin_ms)
{
    struct client *c = user;
    c->int_us = fin_ms ? now_us + int_ms * UINT64_C(1000) : 0;
    c->fin_us = fin_ms ? now_us + fin_ms * UINT64_C(1000) : 0;
}

static int on_get_timer(void *user)
{
    const struct client *c = user;
    if (c->fin_us == 0)
        return -1;
    return now_us >= c->fin_us ? 2 : now_us >= c->int_us ? 1 : 0;
}

/* ---- associations ---- */

static void shake(struct client *c)
{
    int ret = mbedtls_ssl_handshake(&c->ssl);
    if (ret == 0) {
        c->established = true;
        c->fin_us = 0;
        n_established++;
    } else if (ret != MBEDTLS_ERR_SSL_WANT_READ && ret != MBEDTLS_ERR_SSL_WANT_WRITE) {
        fprintf(stderr, "bench: handshake: -0x%04x\n", (unsigned)-ret);
        bench_fail("a handshake failed");
    }
}

static void begin(struct client *c)
{
    if (!c->used) {
        mbedtls_ssl_init(&c->ssl);
        if (mbedtls_ssl_setup(&c->ssl, &conf) != 0)
            bench_fail("out of memory");
        mbedtls_ssl_set_bio(&c->ssl, c, on_send, on_recv, NULL);
        mbedtls_ssl_set_timer_cb(&c->ssl, c, on_set_timer, on_get_timer);
        mbedtls_ssl_set_mtu(&c->ssl, 1200);
    } else if (mbedtls_ssl_session_reset(&c->ssl) != 0) {
        bench_fail("a session cannot begin again");
    }
    c->used = true;
    c->established = c->closed = false;
    shake(c);
}

/* ---- requests ---- */

static void write_to(struct client *c, const uint8_t *p, size_t n)
{
    if (mbedtls_ssl_write(&c->ssl, p, n) != (int)n)
        bench_fail("cannot encrypt");
}

static void ask(uint64_t since_us)
{
    if (n_free == 0)
        bench_fail("too many requests under way");
    uint32_t i = free_slots[--n_free], at = next_client++ % n_clients;
    struct client *c = &clients[at];
    uint32_t token = ++serial * SLOTS | i;
    slots[i] = (struct slot){since_us, token, at};
    n_open++;
    uint16_t mid = c->mid++;
    request[0] = 0x44; /* CON, a token of 4 bytes */
    request[2] = (uint8_t)(mid >> 8);
    request[3] = (uint8_t)mid;
    memcpy(request + 4, &token, 4);
    write_to(c, request, request_n);
}

static unsigned bin_of(uint64_t us)
{
    unsigned octave = 0;
    while (us >> octave >= 2 * STEP)
        octave++;
    uint64_t bin = octave * (uint64_t)STEP + (us >> octave);
    return bin < BINS ? (unsigned)bin : BINS - 1;
}

static uint64_t bin_us(unsigned bin)
{
    unsigned octave = bin < 2 * STEP ? 0 : bin / STEP - 1;
    return (uint64_t)(bin - octave * STEP) << octave;
}

static void count(uint64_t since_us)
{
    if (!result)
        return;
    result->done++;
    result->bins[bin_of(now_us - since_us)]++;
}

static void take(struct client *c, const uint8_t *p, size_t n)
{
    if (n < 4 || p[0] >> 6 != 1)
        return;
    if ((p[0] >> 4 & 3) == 0) { /* a separate answer */
        uint8_t ack[4] = {0x60, 0, p[2], p[3]};
        write_to(c, ack, sizeof ack);
    }
    uint32_t token;
    if (p[1] >> 5 < 2 || (p[0] & 15) != 4 || n < 8)
        return;
    memcpy(&token, p + 4, 4);
    struct slot *s = &slots[token % SLOTS];
    if (s->since_us == 0 || s->token != token || c != &clients[s->client])
        return; /* one that was given up */
    if (p[1] >> 5 != 2 && result && result->errors++ == 0)
        fprintf(stderr, "bench: an answer %u.%02u\n", p[1] >> 5, p[1] & 31);
    count(s->since_us);
    s->since_us = 0;
    free_slots[n_free++] = (uint32_t)(s - slots);
    n_open--;
}

static void receive(struct client *c, const uint8_t *p, size_t n)
{
    static uint8_t plain[BENCH_DATAGRAM];
    if (!c->used || c->closed)
        return;
    c->in = p;
    c->in_n = n;
    if (!c->established) {
        shake(c);
        return;
    }
    for (int ret;
         (ret = mbedtls_ssl_read(&c->ssl, plain, sizeof plain)) != MBEDTLS_ERR_SSL_WANT_READ;) {
        if (ret <= 0 && may_end) {
            c->closed = true;
            return;
        }
        if (ret <= 0)
            bench_fail("an association ended");
        take(c, plain, (size_t)ret);
    }
}

/* Now and then: what is lost, and handshakes that want to be repeated. */
static void scan(void)
{
    if (now_us - scanned_us < 100000)
        return;
    scanned_us = now_us;
    for (uint32_t i = 0; n_open > 0 && i < SLOTS; i++) {
        if (slots[i].since_us == 0 || now_us < slots[i].since_us + LOST_US)
            continue;
        slots[i].since_us = 0;
        free_slots[n_free++] = i;
        n_open--;
        if (result)
            result->lost++;
    }
    for (uint32_t i = 0; i < n_all; i++)
        if (clients[i].used && !clients[i].established && on_get_timer(&clients[i]) == 2)
            shake(&clients[i]);
}

static struct client *client_of(struct msghdr *m)
{
    struct cmsghdr *h = CMSG_FIRSTHDR(m);
    struct in_pktinfo info;
    if (!h || h->cmsg_type != IP_PKTINFO)
        return NULL;
    memcpy(&info, CMSG_DATA(h), sizeof info);
    uint32_t i = (ntohl(info.ipi_addr.s_addr) & 0xfffff) - 1;
    return i < n_all ? &clients[i] : NULL;
}

/* One turn: sends what waits, waits for what comes until a time. */
static void turn(uint64_t until_us)
{
    flush();
    now_us = clock_us();
    uint64_t step_us = until_us < now_us + 100000 ? until_us : now_us + 100000;
    struct pollfd p = {fd, POLLIN, 0};
    uint64_t wait_us = step_us > now_us ? step_us - now_us : 0;
    struct timespec wait = {0, (long)wait_us * 1000};
    (void)ppoll(&p, 1, &wait, NULL);
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        in_iov[i] = (struct iovec){in_data[i], BENCH_DATAGRAM};
        in[i].msg_hdr = (struct msghdr){.msg_iov = &in_iov[i],
                                        .msg_iovlen = 1,
                                        .msg_control = in_control[i],
                                        .msg_controllen = CONTROL};
    }
    int n = recvmmsg(fd, in, BENCH_BATCH, MSG_DONTWAIT, NULL);
    now_us = clock_us();
    for (int i = 0; i < n; i++) {
        struct client *c = client_of(&in[i].msg_hdr);
        if (c)
            receive(c, in_data[i], in[i].msg_len);
    }
    scan();
}

/* ---- orders ---- */

static void connect_all(void)
{
    now_us = clock_us();
    uint64_t until_us = now_us + CONNECT_S * UINT64_C(1000000);
    for (uint32_t begun = 0; n_established < n_clients;) {
        while (begun < n_clients && begun - n_established < CONNECTING)
            begin(&clients[begun++]);
        turn(until_us);
        if (now_us >= until_us)
            bench_fail("the handshakes take too long");
    }
}

static void start(struct result *r)
{
    memset(r, 0, sizeof *r);
    r->from_us = now_us = clock_us();
    r->cpu_from_ns = cpu_ns();
    result = r;
}

static void stop(struct result *r)
{
    r->until_us = clock_us();
    r->cpu_until_ns = cpu_ns();
    result = NULL;
    while (n_open > 0)
        turn(UINT64_MAX);
}

static void run_closed(struct result *r, double seconds, uint32_t c)
{
    start(r);
    uint64_t until_us = now_us + (uint64_t)(seconds * 1e6);
    while (now_us < until_us) {
        while (n_open < c)
            ask(now_us);
        turn(until_us);
    }
    stop(r);
}

static void run_once(struct result *r, double seconds, uint32_t c)
{
    may_end = true;
    turn(clock_us() + 1000); /* what came since the last order */
    start(r);
    uint64_t until_us = now_us + (uint64_t)(seconds * 1e6);
    uint32_t left = n_clients;
    next_client = 0;
    while ((left > 0 || n_open > 0) && now_us < until_us) {
        for (; left > 0 && n_open < c; left--) {
            if (!clients[next_client].closed) {
                ask(now_us);
                continue;
            }
            next_client++;
            r->lost++;
        }
        turn(until_us);
    }
    r->lost += left;
    stop(r);
}

static void run_idle(struct result *r, double seconds)
{
    start(r);
    for (uint64_t until_us = now_us + (uint64_t)(seconds * 1e6); now_us < until_us;)
        turn(until_us);
    stop(r);
}

static void run_open(struct result *r, double seconds, double rate)
{
    start(r);
    uint64_t from_us = now_us, until_us = now_us + (uint64_t)(seconds * 1e6), due_us = now_us;
    for (uint64_t i = 1; now_us < until_us;) {
        for (; due_us <= now_us && n_free > 0; i++) {
            ask(due_us);
            due_us = from_us + (uint64_t)((double)i * 1e6 / rate);
        }
        turn(due_us < until_us ? due_us : until_us);
    }
    stop(r);
}

static void run_handshakes(struct result *r, double seconds, uint32_t c)
{
    static uint64_t since_us[CONNECTING];
    c = c < CONNECTING ? c : CONNECTING;
    start(r);
    uint64_t until_us = now_us + (uint64_t)(seconds * 1e6);
    for (uint32_t i = 0; i < c; i++) {
        since_us[i] = now_us;
        begin(&clients[n_clients + i]);
    }
    for (bool open = true; open;) {
        turn(until_us + LOST_US);
        open = false;
        for (uint32_t i = 0; i < c; i++) {
            struct client *k = &clients[n_clients + i];
            if (k->established && !k->closed) {
                if (now_us < until_us)
                    count(since_us[i]);
                (void)mbedtls_ssl_close_notify(&k->ssl);
                k->closed = true;
                flush(); /* before the next hello from the same address */
                since_us[i] = now_us;
                if (now_us < until_us)
                    begin(k);
            }
            open = open || !k->closed;
        }
        if (result && now_us >= until_us)
            stop(r);
    }
}

static uint64_t percentile(const struct result *r, double part)
{
    uint64_t want = (uint64_t)((double)r->done * part), seen = 0;
    if (r->done == 0)
        return 0;
    for (unsigned i = 0; i < BINS; i++)
        if ((seen += r->bins[i]) > want)
            return bin_us(i);
    return bin_us(BINS - 1);
}

static void tell(const struct result *r)
{
    double s = (double)(r->until_us - r->from_us) / 1e6, n = r->done ? (double)r->done : 1;
    printf("{\"done\": %llu, \"seconds\": %.3f, \"per_second\": %.1f, \"cpu_us\": %.3f, "
           "\"p50_us\": %llu, \"p99_us\": %llu, \"p999_us\": %llu, \"lost\": %llu, "
           "\"errors\": %llu}\n",
           (unsigned long long)r->done, s, (double)r->done / s,
           (double)(r->cpu_until_ns - r->cpu_from_ns) / 1e3 / n,
           (unsigned long long)percentile(r, 0.5), (unsigned long long)percentile(r, 0.99),
           (unsigned long long)percentile(r, 0.999), (unsigned long long)r->lost,
           (unsigned long long)r->errors);
    fflush(stdout);
}

/* ---- the request ---- */

/* Length 15 and more needs an extended form (RFC 7252 3.1); numbers here
 * come in order, 35 at most above the one before. */
static void put_option(unsigned *last, unsigned number, const char *value, size_t n)
{
    unsigned delta = number - *last;
    uint8_t *head = request + request_n++;
    *head = (uint8_t)((delta < 13 ? delta : 13) << 4 | (n < 13 ? n : n < 269 ? 13 : 14));
    if (delta >= 13)
        request[request_n++] = (uint8_t)(delta - 13);
    if (n >= 269)
        request[request_n++] = (uint8_t)((n - 269) >> 8);
    if (n >= 13)
        request[request_n++] = (uint8_t)(n < 269 ? n - 13 : n - 269);
    memcpy(request + request_n, value, n);
    request_n += n;
    *last = number;
}

static void make_request(const char *path, const char *uri, size_t payload_n)
{
    unsigned last = 0;
    if (strlen(path) + strlen(uri) + payload_n > 1024)
        bench_fail("the request is too long");
    request[1] = payload_n ? 3 : 1;
    request_n = 8;
    for (; *path; path += strcspn(path, "/")) {
        path += *path == '/';
        put_option(&last, 11, path, strcspn(path, "/"));
    }
    if (payload_n)
        put_option(&last, 12, "", 0); /* text/plain */
    if (*uri)
        put_option(&last, 35, uri, strlen(uri));
    if (payload_n) {
        request[request_n++] = 0xff;
        memset(request + request_n, 'x', payload_n);
        request_n += payload_n;
    }
}

struct proof {
    uint8_t identity[128], key[64];
    size_t identity_n, key_n;
    const char *certificate, *key_file; /* or NULL */
};

static bool prove_by(const struct proof *p)
{
    if (!p->certificate)
        return mbedtls_ssl_conf_psk(&conf, p->key, p->key_n, p->identity, p->identity_n) == 0;
    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&private_key);
    mbedtls_ssl_conf_authmode(&conf, MBEDTLS_SSL_VERIFY_NONE); /* it is ours */
    return mbedtls_x509_crt_parse_file(&certificate, p->certificate) == 0 &&
           compat_parse_keyfile(&private_key, p->key_file, mbedtls_ctr_drbg_random, &drbg) == 0 &&
           mbedtls_ssl_conf_own_cert(&conf, &certificate, &private_key) == 0;
}

static void setup(const struct proof *proof, const int *suites)
{
    struct sockaddr_in local = {.sin_family = AF_INET};
    int on = 1;
    fd = bench_socket(&local);
    mbedtls_ssl_config_init(&conf);
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&drbg);
    if (setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) != 0 || !compat_crypto_init() ||
        mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0) != 0 ||
        mbedtls_ssl_config_defaults(&conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_DATAGRAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
        !prove_by(proof))
        bench_fail("the DTLS configuration");
    compat_conf_dtls12(&conf);
    mbedtls_ssl_conf_rng(&conf, mbedtls_ctr_drbg_random, &drbg);
    mbedtls_ssl_conf_ciphersuites(&conf, suites);
    n_all = n_clients + CONNECTING;
    clients = calloc(n_all, sizeof *clients);
    if (!clients)
        bench_fail("out of memory");
    for (uint32_t i = 0; i < n_all; i++)
        clients[i].address.s_addr = htonl(0x7f100000 + i + 1); /* 127.16.0.0/12 */
    for (uint32_t i = 0; i < SLOTS; i++)
        free_slots[n_free++] = i;
}

int main(int argc, char **argv)
{
    static struct proof proof;
    size_t payload_n = 0;
    static int suites[2] = {MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8, 0};
    const char *path = "", *uri = "";
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    n_clients = 1;
    for (int opt; (opt = getopt(argc, argv, "t:i:k:c:j:n:s:u:x:p:P:")) != -1;) {
        switch (opt) {
        case 't':
            server.sin_port = htons((uint16_t)atoi(optarg));
            break;
        case 'i':
            proof.identity_n = bench_hex(optarg, proof.identity, sizeof proof.identity);
            break;
        case 'k':
            proof.key_n = bench_hex(optarg, proof.key, sizeof proof.key);
            break;
        case 'c':
            proof.certificate = optarg;
            break;
        case 'j':
            proof.key_file = optarg;
            break;
        case 'n':
            n_clients = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 's':
            suites[0] = (int)strtol(optarg, NULL, 0);
            break;
        case 'u':
            path = optarg;
            break;
        case 'x':
            uri = optarg;
            break;
        case 'p':
            payload_n = strtoul(optarg, NULL, 10);
            break;
        case 'P':
            pid = atoi(optarg);
            break;
        default:
            bench_fail("see the head of bench_load.c");
        }
    }
    bool by_key = proof.identity_n > 0 && proof.key_n > 0;
    if (server.sin_port == 0 || (proof.certificate ? !proof.key_file : !by_key) || n_clients == 0 ||
        n_clients > 100000)
        bench_fail("see the head of bench_load.c");
    make_request(path, uri, payload_n);
    setup(&proof, suites);
    connect_all();
    printf("{\"ready\": %u, \"mbedtls\": \"%s\", \"compiler\": \"%s\"}\n", n_clients,
           MBEDTLS_VERSION_STRING, COMPILER " " __VERSION__);
    fflush(stdout);

    static struct result r;
    char line[128], order[16];
    double seconds, number;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%15s %lf %lf", order, &seconds, &number) != 3 || !(seconds > 0) ||
            !(number > 0) || seconds > 600)
            bench_fail("not an order");
        if (strcmp(order, "closed") == 0 && number < SLOTS)
            run_closed(&r, seconds, (uint32_t)number);
        else if (strcmp(order, "open") == 0)
            run_open(&r, seconds, number);
        else if (strcmp(order, "once") == 0 && number < SLOTS)
            run_once(&r, seconds, (uint32_t)number);
        else if (strcmp(order, "idle") == 0)
            run_idle(&r, seconds);
        else if (strcmp(order, "handshakes") == 0)
            run_handshakes(&r, seconds, (uint32_t)number);
        else
            bench_fail("not an order");
        tell(&r);
    }
    return 0;
}
