/* The judgement: a compiled policy, a question, a verdict.
 *
 * `struct policy` is opaque and immutable once loaded. It is shared by
 * reference count (atomic) and swapped whole at reload, so a decision never
 * sees two policies. Nothing here touches a socket, a clock, a key or a log:
 * the time, the peer and the proof come in with the question.
 *
 * Grants are compiled against one policy (`policy_grant_new`): their words
 * become role and scope bits, clipped to what their authority may grant. A
 * grant that was compiled against another policy must not be asked about;
 * compare policy_grant_policy().
 *
 * Default deny; zero is the safe value of every enum.
 */
#ifndef POSTERN_POLICY_H
#define POSTERN_POLICY_H

#include "bytes.h"
#include "consult.h"
#include "endpoint.h"
#include "freshness.h"
#include "limit.h"

struct policy;
struct policy_grant;

/* Methods are CoAP method codes (RFC 7252 12.1.1, RFC 8132): 1 GET ... 7
 * iPATCH. A set of them has bit code-1, as in AIF (RFC 9237 3). */
#define POLICY_METHOD_BIT(code) (1u << ((code)-1))
#define POLICY_METHODS_ALL      0x7fu
/* Operations of oneM2M, 1 CREATE ... 6 DISCOVERY (m2m_words.h), in the bits
 * above them: together the actions that a rule is about. */
#define POLICY_OPERATION_BIT(op) (1u << (6 + (op)))
/* DELETE, of either kind */
#define POLICY_DELETES (POLICY_METHOD_BIT(4) | POLICY_OPERATION_BIT(4))

enum policy_limits {
    POLICY_PATH_SEGMENTS_MAX = 32, /* a longer path matches no pattern */
    POLICY_GRANTS_MAX = 16,        /* grants in one question; with more it is denied */
    POLICY_HASH_HEX = 16,          /* hex digits of the policy's hash */
    POLICY_FINGERPRINT = 32,       /* SHA-256 of a certificate's DER */
    POLICY_ROLE_IDS_MAX = 16,      /* that one question names; with more it is denied */
    POLICY_ORIGINATORS_MAX = 64,   /* AE-IDs of one subject; each request looks through them */
};

enum policy_verdict { POLICY_DENY = 0, POLICY_PERMIT = 1 };

/* Why, in rising order of nearness: the reason of a denial is the highest
 * that any grant and rule came to. `forbid` outranks all but holding nothing:
 * who proves nothing is asked for a token first. */
enum policy_reason {
    POLICY_NO_GRANT = 0,     /* nothing was held: 4.01 */
    POLICY_NOT_AUDIENCE,     /* held, but for other devices: 4.03 */
    POLICY_NOT_RESOURCE,     /* no rule of the grants names this path: 4.03 */
    POLICY_BEYOND_AUTHORITY, /* the token says so, its authority may not: 4.03 */
    POLICY_NOT_METHOD,       /* the path, but not this method or operation: 4.05 */
    POLICY_NOT_TYPE,         /* that too, but not a resource of this type: 4.03 */
    POLICY_CONDITION,        /* the rule, but not here and now: 4.03 */
    POLICY_FORMAT,           /* that too, but not a payload of this format: 4.15 */
    POLICY_PAYLOAD,          /* that too, but not so much of it: 4.13 */
    POLICY_FORBIDDEN,        /* a `forbid` rule: 4.03 */
    POLICY_PERMITTED,
};

/* How strongly the association is known, in rising order. */
enum policy_strength {
    POLICY_STRENGTH_NONE = 0,
    POLICY_STRENGTH_BEARER = 1, /* only a bearer token speaks for it */
    POLICY_STRENGTH_PSK = 2,
    POLICY_STRENGTH_CERTIFICATE = 3, /* asymmetric key of the handshake */
};

enum policy_mode { POLICY_ENFORCE = 0, POLICY_REPORT = 1 };

/* One entry of an AIF scope (RFC 9237 2), already read from CBOR. */
struct policy_aif {
    struct bytes path; /* "/s/temp?q": absolute, exact, UTF-8 */
    uint64_t mask;     /* bit code-1; +32 for resources this client created */
};

