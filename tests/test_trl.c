#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "../pep/trl.h"
#include "support_hex.h"

/* ---- what answers say ---- */

#define H(x)  "5821 01" x x x x x x x x x x x x x x x x /* a hash of two bytes, 16 times */
#define H1    H("a1a1")
#define H2    H("a2a2")
#define H3    H("a3a3")
#define SHORT "5820 01 a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"

static struct trl_answer answer;

static bool read_hex(const char *hex)
{
    return trl_read(unhex(hex), &answer);
}

/* "full a1 a2 cursor 1", "diff -a1 +a2 | +a3 cursor null more" */
static void write_hashes(struct trl_hashes h, const char *sign, char *out, size_t cap)
{
    for (struct bytes b; trl_next_hash(&h, &b);) {
        size_t n = strlen(out);
        (void)snprintf(out + n, cap - n, " %s%02x", sign, b.p[1]);
    }
}

static void describe(char *out, size_t cap)
{
    (void)snprintf(out, cap, answer.full ? "full" : "diff");
    if (answer.full)
        write_hashes(trl_full_set(&answer), "", out, cap);
    for (size_t i = 0; i < answer.n_diff; i++) {
        struct trl_hashes removed, added;
        trl_diff(&answer, i, &removed, &added);
        if (i)
            (void)snprintf(out + strlen(out), cap - strlen(out), " |");
        write_hashes(removed, "-", out, cap);
        write_hashes(added, "+", out, cap);
    }
    size_t n = strlen(out);
    if (answer.cursor == TRL_CURSOR_NULL)
        (void)snprintf(out + n, cap - n, " cursor null");
    else if (answer.cursor == TRL_CURSOR_AT)
        (void)snprintf(out + n, cap - n, " cursor %llu", (unsigned long long)answer.at);
    n = strlen(out);
    if (answer.has_more)
        (void)snprintf(out + n, cap - n, answer.more ? " more" : " all");
    n = strlen(out);
    if (answer.foreign)
        (void)snprintf(out + n, cap - n, " foreign %zu", answer.foreign);
}

/* Each refused row is one mutation of the row above it. */
static const struct {
    const char *name, *hex, *want; /* NULL: refused */
} answers[] = {
    {"13.1: nothing revoked", "a1 00 80", "full"},
    {"no set at all", "a0", NULL},
    {"a list instead of a map", "80", NULL},
    {"the set is a map", "a1 00 a0", NULL},
    {"trailing byte", "a1 00 80 00", NULL},
    {"cut", "a1 00", NULL},
    {"empty", "", NULL},
    {"13.1: t1 and t2", "a1 00 82" H1 H2, "full a1 a2"},
    {"a hash cut by a byte", "a1 00 82" SHORT H2, NULL},
    {"a hash as text",
     "a1 00 82"
     "61 61" H2,
     NULL},
    {"an empty hash",
     "a1 00 82"
     "40" H2,
     NULL},
    {"one more announced", "a1 00 83" H1 H2, NULL},
    {"indefinite length", "a1 00 9f" H1 H2 "ff", NULL},
    {"another algorithm's hash is counted", "a1 00 82 43 02aabb" H2, "full 02? a2"},
    {"13.4: with a cursor", "a2 00 81" H1 "02 00", "full a1 cursor 0"},
    {"a cursor below zero", "a2 00 81" H1 "02 20", NULL},
    {"a cursor as text", "a2 00 81" H1 "02 6130", NULL},
    {"13.4: no change yet", "a2 00 80 02 f6", "full cursor null"},
    {"a cursor that is undefined", "a2 00 80 02 f7", NULL},
    {"13.2: one difference", "a1 01 81 82 80 81" H1, "diff +a1"},
    {"an entry of one set", "a1 01 81 81 80", NULL},
    {"an entry of three", "a1 01 81 83 80 80 80", NULL},
    {"an entry that is no array", "a1 01 81 00", NULL},
    {"13.2: newest first", "a1 01 82 82 81" H1 "80 82 80 82" H1 H2, "diff -a1 | +a1 +a2"},
    {"13.5: the first batch", "a3 01 82 82 81" H2 "80 82 80 81" H3 "02 07 03 f5",
     "diff -a2 | +a3 cursor 7 more"},
    {"more is a number", "a3 01 82 82 81" H2 "80 82 80 81" H3 "02 07 03 01", NULL},
    {"13.5: the last", "a3 01 81 82 80 81" H3 "02 0a 03 f4", "diff +a3 cursor 10 all"},
    {"history is lost", "a3 01 80 02 f6 03 f5", "diff cursor null more"},
    {"both sets", "a2 00 80 01 80", NULL},
    {"the same set twice", "a2 00 80 00 80", NULL},
    {"a parameter to come", "a2 00 80 18 63 00", "full"},
    {"the largest cursor", "a2 00 80 02 1b ffffffffffffffff", "full cursor 18446744073709551615"},
};

