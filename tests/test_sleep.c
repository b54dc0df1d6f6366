/* Associations that sleep: put to rest, woken, attacked in their sleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/hello.h"
#include "support_dtls.h"

static const uint8_t KEY[16] = "postern test key";
#define ID BYTES_LIT("thermostat-7")

enum { SLEEP_MS = 5000 };

static struct dtls_client_config psk(void)
{
    return (struct dtls_client_config){.identity = ID, .key = {KEY, sizeof KEY}};
}

static struct rig *sleepy_rig(size_t max_awake, const char *certificate, const char *ca)
{
    const struct assocs_config c = {.max = 100,
                                    .max_half = 16,
                                    .max_half_per_net = 16,
                                    .idle_ms = 3600000,
                                    .max_awake = max_awake,
                                    .sleep_ms = SLEEP_MS};
    struct rig *r = rig_new(&c, certificate, ca);
    r->identity = ID;
    r->key = bytes_of(KEY, sizeof KEY);
    return r;
}

static struct rig_client *established(struct rig *r, uint16_t port)
{
    struct dtls_client_config c = psk();
    struct rig_client *k = rig_client(r, &c, "192.0.2.1", port);
    rig_connect(k);
    assert_true(rig_echo(k, "hello"));
    return k;
}

/* One that sleeps, alone in its rig. */
static struct rig_client *sleeper(struct rig *r)
{
    struct rig_client *k = established(r, 5000);
    rig_pass(r, SLEEP_MS + 1);
    assert_int_equal(rig_stats(r).asleep, 1);
    return k;
}

/* The record of `text`, taken off the wire. */
static struct rig_datagram held_back(struct rig_client *k, const char *text)
{
    struct rig *r = k->rig;
    assert_int_equal(r->n, 0);
    assert_true(dtls_client_write(k->dtls, bytes_str(text), r->now));
    assert_int_equal(r->n, 1);
    r->n = 0;
    return r->wire[r->first];
}

/* Whether the gateway takes it, and echoes it. */
static bool is_taken(struct rig_client *k, const struct rig_datagram *d, const char *text)
{
    size_t sent = k->rig->n_sent;
    rig_inject(k->rig, &k->peer, bytes_of(d->bytes, d->n));
    rig_run(k->rig);
    bool echoed = bytes_equal_str(dtls_client_read(k->dtls), text);
    assert_int_equal(k->rig->n_sent, sent + echoed); /* and says nothing else */
    return echoed;
}

/* ---- after a handshake out of order ---- */

enum { FLIGHT = 3 }; /* ClientKeyExchange, ChangeCipherSpec, Finished */
static struct rig_datagram flight[FLIGHT];
static size_t in_flight;

/* The client's last flight comes by hand, each of its records in a datagram. */
static bool hold_flight(struct rig *r, const struct rig_datagram *d)
{
    if (!d->to_server || r->count < 4) /* two hellos, and what is said to them */
        return false;
    if (in_flight < FLIGHT)
        flight[in_flight++] = *d;
    return true;
}

/* Whatever the way did to the last flight, who is established can sleep. */
static void test_disordered(void **state)
{
    (void)state;
    struct dtls_client_config c = psk();
    c.unpacked = true;
    size_t established = 0;
    for (unsigned order = 0; order < 3 * 3 * 3 * 3 * 3; order++) {
        struct rig *r = sleepy_rig(0, NULL, NULL);
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        in_flight = 0;
        r->lose = hold_flight;
        rig_connect(k);
        assert_int_equal(in_flight, FLIGHT);
        for (unsigned i = 0, rest = order; i < 5; i++, rest /= 3) {
            rig_inject(r, &k->peer, bytes_of(flight[rest % 3].bytes, flight[rest % 3].n));
            r->count = 0; /* not held again */
            rig_run(r);
        }
        if (rig_stats(r).established == 1) {
            established++;
            r->count = 0;
            rig_pass(r, FLIGHT_MS + 1);
            if (rig_stats(r).asleep != 1)
                fail_msg("order %u of base 3 does not sleep", order);
        }
        rig_free(r);
    }
    assert_true(established > 100);
}

/* ---- each suite ---- */

struct suite_row {
    const char *name;
    int suite;
    const char *certificate;
};

