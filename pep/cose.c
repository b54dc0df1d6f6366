#include "cose.h"

#include "cbor.h"

/* RFC 9052 table 3 */
enum header {
    HEADER_ALG = 1,
    HEADER_CRIT = 2,
    HEADER_CONTENT_TYPE = 3,
    HEADER_KID = 4,
    HEADER_IV = 5,
    HEADER_PARTIAL_IV = 6,
    HEADER_KNOWN_MAX = 7,
};

struct headers {
    int64_t alg; /* 0: none (0 is reserved) */
    struct bytes kid, iv, crit;
    bool seen[HEADER_KNOWN_MAX + 1];
};

/* ---- reading ---- */

/* Each label in crit must be one that we act upon, and be there. Content
 * type is not: what is inside is told by its own form. */
static enum pep_err check_crit(const struct headers *h)
{
    if (!h->seen[HEADER_CRIT])
        return PEP_OK;
    struct cbor c = cbor_on(h->crit);
    size_t n = cbor_take_array(&c);
    if (c.bad || n == 0)
        return PEP_MALFORMED;
    for (size_t i = 0; i < n; i++) {
        struct bytes one = cbor_skip(&c);
        struct cbor inner = cbor_on(one);
        int64_t label = cbor_take_key(&inner);
        bool ours = label == HEADER_ALG || label == HEADER_KID || label == HEADER_IV;
        if (!ours || !h->seen[label])
            return PEP_UNSUPPORTED;
    }
    return PEP_OK;
}

static enum pep_err read_headers(struct cbor *c, bool guarded, struct headers *h)
{
    size_t n = cbor_take_map(c);
    for (size_t i = 0; i < n && !c->bad; i++) {
        int64_t label = cbor_take_key(c);
        if (label >= HEADER_ALG && label <= HEADER_KNOWN_MAX) {
            if (h->seen[label])
                return PEP_MALFORMED;
            h->seen[label] = true;
        }
        enum cbor_kind kind = cbor_peek(c);
        switch (label) {
        case HEADER_ALG:
            /* An alg that anyone could have written says nothing; one with a
             * name is none of ours. */
            if (!guarded || (kind != CBOR_UINT && kind != CBOR_NINT))
                return kind == CBOR_NONE ? PEP_MALFORMED : PEP_UNSUPPORTED;
            h->alg = cbor_take_int(c);
            break;
        case HEADER_CRIT:
            if (!guarded)
                return PEP_MALFORMED;
            h->crit = cbor_skip(c);
            break;
        case HEADER_CONTENT_TYPE:
            if (kind != CBOR_UINT && kind != CBOR_TEXT)
                return PEP_MALFORMED;
            (void)cbor_skip(c);
            break;
        case HEADER_KID:
            h->kid = cbor_take_bytes(c);
            break;
        case HEADER_IV:
            h->iv = cbor_take_bytes(c);
            break;
        case HEADER_PARTIAL_IV:
            return PEP_UNSUPPORTED;
        default:
            (void)cbor_skip(c);
        }
    }
    return c->bad ? PEP_MALFORMED : PEP_OK;
}

static enum pep_err read_guarded(struct bytes map, struct headers *h)
{
    if (map.n == 0)
        return PEP_OK;
    enum cbor_err e = cbor_check(map);
    if (e != CBOR_OK)
        return e == CBOR_LIMIT ? PEP_TOO_DEEP : PEP_MALFORMED;
    struct cbor c = cbor_on(map);
    return read_headers(&c, true, h);
}

/* A head outside the protected content. */
static struct cbor_item take(struct cbor *c, enum cbor_kind kind)
{
    struct cbor_item i;
    if (!cbor_next(c, &i) || i.kind != kind || !i.shortest) {
        c->bad = true;
        i = (struct cbor_item){0};
    }
    return i;
}

static enum pep_err read_tags(struct cbor *c, struct cose *m)
{
    while (cbor_peek(c) == CBOR_TAG) {
        uint64_t tag = take(c, CBOR_TAG).n;
        if (c->bad || m->kind != COSE_NONE)
            return PEP_MALFORMED;
        if (tag == COSE_TAG_CWT && !m->cwt)
            m->cwt = true;
        else if (tag == COSE_ENCRYPT0 || tag == COSE_MAC0 || tag == COSE_SIGN1)
            m->kind = (enum cose_kind)tag;
        else
            return PEP_UNSUPPORTED;
    }
    m->tagged = m->kind != COSE_NONE;
    /* RFC 8392 6: behind the CWT tag there must be a COSE tag. */
    return m->cwt && !m->tagged ? PEP_MALFORMED : PEP_OK;
}

