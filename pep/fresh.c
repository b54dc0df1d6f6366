#include "fresh.h"

#include <stdlib.h>

#include "../policy/cursor.h"
#include "base64url.h"
#include "crypto.h"

/* Records: 'x' name number -> first exi; 'h' name -> the highest numbers. The
 * name is a digest. */
enum { NAME = CRYPTO_SHA256, VERSION = 1, MARK_EXI = 'x', MARK_HIGH = 'h' };
enum { EXI_KEY = 1 + NAME + 8, HIGH_KEY = 1 + NAME, EXI_VALUE = 17, HIGH_VALUE = 19 };
enum { HMAC_256_64 = 4 }; /* RFC 9053 3.1 */

struct exi {
    uint64_t number;
    uint8_t name[NAME];
    int64_t first_s, exi_s;
};

struct high {
    uint8_t name[NAME];
    bool has_exi, has_sequence;
    uint64_t exi;      /* the highest that has expired */
    uint64_t sequence; /* the highest that was seen */
};

struct fresh {
    struct exi exi[FRESH_EXI_MAX];
    size_t n_exi;
    struct high high[FRESH_AUTHORITIES_MAX];
    size_t n_high;
    int64_t next_s;
    uint8_t key[CRYPTO_SHA256];
};

struct fresh *fresh_new(const uint8_t *key)
{
    struct fresh *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->next_s = INT64_MAX;
    if (key)
        memcpy(f->key, key, sizeof f->key);
    else if (!crypto_random(f->key, sizeof f->key)) {
        free(f);
        return NULL;
    }
    return f;
}

void fresh_free(struct fresh *f)
{
    if (!f)
        return;
    crypto_wipe(f, sizeof *f);
    free(f);
}

/* ---- the number in a cti ---- */

