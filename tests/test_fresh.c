/* pep/fresh, and what pep makes of it: tokens with exi, with numbers, with
 * nonces; a clock that is not set; restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../pep/fresh.h"
#include "../pep/store.h"
#include "support_hex.h"
#include "support_pep.h"

#define N(a)       (sizeof(a) / sizeof *(a))
#define CODE(c, d) ((uint8_t)((c) << 5 | (d)))
#define NOW        HOUSE_NOW

/* ---- the number in a cti ---- */

static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        enum policy_numeral n;
        const char *cti; /* hex */
        bool ok;
        uint64_t want;
    } rows[] = {
        {"gw", POLICY_DECIMAL, "6777 37", true, 7},
        {"gw", POLICY_DECIMAL, "6777 30", true, 0},
        {"gw", POLICY_DECIMAL, "6777 313030", true, 100},
        {"gw", POLICY_DECIMAL, "6777 393939393939393939393939393939393939", true,
         999999999999999999},
        {"gw", POLICY_DECIMAL, "6777 31393939393939393939393939393939393939", false, 0},
        {"gw", POLICY_DECIMAL, "6777 3037", false, 0},
        {"gw", POLICY_DECIMAL, "6777 2b37", false, 0},
        {"gw", POLICY_DECIMAL, "6777 3720", false, 0},
        {"gw", POLICY_DECIMAL, "6777", false, 0},
        {"gw", POLICY_DECIMAL, "677837", false, 0},
        {"gw", POLICY_DECIMAL, "37", false, 0},
        {"gw", POLICY_DECIMAL, "", false, 0},
        {"gw", POLICY_DECIMAL, "6777 07", false, 0},
        {"gw", POLICY_BINARY, "6777 07", true, 7},
        {"gw", POLICY_BINARY, "6777 0100", true, 256},
        {"gw", POLICY_BINARY, "6777 ffffffffffffffff", true, UINT64_MAX},
        {"gw", POLICY_BINARY, "6777 01ffffffffffffffff", false, 0},
        {"gw", POLICY_BINARY, "6777", false, 0},
        {"", POLICY_DECIMAL, "37", true, 7},
        {"", POLICY_BINARY, "", false, 0},
    };
    for (size_t i = 0; i < N(rows); i++) {
        uint64_t got = 0;
        bool ok = fresh_number(unhex(rows[i].cti), rows[i].id, rows[i].n, &got);
        if (ok != rows[i].ok || (ok && got != rows[i].want))
            fail_msg("row %zu, %s: %d", i, rows[i].cti, ok);
    }
}

/* ---- nonces ---- */

static void nonces(void **state)
{
    (void)state;
    struct fresh *f = fresh_new(NULL), *other = fresh_new(NULL);
    uint8_t n[FRESH_CNONCE], again[FRESH_CNONCE];
    assert_true(fresh_cnonce(f, NOW, n) && fresh_cnonce(f, NOW, again));
    assert_memory_equal(n, again, sizeof n);
    struct bytes b = bytes_of(n, sizeof n);
    assert_true(fresh_cnonce_is(f, b, NOW));
    assert_true(fresh_cnonce_is(f, b, NOW + FRESH_CNONCE_S - 1));
    assert_false(fresh_cnonce_is(f, b, NOW + FRESH_CNONCE_S));
    assert_false(fresh_cnonce_is(f, b, NOW - 1));
    assert_false(fresh_cnonce_is(other, b, NOW));
    assert_false(fresh_cnonce_is(f, BYTES_NONE, NOW));
    assert_false(fresh_cnonce_is(f, bytes_of(n, sizeof n - 1), NOW));
    for (size_t i = 0; i < sizeof n; i++) {
        n[i] ^= 1;
        assert_false(fresh_cnonce_is(f, b, NOW));
        n[i] ^= 1;
    }
    /* A clock that is not set does as well, as long as it runs. */
    assert_true(fresh_cnonce(f, 100, n));
    assert_true(fresh_cnonce_is(f, b, 200));
    fresh_free(f);
    fresh_free(other);
}

/* ---- with pep ---- */

#define KEYS     "keys: home-as.keys\n"
#define EXI      KEYS "    exi: {rs-id: gw}\n"
#define EXI_BIN  KEYS "    exi: {rs-id: gw, encoding: binary}\n"
#define SEQUENCE KEYS "    sequence: {rs-id: gw, range: 3}\n"
#define CNONCE   KEYS "    cnonce: required\n"

static struct house house;
static struct pep *pep;
static struct store *store;

