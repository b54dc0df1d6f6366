#include "dtls_out.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>

#include "../pep/crypto.h"
#include "compat_mbedtls.h"
#include "dtls_out_engine.h"
#include "hello.h"
#include "limits.h"

enum out_state { OUT_FRESH = 0, OUT_HANDSHAKE, OUT_ESTABLISHED, OUT_CLOSED };

struct dtls_out {
    mbedtls_ssl_config conf;
    mbedtls_x509_crt chain, ca;
    mbedtls_pk_context key;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
    char *host;
    bool by_certificate;
    mbedtls_ssl_session saved; /* of the last handshake, to be resumed */
    bool has_saved;
    uint64_t saved_ms;
    size_t address_n; /* the host is an address literal of so many bytes; 0: a name */
    uint8_t address[16];
};

struct dtls_out_session {
    mbedtls_ssl_context ssl;
    struct dtls_out *dtls;
    dtls_out_send_fn *send;
    void *user;
    enum out_state state;
    bool alerted, resuming;
    enum dtls_out_end how;
    const char *reason;
    struct instant now;
    uint64_t int_ms, fin_ms; /* the engine's timer; fin_ms 0: cancelled */
    struct bytes in, record;
};

/* As the server's, without those that no forward secrecy would miss. RFC 9202
 * 3.2.2 and 3.3.2: the CCM_8 ones are mandatory. An authorization server may
 * have a certificate of the web, hence RSA. */
static const int suites_psk[] = {
    COMPAT_TLS13_SUITES MBEDTLS_TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_PSK_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_PSK_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_PSK_WITH_AES_128_CCM,
    MBEDTLS_TLS_PSK_WITH_AES_256_CCM,
    MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8,
    MBEDTLS_TLS_PSK_WITH_AES_256_CCM_8,
    0};
static const int suites_certificate[] = {
    COMPAT_TLS13_SUITES MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_CCM,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8,
    0};

static struct dtls_out_session *session_of(void *user)
{
    return user;
}

/* ---- what the library calls ---- */

static int on_send(void *user, const unsigned char *p, size_t n)
{
    struct dtls_out_session *s = session_of(user);
    struct bytes datagram = bytes_of(p, n);
    if (n > DTLS_RECORD_HEADER && dtls_record_type(datagram) == DTLS_ALERT)
        s->alerted = true;
    s->send(s->user, datagram);
    return (int)n;
}

static int on_recv(void *user, unsigned char *p, size_t cap)
{
    struct dtls_out_session *s = session_of(user);
    struct bytes record = s->record;
    s->record = BYTES_NONE;
    if (record.n == 0 || record.n > cap)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(p, record.p, record.n);
    return (int)record.n;
}

static void on_set_timer(void *user, uint32_t int_ms, uint32_t fin_ms)
{
    struct dtls_out_session *s = session_of(user);
    s->int_ms = fin_ms ? instant_ms(s->now) + int_ms : 0;
    s->fin_ms = fin_ms ? instant_ms(s->now) + fin_ms : 0;
}

static int on_get_timer(void *user)
{
    const struct dtls_out_session *s = session_of(user);
    if (s->fin_ms == 0)
        return -1;
    if (instant_ms(s->now) >= s->fin_ms)
        return 2;
    return instant_ms(s->now) >= s->int_ms ? 1 : 0;
}

/* An address stands in an iPAddress of the subjectAltName and nowhere else
 * (RFC 6125 1.7.2, RFC 9525 4.2.1); the library of Debian 12 does not look. */
static bool has_address(const mbedtls_x509_crt *crt, struct bytes address)
{
    enum { CONTEXT = 0x80, IP_ADDRESS = 7 };
    for (const mbedtls_x509_sequence *a = &crt->subject_alt_names; a; a = a->next)
        if (a->buf.p && a->buf.tag == (CONTEXT | IP_ADDRESS) &&
            bytes_equal(bytes_of(a->buf.p, a->buf.len), address))
            return true;
    return false;
}

