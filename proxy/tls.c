#include "tls.h"

#include <stdlib.h>

#include "../pep/crypto.h"
#include "certificate.h"
#include "compat_mbedtls.h"
#include "dtls_out_engine.h"
#include "tls_engine.h"
#include "tls_peek.h"

enum tls_state {
    STATE_FRESH = 0,
    STATE_HANDSHAKE,
    STATE_PARKED, /* waits for find_psk */
    STATE_ESTABLISHED,
    STATE_CLOSED,
};

/* What only a handshake needs. The engine is given whole records, so that
 * each is looked at before; afterwards it reads from the wire itself. */
struct shake {
    bool psk;              /* the negotiated suite has a psk_identity in its key exchange */
    bool clear;            /* what the client sends is not encrypted yet */
    bool looked;           /* find_psk has answered for good for `identity` */
    size_t candidate;      /* of the ClientHello's identities */
    struct bytes identity; /* in `record` */
    uint32_t chain_flags;
    size_t n, given; /* bytes there, and those that the engine has taken */
    uint8_t record[TLS_RECORD_HEADER + TLS_RECORD_MAX];
};

struct tls_session {
    mbedtls_ssl_context ssl;
    struct tls *tls;
    struct tls_wire wire;
    const struct tls_ops *ops;
    void *user;
    enum tls_state state;
    bool alerted;
    bool lost; /* the wire has ended */
    const char *reason;
    struct shake *handshake;
    struct pep_proof proof;
};

static struct tls_session *session_of(mbedtls_ssl_context *ssl)
{
    return (struct tls_session *)((char *)ssl - offsetof(struct tls_session, ssl));
}

/* ---- what the library calls ---- */

static int on_send(void *user, const unsigned char *p, size_t n)
{
    struct tls_session *s = user;
    struct bytes record = bytes_of(p, n);
    if (s->handshake && s->tls->server) {
        uint16_t suite = tls_peek_suite(record);
        if (suite)
            s->handshake->psk = dtls_suite_uses_psk(suite);
    }
    if (n > 0 && p[0] == DTLS_ALERT)
        s->alerted = true;
    if (s->lost || !s->wire.send(s->user, record)) {
        s->lost = true;
        return MBEDTLS_ERR_SSL_CONN_EOF;
    }
    return (int)n;
}

