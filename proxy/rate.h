/* How often: one token bucket for each limit, and for each client where the
 * limit is for each. A bucket holds `count` requests and gets one back each
 * per_s / count seconds; it is kept as the moment at which it will be full
 * again (GCRA), so nothing has to be done while time passes.
 *
 * One table is shared by all workers: a limit holds in total. Its lock is held
 * for a few look-ups and never for anything that waits; a request without a
 * rate does not come here. Times are of the monotonic clock, so that setting
 * the other one neither gives nor takes anything.
 *
 * Fixed size. A full bucket is as good as none and gives way; when none of the
 * places that a new one may have is free, its request is refused. Keys are
 * hashed with a secret, so that nobody chooses whose place he shares.
 */
#ifndef POSTERN_RATE_H
#define POSTERN_RATE_H

#include "../pep/pep.h"
#include "../policy/siphash.h"

struct rates;

MUST_USE struct rates *rates_new(size_t buckets, struct siphash_key seed);
void rates_free(struct rates *t); /* NULL is fine */

/* What was taken, to be given back. */
struct rate_taken {
    size_t n;
    struct {
        uint64_t key, step_us;
    } of[POLICY_RATES_MAX + 1];
};

enum rate_verdict { RATE_REFUSED = 0, RATE_TAKEN = 1 };

struct rate_answer {
    enum rate_verdict verdict;
    size_t offer;     /* taken: which of them had room, the first that had */
    uint32_t retry_s; /* refused: until one has, at least 1 (RFC 8516 4) */
    const char *of;   /* refused: what was in its way: "rule", "role", "scope", "subject",
                         "device", or "table" */
};

/* Takes one from every bucket of the first offer that has room in all of them
 * and in that of the device (NULL, or a count of 0: none); else from none.
 * Without offers the device's alone decides. */
void rates_take(struct rates *t, const struct pep_offer *offers, size_t n_offers,
                const struct policy_rate *device, uint64_t now_us, struct rate_answer *answer,
                struct rate_taken *taken);
/* The request went nowhere after all. */
void rates_give_back(struct rates *t, const struct rate_taken *taken);

struct rates_stats {
    uint64_t taken, refused, full, given_back;
};
void rates_get_stats(struct rates *t, struct rates_stats *out);

#endif
