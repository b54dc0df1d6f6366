/* Token buckets: what passes, when it passes again, and that they hold
 * whatever is asked of them, from one thread or several. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../proxy/rate.h"

enum { S = 1000000, START = 7 * S };

static struct policy_rate rate_of(const char *text, const char *of, const char *name)
{
    struct policy_rate r;
    if (policy_rate_parse(bytes_str(text), &r))
        fail_msg("%s", text);
    policy_rate_name(&r, of, bytes_str(name), BYTES_NONE);
    r.whole = strcmp(of, "subject") == 0 || strcmp(of, "device") == 0;
    return r;
}

static struct rates *table(size_t n)
{
    struct rates *t = rates_new(n, (struct siphash_key){1, 2});
    assert_non_null(t);
    return t;
}

static struct pep_offer offer_of(const struct policy_rate *a, const struct policy_rate *b,
                                 const char *who)
{
    return (struct pep_offer){.n_rates = (uint8_t)(1 + (b != NULL)),
                              .rates = {a, b},
                              .who = {BYTES_LIT("as"), bytes_str(who)}};
}

static struct rate_answer ask(struct rates *t, const struct pep_offer *o, size_t n,
                              const struct policy_rate *device, uint64_t us)
{
    struct rate_answer a;
    struct rate_taken taken;
    rates_take(t, o, n, device, us, &a, &taken);
    assert_true((a.verdict == RATE_TAKEN) == (taken.n > 0));
    return a;
}

static bool passes(struct rates *t, const struct pep_offer *o, uint64_t us)
{
    return ask(t, o, 1, NULL, us).verdict == RATE_TAKEN;
}

static const struct {
    const char *text;
    unsigned burst;
    uint64_t step_us; /* until the next */
    uint32_t retry_s;
} rows[] = {
    {"10/min", 10, 6 * S, 6},          {"1/s", 1, S, 1},
    {"1/day", 1, 86400ull * S, 86400}, {"7/min", 7, 8571429, 9},
    {"1000000/s", 1000000, 1, 1},      {"3/h", 3, 1200ull * S, 1200},
    {"999/day", 999, 86486487, 87},
};

static void a_burst_then_one_by_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rates *t = table(16);
        struct policy_rate r = rate_of(rows[i].text, "rule", "a");
        struct pep_offer o = offer_of(&r, NULL, "ann");
        for (unsigned k = 0; k < rows[i].burst; k++)
            if (!passes(t, &o, START))
                fail_msg("%s: %u does not pass", rows[i].text, k);
        struct rate_answer a = ask(t, &o, 1, NULL, START);
        if (a.verdict != RATE_REFUSED || a.retry_s != rows[i].retry_s)
            fail_msg("%s: one more: %d, %u s", rows[i].text, a.verdict, a.retry_s);
        assert_string_equal(a.of, "rule");
        /* what is refused costs nothing */
        if (rows[i].step_us > 1)
            assert_false(passes(t, &o, START + rows[i].step_us - 1));
        assert_true(passes(t, &o, START + rows[i].step_us));
        assert_false(passes(t, &o, START + rows[i].step_us));
        /* Max-Age is no lie */
        uint64_t later = START + rows[i].step_us;
        a = ask(t, &o, 1, NULL, later);
        assert_true(passes(t, &o, later + (uint64_t)a.retry_s * S));
        rates_free(t);
    }
}

/* Never more in any stretch of time than the burst and what it gives back. */
static void holds_at_any_pace(void **state)
{
    (void)state;
    struct rates *t = table(16);
    struct policy_rate r = rate_of("10/min", "rule", "a");
    struct pep_offer o = offer_of(&r, NULL, "ann");
    uint64_t now = START, passed = 0, random = 88172645463325252;
    while (now < START + 3600ull * S) {
        passed += passes(t, &o, now);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        now += random % (4 * S);
        assert_true(passed <= 10 + (now - START) / (6 * S));
    }
    assert_true(passed >= 590);
    rates_free(t);
}

static void who_and_what_are_apart(void **state)
{
    (void)state;
    struct rates *t = table(256);
    struct policy_rate r = rate_of("1/min", "rule", "a"), other = rate_of("1/min", "rule", "b");
    struct policy_rate subject = rate_of("1/min", "subject", "ann");
    struct pep_offer ann = offer_of(&r, NULL, "ann"), bob = offer_of(&r, NULL, "bob");
    struct pep_offer elsewhere = ann, twice = offer_of(&other, NULL, "ann");
    elsewhere.who[0] = BYTES_LIT("a"); /* another authority's; not "as" + "ann" cut otherwise */
    elsewhere.who[1] = BYTES_LIT("sann");
    assert_true(passes(t, &ann, START));
    assert_false(passes(t, &ann, START));
    assert_true(passes(t, &bob, START));
    assert_true(passes(t, &elsewhere, START));
    assert_true(passes(t, &twice, START));
    /* one that is for all asks not who it is */
    struct pep_offer a = offer_of(&subject, NULL, "ann"), b = offer_of(&subject, NULL, "bob");
    assert_true(passes(t, &a, START));
    assert_false(passes(t, &b, START));
    rates_free(t);
}

