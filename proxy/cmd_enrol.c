/* postern enrol: gives a client its credential, and the gateway its entry. */
#include "cmd_enrol.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../pep/crypto.h"
#include "../policy/hex.h"
#include "../policy/m2m_name.h"
#include "cmd_qr.h"
#include "json.h"

static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "configuration (" CONFIG_FILE_DEFAULT ")", false},
    [O_ROLE] = {"role", 'r', "ROLE", "a role of the policy that it has", true},
    [O_ORIGINATOR] = {"originator", 'O', "AE-ID", "oneM2M: an AE that it speaks for", true},
    [O_CSE] = {"cse", 0, "CSE-ID", "oneM2M: it is this CSE, and speaks for its AEs", false},
    [O_MAY_REGISTER] = {"may-register", 0, "STEM", "oneM2M: S, C or a stem it may register", true},
    [O_EXPIRES] = {"expires", 'e', "WHEN", "ends in 8h, 90d (365d), at a time, or never", false},
    [O_IDENTITY] = {"identity", 'i', "TEXT", "its psk_identity (NAME)", false},
    [O_DOMAIN] = {"domain", 'd', "FQDN", "its psk_identity is NAME@FQDN, as a KpsaID", false},
    [O_PSK_FILE] = {"psk-file", 0, "FILE", "the key that it has already, in hexadecimal", false},
    [O_CERTIFICATE] = {"certificate", 'C', NULL, "by a key and a certificate, made here", false},
    [O_CSR] = {"csr", 0, "FILE", "by a certificate for the key of this request", false},
    [O_DNS] = {"dns", 0, "NAME", "a name in the certificate", true},
    [O_CA_KEY] = {"ca-key", 'k', "FILE", "key of the CA (client-ca's, ending in .key)", false},
    [O_SERVER] = {"server", 0, "URL", "for the device: where to connect", false},
    [O_KEYS] = {"keys", 0, "DIR", "where PSKs go, from the policy on (keys)", false},
    [O_OUT] = {"out", 'o', "FILE", "what to carry to the device; - is stdout", false},
    [O_QR] = {"qr", 'q', NULL, "show it as a QR code, too (PSK)", false},
    [O_RENEW] = {"renew", 0, NULL, "a new credential for an enrolled client", false},
    [O_DRY_RUN] = {"dry-run", 'n', NULL, "check everything, write nothing", false},
    [O_JSON] = {"json", 'j', NULL, "JSON, in the file to carry and here", false},
    {NULL, 0, NULL, NULL, false},
};

enum { DEFAULT_DAYS = 365, DAY_S = 86400 };

/* ---- what was said ---- */

static void list_of(const struct cmd_values *o, struct enrol_list *l)
{
    for (size_t i = 0; i < o->n && i < ENROL_LIST_MAX; i++)
        l->of[l->n++] = o->v[i];
}

/* It names files, and stands in certificates and identities: the characters of
 * TS-0003 10.5. */
static bool is_name(const char *s)
{
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n <= 63 && s[n] == '\0' && s[0] != '.' && s[0] != '-';
}

static int read_expiry(struct enrolment *e)
{
    const char *text = cmd_value(&e->o[O_EXPIRES]);
    int64_t left;
    e->entry.expires_s = e->now_s + (int64_t)DEFAULT_DAYS * DAY_S;
    if (!text)
        return CMD_OK;
    if (strcmp(text, "never") == 0) {
        e->entry.expires_s = INT64_MAX;
        return e->by_certificate ? enrol_misused(e, "--expires: a certificate has an end") : CMD_OK;
    }
    if (cmd_duration(text, &left))
        e->entry.expires_s = e->now_s + left;
    else if (!cmd_time(text, &e->entry.expires_s))
        return enrol_misused(e,
                             "--expires wants 8h, 90d, a time such as 2027-02-20T08:00Z, or never");
    return e->entry.expires_s > e->now_s ? CMD_OK
                                         : enrol_misused(e, "--expires: that is over already");
}

/* The policy takes other originators too, as some CSEs have them; a name that
 * is given out here is one of TS-0001 table 7.2-1. */
