/* Several peps that tell each other what they take in, as workers do: by a
 * real crew and one store, in one thread, so that every order can be tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "../pep/revoke.h"
#include "../proxy/crew_store.h"
#include "support_pep.h"

#define CODE(c, d) ((uint8_t)((c) << 5 | (d)))
#define NOW        HOUSE_NOW

enum { PEPS = 3, ROOM = 16 };

static struct house house;
static struct crew *crew;
static struct crew_stores *stores;
static struct store *disk;
static struct pep *peps[PEPS];

static void start(struct store *on)
{
    static const uint8_t nonce_key[32] = {7};
    disk = on;
    crew = crew_new(PEPS);
    stores = crew_stores_new(crew, disk);
    for (unsigned i = 0; i < PEPS; i++) {
        const struct pep_config c = {.max_grants = ROOM,
                                     .store = crew_store(stores, i),
                                     .colleagues = crew_store_telling(stores, i),
                                     .worker = i,
                                     .workers = PEPS,
                                     .nonce_key = nonce_key};
        peps[i] = house_pep_of(&c);
        assert_non_null(peps[i]);
        assert_true(house_reload(&house, peps[i], NULL, NULL));
    }
    crew_stores_open(stores);
}

static void end(void)
{
    for (unsigned i = 0; i < PEPS; i++)
        pep_free(peps[i]);
    crew_stores_free(stores);
    crew_free(crew);
}

static int setup(void **state)
{
    (void)state;
    if (!house_make(&house))
        return -1;
    start(store_open_memory());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end();
    store_close(disk);
    house_clear(&house);
    return 0;
}

static void take(void *user, unsigned from, struct bytes message)
{
    unsigned *who = user;
    struct store_op op;
    (void)from;
    assert_true(crew_store_read(message, &op));
    pep_take_change(peps[*who], &op, NOW);
}

static void hear(unsigned who)
{
    crew_hear(crew, who, take, &who);
}

static void hear_all(void)
{
    for (unsigned round = 0; round < 3; round++) /* they may answer */
        for (unsigned i = 0; i < PEPS; i++)
            hear(i);
}

static struct pep_taken post(unsigned who, struct pep_session *s, const struct minting *m)
{
    uint8_t raw[TOKEN_MAX];
    struct pep_taken t;
    struct bytes token = house_mint(&house, m, raw);
    assert_true(token.n > 0);
    pep_take_token(peps[who], s, NULL, token, -1, NOW, &t);
    return t;
}

static void post_ok(unsigned who, const struct minting *m)
{
    struct pep_taken t = post(who, NULL, m);
    if (t.err != PEP_OK)
        fail_msg("refused: %s", pep_err_str(t.err));
}

static struct pep_session *shake(unsigned who, const char *kid)
{
    uint8_t id[80];
    struct pep_proof proof;
    if (pep_find_psk(peps[who], house_kid_identity(kid, strlen(kid), id), NULL, NOW, &proof) !=
        PEP_KEY_FOUND)
        return NULL;
    return pep_session_open(peps[who], &proof);
}

static uint8_t may(unsigned who, struct pep_session *s, uint8_t method, const char *path,
                   int device)
{
    struct request r = house_request(method, path, device);
    struct pep_decision d;
    pep_authorize(peps[who], s, &r, NOW, &d);
    return d.outcome == PEP_FORWARD ? 0 : d.code;
}

static void expect_grants(size_t n)
{
    for (unsigned i = 0; i < PEPS; i++) {
        struct pep_stats s;
        pep_get_stats(peps[i], &s);
        if (s.grants != n)
            fail_msg("pep %u holds %zu grants, not %zu", i, (size_t)s.grants, n);
    }
}

static enum store_keep count(void *user, struct bytes key, struct bytes value)
{
    (void)key, (void)value;
    ++*(size_t *)user;
    return STORE_KEEP;
}

static void expect_records(size_t want)
{
    size_t n = 0;
    assert_true(store_each(disk, STORE_GRANT, count, &n));
    assert_int_equal(n, want);
}

