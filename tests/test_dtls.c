/* The DTLS engine and the table of associations against a client that is not
 * ours, over a wire that misbehaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/hello.h"
#include "support_dtls.h"

static const uint8_t KEY[16] = "postern test key";
static const uint8_t WRONG[16] = "another test key";
#define ID BYTES_LIT("thermostat-7")

static struct dtls_client_config psk(void)
{
    return (struct dtls_client_config){.identity = ID, .key = {KEY, sizeof KEY}};
}

static struct rig *psk_rig(const struct assocs_config *c)
{
    struct rig *r = rig_new(c, NULL, NULL);
    r->identity = ID;
    r->key = bytes_of(KEY, sizeof KEY);
    return r;
}

/* An established client at 192.0.2.1:5000. */
static struct rig_client *established(struct rig *r)
{
    struct dtls_client_config c = psk();
    struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
    rig_connect(k);
    assert_true(dtls_client_established(k->dtls));
    assert_true(rig_echo(k, "hello"));
    return k;
}

/* ---- suites and certificates ---- */

struct suite_row {
    const char *name;
    int suite;
    const char *certificate; /* the client's, or NULL: PSK */
    bool gateway_has_certificate, wanted;
};

static const struct suite_row suite_rows[] = {
    {"PSK CCM_8, mandatory", 0xc0a8, NULL, false, true},
    {"PSK 256 CCM_8", 0xc0a9, NULL, false, true},
    {"PSK CCM", 0xc0a4, NULL, false, true},
    {"PSK 256 CCM", 0xc0a5, NULL, false, true},
    {"PSK GCM", 0x00a8, NULL, false, true},
    {"PSK 256 GCM", 0x00a9, NULL, false, true},
    {"PSK ChaCha20", 0xccab, NULL, false, true},
    {"ECDHE_PSK ChaCha20", 0xccac, NULL, false, true},
    {"PSK beside a certificate", 0xc0a8, NULL, true, true},
    {"PSK CBC", 0x00ae, NULL, false, false},
    {"ECDHE_PSK CBC", 0xc037, NULL, false, false},
    {"ECDHE_ECDSA CCM_8, mandatory", 0xc0ae, "client", true, true},
    {"ECDHE_ECDSA 256 CCM_8", 0xc0af, "client", true, true},
    {"ECDHE_ECDSA CCM", 0xc0ac, "client", true, true},
    {"ECDHE_ECDSA 256 CCM", 0xc0ad, "client", true, true},
    {"ECDHE_ECDSA GCM", 0xc02b, "client", true, true},
    {"ECDHE_ECDSA 256 GCM", 0xc02c, "client", true, true},
    {"ECDHE_ECDSA ChaCha20", 0xcca9, "client", true, true},
    {"ECDHE_ECDSA, no certificate of ours", 0xc0ae, "client", false, false},
    {"ECDHE_ECDSA CBC", 0xc023, "client", true, false},
};

static void test_suites(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof suite_rows / sizeof *suite_rows; i++) {
        const struct suite_row *row = &suite_rows[i];
        struct rig *r = rig_new(NULL, row->gateway_has_certificate ? "gateway" : NULL,
                                row->gateway_has_certificate ? "ca" : NULL);
        r->identity = ID;
        r->key = bytes_of(KEY, sizeof KEY);
        int suites[] = {row->suite, 0};
        struct dtls_client_config c = {.suites = suites};
        char *crt = NULL, *key = NULL, path[64];
        if (row->certificate) {
            snprintf(path, sizeof path, "keys/%s.crt", row->certificate);
            crt = rig_file(path);
            snprintf(path, sizeof path, "keys/%s.key", row->certificate);
            key = rig_file(path);
            c.certificate = crt;
            c.private_key = key;
        } else {
            c.identity = ID;
            c.key = bytes_of(KEY, sizeof KEY);
        }
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        rig_connect(k);
        bool got = dtls_client_established(k->dtls) && rig_echo(k, row->name);
        if (got != row->wanted)
            fail_msg("%s: got %d, error -0x%x, alert %d, reason %s", row->name, got,
                     (unsigned)-dtls_client_error(k->dtls), dtls_client_alert(k->dtls),
                     r->reason ? r->reason : "none");
        if (!row->wanted) {
            assert_int_equal(rig_stats(r).half_open, 0);
            assert_string_equal(r->reason, "no-common-suite");
            assert_int_equal(dtls_client_alert(k->dtls), 40);
        }
        free(crt);
        free(key);
        rig_free(r);
    }
}

struct certificate_row {
    const char *name, *certificate, *ca;
    const char *known; /* its key is in a grant */
    bool wanted, trusted;
    int alert;
    const char *reason;
    const char *names[3];
};