/* What a token or an enrolment says, by name. Borrowed for the call. */
struct policy_claims {
    int authority;      /* index into policy_authority(), -1: enrolled subject */
    struct bytes scope; /* words separated by single spaces (RFC 6749 3.3) */
    const struct policy_aif *aif;
    size_t n_aif;
    const struct bytes *roles; /* roles named outside the scope (enrolled subjects) */
    size_t n_roles;
};

/* What became of the claims: counts, and the first word of each kind. */
struct policy_grant_report {
    size_t n_known;                           /* words and entries that the grant now holds */
    size_t n_unknown;                         /* words that name neither a scope nor a role */
    size_t n_beyond;                          /* known, but more than the authority may grant */
    struct bytes first_unknown, first_beyond; /* into the claims */
};

/* One thing held by the asker. */
struct policy_holding {
    const struct policy_grant *grant;
    bool covers; /* its audience covers the device that is asked for */
    enum policy_strength strength;
    /* It says itself that this very request may be done (the privileges of a
     * oneM2M token): that counts as far as its authority may grant it, by
     * may-grant's resources. */
    bool direct;
};

struct policy_peer {
    uint8_t family; /* 4, 6, or 0: unknown; then no network condition permits, and each forbids */
    uint8_t addr[16];
};

struct policy_question {
    uint8_t method; /* CoAP method code */
    const struct bytes *path;
    size_t n_path;
    struct bytes query; /* joined by '&' as in an AIF path, without '?'; an option that
                           holds '&' itself has it as %26, and so matches no entry */
    const struct policy_holding *held;
    size_t n_held;
    int64_t now_s; /* UTC seconds since 1970 */
    struct policy_peer peer;
    bool created; /* this subject created the resource (AIF Dynamic) */
    /* Bytes of payload; of a transfer in blocks, what is known of the whole. */
    uint64_t payload_n;
    int32_t content_format; /* of the payload; -1: not told */
    /* enum m2m_operation; 0: not of oneM2M. Then only rules with `operations:`
     * permit, and each `forbid` that names the operation or the method counts. */
    uint8_t operation;
    int32_t type; /* oneM2M resource type of a CREATE, -1: none */
    /* Segments (bit i) that a permit must name: `*` and `**` do not stand for
     * them. A `forbid` may. */
    uint32_t named;
    /* It is about all that is below the path, too: permitted by `**` alone, and
     * by nothing where a `forbid` stands anywhere below. */
    bool below;
    /* Roles, by their IDs, that the asker wants to be judged by alone: of what
     * is held only these roles count, where they are held, and what they
     * include. They prove nothing. n_only 0: whatever is held. */
    const struct bytes *only;
    size_t n_only;
};

struct policy_rule_ref {
    const char *file; /* of the policy; NULL: no rule, or an AIF entry */
    unsigned line;
};

/* One way to permit the request, if all its rates have room. */
struct policy_offer {
    int held; /* as below */
    struct policy_rule_ref rule;
    const char *holder;
    uint8_t n_rates; /* at least 1; room stays for the subject's own */
    const struct policy_rate *rates[POLICY_RATES_MAX];
};

struct policy_decision {
    enum policy_verdict verdict; /* what is true by the rules */
    enum policy_reason reason;
    struct policy_rule_ref rule; /* permitted by, forbidden by, or nearest */
    int held;                    /* index into question.held, -1: none */
    const char *holder;          /* role, scope or "aif" that the rule is of; may be NULL */
    const char *missing;         /* for CONDITION: "hours", "days", "dates", "network",
                                    "association" or (AIF Dynamic) "created"; or NULL */
    uint32_t max_payload;        /* for PAYLOAD: the most that would do */
    /* Permitted, but only if one of these has room; the first is what `held`,
     * `rule` and `holder` are of. 0: at any rate. */
    uint8_t n_offers;
    struct policy_offer offers[POLICY_OFFERS_MAX];
};

