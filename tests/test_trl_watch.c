/* The watch over revocation lists, between a wire and a gate that are invented
 * here: both are linked in the place of the real ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "../proxy/trl_watch.h"
#include "support_hex.h"

/* ---- the wire and the gate ---- */

static char said[1024]; /* what was asked and taken since the last look */
static uint64_t last_handle;
static bool full_wire;

static void say(const char *text)
{
    size_t n = strlen(said);
    (void)snprintf(said + n, sizeof said - n, "%s%s", n ? "; " : "", text);
}

uint64_t authority_get(struct authorities *as, int authority, enum authority_purpose purpose,
                       const struct bytes *query, size_t n_query, bool observe, struct instant now)
{
    char text[128];
    (void)as, (void)now;
    assert_int_equal(purpose, AUTHORITY_REVOCATIONS);
    if (full_wire)
        return 0;
    int n = snprintf(text, sizeof text, "%d %s", authority, observe ? "observe" : "get");
    for (size_t i = 0; i < n_query; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %.*s", (int)query[i].n,
                      (const char *)query[i].p);
    say(text);
    return ++last_handle;
}

void authority_unget(struct authorities *as, uint64_t handle, struct instant now)
{
    char text[32];
    (void)as, (void)now;
    (void)snprintf(text, sizeof text, "unget %d", (int)handle);
    say(text);
}

bool gate_take_list(struct gate *g, const char *authority, const struct trl_answer *a,
                    struct instant now)
{
    char text[64];
    (void)g, (void)now;
    (void)snprintf(text, sizeof text, "%s takes %s", authority, a->full ? "full" : "diff");
    say(text);
    return true;
}

/* ---- steps ---- */

enum { START_S = 100, WALL = 1000000 };

static struct trl_watch *t;

static struct instant at(int64_t s)
{
    return (struct instant){.mono_us = (uint64_t)(START_S + s) * 1000000, .wall_s = WALL + s};
}

static void expect(const char *want)
{
    if (strcmp(said, want) != 0)
        fail_msg("'%s', wanted '%s'", said, want);
    said[0] = 0;
}

static void turn(int64_t s, const char *want)
{
    (void)trl_watch_turn(t, at(s));
    expect(want);
}

static void comes(int64_t s, uint64_t handle, const char *hex, bool observed, bool last,
                  const char *want)
{
    struct authority_got g = {.purpose = AUTHORITY_REVOCATIONS,
                              .reply = {.code = 0x45, .content_format = 262, .body = unhex(hex)},
                              .observed = observed,
                              .last = last};
    assert_true(trl_watch_got(t, handle, &g, at(s)));
    expect(want);
}

static void away(int64_t s, uint64_t handle, bool last)
{
    struct authority_got g = {.reply = {.away = true}, .last = last};
    assert_true(trl_watch_got(t, handle, &g, at(s)));
    expect("");
}

static void refused(int64_t s, uint64_t handle, uint8_t code)
{
    struct authority_got g = {.reply = {.code = code, .content_format = -1}, .last = true};
    assert_true(trl_watch_got(t, handle, &g, at(s)));
    expect("");
}

static void use(const char *authorities, int64_t s)
{
    char text[2048], diag_text[1024];
    struct buf diag = buf_on(diag_text, sizeof diag_text - 1);
    (void)snprintf(text, sizeof text,
                   "version: 1\nmode: enforce\nauthorities:\n%sscopes:\n  s: {permit: [{path: /a, "
                   "methods: [GET]}]}\n",
                   authorities);
    struct policy *p = policy_load("p.yaml", bytes_str(text), "0123456789abcdef", &diag);
    diag_text[diag.n] = 0;
    if (!p)
        fail_msg("%s", diag_text);
    assert_true(trl_watch_use(t, p, at(s)));
    policy_unref(p);
}

#define PLAIN "  - {name: plain, issuer: a, keys: k, may-grant: {scopes: [s]}}\n"
#define LISTS                                                                                      \
    "  - {name: lists, issuer: b, keys: k, may-grant: {scopes: [s]}, revocation-list: {url: "      \
    "'coap://127.0.0.1/trl', poll: "                                                               \
    "300s}}\n"

static struct trl_watch_stats stats(int64_t s)
{
    struct trl_watch_stats out;
    trl_watch_get_stats(t, "lists", at(s), &out);
    return out;
}

static int setup(void **state)
{
    (void)state;
    said[0] = 0;
    last_handle = 0;
    full_wire = false;
    t = trl_watch_new(NULL);
    return t ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    trl_watch_free(t);
    return 0;
}

/* ---- tests ---- */