static enum cose_kind kind_of(const struct crypto_alg *a)
{
    return a->class == CRYPTO_SIGN  ? COSE_SIGN1
           : a->class == CRYPTO_MAC ? COSE_MAC0
                                    : COSE_ENCRYPT0;
}

enum pep_err cose_parse(struct bytes raw, struct cose *out)
{
    struct cose m = {0};
    struct headers h = {0};
    enum cbor_err form = cbor_check(raw);
    if (form != CBOR_OK)
        return form == CBOR_LIMIT ? PEP_TOO_DEEP : PEP_MALFORMED;
    struct cbor c = cbor_on(raw);
    enum pep_err e = read_tags(&c, &m);
    if (e != PEP_OK)
        return e;

    uint64_t n = take(&c, CBOR_ARRAY).n;
    bool sealed = n == 3;
    if (c.bad || (n != 3 && n != 4) || (m.tagged && sealed != (m.kind == COSE_ENCRYPT0)))
        return PEP_MALFORMED;
    m.guarded = take(&c, CBOR_BYTES).b;
    if (c.bad)
        return PEP_MALFORMED;
    e = read_guarded(m.guarded, &h);
    if (e != PEP_OK)
        return e;
    struct cbor map = c;
    m.unguarded = take(&map, CBOR_MAP).n > 0;
    if (map.bad)
        return PEP_MALFORMED;
    e = read_headers(&c, false, &h);
    if (e != PEP_OK)
        return e;
    if (cbor_peek(&c) == CBOR_NULL)
        return PEP_UNSUPPORTED; /* detached */
    m.content = take(&c, CBOR_BYTES).b;
    if (!sealed)
        m.proof = take(&c, CBOR_BYTES).b;
    if (!cbor_done(&c) || h.kid.n > TOKEN_KID_MAX)
        return PEP_MALFORMED;

    e = check_crit(&h);
    if (e != PEP_OK)
        return e;
    m.alg = h.alg >= INT16_MIN && h.alg <= INT16_MAX ? crypto_alg((int)h.alg) : NULL;
    if (!m.alg)
        return PEP_UNSUPPORTED;
    enum cose_kind kind = kind_of(m.alg);
    if ((m.tagged && m.kind != kind) || sealed != (kind == COSE_ENCRYPT0))
        return PEP_PROTECTION;
    m.kind = kind;
    m.kid = h.kid;
    m.iv = h.iv;
    if (kind == COSE_ENCRYPT0 ? h.iv.n != m.alg->iv_n : h.seen[HEADER_IV])
        return PEP_MALFORMED;
    *out = m;
    return PEP_OK;
}

/* ---- what is authenticated (RFC 9052 4.4, 5.3, 6.3) ---- */

enum { PREFIX_MAX = 32, MIDDLE_MAX = 16, PARTS = 4 };

static void put_prefix(enum cose_kind kind, size_t guarded_n, struct buf *out)
{
    static const char *const context[] = {
        [COSE_SIGN1] = "Signature1", [COSE_MAC0] = "MAC0", [COSE_ENCRYPT0] = "Encrypt0"};
    cbor_put_array(out, kind == COSE_ENCRYPT0 ? 3 : 4);
    cbor_put_text(out, bytes_str(context[kind]));
    cbor_put_bytes_head(out, guarded_n);
}

/* Sig_structure or MAC_structure in parts, so that nothing is copied. */
struct authentic {
    uint8_t prefix[PREFIX_MAX], middle[MIDDLE_MAX];
    struct bytes part[PARTS];
};

static void authentic_of(enum cose_kind kind, struct bytes guarded, struct bytes content,
                         struct authentic *a)
{
    struct buf prefix = buf_on(a->prefix, sizeof a->prefix);
    struct buf middle = buf_on(a->middle, sizeof a->middle);
    put_prefix(kind, guarded.n, &prefix);
    cbor_put_bytes(&middle, BYTES_NONE); /* external_aad */
    cbor_put_bytes_head(&middle, content.n);
    a->part[0] = buf_bytes(&prefix);
    a->part[1] = guarded;
    a->part[2] = buf_bytes(&middle);
    a->part[3] = content;
}

