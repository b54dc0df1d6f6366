/* What the operator may ask of the running daemon, over the control socket
 * or by signals: status, devices, reload, stop; and revocations
 * (admin_revoke.c). Everything here runs on the worker's loop. */
#ifndef POSTERN_ADMIN_H
#define POSTERN_ADMIN_H

#include "audit_sink.h"
#include "control.h"
#include "workers.h"

enum admin_limits {
    ADMIN_DEVICES_MAX = 100, /* in one answer; the rest is asked for by `from` */
    ADMIN_REVOCATIONS_MAX = 50,
    ADMIN_SERVERS_MAX = 50,
    ADMIN_DIAG_MAX = 16 << 10,
};

struct admin {
    const struct config *config;
    struct pep *pep;
    struct workers *workers;
    struct audit_sink *audit;    /* or NULL */
    int64_t started_s, loaded_s; /* the daemon; the policy in force */
    uint64_t reloads, reloads_failed;
    bool last_failed;
};

/* control_answer_fn; `user` is a struct admin. */
void admin_answer(void *user, const struct control_request *r, struct instant now, struct buf *out);

/* "revoke", "unrevoke" and "revocations"; false: another command. */
MUST_USE bool admin_revoke_answer(struct admin *a, const struct control_request *r,
                                  struct instant now, struct buf *out);

/* The member "servers" of a status (admin_servers.c). */
void admin_put_servers(const struct admin *a, struct instant now, struct buf *out);

/* Policy and keys anew, at once or not at all; the audit file reopened.
 * False: the last good policy stays, and `diag` says why. */
bool admin_reload(struct admin *a, struct instant now, struct buf *diag);

#endif
