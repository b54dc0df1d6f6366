#include "revocation_record.h"

#include "../policy/cursor.h"
#include "record.h"

enum { VERSION = 1, SUM = RECORD_SUM, FLAG_LOCAL = 1, FLAG_LISTED = 2, FLAG_SEEN = 4 };

const char *revocation_kind_str(enum revocation_kind k)
{
    static const char *const names[REVOKED_KINDS] = {
        [REVOKED_NOTHING] = "nothing", [REVOKED_HASH] = "token-hash",
        [REVOKED_ID] = "cti",          [REVOKED_KID] = "kid",
        [REVOKED_SUBJECT] = "subject", [REVOKED_AUTHORITY] = "authority",
    };
    return (size_t)k < REVOKED_KINDS ? names[k] : "unknown";
}

bool revocation_is_well_formed(const struct revocation *r)
{
    bool named = r->authority.n > 0 && r->authority.n <= REVOCATION_NAME_MAX;
    if (r->authority.n > REVOCATION_NAME_MAX || r->value.n > REVOCATION_VALUE_MAX)
        return false;
    switch (r->kind) {
    case REVOKED_HASH:
        return r->value.n == TOKEN_ID && r->value.p[0] <= TOKEN_ID_SHA256;
    case REVOKED_ID:
    case REVOKED_KID:
    case REVOKED_SUBJECT:
        return r->value.n > 0;
    case REVOKED_AUTHORITY:
        return named && r->value.n == 0;
    case REVOKED_NOTHING:
    case REVOKED_KINDS:
    default:
        return false;
    }
}

bool revocation_record_key(const struct revocation *r, uint8_t key[REVOCATION_KEY])
{
    uint8_t text[2 + REVOCATION_NAME_MAX + REVOCATION_VALUE_MAX];
    struct buf b = buf_on(text, sizeof text);
    key[0] = (uint8_t)r->kind;
    buf_put_be(&b, r->authority.n, 2);
    buf_put(&b, r->authority);
    buf_put(&b, r->value);
    return !b.full && crypto_sha256(buf_bytes(&b), key + 1);
}

bool revocation_record_write(const struct revocation *r, uint8_t key[REVOCATION_KEY],
                             struct buf *out)
{
    uint8_t sum[SUM];
    buf_put_u8(out, VERSION);
    buf_put_u8(out, (uint8_t)((r->local ? FLAG_LOCAL : 0) | (r->listed ? FLAG_LISTED : 0) |
                              (r->seen ? FLAG_SEEN : 0)));
    buf_put_be(out, (uint64_t)r->made_s, 8);
    buf_put_be(out, (uint64_t)r->since_s, 8);
    buf_put_be(out, (uint64_t)r->until_s, 8);
    buf_put_be(out, r->authority.n, 1);
    buf_put(out, r->authority);
    buf_put_be(out, r->value.n, 1);
    buf_put(out, r->value);
    if (out->full || !revocation_record_key(r, key) ||
        !record_sum(bytes_of(key, REVOCATION_KEY), buf_bytes(out), sum))
        return false;
    buf_put(out, bytes_of(sum, SUM));
    return !out->full;
}

bool revocation_record_read(struct bytes key, struct bytes value, struct revocation *out)
{
    uint8_t sum[SUM], name[REVOCATION_KEY];
    if (key.n != REVOCATION_KEY || value.n < SUM || value.n > REVOCATION_RECORD_MAX)
        return false;
    struct bytes body = bytes_of(value.p, value.n - SUM);
    if (!record_sum(key, body, sum) || memcmp(sum, value.p + body.n, SUM) != 0)
        return false;
    struct cursor c = cursor_on(body);
    struct revocation r = {.kind = (enum revocation_kind)key.p[0]};
    if (cursor_u8(&c) != VERSION)
        return false;
    uint8_t flags = cursor_u8(&c);
    r.local = flags & FLAG_LOCAL;
    r.listed = flags & FLAG_LISTED;
    r.seen = flags & FLAG_SEEN;
    r.made_s = (int64_t)cursor_be(&c, 8);
    r.since_s = (int64_t)cursor_be(&c, 8);
    r.until_s = (int64_t)cursor_be(&c, 8);
    r.authority = cursor_vector(&c, 1);
    r.value = cursor_vector(&c, 1);
    if (!cursor_done(&c) || flags > (FLAG_LOCAL | FLAG_LISTED | FLAG_SEEN) ||
        !revocation_is_well_formed(&r) || !revocation_record_key(&r, name) ||
        memcmp(name, key.p, REVOCATION_KEY) != 0)
        return false;
    *out = r;
    return true;
}