static const struct certificate_row certificate_rows[] = {
    {"of the client CA, names",
     "client",
     "ca",
     NULL,
     true,
     true,
     -1,
     NULL,
     {"client.home", "coaps://client.home/1"}},
    {"of the client CA, CN only", "plain", "ca", NULL, true, true, -1, NULL, {"plain client"}},
    {"no client CA",
     "client",
     NULL,
     NULL,
     false,
     false,
     48,
     "certificate-refused",
     {"client.home", "coaps://client.home/1"}},
    {"another client CA",
     "client",
     "stranger",
     NULL,
     false,
     false,
     48,
     "certificate-refused",
     {"client.home", "coaps://client.home/1"}},
    {"expired", "expired", "ca", NULL, false, false, 45, "certificate-refused", {"expired"}},
    {"of an expired authority",
     "under",
     "ca",
     NULL,
     false,
     false,
     45,
     "certificate-refused",
     {"under"}},
    {"self-signed, key known", "selfsigned", NULL, "selfsigned", true, false, -1, NULL, {"self"}},
    {"self-signed, key known, a client CA too",
     "selfsigned",
     "ca",
     "selfsigned",
     true,
     false,
     -1,
     NULL,
     {"self"}},
    {"self-signed, key not known",
     "stranger",
     NULL,
     "selfsigned",
     false,
     false,
     48,
     "certificate-refused",
     {"stranger"}},
    {"expired, key known", "expired", "ca", "expired", true, false, -1, NULL, {"expired"}},
    {"none", NULL, "ca", "selfsigned", false, false, 40, "no-certificate", {NULL}},
};

/* keys/NAME.spki: the SubjectPublicKeyInfo of NAME.crt in hexadecimal. */
static struct bytes spki_of(const char *name, uint8_t storage[91])
{
    char path[128];
    snprintf(path, sizeof path, "keys/%s.spki", name);
    char *hex = rig_file(path);
    for (size_t i = 0; i < 91; i++) {
        unsigned v = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
        storage[i] = (uint8_t)v;
    }
    free(hex);
    return bytes_of(storage, 91);
}

static void test_certificates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof certificate_rows / sizeof *certificate_rows; i++) {
        const struct certificate_row *row = &certificate_rows[i];
        struct rig *r = rig_new(NULL, "gateway", row->ca);
        uint8_t spki[91];
        if (row->known)
            r->spki = spki_of(row->known, spki);
        char *ca = rig_file("keys/ca.crt"), *crt = NULL, *key = NULL, path[64];
        struct dtls_client_config c = {.ca = ca};
        if (row->certificate) {
            snprintf(path, sizeof path, "keys/%s.crt", row->certificate);
            c.certificate = crt = rig_file(path);
            snprintf(path, sizeof path, "keys/%s.key", row->certificate);
            c.private_key = key = rig_file(path);
        }
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        rig_connect(k);
        bool got = dtls_client_established(k->dtls) && rig_echo(k, row->name);
        if (got != row->wanted || dtls_client_alert(k->dtls) != row->alert)
            fail_msg("%s: got %d, error -0x%x, alert %d, reason %s", row->name, got,
                     (unsigned)-dtls_client_error(k->dtls), dtls_client_alert(k->dtls),
                     r->reason ? r->reason : "none");
        if (row->reason)
            assert_string_equal(r->reason, row->reason);
        if (row->certificate)
            assert_int_equal(r->trusted, row->trusted);
        for (size_t n = 0; n < 3; n++) {
            if (!row->names[n]) {
                assert_int_equal(r->n_names, n);
                break;
            }
            assert_true(n < r->n_names);
            assert_string_equal(r->names[n], row->names[n]);
        }
        free(ca);
        free(crt);
        free(key);
        rig_free(r);
    }
}

/* ---- the psk_identity ---- */

struct identity_row {
    const char *name;
    size_t n; /* of the identity */
    uint16_t mtu;
    bool right_key;
    enum pep_identity_kind kind;
    bool known, wanted;
    int alert;
    const char *reason;
};

static const struct identity_row identity_rows[] = {
    {"a name", 12, 1200, true, PEP_IDENTITY_SUBJECT, true, true, -1, NULL},
    {"wrong key", 12, 1200, false, PEP_IDENTITY_SUBJECT, true, false, 20, "wrong-key"},
    {"unknown name", 12, 1200, true, PEP_IDENTITY_UNKNOWN, false, false, 115, "unknown-identity"},
    {"kid form", 17, 1200, true, PEP_IDENTITY_KID, true, true, -1, NULL},
    {"unknown kid", 17, 1200, true, PEP_IDENTITY_KID, false, false, 47, "unusable-token"},
    {"a token", 700, 1200, true, PEP_IDENTITY_TOKEN, true, true, -1, NULL},
    {"an unusable token", 700, 1200, true, PEP_IDENTITY_TOKEN, false, false, 47, "unusable-token"},
    {"a token, in fragments", 700, 256, true, PEP_IDENTITY_TOKEN, true, true, -1, NULL},
    {"a large token, in fragments", 1500, 512, true, PEP_IDENTITY_TOKEN, true, true, -1, NULL},
    {"a large token in one datagram", 1500, 4000, true, PEP_IDENTITY_TOKEN, true, true, -1, NULL},
    {"the longest", IDENTITY_MAX, 600, true, PEP_IDENTITY_TOKEN, true, true, -1, NULL},
    {"one longer", IDENTITY_MAX + 1, 600, true, PEP_IDENTITY_TOKEN, true, false, 47,
     "bad-identity"},
    {"one byte", 1, 1200, true, PEP_IDENTITY_SUBJECT, true, true, -1, NULL},
};

/* Every suite that has an identity, so that both layouts are met. */
static const int identity_suites[] = {0xc0a8, 0xccac};

