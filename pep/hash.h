/* SipHash-2-4 (Aumasson and Bernstein, 2012) for the tables of this layer:
 * strangers choose some of the keys, so the hash is seeded. Not a digest. */
#ifndef POSTERN_HASH_H
#define POSTERN_HASH_H

#include "../policy/bytes.h"

struct hash_seed {
    uint64_t k0, k1;
};

static inline uint64_t hash_rotate(uint64_t x, unsigned b)
{
    return x << b | x >> (64 - b);
}

static inline void hash_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = hash_rotate(v[1], 13) ^ v[0];
    v[0] = hash_rotate(v[0], 32);
    v[2] += v[3];
    v[3] = hash_rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = hash_rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = hash_rotate(v[1], 17) ^ v[2];
    v[2] = hash_rotate(v[2], 32);
}

static inline uint64_t hash_bytes(struct hash_seed s, struct bytes b)
{
    uint64_t v[4] = {s.k0 ^ 0x736f6d6570736575u, s.k1 ^ 0x646f72616e646f6du,
                     s.k0 ^ 0x6c7967656e657261u, s.k1 ^ 0x7465646279746573u};
    size_t i = 0;
    for (; i + 8 <= b.n; i += 8) {
        uint64_t m = 0;
        for (size_t k = 0; k < 8; k++)
            m |= (uint64_t)b.p[i + k] << (8 * k);
        v[3] ^= m;
        hash_round(v);
        hash_round(v);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)b.n << 56;
    for (size_t k = 0; i + k < b.n; k++)
        last |= (uint64_t)b.p[i + k] << (8 * k);
    v[3] ^= last;
    hash_round(v);
    hash_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int k = 0; k < 4; k++)
        hash_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
