#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../policy/siphash.h"
#include "../proxy/tagmap.h"

/* From the reference vectors of the authors: key 00..0f, input 00, 01, .. */
static void test_vectors(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        uint64_t want;
    } rows[] = {
        {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd},  {7, 0xab0200f58b01d137},
        {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5},
    };
    uint8_t in[16];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)i;
    struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t got = siphash(&key, bytes_of(in, rows[i].n));
        if (got != rows[i].want)
            fail_msg("%zu bytes: got %016llx", rows[i].n, (unsigned long long)got);
    }
}

/* Against a plain array; few tags, so that runs collide and wrap. */
static void test_tagmap_model(void **state)
{
    (void)state;
    enum { MAX = 40 };
    struct tagmap m;
    assert_true(tagmap_init(&m, MAX));
    bool in[MAX] = {false};
    uint32_t tags[MAX];
    size_t n = 0;
    srandom(7);
    for (int round = 0; round < 20000; round++) {
        uint32_t v = (uint32_t)random() % MAX;
        if (in[v]) {
            tagmap_remove(&m, tags[v], v);
            n--;
        } else {
            tags[v] = (uint32_t)random() % 12 - 6; /* about both ends of the array */
            tagmap_put(&m, tags[v], v);
            n++;
        }
        in[v] = !in[v];
        assert_int_equal(m.n, n);
        for (uint32_t tag = (uint32_t)-6; tag != 6; tag++) {
            size_t want = 0, got = 0, step = 0;
            for (uint32_t i = 0; i < MAX; i++)
                want += in[i] && tags[i] == tag;
            for (uint32_t i; tagmap_find(&m, tag, &step, &i); got++)
                assert_true(in[i] && tags[i] == tag);
            assert_int_equal(got, want);
        }
    }
    tagmap_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_tagmap_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
