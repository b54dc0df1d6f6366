/* What gate_call.c and gate_call_mail.c share. Not for others. */
#ifndef POSTERN_GATE_CALL_INSIDE_H
#define POSTERN_GATE_CALL_INSIDE_H

#include "gate_call.h"
#include "speakers.h"

#define CALL_ID (UINT64_C(1) << 63) /* among the numbers of exchange_notify() */

enum call_state {
    CALL_FREE = 0,
    CALL_ELSEWHERE, /* another worker is asked whether it has the client */
    CALL_WAITS,     /* for the one before it to the same client */
    CALL_SENT,
    CALL_HEARD, /* acknowledged, its answer to come */
    CALL_OVER,  /* known so that a repeated answer is acknowledged, until the slot is needed */
};

/* Its large part, which is not looked at while one is searched for. */
struct call_room {
    uint8_t ae[M2M_ID_MAX];
    uint8_t request[MESSAGE_MAX]; /* bare, in the current numbering */
};

struct call {
    enum call_state state;
    int device;
    uint64_t id;
    uint64_t assoc; /* its client's number, or 0 */
    uint64_t due_ms;
    struct exchange *kept;
    /* Who asked: the CSE's request, here or, `remote`, a call of another worker's. */
    uint32_t slot;
    bool remote;
    unsigned worker; /* whose it is */
    uint64_t number; /* it is known as there */
    uint32_t asked;  /* bit i: worker i, or this one, has looked for the client */
    uint8_t ae_n;
    size_t n;
    struct call_room *room;
};

struct calls {
    uint64_t last;      /* id given */
    uint64_t looked_ms; /* for a speaker, among all */
    size_t n_open;
    struct speakers speakers;
    struct call list[NOTIFY_CALLS];
    struct call_room rooms[NOTIFY_CALLS];
};

/* gate_call.c */

/* NULL: no room. */
struct call *call_take(struct calls *t);
struct call *call_find(struct calls *t, uint64_t id);
/* The association here that speaks for it, or NULL. */
struct assoc *call_speaker(struct gate *g, int device, struct bytes ae_id);
void call_begin(struct gate *g, struct call *c, struct assoc *a);
/* It looks for its client, from where it had come to. */
void call_place(struct gate *g, struct call *c);
/* `m` is the client's answer, oneM2M options in the current numbering, or NULL. */
void call_finish(struct gate *g, struct call *c, const struct msg *m, enum exchange_up_end how);

/* gate_call_mail.c */

/* False: no room in its mailbox. */
MUST_USE bool call_ask(struct gate *g, struct call *c, unsigned worker);
/* What came of another worker's. */
void call_mail_over(struct gate *g, const struct call *c, const struct msg *m,
                    enum exchange_up_end how);
void call_tell_spoke(struct gate *g, const struct assoc *a, int device, struct bytes ae_id);

#endif