/* ---- ---- */

static void a_token_taken_by_one_counts_at_all(void **state)
{
    (void)state;
    for (unsigned taker = 0; taker < PEPS; taker++) {
        const char *kid = (const char *[]){"k0", "k1", "k2"}[taker];
        post_ok(taker, &(struct minting){.key = (uint8_t)(1 + taker), .kid = kid});
        for (unsigned i = 0; i < PEPS; i++) {
            assert_true((shake(i, "nobody")) == NULL);
            hear(i);
            struct pep_session *s = shake(i, kid);
            assert_non_null(s);
            assert_int_equal(may(i, s, 1, "/lamp/state", LAMP), 0);
            assert_int_equal(may(i, s, 3, "/lamp/state", LAMP), CODE(4, 5));
            pep_session_close(s);
        }
        hear_all();
        expect_grants(taker + 1);
        expect_records(taker + 1);
    }
}

static void a_newer_token_replaces_everywhere(void **state)
{
    (void)state;
    post_ok(1, &(struct minting){.key = 1, .kid = "a"});
    hear_all();
    struct pep_session *s[PEPS];
    for (unsigned i = 0; i < PEPS; i++)
        s[i] = shake(i, "a");
    post_ok(2, &(struct minting){.key = 1, .kid = "a", .scope = "lights_w"});
    /* Between the two messages nobody finds neither. */
    hear_all();
    expect_grants(1);
    expect_records(1);
    for (unsigned i = 0; i < PEPS; i++) {
        assert_int_equal(may(i, s[i], 3, "/lamp/state", LAMP), 0);
        assert_int_equal(may(i, s[i], 1, "/lamp/state", LAMP), CODE(4, 5));
        pep_session_close(s[i]);
    }
}

static const struct race {
    const char *name;
    struct minting one, two; /* taken by 1 and by 2, neither knowing of the other */
    const char *kid;
    uint8_t get, put; /* what a client of the kid may then, the same everywhere */
    size_t grants;
} races[] = {
    {"same key: the later id",
     {.key = 1, .kid = "a"},
     {.key = 1, .kid = "a", .scope = "lights_w"},
     "a",
     CODE(4, 5),
     0,
     1},
    {"same kid, another key: the later id",
     {.key = 1, .kid = "a"},
     {.key = 2, .kid = "a", .scope = "lights_w"},
     "a",
     CODE(4, 5),
     0,
     1},
    {"same kid, another key: issued later, whatever the ids",
     {.key = 1, .kid = "a", .iat_in = -5},
     {.key = 2, .kid = "a", .scope = "lights_w", .iat_in = -50},
     "a",
     0,
     CODE(4, 5),
     1},
    {"same kid of two authorities: the first id",
     {.key = 1, .kid = "a"},
     {.as = DERIVE, .key = 2, .kid = "a", .scope = "lights_r"},
     "a",
     0,
     CODE(4, 5),
     1},
    {"two authorities, one key: both",
     {.key = 1, .kid = "a"},
     {.as = DERIVE, .key = 1, .kid = "a", .scope = "lights_r"},
     "a",
     0,
     CODE(4, 5),
     2},
    {"no conflict", {.key = 1, .kid = "a"}, {.key = 2, .kid = "b"}, "a", 0, CODE(4, 5), 2},
};

static void what_two_take_at_once_is_the_same_for_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof races / sizeof *races; i++) {
        const struct race *r = &races[i];
        for (unsigned order = 0; order < 6; order++) {
            static const unsigned orders[6][PEPS] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
            post_ok(1, &r->one);
            post_ok(2, &r->two);
            for (unsigned k = 0; k < PEPS; k++)
                hear(orders[order][k]);
            hear_all();
            for (unsigned k = 0; k < PEPS; k++) {
                struct pep_session *s = shake(k, r->kid);
                assert_non_null(s);
                uint8_t get = may(k, s, 1, "/lamp/state", LAMP);
                uint8_t put = may(k, s, 3, "/lamp/state", LAMP);
                if (get != r->get || put != r->put)
                    fail_msg("%s, order %u, pep %u: GET %x PUT %x", r->name, order, k, get, put);
                pep_session_close(s);
            }
            expect_grants(r->grants);
            expect_records(r->grants);
            /* and the same after a restart */
            end();
            start(disk);
            expect_grants(r->grants);
            (void)teardown(NULL);
            (void)setup(NULL);
        }
    }
}