static int on_certificate(void *user, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    const struct dtls_out *d = user;
    if (depth == 0 && d->address_n && !has_address(crt, bytes_of(d->address, d->address_n)))
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    return 0;
}

/* ---- credentials ---- */

/* The library wants the NUL behind a PEM text counted. */
static char *text_of(struct bytes pem)
{
    char *text = malloc(pem.n + 1);
    if (text) {
        memcpy(text, pem.p, pem.n);
        text[pem.n] = '\0';
    }
    return text;
}

static bool parse_chain(mbedtls_x509_crt *to, struct bytes pem)
{
    char *text = text_of(pem);
    bool ok = text && mbedtls_x509_crt_parse(to, (const uint8_t *)text, pem.n + 1) == 0;
    free(text);
    return ok;
}

static bool parse_key(struct dtls_out *d, struct bytes pem)
{
    char *text = text_of(pem);
    bool ok = text && compat_parse_key(&d->key, (const uint8_t *)text, pem.n + 1,
                                       mbedtls_ctr_drbg_random, &d->drbg) == 0;
    if (text)
        crypto_wipe(text, pem.n);
    free(text);
    return ok;
}

static const char *load_certificates(struct dtls_out *d, struct bytes ca, struct bytes certificate,
                                     struct bytes key)
{
    if (ca.n && !parse_chain(&d->ca, ca))
        return "the CA cannot be read";
    if (certificate.n == 0)
        return NULL;
    if (!parse_chain(&d->chain, certificate))
        return "the certificate cannot be read";
    if (!parse_key(d, key))
        return "the key cannot be read";
    return compat_check_pair(&d->chain.pk, &d->key, mbedtls_ctr_drbg_random, &d->drbg) == 0
               ? NULL
               : "the key is not the certificate's";
}

static const char *load(struct dtls_out *d, const struct dtls_out_config *c)
{
    if (c->psk.n)
        return mbedtls_ssl_conf_psk(&d->conf, c->psk.p, c->psk.n, c->identity.p, c->identity.n) == 0
                   ? NULL
                   : "the key cannot be used by this DTLS engine";
    d->by_certificate = true;
    if (c->ca.n == 0)
        return "a CA is needed to know the server by";
    const char *why = load_certificates(d, c->ca, c->certificate, c->key);
    if (why)
        return why;
    mbedtls_ssl_conf_ca_chain(&d->conf, &d->ca, NULL);
    if (c->certificate.n == 0)
        return NULL;
    return mbedtls_ssl_conf_own_cert(&d->conf, &d->chain, &d->key) == 0
               ? NULL
               : "the certificate cannot be used";
}

static const char *start_random(struct dtls_out *d)
{
    return compat_crypto_init() &&
                   mbedtls_ctr_drbg_seed(&d->drbg, mbedtls_entropy_func, &d->entropy,
                                         (const unsigned char *)"postern", 7) == 0
               ? NULL
               : "no randomness";
}

