/* The wire to authorization servers: what pep asks leaves here, over CoAP
 * with DTLS or over HTTPS, and what comes back is handed on, whatever it
 * says. Every question gets one answer, in time, or is told that the server
 * is away; nothing here blocks, and nothing is cached.
 *
 * Each server has a circuit. It opens when the server cannot be reached or
 * stays silent; then questions are answered "away" at once, until after a
 * back-off (1 s, doubling to 60 s, with jitter) one question goes as a probe.
 * Where a revocation list is observed on the same line it is the probe: what
 * was revoked meanwhile is known before anything else is asked.
 *
 * Callbacks come from authorities_turn() and from the loop's events, never
 * from within authority_ask(), _get() or _use(). They may ask, get and
 * cancel; they must not call authorities_use() or _free(). */
#ifndef POSTERN_AUTHORITY_H
#define POSTERN_AUTHORITY_H

#include "../pep/question.h"
#include "circuit.h"
#include "loop.h"
#include "wire.h"

struct authorities;

enum authority_limits {
    AUTHORITY_QUESTIONS = 1024, /* under way in all; pep's own cap must be lower */
    AUTHORITY_EACH = 128,      /* under way at one server; beyond, away at once. Twice what pep lets
                                 strangers ask (ANSWERS_STRANGERS_MAX) */
    AUTHORITY_WAIT_MS = 15000, /* for an answer; the client of ours waits too */
};

/* An answer to authority_get(). Borrowed for the call. */
struct authority_got {
    int authority;
    enum authority_purpose purpose;
    struct pep_reply reply;
    uint32_t max_age_s; /* the answer is fresh for so long; 0: not told */
    bool observed;      /* the server tells by itself when it changes */
    bool last;          /* nothing follows: ask again when it is time */
};

struct authority_ops {
    void (*replied)(void *user, uint64_t id, const struct pep_reply *r, struct instant now);
    void (*got)(void *user, uint64_t handle, const struct authority_got *g, struct instant now);
    void (*random)(void *user, void *to, size_t n);
};

struct authority_stats {
    bool configured;
    enum circuit_state circuit;
    int64_t since_s;                         /* wall time since when it is so; 0: since the start */
    uint32_t retry_s;                        /* open: until the next try */
    uint64_t latency_us;                     /* smoothed; 0: not known */
    uint64_t asked, answered, away, refused; /* refused: too many, or the circuit was open */
    uint64_t under_way;
    const char *reason; /* of the last failure; NULL: none */
};

MUST_USE struct authorities *authorities_new(struct loop *l, const struct authority_ops *ops,
                                             void *user);
void authorities_free(struct authorities *as); /* nobody is told */

/* Takes `w` over, in place of the one before. Lines to the same server with
 * the same credentials stay open. What is under way for an authority that
 * vanished, or that is asked elsewhere now, is told away; the rest goes on
 * under the authority's new number. False: out of memory; nothing has
 * changed, and `w` is still the caller's. */
MUST_USE bool authorities_use(struct authorities *as, struct wire *w, struct instant now);

/* q->id comes back with the reply. What is borrowed in *q is copied. False:
 * the table is full; there will be no reply. */
MUST_USE bool authority_ask(struct authorities *as, const struct pep_question *q,
                            struct instant now);

/* Fetches what the authority has for this purpose: its revocation list (CoAP)
 * or its JWK set (HTTPS). `query` are the options of the request, as
 * "diff=3" (RFC 9770 8); CoAP only. With `observe` it is asked for again
 * after every loss until authority_unget(), with an `away` in between; should
 * the server not tell by itself, the first answer is also the last. Returns a
 * handle, 0: no such purpose, or the table is full. */
uint64_t authority_get(struct authorities *as, int authority, enum authority_purpose purpose,
                       const struct bytes *query, size_t n_query, bool observe, struct instant now);
void authority_unget(struct authorities *as, uint64_t handle, struct instant now);

/* Of every turn of the loop: sends, lets time pass, tells. The next deadline
 * in ms of the monotonic clock; UINT64_MAX: none. */
uint64_t authorities_turn(struct authorities *as, struct instant now);

void authority_get_stats(const struct authorities *as, int authority,
                         enum authority_purpose purpose, struct instant now,
                         struct authority_stats *out);

#endif
