/* The audit record: one JSON object on one line for each decision. Begun
 * when the decision is made, ended when its answer is known. Never a token,
 * a key or a payload; text from outside is escaped and cut. Pure formatting. */
#ifndef POSTERN_AUDIT_H
#define POSTERN_AUDIT_H

#include "pep.h"

enum audit_limits { AUDIT_PATH_MAX = 256 };

/* What a record shares with those before it, so that it is not told anew:
 * the second that it is of, and the parts that are the same for all that one
 * rule permits of one path. Zeroed, and kept between the calls, by its owner:
 * one for each pep. */
struct audit_memo {
    int64_t second;
    uint8_t time[40]; /* all zero: none yet */
    struct audit_parts {
        uint64_t load; /* of the policy: within one, equal pointers are equal texts */
        const char *reason, *authority, *policy_hash, *device; /* a device lives on */
        struct policy_rule_ref rule;
        uint8_t method, n_path, segment_n[6];
        uint16_t rule_n, end_n;
        uint8_t segments[64];              /* of the path, one behind the other */
        uint8_t to_rule[300], to_end[200]; /* from method, and from authority on */
    } parts[32];
};

struct audit_start {
    struct audit_memo *memo; /* or NULL */
    int64_t wall_s;
    uint32_t wall_us;
    uint64_t association; /* 0: none */
    const char *peer;
    const char *subject;
    struct bytes who;   /* in place of these three: what audit_put_who() wrote; or empty */
    const char *device; /* or NULL */
    /* Of an observation (RFC 7641): "notified" or "ended", and how many
     * notifications this record stands for, or it has had; NULL: a request. */
    const char *observation;
    uint64_t notified;
};

/* Who it is that asks: the same for each request of one association, while
 * peer and subject are the same. */
enum { AUDIT_WHO_MAX = 240 };
void audit_put_who(uint64_t association, const char *peer, const char *subject, struct buf *out);

/* Everything that the decision knows; no closing brace yet. False: did not
 * fit (it always does in EXCHANGE_RECORD_MAX by the cuts above). */
MUST_USE bool audit_begin(const struct audit_start *s, const struct request *r,
                          const struct pep_decision *d, struct buf *out);
/* What becomes of an observation otherwise than by a decision of its own. */
MUST_USE bool audit_begin_watch(const struct audit_start *s, const struct request *r,
                                const char *reason, const char *policy_hash, struct buf *out);
/* A token that was taken or refused (authz-info, identity). */
MUST_USE bool audit_begin_token(const struct audit_start *s, enum pep_via via,
                                const struct pep_taken *t, const char *policy_hash,
                                struct buf *out);
/* What is no request's: a revocation, an authority that came or went. */
struct audit_event {
    int64_t wall_s;
    uint32_t wall_us;
    const char *event;  /* "revoked", "authority-removed", ... */
    const char *by;     /* "operator", "list", "reload" */
    const char *kind;   /* of a revocation; or NULL */
    struct bytes value; /* text as it is, the rest as hexadecimal digits */
    bool is_text;
    struct bytes authority; /* or empty */
    uint64_t ended;         /* grants that it ended */
    bool not_kept;          /* it would not survive a restart */
};
/* The whole line. */
MUST_USE bool audit_event(const struct audit_event *e, const char *policy_hash, struct buf *out);

/* That the answer is not the device's own of this moment: by "cache", or
 * "validated" when the device said that what was kept still holds. */
void audit_put_source(const char *word, struct buf *out);

/* Response code and duration; closes the object, adds the newline. */
MUST_USE bool audit_end(uint8_t code, uint64_t us, struct buf *out);

#endif