static int setup(void **state)
{
    (void)state;
    if (!house_make(&house))
        return -1;
    store = store_open_memory();
    pep = house_pep(&house, store, 64);
    return pep ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pep_free(pep);
    store_close(store);
    house_clear(&house);
    return 0;
}

static void policy(const char *to)
{
    if (!house_reload(&house, pep, KEYS, to))
        fail_msg("%s", house.diag_text);
}

static void restart(const char *to, int64_t now_s)
{
    pep_free(pep);
    pep = house_pep_empty(store, 64);
    struct policy *p = house_policy(&house, KEYS, to);
    assert_true(pep && p && pep_load(pep, p, house.dir, now_s, &house.diag));
    policy_unref(p);
}

static enum pep_err post(const struct minting *m, int64_t now_s)
{
    uint8_t raw[TOKEN_MAX];
    struct pep_taken t;
    struct bytes token = house_mint(&house, m, raw);
    assert_true(token.n > 0);
    pep_take_token(pep, NULL, NULL, token, -1, now_s, &t);
    return t.err;
}

static struct minting exi(uint8_t key, const char *cti, int64_t s)
{
    return (struct minting){.key = key, .cti = cti, .exi = s, .exp_in = HOUSE_NEVER};
}

static bool works(uint8_t kid, int64_t now_s)
{
    uint8_t id[80];
    struct pep_proof proof;
    struct pep_decision d;
    if (pep_find_psk(pep, house_kid_identity(&kid, 1, id), NULL, now_s, &proof) != PEP_KEY_FOUND)
        return false;
    struct pep_session *s = pep_session_open(pep, &proof);
    struct request r = house_request(1, "/lamp/state", LAMP);
    pep_authorize(pep, s, &r, now_s, &d);
    pep_session_close(s);
    return d.outcome == PEP_FORWARD;
}

static void exi_tokens(void **state)
{
    (void)state;
    struct minting one = exi(1, "gw1", 60), two = exi(2, "gw2", 600), bad;
    /* Unless the policy says who we are, they are refused. */
    assert_int_equal(post(&one, NOW), PEP_UNSUPPORTED);
    policy(EXI);
    bad = exi(1, "gw", 60);
    assert_int_equal(post(&bad, NOW), PEP_CLAIMS);
    bad = exi(1, "other1", 60);
    assert_int_equal(post(&bad, NOW), PEP_CLAIMS);
    bad = exi(1, NULL, 60);
    assert_int_equal(post(&bad, NOW), PEP_CLAIMS);
    policy(EXI_BIN);
    bad = exi(1, "gw123456789", 60);
    assert_int_equal(post(&bad, NOW), PEP_CLAIMS);
    policy(EXI);

    assert_int_equal(post(&one, NOW), PEP_OK);
    assert_int_equal(post(&two, NOW + 10), PEP_OK);
    assert_true(works(1, NOW + 59));
    /* It counts from the first time, however often it comes. */
    assert_int_equal(post(&one, NOW + 50), PEP_OK);
    assert_false(works(1, NOW + 60));
    assert_int_equal(post(&one, NOW + 60), PEP_EXPIRED);
    assert_true(works(2, NOW + 60));
    (void)pep_expire(pep, NOW + 60);
    assert_int_equal(post(&one, NOW + 61), PEP_EXPIRED);
    /* Lower numbers are over with it, seen or not. */
    bad = exi(3, "gw0", 600);
    assert_int_equal(post(&bad, NOW + 61), PEP_EXPIRED);
    assert_true(works(2, NOW + 609));
    assert_false(works(2, NOW + 610));
    /* exp counts as well. */
    struct minting both = exi(4, "gw4", 600);
    both.exp_in = 700;
    assert_int_equal(post(&both, NOW + 620), PEP_OK);
    assert_true(works(4, NOW + 699));
    assert_false(works(4, NOW + 700));
}

static void exi_lower_ends(void **state)
{
    (void)state;
    struct minting longer = exi(1, "gw1", 6000), brief = exi(2, "gw2", 60);
    policy(EXI);
    assert_int_equal(post(&longer, NOW), PEP_OK);
    assert_int_equal(post(&brief, NOW), PEP_OK);
    assert_true(works(1, NOW + 59));
    (void)pep_expire(pep, NOW + 60);
    assert_false(works(1, NOW + 60)); /* RFC 9200 5.10.3: "lower" are expired */
    restart(EXI, NOW + 61);
    assert_int_equal(post(&longer, NOW + 61), PEP_EXPIRED);
    assert_int_equal(post(&brief, NOW + 61), PEP_EXPIRED);
}