static void test_identities(void **state)
{
    (void)state;
    static uint8_t identity[IDENTITY_MAX + 1];
    for (size_t i = 0; i < sizeof identity; i++)
        identity[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t i = 0; i < 2 * sizeof identity_rows / sizeof *identity_rows; i++) {
        const struct identity_row *row = &identity_rows[i / 2];
        struct rig *r = psk_rig(NULL);
        int suites[] = {identity_suites[i % 2], 0};
        r->kind = row->kind;
        r->identity = row->known ? bytes_of(identity, row->n) : BYTES_LIT("nobody");
        struct dtls_client_config c = {.identity = {identity, row->n},
                                       .key = {row->right_key ? KEY : WRONG, sizeof KEY},
                                       .suites = suites,
                                       .mtu = row->mtu};
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        rig_connect(k);
        bool got = dtls_client_established(k->dtls) && rig_echo(k, row->name);
        if (got != row->wanted || dtls_client_alert(k->dtls) != row->alert)
            fail_msg("%s: got %d, error -0x%x, alert %d, reason %s", row->name, got,
                     (unsigned)-dtls_client_error(k->dtls), dtls_client_alert(k->dtls),
                     r->reason ? r->reason : "none");
        if (row->reason)
            assert_string_equal(r->reason, row->reason);
        if (row->n <= IDENTITY_MAX) {
            assert_int_equal(r->asked, 1);
            assert_int_equal(r->seen_n, row->n);
            assert_memory_equal(r->seen, identity, row->n);
        } else {
            assert_int_equal(r->asked, 0);
        }
        assert_int_equal(rig_stats(r).established, row->wanted);
        assert_int_equal(rig_stats(r).half_open, 0);
        rig_free(r);
    }
}

static void test_wait_and_wake(void **state)
{
    (void)state;
    static uint8_t token[1000] = {1, 2, 3};
    for (int found = 0; found < 2; found++) {
        struct rig *r = psk_rig(NULL);
        r->wait = true;
        r->kind = PEP_IDENTITY_TOKEN;
        r->identity = bytes_of(token, sizeof token);
        struct dtls_client_config c = {
            .identity = {token, sizeof token}, .key = {KEY, sizeof KEY}, .mtu = 400};
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        rig_connect(k);
        assert_int_equal(r->asked, 1);
        assert_non_null(r->last);
        assert_true(dtls_is_parked(r->last->pending->dtls));
        /* The client asks again and again; it is asked about once. */
        size_t sent = r->n_sent;
        rig_pass(r, 8000);
        assert_int_equal(r->asked, 1);
        assert_int_equal(r->n_sent, sent);
        assoc_wake(r->assocs, r->last, r->now); /* still not known */
        assert_int_equal(r->asked, 2);
        r->wait = false;
        if (!found)
            r->identity = BYTES_LIT("nobody");
        assoc_wake(r->assocs, r->last, r->now);
        assert_int_equal(r->asked, 3);
        assocs_reap(r->assocs);
        rig_run(r); /* what was parked suffices: nothing is to be sent again */
        assert_int_equal(dtls_client_established(k->dtls), found);
        if (found)
            assert_true(rig_echo(k, "awake"));
        else
            assert_int_equal(dtls_client_alert(k->dtls), 47);
        rig_free(r);
    }
    /* Never woken: the handshake's time ends it. */
    struct rig *r = psk_rig(NULL);
    r->wait = true;
    struct dtls_client_config c = psk();
    struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
    rig_connect(k);
    rig_pass(r, HANDSHAKE_MS + 1000);
    assert_int_equal(rig_stats(r).half_open, 0);
    assert_int_equal(r->n_closed, 1);
    assert_string_equal(r->reason, "handshake-timeout");
    rig_free(r);
}

/* ---- a bad wire ---- */

static bool lose_nth(struct rig *r, const struct rig_datagram *d)
{
    (void)d;
    return r->count == r->arg;
}

static bool lose_some(struct rig *r, const struct rig_datagram *d)
{
    (void)d;
    return r->count < 64 && (r->arg >> r->count & 1);
}

static void test_loss(void **state)
{
    (void)state;
    for (uint64_t lost = 1; lost <= 10; lost++) {
        struct rig *r = psk_rig(NULL);
        r->lose = lose_nth;
        r->arg = lost;
        struct dtls_client_config c = psk();
        c.unpacked = true;
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        rig_connect(k);
        rig_pass(r, 20000);
        if (!dtls_client_established(k->dtls))
            fail_msg("datagram %d lost: not established, %s", (int)lost,
                     r->reason ? r->reason : "open");
        r->lose = NULL;
        assert_true(rig_echo(k, "made it"));
        assert_int_equal(rig_stats(r).established, 1);
        assert_int_equal(rig_stats(r).half_open, 0);
        rig_free(r);
    }
    uint64_t x = 88172645463325252u; /* xorshift */
    for (int round = 0; round < 40; round++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        struct rig *r = psk_rig(NULL);
        r->lose = lose_some;
        r->arg = x & x >> 16; /* a quarter */
        struct dtls_client_config c = psk();
        c.unpacked = true;
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        rig_connect(k);
        rig_pass(r, 29000);
        if (!dtls_client_established(k->dtls))
            fail_msg("losses %llx: not established, %s", (unsigned long long)r->arg,
                     r->reason ? r->reason : "open");
        r->lose = NULL;
        assert_true(rig_echo(k, "made it"));
        rig_free(r);
    }
}

