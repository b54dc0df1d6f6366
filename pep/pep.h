/* The policy enforcement point: turns proof into a question, and a verdict
 * into an answer. It knows tokens and keys, not sockets; it calls no clock
 * and writes no log. All calls finish at once.
 *
 * Policy and keys are one snapshot, swapped by pep_load(); the store of grants
 * outlives it. Calls come from one thread at a time. Each worker of the daemon
 * has a pep of its own; what one writes to its store the others are told
 * (pep_take_change), so that all hold the same.
 *
 * A `struct pep_session` is what pep keeps for one security association:
 * what the handshake proved, and the grants that rest on it. The proxy opens
 * it when a handshake completes and closes it when the association ends.
 */
#ifndef POSTERN_PEP_H
#define POSTERN_PEP_H

#include "../policy/policy.h"
#include "err.h"
#include "question.h"
#include "request.h"
#include "token.h"

struct pep;
struct pep_session;
struct store;

enum pep_limits {
    PEP_KEY_ID = 32,      /* SHA-256 over kind and key: names a proof key */
    PEP_SUBJECT_MAX = 64, /* printable name of a subject, with NUL */
    PEP_NAMED_MAX = 256,  /* an AE-ID, or a domain name, with NUL */
    PEP_PAYLOAD_MAX = 512,
    PEP_ATI_MAX = 255, /* bytes of an ATI option (TS-0008 6.2.2.4) */
};

/* A device as far as judgement goes. Strings are borrowed for pep's life. */
struct pep_device {
    const char *name;
    const char *audience;  /* NULL: only tokens for the gateway as a whole count */
    const char *authority; /* where a client without a token is sent; NULL: the first */
    bool onem2m;           /* its dialect */
    /* "/mn-cse", and "//house.example" of its service provider; or NULL. */
    const char *cse_id, *sp_id;
    const char *cse_base; /* name of its CSEBase, or NULL */
};

struct pep_config {
    const struct pep_device *devices;
    size_t n_devices;
    const char *const *audience; /* names of the gateway as a whole */
    size_t n_audience;
    int64_t build_s;   /* a clock that shows less is not set */
    size_t max_grants; /* live grants held; then new ones are refused */
    /* Public-key signatures of tokens are checked by the owner, on another
     * thread (pep_next_check). Else within the call. */
    bool checks_elsewhere;
    struct store *store; /* where grants survive; NULL: nowhere */
    /* One of several: its number, and how many. Number 0 alone sweeps what
     * nobody used. */
    unsigned worker, workers;
    struct store *colleagues; /* told at once what may reach the store later; or NULL */
    const uint8_t *nonce_key; /* 32 bytes that all share, or NULL: its own */
};

MUST_USE struct pep *pep_new(const struct pep_config *c);
void pep_free(struct pep *p);

/* Takes a reference on the policy, loads its keys (files relative to `dir`),
 * and swaps both in at once. On failure nothing changes and `diag` says why.
 * Grants of authorities that are no longer there end. The first load also
 * takes in the grants that the store kept. */
MUST_USE bool pep_load(struct pep *p, struct policy *policy, const char *dir, int64_t now_s,
                       struct buf *diag);
const struct policy *pep_policy(const struct pep *p);

/* ---- handshakes ---- */

enum pep_key_state { PEP_KEY_NONE = 0, PEP_KEY_FOUND = 1, PEP_KEY_WAIT = 2 };

/* Why there was no key, for counters and the log. */
enum pep_identity_kind {
    PEP_IDENTITY_UNKNOWN = 0, /* names nobody */
    PEP_IDENTITY_SUBJECT,     /* an enrolled client's plain name */
    PEP_IDENTITY_KID,         /* {8: {1: {1: 4, 2: kid}}}, RFC 9202 3.3.2 */
    PEP_IDENTITY_TOKEN,       /* a whole token */
};

