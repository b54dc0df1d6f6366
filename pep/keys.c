#include "keys.h"

#include <limits.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "crypto_jose.h"
#include "jwk.h"

struct keys {
    atomic_uint more; /* references beyond the first */
    size_t n, n_authorities;
    struct key *key;
    enum policy_dialect *dialect;
    uint64_t *allowed; /* by authority and class: rows of its family's table */
};

struct keys *keys_ref(struct keys *k)
{
    atomic_fetch_add(&k->more, 1);
    return k;
}

void keys_free(struct keys *k)
{
    if (!k || atomic_fetch_sub(&k->more, 1) > 0)
        return;
    for (size_t i = 0; i < k->n; i++)
        key_clear(&k->key[i]);
    free(k->key);
    free(k->dialect);
    free(k->allowed);
    free(k);
}

enum policy_dialect keys_dialect(const struct keys *k, int authority)
{
    return authority >= 0 && (size_t)authority < k->n_authorities ? k->dialect[authority]
                                                                  : POLICY_RFC9200;
}

size_t keys_count(const struct keys *k)
{
    return k->n;
}

/* No key is ever used in both families (RFC 8725 3.1). */
static bool speaks_jose(enum policy_dialect d)
{
    return d == POLICY_OAUTH || d == POLICY_ONEM2M;
}

/* The i-th algorithm of a family. */
static const struct crypto_alg *family_at(bool jose, size_t i)
{
    return jose ? crypto_jose_at(i) : crypto_alg_at(i);
}

bool keys_allow(const struct keys *k, int authority, enum policy_class class,
                const struct crypto_alg *alg)
{
    const struct crypto_alg *a;
    if (authority < 0 || (size_t)authority >= k->n_authorities || class >= POLICY_CLASSES)
        return false;
    const uint64_t *allowed = &k->allowed[(size_t)authority * POLICY_CLASSES];
    for (size_t i = 0; i < 64 && (a = family_at(alg->jose, i)); i++)
        if (a->alg == alg->alg)
            return allowed[class] >> i & 1;
    return false;
}

static bool allow_any(const struct keys *k, int authority, const struct crypto_alg *alg)
{
    for (unsigned c = 0; c < POLICY_CLASSES; c++)
        if (keys_allow(k, authority, (enum policy_class)c, alg))
            return true;
    return false;
}

static bool key_same(const struct key *a, const struct key *b)
{
    return a->kind == b->kind && a->alg == b->alg && a->ops == b->ops &&
           bytes_equal(key_kid(a), key_kid(b)) && a->ec.crv == b->ec.crv && a->ec.n == b->ec.n &&
           (a->kind != KEY_EC || (bytes_equal(crypto_ec_x(&a->ec), crypto_ec_x(&b->ec)) &&
                                  bytes_equal(crypto_ec_y(&a->ec), crypto_ec_y(&b->ec)))) &&
           (a->kind != KEY_RSA ||
            (a->rsa.e == b->rsa.e && bytes_equal(crypto_rsa_n(&a->rsa), crypto_rsa_n(&b->rsa)) &&
             a->rsa.prime_n == b->rsa.prime_n)) &&
           (a->kind != KEY_ED25519 || memcmp(a->ed25519, b->ed25519, sizeof a->ed25519) == 0) &&
           crypto_equal(key_secret(a), key_secret(b));
}

static const struct key *next_of(const struct keys *k, int authority, size_t *i)
{
    while (*i < k->n && k->key[*i].authority != authority)
        ++*i;
    return *i < k->n ? &k->key[(*i)++] : NULL;
}

bool keys_same(const struct keys *a, int authority_a, const struct keys *b, int authority_b)
{
    size_t i = 0, j = 0;
    if (authority_a < 0 || (size_t)authority_a >= a->n_authorities || authority_b < 0 ||
        (size_t)authority_b >= b->n_authorities ||
        a->dialect[authority_a] != b->dialect[authority_b] ||
        memcmp(&a->allowed[(size_t)authority_a * POLICY_CLASSES],
               &b->allowed[(size_t)authority_b * POLICY_CLASSES],
               POLICY_CLASSES * sizeof *a->allowed) != 0)
        return false;
    for (;;) {
        const struct key *x = next_of(a, authority_a, &i), *y = next_of(b, authority_b, &j);
        if (!x || !y)
            return !x && !y;
        if (!key_same(x, y))
            return false;
    }
}

