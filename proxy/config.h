/* postern.yaml as one value, wholly validated before the first socket opens.
 * Every path in it is absolute after loading (relative ones are relative to
 * the file). What this version cannot honour is refused, not ignored. */
#ifndef POSTERN_CONFIG_H
#define POSTERN_CONFIG_H

#include "../pep/pep.h"
#include "ship.h"
#include "upstream.h"

#define CONFIG_FILE_DEFAULT "/etc/postern/postern.yaml"

enum config_limits {
    CONFIG_LISTENERS_MAX = 16,
    CONFIG_DEVICES_MAX = 1024,
    CONFIG_AUDIENCE_MAX = 64,
    CONFIG_FILE_MAX = 16 << 20,
};

struct config_listener {
    struct peer local;
    bool secure; /* coaps: DTLS or TLS; coap: authz-info and discovery only */
    bool tcp;    /* coap+tcp, coaps+tcp (RFC 8323); or */
    bool http;   /* http: notifications alone */
    bool v6only;
    int notifies; /* index of the device, plus one, that alone notifies by it; or 0 */
    const char *text;
};

struct config_blob {
    uint8_t *p;
    size_t n;
};

struct config_device {
    struct device_config upstream;
    struct device_tls tls;                        /* what upstream.tls is, when there is any */
    struct m2m_cse cse;                           /* what upstream.cse is, when it is one */
    struct config_blob psk, ca, certificate, key; /* its content; wiped at the end */
    const char *audience, *authority;             /* may be NULL */
    unsigned line, authority_line, cse_line;      /* the last: of `notify` */
    struct policy_rate rate;                      /* of all requests to it; count 0: none */
};

/* Who holds the key of what is kept over a planned restart (restart.h). */
enum restart_way { RESTART_MANAGER = 0, RESTART_STATE = 1, RESTART_NO = 2 };

enum audit_permits { AUDIT_PERMITS_ALL = 0, AUDIT_PERMITS_NONE = 1 };

struct config {
    const char *file, *dir;
    struct config_listener listeners[CONFIG_LISTENERS_MAX];
    size_t n_listeners;
    const char *const *audience;
    size_t n_audience;
    struct dtls_config dtls;
    unsigned workers;         /* 1 unless told */
    const char *state;        /* directory, or NULL: grants do not survive */
    enum restart_way restart; /* of associations; without `state` none is kept */
    const char *policy;       /* file */
    const char *policy_dir;   /* where it lies: its key files are relative to it */
    const char *audit;        /* file, or NULL */
    enum audit_permits audit_permits;
    bool audit_required;     /* deny rather than lose a record */
    struct ship_config ship; /* kind SHIP_NONE: the file is all */
    const char *control;     /* socket, or NULL */
    const struct config_device *devices;
    size_t n_devices;
    uint16_t access_token_option; /* 65000 */
    size_t max_assocs, max_handshakes, max_exchanges, max_grants, max_rates;
    size_t max_conns; /* clients' by TCP */
    size_t max_awake;
    uint64_t idle_s, sleep_s;
    uint64_t cache_bytes;
};

/* What pep is told of a device; borrowed from the configuration. */
struct pep_device config_pep_device(const struct config_device *d);

/* NULL on failure, with compiler-style diagnostics in `diag`. */
MUST_USE struct config *config_load(const char *file, struct buf *diag);
void config_free(struct config *c);

/* The control socket alone, for those who may ask the daemon but not read
 * its keys: nothing else is checked. *out is the caller's to free; NULL: the
 * configuration names none. */
MUST_USE bool config_find_control(const char *file, char **out, struct buf *diag);

/* The file that `identity: client-ca` names, which need not be there yet, in
 * the same way. */
MUST_USE bool config_find_client_ca(const char *file, char **out, struct buf *diag);

/* Reads the policy that the configuration names, and holds it against the
 * configuration: a device's authority must be one of the policy's. */
MUST_USE struct policy *config_load_policy(const struct config *c, struct buf *diag);
/* The same with this in place of what its file of enrolments holds: to try
 * what is about to be written. */
MUST_USE struct policy *config_try_enrolments(const struct config *c, struct bytes enrolments,
                                              struct buf *diag);

#endif
