/* postern enrol ca: a CA of the house's own, for clients' certificates. */
#include "cmd.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../pep/crypto.h"
#include "certify.h"
#include "config.h"
#include "enrol_file.h"
#include "file.h"

enum { O_CONFIG, O_NAME, O_EXPIRES, O_OUT, O_KEY };

static const struct cmd_option options[] = {
    [O_CONFIG] = {"config", 'c', "FILE", "configuration (" CONFIG_FILE_DEFAULT ")", false},
    [O_NAME] = {"name", 0, "TEXT", "how it calls itself (Postern enrolment CA)", false},
    [O_EXPIRES] = {"expires", 'e', "WHEN", "ends in 3650d (unless told), or at a time", false},
    [O_OUT] = {"out", 'o', "FILE", "its certificate (client-ca of the configuration)", false},
    [O_KEY] = {"ca-key", 'k', "FILE", "its key (that name, ending in .key)", false},
    {NULL, 0, NULL, NULL, false},
};

enum { DEFAULT_DAYS = 3650, DAY_S = 86400, BACKDATED_S = 300 };

static int find_paths(const struct cmd *c, const struct cmd_values *o, char crt[ENROL_PATH_MAX],
                      char key[ENROL_PATH_MAX])
{
    char text[CMD_DIAG_MAX], *said = NULL;
    struct buf diag = buf_on(text, sizeof text);
    const char *config = o[O_CONFIG].n ? cmd_value(&o[O_CONFIG]) : CONFIG_FILE_DEFAULT;
    if (!o[O_OUT].n && !config_find_client_ca(config, &said, &diag))
        return cmd_complain(CMD_CONFIG, &diag);
    const char *file = o[O_OUT].n ? cmd_value(&o[O_OUT]) : said;
    if (!file)
        return cmd_fail(c, CMD_CONFIG, "%s names no client-ca; add one, or use --out", config);
    const char *dot = strrchr(file, '.');
    int stem = dot && !strchr(dot, '/') ? (int)(dot - file) : (int)strlen(file);
    int n = snprintf(crt, ENROL_PATH_MAX, "%s", file);
    int k = o[O_KEY].n ? snprintf(key, ENROL_PATH_MAX, "%s", cmd_value(&o[O_KEY]))
                       : snprintf(key, ENROL_PATH_MAX, "%.*s.key", stem, file);
    bool same = n >= 0 && strcmp(crt, key) == 0;
    free(said);
    if (n < 0 || n >= ENROL_PATH_MAX || k < 0 || k >= ENROL_PATH_MAX || same)
        return cmd_fail(c, CMD_USAGE, "%s",
                        same ? "certificate and key need different files: --ca-key"
                             : "the name is too long");
    return CMD_OK;
}

static int read_expiry(const struct cmd *c, const char *text, int64_t now_s, int64_t *out_s)
{
    int64_t left = (int64_t)DEFAULT_DAYS * DAY_S;
    *out_s = now_s + left;
    if (!text)
        return CMD_OK;
    if (cmd_duration(text, &left))
        *out_s = now_s + left;
    else if (!cmd_time(text, out_s))
        return cmd_fail(c, CMD_USAGE, "--expires wants 3650d, or a time such as 2036-01-01");
    return *out_s > now_s ? CMD_OK : cmd_fail(c, CMD_USAGE, "--expires: that is over already");
}

static int make(const struct cmd *c, const struct cmd_values *o, struct certify *ca,
                struct buf *crt, struct buf *key)
{
    char text[512];
    struct buf diag = buf_on(text, sizeof text);
    const char *name = o[O_NAME].n ? cmd_value(&o[O_NAME]) : "Postern enrolment CA";
    int64_t now_s = cmd_now(), until_s;
    int status = read_expiry(c, cmd_value(&o[O_EXPIRES]), now_s, &until_s);
    if (status != CMD_OK)
        return status;
    for (const char *p = name; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            return cmd_fail(c, CMD_USAGE, "--name wants printable ASCII");
    if (!certify_make_ca(ca, name, now_s - BACKDATED_S, until_s, &diag))
        return cmd_fail(c, CMD_USAGE, "%.*s", (int)diag.n, text);
    return certify_put_ca(ca, crt) && certify_put_ca_key(ca, key)
               ? CMD_OK
               : cmd_fail(c, EX_SOFTWARE, "the CA could not be written down");
}

static int run(const struct cmd *c, const struct cmd_values *o, const struct cmd_values *args)
{
    (void)args;
    char text[512], crt_pem[CERTIFY_PEM_MAX], key_pem[CERTIFY_PEM_MAX];
    char crt_path[ENROL_PATH_MAX], key_path[ENROL_PATH_MAX];
    struct buf diag = buf_on(text, sizeof text);
    struct buf crt = buf_on(crt_pem, sizeof crt_pem), key = buf_on(key_pem, sizeof key_pem);
    const char *why;
    (void)signal(SIGXFSZ, SIG_IGN);
    int status = find_paths(c, o, crt_path, key_path);
    if (status != CMD_OK)
        return status;
    if (access(crt_path, F_OK) == 0)
        return cmd_fail(c, CMD_OUTPUT, "%s: File exists; it stays as it is", crt_path);
    struct certify *ca = certify_new(&diag);
    if (!ca)
        return cmd_fail(c, EX_OSERR, "%.*s", (int)diag.n, text);
    status = make(c, o, ca, &crt, &key);
    if (status == CMD_OK && !enrol_file_create(key_path, buf_bytes(&key), false, &why)) {
        status = cmd_fail(c, CMD_OUTPUT, "%s: %s", key_path, why);
    } else if (status == CMD_OK && !file_write(crt_path, buf_bytes(&crt), 0644, true, &why)) {
        (void)unlink(key_path);
        status = cmd_fail(c, CMD_OUTPUT, "%s: %s", crt_path, why);
    }
    crypto_wipe(key_pem, sizeof key_pem);
    certify_free(ca);
    if (status == CMD_OK)
        printf("%s: the CA; restart the daemon, which reads it at its start\n"
               "%s: its key; keep it where the daemon is not, and bring it to enrol\n",
               crt_path, key_path);
    return status;
}

const struct cmd cmd_enrol_ca = {
    .name = "enrol ca",
    .summary = "make the CA that signs clients' certificates",
    .about = "For `postern enrol --certificate` and `--csr`: a key on P-256 and its certificate,\n"
             "where `identity: client-ca` of the configuration expects it. Who has the key can\n"
             "let in whom they like, so it is better off elsewhere than on the gateway.\n"
             "Files that exist are left alone. Exit status: 0 done, 64 misused, 73 a file\n"
             "cannot be written, 78 bad configuration.\n",
    .options = options,
    .run = run,
};