static void test_disorder(void **state)
{
    (void)state;
    static uint8_t token[900] = {9};
    for (int how = 1; how < 4; how++) {
        struct rig *r = psk_rig(NULL);
        r->twice = how & 1;
        r->backwards = how & 2;
        r->identity = bytes_of(token, sizeof token);
        struct dtls_client_config c = {
            .identity = {token, sizeof token}, .key = {KEY, sizeof KEY}, .mtu = 250};
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        rig_connect(k);
        rig_pass(r, 5000);
        assert_true(dtls_client_established(k->dtls));
        assert_int_equal(r->asked, 1);
        assert_int_equal(r->seen_n, sizeof token);
        r->backwards = false;
        assert_true(rig_echo(k, "made it"));
        assert_int_equal(dtls_client_read(k->dtls).n, 0); /* no echo of a replay */
        assert_int_equal(rig_stats(r).established, 1);
        assert_int_equal(rig_stats(r).half_open, 0);
        rig_free(r);
    }
}

/* ---- strangers ---- */

/* The first datagram that a client sends. */
static size_t client_hello(struct rig *r, const struct peer *from, uint8_t out[512])
{
    struct dtls_client_config c = psk();
    struct dtls_client *d = dtls_client_new(&c);
    assert_non_null(d);
    (void)from;
    dtls_client_connect(d, r->now);
    struct bytes hello = dtls_client_out(d);
    assert_true(hello.n && hello.n <= 512);
    memcpy(out, hello.p, hello.n);
    size_t n = hello.n;
    dtls_client_free(d);
    return n;
}

static void test_greeter_truncated(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    struct peer from = rig_peer("192.0.2.9", 999);
    uint8_t hello[512];
    size_t n = client_hello(r, &from, hello);
    struct dtls *d = assocs_dtls(r->assocs);
    for (size_t cut = 0; cut <= n; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1), out[256];
        assert_non_null(exact);
        memcpy(exact, hello, cut);
        struct buf answer = buf_on(out, sizeof out);
        enum dtls_greeting g = dtls_greet(d, &from, bytes_of(exact, cut), r->now, &answer);
        assert_int_equal(g, cut == n ? DTLS_GREET_ANSWER : DTLS_GREET_DROP);
        if (cut == n) {
            assert_true(answer.n <= n);
            assert_memory_equal(out, ((uint8_t[]){22, 0xfe, 0xff, 0, 0}), 5);
            assert_memory_equal(out + 5, hello + 5, 6); /* sequence */
        }
        rig_inject(r, &from, bytes_of(exact, cut));
        rig_run(r);
        free(exact);
    }
    /* One byte changed anywhere must not harm, nor make a state. */
    for (size_t i = 0; i < n; i++) {
        uint8_t bad[512];
        memcpy(bad, hello, n);
        bad[i] ^= 0x41;
        rig_inject(r, &from, bytes_of(bad, n));
        rig_run(r);
    }
    /* Trailing bytes are no ClientHello. */
    hello[n] = 0;
    rig_inject(r, &from, bytes_of(hello, n + 1));
    rig_run(r);
    assert_int_equal(rig_stats(r).handshakes, 0);
    assert_int_equal(rig_stats(r).half_open, 0);
    rig_free(r);
}

static bool keep_second_hello(struct rig *r, const struct rig_datagram *d)
{
    (void)r;
    /* A ClientHello with message_seq 1 does not get through. */
    return d->to_server && hello_looks_like(bytes_of(d->bytes, d->n)) && d->bytes[18] == 1;
}

static struct rig_datagram caught;
static bool catch_second_hello(struct rig *r, const struct rig_datagram *d)
{
    if (!keep_second_hello(r, d))
        return false;
    caught = *d;
    return true;
}