const struct key *keys_derivation(const struct keys *k, int authority)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->key[i].authority == authority && k->key[i].alg == KEY_ALG_DERIVATION)
            return &k->key[i];
    return NULL;
}

static void add(struct keys_found *f, const struct key *k)
{
    if (f->n < KEYS_TRIES_MAX)
        f->key[f->n++] = k;
}

void keys_find(const struct keys *k, int authority, const struct crypto_alg *alg, struct bytes kid,
               struct keys_found *out)
{
    struct keys_found f = {.n = 0};
    /* Two passes keep the order: first those that match as they should. */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < k->n; i++) {
            const struct key *one = &k->key[i];
            if (authority >= 0 && one->authority != authority)
                continue;
            if (speaks_jose(k->dialect[one->authority]) != alg->jose)
                continue;
            bool same = bytes_equal(key_kid(one), kid);
            if (same && kid.n)
                f.kid_known = true;
            /* A kid that is not the token's never counts, none may. */
            bool second = !same && (one->kid_n == 0 || kid.n == 0);
            if (!(pass == 0 ? same : second) || !key_can_check(one, alg))
                continue;
            if (allow_any(k, one->authority, alg))
                add(&f, one);
            else
                f.kid_known = true;
        }
    }
    *out = f;
}

static bool complain(struct buf *diag, const char *file, const char *what)
{
    buf_put_str(diag, file);
    buf_put_str(diag, ": error: ");
    buf_put_str(diag, what);
    buf_put_u8(diag, '\n');
    return false;
}

/* The half that could mint goes; the other stays, and so does what opens what
 * was sealed for us. */
static void drop_private(struct key *k)
{
    if (k->kind == KEY_SECRET || key_is_recipient(k))
        return;
    crypto_wipe(k->secret, sizeof k->secret);
    k->secret_n = 0;
    crypto_wipe(k->rsa.p, sizeof k->rsa.p);
    crypto_wipe(k->rsa.q, sizeof k->rsa.q);
    k->rsa.prime_n = 0;
    /* has_secret would let a sign-only key verify; keep that. */
    if (k->has_secret && k->ops & UINT32_C(1) << COSE_OP_SIGN)
        k->ops |= UINT32_C(1) << COSE_OP_VERIFY;
    k->has_secret = false;
}

/* Of one authority's fresh keys: one derivation key, no secret that mints. */
static bool settle(struct key *key, size_t n, int authority, const char *file, struct buf *diag)
{
    size_t derivation = 0;
    for (size_t i = 0; i < n; i++) {
        key[i].authority = authority;
        drop_private(&key[i]);
        derivation += key[i].alg == KEY_ALG_DERIVATION;
    }
    if (derivation > 1)
        return complain(diag, file, "holds more than one key-derivation key (alg -10)");
    if (derivation == n)
        return complain(diag, file, "holds no key that could protect a token");
    return true;
}

static size_t crowd(const struct keys *k, size_t i, const struct crypto_alg *a)
{
    size_t same = 0;
    if (speaks_jose(k->dialect[k->key[i].authority]) != a->jose || !key_can_check(&k->key[i], a))
        return 0;
    for (size_t j = 0; j <= i; j++)
        same += speaks_jose(k->dialect[k->key[j].authority]) == a->jose &&
                key_can_check(&k->key[j], a) &&
                bytes_equal(key_kid(&k->key[j]), key_kid(&k->key[i]));
    return same;
}

/* No token may cost more than KEYS_TRIES_MAX attempts, and none be refused
 * because its key came too late in the order. `file`: of an authority. */
static bool check_crowds(const struct keys *k, const char *(*file)(const void *of, int authority),
                         const void *of, struct buf *diag)
{
    const struct crypto_alg *a;
    for (size_t i = 0; i < k->n; i++) {
        size_t most = 0, same;
        for (size_t ai = 0; (a = crypto_alg_at(ai)); ai++)
            most = (same = crowd(k, i, a)) > most ? same : most;
        for (size_t ai = 0; (a = crypto_jose_at(ai)); ai++)
            most = (same = crowd(k, i, a)) > most ? same : most;
        if (most > KEYS_SAME_MAX)
            return complain(diag, file(of, k->key[i].authority),
                            k->key[i].kid_n
                                ? "more than 4 keys of all authorities have the same kid"
                                : "more than 4 keys of all authorities have no kid; put them "
                                  "into a COSE_KeySet or a JWK Set, with a kid each");
    }
    return true;
}

