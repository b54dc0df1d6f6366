/* The audit goes home: a thread that takes records from the spool and hands
 * them to a collector in their order, at least once. An HTTPS collector
 * acknowledges a batch with a 2xx. Syslog knows no acknowledgement: a record
 * counts as delivered when the peer's TCP has it and the connection lived on
 * for SHIP_HOLD_MS; when it ended before, it is sent again.
 *
 * It never holds up anyone: the spool is its queue, bounded on disk; its
 * memory is one batch. While the collector is away it tries again with a
 * back-off that doubles, with jitter. Certificates are verified always; what
 * has none (http, TCP) is for loopback only, which config.c sees to. */
#ifndef POSTERN_SHIP_H
#define POSTERN_SHIP_H

#include "spool.h"

enum ship_limits {
    SHIP_BATCH_BYTES = 256 << 10, /* with the count of records, whichever is less */
    SHIP_BATCH_MAX = 10000,
    SHIP_BACKOFF_MIN_MS = 500,
    SHIP_BACKOFF_MAX_MS = 60000,
    SHIP_CONNECT_MS = 15000,
    SHIP_ANSWER_MS = 60000, /* a collector that takes longer for a batch is away */
    SHIP_STALL_MS = 30000,  /* syslog: not a byte taken for so long */
    SHIP_HOLD_MS = 10000,   /* what a syslog collector may leave unread */
    SHIP_LINGER_MS = 100,   /* records that come together go together */
    SHIP_STOP_MS = 2000,    /* a planned stop: to deliver what is left */
    SHIP_TOKEN_MAX = 4096,
    SHIP_ERROR_MAX = 160,
};

enum ship_kind {
    SHIP_NONE = 0,
    SHIP_HTTP = 1,
    SHIP_SYSLOG_STREAM = 2, /* TCP or TLS */
    SHIP_SYSLOG_LOCAL = 3,
};

struct ship_config {
    enum ship_kind kind;
    const char *to;  /* as written */
    const char *url; /* http(s)://HOST:PORT/PATH; for a stream, whose it is; or a socket's path */
    const char *ca, *certificate, *key, *token_file; /* or NULL */
    const char *dir;                                 /* of the spool */
    uint64_t spool;                                  /* bytes */
    unsigned batch;                                  /* records */
};

struct ship;

/* Config and spool are borrowed. */
MUST_USE struct ship *ship_new(const struct ship_config *c, struct spool *s, struct buf *diag);
void ship_free(struct ship *s); /* within SHIP_STOP_MS; NULL is fine */
void ship_wake(struct ship *s); /* something was appended; any thread, cheap */

enum ship_state { SHIP_UNKNOWN = 0, SHIP_UP = 1, SHIP_DOWN = 2 };

struct ship_status {
    enum ship_state state;
    int64_t since_s; /* UTC */
    uint64_t shipped, waiting, lost;
    char error[SHIP_ERROR_MAX]; /* the last one, "" if there was none */
};

void ship_get_status(struct ship *s, struct ship_status *out);

/* One line of visible ASCII, as a bearer token is (RFC 6750 2.1). `text`
 * begins and ends with it afterwards. */
MUST_USE bool ship_trim_token(struct bytes *text);

#endif
