/* What the files of observe.h share: the tables, and who is subscribed to what.
 * For observe*.c alone. */
#ifndef POSTERN_OBSERVE_INSIDE_H
#define POSTERN_OBSERVE_INSIDE_H

#include "../policy/siphash.h"
#include "observe.h"
#include "tagmap.h"

enum { NONE = UINT32_MAX };

/* A subscriber, in one of its observation's lists. */
struct member {
    struct subscriber who;
    uint32_t at; /* its observation; NONE: free */
    uint32_t prev, next;
    uint64_t shown; /* the version that it was told last; 0: none */
    bool busy;      /* it has not said that it is ready */
    bool waits;     /* it has had no answer yet, */
    bool failed;    /* and the request that it waited for has got none */
};

struct list {
    uint32_t head, tail;
};

enum state {
    FREE = 0,
    OPEN,
    OVER,    /* ended by the device: what is there is the last, and is told */
    LEAVING, /* nobody is left, and the device is being told */
};

struct observation {
    enum state state;
    uint32_t tag; /* of the request */
    int device;
    uint64_t token;
    struct exchange *x;      /* its request under way, or NULL */
    struct list ready, busy; /* members; of the ready, who has seen least comes first */
    unsigned n, failures;
    bool failed; /* those members are to be told */
    bool known;  /* the device has it on its list, as far as we know */

    /* the newest representation, as it came */
    uint64_t version; /* counts; 0: none came yet */
    uint64_t paced;   /* the version that began to be told last, */
    uint64_t pace_ms; /* and when it would be the next one's turn */
    uint64_t came_us, fresh_until_ms;
    uint32_t number;
    bool confirm;
    enum exchange_up_end up_end; /* when message_n is 0 */
    enum exchange_up_end failure;

    struct deadline tell, renew;
    uint32_t next_free;
    size_t request_n, message_n;
    uint8_t request[OBSERVE_REQUEST_MAX], message[MESSAGE_MAX];
};

struct observes {
    struct observes_config config;
    struct siphash_key seed;
    struct observation *all;
    struct member *members;
    uint32_t n_used, free_top; /* observations; those from n_used on were never touched */
    uint32_t n_members_used, free_member;
    struct tagmap by_request, by_subscriber;
    struct deadlines tell, renew;
    struct observes_stats stats;
};

/* observe_members.c. A member is named by its place in the table; NONE: there
 * is none. */
uint32_t member_find(const struct observes *t, struct subscriber s);
bool member_has_room(const struct observes *t);
/* One that is up to date waits at the end for what comes; one that has seen
 * nothing is the first to be told. */
void member_join(struct observes *t, struct observation *o, struct subscriber s, bool fresh);
void member_leave(struct observes *t, uint32_t i);
/* From one list to the other: it was told the newest version; */
void member_told(struct observes *t, uint32_t i);
/* that there was no room for that; */
void member_untold(struct observes *t, uint32_t i, bool waits);
/* or can be told. True: and there is something to tell. */
bool member_ready(struct observes *t, uint32_t i, bool seen);
/* Whether a ready one is behind: the first has seen least. */
bool member_is_behind(const struct observes *t, const struct observation *o);

#endif
