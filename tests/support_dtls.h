/* A gateway's table of associations, real clients, and a wire between them
 * that loses, repeats and reorders as it is told; time is invented. The
 * gateway echoes what it reads. */
#ifndef POSTERN_TESTS_SUPPORT_DTLS_H
#define POSTERN_TESTS_SUPPORT_DTLS_H

#include "../proxy/assoc.h"
#include "dtls_client.h"

enum { RIG_CLIENTS = 64, RIG_WIRE = 256 };

struct rig;

struct rig_client {
    struct rig *rig;
    struct dtls_client *dtls;
    struct peer peer;
};

struct rig_datagram {
    bool to_server;
    struct peer peer; /* the client's end */
    size_t n;
    uint8_t bytes[4096];
};

struct rig {
    struct assocs *assocs;
    struct instant now;
    struct rig_client clients[RIG_CLIENTS];
    size_t n_clients;
    /* the wire */
    struct rig_datagram wire[RIG_WIRE];
    size_t first, n;
    size_t count;                                              /* datagrams that were put on it */
    bool (*lose)(struct rig *r, const struct rig_datagram *d); /* or NULL */
    uint64_t arg;                                              /* for `lose` */
    bool twice, backwards;
    /* what the judge says */
    struct bytes identity, key; /* the one that is known */
    bool prefix;                /* an identity that begins so is known too */
    bool wait;
    enum pep_identity_kind kind;
    bool refuse; /* at `established` */
    struct bytes spki;
    /* what happened */
    size_t asked, n_established, n_closed;
    uint8_t seen[IDENTITY_MAX];
    size_t seen_n;
    const char *reason;
    bool trusted;
    size_t n_names;
    char names[8][64];
    struct assoc *last; /* the last that was asked for, or established */
    size_t n_sent;      /* by the gateway */
};

/* certificate: NULL or a file of tests/keys; aborts when it cannot. */
struct rig *rig_new(const struct assocs_config *c, const char *certificate, const char *ca);
void rig_free(struct rig *r);

/* A client at 192.0.2.<n>:<port>. */
struct rig_client *rig_client(struct rig *r, const struct dtls_client_config *c,
                              const char *address, uint16_t port);
/* A new client in the place of an old one. */
void rig_replace(struct rig_client *k, const struct dtls_client_config *c);
void rig_connect(struct rig_client *k);
/* Delivers what is on the wire until it is empty. */
void rig_run(struct rig *r);
/* Lets time pass, deadline by deadline. */
void rig_pass(struct rig *r, uint64_t ms);
/* Sends text and says whether the echo came back. */
bool rig_echo(struct rig_client *k, const char *text);
/* Puts a datagram on the wire as if the client's address had sent it. */
void rig_inject(struct rig *r, const struct peer *from, struct bytes datagram);
struct assocs_stats rig_stats(struct rig *r);

/* Text of a file below TESTS_DIR, with NUL; freed by the caller. */
char *rig_file(const char *name);
struct peer rig_peer(const char *address, uint16_t port);

#endif
