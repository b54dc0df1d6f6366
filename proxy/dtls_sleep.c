/* A session at rest, and woken. What the engine saves has a header that is
 * the same for all, and is half zeros (an id that we do not keep, counters):
 * the one is left out, runs of the others are squeezed. Woken, it gets
 * buffers that another has left. */
#include <stdlib.h>

#include "../pep/crypto.h"
#include "compat_mbedtls.h"
#include "dtls_engine.h"

enum {
    SAVED_MAX = 1024, /* about 220 bytes with either version */
    NOWHERE = 0xffff,
    WINDOW = 16, /* the window as it is saved: two numbers of 8 bytes */
    EPOCH = 1,   /* the only one with keys: there is no renegotiation */
};

struct dtls_asleep {
    uint64_t window_top, window; /* the replay window, to be looked at without waking */
    uint16_t n, saved_n;
    /* Where these stand in what was saved: the window, which is left out
     * there, and the ClientHello's random. */
    uint16_t window_at, random_at;
    uint8_t squeezed[];
};

enum { SQUEEZED_AT = offsetof(struct dtls_asleep, squeezed) };

/* ---- squeezing ---- */

/* 0 stands before the count of zeros. */
static void squeeze(struct bytes in, struct buf *out)
{
    for (size_t i = 0; i < in.n;) {
        buf_put_u8(out, in.p[i]);
        if (in.p[i++] != 0)
            continue;
        uint8_t more = 0;
        for (; i < in.n && in.p[i] == 0 && more < UINT8_MAX; i++)
            more++;
        buf_put_u8(out, more);
    }
}

static void unsqueeze(struct bytes in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        buf_put_u8(out, in.p[i]);
        if (in.p[i] != 0 || ++i == in.n)
            continue;
        for (uint8_t more = in.p[i]; more > 0; more--)
            buf_put_u8(out, 0);
    }
}

static void put_window(const struct dtls_asleep *a, uint8_t out[WINDOW])
{
    struct buf b = buf_on(out, WINDOW);
    buf_put_be(&b, a->window_top, 8);
    buf_put_be(&b, a->window, 8);
}

static struct bytes saved(const struct dtls *d, const struct dtls_asleep *a,
                          uint8_t storage[SAVED_MAX])
{
    struct buf b = buf_on(storage, SAVED_MAX);
    buf_put(&b, bytes_of(d->saved_header, DTLS_SAVED_HEADER));
    unsqueeze(bytes_of(a->squeezed, a->n), &b);
    if (b.full || b.n != a->saved_n || b.n < DTLS_SAVED_HEADER + WINDOW)
        return BYTES_NONE;
    if (a->window_at <= b.n - WINDOW)
        put_window(a, storage + a->window_at);
    return buf_bytes(&b);
}

/* ---- spare buffers ---- */

static void wipe_own(struct dtls_session *s)
{
    const size_t own = offsetof(struct dtls_session, dtls); /* `ssl` comes first */
    crypto_wipe((uint8_t *)s + own, sizeof *s - own);
}

struct dtls_session *dtls_session_spare(struct dtls *d, const struct peer *peer, void *owner)
{
    if (d->n_spare == 0)
        return NULL;
    struct dtls_session *s = d->spare[--d->n_spare];
    s->dtls = d;
    s->owner = owner;
    s->peer = *peer;
    s->proof.subject = -1;
    return s;
}

void dtls_session_leave(struct dtls_session *s)
{
    struct dtls *d = s ? s->dtls : NULL;
    if (!s)
        return;
    if (d->n_spare == DTLS_SPARE || s->handshake || mbedtls_ssl_session_reset(&s->ssl) != 0) {
        dtls_session_free(s);
        return;
    }
    wipe_own(s);
    d->spare[d->n_spare++] = s;
}

/* ---- sleep ---- */

static uint16_t find(struct bytes in, const uint8_t *what, size_t n)
{
    const uint8_t *at = memmem(in.p, in.n, what, n);
    return at ? (uint16_t)(at - in.p) : NOWHERE;
}

/* The header says which library saved it, built how. */
static bool knows_header(struct dtls *d, struct bytes in)
{
    if (!d->has_saved_header && in.n > DTLS_SAVED_HEADER) {
        memcpy(d->saved_header, in.p, DTLS_SAVED_HEADER);
        d->has_saved_header = true;
    }
    return in.n > DTLS_SAVED_HEADER && memcmp(d->saved_header, in.p, DTLS_SAVED_HEADER) == 0;
}

/* Fills the head, and squeezes the rest. */
static void pack(struct dtls_session *s, uint8_t *plain, size_t n, struct dtls_asleep *head,
                 struct buf *out)
{
    uint8_t window[WINDOW];
    head->saved_n = (uint16_t)n;
    head->random_at = find(bytes_of(plain, n), s->random, sizeof s->random);
    put_window(head, window);
    head->window_at = find(bytes_of(plain, n), window, sizeof window);
    if (head->window_at != NOWHERE)
        memset(plain + head->window_at, 0, sizeof window);
    squeeze(bytes_of(plain + DTLS_SAVED_HEADER, n - DTLS_SAVED_HEADER), out);
    head->n = (uint16_t)out->n;
}