static int on_recv(void *user, unsigned char *p, size_t cap)
{
    struct tls_session *s = user;
    struct shake *h = s->handshake;
    if (h) {
        size_t n = h->n - h->given < cap ? h->n - h->given : cap;
        if (n == 0)
            return MBEDTLS_ERR_SSL_WANT_READ;
        memcpy(p, h->record + h->given, n);
        h->given += n;
        return (int)n;
    }
    int n = s->wire.recv(s->user, p, cap);
    if (n == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    s->lost |= n < 0;
    return n > 0 ? n : 0;
}

/* The engine's reading of the identity must be ours: the key was looked up
 * for ours. */
int tls_on_psk(void *user, mbedtls_ssl_context *ssl, const unsigned char *identity, size_t n)
{
    (void)user;
    struct tls_session *s = session_of(ssl);
    struct shake *h = s->handshake;
    if (!h || !h->looked || s->proof.key_n == 0 || !bytes_equal(bytes_of(identity, n), h->identity))
        return -1;
    return mbedtls_ssl_set_hs_psk(ssl, s->proof.key, s->proof.key_n);
}

/* As with DTLS: from the top of the chain down; what is wrong above counts
 * for the judgement of the client's own. */
static int on_certificate(void *user, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    struct tls_session *s = user;
    struct shake *h = s->handshake;
    if (depth > 0) {
        h->chain_flags |= *flags;
        *flags = 0;
        return 0;
    }
    uint32_t wrong = h->chain_flags | *flags;
    struct pep_certificate c;
    certificate_view(crt, wrong == 0, &c);
    crypto_wipe(&s->proof, sizeof s->proof);
    s->proof.subject = -1;
    if (s->ops->judge_certificate(s->user, &c, &s->proof))
        *flags = 0;
    else
        *flags = wrong ? wrong : MBEDTLS_X509_BADCERT_OTHER;
    return 0;
}

/* ---- making and ending ---- */

struct tls_session *tls_session_new(struct tls *t, const struct tls_wire *wire,
                                    const struct tls_ops *ops, void *user)
{
    struct tls_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->tls = t;
    s->wire = *wire;
    s->ops = ops;
    s->user = user;
    s->proof.subject = -1;
    mbedtls_ssl_init(&s->ssl);
    s->handshake = calloc(1, sizeof *s->handshake);
    bool ok = s->handshake && mbedtls_ssl_setup(&s->ssl, t->conf) == 0;
    if (ok && !t->server)
        ok = mbedtls_ssl_set_hostname(&s->ssl, dtls_out_name(t->out)) == 0;
    if (!ok) {
        tls_session_free(s);
        return NULL;
    }
    s->handshake->clear = t->server;
    mbedtls_ssl_set_bio(&s->ssl, s, on_send, on_recv, NULL);
    if (t->server)
        mbedtls_ssl_set_verify(&s->ssl, on_certificate, s);
    return s;
}

static void handshake_free(struct tls_session *s)
{
    if (s->handshake) /* an identity may be a token */
        crypto_wipe(s->handshake, sizeof *s->handshake);
    free(s->handshake);
    s->handshake = NULL;
}

void tls_session_free(struct tls_session *s)
{
    if (!s)
        return;
    mbedtls_ssl_free(&s->ssl);
    handshake_free(s);
    crypto_wipe(&s->proof, sizeof s->proof);
    free(s);
}

static enum tls_event end(struct tls_session *s, const char *reason)
{
    s->state = STATE_CLOSED;
    s->reason = reason;
    return TLS_CLOSED;
}

static enum tls_event fail(struct tls_session *s, uint8_t alert, const char *reason)
{
    if (!s->alerted && !s->lost)
        (void)mbedtls_ssl_send_alert_message(&s->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert);
    return end(s, reason);
}

/* The library said no. Where it has sent no alert we do. */
static enum tls_event fail_by(struct tls_session *s, int ret)
{
    if (s->lost)
        return end(s, "lost");
    switch (ret) {
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return end(s, "closed-by-peer");
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        return end(s, "alert-from-peer");
    case MBEDTLS_ERR_SSL_INVALID_MAC:
        return fail(s, MBEDTLS_SSL_ALERT_MSG_BAD_RECORD_MAC, "wrong-key");
    case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
        return fail(s, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE, "no-certificate");
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        return fail(s, MBEDTLS_SSL_ALERT_MSG_BAD_CERT, "certificate-refused");
    case MBEDTLS_ERR_SSL_UNKNOWN_IDENTITY:
        return fail(s, MBEDTLS_SSL_ALERT_MSG_UNKNOWN_PSK_IDENTITY, "unknown-identity");
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
        return fail(s, MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR, "out-of-memory");
    default:
        if (s->state == STATE_ESTABLISHED)
            return fail(s, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE, "protocol-error");
        return fail(s, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE,
                    compat_is_no_suite(ret) ? "no-common-suite" : "handshake-failed");
    }
}

/* ---- the handshake ---- */

/* Asks for the key of h->identity. False: it must wait. */
static bool ask(struct tls_session *s, enum pep_key_state *found)
{
    struct shake *h = s->handshake;
    crypto_wipe(&s->proof, sizeof s->proof);
    s->proof.subject = -1;
    *found = s->ops->find_psk(s->user, h->identity, &s->proof);
    if (*found == PEP_KEY_WAIT) {
        s->state = STATE_PARKED;
        return false;
    }
    s->state = STATE_HANDSHAKE;
    h->looked = true;
    if (*found == PEP_KEY_FOUND && (s->proof.key_n == 0 || s->proof.key_n > sizeof s->proof.key))
        *found = PEP_KEY_NONE;
    if (*found != PEP_KEY_FOUND)
        s->proof.key_n = 0;
    return true;
}

/* TLS 1.3: the first of the offered identities that has a key. When none has,
 * the engine goes on without, as far as it can (RFC 8446 4.2.11). */
static void look_up_hello(struct tls_session *s)
{
    struct shake *h = s->handshake;
    for (; h->candidate < TLS_IDENTITIES_MAX; h->candidate++) {
        enum pep_key_state found;
        h->identity = tls_peek_hello(bytes_of(h->record, h->n), h->candidate);
        if (h->identity.n == 0)
            break;
        if (!ask(s, &found) || found == PEP_KEY_FOUND)
            return;
    }
    h->identity = BYTES_NONE;
}

/* TLS 1.2. */
static enum tls_event look_up_exchange(struct tls_session *s)
{
    enum pep_key_state found;
    if (!ask(s, &found) || found == PEP_KEY_FOUND)
        return TLS_NOTHING;
    /* As with DTLS: RFC 9202 3.3.2 for an identity that claims to be a token
     * or names a key; RFC 4279 2 for a plain name. */
    if (s->proof.kind == PEP_IDENTITY_KID || s->proof.kind == PEP_IDENTITY_TOKEN)
        return fail(s, MBEDTLS_SSL_ALERT_MSG_ILLEGAL_PARAMETER, "unusable-token");
    return fail(s, MBEDTLS_SSL_ALERT_MSG_UNKNOWN_PSK_IDENTITY, "unknown-identity");
}

/* Looks at a record before the engine does. */
static enum tls_event foresee(struct tls_session *s)
{
    struct shake *h = s->handshake;
    struct bytes record = bytes_of(h->record, h->n);
    if (!h->clear)
        return TLS_NOTHING;
    /* From its ChangeCipherSpec (1.2), or in its first record that claims to
     * be application data (1.3), the client is encrypted. */
    if (record.p[0] != DTLS_HANDSHAKE) {
        h->clear = record.p[0] == DTLS_ALERT;
        return TLS_NOTHING;
    }
    if (h->psk) {
        struct bytes identity = tls_peek_key_exchange(record);
        if (identity.n == 0)
            return TLS_NOTHING;
        h->identity = identity;
        return look_up_exchange(s);
    }
    if (COMPAT_HAS_TLS13) {
        h->candidate = 0;
        h->looked = false;
        look_up_hello(s);
    }
    return TLS_NOTHING;
}

static enum tls_event step(struct tls_session *s)
{
    int ret = mbedtls_ssl_handshake(&s->ssl);
    if (s->handshake)
        s->handshake->n = s->handshake->given = 0;
    if (ret == 0) {
        s->state = STATE_ESTABLISHED;
        handshake_free(s);
        return TLS_ESTABLISHED;
    }
    if (ret == MBEDTLS_ERR_SSL_WANT_READ)
        return TLS_NOTHING;
    return fail_by(s, ret);
}

enum filled { FILLED_PART = 0, FILLED_WHOLE, FILLED_BAD, FILLED_END };

/* No more is read than this record: what is behind it stays on the wire. */
static enum filled fill(struct tls_session *s)
{
    struct shake *h = s->handshake;
    for (;;) {
        size_t whole = TLS_RECORD_HEADER;
        if (h->n >= TLS_RECORD_HEADER)
            whole = tls_record_length(h->record);
        if (whole == 0)
            return FILLED_BAD;
        if (h->n == whole && whole > TLS_RECORD_HEADER)
            return FILLED_WHOLE;
        int n = s->wire.recv(s->user, h->record + h->n, whole - h->n);
        if (n < 0)
            return FILLED_END;
        if (n == 0)
            return FILLED_PART;
        h->n += (size_t)n;
    }
}

enum tls_event tls_handshake(struct tls_session *s)
{
    if (s->state == STATE_CLOSED)
        return TLS_CLOSED;
    if (s->state == STATE_FRESH) {
        s->state = STATE_HANDSHAKE;
        enum tls_event e = s->tls->server ? TLS_NOTHING : step(s);
        if (e != TLS_NOTHING)
            return e;
    }
    while (s->state == STATE_HANDSHAKE) {
        switch (fill(s)) {
        case FILLED_PART:
            return TLS_NOTHING;
        case FILLED_END:
            s->lost = true;
            return end(s, "lost");
        case FILLED_BAD:
            return end(s, "not-tls");
        case FILLED_WHOLE:
            break;
        }
        enum tls_event e = foresee(s);
        if (e == TLS_NOTHING && s->state == STATE_HANDSHAKE)
            e = step(s);
        if (e != TLS_NOTHING)
            return e;
    }
    return TLS_NOTHING;
}

bool tls_is_parked(const struct tls_session *s)
{
    return s->state == STATE_PARKED;
}

enum tls_event tls_wake(struct tls_session *s)
{
    if (s->state != STATE_PARKED)
        return s->state == STATE_CLOSED ? TLS_CLOSED : TLS_NOTHING;
    enum tls_event e = TLS_NOTHING;
    if (s->handshake->psk)
        e = look_up_exchange(s);
    else
        look_up_hello(s);
    if (e == TLS_NOTHING && s->state == STATE_HANDSHAKE)
        e = step(s);
    return e == TLS_NOTHING ? tls_handshake(s) : e;
}

/* ---- the session ---- */

struct bytes tls_read(struct tls_session *s, uint8_t *to, size_t cap, enum tls_event *event)
{
    *event = s->state == STATE_CLOSED ? TLS_CLOSED : TLS_NOTHING;
    while (s->state == STATE_ESTABLISHED) {
        int ret = mbedtls_ssl_read(&s->ssl, to, cap);
        if (ret > 0)
            return bytes_of(to, (size_t)ret);
        if (ret == MBEDTLS_ERR_SSL_WANT_READ)
            break;
        if (compat_is_ticket(ret)) /* of a server; not kept */
            continue;
        s->lost |= ret == 0; /* the end without a close_notify */
        *event = fail_by(s, ret);
    }
    return BYTES_NONE;
}

bool tls_write(struct tls_session *s, struct bytes plain)
{
    return s->state == STATE_ESTABLISHED && plain.n > 0 &&
           mbedtls_ssl_write(&s->ssl, plain.p, plain.n) == (int)plain.n;
}

void tls_close(struct tls_session *s, const char *reason)
{
    if (s->state == STATE_CLOSED)
        return;
    if (s->state == STATE_ESTABLISHED && !s->lost)
        (void)mbedtls_ssl_close_notify(&s->ssl);
    else if (s->state == STATE_HANDSHAKE || s->state == STATE_PARKED)
        (void)fail(s, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE, reason);
    (void)end(s, reason);
}

const char *tls_reason(const struct tls_session *s)
{
    return s->reason ? s->reason : "open";
}

const struct pep_proof *tls_proof(const struct tls_session *s)
{
    return &s->proof;
}

void tls_forget_key(struct tls_session *s)
{
    crypto_wipe(s->proof.key, sizeof s->proof.key);
    s->proof.key_n = 0;
}

const char *tls_suite(const struct tls_session *s)
{
    return mbedtls_ssl_get_ciphersuite(&s->ssl);
}
