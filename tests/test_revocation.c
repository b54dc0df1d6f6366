#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../pep/base64url.h"
#include "../pep/cbor.h"
#include "../pep/cose.h"
#include "../pep/revoke.h"
#include "../pep/store.h"
#include "support_hex.h"
#include "support_pep.h"
#include "support_token.h"

#define N(a)       (sizeof(a) / sizeof *(a))
#define CODE(c, d) ((uint8_t)((c) << 5 | (d)))
#define NOW        HOUSE_NOW

enum { GET = 1 };

/* ---- the names of a token ---- */

/* RFC 9770 3, the example of a CWT. */
#define EXAMPLE                                                                                    \
    "d83d d083 5820 a3010a044c53796d6d6574726963313238054d99a0d7846e762c49ffe8a63e0b a0 5858"      \
    "b918a11fd81e438b7f973d9e2e119bcb22424ba0f38a80f27562f400ee1d0d6c0fdb559c02421fd384fc2ebe22d7" \
    "071378b0ea7428fff157444d45f7e6afcda1aae5f6495830c58627087fc5b4974f319a8707a635dd643b"

static bool has_id(const struct token_ids *ids, const char *hex)
{
    for (size_t i = 0; i < ids->n; i++)
        if (bytes_equal(token_id(ids, i), unhex(hex)))
            return true;
    return false;
}

/* Expected values from Python's hashlib and base64. */
static void names(void **state)
{
    (void)state;
    struct token_ids ids;
    assert_true(token_ids_of(unhex(EXAMPLE), &ids));
    assert_true(
        has_id(&ids, "01 1a06427bcbe5d29385202b8255820b8370ae481065a1e94017c0185bfbd51707"));
    struct bytes jwt = bytes_str("eyJhbGciOiJIUzI1NiJ9.e30.XXXX");
    assert_true(token_ids_of(jwt, &ids));
    assert_true(
        has_id(&ids, "01 790407f204c184c2db69d5c8a03da5cb65302b46c53bcdaf1ebee6c3cf482a26"));
    assert_true(
        has_id(&ids, "01 e15e5a42ff0eab60e5f44c9984e5fc0a5d840fd7d9513e03815c0956236c9c2e"));
    assert_int_equal(ids.n, 3); /* and its core */
    assert_true(token_ids_of(bytes_str("a-reference"), &ids));
    assert_int_equal(ids.n, 3);
    uint8_t large[TOKEN_MAX + 1] = {0};
    assert_false(token_ids_of(bytes_of(large, sizeof large), &ids));
    assert_int_equal(ids.n, 0);
}

/* One token in two forms: what it is revoked by is the same. */
static void other_forms(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct bytes one, other;
        bool same;
    } rows[] = {
        {"a reference in a byte string",
         {(const uint8_t *)"reference", 9},
         {(const uint8_t *)"\x49reference", 10},
         true},
        {"a longer head",
         {(const uint8_t *)"reference", 9},
         {(const uint8_t *)"\x58\x09reference", 11},
         true},
        {"a byte string in another",
         {(const uint8_t *)"reference", 9},
         {(const uint8_t *)"\x4a\x49reference", 11},
         true},
        {"another inside",
         {(const uint8_t *)"reference", 9},
         {(const uint8_t *)"\x49referencf", 10},
         false},
        {"a byte behind",
         {(const uint8_t *)"reference", 9},
         {(const uint8_t *)"\x49reference.", 11},
         false},
        {"text, not bytes",
         {(const uint8_t *)"reference", 9},
         {(const uint8_t *)"\x69reference", 10},
         false},
        {"bytes as base64url",
         {(const uint8_t *)"\x01\x02\x03\xff", 4},
         {(const uint8_t *)"AQID_w", 6},
         true},
        {"other bytes",
         {(const uint8_t *)"\x01\x02\x03\xfe", 4},
         {(const uint8_t *)"AQID_w", 6},
         false},
        {"a JWS in a byte string",
         {(const uint8_t *)"eyJhbGciOiJIUzI1NiJ9.e30.XXXX", 29},
         {(const uint8_t *)"\x58\x1d"
                           "eyJhbGciOiJIUzI1NiJ9.e30.XXXX",
          31},
         true},
        {"a reference like what a JWS protects",
         {(const uint8_t *)"eyJhbGciOiJIUzI1NiJ9.e30.XXXX", 29},
         {(const uint8_t *)"eyJhbGciOiJIUzI1NiJ9.e30", 24},
         false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct token_ids one, other;
        assert_true(token_ids_of(rows[i].one, &one) && token_ids_of(rows[i].other, &other));
        assert_true(one.id[one.n - 1][0] == TOKEN_ID_CORE);
        if (bytes_equal(token_id(&one, one.n - 1), token_id(&other, other.n - 1)) != rows[i].same)
            fail_msg("%s", rows[i].name);
    }
    struct token_ids in, out;
    uint8_t wrapped[256] = {0x58, 0};
    struct bytes cwt = unhex(EXAMPLE);
    wrapped[1] = (uint8_t)cwt.n;
    memcpy(wrapped + 2, cwt.p, cwt.n);
    assert_true(token_ids_of(cwt, &in));
    assert_true(token_ids_of(bytes_of(wrapped, cwt.n + 2), &out));
    assert_true(bytes_equal(token_id(&in, in.n - 1), token_id(&out, out.n - 1)));
    for (size_t i = 0; i < 2; i++) /* and by its hash, as a list has it */
        assert_true(bytes_equal(token_id(&in, i), token_id(&out, 2 + i)));
}