static void exi_restart(void **state)
{
    (void)state;
    struct minting one = exi(1, "gw1", 600);
    policy(EXI);
    assert_int_equal(post(&one, NOW), PEP_OK);
    restart(EXI, NOW + 100);
    assert_true(works(1, NOW + 599));
    assert_false(works(1, NOW + 600));
    assert_int_equal(post(&one, NOW + 600), PEP_EXPIRED);
    /* It expired while nobody looked: that is known at the start. */
    struct minting two = exi(2, "gw2", 60);
    assert_int_equal(post(&two, NOW + 700), PEP_OK);
    restart(EXI, NOW + 2000);
    assert_int_equal(post(&two, NOW + 2000), PEP_EXPIRED);
    assert_int_equal(post(&one, NOW + 2000), PEP_EXPIRED);
}

/* A gateway without a clock counts seconds from its start. */
static void exi_without_clock(void **state)
{
    (void)state;
    struct minting one = exi(1, "gw1", 600), timed = {.key = 2}, two = exi(2, "gw2", 600);
    restart(EXI, 100);
    assert_int_equal(post(&timed, 100), PEP_CLOCK);
    assert_int_equal(post(&one, 100), PEP_OK);
    assert_true(works(1, 699));
    assert_false(works(1, 700));
    assert_int_equal(post(&one, 700), PEP_EXPIRED);
    /* A clock that goes back behind the first sight has lost count. */
    assert_int_equal(post(&two, 800), PEP_OK);
    assert_false(works(2, 799));
    /* Nobody knows how long it was off: what was counted so is over. */
    restart(EXI, 50);
    assert_false(works(2, 850));
    assert_int_equal(post(&two, 850), PEP_EXPIRED);
    /* The clock is set: it jumps far beyond. */
    struct minting three = exi(3, "gw3", 600);
    assert_int_equal(post(&three, 900), PEP_OK);
    assert_false(works(3, NOW));
    assert_int_equal(post(&three, NOW), PEP_EXPIRED);
}

/* Full is full: what does not fit is refused, and nothing is forgotten. */
static void exi_full(void **state)
{
    (void)state;
    struct fresh *f = fresh_new(NULL);
    struct store *s = store_open_memory();
    int64_t ends_s;
    for (uint64_t i = 1; i <= FRESH_EXI_MAX; i++)
        assert_int_equal(fresh_note_exi(f, s, "as", i, 60, NOW), PEP_OK);
    assert_int_equal(fresh_note_exi(f, s, "as", 5000, 60, NOW), PEP_FULL);
    assert_int_equal(fresh_note_exi(f, s, "as", 7, 60, NOW + 9), PEP_OK); /* known */
    assert_int_equal(fresh_judge_exi(f, "as", 7, 60, NOW + 59, &ends_s), PEP_OK);
    assert_int_equal(ends_s, NOW + 60);
    assert_int_equal(fresh_next(f), NOW + 60);
    assert_true(fresh_expire(f, s, NOW + 60));
    assert_int_equal(fresh_next(f), INT64_MAX);
    assert_int_equal(fresh_judge_exi(f, "as", FRESH_EXI_MAX, 60, NOW + 60, &ends_s), PEP_EXPIRED);
    assert_int_equal(fresh_judge_exi(f, "as", 5000, 60, NOW + 60, &ends_s), PEP_OK);
    assert_int_equal(fresh_judge_exi(f, "other", 7, 60, NOW + 60, &ends_s), PEP_OK);
    fresh_free(f);
    f = fresh_new(NULL);
    assert_true(fresh_load(f, s, HOUSE_BUILD));
    assert_int_equal(fresh_judge_exi(f, "as", FRESH_EXI_MAX, 60, NOW, &ends_s), PEP_EXPIRED);
    fresh_free(f);
    store_close(s);
}

