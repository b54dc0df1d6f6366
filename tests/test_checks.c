/* Signatures that another thread checks: one check a token, each network its
 * share, and nothing taken that was not found good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../pep/checks.h"
#include "support_pep.h"

static struct house house;
static struct pep *pep;
static const struct policy_peer near = {.family = 4, .addr = {192, 0, 2, 1}};
static const struct policy_peer beside = {.family = 4, .addr = {192, 0, 2, 200}};
static const struct policy_peer far = {.family = 4, .addr = {198, 51, 100, 1}};

static int set_up(void **state)
{
    (void)state;
    if (!house_make(&house))
        return -1;
    pep = house_pep_of(&(struct pep_config){.max_grants = 100, .checks_elsewhere = true});
    return pep && house_reload(&house, pep, NULL, NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    pep_free(pep);
    house_clear(&house);
    return 0;
}

static struct pep_taken post(struct bytes raw, const struct policy_peer *from)
{
    struct pep_taken out;
    pep_take_token(pep, NULL, from, raw, -1, HOUSE_NOW, &out);
    return out;
}

static size_t run_all(void)
{
    size_t n = 0;
    for (struct pep_check *c; (c = pep_next_check(pep)); n++) {
        pep_check_run(c);
        pep_take_check(pep, c);
    }
    return n;
}

static struct bytes signed_token(uint8_t seed, uint8_t out[TOKEN_MAX])
{
    return house_mint(&house, &(struct minting){.cnf = KEY_PUBLIC, .key = seed}, out);
}

static void a_good_token_waits_and_is_taken(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    struct bytes token = signed_token(1, raw);
    struct pep_taken t = post(token, &near);
    assert_int_equal(t.err, PEP_PENDING);
    assert_true(t.wait != 0);
    assert_int_equal(post(token, &far).wait, t.wait); /* one check a token */
    struct pep_check *c = pep_next_check(pep);
    assert_non_null(c);
    assert_int_equal(pep_check_id(c), t.wait);
    assert_null(pep_next_check(pep));
    assert_int_equal(post(token, &near).err, PEP_PENDING); /* taken, not done */
    pep_check_run(c);
    pep_take_check(pep, c);
    assert_int_equal(post(token, &near).err, PEP_OK);
    pep_settle(pep);
    assert_int_equal(post(token, &near).err, PEP_OK);
    assert_int_equal(run_all(), 0);
}

static void a_forgery_is_told_to_who_waited_and_kept_nowhere(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    struct bytes token = signed_token(2, raw);
    raw[token.n - 1] ^= 1;
    assert_int_equal(post(token, &near).err, PEP_PENDING);
    assert_int_equal(run_all(), 1);
    assert_int_equal(post(token, &near).err, PEP_PROTECTION);
    assert_int_equal(post(token, &far).err, PEP_PROTECTION);
    pep_settle(pep);
    assert_int_equal(post(token, &near).err, PEP_PENDING);
    assert_int_equal(run_all(), 1);
    pep_settle(pep);
    struct pep_stats s;
    pep_get_stats(pep, &s);
    assert_int_equal(s.forged, 2);
    assert_int_equal(s.checks, 2);
    assert_int_equal(s.checks_under_way, 0);
    assert_int_equal(s.grants, 0);
}

static void a_mac_is_checked_in_place(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    struct bytes token = house_mint(&house, &(struct minting){.as = DERIVE, .cnf = KEY_BARE}, raw);
    assert_int_equal(post(token, &near).err, PEP_OK);
    assert_null(pep_next_check(pep));
    assert_int_equal(post(BYTES_LIT("no token"), &near).err, PEP_MALFORMED);
    assert_null(pep_next_check(pep));
}

static size_t fill(uint8_t from_seed, size_t n, const struct policy_peer *from)
{
    uint8_t raw[TOKEN_MAX];
    size_t taken = 0;
    for (size_t i = 0; i < n; i++) {
        struct bytes token = signed_token((uint8_t)(from_seed + i), raw);
        raw[token.n - 1] ^= 1;
        struct pep_taken t = post(token, from);
        if (t.err == PEP_BUSY) {
            assert_int_equal(t.code, 4 << 5 | 29);
            assert_true(t.retry_s > 0);
        } else {
            assert_int_equal(t.err, PEP_PENDING);
            taken++;
        }
    }
    return taken;
}

static void each_network_has_a_share(void **state)
{
    (void)state;
    assert_int_equal(fill(1, CHECKS_PER_NET_MAX + 4, &near), CHECKS_PER_NET_MAX);
    assert_int_equal(fill(100, 1, &beside), 0); /* the same /24 */
    assert_int_equal(fill(100, 1, &far), 1);
    assert_int_equal(fill(101, 1, NULL), 1); /* unknown: a share for all of them */
    /* Strangers together leave room for clients that are known. */
    for (uint8_t i = 0; i < 4; i++) {
        struct policy_peer p = {.family = 4, .addr = {203, 0, i, 1}};
        (void)fill((uint8_t)(120 + 17 * i), CHECKS_PER_NET_MAX, &p);
    }
    struct pep_stats s;
    pep_get_stats(pep, &s);
    assert_int_equal(s.checks_under_way, CHECKS_STRANGERS_MAX);
    assert_true(s.checks_busy > 0);
    assert_int_equal(run_all(), CHECKS_STRANGERS_MAX);
    pep_settle(pep);
    assert_int_equal(fill(1, 1, &near), 1);
}