static const struct {
    const char *name, *hex;
    bool strict;
} forms[] = {
    {"RFC 9770 3, the example", EXAMPLE, true},
    {"a MAC", "d83d d1 84 43a10105 a0 40 40", true},
    {"no CWT tag", "d1 84 43a10105 a0 40 40", false},
    {"no tag at all", "84 43a10105 a0 40 40", false},
    {"an unprotected kid", "d83d d1 84 43a10105 a1 04 41 61 40 40", false},
    {"an unprotected header of nobody", "d83d d1 84 43a10105 a1 1863 00 40 40", false},
    {"a JWT", "65794a.65", true},
};

static void strict_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(forms); i++) {
        struct bytes raw =
            strchr(forms[i].hex, '.') ? bytes_str(forms[i].hex) : unhex(forms[i].hex);
        if (token_form_is_strict(raw) != forms[i].strict)
            fail_msg("%s", forms[i].name);
    }
    /* What has the tag in more bytes than needed is no token at all. */
    struct cose m;
    assert_int_equal(cose_parse(unhex("d83d d811 84 43a10105 a0 40 40"), &m), PEP_MALFORMED);
}

/* The other signature verifies as well, and has the same names. */
static void twins(void **state)
{
    (void)state;
    static const int algs[] = {-7, -35, -36};
    for (size_t i = 0; i < N(algs); i++) {
        struct key k = test_key(0, algs[i]);
        struct cose m, other;
        struct token_ids a, b;
        uint8_t raw[TOKEN_MAX], copy[TOKEN_MAX];
        struct buf out = buf_on(raw, sizeof raw), none = buf_on(NULL, 0);
        struct bytes content;
        assert_int_equal(cose_write(crypto_alg(algs[i]), &k, BYTES_LIT("\xa0"), &out), PEP_OK);
        assert_int_equal(cose_parse(buf_bytes(&out), &m), PEP_OK);
        assert_true(token_ids_of(buf_bytes(&out), &a));
        assert_int_equal(a.n, 5);
        /* The token whose hash is the third name is found by undoing what
         * was done: names of the twin's twin are the first ones. */
        const struct crypto_alg *alg = crypto_alg(algs[i]);
        static const char *const orders[] = {
            "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec19"
            "6a"
            "ccc52973",
            "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7f"
            "cc"
            "0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"};
        struct bytes n = unhex(orders[i]);
        memcpy(copy, raw, out.n);
        uint8_t *s = copy + (m.proof.p - raw) + n.n;
        int borrow = 0;
        for (size_t k2 = n.n; k2-- > 0;) {
            int v = n.p[k2] - s[k2] - borrow;
            borrow = v < 0;
            s[k2] = (uint8_t)(v + 256 * borrow);
        }
        assert_int_equal(alg->proof_n, 2 * n.n);
        assert_int_equal(cose_parse(bytes_of(copy, out.n), &other), PEP_OK);
        assert_int_equal(cose_open(&other, &k, &none, &content), PEP_OK);
        assert_true(token_ids_of(bytes_of(copy, out.n), &b));
        assert_memory_equal(a.id[0], b.id[2], TOKEN_ID);
        assert_memory_equal(a.id[1], b.id[3], TOKEN_ID);
        assert_memory_equal(a.id[2], b.id[0], TOKEN_ID);
        assert_memory_equal(a.id[4], b.id[4], TOKEN_ID);
    }
    /* The same in a JWS. */
    struct token_ids a, b;
    uint8_t sig[64], jws[2][256];
    memset(sig, 0x11, sizeof sig);
    struct bytes n = unhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    size_t len[2];
    for (int i = 0; i < 2; i++) {
        struct buf out = buf_on(jws[i], sizeof jws[i]);
        buf_put_str(&out, "eyJhbGciOiJFUzI1NiJ9.e30.");
        base64url_put(&out, bytes_of(sig, sizeof sig));
        len[i] = out.n;
        int borrow = 0;
        for (size_t k = 32; k-- > 0;) {
            int v = n.p[k] - sig[32 + k] - borrow;
            borrow = v < 0;
            sig[32 + k] = (uint8_t)(v + 256 * borrow);
        }
    }
    assert_true(token_ids_of(bytes_of(jws[0], len[0]), &a));
    assert_true(token_ids_of(bytes_of(jws[1], len[1]), &b));
    assert_memory_equal(a.id[0], b.id[2], TOKEN_ID);
    assert_memory_equal(a.id[3], b.id[1], TOKEN_ID);
    assert_memory_equal(a.id[4], b.id[4], TOKEN_ID);
}