/* Appends fresh keys; `room` is wiped. */
static bool append(struct keys *k, struct key *room, size_t n)
{
    struct key *grown = malloc((k->n + n) * sizeof *grown);
    if (grown) {
        if (k->n)
            memcpy(grown, k->key, k->n * sizeof *grown);
        memcpy(grown + k->n, room, n * sizeof *grown);
        crypto_wipe(k->key, k->n * sizeof *grown);
        free(k->key);
        k->key = grown;
        k->n += n;
    }
    crypto_wipe(room, n * sizeof *room);
    return grown != NULL;
}

static bool load_one(struct keys *k, const char *dir, int authority, const char *name,
                     struct key *room, struct buf *diag)
{
    char path[PATH_MAX];
    size_t n = 0;
    if (!key_file_path(dir, name, path, sizeof path))
        return complain(diag, name, "the path is too long");
    if (!key_file_read(path, KEY_FILE_CHECK, room, KEY_FILE_KEYS_MAX, &n, diag))
        return false;
    bool ok = settle(room, n, authority, path, diag);
    if (!ok)
        crypto_wipe(room, n * sizeof *room);
    else if (!append(k, room, n))
        ok = complain(diag, path, "out of memory");
    return ok;
}

/* The policy's names, as rows of the family's table. */
static bool read_list(const struct policy_algorithms *names, bool jose, uint64_t *out,
                      struct buf *diag)
{
    bool ok = true;
    const struct crypto_alg *alg;
    *out = names->n ? 0 : UINT64_MAX;
    for (size_t k = 0; k < names->n; k++) {
        const struct policy_file *f = &names->of[k];
        size_t i = 0;
        while (i < 64 && (alg = family_at(jose, i)) && strcmp(alg->name, f->name) != 0)
            i++;
        if (i < 64 && alg) {
            *out |= UINT64_C(1) << i;
            continue;
        }
        ok = false;
        buf_put_str(diag, f->where);
        buf_put_str(diag, ": error: '");
        buf_put_str(diag, f->name);
        buf_put_str(diag, jose ? "' is no algorithm of JWTs here; there are"
                               : "' is no algorithm of CWTs here; there are");
        for (i = 0; (alg = family_at(jose, i)); i++) {
            buf_put_str(diag, i ? ", " : " ");
            buf_put_str(diag, alg->name);
        }
        buf_put_u8(diag, '\n');
        buf_put_str(diag, f->excerpt);
    }
    return ok;
}

/* Other dialects than oneM2M know no classes: they all may be. */
static uint8_t classes_of(const struct policy_authority *a)
{
    return a->dialect == POLICY_ONEM2M ? a->classes : POLICY_CLASSES_ALL;
}

static const struct policy_algorithms *list_of(const struct policy_authority *a, unsigned class)
{
    return &a->algorithms[a->dialect == POLICY_ONEM2M ? class : 0];
}

static bool read_allowed(const struct policy_authority *a, uint64_t out[POLICY_CLASSES],
                         struct buf *diag)
{
    bool ok = true;
    for (unsigned c = 0; c < POLICY_CLASSES; c++) {
        unsigned like = 0; /* one list for several: what is wrong with it is said once */
        while (like < c &&
               !(classes_of(a) >> like & 1 && list_of(a, like)->of == list_of(a, c)->of))
            like++;
        if (!(classes_of(a) >> c & 1))
            out[c] = 0;
        else if (like < c)
            out[c] = out[like];
        else
            ok = read_list(list_of(a, c), speaks_jose(a->dialect), &out[c], diag) && ok;
    }
    return ok;
}

