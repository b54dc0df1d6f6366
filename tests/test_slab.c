/* Small blocks in pages of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../policy/slab.h"

enum { LIVE = 3000, ROUNDS = 60000 };

struct block {
    uint8_t *p;
    size_t n;
    uint8_t with;
};

static uint32_t next(uint32_t *x)
{
    return *x = *x * 1664525 + 1013904223;
}

static bool is_whole(const struct block *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->p[i] != b->with)
            return false;
    return true;
}

/* Of all sizes, taken and given back at random: zeroed, aligned, nobody
 * else's. */
static void test_random(void **state)
{
    (void)state;
    static struct block of[LIVE];
    struct slab s = {0};
    uint32_t x = 7;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct block *b = &of[next(&x) >> 8 & 2047];
        if (b->p) {
            assert_true(is_whole(b));
            slab_give(&s, b->p, b->n);
            b->p = NULL;
            continue;
        }
        b->n = 1 + (next(&x) >> 8) % (SLAB_MAX + 40);
        b->with = 0;
        b->p = slab_take(&s, b->n);
        assert_non_null(b->p);
        assert_int_equal((uintptr_t)b->p % SLAB_STEP, 0);
        if (!is_whole(b))
            fail_msg("round %u: %zu bytes are not zero", round, b->n);
        b->with = (uint8_t)(1 + round % 255);
        memset(b->p, b->with, b->n);
    }
    for (size_t i = 0; i < LIVE; i++)
        if (of[i].p && of[i].n > SLAB_MAX)
            slab_give(&s, of[i].p, of[i].n);
    slab_clear(&s);
    assert_null(s.pages);
}

/* What is given back is taken next. */
static void test_again(void **state)
{
    (void)state;
    struct slab s = {0};
    slab_give(&s, NULL, 24);
    for (size_t n = 1; n <= SLAB_MAX; n++) {
        void *first = slab_take(&s, n);
        slab_give(&s, first, n);
        assert_ptr_equal(slab_take(&s, n), first);
    }
    slab_clear(&s);
    slab_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
