/* SipHash-2-4 (Aumasson, Bernstein 2012): the keyed hash of every layer, for
 * tables whose keys strangers choose, and for telling a retransmission from
 * another message. Not a MAC of ours: nothing that grants rests on it. */
#ifndef POSTERN_SIPHASH_H
#define POSTERN_SIPHASH_H

#include "bytes.h"

struct siphash_key {
    uint64_t k0, k1;
};

uint64_t siphash(const struct siphash_key *key, struct bytes data);
/* SipHash-1-3, for what each request asks for: half the work, and what hash
 * tables of many languages have come to rest on. */
uint64_t siphash_13(const struct siphash_key *key, struct bytes data);

#endif
