/* A small DTLS 1.2 client for tests, over mbedtls: the wire is in memory,
 * the time is invented. It knows nothing of the product's own engine.
 *
 * Datagrams it sends go to `send` at once, or, when that is NULL, into a
 * queue that dtls_client_out() empties. dtls_client_receive() may be called
 * from within `send`: what comes is queued and taken in afterwards.
 */
#ifndef POSTERN_TESTS_DTLS_CLIENT_H
#define POSTERN_TESTS_DTLS_CLIENT_H

#include "../policy/bytes.h"
#include "../proxy/instant.h"

struct dtls_client;

struct dtls_client_config {
    struct bytes identity, key;            /* PSK; n 0: none */
    const char *certificate, *private_key; /* PEM text; NULL: none */
    const char *ca;                        /* PEM text to judge the server by; NULL: any */
    const int *suites; /* TLS numbers, 0 at the end; NULL: CCM_8 of what the config has */
    uint16_t mtu;      /* of handshake datagrams; 0: 1200 */
    bool cid;          /* offers a connection ID, of its own an empty one or this: */
    struct bytes own_cid;
    bool unpacked;     /* each handshake message in a datagram of its own */
    void (*send)(void *user, struct bytes datagram);
    void *user;
};

/* NULL: bad configuration (say a certificate that does not parse). */
struct dtls_client *dtls_client_new(const struct dtls_client_config *c);
void dtls_client_free(struct dtls_client *c);

/* Sends the ClientHello. */
void dtls_client_connect(struct dtls_client *c, struct instant now);
void dtls_client_receive(struct dtls_client *c, struct bytes datagram, struct instant now);
/* Retransmits when due. UINT64_MAX: no deadline. */
uint64_t dtls_client_deadline_ms(const struct dtls_client *c);
void dtls_client_expire(struct dtls_client *c, struct instant now);

bool dtls_client_established(const struct dtls_client *c);
bool dtls_client_closed(const struct dtls_client *c); /* by the peer, or failed */
int dtls_client_error(const struct dtls_client *c);   /* mbedtls's, 0: none */
int dtls_client_alert(const struct dtls_client *c);   /* the fatal alert that came, -1: none */
const char *dtls_client_suite(const struct dtls_client *c);

/* One datagram of plaintext. False: not established. */
bool dtls_client_write(struct dtls_client *c, struct bytes plain, struct instant now);
/* The oldest plaintext that came, valid until the next call; n 0: none. */
struct bytes dtls_client_read(struct dtls_client *c);
/* The oldest datagram of the queue (no `send`), valid until the next call. */
struct bytes dtls_client_out(struct dtls_client *c);
/* Sends close_notify. */
void dtls_client_close(struct dtls_client *c, struct instant now);

#endif
