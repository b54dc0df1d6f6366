/* What a token costs: one that was seen before, and new ones of each kind of
 * protection beside the bare cryptographic operation on as many bytes. The
 * real pep, checking in place, without a store.
 *
 *   bench_token [N]        N new tokens of each kind (500)
 *
 * Exit status 1 when a goal is missed: a known token takes 2 us or more, or a new
 * signed one more than 1.1 times the bare operation. Kinds take turns token by
 * token and the median counts, for the machine has other things to do. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../support_pep.h"
#include "../../pep/crypto.h"
#include "bench.h"

enum { KNOWN = 64, REPEATS = 200, ES256 = -7, AES_CCM = 10, HMAC_256 = 5, SAMPLES_MAX = 5000 };

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *of, size_t n)
{
    qsort(of, n, sizeof *of, compare);
    return of[n / 2];
}

struct kind {
    const char *name, *scope;
    enum house_as as;
    bool sealed; /* or signed, or with a MAC */
    int alg;
};

static const struct kind kinds[] = {
    {"ES256 signature", "lights_r", HOME, false, ES256},
    {"AES-CCM-16-64-128", "lights_r", HOME, true, AES_CCM},
    {"HMAC 256/256", "door_r", VISITOR, false, HMAC_256},
};

/* The i-th of its kind: a secret of its own where it may hold one, else the
 * public key that all have. */
static struct bytes mint(const struct house *h, const struct kind *k, size_t i,
                         uint8_t raw[TOKEN_MAX])
{
    static struct crypto_ec public_key;
    uint8_t unused[CRYPTO_COORD_MAX], kid[12];
    struct claims c = {.has_exp = true, .exp_s = HOUSE_NOW + 3600, .n_aud = 1, .has_scope = true};
    if (public_key.n == 0 && !crypto_ec_generate(CRYPTO_P256, &public_key, unused))
        bench_fail("no key");
    memcpy(kid, &k->alg, 4);
    memcpy(kid + 4, &i, 8);
    c.aud[0] = BYTES_LIT("gateway.home");
    c.scope_words = bytes_str(k->scope);
    c.cnf.kid = bytes_of(kid, sizeof kid);
    if (k->sealed) {
        c.cnf.kind = CNF_SYMMETRIC;
        c.cnf.key_n = 16;
        memcpy(c.cnf.key, kid, sizeof kid);
    } else {
        c.cnf.kind = CNF_EC;
        c.cnf.crv = public_key.crv;
        c.cnf.x = crypto_ec_x(&public_key);
        c.cnf.y = crypto_ec_y(&public_key);
    }
    struct cwt_maker with = {0};
    if (k->sealed)
        with = (struct cwt_maker){.seal = &h->seal[k->as], .seal_alg = k->alg};
    else
        with = (struct cwt_maker){.proof = &h->proof[k->as], .proof_alg = k->alg};
    struct buf token = buf_on(raw, TOKEN_MAX);
    if (cwt_mint(&c, POLICY_RFC9200, &with, &token) != PEP_OK)
        bench_fail("no token");
    return buf_bytes(&token);
}

static double take(struct pep *p, struct bytes token)
{
    struct pep_taken t;
    double from = now_us();
    pep_take_token(p, NULL, NULL, token, -1, HOUSE_NOW, &t);
    double took = now_us() - from;
    if (t.err != PEP_OK)
        bench_fail(pep_err_str(t.err));
    return took;
}

/* The bare operation over n bytes, made beforehand. */
struct bare {
    const struct crypto_alg *alg;
    struct crypto_ec key;
    uint8_t secret[CRYPTO_SECRET_MAX], proof[CRYPTO_SIG_MAX], text[TOKEN_MAX], sealed[TOKEN_MAX];
    size_t proof_n, sealed_n;
};

