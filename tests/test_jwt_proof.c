/* JWTs through pep: how they are posted, and how a handshake proves what
 * their cnf names: a certificate by its digest, a key by its thumbprint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "../pep/jwk.h"
#include "../pep/jwt.h"
#include "../pep/store.h"
#include "support_pep.h"

#define NOW HOUSE_NOW
enum { GET = 1 };
#define CODE(class, detail) ((class) << 5 | (detail))

static struct house house;
static struct store *store;
static struct pep *pep;

static struct pep *open_pep(void)
{
    struct pep *p = house_pep(&house, store, 16);
    if (!p || !house_reload(&house, p, "    issuer: coaps://as.home\n",
                            "    issuer: coaps://as.home\n    dialect: oauth\n"))
        fail_msg("%s", house.diag_text);
    return p;
}

static int set_up(void **state)
{
    (void)state;
    store = store_open_memory();
    if (!house_make(&house) || !store)
        return -1;
    pep = open_pep();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pep_free(pep);
    store_close(store);
    house_clear(&house);
    return 0;
}

static struct bytes mint(enum cnf_kind kind, const uint8_t digest[32], uint8_t out[TOKEN_MAX])
{
    struct claims c = {.has_iss = true,
                       .iss = BYTES_LIT("coaps://as.home"),
                       .sub = BYTES_LIT("bob"),
                       .aud = {BYTES_LIT("gateway.home")},
                       .n_aud = 1,
                       .has_exp = true,
                       .exp_s = NOW + 3600,
                       .has_scope = true,
                       .scope_words = BYTES_LIT("lights_r"),
                       .cnf = {.kind = kind}};
    struct jwt_maker with = {.proof = &house.proof[HOME]};
    struct buf b = buf_on(out, TOKEN_MAX);
    if (digest) {
        memcpy(c.cnf.key, digest, 32);
        c.cnf.key_n = 32;
    }
    assert_int_equal(jwt_mint(&c, &with, &b), PEP_OK);
    return buf_bytes(&b);
}

static bool may(struct pep_session *s)
{
    struct pep_decision d;
    struct request r = house_request(GET, "/lamp/state", LAMP);
    pep_authorize(pep, s, &r, NOW, &d);
    return d.outcome == PEP_FORWARD;
}

static int post(struct bytes token, int format)
{
    struct pep_taken t;
    pep_take_token(pep, NULL, NULL, token, format, NOW, &t);
    return t.code;
}

static void formats(void **state)
{
    (void)state;
    static const int ok[] = {-1, 42}, no[] = {0, 16, 17, 18, 19, 50, 60, 61};
    uint8_t raw[TOKEN_MAX], digest[32] = {1};
    struct bytes token = mint(CNF_X5T, digest, raw);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(post(token, ok[i]), CODE(2, 1));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_int_equal(post(token, no[i]), CODE(4, 15));
    /* The authority's CWTs count no more, the others' still do. */
    struct minting m = {.key = 3, .cnf = KEY_PUBLIC};
    uint8_t cwt[TOKEN_MAX];
    assert_int_equal(post(house_mint(&house, &m, cwt), 61), CODE(4, 1));
    m.as = VISITOR;
    assert_int_equal(post(house_mint(&house, &m, cwt), 61), CODE(2, 1));
}

