/* The heap against a slow obvious model: an array that is searched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../proxy/deadline.h"

enum { N = 40 };

static uint64_t prng(uint64_t *x)
{
    *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
    return *x;
}

static uint64_t model_next(const struct deadline *d, const bool *set)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < N; i++)
        if (set[i] && d[i].at_ms < next)
            next = d[i].at_ms;
    return next;
}

static void test_against_model(void **state)
{
    (void)state;
    struct deadlines h;
    assert_true(deadlines_init(&h, N));
    struct deadline d[N] = {0};
    bool set[N] = {0};
    uint64_t x = 88172645463325252u, now = 0;
    for (int step = 0; step < 20000; step++) {
        size_t i = prng(&x) % N;
        switch (prng(&x) % 4) {
        case 0:
        case 1:
            set[i] = true;
            assert_true(deadline_set(&h, &d[i], now + prng(&x) % 50));
            break;
        case 2:
            set[i] = false;
            deadline_cancel(&h, &d[i]);
            break;
        default:
            now += prng(&x) % 10;
            for (struct deadline *due; (due = deadlines_pop(&h, now));) {
                assert_true(set[due - d]);
                assert_int_equal(due->at_ms, model_next(d, set));
                assert_int_equal(due->slot, 0);
                set[due - d] = false;
            }
            assert_true(model_next(d, set) > now);
        }
        assert_int_equal(deadlines_next(&h) == model_next(d, set), 1);
    }
    deadlines_clear(&h);
}

static void test_edges(void **state)
{
    (void)state;
    struct deadlines h;
    assert_true(deadlines_init(&h, 2));
    struct deadline a = {0}, b = {0}, c = {0};
    assert_int_equal(deadlines_next(&h) == UINT64_MAX, 1);
    assert_null(deadlines_pop(&h, UINT64_MAX));
    deadline_cancel(&h, &a); /* never set: no harm */
    assert_true(deadline_set(&h, &a, 10));
    assert_true(deadline_set(&h, &b, 5));
    assert_false(deadline_set(&h, &c, 1)); /* full */
    assert_int_equal(c.slot, 0);
    assert_true(deadline_set(&h, &b, 20)); /* moving needs no room */
    assert_int_equal(deadlines_next(&h), 10);
    assert_null(deadlines_pop(&h, 9));
    assert_ptr_equal(deadlines_pop(&h, 10), &a);
    assert_true(deadline_set(&h, &c, UINT64_MAX)); /* never due by itself */
    assert_ptr_equal(deadlines_pop(&h, 20), &b);
    assert_null(deadlines_pop(&h, UINT64_MAX - 1));
    deadlines_clear(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests_name("deadline", tests, NULL, NULL);
}
