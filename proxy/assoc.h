/* The table of security associations, keyed by listener and peer.
 *
 * An association is a live session, or a handshake under way, or both: a
 * client that comes back from the same address and port gets its new
 * handshake at once, and the old session lives until the new one is complete
 * (RFC 6347 4.2.8). Bounded: half-open handshakes give way first, an
 * established association never does for a stranger.
 *
 * Nothing is freed inside a call that was given it: assoc_close() marks it
 * dead, assocs_reap() frees at the end of the turn.
 */
#ifndef POSTERN_ASSOC_H
#define POSTERN_ASSOC_H

#include "deadline.h"
#include "dtls.h"
#include "limits.h"

struct exchange;
struct assocs;

struct assoc {
    uint64_t id; /* for logs and records; never reused */
    struct peer peer;
    int listener;                 /* index of the listening socket it came by */
    struct dtls_session *live;    /* established, or NULL */
    struct dtls_session *pending; /* its handshake, or NULL */
    uint64_t wait;                /* the question that its handshake waits for; kept by the gate */
    struct pep_session *session;  /* opened by the gate when `live` is; or NULL */
    struct exchange *exchanges;   /* head of its list, kept by exchange.c */
    unsigned n_exchanges;
    uint16_t next_mid; /* for our own messages to this client */
    bool dead;
    uint64_t used_ms; /* last authentic record */
    /* kept by assoc.c */
    struct deadline deadline;
    struct deadline ends; /* kept by the gate: when the last grant ends */
    struct assoc *hash_next, *id_next, *idle_prev, *idle_next, *half_prev, *half_next, *dead_next;
    uint64_t born_ms;   /* of the pending handshake */
    const char *reason; /* why dead */
};

/* What the table asks of its owner. */
struct assoc_ops {
    enum pep_key_state (*find_psk)(void *user, struct assoc *a, struct bytes identity,
                                   struct pep_proof *out);
    bool (*judge_certificate)(void *user, struct assoc *a, const struct pep_certificate *c,
                              struct pep_proof *out);
    void (*send)(void *user, int listener, const struct peer *to, struct bytes datagram);
    /* `live` is new: the old pep session (if any) must be closed, exchanges
     * of the old session forgotten, and a new pep session opened from
     * dtls_proof(). False: the association is closed. */
    bool (*established)(void *user, struct assoc *a, struct instant now);
    /* The association is dead and about to be freed: let go of what refers
     * to it. Called by assocs_reap(), never earlier. `reason` is static text. */
    void (*closed)(void *user, struct assoc *a, const char *reason);
};

struct assocs_config {
    size_t max, max_half, max_half_per_net; /* limits.h */
    uint64_t idle_ms;
};

struct assocs_stats {
    uint64_t established, half_open; /* now */
    uint64_t hellos, cookies, handshakes, completed, failed, evicted, refused, stray;
};

MUST_USE struct assocs *assocs_new(const struct assocs_config *c, const struct dtls_config *dc,
                                   const struct assoc_ops *ops, void *user, struct buf *diag);
void assocs_free(struct assocs *t);
struct dtls *assocs_dtls(struct assocs *t);

/* Takes a datagram from the wire. Returns the association whose plaintext is
 * now to be read with assoc_read(), or NULL. */
struct assoc *assocs_receive(struct assocs *t, int listener, const struct peer *from,
                             struct bytes datagram, struct instant now);
/* The next plaintext into storage, n 0: none left. */
struct bytes assoc_read(struct assocs *t, struct assoc *a, struct instant now, uint8_t *storage,
                        size_t cap);
/* Encrypts into `out`. False: not established or dead. */
MUST_USE bool assoc_write(struct assoc *a, struct bytes plain, struct buf *out);

void assoc_wake(struct assocs *t, struct assoc *a, struct instant now);
void assoc_close(struct assocs *t, struct assoc *a, const char *reason);
struct assoc *assocs_find(struct assocs *t, uint64_t id);
/* All that are not dead, in no order; `visit` may close the one it is given. */
/* Those with a handshake under way: few, whatever the table holds. */
void assocs_each_pending(struct assocs *t, void (*visit)(void *user, struct assoc *a), void *user);
void assocs_each(struct assocs *t, void (*visit)(void *user, struct assoc *a), void *user);

uint64_t assocs_deadline_ms(const struct assocs *t);
void assocs_expire(struct assocs *t, struct instant now);
void assocs_reap(struct assocs *t);
void assocs_get_stats(const struct assocs *t, struct assocs_stats *out);

#endif