static const struct suite_row suite_rows[] = {
    {"PSK CCM_8", 0xc0a8, NULL},
    {"PSK 256 CCM_8", 0xc0a9, NULL},
    {"PSK CCM", 0xc0a4, NULL},
    {"PSK 256 CCM", 0xc0a5, NULL},
    {"PSK GCM", 0x00a8, NULL},
    {"PSK 256 GCM", 0x00a9, NULL},
    {"PSK ChaCha20", 0xccab, NULL},
    {"ECDHE_PSK ChaCha20", 0xccac, NULL},
    {"ECDHE_ECDSA CCM_8", 0xc0ae, "client"},
    {"ECDHE_ECDSA 256 CCM", 0xc0ad, "client"},
    {"ECDHE_ECDSA GCM", 0xc02b, "client"},
    {"ECDHE_ECDSA 256 GCM", 0xc02c, "client"},
    {"ECDHE_ECDSA ChaCha20", 0xcca9, "client"},
};

static void test_suites(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof suite_rows / sizeof *suite_rows; i++) {
        const struct suite_row *row = &suite_rows[i];
        struct rig *r =
            row->certificate ? sleepy_rig(0, "gateway", "ca") : sleepy_rig(0, NULL, NULL);
        int suites[] = {row->suite, 0};
        struct dtls_client_config c = {.suites = suites};
        char *crt = row->certificate ? rig_file("keys/client.crt") : NULL;
        char *key = row->certificate ? rig_file("keys/client.key") : NULL;
        if (row->certificate) {
            c.certificate = crt;
            c.private_key = key;
        } else {
            c.identity = ID;
            c.key = bytes_of(KEY, sizeof KEY);
        }
        struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
        rig_connect(k);
        /* Twice: what was woken sleeps again. */
        for (int n = 0; n < 3; n++) {
            if (!rig_echo(k, row->name))
                fail_msg("%s: no echo after %d sleeps", row->name, n);
            rig_pass(r, SLEEP_MS + 1);
            if (rig_stats(r).asleep != 1)
                fail_msg("%s: it does not sleep", row->name);
        }
        size_t n = dtls_asleep_bytes(r->last->asleep).n;
        if (n > 180)
            fail_msg("%s: %zu bytes", row->name, n);
        assert_int_equal(rig_stats(r).woken, 2);
        free(crt);
        free(key);
        rig_free(r);
    }
}

/* ---- when ---- */

static void test_sleeps_when_unused(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct rig_client *k = established(r, 5000);
    rig_pass(r, SLEEP_MS - 1);
    assert_int_equal(rig_stats(r).asleep, 0);
    assert_true(rig_echo(k, "again"));
    rig_pass(r, SLEEP_MS - 1);
    assert_int_equal(rig_stats(r).asleep, 0);
    rig_pass(r, 1);
    assert_int_equal(rig_stats(r).asleep, 1);
    assert_int_equal(rig_stats(r).established, 1);
    /* A record to the client counts too. */
    uint8_t sealed[128];
    struct buf out = buf_on(sealed, sizeof sealed);
    assert_true(assoc_write(r->assocs, r->last, BYTES_LIT("a notification"), &out));
    assert_int_equal(rig_stats(r).asleep, 0);
    dtls_client_receive(k->dtls, buf_bytes(&out), r->now);
    assert_true(bytes_equal_str(dtls_client_read(k->dtls), "a notification"));
    rig_pass(r, SLEEP_MS - 1);
    assert_int_equal(rig_stats(r).asleep, 0);
    rig_pass(r, 1);
    assert_int_equal(rig_stats(r).asleep, 1);
    /* The idle end is counted from the client's last record. */
    rig_pass(r, 3600000);
    assert_int_equal(rig_stats(r).established, 0);
    assert_int_equal(rig_stats(r).asleep, 0);
    assert_string_equal(r->reason, "idle");
    assert_true(dtls_client_closed(k->dtls)); /* it was told */
    rig_free(r);
}

/* Our ChangeCipherSpec and Finished, `arg` times. */
static bool lose_last_flight(struct rig *r, const struct rig_datagram *d)
{
    if (d->to_server || d->bytes[0] != DTLS_CHANGE_CIPHER_SPEC || r->arg == 0)
        return false;
    r->arg--;
    return true;
}