static const char *ae_id_check(const char *text)
{
    static const struct m2m_home anywhere;
    struct m2m_name name;
    const char *wrong = m2m_originator_check(bytes_str(text));
    if (wrong)
        return wrong;
    m2m_name_read(bytes_str(text), &anywhere, &name);
    return name.kind != M2M_NAME_OTHER
               ? NULL
               : "expected an AE-ID such as Cae1, /cse1/Cae1 or //sp.example/Sae1";
}

static int read_m2m(struct enrolment *e)
{
    struct enrol_entry *x = &e->entry;
    list_of(&e->o[O_ORIGINATOR], &x->originators);
    list_of(&e->o[O_MAY_REGISTER], &x->may_register);
    x->cse = cmd_value(&e->o[O_CSE]);
    if (x->cse && x->originators.n)
        return enrol_misused(e,
                             "--cse and --originator exclude each other: it is a CSE, or has AEs");
    const char *wrong = x->cse ? m2m_cse_id_check(bytes_str(x->cse)) : NULL;
    if (wrong)
        return enrol_misused(e, "--cse %s: %s", x->cse, wrong);
    for (size_t i = 0; i < x->originators.n; i++)
        if ((wrong = ae_id_check(x->originators.of[i])))
            return enrol_misused(e, "--originator %s: %s", x->originators.of[i], wrong);
    for (size_t i = 0; i < x->may_register.n; i++)
        if ((wrong = m2m_may_register_check(bytes_str(x->may_register.of[i]))))
            return enrol_misused(e, "--may-register %s: %s", x->may_register.of[i], wrong);
    return CMD_OK;
}

static int read_kind(struct enrolment *e)
{
    const struct cmd_values *o = e->o;
    e->by_certificate = o[O_CERTIFICATE].n || o[O_CSR].n;
    if (o[O_CERTIFICATE].n && o[O_CSR].n)
        return enrol_misused(e, "--csr and --certificate exclude each other: whose key is it?");
    if (e->by_certificate && (o[O_IDENTITY].n || o[O_DOMAIN].n || o[O_PSK_FILE].n || o[O_QR].n))
        return enrol_misused(e,
                             "--identity, --domain, --psk-file and --qr are for pre-shared keys");
    if (!e->by_certificate && (o[O_DNS].n || o[O_CA_KEY].n))
        return enrol_misused(e, "--dns and --ca-key are for certificates");
    if (o[O_IDENTITY].n && o[O_DOMAIN].n)
        return enrol_misused(e, "--identity and --domain exclude each other");
    if (o[O_DOMAIN].n && !enrol_is_domain(cmd_value(&o[O_DOMAIN])))
        return enrol_misused(e, "--domain wants a domain name such as sp.example");
    if (o[O_QR].n && !qr_is_there())
        return enrol_misused(e, "--qr: this build has no QR codes (libqrencode)");
    return CMD_OK;
}

static int read_identity(struct enrolment *e)
{
    const char *identity = cmd_value(&e->o[O_IDENTITY]), *domain = cmd_value(&e->o[O_DOMAIN]);
    int n = domain     ? snprintf(e->identity, sizeof e->identity, "%s@%s", e->entry.name, domain)
            : identity ? snprintf(e->identity, sizeof e->identity, "%s", identity)
                       : snprintf(e->identity, sizeof e->identity, "%s", e->entry.name);
    if (n <= 0 || (size_t)n >= sizeof e->identity)
        return enrol_misused(e, "a psk_identity has 1 to 128 bytes; stock clients cut longer ones");
    for (int i = 0; i < n; i++)
        if (e->identity[i] < 0x21 || e->identity[i] > 0x7e)
            return enrol_misused(e, "a psk_identity is printable ASCII here, without spaces");
    if (domain || identity)
        e->entry.identity = e->identity;
    return CMD_OK;
}