/* What a handshake proved. Plain data; wipe after use (it holds the key). */
struct pep_proof {
    enum pep_identity_kind kind;
    enum policy_strength strength;
    int subject;                 /* index of the enrolled subject, or -1 */
    bool trusted;                /* the certificate chains to the client CA */
    uint8_t key_id[PEP_KEY_ID];  /* the proof key */
    uint8_t cert_id[PEP_KEY_ID]; /* SHA-256 of the certificate; zero: none */
    uint8_t jkt[PEP_KEY_ID];     /* RFC 7638 thumbprint of the proof key; zero: none */
    uint8_t key[TOKEN_KEY_MAX];  /* PSK for the handshake */
    size_t key_n;
    /* The enrolled credential: an index may mean another subject when the
     * policy is reloaded between the handshake and its session. */
    uint8_t subject_id[PEP_KEY_ID];
    char name[PEP_SUBJECT_MAX]; /* printable, for the record */
    char named[PEP_NAMED_MAX];  /* the AE or CSE that a trusted certificate names, or empty */
    enum pep_err err;           /* why not, when the token form was refused */
    uint64_t wait;              /* with PEP_KEY_WAIT: the question it waits for */
    bool utf8_wrapped;          /* the identity came as UTF-8 code points (PROTOCOL 4) */
};

/* The key for a psk_identity. A token in the token form is verified, judged
 * and kept as by authz-info. */
MUST_USE enum pep_key_state pep_find_psk(struct pep *p, struct bytes identity,
                                         const struct policy_peer *from, int64_t now_s,
                                         struct pep_proof *out);

/* A client's certificate, as the DTLS engine saw it. */
struct pep_certificate {
    bool trusted;          /* chains to the client CA, in its time */
    struct bytes der;      /* all of it */
    struct bytes spki;     /* SubjectPublicKeyInfo, DER */
    struct bytes names[8]; /* subjectAltName dNSName and URI, else the CN */
    size_t n_names;
};

/* True if the handshake may go on: the certificate is trusted, or it or its
 * public key is what the cnf of a live grant names. */
MUST_USE bool pep_judge_certificate(struct pep *p, const struct pep_certificate *c, int64_t now_s,
                                    struct pep_proof *out);

MUST_USE struct pep_session *pep_session_open(struct pep *p, const struct pep_proof *proof);
/* The subject that is this CSE, -1: none. */
int pep_subject_of_cse(const struct policy *policy, const struct pep_device *cse);
/* For what comes from a CSE's own address without an association (its
 * notifications): the rights of that subject, and nothing proved. NULL: there
 * is none, or no memory. */
MUST_USE struct pep_session *pep_session_of_cse(struct pep *p, int device);
void pep_session_close(struct pep_session *s); /* NULL is fine */
/* It will not be asked for a while: what can be found again is given up. */
void pep_session_rest(struct pep_session *s);
const char *pep_session_subject(const struct pep_session *s); /* printable, never NULL */
/* The originator that the policy enrolled it as, or NULL; for the record. */
const char *pep_session_originator(struct pep_session *s);

/* As bytes, for the next process: digests of what it proved, its name, and
 * the tokens that count for this association alone. False: no room. */
enum { PEP_SESSION_KEPT_MAX = 14 << 10 };
MUST_USE bool pep_session_save(const struct pep_session *s, struct buf *out);
/* What it proved is still proved; what that is worth is judged anew, by the
 * policy and the grants of now. Only bytes that are known to be ours. NULL:
 * not readable, or no memory. */
MUST_USE struct pep_session *pep_session_restore(struct pep *p, struct bytes in,
                                                 const struct policy_peer *from, int64_t now_s);

/* Whether it rests on a certificate that chains to the client CA. */
bool pep_session_trusts(const struct pep_session *s);

/* When the last grant of an ACE client's association ends, in UTC seconds:
 * then the association ends (RFC 9202 5). INT64_MAX: never (enrolled, or
 * known by the client CA). In the past: now, also when the subject is no
 * longer enrolled with this key. */
int64_t pep_session_ends(struct pep_session *s, int64_t now_s);

