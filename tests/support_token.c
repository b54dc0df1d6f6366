#include "support_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../pep/cbor.h"
#include "support_hex.h"

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "support_token: %s failed\n", what);
    abort();
}

struct key test_key(int authority, int alg)
{
    const struct crypto_alg *a = crypto_alg(alg);
    struct key k = {.authority = authority, .alg = alg, .has_secret = true};
    char kid[32];
    int n = snprintf(kid, sizeof kid, "%d:%d", authority, alg);
    k.kid_n = (size_t)n;
    memcpy(k.kid, kid, k.kid_n);
    k.secret_n = a ? a->key_n : 32;
    /* A leading zero keeps d below the order of every curve. */
    memset(k.secret, 0x10 + authority, k.secret_n);
    k.secret[0] = 0;
    k.secret[1] = (uint8_t)alg;
    k.kind = KEY_SECRET;
    if (a && a->class == CRYPTO_SIGN) {
        k.kind = KEY_EC;
        need(crypto_ec_of_secret(a->crv, key_secret(&k), &k.ec), "public half");
    }
    return k;
}

struct bytes forge(int alg, const struct key *key, const struct forgery *f)
{
    static const char *const context[] = {
        [CRYPTO_SIGN] = "Signature1", [CRYPTO_MAC] = "MAC0", [CRYPTO_AEAD] = "Encrypt0"};
    const struct crypto_alg *a = crypto_alg(alg);
    bool aead = a->class == CRYPTO_AEAD;
    uint8_t text[8192], proof[CRYPTO_SIG_MAX], zero[16] = {0};
    static uint8_t rooms[64][4096];
    static unsigned turn;
    struct buf t = buf_on(text, sizeof text), p = buf_on(proof, sizeof proof);
    struct buf out = buf_on(rooms[turn++ % 64], sizeof *rooms);
    cbor_put_array(&t, aead ? 3 : 4);
    cbor_put_text(&t, bytes_str(context[a->class]));
    cbor_put_bytes(&t, f->guarded);
    cbor_put_bytes(&t, BYTES_NONE);
    if (!aead)
        cbor_put_bytes(&t, f->content);
    struct bytes whole = buf_bytes(&t);

    buf_put(&out, f->tags);
    cbor_put_array(&out, aead ? 3 : 4);
    cbor_put_bytes(&out, f->guarded);
    buf_put(&out, f->unguarded);
    if (aead) {
        cbor_put_bytes_head(&out, f->content.n + a->proof_n);
        need(crypto_seal(a, key_secret(key), f->iv.n ? f->iv : bytes_of(zero, a->iv_n), whole,
                         f->content, &out),
             "seal");
    } else {
        need(a->class == CRYPTO_SIGN ? crypto_sign(a, key_secret(key), &whole, 1, &p)
                                     : crypto_mac(a, key_secret(key), &whole, 1, &p),
             "proof");
        cbor_put_bytes(&out, f->content);
        cbor_put_bytes(&out, buf_bytes(&p));
    }
    need(!out.full, "room");
    return buf_bytes(&out);
}

static void name_of(const char *dir, int i, char *out, size_t n)
{
    snprintf(out, n, "%s/%d", dir, i);
}

void put_authorities(const char *dir, int n)
{
    for (int i = 0; i < n; i++) {
        struct key keys[32];
        size_t k = 0;
        const struct crypto_alg *a;
        for (size_t j = 0; (a = crypto_alg_at(j)); j++)
            keys[k++] = test_key(i, a->alg);
        if (i == 0)
            keys[k++] = test_key(i, KEY_ALG_DERIVATION);
        char path[256], text[512];
        struct buf diag = buf_on(text, sizeof text);
        name_of(dir, i, path, sizeof path);
        need(key_file_create(path, keys, k, true, &diag), "key file");
    }
}

void drop_authorities(const char *dir, int n)
{
    for (int i = 0; i < n; i++) {
        char path[256];
        name_of(dir, i, path, sizeof path);
        unlink(path);
    }
}