static void a_revocation_meets_a_token_that_is_on_its_way(void **state)
{
    (void)state;
    struct pep_revoked done;
    const struct pep_revoking r = {
        .kind = REVOKED_KID, .value = BYTES_LIT("a"), .until_s = REVOKED_FOR_GOOD};
    post_ok(1, &(struct minting){.key = 1, .kid = "a"});
    /* The leader does it to all, standing still; the record was not heard. */
    for (unsigned i = 0; i < PEPS; i++)
        assert_int_equal(pep_revoke(peps[i], &r, NOW, &done), REVOCATION_OK);
    hear_all();
    expect_grants(0);
    expect_records(0);
    assert_int_equal(post(2, NULL, &(struct minting){.key = 1, .kid = "a"}).err, PEP_REVOKED);
}

static void what_was_created_is_known_to_colleagues(void **state)
{
    (void)state;
    const struct bytes path[] = {BYTES_LIT("lamp"), BYTES_LIT("new")};
    /* Bit 32: GET on what the subject created (RFC 9237 2.3). */
    post_ok(0, &(struct minting){.key = 1,
                                 .kid = "a",
                                 .scope = "",
                                 .aif_path = "/lamp/new",
                                 .aif_mask = UINT64_C(1) << 32});
    hear_all();
    struct pep_session *there = shake(2, "a"), *here = shake(1, "a");
    assert_true(may(2, there, 1, "/lamp/new", LAMP) != 0);
    pep_note_created(peps[1], here, path, 2);
    hear_all();
    assert_int_equal(may(2, there, 1, "/lamp/new", LAMP), 0);
    pep_session_close(there);
    pep_session_close(here);
}

static struct pep_session *enrolled(unsigned who)
{
    struct pep_proof proof;
    assert_int_equal(pep_find_psk(peps[who], BYTES_LIT("t7"), NULL, NOW, &proof), PEP_KEY_FOUND);
    return pep_session_open(peps[who], &proof);
}

/* Whoever saw the CSE's answer; and for the store, whoever that was. */
static void what_a_cse_calls_an_ae_is_known_to_colleagues(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PEPS; i++)
        assert_true(house_reload(&house, peps[i], "roles: [sensor]}\n  - {name: panel",
                                 "roles: [sensor], may-register: C}\n  - {name: panel"));
    struct pep_session *s[PEPS];
    for (unsigned i = 0; i < PEPS; i++)
        s[i] = enrolled(i);
    assert_true(pep_note_registered(peps[2], s[2], LAMP, BYTES_LIT("C1"), BYTES_LIT("cb/one")));
    assert_false(pep_session_speaks_for(s[0], LAMP, BYTES_LIT("C1")));
    hear_all();
    for (unsigned i = 0; i < PEPS; i++) {
        assert_true(pep_session_speaks_for(s[i], LAMP, BYTES_LIT("C1")));
        assert_false(pep_session_speaks_for(s[i], DOOR, BYTES_LIT("C1")));
    }
    /* two at once, and one that is gone before all have heard of it */
    assert_true(pep_note_registered(peps[0], s[0], LAMP, BYTES_LIT("C2"), BYTES_NONE));
    assert_true(pep_note_registered(peps[1], s[1], LAMP, BYTES_LIT("C3"), BYTES_NONE));
    pep_note_deregistered(peps[1], LAMP, BYTES_LIT("C3"));
    pep_note_deregistered(peps[0], LAMP, BYTES_LIT("cb/one"));
    hear_all();
    for (unsigned i = 0; i < PEPS; i++) {
        assert_false(pep_session_speaks_for(s[i], LAMP, BYTES_LIT("C1")));
        assert_true(pep_session_speaks_for(s[i], LAMP, BYTES_LIT("C2")));
        assert_false(pep_session_speaks_for(s[i], LAMP, BYTES_LIT("C3")));
        pep_session_close(s[i]);
    }
    struct store *on = disk;
    end();
    start(on);
    for (unsigned i = 0; i < PEPS; i++)
        assert_true(house_reload(&house, peps[i], "roles: [sensor]}\n  - {name: panel",
                                 "roles: [sensor], may-register: C}\n  - {name: panel"));
    s[1] = enrolled(1);
    assert_true(pep_session_speaks_for(s[1], LAMP, BYTES_LIT("C2")));
    assert_false(pep_session_speaks_for(s[1], LAMP, BYTES_LIT("C1")));
    pep_session_close(s[1]);
}