/* A client that has not got our Finished asks for it for a while. */
static void test_last_flight(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct dtls_client_config c = psk();
    struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
    r->lose = lose_last_flight;
    r->arg = 3;
    rig_connect(k);
    assert_int_equal(r->n_established, 1);
    assert_false(dtls_client_established(k->dtls));
    rig_pass(r, 20000);
    assert_true(dtls_client_established(k->dtls));
    assert_int_equal(rig_stats(r).slept, 0);
    /* It has nothing to say: then it sleeps all the same. */
    rig_pass(r, FLIGHT_MS);
    assert_int_equal(rig_stats(r).asleep, 1);
    assert_true(rig_echo(k, "good morning"));
    rig_free(r);
}

static void test_most_awake(void **state)
{
    (void)state;
    enum { AWAKE = 2, CLIENTS = 7 };
    struct rig *r = sleepy_rig(AWAKE, NULL, NULL);
    struct rig_client *k[CLIENTS];
    for (uint16_t i = 0; i < CLIENTS; i++)
        k[i] = established(r, (uint16_t)(5000 + i));
    assert_int_equal(rig_stats(r).established, CLIENTS);
    assert_int_equal(rig_stats(r).asleep, CLIENTS - AWAKE);
    /* The two last used are awake: nobody is woken for them. */
    uint64_t woken = rig_stats(r).woken;
    assert_true(rig_echo(k[CLIENTS - 1], "a"));
    assert_true(rig_echo(k[CLIENTS - 2], "b"));
    assert_int_equal(rig_stats(r).woken, woken);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < CLIENTS; i++)
            assert_true(rig_echo(k[i], "c"));
    assert_int_equal(rig_stats(r).asleep, CLIENTS - AWAKE);
    rig_free(r);
}

/* ---- numbers ---- */

static void test_replay(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct rig_client *k = established(r, 5000);
    struct rig_datagram seen = held_back(k, "seen"), late = held_back(k, "late"),
                        later = held_back(k, "later");
    assert_true(is_taken(k, &seen, "seen"));
    rig_pass(r, SLEEP_MS + 1);
    /* Seen before it slept: not even tried. */
    assert_false(is_taken(k, &seen, "seen"));
    assert_int_equal(rig_stats(r).tried, 0);
    assert_int_equal(rig_stats(r).asleep, 1);
    /* Out of order across the sleep, and again. */
    assert_true(is_taken(k, &later, "later"));
    assert_int_equal(rig_stats(r).woken, 1);
    assert_false(is_taken(k, &seen, "seen"));
    assert_false(is_taken(k, &later, "later"));
    rig_pass(r, SLEEP_MS + 1);
    assert_int_equal(rig_stats(r).asleep, 1);
    assert_false(is_taken(k, &later, "later"));
    assert_int_equal(rig_stats(r).asleep, 1);
    assert_true(is_taken(k, &late, "late"));
    assert_false(is_taken(k, &late, "late"));
    assert_true(rig_echo(k, "next"));
    rig_free(r);
}

static void test_window_edge(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct rig_client *k = established(r, 5000);
    struct rig_datagram out_of_it = held_back(k, "64 back"), in_it = held_back(k, "63 back");
    for (int i = 0; i < 63; i++)
        assert_true(rig_echo(k, "on"));
    rig_pass(r, SLEEP_MS + 1);
    assert_false(is_taken(k, &out_of_it, "64 back"));
    assert_int_equal(rig_stats(r).tried, 0);
    assert_true(is_taken(k, &in_it, "63 back"));
    assert_false(is_taken(k, &in_it, "63 back"));
    assert_false(is_taken(k, &out_of_it, "64 back"));
    rig_free(r);
}

/* Ours to the client go on where they were: it would drop a lower one, and a
 * number used twice would be the end of the key. */
static void test_own_numbers(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct rig_client *k = established(r, 5000);
    uint64_t last = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t sealed[128];
        struct buf out = buf_on(sealed, sizeof sealed);
        rig_pass(r, SLEEP_MS + 1);
        assert_int_equal(rig_stats(r).asleep, 1);
        assert_true(assoc_write(r->assocs, r->last, BYTES_LIT("n"), &out));
        uint64_t number = 0;
        for (size_t j = 3; j < 11; j++)
            number = number << 8 | sealed[j];
        if (i > 0)
            assert_int_equal(number, last + 1);
        last = number;
    }
    assert_true(rig_echo(k, "and back"));
    rig_free(r);
}

/* ---- strangers ---- */

struct forgery {
    const char *name;
    size_t at;
    uint8_t flip;
    bool tried; /* it takes the key to see */
};

