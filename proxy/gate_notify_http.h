/* The listeners by which CSEs notify over HTTP (`notify: http://`): what comes
 * is a request of gate_notify.h as by CoAP, from an endpoint of its connection's
 * address, and answered on that connection. Of several workers the device's own
 * alone listens. For the gate's own files only. */
#ifndef POSTERN_GATE_NOTIFY_HTTP_H
#define POSTERN_GATE_NOTIFY_HTTP_H

#include "gate_notify.h"

struct gate_http;

/* True also when there are none; then g->http is NULL. */
MUST_USE bool gate_open_http(struct gate *g, struct buf *diag);
void gate_close_http(struct gate *g);
/* The answer to one of their requests. */
void gate_http_send(struct gate *g, int listener, struct bytes message);
/* At the beginning of a turn. */
void gate_http_turn(struct gate *g);
uint64_t gate_http_deadline_ms(const struct gate *g);

#endif
