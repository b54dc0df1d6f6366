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

/* Of 2-4, or else of 1-3. */
static inline uint64_t hash(const struct siphash_key *key, struct bytes data, bool long_one)
{
    uint64_t a = key->k0 ^ 0x736f6d6570736575, b = key->k1 ^ 0x646f72616e646f6d;
    uint64_t c = key->k0 ^ 0x6c7967656e657261, d = key->k1 ^ 0x7465646279746573;
    uint64_t last = (uint64_t)data.n << 56;
    bool whole = data.n >= 8;
    for (; data.n >= 8; data.n -= 8, data.p += 8) {
        uint64_t word = load_le(data.p);
        d ^= word;
        ROUND;
        if (long_one)
            ROUND;
        a ^= word;
    }
    if (whole && data.n > 0) /* with what was there before it, which falls off */
        last |= load_le(data.p + data.n - 8) >> (8 * (8 - data.n));
    for (size_t i = 0; !whole && i < data.n; i++)
        last |= (uint64_t)data.p[i] << (8 * i);
    d ^= last;
    ROUND;
    if (long_one)
        ROUND;
    a ^= last;
    c ^= 0xff;
    ROUND;
    ROUND;
    ROUND;
    if (long_one)
        ROUND;
    return a ^ b ^ c ^ d;
}

uint64_t siphash(const struct siphash_key *key, struct bytes data)
{
    return hash(key, data, true);
}

uint64_t siphash_13(const struct siphash_key *key, struct bytes data)
{
    return hash(key, data, false);
}
