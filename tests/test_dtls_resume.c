/* A session that is offered to be resumed: with servers that remember, that
 * hand out tickets, that have forgotten, and that cannot. The server is
 * mbedtls's own, in memory; a whole handshake is one that asked for the key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cache.h>
#include <mbedtls/ssl_ticket.h>

#include "../proxy/compat_mbedtls.h"
#include "../proxy/dtls_out.h"
#include "../proxy/limits.h"

enum { QUEUE = 32, DATAGRAM = 2048 };

static const uint8_t KEY[16] = "postern test key";

struct pipe_end {
    uint8_t p[QUEUE][DATAGRAM];
    size_t n[QUEUE], first, count;
};

static struct world {
    struct pipe_end to_server, to_client;
    mbedtls_ssl_config conf;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
    mbedtls_ssl_cache_context cache;
    mbedtls_ssl_ticket_context tickets;
    unsigned keys; /* times that the key was asked for */
    struct dtls_out *dtls;
    uint64_t now_ms;
} w;

static void put(struct pipe_end *e, const uint8_t *p, size_t n)
{
    assert_true(e->count < QUEUE && n <= DATAGRAM);
    size_t i = (e->first + e->count++) % QUEUE;
    memcpy(e->p[i], p, n);
    e->n[i] = n;
}

static size_t get(struct pipe_end *e, uint8_t *p, size_t cap)
{
    if (e->count == 0)
        return 0;
    size_t i = e->first, n = e->n[i];
    assert_true(n <= cap);
    memcpy(p, e->p[i], n);
    e->first = (e->first + 1) % QUEUE;
    e->count--;
    return n;
}

static int server_send(void *user, const unsigned char *p, size_t n)
{
    (void)user;
    put(&w.to_client, p, n);
    return (int)n;
}

static int server_recv(void *user, unsigned char *p, size_t cap)
{
    (void)user;
    size_t n = get(&w.to_server, p, cap);
    return n ? (int)n : MBEDTLS_ERR_SSL_WANT_READ;
}

static void no_timer(void *user, uint32_t a, uint32_t b)
{
    (void)user, (void)a, (void)b;
}

static int no_time(void *user)
{
    (void)user;
    return -1;
}

static int give_key(void *user, mbedtls_ssl_context *ssl, const unsigned char *id, size_t n)
{
    (void)user, (void)id, (void)n;
    w.keys++;
    return mbedtls_ssl_set_hs_psk(ssl, KEY, sizeof KEY);
}

static void client_send(void *user, struct bytes datagram)
{
    (void)user;
    put(&w.to_server, datagram.p, datagram.n);
}

static struct instant now(void)
{
    return (struct instant){.mono_us = w.now_ms * 1000};
}

/* One connection from the first to the last; true: it served. */
static bool connect_once(void)
{
    mbedtls_ssl_context ssl;
    uint8_t datagram[DATAGRAM], plain[DATAGRAM];
    bool server_done = false, echoed = false;
    w.to_server.count = w.to_client.count = 0;
    mbedtls_ssl_init(&ssl);
    assert_int_equal(mbedtls_ssl_setup(&ssl, &w.conf), 0);
    mbedtls_ssl_set_bio(&ssl, NULL, server_send, server_recv, NULL);
    mbedtls_ssl_set_timer_cb(&ssl, NULL, no_timer, no_time);
    struct dtls_out_session *s = dtls_out_session_new(w.dtls, client_send, NULL);
    assert_non_null(s);
    enum dtls_out_event e = dtls_out_start(s, now());
    for (int turns = 0; turns < 20 && !echoed; turns++) {
        if (!server_done)
            server_done = mbedtls_ssl_handshake(&ssl) == 0;
        if (server_done && dtls_out_is_established(s)) {
            assert_true(dtls_out_write(s, BYTES_LIT("ping"), now()));
            echoed = mbedtls_ssl_read(&ssl, plain, sizeof plain) == 4;
        }
        for (size_t n; (n = get(&w.to_client, datagram, sizeof datagram)) > 0;) {
            e = dtls_out_receive(s, bytes_of(datagram, n), now());
            assert_int_not_equal(e, DTLS_OUT_CLOSED);
        }
    }
    dtls_out_close(s, now());
    dtls_out_session_free(s);
    mbedtls_ssl_free(&ssl);
    return echoed;
}

