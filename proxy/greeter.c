#include "greeter.h"

#include "../pep/crypto.h"

enum { COSE_HMAC_256_256 = 5, HMAC = 32, DTLS_1_0 = 0xfeff };

static uint64_t period_of(struct instant now)
{
    return now.mono_us / 1000000 / COOKIE_LIFE_S + 1;
}

void greeter_clear(struct greeter *g)
{
    secrets_wipe(&g->secrets);
}

/* All but the cookie and the extensions: RFC 6347 4.2.1 binds the former to
 * version, random, session_id, cipher_suites and compression_method. Lengths
 * go in so that no two ClientHellos read the same. */
static bool cookie_make(const uint8_t *secret, const struct peer *peer, const struct hello *h,
                        uint8_t out[HMAC])
{
    uint8_t lengths[8] = {
        (uint8_t)(h->version >> 8), (uint8_t)h->version,         (uint8_t)h->session_id.n,
        (uint8_t)h->compression.n,  (uint8_t)(h->suites.n >> 8), (uint8_t)h->suites.n,
        (uint8_t)peer->len,
    };
    const struct bytes parts[] = {
        bytes_of(lengths, sizeof lengths),
        bytes_of(&peer->sa, peer->len),
        h->random,
        h->session_id,
        h->suites,
        h->compression,
    };
    struct buf tag = buf_on(out, HMAC);
    return crypto_mac(crypto_alg(COSE_HMAC_256_256), bytes_of(secret, SECRET), parts,
                      sizeof parts / sizeof *parts, &tag) &&
           tag.n == HMAC;
}

bool greeter_knows(struct greeter *g, const struct peer *peer, const struct hello *h,
                   struct instant now)
{
    if (h->cookie.n != COOKIE)
        return false;
    bool known = false;
    for (uint64_t age = 0; age < 2 && !known; age++) {
        uint8_t wanted[HMAC];
        const uint8_t *secret = secrets_of(&g->secrets, period_of(now) - age, false);
        known = secret && cookie_make(secret, peer, h, wanted) &&
                crypto_equal(bytes_of(wanted, COOKIE), h->cookie);
        crypto_wipe(wanted, sizeof wanted);
    }
    return known;
}

bool greeter_ask(struct greeter *g, const struct peer *peer, const struct hello *h,
                 struct instant now, struct buf *out)
{
    uint8_t cookie[HMAC];
    const uint8_t *secret = secrets_of(&g->secrets, period_of(now), true);
    if (!secret || !cookie_make(secret, peer, h, cookie))
        return false;
    const size_t body = 2 + 1 + COOKIE;
    buf_put_u8(out, DTLS_HANDSHAKE);
    buf_put_be(out, DTLS_1_0, 2); /* RFC 6347 4.2.1: whatever will be negotiated */
    buf_put_be(out, 0, 2);
    /* The ClientHello's own, so that an answer to each of many never repeats
     * a number; without state there is no other (4.2.1). */
    buf_put_be(out, h->sequence, 6);
    buf_put_be(out, HANDSHAKE_HEADER + body, 2);
    buf_put_u8(out, HANDSHAKE_HELLO_VERIFY);
    buf_put_be(out, body, 3);
    /* A client that was asked once already (its cookie went stale) waits for
     * our message 1. */
    buf_put_be(out, h->message_seq, 2);
    buf_put_be(out, 0, 3);
    buf_put_be(out, body, 3);
    buf_put_be(out, DTLS_1_0, 2);
    buf_put_u8(out, COOKIE);
    buf_put(out, bytes_of(cookie, COOKIE));
    crypto_wipe(cookie, sizeof cookie);
    return !out->full;
}
