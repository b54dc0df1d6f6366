/* What workers say to each other: every message begins with its kind. Plain
 * values of one process; nothing of it ever meets a wire. */
#ifndef POSTERN_MAIL_H
#define POSTERN_MAIL_H

#include "../policy/bytes.h"

enum mail_kind {
    MAIL_NOTHING = 0,
    /* told to all */
    MAIL_RECORD, /* a pep changed its store (crew_store.h) */
    MAIL_LINKS,  /* what a device publishes (gate_mail.c) */
    MAIL_SPOKE,  /* who has used an AE-ID last (gate_call.c) */
    /* mailed to one */
    MAIL_SERVE,       /* a permitted request for a device of yours (gate_mail.c) */
    MAIL_SERVED,      /* what came of it */
    MAIL_UNSERVE,     /* nobody waits for it any more */
    MAIL_DATAGRAM,    /* of a client of yours that has another address now (gate_mail.c) */
    MAIL_LEARN,       /* what your device publishes is wanted anew */
    MAIL_SUBSCRIBE,   /* an observation of one of your devices (gate_watch_mail.c) */
    MAIL_UNSUBSCRIBE, /* its end */
    MAIL_READY,       /* it can take the next notice */
    MAIL_NOTICE,      /* what there is to tell of it */
    MAIL_NOTIFIED,    /* a CSE's datagram to your device's listener (gate_notify.c) */
    MAIL_CALL,        /* a CSE's request for a client, should it be yours (gate_call.c) */
    MAIL_CALLED,      /* what came of it */
    MAIL_QUESTION,    /* to the leader: ask an authorization server (worker_ask.c) */
    MAIL_REPLY,       /* what it said */
    MAIL_UNKNOWN_KEY, /* to the leader: a token came whose key nobody knows */
};

struct mail_head {
    uint8_t kind;
};

static inline enum mail_kind mail_kind(struct bytes message)
{
    return message.n ? (enum mail_kind)message.p[0] : MAIL_NOTHING;
}

#endif
