/* What the files of uplinks by HTTP share: uplink_http.c is the kind of uplink,
 * uplink_http_ask.c asks and is answered. No one else includes this. */
#ifndef POSTERN_UPLINK_HTTP_INSIDE_H
#define POSTERN_UPLINK_HTTP_INSIDE_H

#include "http_body.h"
#include "http_map.h"
#include "limits.h"
#include "uplink_inside.h"
#include "upstream.h"

enum { HTTP_URL_BYTES = HTTP_TARGET_MAX + 320 };

struct http_uplink {
    struct uplink base; /* first */
    struct http_side side;
    const struct device_tls *tls; /* NULL: plain */
    char address[PEER_TEXT];      /* to connect to */
    bool checking;
};

/* What is under way: a request, or a question whether anybody is there. */
struct ask {
    struct ask *next;
    uint64_t id; /* of the question; 0: there is none, or it is over */
    struct http_uplink *l;
    enum { ASK_REQUEST, ASK_OPEN, ASK_CHECK } what;
    bool answered; /* `message` is to be told */
    uint64_t token;
    size_t n;
    uint8_t message[MESSAGE_MAX]; /* the request; then the answer to be told */
};

/* Of one thread. */
struct http_uplinks {
    struct http_client *client;
    struct http_bodies *bodies;
    struct http_etags *etags;
    struct ask *asks, *spare;
    size_t n_spare;
    uint64_t last_id;
    size_t n_answered; /* of the asks */
    /* of the request, or answer, that is being worked on: too large for the stack */
    struct http_request request;
    struct http_reply reply;
    char url[HTTP_URL_BYTES];
};

/* Under way from here on; NULL: no memory. */
MUST_USE struct ask *http_ask_new(struct http_uplinks *all, struct http_uplink *l);
/* Over, whatever it was; its question is taken back. */
void http_ask_free(struct http_uplinks *all, struct ask *a);
void http_asks_forget(struct http_uplinks *all, const struct http_uplink *l);

/* Whether anybody is there: a connection, with TLS or without. */
void http_ask_probe(struct http_uplink *l, bool tls, int what, struct instant now);
/* The request `m`, which a->message holds: the server is asked, or it has its
 * answer from here. Neither: there is nothing to be told. */
void http_ask_serve(struct http_uplinks *all, struct ask *a, const struct msg *m,
                    struct instant now);
/* http_done_fn; `user` is all of them. */
void http_ask_done(void *user, uint64_t id, const struct http_answer *answer, struct instant now);

#endif
