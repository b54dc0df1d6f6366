/* What the files of authority.c share: a question's slot, the servers, and how
 * a question gets onto its transport. Not for other rooms. */
#ifndef POSTERN_AUTHORITY_INSIDE_H
#define POSTERN_AUTHORITY_INSIDE_H

#include "authority.h"
#include "coap_line.h"
#include "http_client.h"

/* Whom we ask, over one transport with one set of credentials. */
struct server {
    struct server *next;
    struct authorities *as;
    uint8_t digest[CRYPTO_SHA256];
    struct coap_line *coap; /* NULL: HTTP */
    struct circuit circuit;
    uint64_t heard_us, latency_us;
    size_t under_way, n_standing;
    uint64_t asked, answered, away, refused;
    const char *reason;
    bool wanted; /* by the wire that is being taken over */
};

enum slot_state {
    SLOT_FREE = 0,
    SLOT_ASKED,
    SLOT_STANDING, /* an observation whose server is away */
    SLOT_AWAY,     /* to be told so at the next turn, and over */
};

struct slot {
    enum slot_state state;
    bool is_get, observe, told_away;
    bool awaited; /* asked, and nothing has come yet */
    enum authority_purpose purpose;
    int authority;
    uint64_t id; /* pep's, or the handle */
    uint64_t serial;
    struct server *server; /* NULL: none, and SLOT_AWAY */
    uint64_t asked_us, retry_ms;
    uint64_t rqi;   /* oneM2M: of the last request */
    uint8_t *query; /* of a get: lengths (1 byte each) and texts */
    size_t query_n;
    uint32_t next_free;
};

struct authorities {
    struct loop *loop;
    struct authority_ops ops;
    void *user;
    struct resolver *resolver;
    struct http_client *http;
    struct wire *wire;
    struct server *servers;
    struct server **map; /* AUTHORITY_PURPOSES an authority; NULL: none */
    struct slot slots[AUTHORITY_QUESTIONS];
    uint32_t free; /* index + 1 of the first free slot; 0: none */
    size_t n_away, n_standing;
    uint64_t next_serial;
    bool dirty; /* something was asked since the lines had their turn */
};

/* ---- authority_slot.c ---- */

MUST_USE struct slot *slot_take(struct authorities *as); /* NULL: the table is full */
/* NULL: it is over. */
struct slot *slot_find(struct authorities *as, uint64_t serial);
/* The counts follow the state; nothing else changes them. */
void slot_set_state(struct authorities *as, struct slot *s, enum slot_state state);
void slot_free(struct authorities *as, struct slot *s);
MUST_USE bool slot_copy_query(struct slot *s, const struct bytes *query, size_t n);

/* ---- authority_send.c ---- */

/* False: it did not leave, and nothing will come back. */
MUST_USE bool send_by_coap(struct authorities *as, struct slot *s, const struct wire_endpoint *e,
                           struct bytes body, int format, struct instant now);
MUST_USE bool send_by_http(struct authorities *as, struct slot *s, const struct wire_endpoint *e,
                           struct bytes body, struct instant now);
/* What only some endpoints' answers have: rsc, max_age. */
void send_read_answer(const struct authorities *as, const struct slot *s,
                      const struct coap_answer *a, struct pep_reply *out);
void send_read_http_answer(const struct authorities *as, const struct slot *s,
                           const struct http_answer *a, struct pep_reply *out);
/* Off its transport, without a word. */
void send_withdraw(struct authorities *as, struct slot *s, struct instant now);

/* ---- authority_server.c ---- */

/* NULL: the authority is not asked for this. */
struct server *server_of(const struct authorities *as, int authority,
                         enum authority_purpose purpose);
/* The servers of w, old ones where they are the same; `map` gets them. False:
 * out of memory; what was made so far has `wanted` as the rest. */
MUST_USE bool server_gather(struct authorities *as, const struct wire *w, struct server **map);
/* Those that are not wanted go. */
void server_sweep(struct authorities *as, struct instant now);
void server_note_answer(struct server *v, const struct slot *s, struct instant now);
/* Silence is the server's only if it was silent to everybody. */
void server_note_failure(struct server *v, const struct slot *s, bool silence, const char *reason,
                         struct instant now);

/* ---- authority.c: what the transports bring ---- */

void authority_on_coap(void *user, uint64_t serial, const struct coap_answer *a,
                       struct instant now);
void authority_on_http(void *user, uint64_t serial, const struct http_answer *a,
                       struct instant now);

#endif