/* ---- requests ---- */

enum pep_outcome {
    PEP_DENY = 0,    /* answer `code` with `payload` */
    PEP_FORWARD = 1, /* to the device of the request */
    PEP_WAIT = 2,    /* something is being asked elsewhere */
};

/* What a permission rests on, so that it can be asked whether it still does. */
struct pep_basis {
    enum { PEP_ON_NOTHING = 0, PEP_ON_ENROLMENT, PEP_ON_GRANT, PEP_ON_TOKEN, PEP_ON_DECISION } kind;
    uint64_t grant;              /* or the pep_load() before a decision point decided */
    uint8_t token[TOKEN_HASH];   /* of the request's own token */
    uint64_t authority, revoked; /* pep's own: whose it was, and what was revoked by then */
};

/* Whom a permission is credited to. */
struct pep_credit {
    const char *authority; /* name, or NULL */
    uint64_t grant;        /* id, 0: none */
    /* oneM2M, for the record; borrowed until the next call. */
    struct bytes token_id, holder; /* n 0: no such token */
    const char *role;              /* by which it is permitted, an alias; or NULL */
    int permission;                /* of the token, from 0; -1: none */
    struct pep_basis basis;
    int64_t ends_s;
};

/* One way to permit the request, if all its rates have room. */
struct pep_offer {
    struct policy_rule_ref rule;
    struct pep_credit credit;
    uint8_t n_rates;
    const struct policy_rate *rates[POLICY_RATES_MAX];
    /* Whose requests are counted, by each rate that is not for all: the same
     * over sessions and addresses. Borrowed until the next call. */
    struct bytes who[2];
};

struct pep_decision {
    enum pep_outcome outcome;
    uint8_t code;                     /* response code of a denial */
    uint32_t retry_s;                 /* its Max-Age; 0: none */
    uint64_t wait;                    /* with PEP_WAIT: the question it waits for */
    uint16_t content_format;          /* of the payload, when there is one */
    uint8_t payload[PEP_PAYLOAD_MAX]; /* AS Request Creation Hints (RFC 9200 5.3) */
    size_t payload_n;
    uint32_t size1; /* with 4.13: the payload that would do */
    /* oneM2M (r->m2m) alone. Texts are borrowed until the next call. */
    uint16_t rsc;     /* enum m2m_rsc of a denial, whose code is as TS-0008 has it; 0: none */
    struct bytes ati; /* local token IDs given to tokens of this request: "lti:tkid+lti:tkid" */
    struct bytes tqf; /* with a denial: where a token is to be had, as JSON */
    /* for the record */
    enum policy_verdict verdict; /* what the rules say; in report mode a denial may be forwarded */
    const char *reason;          /* static text: "permitted", "not-method", "token-expired", ... */
    struct policy_rule_ref rule; /* borrowed from the policy in force */
    const char *missing;
    const char *authority;         /* name, or NULL */
    const char *decided_by;        /* a decision point or authority that was asked, or NULL */
    uint64_t grant;                /* id of the grant it rests on, 0: none */
    struct bytes token_id, holder; /* as in pep_credit */
    const char *role;
    int permission;
    struct pep_basis basis;
    int64_t ends_s; /* when that grant ends: an answer that comes later is 4.01 to the
                       client (RFC 9200 5.10.3). INT64_MAX: never */
    const char *policy_hash;
    uint64_t load; /* the pep_load() that the texts above are of; they live until the next */
    /* With PEP_FORWARD: one of these must have room, and pep_accept() says
     * which; or pep_refuse_rate() that none has. 0: at any rate. The decision
     * is credited to the first. */
    uint8_t n_offers;
    struct pep_offer offers[POLICY_OFFERS_MAX];
};

/* Judges one request. `s` is NULL for a request without an association.
 * Strings in `out` live until the next pep_load(). */
void pep_authorize(struct pep *p, struct pep_session *s, const struct request *r, int64_t now_s,
                   struct pep_decision *out);

