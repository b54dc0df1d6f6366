/* postern enrol: the credential, by a pre-shared key or a certificate. */
#include "cmd_enrol.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../pep/crypto.h"
#include "../pep/key_file.h"
#include "../policy/m2m_name.h"
#include "cmd_key.h"
#include "file.h"

enum {
    PSK_TEXT_N = 32,   /* letters of 5 bits */
    FRESH_N = 6,       /* letters that tell a new key file from an older one */
    BACKDATED_S = 300, /* a device's clock may be a little late */
};

/* ---- pre-shared keys ---- */

static int read_own_psk(struct enrolment *e, const char *file)
{
    char text[512];
    struct buf diag = buf_on(text, sizeof text);
    return key_file_read_psk(NULL, file, e->psk, &e->psk_n, &diag) ? CMD_OK
                                                                   : cmd_complain(CMD_INPUT, &diag);
}

/* A name for its key file that is free: a renewal's key lies beside the old
 * one until the entry names it. */
static int find_key_path(struct enrolment *e)
{
    const char *dir = e->o[O_KEYS].n ? cmd_value(&e->o[O_KEYS]) : "keys";
    char fresh[FRESH_N + 2] = "";
    for (int i = 0; i < 2; i++) {
        int n = snprintf(e->key_file, sizeof e->key_file, "%s/%s%s.psk", dir, e->entry.name, fresh);
        if (n < 0 || (size_t)n >= sizeof e->key_file ||
            !enrolling_path(&e->in, e->key_file, e->key_path))
            return enrol_misused(e, "--keys: the path is too long");
        if (access(e->key_path, F_OK) != 0)
            break;
        fresh[0] = '-';
        if (!cmd_random_text(fresh + 1, FRESH_N))
            return cmd_fail(e->c, EX_OSERR, "the kernel gives no randomness");
    }
    e->entry.key_file = e->key_file;
    return CMD_OK;
}

int enrol_make_psk(struct enrolment *e)
{
    const char *own = cmd_value(&e->o[O_PSK_FILE]);
    if (own) {
        int status = read_own_psk(e, own);
        if (status != CMD_OK)
            return status;
    } else {
        e->psk_n = PSK_TEXT_N;
        if (!cmd_random_text((char *)e->psk, PSK_TEXT_N))
            return cmd_fail(e->c, EX_OSERR, "the kernel gives no randomness");
    }
    if (!e->entry.identity)
        e->entry.identity = e->identity;
    return find_key_path(e);
}

/* ---- certificates ---- */

/* client-ca's file, with .key for its last suffix. */
static int ca_key_path(struct enrolment *e, char out[ENROL_PATH_MAX])
{
    const char *ca = e->in.config->dtls.client_ca, *dot = strrchr(ca, '.');
    const char *said = cmd_value(&e->o[O_CA_KEY]);
    int stem = dot && !strchr(dot, '/') ? (int)(dot - ca) : (int)strlen(ca);
    int n = said ? snprintf(out, ENROL_PATH_MAX, "%s", said)
                 : snprintf(out, ENROL_PATH_MAX, "%.*s.key", stem, ca);
    return n >= 0 && n < ENROL_PATH_MAX ? CMD_OK
                                        : enrol_misused(e, "--ca-key: the name is too long");
}

static int open_ca(struct enrolment *e)
{
    enum { LOOSER_THAN_0640 = 0037 };
    char text[512], path[ENROL_PATH_MAX];
    struct buf diag = buf_on(text, sizeof text);
    struct stat st;
    uint8_t *crt = NULL, *key = NULL;
    size_t crt_n = 0, key_n = 0;
    const char *ca = e->in.config->dtls.client_ca, *why = NULL, *file = ca;
    if (!ca)
        return cmd_fail(e->c, CMD_CONFIG,
                        "%s trusts no CA for clients; add identity: client-ca, and make one with "
                        "postern enrol ca",
                        e->in.config_file);
    if (ca_key_path(e, path) != CMD_OK)
        return CMD_USAGE;
    e->ca = certify_new(&diag);
    if (!e->ca)
        return cmd_fail(e->c, EX_OSERR, "%.*s", (int)diag.n, text);
    bool ok = file_read(ca, false, CERTIFY_CHAIN_MAX, &crt, &crt_n, &why);
    if (ok) {
        file = path;
        ok = file_read(path, false, CERTIFY_PEM_MAX, &key, &key_n, &why);
    }
    if (ok && stat(path, &st) == 0 && (st.st_mode & LOOSER_THAN_0640)) {
        why = "its mode lets others at a secret; allow 0640 at most";
        ok = false;
    }
    if (ok && !certify_use_ca(e->ca, bytes_of(crt, crt_n), bytes_of(key, key_n), e->now_s, &diag)) {
        buf_put_u8(&diag, 0);
        why = diag.full ? "it cannot be used" : text;
        ok = false;
    }
    if (!ok)
        (void)cmd_fail(e->c, CMD_INPUT, "%s: %s", file, why);
    if (key)
        crypto_wipe(key, key_n);
    free(key);
    free(crt);
    return ok ? CMD_OK : CMD_INPUT;
}