/* All of an offer, or none of it; the first offer that has room. */
static void offers(void **state)
{
    (void)state;
    struct rates *t = table(256);
    struct policy_rate rule = rate_of("2/min", "rule", "a"), role = rate_of("1/min", "role", "r");
    struct policy_rate device = rate_of("4/min", "device", "lamp");
    struct policy_rate wide = rate_of("2/h", "scope", "s");
    struct pep_offer both[2] = {offer_of(&rule, &role, "ann"), offer_of(&wide, NULL, "ann")};
    struct rate_answer a = ask(t, both, 2, NULL, START);
    assert_int_equal(a.verdict, RATE_TAKEN);
    assert_int_equal(a.offer, 0);
    for (int i = 0; i < 2; i++) {
        a = ask(t, both, 2, NULL, START);
        assert_int_equal(a.verdict, RATE_TAKEN);
        assert_int_equal(a.offer, 1);
    }
    a = ask(t, both, 2, NULL, START);
    assert_int_equal(a.verdict, RATE_REFUSED);
    assert_string_equal(a.of, "role"); /* the nearer of the two */
    assert_int_equal(a.retry_s, 60);
    /* the rule had one more, which the role's refusal left there */
    struct pep_offer alone = offer_of(&rule, NULL, "ann");
    assert_true(passes(t, &alone, START));
    assert_false(passes(t, &alone, START));
    /* a device has its own, with and without offers */
    struct pep_offer free = offer_of(&wide, NULL, "bob");
    assert_int_equal(ask(t, &free, 1, &device, START).verdict, RATE_TAKEN);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask(t, NULL, 0, &device, START).verdict, RATE_TAKEN);
    a = ask(t, &free, 1, &device, START);
    assert_int_equal(a.verdict, RATE_REFUSED);
    assert_string_equal(a.of, "device");
    assert_int_equal(a.retry_s, 15);
    assert_true(passes(t, &free, START)); /* untouched by it */
    rates_free(t);
}

static void given_back(void **state)
{
    (void)state;
    struct rates *t = table(16);
    struct policy_rate rule = rate_of("1/min", "rule", "a"), role = rate_of("1/h", "role", "r");
    struct pep_offer o = offer_of(&rule, &role, "ann");
    struct rate_answer a;
    struct rate_taken taken;
    for (int i = 0; i < 5; i++) {
        rates_take(t, &o, 1, NULL, START, &a, &taken);
        assert_int_equal(a.verdict, RATE_TAKEN);
        rates_give_back(t, &taken);
    }
    assert_true(passes(t, &o, START));
    assert_false(passes(t, &o, START));
    struct rates_stats s;
    rates_get_stats(t, &s);
    assert_int_equal(s.taken, 6);
    assert_int_equal(s.refused, 1);
    assert_int_equal(s.given_back, 5);
    rates_free(t);
}

/* More clients than places: none passes uncounted, and time makes room. */
static void a_full_table_refuses(void **state)
{
    (void)state;
    enum { PLACES = 256, CLIENTS = 1000 };
    struct rates *t = table(PLACES);
    struct policy_rate r = rate_of("1/min", "rule", "a");
    char names[CLIENTS][16];
    size_t passed = 0, full = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        (void)snprintf(names[i], sizeof names[i], "client-%zu", i);
        struct pep_offer o = offer_of(&r, NULL, names[i]);
        struct rate_answer a = ask(t, &o, 1, NULL, START);
        passed += a.verdict == RATE_TAKEN;
        if (a.verdict == RATE_REFUSED) {
            assert_string_equal(a.of, "table");
            assert_int_equal(a.retry_s, 60);
            full++;
        }
    }
    assert_true(passed <= PLACES && passed > PLACES * 3 / 4);
    struct rates_stats s;
    rates_get_stats(t, &s);
    assert_int_equal(s.full, full);
    for (size_t i = 0; i < CLIENTS; i++) { /* nobody was pushed out to start anew */
        struct pep_offer o = offer_of(&r, NULL, names[i]);
        assert_false(passes(t, &o, START + 59 * S));
    }
    struct pep_offer last = offer_of(&r, NULL, names[CLIENTS - 1]);
    assert_true(passes(t, &last, START + 60 * S));
    rates_free(t);
}

/* A clock that stands, or that another worker read a little earlier. */
static void an_earlier_moment(void **state)
{
    (void)state;
    struct rates *t = table(16);
    struct policy_rate r = rate_of("2/s", "rule", "a");
    struct pep_offer o = offer_of(&r, NULL, "ann");
    assert_true(passes(t, &o, START));
    assert_true(passes(t, &o, START - S / 4));
    assert_false(passes(t, &o, START - S / 4));
    assert_false(passes(t, &o, 0));
    assert_true(passes(t, &o, START + S / 2));
    rates_free(t);
}

/* ---- threads ---- */

struct worker {
    struct rates *t;
    const struct policy_rate *rule, *device;
    size_t passed;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct pep_offer o = offer_of(w->rule, NULL, "ann");
    for (int i = 0; i < 2000; i++) {
        struct rate_answer a;
        struct rate_taken taken;
        rates_take(w->t, &o, 1, w->device, START, &a, &taken);
        if (a.verdict == RATE_TAKEN && i % 7 == 0)
            rates_give_back(w->t, &taken);
        else
            w->passed += a.verdict == RATE_TAKEN;
    }
    return NULL;
}

static void in_total_over_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct rates *t = table(16);
    struct policy_rate rule = rate_of("1000/h", "rule", "a"),
                       device = rate_of("900/day", "device", "lamp");
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    size_t passed = 0;
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){t, &rule, &device, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        passed += workers[i].passed;
    }
    assert_int_equal(passed, 900);
    rates_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_then_one_by_one),
        cmocka_unit_test(holds_at_any_pace),
        cmocka_unit_test(who_and_what_are_apart),
        cmocka_unit_test(offers),
        cmocka_unit_test(given_back),
        cmocka_unit_test(a_full_table_refuses),
        cmocka_unit_test(an_earlier_moment),
        cmocka_unit_test(in_total_over_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