static int read_options(struct enrolment *e, const char *name)
{
    int status;
    e->entry.name = name;
    e->entry.enrolled_s = e->now_s;
    e->json = e->o[O_JSON].n > 0;
    if (!is_name(name))
        return enrol_misused(e, "a client's name has 1 to 63 letters, digits, '.', '_' and '-'");
    list_of(&e->o[O_ROLE], &e->entry.roles);
    if ((status = read_kind(e)) != CMD_OK || (status = read_expiry(e)) != CMD_OK ||
        (status = read_m2m(e)) != CMD_OK)
        return status;
    /* An AE or CSE without a role is known as itself, for a token's holder. */
    if (e->entry.roles.n == 0 && e->o[O_RENEW].n == 0 && e->entry.originators.n == 0 &&
        !e->entry.cse)
        return enrol_misused(e, "--role is needed: without a role it may do nothing");
    const char *out = cmd_value(&e->o[O_OUT]);
    e->to_stdout = out && strcmp(out, "-") == 0;
    int n = out ? snprintf(e->out, sizeof e->out, "%s", out)
                : snprintf(e->out, sizeof e->out, "%s.%s", name,
                           e->json             ? "json"
                           : e->by_certificate ? "pem"
                                               : "enrolment");
    if (n < 0 || (size_t)n >= sizeof e->out)
        return enrol_misused(e, "--out: the name is too long");
    return e->by_certificate ? CMD_OK : read_identity(e);
}

/* ---- whom the gateway knows already ---- */

static int look_up(struct enrolment *e)
{
    char text[512];
    struct buf diag = buf_on(text, sizeof text);
    const char *name = e->entry.name;
    e->before = enrolling_find(e->in.policy, name);
    if (e->before && !e->before->managed)
        return cmd_fail(e->c, CMD_NO, "'%s' stands in %s:%u, which is yours to edit", name,
                        e->before->file, e->before->line);
    if (e->before && !e->o[O_RENEW].n)
        return cmd_fail(e->c, CMD_NO, "'%s' is enrolled already; --renew gives it a new credential",
                        name);
    if (!e->before)
        return e->o[O_RENEW].n ? cmd_fail(e->c, CMD_NO, "'%s' is not enrolled", name) : CMD_OK;
    e->kept = yaml_load("the enrolments", bytes_of(e->in.file.text, e->in.file.n), &diag);
    if (!e->kept || !enrol_entry_keep(e->kept, e->before->line, &e->entry))
        return cmd_fail(e->c, CMD_CONFIG, "the entry of '%s' cannot be kept; enrol it anew", name);
    if (e->by_certificate)
        e->entry.identity = NULL;
    return CMD_OK;
}

/* ---- the entry ---- */

static int change_file(struct enrolment *e)
{
    char text[ENROL_ENTRY_MAX];
    struct buf entry = buf_on(text, sizeof text);
    if (!enrolling_tidy(&e->in, e->before ? e->before->line : 0, e->now_s))
        return cmd_fail(e->c, CMD_CONFIG, "%s: its lines cannot be told apart; see postern-policy",
                        e->in.file.path);
    if (e->before && e->before->pinned) {
        if (!enrol_entry_put_out(e->before, e->now_s, &entry) ||
            !enrol_file_add(&e->in.file, buf_bytes(&entry)))
            return cmd_fail(e->c, EX_SOFTWARE, "the old entry does not fit");
        entry.n = 0;
    }
    if (!enrol_entry_put(&e->entry, &entry) || !enrol_file_add(&e->in.file, buf_bytes(&entry)))
        return enrol_misused(e, "the entry is too long, or its end too far away");
    return CMD_OK;
}

/* Read as the daemon will read it, before anything is written. */
static int check_change(struct enrolment *e)
{
    struct policy *after;
    int status = enrolling_try(&e->in, &after);
    if (status != CMD_OK)
        return status;
    const struct policy_subject *s = enrolling_find(after, e->entry.name);
    bool ok = s && s->managed &&
              enrolling_same_others(e->in.policy, after, e->entry.name, e->now_s) &&
              enrolling_count(after) == enrolling_count(e->in.policy) + (e->before ? 0 : 1);
    policy_unref(after);
    return ok ? CMD_OK
              : cmd_fail(
                    e->c, CMD_CONFIG,
                    "%s: the entry would not stand where it must; is 'enrolments' its last key?",
                    e->in.file.path);
}

