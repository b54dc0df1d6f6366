#include "dtls_client.h"

#include <stdlib.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl_ciphersuites.h>

#include "../proxy/compat_mbedtls.h"

enum { QUEUE = 64, DATAGRAM = 4096 };

struct queue {
    size_t head, n;
    size_t len[QUEUE];
    uint8_t data[QUEUE][DATAGRAM];
};

struct dtls_client {
    struct dtls_client_config config;
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config conf;
    mbedtls_x509_crt crt, ca;
    mbedtls_pk_context key;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
    struct instant now;
    uint64_t int_ms, fin_ms; /* 0: cancelled */
    bool busy, established, closed;
    int error, alert;
    struct queue in, out, plain;
};

static const int suites_psk[] = {MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8, 0};
static const int suites_cert[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, 0};

/* A full queue loses, as a network does. */
static void queue_put(struct queue *q, const uint8_t *p, size_t n)
{
    if (q->n == QUEUE || n > DATAGRAM)
        return;
    size_t i = (q->head + q->n++) % QUEUE;
    memcpy(q->data[i], p, n);
    q->len[i] = n;
}

static struct bytes queue_get(struct queue *q)
{
    if (q->n == 0)
        return BYTES_NONE;
    size_t i = q->head;
    q->head = (q->head + 1) % QUEUE;
    q->n--;
    return bytes_of(q->data[i], q->len[i]);
}

static int on_send(void *user, const unsigned char *p, size_t n)
{
    struct dtls_client *c = user;
    if (c->config.send)
        c->config.send(c->config.user, bytes_of(p, n));
    else
        queue_put(&c->out, p, n);
    return (int)n;
}

