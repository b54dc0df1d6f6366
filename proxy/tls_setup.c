#include <stdlib.h>

#include <mbedtls/ssl_ciphersuites.h>

#include "compat_mbedtls.h"
#include "dtls_out_engine.h"
#include "tls_engine.h"

/* RFC 8323 9: the suites of DTLS (RFC 7252 9) are those of TLS. */
static const int suites_psk[] = {COMPAT_TLS13_SUITES DTLS_PSK_SUITES, 0};
static const int suites_all[] = {COMPAT_TLS13_SUITES DTLS_PSK_SUITES, DTLS_CERTIFICATE_SUITES, 0};

/* RFC 8323 8.2, RFC 7301. A client that names protocols must name this one; a
 * client that names none is served, for it is its key that counts. */
static bool name_protocol(struct tls *t)
{
    t->protocols[0] = "coap"; /* borrowed for the configuration's life */
    return mbedtls_ssl_conf_alpn_protocols(t->conf, t->protocols) == 0;
}

static bool configure(struct tls *t, const struct dtls_config *c, struct buf *diag)
{
    mbedtls_ssl_config *conf = &t->server_conf;
    if (!dtls_own_start(&t->own, diag))
        return false;
    if (mbedtls_ssl_config_defaults(conf, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0) {
        buf_put_str(diag, "tls: cannot configure");
        return false;
    }
    if (!dtls_own_load(&t->own, conf, c, diag))
        return false;
    compat_conf_tls(conf);
    mbedtls_ssl_conf_ciphersuites(conf, c->certificate ? suites_all : suites_psk);
    mbedtls_ssl_conf_rng(conf, mbedtls_ctr_drbg_random, &t->own.drbg);
    mbedtls_ssl_conf_psk_cb(conf, tls_on_psk, t);
    mbedtls_ssl_conf_renegotiation(conf, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_extended_master_secret(conf, MBEDTLS_SSL_EXTENDED_MS_ENABLED);
    mbedtls_ssl_conf_session_tickets(conf, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    /* As with DTLS: each certificate is judged by the session's own callback. */
    mbedtls_ssl_conf_authmode(conf, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(conf, &t->own.client_ca, NULL);
    mbedtls_ssl_conf_cert_req_ca_list(conf, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
    if (!name_protocol(t)) {
        buf_put_str(diag, "tls: out of memory");
        return false;
    }
    return true;
}

static struct tls *blank(void)
{
    struct tls *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    mbedtls_ssl_config_init(&t->server_conf);
    dtls_own_init(&t->own);
    return t;
}

struct tls *tls_server_new(const struct dtls_config *c, struct buf *diag)
{
    struct tls *t = blank();
    if (!t) {
        buf_put_str(diag, "tls: out of memory");
        return NULL;
    }
    t->server = true;
    t->conf = &t->server_conf;
    if (configure(t, c, diag))
        return t;
    tls_free(t);
    return NULL;
}

struct tls *tls_client_new(const struct dtls_out_config *c, const char **why)
{
    struct tls *t = blank();
    *why = "out of memory";
    if (!t)
        return NULL;
    struct dtls_out_config over_tcp = *c;
    over_tcp.stream = true;
    t->out = dtls_out_new(&over_tcp, why);
    if (t->out) {
        t->conf = dtls_out_conf(t->out);
        compat_conf_tls(t->conf);
        if (name_protocol(t))
            return t;
        *why = "out of memory";
    }
    tls_free(t);
    return NULL;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    dtls_out_free(t->out);
    mbedtls_ssl_config_free(&t->server_conf);
    dtls_own_clear(&t->own);
    free(t);
}