/* What was permitted at a rate rests on this offer. */
void pep_accept(struct pep_decision *d, size_t offer);
/* No rate has room: 4.29 (RFC 8516), and when to come again. `of` (static)
 * names the rate that was in the way. In report mode it is forwarded. */
void pep_refuse_rate(const struct pep *p, struct pep_decision *d, const char *of, uint32_t retry_s);

/* False: what permitted the request was revoked, or is vouched for no more.
 * When something was revoked since, a token of the request's own that is no
 * longer remembered cannot show that it was not that: false. */
bool pep_basis_holds(struct pep *p, struct pep_session *s, const struct pep_basis *b,
                     int64_t now_s);

/* Of POLICY_METHODS_ALL, those that the session may use on r's path now
 * (r->method is ignored). For discovery. */
uint32_t pep_methods(struct pep *p, struct pep_session *s, const struct request *r, int64_t now_s);

/* A device answered 2.01 with this Location-Path to the session's POST or
 * PUT: remembered for AIF's Dynamic bits, bounded per subject. */
void pep_note_created(struct pep *p, struct pep_session *s, const struct bytes *path,
                      size_t n_path);

/* ---- oneM2M ----
 *
 * AE-IDs are learned from what CSEs answered to requests that were permitted,
 * and are the subject's of that session from then on, at that device, over
 * restarts and for all workers. They may come in any form (m2m_name.h). */

/* It created an AE (2.01, RSC 2001) and called it `ae_id`. `at` is where its
 * resource is, as the `to` of a request, or empty: not known. False: it is not
 * the subject's (not one that it may register, or another's), and so cannot be
 * used; or there is no room for more. */
bool pep_note_registered(struct pep *p, struct pep_session *s, int device, struct bytes ae_id,
                         struct bytes at);
/* It deleted what is at `to` (2.02, RSC 2002): nothing happens unless that was
 * such an AE. */
void pep_note_deregistered(struct pep *p, int device, struct bytes to);
/* Whether the session speaks for this AE, or is this CSE, at that device: then
 * what is for that one goes there. */
bool pep_session_speaks_for(struct pep_session *s, int device, struct bytes ae_id);

/* For people: why an association of this enrolled subject, or (NULL) none at
 * all, may not send r->m2m from its originator; NULL: it may. Without an
 * association `roles` gets the names of up to `max` roles that are held then. */
const char *pep_explain_originator(struct pep *p, const char *subject, const struct request *r,
                                   const char *roles[], size_t max, size_t *n_roles, uint16_t *rsc);

/* ---- tokens ---- */

enum pep_via {
    PEP_VIA_AUTHZ_INFO = 0,
    PEP_VIA_IDENTITY = 1,
    PEP_VIA_OPTION = 2,
    PEP_VIA_ASKED = 3, /* its authority gave it when it was asked for a permission */
    PEP_VIA_LAST = PEP_VIA_ASKED,
};

/* What became of a token that was posted; for the answer and the record. */
struct pep_taken {
    enum pep_err err;
    uint64_t wait;    /* not 0: nothing else is said yet, a question is under way */
    uint8_t code;     /* 2.01 or pep_err_code() */
    uint32_t retry_s; /* Max-Age of a refusal; 0: none */
    /* For the poster, in the payload of the 2.01: a client token (ace-07
     * 5.6.4). Borrowed until the next call. */
    struct bytes client_token;
    int client_token_format;
    uint64_t grant;        /* id, 0: none */
    const char *authority; /* name, or NULL */
    struct bytes token_id; /* of oneM2M; borrowed until the next call */
    char subject[PEP_SUBJECT_MAX];
    bool replaced;              /* an older grant of the same key and authority */
    size_t n_unknown, n_beyond; /* as in policy_grant_report */
    /* the first word or path beyond what its authority may grant; printable */
    char beyond[PEP_SUBJECT_MAX];
};