/* Of a record that would be taken. */
static const struct forgery forgeries[] = {
    {"epoch 0", 4, 1, false},
    {"epoch 257", 3, 1, false},
    {"the Finished's number", 10, 0, false}, /* see below */
    {"far ahead", 6, 0x80, true},
    {"version 1.0", 2, 2, true}, /* feff is DTLS 1.0 */
    {"type", 0, 1, true},
    {"nonce", 13, 1, true},
    {"ciphertext", 22, 1, true},
};

static void test_forgeries(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        const struct forgery *f = &forgeries[i];
        struct rig *r = sleepy_rig(0, NULL, NULL);
        struct rig_client *k = sleeper(r);
        struct rig_datagram good = held_back(k, "good"), bad = good;
        bad.bytes[f->at] ^= f->flip;
        if (f->flip == 0)
            bad.bytes[f->at] = 0;
        if (is_taken(k, &bad, "good") || rig_stats(r).asleep != 1 || rig_stats(r).woken != 0 ||
            rig_stats(r).tried != f->tried)
            fail_msg("%s: asleep %lu, tried %lu", f->name, (unsigned long)rig_stats(r).asleep,
                     (unsigned long)rig_stats(r).tried);
        if (!is_taken(k, &good, "good"))
            fail_msg("%s: the good one is not taken", f->name);
        rig_free(r);
    }
}

/* Cut at every byte, and with something behind. */
static void test_cut(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct rig_client *k = sleeper(r);
    struct rig_datagram good = held_back(k, "good");
    for (size_t n = 0; n < good.n; n++) {
        struct rig_datagram cut = good;
        cut.n = n;
        assert_false(is_taken(k, &cut, "good"));
        assert_int_equal(rig_stats(r).asleep, 1);
    }
    /* Behind a forged record, in one datagram, as when it is awake. */
    struct rig_datagram both = good;
    memcpy(both.bytes + good.n, good.bytes, good.n);
    both.bytes[good.n - 1] ^= 1;
    both.n = 2 * good.n;
    assert_true(is_taken(k, &both, "good"));
    rig_free(r);
}

/* A flood at sleepers wakes nobody, and pushes nobody out who is awake. */
static void test_flood(void **state)
{
    (void)state;
    enum { CLIENTS = 12, FORGED = 50 };
    struct rig *r = sleepy_rig(4, NULL, NULL);
    struct rig_client *k[CLIENTS];
    for (uint16_t i = 0; i < CLIENTS; i++)
        k[i] = established(r, (uint16_t)(5000 + i));
    struct assocs_stats before = rig_stats(r);
    assert_int_equal(before.asleep, CLIENTS - 4);
    size_t sent = r->n_sent;
    for (unsigned n = 0; n < FORGED; n++)
        for (size_t i = 0; i < CLIENTS; i++) {
            uint8_t record[64] = {23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 9, 0, 0, 51};
            for (size_t j = 13; j < sizeof record; j++)
                record[j] = (uint8_t)(n * 31 + i * 7 + j);
            rig_inject(r, &k[i]->peer, bytes_of(record, sizeof record));
            rig_run(r);
        }
    struct assocs_stats after = rig_stats(r);
    assert_int_equal(after.woken, before.woken);
    assert_int_equal(after.slept, before.slept);
    assert_int_equal(after.asleep, before.asleep);
    assert_int_equal(after.tried, before.tried + FORGED * (CLIENTS - 4));
    assert_int_equal(r->n_sent, sent);
    assert_int_equal(r->n_closed, 0);
    /* Those who were awake still are; those who slept can be woken. */
    for (size_t i = CLIENTS; i-- > 0;)
        assert_true(rig_echo(k[i], "still here"));
    assert_int_equal(rig_stats(r).woken, before.woken + CLIENTS - 4);
    rig_free(r);
}

/* ---- life ---- */

static void test_closes_in_sleep(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct rig_client *k = sleeper(r);
    dtls_client_close(k->dtls, r->now);
    rig_run(r);
    assert_int_equal(rig_stats(r).established, 0);
    assert_int_equal(rig_stats(r).asleep, 0);
    assert_string_equal(r->reason, "closed-by-peer");
    rig_free(r);
}