static int make_bundle(struct enrolment *e)
{
    struct buf b = buf_on(e->bundle, sizeof e->bundle);
    const struct enrol_bundle bundle = {.entry = &e->entry,
                                        .server = cmd_value(&e->o[O_SERVER]),
                                        .psk = bytes_of(e->psk, e->psk_n),
                                        .key = bytes_of(e->key_pem, e->key_pem_n),
                                        .crt = bytes_of(e->crt_pem, e->crt_pem_n),
                                        .ca = bytes_of(e->ca_pem, e->ca_pem_n)};
    bool ok = e->json ? enrol_bundle_put_json(&bundle, &b) : enrol_bundle_put(&bundle, &b);
    e->bundle_n = b.n;
    return ok ? CMD_OK : cmd_fail(e->c, EX_SOFTWARE, "what to carry does not fit");
}

/* ---- writing ---- */

static int write_psk(struct enrolment *e)
{
    char text[64 + 2 * TOKEN_KEY_MAX];
    const char *why;
    struct buf b = buf_on(text, sizeof text);
    hex_put(&b, bytes_of(e->psk, e->psk_n));
    buf_put_u8(&b, '\n');
    bool ok = enrol_file_create(e->key_path, buf_bytes(&b), true, &why);
    crypto_wipe(text, sizeof text);
    return ok ? CMD_OK : cmd_fail(e->c, CMD_OUTPUT, "%s: %s", e->key_path, why);
}

/* What was made before something failed is taken back: nothing is in force. */
static int write_all(struct enrolment *e)
{
    const char *why;
    int status = e->by_certificate ? CMD_OK : write_psk(e);
    if (status != CMD_OK)
        return status;
    bool carried =
        e->to_stdout || enrol_file_create(e->out, bytes_of(e->bundle, e->bundle_n), false, &why);
    if (!carried)
        status = cmd_fail(e->c, CMD_OUTPUT, "%s: %s", e->out, why);
    else if (!enrol_file_write(&e->in.file, &why))
        status = cmd_fail(e->c, CMD_OUTPUT, "%s: %s", e->in.file.path, why);
    if (status == CMD_OK)
        return CMD_OK;
    if (!e->by_certificate)
        (void)unlink(e->key_path);
    if (carried && !e->to_stdout)
        (void)unlink(e->out);
    return status;
}

static void forget_old_key(const struct enrolment *e)
{
    char path[ENROL_PATH_MAX];
    if (e->before && e->before->key_file && enrolling_path(&e->in, e->before->key_file, path))
        (void)unlink(path);
}

/* ---- what the operator sees ---- */

static void print_text(const struct enrolment *e, const char *force)
{
    FILE *to = e->to_stdout ? stderr : stdout;
    char when[32];
    const struct enrol_entry *x = &e->entry;
    (void)fprintf(to, "%s: enrolled by %s, ", x->name, e->by_certificate ? "certificate" : "key");
    if (x->expires_s == INT64_MAX)
        (void)fprintf(to, "without an end");
    else
        (void)fprintf(to, "until %s", cmd_time_text(when, x->expires_s));
    for (size_t i = 0; i < x->roles.n; i++)
        (void)fprintf(to, "%s%s", i ? ", " : "; ", x->roles.of[i]);
    (void)fprintf(to, "\n%s\n", force);
    if (e->by_certificate && !e->vouches_for_us)
        (void)fprintf(to, "the gateway's own certificate is of another CA, which the device "
                          "needs besides\n");
    if (!e->to_stdout && !e->o[O_DRY_RUN].n)
        (void)fprintf(to, "%s: to carry to the device, and then to delete\n", e->out);
}

static void print_json(const struct enrolment *e, bool done, bool in_force)
{
    char text[4096 + ENROL_PATH_MAX];
    struct buf b = buf_on(text, sizeof text);
    buf_put_u8(&b, '{');
    json_member_bool(&b, "ok", true);
    json_member(&b, "name", e->entry.name);
    json_member(&b, "by", e->by_certificate ? "certificate" : "psk");
    json_member(&b, "psk_identity", e->entry.identity);
    json_member(&b, "certificate", e->entry.certificate);
    if (e->entry.expires_s != INT64_MAX)
        json_member_u64(&b, "expires", (uint64_t)e->entry.expires_s);
    json_member(&b, "file", e->to_stdout ? NULL : e->out);
    if (e->by_certificate)
        json_member_bool(&b, "gateway_of_same_ca", e->vouches_for_us);
    json_member_bool(&b, "written", done);
    json_member_bool(&b, "in_force", in_force);
    buf_put_u8(&b, '}');
    (void)fprintf(e->to_stdout ? stderr : stdout, "%.*s\n", (int)b.n, text);
}