/* ---- revoking, in the house ---- */

static struct house house;
static struct pep *pep;

static int setup(void **state)
{
    (void)state;
    if (!house_make(&house))
        return -1;
    pep = house_pep(&house, NULL, 32);
    return pep ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pep_free(pep);
    pep = NULL;
    house_clear(&house);
    return 0;
}

static enum pep_err post_raw(struct bytes token, int64_t now_s)
{
    struct pep_taken t;
    assert_true(token.n > 0);
    pep_take_token(pep, NULL, NULL, token, -1, now_s, &t);
    assert_int_equal(t.code, t.err == PEP_OK ? CODE(2, 1) : pep_err_code(t.err));
    return t.err;
}

static struct pep_session *open_kid(const char *kid)
{
    uint8_t id[80];
    struct pep_proof proof;
    if (pep_find_psk(pep, house_kid_identity(kid, strlen(kid), id), NULL, NOW, &proof) !=
        PEP_KEY_FOUND)
        return NULL;
    return pep_session_open(pep, &proof);
}

static struct pep_decision ask(struct pep_session *s, struct bytes token)
{
    struct request r = house_request(GET, "/lamp/state", LAMP);
    struct pep_decision d;
    r.token = token;
    r.has_token = token.n > 0;
    pep_authorize(pep, s, &r, NOW, &d);
    return d;
}

static struct pep_revoked revoked;

static enum revocation_err revoke_by(enum revocation_kind kind, struct bytes value,
                                     const char *authority)
{
    struct pep_revoking r = {.kind = kind,
                             .value = value,
                             .authority = bytes_str(authority),
                             .until_s = REVOKED_FOR_GOOD};
    return pep_revoke(pep, &r, NOW, &revoked);
}

static enum revocation_err revoke_token(struct bytes token)
{
    struct pep_revoking r = {.token = token, .until_s = REVOKED_FOR_GOOD};
    return pep_revoke(pep, &r, NOW, &revoked);
}

static enum revocation_err undo(enum revocation_kind kind, struct bytes value,
                                const char *authority)
{
    struct pep_revoking r = {.kind = kind, .value = value, .authority = bytes_str(authority)};
    return pep_unrevoke(pep, &r, &revoked);
}

/* The good token: sub ted, cti c1, kid k1, issued an hour ago. Each row is a
 * revocation that hits it or one that misses by one thing. */
static const struct {
    const char *name;
    enum revocation_kind kind;
    const char *value, *authority;
    bool hits;
} ways[] = {
    {"its cti", REVOKED_ID, "c1", NULL, true},
    {"its cti, its authority's", REVOKED_ID, "c1", "home-as", true},
    {"its cti, another authority's", REVOKED_ID, "c1", "visitor-as", false},
    {"another cti", REVOKED_ID, "c2", NULL, false},
    {"its kid", REVOKED_KID, "k1", NULL, true},
    {"another kid", REVOKED_KID, "k2", NULL, false},
    {"its kid as a cti", REVOKED_ID, "k1", NULL, false},
    {"its subject", REVOKED_SUBJECT, "ted", NULL, true},
    {"its subject as records show it", REVOKED_SUBJECT, "ted@home-as", NULL, true},
    {"another's subject as records show it", REVOKED_SUBJECT, "ted@visitor-as", NULL, false},
    {"its subject, another authority's", REVOKED_SUBJECT, "ted", "visitor-as", false},
    {"the beginning of its subject", REVOKED_SUBJECT, "te", NULL, false},
    {"its authority", REVOKED_AUTHORITY, NULL, "home-as", true},
    {"another authority", REVOKED_AUTHORITY, NULL, "visitor-as", false},
};

static void by_each_way(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    const struct minting good = {.key = 1, .kid = "k1", .sub = "ted", .cti = "c1", .iat_in = -3600};
    struct bytes token = house_mint(&house, &good, raw);
    for (size_t i = 0; i < N(ways); i++) {
        struct bytes value = bytes_str(ways[i].value);
        assert_int_equal(post_raw(token, NOW), PEP_OK);
        struct pep_session *s = open_kid("k1");
        struct pep_decision before = ask(s, BYTES_NONE);
        assert_int_equal(before.outcome, PEP_FORWARD);
        assert_int_equal(revoke_by(ways[i].kind, value, ways[i].authority), REVOCATION_OK);
        struct pep_decision after = ask(s, BYTES_NONE);
        bool hit = revoked.ended == 1 && after.code == CODE(4, 1) &&
                   !pep_basis_holds(pep, s, &before.basis, NOW) &&
                   pep_session_ends(s, NOW) <= NOW && post_raw(token, NOW) == PEP_REVOKED &&
                   !open_kid("k1");
        bool missed = revoked.ended == 0 && after.outcome == PEP_FORWARD &&
                      pep_basis_holds(pep, s, &before.basis, NOW) && post_raw(token, NOW) == PEP_OK;
        if (hit != ways[i].hits || missed == ways[i].hits)
            fail_msg("%s: ended %zu, then %s", ways[i].name, revoked.ended, after.reason);
        assert_false(revoked.kept); /* there is no store */
        assert_int_equal(undo(ways[i].kind, value, ways[i].authority), REVOCATION_OK);
        assert_int_equal(undo(ways[i].kind, value, ways[i].authority), REVOCATION_NONE);
        assert_int_equal(post_raw(token, NOW), PEP_OK);
        pep_session_close(s);
    }
}