static void begin(bool cache, bool tickets)
{
    static const struct dtls_out_config c = {.host = "meter.home"};
    struct dtls_out_config with = c;
    const char *why;
    memset(&w, 0, sizeof w);
    w.now_ms = 1000;
    with.identity = BYTES_LIT("gw");
    with.psk = bytes_of(KEY, sizeof KEY);
    assert_non_null(w.dtls = dtls_out_new(&with, &why));
    mbedtls_ssl_config_init(&w.conf);
    mbedtls_entropy_init(&w.entropy);
    mbedtls_ctr_drbg_init(&w.drbg);
    mbedtls_ssl_cache_init(&w.cache);
    mbedtls_ssl_ticket_init(&w.tickets);
    assert_int_equal(
        mbedtls_ctr_drbg_seed(&w.drbg, mbedtls_entropy_func, &w.entropy, (const uint8_t *)"t", 1),
        0);
    assert_int_equal(mbedtls_ssl_config_defaults(&w.conf, MBEDTLS_SSL_IS_SERVER,
                                                 MBEDTLS_SSL_TRANSPORT_DATAGRAM,
                                                 MBEDTLS_SSL_PRESET_DEFAULT),
                     0);
    compat_conf_dtls12(&w.conf);
    mbedtls_ssl_conf_rng(&w.conf, mbedtls_ctr_drbg_random, &w.drbg);
    mbedtls_ssl_conf_psk_cb(&w.conf, give_key, NULL);
    mbedtls_ssl_conf_dtls_cookies(&w.conf, NULL, NULL, NULL);
    if (cache)
        mbedtls_ssl_conf_session_cache(&w.conf, &w.cache, mbedtls_ssl_cache_get,
                                       mbedtls_ssl_cache_set);
    assert_int_equal(mbedtls_ssl_ticket_setup(&w.tickets, mbedtls_ctr_drbg_random, &w.drbg,
                                              MBEDTLS_CIPHER_AES_256_GCM, 86400),
                     0);
    if (tickets)
        mbedtls_ssl_conf_session_tickets_cb(&w.conf, mbedtls_ssl_ticket_write,
                                            mbedtls_ssl_ticket_parse, &w.tickets);
}

/* What it remembered of sessions is gone. */
static void server_restarts(void)
{
    mbedtls_ssl_cache_free(&w.cache);
    mbedtls_ssl_cache_init(&w.cache);
    mbedtls_ssl_ticket_free(&w.tickets);
    mbedtls_ssl_ticket_init(&w.tickets);
    assert_int_equal(mbedtls_ssl_ticket_setup(&w.tickets, mbedtls_ctr_drbg_random, &w.drbg,
                                              MBEDTLS_CIPHER_AES_256_GCM, 86400),
                     0);
}

static void end(void)
{
    dtls_out_free(w.dtls);
    mbedtls_ssl_config_free(&w.conf);
    mbedtls_ssl_cache_free(&w.cache);
    mbedtls_ssl_ticket_free(&w.tickets);
    mbedtls_ctr_drbg_free(&w.drbg);
    mbedtls_entropy_free(&w.entropy);
}

static void test_rows(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool cache, tickets, restarts;
        uint64_t after_ms;
        unsigned keys; /* for two connections */
    } rows[] = {
        {"remembered", true, false, false, 1000, 1},
        {"by ticket", false, true, false, 1000, 1},
        {"by either", true, true, false, 1000, 1},
        {"neither", false, false, false, 1000, 2},
        {"forgotten", true, false, true, 1000, 2},
        {"ticket of before", false, true, true, 1000, 2},
        {"a day, less a bit", true, false, false, RESUME_LIFE_MS - 1, 1},
        {"a day", true, false, false, RESUME_LIFE_MS, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin(rows[i].cache, rows[i].tickets);
        if (!connect_once())
            fail_msg("%s: not connected", rows[i].name);
        if (rows[i].restarts)
            server_restarts();
        w.now_ms += rows[i].after_ms;
        if (!connect_once() || w.keys != rows[i].keys)
            fail_msg("%s: %u whole handshakes, wanted %u", rows[i].name, w.keys, rows[i].keys);
        end();
    }
}

/* A day is a day, however often it was resumed meanwhile. */
static void test_a_chain_ends(void **state)
{
    (void)state;
    begin(true, false);
    for (int i = 0; i < 5; i++) {
        assert_true(connect_once());
        assert_int_equal(w.keys, 1);
        w.now_ms += RESUME_LIFE_MS / 5;
    }
    assert_true(connect_once());
    assert_int_equal(w.keys, 2);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_a_chain_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
