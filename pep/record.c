#include "record.h"

#include "../policy/cursor.h"
#include "crypto.h"

enum { VERSION = 1, FLAG_USED = 1, FLAG_REFERENCE = 2, FLAG_OPAQUE = 4, SUM = RECORD_SUM };

void record_key(uint64_t id, uint8_t key[RECORD_KEY])
{
    struct buf b = buf_on(key, RECORD_KEY);
    buf_put_be(&b, id, RECORD_KEY);
}

bool record_sum(struct bytes key, struct bytes body, uint8_t sum[RECORD_SUM])
{
    uint8_t text[RECORD_KEY + RECORD_MAX], full[CRYPTO_SHA256];
    struct buf b = buf_on(text, sizeof text);
    buf_put(&b, key);
    buf_put(&b, body);
    bool ok = !b.full && crypto_sha256(buf_bytes(&b), full);
    if (ok)
        memcpy(sum, full, SUM);
    crypto_wipe(text, sizeof text);
    return ok;
}

static void put_vector(struct buf *out, struct bytes s, size_t width)
{
    buf_put_be(out, s.n, width);
    buf_put(out, s);
}

bool record_write(const struct grant *g, const char *authority, uint8_t key[RECORD_KEY],
                  struct buf *out)
{
    record_key(g->id, key);
    buf_put_u8(out, VERSION);
    buf_put_u8(out, (uint8_t)((g->used ? FLAG_USED : 0) | (g->by_reference ? FLAG_REFERENCE : 0) |
                              (g->reference ? FLAG_OPAQUE : 0)));
    buf_put_u8(out, (uint8_t)g->via);
    buf_put_be(out, (uint64_t)g->taken_s, 8);
    put_vector(out, g->raw, 2);
    if (g->by_reference || g->reference) {
        buf_put_u8(out, (uint8_t)g->key.kind);
        buf_put(out, bytes_of(g->key.id, PEP_KEY_ID));
        put_vector(out, bytes_of(g->key.kid, g->key.kid_n), 1);
        put_vector(out, bytes_of(g->key.secret, g->key.secret_n), 1);
    }
    if (g->reference) {
        buf_put_be(out, (uint64_t)g->exp_s, 8);
        put_vector(out, bytes_str(authority), 1);
        put_vector(out, bytes_str(g->subject), 1);
    }
    uint8_t sum[SUM];
    if (out->full || !record_sum(bytes_of(key, RECORD_KEY), buf_bytes(out), sum))
        return false;
    buf_put(out, bytes_of(sum, SUM));
    return !out->full;
}

static bool copy_in(struct bytes s, uint8_t *to, size_t cap, size_t *n)
{
    if (s.n > cap)
        return false;
    if (s.n)
        memcpy(to, s.p, s.n);
    *n = s.n;
    return true;
}

bool record_read(struct bytes key, struct bytes value, struct record *out)
{
    uint8_t sum[SUM];
    if (key.n != RECORD_KEY || value.n < SUM || value.n > RECORD_MAX)
        return false;
    struct bytes body = bytes_of(value.p, value.n - SUM);
    if (!record_sum(key, body, sum) || memcmp(sum, value.p + body.n, SUM) != 0)
        return false;

    struct cursor k = cursor_on(key), c = cursor_on(body);
    struct record r = {.id = cursor_be(&k, RECORD_KEY)};
    if (cursor_u8(&c) != VERSION)
        return false;
    uint8_t flags = cursor_u8(&c), via = cursor_u8(&c);
    r.taken_s = (int64_t)cursor_be(&c, 8);
    r.raw = cursor_vector(&c, 2);
    r.used = flags & FLAG_USED;
    r.by_reference = flags & FLAG_REFERENCE;
    r.opaque = flags & FLAG_OPAQUE;
    r.via = (enum pep_via)via;
    bool ok = flags <= (FLAG_USED | FLAG_REFERENCE | FLAG_OPAQUE) && via <= PEP_VIA_LAST &&
              r.raw.n > 0 && r.raw.n <= TOKEN_MAX;
    if (ok && (r.by_reference || r.opaque)) {
        uint8_t kind = cursor_u8(&c);
        struct bytes id = cursor_take(&c, PEP_KEY_ID);
        size_t n;
        ok = (kind == CNF_SYMMETRIC || kind == CNF_EC || kind == CNF_X5T || kind == CNF_JKT) &&
             copy_in(id, r.key.id, PEP_KEY_ID, &n) &&
             copy_in(cursor_vector(&c, 1), r.key.kid, sizeof r.key.kid, &r.key.kid_n) &&
             copy_in(cursor_vector(&c, 1), r.key.secret, sizeof r.key.secret, &r.key.secret_n) &&
             (r.key.kid_n > 0 || !r.by_reference) &&
             (kind == CNF_SYMMETRIC) == (r.key.secret_n > 0);
        r.key.kind = (enum cnf_kind)kind;
    }
    if (ok && r.opaque) {
        r.exp_s = (int64_t)cursor_be(&c, 8);
        r.authority = cursor_vector(&c, 1);
        r.subject = cursor_vector(&c, 1);
        ok = r.exp_s >= 0;
    }
    ok = ok && cursor_done(&c);
    if (ok)
        *out = r;
    crypto_wipe(&r, sizeof r);
    return ok;
}