static const struct {
    const char *name;
    enum revocation_kind kind;
    const char *value;
    const char *authority;
} bad[] = {
    {"nothing", REVOKED_NOTHING, "x", NULL},       {"an empty cti", REVOKED_ID, "", NULL},
    {"an empty kid", REVOKED_KID, "", NULL},       {"an empty subject", REVOKED_SUBJECT, "", NULL},
    {"no authority", REVOKED_AUTHORITY, "", NULL}, {"a short hash", REVOKED_HASH, "\1abc", NULL},
};

static void what_no_token_has(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(bad); i++)
        if (revoke_by(bad[i].kind, bytes_str(bad[i].value), bad[i].authority) != REVOCATION_BAD)
            fail_msg("%s", bad[i].name);
    uint8_t large[REVOCATION_VALUE_MAX + 1] = {1};
    assert_int_equal(revoke_by(REVOKED_ID, bytes_of(large, sizeof large), NULL), REVOCATION_BAD);
    assert_int_equal(revoke_by(REVOKED_ID, bytes_of(large, sizeof large - 1), NULL), REVOCATION_OK);
}

/* Of a kid, subject, authority: what was issued until now. */
static void newer_tokens(void **state)
{
    (void)state;
    uint8_t raw[4][TOKEN_MAX];
    struct minting m = {.key = 1, .kid = "k1", .sub = "ted", .iat_in = -1};
    struct bytes older = house_mint(&house, &m, raw[0]);
    m.iat_in = 10;
    struct bytes newer = house_mint(&house, &m, raw[1]);
    m.iat_in = 0;
    struct bytes without = house_mint(&house, &m, raw[2]);
    m.iat_in = 200; /* of a server whose clock runs ahead */
    struct bytes ahead = house_mint(&house, &m, raw[3]);
    assert_int_equal(revoke_by(REVOKED_SUBJECT, BYTES_LIT("ted"), NULL), REVOCATION_OK);
    assert_int_equal(post_raw(older, NOW + 20), PEP_REVOKED);
    assert_int_equal(post_raw(without, NOW + 20), PEP_REVOKED); /* cannot show that it is newer */
    assert_int_equal(post_raw(newer, NOW + 20), PEP_OK);
    assert_int_equal(undo(REVOKED_SUBJECT, BYTES_LIT("ted"), NULL), REVOCATION_OK);
    assert_int_equal(post_raw(ahead, NOW), PEP_OK);
    assert_int_equal(revoke_by(REVOKED_SUBJECT, BYTES_LIT("ted"), NULL), REVOCATION_OK);
    assert_int_equal(revoked.ended, 1);
    assert_int_equal(post_raw(ahead, NOW), PEP_REVOKED); /* it was held then */
    /* No clock shows what is newer. */
    assert_int_equal(undo(REVOKED_SUBJECT, BYTES_LIT("ted"), NULL), REVOCATION_OK);
    struct pep_revoking r = {
        .kind = REVOKED_SUBJECT, .value = BYTES_LIT("ted"), .until_s = REVOKED_FOR_GOOD};
    assert_int_equal(pep_revoke(pep, &r, HOUSE_BUILD - 5, &revoked), REVOCATION_OK);
    assert_int_equal(post_raw(newer, NOW + 20), PEP_REVOKED);
}

static void until(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    struct bytes token = house_mint(&house, &(struct minting){.key = 1, .kid = "k1"}, raw);
    struct pep_revoking r = {.kind = REVOKED_KID, .value = BYTES_LIT("k1"), .until_s = NOW + 100};
    assert_int_equal(pep_revoke(pep, &r, NOW, &revoked), REVOCATION_OK);
    (void)pep_expire(pep, NOW + 99);
    assert_int_equal(post_raw(token, NOW + 99), PEP_REVOKED);
    (void)pep_expire(pep, NOW + 100);
    assert_int_equal(post_raw(token, NOW + 100), PEP_OK);
}