/* ace-07 5.7.2 */
static void sequence(void **state)
{
    (void)state;
    struct minting m[12];
    static char cti[12][8];
    policy(SEQUENCE);
    for (int i = 0; i < 12; i++) {
        snprintf(cti[i], sizeof cti[i], "gw%d", i);
        m[i] = (struct minting){.key = (uint8_t)(i + 1), .cti = cti[i], .exp_in = HOUSE_NEVER};
    }
    struct minting none = {.key = 1, .exp_in = HOUSE_NEVER};
    assert_int_equal(post(&none, NOW), PEP_CLAIMS);
    assert_int_equal(post(&m[2], NOW), PEP_OK);
    assert_int_equal(post(&m[5], NOW), PEP_OK);
    assert_true(works(3, NOW) && works(6, NOW + 1000000));
    assert_int_equal(post(&m[1], NOW), PEP_EXPIRED); /* 5 - 1 is more than 3 */
    assert_int_equal(post(&m[3], NOW), PEP_OK);
    /* A newer one ends those out of range, at once. */
    assert_int_equal(post(&m[8], NOW), PEP_OK);
    assert_false(works(3, NOW));
    assert_false(works(4, NOW));
    assert_true(works(6, NOW) && works(9, NOW));
    restart(SEQUENCE, NOW);
    assert_false(works(4, NOW));
    assert_true(works(6, NOW) && works(9, NOW));
    assert_int_equal(post(&m[4], NOW), PEP_EXPIRED);
    /* Without a clock, too. */
    restart(SEQUENCE, 100);
    assert_int_equal(post(&m[11], 100), PEP_OK);
    assert_true(works(12, 100));
    assert_false(works(6, 100));
}

static void cnonce(void **state)
{
    (void)state;
    struct pep_decision d;
    struct request r = house_request(1, "/lamp/state", LAMP);
    policy(CNONCE);
    /* A stranger's hint has it. */
    pep_authorize(pep, NULL, &r, NOW, &d);
    assert_int_equal(d.code, CODE(4, 1));
    static const uint8_t mark[] = {0x18, 39, 0x40 | FRESH_CNONCE};
    uint8_t *at = memmem(d.payload, d.payload_n, mark, sizeof mark);
    assert_non_null(at);
    assert_int_equal(d.payload[0], 0xa4);
    uint8_t nonce[FRESH_CNONCE];
    memcpy(nonce, at + sizeof mark, sizeof nonce);

    struct minting m = {.key = 1};
    assert_int_equal(post(&m, NOW), PEP_CNONCE);
    assert_int_equal(pep_err_code(PEP_CNONCE), CODE(4, 1));
    m.cnonce = bytes_of(nonce, sizeof nonce);
    nonce[12] ^= 1;
    assert_int_equal(post(&m, NOW), PEP_CNONCE);
    nonce[12] ^= 1;
    assert_int_equal(post(&m, NOW + FRESH_CNONCE_S), PEP_CNONCE);
    uint8_t raw[TOKEN_MAX];
    struct pep_taken t;
    struct bytes token = house_mint(&house, &m, raw);
    pep_take_token(pep, NULL, NULL, token, -1, NOW + FRESH_CNONCE_S - 1, &t);
    assert_int_equal(t.err, PEP_OK);
    /* What was taken stays, and may come again. */
    assert_true(works(1, NOW + 3000));
    pep_take_token(pep, NULL, NULL, token, -1, NOW + 3000, &t);
    assert_int_equal(t.err, PEP_OK);
    /* One in the request must be fresh with each request, but not for what an
     * observation goes on with: that is as good as the token. */
    static const struct {
        const char *name;
        bool continued;
        int64_t after_s;
        uint8_t outcome;
        const char *reason;
    } rows[] = {
        {"fresh", false, FRESH_CNONCE_S - 1, PEP_FORWARD, "permitted"},
        {"stale", false, FRESH_CNONCE_S, PEP_DENY, "cnonce"},
        {"stale, and it goes on", true, FRESH_CNONCE_S, PEP_FORWARD, "permitted"},
        {"expired, and it goes on", true, 1000000, PEP_DENY, "token-expired"},
    };
    uint8_t id[80], kid = 1;
    struct pep_proof proof;
    assert_int_equal(pep_find_psk(pep, house_kid_identity(&kid, 1, id), NULL, NOW + 3000, &proof),
                     PEP_KEY_FOUND);
    struct pep_session *session = pep_session_open(pep, &proof);
    r.token = token;
    r.has_token = true;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        r.continued = rows[i].continued;
        pep_authorize(pep, session, &r, NOW + rows[i].after_s, &d);
        if (d.outcome != rows[i].outcome || strstr(d.reason, rows[i].reason) == NULL)
            fail_msg("%s: %d, %s", rows[i].name, (int)d.outcome, d.reason);
    }
    pep_session_close(session);

    restart(CNONCE, NOW + 3000);
    assert_true(works(1, NOW + 3000));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(nonces),
        cmocka_unit_test(exi_full),
        T(exi_tokens),
        T(exi_lower_ends),
        T(exi_restart),
        T(exi_without_clock),
        T(sequence),
        T(cnonce),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