static void who_is_associated_has_a_share_of_its_own(void **state)
{
    (void)state;
    struct siphash_key seed = {0};
    struct checks *t = checks_new(seed);
    uint64_t id;
    uint8_t raw[2] = {0};
    assert_non_null(t);
    for (size_t i = 0; i < 2 * CHECKS_MAX; i++) {
        const struct policy_peer p = {.family = 4, .addr = {10, 0, (uint8_t)i, 0}};
        raw[0] = (uint8_t)i;
        enum pep_err e = checks_ask(t, bytes_of(raw, 1), false, &p, &id);
        assert_int_equal(e, i < CHECKS_STRANGERS_MAX ? PEP_PENDING : PEP_BUSY);
    }
    for (size_t i = CHECKS_STRANGERS_MAX; i < 2 * CHECKS_MAX; i++) {
        raw[1] = (uint8_t)i;
        enum pep_err e = checks_ask(t, bytes_of(raw, 2), true, &near, &id);
        assert_int_equal(e, i < CHECKS_MAX ? PEP_PENDING : PEP_BUSY);
    }
    checks_free(t);
}

/* Which comes next, as the letters of who asked: clients 'c', strangers 's';
 * small letters ask, a capital is one more client for the last stranger's
 * token; each that is handed out comes back before the next. */
static void clients_come_first(void **state)
{
    static const struct {
        const char *name, *asked, *wanted;
    } rows[] = {
        {"strangers in order", "sss", "sss"},
        {"clients in order", "ccc", "ccc"},
        {"a client behind strangers", "ssssssc", "cssssss"},
        {"clients behind strangers", "sssscc", "ccssss"},
        {"no client's part is all of it", "ssccccccc", "cccscccsc"},
        {"a stranger's token that a client brings, too", "sssC", "css"},
    };
    (void)state;
    struct policy *policy = house_policy(&house, NULL, NULL);
    assert_non_null(policy);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct checks *t = checks_new((struct siphash_key){1, 2});
        char why[256];
        struct buf diag = buf_on(why, sizeof why);
        struct keys *keys = keys_load(policy, house.dir, &diag);
        assert_non_null(t);
        assert_non_null(keys);
        char who[64] = "", got[64] = "";
        size_t n = 0;
        uint64_t ids[64] = {0}, id;
        for (const char *a = rows[i].asked; *a; a++) {
            uint8_t raw = (uint8_t)(*a == 'C' ? n - 1 : n);
            const struct policy_peer from = {.family = 4, .addr = {10, 0, raw, 0}};
            assert_int_equal(checks_ask(t, bytes_of(&raw, 1), *a != 's', &from, &id), PEP_PENDING);
            ids[raw] = id;
            who[raw] = *a == 's' ? 's' : 'c';
            n += *a != 'C';
        }
        for (struct pep_check *c; (c = checks_take(t, keys));) {
            size_t k = 0;
            while (ids[k] != c->id)
                k++;
            got[strlen(got)] = who[k];
            c->err = PEP_OK;
            checks_done(t, c, keys);
            pep_check_free(c);
        }
        if (strcmp(got, rows[i].wanted) != 0)
            fail_msg("%s: got %s, wanted %s", rows[i].name, got, rows[i].wanted);
        keys_free(keys);
        checks_free(t);
    }
    policy_unref(policy);
}

static void few_are_out_at_a_time(void **state)
{
    (void)state;
    struct pep_check *out[CHECKS_OUT_MAX];
    assert_int_equal(fill(1, CHECKS_OUT_MAX + 2, &near), CHECKS_OUT_MAX + 2);
    for (size_t i = 0; i < CHECKS_OUT_MAX; i++)
        assert_non_null(out[i] = pep_next_check(pep));
    assert_null(pep_next_check(pep));
    pep_check_run(out[0]);
    pep_take_check(pep, out[0]);
    out[0] = pep_next_check(pep);
    assert_non_null(out[0]);
    assert_null(pep_next_check(pep));
    for (size_t i = 0; i < CHECKS_OUT_MAX; i++) {
        pep_check_run(out[i]);
        pep_take_check(pep, out[i]);
    }
    assert_int_equal(run_all(), 1);
}

static void a_check_by_keys_that_went_counts_for_nothing(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    struct bytes token = signed_token(3, raw);
    uint64_t was = post(token, &near).wait;
    struct pep_check *c = pep_next_check(pep);
    assert_non_null(c);
    assert_true(house_reload(&house, pep, NULL, NULL));
    pep_check_run(c);
    pep_take_check(pep, c);
    struct pep_taken t = post(token, &near);
    assert_int_equal(t.err, PEP_PENDING);
    assert_true(t.wait != was);
    assert_int_equal(run_all(), 1);
    assert_int_equal(post(token, &near).err, PEP_OK);
}

static void a_check_outlives_who_asked(void **state)
{
    (void)state;
    uint8_t raw[TOKEN_MAX];
    assert_int_equal(post(signed_token(4, raw), &near).err, PEP_PENDING);
    struct pep_check *c = pep_next_check(pep);
    pep_free(pep);
    pep = NULL;
    pep_check_run(c);
    pep_check_free(c);
}

int main(void)
{
#define WITH_PEP(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_PEP(a_good_token_waits_and_is_taken),
        WITH_PEP(a_forgery_is_told_to_who_waited_and_kept_nowhere),
        WITH_PEP(a_mac_is_checked_in_place),
        WITH_PEP(each_network_has_a_share),
        cmocka_unit_test(who_is_associated_has_a_share_of_its_own),
        WITH_PEP(clients_come_first),
        WITH_PEP(few_are_out_at_a_time),
        WITH_PEP(a_check_by_keys_that_went_counts_for_nothing),
        WITH_PEP(a_check_outlives_who_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
