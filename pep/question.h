/* What pep asks of an authorization server, and what came back: the contract
 * between introspection, which knows tokens and no transport, and the wire,
 * which knows transports and no tokens.
 *
 * The bytes of a question belong to pep and live until its reply was taken.
 * Those of a reply belong to the wire and live for the call. */
#ifndef POSTERN_QUESTION_H
#define POSTERN_QUESTION_H

#include "../policy/bytes.h"

/* Formats of a body: CoAP content-formats (RFC 7252 12.3), and those of HTTP
 * that have a number of ours, beyond what the option can hold. */
enum pep_format {
    PEP_FORMAT_NONE = -1, /* none given, or none that is known */
    PEP_FORMAT_ACE_CBOR = 19,
    PEP_FORMAT_JSON = 50,
    PEP_FORMAT_CBOR = 60,
    PEP_FORMAT_PROBLEM = 257,               /* application/concise-problem-details+cbor */
    PEP_FORMAT_TRL = 262,                   /* application/ace-trl+cbor */
    PEP_FORMAT_FORM = 0x10000,              /* application/x-www-form-urlencoded */
    PEP_FORMAT_INTROSPECTION_JWT = 0x10001, /* application/token-introspection+jwt (RFC 9701) */
    PEP_FORMAT_JWK_SET = 0x10002,           /* application/jwk-set+json */
};

/* What a question is, and so how it is put on the wire. */
enum pep_ask {
    PEP_ASK_INTROSPECT = 0, /* about a token, of its authority: POST */
    PEP_ASK_DYNAMIC = 1,    /* for a permission, of an authority: oneM2M's NOTIFY */
    PEP_ASK_DECISION = 2,   /* for a decision, of a decision point: oneM2M's UPDATE */
};

struct pep_question {
    uint64_t id; /* nonzero */
    enum pep_ask ask;
    int authority; /* index into policy_authority(), or policy_point() for a decision */
    struct bytes body;
    int content_format;
    bool http; /* the body is for HTTP; else for CoAP */
};

struct pep_reply {
    bool away;          /* no answer: nobody there, too slow, or too many asked */
    uint8_t code;       /* CoAP's; an HTTP status in the same form: 401 is 4.01, 200 is 2.00 */
    int content_format; /* of the answer; enum pep_format, or another number */
    struct bytes body;  /* n 0 when away */
    uint32_t retry_s;   /* when it is worth asking again; 0: not known */
    uint16_t rsc;       /* oneM2M's response status code; 0: none */
    bool has_max_age;   /* it says how long it holds: */
    uint32_t max_age_s;
};

#endif
