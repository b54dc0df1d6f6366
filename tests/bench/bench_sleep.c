/* What a client costs that is associated and silent: the real gate and pep,
 * with a wire in memory and a time of our own. N clients shake hands, each
 * asks once, and all fall asleep. Then: heap and resident memory for each,
 * what falling asleep and waking take, and what a stranger's record at a
 * sleeper takes.
 *
 *   bench_sleep [N] [-t]
 *
 * All are one enrolled subject with its PSK (PSK_WITH_AES_128_CCM_8). -t: each
 * has a token of its own (posted in its psk_identity), and the gateway holds
 * that token's grant, which is counted. Exit status 1: an idle association of
 * an enrolled subject takes more than 600 bytes, all told. Under a sanitizer
 * memory is another, and is not judged. */
#include <arpa/inet.h>
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../pep/cwt.h"
#include "../../proxy/gate.h"
#include "../../proxy/log.h"
#include "../../proxy/memory.h"
#include "../dtls_client.h"
#include "../fake_loop.h"
#include "../fake_udp.h"
#include "bench.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { BYTES_MAX = 600, WAKES = 200, FIRST = 64, A256GCM = 3 };

static const char CONFIG[] =
    "listen: [\"coaps://127.0.0.1:5684\"]\n"
    "policy: policy.yaml\n"
    "devices: [{name: lamp, path: /lamp, url: \"coap://127.0.0.1:6001\"}]\n"
    "limits: {associations: 1000000, grants: 1000000, sleep: 5s}\n";
static const char POLICY[] =
    "version: 1\n"
    "mode: enforce\n"
    "authorities:\n"
    "  - {name: as, issuer: \"coaps://as.home\", keys: as.hex, may-grant: {scopes: [read]}}\n"
    "scopes: {read: {permit: [{path: /lamp/**, methods: [GET]}]}}\n"
    "subjects: [{name: thermostat, psk-identity: thermostat-7, key-file: key, roles: [sensor]}]\n"
    "roles: {sensor: {permit: [{path: /lamp/**, methods: [GET]}]}}\n";
/* test keys */
static const char KEY[] = "00112233445566778899aabbccddeeff";
static const char AS_KEY[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeef0";

struct bench {
    struct loop loop;
    struct gate *gate;
    struct pep *pep;
    struct config *config;
    struct udp *wire;
    struct udp *listeners[CONFIG_LISTENERS_MAX];
    struct instant now;
    uint8_t key[16];
    bool tokens;
    struct key as;
    double turn_us; /* the last turn */
};

static double clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static size_t heap(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static size_t resident(void)
{
    unsigned long total = 0, rss = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%lu %lu", &total, &rss) != 2)
        bench_fail("no /proc/self/statm");
    fclose(f);
    return rss * (size_t)sysconf(_SC_PAGESIZE);
}

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0 || chmod(path, 0600) != 0)
        bench_fail("cannot write the configuration");
}

static void drop_file(const char *dir, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
}

static void open_bench(struct bench *b)
{
    char dir[] = "/tmp/bench_sleep.XXXXXX", file[128], text[4096];
    struct buf diag = buf_on(text, sizeof text - 1);
    if (!mkdtemp(dir))
        bench_fail("no directory for the configuration");
    put_file(dir, "postern.yaml", CONFIG);
    put_file(dir, "policy.yaml", POLICY);
    put_file(dir, "key", KEY);
    put_file(dir, "as.hex", AS_KEY);
    snprintf(file, sizeof file, "%s/postern.yaml", dir);
    b->now = (struct instant){.mono_us = 1000000000, .wall_s = 1800000000};
    b->config = config_load(file, &diag);
    struct policy *p = b->config ? config_load_policy(b->config, &diag) : NULL;
    static const char *const audience = "gateway";
    static struct pep_device device;
    device = (struct pep_device){.name = "lamp"};
    const struct pep_config pc = {.devices = &device,
                                  .n_devices = 1,
                                  .max_grants = 1000000,
                                  .audience = &audience,
                                  .n_audience = 1,
                                  .build_s = 1700000000};
    b->pep = p ? pep_new(&pc) : NULL;
    bool ok = b->pep && pep_load(b->pep, p, b->config->policy_dir, b->now.wall_s, &diag);
    policy_unref(p);
    if (ok) {
        b->wire = b->listeners[0] = udp_bind(&b->config->listeners[0].local, false, &diag);
        const struct gate_config gc = {
            .config = b->config, .pep = b->pep, .listeners = b->listeners, .loop = &b->loop};
        b->gate = gate_new(&gc, &diag);
    }
    size_t keys;
    snprintf(file, sizeof file, "%s/as.hex", dir);
    ok = ok && key_file_read(file, KEY_FILE_MINT, &b->as, 1, &keys, &diag);
    text[diag.n] = 0;
    drop_file(dir, "as.hex");
    drop_file(dir, "postern.yaml");
    drop_file(dir, "policy.yaml");
    drop_file(dir, "key");
    rmdir(dir);
    if (!ok || !b->gate)
        bench_fail(text);
    bench_hex(KEY, b->key, sizeof b->key);
}