/* By the token itself, whatever its holder makes of it. */
static void by_token(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX], bare[TOKEN_MAX];
    const struct minting m = {.key = 1, .kid = "k1", .cnf = KEY_PUBLIC};
    struct bytes token = house_mint(&house, &m, raw);
    assert_int_equal(post_raw(token, NOW), PEP_OK);
    assert_int_equal(revoke_token(token), REVOCATION_OK);
    assert_int_equal(revoked.ended, 1);
    assert_int_equal(revoked.until_s, NOW + 3600);
    assert_int_equal(post_raw(token, NOW), PEP_REVOKED);
    /* without its tags; with one more header; with the other signature */
    assert_int_equal(post_raw(bytes_of(token.p + 2, token.n - 2), NOW), PEP_REVOKED);
    assert_int_equal(post_raw(bytes_of(token.p + 3, token.n - 3), NOW), PEP_REVOKED);
    struct cose c;
    assert_int_equal(cose_parse(token, &c), PEP_OK);
    size_t at = (size_t)(c.guarded.p - token.p) + c.guarded.n;
    assert_int_equal(token.p[at], 0xa0);
    struct buf b = buf_on(bare, sizeof bare);
    buf_put(&b, bytes_of(token.p, at));
    buf_put(&b, BYTES_LIT("\xa1\x18\x63\x00"));
    buf_put(&b, bytes_of(token.p + at + 1, token.n - at - 1));
    assert_int_equal(post_raw(buf_bytes(&b), NOW), PEP_REVOKED);
    /* another token of the same key is another token */
    struct minting other = m;
    other.scope = "lights_w";
    assert_int_equal(post_raw(house_mint(&house, &other, bare), NOW), PEP_OK);
    /* forgotten when it has expired */
    struct revocations_stats s;
    (void)pep_expire(pep, NOW + 3599);
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.local, 1);
    (void)pep_expire(pep, NOW + 3600);
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.local, 0);
}

static void hash_of(struct bytes token, uint8_t out[TOKEN_ID])
{
    struct token_ids ids;
    assert_true(token_ids_of(token, &ids));
    memcpy(out, ids.id[0], TOKEN_ID);
}

static void by_hash_before_it_came(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX], hash[TOKEN_ID];
    struct bytes token = house_mint(&house, &(struct minting){.key = 1, .kid = "k1"}, raw);
    hash_of(token, hash);
    assert_int_equal(revoke_by(REVOKED_HASH, bytes_of(hash, TOKEN_ID), NULL), REVOCATION_OK);
    struct revocations_stats s;
    /* never forgotten before it was seen */
    (void)pep_expire(pep, NOW + 100000000);
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.local, 1);
    assert_int_equal(post_raw(token, NOW), PEP_REVOKED);
    (void)pep_expire(pep, NOW + 3599);
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.local, 1);
    (void)pep_expire(pep, NOW + 3600);
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.local, 0);
}

/* The Access-Token option, and the identity of a handshake. */
static void in_requests_and_handshakes(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX], own[TOKEN_MAX];
    struct pep_proof proof;
    assert_int_equal(
        post_raw(house_mint(&house, &(struct minting){.key = 1, .kid = "k1"}, raw), NOW), PEP_OK);
    struct pep_session *s = open_kid("k1");
    struct bytes token =
        house_mint(&house, &(struct minting){.key = 1, .kid = "k1", .sub = "ted"}, own);
    struct pep_decision d = ask(s, token);
    assert_int_equal(d.outcome, PEP_FORWARD);
    assert_int_equal(revoke_token(token), REVOCATION_OK);
    assert_int_equal(revoked.ended, 0);
    struct pep_decision after = ask(s, token);
    assert_int_equal(after.code, CODE(4, 1));
    assert_string_equal(after.reason, "token-revoked");
    assert_int_equal(pep_find_psk(pep, token, NULL, NOW, &proof), PEP_KEY_NONE);
    assert_int_equal(proof.err, PEP_REVOKED);
    assert_int_equal(ask(s, BYTES_NONE).outcome, PEP_FORWARD); /* by what it holds */
    pep_session_close(s);

    /* What ran by the request's own token does not go on. */
    struct bytes other = house_mint(&house, &(struct minting){.key = 2, .kid = "k2"}, own);
    assert_int_equal(
        post_raw(house_mint(&house, &(struct minting){.key = 2, .aud = "door", .kid = "k2"}, raw),
                 NOW),
        PEP_OK);
    s = open_kid("k2");
    d = ask(s, other);
    assert_int_equal(d.basis.kind, PEP_ON_TOKEN);
    assert_true(pep_basis_holds(pep, s, &d.basis, NOW));
    assert_int_equal(revoke_token(other), REVOCATION_OK);
    assert_false(pep_basis_holds(pep, s, &d.basis, NOW));
    pep_session_close(s);
}