static void prepare(struct bare *b, int alg, size_t n)
{
    struct bytes text = {b->text, n}, secret = {b->secret, 0};
    struct buf proof = buf_on(b->proof, sizeof b->proof), sealed = buf_on(b->sealed, TOKEN_MAX);
    b->alg = crypto_alg(alg);
    memset(b->text, 'x', sizeof b->text);
    memset(b->secret, 7, sizeof b->secret);
    bool ok = b->alg != NULL;
    if (ok && b->alg->class == CRYPTO_SIGN) {
        ok = crypto_ec_generate(b->alg->crv, &b->key, b->secret);
        secret.n = b->key.n;
        ok = ok && crypto_sign(b->alg, secret, &text, 1, &proof);
    } else if (ok && b->alg->class == CRYPTO_MAC) {
        secret.n = 32;
        ok = crypto_mac(b->alg, secret, &text, 1, &proof);
    } else if (ok) {
        secret.n = b->alg->key_n;
        text.n = n > b->alg->proof_n ? n - b->alg->proof_n : 0;
        ok =
            crypto_seal(b->alg, secret, bytes_of(b->text, b->alg->iv_n), BYTES_NONE, text, &sealed);
    }
    if (!ok)
        bench_fail("the bare operation");
    b->proof_n = proof.n;
    b->sealed_n = sealed.n;
}

static double run(const struct bare *b, size_t n)
{
    static uint8_t plain[TOKEN_MAX];
    struct buf out = buf_on(plain, sizeof plain);
    struct bytes text = {b->text, n}, proof = {b->proof, b->proof_n};
    bool ok;
    double from = now_us();
    if (b->alg->class == CRYPTO_SIGN)
        ok = crypto_verify(b->alg, &b->key, &text, 1, proof);
    else if (b->alg->class == CRYPTO_MAC)
        ok = crypto_mac_verify(b->alg, bytes_of(b->secret, 32), &text, 1, proof);
    else
        ok =
            crypto_open(b->alg, bytes_of(b->secret, b->alg->key_n), bytes_of(b->text, b->alg->iv_n),
                        BYTES_NONE, bytes_of(b->sealed, b->sealed_n), &out);
    double took = now_us() - from;
    if (!ok)
        bench_fail("the bare operation");
    return took;
}

/* Of the same few tokens again and again. */
static double known(struct pep *p, const struct house *h, const struct kind *k)
{
    static uint8_t raw[KNOWN][TOKEN_MAX];
    static double us[REPEATS];
    struct bytes tokens[KNOWN];
    for (size_t i = 0; i < KNOWN; i++) {
        tokens[i] = mint(h, k, 1000000 + i, raw[i]);
        (void)take(p, tokens[i]);
    }
    for (size_t r = 0; r < REPEATS; r++) {
        double from = now_us();
        for (size_t i = 0; i < KNOWN; i++)
            (void)take(p, tokens[i]);
        us[r] = (now_us() - from) / KNOWN;
    }
    return median(us, REPEATS);
}

int main(int argc, char **argv)
{
    static double fresh[SAMPLES_MAX], bare_us[SAMPLES_MAX], ratio[SAMPLES_MAX];
    static struct bare bare;
    struct house h;
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 500;
    bool good = true;
    if (n == 0 || n > SAMPLES_MAX)
        bench_fail("bench_token [N], N at most 5000");
    struct pep *p = house_make(&h) ? house_pep(&h, NULL, 10000) : NULL;
    if (!p)
        bench_fail("no house");
    printf("%-18s %6s %10s %10s %10s %8s\n", "token", "bytes", "known us", "new us", "bare us",
           "ratio");
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        uint8_t raw[TOKEN_MAX];
        struct bytes token = mint(&h, &kinds[k], 0, raw);
        prepare(&bare, kinds[k].alg, token.n);
        size_t length = token.n;
        for (size_t i = 0; i < n; i++) {
            token = mint(&h, &kinds[k], 1 + i, raw);
            bare_us[i] = run(&bare, length);
            fresh[i] = take(p, token);
            ratio[i] = fresh[i] / bare_us[i];
        }
        double known_us = known(p, &h, &kinds[k]), times = median(ratio, n);
        printf("%-18s %6zu %10.2f %10.2f %10.2f %8.2f\n", kinds[k].name, length, known_us,
               median(fresh, n), median(bare_us, n), times);
        good = good && known_us < 2 && (kinds[k].alg != ES256 || times <= 1.1);
    }
    printf("%s\n", good ? "within the goals" : "beyond the goals");
    pep_free(p);
    house_clear(&h);
    return good ? 0 : 1;
}