static void reading(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        char got[512] = "";
        bool ok = read_hex(answers[i].hex);
        if (ok)
            describe(got, sizeof got);
        if (answers[i].want && strstr(answers[i].want, "02?")) {
            if (!ok || answer.foreign != 1 || answer.n_full != 2)
                fail_msg("%s: foreign %zu", answers[i].name, answer.foreign);
            continue;
        }
        if (ok != (answers[i].want != NULL) || (ok && strcmp(got, answers[i].want) != 0))
            fail_msg("%s: got '%s', wanted '%s'", answers[i].name, ok ? got : "(refused)",
                     answers[i].want ? answers[i].want : "(refused)");
    }
}

static const struct {
    const char *name, *hex;
    int want;
} problems[] = {
    {"5.1: invalid parameter value", "a3 20 6141 21 6142 01 a2 00 00 01 18 2a", 0},
    {"out of bound cursor", "a1 01 a1 00 02", 2},
    {"no error-id", "a1 01 a1 01 02", -1},
    {"no entry", "a1 20 6141", -1},
    {"no map", "00", -1},
    {"not CBOR", "ff", -1},
};

static void errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        int got = trl_error(unhex(problems[i].hex));
        if (got != problems[i].want)
            fail_msg("%s: got %d, wanted %d", problems[i].name, got, problems[i].want);
    }
}

/* ---- the course, in invented time ---- */

enum { NOW = 1000000, POLL = 300 };

static struct trl t;
static struct trl_question q;

static void asks(int64_t at, const char *want)
{
    char got[128] = "nothing";
    if (trl_ask(&t, at, &q)) {
        (void)snprintf(got, sizeof got, "%s%s", q.full ? "full" : "diff",
                       q.observe ? " observe" : "");
        for (size_t i = 0; i < q.n_query; i++) {
            size_t n = strlen(got);
            (void)snprintf(got + n, sizeof got - n, " %.*s", (int)q.query[i].n,
                           (const char *)q.query[i].p);
        }
    }
    if (strcmp(got, want) != 0)
        fail_msg("at +%d: asks '%s', wanted '%s'", (int)(at - NOW), got, want);
}

static bool answers_with(const char *hex, bool notification, bool observed, int64_t at)
{
    assert_true(read_hex(hex));
    return trl_take_answer(&t, &answer, notification, observed, at);
}

static void observed_full_sets(void **state)
{
    (void)state;
    trl_init(&t, POLL, NOW);
    asks(NOW, "full observe");
    asks(NOW, "nothing"); /* it is under way */
    assert_true(answers_with("a1 00 80", false, true, NOW + 1));
    assert_true(t.observing);
    assert_int_equal(t.fresh_s, NOW + 1);
    asks(NOW + 2, "nothing");
    assert_true(answers_with("a1 00 81" H1, true, true, NOW + 50));
    assert_int_equal(t.fresh_s, NOW + 50);
    asks(NOW + 349, "nothing");
    asks(NOW + 350, "full observe"); /* all the same, now and then */
}

