#include "dtls_engine.h"

#include <stdlib.h>

#include <mbedtls/error.h>
#include <mbedtls/ssl_ciphersuites.h>

#include "../pep/crypto.h"
#include "../policy/zone.h"
#include "compat_mbedtls.h"

static const int suites_psk[] = {DTLS_PSK_SUITES, 0};
static const int suites_all[] = {DTLS_PSK_SUITES, DTLS_CERTIFICATE_SUITES, 0};

/* Debian's library has a word for a debug callback at every step, and looks
 * there whether it has one: a fifth of its instructions for a record. It has
 * none from us, so it finds these in place of its own, which do nothing. Weak:
 * where it is linked in statically its own count. Not every version declares
 * them. */
#define QUIET __attribute__((weak, visibility("default"))) void
QUIET mbedtls_debug_print_msg(const mbedtls_ssl_context *ssl, int level, const char *file, int line,
                              const char *format, ...);
QUIET mbedtls_debug_print_msg(const mbedtls_ssl_context *ssl, int level, const char *file, int line,
                              const char *format, ...)
{
    (void)ssl, (void)level, (void)file, (void)line, (void)format;
}

QUIET mbedtls_debug_print_ret(const mbedtls_ssl_context *ssl, int level, const char *file, int line,
                              const char *text, int ret);
QUIET mbedtls_debug_print_ret(const mbedtls_ssl_context *ssl, int level, const char *file, int line,
                              const char *text, int ret)
{
    (void)ssl, (void)level, (void)file, (void)line, (void)text, (void)ret;
}

QUIET mbedtls_debug_print_buf(const mbedtls_ssl_context *ssl, int level, const char *file, int line,
                              const char *text, const unsigned char *p, size_t n);
QUIET mbedtls_debug_print_buf(const mbedtls_ssl_context *ssl, int level, const char *file, int line,
                              const char *text, const unsigned char *p, size_t n)
{
    (void)ssl, (void)level, (void)file, (void)line, (void)text, (void)p, (void)n;
}

bool dtls_suite_uses_psk(int suite)
{
    for (const int *s = suites_psk; *s; s++)
        if (*s == suite)
            return true;
    return false;
}

static bool refuse(struct buf *diag, const char *what, const char *file, int ret)
{
    buf_put_str(diag, file ? file : "dtls");
    buf_put_str(diag, ": ");
    buf_put_str(diag, what);
    if (ret) {
        char why[128];
        mbedtls_strerror(ret, why, sizeof why);
        buf_put_str(diag, ": ");
        buf_put_str(diag, why);
    }
    return false;
}

void dtls_own_init(struct dtls_own *o)
{
    mbedtls_x509_crt_init(&o->chain);
    mbedtls_x509_crt_init(&o->client_ca);
    mbedtls_pk_init(&o->key);
    mbedtls_entropy_init(&o->entropy);
    mbedtls_ctr_drbg_init(&o->drbg);
}

void dtls_own_clear(struct dtls_own *o)
{
    mbedtls_x509_crt_free(&o->chain);
    mbedtls_x509_crt_free(&o->client_ca);
    mbedtls_pk_free(&o->key);
    mbedtls_ctr_drbg_free(&o->drbg);
    mbedtls_entropy_free(&o->entropy);
}

bool dtls_own_start(struct dtls_own *o, struct buf *diag)
{
    if (!compat_crypto_init())
        return refuse(diag, "cannot start the cryptography", NULL, 0);
    int ret = mbedtls_ctr_drbg_seed(&o->drbg, mbedtls_entropy_func, &o->entropy,
                                    (const unsigned char *)"postern", 7);
    return ret == 0 || refuse(diag, "no randomness", NULL, ret);
}

bool dtls_own_load(struct dtls_own *o, mbedtls_ssl_config *conf, const struct dtls_config *c,
                   struct buf *diag)
{
    if (!c->certificate != !c->key)
        return refuse(diag, "a certificate and its key must be given together",
                      c->certificate ? c->certificate : c->key, 0);
    if (c->client_ca && !c->certificate)
        return refuse(diag, "a client CA is of no use without a certificate of our own",
                      c->client_ca, 0);
    if (!c->certificate)
        return true;
    int ret = mbedtls_x509_crt_parse_file(&o->chain, c->certificate);
    if (ret != 0) /* above 0: that many of the chain could not be read */
        return refuse(diag, "cannot read the certificate", c->certificate, ret < 0 ? ret : 0);
    ret = compat_parse_keyfile(&o->key, c->key, mbedtls_ctr_drbg_random, &o->drbg);
    if (ret != 0)
        return refuse(diag, "cannot read the key", c->key, ret);
    if (!mbedtls_pk_can_do(&o->key, MBEDTLS_PK_ECDSA))
        return refuse(diag, "the key must be an elliptic-curve key (RFC 9202 3.2)", c->key, 0);
    if (compat_check_pair(&o->chain.pk, &o->key, mbedtls_ctr_drbg_random, &o->drbg) != 0)
        return refuse(diag, "the key is not the certificate's", c->key, 0);
    ret = mbedtls_ssl_conf_own_cert(conf, &o->chain, &o->key);
    if (ret != 0)
        return refuse(diag, "cannot use the certificate", c->certificate, ret);
    if (c->client_ca) {
        ret = mbedtls_x509_crt_parse_file(&o->client_ca, c->client_ca);
        if (ret != 0)
            return refuse(diag, "cannot read the client CA", c->client_ca, ret < 0 ? ret : 0);
    }
    return true;
}

