/* The line to one server that speaks CoAP: its name resolved, a socket, DTLS
 * on it, and a CoAP client on that. It is opened by the first question, kept
 * open, and opened anew when it is lost or seems to be: the old connection
 * goes on until the new one stands. One handshake is under way at a time. */
#ifndef POSTERN_COAP_LINE_H
#define POSTERN_COAP_LINE_H

#include "coap_client.h"
#include "dtls_out.h"
#include "loop.h"
#include "resolve.h"

struct coap_line;

enum coap_line_limits {
    COAP_LINE_QUESTIONS = 136, /* under way at once: AUTHORITY_EACH, and lists beside them */
    COAP_LINE_WINDOW = 8,      /* of them not yet acknowledged: a server, not a sensor */
    COAP_LINE_CONNECT_MS = 10000,
    COAP_LINE_SHORT_MS = 5000, /* a connection that ended sooner is not opened again at once */
};

struct coap_line_ops {
    void (*answered)(void *user, uint64_t id, const struct coap_answer *a, struct instant now);
    void (*random)(void *user, void *to, size_t n);
};

/* `dtls` is taken over; NULL: plain CoAP, which goes to this machine only.
 * `host` is copied. */
MUST_USE struct coap_line *coap_line_new(struct loop *l, struct resolver *r, const char *host,
                                         int port, struct dtls_out *dtls,
                                         const struct coap_line_ops *ops, void *user);
/* Nobody is told. Not from within a callback. */
void coap_line_free(struct coap_line *c, struct instant now);

/* As coap_client_ask() and _cancel(). */
MUST_USE bool coap_line_ask(struct coap_line *c, uint64_t id, const struct coap_question *q,
                            struct instant now);
void coap_line_cancel(struct coap_line *c, uint64_t id, struct instant now);

/* An answer of the resolver; false: it is not for this line. */
bool coap_line_resolved(struct coap_line *c, uint64_t id, const struct peer *to,
                        struct instant now);

/* Of every turn: flushes, lets time pass. The next deadline. */
uint64_t coap_line_turn(struct coap_line *c, struct instant now);

const char *coap_line_reason(const struct coap_line *c); /* why it was last lost; NULL: never */

#endif
