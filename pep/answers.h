/* Questions to authorization servers and decision points that are under way,
 * and the answers that still hold: one table, because the one becomes the other.
 *
 * An entry is found by what is asked about and whom (a seeded hash, then all
 * bytes), so there is one question a token, however many ask. About a token it
 * holds what that says, never a verdict. What is asked about a request
 * (consult.h) is its text behind its subject's id. Entries that must not stay
 * (cache: 0, no answer) live until answers_settle(), for those that waited; and
 * when one of those waits for something else then, until that is settled.
 *
 * Bounded everywhere: questions in total, for strangers' tokens, and for each
 * network they come from; answers kept, of which the one not looked at longest
 * gives way; inactive ones in a ring of their own, so that strangers' garbage
 * evicts nobody.
 */
#ifndef POSTERN_ANSWERS_H
#define POSTERN_ANSWERS_H

#include "cache.h"
#include "decision_point.h"
#include "dynamic.h"

struct answers;

enum answers_limits {
    ANSWERS_ASKED_MAX = 256,     /* under way; each is an exchange of the wire */
    ANSWERS_STRANGERS_MAX = 64,  /* of those, about tokens that gave no grant here: the rest
                                    is for what clients hold, at each server as well
                                    (AUTHORITY_EACH), and does not wait long behind them */
    ANSWERS_PER_NET_MAX = 16,    /* of those, from one /24 or /56 */
    ANSWERS_CONSULTS_MAX = 128,  /* of those, about requests: */
    ANSWERS_PER_OWNER_MAX = 16,  /* one subject's; more of them wait for nothing better */
    ANSWERS_KEPT_MAX = 512,      /* about 7 KB each, made as needed */
    ANSWERS_DECISIONS_MAX = 512, /* kept about requests, apart from those; 4 KB each as a rule */
    ANSWERS_ABOUT_MAX = 4096,    /* bytes of what is asked about a request */
    ANSWERS_HELD_S = 60,         /* for those that wait for the next; they do no longer */
    ANSWERS_INACTIVE_MAX = 256,
    ANSWERS_INACTIVE_S = 5,    /* a token may be activated late, never early */
    ANSWERS_RETRY_S = 5,       /* Max-Age of a 5.03 when the wire knows nothing better */
    ANSWERS_RETRY_MAX_S = 300, /* ... or names a time at which no client would come back */
    ANSWERS_BUSY_S = 2,        /* Max-Age of a 4.29: a question takes about so long */
};

enum answer_state {
    ANSWER_NEW = 0, /* its question was not taken yet */
    ANSWER_ASKED,   /* under way */
    ANSWER_ACTIVE,
    ANSWER_INACTIVE, /* until settled */
    ANSWER_FAILED,   /* `err` and `retry_s`; until settled */
};

struct consulted {
    enum point_says says;          /* PEP_ASK_DECISION */
    struct dynamic_answer dynamic; /* PEP_ASK_DYNAMIC */
    bool taken;                    /* the tokens in it were taken in */
    struct policy_grant *bare;     /* its authority's, of nothing: what its rules permit is of
                                      that; made when needed */
};

struct answer {
    enum pep_ask ask;
    struct bytes about;         /* the token, or the request */
    struct cached *said;        /* the token, and what it says when ACTIVE; NULL: of a request */
    struct consulted consulted; /* of a request what was answered, when ACTIVE */
    enum answer_state state;
    uint64_t id; /* of its question; each asking has its own */
    int authority;
    bool served;             /* it was used by the request that it was asked for */
    bool reference;          /* the token says nothing by itself: all is from the answer */
    bool unwrapped;          /* asked about what is inside its byte string */
    bool kept;               /* it may stay when settled */
    bool unsettled;          /* it came, and those who waited were not all called again */
    uint64_t held_for;       /* the question for which one of those waits now; 0: none */
    int64_t from_s, until_s; /* ACTIVE: it holds from then to before this */
    enum pep_err err;
    uint32_t retry_s;
    struct bytes client_token;
    /* kept by answers.c */
    bool stranger;
    uint8_t net[9];
    uint64_t hash, used;
    uint8_t *storage; /* what `said` points to, beyond itself */
    size_t storage_n;
    uint8_t *asked; /* a request's text */
    size_t asked_n;
    uint8_t *body; /* of its question */
    size_t body_n;
    struct answer *chain;
};

MUST_USE struct answers *answers_new(struct siphash_key seed);
void answers_free(struct answers *t);

/* What is known of the token: under way, holding, or unsettled; NULL: nothing. */
struct answer *answers_find(struct answers *t, struct bytes token, int authority, int64_t now_s);
/* It was inactive a moment ago. */
bool answers_is_inactive(struct answers *t, const uint8_t hash[TOKEN_HASH], int authority,
                         int64_t now_s);
struct answer *answers_by_id(struct answers *t, uint64_t id);
/* One that holds, by the hash of the token's bytes. */
struct answer *answers_by_hash(struct answers *t, const uint8_t hash[TOKEN_HASH], int64_t now_s);

/* A question. `known`: a grant here rests on the token. PEP_BUSY: too many are
 * under way; PEP_FULL: no memory. */
MUST_USE enum pep_err answers_ask(struct answers *t, struct bytes token, int authority,
                                  bool reference, bool known, const struct policy_peer *from,
                                  struct answer **out);
/* The same about a request: `about` begins with its subject's id (PEP_KEY_ID),
 * and *out may be one that is there. */
struct answer *answers_find_consult(struct answers *t, enum pep_ask ask, struct bytes about, int of,
                                    int64_t now_s);
MUST_USE enum pep_err answers_consult(struct answers *t, enum pep_ask ask, struct bytes about,
                                      int of, struct answer **out);
/* One who used `a` waits for another question now: until that is settled, `a`
 * holds for him. */
void answers_hold(struct answer *a, uint64_t question);
/* Asks once more, by another question; its waiters will come for that. */
void answers_ask_again(struct answers *t, struct answer *a);
/* The question is a colleague's, who tells the answer: it is not sent. */
void answers_take_told(struct answers *t, struct answer *a);
/* What it said holds no longer. Not while it is unsettled. */
void answers_end(struct answers *t, struct answer *a);
/* The next question to be sent; it counts as taken. NULL: none. */
MUST_USE struct answer *answers_take(struct answers *t);
/* Room for what an answer says; it was empty. NULL: no memory. */
MUST_USE uint8_t *answers_storage(struct answer *a, size_t n);
/* Room for a question's body, which lives until its reply. */
MUST_USE uint8_t *answers_body(struct answer *a, size_t n);
/* The question was answered; `a` has its new state. Makes room if needed. */
void answers_replied(struct answers *t, struct answer *a);

/* Forgets what must not stay; inactive ones go to the ring until `now_s` +
 * ANSWERS_INACTIVE_S. */
void answers_settle(struct answers *t, int64_t now_s);
/* What is over goes. Returns when to call again, INT64_MAX: never. */
int64_t answers_expire(struct answers *t, int64_t now_s);

/* A new policy: `authority` gives the new number of an old one, -1: gone, with
 * all that was asked of it and said by it; *until_s the latest that its answers
 * may now hold. */
void answers_renumber(struct answers *t,
                      int (*authority)(void *user, int authority, int64_t *until_s), void *user);

struct answers_stats {
    uint64_t asked, hits, busy, evicted;
    size_t under_way, held;
};
void answers_get_stats(const struct answers *t, struct answers_stats *out);
void answers_count_hit(struct answers *t);
/* Questions to this authority that wait for their answers. */
size_t answers_waiting(const struct answers *t, int authority);

#endif