static void test_cookies(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    struct dtls_client_config c = psk();
    struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
    r->lose = catch_second_hello;
    rig_connect(k);
    assert_int_equal(caught.bytes[18], 1);
    r->lose = NULL;
    struct bytes hello = bytes_of(caught.bytes, caught.n);
    struct dtls *d = assocs_dtls(r->assocs);
    uint8_t out[256];
    struct {
        const char *name;
        const char *address;
        uint16_t port;
        uint64_t later_s;
        size_t flip; /* this byte, 0: none */
        enum dtls_greeting wanted;
    } rows[] = {
        {"as it was given", "192.0.2.1", 5000, 0, 0, DTLS_GREET_WELCOME},
        {"from another port", "192.0.2.1", 5001, 0, 0, DTLS_GREET_ANSWER},
        {"from another address", "192.0.2.2", 5000, 0, 0, DTLS_GREET_ANSWER},
        {"another cookie", "192.0.2.1", 5000, 0, DTLS_RECORD_HEADER + HANDSHAKE_HEADER + 36,
         DTLS_GREET_ANSWER},
        {"another random", "192.0.2.1", 5000, 0, DTLS_RECORD_HEADER + HANDSHAKE_HEADER + 3,
         DTLS_GREET_ANSWER},
        {"within its life", "192.0.2.1", 5000, COOKIE_LIFE_S, 0, DTLS_GREET_WELCOME},
        {"stale", "192.0.2.1", 5000, 2 * COOKIE_LIFE_S, 0, DTLS_GREET_ANSWER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct peer from = rig_peer(rows[i].address, rows[i].port);
        struct instant now = r->now;
        now.mono_us += rows[i].later_s * 1000000;
        uint8_t copy[512];
        memcpy(copy, hello.p, hello.n);
        if (rows[i].flip)
            copy[rows[i].flip] ^= 1;
        struct buf answer = buf_on(out, sizeof out);
        enum dtls_greeting g = dtls_greet(d, &from, bytes_of(copy, hello.n), now, &answer);
        if (g != rows[i].wanted)
            fail_msg("%s: got %d, wanted %d", rows[i].name, (int)g, (int)rows[i].wanted);
    }
    /* A client whose cookie went stale is asked again and gets through. */
    r->now.mono_us += 3ull * COOKIE_LIFE_S * 1000000;
    rig_inject(r, &k->peer, hello);
    rig_run(r);
    assert_true(dtls_client_established(k->dtls));
    assert_true(rig_echo(k, "at last"));
    rig_free(r);
}

/* ---- what others can send to a handshake and to an association ---- */

static uint64_t prng(uint64_t *x)
{
    *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
    return *x;
}

static void noise(struct rig *r, const struct peer *from, size_t rounds)
{
    uint64_t x = 0x9e3779b97f4a7c15u;
    for (size_t n = 0; n < rounds; n++) {
        uint8_t d[300];
        size_t len = n < 300 ? n : prng(&x) % sizeof d;
        for (size_t i = 0; i < len; i++)
            d[i] = (uint8_t)prng(&x);
        if (n % 2 && len > DTLS_RECORD_HEADER) { /* looks like a record */
            d[0] = (uint8_t)(20 + prng(&x) % 4);
            d[1] = 0xfe;
            d[2] = 0xfd;
            d[3] = 0;
            d[4] = (uint8_t)(prng(&x) % 3);
            d[11] = (uint8_t)((len - DTLS_RECORD_HEADER) >> 8);
            d[12] = (uint8_t)(len - DTLS_RECORD_HEADER);
        }
        rig_inject(r, from, bytes_of(d, len));
        rig_run(r);
    }
}

static void test_noise_on_live(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    struct rig_client *k = established(r);
    noise(r, &k->peer, 3000);
    assert_true(rig_echo(k, "still here"));
    assert_int_equal(rig_stats(r).established, 1);
    assert_int_equal(r->n_closed, 0);
    rig_free(r);
}

static void test_forged_alerts(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    struct rig_client *k = established(r);
    static const uint8_t codes[] = {0, 10, 20, 40, 47, 80, 90};
    for (int level = 1; level < 3; level++)
        for (size_t i = 0; i < sizeof codes; i++)
            for (uint8_t epoch = 0; epoch < 3; epoch++) {
                uint8_t alert[] = {21, 0xfe, 0xfd, 0, epoch,          0,       0, 0, 0,
                                   9,  9,    0,    2, (uint8_t)level, codes[i]};
                rig_inject(r, &k->peer, bytes_of(alert, sizeof alert));
                rig_run(r);
            }
    /* ChangeCipherSpec, and a ClientHello behind another record: the engine
     * would begin afresh for the latter. */
    uint8_t hello[512], both[600] = {20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1};
    size_t n = client_hello(r, &k->peer, hello);
    memcpy(both + 14, hello, n);
    rig_inject(r, &k->peer, bytes_of(both, 14));
    rig_inject(r, &k->peer, bytes_of(both, 14 + n));
    size_t sent = r->n_sent;
    rig_run(r);
    assert_int_equal(r->n_sent, sent);
    assert_true(rig_echo(k, "still here"));
    assert_int_equal(r->n_closed, 0);
    rig_free(r);
}

/* A record of the live association, cut or changed at every byte. */
static void test_damaged_records(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    struct rig_client *k = established(r);
    r->lose = NULL;
    assert_true(dtls_client_write(k->dtls, BYTES_LIT("the original"), r->now));
    struct rig_datagram d = r->wire[r->first];
    r->n = 0;
    for (size_t i = 0; i <= d.n; i++) {
        if (i < d.n) {
            rig_inject(r, &k->peer, bytes_of(d.bytes, i));
            uint8_t bad[512];
            memcpy(bad, d.bytes, d.n);
            bad[i] ^= 0x10;
            rig_inject(r, &k->peer, bytes_of(bad, d.n));
        }
        rig_run(r);
    }
    assert_int_equal(dtls_client_read(k->dtls).n, 0);
    rig_inject(r, &k->peer, bytes_of(d.bytes, d.n));
    rig_inject(r, &k->peer, bytes_of(d.bytes, d.n)); /* a replay is dropped */
    rig_run(r);
    assert_true(bytes_equal_str(dtls_client_read(k->dtls), "the original"));
    assert_int_equal(dtls_client_read(k->dtls).n, 0);
    assert_true(rig_echo(k, "still here"));
    rig_free(r);
}

static size_t noise_at;
static bool noisy(struct rig *r, const struct rig_datagram *d)
{
    (void)d;
    return r->count > noise_at; /* the wire is cut from here on */
}

static void test_noise_on_handshake(void **state)
{
    (void)state;
    for (noise_at = 2; noise_at < 8; noise_at++) {
        struct rig *r = psk_rig(NULL);
        struct dtls_client_config c = psk();
        c.unpacked = true;
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        r->lose = noisy;
        rig_connect(k);
        r->lose = NULL;
        noise(r, &k->peer, 600);
        /* It may have ended the handshake, never more than that. */
        rig_pass(r, 60000);
        struct assocs_stats s = rig_stats(r);
        assert_int_equal(s.half_open, 0);
        assert_true(s.established <= 1);
        rig_free(r);
    }
}

static bool lose_to_clients(struct rig *r, const struct rig_datagram *d)
{
    (void)r;
    /* Only the HelloVerifyRequest gets through. */
    return !d->to_server && d->bytes[13] != HANDSHAKE_HELLO_VERIFY;
}

/* Invalid records are dropped, and the handshake goes on (RFC 6347 4.1.2.7). */
static void test_junk_in_handshake(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t n, bytes[40];
    } rows[] = {
        {"short handshake message", 16, {22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 16, 0, 0}},
        {"empty record", 13, {22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0}},
        {"record cut short", 15, {22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 90, 16, 0}},
        {"unknown type", 14, {99, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1}},
        {"another version", 14, {22, 3, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1}},
        {"fragment past its message", 26, {22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 13,
                                           16, 0,    0,    5, 0, 2, 0, 0, 5, 0, 0, 1, 7}},
        {"far epoch", 14, {22, 0xfe, 0xfd, 0, 9, 0, 0, 0, 0, 0, 9, 0, 1, 1}},
        {"warning", 15, {21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 90}},
        {"alert of three bytes", 16, {21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 2, 40, 0}},
        {"early application data", 16, {23, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig *r = psk_rig(NULL);
        struct dtls_client_config c = psk();
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        r->lose = lose_to_clients;
        rig_connect(k);
        r->lose = NULL;
        assert_int_equal(rig_stats(r).half_open, 1);
        rig_inject(r, &k->peer, bytes_of(rows[i].bytes, rows[i].n));
        rig_run(r);
        rig_pass(r, 3000);
        if (!dtls_client_established(k->dtls))
            fail_msg("%s: not established, %s", rows[i].name, r->reason ? r->reason : "open");
        assert_true(rig_echo(k, "through"));
        rig_free(r);
    }
}

/* The identity changes between our look and the engine's, by fragments that
 * overlap: the key was not asked for that one. */
static void test_identity_swapped(void **state)
{
    (void)state;
    for (int swap = 0; swap < 2; swap++) {
        struct rig *r = psk_rig(NULL);
        struct dtls_client_config c = psk();
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        r->lose = lose_to_clients;
        rig_connect(k);
        /* ClientKeyExchange, 15 bytes: 0 12 thermostat-7 and one too many. */
        uint8_t head[] = {22, 0xfe, 0xfd, 0,   0,   0,   0,   0,   0,   9,   0,   0,   12 + 14,
                          16, 0,    0,    15,  0,   2,   0,   0,   0,   0,   0,   14,  0,
                          12, 't',  'h',  'e', 'r', 'm', 'o', 's', 't', 'a', 't', '-', '7'};
        uint8_t tail[] = {22, 0xfe, 0xfd, 0,      0,  0, 0, 0,   0,
                          9,  1,    0,    12 + 3, 16, 0, 0, 15,  0,
                          2,  0,    0,    12,     0,  0, 3, '-', (uint8_t)('7' + swap),
                          0};
        rig_inject(r, &k->peer, bytes_of(head, sizeof head));
        rig_run(r);
        assert_int_equal(r->asked, 1);
        assert_int_equal(r->seen_n, 12);
        rig_inject(r, &k->peer, bytes_of(tail, sizeof tail));
        rig_run(r);
        assert_int_equal(rig_stats(r).half_open, 0);
        /* The one too many is the engine's to refuse. */
        assert_string_equal(r->reason, swap ? "unknown-identity" : "handshake-failed");
        rig_free(r);
    }
}

/* ---- coming back ---- */

static void test_second_hello(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    struct rig_client *old = established(r);
    struct dtls_client_config c = psk();

    /* The first flights of a newcomer at the same address and port. */
    struct dtls_client *fresh = dtls_client_new(&c);
    assert_non_null(fresh);
    dtls_client_connect(fresh, r->now);
    struct bytes d = dtls_client_out(fresh);
    rig_inject(r, &old->peer, d);
    struct dtls_client *kept = old->dtls;
    old->dtls = fresh;
    rig_run(r); /* HelloVerifyRequest */
    d = dtls_client_out(fresh);
    assert_true(hello_looks_like(d));
    uint64_t id = r->last->id;
    assert_null(r->last->pending);
    rig_inject(r, &old->peer, d);
    rig_run(r); /* ServerHello */
    struct assoc *a = assocs_find(r->assocs, id);
    assert_non_null(a);
    assert_non_null(a->pending);
    assert_int_equal(rig_stats(r).half_open, 1);

    /* The old one works on. */
    old->dtls = kept;
    assert_true(dtls_client_write(kept, BYTES_LIT("old one"), r->now));
    struct bytes sealed = dtls_client_out(kept);
    (void)sealed;
    rig_run(r);
    assert_true(bytes_equal_str(dtls_client_read(kept), "old one"));
    /* Noise and old alerts do not touch either. */
    noise(r, &old->peer, 0);
    uint8_t junk[64] = {22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 7, 0, 51};
    rig_inject(r, &old->peer, bytes_of(junk, sizeof junk));
    rig_run(r);
    assert_non_null(a->pending);

    /* The new handshake completes in a datagram for each record. */
    old->dtls = fresh;
    for (int i = 0; i < 20; i++) {
        while ((d = dtls_client_out(fresh)).n)
            rig_inject(r, &old->peer, d);
        rig_run(r);
    }
    assert_true(dtls_client_established(fresh));
    assert_int_equal(r->n_established, 2);
    assert_int_equal(rig_stats(r).established, 1);
    assert_null(a->pending);
    assert_true(dtls_client_write(fresh, BYTES_LIT("new one"), r->now));
    rig_inject(r, &old->peer, dtls_client_out(fresh));
    rig_run(r);
    assert_true(bytes_equal_str(dtls_client_read(fresh), "new one"));
    /* The old one's records are nobody's now. */
    old->dtls = kept;
    assert_false(rig_echo(old, "old one again"));
    old->dtls = fresh;
    assert_int_equal(rig_stats(r).established, 1);
    dtls_client_free(kept);
    rig_free(r);
}

static void test_second_hello_fails(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    struct rig_client *old = established(r);
    struct dtls_client *kept = old->dtls;
    old->dtls = NULL;
    struct dtls_client_config c = psk();
    c.key = bytes_of(WRONG, sizeof WRONG);
    rig_replace(old, &c);
    rig_connect(old);
    rig_pass(r, HANDSHAKE_MS + 1000);
    assert_false(dtls_client_established(old->dtls));
    assert_int_equal(rig_stats(r).half_open, 0);
    dtls_client_free(old->dtls);
    old->dtls = kept;
    assert_true(rig_echo(old, "unmoved"));
    assert_int_equal(r->n_closed, 0);
    rig_free(r);
}

static void test_close_and_return(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    struct rig_client *k = established(r);
    dtls_client_close(k->dtls, r->now);
    struct dtls_client_config c = psk();
    rig_replace(k, &c); /* at once: its ClientHello is behind the close_notify */
    rig_connect(k);
    assert_true(dtls_client_established(k->dtls));
    assert_true(rig_echo(k, "back"));
    assert_int_equal(r->n_closed, 1);
    assert_string_equal(r->reason, "closed-by-peer");
    assert_int_equal(rig_stats(r).established, 1);

    /* And many times, without a close. */
    for (int i = 0; i < 20; i++) {
        rig_replace(k, &c);
        rig_connect(k);
        assert_true(rig_echo(k, "again"));
    }
    assert_int_equal(rig_stats(r).established, 1);
    assert_int_equal(rig_stats(r).half_open, 0);
    rig_free(r);
}

/* One that begins, and begins anew before it ends: nothing that is said
 * about the first handshake may harm the second. */
static void test_begin_anew(void **state)
{
    (void)state;
    for (int live = 0; live < 2; live++) {
        struct rig *r = psk_rig(NULL);
        struct dtls_client_config c = psk();
        struct rig_client *k = live ? established(r) : rig_client(r, &c, "192.0.2.1", 5000);
        for (int i = 0; i < 3; i++) {
            r->lose = lose_to_clients;
            rig_replace(k, &c);
            rig_connect(k);
            assert_int_equal(rig_stats(r).half_open, 1);
        }
        r->lose = NULL;
        rig_replace(k, &c);
        rig_connect(k);
        assert_true(rig_echo(k, "again"));
        assert_int_equal(rig_stats(r).half_open, 0);
        assert_int_equal(rig_stats(r).established, 1);
        assert_int_equal(r->n_closed, 0);
        rig_free(r);
    }
}

static void test_close_by_us(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    struct rig_client *k = established(r);
    uint64_t id = r->last->id;
    struct assoc *a = assocs_find(r->assocs, id);
    assert_non_null(a);
    assoc_close(r->assocs, a, "grants-ended");
    assoc_close(r->assocs, a, "twice"); /* no harm */
    assert_int_equal(r->n_closed, 0);   /* told when it is reaped */
    assert_null(assocs_find(r->assocs, id));
    uint8_t storage[64];
    struct buf out = buf_on(storage, sizeof storage);
    assert_false(assoc_write(r->assocs, a, BYTES_LIT("late"), &out));
    assocs_reap(r->assocs);
    assert_int_equal(r->n_closed, 1);
    assert_string_equal(r->reason, "grants-ended");
    rig_run(r);
    assert_true(dtls_client_closed(k->dtls));
    assert_int_equal(dtls_client_error(k->dtls), 0);
    rig_free(r);
}

static void test_refused(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    r->refuse = true;
    struct dtls_client_config c = psk();
    struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
    rig_connect(k);
    assert_true(dtls_client_closed(k->dtls));
    assert_int_equal(rig_stats(r).established, 0);
    assert_int_equal(r->n_closed, 1);
    rig_free(r);
}

/* ---- caps ---- */

static void test_half_open_caps(void **state)
{
    (void)state;
    struct assocs_config ac = {
        .max = 100, .max_half = 6, .max_half_per_net = 3, .idle_ms = 3600000};
    struct rig *r = psk_rig(&ac);
    struct rig_client *good = established(r);
    struct dtls_client_config c = psk();
    r->lose = lose_to_clients;
    for (unsigned i = 0; i < 5; i++)
        rig_connect(rig_client(r, &c, "198.51.100.7", (uint16_t)(6000 + i)));
    assert_int_equal(rig_stats(r).half_open, 3); /* one network */
    assert_int_equal(rig_stats(r).evicted, 2);
    for (unsigned i = 0; i < 5; i++) {
        char address[32];
        snprintf(address, sizeof address, "10.0.%u.1", i);
        rig_connect(rig_client(r, &c, address, 6000));
    }
    assert_int_equal(rig_stats(r).half_open, 6);
    assert_int_equal(rig_stats(r).evicted, 4);
    assert_int_equal(rig_stats(r).established, 1);
    r->lose = NULL;
    assert_true(rig_echo(good, "undisturbed"));
    rig_pass(r, HANDSHAKE_MS + 60000);
    assert_int_equal(rig_stats(r).half_open, 0);
    assert_true(rig_echo(good, "undisturbed"));
    rig_free(r);
}

static void test_full(void **state)
{
    (void)state;
    struct assocs_config ac = {.max = 3, .max_half = 4, .max_half_per_net = 4, .idle_ms = 600000};
    struct rig *r = psk_rig(&ac);
    struct dtls_client_config c = psk();
    struct rig_client *k[5];
    for (unsigned i = 0; i < 4; i++) {
        k[i] = rig_client(r, &c, "192.0.2.1", (uint16_t)(5000 + i));
        rig_connect(k[i]);
        rig_pass(r, 1000);
        assert_int_equal(dtls_client_established(k[i]->dtls), i < 3);
    }
    assert_int_equal(rig_stats(r).refused > 0, 1);
    assert_int_equal(rig_stats(r).established, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_true(rig_echo(k[i], "mine"));
    /* One that is known may come back when the table is full. */
    rig_replace(k[1], &c);
    rig_connect(k[1]);
    assert_true(rig_echo(k[1], "mine again"));
    /* Past its idle time the quiet one gives way. */
    r->now.mono_us += 599000ull * 1000;
    assert_true(rig_echo(k[0], "busy"));
    assert_true(rig_echo(k[1], "busy"));
    r->now.mono_us += 2000ull * 1000;
    rig_replace(k[3], &c);
    rig_connect(k[3]);
    assert_true(rig_echo(k[3], "in"));
    assert_true(rig_echo(k[0], "mine"));
    assert_false(rig_echo(k[2], "gone"));
    assert_string_equal(r->reason, "idle");
    rig_free(r);
}

static void test_idle(void **state)
{
    (void)state;
    struct assocs_config ac = {.max = 10, .max_half = 4, .max_half_per_net = 4, .idle_ms = 10000};
    struct rig *r = psk_rig(&ac);
    struct rig_client *k = established(r);
    for (int i = 0; i < 5; i++) {
        rig_pass(r, 9000);
        assert_true(rig_echo(k, "tick"));
    }
    /* What is not authentic keeps nothing alive. */
    rig_pass(r, 9000);
    noise(r, &k->peer, 20);
    rig_pass(r, 1001);
    assert_int_equal(rig_stats(r).established, 0);
    assert_string_equal(r->reason, "idle");
    assert_true(dtls_client_closed(k->dtls));
    assert_int_equal(assocs_deadline_ms(r->assocs) == UINT64_MAX, 1);
    rig_free(r);
}

static void count_one(void *user, struct assoc *a)
{
    struct rig *r = user;
    r->arg++;
    if (a->listener == 0 && r->arg == 2)
        assoc_close(r->assocs, a, "visited");
}

static void test_each(void **state)
{
    (void)state;
    struct rig *r = psk_rig(NULL);
    struct dtls_client_config c = psk();
    for (unsigned i = 0; i < 4; i++)
        rig_connect(rig_client(r, &c, "2001:db8::1", (uint16_t)(5000 + i)));
    assocs_each(r->assocs, count_one, r);
    assert_int_equal(r->arg, 4);
    assocs_reap(r->assocs);
    assert_int_equal(rig_stats(r).established, 3);
    rig_free(r);
}

/* ---- configuration ---- */

static void test_bad_configuration(void **state)
{
    (void)state;
#define F(name) TESTS_DIR "/keys/" name
    static const struct {
        const char *name;
        struct dtls_config config;
        const char *says;
    } rows[] = {
        {"all well", {F("gateway.crt"), F("gateway.key"), F("ca.crt"), NULL}, NULL},
        {"no key", {F("gateway.crt"), NULL, NULL, NULL}, "together"},
        {"no such file", {F("nothing.crt"), F("gateway.key"), NULL, NULL}, "nothing.crt"},
        {"another's key", {F("gateway.crt"), F("client.key"), NULL, NULL}, "not the certificate's"},
        {"no certificate in it", {F("README"), F("gateway.key"), NULL, NULL}, "README"},
        {"no key in it", {F("gateway.crt"), F("README"), NULL, NULL}, "README"},
        {"bad client CA", {F("gateway.crt"), F("gateway.key"), F("README"), NULL}, "README"},
        {"CA without a certificate", {NULL, NULL, F("ca.crt"), NULL}, "ca.crt"},
        {"a hint", {NULL, NULL, NULL, "hint"}, "hint"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[512] = {0};
        struct buf diag = buf_on(text, sizeof text - 1);
        struct dtls_ops ops = {0};
        struct dtls *d = dtls_new(&rows[i].config, &ops, NULL, &diag);
        if (!d != !!rows[i].says || (rows[i].says && !strstr(text, rows[i].says)))
            fail_msg("%s: got %s \"%s\"", rows[i].name, d ? "success" : "failure", text);
        dtls_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suites),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_wait_and_wake),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_disorder),
        cmocka_unit_test(test_greeter_truncated),
        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_noise_on_live),
        cmocka_unit_test(test_forged_alerts),
        cmocka_unit_test(test_damaged_records),
        cmocka_unit_test(test_noise_on_handshake),
        cmocka_unit_test(test_junk_in_handshake),
        cmocka_unit_test(test_identity_swapped),
        cmocka_unit_test(test_begin_anew),
        cmocka_unit_test(test_second_hello),
        cmocka_unit_test(test_second_hello_fails),
        cmocka_unit_test(test_close_and_return),
        cmocka_unit_test(test_close_by_us),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_half_open_caps),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_bad_configuration),
    };
    return cmocka_run_group_tests_name("dtls", tests, NULL, NULL);
}