static void show_qr(const struct enrolment *e)
{
    char *picture = malloc(QR_PICTURE_MAX);
    struct buf b = buf_on(picture, picture ? QR_PICTURE_MAX : 0);
    FILE *to = e->to_stdout ? stderr : stdout;
    if (qr_put(bytes_of(e->bundle, e->bundle_n), isatty(fileno(to)) == 1, &b))
        (void)fwrite(b.p, 1, b.n, to);
    else
        (void)cmd_fail(e->c, 0, "--qr: too long for a terminal; the file has it");
    if (picture)
        crypto_wipe(picture, QR_PICTURE_MAX);
    free(picture);
}

static int deliver(struct enrolment *e)
{
    int status = write_all(e);
    if (status != CMD_OK)
        return status;
    enum enrolling_told told = enrolling_tell(&e->in);
    if (told != ENROLLING_REFUSED)
        forget_old_key(e);
    if (e->to_stdout)
        (void)fwrite(e->bundle, 1, e->bundle_n, stdout);
    if (e->json)
        print_json(e, true, told == ENROLLING_IN_FORCE);
    else
        print_text(e, enrolling_told_text(told));
    if (e->o[O_QR].n)
        show_qr(e);
    return enrolling_told_status(told);
}

static int enrol(struct enrolment *e, const char *name)
{
    int status = read_options(e, name);
    if (status != CMD_OK ||
        (status = enrolling_open(&e->in, e->c, cmd_value(&e->o[O_CONFIG]))) != CMD_OK ||
        (status = look_up(e)) != CMD_OK)
        return status;
    if (!e->to_stdout && access(e->out, F_OK) == 0)
        return cmd_fail(e->c, CMD_OUTPUT, "%s: File exists", e->out);
    status = e->by_certificate ? enrol_make_certificate(e) : enrol_make_psk(e);
    if (status != CMD_OK || (status = change_file(e)) != CMD_OK ||
        (status = check_change(e)) != CMD_OK || (status = make_bundle(e)) != CMD_OK)
        return status;
    if (e->o[O_DRY_RUN].n == 0)
        return deliver(e);
    if (e->json)
        print_json(e, false, false);
    else
        print_text(e, "nothing was written (--dry-run)");
    return CMD_OK;
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    struct enrolment *e = calloc(1, sizeof *e);
    if (!e)
        return cmd_fail(c, EX_OSERR, "out of memory");
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is as a full disk */
    e->c = c;
    e->o = o;
    e->in.file.dir = -1;
    e->now_s = cmd_now();
    int status = enrol(e, args->v[0]);
    enrolling_close(&e->in);
    certify_free(e->ca);
    yaml_free(e->kept);
    crypto_wipe(e, sizeof *e);
    free(e);
    return status;
}

const struct cmd cmd_enrol = {
    .name = "enrol",
    .args = "NAME",
    .summary = "let a client in: by a pre-shared key or a certificate",
    .about = "Makes the credential, writes the client into the policy's `enrolments` file,\n"
             "makes the running daemon take it, and leaves a file to carry to the device.\n"
             "\n"
             "  postern enrol thermostat-7 -r sensor -e 90d --qr\n"
             "  postern enrol thermostat-7 -r sensor -O Cthermostat7 -d sp.example\n"
             "  postern enrol tablet -r resident --certificate\n"
             "  postern enrol meter -r sensor --csr meter.csr -O //sp.example/cse1/Cmeter\n"
             "\n"
             "Keys are never taken from or shown on the command line, but for --qr and -o -.\n"
             "Exit status: 0 done, 1 it is enrolled already, 64 misused, 65 a key, request or CA\n"
             "cannot be used, 69 written but the daemon did not take it, 73 a file cannot be\n"
             "written, 78 bad configuration or policy.\n",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