/* Reads a policy. `name` is how diagnostics call the file; `hash` is hex of
 * its content's hash (POLICY_HASH_HEX digits). On failure NULL, and `diag`
 * (storage of the caller) holds compiler-style text: file:line:col, the
 * offending line, a caret. */
MUST_USE struct policy *policy_load(const char *name, struct bytes text, const char *hash,
                                    struct buf *diag);

/* What the policy's text refers to and is a part of it: the file of
 * enrolments. */
struct policy_more {
    const char *name;  /* as diagnostics call it */
    struct bytes text; /* read by the end of the load */
    const char *hash;  /* of the policy and this together */
};
struct policy_files {
    /* `file` as written. False, with *why: it cannot be read. */
    bool (*read)(void *user, const char *file, struct policy_more *out, const char **why);
    void *user;
};
/* The same, with those. */
MUST_USE struct policy *policy_load_with(const char *name, struct bytes text, const char *hash,
                                         const struct policy_files *files, struct buf *diag);
MUST_USE struct policy *policy_ref(struct policy *p);
void policy_unref(struct policy *p); /* NULL is fine */

const char *policy_hash(const struct policy *p);
const char *policy_name(const struct policy *p);
enum policy_mode policy_mode(const struct policy *p);

/* NULL on allocation failure only; a grant of nothing is a grant. The
 * grant keeps a reference on its policy. */
MUST_USE struct policy_grant *policy_grant_new(struct policy *p, const struct policy_claims *c,
                                               struct policy_grant_report *report);
void policy_grant_free(struct policy_grant *g);
const struct policy *policy_grant_policy(const struct policy_grant *g);
/* Whether the authority may grant anything on resources that tokens name
 * themselves (may-grant's `resources`). */
bool policy_grants_resources(const struct policy *p, int authority);
/* The roles in it, with those that they include, by their IDs where they have
 * some: how many, `max` at most. */
size_t policy_grant_roles(const struct policy_grant *g, struct bytes *out, size_t max);

void policy_decide(const struct policy *p, const struct policy_question *q,
                   struct policy_decision *out);

/* The methods of POLICY_METHODS_ALL that would be permitted at some rate;
 * q->method is ignored. For discovery. */
uint32_t policy_methods(const struct policy *p, const struct policy_question *q);

/* The same of operations, as a set of POLICY_OPERATION_BIT; a CREATE is of the
 * question's type. */
uint32_t policy_operations(const struct policy *p, const struct policy_question *q);

/* The one scope word that would permit this method on this path and that
 * the authority may grant: the narrowest by number of rules, empty if none.
 * For hints (RFC 9200 5.3). Borrowed from the policy. */
struct bytes policy_scope_for(const struct policy *p, int authority,
                              const struct policy_question *q);

/* What a permit is about, for who checks that it can work with the devices
 * there are. Segments are n 0 for `*`; `rest`: they end in `**`. */
struct policy_permit {
    const struct bytes *path;
    size_t n_path;
    bool rest;
    const char *holder; /* role or scope */
    uint16_t actions;   /* POLICY_METHOD_BIT, POLICY_OPERATION_BIT */
    unsigned line;
};
MUST_USE bool policy_each_permit(const struct policy *p,
                                 void (*visit)(void *user, const struct policy_permit *permit),
                                 void *user); /* false: no memory */
/* The same of each `forbid`, which has no holder (NULL). */
MUST_USE bool policy_each_forbid(const struct policy *p,
                                 void (*visit)(void *user, const struct policy_permit *forbid),
                                 void *user);

const char *policy_reason_str(enum policy_reason r);

/* ---- what the file says of others, as written; used by pep and proxy ---- */

enum policy_dialect { POLICY_RFC9200 = 0, POLICY_ACE07 = 1, POLICY_OAUTH = 2, POLICY_ONEM2M = 3 };

/* How a oneM2M token may be protected (TS-0003 7.3.2.6.2): signed, encrypted,
 * or signed and then encrypted. */
enum policy_class {
    POLICY_JWS = 0,
    POLICY_JWE = 1,
    POLICY_NESTED = 2,
    POLICY_CLASSES = 3,
    POLICY_CLASSES_ALL = 7,
};