/* Whether what the device gets is enough for it to know the gateway by. */
static bool vouches_for_us(const struct enrolment *e)
{
    uint8_t *own = NULL;
    size_t n = 0;
    const char *why;
    bool ok = file_read(e->in.config->dtls.certificate, false, CERTIFY_CHAIN_MAX, &own, &n, &why) &&
              certify_vouches_for(e->ca, bytes_of(own, n));
    free(own);
    return ok;
}

static int take_key(struct enrolment *e)
{
    char text[512];
    struct buf diag = buf_on(text, sizeof text), pem = buf_on(e->key_pem, sizeof e->key_pem);
    const char *file = cmd_value(&e->o[O_CSR]), *why = NULL;
    uint8_t *csr = NULL;
    size_t n = 0;
    if (!file) {
        if (!certify_make_key(e->ca, &diag) || !certify_put_key(e->ca, &pem))
            return cmd_fail(e->c, EX_OSERR, "no key could be made");
        e->key_pem_n = pem.n;
        return CMD_OK;
    }
    bool ok = file_read(file, true, CERTIFY_REQUEST_MAX, &csr, &n, &why);
    if (ok && !certify_take_request(e->ca, bytes_of(csr, n), &diag)) {
        buf_put_u8(&diag, 0);
        why = diag.full ? "it cannot be used" : text;
        ok = false;
    }
    free(csr);
    return ok ? CMD_OK : cmd_fail(e->c, CMD_INPUT, "%s: %s", file, why);
}

bool enrol_is_domain(const char *text)
{
    char at[300];
    struct bytes name, domain;
    int n = snprintf(at, sizeof at, "x@%s", text);
    return n > 0 && (size_t)n < sizeof at && m2m_at_domain(bytes_of(at, (size_t)n), &name, &domain);
}

static int read_names(struct enrolment *e)
{
    struct certify_names *n = &e->names;
    const struct enrol_entry *x = &e->entry;
    n->common = x->name;
    if (x->originators.n + e->o[O_DNS].n > CERTIFY_NAMES_MAX)
        return enrol_misused(e, "a certificate has at most %d names here", CERTIFY_NAMES_MAX);
    for (size_t i = 0; i < x->originators.n; i++)
        n->uris[n->n_uris++] = x->originators.of[i];
    for (size_t i = 0; i < e->o[O_DNS].n; i++) {
        if (!enrol_is_domain(e->o[O_DNS].v[i]))
            return enrol_misused(e, "--dns wants a domain name such as cse1.sp.example");
        n->dns[n->n_dns++] = e->o[O_DNS].v[i];
    }
    if (x->cse && n->n_dns == 0)
        return enrol_misused(e, "--cse: its certificate names it by domain: --dns cse1.sp.example");
    return CMD_OK;
}

int enrol_make_certificate(struct enrolment *e)
{
    char text[512];
    struct buf diag = buf_on(text, sizeof text);
    struct buf crt = buf_on(e->crt_pem, sizeof e->crt_pem),
               ca = buf_on(e->ca_pem, sizeof e->ca_pem);
    int status = read_names(e);
    if (status != CMD_OK || (status = open_ca(e)) != CMD_OK || (status = take_key(e)) != CMD_OK)
        return status;
    int64_t ends_s = certify_ca_ends(e->ca);
    if (ends_s < e->entry.expires_s && e->o[O_EXPIRES].n)
        return enrol_misused(e, "--expires: the CA ends before that; make a new one, or say less");
    if (ends_s < e->entry.expires_s)
        e->entry.expires_s = ends_s;
    if (!certify_sign(e->ca, &e->names, e->now_s - BACKDATED_S, e->entry.expires_s, &crt,
                      e->entry.fingerprint, &diag) ||
        !certify_put_ca(e->ca, &ca))
        return cmd_fail(e->c, EX_SOFTWARE, "%.*s", (int)diag.n, text);
    e->vouches_for_us = vouches_for_us(e);
    e->crt_pem_n = crt.n;
    e->ca_pem_n = ca.n;
    e->entry.certificate = e->names.n_uris  ? e->names.uris[0]
                           : e->names.n_dns ? e->names.dns[0]
                                            : e->names.common;
    return CMD_OK;
}
