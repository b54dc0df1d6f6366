/* One entry of the file of enrolments, and what a device is given of it. */
#ifndef POSTERN_ENROL_ENTRY_H
#define POSTERN_ENROL_ENTRY_H

#include "../policy/policy.h"
#include "../policy/yaml.h"

enum enrol_entry_limits {
    ENROL_LIST_MAX = 16,
    ENROL_ENTRY_MAX = 16 << 10,
    ENROL_BUNDLE_MAX = 64 << 10,
};

struct enrol_list {
    const char *of[ENROL_LIST_MAX];
    size_t n;
};

/* All texts are borrowed; NULL or empty: not said. */
struct enrol_entry {
    const char *name;
    struct enrol_list roles, originators, may_register;
    const char *cse, *rate;
    const char *identity, *key_file; /* by PSK */
    const char *certificate;         /* by this name of it */
    uint8_t fingerprint[POLICY_FINGERPRINT];
    int64_t enrolled_s, expires_s; /* INT64_MAX: never */
};

/* "{name: ..., ...}", one line. False: no room, or a time that cannot be
 * written. */
MUST_USE bool enrol_entry_put(const struct enrol_entry *e, struct buf *out);
/* What an enrolled subject's entry says that a renewal keeps, where `e` does
 * not say it: roles, originators, rate. Texts live as long as `y`. */
MUST_USE bool enrol_entry_keep(struct yaml *y, unsigned line, struct enrol_entry *e);
/* The entry for a certificate that must not associate any more. */
MUST_USE bool enrol_entry_put_out(const struct policy_subject *s, int64_t now_s, struct buf *out);

/* What the device gets. */
struct enrol_bundle {
    const struct enrol_entry *entry;
    const char *server;        /* where it is to connect, or NULL */
    struct bytes psk;          /* or: */
    struct bytes key, crt, ca; /* PEM; no key: it has it already */
};

/* PSK: lines of "key: value"; certificates: PEM behind such lines. */
MUST_USE bool enrol_bundle_put(const struct enrol_bundle *b, struct buf *out);
MUST_USE bool enrol_bundle_put_json(const struct enrol_bundle *b, struct buf *out);

#endif