struct dtls_asleep *dtls_sleep(struct dtls_session *s)
{
    uint8_t plain[SAVED_MAX], small[2 * SAVED_MAX];
    size_t n = 0;
    struct dtls_asleep head = {.n = 0};
    if (s->state != SESSION_ESTABLISHED || s->in.n > 0 || s->record.n > 0 || s->out)
        return NULL;
    compat_drop_flight(&s->ssl);
    compat_forget_session(&s->ssl);
    compat_window(&s->ssl, &head.window_top, &head.window);
    int ret = mbedtls_ssl_context_save(&s->ssl, plain, sizeof plain, &n);
    /* Without memory it fails after that, on its way back to a fresh context. */
    bool gone = ret == MBEDTLS_ERR_SSL_ALLOC_FAILED && n > 0;
    if ((ret != 0 && !gone) || !knows_header(s->dtls, bytes_of(plain, n))) {
        crypto_wipe(plain, sizeof plain);
        return NULL;
    }
    struct buf b = buf_on(small, sizeof small); /* never longer than twice the saved */
    pack(s, plain, n, &head, &b);
    struct dtls *d = s->dtls;
    struct dtls_asleep *a = slab_take(&d->small, SQUEEZED_AT + b.n);
    if (a) {
        memcpy(a, &head, SQUEEZED_AT);
        memcpy(a->squeezed, small, b.n);
        dtls_session_leave(s);
    } else {
        /* The engine has given it up: it gets it back. */
        if (head.window_at != NOWHERE)
            put_window(&head, plain + head.window_at);
        if (gone || mbedtls_ssl_context_load(&s->ssl, plain, n) != 0) {
            s->state = SESSION_CLOSED; /* lost: nothing is read or written any more */
            s->reason = "out-of-memory";
        }
    }
    crypto_wipe(plain, sizeof plain);
    crypto_wipe(small, sizeof small);
    return a;
}

struct dtls_session *dtls_rouse(struct dtls *d, const struct dtls_asleep *a,
                                const struct peer *peer, void *owner, struct instant now)
{
    uint8_t storage[SAVED_MAX];
    struct bytes plain = saved(d, a, storage);
    struct dtls_session *s = plain.n ? dtls_session_spare(d, peer, owner) : NULL;
    if (plain.n && !s)
        s = dtls_session_make(d, peer, owner);
    bool ok = s && mbedtls_ssl_context_load(&s->ssl, plain.p, plain.n) == 0;
    if (ok) {
        s->state = SESSION_ESTABLISHED;
        s->now = now;
        if (a->random_at <= plain.n - HELLO_RANDOM)
            memcpy(s->random, plain.p + a->random_at, HELLO_RANDOM);
    }
    crypto_wipe(storage, sizeof storage);
    if (!ok) {
        dtls_session_free(s);
        return NULL;
    }
    return s;
}

void dtls_asleep_free(struct dtls *d, struct dtls_asleep *a)
{
    if (!a)
        return;
    size_t n = SQUEEZED_AT + a->n;
    crypto_wipe(a, n);
    slab_give(&d->small, a, n);
}

/* ---- asked in its sleep ---- */

/* RFC 6347 4.1.2.6, as the engine has it: 64 numbers back. */
static bool is_new(const struct dtls_asleep *a, uint64_t number)
{
    uint64_t back = a->window_top - number;
    return number > a->window_top || (back < 64 && (a->window >> back & 1) == 0);
}

bool dtls_asleep_expects(const struct dtls_asleep *a, struct bytes record)
{
    enum { TAG_MIN = 8 };
    if (record.n <= DTLS_RECORD_HEADER + TAG_MIN || dtls_record_epoch(record) != EPOCH)
        return false;
    return is_new(a, dtls_record_number(record));
}

bool dtls_asleep_began_with(const struct dtls *d, const struct dtls_asleep *a,
                            struct bytes client_hello)
{
    struct hello h;
    uint8_t storage[SAVED_MAX];
    if (!hello_parse(client_hello, &h))
        return false;
    struct bytes plain = saved(d, a, storage);
    bool same = plain.n >= HELLO_RANDOM && a->random_at <= plain.n - HELLO_RANDOM &&
                bytes_equal(h.random, bytes_of(plain.p + a->random_at, HELLO_RANDOM));
    crypto_wipe(storage, sizeof storage);
    return same;
}

/* ---- kept elsewhere ---- */

struct bytes dtls_asleep_bytes(const struct dtls_asleep *a)
{
    return bytes_of(a, SQUEEZED_AT + a->n);
}

struct dtls_asleep *dtls_asleep_of(struct dtls *d, struct bytes block)
{
    struct dtls_asleep head;
    if (block.n <= SQUEEZED_AT)
        return NULL;
    memcpy(&head, block.p, SQUEEZED_AT);
    if (block.n != (size_t)SQUEEZED_AT + head.n)
        return NULL;
    struct dtls_asleep *a = slab_take(&d->small, block.n);
    if (a)
        memcpy(a, block.p, block.n);
    return a;
}

uint32_t dtls_library(void)
{
    return mbedtls_version_get_number();
}

struct bytes dtls_saved_header(const struct dtls *d)
{
    return bytes_of(d->saved_header, d->has_saved_header ? DTLS_SAVED_HEADER : 0);
}

bool dtls_use_header(struct dtls *d, struct bytes header)
{
    if (header.n != DTLS_SAVED_HEADER ||
        (d->has_saved_header && !bytes_equal(header, dtls_saved_header(d))))
        return false;
    memcpy(d->saved_header, header.p, DTLS_SAVED_HEADER);
    d->has_saved_header = true;
    return true;
}
