#include "token_ids.h"

#include "base64url.h"
#include "cbor.h"
#include "cose.h"
#include "crypto.h"

enum {
    TEXT_MAX = (TOKEN_MAX + 2) / 3 * 4,
    DOTS_OF_JWS = 2,
};

/* The orders of the groups (FIPS 186-4 D.1.2). */
static const uint8_t order_p256[] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
static const uint8_t order_p384[] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73};
static const uint8_t order_p521[] = {
    0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xfa, 0x51, 0x86, 0x87, 0x83, 0xbf, 0x2f, 0x96, 0x6b,
    0x7f, 0xcc, 0x01, 0x48, 0xf7, 0x09, 0xa5, 0xd0, 0x3b, 0xb5, 0xc9, 0xb8, 0x89, 0x9c,
    0x47, 0xae, 0xbb, 0x6f, 0xb7, 0x1e, 0x91, 0x38, 0x64, 0x09};

static struct bytes order_of(size_t coordinate)
{
    switch (coordinate) {
    case sizeof order_p256:
        return bytes_of(order_p256, sizeof order_p256);
    case sizeof order_p384:
        return bytes_of(order_p384, sizeof order_p384);
    case sizeof order_p521:
        return bytes_of(order_p521, sizeof order_p521);
    default:
        return BYTES_NONE;
    }
}

/* r || s becomes r || n - s, in place. What is no signature of these curves
 * stays or becomes another one that verifies nowhere. */
static bool turn_signature(uint8_t *sig, size_t n)
{
    struct bytes order = order_of(n / 2);
    if (order.n == 0 || n % 2 != 0)
        return false;
    unsigned borrow = 0;
    for (size_t i = order.n; i-- > 0;) {
        unsigned v = 256u + order.p[i] - sig[n / 2 + i] - borrow;
        sig[n / 2 + i] = (uint8_t)v;
        borrow = v < 256;
    }
    return borrow == 0;
}

static bool add(struct token_ids *out, uint8_t how, struct bytes in)
{
    uint8_t *id = out->id[out->n];
    id[0] = how;
    if (!crypto_sha256(in, id + 1))
        return false;
    out->n++;
    return true;
}

static bool add_both(struct token_ids *out, struct bytes raw)
{
    uint8_t text[TEXT_MAX];
    struct buf b = buf_on(text, sizeof text);
    base64url_put(&b, raw);
    return !b.full && add(out, TOKEN_ID_SHA256, buf_bytes(&b)) && add(out, TOKEN_ID_SHA256, raw);
}

/* ---- CWT ---- */

static bool add_cose(struct token_ids *out, struct bytes raw, const struct cose *m, bool twin)
{
    uint8_t copy[TOKEN_MAX + 16];
    struct buf core = buf_on(copy, sizeof copy);
    if (twin && m->kind == COSE_SIGN1) {
        memcpy(copy, raw.p, raw.n);
        if (turn_signature(copy + (m->proof.p - raw.p), m->proof.n) &&
            !add_both(out, bytes_of(copy, raw.n)))
            return false;
    }
    /* Lengths in front, so that no two tokens have one core. */
    buf_put_u8(&core, (uint8_t)m->kind);
    buf_put_be(&core, m->guarded.n, 4);
    buf_put(&core, m->guarded);
    buf_put(&core, m->content);
    return !core.full && add(out, TOKEN_ID_CORE, buf_bytes(&core));
}

/* ---- JWS ---- */

/* Where its last part begins; 0: these are not three parts of base64url. */
static size_t signature_at(struct bytes raw)
{
    size_t dots = 0, last = 0;
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] == '.') {
            dots++;
            last = i + 1;
        } else if (!base64url_is_digit(raw.p[i])) {
            return 0;
        }
    }
    return dots == DOTS_OF_JWS ? last : 0;
}

static bool add_jws(struct token_ids *out, struct bytes raw, size_t at, bool twin)
{
    uint8_t sig[CRYPTO_SIG_MAX], other[TOKEN_MAX];
    struct buf s = buf_on(sig, sizeof sig), t = buf_on(other, sizeof other);
    if (twin && base64url_read(bytes_of(raw.p + at, raw.n - at), &s) && turn_signature(s.p, s.n)) {
        buf_put(&t, bytes_of(raw.p, at));
        base64url_put(&t, buf_bytes(&s));
        if (t.full || !add_both(out, buf_bytes(&t)))
            return false;
    }
    return add(out, TOKEN_ID_CORE, bytes_of(raw.p, at - 1));
}

/* ---- references ---- */

static bool unwrap(struct bytes *raw)
{
    struct cbor c = cbor_on(*raw);
    if (cbor_peek(&c) != CBOR_BYTES)
        return false;
    struct bytes inner = cbor_take_bytes(&c);
    if (!cbor_done(&c) || inner.n == 0)
        return false;
    *raw = inner;
    return true;
}

/* The first byte keeps it apart from the cores of the other two. */
static bool add_reference(struct token_ids *out, struct bytes raw)
{
    uint8_t text[1 + TEXT_MAX];
    struct buf core = buf_on(text, sizeof text);
    bool is_text = true;
    for (size_t i = 0; i < raw.n; i++)
        is_text = is_text && raw.p[i] >= 0x20 && raw.p[i] <= 0x7e;
    buf_put_u8(&core, 0xff);
    if (is_text)
        buf_put(&core, raw);
    else
        base64url_put(&core, raw);
    return !core.full && add(out, TOKEN_ID_CORE, buf_bytes(&core));
}

bool token_ids_of(struct bytes raw, struct token_ids *out)
{
    struct cose m;
    size_t at;
    bool ok = raw.n <= TOKEN_MAX;
    out->n = 0;
    ok = ok && add_both(out, raw);
    bool wrapped = false;
    while (ok && unwrap(&raw)) /* what is inside may look wrapped by chance */
        wrapped = true;
    if (wrapped)
        ok = add_both(out, raw);
    if (ok && cose_parse(raw, &m) == PEP_OK)
        ok = add_cose(out, raw, &m, !wrapped);
    else if (ok && (at = signature_at(raw)) > 0)
        ok = add_jws(out, raw, at, !wrapped);
    else if (ok)
        ok = add_reference(out, raw);
    if (!ok)
        out->n = 0;
    return ok;
}

bool token_form_is_strict(struct bytes raw)
{
    struct cose m;
    return cose_parse(raw, &m) != PEP_OK || (m.cwt && m.tagged && !m.unguarded);
}