static void enrolled_subjects(void **state)
{
    (void)state;
    struct pep_proof proof;
    assert_int_equal(pep_find_psk(pep, BYTES_LIT("t7"), NULL, NOW, &proof), PEP_KEY_FOUND);
    struct pep_session *s = pep_session_open(pep, &proof);
    struct request r = house_request(GET, "/meter/now", METER);
    struct pep_decision d;
    pep_authorize(pep, s, &r, NOW, &d);
    assert_int_equal(d.basis.kind, PEP_ON_ENROLMENT);
    assert_int_equal(revoke_by(REVOKED_SUBJECT, BYTES_LIT("thermostat-7"), NULL), REVOCATION_OK);
    assert_false(pep_basis_holds(pep, s, &d.basis, NOW));
    assert_true(pep_session_ends(s, NOW) <= NOW);
    assert_int_equal(pep_find_psk(pep, BYTES_LIT("t7"), NULL, NOW, &proof), PEP_KEY_NONE);
    uint8_t der[128];
    struct pep_certificate c = {.trusted = true,
                                .spki = house_spki(5, der),
                                .names = {BYTES_LIT("panel.home")},
                                .n_names = 1};
    assert_true(pep_judge_certificate(pep, &c, NOW, &proof));
    struct pep_session *panel = pep_session_open(pep, &proof);
    assert_true(pep_session_ends(panel, NOW) == INT64_MAX);
    assert_int_equal(revoke_by(REVOKED_SUBJECT, BYTES_LIT("panel"), NULL), REVOCATION_OK);
    assert_false(pep_judge_certificate(pep, &c, NOW, &proof));
    assert_true(pep_session_ends(panel, NOW) <= NOW);
    pep_session_close(panel);
    pep_session_close(s);
    assert_int_equal(undo(REVOKED_SUBJECT, BYTES_LIT("thermostat-7"), NULL), REVOCATION_OK);
    assert_int_equal(pep_find_psk(pep, BYTES_LIT("t7"), NULL, NOW, &proof), PEP_KEY_FOUND);
}

/* ---- lists ---- */

static struct pep_listed listed;

static bool take(const char *authority, bool full, const struct bytes *hashes, size_t n,
                 int64_t now_s)
{
    static uint8_t body[1 << 20];
    static struct trl_answer a;
    struct buf b = buf_on(body, sizeof body);
    cbor_put_map(&b, 1);
    cbor_put_uint(&b, full ? 0 : 1);
    if (!full) { /* one entry; the hashes are removed */
        cbor_put_array(&b, 1);
        cbor_put_array(&b, 2);
    }
    cbor_put_array(&b, n);
    for (size_t i = 0; i < n; i++)
        cbor_put_bytes(&b, hashes[i]);
    if (!full)
        cbor_put_array(&b, 0);
    assert_true(trl_read(buf_bytes(&b), &a));
    return pep_take_list(pep, authority, &a, now_s, &listed);
}

static void listed_tokens(void **state)
{
    (void)state;
    uint8_t raw[2][TOKEN_MAX], hash[2][TOKEN_ID];
    struct bytes a = house_mint(&house, &(struct minting){.key = 1, .kid = "k1"}, raw[0]);
    struct bytes b = house_mint(&house, &(struct minting){.key = 2, .kid = "k2"}, raw[1]);
    hash_of(a, hash[0]);
    hash_of(b, hash[1]);
    struct bytes hashes[] = {bytes_of(hash[0], TOKEN_ID), bytes_of(hash[1], TOKEN_ID)};
    assert_int_equal(post_raw(a, NOW), PEP_OK);
    /* a list speaks for its own authority */
    assert_true(take("visitor-as", true, hashes, 2, NOW));
    assert_int_equal(listed.ended, 0);
    assert_int_equal(post_raw(b, NOW), PEP_OK);
    assert_true(take("home-as", true, hashes, 1, NOW));
    assert_int_equal(listed.ended, 1);
    assert_int_equal(post_raw(a, NOW), PEP_REVOKED);
    assert_int_equal(post_raw(b, NOW), PEP_OK);
    assert_true(take("home-as", true, hashes, 2, NOW));
    assert_int_equal(listed.ended, 1);
    assert_int_equal(revocations_listed(pep_revocations(pep), BYTES_LIT("home-as")), 2);
    /* no longer listed: it holds all the same until the token has expired */
    assert_true(take("home-as", false, hashes, 1, NOW));
    assert_int_equal(post_raw(a, NOW), PEP_REVOKED);
    assert_true(take("home-as", true, NULL, 0, NOW));
    assert_int_equal(revocations_listed(pep_revocations(pep), BYTES_LIT("home-as")), 0);
    assert_int_equal(post_raw(b, NOW), PEP_REVOKED);
    struct revocations_stats s;
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.kept, 2);
    (void)pep_expire(pep, NOW + 3600);
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.kept, 0);
    /* the operator cannot take back what a list says */
    assert_true(take("home-as", true, hashes, 1, NOW));
    assert_int_equal(undo(REVOKED_HASH, hashes[0], "home-as"), REVOCATION_NONE);
}

/* With a list in force there is one form. */
static void one_form(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    const struct minting m = {.key = 1, .kid = "k1", .cnf = KEY_PUBLIC};
    struct bytes token = house_mint(&house, &m, raw);
    struct bytes untagged = bytes_of(token.p + 3, token.n - 3);
    assert_int_equal(post_raw(untagged, NOW), PEP_OK);
    assert_true(take("home-as", true, NULL, 0, NOW));
    assert_int_equal(post_raw(untagged, NOW), PEP_FORM);
    assert_int_equal(post_raw(token, NOW), PEP_OK);
}