struct aad {
    uint8_t bytes[PREFIX_MAX + COSE_PROTECTED_MAX + MIDDLE_MAX];
};

static bool aad_of(struct bytes guarded, struct aad *a, struct bytes *out)
{
    struct buf b = buf_on(a->bytes, sizeof a->bytes);
    put_prefix(COSE_ENCRYPT0, guarded.n, &b);
    buf_put(&b, guarded);
    cbor_put_bytes(&b, BYTES_NONE);
    *out = buf_bytes(&b);
    return !b.full;
}

enum pep_err cose_open(const struct cose *m, const struct key *key, struct buf *plain,
                       struct bytes *content)
{
    if (!key_can_check(key, m->alg))
        return PEP_PROTECTION;
    if (m->kind == COSE_ENCRYPT0) {
        struct aad store;
        struct bytes aad;
        if (!aad_of(m->guarded, &store, &aad) || m->content.n > plain->cap - plain->n)
            return PEP_TOO_LARGE;
        size_t from = plain->n;
        if (!crypto_open(m->alg, key_secret(key), m->iv, aad, m->content, plain))
            return PEP_PROTECTION;
        *content = bytes_of(plain->p + from, plain->n - from);
        return PEP_OK;
    }
    struct authentic a;
    authentic_of(m->kind, m->guarded, m->content, &a);
    bool ok = m->kind == COSE_SIGN1
                  ? crypto_verify(m->alg, &key->ec, a.part, PARTS, m->proof)
                  : crypto_mac_verify(m->alg, key_secret(key), a.part, PARTS, m->proof);
    if (ok)
        *content = m->content;
    return ok ? PEP_OK : PEP_PROTECTION;
}

/* ---- writing ---- */

enum { IV_MAX = 16 };

static void put_guarded(const struct crypto_alg *alg, const struct key *key, struct bytes iv,
                        struct buf *out)
{
    cbor_put_map(out, 1u + (key->kid_n != 0) + (iv.n != 0));
    cbor_put_int(out, HEADER_ALG);
    cbor_put_int(out, alg->alg);
    if (key->kid_n) {
        cbor_put_int(out, HEADER_KID);
        cbor_put_bytes(out, key_kid(key));
    }
    if (iv.n) {
        cbor_put_int(out, HEADER_IV);
        cbor_put_bytes(out, iv);
    }
}

enum pep_err cose_write(const struct crypto_alg *alg, const struct key *key, struct bytes content,
                        struct buf *out)
{
    if (!key_can_make(key, alg))
        return PEP_PROTECTION;
    enum cose_kind kind = kind_of(alg);
    uint8_t iv[IV_MAX], header[COSE_PROTECTED_MAX];
    if (!crypto_random(iv, alg->iv_n))
        return PEP_PROTECTION;
    struct buf h = buf_on(header, sizeof header);
    put_guarded(alg, key, bytes_of(iv, alg->iv_n), &h);
    struct bytes guarded = buf_bytes(&h);

    cbor_put_tag(out, kind);
    cbor_put_array(out, kind == COSE_ENCRYPT0 ? 3 : 4);
    cbor_put_bytes(out, guarded);
    cbor_put_map(out, 0);
    bool ok = true;
    if (kind == COSE_ENCRYPT0) {
        struct aad store;
        struct bytes aad;
        cbor_put_bytes_head(out, content.n + alg->proof_n);
        ok = aad_of(guarded, &store, &aad) &&
             crypto_seal(alg, key_secret(key), bytes_of(iv, alg->iv_n), aad, content, out);
    } else {
        struct authentic a;
        authentic_of(kind, guarded, content, &a);
        cbor_put_bytes(out, content);
        cbor_put_bytes_head(out, alg->proof_n);
        ok = kind == COSE_SIGN1 ? crypto_sign(alg, key_secret(key), a.part, PARTS, out)
                                : crypto_mac(alg, key_secret(key), a.part, PARTS, out);
    }
    return out->full ? PEP_TOO_LARGE : ok ? PEP_OK : PEP_PROTECTION;
}