bool fresh_number(struct bytes cti, const char *id, enum policy_numeral n, uint64_t *out)
{
    size_t skip = strlen(id);
    uint64_t v = 0;
    if (cti.n <= skip || memcmp(cti.p, id, skip) != 0)
        return false;
    struct bytes rest = bytes_of(cti.p + skip, cti.n - skip);
    if (n == POLICY_BINARY) {
        for (size_t i = 0; i < rest.n; i++)
            v = v << 8 | rest.p[i];
        *out = v;
        return rest.n <= 8;
    }
    /* 18 digits fit; a leading zero would be a second name of a number. */
    if (rest.n > 18 || (rest.n > 1 && rest.p[0] == '0'))
        return false;
    for (size_t i = 0; i < rest.n; i++) {
        if (rest.p[i] < '0' || rest.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(rest.p[i] - '0');
    }
    *out = v;
    return true;
}

/* ---- finding ---- */

static bool digest(const char *authority, uint8_t name[NAME])
{
    return crypto_sha256(bytes_str(authority), name);
}

static const struct high *find_high(const struct fresh *f, const uint8_t name[NAME])
{
    for (size_t i = 0; i < f->n_high; i++)
        if (memcmp(f->high[i].name, name, NAME) == 0)
            return &f->high[i];
    return NULL;
}

static struct high *make_high(struct fresh *f, const uint8_t name[NAME])
{
    const struct high *known = find_high(f, name);
    if (known)
        return &f->high[known - f->high];
    if (f->n_high == FRESH_AUTHORITIES_MAX)
        return NULL;
    struct high *h = &f->high[f->n_high++];
    *h = (struct high){0};
    memcpy(h->name, name, NAME);
    return h;
}

static const struct exi *find_exi(const struct fresh *f, const uint8_t name[NAME], uint64_t number)
{
    for (size_t i = 0; i < f->n_exi; i++)
        if (f->exi[i].number == number && memcmp(f->exi[i].name, name, NAME) == 0)
            return &f->exi[i];
    return NULL;
}

static struct exi *find_exi_mut(struct fresh *f, const uint8_t name[NAME], uint64_t number)
{
    const struct exi *x = find_exi(f, name, number);
    return x ? &f->exi[x - f->exi] : NULL;
}

static int64_t end_of(const struct exi *x)
{
    return x->exi_s > INT64_MAX - x->first_s ? INT64_MAX : x->first_s + x->exi_s;
}

/* ---- records ---- */

static struct store_op put_exi(const struct exi *x, bool keep, uint8_t key[EXI_KEY],
                               uint8_t value[EXI_VALUE])
{
    struct buf k = buf_on(key, EXI_KEY), v = buf_on(value, EXI_VALUE);
    buf_put_u8(&k, MARK_EXI);
    buf_put(&k, bytes_of(x->name, NAME));
    buf_put_be(&k, x->number, 8);
    buf_put_u8(&v, VERSION);
    buf_put_be(&v, (uint64_t)x->first_s, 8);
    buf_put_be(&v, (uint64_t)x->exi_s, 8);
    return (struct store_op){STORE_FRESH, buf_bytes(&k), keep ? buf_bytes(&v) : BYTES_NONE};
}

static struct store_op put_high(const struct high *h, uint8_t key[HIGH_KEY],
                                uint8_t value[HIGH_VALUE])
{
    struct buf k = buf_on(key, HIGH_KEY), v = buf_on(value, HIGH_VALUE);
    buf_put_u8(&k, MARK_HIGH);
    buf_put(&k, bytes_of(h->name, NAME));
    buf_put_u8(&v, VERSION);
    buf_put_u8(&v, h->has_exi);
    buf_put_be(&v, h->exi, 8);
    buf_put_u8(&v, h->has_sequence);
    buf_put_be(&v, h->sequence, 8);
    return (struct store_op){STORE_FRESH, buf_bytes(&k), buf_bytes(&v)};
}

struct load {
    struct fresh *f;
    int64_t build_s;
    bool ok;
};

static bool take_exi(struct load *l, struct cursor *k, struct cursor *v)
{
    struct fresh *f = l->f;
    struct exi x = {0};
    struct bytes name = cursor_take(k, NAME);
    x.number = cursor_be(k, 8);
    x.first_s = (int64_t)cursor_be(v, 8);
    x.exi_s = (int64_t)cursor_be(v, 8);
    if (!cursor_done(k) || !cursor_done(v) || x.first_s < 0 || x.exi_s < 0)
        return false;
    memcpy(x.name, name.p, NAME);
    if (x.first_s < l->build_s)
        x.exi_s = 0; /* over, and its number remembered, at the next sweep */
    struct exi *known = find_exi_mut(f, x.name, x.number);
    if (!known && f->n_exi == FRESH_EXI_MAX)
        return false;
    if (!known)
        f->exi[f->n_exi++] = x;
    else if (end_of(&x) < end_of(known))
        *known = x;
    f->next_s = 0;
    return true;
}

static bool take_high(struct load *l, struct cursor *k, struct cursor *v)
{
    struct bytes name = cursor_take(k, NAME);
    struct high h = {.has_exi = cursor_u8(v) == 1};
    h.exi = cursor_be(v, 8);
    h.has_sequence = cursor_u8(v) == 1;
    h.sequence = cursor_be(v, 8);
    if (!cursor_done(k) || !cursor_done(v))
        return false;
    memcpy(h.name, name.p, NAME);
    struct high *to = make_high(l->f, h.name);
    if (!to)
        return false;
    if (h.has_exi && !(to->has_exi && to->exi >= h.exi))
        to->exi = h.exi;
    if (h.has_sequence && !(to->has_sequence && to->sequence >= h.sequence))
        to->sequence = h.sequence;
    to->has_exi = to->has_exi || h.has_exi;
    to->has_sequence = to->has_sequence || h.has_sequence;
    return true;
}

/* What does not read stays where it is: to forget a number grants more. */
static enum store_keep visit(void *user, struct bytes key, struct bytes value)
{
    struct load *l = user;
    struct cursor k = cursor_on(key), v = cursor_on(value);
    uint8_t mark = cursor_u8(&k);
    bool ok = cursor_u8(&v) == VERSION && (mark == MARK_EXI    ? take_exi(l, &k, &v)
                                           : mark == MARK_HIGH ? take_high(l, &k, &v)
                                                               : false);
    l->ok = l->ok && ok;
    return STORE_KEEP;
}

bool fresh_load(struct fresh *f, struct store *s, int64_t build_s)
{
    struct load l = {f, build_s, true};
    return store_each(s, STORE_FRESH, visit, &l) && l.ok;
}

void fresh_take_change(struct fresh *f, const struct store_op *op)
{
    /* The clock is the same one: nothing is over by that. */
    struct load l = {f, INT64_MIN, true};
    if (op->value.p) {
        (void)visit(&l, op->key, op->value);
        return;
    }
    struct cursor k = cursor_on(op->key);
    bool is_exi = cursor_u8(&k) == MARK_EXI;
    struct bytes name = cursor_take(&k, NAME);
    uint64_t number = cursor_be(&k, 8);
    struct exi *x = is_exi && cursor_done(&k) ? find_exi_mut(f, name.p, number) : NULL;
    if (x)
        *x = f->exi[--f->n_exi];
}

/* ---- exi ---- */

enum pep_err fresh_judge_exi(const struct fresh *f, const char *authority, uint64_t number,
                             int64_t exi_s, int64_t now_s, int64_t *ends_s)
{
    uint8_t name[NAME];
    if (!digest(authority, name))
        return PEP_FULL;
    const struct high *h = find_high(f, name);
    /* "lower" in the text; the one itself has expired as well. */
    if (h && h->has_exi && number <= h->exi)
        return PEP_EXPIRED;
    const struct exi *x = find_exi(f, name, number);
    if (!x) {
        *ends_s = exi_s > INT64_MAX - now_s ? INT64_MAX : now_s + exi_s;
        return exi_s > 0 ? PEP_OK : PEP_EXPIRED;
    }
    /* A clock behind the moment of the first sight has lost count. */
    if (now_s < x->first_s)
        return PEP_CLOCK;
    *ends_s = end_of(x);
    return now_s < *ends_s ? PEP_OK : PEP_EXPIRED;
}

enum pep_err fresh_note_exi(struct fresh *f, struct store *s, const char *authority,
                            uint64_t number, int64_t exi_s, int64_t now_s)
{
    struct exi x = {.number = number, .first_s = now_s, .exi_s = exi_s};
    uint8_t key[EXI_KEY], value[EXI_VALUE];
    if (!digest(authority, x.name))
        return PEP_FULL;
    if (find_exi(f, x.name, number))
        return PEP_OK;
    /* When it expires its number must have a place. */
    if (f->n_exi == FRESH_EXI_MAX || !make_high(f, x.name))
        return PEP_FULL;
    struct store_op op = put_exi(&x, true, key, value);
    if (s && !store_change(s, &op, 1))
        return PEP_STORE;
    f->exi[f->n_exi++] = x;
    if (end_of(&x) < f->next_s)
        f->next_s = end_of(&x);
    return PEP_OK;
}

int64_t fresh_next(const struct fresh *f)
{
    return f->next_s;
}

/* In the store the marks rise in the same change in which a token goes, so
 * that no crash comes between. What the store does not take now is found and
 * expired again at the next start. */
static bool expire_some(struct fresh *f, struct store *s, int64_t now_s, bool *more)
{
    enum { SOME = STORE_OPS_MAX / 2 };
    struct store_op ops[2 * SOME];
    uint8_t keys[SOME][EXI_KEY], none[EXI_VALUE];
    uint8_t high_keys[SOME][HIGH_KEY], high_values[SOME][HIGH_VALUE];
    size_t n = 0, gone = 0;
    *more = false;
    f->next_s = INT64_MAX;
    for (size_t i = f->n_exi; i-- > 0;) {
        struct exi *x = &f->exi[i];
        struct high *h = make_high(f, x->name);
        bool passed = h && h->has_exi && x->number <= h->exi;
        if (!h || (now_s < end_of(x) && !passed)) {
            if (end_of(x) < f->next_s)
                f->next_s = end_of(x);
            continue;
        }
        if (gone == SOME) {
            *more = true;
            break;
        }
        if (!passed) {
            h->has_exi = true;
            h->exi = x->number;
        }
        ops[n++] = put_exi(x, false, keys[gone], none);
        ops[n++] = put_high(h, high_keys[gone], high_values[gone]);
        gone++;
        *x = f->exi[--f->n_exi];
    }
    if (n && s)
        (void)!store_change(s, ops, n);
    return gone > 0;
}

bool fresh_expire(struct fresh *f, struct store *s, int64_t now_s)
{
    bool any = false, more = now_s >= f->next_s;
    while (more)
        any = expire_some(f, s, now_s, &more) || any;
    return any;
}

/* ---- sequence numbers ---- */

enum pep_err fresh_judge_sequence(const struct fresh *f, const char *authority, uint64_t number,
                                  uint32_t range)
{
    uint8_t name[NAME];
    if (!digest(authority, name))
        return PEP_FULL;
    const struct high *h = find_high(f, name);
    /* "In a certain range around" the last (ace-07 5.7.2). There is no upper
     * end: the number is the authority's own word, and a gateway that saw
     * none for long would never open again. A jump only ends older tokens. */
    return h && h->has_sequence && number < h->sequence && h->sequence - number > range
               ? PEP_EXPIRED
               : PEP_OK;
}

enum pep_err fresh_note_sequence(struct fresh *f, struct store *s, const char *authority,
                                 uint64_t number, bool *raised)
{
    uint8_t name[NAME], key[HIGH_KEY], value[HIGH_VALUE];
    *raised = false;
    if (!digest(authority, name))
        return PEP_FULL;
    struct high *h = make_high(f, name);
    if (!h)
        return PEP_FULL;
    if (h->has_sequence && number <= h->sequence)
        return PEP_OK;
    struct high next = *h;
    next.has_sequence = true;
    next.sequence = number;
    struct store_op op = put_high(&next, key, value);
    if (s && !store_change(s, &op, 1))
        return PEP_STORE;
    *h = next;
    *raised = true;
    return PEP_OK;
}

/* ---- nonces ---- */

static bool seal(const struct fresh *f, struct bytes time, struct buf *out)
{
    const struct bytes parts[] = {BYTES_LIT("cnonce"), time};
    return crypto_mac(crypto_alg(HMAC_256_64), bytes_of(f->key, sizeof f->key), parts, 2, out);
}

bool fresh_cnonce(const struct fresh *f, int64_t now_s, uint8_t out[FRESH_CNONCE])
{
    struct buf b = buf_on(out, FRESH_CNONCE);
    buf_put_be(&b, (uint64_t)now_s, 5);
    return seal(f, bytes_of(out, 5), &b) && !b.full && b.n == FRESH_CNONCE;
}

bool fresh_cnonce_is(const struct fresh *f, struct bytes cnonce, int64_t now_s)
{
    uint8_t raw[FRESH_CNONCE], want[FRESH_CNONCE];
    struct buf b = buf_on(raw, sizeof raw);
    if (cnonce.n != FRESH_CNONCE) { /* a claim in JSON (RFC 9200 5.9.2) */
        if (!base64url_read(cnonce, &b) || b.n != FRESH_CNONCE)
            return false;
        cnonce = buf_bytes(&b);
    }
    struct cursor c = cursor_on(cnonce);
    int64_t then_s = (int64_t)cursor_be(&c, 5);
    struct buf w = buf_on(want, sizeof want);
    buf_put(&w, bytes_of(cnonce.p, 5));
    return seal(f, bytes_of(cnonce.p, 5), &w) && crypto_equal(buf_bytes(&w), cnonce) &&
           then_s <= now_s && now_s - then_s < FRESH_CNONCE_S;
}