static void test_closed_in_sleep(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct rig_client *k = sleeper(r);
    assoc_close(r->assocs, r->last, "over");
    assert_int_equal(rig_stats(r).established, 0);
    uint8_t sealed[64];
    struct buf out = buf_on(sealed, sizeof sealed);
    assert_false(assoc_write(r->assocs, r->last, BYTES_LIT("late"), &out));
    rig_run(r);
    assert_true(dtls_client_closed(k->dtls));
    assert_int_equal(rig_stats(r).asleep, 0);
    rig_free(r);
}

/* Its client comes back from the same address and port. */
static void test_comes_back(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct rig_client *k = sleeper(r);
    struct rig_datagram old = held_back(k, "old");
    uint64_t id = r->last->id;
    struct dtls_client_config c = psk();
    rig_replace(k, &c);
    rig_connect(k);
    assert_true(rig_echo(k, "new"));
    assert_int_equal(r->last->id, id);
    assert_int_equal(rig_stats(r).established, 1);
    assert_int_equal(rig_stats(r).asleep, 0);
    assert_false(is_taken(k, &old, "old"));
    rig_free(r);
}

/* A stranger who forges its address begins a handshake; the sleeper goes on. */
static void test_handshake_beside(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct rig_client *k = sleeper(r);
    r->wait = true; /* so that it stays half done */
    struct dtls_client_config c = psk();
    struct rig_client *other = rig_client(r, &c, "192.0.2.1", 5000);
    rig_connect(other);
    assert_int_equal(rig_stats(r).half_open, 1);
    assert_int_equal(rig_stats(r).asleep, 1);
    assert_true(rig_echo(k, "still mine"));
    assert_int_equal(rig_stats(r).asleep, 0);
    rig_pass(r, SLEEP_MS + 1);
    assert_int_equal(rig_stats(r).asleep, 1);
    assert_true(rig_echo(k, "still mine"));
    rig_free(r);
}

/* A ClientHello that was late on the way is known again. */
static void test_late_hello(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    struct dtls_client_config c = psk();
    struct rig_client *k = rig_client(r, &c, "192.0.2.1", 5000);
    rig_connect(k);
    /* The wire keeps a datagram until its place is used again: a ClientHello,
     * a HelloVerifyRequest, and the ClientHello with the cookie. */
    struct rig_datagram late = r->wire[2];
    assert_true(late.to_server);
    assert_true(dtls_is_client_hello(bytes_of(late.bytes, late.n)));
    assert_true(rig_echo(k, "hello"));
    rig_pass(r, SLEEP_MS + 1);
    assert_int_equal(rig_stats(r).asleep, 1);
    uint64_t stray = rig_stats(r).stray, handshakes = rig_stats(r).handshakes;
    rig_inject(r, &k->peer, bytes_of(late.bytes, late.n));
    rig_run(r);
    assert_int_equal(rig_stats(r).stray, stray + 1);
    assert_int_equal(rig_stats(r).handshakes, handshakes);
    assert_int_equal(rig_stats(r).asleep, 1);
    rig_free(r);
}

/* ---- kept elsewhere ---- */

static void test_bytes(void **state)
{
    (void)state;
    struct rig *r = sleepy_rig(0, NULL, NULL);
    sleeper(r);
    struct bytes b = dtls_asleep_bytes(r->last->asleep);
    uint8_t copy[512];
    assert_true(b.n < sizeof copy);
    memcpy(copy, b.p, b.n);
    struct dtls_asleep *again = dtls_asleep_of(assocs_dtls(r->assocs), bytes_of(copy, b.n));
    assert_non_null(again);
    assert_true(bytes_equal(dtls_asleep_bytes(again), b));
    dtls_asleep_free(assocs_dtls(r->assocs), again);
    for (size_t n = 0; n < b.n; n++)
        assert_null(dtls_asleep_of(assocs_dtls(r->assocs), bytes_of(copy, n)));
    copy[b.n] = 0;
    assert_null(dtls_asleep_of(assocs_dtls(r->assocs), bytes_of(copy, b.n + 1)));
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suites),
        cmocka_unit_test(test_disordered),
        cmocka_unit_test(test_sleeps_when_unused),
        cmocka_unit_test(test_last_flight),
        cmocka_unit_test(test_most_awake),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_window_edge),
        cmocka_unit_test(test_own_numbers),
        cmocka_unit_test(test_forgeries),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_closes_in_sleep),
        cmocka_unit_test(test_closed_in_sleep),
        cmocka_unit_test(test_comes_back),
        cmocka_unit_test(test_handshake_beside),
        cmocka_unit_test(test_late_hello),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
