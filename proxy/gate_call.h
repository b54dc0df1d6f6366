/* Requests of a CSE to clients, over the association that a client holds: it
 * notifies an AE that is behind a gateway, and has no address of its own
 * (TS-0008 6.3.2). The one case in which we are the client of a client: message
 * IDs and retransmission are exchange.h's, tokens are ours, and one request at
 * a time is on its way to a client (RFC 7252 4.7).
 *
 * An AE-ID stands for the association that speaks for it: of several the one
 * that has used it last, whichever worker has it. For the gate's own files only. */
#ifndef POSTERN_GATE_CALL_H
#define POSTERN_GATE_CALL_H

#include "gate_m2m.h"

struct calls;

/* True also when no CSE notifies; then g->calls is NULL. */
MUST_USE bool gate_open_calls(struct gate *g);
void gate_close_calls(struct gate *g);

/* The permitted request `m`, its oneM2M options in the current numbering, goes
 * to who speaks for `ae_id` at this device; x is answered when that has
 * answered, or could not be reached. False: no room, or too long (x->up_end). */
MUST_USE bool gate_call(struct gate *g, struct exchange *x, int device, struct bytes ae_id,
                        const struct msg *m);

/* The association has just used this AE-ID, as it may. */
void gate_call_spoke(struct gate *g, const struct assoc *a, int device, struct bytes ae_id);
/* Its client answered a request of ours; false: none that we sent. */
MUST_USE bool gate_call_answered(struct gate *g, const struct arrival *in);
/* exchange_ops.notified; false: it was no call. */
bool gate_call_heard(struct gate *g, uint64_t id, enum exchange_heard heard);
/* It is gone, or has new keys. */
void gate_forget_calls(struct gate *g, struct assoc *a);
void gate_expire_calls(struct gate *g);
uint64_t gate_calls_deadline_ms(const struct gate *g);
/* What another worker told of that. True: it was. */
bool gate_take_spoke(struct gate *g, struct bytes message);
/* True: it was for these. */
bool gate_take_call_mail(struct gate *g, unsigned from, struct bytes message);

#endif
