/* What the authorization server of the tests knows and how it answers: its
 * tokens, its clients, its list of revoked ones, and how it is to misbehave.
 * Values only; helper_as.c has the sockets. It shares no code with what it
 * tests but the slice of bytes.h: CBOR is read by libcbor and written here.
 *
 * Everything lives in static storage and is bounded: it is one server of one
 * test. */
#ifndef POSTERN_AS_STATE_H
#define POSTERN_AS_STATE_H

#include "../policy/bytes.h"

enum { AS_BODY_MAX = 65536 };

enum as_endpoint { AS_TOKEN, AS_INTROSPECT, AS_TRL, AS_ENDPOINTS };

enum as_mood {
    AS_NORMAL = 0,
    AS_SILENT,   /* an empty ACK and then nothing */
    AS_INACTIVE, /* of introspection: no token is active */
    AS_GARBAGE,  /* bytes that are no CBOR */
    AS_HALF,     /* the first half of the answer */
    AS_EMPTY,    /* the right code without a payload */
    AS_WRAP,     /* of /token: a reference in a second byte string */
    AS_REFUSE,   /* `code` and, but for 4.03, an error in the dialect's numbers */
};

struct as_endpoint_state {
    enum as_mood mood;
    uint8_t refusal;  /* of AS_REFUSE */
    uint8_t success;  /* instead of 2.01, or 2.05 of the list; 0: as it ought to be */
    int format;       /* instead of the dialect's; -1: as it ought to be */
    unsigned slow_ms; /* before each answer */
    unsigned asked;
};

struct as_answer {
    uint8_t code; /* 0: none, ever */
    int format;   /* -1: none */
    struct bytes body;
    char why[96]; /* what was wrong with the question, or "" */
};

/* `ace07`: the numbers of draft-ietf-ace-oauth-authz-07, else of RFC 9200. */
void as_init(bool ace07);
struct as_endpoint_state *as_endpoint(enum as_endpoint e);

/* Each returns NULL, or why not. Values are CBOR items, whole. */
const char *as_token_begin(struct bytes handle); /* replaces what it had */
const char *as_token_claim(const char *name, struct bytes value);
const char *as_token_forget(struct bytes handle);
const char *as_client(const char *id, const char *secret);
const char *as_next(struct bytes handle); /* /token hands this out next */

/* One update of the list: hashes that come and hashes that go. */
const char *as_trl_update(const struct bytes *add, size_t n_add, const struct bytes *del,
                          size_t n_del);
const char *as_trl_limits(unsigned max_n, unsigned max_batch);
void as_trl_forget(void); /* the list is as new: no history, nothing revoked */

/* What stands in *out lives until the next call. content_format -1: none. */
void as_ask_token(struct bytes body, int content_format, struct as_answer *out);
void as_ask_introspect(struct bytes body, int content_format, struct as_answer *out,
                       struct bytes *token);
void as_ask_trl(const char *query, struct as_answer *out);

#endif
