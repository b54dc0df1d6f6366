/* Connection IDs (RFC 9146): the address of an association moves with its
 * newest authentic record and with nothing else. Where the library has none,
 * a client that comes from elsewhere shakes hands again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/compat_mbedtls.h"
#include "../proxy/hello.h"
#include "support_dtls.h"

enum { WORKER = 3 };

static const uint8_t KEY[16] = "postern test key";
#define ID       BYTES_LIT("thermostat-7")
#define HOME     "192.0.2.1", 5000
#define AWAY     "198.51.100.9", 6000
#define THIRD    "203.0.113.5", 7000
#define HOME_IS  rig_peer(HOME)
#define AWAY_IS  rig_peer(AWAY)
#define THIRD_IS rig_peer(THIRD)

static const struct assocs_config usual = {.max = 100,
                                           .max_half = 16,
                                           .max_half_per_net = 8,
                                           .first_id = WORKER,
                                           .workers = 8,
                                           .idle_ms = 3600000};

static struct rig *new_rig(const struct assocs_config *c)
{
    struct rig *r = rig_new(c, NULL, NULL);
    r->identity = ID;
    r->key = bytes_of(KEY, sizeof KEY);
    return r;
}

static struct dtls_client_config config(bool cid, struct bytes own)
{
    return (struct dtls_client_config){
        .identity = ID, .key = {KEY, sizeof KEY}, .cid = cid, .own_cid = own};
}

static struct rig_client *connected(struct rig *r, bool cid, const char *address, uint16_t port)
{
    struct dtls_client_config c = config(cid, BYTES_NONE);
    struct rig_client *k = rig_client(r, &c, address, port);
    rig_connect(k);
    assert_true(dtls_client_established(k->dtls));
    assert_true(rig_echo(k, "hello"));
    return k;
}

/* What the clients sent is kept, and lost when `cut`. */
static struct rig_datagram kept[64];
static size_t n_kept;
static bool cut;

static bool keep(struct rig *r, const struct rig_datagram *d)
{
    (void)r;
    if (!d->to_server)
        return false;
    assert_true(n_kept < 64);
    kept[n_kept++] = *d;
    return cut;
}

static void watch(struct rig *r, bool and_cut)
{
    n_kept = 0;
    cut = and_cut;
    r->lose = keep;
}

static const struct rig_datagram *last_kept(void)
{
    assert_true(n_kept > 0);
    return &kept[n_kept - 1];
}

static bool has_none(void)
{
    return !COMPAT_HAS_CID;
}

/* ---- */

static void test_moves(void **state)
{
    (void)state;
    if (has_none())
        skip();
    static const uint8_t theirs[] = {1, 2, 3, 4, 5};
    for (int own = 0; own < 2; own++) {
        struct rig *r = new_rig(&usual);
        struct dtls_client_config c = config(true, bytes_of(theirs, own ? sizeof theirs : 0));
        struct rig_client *k = rig_client(r, &c, HOME);
        rig_connect(k);
        assert_true(dtls_client_established(k->dtls));
        watch(r, false);
        assert_true(rig_echo(k, "here"));
        assert_int_equal(last_kept()->bytes[0], DTLS_WITH_CID);
        assert_int_equal(last_kept()->bytes[11], WORKER);
        assert_int_equal(rig_stats(r).moved, 0);

        k->peer = AWAY_IS; /* its NAT has forgotten it */
        assert_true(rig_echo(k, "there"));
        assert_int_equal(rig_stats(r).moved, 1);
        assert_true(rig_echo(k, "there again"));
        k->peer = HOME_IS;
        assert_true(rig_echo(k, "and back"));
        struct assocs_stats s = rig_stats(r);
        assert_int_equal(s.moved, 2);
        assert_int_equal(s.handshakes, 1);
        assert_int_equal(s.established, 1);
        assert_int_equal(r->n_established, 1);
        rig_free(r);
    }
}