static void turn(struct bench *b)
{
    double from = clock_us();
    (void)gate_turn(b->gate, b->now);
    b->turn_us = clock_us() - from;
}

static struct peer peer_of(size_t i)
{
    char address[32];
    snprintf(address, sizeof address, "10.%zu.%zu.%zu", i >> 16 & 255, i >> 8 & 255, i & 255);
    return fake_peer(address, 40000);
}

struct client {
    struct peer peer;
    struct dtls_client *dtls;
    struct bench *bench;
};

static void client_sends(void *user, struct bytes datagram)
{
    struct client *c = user;
    gate_client_datagram(c->bench->gate, 0, &c->peer, datagram, c->bench->now);
}

static void deliver(struct client *c)
{
    static struct fake_datagram d;
    turn(c->bench);
    while (fake_udp_take(c->bench->wire, &d)) {
        dtls_client_receive(c->dtls, bytes_of(d.bytes, d.n), c->bench->now);
        turn(c->bench);
    }
}

/* The gateway refuses this by its path alone: no device is asked. */
static void ask(struct client *c, uint16_t mid)
{
    const uint8_t get[] = {0x40, 0x01, (uint8_t)(mid >> 8), (uint8_t)mid, 0xb1, 'x'};
    if (!dtls_client_write(c->dtls, bytes_of(get, sizeof get), c->bench->now))
        bench_fail("no association");
    client_sends(c, dtls_client_out(c->dtls));
    deliver(c);
    if (dtls_client_read(c->dtls).n == 0)
        bench_fail("no answer");
}

/* A token of its own for the i-th client: some 150 bytes. */
static void mint(const struct bench *b, size_t i, uint8_t key[16], struct buf *out)
{
    memcpy(key, b->key, 16);
    memcpy(key, &i, sizeof i);
    struct claims c = {.has_iss = true, .has_exp = true, .exp_s = b->now.wall_s + 86400};
    c.iss = BYTES_LIT("coaps://as.home");
    c.has_scope = true;
    c.scope_words = BYTES_LIT("read");
    c.n_aud = 1;
    c.aud[0] = BYTES_LIT("gateway");
    c.cnf.kind = CNF_SYMMETRIC;
    c.cnf.kid = bytes_of(&i, sizeof i);
    memcpy(c.cnf.key, key, 16);
    c.cnf.key_n = 16;
    const struct cwt_maker with = {.seal = &b->as, .seal_alg = A256GCM};
    if (cwt_mint(&c, POLICY_RFC9200, &with, out) != PEP_OK)
        bench_fail("no token");
}

static struct client associate(struct bench *b, size_t i)
{
    struct client c = {.peer = peer_of(i), .bench = b};
    uint8_t token[512], key[16];
    struct buf identity = buf_on(token, sizeof token);
    memcpy(key, b->key, sizeof key);
    if (b->tokens)
        mint(b, i, key, &identity);
    else
        buf_put_str(&identity, "thermostat-7");
    const struct dtls_client_config dc = {.identity = buf_bytes(&identity),
                                          .key = bytes_of(key, sizeof key)};
    c.dtls = dtls_client_new(&dc);
    if (!c.dtls)
        bench_fail("no DTLS client");
    dtls_client_connect(c.dtls, b->now);
    for (struct bytes out; (out = dtls_client_out(c.dtls)).n > 0;) {
        client_sends(&c, out);
        deliver(&c);
    }
    if (!dtls_client_established(c.dtls))
        bench_fail("the handshake failed");
    return c;
}

static struct gate_stats stats_of(const struct bench *b)
{
    struct gate_stats s;
    gate_get_stats(b->gate, &s);
    return s;
}

/* Time passes, turn by turn, until all sleep. The answers that are remembered
 * for duplicates are forgotten too: they are of a table of fixed size. */
static double all_sleep(struct bench *b)
{
    double us = 0;
    uint64_t before = stats_of(b).assocs.slept;
    for (int n = 0; n < 400; n++) {
        b->now.mono_us += 1000000;
        b->now.wall_s++;
        turn(b);
        us += b->turn_us;
        while (stats_of(b).assocs.established > stats_of(b).assocs.asleep && n > 10) {
            turn(b);
            us += b->turn_us;
        }
    }
    uint64_t slept = stats_of(b).assocs.slept - before;
    return slept ? us / (double)slept : 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *of, size_t n)
{
    qsort(of, n, sizeof *of, compare);
    return of[n / 2];
}

