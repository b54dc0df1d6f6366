/* What the kinds of uplinks share. For uplink*.c alone. */
#ifndef POSTERN_UPLINK_INSIDE_H
#define POSTERN_UPLINK_INSIDE_H

#include "uplink.h"

enum uplink_state { UPLINK_FRESH = 0, UPLINK_OPENING, UPLINK_OPEN, UPLINK_OVER };

struct uplink_kind {
    bool reliable;
    uint32_t answer_ms; /* of a reliable one: see uplink_answer_ms() */
    void (*start)(struct uplink *l, struct instant now);
    void (*send)(struct uplink *l, struct bytes message, struct instant now);
    void (*forget)(struct uplink *l, uint64_t token); /* NULL: it has nothing to forget */
    bool (*takes)(const struct uplink *l, size_t n);
    bool (*check)(struct uplink *l, struct instant now);
    void (*close)(struct uplink *l, struct instant now); /* the goodbye alone */
    void (*flush)(struct uplink *l);                     /* NULL: nothing waits in it */
    void (*free)(struct uplink *l);
    bool (*has_way)(const struct uplink *l);         /* NULL: always */
    bool (*is_leaving)(const struct uplink *l);      /* no new requests; NULL: never */
    uint64_t (*deadline_ms)(const struct uplink *l); /* NULL: none of its own, no expire() */
    void (*expire)(struct uplink *l, struct instant now);
    void (*give_up)(struct uplink *l, struct instant now); /* ends it; NULL: as all do */
};

/* First member of each kind's own. */
struct uplink {
    const struct uplink_kind *kind;
    struct uplinks *all;
    const struct uplink_ops *ops;
    void *user;
    enum uplink_state state;
    uint64_t open_by_ms;
    bool is_pending;
    struct uplink *next; /* pending */
};

void uplink_init(struct uplink *l, const struct uplink_kind *kind, struct uplinks *all,
                 const struct uplink_config *c);
/* It wants its turn: something is to be flushed, or it is over. */
void uplink_pend(struct uplink *l);
void uplink_opened(struct uplink *l, struct instant now);
void uplink_ended(struct uplink *l, enum uplink_end how, const char *reason, struct instant now);

/* uplink_datagram.c */
struct uplink *uplink_datagram_new(struct uplinks *all, const struct uplink_config *c,
                                   struct buf *diag);

/* uplink_http.c */
struct uplink *uplink_http_new(struct uplinks *all, const struct uplink_config *c,
                               struct buf *diag);
struct http_uplinks *http_uplinks_new(struct loop *loop);
void http_uplinks_free(struct http_uplinks *all); /* NULL is fine */
void http_uplinks_turn(struct http_uplinks *all, struct instant now);
uint64_t http_uplinks_deadline_ms(const struct http_uplinks *all);

/* uplink_stream.c */
struct conns *uplink_stream_conns(struct loop *l, size_t max);
struct uplink *uplink_stream_new(struct uplinks *all, const struct uplink_config *c,
                                 struct buf *diag);

#endif