/* A list that leaves all keys of the file out was meant otherwise. */
static bool check_use(const struct keys *k, int authority, const struct policy_authority *a,
                      struct buf *diag)
{
    const struct crypto_alg *alg;
    for (size_t i = 0; i < k->n; i++)
        for (size_t r = 0;
             k->key[i].authority == authority && (alg = family_at(speaks_jose(a->dialect), r)); r++)
            if (key_can_check(&k->key[i], alg) && allow_any(k, authority, alg))
                return true;
    return complain(diag, a->keys, "holds no key that is for one of the authority's algorithms");
}

static const char *file_of(const void *of, int authority)
{
    return policy_authority(of, (size_t)authority)->keys;
}

static bool is_narrowed(const struct policy_authority *a)
{
    bool listed = false;
    for (unsigned c = 0; c < POLICY_CLASSES; c++)
        listed = listed || a->algorithms[c].n > 0;
    return listed || classes_of(a) != POLICY_CLASSES_ALL;
}

struct keys *keys_load(const struct policy *p, const char *dir, struct buf *diag)
{
    struct keys *k = calloc(1, sizeof *k);
    struct key *room = calloc(KEY_FILE_KEYS_MAX, sizeof *room);
    const struct policy_authority *a;
    size_t n = 0;
    while (policy_authority(p, n))
        n++;
    bool ok = k && room && (k->dialect = calloc(n + 1, sizeof *k->dialect)) &&
              (k->allowed = calloc((n + 1) * POLICY_CLASSES, sizeof *k->allowed));
    if (!ok)
        complain(diag, "keys", "out of memory");
    /* All files are looked at, so that one run names all that is wrong. */
    for (size_t i = 0; k && k->allowed && room && (a = policy_authority(p, i)); i++) {
        k->n_authorities = i + 1;
        k->dialect[i] = a->dialect;
        bool known = read_allowed(a, &k->allowed[i * POLICY_CLASSES], diag);
        ok = ok && known;
        if (!a->keys && (a->wire.introspect.url || a->wire.jwks.url))
            continue; /* references, or keys that are to be fetched */
        if (!a->keys)
            ok = complain(diag, a->name, "the authority has no keys");
        else if (!load_one(k, dir, (int)i, a->keys, room, diag) ||
                 (known && is_narrowed(a) && !check_use(k, (int)i, a, diag)))
            ok = false;
    }
    ok = ok && check_crowds(k, file_of, p, diag);
    free(room);
    if (!ok) {
        keys_free(k);
        k = NULL;
    }
    return k;
}

static const char *url_of(const void *of, int authority)
{
    (void)authority;
    return of;
}

struct keys *keys_with_set(const struct keys *old, int authority, struct bytes jwks,
                           const char *name, struct buf *diag)
{
    struct keys *k = calloc(1, sizeof *k);
    struct key *room = calloc(KEY_FILE_KEYS_MAX, sizeof *room);
    const char *why = NULL;
    size_t n = 0, which;
    bool ok =
        k && room && (k->dialect = calloc(old->n_authorities + 1, sizeof *k->dialect)) &&
        (k->allowed = calloc((old->n_authorities + 1) * POLICY_CLASSES, sizeof *k->allowed)) &&
        (k->key = calloc(old->n + 1, sizeof *k->key));
    if (!ok) {
        complain(diag, name, "out of memory");
    } else if (authority < 0 || (size_t)authority >= old->n_authorities) {
        ok = complain(diag, name, "is of no authority");
    } else {
        memcpy(k->dialect, old->dialect, old->n_authorities * sizeof *k->dialect);
        memcpy(k->allowed, old->allowed, old->n_authorities * POLICY_CLASSES * sizeof *k->allowed);
        k->n_authorities = old->n_authorities;
        for (size_t i = 0; i < old->n; i++)
            if (old->key[i].authority != authority || !old->key[i].fetched)
                k->key[k->n++] = old->key[i];
        ok = jwk_read_set(jwks, JWK_SET_FETCHED, room, KEY_FILE_KEYS_MAX, &n, &why, &which) ||
             complain(diag, name, why);
        ok = ok && settle(room, n, authority, name, diag) &&
             (append(k, room, n) || complain(diag, name, "out of memory")) &&
             check_crowds(k, url_of, name, diag);
    }
    free(room);
    if (!ok) {
        keys_free(k);
        k = NULL;
    }
    return k;
}