/* Each is one change of a record that would move it. */
static void test_what_does_not_move(void **state)
{
    (void)state;
    if (has_none())
        skip();
    struct rig *r = new_rig(&usual);
    struct rig_client *k = connected(r, true, HOME);
    watch(r, true);
    assert_false(rig_echo(k, "caught"));
    r->lose = NULL;
    const struct rig_datagram real = *last_kept();
    for (size_t i = 0; i < real.n; i++) {
        struct rig_datagram d = real;
        size_t before = r->n_sent;
        d.bytes[i] ^= 1;
        struct peer from = THIRD_IS;
        rig_inject(r, &from, bytes_of(d.bytes, d.n));
        rig_run(r);
        if (rig_stats(r).moved != 0 || r->n_sent != before)
            fail_msg("byte %zu changed: moved, or answered", i);
    }
    for (size_t n = 0; n < real.n; n++) {
        struct peer from = THIRD_IS;
        rig_inject(r, &from, bytes_of(real.bytes, n));
    }
    rig_run(r);
    assert_int_equal(rig_stats(r).moved, 0);

    /* The record itself, sent on by somebody else: authentic, and the newest. */
    struct peer third = THIRD_IS;
    rig_inject(r, &third, bytes_of(real.bytes, real.n));
    rig_run(r);
    assert_int_equal(rig_stats(r).moved, 1);
    /* A second time it is a replay, from wherever. */
    struct peer away = AWAY_IS;
    size_t before = r->n_sent;
    rig_inject(r, &away, bytes_of(real.bytes, real.n));
    rig_inject(r, &third, bytes_of(real.bytes, real.n));
    rig_run(r);
    assert_int_equal(rig_stats(r).moved, 1);
    assert_int_equal(r->n_sent, before);
    /* The client's next word brings it back. */
    assert_true(rig_echo(k, "still here"));
    assert_int_equal(rig_stats(r).moved, 2);

    /* An older record that comes late by the old way is read, and moves nothing. */
    watch(r, true);
    assert_false(rig_echo(k, "late"));
    r->lose = NULL;
    const struct rig_datagram late = *last_kept();
    k->peer = AWAY_IS;
    assert_true(rig_echo(k, "on the way"));
    assert_int_equal(rig_stats(r).moved, 3);
    struct peer home = HOME_IS;
    rig_inject(r, &home, bytes_of(late.bytes, late.n));
    rig_run(r);
    assert_int_equal(rig_stats(r).moved, 3);
    assert_true(bytes_equal_str(dtls_client_read(k->dtls), "late")); /* at its new address */
    rig_free(r);
}

static void test_asleep(void **state)
{
    (void)state;
    if (has_none())
        skip();
    struct assocs_config c = usual;
    c.sleep_ms = 10000;
    struct rig *r = new_rig(&c);
    struct rig_client *k = connected(r, true, HOME);
    for (int i = 0; i < 3; i++) {
        rig_pass(r, 60000);
        assert_int_equal(rig_stats(r).asleep, 1);
        k->peer = i % 2 ? HOME_IS : AWAY_IS;
        assert_true(rig_echo(k, "woken elsewhere"));
        assert_int_equal(rig_stats(r).moved, (size_t)i + 1);
        assert_int_equal(rig_stats(r).asleep, 0);
    }
    rig_free(r);
}

/* It comes to where another is who has nothing but its address. */
static void test_shared_address(void **state)
{
    (void)state;
    if (has_none())
        skip();
    struct rig *r = new_rig(&usual);
    struct rig_client *plain = connected(r, false, AWAY);
    struct rig_client *k = connected(r, true, HOME);
    k->peer = AWAY_IS;
    watch(r, false);
    assert_true(dtls_client_write(k->dtls, BYTES_LIT("moved in"), r->now));
    rig_run(r);
    assert_int_equal(rig_stats(r).moved, 1);
    assert_int_equal(rig_stats(r).established, 2);
    assert_true(bytes_equal_str(dtls_client_read(k->dtls), "moved in"));
    assert_true(rig_echo(plain, "was here first"));
    k->peer = HOME_IS;
    assert_true(rig_echo(k, "moved out"));
    assert_true(rig_echo(plain, "is still here"));
    rig_free(r);

    r = new_rig(&usual); /* two that change places */
    struct rig_client *a = connected(r, true, HOME), *b = connected(r, true, AWAY);
    a->peer = AWAY_IS;
    b->peer = HOME_IS;
    assert_true(rig_echo(a, "a"));
    assert_true(rig_echo(b, "b"));
    assert_true(rig_echo(a, "a again"));
    assert_int_equal(rig_stats(r).moved, 2);
    rig_free(r);
}