/* One request of each of WAKES clients, timed: they sleep; then awake. */
static void wakes(struct bench *b, size_t first, double *asleep_us, double *awake_us,
                  double *tried_us)
{
    static struct client c[WAKES];
    static double us[3][WAKES];
    const uint8_t get[] = {0x40, 0x01, 0x77, 0x77, 0xb1, 'x'};
    for (size_t i = 0; i < WAKES; i++) {
        c[i] = associate(b, first + i);
        ask(&c[i], 1);
    }
    (void)all_sleep(b);
    for (size_t i = 0; i < WAKES; i++) {
        uint8_t forged[64] = {23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 9, 0, 0, 51};
        double from = clock_us();
        gate_client_datagram(b->gate, 0, &c[i].peer, bytes_of(forged, sizeof forged), b->now);
        us[0][i] = clock_us() - from;
    }
    for (int round = 1; round < 3; round++)
        for (size_t i = 0; i < WAKES; i++) {
            uint8_t copy[DATAGRAM_MAX], *m = copy;
            memcpy(copy, get, sizeof get);
            copy[3] = (uint8_t)round;
            if (!dtls_client_write(c[i].dtls, bytes_of(m, sizeof get), b->now))
                bench_fail("no association");
            struct bytes out = dtls_client_out(c[i].dtls);
            double from = clock_us();
            gate_client_datagram(b->gate, 0, &c[i].peer, out, b->now);
            us[round][i] = clock_us() - from;
            deliver(&c[i]);
            if (dtls_client_read(c[i].dtls).n == 0)
                bench_fail("no answer after waking");
        }
    *tried_us = median(us[0], WAKES);
    *asleep_us = median(us[1], WAKES);
    *awake_us = median(us[2], WAKES);
    for (size_t i = 0; i < WAKES; i++)
        dtls_client_free(c[i].dtls);
}

int main(int argc, char **argv)
{
    size_t n = 100000;
    struct bench b = {.tokens = false};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-t") == 0)
            b.tokens = true;
        else
            n = (size_t)strtoul(argv[i], NULL, 10);
    }
    if (n == 0 || n > 1000000)
        bench_fail("bench_sleep [N] [-t], N at most 1000000");
    memory_prepare();
    log_open(LOG_LEVEL_ERROR);
    open_bench(&b);
    /* What is made once, at the first clients, is nobody's. */
    for (size_t i = 0; i < FIRST; i++) {
        struct client c = associate(&b, n + WAKES + i);
        ask(&c, 1);
        dtls_client_free(c.dtls);
    }
    (void)all_sleep(&b);
    /* The tables have room for a million here; a gateway has them as large as
     * it needs: two pointers and a timer each. */
    size_t tables = 2 * 8 * 65536 / 100000 + 8;
    size_t heap_before = heap(), rss_before = resident();
    double from = clock_us();
    for (size_t i = 0; i < n; i++) {
        struct client c = associate(&b, i);
        ask(&c, 1);
        dtls_client_free(c.dtls);
        b.now.mono_us += 1000; /* a thousand a second */
        b.now.wall_s += i % 1000 == 0;
    }
    double handshakes_us = (clock_us() - from) / (double)n;
    double sleep_us = all_sleep(&b);
    size_t heap_after = heap(), rss_after = resident();
    struct gate_stats s = stats_of(&b);
    if (s.assocs.asleep != n + FIRST)
        bench_fail("not all sleep");
    double each = (double)(heap_after - heap_before) / (double)n + (double)tables;
    double wake_us, awake_us, tried_us;
    wakes(&b, n, &wake_us, &awake_us, &tried_us);
    printf("%zu associations asleep, %s\n", n,
           b.tokens ? "a token and its grant each" : "one enrolled subject, PSK");
    printf("  heap of each, malloc's own included    %8.0f bytes\n", each);
    printf("  resident of each                       %8.0f bytes\n",
           ((double)rss_after - (double)rss_before) / (double)n);
    printf("  resident, the whole process            %8.1f MiB\n", (double)rss_after / (1 << 20));
    printf("  a handshake and a request, both ends   %8.1f us\n", handshakes_us);
    printf("  falling asleep                         %8.1f us\n", sleep_us);
    printf("  a request that wakes                   %8.1f us\n", wake_us);
    printf("  a request when awake                   %8.1f us\n", awake_us);
    printf("  a stranger's record at a sleeper       %8.1f us\n", tried_us);
    gate_free(b.gate);
    udp_free(b.wire);
    fake_udp_reset();
    pep_free(b.pep);
    config_free(b.config);
    if (SANITIZED || b.tokens || each <= BYTES_MAX)
        return 0;
    fprintf(stderr, "bench: more than %d bytes\n", BYTES_MAX);
    return 1;
}
