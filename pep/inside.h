/* What pep's own files share. Not for other rooms. */
#ifndef POSTERN_PEP_INSIDE_H
#define POSTERN_PEP_INSIDE_H

#include "answers.h"
#include "cache.h"
#include "created.h"
#include "fresh.h"
#include "grants.h"
#include "keys.h"
#include "pep.h"
#include "published.h"
#include "revocation.h"
#include "store.h"
#include "subjects.h"

struct pep {
    struct pep_config config;
    struct policy *policy;
    struct keys *keys;
    struct subjects *subjects;
    int *device_authority; /* by device; -1: none */
    struct grants *grants;
    struct cache *cache;
    struct created *created;
    struct revocations *revocations;
    struct answers *answers;
    struct fresh *fresh;
    struct published *published;
    int64_t reply_s; /* when the last reply came */
    struct pep_taken by_identity;
    uint64_t *cover; /* scratch: one bit a device */
    size_t cover_words;
    struct pep_authority_stats *of; /* by authority */
    size_t n_of;
    uint64_t loads;   /* of policies; 0: none yet */
    uint64_t changes; /* of grants, loads included: what sessions cached is stale */
    uint64_t revokes; /* of revocations: what was judged before is judged again */
    uint64_t next_id; /* of grants */
    struct pep_stats stats;
};

enum { SESSION_IDS = 3 };

struct pep_session {
    struct pep *pep;
    enum policy_strength strength;
    bool trusted;                   /* its certificate chains to the client CA */
    uint8_t subject_id[PEP_KEY_ID]; /* credential of an enrolled subject, or zero */
    /* What the handshake proved, under each name that a token may give it:
     * the key, the certificate, the key's thumbprint. Zero: no such name. */
    uint8_t key_id[SESSION_IDS][PEP_KEY_ID];
    size_t owner; /* of these, where its grants were found */
    char name[PEP_SUBJECT_MAX];
    /* Good while `loads` and `changes` are pep's. */
    uint64_t loads, changes;
    const struct subject *enrolled; /* by its credential, revoked or not */
    const struct subject *subject;  /* NULL when revoked */
    struct grant *held[GRANTS_PER_KEY_MAX + GRANTS_PER_SESSION_MAX];
    size_t n_held;
    bool wants_created, wants_query; /* some held grant has AIF that asks for it */
    int64_t last_exp_s;              /* of what it ever held; INT64_MIN: nothing */
    struct grant *bearer[GRANTS_PER_SESSION_MAX];
    size_t n_bearer;
};

/* ---- take.c ---- */

/* What a token is good for, now. */
struct judged {
    bool whole;     /* its audience: the gateway as a whole; else p->cover */
    int64_t ends_s; /* by exp and exi */
    bool clockless;
    enum grant_number numbered;
    uint64_t number;
};

/* Judges revocation, iss, times, audience and scope of what a token says (RFC
 * 9770 10.1, RFC 9200 5.10.1.1); the audience goes to p->cover. `reference`:
 * it says so by an answer alone, and its cti has no number of ours. */
MUST_USE enum pep_err take_judge(struct pep *p, struct cached *c, bool reference, int64_t now_s,
                                 struct judged *out);
/* What must be remembered of it, for good: its number, and that it was first
 * verified now. */
MUST_USE enum pep_err take_note(struct pep *p, const struct token *t, const struct judged *j,
                                int64_t now_s);
/* What newer numbers have ended counts no longer. */
void take_end_numbered(struct pep *p, int64_t now_s);
/* A new token must carry a fresh cnonce where its authority demands one. */
MUST_USE enum pep_err take_judge_cnonce(const struct pep *p, const struct token *t, int64_t now_s);
/* The name for records: "sub@authority". An enrolled subject's name has no
 * such tail, so no token can borrow it. */
void take_name(const struct policy_authority *a, struct bytes sub, const struct grant_key *key,
               char out[PEP_SUBJECT_MAX]);