static void a_bearer_token_stays_with_its_association(void **state)
{
    (void)state;
    post_ok(0, &(struct minting){.key = 1, .kid = "a"});
    hear_all();
    struct pep_session *here = shake(1, "a"), *there = shake(2, "a");
    assert_int_equal(post(1, here, &(struct minting){.as = VISITOR, .cnf = KEY_NOBODYS}).err,
                     PEP_OK);
    hear_all();
    assert_int_equal(may(1, here, 1, "/door/bell", DOOR), 0);
    assert_true(may(2, there, 1, "/door/bell", DOOR) != 0);
    pep_session_close(here);
    pep_session_close(there);
}

static void a_colleague_that_does_not_listen_costs_tokens(void **state)
{
    (void)state;
    /* Nobody hears: the ledger fills, and then no token is taken that others
     * might never hear of. What is on disk is what was told. */
    unsigned taken = 0;
    struct pep_taken t = {0};
    struct minting m = {.as = DERIVE, .key = 1, .kid = "a"}; /* a MAC: it is cheap */
    for (; taken < 20000; taken++) {
        m.exp_in = 3600 + taken; /* another token each time */
        t = post(1, NULL, &m);
        if (t.err != PEP_OK)
            break;
    }
    assert_int_equal(t.err, PEP_STORE);
    assert_int_equal(t.code, CODE(5, 0));
    assert_true(taken > 500);
    expect_records(1);
    hear_all();
    expect_grants(1);
    post_ok(2, &m);
    hear_all();
    expect_grants(1);
    expect_records(1);
}

static void unused_grants_are_one_peps_business(void **state)
{
    (void)state;
    int64_t later = NOW + 90000;
    post_ok(0, &(struct minting){.key = 1, .kid = "a", .exp_in = 200000});
    post_ok(1, &(struct minting){.key = 2, .kid = "b", .exp_in = 200000});
    hear_all();
    struct pep_session *s = shake(2, "a"); /* used at one */
    for (unsigned i = 0; i < PEPS; i++)
        (void)pep_expire(peps[i], NOW + 60); /* it says so */
    hear_all();
    for (unsigned i = PEPS; i-- > 1;)
        (void)pep_expire(peps[i], later); /* not theirs to decide */
    expect_grants(2);
    (void)pep_expire(peps[0], later);
    hear_all();
    expect_grants(1);
    expect_records(1);
    assert_int_equal(may(2, s, 1, "/lamp/state", LAMP), 0);
    pep_session_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_token_taken_by_one_counts_at_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_token_replaces_everywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(what_two_take_at_once_is_the_same_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_revocation_meets_a_token_that_is_on_its_way, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_was_created_is_known_to_colleagues, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_cse_calls_an_ae_is_known_to_colleagues, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_bearer_token_stays_with_its_association, setup, teardown),
        cmocka_unit_test_setup_teardown(a_colleague_that_does_not_listen_costs_tokens, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(unused_grants_are_one_peps_business, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
