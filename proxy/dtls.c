#include "dtls.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "../policy/cursor.h"
#include "certificate.h"
#include "compat_mbedtls.h"
#include "dtls_engine.h"
#include "key_exchange.h"

/* What only a handshake needs; freed when it is complete. */
struct handshake {
    bool psk;    /* the negotiated suite has a psk_identity */
    bool looked; /* find_psk has answered for good */
    uint32_t chain_flags;
    struct key_exchange key_exchange;
    size_t parked_n;
    uint8_t parked[PARKED_MAX]; /* whole records */
};

static struct dtls_session *session_of(mbedtls_ssl_context *ssl)
{
    return (struct dtls_session *)((char *)ssl - offsetof(struct dtls_session, ssl));
}

/* ---- what the library calls ---- */

/* The suite stands in our ServerHello: extensions aside, its only fields of
 * variable length are before it. */
static void note_suite(struct dtls_session *s, struct bytes datagram)
{
    struct cursor c = cursor_on(datagram);
    if (cursor_u8(&c) != DTLS_HANDSHAKE)
        return;
    cursor_take(&c, DTLS_RECORD_HEADER - 1);
    if (cursor_u8(&c) != HANDSHAKE_SERVER_HELLO)
        return;
    cursor_take(&c, HANDSHAKE_HEADER - 1 + 2 + HELLO_RANDOM);
    cursor_vector(&c, 1);
    uint16_t suite = cursor_u16(&c);
    if (cursor_ok(&c))
        s->handshake->psk = dtls_suite_uses_psk(suite);
}

static int on_send(void *user, const unsigned char *p, size_t n)
{
    struct dtls_session *s = user;
    struct bytes datagram = bytes_of(p, n);
    if (s->out) {
        buf_put(s->out, datagram);
        return (int)n;
    }
    if (s->handshake)
        note_suite(s, datagram);
    /* An encrypted alert is taken for a fatal one: during a handshake we send
     * no other. */
    if (n > DTLS_RECORD_HEADER && dtls_record_type(datagram) == DTLS_ALERT)
        s->alerted |= dtls_record_epoch(datagram) != 0 ||
                      p[DTLS_RECORD_HEADER] == MBEDTLS_SSL_ALERT_LEVEL_FATAL;
    s->dtls->ops.send(s->dtls->user, s, datagram);
    return (int)n;
}

static int on_recv(void *user, unsigned char *p, size_t cap)
{
    struct dtls_session *s = user;
    struct bytes record = s->record;
    s->record = BYTES_NONE;
    if (record.n == 0 || record.n > cap)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(p, record.p, record.n);
    return (int)record.n;
}

static void on_set_timer(void *user, uint32_t int_ms, uint32_t fin_ms)
{
    struct dtls_session *s = user;
    s->int_ms = fin_ms ? instant_ms(s->now) + int_ms : 0;
    s->fin_ms = fin_ms ? instant_ms(s->now) + fin_ms : 0;
}

static int on_get_timer(void *user)
{
    struct dtls_session *s = user;
    if (s->fin_ms == 0)
        return -1;
    if (instant_ms(s->now) >= s->fin_ms)
        return 2;
    return instant_ms(s->now) >= s->int_ms ? 1 : 0;
}

/* Cookies are the greeter's; the session was made for one, and the engine
 * sees the same again as its client's transport id. */
int dtls_on_cookie_check(void *user, const unsigned char *cookie, size_t n,
                         const unsigned char *client, size_t client_n)
{
    (void)user;
    return client_n && crypto_equal(bytes_of(cookie, n), bytes_of(client, client_n)) ? 0 : -1;
}