static int on_recv(void *user, unsigned char *p, size_t cap)
{
    struct dtls_client *c = user;
    struct bytes d = queue_get(&c->in);
    if (d.n == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    size_t n = d.n < cap ? d.n : cap;
    memcpy(p, d.p, n);
    return (int)n;
}

static void on_set_timer(void *user, uint32_t int_ms, uint32_t fin_ms)
{
    struct dtls_client *c = user;
    c->int_ms = fin_ms ? instant_ms(c->now) + int_ms : 0;
    c->fin_ms = fin_ms ? instant_ms(c->now) + fin_ms : 0;
}

static int on_get_timer(void *user)
{
    struct dtls_client *c = user;
    if (c->fin_ms == 0)
        return -1;
    if (instant_ms(c->now) >= c->fin_ms)
        return 2;
    return instant_ms(c->now) >= c->int_ms ? 1 : 0;
}

static bool setup(struct dtls_client *c)
{
    const struct dtls_client_config *cfg = &c->config;
    if (!compat_crypto_init() ||
        mbedtls_ctr_drbg_seed(&c->drbg, mbedtls_entropy_func, &c->entropy, NULL, 0) != 0 ||
        mbedtls_ssl_config_defaults(&c->conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_DATAGRAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return false;
    compat_conf_dtls12(&c->conf);
    mbedtls_ssl_conf_rng(&c->conf, mbedtls_ctr_drbg_random, &c->drbg);
    mbedtls_ssl_conf_handshake_timeout(&c->conf, 1000, 16000);
    mbedtls_ssl_conf_ciphersuites(&c->conf, cfg->suites       ? cfg->suites
                                            : cfg->identity.n ? suites_psk
                                                              : suites_cert);
    mbedtls_ssl_conf_authmode(&c->conf, MBEDTLS_SSL_VERIFY_NONE);
    if (cfg->ca) {
        if (mbedtls_x509_crt_parse(&c->ca, (const uint8_t *)cfg->ca, strlen(cfg->ca) + 1) != 0)
            return false;
        mbedtls_ssl_conf_ca_chain(&c->conf, &c->ca, NULL);
        mbedtls_ssl_conf_authmode(&c->conf, MBEDTLS_SSL_VERIFY_REQUIRED);
    }
    if (cfg->identity.n && mbedtls_ssl_conf_psk(&c->conf, cfg->key.p, cfg->key.n, cfg->identity.p,
                                                cfg->identity.n) != 0)
        return false;
    if (cfg->certificate &&
        (mbedtls_x509_crt_parse(&c->crt, (const uint8_t *)cfg->certificate,
                                strlen(cfg->certificate) + 1) != 0 ||
         compat_parse_key(&c->key, (const uint8_t *)cfg->private_key, strlen(cfg->private_key) + 1,
                          mbedtls_ctr_drbg_random, &c->drbg) != 0 ||
         mbedtls_ssl_conf_own_cert(&c->conf, &c->crt, &c->key) != 0))
        return false;
    if (cfg->cid && !compat_conf_cid(&c->conf, cfg->own_cid.n))
        return false;
    if (mbedtls_ssl_setup(&c->ssl, &c->conf) != 0)
        return false;
    if (cfg->cid && !compat_set_cid(&c->ssl, cfg->own_cid.p, cfg->own_cid.n))
        return false;
    /* The server is judged by its chain; 3.6 wants to hear that no name is. */
    if (cfg->ca && mbedtls_ssl_set_hostname(&c->ssl, NULL) != 0)
        return false;
    mbedtls_ssl_set_mtu(&c->ssl, cfg->mtu ? cfg->mtu : 1200);
    mbedtls_ssl_set_datagram_packing(&c->ssl, !cfg->unpacked);
    mbedtls_ssl_set_bio(&c->ssl, c, on_send, on_recv, NULL);
    mbedtls_ssl_set_timer_cb(&c->ssl, c, on_set_timer, on_get_timer);
    return true;
}

struct dtls_client *dtls_client_new(const struct dtls_client_config *cfg)
{
    struct dtls_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->config = *cfg;
    c->alert = -1;
    mbedtls_ssl_init(&c->ssl);
    mbedtls_ssl_config_init(&c->conf);
    mbedtls_x509_crt_init(&c->crt);
    mbedtls_x509_crt_init(&c->ca);
    mbedtls_pk_init(&c->key);
    mbedtls_entropy_init(&c->entropy);
    mbedtls_ctr_drbg_init(&c->drbg);
    if (!setup(c)) {
        dtls_client_free(c);
        return NULL;
    }
    return c;
}

void dtls_client_free(struct dtls_client *c)
{
    if (!c)
        return;
    mbedtls_ssl_free(&c->ssl);
    mbedtls_ssl_config_free(&c->conf);
    mbedtls_x509_crt_free(&c->crt);
    mbedtls_x509_crt_free(&c->ca);
    mbedtls_pk_free(&c->key);
    mbedtls_ctr_drbg_free(&c->drbg);
    mbedtls_entropy_free(&c->entropy);
    free(c);
}

static bool failed(struct dtls_client *c, int ret)
{
    if (ret >= 0 || ret == MBEDTLS_ERR_SSL_WANT_READ || ret == MBEDTLS_ERR_SSL_WANT_WRITE)
        return false;
    if (ret == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
        c->alert = c->ssl.MBEDTLS_PRIVATE(in_msg)[1];
    if (ret != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        c->error = ret;
    c->closed = true;
    return true;
}

static void pump(struct dtls_client *c, struct instant now)
{
    c->now = now;
    if (c->busy || c->closed)
        return;
    c->busy = true;
    size_t before;
    do {
        before = c->in.n;
        if (!c->established) {
            int ret = mbedtls_ssl_handshake(&c->ssl);
            if (failed(c, ret))
                break;
            if (ret == 0) {
                c->established = true;
                mbedtls_ssl_set_mtu(&c->ssl, 0);
            }
        }
        while (c->established && !c->closed) {
            uint8_t plain[DATAGRAM];
            int ret = mbedtls_ssl_read(&c->ssl, plain, sizeof plain);
            if (failed(c, ret) || ret < 0)
                break;
            queue_put(&c->plain, plain, (size_t)ret);
        }
    } while (!c->closed && c->in.n && c->in.n != before);
    c->busy = false;
}

void dtls_client_connect(struct dtls_client *c, struct instant now)
{
    pump(c, now);
}

void dtls_client_receive(struct dtls_client *c, struct bytes datagram, struct instant now)
{
    queue_put(&c->in, datagram.p, datagram.n);
    pump(c, now);
}

uint64_t dtls_client_deadline_ms(const struct dtls_client *c)
{
    return c->fin_ms && !c->closed ? c->fin_ms : UINT64_MAX;
}

void dtls_client_expire(struct dtls_client *c, struct instant now)
{
    if (instant_ms(now) >= dtls_client_deadline_ms(c))
        pump(c, now);
}

bool dtls_client_established(const struct dtls_client *c)
{
    return c->established && !c->closed;
}

bool dtls_client_closed(const struct dtls_client *c)
{
    return c->closed;
}

int dtls_client_error(const struct dtls_client *c)
{
    return c->error;
}

int dtls_client_alert(const struct dtls_client *c)
{
    return c->alert;
}

const char *dtls_client_suite(const struct dtls_client *c)
{
    return mbedtls_ssl_get_ciphersuite(&c->ssl);
}

bool dtls_client_write(struct dtls_client *c, struct bytes plain, struct instant now)
{
    c->now = now;
    return dtls_client_established(c) &&
           mbedtls_ssl_write(&c->ssl, plain.p, plain.n) == (int)plain.n;
}

struct bytes dtls_client_read(struct dtls_client *c)
{
    return queue_get(&c->plain);
}

struct bytes dtls_client_out(struct dtls_client *c)
{
    return queue_get(&c->out);
}

void dtls_client_close(struct dtls_client *c, struct instant now)
{
    c->now = now;
    if (dtls_client_established(c))
        (void)mbedtls_ssl_close_notify(&c->ssl);
    c->closed = true;
}