static void by_certificate(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX], der[128], other[128], digest[32];
    struct pep_proof proof;
    struct bytes cert = BYTES_LIT("the DER of a certificate");
    struct pep_certificate c = {.der = cert, .spki = house_spki(7, der)};
    assert_true(crypto_sha256(cert, digest));
    assert_false(pep_judge_certificate(pep, &c, NOW, &proof));
    assert_int_equal(post(mint(CNF_X5T, digest, raw), 42), CODE(2, 1));
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    assert_memory_equal(proof.cert_id, digest, 32);
    assert_string_equal(proof.name, "bob@home-as");
    struct pep_session *s = pep_session_open(pep, &proof);
    assert_true(may(s));
    assert_true(pep_session_ends(s, NOW) == NOW + 3600);
    pep_session_close(s);
    assert_false(pep_judge_certificate(pep, &c, NOW + 3600, &proof));
    /* Another certificate of the same key is another certificate. */
    c.der = BYTES_LIT("the DER of a certificatf");
    assert_false(pep_judge_certificate(pep, &c, NOW, &proof));
    c.der = BYTES_NONE;
    assert_false(pep_judge_certificate(pep, &c, NOW, &proof));
    /* The same certificate, whatever its key: it was proved in the handshake. */
    c = (struct pep_certificate){.der = cert, .spki = house_spki(8, other)};
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    /* Trusted by the client CA, and the token adds to it. */
    c.trusted = true;
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    s = pep_session_open(pep, &proof);
    assert_true(may(s));
    pep_session_close(s);

    /* The digest of a certificate is no thumbprint, nor the other way round. */
    pep_free(pep);
    store_close(store);
    store = store_open_memory();
    pep = open_pep();
    assert_int_equal(post(mint(CNF_JKT, digest, raw), 42), CODE(2, 1));
    c.trusted = false;
    assert_false(pep_judge_certificate(pep, &c, NOW, &proof));
}

static void by_thumbprint(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX], der[128], jkt[32];
    struct pep_proof proof;
    struct crypto_ec ec;
    struct pep_certificate c = {.der = BYTES_LIT("x"), .spki = house_spki(7, der)};
    assert_true(crypto_ec_from_spki(c.spki, &ec));
    assert_true(jwk_thumbprint_ec(&ec, jkt));
    assert_false(pep_judge_certificate(pep, &c, NOW, &proof));
    assert_int_equal(post(mint(CNF_JKT, jkt, raw), 42), CODE(2, 1));
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    struct pep_session *s = pep_session_open(pep, &proof);
    assert_true(may(s));
    pep_session_close(s);

    /* A PSK by its thumbprint: the enrolled thermostat's. */
    uint8_t psk[16];
    for (size_t i = 0; i < sizeof psk; i++)
        psk[i] = (uint8_t)i;
    assert_true(jwk_thumbprint_secret(bytes_of(psk, sizeof psk), jkt));
    assert_int_equal(pep_find_psk(pep, BYTES_LIT("t7"), &(struct policy_peer){0}, NOW, &proof),
                     PEP_KEY_FOUND);
    assert_memory_equal(proof.jkt, jkt, 32);
    s = pep_session_open(pep, &proof);
    assert_false(may(s));
    assert_int_equal(post(mint(CNF_JKT, jkt, raw), 42), CODE(2, 1));
    assert_true(may(s));
    pep_session_close(s);
    jkt[0] ^= 1;
    assert_int_equal(post(mint(CNF_JKT, jkt, raw), 42), CODE(2, 1));
    /* In an identity a token must bring a PSK. */
    assert_int_equal(
        pep_find_psk(pep, mint(CNF_JKT, jkt, raw), &(struct policy_peer){0}, NOW, &proof),
        PEP_KEY_NONE);
}

/* The Access-Token option counts if the association proves what it names. */
static void in_an_option(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX], der[128], digest[32];
    struct pep_proof proof;
    struct pep_certificate c = {
        .trusted = true, .der = BYTES_LIT("cert"), .spki = house_spki(9, der)};
    struct pep_decision d;
    struct request r = house_request(GET, "/lamp/state", LAMP);
    assert_true(crypto_sha256(c.der, digest));
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    struct pep_session *s = pep_session_open(pep, &proof);
    r.has_token = true;
    r.token = mint(CNF_X5T, digest, raw);
    pep_authorize(pep, s, &r, NOW, &d);
    assert_int_equal(d.outcome, PEP_FORWARD);
    digest[31] ^= 1;
    r.token = mint(CNF_X5T, digest, raw);
    pep_authorize(pep, s, &r, NOW, &d);
    assert_int_equal(d.outcome, PEP_DENY);
    pep_session_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(formats, set_up, tear_down),
        cmocka_unit_test_setup_teardown(by_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(by_thumbprint, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_an_option, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
