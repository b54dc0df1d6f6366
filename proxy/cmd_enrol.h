/* One run of `postern enrol`: what was asked for, and what was made of it.
 * cmd_enrol_make.c makes the credential, cmd_enrol.c the rest. */
#ifndef POSTERN_CMD_ENROL_H
#define POSTERN_CMD_ENROL_H

#include "../pep/token.h"
#include "certify.h"
#include "enrol_entry.h"
#include "enrolling.h"

enum {
    O_CONFIG,
    O_ROLE,
    O_ORIGINATOR,
    O_CSE,
    O_MAY_REGISTER,
    O_EXPIRES,
    O_IDENTITY,
    O_DOMAIN,
    O_PSK_FILE,
    O_CERTIFICATE,
    O_CSR,
    O_DNS,
    O_CA_KEY,
    O_SERVER,
    O_KEYS,
    O_OUT,
    O_QR,
    O_RENEW,
    O_DRY_RUN,
    O_JSON,
};

struct enrolment {
    const struct cmd *c;
    const struct cmd_values *o;
    struct enrolling in;
    struct certify *ca;
    struct enrol_entry entry;
    struct certify_names names;
    const struct policy_subject *before; /* to be renewed, or NULL */
    struct yaml *kept;                   /* owns what the entry keeps */
    bool by_certificate, json, to_stdout;
    bool vouches_for_us; /* the CA, for the gateway's own certificate */
    int64_t now_s;
    uint8_t psk[TOKEN_KEY_MAX];
    size_t psk_n;
    char identity[128 + 1], key_file[ENROL_PATH_MAX], key_path[ENROL_PATH_MAX];
    char out[ENROL_PATH_MAX];
    char key_pem[CERTIFY_PEM_MAX], crt_pem[CERTIFY_PEM_MAX], ca_pem[CERTIFY_PEM_MAX];
    size_t key_pem_n, crt_pem_n, ca_pem_n;
    char bundle[ENROL_BUNDLE_MAX];
    size_t bundle_n;
};

#define enrol_misused(e, ...) cmd_fail((e)->c, CMD_USAGE, __VA_ARGS__)

MUST_USE bool enrol_is_domain(const char *text);

/* What is in no file yet; CMD_OK, or the exit status with the reason told. */
int enrol_make_psk(struct enrolment *e);
int enrol_make_certificate(struct enrolment *e);

#endif