static void too_long_a_list(void **state)
{
    (void)state;
    uint8_t raw[2][TOKEN_MAX];
    enum { MANY = 2000 };
    static uint8_t hash[MANY][TOKEN_ID];
    static struct bytes hashes[MANY];
    struct bytes last = house_mint(&house, &(struct minting){.key = 1, .kid = "k1"}, raw[0]);
    struct bytes other = house_mint(&house, &(struct minting){.key = 2, .kid = "k2"}, raw[1]);
    assert_int_equal(post_raw(last, NOW), PEP_OK);
    for (size_t i = 0; i < MANY; i++)
        hashes[i] = bytes_of(hash[i], TOKEN_ID);
    for (unsigned part = 0; part < 5; part++) {
        static uint8_t body[1 << 18];
        static struct trl_answer a;
        struct buf b = buf_on(body, sizeof body);
        for (size_t i = 0; i < MANY; i++) {
            hash[i][0] = 1;
            hash[i][1] = (uint8_t)part;
            hash[i][2] = (uint8_t)(i >> 8);
            hash[i][3] = (uint8_t)i;
        }
        if (part == 4)
            hash_of(last, hash[MANY - 1]);
        if (part == 0) {
            assert_true(take("home-as", true, hashes, MANY, NOW));
            continue;
        }
        cbor_put_map(&b, 1);
        cbor_put_uint(&b, 1);
        cbor_put_array(&b, 1);
        cbor_put_array(&b, 2);
        cbor_put_array(&b, 0);
        cbor_put_array(&b, MANY);
        for (size_t i = 0; i < MANY; i++)
            cbor_put_bytes(&b, hashes[i]);
        assert_true(trl_read(buf_bytes(&b), &a));
        assert_int_equal(pep_take_list(pep, "home-as", &a, NOW, &listed), part < 4);
    }
    assert_int_equal(listed.ended, 1); /* what did not fit counts for what is held */
    assert_int_equal(revocations_listed(pep_revocations(pep), BYTES_LIT("home-as")),
                     REVOCATIONS_LISTED_MAX);
    assert_int_equal(post_raw(other, NOW), PEP_LIST);
    assert_true(take("home-as", true, hashes, 1, NOW));
    assert_int_equal(post_raw(other, NOW), PEP_OK);
}

static void full_table(void **state)
{
    (void)state;
    for (int i = 0; i < REVOCATIONS_LOCAL_MAX; i++) {
        char cti[16];
        (void)snprintf(cti, sizeof cti, "%d", i);
        assert_int_equal(revoke_by(REVOKED_ID, bytes_str(cti), NULL), REVOCATION_OK);
    }
    assert_int_equal(revoke_by(REVOKED_ID, BYTES_LIT("one more"), NULL), REVOCATION_FULL);
    assert_int_equal(revoke_by(REVOKED_ID, BYTES_LIT("7"), NULL), REVOCATION_OK); /* is there */
    assert_int_equal(undo(REVOKED_ID, BYTES_LIT("7"), NULL), REVOCATION_OK);
    assert_int_equal(revoke_by(REVOKED_ID, BYTES_LIT("one more"), NULL), REVOCATION_OK);
    const struct revocation *r = revocations_at(pep_revocations(pep), REVOCATIONS_LOCAL_MAX - 1);
    assert_true(bytes_equal_str(r->value, "one more"));
    assert_null(revocations_at(pep_revocations(pep), REVOCATIONS_LOCAL_MAX));
}

/* ---- keeping ---- */

static bool sick;

static bool sick_change(void *self, const struct store_op *ops, size_t n)
{
    return !sick && store_change(self, ops, n);
}

static bool sick_each(void *self, enum store_kind kind, store_visit_fn *visit, void *user)
{
    return store_each(self, kind, visit, user);
}

static void sick_close(void *self)
{
    store_close(self);
}

