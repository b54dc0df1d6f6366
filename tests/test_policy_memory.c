/* No memory, at each allocation in turn: no policy and no grant, a word of
 * why, and nothing lost. The files that allocate are built into this program
 * with an allocator that fails when told to; the linker then leaves those of
 * the library out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../policy/bytes.h"

static long left; /* allocations until one fails; negative: none does */

static bool fails(void)
{
    return left >= 0 && left-- == 0;
}

static void *try_malloc(size_t n)
{
    return fails() ? NULL : malloc(n);
}

static void *try_calloc(size_t n, size_t size)
{
    return fails() ? NULL : calloc(n, size);
}

static void *try_realloc(void *p, size_t n)
{
    return fails() ? NULL : realloc(p, n);
}

#define malloc  try_malloc
#define calloc  try_calloc
#define realloc try_realloc
#include "../policy/arena.c"
#include "../policy/rules.c"
#include "../policy/scope.c"
#define by_number by_number_too
#include "../policy/policy_file.c"
#undef malloc
#undef calloc
#undef realloc

static const char text[] =
    "version: 1\n"
    "authorities:\n"
    "- {name: as, keys: k, may-grant: {roles: [a], resources: [{path: /a/**, methods: [GET]}]}}\n"
    "roles:\n"
    "  a: {includes: [b], permit: [{path: /x/*/y, methods: PUT, when: {hours: \"22:00-06:00\","
    " zone: UTC, networks: [10.0.0.0/8]}}]}\n"
    "  b: {permit: [{path: /1, methods: GET}, {path: /2, methods: GET}, {path: /3, methods: GET},"
    " {path: /a-name-longer-than-most, methods: GET}, {path: /5/6/7/8/9/0/1/2/3/4, methods: "
    "GET}]}\n"
    "subjects:\n"
    "- {name: n, psk-identity: i, key-file: f, roles: [b]}\n"
    "forbid:\n"
    "- {path: /**, methods: [PUT], unless-role: a}\n";

static void loading(void **state)
{
    (void)state;
    long k = 0;
    for (;; k++) {
        char diag[1024];
        struct buf b = buf_on(diag, sizeof diag);
        left = k;
        struct policy *p = policy_load("p", bytes_str(text), "0", &b);
        bool all = left >= 0;
        left = -1;
        if (all) {
            assert_non_null(p);
            policy_unref(p);
            break;
        }
        assert_null(p);
        assert_true(b.n > 0 && !b.full);
    }
    assert_true(k > 15);
}

static void granting(void **state)
{
    (void)state;
    char diag[1024];
    struct buf b = buf_on(diag, sizeof diag);
    struct policy_aif aif = {BYTES_LIT("/a/b?c"), 3};
    struct policy_claims c = {.scope = BYTES_LIT("a b x"), .aif = &aif, .n_aif = 1};
    left = -1;
    struct policy *p = policy_load("p", bytes_str(text), "0", &b);
    assert_non_null(p);
    long k = 0;
    for (;; k++) {
        left = k;
        struct policy_grant *g = policy_grant_new(p, &c, NULL);
        bool all = left >= 0;
        left = -1;
        if (all) {
            assert_non_null(g);
            policy_grant_free(g);
            break;
        }
        assert_null(g);
    }
    assert_true(k > 5);
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(loading), cmocka_unit_test(granting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
