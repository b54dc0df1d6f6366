#include "siphash.h"

#include <endian.h>

static inline uint64_t rotl(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

static inline uint64_t load_le(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

/* On four words, so that they stay in registers. */
#define ROUND                                                                                      \
    do {                                                                                           \
        a += b, c += d;                                                                            \
        b = rotl(b, 13) ^ a, d = rotl(d, 16) ^ c;                                                  \
        a = rotl(a, 32);                                                                           \
        c += b, a += d;                                                                            \
        b = rotl(b, 17) ^ c, d = rotl(d, 21) ^ a;                                                  \
        c = rotl(c, 32);                                                                           \
    } while (0)

uint64_t siphash(const struct siphash_key *key, struct bytes data)
{
    uint64_t a = key->k0 ^ 0x736f6d6570736575, b = key->k1 ^ 0x646f72616e646f6d;
    uint64_t c = key->k0 ^ 0x6c7967656e657261, d = key->k1 ^ 0x7465646279746573;
    uint64_t last = (uint64_t)data.n << 56;
    for (; data.n >= 8; data.n -= 8, data.p += 8) {
        uint64_t word = load_le(data.p);
        d ^= word;
        ROUND;
        ROUND;
        a ^= word;
    }
    for (size_t i = 0; i < data.n; i++)
        last |= (uint64_t)data.p[i] << (8 * i);
    d ^= last;
    ROUND;
    ROUND;
    a ^= last;
    c ^= 0xff;
    ROUND;
    ROUND;
    ROUND;
    ROUND;
    return a ^ b ^ c ^ d;
}