static const char *configure(struct dtls_out *d, const struct dtls_out_config *c)
{
    mbedtls_ssl_config *conf = &d->conf;
    const char *why = start_random(d);
    if (why)
        return why;
    int transport = c->stream ? MBEDTLS_SSL_TRANSPORT_STREAM : MBEDTLS_SSL_TRANSPORT_DATAGRAM;
    if (mbedtls_ssl_config_defaults(conf, MBEDTLS_SSL_IS_CLIENT, transport,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return "out of memory";
    why = load(d, c);
    if (why)
        return why;
    compat_conf_dtls12(conf);
    mbedtls_ssl_conf_ciphersuites(conf, d->by_certificate ? suites_certificate : suites_psk);
    mbedtls_ssl_conf_rng(conf, mbedtls_ctr_drbg_random, &d->drbg);
    mbedtls_ssl_conf_authmode(conf, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_verify(conf, on_certificate, d);
    mbedtls_ssl_conf_handshake_timeout(conf, DTLS_TIMEOUT_MIN_MS, DTLS_TIMEOUT_MAX_MS);
    mbedtls_ssl_conf_dtls_anti_replay(conf, MBEDTLS_SSL_ANTI_REPLAY_ENABLED);
    mbedtls_ssl_conf_dtls_badmac_limit(conf, 0); /* else a stranger ends sessions */
    mbedtls_ssl_conf_renegotiation(conf, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_extended_master_secret(conf, MBEDTLS_SSL_EXTENDED_MS_ENABLED);
    mbedtls_ssl_conf_session_tickets(conf, MBEDTLS_SSL_SESSION_TICKETS_ENABLED);
    return NULL;
}

static struct dtls_out *blank(void)
{
    struct dtls_out *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    mbedtls_ssl_config_init(&d->conf);
    mbedtls_ssl_session_init(&d->saved);
    mbedtls_x509_crt_init(&d->chain);
    mbedtls_x509_crt_init(&d->ca);
    mbedtls_pk_init(&d->key);
    mbedtls_entropy_init(&d->entropy);
    mbedtls_ctr_drbg_init(&d->drbg);
    return d;
}

const char *dtls_out_check(struct bytes ca, struct bytes certificate, struct bytes key)
{
    struct dtls_out *d = blank();
    if (!d)
        return "out of memory";
    const char *why = start_random(d);
    if (!why)
        why = load_certificates(d, ca, certificate, key);
    dtls_out_free(d);
    return why;
}

struct dtls_out *dtls_out_new(const struct dtls_out_config *c, const char **why)
{
    struct dtls_out *d = blank();
    *why = "out of memory";
    if (!d)
        return NULL;
    d->host = strdup(c->host);
    if (d->host && inet_pton(AF_INET, d->host, d->address) == 1)
        d->address_n = 4;
    else if (d->host && inet_pton(AF_INET6, d->host, d->address) == 1)
        d->address_n = 16;
    if (d->host)
        *why = configure(d, c);
    if (*why) {
        dtls_out_free(d);
        return NULL;
    }
    return d;
}

void dtls_out_free(struct dtls_out *d)
{
    if (!d)
        return;
    mbedtls_ssl_config_free(&d->conf);
    mbedtls_ssl_session_free(&d->saved); /* wiped */
    mbedtls_x509_crt_free(&d->chain);
    mbedtls_x509_crt_free(&d->ca);
    mbedtls_pk_free(&d->key);
    mbedtls_ctr_drbg_free(&d->drbg);
    mbedtls_entropy_free(&d->entropy);
    free(d->host);
    free(d);
}

mbedtls_ssl_config *dtls_out_conf(struct dtls_out *d)
{
    return &d->conf;
}

const char *dtls_out_name(const struct dtls_out *d)
{
    return d->by_certificate && d->address_n == 0 ? d->host : NULL;
}

/* ---- making and ending ---- */

struct dtls_out_session *dtls_out_session_new(struct dtls_out *d, dtls_out_send_fn *send,
                                              void *user)
{
    struct dtls_out_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->dtls = d;
    s->send = send;
    s->user = user;
    mbedtls_ssl_init(&s->ssl);
    /* Always said, be it to say that there is no name: the check of an
     * address is ours (on_certificate). */
    if (mbedtls_ssl_setup(&s->ssl, &d->conf) != 0 ||
        mbedtls_ssl_set_hostname(&s->ssl, dtls_out_name(d)) != 0) {
        dtls_out_session_free(s);
        return NULL;
    }
    mbedtls_ssl_set_mtu(&s->ssl, HANDSHAKE_MTU);
    mbedtls_ssl_set_bio(&s->ssl, s, on_send, on_recv, NULL);
    mbedtls_ssl_set_timer_cb(&s->ssl, s, on_set_timer, on_get_timer);
    return s;
}

void dtls_out_session_free(struct dtls_out_session *s)
{
    if (!s)
        return;
    mbedtls_ssl_free(&s->ssl);
    free(s);
}

static void forget_saved(struct dtls_out *d)
{
    mbedtls_ssl_session_free(&d->saved);
    mbedtls_ssl_session_init(&d->saved);
    d->has_saved = false;
}

/* What was checked then is not checked again: not for longer than a day. A
 * server that does not know it any more makes a whole handshake of it. */
static void offer_saved(struct dtls_out_session *s)
{
    struct dtls_out *d = s->dtls;
    if (d->has_saved && instant_ms(s->now) - d->saved_ms >= RESUME_LIFE_MS)
        forget_saved(d);
    s->resuming = d->has_saved && mbedtls_ssl_set_session(&s->ssl, &d->saved) == 0;
}

static void save(struct dtls_out_session *s)
{
    struct dtls_out *d = s->dtls;
    uint64_t since_ms = s->resuming ? d->saved_ms : instant_ms(s->now);
    forget_saved(d);
    d->has_saved = mbedtls_ssl_get_session(&s->ssl, &d->saved) == 0;
    d->saved_ms = since_ms;
}

static enum dtls_out_event end(struct dtls_out_session *s, const char *reason)
{
    /* A server may have stumbled over what we offered: next time a whole one. */
    if (s->state == OUT_HANDSHAKE && s->resuming)
        forget_saved(s->dtls);
    s->how = s->state == OUT_ESTABLISHED ? DTLS_OUT_ENDED : DTLS_OUT_REFUSED;
    s->state = OUT_CLOSED;
    s->reason = reason;
    s->in = s->record = BYTES_NONE;
    s->fin_ms = 0;
    return DTLS_OUT_CLOSED;
}

enum dtls_out_event dtls_out_give_up(struct dtls_out_session *s)
{
    /* Some say nothing to a Finished that another key has made. */
    bool unanswered = compat_awaits_finished(&s->ssl);
    (void)end(s, unanswered ? "no-answer-to-our-key" : "handshake-timeout");
    s->how = unanswered ? DTLS_OUT_REFUSED : DTLS_OUT_SILENT;
    return DTLS_OUT_CLOSED;
}

static enum dtls_out_event fail(struct dtls_out_session *s, int ret)
{
    switch (ret) {
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return end(s, "closed-by-peer");
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        return end(s, "alert-from-peer");
    case MBEDTLS_ERR_SSL_TIMEOUT:
        return dtls_out_give_up(s);
    case MBEDTLS_ERR_SSL_INVALID_MAC:
        return end(s, "wrong-key");
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        return end(s, "certificate-refused");
    default:
        if (!s->alerted)
            (void)mbedtls_ssl_send_alert_message(&s->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                                 MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
        return end(s, "handshake-failed");
    }
}

/* ---- the handshake ---- */

static enum dtls_out_event step(struct dtls_out_session *s)
{
    /* A due timer makes the engine answer before it reads: once more, then. */
    for (int tries = 0; tries < 2; tries++) {
        int ret = mbedtls_ssl_handshake(&s->ssl);
        if (ret == 0) {
            s->state = OUT_ESTABLISHED;
            s->record = BYTES_NONE;
            s->fin_ms = 0;
            save(s);
            mbedtls_ssl_set_mtu(&s->ssl, DATAGRAM_MAX);
            return DTLS_OUT_ESTABLISHED;
        }
        /* RFC 6347 4.1.2.7: invalid records are dropped. */
        bool dropped = !s->alerted && (ret == MBEDTLS_ERR_SSL_INVALID_RECORD ||
                                       ret == MBEDTLS_ERR_SSL_UNEXPECTED_RECORD);
        if (ret != MBEDTLS_ERR_SSL_WANT_READ && ret != MBEDTLS_ERR_SSL_WANT_WRITE && !dropped)
            return fail(s, ret);
        if (s->record.n == 0)
            break;
    }
    s->record = BYTES_NONE;
    return DTLS_OUT_NOTHING;
}

enum dtls_out_event dtls_out_start(struct dtls_out_session *s, struct instant now)
{
    s->now = now;
    offer_saved(s);
    s->state = OUT_HANDSHAKE;
    return step(s);
}

enum dtls_out_event dtls_out_receive(struct dtls_out_session *s, struct bytes datagram,
                                     struct instant now)
{
    s->now = now;
    if (s->state == OUT_CLOSED)
        return DTLS_OUT_CLOSED;
    s->in = datagram;
    struct bytes record;
    while (s->state == OUT_HANDSHAKE && dtls_next_record(&s->in, &record)) {
        if (!dtls_record_is_sound(record))
            continue;
        s->record = record;
        enum dtls_out_event e = step(s);
        if (e != DTLS_OUT_NOTHING)
            return e; /* what is behind stays for dtls_out_read() */
    }
    return DTLS_OUT_NOTHING;
}

uint64_t dtls_out_deadline_ms(const struct dtls_out_session *s)
{
    return s->state == OUT_HANDSHAKE && s->fin_ms ? s->fin_ms : UINT64_MAX;
}

enum dtls_out_event dtls_out_expire(struct dtls_out_session *s, struct instant now)
{
    if (instant_ms(now) < dtls_out_deadline_ms(s))
        return DTLS_OUT_NOTHING;
    s->now = now;
    return step(s);
}

/* ---- the session ---- */

struct bytes dtls_out_read(struct dtls_out_session *s, struct instant now, uint8_t *storage,
                           size_t cap, enum dtls_out_event *event)
{
    *event = DTLS_OUT_NOTHING;
    s->now = now;
    while (s->state == OUT_ESTABLISHED && dtls_next_record(&s->in, &s->record)) {
        /* Epoch 0 is in clear, and anybody's; but the server may send its
         * last flight again, to which the engine would answer with ours. */
        if (dtls_record_epoch(s->record) == 0 && dtls_record_type(s->record) == DTLS_ALERT)
            continue;
        int ret = mbedtls_ssl_read(&s->ssl, storage, cap);
        s->record = BYTES_NONE;
        if (ret > 0 && mbedtls_ssl_get_bytes_avail(&s->ssl) == 0)
            return bytes_of(storage, (size_t)ret);
        while (ret > 0) /* larger than the caller takes: dropped whole */
            ret =
                mbedtls_ssl_get_bytes_avail(&s->ssl) ? mbedtls_ssl_read(&s->ssl, storage, cap) : 0;
        if (ret < 0 && ret != MBEDTLS_ERR_SSL_WANT_READ && ret != MBEDTLS_ERR_SSL_WANT_WRITE)
            *event = fail(s, ret);
    }
    s->in = s->record = BYTES_NONE;
    return BYTES_NONE;
}

bool dtls_out_write(struct dtls_out_session *s, struct bytes plain, struct instant now)
{
    s->now = now;
    return s->state == OUT_ESTABLISHED && plain.n > 0 &&
           mbedtls_ssl_write(&s->ssl, plain.p, plain.n) == (int)plain.n;
}

bool dtls_out_is_established(const struct dtls_out_session *s)
{
    return s->state == OUT_ESTABLISHED;
}

void dtls_out_close(struct dtls_out_session *s, struct instant now)
{
    s->now = now;
    if (s->state == OUT_ESTABLISHED)
        (void)mbedtls_ssl_close_notify(&s->ssl);
    (void)end(s, "closed");
}

const char *dtls_out_reason(const struct dtls_out_session *s)
{
    return s->reason ? s->reason : "open";
}

enum dtls_out_end dtls_out_end(const struct dtls_out_session *s)
{
    return s->how;
}