static void survives_restart(void **state)
{
    (void)state;
    static const struct store_backend backend = {sick_change, sick_each, sick_close};
    struct store *st = malloc(sizeof *st);
    uint8_t raw[2][TOKEN_MAX];
    assert_non_null(st);
    *st = (struct store){&backend, store_open_memory()};
    sick = false;
    pep_free(pep);
    pep = house_pep(&house, st, 32);
    struct bytes a = house_mint(&house, &(struct minting){.key = 1, .kid = "k1"}, raw[0]);
    struct bytes b = house_mint(&house, &(struct minting){.key = 2, .kid = "k2"}, raw[1]);
    assert_int_equal(post_raw(a, NOW), PEP_OK);
    assert_int_equal(post_raw(b, NOW), PEP_OK);
    assert_int_equal(revoke_token(a), REVOCATION_OK);
    assert_true(revoked.kept);
    /* A disk that is full: it counts at once, and the operator is told. */
    sick = true;
    assert_int_equal(revoke_by(REVOKED_KID, BYTES_LIT("k2"), NULL), REVOCATION_OK);
    assert_false(revoked.kept);
    assert_int_equal(revoked.ended, 1);
    struct revocations_stats s;
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.unwritten, 1);
    sick = false;
    (void)pep_expire(pep, NOW + 1); /* tried again */
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.unwritten, 0);
    for (int i = 0; i < 200; i++) { /* more than one change holds */
        char cti[16];
        (void)snprintf(cti, sizeof cti, "%d", i);
        sick = i < 199;
        assert_int_equal(revoke_by(REVOKED_ID, bytes_str(cti), NULL), REVOCATION_OK);
    }
    assert_true(revoked.kept);

    pep_free(pep);
    pep = house_pep(&house, st, 32);
    assert_non_null(pep);
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.local, 202);
    assert_int_equal(post_raw(a, NOW), PEP_REVOKED);
    assert_int_equal(post_raw(b, NOW), PEP_REVOKED);
    assert_int_equal(undo(REVOKED_KID, BYTES_LIT("k2"), NULL), REVOCATION_OK);
    pep_free(pep);
    pep = house_pep(&house, st, 32);
    assert_int_equal(post_raw(b, NOW), PEP_OK);
    pep_free(pep);
    pep = NULL;
    store_close(st);
}

/* A record that is not whole revoked something: it stays, and is counted. */
static enum store_keep count_one(void *user, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    ++*(size_t *)user;
    return STORE_KEEP;
}

static void damaged_records(void **state)
{
    (void)state;
    struct store *st = store_open_memory();
    struct store_op op = {STORE_REVOCATION, BYTES_LIT("what"), BYTES_LIT("is this")};
    assert_true(store_change(st, &op, 1));
    pep_free(pep);
    pep = house_pep(&house, st, 32);
    struct revocations_stats s;
    revocations_get_stats(pep_revocations(pep), &s);
    assert_int_equal(s.corrupt, 1);
    size_t n = 0;
    assert_true(store_each(st, STORE_REVOCATION, count_one, &n));
    assert_int_equal(n, 1);
    pep_free(pep);
    pep = NULL;
    store_close(st);
}

/* A policy whose keys cannot be read, then a good one: known all the same. */
static void a_second_first_load(void **state)
{
    (void)state;
    struct store *st = store_open_memory();
    uint8_t raw[TOKEN_MAX];
    struct bytes token = house_mint(&house, &(struct minting){.key = 1, .kid = "k1"}, raw);
    pep_free(pep);
    pep = house_pep(&house, st, 32);
    assert_int_equal(revoke_token(token), REVOCATION_OK);
    pep_free(pep);
    pep = house_pep_empty(st, 8);
    assert_false(house_reload(&house, pep, "home-as.keys", "absent.keys"));
    assert_true(house_reload(&house, pep, NULL, NULL));
    assert_int_equal(post_raw(token, NOW), PEP_REVOKED);
    pep_free(pep);
    pep = NULL;
    store_close(st);
}

/* kill -9 right after the revocation was said to be kept. */
static void survives_kill(void **state)
{
    (void)state;
    char dir[96], text[256], room;
    struct buf diag = buf_on(text, sizeof text);
    uint8_t raw[TOKEN_MAX];
    struct bytes token = house_mint(&house, &(struct minting){.key = 1, .kid = "k1"}, raw);
    (void)snprintf(dir, sizeof dir, "%s/store", house.dir);
    int done[2];
    assert_int_equal(pipe(done), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct store *st = store_open(dir, 0, &diag);
        pep_free(pep);
        pep = st ? house_pep(&house, st, 32) : NULL;
        if (!pep || post_raw(token, NOW) != PEP_OK || revoke_token(token) != REVOCATION_OK ||
            !revoked.kept || write(done[1], "k", 1) != 1)
            _exit(1);
        (void)kill(getpid(), SIGKILL);
    }
    close(done[1]);
    assert_int_equal(read(done[0], &room, 1), 1);
    close(done[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    struct store *st = store_open(dir, 0, &diag);
    assert_non_null(st);
    pep_free(pep);
    pep = house_pep(&house, st, 32);
    assert_non_null(pep);
    assert_null(open_kid("k1"));
    assert_int_equal(post_raw(token, NOW), PEP_REVOKED);
    pep_free(pep);
    pep = NULL;
    store_close(st);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(other_forms),
        cmocka_unit_test(strict_forms),
        cmocka_unit_test(twins),
        TEST(by_each_way),
        TEST(what_no_token_has),
        TEST(newer_tokens),
        TEST(until),
        TEST(by_token),
        TEST(by_hash_before_it_came),
        TEST(in_requests_and_handshakes),
        TEST(enrolled_subjects),
        TEST(listed_tokens),
        TEST(one_form),
        TEST(too_long_a_list),
        TEST(full_table),
        TEST(survives_restart),
        TEST(damaged_records),
        TEST(a_second_first_load),
        TEST(survives_kill),
    };
    return cmocka_run_group_tests_name("revocation", tests, NULL, NULL);
}
