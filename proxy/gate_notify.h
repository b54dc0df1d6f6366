/* Notifications of CSEs, by the listener that one of them has for itself
 * (`notify` of its device): to AEs whose pointOfAccess leads here. A path that
 * names another device goes there; else its first segment is an AE-ID, and the
 * request goes to the client that speaks for it (gate_call.h), as it is.
 *
 * Who sends from the CSE's address is the CSE, as the operator's network has
 * it. It is judged as the subject that the policy knows by its CSE-ID; what it
 * sends is a NOTIFY, and nothing else. For the gate's own files only. */
#ifndef POSTERN_GATE_NOTIFY_H
#define POSTERN_GATE_NOTIFY_H

#include "gate_m2m.h"

/* It came by such a listener. */
static inline bool gate_is_notified(const struct gate *g, const struct arrival *in)
{
    return g->calls && !in->assoc && g->config->listeners[in->listener].notifies;
}
/* Its address, by whichever port: many have one for each request. */
bool gate_is_cse(const struct device_config *d, const struct peer *from);
/* False: it came before, or of a stranger, who is told nothing. */
MUST_USE bool gate_notify_accept(struct gate *g, struct arrival *in);
/* From its beginning, as gate_request(). */
void gate_notify_request(struct gate *g, struct arrival *in);

/* True: the device is another worker's, and so is the datagram now. */
bool gate_mail_notified(struct gate *g, int listener, const struct peer *from,
                        struct bytes datagram);
bool gate_take_notify_mail(struct gate *g, struct bytes message);

#endif
