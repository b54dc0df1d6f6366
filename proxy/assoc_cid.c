/* Associations by connection ID (RFC 9146), and the move to another address. */
#include <stdlib.h>

#include "assoc_inside.h"
#include "hello.h"

struct assoc_cid {
    struct assoc_cid *next;
    struct assoc *assoc;
    uint8_t cid[DTLS_CID];
};

/* Only what we handed out is in the table, and that is random. */
static struct assoc_cid **bucket(const struct assocs *t, const uint8_t *cid)
{
    uint64_t h;
    _Static_assert(sizeof h == DTLS_CID, "all of it");
    memcpy(&h, cid, sizeof h);
    return &t->by_cid[(h >> 8 ^ h >> 40) & t->mask];
}

struct assoc *assocs_find_cid(const struct assocs *t, struct bytes cid)
{
    struct assoc_cid *c = t->by_cid && cid.n == DTLS_CID ? *bucket(t, cid.p) : NULL;
    while (c && memcmp(c->cid, cid.p, DTLS_CID) != 0)
        c = c->next;
    return c ? c->assoc : NULL;
}

struct bytes assoc_cid(const struct assoc *a)
{
    return a->cid ? bytes_of(a->cid->cid, DTLS_CID) : BYTES_NONE;
}

void assoc_forget_cid(struct assocs *t, struct assoc *a)
{
    if (!a->cid)
        return;
    struct assoc_cid **p = bucket(t, a->cid->cid);
    while (*p != a->cid)
        p = &(*p)->next;
    *p = a->cid->next;
    free(a->cid);
    a->cid = NULL;
}

/* Without memory for it the association is found by its address alone. */
void assoc_learn_cid(struct assocs *t, struct assoc *a, struct bytes cid)
{
    assoc_forget_cid(t, a);
    if (cid.n != DTLS_CID || assocs_find_cid(t, cid))
        return;
    if (!t->by_cid)
        t->by_cid = calloc(t->mask + 1, sizeof *t->by_cid);
    struct assoc_cid *c = t->by_cid ? malloc(sizeof *c) : NULL;
    if (!c)
        return;
    memcpy(c->cid, cid.p, DTLS_CID);
    c->assoc = a;
    struct assoc_cid **b = bucket(t, c->cid);
    c->next = *b;
    *b = c;
    a->cid = c;
}

/* Behind whoever else is there: one without a connection ID has nothing else
 * to be found by. */
static void move(struct assocs *t, struct assoc *a, int listener, const struct peer *to)
{
    struct assoc **p = assoc_bucket(t, a->listener, &a->peer);
    while (*p != a)
        p = &(*p)->hash_next;
    *p = a->hash_next;
    a->peer = *to;
    a->listener = listener;
    for (p = assoc_bucket(t, listener, to); *p;)
        p = &(*p)->hash_next;
    a->hash_next = NULL;
    *p = a;
    t->stats.moved++;
}

struct dtls_session *assoc_from_elsewhere(struct assocs *t, struct assoc *a, int listener,
                                          const struct peer *from, struct bytes datagram)
{
    /* A handshake beside the session belongs to the address as it is. */
    if (!assoc_owns(t, a, datagram))
        return NULL;
    if (!a->pending && dtls_is_newest(a->live->dtls, datagram))
        move(t, a, listener, from);
    return a->live->dtls;
}