static bool configure(struct dtls *d, const struct dtls_config *c, struct buf *diag)
{
    if (c->psk_hint) /* the library always sends an empty one, or none */
        return refuse(diag, "a PSK identity hint cannot be sent by this DTLS engine", NULL, 0);
    if (!dtls_own_start(&d->own, diag))
        return false;
    int ret =
        mbedtls_ssl_config_defaults(&d->conf, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_DATAGRAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT);
    if (ret != 0)
        return refuse(diag, "cannot configure", NULL, ret);
    if (!dtls_own_load(&d->own, &d->conf, c, diag))
        return false;
    mbedtls_ssl_config *conf = &d->conf;
    compat_conf_dtls12(conf);
    mbedtls_ssl_conf_ciphersuites(conf, c->certificate ? suites_all : suites_psk);
    mbedtls_ssl_conf_rng(conf, mbedtls_ctr_drbg_random, &d->own.drbg);
    mbedtls_ssl_conf_psk_cb(conf, dtls_on_psk, d);
    mbedtls_ssl_conf_dtls_cookies(conf, dtls_on_cookie_write, dtls_on_cookie_check, d);
    mbedtls_ssl_conf_handshake_timeout(conf, DTLS_TIMEOUT_MIN_MS, DTLS_TIMEOUT_MAX_MS);
    mbedtls_ssl_conf_dtls_anti_replay(conf, MBEDTLS_SSL_ANTI_REPLAY_ENABLED);
    if (!compat_conf_cid(conf, DTLS_CID))
        return refuse(diag, "cannot use connection IDs", NULL, 0);
    mbedtls_ssl_conf_dtls_badmac_limit(conf, 0); /* else a stranger ends sessions */
    mbedtls_ssl_conf_renegotiation(conf, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_extended_master_secret(conf, MBEDTLS_SSL_EXTENDED_MS_ENABLED);
    /* Every certificate is asked about in the session's own callback. The
     * chain may be empty: then nothing is trusted but by its key. No list of
     * names is sent: a client with a self-signed certificate would find
     * itself not meant by it (RFC 5246 7.4.4). */
    mbedtls_ssl_conf_authmode(conf, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(conf, &d->own.client_ca, NULL);
    mbedtls_ssl_conf_cert_req_ca_list(conf, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
    return true;
}

struct dtls *dtls_new(const struct dtls_config *c, const struct dtls_ops *ops, void *user,
                      struct buf *diag)
{
    struct dtls *d = calloc(1, sizeof *d);
    if (!d) {
        refuse(diag, "out of memory", NULL, 0);
        return NULL;
    }
    d->ops = *ops;
    d->user = user;
    mbedtls_ssl_config_init(&d->conf);
    dtls_own_init(&d->own);
    if (!configure(d, c, diag)) {
        dtls_free(d);
        return NULL;
    }
    return d;
}

void dtls_free(struct dtls *d)
{
    if (!d)
        return;
    while (d->n_spare)
        dtls_session_free(d->spare[--d->n_spare]);
    slab_clear(&d->small);
    mbedtls_ssl_config_free(&d->conf);
    dtls_own_clear(&d->own);
    greeter_clear(&d->greeter);
    free(d);
}

static int64_t first_end(const mbedtls_x509_crt *all)
{
    int64_t first = INT64_MAX;
    for (const mbedtls_x509_crt *c = all; c && c->raw.p; c = c->next) {
        const mbedtls_x509_time *t = &c->valid_to;
        int64_t days = days_from_civil(t->year, (unsigned)t->mon, (unsigned)t->day);
        int64_t s = ((days * 24 + t->hour) * 60 + t->min) * 60 + t->sec;
        first = s < first ? s : first;
    }
    return first;
}

int64_t dtls_own_ends(const struct dtls *d)
{
    return first_end(&d->own.chain);
}

int64_t dtls_ca_ends(const struct dtls *d)
{
    return first_end(&d->own.client_ca);
}

void dtls_random(struct dtls *d, void *to, size_t n)
{
    uint8_t *p = to;
    for (size_t part; n; p += part, n -= part) {
        part = n < MBEDTLS_CTR_DRBG_MAX_REQUEST ? n : MBEDTLS_CTR_DRBG_MAX_REQUEST;
        if (mbedtls_ctr_drbg_random(&d->own.drbg, p, part) != 0 && !crypto_random(p, part))
            abort(); /* nothing that needs randomness may go on without */
    }
}