/* RFC 6347 4.2.8: a new handshake at the address of the old. */
static void test_comes_back(void **state)
{
    (void)state;
    if (has_none())
        skip();
    struct rig *r = new_rig(&usual);
    struct rig_client *k = connected(r, true, HOME);
    watch(r, true);
    assert_false(rig_echo(k, "of the old session"));
    const struct rig_datagram old = *last_kept();
    r->lose = NULL;
    k->peer = AWAY_IS;
    assert_true(rig_echo(k, "moved"));
    for (int cid = 0; cid < 2; cid++) {
        struct dtls_client_config c = config(cid, BYTES_NONE);
        rig_replace(k, &c);
        rig_connect(k);
        assert_true(dtls_client_established(k->dtls));
        assert_true(rig_echo(k, "anew"));
        assert_int_equal(rig_stats(r).established, 1);
    }
    struct peer third = THIRD_IS;
    size_t before = r->n_sent;
    rig_inject(r, &third, bytes_of(old.bytes, old.n));
    rig_run(r);
    assert_int_equal(r->n_sent, before);
    k->peer = HOME_IS;
    assert_true(rig_echo(k, "moved anew"));
    dtls_client_close(k->dtls, r->now);
    rig_run(r);
    assert_int_equal(rig_stats(r).established, 0);
    rig_inject(r, &third, bytes_of(old.bytes, old.n));
    rig_run(r);
    assert_int_equal(rig_stats(r).stray, 2);
    rig_free(r);
}

/* Without one, whoever comes from elsewhere is a stranger; a handshake later
 * it is itself again. Nothing is lost meanwhile: what it proves is its key. */
static void test_without(void **state)
{
    (void)state;
    struct rig *r = new_rig(&usual);
    struct rig_client *k = connected(r, false, HOME);
    k->peer = AWAY_IS;
    assert_false(rig_echo(k, "who is there?"));
    assert_int_equal(rig_stats(r).moved, 0);
    struct dtls_client_config c = config(false, BYTES_NONE);
    rig_replace(k, &c);
    rig_connect(k);
    assert_true(rig_echo(k, "it is me"));
    assert_int_equal(rig_stats(r).handshakes, 2);
    assert_int_equal(r->asked, 2);
    rig_free(r);
}

/* A client may offer one to a server without (and all do at Debian 12). */
static void test_offered(void **state)
{
    (void)state;
    struct rig *r = new_rig(&usual);
    struct rig_client *k = connected(r, true, HOME);
    assert_true(rig_echo(k, "with or without"));
    rig_free(r);
}

/* Records of that type, whatever they hold, at strangers' and at a client's
 * address: at rest, in a handshake, asleep. */
static void test_noise(void **state)
{
    (void)state;
    struct assocs_config c = usual;
    c.sleep_ms = 10000;
    struct rig *r = new_rig(&c);
    struct rig_client *k = connected(r, true, HOME), *plain = connected(r, false, AWAY);
    uint32_t seed = 1;
    for (int phase = 0; phase < 2; phase++) {
        for (int i = 0; i < 300; i++) {
            uint8_t d[80] = {DTLS_WITH_CID, 0xfe, 0xfd, 0, (uint8_t)(i % 3)};
            size_t n = 5 + (size_t)i % 75;
            for (size_t at = 5; at < n; at++) {
                seed = seed * 1664525 + 1013904223;
                d[at] = (uint8_t)(seed >> 24);
            }
            if (i % 2 && n > 21) {
                d[19] = 0;
                d[20] = (uint8_t)(n - 21);
            }
            struct peer from = i % 3 == 0 ? HOME_IS : i % 3 == 1 ? AWAY_IS : THIRD_IS;
            rig_inject(r, &from, bytes_of(d, n));
            rig_run(r);
        }
        assert_int_equal(rig_stats(r).moved, 0);
        assert_int_equal(rig_stats(r).established, 2);
        rig_pass(r, 60000);
    }
    assert_true(rig_echo(k, "unharmed"));
    assert_true(rig_echo(plain, "as well"));
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),      cmocka_unit_test(test_what_does_not_move),
        cmocka_unit_test(test_asleep),     cmocka_unit_test(test_shared_address),
        cmocka_unit_test(test_comes_back), cmocka_unit_test(test_without),
        cmocka_unit_test(test_offered),    cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