static void differences_between(void **state)
{
    (void)state;
    trl_init(&t, POLL, NOW);
    asks(NOW, "full observe");
    assert_true(answers_with("a2 00 81" H1 "02 02", false, false, NOW));
    asks(NOW + 59, "nothing");
    asks(NOW + 60, "diff diff=0 cursor=2");
    assert_true(answers_with("a3 01 81 82 80 81" H2 "02 07 03 f5", false, false, NOW + 60));
    assert_int_equal(t.fresh_s, NOW); /* there is more */
    asks(NOW + 60, "diff diff=0 cursor=7");
    assert_true(answers_with("a3 01 81 82 80 81" H3 "02 0a 03 f4", false, false, NOW + 61));
    assert_int_equal(t.fresh_s, NOW + 61);
    asks(NOW + 121, "diff diff=0 cursor=10");
    assert_false(answers_with("a3 01 80 02 f6 03 f5", false, false, NOW + 121));
    asks(NOW + 121, "full observe"); /* the history between is lost */
    assert_true(answers_with("a2 00 80 02 0b", false, false, NOW + 122));
    asks(NOW + 182, "diff diff=0 cursor=11");
}

static void a_server_that_ignores_diff(void **state)
{
    (void)state;
    trl_init(&t, POLL, NOW);
    asks(NOW, "full observe");
    assert_true(answers_with("a2 00 80 02 01", false, false, NOW));
    asks(NOW + 60, "diff diff=0 cursor=1");
    assert_true(answers_with("a1 00 81" H1, false, false, NOW + 60));
    asks(NOW + 120, "nothing");
    asks(NOW + 360, "full observe");
}

static void no_answer_means_nothing(void **state)
{
    (void)state;
    trl_init(&t, POLL, NOW);
    asks(NOW, "full observe");
    trl_take_silence(&t, NOW);
    assert_int_equal(t.health, TRL_SILENT);
    assert_int_equal(t.fresh_s, 0);
    int64_t at = NOW, step = TRL_RETRY_MIN_S;
    for (int i = 0; i < 12; i++) {
        asks(at + step - 1, "nothing");
        asks(at + step, "full observe");
        at += step;
        trl_take_silence(&t, at);
        step = 2 * step < POLL ? 2 * step : POLL;
    }
    asks(at + POLL, "full observe");
    assert_true(answers_with("a1 00 80", false, true, at + POLL));
    assert_int_equal(t.health, TRL_GOOD);
    assert_int_equal(t.retry_s, 0);
    trl_take_silence(&t, at + POLL + 9); /* the observation is over */
    assert_false(t.observing);
    assert_int_equal(t.fresh_s, at + POLL); /* and its age can be told */
    asks(at + POLL + 9 + TRL_RETRY_MIN_S, "full observe");
}

static void refusals(void **state)
{
    (void)state;
    trl_init(&t, POLL, NOW);
    asks(NOW, "full observe");
    trl_take_error(&t, 4 << 5 | 3, NOW);
    assert_int_equal(t.health, TRL_REFUSED);
    assert_int_equal(t.code, 4 << 5 | 3);
    asks(NOW + 5, "full observe");
    assert_true(answers_with("a2 00 80 02 05", false, false, NOW + 5));
    asks(NOW + 65, "diff diff=0 cursor=5");
    trl_take_error(&t, 4 << 5, NOW + 65); /* of the cursor */
    asks(NOW + 65, "full observe");
    trl_take_error(&t, 0, NOW + 66); /* garbage */
    assert_int_equal(t.health, TRL_BAD_ANSWER);
    asks(NOW + 66, "nothing");
    asks(NOW + 76, "full observe");
    assert_true(answers_with("a1 00 80", false, false, NOW + 76));
}

static void differences_from_nothing(void **state)
{
    (void)state;
    trl_init(&t, POLL, NOW);
    asks(NOW, "full observe");
    assert_false(answers_with("a1 01 81 82 80 81" H1, false, true, NOW));
    assert_int_equal(t.health, TRL_BAD_ANSWER);
    asks(NOW + 5, "full observe");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading),
        cmocka_unit_test(errors),
        cmocka_unit_test(observed_full_sets),
        cmocka_unit_test(differences_between),
        cmocka_unit_test(a_server_that_ignores_diff),
        cmocka_unit_test(no_answer_means_nothing),
        cmocka_unit_test(refusals),
        cmocka_unit_test(differences_from_nothing),
    };
    return cmocka_run_group_tests_name("trl", tests, NULL, NULL);
}