int dtls_on_cookie_write(void *user, unsigned char **p, unsigned char *end,
                         const unsigned char *client, size_t client_n)
{
    (void)user, (void)p, (void)end, (void)client, (void)client_n;
    return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

/* The engine's reading of the identity must be ours, whatever fragments made
 * it: the key was looked up for ours. */
int dtls_on_psk(void *user, mbedtls_ssl_context *ssl, const unsigned char *identity, size_t n)
{
    (void)user;
    struct dtls_session *s = session_of(ssl);
    struct handshake *h = s->handshake;
    if (!h || !h->looked || s->proof.key_n == 0 ||
        !bytes_equal(bytes_of(identity, n), key_exchange_identity(&h->key_exchange)))
        return -1;
    return mbedtls_ssl_set_hs_psk(ssl, s->proof.key, s->proof.key_n);
}

/* Called from the top of the chain down to the client's own. What is wrong
 * above is kept for the judgement of the own one: a certificate whose key is
 * known passes by its key alone. */
static int on_certificate(void *user, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    struct dtls_session *s = user;
    struct handshake *h = s->handshake;
    if (depth > 0) {
        h->chain_flags |= *flags;
        *flags = 0;
        return 0;
    }
    uint32_t wrong = h->chain_flags | *flags;
    struct pep_certificate c;
    certificate_view(crt, wrong == 0, &c);
    if (s->dtls->ops.judge_certificate(s->dtls->user, s, &c, &s->proof))
        *flags = 0;
    else /* none wrong: MBEDTLS_X509_BADCERT_OTHER becomes access_denied */
        *flags = wrong ? wrong : MBEDTLS_X509_BADCERT_OTHER;
    return 0;
}

/* ---- making and ending ---- */

struct dtls_session *dtls_session_make(struct dtls *d, const struct peer *peer, void *owner)
{
    struct dtls_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->dtls = d;
    s->owner = owner;
    s->peer = *peer;
    s->proof.subject = -1;
    mbedtls_ssl_init(&s->ssl);
    if (mbedtls_ssl_setup(&s->ssl, &d->conf) != 0) {
        dtls_session_free(s);
        return NULL;
    }
    mbedtls_ssl_set_bio(&s->ssl, s, on_send, on_recv, NULL);
    mbedtls_ssl_set_timer_cb(&s->ssl, s, on_set_timer, on_get_timer);
    return s;
}

struct dtls_session *dtls_session_new(struct dtls *d, const struct peer *peer, void *owner)
{
    struct dtls_session *s = dtls_session_spare(d, peer, owner);
    if (!s)
        s = dtls_session_make(d, peer, owner);
    if (!s)
        return NULL;
    s->handshake = calloc(1, sizeof *s->handshake);
    if (!s->handshake) {
        dtls_session_free(s);
        return NULL;
    }
    mbedtls_ssl_set_mtu(&s->ssl, HANDSHAKE_MTU);
    mbedtls_ssl_set_verify(&s->ssl, on_certificate, s);
    dtls_random(d, s->cid, sizeof s->cid);
    s->cid[0] = d->worker;
    if (!compat_set_cid(&s->ssl, s->cid, sizeof s->cid)) {
        dtls_session_free(s);
        return NULL;
    }
    return s;
}

static void handshake_free(struct dtls_session *s)
{
    if (s->handshake) /* an identity may be a token */
        crypto_wipe(s->handshake, sizeof *s->handshake);
    free(s->handshake);
    s->handshake = NULL;
}

void dtls_session_free(struct dtls_session *s)
{
    if (!s)
        return;
    mbedtls_ssl_free(&s->ssl);
    handshake_free(s);
    crypto_wipe(&s->proof, sizeof s->proof);
    free(s);
}

void *dtls_session_owner(const struct dtls_session *s)
{
    return s->owner;
}

static enum dtls_event end(struct dtls_session *s, const char *reason)
{
    s->state = SESSION_CLOSED;
    s->reason = reason;
    s->in = s->record = BYTES_NONE;
    s->fin_ms = 0;
    return DTLS_CLOSED;
}

static enum dtls_event fail(struct dtls_session *s, uint8_t alert, const char *reason)
{
    if (!s->alerted)
        (void)mbedtls_ssl_send_alert_message(&s->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert);
    return end(s, reason);
}

/* The library said no. Where it has sent no alert we do. */
static enum dtls_event fail_by(struct dtls_session *s, int ret)
{
    switch (ret) {
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return end(s, "closed-by-peer");
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        return end(s, "alert-from-peer");
    case MBEDTLS_ERR_SSL_TIMEOUT:
        return end(s, "handshake-timeout");
    case MBEDTLS_ERR_SSL_INVALID_MAC: /* of the Finished: another key */
        return fail(s, MBEDTLS_SSL_ALERT_MSG_BAD_RECORD_MAC, "wrong-key");
    case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE: /* RFC 5246 7.4.6 */
        return fail(s, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE, "no-certificate");
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        return fail(s, MBEDTLS_SSL_ALERT_MSG_BAD_CERT, "certificate-refused");
    case MBEDTLS_ERR_SSL_UNKNOWN_IDENTITY:
        return fail(s, MBEDTLS_SSL_ALERT_MSG_UNKNOWN_PSK_IDENTITY, "unknown-identity");
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
        return fail(s, MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR, "out-of-memory");
    default:
        return fail(s, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE,
                    compat_is_no_suite(ret) ? "no-common-suite" : "handshake-failed");
    }
}

/* ---- the handshake ---- */

static enum dtls_event step(struct dtls_session *s)
{
    /* A due timer makes the engine answer before it reads: once more, then. */
    for (int tries = 0; tries < 2; tries++) {
        int ret = mbedtls_ssl_handshake(&s->ssl);
        if (ret == 0) {
            s->state = SESSION_ESTABLISHED;
            s->record = BYTES_NONE; /* of this flight again: it had all of it in its buffers */
            s->fin_ms = 0;
            handshake_free(s);
            compat_forget_session(&s->ssl);
            mbedtls_ssl_set_mtu(&s->ssl, DATAGRAM_MAX);
            return DTLS_ESTABLISHED;
        }
        if (ret != MBEDTLS_ERR_SSL_WANT_READ && ret != MBEDTLS_ERR_SSL_WANT_WRITE)
            return fail_by(s, ret);
        if (s->record.n == 0)
            break;
    }
    s->record = BYTES_NONE;
    return DTLS_NOTHING;
}

/* Asks for the key. DTLS_NOTHING: go on, unless parked. */
static enum dtls_event look_up(struct dtls_session *s)
{
    struct bytes identity = key_exchange_identity(&s->handshake->key_exchange);
    enum pep_key_state found = PEP_KEY_NONE;
    memset(&s->proof, 0, sizeof s->proof);
    s->proof.subject = -1;
    if (identity.n)
        found = s->dtls->ops.find_psk(s->dtls->user, s, identity, &s->proof);
    if (found == PEP_KEY_WAIT) {
        s->state = SESSION_PARKED;
        return DTLS_NOTHING;
    }
    s->state = SESSION_HANDSHAKE;
    s->handshake->looked = true;
    if (found == PEP_KEY_FOUND && s->proof.key_n > 0 && s->proof.key_n <= sizeof s->proof.key)
        return DTLS_NOTHING;
    /* RFC 9202 3.3.2 for an identity that claims to be a token or names a
     * key; RFC 4279 2 for a plain name. */
    if (s->proof.kind == PEP_IDENTITY_KID || s->proof.kind == PEP_IDENTITY_TOKEN)
        return fail(s, MBEDTLS_SSL_ALERT_MSG_ILLEGAL_PARAMETER, "unusable-token");
    return fail(s, MBEDTLS_SSL_ALERT_MSG_UNKNOWN_PSK_IDENTITY, "unknown-identity");
}

/* Looks at a record before the engine does. */
static enum dtls_event foresee(struct dtls_session *s, struct bytes record)
{
    struct handshake *h = s->handshake;
    if (!h->psk || h->looked)
        return DTLS_NOTHING;
    switch (key_exchange_take(&h->key_exchange, record)) {
    case KEY_EXCHANGE_PART:
        return DTLS_NOTHING;
    case KEY_EXCHANGE_WHOLE:
        return look_up(s);
    case KEY_EXCHANGE_BAD:
        break;
    }
    return fail(s, MBEDTLS_SSL_ALERT_MSG_ILLEGAL_PARAMETER, "bad-identity");
}

/* The client sends the rest again if it does not fit. */
static void park(struct dtls_session *s, struct bytes record)
{
    struct handshake *h = s->handshake;
    if (record.n > sizeof h->parked - h->parked_n)
        return;
    memcpy(h->parked + h->parked_n, record.p, record.n);
    h->parked_n += record.n;
}

/* Records one by one, so that each is looked at. What is behind the last one
 * of the handshake stays in s->in for dtls_read(). */
static enum dtls_event run(struct dtls_session *s)
{
    struct bytes record;
    while (dtls_next_of(&s->in, &record)) {
        enum dtls_event e = DTLS_NOTHING;
        /* RFC 6347 4.1.2.7: invalid records are dropped. The engine would
         * fail by them, or stumble over the same one for ever. */
        if (!dtls_record_is_sound(record))
            continue;
        if (s->state == SESSION_HANDSHAKE)
            e = foresee(s, record);
        if (e == DTLS_NOTHING && s->state == SESSION_PARKED) {
            park(s, record);
            continue;
        }
        if (e == DTLS_NOTHING) {
            s->record = record;
            e = step(s);
        }
        if (e != DTLS_NOTHING)
            return e;
    }
    return DTLS_NOTHING;
}

static bool is_welcome(const struct dtls_session *s, struct bytes hello)
{
    const struct dtls *d = s->dtls;
    return d->welcome.at_us == s->now.mono_us && peer_equal(&d->welcome.peer, &s->peer) &&
           bytes_equal(bytes_of(d->welcome.hello, d->welcome.n), hello);
}

static void note_welcome(struct dtls *d, const struct peer *peer, struct bytes hello,
                         struct instant now)
{
    d->welcome.n = 0;
    if (hello.n > sizeof d->welcome.hello)
        return;
    memcpy(d->welcome.hello, hello.p, hello.n);
    d->welcome.n = hello.n;
    d->welcome.peer = *peer;
    d->welcome.at_us = now.mono_us;
}

static enum dtls_event begin(struct dtls_session *s, struct bytes datagram)
{
    struct hello h;
    if (!hello_parse(datagram, &h) ||
        !(is_welcome(s, datagram) || greeter_knows(&s->dtls->greeter, &s->peer, &h, s->now)))
        return end(s, "no-cookie");
    if (mbedtls_ssl_set_client_transport_id(&s->ssl, h.cookie.p, h.cookie.n) != 0)
        return end(s, "out-of-memory");
    memcpy(s->random, h.random.p, sizeof s->random);
    /* A PSK client has nothing to say between its hello and its key exchange
     * (no certificate is asked for), RFC 6347 4.2.2. */
    key_exchange_init(&s->handshake->key_exchange, (uint16_t)(h.message_seq + 1));
    s->state = SESSION_HANDSHAKE;
    return DTLS_NOTHING;
}

enum dtls_event dtls_receive(struct dtls_session *s, struct bytes datagram, struct instant now)
{
    s->now = now;
    if (s->state == SESSION_CLOSED)
        return DTLS_CLOSED;
    if (s->state == SESSION_FRESH && begin(s, datagram) == DTLS_CLOSED)
        return DTLS_CLOSED;
    s->in = datagram;
    return s->state == SESSION_ESTABLISHED ? DTLS_NOTHING : run(s);
}

enum dtls_event dtls_wake(struct dtls_session *s, struct instant now)
{
    s->now = now;
    if (s->state != SESSION_PARKED)
        return s->state == SESSION_CLOSED ? DTLS_CLOSED : DTLS_NOTHING;
    enum dtls_event e = look_up(s);
    if (e != DTLS_NOTHING || s->state == SESSION_PARKED)
        return e;
    /* The handshake ends, and what was parked with it, inside run(). */
    uint8_t parked[PARKED_MAX];
    size_t n = s->handshake->parked_n;
    memcpy(parked, s->handshake->parked, n);
    s->handshake->parked_n = 0;
    s->in = bytes_of(parked, n);
    e = run(s);
    s->in = BYTES_NONE;
    return e;
}

uint64_t dtls_deadline_ms(const struct dtls_session *s)
{
    /* While it is we who wait for a key the flight needs no repeating. */
    return s->state == SESSION_HANDSHAKE && s->fin_ms ? s->fin_ms : UINT64_MAX;
}

enum dtls_event dtls_expire(struct dtls_session *s, struct instant now)
{
    if (instant_ms(now) < dtls_deadline_ms(s))
        return DTLS_NOTHING;
    s->now = now;
    return step(s);
}

/* ---- the session ---- */

struct bytes dtls_read(struct dtls_session *s, struct instant now, uint8_t *storage, size_t cap,
                       enum dtls_event *event)
{
    *event = DTLS_NOTHING;
    s->now = now;
    while (s->state == SESSION_ESTABLISHED && dtls_next_of(&s->in, &s->record)) {
        /* Epoch 0 is in clear: an alert or a ClientHello in it is anybody's
         * (and the engine would start afresh for the latter). */
        if (dtls_record_epoch(s->record) == 0)
            continue;
        int ret = mbedtls_ssl_read(&s->ssl, storage, cap);
        s->record = BYTES_NONE;
        if (ret > 0 && mbedtls_ssl_get_bytes_avail(&s->ssl) == 0)
            return bytes_of(storage, (size_t)ret);
        while (ret > 0) /* larger than the caller takes: dropped whole */
            ret =
                mbedtls_ssl_get_bytes_avail(&s->ssl) ? mbedtls_ssl_read(&s->ssl, storage, cap) : 0;
        /* What is not authentic was dropped inside; the rest is the peer's. */
        if (ret < 0 && ret != MBEDTLS_ERR_SSL_WANT_READ && ret != MBEDTLS_ERR_SSL_WANT_WRITE) {
            *event = ret == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY ||
                             ret == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE
                         ? fail_by(s, ret)
                         : fail(s, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE, "protocol-error");
        }
    }
    s->in = s->record = BYTES_NONE;
    return BYTES_NONE;
}

bool dtls_write(struct dtls_session *s, struct bytes plain, struct buf *out)
{
    if (s->state != SESSION_ESTABLISHED || plain.n == 0)
        return false;
    size_t before = out->n;
    s->out = out;
    int ret = mbedtls_ssl_write(&s->ssl, plain.p, plain.n);
    s->out = NULL;
    return ret == (int)plain.n && !out->full && out->n > before;
}

bool dtls_owns(struct dtls_session *s, struct bytes datagram)
{
    uint8_t copy[DATAGRAM_MAX]; /* the check decrypts in place, and wipes */
    struct bytes record;
    if (s->state == SESSION_FRESH || s->state == SESSION_CLOSED ||
        !dtls_next_of(&datagram, &record) || record.n > sizeof copy ||
        dtls_record_epoch(record) == 0)
        return false;
    memcpy(copy, record.p, record.n);
    return mbedtls_ssl_check_record(&s->ssl, copy, record.n) == 0;
}

void dtls_set_worker(struct dtls *d, uint8_t worker)
{
    d->worker = worker;
}

bool dtls_next_of(struct bytes *datagram, struct bytes *record)
{
    return dtls_take_record(datagram, COMPAT_HAS_CID, record);
}

struct bytes dtls_cid_of(struct bytes datagram)
{
    struct bytes record;
    return COMPAT_HAS_CID && dtls_take_record(&datagram, true, &record) &&
                   dtls_record_type(record) == DTLS_WITH_CID
               ? dtls_record_cid(record)
               : BYTES_NONE;
}

struct bytes dtls_cid(struct dtls_session *s)
{
    return s->state == SESSION_ESTABLISHED && compat_uses_cid(&s->ssl)
               ? bytes_of(s->cid, sizeof s->cid)
               : BYTES_NONE;
}

bool dtls_is_newest(const struct dtls_session *s, struct bytes datagram)
{
    struct bytes record;
    uint64_t top, seen;
    compat_window(&s->ssl, &top, &seen);
    return dtls_next_of(&datagram, &record) && dtls_record_number(record) > top;
}

bool dtls_began_with(const struct dtls_session *s, struct bytes client_hello)
{
    struct hello h;
    return s->state != SESSION_FRESH && hello_parse(client_hello, &h) &&
           bytes_equal(h.random, bytes_of(s->random, sizeof s->random));
}

bool dtls_is_parked(const struct dtls_session *s)
{
    return s->state == SESSION_PARKED;
}

const struct pep_proof *dtls_proof(const struct dtls_session *s)
{
    return &s->proof;
}

void dtls_forget_key(struct dtls_session *s)
{
    crypto_wipe(s->proof.key, sizeof s->proof.key);
    s->proof.key_n = 0;
}

const char *dtls_suite(const struct dtls_session *s)
{
    return mbedtls_ssl_get_ciphersuite(&s->ssl);
}

void dtls_close(struct dtls_session *s, const char *reason)
{
    switch (s->state) {
    case SESSION_CLOSED:
        return;
    case SESSION_ESTABLISHED:
        (void)mbedtls_ssl_close_notify(&s->ssl);
        break;
    case SESSION_HANDSHAKE:
    case SESSION_PARKED:
        (void)fail(s, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE, reason);
        return;
    case SESSION_FRESH:
        break;
    }
    (void)end(s, reason);
}

const char *dtls_close_reason(const struct dtls_session *s)
{
    return s->reason ? s->reason : "open";
}

/* ---- strangers ---- */

bool dtls_is_client_hello(struct bytes datagram)
{
    return hello_looks_like(datagram);
}

enum dtls_greeting dtls_greet(struct dtls *d, const struct peer *peer, struct bytes datagram,
                              struct instant now, struct buf *out)
{
    struct hello h;
    if (!hello_parse(datagram, &h))
        return DTLS_GREET_DROP;
    if (greeter_knows(&d->greeter, peer, &h, now)) {
        note_welcome(d, peer, datagram, now);
        return DTLS_GREET_WELCOME;
    }
    size_t before = out->n;
    /* Never more than what came: nothing to gain from a forged address. */
    if (!greeter_ask(&d->greeter, peer, &h, now, out) || out->n - before > datagram.n)
        return DTLS_GREET_DROP;
    return DTLS_GREET_ANSWER;
}
