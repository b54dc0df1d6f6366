/* Answers of devices, kept by Max-Age and validated by ETag (RFC 7252 5.6,
 * 5.7, 5.10.5, 5.10.6; FETCH: RFC 8132 2). It holds answers, never verdicts:
 * whoever asks it has judged the request first, and devices know no clients,
 * so that one client's answer is as good as another's.
 *
 * What is not kept: answers with an option that a proxy may not understand;
 * parts of a body (a block of several): mixing two versions of one would be
 * worse than asking again; errors, unless the device says for how long.
 *
 * One fixed piece of memory, cut into cells; when it is full, the answers
 * that were used longest ago give way. A lookup allocates nothing. */
#ifndef POSTERN_DEVICE_CACHE_H
#define POSTERN_DEVICE_CACHE_H

#include "../policy/siphash.h"
#include "instant.h"
#include "msg.h"

struct device_cache;

/* How far a device's answers are trusted to stay true. Many devices leave
 * Max-Age out and never meant that their state holds for the 60 seconds that
 * this stands for: the state of a lock, or a GET that is really a command. So
 * what is kept, unless told, is what the device itself says may be. */
enum cache_mode {
    CACHE_NO = 0,
    CACHE_STATED, /* only with a Max-Age of its own */
    CACHE_YES,    /* 60 seconds without one (RFC 7252 5.10.5) */
};

enum cache_state {
    CACHE_ABSENT = 0,
    CACHE_STALE, /* the device must be asked, perhaps by ETag only */
    CACHE_FRESH,
};

/* The message is a view into the cache and into what it was made from: good
 * until the next call. */
struct cache_answer {
    struct msg m; /* fresh: complete, Max-Age less its age */
    uint8_t age[4];
    struct bytes etag; /* stale: what to ask by; or empty */
    uint64_t lead;     /* stale: the request that asks already (device_cache_lead); 0: none */
    bool lasts;        /* stale: it was fresh for a while */
    uint32_t entry;
};

struct cache_stats {
    uint64_t hits, misses, validated, kept, evicted;
    uint64_t answers, bytes; /* now */
};

/* `bytes` are all that it uses. NULL: no memory, or too little for one answer. */
MUST_USE struct device_cache *device_cache_new(size_t bytes, size_t n_devices,
                                               const struct siphash_key *seed);
void device_cache_free(struct device_cache *c); /* NULL is fine */

/* Whether a request for a device, as it goes there, can be answered by what
 * is kept, and its answer be kept. */
bool device_cache_takes(const struct msg *request);

/* For requests that it takes. A client's own ETag that is the fresh answer's
 * gets a 2.03. */
enum cache_state device_cache_find(struct device_cache *c, int device, const struct msg *request,
                                   struct instant now, struct cache_answer *out);

/* The device answered, to a request that left at asked_us. Replaces what was
 * kept; an answer that is not to be kept drops it. */
void device_cache_keep(struct device_cache *c, enum cache_mode mode, int device,
                       const struct msg *request, const struct msg *answer, uint64_t asked_us,
                       struct instant now);
/* The device answered 2.03: what was kept is good again, updated by the 2.03
 * (RFC 7252 5.9.1.3), and *out is it as a whole. False: nothing of that ETag
 * is here. */
MUST_USE bool device_cache_validate(struct device_cache *c, enum cache_mode mode, int device,
                                    const struct msg *request, const struct msg *valid,
                                    uint64_t asked_us, struct instant now,
                                    struct cache_answer *out);

/* Something may have changed on the device: nothing that it was asked for
 * until now is fresh. RFC 7252 5.9.1 asks this for the resource that was
 * written; on a small device others show the same state (a switch, and the
 * lamp), and what has an ETag costs no more than a 2.03. */
void device_cache_changed(struct device_cache *c, int device, struct instant now);

/* The request `id` asks the device for what was found stale; others may wait
 * for it. Over when its answer is kept, or by device_cache_unlead(). */
void device_cache_lead(struct device_cache *c, const struct cache_answer *found, uint64_t id);
void device_cache_unlead(struct device_cache *c, int device, const struct msg *request,
                         uint64_t id);

void device_cache_get_stats(const struct device_cache *c, struct cache_stats *out);

#endif
