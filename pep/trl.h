/* Token revocation lists (RFC 9770): what to ask, what the answers say, and
 * when to ask again. No transport, no clock, no table: pep_take_list() gives
 * an answer its effect, proxy/trl_watch.h carries questions and answers.
 *
 * The course: the full set is asked for with Observe. While the server keeps
 * telling, differences since the last cursor are asked for now and then, to
 * notice notifications that were lost, and the full set periodically. No
 * answer, or an error, means nothing: what is known holds, and how old it is
 * can be asked. */
#ifndef POSTERN_TRL_H
#define POSTERN_TRL_H

#include "../policy/bytes.h"
#include "cbor.h"

/* ---- answers ---- */

enum trl_limits {
    TRL_HASH = 33,       /* 0x01, SHA-256 */
    TRL_DIFF_MAX = 1024, /* entries of one answer */
};

enum trl_cursor { TRL_NO_CURSOR = 0, TRL_CURSOR_NULL, TRL_CURSOR_AT };

/* A view into the answer's bytes. */
struct trl_answer {
    bool full;          /* full_set; else diff_set */
    struct bytes items; /* of the array */
    size_t n_full, n_diff;
    struct bytes diff[TRL_DIFF_MAX]; /* [removed, added], newest first */
    enum trl_cursor cursor;
    uint64_t at;
    bool has_more, more;
    size_t foreign; /* hashes of another algorithm than SHA-256 */
};

/* Strict: one map, one of the two sets, every hash a byte string and one of
 * SHA-256 exactly that long. Unknown parameters are skipped (11.4). */
MUST_USE bool trl_read(struct bytes body, struct trl_answer *out);

struct trl_hashes {
    struct cbor c;
    size_t left;
};
struct trl_hashes trl_full_set(const struct trl_answer *a);
void trl_diff(const struct trl_answer *a, size_t i, struct trl_hashes *removed,
              struct trl_hashes *added);
bool trl_next_hash(struct trl_hashes *h, struct bytes *out);

/* `error-id` of a 4.00 with problem details (5.1); -1: none can be read. */
int trl_error(struct bytes problem);

/* ---- the course ---- */

enum trl_course_limits {
    TRL_RETRY_MIN_S = 5,
    TRL_DIFF_EVERY = 5, /* differences are asked for so many times between full sets */
    TRL_DIFF_MIN_S = 10,
    TRL_QUERY = 48,
};

struct trl_question {
    bool full, observe;
    struct bytes query[2]; /* Uri-Query options; into `text` */
    size_t n_query;
    char text[2][TRL_QUERY];
};

enum trl_health { TRL_UNKNOWN = 0, TRL_GOOD, TRL_SILENT, TRL_REFUSED, TRL_BAD_ANSWER };

struct trl {
    uint32_t poll_s;
    bool has_full, observing, asking;
    bool want_full;
    enum trl_cursor cursor;
    uint64_t at;
    int64_t next_s;  /* when to ask next */
    int64_t full_s;  /* when the full set was taken last */
    int64_t fresh_s; /* when the list was last known to be as it is here; 0: never */
    uint32_t retry_s;
    enum trl_health health;
    uint8_t code; /* of a refusal */
    uint64_t answers, failures, notifications;
};

/* Begins with a full query at once. `poll_s`: the full set at least so often. */
void trl_init(struct trl *t, uint32_t poll_s, int64_t now_s);

/* False: nothing to ask yet; see next_s. Else the question is under way until
 * one of the three calls below. */
MUST_USE bool trl_ask(struct trl *t, int64_t now_s, struct trl_question *out);

/* An answer 2.05, to a question or by notification; `observed`: the server
 * will tell more. True: it says something, to be taken by pep_take_list(). */
MUST_USE bool trl_take_answer(struct trl *t, const struct trl_answer *a, bool notification,
                              bool observed, int64_t now_s);
/* Another code, or a 2.05 that cannot be read (`code` 0). */
void trl_take_error(struct trl *t, uint8_t code, int64_t now_s);
/* Nobody answered, or the observation is over. */
void trl_take_silence(struct trl *t, int64_t now_s);

#endif
