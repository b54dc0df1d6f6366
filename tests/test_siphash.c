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

/* As the authors wrote it down, with as many rounds as one likes. */
static uint64_t slow(const uint64_t key[2], const uint8_t *in, size_t n, int each, int last)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    for (size_t at = 0, words = n / 8 + 1, rounds; words-- > 0; at += 8) {
        uint64_t m = words ? 0 : (uint64_t)n << 56;
        for (size_t i = at; i < n && i < at + 8; i++)
            m |= (uint64_t)in[i] << (8 * (i - at));
        rounds = (size_t)(words ? each : each + last);
        v[3] ^= m;
        for (size_t i = 0; i < rounds; i++) {
            if (i == (size_t)each) {
                v[0] ^= m;
                v[2] ^= 0xff;
            }
            v[0] += v[1], v[1] = v[1] << 13 | v[1] >> 51, v[1] ^= v[0];
            v[0] = v[0] << 32 | v[0] >> 32;
            v[2] += v[3], v[3] = v[3] << 16 | v[3] >> 48, v[3] ^= v[2];
            v[0] += v[3], v[3] = v[3] << 21 | v[3] >> 43, v[3] ^= v[0];
            v[2] += v[1], v[1] = v[1] << 17 | v[1] >> 47, v[1] ^= v[2];
            v[2] = v[2] << 32 | v[2] >> 32;
        }
        if (words)
            v[0] ^= m;
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void test_rounds(void **state)
{
    (void)state;
    uint8_t in[70];
    srandom(3);
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)random();
    struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    const uint64_t words[] = {key.k0, key.k1};
    for (size_t n = 0; n <= sizeof in; n++) {
        assert_true(siphash(&key, bytes_of(in, n)) == slow(words, in, n, 2, 4));
        assert_true(siphash_13(&key, bytes_of(in, n)) == slow(words, in, n, 1, 3));
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
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_tagmap_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