/* The grant of which `kid` is a live key, and this authority's; or NULL. */
struct grant *take_find_kid(struct pep *p, struct bytes kid, int authority, int64_t now_s);
/* Verifies, judges, keeps. *grant is set on success. */
void take_token(struct pep *p, struct pep_session *s, const struct policy_peer *from,
                struct bytes raw, enum pep_via via, int64_t now_s, struct pep_taken *out,
                struct grant **grant);
/* The answer's account takes the place of what its grant said, or ends it. */
void take_refresh(struct pep *p, struct grant *g, struct answer *a, int64_t now_s);
/* Ends a grant here and in the store. */
void take_revoke(struct pep *p, struct grant *g);
/* Ends a grant in memory; what rests on it is told by p->changes. */
void take_end(struct pep *p, struct grant *g);
/* Takes in what the store kept (first load). */
void take_stored(struct pep *p, int64_t now_s);
/* Compiles a grant for a policy; *n_known is how much of it counts. NULL: no memory. */
MUST_USE struct policy_grant *take_compile(struct policy *policy, int authority,
                                           const struct grant *g,
                                           struct policy_grant_report *report);

/* ---- revoke.c ---- */

/* Names an authority across policies. */
uint64_t revoke_authority_id(const struct pep *p, int authority);
/* PEP_OK, PEP_REVOKED, PEP_FORM or PEP_LIST. */
MUST_USE enum pep_err revoke_judge(struct pep *p, struct cached *c);

/* ---- pep.c ---- */

/* Ends up to `max` grants for which `over` holds, in the store and here.
 * What the store does not forget is judged again at the next start. Returns
 * how many it ended. */
size_t pep_end_some(struct pep *p, bool (*over)(struct pep *p, struct grant *g, int64_t now_s),
                    int64_t now_s, size_t max);

/* ---- learn.c: from a token's bytes to what it says ---- */

struct learned {
    struct cached *said;   /* borrowed until the next call */
    struct answer *answer; /* it rests on one; or NULL */
    uint64_t wait;         /* with PEP_PENDING: the question */
    uint32_t retry_s;      /* with PEP_AWAY, PEP_BUSY */
};

enum { LEARN_NO_DEVICE = -1 };

/* By its protection, by its authority's word, or both. `device`: what the
 * request is for. */
MUST_USE enum pep_err learn_token(struct pep *p, struct bytes raw, int device,
                                  const struct policy_peer *from, int64_t now_s,
                                  struct learned *out);
/* What is still known of a token, by the hash of its bytes, without asking.
 * False: nothing that counts. */
MUST_USE bool learn_find(struct pep *p, const uint8_t hash[TOKEN_HASH], int64_t now_s,
                         struct learned *out);
/* Whether a grant counts without asking. */
bool learn_is_fresh(struct pep *p, const struct grant *g, int64_t now_s);
/* Asks again about a grant that does not. PEP_PENDING, or why it cannot be. */
MUST_USE enum pep_err learn_again(struct pep *p, const struct grant *g,
                                  const struct policy_peer *from, int64_t now_s,
                                  struct learned *out);
/* Whether tokens of this authority need its word, beyond their protection. */
bool learn_asks(const struct policy_authority *a, bool reference);
/* A new policy is in force. */
void learn_reload(struct pep *p, const struct policy *old, int64_t now_s);

/* ---- session.c ---- */

/* Makes what the session caches good again. */
void session_refresh(struct pep_session *s);
/* Whether a grant of this key is the session's to use. */
bool session_proves(const struct pep_session *s, const uint8_t key_id[PEP_KEY_ID]);
/* By what its creations are remembered: its enrolment, or its proof key under
 * the name by which it holds grants. Refreshed before. */
const uint8_t *session_owner(const struct pep_session *s);
void session_forget_bearer(struct pep_session *s, const struct grant *g);

#endif