/* Names as written; n 0: whatever the authority's keys are for. */
struct policy_algorithms {
    const struct policy_file *of;
    size_t n;
};

struct policy_authority {
    const char *name;
    const char *issuer; /* NULL: none given; then tokens must carry no iss */
    enum policy_dialect dialect;
    const char *keys; /* file, as written (relative to the policy file); NULL: none */
    bool bearer;      /* tokens without a proof-of-possession key count */
    uint8_t classes;  /* onem2m: bits of enum policy_class */
    /* That may protect its tokens, of its dialect's family (COSE or JOSE); of
     * onem2m by class, else the first is for all. */
    struct policy_algorithms algorithms[POLICY_CLASSES];
    struct policy_wire wire; /* where it is asked */
    struct policy_dynamic dynamic;
    struct policy_freshness fresh;
    unsigned line;
};

struct policy_subject {
    const char *name;
    const char *psk_identity; /* or NULL */
    const char *key_file;     /* with psk_identity */
    const char *certificate;  /* name in the certificate (SAN, else CN), or NULL */
    /* oneM2M: the AE-IDs that it speaks for, written or named by its
     * credential. The first is for the record, too; NULL: none. */
    const char *originator;
    const char *const *originators;
    size_t n_originators;
    bool named;      /* by its credential, and by nobody else */
    const char *cse; /* or: it is this CSE, by its CSE-ID */
    /* What it may call itself to register an AE: "S", "C", an AE-ID-Stem, in
     * which '*' stands for any characters. */
    const char *const *may_register;
    size_t n_may_register;
    struct policy_rate rate; /* of all that it asks for */
    const char *const *roles;
    size_t n_roles;
    unsigned line;
    const char *file;  /* where the line is: the policy, or its enrolments */
    bool managed;      /* the latter: by `postern enrol` */
    int64_t expires_s; /* from then on it does not associate; INT64_MAX: never */
    bool pinned;       /* with `certificate`: this one alone */
    uint8_t fingerprint[POLICY_FINGERPRINT];
};

/* Who may ask without a security association, for what, and as whom
 * (`mca-without-association`). */
struct policy_unassociated {
    const char *const *originators; /* AE-IDs */
    size_t n_originators;
    uint16_t operations; /* POLICY_OPERATION_BIT */
    const char *const *roles;
    size_t n_roles;
    unsigned line;
};

/* A certificate that was enrolled and is not any more. */
struct policy_ended {
    const char *name;
    int64_t expires_s;
    uint8_t fingerprint[POLICY_FINGERPRINT];
    unsigned line;
};
/* The file of enrolments, as written (relative to the policy); NULL: none. */
const char *policy_enrolments(const struct policy *p);
const struct policy_ended *policy_ended(const struct policy *p, size_t i);

const struct policy_authority *policy_authority(const struct policy *p,
                                                size_t i); /* NULL: past the end */
const struct policy_subject *policy_subject(const struct policy *p, size_t i);
int policy_subject_find(const struct policy *p, struct bytes name); /* -1: none */
const struct policy_unassociated *policy_unassociated(const struct policy *p, size_t i);
int policy_authority_find(const struct policy *p, struct bytes name); /* -1: none */
/* Decision points, in the file's order; POLICY_POINTS_MAX at most. */
const struct policy_point *policy_point(const struct policy *p, size_t i);
int policy_point_find(const struct policy *p, struct bytes name); /* -1: none */
/* Who else is asked about a request for this path. */
void policy_consult(const struct policy *p, const struct bytes *path, size_t n_path,
                    struct policy_consult *out);
/* Whose originator, or CSE-ID, this text is, exactly as it is written; -1:
 * nobody's. */
int policy_subject_of_originator(const struct policy *p, struct bytes id);
int policy_subject_of_cse(const struct policy *p, struct bytes id);

/* The role ID (name@issuer, TS-0003 7.1) of a role that is named by its alias
 * or by that ID; NULL: there is no such role, or it has no ID. */
const char *policy_role_id(const struct policy *p, struct bytes role);

#endif