/* POST /authz-info, over coap (s NULL) or coaps. content_format -1: none. */
void pep_take_token(struct pep *p, struct pep_session *s, const struct policy_peer *from,
                    struct bytes raw, int content_format, int64_t now_s, struct pep_taken *out);

/* The set that an authority publishes (its JWKS URL), fetched anew: it takes
 * the place of the one before, outlives reloads and restarts, and grants that
 * rest on a key which is gone end. False: nothing in it is of use; nothing
 * changes, and `diag` says why. */
MUST_USE bool pep_take_keys(struct pep *p, int authority, struct bytes set, int64_t now_s,
                            struct buf *diag);

/* ---- questions to authorization servers ----
 *
 * What needs an answer from elsewhere says so with the id of a question.
 * The owner sends the questions, gives each reply back, and then calls again
 * what had waited for it: by then the answer is there, or that there is none.
 * One question a token, however many ask; bounded in total and for each
 * source. */

/* The next question that was not taken yet. False: none. */
MUST_USE bool pep_next_question(struct pep *p, int64_t now_s, struct pep_question *out);
void pep_take_reply(struct pep *p, uint64_t id, const struct pep_reply *r, int64_t now_s);
/* ---- checks of signatures ----
 *
 * What takes a public-key operation waits as for a question: the owner takes
 * the check, runs it on whatever thread, gives it back, and calls again what
 * had waited for its id. */

struct pep_check;

MUST_USE struct pep_check *pep_next_check(struct pep *p); /* NULL: none */
uint64_t pep_check_id(const struct pep_check *c);
/* Any thread. Touches nothing of pep's. */
void pep_check_run(struct pep_check *c);
/* It was run; takes it over. */
void pep_take_check(struct pep *p, struct pep_check *c);
/* One that nobody waits for any more. */
void pep_check_free(struct pep_check *c);

/* All that waited for replies was called again: what must not be kept (cache:
 * 0, a server that was away) is forgotten. */
void pep_settle(struct pep *p);

/* What became of the token of the last pep_find_psk() that found one, for the
 * record. Borrowed until the next call. */
const struct pep_taken *pep_taken_by_identity(const struct pep *p);

/* A colleague's pep changed this in its store (one operation of a change; of
 * those that put and delete, the ones that put are told first). Judged as at a
 * start; what cannot hold, number 0 deletes from the store. */
struct store_op;
void pep_take_change(struct pep *p, const struct store_op *op, int64_t now_s);

/* Ends what has expired; returns when to call again, in UTC seconds. */
int64_t pep_expire(struct pep *p, int64_t now_s);

struct pep_stats {
    uint64_t grants, sessions, verified, cache_hits, refused, expired, replaced;
    uint64_t unused;       /* grants dropped because nobody came for them */
    uint64_t ended;        /* by a reload: their authority or its key is gone */
    uint64_t corrupt;      /* records of the store that were not whole */
    uint64_t unknown_keys; /* tokens under a key that no authority has */
    uint64_t store_errors; /* changes that the store did not take */
    uint64_t revoked;      /* grants ended by a revocation */
    uint64_t asked;        /* questions to authorities */
    uint64_t answer_hits;  /* answers used again */
    uint64_t under_way;    /* questions that wait for their answers */
    uint64_t busy;         /* asked too many at a time: 4.29 */
    uint64_t away;         /* questions without a usable answer */
    uint64_t checks;       /* of signatures, on another thread */
    uint64_t forged;       /* of those, not what they should be */
    uint64_t checks_busy;  /* refused: too many at a time, or from one network: 4.29 */
    uint64_t checks_under_way;
};
void pep_get_stats(const struct pep *p, struct pep_stats *out);
uint64_t pep_unknown_keys(const struct pep *p); /* of these, for every turn */

/* Of one authority, since the policy was loaded. */
struct pep_authority_stats {
    uint64_t asked; /* questions: what no kept answer could say */
    uint64_t hits;  /* answers used again */
    size_t under_way;
};
void pep_get_authority_stats(const struct pep *p, int authority, struct pep_authority_stats *out);

#endif