static void observes(void **state)
{
    (void)state;
    use(PLAIN LISTS, 0);
    turn(0, "1 observe");
    turn(1, "");
    assert_false(stats(1).known);
    comes(2, 1, "a1 00 80", true, false, "lists takes full");
    assert_true(stats(2).known && stats(2).observing);
    comes(50, 1, "a1 00 80", true, false, "lists takes full");
    assert_int_equal(stats(60).notifications, 1);
    assert_int_equal(stats(60).age_s, 10);
    assert_int_equal(stats(60).fresh_s, WALL + 50);
    assert_int_equal(trl_watch_turn(t, at(60)), (START_S + 350) * 1000);
    turn(350, "unget 1; 1 observe");
    comes(351, 2, "a1 00 80", true, false, "lists takes full");
}

static void polls_for_differences(void **state)
{
    (void)state;
    use(LISTS, 0);
    turn(0, "0 observe");
    comes(0, 1, "a2 00 80 02 04", true, false, "lists takes full");
    turn(60, "0 get diff=0 cursor=4");
    turn(61, "");                                                    /* one at a time */
    comes(61, 1, "a2 00 80 02 05", true, false, "lists takes full"); /* meanwhile */
    comes(62, 2, "a3 01 80 02 05 03 f4", false, true, "lists takes diff");
    turn(122, "0 get diff=0 cursor=5");
    comes(122, 3, "a3 01 80 02 f6 03 f5", false, true, "");
    turn(122, "unget 1; 0 observe"); /* the history is lost */
}

static void the_wire_asks_again(void **state)
{
    (void)state;
    use(LISTS, 0);
    turn(0, "0 observe");
    away(1, 1, false);
    assert_int_equal(stats(1).health, TRL_SILENT);
    turn(500, ""); /* the wire's turn, as long as it takes */
    comes(501, 1, "a1 00 80", true, false, "lists takes full");
    away(510, 1, false);
    assert_false(stats(510).observing);
    assert_int_equal(stats(520).age_s, 19); /* what is known holds, and its age is told */
    turn(9000, "");
    comes(9001, 1, "a1 00 80", true, false, "lists takes full");
    assert_true(stats(9001).observing);
    away(9002, 1, true); /* the wire gave up: our turn */
    turn(9003, "");
    turn(9007, "0 observe");
}

static void refusals_and_garbage(void **state)
{
    (void)state;
    use(LISTS, 0);
    turn(0, "0 observe");
    refused(0, 1, 4 << 5 | 3);
    assert_int_equal(stats(0).health, TRL_REFUSED);
    turn(4, "");
    turn(5, "0 observe");
    struct authority_got g = {
        .reply = {.code = 0x45, .content_format = 60, .body = unhex("a1 00 80")}, .last = true};
    assert_true(trl_watch_got(t, 2, &g, at(5))); /* not what was asked for */
    expect("");
    assert_int_equal(stats(5).health, TRL_BAD_ANSWER);
    turn(15, "0 observe");
    comes(15, 3, "a1 00 81 41 01", false, true, ""); /* half a hash */
    turn(35, "0 observe");
    comes(35, 4, "a1 00 80", false, true, "lists takes full");
    assert_int_equal(stats(35).health, TRL_GOOD);
    assert_false(trl_watch_got(t, 4, &g, at(36))); /* of a handle that is over */
    assert_false(trl_watch_got(t, 0, &g, at(36)));
}

static void without_an_observation(void **state)
{
    (void)state;
    use(LISTS, 0);
    turn(0, "0 observe");
    comes(0, 1, "a1 00 80", false, true, "lists takes full");
    turn(299, "");
    turn(300, "0 observe");
}

static void full_tables(void **state)
{
    (void)state;
    use(LISTS, 0);
    full_wire = true;
    turn(0, "");
    assert_int_equal(stats(0).health, TRL_SILENT);
    full_wire = false;
    turn(5, "0 observe");
}

static void other_policies(void **state)
{
    (void)state;
    use(LISTS, 0);
    turn(0, "0 observe");
    comes(0, 1, "a1 00 80", true, false, "lists takes full");
    use(PLAIN LISTS, 10); /* another number, the same list */
    turn(10, "");
    comes(11, 1, "a1 00 80", true, false, "lists takes full");
    turn(400, "unget 1; 1 observe");
    use(PLAIN, 401);
    expect("unget 2");
    assert_false(stats(401).configured);
    assert_int_equal(trl_watch_turn(t, at(402)), UINT64_MAX);
    use(LISTS, 500); /* it is back: all anew */
    turn(500, "0 observe");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(observes),
        TEST(polls_for_differences),
        TEST(the_wire_asks_again),
        TEST(refusals_and_garbage),
        TEST(without_an_observation),
        TEST(full_tables),
        TEST(other_policies),
    };
    return cmocka_run_group_tests_name("trl_watch", tests, NULL, NULL);
}
