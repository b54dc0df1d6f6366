/* Requests for CSEs on their way through the gate: read before they are
 * judged, written in the CSE's numbering, and answered in the client's. An
 * answer that is made here says its status (RSC) and whose answer it is (RQI),
 * and no more (TS-0008 6.2.4). For the gate's own files only. */
#ifndef POSTERN_GATE_M2M_H
#define POSTERN_GATE_M2M_H

#include "gate_internal.h"
#include "m2m_read.h"

/* True also when no device is a CSE; then g->m2m is NULL. */
MUST_USE bool gate_open_m2m(struct gate *g);
void gate_close_m2m(struct gate *g);

/* If the request is for a CSE, in->m2m is what it asks, and in->m what is left
 * of it. False: refused, and answered. */
MUST_USE bool gate_m2m_take(struct gate *g, struct arrival *in);
/* Names what it asks for as rules do; `strip` segments name the device. False:
 * refused, and answered. */
MUST_USE bool gate_m2m_name(struct gate *g, const struct arrival *in, struct request *r,
                            size_t strip);
/* Its parameters into the request for the device. */
MUST_USE bool gate_m2m_put(const struct arrival *in, const struct device_config *d,
                           struct msg *out);
/* What its answer needs of it into the exchange, whoever makes it and when. */
void gate_m2m_hold(const struct arrival *in);
/* What the judgement that permits it gave besides. */
void gate_m2m_keep(struct gate *g, const struct arrival *in, const struct pep_decision *d);

/* The CSE's answer for the client: as forward_response(). What it says of
 * registrations is noted. */
MUST_USE uint8_t gate_m2m_response(struct gate *g, struct exchange *x, const struct msg *m,
                                   struct msg *out);

struct m2m_dress {
    uint8_t rsc[4], format[4];
};
/* Answers that are made here: the one that leaves for `in`; and the one of x,
 * later: `by_device`, because of what x->up_end says came of it. */
void gate_m2m_dress(struct gate *g, const struct arrival *in, struct msg *m, struct m2m_dress *s);
void gate_m2m_dress_late(struct gate *g, struct exchange *x, struct msg *m, bool by_device,
                         struct m2m_dress *s);
/* The reply to `in` that follows is this denial. */
void gate_m2m_deny(struct gate *g, const struct arrival *in, const struct pep_decision *d);

#endif
