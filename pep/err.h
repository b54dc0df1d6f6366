/* The one error enum of pep: what can be wrong with a token, a key or the
 * store. Zero is OK. Each has the response code of RFC 9200 5.10.1.1
 * (PROTOCOL: parse 4.00, protection or authority 4.01, claims 4.00, iss
 * 4.01, exp 4.01, aud 4.03, scope 4.00). */
#ifndef POSTERN_PEP_ERR_H
#define POSTERN_PEP_ERR_H

#include "../policy/bytes.h"

enum pep_err {
    PEP_OK = 0,
    PEP_MALFORMED,    /* does not parse to a token */
    PEP_TOO_LARGE,    /* longer than TOKEN_MAX */
    PEP_TOO_DEEP,     /* nested more than TOKEN_NEST_MAX, or than a reader goes */
    PEP_UNSUPPORTED,  /* unknown critical header, algorithm, or format */
    PEP_UNKNOWN_KEY,  /* no authority has such a key */
    PEP_PROTECTION,   /* signature, MAC or decryption failed; algorithm not the key's */
    PEP_CLAIMS,       /* protected, but the claims are not to be had */
    PEP_CONFIRMATION, /* cnf missing, unusable, or a secret in the open */
    PEP_ISSUER,       /* iss is not the authority whose key it was */
    PEP_EXPIRED,      /* exp has passed */
    PEP_NOT_YET,      /* nbf is to come */
    PEP_NO_EXPIRY,    /* neither exp nor a bound of the authority's */
    PEP_CLOCK,        /* our own clock is not set: times cannot be judged */
    PEP_AUDIENCE,     /* aud missing or not ours */
    PEP_SCOPE,        /* scope missing, not understood, or wholly beyond the authority */
    PEP_KID_TAKEN,    /* kid belongs to a live grant of another authority */
    PEP_FULL,         /* no room for another grant */
    PEP_STORE,        /* could not be made to survive a restart */
    PEP_REVOKED,      /* by the operator or by its authority's list */
    PEP_FORM,         /* a form that can hide it from its authority's list */
    PEP_LIST,         /* its authority's list is too long to be kept here */
    PEP_CNONCE,       /* its authority's tokens carry a fresh cnonce of ours; this one does not */
    PEP_HOLDER,       /* its holder is not who asks */
    PEP_TOKEN_ID,     /* an ID by which no token of his is known */
    PEP_INACTIVE,     /* its authority says that it does not hold */
    PEP_AWAY,         /* its authority must be asked, and does not answer */
    PEP_BUSY,         /* its authority must be asked, and too many questions are under way */
    PEP_PENDING,      /* its authority is being asked: nothing is said yet */
    PEP_ENROLMENT,    /* of a client: over, or it is another's */
};

const char *pep_err_str(enum pep_err e);

/* CoAP response code (class << 5 | detail) for a post to authz-info. */
uint8_t pep_err_code(enum pep_err e);

#endif
