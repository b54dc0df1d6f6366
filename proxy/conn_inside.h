/* What the two files of connections share: conn.c is one connection, conns.c
 * the table of them with its listeners. No one else includes this. */
#ifndef POSTERN_CONN_INSIDE_H
#define POSTERN_CONN_INSIDE_H

#include "conn.h"
#include "deadline.h"
#include "limits.h"

/* The lists that a connection can be in. */
enum conn_link {
    CONN_ALL = 0,
    CONN_STRANGE, /* accepted, and no CSM yet or no TLS; oldest first */
    CONN_AGAIN,   /* has more to read than it took in its turn */
    CONN_TURN,    /* its handshake waits for conns_serve(); first come, first served */
    CONN_CHECKED, /* something waits until it is not busy */
    CONN_DEAD,    /* to be freed; and in no other */
    CONN_LINKS,
};

struct conn_list {
    struct conn *first, *last;
    size_t n;
};

struct conn {
    struct conns *table;
    struct stream *stream;
    struct peer peer;
    int tag;
    void *owner;
    uint64_t wait;
    bool accepted, plain;
    bool greeted; /* our CSM has left */
    bool open;    /* the peer's has come */
    bool pinged, released, custody, dead;
    uint8_t custody_n, custody_token[MSG_TOKEN_MAX];
    uint16_t next_mid;
    const char *reason;
    struct signals signals;
    uint64_t born_ms, used_ms, frame_ms, ping_ms, release_ms;
    struct deadline deadline;
    struct {
        struct conn *prev, *next;
        bool in;
    } links[CONN_LINKS];
    size_t in_n; /* bytes behind the headroom: part of a frame between turns */
    uint8_t in[FRAME_HEADROOM + MESSAGE_MAX];
};

struct conn_listener {
    struct conns *table;
    int fd, tag;
    struct tls *tls;
    bool watched;
};

enum { CONN_LISTENERS_MAX = 16 };

struct conns {
    struct loop *loop;
    struct conns_config config;
    struct conn_ops ops;
    void *user;
    struct conn_listener listeners[CONN_LISTENERS_MAX];
    size_t n_listeners;
    uint64_t accepts_us; /* the rate: when the accepts so far would have been due */
    uint64_t resume_ms;  /* listeners rest until then; 0: they do not */
    struct conn_list lists[CONN_LINKS];
    struct deadlines deadlines;
    struct conns_stats stats;
    struct msg msg; /* of the message that is handed on: too large for the stack */
    uint8_t scratch[MESSAGE_MAX];
};

void conn_enter(struct conn *c, enum conn_link k);
void conn_leave(struct conn *c, enum conn_link k);

MUST_USE struct conn *conn_new(struct conns *t, const struct peer *peer, int tag, bool plain,
                               struct instant now);
void conn_start(struct conn *c); /* it has its stream now */
void conn_free(struct conn *c);
void conn_go_on(struct conn *c, struct instant now);
void conn_check(struct conn *c);
void conn_expire(struct conn *c, struct instant now);
void conn_end(struct conn *c, const char *reason);
extern const struct stream_ops conn_stream_ops;

#endif
