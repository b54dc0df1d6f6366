#include "enrolling.h"

#include <stdio.h>
#include <stdlib.h>

#include "../pep/key_file.h"
#include "cmd_daemon.h"
#include "control.h"

static const char nobody[] = "version: 1\nenrolments:\n";

static int open_file(struct enrolling *e, struct buf *diag)
{
    char path[ENROL_PATH_MAX];
    const char *why;
    /* Which file it is, whatever it holds, and before it is there. */
    struct policy *p = config_try_enrolments(e->config, bytes_str(nobody), diag);
    if (!p)
        return cmd_complain(CMD_CONFIG, diag);
    const char *file = policy_enrolments(p);
    bool ok = file && enrolling_path(e, file, path);
    if (!file)
        (void)cmd_fail(e->c, CMD_CONFIG,
                       "%s names no file for it; add a line: enrolments: enrolled.yaml",
                       policy_name(p));
    else if (!ok)
        (void)cmd_fail(e->c, CMD_CONFIG, "%s: the path is too long", file);
    policy_unref(p);
    if (!ok)
        return CMD_CONFIG;
    if (!enrol_file_open(&e->file, path, e->config->policy, &why))
        return cmd_fail(e->c, CMD_OUTPUT, "%s: %s", path, why);
    return CMD_OK;
}

int enrolling_open(struct enrolling *e, const struct cmd *c, const char *config_file)
{
    char text[CMD_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    *e = (struct enrolling){
        .c = c, .config_file = config_file ? config_file : CONFIG_FILE_DEFAULT, .file.dir = -1};
    e->config = config_load(e->config_file, &diag);
    if (!e->config)
        return cmd_complain(CMD_CONFIG, &diag);
    int status = open_file(e, &diag);
    return status == CMD_OK ? enrolling_try(e, &e->policy) : status;
}

void enrolling_close(struct enrolling *e)
{
    enrol_file_close(&e->file);
    policy_unref(e->policy);
    config_free(e->config);
    *e = (struct enrolling){.file.dir = -1};
}

int enrolling_try(const struct enrolling *e, struct policy **out)
{
    char text[CMD_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    *out = config_try_enrolments(e->config, bytes_of(e->file.text, e->file.n), &diag);
    return *out ? CMD_OK : cmd_complain(CMD_CONFIG, &diag);
}

bool enrolling_path(const struct enrolling *e, const char *name, char out[ENROL_PATH_MAX])
{
    return key_file_path(e->config->policy_dir, name, out, ENROL_PATH_MAX);
}

/* ---- who is in ---- */

const struct policy_subject *enrolling_find(const struct policy *p, const char *name)
{
    const struct policy_subject *s;
    for (size_t i = 0; (s = policy_subject(p, i)); i++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

size_t enrolling_count(const struct policy *p)
{
    const struct policy_subject *s;
    size_t n = 0;
    for (size_t i = 0; (s = policy_subject(p, i)); i++)
        n += s->managed;
    return n;
}

static bool same_text(const char *a, const char *b)
{
    return !a == !b && (!a || strcmp(a, b) == 0);
}

static bool same(const struct policy_subject *a, const struct policy_subject *b)
{
    return b && b->managed && same_text(a->psk_identity, b->psk_identity) &&
           same_text(a->key_file, b->key_file) && same_text(a->certificate, b->certificate) &&
           a->n_roles == b->n_roles && a->expires_s == b->expires_s && a->pinned == b->pinned &&
           memcmp(a->fingerprint, b->fingerprint, sizeof a->fingerprint) == 0;
}

static bool has_out(const struct policy *p, const struct policy_ended *e)
{
    const struct policy_ended *o;
    for (size_t i = 0; (o = policy_ended(p, i)); i++)
        if (memcmp(o->fingerprint, e->fingerprint, sizeof o->fingerprint) == 0)
            return true;
    return false;
}

bool enrolling_same_others(const struct policy *before, const struct policy *after,
                           const char *name, int64_t now_s)
{
    const struct policy_subject *s;
    const struct policy_ended *o;
    for (size_t i = 0; (s = policy_subject(before, i)); i++)
        if (s->managed && strcmp(s->name, name) != 0 && !same(s, enrolling_find(after, s->name)))
            return false;
    for (size_t i = 0; (o = policy_ended(before, i)); i++)
        if (o->expires_s > now_s && !has_out(after, o))
            return false;
    return true;
}

static int downwards(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x > y ? -1 : x < y;
}

bool enrolling_tidy(struct enrolling *e, unsigned line, int64_t now_s)
{
    enum { DAY_S = 86400 }; /* nothing hangs on it; a clock may be set back a little */
    const struct policy_ended *o;
    size_t n = 0, all = 0;
    while (policy_ended(e->policy, all))
        all++;
    unsigned *lines = calloc(all + 1, sizeof *lines);
    bool ok = lines != NULL;
    if (ok && line)
        lines[n++] = line;
    for (size_t i = 0; ok && (o = policy_ended(e->policy, i)); i++)
        if (o->expires_s < now_s - DAY_S)
            lines[n++] = o->line;
    if (n > 1) /* from the end, so that the numbers stay right */
        qsort(lines, n, sizeof *lines, downwards);
    for (size_t i = 0; i < n; i++)
        ok = ok && enrol_file_cut(&e->file, lines[i]);
    free(lines);
    return ok;
}

/* ---- the daemon ---- */

static void print_diagnostics(const struct cmd_answer *a)
{
    struct yaml_seq lines;
    if (yaml_seq_open(a->y, cmd_answer_get(a, "diagnostics"), &lines))
        for (const struct yaml_node *n; (n = yaml_seq_next(&lines));)
            (void)fprintf(stderr, "%s\n", (const char *)yaml_raw(n).p);
}

enum enrolling_told enrolling_tell(const struct enrolling *e)
{
    char text[1024];
    struct buf diag = buf_on(text, sizeof text);
    const char *socket = e->config->control;
    uint8_t *line = malloc(CONTROL_ANSWER_MAX);
    struct buf answer = buf_on(line, line ? CONTROL_ANSWER_MAX : 0);
    enum enrolling_told told = ENROLLING_REFUSED;
    struct cmd_answer a = {NULL, 0, NULL};
    if (!socket) {
        told = ENROLLING_AWAY;
    } else if (!control_ask(socket, "{\"command\":\"reload\"}", &answer, &diag)) {
        /* Its own word for it: nobody listens there. */
        if (memmem(diag.p, diag.n, "not running", 11))
            told = ENROLLING_AWAY;
        else
            (void)cmd_fail(e->c, 0, "%.*s", (int)diag.n, text);
    } else if ((a.y = yaml_load("the daemon's answer", buf_bytes(&answer), &diag))) {
        told = cmd_answer_ok(&a) ? ENROLLING_IN_FORCE : ENROLLING_REFUSED;
        if (told == ENROLLING_REFUSED)
            print_diagnostics(&a);
    }
    yaml_free(a.y);
    free(line);
    return told;
}

const char *enrolling_told_text(enum enrolling_told t)
{
    return t == ENROLLING_IN_FORCE ? "in force"
           : t == ENROLLING_AWAY   ? "the daemon is not running; in force when it starts"
                                   : "NOT IN FORCE: the daemon did not take it; postern reload";
}

int enrolling_told_status(enum enrolling_told t)
{
    return t == ENROLLING_REFUSED ? CMD_AWAY : CMD_OK;
}
